"""What a history breaks: each promise is one function over the recorded values, which yields a Violation per breach.

 1. Nothing is sent under an epoch when a newer one has begun, by whomever.
 2. No two leaders share an epoch, and what is carried out never goes back to an older one.
 3. No scale-up within its cooldown of the last one; once per loss of Redis' data, one may, if no running replica knew.
 4. No scale-down within its cooldown of any scale.
 5. Never outside min..max.
 6. Never on a missing reading, and never to a count that the queue did not justify.
 7. Nothing is sent that changes nothing.
 8. Nothing is sent while the outcome of another change is unknown, and nothing twice.
 9. When all is well again the count is what the policy wants, within the bound, and stays.
10. A take-over that nothing else disturbs is as quick as was promised.
11. No controller ends by itself, prints what is no log line, or meets a bug.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.faults.history import STARTED_S, Fault, History, Line, Mutation, Sent

_UNKNOWN = ("dropped: hang", "dropped: 502", "dropped: null", "dropped: lost", "dropped: late", "dropped: slow")
_OF_A_SENDING_CYCLE = frozenset({"OutcomeUnknown", "ScaleFailed"})
_HARMLESS_FOR_A_KILL = ("railway", "postgres")
"""Faults of these kinds do not touch the lease. A SIGTERM waits for the cycle in hand, so that they delay that one."""


@dataclass(frozen=True)
class Violation:
    at: float
    promise: str
    words: str


@dataclass(frozen=True)
class TakeOver:
    """From the end of one leader to the successor's lease, with nothing else wrong meanwhile; took None: never."""

    at: float
    cause: str
    took: float | None


def judge(history: History) -> list[Violation]:
    """In the order of time."""
    return sorted((one for check in CHECKS for one in check(history)), key=lambda one: one.at)


def take_overs(history: History) -> list[TakeOver]:
    """The undisturbed ones."""
    return [over for fault in history.faults if (over := _take_over(history, fault)) is not None]


def scales(history: History) -> list[Mutation]:
    """What changed the count, in the order in which it was carried out."""
    return sorted((one for one in history.mutations if one.is_scale), key=lambda one: one.moment)


# --- 1, 2: leaders


def _stale_leader(history: History) -> Iterator[Violation]:
    led = _acquisitions(history)
    for sent in history.sent:
        since = min((line.at for line in led if line.fields["epoch"] > sent.epoch), default=sent.at)
        if sent.at > since + history.pace.slack:
            words = f"{sent.process} sent under epoch {sent.epoch}, {sent.at - since:.1f} s after a newer leader began"
            yield Violation(sent.at, "stale leader", words)


def _shared_epoch(history: History) -> Iterator[Violation]:
    holders: dict[int, Line] = {}
    for line in _acquisitions(history):
        first = holders.setdefault(line.fields["epoch"], line)
        if first.fields.get("holder") != line.fields.get("holder"):
            words = f"{first.process} and {line.process} both led with epoch {line.fields['epoch']}"
            yield Violation(line.at, "shared epoch", words)


def _epoch_goes_back(history: History) -> Iterator[Violation]:
    carried_out = [one for one in history.mutations if one.applied_at is not None and one.epoch is not None]
    highest = 0
    for one in sorted(carried_out, key=lambda one: one.moment):
        assert one.epoch is not None
        if one.epoch < highest:
            yield Violation(one.moment, "epoch went back", f"{_what(one)} came after one of epoch {highest}")
        highest = max(highest, one.epoch)


def _acquisitions(history: History) -> list[Line]:
    return [line for line in history.lines if line.event == "lease_acquired" and line.fields.get("epoch") is not None]


# --- 3, 4, 5: counts and cooldowns


def _up_too_soon(history: History) -> Iterator[Violation]:
    ups = [one for one in scales(history) if _is_up(one)]
    excused: set[float] = set()
    for before, after in pairwise(ups):
        gap = after.moment - before.moment
        if gap >= history.pace.up - history.pace.tolerance:
            continue
        lost = next((at for at in history.data_losses if before.moment <= at <= after.moment), None)
        if lost is not None and lost not in excused and not _remembered(history, before, lost, after):
            excused.add(lost)
            continue
        yield Violation(after.moment, "scale-up too soon", f"{_what(after)} {gap:.2f} s after {_what(before)}")


def _down_too_soon(history: History) -> Iterator[Violation]:
    for before, after in pairwise(scales(history)):
        gap = after.moment - before.moment
        if not _is_up(after) and gap < history.pace.down - history.pace.tolerance:
            yield Violation(after.moment, "scale-down too soon", f"{_what(after)} {gap:.2f} s after {_what(before)}")


def _remembered(history: History, before: Mutation, lost: float, after: Mutation) -> bool:
    """Whether a replica that knew of the scale before was awake all the way to the one after.

    The one who did it knows; a standby reads the stamps a few times per lease, and must have had the time to.
    """
    authors = {sent.process for sent in history.sent if sent.intent == before.intent}
    awake = [life.process for life in history.lives if life.lived_through(before.at, after.at)]
    return any(name in authors or lost - before.moment > history.pace.ttl for name in awake)


def _out_of_bounds(history: History) -> Iterator[Violation]:
    for one in history.mutations:
        if one.after is not None and not history.pace.minimum <= one.after <= history.pace.maximum:
            yield Violation(one.moment, "out of bounds", _what(one))


def _is_up(one: Mutation) -> bool:
    return (one.after or 0) > (one.before or 0)


# --- 6, 7: readings


def _missing_reading(history: History) -> Iterator[Violation]:
    for sent in history.sent:
        line = _cycle_of(history, sent)
        if line is None:
            continue
        depth, count = line.fields.get("depth"), line.fields.get("configured")
        if depth is None or count is None:
            yield Violation(sent.at, "missing reading", f"{sent.process} sent with depth {depth} and count {count}")


def _unjustified(history: History) -> Iterator[Violation]:
    for one in scales(history):
        possible = _wanted_lately(history, one.at)
        if one.after not in possible:
            counts = ", ".join(map(str, sorted(possible)))
            yield Violation(one.moment, "unjustified", f"{_what(one)}; the queue wanted {counts} lately")


def _wanted_lately(history: History, at: float) -> set[int]:
    """Every count that some true depth of the last moments wants."""
    since = at - history.pace.memory_of_demand
    until = [one.ended for one in history.demand[1:]] + [float("inf")]
    return {
        history.pace.wanted(one.depth)
        for one, end in zip(history.demand, until, strict=True)
        if one.began <= at + history.pace.slack and end >= since
    }


def _no_op(history: History) -> Iterator[Violation]:
    for sent in history.sent:
        line = _cycle_of(history, sent)
        if line is not None and line.fields.get("desired") == line.fields.get("configured"):
            yield Violation(sent.at, "no-op", f"{sent.process} wanted {line.fields.get('desired')}, and sent something")
    for one in history.mutations:
        if one.applied_at is None or one.before != one.after:
            continue
        # A stopped service keeps its count at 0 while the number to come back with is set.
        stopped = one.before == 0
        if (one.name == "serviceInstanceUpdate" and not stopped) or (one.name == "deploymentStop" and stopped):
            yield Violation(one.moment, "no-op", _what(one))


def _cycle_of(history: History, sent: Sent) -> Line | None:
    """The line that closes the cycle in which it was sent, where the process lived to write it."""
    for line in history.lines:
        if line.process == sent.process and line.event == "reconcile" and line.at >= sent.at:
            acted = line.fields.get("outcome") == "applied" or line.fields.get("reason") in _OF_A_SENDING_CYCLE
            return line if acted and line.fields.get("epoch") == sent.epoch else None
    return None


# --- 8: unknown outcomes


def _over_an_unknown(history: History) -> Iterator[Violation]:
    came = sorted(history.mutations, key=lambda one: one.at)
    for place, first in enumerate(came):
        if not _may_be_unknown(first) or first.intent is None:
            continue
        other = next((one for one in came[place + 1 :] if one.intent != first.intent), None)
        if other is None or other.at - first.at >= history.pace.landing - history.pace.tolerance:
            continue
        landed = first.applied_at is not None and first.applied_at <= other.at
        forgotten = any(first.at <= lost <= other.at for lost in history.data_losses)
        if not landed and not forgotten:
            words = f"{_what(other)} {other.at - first.at:.2f} s after {_what(first)}, of which nothing was known"
            yield Violation(other.at, "over an unknown outcome", words)


def _may_be_unknown(one: Mutation) -> bool:
    return one.effect in _UNKNOWN or not one.answered or (one.applied_at is not None and one.applied_at - one.at > 0.5)


def _twice(history: History) -> Iterator[Violation]:
    seen: set[tuple[str, str]] = set()
    for one in history.mutations:
        if one.intent is None:
            continue
        if (one.intent, one.name) in seen:
            yield Violation(one.at, "sent twice", _what(one))
        seen.add((one.intent, one.name))


# --- 9, 10, 11: liveness


def _never_settled(history: History) -> Iterator[Violation]:
    for calm in history.calms:
        if calm.reached is None:
            words = f"{calm.found} instead of {calm.wanted}, {history.pace.settled_within:.0f} s after the last healing"
            yield Violation(calm.healed, "never settled", words)
        elif calm.reached - calm.healed > history.pace.settled_within:
            words = f"at {calm.wanted} only {calm.reached - calm.healed:.1f} s after the last healing"
            yield Violation(calm.healed, "settled late", words)


def _slow_take_over(history: History) -> Iterator[Violation]:
    bounds = {"kill-leader": history.pace.take_over_after_a_kill, "term-leader": history.pace.take_over_after_a_term}
    for over in take_overs(history):
        if over.took is None or over.took > bounds[over.cause]:
            took = "never" if over.took is None else f"after {over.took:.2f} s"
            yield Violation(over.at, "slow take-over", f"{over.cause}: {took}, and not within {bounds[over.cause]:g} s")


def _take_over(history: History, fault: Fault) -> TakeOver | None:
    if fault.kind not in {"kill-leader", "term-leader"}:
        return None
    # A process that is asked to go may be in the middle of a cycle, and is given the time for it.
    limit = fault.began + 5 * history.pace.ttl
    line = next((one for one in _acquisitions(history) if fault.began < one.at < limit), None)
    end = line.at if line else limit
    if any(_disturbs(other, fault, end, history.pace.ttl) for other in history.faults):
        return None
    others = [life for life in history.lives if life.process != fault.target]
    if not any(life.lived_through(fault.began - STARTED_S, end) for life in others):
        return None
    return TakeOver(fault.began, fault.kind, line.at - fault.began if line else None)


def _disturbs(other: Fault, fault: Fault, end: float, before: float) -> bool:
    if other is fault or not other.overlaps(fault.began - before, end):
        return False
    return fault.kind == "term-leader" or not other.kind.startswith(_HARMLESS_FOR_A_KILL)


def _bugs(history: History) -> Iterator[Violation]:
    for life in history.lives:
        if life.end.startswith("by itself") or life.end == "would not end":
            yield Violation(life.ended or life.began, "process", f"{life.process} ended {life.end}")
    for line in history.lines:
        if line.event in {"crashed", "stray output"} or line.fields.get("outcome") == "crashed":
            yield Violation(line.at, "bug", f"{line.process}: {line.event}: {line.fields.get('message')}")


def _what(one: Mutation) -> str:
    return f"{one.name} {one.before} → {one.after} (epoch {one.epoch})"


CHECKS: tuple[Callable[[History], Iterator[Violation]], ...] = (
    _stale_leader,
    _shared_epoch,
    _epoch_goes_back,
    _up_too_soon,
    _down_too_soon,
    _out_of_bounds,
    _missing_reading,
    _unjustified,
    _no_op,
    _over_an_unknown,
    _twice,
    _never_settled,
    _slow_take_over,
    _bugs,
)
