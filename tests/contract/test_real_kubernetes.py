"""What a real API server answers where the contract orders a fault from a fake; see docs/CONTRIBUTING.md.

Skipped without CONTRACT_KUBECONFIG.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from controller.adapters.kubernetes.access import KubernetesAccess
from controller.adapters.kubernetes.kubeconfig import read_kubeconfig
from controller.adapters.kubernetes.platform import KubernetesPlatform
from controller.core.model import Replicas
from controller.core.ports import NotSent, Outdated, Refused, Unavailable
from controller.demo.server_host import free_ports
from tests.contract.frozen import said_after_a_freeze
from tests.contract.stages import IS_REAL, STAGES, Lead, Stage, in_cluster
from tests.support.misfortunes import LinkMode
from tests.support.proxy import Link
from tests.support.scene import intent_to

pytestmark = pytest.mark.skipif(not IS_REAL, reason="CONTRACT_KUBECONFIG names no cluster")
TOO_MANY = 2**31
"""One more than the replicas' type, int32, can hold."""


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    (real,) = STAGES.values()
    async with real() as stage:
        yield stage


def access() -> KubernetesAccess:
    return read_kubeconfig(os.environ["CONTRACT_KUBECONFIG"])


@asynccontextmanager
async def platform_with(given: KubernetesAccess, key: str) -> AsyncIterator[KubernetesPlatform]:
    namespace, resource, name = key.partition(":")[2].split("/")
    platform = in_cluster(given, Lead(), [(namespace, resource, name)])
    yield platform
    await platform.close()


async def reading(platform: KubernetesPlatform, key: str) -> Replicas | Unavailable:
    try:
        return (await platform.observe([key]))[key]
    except Unavailable as unavailable:
        return unavailable


async def test_a_count_that_is_impossible_is_refused_and_changes_nothing(stage: Stage) -> None:
    seen = await stage.shows(2)
    with pytest.raises(Refused, match="HTTP 4"):
        await stage.scale(TOO_MANY, seen)
    assert (await stage.read()).configured == 2


async def test_a_target_that_is_not_there_is_refused_by_its_name(stage: Stage) -> None:
    missing = await reading(stage.platform, stage.absent)  # type: ignore[arg-type]  # it is one of Kubernetes
    assert isinstance(missing, Unavailable)
    assert "absent" in str(missing)


async def test_a_second_change_on_the_same_reading_is_refused(stage: Stage) -> None:
    seen = await stage.shows(2)
    await stage.scale(1, seen)
    with pytest.raises(Outdated, match="HTTP 409"):
        await stage.scale(3, seen)
    await stage.shows(1)


async def test_a_leader_that_was_frozen_while_another_one_led_is_refused_by_the_api_server(stage: Stage) -> None:
    """Two real processes: the first is stopped by SIGSTOP after its reading, and goes on after the second's change."""
    await stage.shows(2)
    target = stage.one.removeprefix("kubernetes:")
    said = await said_after_a_freeze("kubernetes", os.environ["CONTRACT_KUBECONFIG"], target)
    assert said.startswith("Outdated Kubernetes: ")
    assert "(HTTP 409)" in said
    await stage.shows(3)


async def test_a_token_that_is_not_taken_reads_nothing_and_changes_nothing(stage: Stage) -> None:
    seen = await stage.shows(2)
    expired = replace(access(), token="expired", token_file=None, certificate=None, plugin=None)
    async with platform_with(expired, stage.one) as stranger:
        unread = await reading(stranger, stage.one)
        assert isinstance(unread, Unavailable)
        assert "HTTP 401" in str(unread) or "HTTP 403" in str(unread)
        with pytest.raises(NotSent, match=r"HTTP 40[13]"):
            await stranger.scale(stage.one, intent_to(5), seen)
    assert (await stage.read()).configured == 2


async def test_over_a_link_that_hangs_nothing_is_read_and_the_outcome_of_a_change_is_unknown(stage: Stage) -> None:
    seen, server = await stage.shows(2), urlsplit(access().server)
    assert server.hostname is not None
    link = Link("cluster", next(free_ports()), (server.hostname, server.port or 443))
    await link.open()
    # Its certificate is for another port of the same host at most, so the name is not what is tested here.
    through = replace(access(), server=f"https://127.0.0.1:{link.port}", verifies=False)
    try:
        async with platform_with(through, stage.one) as far:
            assert isinstance(await reading(far, stage.one), Replicas)
            await link.disturb(LinkMode.HALF_DROP)
            with pytest.raises(Unavailable) as unknown:
                await far.scale(stage.one, intent_to(3), seen)
            assert not isinstance(unknown.value, NotSent)
        await stage.shows(3)
    finally:
        await link.close()
