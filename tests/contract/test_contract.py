"""The contract of a Platform, on the fakes, and in `make test-swarm` on a real Swarm."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from controller.core.model import Replicas
from controller.core.ports import LeaseLost, Outdated, Receipt, Unavailable
from tests.contract.stages import FAKES, Opened, Stage, real_ones
from tests.support.scene import intent_to


@pytest.fixture(scope="module")
def real() -> Iterator[dict[str, Opened]]:
    with real_ones() as stages:
        yield stages


@pytest.fixture(params=[*FAKES, "real swarm"])
async def stage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    name = str(request.param)
    opened = FAKES[name] if name in FAKES else request.getfixturevalue("real")[name]
    async with opened(tmp_path) as one:
        yield one


async def test_a_reading_has_the_configured_and_the_running_count(stage: Stage) -> None:
    seen = await stage.settled(2)
    assert (seen.crashed, seen.exited, seen.leaving) == (0, 0, 0)
    assert seen.deployment


async def test_up_to_zero_and_back(stage: Stage) -> None:
    for count in (3, 0, 1):
        before = (await stage.read()).configured
        receipt = await stage.platform.scale(stage.key, intent_to(count), await stage.read())
        assert receipt is Receipt.ACCEPTED
        seen = await stage.settled(count)
        assert (seen.configured, await stage.count()) == (count, count)
        assert before != count


async def test_a_change_of_the_count_is_no_other_deployment(stage: Stage) -> None:
    before = await stage.settled(2)
    await stage.platform.scale(stage.key, intent_to(1), before)
    assert (await stage.settled(1)).deployment == before.deployment


async def test_a_change_that_was_decided_on_an_older_count_is_refused_and_changes_nothing(stage: Stage) -> None:
    stale = await stage.settled(2)
    await stage.by_hand(4)
    with pytest.raises(Outdated):
        await stage.platform.scale(stage.key, intent_to(1), stale)
    assert await stage.count() == 4
    await stage.settled(4)


async def test_without_the_lease_nothing_changes(stage: Stage) -> None:
    seen = await stage.settled(2)
    stage.leads[0] = False
    with pytest.raises(LeaseLost):
        await stage.platform.scale(stage.key, intent_to(4), seen)
    assert await stage.count() == 2


async def test_a_target_that_does_not_exist_is_unavailable_and_stops_no_other(stage: Stage) -> None:
    readings = await stage.platform.observe([stage.key, stage.gone])
    assert isinstance(readings[stage.key], Replicas)
    assert isinstance(readings[stage.gone], Unavailable)
