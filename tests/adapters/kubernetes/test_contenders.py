"""What else sets the count of a target: when it is looked for, and what is silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from controller.adapters.kubernetes.access import KubernetesAccess
from controller.adapters.kubernetes.platform import KubernetesPlatform
from controller.core.model import Replicas
from controller.fake_kubernetes import FakeKubernetes, Timings
from controller.fake_kubernetes.kinds import DEPLOYMENT
from tests.contract.stages import Lead, in_cluster

pytestmark = pytest.mark.virtual_time
KEY = f"kubernetes:default/{DEPLOYMENT.name}/worker"


@pytest.fixture
async def fake() -> AsyncIterator[FakeKubernetes]:
    async with FakeKubernetes(Timings()) as fake:
        fake.begin(1)
        yield fake


@pytest.fixture
async def platform(fake: FakeKubernetes) -> AsyncIterator[KubernetesPlatform]:
    access = KubernetesAccess(fake.url, token=fake.api.token)
    platform = in_cluster(access, Lead(), [("default", DEPLOYMENT.name, "worker")])
    yield platform
    await platform.close()


def scaler(name: str, target: str = "worker", kind: str = "Deployment") -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"scaleTargetRef": {"kind": kind, "name": target}}}


async def seen(platform: KubernetesPlatform) -> Replicas:
    reading = (await platform.observe([KEY]))[KEY]
    assert isinstance(reading, Replicas), reading
    return reading


def looks(fake: FakeKubernetes) -> int:
    return sum(path.endswith("/horizontalpodautoscalers") for _, path in fake.api.requests)


@pytest.mark.costly
async def test_it_is_looked_for_at_the_start_and_every_five_minutes(
    fake: FakeKubernetes, platform: KubernetesPlatform
) -> None:
    for _ in range(60):
        assert (await seen(platform)).contenders == ()
        await asyncio.sleep(10)
    assert looks(fake) == 2
    fake.cluster.scalers += [scaler("web", "other"), scaler("hpa")]
    assert (await seen(platform)).contenders == ("HorizontalPodAutoscaler hpa",)
    fake.cluster.scalers.clear()
    await asyncio.sleep(300)
    assert (await seen(platform)).contenders == ()


@pytest.mark.parametrize("denied", [True, False], ids=["it may not be listed", "it hangs"])
async def test_what_cannot_be_read_is_silent_and_holds_up_no_cycle(
    fake: FakeKubernetes, platform: KubernetesPlatform, *, denied: bool
) -> None:
    fake.cluster.scalers.append(scaler("hpa"))
    if denied:
        fake.api.denied.add("list horizontalpodautoscalers")
    else:
        fake.api.faults.add({"fault": "hang", "on": "/horizontalpodautoscalers", "seconds": 60})
    began = asyncio.get_running_loop().time()
    reading = await seen(platform)
    assert (reading.configured, reading.contenders) == (1, ())
    assert asyncio.get_running_loop().time() - began < 3


@pytest.mark.parametrize("fault", ["503", "hang"])
async def test_one_that_was_seen_is_not_gone_because_the_next_look_fails(
    fake: FakeKubernetes, platform: KubernetesPlatform, fault: str
) -> None:
    fake.cluster.scalers.append(scaler("hpa"))
    assert (await seen(platform)).contenders == ("HorizontalPodAutoscaler hpa",)
    await asyncio.sleep(300)
    fake.api.faults.add({"fault": fault, "on": "/horizontalpodautoscalers"})
    assert (await seen(platform)).contenders == ("HorizontalPodAutoscaler hpa",)
    assert looks(fake) == 2
