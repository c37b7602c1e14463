"""Kubernetes over real HTTP: how many requests a reading takes, what each answer means, and the fence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest

from controller.adapters.clock import SystemClock
from controller.adapters.kubernetes.access import KubernetesAccess
from controller.adapters.kubernetes.client import KubernetesClient
from controller.adapters.kubernetes.platform import KubernetesPlatform
from controller.core.model import Replicas, ServiceState
from controller.core.ports import NotSent, Outdated, Refused, Unavailable
from controller.fake_kubernetes import FakeKubernetes, Timings, Workload
from controller.fake_kubernetes.kinds import CUSTOM, DEPLOYMENT, STATEFUL_SET, Kind
from tests.contract.stages import Lead, in_cluster
from tests.support.scene import intent_to

pytestmark = pytest.mark.virtual_time


@asynccontextmanager
async def cluster(
    *names: str, kind: Kind = DEPLOYMENT, replicas: int = 1
) -> AsyncIterator[tuple[FakeKubernetes, KubernetesPlatform]]:
    async with FakeKubernetes(Timings()) as fake:
        for name in names:
            fake.cluster.add(name, kind=kind, replicas=replicas)
        access = KubernetesAccess(fake.url, token=fake.api.token)
        platform = in_cluster(access, Lead(), [("default", kind.name, name) for name in names])
        yield fake, platform
        await platform.close()


def key(name: str, kind: Kind = DEPLOYMENT) -> str:
    return f"kubernetes:default/{kind.name}/{name}"


async def read(platform: KubernetesPlatform, name: str = "worker", kind: Kind = DEPLOYMENT) -> Replicas:
    reading = (await platform.observe([key(name, kind)]))[key(name, kind)]
    assert isinstance(reading, Replicas), reading
    return reading


def asked(fake: FakeKubernetes) -> list[str]:
    """Paths, without the look at what else scales a target, which comes every five minutes."""
    beside = ("horizontalpodautoscalers", "scaledobjects")
    return [path for _, path in fake.api.requests if not path.endswith(beside)]


@pytest.mark.costly
async def test_a_thousand_deployments_of_a_namespace_are_one_request() -> None:
    names = [f"w{number}" for number in range(1000)]
    async with cluster(*names) as (fake, platform):
        readings = await platform.observe([key(name) for name in names])
        assert asked(fake) == ["/apis/apps/v1/namespaces/default/deployments"]
        assert len(fake.api.requests) == 3, "and both kinds that scale, once"
    assert all(isinstance(one, Replicas) and one.running == 1 for one in readings.values())


async def test_pods_are_read_once_for_a_namespace_and_only_if_some_are_not_ready() -> None:
    async with cluster("a", "b") as (fake, platform):
        fake.cluster.scale(next(iter(fake.cluster.workloads.values())), 3)
        await platform.observe([key("a"), key("b")])
        assert [path.rpartition("/")[2] for path in asked(fake)] == ["deployments", "pods"]


async def test_of_a_custom_resource_the_scale_is_read_and_its_pods_tell_which_are_ready() -> None:
    async with cluster("worker", kind=CUSTOM, replicas=2) as (fake, platform):
        seen = await read(platform, kind=CUSTOM)
        assert (seen.configured, seen.running) == (2, 2)
        assert asked(fake) == [
            "/apis/example.com",
            "/apis/example.com/v1/namespaces/default/workers/worker/scale",
            "/api/v1/namespaces/default/pods",
        ]


@pytest.mark.parametrize("kind", [DEPLOYMENT, STATEFUL_SET, CUSTOM], ids=lambda kind: kind.name)
async def test_zero_is_read_as_zero_where_the_api_leaves_it_out(kind: Kind) -> None:
    async with cluster("worker", kind=kind, replicas=0) as (_, platform):
        seen = await read(platform, kind=kind)
    assert (seen.configured, seen.running, seen.state) == (0, 0, ServiceState.STOPPED)


@pytest.mark.parametrize(
    ("fault", "error", "says"),
    [
        ("409", Outdated, "somebody else wrote after our reading"),
        ("422", Refused, "HTTP 422"),
        ("404", Refused, "HTTP 404"),
        ("403", Refused, "deploy/kubernetes/rbac.yaml"),
        ("401", NotSent, "check the token"),
        ("429", NotSent, "nothing is sent for 15 s"),
    ],
)
async def test_what_the_api_refuses_has_certainly_not_happened(fault: str, error: type[Unavailable], says: str) -> None:
    async with cluster("worker") as (fake, platform):
        seen = await read(platform)
        fake.api.faults.add({"fault": fault, "on": "change"})
        with pytest.raises(error, match=says):
            await platform.scale(key("worker"), intent_to(2), seen)
        assert fake.api.changes == []


DAEMON_SET = Kind("apps", "v1", "DaemonSet", "daemonsets")


@pytest.mark.parametrize(
    ("kind", "names", "says"),
    [
        pytest.param(DEPLOYMENT, ["other"], "has no deployments.apps other in namespace default; create it", id="one"),
        pytest.param(DEPLOYMENT, ["other", "worker"], "has no deployments.apps other", id="of several"),
        pytest.param(CUSTOM, ["other"], "has no workers.example.com other", id="a custom one"),
        pytest.param(DAEMON_SET, ["worker"], "serves no daemonsets.apps with a scale", id="without a scale"),
        pytest.param(
            Kind("example.com", "v1", "", "wokers"), ["worker"], "serves no wokers.example.com", id="mistyped"
        ),
    ],
)
async def test_an_object_that_is_missing_is_told_from_a_resource_that_cannot_be_scaled(
    kind: Kind, names: list[str], says: str
) -> None:
    async with FakeKubernetes(Timings()) as fake:
        fake.cluster.add("worker")
        platform = in_cluster(
            KubernetesAccess(fake.url, token=fake.api.token), Lead(), [("default", kind.name, name) for name in names]
        )
        seen = await platform.observe([key(name, kind) for name in names])
        await platform.close()
    missing = seen[key(names[0], kind)]
    assert isinstance(missing, Unavailable)
    assert says in missing.text


async def test_a_resource_that_a_cluster_serves_by_another_version_now_is_found_again() -> None:
    """Otherwise only a restart of the controller would find it after an upgrade."""
    async with cluster("worker", kind=CUSTOM) as (_, platform):
        platform.resources._versions[CUSTOM.name] = "v0"
        seen = await platform.observe([key("worker", CUSTOM)])
        assert isinstance(seen[key("worker", CUSTOM)], Unavailable)
        assert (await read(platform, kind=CUSTOM)).configured == 1


@pytest.mark.parametrize("fault", ["500", "503", "html"])
async def test_after_a_failure_of_the_server_s_the_outcome_is_unknown(fault: str) -> None:
    async with cluster("worker") as (fake, platform):
        seen = await read(platform)
        fake.api.faults.add({"fault": fault, "on": "change"})
        with pytest.raises(Unavailable) as unknown:
            await platform.scale(key("worker"), intent_to(2), seen)
    assert not isinstance(unknown.value, NotSent)


async def test_a_status_that_was_written_in_between_refuses_the_change_and_the_next_reading_is_good_again() -> None:
    async with cluster("worker") as (fake, platform):
        seen = await read(platform)
        fake.cluster.touch(next(iter(fake.cluster.workloads.values())))
        with pytest.raises(Outdated):
            await platform.scale(key("worker"), intent_to(2), seen)
        await platform.scale(key("worker"), intent_to(2), await read(platform))
        assert [change["to"] for change in fake.api.changes] == [2]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        ("All connection attempts failed", "ConnectError; is that its address"),
        (
            "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed",
            "its certificate was not signed",
        ),
    ],
)
async def test_a_server_that_cannot_be_reached_is_named_with_what_to_look_at(error: str, says: str) -> None:
    def fails(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError(error)

    access = KubernetesAccess("https://10.0.0.1:6443", token="t")
    client = KubernetesClient(access, SystemClock(), transport=httpx.MockTransport(fails))
    with pytest.raises(NotSent) as away:
        await client.get("/version")
    await client.close()
    assert away.value.text.startswith(f"cannot be reached at https://10.0.0.1:6443 ({says}")


async def test_a_token_that_expired_is_read_again_once() -> None:
    async with cluster("worker") as (fake, platform):
        fake.api.faults.add({"fault": "401", "on": "/deployments"})
        assert (await read(platform)).configured == 1
        assert len(asked(fake)) == 2


def crashes(workload: Workload) -> None:
    workload.trouble = "crash"


def lacks_quota(workload: Workload) -> None:
    workload.quota = 1


def cannot_pull(workload: Workload) -> None:
    workload.trouble = "image"


def has_no_node(workload: Workload) -> None:
    workload.trouble = "unschedulable"


def exits(workload: Workload) -> None:
    workload.trouble = "exit"


@pytest.mark.parametrize(
    ("trouble", "shown"),
    [
        (crashes, (ServiceState.CRASHED, 3, 0, None)),
        (exits, (ServiceState.RUNNING, 0, 3, None)),
        (cannot_pull, (ServiceState.RUNNING, 0, 0, "ImagePullBackOff")),
        (has_no_node, (ServiceState.RUNNING, 0, 0, "Unschedulable")),
        (lacks_quota, (ServiceState.RUNNING, 0, 0, "FailedCreate")),
    ],
)
async def test_what_keeps_pods_from_running_is_told_apart(
    trouble: object, shown: tuple[ServiceState, int, int, str | None]
) -> None:
    assert callable(trouble)
    async with cluster("worker", replicas=1) as (fake, platform):
        (workload,) = fake.cluster.workloads.values()
        trouble(workload)
        fake.cluster.scale(workload, 3)
        await read(platform)
        await asyncio.sleep(5)
        seen = await read(platform)
    assert seen.configured == 3
    assert (seen.state, seen.crashed, seen.exited, seen.under_way and seen.under_way.status) == shown


async def test_a_pod_that_ends_is_leaving_where_none_stays() -> None:
    async with cluster("worker", kind=CUSTOM, replicas=2) as (_, platform):
        await platform.scale(key("worker", CUSTOM), intent_to(0), await read(platform, kind=CUSTOM))
        seen = await read(platform, kind=CUSTOM)
    assert (seen.configured, seen.alive, seen.leaving) == (0, 2, 2)
