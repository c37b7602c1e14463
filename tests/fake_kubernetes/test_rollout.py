"""A rollout in the fake: what the controller reads of it is what a cluster shows."""

from __future__ import annotations

import pytest

from controller.fake_kubernetes import Cluster, Workload
from controller.fake_kubernetes.kinds import DEPLOYMENT, STATEFUL_SET, Kind
from controller.fake_kubernetes.timings import Timings
from controller.fake_kubernetes.views import shown

_TIMINGS = Timings(ready=2.0, ending=1.0)


def rolled(kind: Kind, **more: bool) -> tuple[Cluster, Workload, list[tuple[int, int, int]]]:
    """Three pods get a new template; pods, updated and ready ones at each half second from then on, without repeats."""
    cluster = Cluster(_TIMINGS)
    workload = cluster.add("worker", kind=kind, replicas=3)
    cluster.roll_out(workload)
    workload.paused = more.get("paused", False)
    seen: list[tuple[int, int, int]] = []
    for half_seconds in range(40):
        cluster.advance(half_seconds / 2)
        status = shown(cluster, workload)["status"]
        counts = status["replicas"], status.get("updatedReplicas", 0), status["readyReplicas"]
        if counts not in seen[-1:]:
            seen.append(counts)
    return cluster, workload, seen


@pytest.mark.parametrize(
    ("kind", "seen"),
    [
        pytest.param(DEPLOYMENT, [(4, 1, 3), (4, 2, 3), (4, 3, 3), (3, 3, 3)], id="a Deployment makes a new pod first"),
        pytest.param(
            STATEFUL_SET, [(3, 1, 2), (3, 2, 2), (3, 3, 2), (3, 3, 3)], id="a StatefulSet ends an old one first"
        ),
    ],
)
def test_old_pods_are_replaced_one_after_the_other(kind: Kind, seen: list[tuple[int, int, int]]) -> None:
    assert rolled(kind)[2] == seen


def test_a_paused_rollout_replaces_no_pod_and_is_scaled_all_the_same() -> None:
    cluster, workload, seen = rolled(DEPLOYMENT, paused=True)
    assert seen == [(3, 0, 3)]
    cluster.scale(workload, 5)
    cluster.advance(30.0)
    assert len(workload.living) == 5


def test_each_step_of_a_rollout_gives_the_object_a_new_resource_version() -> None:
    cluster = Cluster(_TIMINGS)
    workload = cluster.add("worker", replicas=1)
    versions = [workload.version]
    cluster.roll_out(workload)
    for second in range(8):
        cluster.advance(float(second))
        versions.append(workload.version)
    assert versions == sorted(versions)
    assert len(set(versions)) == 3  # before, the template with its pod, and that it is ready, so that the old one ends
