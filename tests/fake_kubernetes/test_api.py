"""What the fake refuses, as a cluster does: what it cannot do must not look as if it were done."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import httpx
import pytest

from controller.fake_kubernetes import FakeKubernetes
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


def test_what_kubectl_sends_in_binary_and_a_watch_are_refused_with_the_reason() -> None:
    api = Api(Cluster(Timings()), "token")
    reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    review = api.answer(Request("POST", reviews, b"k8s\x00", "Bearer token"))
    watch = api.answer(Request("GET", WORKER.removesuffix("/worker"), b"", "Bearer token", query={"watch": "true"}))
    assert (review.status, watch.status) == (400, 405)
    assert json.loads(review.body)["message"] == "the fake reads JSON only"
    assert json.loads(watch.body)["message"] == "the fake has no watch; ask again instead"


@pytest.mark.parametrize(
    "body", ['{"metadata": ["x"]}', '{"spec": "3"}', '{"spec": [3]}', '{"metadata": {"annotations": ["x"]}}']
)
def test_a_part_of_an_object_that_is_none_is_refused(body: str) -> None:
    cluster = Cluster(Timings())
    cluster.add("worker", replicas=2)
    api = Api(cluster, "token")
    asked = Request("PATCH", WORKER, body.encode(), "Bearer token", "kubectl", "application/merge-patch+json", {})
    assert api.answer(asked).status == 400
    assert api.changes == []


def test_an_object_is_as_old_as_it_is_whatever_the_clock_began_with() -> None:
    """kubectl shows it as AGE."""
    cluster = Cluster(Timings(), now=80_000.0)
    cluster.add("worker")
    shown = json.loads(Api(cluster, "token").answer(Request("GET", WORKER, b"", "Bearer token")).body)
    created = datetime.fromisoformat(shown["metadata"]["creationTimestamp"])
    assert (datetime.now(UTC) - created).total_seconds() < 3600


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("{", id="no JSON"),
        pytest.param('{"replicas": "3"}', id="a text as a count"),
        pytest.param('{"trouble": "fire"}', id="an unknown trouble"),
        pytest.param('{"trouble": ["crash"]}', id="a list as a trouble"),
        pytest.param("[]", id="no object"),
    ],
)
async def test_what_is_set_by_hand_is_refused_if_it_is_not_understood(body: str) -> None:
    async with FakeKubernetes() as fake, httpx.AsyncClient() as client:
        fake.cluster.add("worker", replicas=2)
        refused = await client.post(f"{fake.url}/fake/workloads/worker", content=body)
        assert refused.status_code == 400
        assert "error" in refused.json()
        allowed = await client.post(f"{fake.url}/fake/workloads/worker", content='{"replicas": 3, "quota": null}')
        assert allowed.json()["spec"]["replicas"] == 3
