"""Schedules in the simulated world: counts follow the hour within one cycle, whatever happens to the leader then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controller.core.override import Kind
from tests.virtual import operators, test_operators
from tests.virtual.redis import EPOCH_S
from tests.virtual.test_operators import A_PASS_S, INTERVAL_S, restart_redis
from tests.virtual.test_scenarios import Stage, stage

EVERY_S, FOR_S = 300.0, 60.0
OFTEN: dict[str, Any] = {
    "schedules": [{"cron": "*/5 * * * *", "for": "1m", "timezone": "UTC", "min_replicas": 4}],
    "scale_down": {"cooldown": "20s"},
}


def begins(scene: Stage) -> None:
    """Runs until the schedule begins, by the clock of Redis."""
    into = (EPOCH_S + scene.world.kernel.now + scene.world.redis.clock_s) % EVERY_S
    scene.world.run_for(EVERY_S - into)


def told(scene: Stage, event: str) -> int:
    return sum(f'"event": "{event}"' in entry.detail for entry in scene.world.trace.entries)


@pytest.mark.costly
def test_the_count_follows_min_of_the_hour_within_one_cycle_and_what_begins_and_ends_is_told() -> None:
    with stage(**OFTEN) as scene:
        begins(scene)
        scene.world.run_for(INTERVAL_S + A_PASS_S)
        assert scene.counts == [4], "20 jobs want 2 workers"
        assert (told(scene, "schedule_on"), told(scene, "schedule_off")) == (1, 0)
        scene.world.run_for(FOR_S)
        assert scene.counts == [4, 2]
        assert (told(scene, "schedule_on"), told(scene, "schedule_off")) == (1, 1)
        scene.judge()


@pytest.mark.costly
@pytest.mark.parametrize(
    "befalls",
    [
        lambda scene: scene.world.kill(scene.leader),
        lambda scene: scene.world.terminate(scene.leader),
        lambda scene: restart_redis(scene, "kept"),
        lambda scene: restart_redis(scene, "none"),
    ],
    ids=["the leader is killed", "the leader is told to end", "Redis restarts", "Redis restarts empty"],
)
def test_a_schedule_that_is_on_is_told_once_and_holds_for_the_next_leader(befalls: Callable[[Stage], object]) -> None:
    with stage(**OFTEN) as scene:
        begins(scene)
        scene.world.run_for(INTERVAL_S + A_PASS_S)
        befalls(scene)
        scene.world.run_for(FOR_S - INTERVAL_S - 2 * A_PASS_S)
        assert scene.counts == [4]
        assert told(scene, "schedule_on") == 1
        scene.world.run_for(90)
        assert scene.counts == [4, 2]
        assert told(scene, "schedule_off") == 1
        scene.judge()


def test_a_schedule_that_begins_while_no_replica_runs_is_followed_and_told_by_the_first_one() -> None:
    with stage(**OFTEN) as scene:
        world = scene.world
        for process in world.alive:
            world.kill(process)
        begins(scene)
        world.run_for(5)
        world.keep_running()
        scene.until(lambda: scene.counts == [4], within=40)
        assert told(scene, "schedule_on") == 1
        scene.judge()


@pytest.mark.costly
def test_a_held_count_stays_within_the_limits_of_the_hour() -> None:
    with stage(**OFTEN) as scene:
        test_operators.ask(scene, Kind.HOLD, 1, lasts=600)
        scene.until(lambda: scene.counts == [1], within=INTERVAL_S + A_PASS_S)
        begins(scene)
        scene.world.run_for(INTERVAL_S + A_PASS_S)
        assert scene.counts == [1, 4]
        operators.resume(scene.world)
        scene.judge()
