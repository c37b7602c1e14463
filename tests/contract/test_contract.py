"""What every platform has to keep, whatever it is: the loop relies on it, and knows no platform."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from controller.core.model import Replicas, ServiceState
from controller.core.ports import LeaseLost, NotSent, Unavailable
from tests.contract.address import on_an_address
from tests.contract.stages import IS_REAL, STAGES, Stage
from tests.contract.swarm import on_a_fake_swarm
from tests.support.scene import intent_to

pytestmark = [] if IS_REAL else [pytest.mark.virtual_time]
EVERY = STAGES if IS_REAL else {**STAGES, "Docker Swarm": on_a_fake_swarm, "an address": on_an_address}


@pytest.fixture(params=EVERY)
async def stage(request: pytest.FixtureRequest) -> AsyncIterator[Stage]:
    async with EVERY[request.param]() as stage:
        yield stage


def needs_faults(stage: Stage) -> None:
    if stage.order is None:
        pytest.skip("a real server does nothing wrong on order")


async def test_a_target_is_read_with_what_it_was_asked_for_and_what_runs(stage: Stage) -> None:
    seen = await stage.shows(2)
    assert (seen.configured, seen.state) == (2, ServiceState.RUNNING)
    assert seen.words.name in {stage.platform.source.name, "Folder"}


async def test_one_reading_has_all_targets_and_a_missing_one_spoils_no_other(stage: Stage) -> None:
    readings = await stage.platform.observe([stage.one, stage.two, stage.absent])
    assert readings.keys() == {stage.one, stage.two, stage.absent}
    assert isinstance(readings[stage.one], Replicas)
    assert isinstance(readings[stage.two], Replicas)
    assert isinstance(readings[stage.absent], Unavailable), "no data is not zero"


async def test_up_and_down_to_zero_and_back_are_absolute_counts_that_the_next_readings_show(stage: Stage) -> None:
    for count in (3, 1, 0, 2):
        await stage.scale(count)
        seen = await stage.shows(count)
        assert (seen.state is ServiceState.STOPPED) is (count == 0)


async def test_a_change_that_was_decided_on_an_old_reading_is_not_made(stage: Stage) -> None:
    old = await stage.shows(2)
    await stage.by_hand(4)
    with pytest.raises(NotSent):
        await stage.scale(3, seen=old)
    await stage.shows(4)


async def test_where_it_can_be_told_who_is_to_stay_these_stay(stage: Stage) -> None:
    chooser = stage.platform.chooser(stage.one)
    if chooser is None or not stage.has_pods:
        pytest.skip("it chooses by itself which of them go")
    await stage.scale(4)
    await stage.shows(4)
    first, *_, last = (await chooser.instances()).staying
    for kept in ((first, last), (last,)):
        await chooser.instances()
        await chooser.keep(kept, intent_to(len(kept)))
        await stage.scale(len(kept))
        await stage.shows(len(kept))
        assert (await chooser.instances()).staying == kept


async def test_who_no_longer_leads_sends_nothing(stage: Stage) -> None:
    seen, sent = await stage.shows(2), stage.sent()
    stage.lead.is_ours = False
    with pytest.raises(LeaseLost):
        await stage.scale(5, seen)
    assert (await stage.read()).configured == 2
    assert stage.sent() == sent


@pytest.mark.parametrize("kind", ["502", "null", "hang"])
async def test_what_cannot_be_read_is_unavailable_and_never_zero(stage: Stage, kind: str) -> None:
    needs_faults(stage)
    assert stage.order is not None
    stage.order(kind, "read")
    try:
        reading = (await stage.platform.observe([stage.one]))[stage.one]
    except Unavailable as unavailable:
        reading = unavailable
    assert isinstance(reading, Unavailable)
    assert reading.source == stage.platform.source


async def test_of_a_lost_answer_the_outcome_is_unknown_and_the_next_reading_tells(stage: Stage) -> None:
    needs_faults(stage)
    assert stage.order is not None
    seen = await stage.shows(2)
    stage.order("lost", "change")
    with pytest.raises(Unavailable) as unknown:
        await stage.scale(3, seen)
    assert not isinstance(unknown.value, NotSent)
    await stage.shows(3)


async def test_a_hanging_change_ends_within_its_deadline_and_its_outcome_is_unknown(stage: Stage) -> None:
    needs_faults(stage)
    assert stage.order is not None
    seen = await stage.shows(2)
    stage.order("hang", "change")
    with pytest.raises(Unavailable) as unknown:
        await stage.scale(3, seen)
    assert not isinstance(unknown.value, NotSent)


async def test_too_many_requests_means_that_nothing_was_changed(stage: Stage) -> None:
    needs_faults(stage)
    assert stage.order is not None
    seen = await stage.shows(2)
    stage.order("429", "change")
    with pytest.raises(NotSent):
        await stage.scale(3, seen)
