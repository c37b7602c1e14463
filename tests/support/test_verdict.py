"""The verdict over made-up records: what neither harness breaks by itself; for the rest see their mutants."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.misfortunes import MISFORTUNES
from tests.support.record import Acquired, Calm, Change, Granted, Life, Record, Sent, TakeOver
from tests.support.verdict import violations
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


def test_what_a_dead_process_had_read_is_not_judged() -> None:
    record = kept()
    record.sent.append(sent(36.0, 8, 30.0, "z", None)._replace(knows_readings=False))
    assert violations(record) == []


def test_every_misfortune_of_the_vocabulary_is_simulated() -> None:
    assert set(kinds()) == set(MISFORTUNES)
