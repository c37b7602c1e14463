"""Operators in the simulated world: what they ask for is honoured within one cycle, ends on time, outlives faults."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from controller.core.override import Blocks, Kind, Override, Overrides
from tests.support.examples import some
from tests.virtual import operators
from tests.virtual.redis import EPOCH_S
from tests.virtual.scripts import Model
from tests.virtual.test_scenarios import Stage, stage
from tests.virtual.world import WORKER

INTERVAL_S = 10.0
A_PASS_S = 1.5
"""A pass and its request, with room."""


def ask(scene: Stage, kind: Kind, replicas: int = 0, *, lasts: float, blocks: Blocks = Blocks.BOTH) -> None:
    def amended(overrides: Overrides, now: float) -> Overrides:
        return overrides.with_new(Override("o1", kind, "ann", now, now + lasts, replicas=replicas, blocks=blocks))

    operators.amend(scene.world, f"{kind.value} {replicas}", amended)


@pytest.mark.costly
def test_a_held_count_is_asked_for_within_one_cycle_and_left_within_one_after_its_end() -> None:
    for seed in some(range(10), every=3):
        with stage(seed) as scene:
            scene.world.run_for(seed * 1.1)
            asked_at = scene.world.kernel.now
            ask(scene, Kind.HOLD, 4, lasts=200)
            honoured_at = scene.until(lambda: scene.counts == [4], within=INTERVAL_S + A_PASS_S)
            assert honoured_at - asked_at <= INTERVAL_S + A_PASS_S
            scene.world.run_for(200 - (honoured_at - asked_at))
            assert scene.counts == [4]
            scene.until(lambda: scene.counts == [4, 2], within=INTERVAL_S + A_PASS_S)
            scene.judge()


def test_a_paused_worker_stays_until_the_pause_is_over() -> None:
    with stage() as scene:
        ask(scene, Kind.PAUSE, lasts=120)
        scene.world.run_for(1)
        scene.world.postgres.swing(80)
        scene.world.run_for(118)
        assert scene.counts == []
        scene.until(lambda: scene.counts == [4], within=INTERVAL_S + A_PASS_S)
        scene.judge()


def restart_redis(scene: Stage, with_data: str) -> None:
    scene.world.redis.stop()
    scene.world.run_for(1)
    scene.world.redis.start(with_data)


@pytest.mark.costly
@pytest.mark.parametrize(
    "befalls",
    [
        lambda scene: scene.world.kill(scene.leader),
        lambda scene: restart_redis(scene, "kept"),
        lambda scene: restart_redis(scene, "none"),
        lambda scene: restart_redis(scene, "stale"),
        lambda scene: scene.world.terminate(scene.leader),
    ],
    ids=[
        "the leader is killed",
        "Redis restarts",
        "Redis restarts empty",
        "Redis restarts with old data",
        "the leader is told to end",
    ],
)
def test_a_held_count_outlives(befalls: Callable[[Stage], object]) -> None:
    with stage() as scene:
        ask(scene, Kind.HOLD, 4, lasts=300)
        scene.until(lambda: scene.counts == [4], within=INTERVAL_S + A_PASS_S)
        scene.world.run_for(15)
        befalls(scene)
        scene.world.run_for(200)
        assert scene.counts == [4], "20 jobs want 2 workers"
        scene.until(lambda: scene.counts == [4, 2], within=100)
        scene.judge()


def test_what_an_operator_asks_for_between_the_reading_and_the_writing_counts() -> None:
    """The leader has read the record without the pause, and 80 jobs want more workers."""
    with stage() as scene:
        world = scene.world

        def paused_just_now(who: str, model: Model, keys: Sequence[str], args: object, answer: object) -> None:
            if model.name != "recall" or world.postgres.depth != 80:
                return
            world.redis.watchers.remove(paused_just_now)
            now = world.redis.milliseconds / 1000
            pause = Override("o1", Kind.PAUSE, "ann", now, now + 60)
            world.redis.store.hset(keys[0], overrides=Overrides().with_new(pause).as_text(), raised="1")

        world.redis.watchers.append(paused_just_now)
        world.postgres.swing(80)
        world.run_for(50)
        assert scene.counts == []
        scene.judge()


def test_a_command_changes_the_version_of_the_record() -> None:
    """So that a leader that read it before decides again."""
    with stage() as scene:
        ask(scene, Kind.PAUSE, lasts=60)
        scene.world.run_for(1)
        (record,) = (fields for key, fields in scene.world.redis.store.data.items() if key.endswith(f"worker:{WORKER}"))
        assert isinstance(record, dict)
        assert record.get("raised") == "1"
        assert Overrides.from_text(record["overrides"]).changed_at > EPOCH_S
