"""Two replicas with different policies: it is told, and nothing is scaled back and forth faster than both allow."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import pytest

from controller.policy import Policy
from tests.virtual.test_operators import A_PASS_S, INTERVAL_S, restart_redis
from tests.virtual.test_scenarios import Stage, stage
from tests.virtual.world import policy_of

AT_MOST_2: dict[str, Any] = {"max_replicas": 2}
AT_LEAST_3 = policy_of(min_replicas=3)
DOWN_S = 120.0
A_MINUTE_S = 60.0


@contextmanager
def apart(other: Policy, **worker: Any) -> Iterator[Stage]:
    """The leader has the one policy, the standby the other."""
    with stage(**worker) as scene:
        world = scene.world
        world.other = other
        world.reload(scene.standby, other)
        world.run_for(1.0)
        yield scene


def hand_over(scene: Stage) -> None:
    """The replica that leads is deployed anew, with the policy that it had; the other one leads then."""
    world, leader = scene.world, scene.leader
    world.terminate(leader)
    scene.until(lambda: not leader.is_alive)
    scene.until(lambda: world.leader is not None)
    world.keep_running()


def until_changed(scene: Stage, times: int) -> None:
    scene.until(lambda: len(scene.counts) == times)


def agree(scene: Stage, policy: Policy) -> None:
    scene.world.agree(policy)
    scene.judge()


def told(scene: Stage) -> int:
    return sum('"event": "policies_differ"' in entry.detail for entry in scene.world.trace.entries)


@pytest.mark.costly
def test_replicas_that_agree_on_no_count_scale_only_by_the_cooldowns() -> None:
    """One has at most 2, the other at least 3, and they take turns every 20 s."""
    with apart(AT_LEAST_3, **AT_MOST_2) as scene:
        for _ in range(20):
            hand_over(scene)
            scene.world.run_for(20.0)
        agree(scene, AT_LEAST_3)
        assert [change.after for change in scene.ours][:3] == [3, 2, 3]
        # A scale-up counts from the last one, so it may follow a scale-down at once.
        again = scene.ours[1:]
        assert all(later.at - change.at >= DOWN_S for change, later in pairwise(again) if later.after == 2)


def test_a_replica_with_another_policy_keeps_the_cooldown_of_what_the_other_scaled() -> None:
    """Both have the same min and max, and other tiers: 20 jobs want 2 workers of the one and 4 of the other."""
    eager = policy_of(tiers=[{"up_to": 0, "replicas": 0}, {"replicas": 4}])
    with apart(eager) as scene:
        hand_over(scene)
        scene.until(lambda: scene.counts == [4])
        hand_over(scene)
        scene.world.run_for(DOWN_S - 25)
        assert scene.counts == [4]
        scene.until(lambda: scene.counts == [4, 2], within=60)
        agree(scene, scene.world.policy)


def test_a_replica_that_reads_an_edited_policy_corrects_its_own_count_at_once() -> None:
    with stage() as scene:
        scene.burst()
        scene.until(lambda: scene.counts == [4])
        scene.world.run_for(5.0)
        scene.world.agree(policy_of(**AT_MOST_2))
        scene.until(lambda: scene.counts == [4, 2], within=2 * INTERVAL_S + A_PASS_S)
        scene.judge()


@pytest.mark.costly
@pytest.mark.parametrize("with_data", ["none", "stale"])
def test_after_redis_was_emptied_the_survivor_knows_who_scaled(with_data: str) -> None:
    with apart(AT_LEAST_3, **AT_MOST_2) as scene:
        world = scene.world
        for changes in (1, 2, 3):
            hand_over(scene)
            until_changed(scene, changes)
        world.run_for(15.0)
        restart_redis(scene, with_data)
        world.run_for(10.0)
        hand_over(scene)
        down = scene.ours[1].at
        world.run_for(down + DOWN_S - 10 - world.kernel.now)
        assert scene.counts == [3, 2, 3]
        agree(scene, world.policy)


@pytest.mark.costly
def test_two_policies_are_told_after_a_minute_once_and_anew_after_they_agreed() -> None:
    with apart(AT_LEAST_3, **AT_MOST_2) as scene:
        world, old = scene.world, scene.world.policy
        world.run_for(A_MINUTE_S - INTERVAL_S)
        assert told(scene) == 0
        world.run_for(2 * INTERVAL_S + A_PASS_S)
        assert told(scene) == 1
        world.run_for(300)
        assert told(scene) == 1
        world.agree(old)
        world.run_for(INTERVAL_S + A_PASS_S)
        world.other = AT_LEAST_3
        world.reload(scene.standby, AT_LEAST_3)
        world.run_for(A_MINUTE_S + 2 * INTERVAL_S)
        assert told(scene) == 2
        agree(scene, old)


def test_replicas_that_differ_for_half_a_minute_while_an_edit_is_rolled_out_tell_nothing() -> None:
    with apart(AT_LEAST_3, **AT_MOST_2) as scene:
        scene.world.run_for(A_MINUTE_S / 2)
        agree(scene, AT_LEAST_3)
        assert told(scene) == 0
