"""Doctor on a cluster: rights that are missing, and what else scales a worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from controller.adapters.kubernetes.access import KubernetesAccess
from controller.adapters.kubernetes.client import KubernetesClient
from controller.adapters.kubernetes.platform import KubernetesPlatform
from controller.doctor.any_platform import PlatformAsked
from controller.doctor.finding import Finding, Level
from controller.doctor.kubernetes import check_kubernetes
from controller.fake_kubernetes import FakeKubernetes, Timings
from controller.policy import Policy
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


async def found(fake: FakeKubernetes) -> dict[str, Finding]:
    access = KubernetesAccess(fake.url, token=fake.api.token)
    platform = KubernetesPlatform(KubernetesClient(access, LoopClock()), POLICY)
    findings = await check_kubernetes(PlatformAsked(platform, access, 10.0, POLICY.workers, {}, LoopClock()))
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


async def test_a_target_that_is_not_there_is_an_error(fake: FakeKubernetes) -> None:
    fake.cluster.workloads.clear()
    finding = (await found(fake))["target"]
    assert (finding.level, "has no deployments.apps worker" in finding.says) == (Level.ERROR, True)
