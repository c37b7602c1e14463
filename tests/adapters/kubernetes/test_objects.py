"""What an object's status says of a rollout that is under way."""

from __future__ import annotations

from typing import Any

import pytest

from controller.adapters.kubernetes.reading import of_object
from controller.core.model import UnderWay
from controller.policy import KubernetesTarget

OLD = {"replicas": 3, "readyReplicas": 3, "updatedReplicas": 1, "observedGeneration": 2}
NEW = {**OLD, "updatedReplicas": 3}
PAUSED = {**OLD, "pauseConditions": [{"reason": "CanaryPauseStep"}]}


def under_way(resource: str, status: dict[str, Any], **spec: Any) -> UnderWay | None:
    target = KubernetesTarget(namespace="jobs", resource=resource, name="w")
    meta = {"name": "w", "uid": "u", "resourceVersion": "1"}
    return of_object(target, {"metadata": meta, "spec": {"replicas": 3, **spec}, "status": status}, None).under_way


@pytest.mark.parametrize(
    ("resource", "status", "fix"),
    [
        ("deployments.apps", OLD, "see `kubectl -n jobs rollout status deployments.apps/w`"),
        ("statefulsets.apps", OLD, "see `kubectl -n jobs rollout status statefulsets.apps/w`"),
        ("rollouts.argoproj.io", OLD, "see `kubectl argo rollouts -n jobs get rollout w`"),
    ],
)
def test_a_rollout_that_is_under_way_is_told_with_the_command_that_shows_it(
    resource: str, status: dict[str, Any], fix: str
) -> None:
    seen = under_way(resource, status)
    assert seen is not None
    assert (seen.status, seen.fix) == ("rolling out", fix)


@pytest.mark.parametrize(
    ("resource", "status", "paused", "fix"),
    [
        ("deployments.apps", OLD, True, "`kubectl -n jobs rollout resume deployments.apps/w`"),
        ("rollouts.argoproj.io", PAUSED, False, "`kubectl argo rollouts -n jobs promote w`"),
    ],
)
def test_one_that_is_paused_is_told_with_the_command_that_goes_on(
    resource: str, status: dict[str, Any], *, paused: bool, fix: str
) -> None:
    seen = under_way(resource, status, paused=paused)
    assert seen is not None
    assert seen.status == "paused in the middle of a rollout"
    assert seen.fix.startswith(fix)


@pytest.mark.parametrize(
    ("resource", "status", "strategy"),
    [
        pytest.param("deployments.apps", NEW, {}, id="it is over"),
        pytest.param("replicasets.apps", {"replicas": 3, "observedGeneration": 2}, {}, id="a ReplicaSet has none"),
        pytest.param("statefulsets.apps", OLD, {"type": "OnDelete"}, id="pods are replaced by hand"),
        pytest.param("statefulsets.apps", OLD, {"rollingUpdate": {"partition": 2}}, id="old ones are kept on purpose"),
    ],
)
def test_old_pods_that_are_to_stay_are_no_rollout(
    resource: str, status: dict[str, Any], strategy: dict[str, Any]
) -> None:
    assert under_way(resource, status, updateStrategy=strategy) is None
