"""A budget in the simulated world: the spend outlives whatever happens, and each step is told once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.spend import HOUR_S
from tests.virtual import budgets
from tests.virtual.redis import EPOCH_S
from tests.virtual.test_operators import A_PASS_S, INTERVAL_S, restart_redis
from tests.virtual.test_scenarios import Stage, stage
from tests.virtual.world import SimulatedWorld

AMOUNT_S = 300.0
"""Worker-seconds that the budget pays for; two workers run, because 20 jobs want two."""


def budgeted() -> dict[str, Any]:
    return {**budgets.PRICE, "budget": budgets.budget(AMOUNT_S / 1000, 0)}


def told(world: SimulatedWorld) -> list[int]:
    """The steps."""
    return [int(one.ident.split()[-1]) for one in world.told()]


def spend_it(scene: Stage) -> None:
    """Until no worker is allowed any more; the first reading is some seconds after the first worker's start."""
    scene.until(lambda: scene.counts == [0], within=AMOUNT_S / 2 + 2 * INTERVAL_S)


def test_max_falls_in_steps_and_each_is_told_once() -> None:
    with stage(1, **budgeted()) as scene:
        scene.world.run_for(AMOUNT_S / 2 - 60)
        scene.burst()
        scene.until(lambda: scene.counts, within=60)
        assert scene.counts[0] < 4, "80 jobs want 4 workers, and 80 % are spent"
        scene.until(lambda: scene.counts[-1] == 0, within=200)
        assert told(scene.world) == [1, 2, 3]
        scene.judge()


@pytest.mark.parametrize(
    "befalls",
    [
        lambda scene: scene.world.kill(scene.leader),
        lambda scene: scene.world.terminate(scene.leader),
        lambda scene: restart_redis(scene, "kept"),
        lambda scene: restart_redis(scene, "none"),
        lambda scene: restart_redis(scene, "stale"),
        lambda scene: scene.world.redis.step_clock(-300.0),
    ],
    ids=[
        "the leader is killed",
        "the leader is told to end",
        "Redis restarts",
        "Redis restarts empty",
        "Redis restarts with old data",
        "the clock of Redis is set to before the budget began",
    ],
)
def test_the_spend_outlives(befalls: Callable[[Stage], object]) -> None:
    with stage(1, **budgeted()) as scene:
        scene.world.run_for(AMOUNT_S / 2 - 40)
        befalls(scene)
        spend_it(scene)
        assert told(scene.world) == [1, 2, 3]
        scene.judge()


def test_time_in_which_no_replica_runs_is_charged() -> None:
    with stage(1, **budgeted()) as scene:
        world = scene.world
        for process in world.alive:
            world.kill(process)
        world.run_for(AMOUNT_S / 2)
        world.keep_running()
        scene.until(lambda: told(world), within=60)
        assert told(world) == [3]
        scene.judge()


def test_when_the_next_hour_begins_max_is_back_at_once_and_that_is_told() -> None:
    with stage(1, **budgeted()) as scene:
        world = scene.world
        spend_it(scene)
        world.run_for(40.0)
        world.redis.clock_s += HOUR_S - (EPOCH_S + world.kernel.now + world.redis.clock_s) % HOUR_S
        scene.until(lambda: scene.counts == [0, 2], within=INTERVAL_S + A_PASS_S)
        assert told(world) == [1, 2, 3, 0]
        scene.judge()
