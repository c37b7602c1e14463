"""Doctor on a cluster: rights that are missing, and what else scales a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import pytest

from controller.adapters.http import httpx
from controller.adapters.kubernetes.access import KubernetesAccess
from controller.adapters.kubernetes.client import KubernetesClient
from controller.adapters.kubernetes.platform import KubernetesPlatform
from controller.doctor.any_platform import PlatformAsked
from controller.doctor.finding import Finding, Level
from controller.doctor.kubernetes import check_kubernetes, rights
from controller.fake_kubernetes import FakeKubernetes, Timings
from controller.fake_kubernetes.kinds import STATEFUL_SET
from controller.policy import KubernetesTarget, Policy
from tests.virtual.idle import LoopClock

pytestmark = pytest.mark.virtual_time
POLICY = Policy.model_validate(
    {
        "workers": {
            "render": {
                "kubernetes": {"name": "worker"},
                "queue": {"table": "jobs"},
                "tiers": [{"replicas": 1}],
                "max_replicas": 1,
            }
        }
    }
)


@pytest.fixture
async def fake() -> AsyncIterator[FakeKubernetes]:
    async with FakeKubernetes(Timings()) as fake:
        fake.begin(1)
        yield fake


async def found(
    fake: FakeKubernetes, policy: Policy = POLICY, holders: Mapping[str, tuple[str, ...] | None] | None = None
) -> dict[str, Finding]:
    access = KubernetesAccess(fake.url, token=fake.api.token)
    platform = KubernetesPlatform(KubernetesClient(access, LoopClock()), policy)
    asked = PlatformAsked(platform, access, 10.0, policy.workers, {}, LoopClock(), holders or {})
    findings = await check_kubernetes(asked)
    await platform.close()
    return {one.about: one for one in findings.workers["render"]}


async def test_where_all_is_well_it_says_what_it_looked_at(fake: FakeKubernetes) -> None:
    findings = await found(fake)
    assert {about: one.level for about, one in findings.items()} == {
        "target": Level.OK,
        "rights": Level.OK,
        "contenders": Level.OK,
    }
    assert "replicas configured: 1, running: 1" in findings["target"].says


async def test_each_right_that_is_missing_is_named_with_the_fix(fake: FakeKubernetes) -> None:
    fake.api.denied = {"patch deployments/scale", "list pods"}
    finding = (await found(fake))["rights"]
    assert finding.level is Level.ERROR
    assert "patch deployments/scale, list pods in namespace default" in finding.says
    assert "rbac.yaml" in finding.fix


async def reviewed(status: str) -> Finding:
    """The rights, where each review of one has this status."""
    answer = httpx.ByteStream(f'{{"status": {status}}}'.encode())
    transport = httpx.MockTransport(lambda _: httpx.Response(201, stream=answer))
    client = KubernetesClient(KubernetesAccess("https://c", token="t"), LoopClock(), transport=transport)
    finding = await rights(client, cast("KubernetesTarget", POLICY.workers["render"].target.given))
    await client.close()
    return finding


@pytest.mark.parametrize("status", ["null", "[]", '"allowed"'])
async def test_a_review_of_rights_that_is_not_understood_cannot_be_checked(status: str) -> None:
    finding = await reviewed(status)
    assert finding.level is Level.WARNING
    assert "cannot be checked: Kubernetes: answered a review of its rights in an unknown format" in str(finding)


@pytest.mark.parametrize("status", ["{}", '{"allowed": "no"}', '{"allowed": null}'])
async def test_only_true_is_a_right(status: str) -> None:
    assert (await reviewed(status)).level is Level.ERROR


@pytest.mark.parametrize(
    ("reference", "level"),
    [
        ({"kind": "Deployment", "name": "worker"}, Level.ERROR),
        ({"kind": "StatefulSet", "name": "worker"}, Level.OK),
        ({"kind": "Deployment", "name": "other"}, Level.OK),
    ],
)
async def test_an_autoscaler_on_the_same_target_is_an_error(
    fake: FakeKubernetes, reference: dict[str, Any], level: Level
) -> None:
    fake.cluster.scalers.append({"metadata": {"name": "hpa"}, "spec": {"scaleTargetRef": reference}})
    finding = (await found(fake))["contenders"]
    assert finding.level is level
    assert ("HorizontalPodAutoscaler hpa sets the replicas" in finding.says) is (level is Level.ERROR)


@pytest.mark.parametrize("kind", ["horizontalpodautoscalers", "scaledobjects"])
async def test_if_other_autoscalers_may_not_be_listed_it_is_unknown_whether_there_is_one(
    fake: FakeKubernetes, kind: str
) -> None:
    fake.api.denied.add(f"list {kind}")
    finding = (await found(fake))["contenders"]
    assert finding.level is Level.WARNING
    assert f"cannot list {kind}" in finding.says
    assert "rbac.yaml" in finding.fix


async def test_a_target_that_is_not_there_is_an_error(fake: FakeKubernetes) -> None:
    fake.cluster.workloads.clear()
    finding = (await found(fake))["target"]
    assert (finding.level, "has no deployments.apps worker" in finding.says) == (Level.ERROR, True)


POD = "worker-1-00001"


@pytest.mark.parametrize(
    ("holders", "level", "says"),
    [
        pytest.param((f"host:{POD} pid:7",), Level.OK, "each of the 1 that hold jobs is a pod", id="it is a pod"),
        pytest.param(
            (POD, "worker-5f3a"),
            Level.WARNING,
            f"1 of 2 that hold jobs are no pods, such as 'worker-5f3a' (pods: '{POD}')",
            id="one is no pod",
        ),
        pytest.param(("",), Level.WARNING, "such as jobs without a name", id="jobs name none"),
        pytest.param((), Level.OK, "no job is in progress now", id="no job is in progress"),
        pytest.param(None, Level.OK, "the queue does not tell who holds a job", id="the queue cannot tell"),
    ],
)
async def test_it_says_whether_those_who_hold_jobs_are_pods(
    fake: FakeKubernetes, holders: tuple[str, ...] | None, level: Level, says: str
) -> None:
    finding = (await found(fake, holders={"render": holders}))["idle first"]
    assert (finding.level, says in finding.says) == (level, True), finding


async def test_it_says_which_right_idle_pods_first_needs(fake: FakeKubernetes) -> None:
    fake.api.denied = {"patch pods"}
    findings = await found(fake, holders={"render": (POD,)})
    assert findings["rights"].level is Level.OK, "a cycle does not need it"
    assert (findings["idle first"].level, "lacks patch pods" in findings["idle first"].says) == (Level.WARNING, True)


async def test_of_a_stateful_set_it_says_which_pods_stay_and_needs_no_right_to_patch(fake: FakeKubernetes) -> None:
    fake.cluster.add("worker", kind=STATEFUL_SET, replicas=3)
    fake.api.denied = {"patch pods"}
    worker = {
        **POLICY.workers["render"].model_dump(exclude_unset=True),
        "kubernetes": {"resource": "statefulsets.apps", "name": "worker"},
    }
    policy = Policy.model_validate({"workers": {"render": worker}})
    finding = (await found(fake, policy, holders={"render": ("worker-1",)}))["idle first"]
    assert finding.level is Level.OK
    assert finding.says.endswith("so these and all with a lower ordinal stay")
