"""What the fake refuses, as a cluster does: what it cannot do must not look as if it were done."""

from __future__ import annotations

import pytest

from controller.fake_kubernetes.api import Api, Request
from controller.fake_kubernetes.cluster import Cluster
from controller.fake_kubernetes.timings import Timings

WORKER = "/apis/apps/v1/namespaces/default/deployments/worker"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        pytest.param("DELETE", WORKER, id="delete a Deployment"),
        pytest.param("POST", WORKER.removesuffix("/worker"), id="create one"),
        pytest.param("PUT", WORKER.removesuffix("/worker"), id="replace the list"),
        pytest.param("DELETE", "/api/v1/namespaces/default/pods/x", id="delete a pod"),
        pytest.param("POST", "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers", id="create an HPA"),
        pytest.param("PATCH", "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers/x", id="patch an HPA"),
    ],
)
def test_a_method_that_the_fake_cannot_carry_out_is_refused(method: str, path: str) -> None:
    cluster = Cluster(Timings())
    cluster.add("worker", replicas=2)
    api = Api(cluster, "token")
    asked = Request(method, path, b"{}", "Bearer token", "kubectl", "application/merge-patch+json", {})
    assert api.answer(asked).status == 405
    assert api.changes == []
