"""The record that follows from what the harness sees: each promise broken once, beside the same run that keeps it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.faults.pace import Pace
from tests.faults.seen import Demand, Fault, Life, Line, Request, Seen, record_of
from tests.support.record import Change
from tests.support.verdict import violations


def line(at: float, who: str, event: str, **fields: Any) -> Line:
    return Line(at, who, {"event": event, **fields})


def applied(at: float, before: int, after: int, epoch: int, who: str) -> tuple[Request, Change, Line]:
    """A change of its sender, and what was logged of it."""
    told = {"outcome": "applied", "epoch": epoch, "depth": 500, "configured": before, "desired": after}
    request = Request(at, who, epoch, f"i{at}", "ServiceInstanceUpdate")
    return request, Change(at, before, after, "", epoch, f"i{at}"), line(at + 0.1, who, "reconcile", **told)


def run() -> Seen:
    """a1 scales at second 10 and is killed; b1 leads from second 20 on and scales at second 21."""
    first, second = applied(10.0, 0, 3, 7, "a1"), applied(21.0, 3, 5, 8, "b1")
    lines = [line(1.0, "a1", "lease_acquired", epoch=7, holder="a"), first[2]]
    lines += [line(20.0, "b1", "lease_acquired", epoch=8, holder="b"), second[2]]
    lives = [Life("a1", 0.0, 18.0, seat="a", end="killed"), Life("b1", 0.0, learned=[11.0], seat="b")]
    demand = [Demand(0.0, 0.0, 45), Demand(15.0, 15.0, 500)]
    return Seen(Pace(), [first[0], second[0]], list(first[1:2] + second[1:2]), 0, lines, lives, [], demand)


def second_comes_at(seen: Seen, at: float) -> None:
    seen.requests[1].at, seen.changes[1] = at, seen.changes[1]._replace(at=at)


def loses(seen: Seen, *, b_remembers: bool) -> None:
    """Redis is emptied at second 12; the second scale-up comes at 14, after 4 s of a cooldown of 5 s."""
    seen.faults = [Fault("restart redis empty", 12.0, healed=13.0)]
    seen.demand[1] = Demand(10.5, 10.5, 500)
    seen.lines[2] = seen.lines[2]._replace(at=13.5)
    seen.lives[0].until, seen.lives[1].learned = 12.5, [11.0] if b_remembers else []
    second_comes_at(seen, 14.0)


BREACHES: dict[str, tuple[Callable[[Seen], object], str]] = {
    "an old leader sends": (lambda seen: seen.requests.append(Request(20.9, "a1", 7, "x")), "was not sure to lead"),
    "an epoch is shared": (lambda seen: seen.lines[2].fields.update(epoch=7), "as a1 did"),  # type: ignore[attr-defined]
    "a reading is missing": (lambda seen: seen.lines[1].fields.update(depth=None), "on a missing reading"),  # type: ignore[attr-defined]
    "no depth wanted it": (lambda seen: seen.demand.pop(), "the queue wanted 3 lately"),
    "a request comes twice": (lambda seen: seen.requests.append(seen.requests[1]), "a second time"),
    "a process ends": (lambda seen: setattr(seen.lives[1], "end", "by itself with code 1"), "b1 ended by itself"),
    "a line is no log line": (lambda seen: seen.lines.append(line(5.0, "a1", "stray output")), "stray output"),
    "a cooldown is known of": (lambda seen: loses(seen, b_remembers=True), "3 → 5 by b1, 4.0 s after"),
}


@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_is_found(name: str) -> None:
    breach, words = BREACHES[name]
    seen = run()
    assert violations(record_of(seen)) == []
    breach(seen)
    assert any(words in violation for violation in violations(record_of(seen)))


def test_a_cooldown_that_no_replica_can_know_of_is_excused() -> None:
    seen = run()
    loses(seen, b_remembers=False)
    assert violations(record_of(seen)) == []
