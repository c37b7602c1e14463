"""The verdict over made-up records: what neither harness breaks by itself; for the rest see their mutants."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from tests.support.misfortunes import MISFORTUNES
from tests.support.record import (
    Acquired,
    Calm,
    Change,
    Granted,
    InForce,
    Life,
    Limits,
    Moved,
    Noted,
    Placing,
    Record,
    Sent,
    StepTold,
    TakeOver,
    Written,
)
from tests.support.spend import Charge
from tests.support.verdict import violations
from tests.virtual.episode import PLATFORMS
from tests.virtual.misfortunes import kinds
from tests.virtual.world import policy_of


def sent(at: float, epoch: int, acquired_at: float, intent: str, depth: int | None = 80) -> Sent:
    granted = Granted(at, "a", "a", intent, epoch, 0, 4)
    return Sent(at, "a", "Update", epoch, acquired_at, granted, 0, depth, (), is_leader=True)


def kept() -> Record:
    """One process leads twice and scales once in each of its terms, a cooldown of 30 s apart."""
    record = Record(policy_of().workers["worker"], 60.0)
    record.lives = [Life("a", 0.0)]
    record.acquired = [Acquired(at, "a", f"a{epoch}", epoch, knew_others=True) for at, epoch in ((1.0, 7), (30.0, 8))]
    record.sent = [sent(5.0, 7, 1.0, "x"), sent(35.0, 8, 30.0, "y")]
    record.changes = [Change(5.0, 0, 4, "a", 7, "x"), Change(35.0, 4, 5, "a", 8, "y")]
    record.calms = [Calm(40.0, 100.0, 5, 5, 5, 50.0)]
    record.take_overs = [TakeOver(20.0, "kill", 15.0, 15.0)]
    return record


BREACHES: dict[str, tuple[Callable[[Record], object], str]] = {
    "an older epoch follows": (lambda one: one.sent.append(sent(36.0, 7, 1.0, "z")), "in epoch 7, after a in epoch 8"),
    "two holders share an epoch": (
        lambda one: one.acquired.append(Acquired(36.0, "a", "b", 8, True)),
        "in epoch 8, as",
    ),
    "one request comes twice": (lambda one: one.sent.append(one.sent[-1]), "for one intent a second time"),
    "a cooldown is cut short": (lambda one: one.changes.append(Change(64.0, 4, 5, "a", 8, "z")), "29.0 s after 4 → 5"),
    "too many are asked for": (lambda one: one.changes.append(Change(90.0, 5, 6, "a", 8, "z")), "outside 0..5"),
    "a reading is missing": (lambda one: one.sent.append(sent(36.0, 8, 30.0, "z", None)), "on a missing reading"),
    "more than was read": (lambda one: one.sent.append(sent(36.0, 8, 30.0, "z", 5)), "had read 5 jobs"),
    "an early calm never settled": (lambda one: one.calms.insert(0, Calm(9.0, 9.0, 1, 4, 4, None)), "not as wanted"),
    "a calm was left again": (lambda one: one.calms.append(Calm(60.0, 9.0, 1, 1, 1, 61.0, 62.0)), "changed again"),
    "a take-over is slow": (lambda one: one.take_overs.append(TakeOver(60.0, "kill", 15.1, 15.0)), "after 15.10 s"),
    "a take-over never ends": (lambda one: one.take_overs.append(TakeOver(60.0, "kill", None, 15.0)), "never"),
    "a write lands over another": (
        lambda one: one.written.append(Written(36.0, "a", "y", 4, 5, read="7", found="8")),
        "over version 8 and had read 7",
    ),
    "a count is not the one that was read": (
        lambda one: one.sent.append(sent(36.0, 8, 30.0, "z")._replace(read_count=1, read_version="7")),
        "decided on 0 → 4, and had read 1",
    ),
    "a bug": (lambda one: one.bugs.append("crashed"), "bug: crashed"),
}


@pytest.mark.parametrize("name", BREACHES)
def test_each_breach_is_found_beside_a_run_that_keeps_every_promise(name: str) -> None:
    breach, words = BREACHES[name]
    record = kept()
    assert violations(record) == []
    breach(record)
    (found,) = violations(record)
    assert words in found


@pytest.mark.parametrize(("by_hand_at", "is_fine"), [(34.5, True), (None, False)])
def test_a_scale_down_that_added_workers_because_others_removed_more_starts_no_cooldown_of_scale_up(
    by_hand_at: float | None, *, is_fine: bool
) -> None:
    record = kept()
    record.granted = [Granted(35.0, "a", "a8", "y", 8, 6, 5)]
    record.changes.append(Change(45.0, 5, 6, "a", 8, "z"))
    record.policy = policy_of(max_replicas=6).workers["worker"]
    if by_hand_at is not None:
        record.changes.insert(1, Change(by_hand_at, 6, 4, "by hand", 0, ""))
    assert (violations(record) == []) is is_fine


@pytest.mark.parametrize(("read", "is_fine"), [(0, True), (4, False)])
def test_a_count_below_min_that_the_platform_had_answered_is_corrected_at_once(read: int, *, is_fine: bool) -> None:
    record = kept()
    record.policy = policy_of(min_replicas=1).workers["worker"]
    granted = Granted(45.0, "a", "a8", "z", 8, 0, 3)
    record.sent.append(Sent(45.0, "a", "Update", 8, 30.0, granted, read, 80, (), is_leader=True))
    record.changes.append(Change(45.0, 5, 3, "a", 8, "z"))
    cut_short = [one for one in violations(record) if "s after" in one]
    assert (cut_short == []) is is_fine


def of_another(at: float, intent: str, before: int, after: int, **policy: object) -> Granted:
    worker = policy_of(**policy).workers["worker"]
    return Granted(at, "a", "a8", intent, 8, before, after, limits=(Limits.at(worker, at),), policy=worker)


@pytest.mark.parametrize(
    ("first", "theirs", "is_fine"),
    [
        ({"max_replicas": 2}, {"min_replicas": 3}, False),
        ({"max_replicas": 3}, {"min_replicas": 3}, True),
        ({"max_replicas": 2}, {"max_replicas": 2}, True),
    ],
    ids=["it had scaled before", "it had not", "no other policy"],
)
def test_what_another_policy_has_made_of_a_count_is_corrected_after_the_cooldown(
    first: Mapping[str, object], theirs: Mapping[str, object], *, is_fine: bool
) -> None:
    record = kept()
    record.granted = [
        of_another(5.0, "x", 0, 4, **first),
        of_another(35.0, "y", 4, 5, **theirs),
        of_another(60.0, "z", 5, 2, max_replicas=2),
    ]
    record.changes.append(Change(60.0, 5, 2, "a", 8, "z"))
    cut_short = [one for one in violations(record) if "s after" in one]
    assert (cut_short == []) is is_fine


@pytest.mark.parametrize(("remembers", "is_fine"), [(True, False), (False, True)])
def test_but_at_once_if_what_its_own_policy_made_before_was_lost_and_no_process_knew_it(
    *, remembers: bool, is_fine: bool
) -> None:
    record = kept()
    record.lives = [Life("a", 0.0, learned=[12.0] if remembers else [])]
    record.granted = [
        of_another(5.0, "x", 0, 4, max_replicas=2),
        of_another(35.0, "y", 4, 5, min_replicas=3),
        of_another(60.0, "z", 5, 2, max_replicas=2),
    ]
    record.changes.append(Change(60.0, 5, 2, "a", 8, "z"))
    record.lost_data_at = [15.0]
    cut_short = [one for one in violations(record) if "s after" in one]
    assert (cut_short == []) is is_fine


@pytest.mark.parametrize(("is_over", "is_fine"), [(False, False), (True, True)])
def test_a_hold_that_ended_within_the_pass_may_have_been_decided_by(*, is_over: bool, is_fine: bool) -> None:
    record = kept()
    pause, hold = InForce("pause", 0, "down"), InForce("hold", 1, "both")
    ended = (hold,) if is_over else ()
    record.granted.append(Granted(50.0, "a", "a8", "z", 8, 2, 1, overrides=(pause,), ended=ended))
    assert ([one for one in violations(record) if "paused" in one] == []) is is_fine


@pytest.mark.parametrize(
    ("before", "after", "is_fine"),
    [(5, 4, True), (5, 3, True), (5, 2, True), (5, 1, False), (2, 4, False), (1, 2, True), (5, 5, False)],
)
def test_a_held_count_above_what_a_budget_adds_up_to_adds_none_and_may_let_the_busy_ones_end(
    before: int, after: int, *, is_fine: bool
) -> None:
    record = kept()
    held = InForce("hold", 4, "both")
    within = (Limits(0, 5, 2),)
    record.granted.append(Granted(50.0, "a", "a8", "z", 8, before, after, overrides=(held,), limits=within))
    assert ([one for one in violations(record) if "holds" in one or "above" in one] == []) is is_fine


def charge(at: float, worker_s: float, *, step: int = 0, begins: float = 0.0) -> Charge:
    """Two workers are charged from then on."""
    return Charge(at, "a", at, 2, begins, worker_s, {"worker": step} if step else {})


def told_step(at: float, before: int = 0, step: int = 1) -> StepTold:
    return StepTold(at, "a", f"worker w 0 {before} {step}")


BUDGETS: dict[str, tuple[Callable[[Record], object], str]] = {
    "a worker is added above the step": (
        lambda one: one.granted.append(Granted(50.0, "a", "a8", "z", 8, 2, 4, limits=(Limits(0, 5, 3),))),
        "above 3",
    ),
    "the spend is forgotten": (lambda one: one.charges.append(charge(50.0, 5.0, step=1)), "wrote 5.000 worker-seconds"),
    "time is not charged": (lambda one: one.charges.append(charge(60.0, 90.0, step=1)), "wrote 90.000 worker-seconds"),
    "a step is told twice": (lambda one: one.told.append(told_step(50.0)), "told worker w 0 0 1 again"),
    "a step is not told": (lambda one: one.charges.append(charge(60.0, 100.0, step=2)), "told nobody"),
}


@pytest.mark.parametrize("name", BUDGETS)
def test_each_breach_of_a_budget_is_found_beside_a_run_that_keeps_it(name: str) -> None:
    breach, words = BUDGETS[name]
    record = kept()
    record.charges = [charge(10.0, 0.0), charge(20.0, 20.0), charge(40.0, 60.0, step=1)]
    record.told = [told_step(40.1)]
    assert violations(record) == []
    breach(record)
    (found,) = violations(record)
    assert words in found


@pytest.mark.parametrize(("regions", "is_fine"), [(3, True), (2, False)])
def test_a_count_above_max_may_be_decided_on_if_the_regions_need_it_even_if_it_is_never_sent(
    *, regions: int, is_fine: bool
) -> None:
    record = kept()
    record.granted.append(Granted(50.0, "a", "a8", "z", 8, 1, 3, limits=(Limits(0, 2),), smallest=regions))
    assert (violations(record) == []) is is_fine


@pytest.mark.parametrize(("remembers", "is_fine"), [(True, False), (False, True)])
def test_a_spend_may_begin_anew_only_if_redis_lost_it_and_no_process_knew_it(*, remembers: bool, is_fine: bool) -> None:
    record = kept()
    record.lives = [Life("a", 0.0, learned=[42.0] if remembers else [])]
    record.charges, record.lost_data_at = [charge(40.0, 60.0), charge(50.0, 0.0)], [45.0]
    assert (violations(record) == []) is is_fine


@pytest.mark.parametrize(("is_written", "is_fine"), [(True, False), (False, True)])
def test_a_step_may_be_told_again_if_it_could_not_be_written_down_the_first_time(
    *, is_written: bool, is_fine: bool
) -> None:
    record = kept()
    first = [charge(40.0, 60.0, step=1)] if is_written else []
    record.charges = [charge(30.0, 40.0), *first, charge(50.0, 80.0, step=1), charge(60.0, 100.0, step=1)]
    record.told = [told_step(40.1), told_step(50.1)]
    assert (violations(record) == []) is is_fine


@pytest.mark.parametrize(("lost_at", "is_fine"), [(None, False), (45.0, True)], ids=str)
def test_a_step_is_told_from_an_earlier_one_on_only_if_redis_lost_the_one_between(
    *, lost_at: float | None, is_fine: bool
) -> None:
    record = kept()
    record.charges = [charge(30.0, 40.0), charge(40.0, 60.0, step=1), charge(60.0, 100.0, step=2)]
    record.told = [told_step(40.1), told_step(60.1, 0, 2)]
    record.lost_data_at = [] if lost_at is None else [lost_at]
    assert (violations(record) == []) is is_fine


@pytest.mark.parametrize(("looked_again", "is_fine"), [(46.0, True), (None, True), (45.5, False)], ids=str)
def test_less_may_be_given_back_until_a_process_that_knows_more_has_looked(
    *, looked_again: float | None, is_fine: bool
) -> None:
    """Of b, which had not read the last charge; a had, and looks again after the loss, and writes within 2.5 s."""
    record = kept()
    again = [] if looked_again is None else [looked_again]
    record.lives = [Life("a", 0.0, learned=[42.0, *again]), Life("b", 0.0, learned=[35.0])]
    less = charge(30.0, 40.0)._replace(at=48.1, who="b")
    record.charges, record.lost_data_at = [charge(30.0, 40.0), charge(40.0, 60.0), less], [45.0]
    record.charges.append(charge(50.0, 80.0))
    assert (violations(record) == []) is is_fine
    record.charges[-1] = charge(50.0, 50.0)
    assert violations(record) != [], "a remembers 60"


def test_what_a_dead_process_had_read_is_not_judged() -> None:
    record = kept()
    record.sent.append(sent(36.0, 8, 30.0, "z", None)._replace(knows_readings=False))
    assert violations(record) == []


def test_every_misfortune_of_the_vocabulary_is_simulated() -> None:
    assert {name for platform in PLATFORMS for name in kinds(platform)} == set(MISFORTUNES)


OUTAGE_BEGAN_S = 20.0
HERE, THERE = frozenset({"here"}), frozenset({"there"})


def fell_back(at: float, after: int, *, before: int = 0, depth: int | None = None) -> Sent:
    return Sent(at, "a", "Update", 7, 1.0, Granted(at, "a", "a", "x", 7, before, after), before, depth, (), True)


def unread(*, failed: int = 3, sent: Sent) -> Record:
    """A queue that was last read at second 20; on_unavailable wants 3 workers after 60 s."""
    record = Record(policy_of(on_unavailable={"after": "60s", "at_least": 3}).workers["worker"], 60.0)
    record.lives = [Life("a", 0.0)]
    record.acquired = [Acquired(1.0, "a", "a7", 7, knew_others=True)]
    record.noted = [Noted(OUTAGE_BEGAN_S, "a", True)]
    record.noted += [Noted(OUTAGE_BEGAN_S + 10 * number, "a", False) for number in range(1, failed + 1)]
    record.sent = [sent]
    return record


def test_a_fallback_as_the_policy_has_it_is_no_violation() -> None:
    assert violations(unread(sent=fell_back(80.0, 3))) == []


@pytest.mark.parametrize(
    ("failed", "sent"),
    [
        (3, fell_back(79.9, 3)),
        (2, fell_back(80.0, 3)),
        (3, fell_back(80.0, 4)),
        (3, fell_back(80.0, 3, before=5)),
        (3, fell_back(80.0, 0, before=3)),
    ],
    ids=["too early", "after two failed readings", "above at_least", "down to at_least", "down to 0"],
)
def test_any_other_change_without_a_reading_of_the_queue_is_one(failed: int, sent: Sent) -> None:
    (found,) = violations(unread(failed=failed, sent=sent))
    assert "on a missing reading" in found


@pytest.mark.parametrize(("at", "is_excused"), [(19.0, False), (30.0, True), (41.0, False)])
def test_a_fallback_is_early_only_if_the_history_may_be_older_since_the_last_reading_or_its_clock_leaped(
    at: float, *, is_excused: bool
) -> None:
    for name in ("lost_data_at", "leapt_at"):
        record = unread(failed=1, sent=fell_back(40.0, 3))
        setattr(record, name, [at])
        assert (violations(record) == []) is is_excused


def placed(asked: Mapping[str, int | None], stored: frozenset[str], deployed: frozenset[str]) -> Record:
    record = unread(sent=fell_back(80.0, 3)._replace(placing=Placing(asked, stored, deployed, 79.0)))
    record.sent = [record.sent[0]._replace(smallest=len(stored))]
    return record


@pytest.mark.parametrize(
    ("asked", "stored", "deployed", "words"),
    [
        ({"here": 3}, HERE, HERE, None),
        ({"here": 1, "there": 2}, HERE | THERE, HERE, None),
        ({"there": 3, "here": None}, THERE, HERE, None),
        ({"here": 2}, HERE, HERE, "its intent is 3"),
        ({"here": 3, "there": None}, HERE | THERE, HERE | THERE, "here, there is stored"),
        ({"here": 3, "there": None}, THERE, HERE, "there is stored"),
        ({"there": 3}, THERE, HERE, "left out here"),
    ],
    ids=[
        *("in one region", "in two", "after a move that waits"),
        *("another count", "one of two is lost", "a move is taken back", "the old region is not dropped"),
    ],
)
def test_an_update_keeps_the_regions_that_were_read(
    asked: Mapping[str, int | None], stored: frozenset[str], deployed: frozenset[str], words: str | None
) -> None:
    found = violations(placed(asked, stored, deployed))
    assert len(found) == (words is not None)
    assert all(words in one for one in found if words is not None)


@pytest.mark.parametrize(
    ("moved_at", "until", "words"),
    [(None, None, "moved the workers"), (78.0, 78.0, "moved the workers"), (79.5, 79.5, None), (70.0, 79.5, None)],
    ids=["nobody moved them", "moved before the reading", "moved since the reading", "a move still waited then"],
)
def test_a_change_of_ours_moves_no_workers_unless_it_was_overtaken_by_a_move(
    moved_at: float | None, until: float | None, words: str | None
) -> None:
    record = placed({"here": 3}, HERE, HERE)
    record.moved = [Moved(81.0, 81.0, "a", "x", THERE, HERE)]
    if moved_at is not None and until is not None:
        record.moved.insert(0, Moved(moved_at, until, "by hand", "", HERE, THERE))
    found = violations(record)
    assert len(found) == (words is not None)
    assert all(words in one for one in found if words is not None)


@pytest.mark.parametrize(
    ("before", "after", "smallest", "is_fine"),
    [(1, 3, 1, True), (1, 4, 1, False), (0, 3, 3, True), (4, 2, 1, True), (4, 1, 1, False), (3, 0, 3, True)],
)
def test_no_step_is_longer_than_max_step_but_between_0_and_one_in_each_region(
    before: int, after: int, smallest: int, *, is_fine: bool
) -> None:
    record = unread(sent=fell_back(80.0, after, before=before, depth=0 if after < before else 600))
    record.policy = policy_of(scale_up={"max_step": 2}, scale_down={"max_step": 2}).workers["worker"]
    record.sent = [record.sent[0]._replace(smallest=smallest)]
    assert (violations(record) == []) is is_fine
