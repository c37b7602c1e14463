"""Directed scenarios on the virtual Kubernetes: what its fence refuses, and what only a cluster does.

Otherwise as in test_scenarios.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from controller.fake_kubernetes.kinds import CUSTOM, DEPLOYMENT, STATEFUL_SET, Kind
from tests.virtual import kubernetes
from tests.virtual.kubernetes import Kubernetes
from tests.virtual.test_scenarios import Stage, stage

SOON_DOWN: dict[str, Any] = {"scale_down": {"cooldown": "20s"}}


@contextmanager
def on(kind: Kind, **worker: Any) -> Iterator[tuple[Stage, Kubernetes]]:
    with stage(**kubernetes.target(kind.name), **worker) as scene:
        assert isinstance(scene.world.platform, Kubernetes)
        yield scene, scene.world.platform


def cycles(scene: Stage) -> list[dict[str, Any]]:
    """Their lines in the log."""
    return [json.loads(one.detail) for one in scene.world.trace.entries if '"event": "reconcile"' in one.detail]


@pytest.mark.costly
def test_a_change_that_arrives_after_somebody_else_wrote_is_refused_also_when_its_sender_is_gone() -> None:
    with on(DEPLOYMENT) as (scene, cluster):
        scene.burst()
        cluster.have_bad_mutations("late", 1)
        scene.until(lambda: cluster.under_way)
        scene.world.kill(scene.leader)
        cluster.annotate()
        scene.world.run_for(110)
        assert (cluster.fenced, scene.counts) == (1, [4])
        assert scene.ours[0].by == scene.leader.name
        scene.judge()


def test_a_change_that_is_overtaken_before_it_is_sent_is_decided_again_by_the_next_cycle() -> None:
    with on(DEPLOYMENT) as (scene, cluster):
        scene.world.when_granted.append(lambda _: cluster.annotate() if not cluster.fenced else None)
        scene.burst()
        scene.world.run_for(12)
        assert (cluster.fenced, scene.counts) == (1, [4])
        scene.judge()


@pytest.mark.costly
def test_a_write_whose_answer_is_lost_is_seen_and_not_made_again() -> None:
    with on(STATEFUL_SET) as (scene, cluster):
        cluster.have_bad_mutations("lost", 60)
        scene.burst()
        scene.world.run_for(100)
        assert (scene.counts, len(scene.world.record.sent)) == ([4], 1)
        scene.judge()


@pytest.mark.costly
def test_a_scale_that_omits_its_zero_is_at_zero() -> None:
    with on(CUSTOM, **SOON_DOWN) as (scene, _):
        scene.world.postgres.swing(0)
        scene.world.run_for(60)
        assert (scene.counts, cycles(scene)[-1]["configured"]) == ([0], 0)
        scene.judge()


@pytest.mark.parametrize(
    ("late_s", "fails"),
    [
        pytest.param(0.0, False, id="its file has the new one"),
        pytest.param(15.0, True, id="its file has the new one later"),
    ],
)
def test_a_token_that_expired_costs_no_cycle_once_its_file_has_the_next(late_s: float, fails: bool) -> None:  # noqa: FBT001  # a parameter of the test
    with on(DEPLOYMENT) as (scene, cluster):
        cluster.rotate_the_token(late_s)
        scene.world.run_for(14)
        assert any("HTTP 401" in line["message"] for line in cycles(scene)) is fails
        scene.burst()
        scene.until(lambda: scene.counts == [4])
        scene.judge()


def test_a_rollout_that_is_paused_in_its_middle_is_scaled_to_zero_all_the_same() -> None:
    with on(DEPLOYMENT, **SOON_DOWN) as (scene, cluster):
        cluster.deploy_by_hand(reset=False)
        cluster.workload.paused = True
        scene.world.postgres.swing(0)
        scene.world.run_for(30)
        assert (scene.counts, cluster.running, cluster.workload.paused) == ([0], 0, True)
        scene.judge()
