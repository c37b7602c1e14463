"""Overrides: what an operator asks for until a given time goes before the rules, within the policy's limits."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.adapters.railway.reading import WITH_A_VOLUME
from controller.core.history import Known, Loss, given_back
from controller.core.model import (
    Decision,
    History,
    Observation,
    PlatformLimit,
    QueueDepth,
    RateUnread,
    Replicas,
    ServiceState,
)
from controller.core.override import LONGEST_S, MOST_KEPT, Blocks, Kind, Override, Overrides
from controller.core.plan import Plan, Seen, plan
from controller.core.ports import Retention, Unavailable
from controller.core.reasons import Reason
from controller.core.rules import decide, fall_back
from controller.core.steps import Fail, Send, UpdateOverrides
from controller.policy import WorkerPolicy
from tests.support.sources import POSTGRESQL, RAILWAY, SOURCES

NOW = 1_000_000.0
DATA: dict[str, Any] = {
    "service": "svc",
    "queue": {"table": "job"},
    "tiers": [{"up_to": 0, "replicas": 0}, {"up_to": 10, "replicas": 1}, {"replicas": 4}],
    "min_replicas": 1,
    "max_replicas": 4,
    "on_unavailable": {"after": "1m", "at_least": 3},
}
POLICY = WorkerPolicy.model_validate(DATA)
DRAINED = WorkerPolicy.model_validate({**DATA, "min_replicas": 0, "jobs_per_worker": 1, "max_wait": "1m"})


def override(kind: Kind, replicas: int = 0, **more: Any) -> Override:
    given: dict[str, Any] = {"ident": "o1", "author": "ann", "at": NOW - 60, "until": NOW + 1740, "is_told": True}
    return Override(kind=kind, replicas=replicas, **(given | more))


def hold(replicas: int, **more: Any) -> Override:
    return override(Kind.HOLD, replicas, **more)


def floor(replicas: int, **more: Any) -> Override:
    return override(Kind.AT_LEAST, replicas, **more)


def pause(blocks: Blocks = Blocks.BOTH, **more: Any) -> Override:
    return override(Kind.PAUSE, blocks=blocks, **more)


def history(*each: Override, **more: Any) -> History:
    return History(**({"since": NOW - 86_400} | more), overrides=Overrides(NOW - 60, each))


@dataclass(frozen=True)
class Case:
    """`count` workers and `depth` pending jobs become `desired`, and the last reason is `reason`."""

    each: tuple[Override, ...]
    depth: int
    count: int
    desired: int
    reason: Reason
    policy: WorkerPolicy = POLICY
    processing: int = 0
    age_s: float | None = None

    @property
    def decision(self) -> Decision:
        queue = QueueDepth(self.depth, self.processing, self.age_s)
        observed = Observation(queue, Replicas(self.count, self.count, self.count, ServiceState.RUNNING))
        return decide(self.policy, observed, history(*self.each), NOW)


CASES = {
    "a held count is gone to from below": Case((hold(3),), 0, 1, 3, Reason.HELD),
    "a held count is gone to from above": Case((hold(2),), 99, 4, 2, Reason.HELD),
    "a held count stays whatever the queue wants": Case((hold(2),), 99, 2, 2, Reason.HELD),
    "busy workers do not keep a held count up": Case((hold(0),), 9, 4, 0, Reason.HELD, DRAINED, processing=9),
    "a held count goes before a pause": Case((hold(3), pause()), 0, 1, 3, Reason.HELD),
    "a held count goes before a lower limit": Case((hold(1), floor(3)), 99, 4, 1, Reason.HELD),
    "a held count above max is the max": Case((hold(9),), 0, 1, 4, Reason.HELD),
    "a held count below min is the min": Case((hold(0),), 0, 3, 1, Reason.HELD),
    "a forced one is neither": Case((hold(0, is_forced=True),), 99, 3, 0, Reason.HELD),
    "a forced one may be above max": Case((hold(9, is_forced=True),), 0, 3, 9, Reason.HELD),
    "a floor is gone to at once": Case((floor(3),), 0, 1, 3, Reason.AT_LEAST),
    "a floor is where scale-down ends": Case((floor(2),), 0, 3, 2, Reason.AT_LEAST),
    "above a floor the policy decides": Case((floor(2),), 99, 2, 4, Reason.TIER),
    "a floor below min changes nothing": Case((floor(1),), 0, 3, 1, Reason.MINIMUM),
    "a floor above max is the max": Case((floor(9),), 0, 1, 4, Reason.AT_LEAST),
    "a forced floor raises the max": Case((floor(9, is_forced=True),), 0, 1, 9, Reason.AT_LEAST),
    "a paused worker is not scaled up": Case((pause(),), 99, 2, 2, Reason.PAUSED),
    "a paused worker is not scaled down": Case((pause(),), 0, 3, 3, Reason.PAUSED),
    "a pause of scale-up lets it go down": Case((pause(Blocks.UP),), 0, 3, 1, Reason.TIER, DRAINED, processing=1),
    "a pause of scale-up lets none be added": Case((pause(Blocks.UP),), 99, 2, 2, Reason.PAUSED),
    "a pause of scale-down lets it go up": Case((pause(Blocks.DOWN),), 99, 2, 4, Reason.TIER),
    "a pause of scale-down lets none be removed": Case((pause(Blocks.DOWN),), 0, 3, 3, Reason.PAUSED),
    "a pause goes before max_wait": Case((pause(),), 5, 1, 1, Reason.PAUSED, DRAINED, age_s=900.0),
    "a paused worker below min is corrected, and no further": Case((pause(),), 99, 0, 1, Reason.BELOW_MINIMUM),
    "a paused worker above max is corrected": Case((pause(),), 0, 6, 4, Reason.ABOVE_MAXIMUM),
    "a forced pause corrects nothing": Case((pause(is_forced=True),), 99, 6, 6, Reason.PAUSED),
    "a forced pause below min neither": Case((pause(is_forced=True),), 99, 0, 0, Reason.PAUSED),
    "a pause and a floor both hold": Case((pause(), floor(3)), 99, 2, 3, Reason.AT_LEAST),
    "an expired one counts no more": Case((hold(1, until=NOW),), 99, 2, 4, Reason.TIER),
    "it counts to its last moment": Case((hold(1, until=NOW + 0.001),), 99, 2, 1, Reason.HELD),
    "one that somebody ended counts no more": Case((pause(ended_at=NOW - 1, ended_by="bob"),), 99, 2, 4, Reason.TIER),
}


@pytest.mark.parametrize("name", CASES)
def test_the_table(name: str) -> None:
    case = CASES[name]
    decision = case.decision
    assert (decision.desired, decision.reason) == (case.desired, case.reason), decision.sentence


@dataclass(frozen=True)
class Unread:
    """Without a reading of the queue for `unread_for_s`, `count` workers become `desired`; None: the count stays."""

    each: tuple[Override, ...]
    count: int
    desired: int | None
    unread_for_s: float = 600.0
    largest: PlatformLimit | None = None


UNREAD = {
    "a held count is gone to from below": Unread((hold(3),), 1, 3),
    "a held count is gone to from above": Unread((hold(2),), 4, 2),
    "a held count is gone to as far as the platform can": Unread((hold(3),), 0, 1, largest=WITH_A_VOLUME),
    "a pause goes before on_unavailable": Unread((pause(),), 1, None),
    "so does a pause of scale-up": Unread((pause(Blocks.UP),), 1, None),
    "a pause of scale-down does not": Unread((pause(Blocks.DOWN),), 1, 3),
    "a paused worker below min is corrected": Unread((pause(),), 0, 1),
    "not with a forced pause": Unread((pause(is_forced=True),), 0, None),
    "a floor is gone to at once": Unread((floor(2),), 1, 2, unread_for_s=0.0),
}


@pytest.mark.parametrize("name", UNREAD)
def test_the_table_without_a_reading_of_the_queue(name: str) -> None:
    case = UNREAD[name]
    replicas = Replicas(case.count, case.count, case.count, ServiceState.RUNNING, largest=case.largest)
    found = fall_back(POLICY, replicas, history(*case.each), NOW, unread_for_s=case.unread_for_s, rate=None)
    assert (found and found.desired) == case.desired


@given(st.integers(0, 300), st.integers(0, 9), st.integers(0, 9), st.booleans(), st.floats(0, 500), st.floats(0, 500))
def test_a_held_count_is_asked_for_whatever_else_is_known(  # noqa: PLR0917  # what is drawn
    depth: int,
    count: int,
    held: int,
    forced: bool,  # noqa: FBT001  # as it is drawn
    up_ago: float,
    down_ago: float,
) -> None:
    past = history(hold(held, is_forced=forced), last_up=NOW - up_ago, last_down=NOW - down_ago)
    observed = Observation(
        QueueDepth(depth, min(depth, 2)), Replicas(count, 0, 0, ServiceState.RUNNING), rate=RateUnread("it is away")
    )
    desired = decide(POLICY, observed, past, NOW).desired
    assert desired == (held if forced else min(max(held, 1), 4))


@given(st.integers(0, 300), st.integers(0, 9), st.sampled_from(Blocks), st.floats(0, 500))
def test_a_pause_never_lets_a_blocked_direction_through_except_into_min_and_max(
    depth: int, count: int, blocks: Blocks, ago: float
) -> None:
    observed = Observation(QueueDepth(depth, 0), Replicas(count, count, count, ServiceState.RUNNING))
    desired = decide(POLICY, observed, history(pause(blocks), last_up=NOW - ago), NOW).desired
    if blocks is not Blocks.DOWN:
        assert desired <= max(count, POLICY.min_replicas)
    if blocks is not Blocks.UP:
        assert desired >= min(count, POLICY.max_replicas)


def test_the_reason_says_who_for_how_long_and_what_the_policy_changed_about_it() -> None:
    sentence = CASES["a held count above max is the max"].decision.sentence
    assert "held at 9 by ann for 29 min more (max_replicas is 4, so 4)" in sentence
    assert "0 jobs want 0 workers" in sentence, "what the queue wants is said beside it"
    why = replace(hold(3), why="load test")
    assert why.words(NOW) == "held at 3 by ann for 29 min more: load test"


# --- what a leader tells ---

FIVE = QueueDepth(5, 0)
AWAY = Unavailable(POSTGRESQL, "is away")
GONE = Unavailable(RAILWAY, "is away")


def planned(*each: Override, queue: QueueDepth | Unavailable = FIVE, is_away: bool = False) -> Plan:
    replicas = GONE if is_away else Replicas(2, 2, 2, ServiceState.RUNNING)
    past = history(*each, count=2, queue_seen=POLICY.only_queue.identity, last_up=NOW - 1, last_down=NOW - 1)
    return plan(Seen(POLICY, queue, replicas, past, NOW, SOURCES, Retention(0.0, 31.0), 60.0, epoch=7, worker="w"))


@dataclass(frozen=True)
class Told:
    each: tuple[Override, ...]
    events: tuple[str, ...]
    left: int


TOLD = {
    "a new one once": Told((pause(is_told=False),), ("override_set",), 1),
    "one that was told no more": Told((pause(),), (), 1),
    "the end of one whose time is up": Told((pause(until=NOW),), ("override_ended",), 0),
    "both of one that nobody saw": Told((pause(is_told=False, until=NOW),), ("override_set", "override_ended"), 0),
    "that one was replaced": Told(
        (hold(2, ended_at=NOW - 1, ended_by="bob", replaced=True), hold(3, is_told=False)),
        ("override_set", "override_ended"),
        1,
    ),
}


@pytest.mark.parametrize("away", [False, True], ids=["both read", "neither read"])
@pytest.mark.parametrize("name", TOLD)
def test_a_leader_tells_the_beginning_and_the_end_once(name: str, *, away: bool) -> None:
    case = TOLD[name]
    found = planned(*case.each, is_away=away, queue=AWAY if away else FIVE)
    assert tuple(event.name for event in found.events) == case.events
    assert len(found.history.overrides.each) == case.left
    assert any(isinstance(step, UpdateOverrides) for step in found.steps) is bool(case.events)
    again = planned(*found.history.overrides.each)
    assert not again.events, "the history that is written has no news"


def test_a_held_count_is_sent_even_if_the_queue_cannot_be_read() -> None:
    last = planned(hold(4), queue=AWAY).last
    assert isinstance(last, Send)
    assert last.change.after == 4
    assert isinstance(planned(hold(2), queue=AWAY).last, Fail), "nothing is to be done"


def test_an_external_change_names_the_command_that_keeps_it() -> None:
    replicas = Replicas(4, 4, 4, ServiceState.RUNNING)
    for each, words in (
        ((), "autoscaler hold w 4 --for 2h"),
        ((hold(2),), "it is undone now: held at 2 by ann"),
        ((hold(4),), "it stays: held at 4 by ann"),
    ):
        past = history(*each, count=2, queue_seen=POLICY.only_queue.identity)
        seen = Seen(POLICY, QueueDepth(5, 0), replicas, past, NOW, SOURCES, Retention(0.0, 31.0), 60.0, worker="w")
        (event,) = plan(seen).events
        assert event.name == "external_change"
        assert words in str(event.fields["message"])


# --- the value ---

TIMES = st.floats(1, 1e9).map(lambda at: round(at, 3))


@st.composite
def any_override(draw: st.DrawFn) -> Override:
    at = draw(TIMES)
    ended_at = draw(st.none() | TIMES)
    return Override(
        ident=draw(st.text("0123456789abcdef", min_size=1, max_size=32)),
        kind=draw(st.sampled_from(Kind)),
        author=draw(st.text(min_size=1, max_size=20)).replace("\ud800", "?"),
        at=at,
        until=at + draw(st.floats(1, LONGEST_S)),
        why=draw(st.text(max_size=50)),
        replicas=draw(st.integers(0, 50)),
        blocks=draw(st.sampled_from(Blocks)),
        is_forced=draw(st.booleans()),
        is_told=draw(st.booleans()),
        ended_at=ended_at,
        ended_by="" if ended_at is None else "bob",
        replaced=ended_at is not None and draw(st.booleans()),
    )


OVERRIDES = st.builds(Overrides, TIMES, st.lists(any_override(), max_size=MOST_KEPT).map(tuple))


@given(OVERRIDES)
def test_a_record_gives_back_what_was_written(overrides: Overrides) -> None:
    assert Overrides.from_text(overrides.as_text()) == overrides


@given(OVERRIDES, st.sampled_from(Kind), TIMES)
def test_at_most_one_of_each_kind_is_in_force(overrides: Overrides, kind: Kind, now: float) -> None:
    new = override(kind, 1, ident="new", at=now, until=now + 60)
    after = overrides.with_new(new)
    assert [one for one in after.all_in_force(now) if one.kind is kind] == [new]
    others = [one for one in overrides.all_in_force(now) if one.kind is not kind]
    assert [one for one in after.all_in_force(now) if one.kind is not kind] == others
    assert len(after.each) <= max(MOST_KEPT, 1 + len(others))
    assert after.changed_at == now


@given(OVERRIDES, TIMES)
def test_resume_ends_all_that_is_in_force_and_says_who(overrides: Overrides, now: float) -> None:
    after = overrides.resumed("bob", now)
    assert not after.all_in_force(now)
    assert {one.ended_by for one in after.each if one not in overrides.each} <= {"bob"}
    assert after.changed_at == now


def test_an_override_that_was_ended_while_the_record_had_lost_it_is_not_given_back() -> None:
    known = Known(overrides=Overrides().with_new(hold(3)))
    assert given_back(History(), known, Loss.EMPTIED, NOW + 9).overrides == known.overrides
    ended = History(overrides=History().overrides.resumed("bob", NOW + 5))
    assert given_back(ended, known, Loss.EMPTIED, NOW + 9).overrides == ended.overrides
    set_back = replace(known, overrides_age=50.0)  # and so the clock of the record was, by 60 s, before it was ended
    ended = History(overrides=History().overrides.resumed("bob", NOW - 15))
    assert given_back(ended, set_back, Loss.EMPTIED, NOW - 10).overrides == ended.overrides


def test_an_override_that_seems_to_begin_in_the_future_begins_now_and_lasts_as_long_as_asked() -> None:
    later = Overrides(NOW + 600, (hold(3, at=NOW + 600, until=NOW + 900),)).not_after(NOW)
    assert (later.changed_at, later.each[0].at, later.each[0].until) == (NOW, NOW, NOW + 300)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "7",
        "[1]",
        '[1,{"id":"x"}]',
        '[1,[{"id":"x","kind":"hold","by":"a","at":"now","until":2}]]',
        '[1,[{"id":"x","kind":"boost","by":"a","at":1,"until":2}]]',
        "[-1,[]]",
        '[1,[{"id":"x","kind":"hold","by":"a","at":1,"until":2,"replicas":-1}]]',
        "[1,[" + ",".join(["{}"] * 99) + "]]",
    ],
)
def test_what_no_controller_wrote_is_refused(text: str) -> None:
    with pytest.raises((ValueError, KeyError, TypeError)):
        Overrides.from_text(text)
