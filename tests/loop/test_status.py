"""What a standby takes over of the leader's cycles, and when figures are old."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from controller.core.model import QueueDepth, Remark
from controller.core.text import bounds
from controller.loop.cycle import Outcome
from controller.loop.status import ControllerStatus
from tests.support.sources import SOURCES
from tests.web.stand_ins import HandClock, cycle


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def standby(clock: HandClock) -> ControllerStatus:
    return ControllerStatus(clock, 10, SOURCES.names)


def test_the_age_of_the_leader_s_numbers_needs_no_clocks_that_agree(
    standby: ControllerStatus, clock: HandClock
) -> None:
    elsewhere = HandClock(4_000_000_000.0)
    leader = ControllerStatus(elsewhere, 10, SOURCES.names)
    leader.put(cycle())
    elsewhere.now += 3
    standby.take_over(leader.to_publish(), 4.0)
    clock.now += 2
    assert standby.age("w") == pytest.approx(9)


def test_the_same_publication_read_twice_gets_older(standby: ControllerStatus, clock: HandClock) -> None:
    leader = ControllerStatus(clock, 10, SOURCES.names)
    leader.put(cycle())
    published = leader.to_publish()
    standby.take_over(published, 0.0)
    clock.now += 5
    standby.take_over(published, 0.0)
    assert standby.age("w") == pytest.approx(5)


def test_numbers_of_an_unknown_age_are_shown_and_count_as_old(standby: ControllerStatus, clock: HandClock) -> None:
    leader = ControllerStatus(clock, 10, SOURCES.names)
    leader.put(cycle())
    standby.take_over(leader.to_publish(), None)
    assert (standby.workers["w"].depth, standby.age("w"), standby.is_old("w")) == (15, None, True)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("{", id="half of an object"),
        pytest.param("[]", id="a list"),
        pytest.param('{"age_s": 1}', id="no status"),
        pytest.param('{"age_s": "x", "status": {}}', id="an empty status"),
        pytest.param('{"age_s": 1, "status": {"outcome": []}}', id="an outcome that is a list"),
        pytest.param('{"age_s": NaN, "status": {"outcome": "held", "depth": 1}}', id="an age that is not a number"),
        pytest.param('{"at": 1, "status": {"outcome": "held", "depth": 1}}', id="no age"),
    ],
)
def test_an_entry_that_is_no_publication_is_ignored_and_named(standby: ControllerStatus, text: str) -> None:
    (note,) = standby.take_over({"w": text}, 0.0)
    assert note.startswith("the entry of w ")
    assert note.endswith("; it is ignored")
    assert standby.workers == {}


@pytest.mark.parametrize("depth", ['"x"', "1e400", "true"], ids=["a text", "an endless number", "a flag"])
def test_a_figure_that_is_none_is_left_out_and_named_and_the_rest_counts_as_old(
    standby: ControllerStatus, depth: str
) -> None:
    notes = standby.take_over({"w": f'{{"age_s": 1, "status": {{"outcome": "held", "depth": {depth}}}}}'}, 0.0)
    assert notes == ["the entry of w is malformed at depth; the rest of it is shown"]
    assert (standby.workers["w"].depth, standby.workers["w"].outcome) == (None, Outcome.HELD)
    assert standby.is_old("w")


def test_a_published_cycle_that_is_longer_than_any_of_ours_is_ignored(standby: ControllerStatus) -> None:
    text = json.dumps({"age_s": 1, "status": {"outcome": "held", "depth": 1, "message": "x" * bounds.PUBLISHED}})
    standby.take_over({"w": text}, 0.0)
    assert standby.workers == {}


def test_whatever_a_queue_remarks_what_is_published_of_it_can_be_taken_over(
    standby: ControllerStatus, clock: HandClock
) -> None:
    remarks = tuple(Remark("claims", f"{number} " + "words " * 10_000) for number in range(50))
    leader = ControllerStatus(clock, 10, SOURCES.names)
    leader.put(replace(cycle(), queue=QueueDepth(10, 5, remarks=remarks)))
    published = leader.to_publish()
    assert len(published["w"]) < bounds.PUBLISHED
    standby.take_over(published, 0.0)
    assert standby.workers["w"].depth == 15
    assert standby.workers["w"].remarks is not None
    assert len(standby.workers["w"].remarks) == 10


@pytest.mark.parametrize(
    "failing",
    [
        pytest.param("5", id="a number"),
        pytest.param('["PostgreSQL"]', id="a list"),
        pytest.param('{"x": 1}', id="a name that is not known here"),
        pytest.param('{"Redis": "x"}', id="a time that is a text"),
        pytest.param('{"Redis": 1e99}', id="a time that no calendar holds"),
    ],
)
def test_a_fault_that_cannot_be_read_as_one_is_ignored(standby: ControllerStatus, failing: str) -> None:
    text = f'{{"age_s": 1, "failing": {failing}, "status": {{"outcome": "held", "depth": 1}}}}'
    assert standby.take_over({"w": text}, 0.0) == []
    assert standby.failing == {"w": {}}


@pytest.mark.parametrize(
    ("interval", "pace", "patience"),
    [
        pytest.param(10.0, 0.0, 35.0, id="numbers are old after three intervals"),
        pytest.param(10.0, 30.0, 95.0, id="numbers are old after three stretched cycles"),
        pytest.param(10.0, 300.0, 120.0, id="stretched cycles make numbers old after two minutes at most"),
        pytest.param(10.0, 999_999.0, 120.0, id="endless stretched cycles make numbers old after two minutes"),
        pytest.param(600.0, 300.0, 1805.0, id="an interval of ten minutes makes numbers old after thirty"),
    ],
)
def test_numbers_are_old_after_a_bounded_time_whatever_the_pace(
    clock: HandClock, interval: float, pace: float, patience: float
) -> None:
    status = ControllerStatus(clock, interval, SOURCES.names, pace=pace)
    status.put(cycle())
    clock.now += patience
    assert not status.is_old("w")
    clock.now += 0.1
    assert status.is_old("w")
