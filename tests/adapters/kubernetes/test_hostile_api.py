"""An API, or what stands before it, that answers what no Kubernetes answers: each time a reason, and never a count."""

from __future__ import annotations

import contextlib
import copy
import gzip
import tracemalloc
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from controller.adapters.http import httpx
from controller.adapters.kubernetes import reading
from controller.adapters.kubernetes.access import KubernetesAccess
from controller.adapters.kubernetes.platform import KubernetesPlatform
from controller.adapters.sending import TooLargeError, read_body
from controller.core.model import Replicas
from controller.core.ports import Unavailable
from controller.policy import KubernetesTarget
from tests.contract.stages import Lead, in_cluster
from tests.support.scene import intent_to

pytestmark = pytest.mark.virtual_time
TOKEN = "t0ken-of-the-controller"
META = {"name": "worker", "resourceVersion": "5", "uid": "u"}
FOUND: dict[str, Any] = {"metadata": META, "spec": {"replicas": 2}, "status": {"replicas": 2, "readyReplicas": 2}}
Answer = Callable[[web.Request], web.Response]


@asynccontextmanager
async def api(answer: Answer, *targets: tuple[str, str]) -> AsyncIterator[KubernetesPlatform]:
    """answer: to what is asked of the targets, given as resource and name; the namespace has nothing else."""

    async def answered(request: web.Request) -> web.Response:
        beside = ("horizontalpodautoscalers", "scaledobjects")
        return web.json_response({"items": []}) if request.path.endswith(beside) else answer(request)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answered)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    access = KubernetesAccess(f"http://127.0.0.1:{runner.addresses[0][1]}", token=TOKEN)
    platform = in_cluster(access, Lead(), [("default", *one) for one in targets])
    try:
        yield platform
    finally:
        await platform.close()
        await runner.cleanup()


async def read(answer: Answer, resource: str = "deployments.apps") -> Replicas | Unavailable:
    key = f"kubernetes:default/{resource}/worker"
    async with api(answer, (resource, "worker")) as platform:
        return (await platform.observe([key]))[key]


def says(found: object, **how: Any) -> Answer:
    return lambda _: web.json_response(found, **how)


def packed(times: int, **how: Any) -> Answer:
    body = b'{"a": 1}'
    for _ in range(times):
        body = gzip.compress(body)
    encoding = {"Content-Encoding": ", ".join(["gzip"] * times)}
    return lambda _: web.Response(body=body, headers=encoding, content_type="application/json", **how)


NO_READING: dict[str, tuple[Answer, str]] = {
    "no spec": (says({**FOUND, "spec": None}), "spec is no object"),
    "a spec of another type": (says({**FOUND, "spec": [2]}), "spec is no object"),
    "a status of another type": (says({**FOUND, "status": "ready"}), "status is no object"),
    "no metadata": (says({**FOUND, "metadata": None}), "metadata is no object"),
    "no version": (says({**FOUND, "metadata": {"name": "worker"}}), "shows no resourceVersion"),
    "another object": (says({**FOUND, "metadata": {**META, "name": "other"}}), "another object than deployments.apps"),
    "a text": (says({**FOUND, "spec": {"replicas": "2"}}), "replicas is no count"),
    "a fraction": (says({**FOUND, "spec": {"replicas": 2.5}}), "replicas is no count"),
    "a Status with 200": (says({"kind": "Status", "metadata": {}, "status": "Failure"}), "spec is no object"),
    "a page": (lambda _: web.Response(text="<html>"), "with HTTP 200, but with no JSON object"),
    "a redirect": (lambda _: web.Response(status=302, headers={"Location": "/"}), "a redirect, which is not followed"),
    "gone": (says({"message": "too old"}, status=410), "HTTP 410: too old"),
    "packed twice": (packed(2), "with a compressed answer; the rest was not read"),
    "packed and cut": (
        lambda _: web.Response(body=gzip.compress(b"{}")[:-9], headers={"Content-Encoding": "gzip"}),
        "broke off its answer",
    ),
    "packed, and goes on": (
        lambda _: web.Response(body=gzip.compress(b"{}") + b"more", headers={"Content-Encoding": "gzip"}),
        "broke off its answer",
    ),
    "not packed at all": (lambda _: web.Response(text="{}", headers={"Content-Encoding": "gzip"}), "broke off"),
    "its token": (says({"message": f"{TOKEN} is not known"}, status=403), "HTTP 403: ••• is not known"),
}


@pytest.mark.parametrize(("answer", "why"), NO_READING.values(), ids=NO_READING)
async def test_what_no_kubernetes_answers_is_no_reading_and_says_why(answer: Answer, why: str) -> None:
    seen = await read(answer)
    assert isinstance(seen, Unavailable)
    assert why in str(seen)
    assert TOKEN not in str(seen)


@pytest.mark.parametrize("spec", [None, "2", [2]], ids=repr)
async def test_a_scale_without_a_spec_is_no_zero(spec: object) -> None:
    scale = {**FOUND, "spec": spec}
    discovery = {"preferredVersion": {"groupVersion": "example.com/v1", "version": "v1"}}

    def answer(request: web.Request) -> web.Response:
        return web.json_response(discovery if request.path == "/apis/example.com" else scale)

    seen = await read(answer, "workers.example.com")
    assert isinstance(seen, Unavailable)
    assert "spec is no object" in str(seen)


@pytest.mark.parametrize(
    "scale", [{}, {**FOUND, "spec": None}, {**FOUND, "spec": []}, {**FOUND, "spec": "3"}], ids=repr
)
async def test_an_answer_to_a_change_that_cannot_be_read_leaves_its_outcome_unknown(scale: object) -> None:
    key = "kubernetes:default/deployments.apps/worker"
    async with api(
        lambda asked: web.json_response(scale if asked.method == "PATCH" else FOUND), ("deployments.apps", "worker")
    ) as platform:
        seen = (await platform.observe([key]))[key]
        assert isinstance(seen, Replicas)
        with pytest.raises(Unavailable, match="is no object") as unknown:
            await platform.scale(key, intent_to(0), seen)
    assert type(unknown.value) is Unavailable


ODD = [None, True, -1, 0, 2.5, 10**30, "", "5", [], {}, [None], {"a": 1}, "\x1b[2J"]
POD = {
    "metadata": {"name": "worker-1", "labels": {"app": "w"}, "annotations": {"a": "b"}, "deletionTimestamp": None},
    "status": {
        "phase": "Pending",
        "conditions": [{"type": "Ready", "status": "False"}, {"type": "PodScheduled", "status": "False"}],
        "containerStatuses": [
            {
                "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"exitCode": 1}},
            }
        ],
        "initContainerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}],
    },
}
DEPLOYMENT: dict[str, Any] = {
    "metadata": {**META, "annotations": {"deployment.kubernetes.io/revision": "3"}},
    "spec": {
        "replicas": 3,
        "selector": {"matchLabels": {"app": "w"}, "matchExpressions": [{"key": "k", "operator": "In", "values": []}]},
        "template": {"spec": {"terminationGracePeriodSeconds": 30}},
    },
    "status": {
        "replicas": 3,
        "readyReplicas": 1,
        "updatedReplicas": 2,
        "conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "quota"}],
    },
}
TARGET = KubernetesTarget(name="worker")


def places(value: Any, here: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Of all values within it."""
    for key, one in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield (*here, key)
        yield from places(one, (*here, key))


def changed(value: dict[str, Any], place: tuple[str | int, ...], odd: object) -> dict[str, Any]:
    found = copy.deepcopy(value)
    within: Any = found
    for key in place[:-1]:
        within = within[key]
    within[place[-1]] = odd
    return found


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_a_value_of_another_type_at_any_place_of_a_pod_changes_what_is_known_of_this_pod_alone(odd: object) -> None:
    for place in places(POD):
        pods = [POD, changed(POD, place, odd)]
        seen = reading.pods_of("app=w", pods)
        assert 1 <= seen.every + seen.leaving <= 2, place
        assert 1 <= len(list(reading.pods_in(pods, "a"))) <= 2, place


@pytest.mark.parametrize("odd", ODD, ids=repr)
def test_a_value_of_another_type_at_any_place_of_an_object_is_no_reading_or_keeps_its_count(odd: object) -> None:
    for place in places(DEPLOYMENT):
        with contextlib.suppress(Unavailable):
            seen = reading.of_object(TARGET, changed(DEPLOYMENT, place, odd), reading.pods_of("app=w", [POD]))
            wanted: dict[tuple[str | int, ...], object] = {
                ("spec", "replicas"): odd,
                ("spec",): 1,
            }  # an empty spec means 1
            assert seen.configured == wanted.get(place, 3), place


SERVED = "workers.example.com"
SCALE = {**FOUND, "status": {"replicas": 2}}


def serving(**has: list[str]) -> Answer:
    """An API group that serves these resources, by version, of which the first is preferred."""
    versions = [{"groupVersion": f"example.com/{one}", "version": one} for one in has]
    found: dict[str, Any] = {
        f"/apis/example.com/{one}": {"resources": [{"name": name} for name in names]} for one, names in has.items()
    }
    found["/apis/example.com"] = {"preferredVersion": versions[0], "versions": versions}
    for version, names in has.items():
        if "workers/scale" in names:
            found[f"/apis/example.com/{version}/namespaces/default/workers/worker/scale"] = SCALE

    def answer(asked: web.Request) -> web.Response:
        there = asked.path in found
        return web.json_response(found[asked.path] if there else {"message": "gone"}, status=200 if there else 404)

    return answer


async def test_a_resource_is_read_in_the_version_of_its_group_that_has_its_scale() -> None:
    seen = await read(serving(v2=["others"], v1=["workers"], v1beta1=["workers", "workers/scale"]), SERVED)
    assert isinstance(seen, Replicas), seen


async def test_of_a_resource_without_a_scale_it_is_said_that_it_cannot_be_scaled() -> None:
    seen = await read(serving(v2=["others"], v1=["workers"]), SERVED)
    assert "serves no workers.example.com with a scale subresource, in none of v2, v1" in str(seen)


async def test_a_version_that_is_served_no_more_is_looked_for_again() -> None:
    serves = serving(v1beta1=["workers/scale"])
    key = f"kubernetes:default/{SERVED}/worker"

    def answer(asked: web.Request) -> web.Response:
        return serves(asked)

    async with api(answer, (SERVED, "worker")) as platform:
        assert isinstance((await platform.observe([key]))[key], Replicas)
        serves = serving(v1=["workers/scale"])
        assert "serves no workers.example.com with a scale" in str((await platform.observe([key]))[key])
        assert isinstance((await platform.observe([key]))[key], Replicas)


async def two_in_pages(pages: dict[str, dict[str, Any]]) -> list[Replicas | Unavailable]:
    """pages: by the token that asks for each."""
    names = ("worker", "other")
    targets = [("deployments.apps", one) for one in names]
    async with api(lambda asked: web.json_response(pages[asked.query.get("continue", "")]), *targets) as platform:
        seen = await platform.observe([f"kubernetes:default/deployments.apps/{one}" for one in names])
    return list(seen.values())


async def test_a_list_in_pages_is_read_to_its_end() -> None:
    other = {**FOUND, "metadata": {**META, "name": "other"}}
    first = {"metadata": {"continue": "second"}, "items": [FOUND]}
    seen = await two_in_pages({"": first, "second": {"metadata": {"continue": ""}, "items": [other]}})
    assert [type(one) for one in seen] == [Replicas, Replicas], seen


async def test_an_object_that_a_list_has_twice_is_no_reading() -> None:
    seen = await two_in_pages({"": {"items": [FOUND, {**FOUND, "spec": {"replicas": 0}}]}})
    assert "lists deployments.apps worker in namespace default twice" in str(seen[0])


async def test_a_list_without_an_end_is_no_reading() -> None:
    again = {"metadata": {"continue": "again"}, "items": [FOUND]}
    seen = await two_in_pages({"": again, "again": again})
    assert all("with more than 10 pages" in str(one) for one in seen), seen


async def test_an_answer_that_is_packed_once_is_read() -> None:
    def answer(_: web.Request) -> web.Response:
        found = web.json_response(FOUND)
        found.enable_compression(web.ContentCoding.gzip)
        return found

    seen = await read(answer)
    assert isinstance(seen, Replicas)
    assert seen.configured == 2


async def test_of_a_packed_answer_no_more_is_unpacked_than_may_be_read() -> None:
    bomb = gzip.compress(b"\0" * 5_000_000)
    response = httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=httpx.ByteStream(bomb))
    tracemalloc.start()
    try:
        with pytest.raises(TooLargeError, match="more than 1,000 bytes"):
            await read_body(response, 1_000, unpacks=True)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
