"""Which notifications are due, and to whom: from the cycles and the events of the leader. Pure; time is an argument.

    cycle()     what lasts: a fault, workers at max_replicas. It is told once it has lasted for the target's time, and
                its end is told to those who took the message of its begin.
    happened()  what happens once: an override, a takeover, a change that is known only later.
    due()       what a throttle has held back long enough.

Of each kind and each worker or dependency, a target gets the first at once, and then at most one in THROTTLE_S, which
says how many were left out.

What is told is remembered as marks, which survive a takeover: a mark says what began when, and which targets took the
message. It is written after the message was taken. So a message may come twice, if the leader ends in between; but
what lasts is never left untold because somebody died.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, Self

from controller.core.budget import ALL
from controller.core.notices import Kind, Mark, Notice
from controller.core.ports import Settled
from controller.core.reasons import Reason
from controller.core.units import in_words, iso
from controller.loop.cycle import CONTROLLER, Cycle, Outcome
from controller.loop.faults import CONDITIONS, Recovery, is_heard_from
from controller.policy import Target

THROTTLE_S = 600.0
MOST_ONCE = 200
"""Marks of what happened once: the newest are kept. What lasts has as many marks as the policy has workers and faults.
"""
_KIND_OF = {Reason.NO_PROGRESS.value: Kind.NO_PROGRESS, Reason.WORKERS_CRASH.value: Kind.CRASH_LOOP}
_OF_A_BUDGET = {Reason.NEAR_BUDGET, Reason.OVER_BUDGET}
_LASTING = "lasts"
_ONCE = "once"
_FIGURES = ("before", "after", "epoch", "holder", "override", "by", "times", "scope", "spent", "amount", "max_replicas")


class Due(NamedTuple):
    """A notice for one target. mark: under which it is remembered once the target has taken it."""

    target: str
    notice: Notice
    mark: str


@dataclass(frozen=True, slots=True)
class Wish:
    """What one target wants to be told of. target: its key. workers: empty for all."""

    target: str
    kinds: frozenset[Kind]
    workers: frozenset[str]
    failing_after: float
    at_max_after: float

    @classmethod
    def of(cls, target: Target) -> Self:
        workers = frozenset(target.workers)
        return cls(target.key, frozenset(target.on), workers, target.failing_after, target.at_max_after)

    def wants(self, kind: Kind, workers: Iterable[str]) -> bool:
        """workers: those that it concerns; none if it concerns the controller itself."""
        concerned = set(workers)
        return kind in self.kinds and (not self.workers or not concerned or bool(self.workers & concerned))

    def after(self, kind: Kind) -> float:
        return {Kind.FAILING: self.failing_after, Kind.AT_MAX: self.at_max_after}.get(kind, 0.0)


@dataclass(slots=True)
class _Throttle:
    """Of one target, kind and subject. sent_at: of the last one. held: the newest that was left out, and how many."""

    sent_at: float
    held: Due | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class _Subject:
    """Something that may last. place: its worker; "" for a dependency, which all workers share. name: of the fault."""

    kind: Kind
    place: str
    name: str

    @property
    def mark(self) -> str:
        return f"{_LASTING}|{self.kind.value}|{self.place}|{self.name}"

    @property
    def shared(self) -> str:
        """What a throttle counts together."""
        return f"{self.place}|{self.name}"

    @classmethod
    def from_mark(cls, mark: str) -> Self | None:
        kind, place, name = [*mark.split("|", 3)[1:], "", "", ""][:3]
        is_ours = mark.startswith(f"{_LASTING}|") and kind in set(Kind)
        return cls(Kind(kind), place, name) if is_ours else None


@dataclass(slots=True)
class Alerts:
    """What is known of what lasts, and of what was told."""

    wishes: tuple[Wish, ...] = ()
    marks: dict[str, Mark] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    """By target: how many notices were not sent because of the throttle."""
    _changed: set[str] = field(default_factory=set)
    _sending: set[tuple[str, str]] = field(default_factory=set)
    """Target and mark of what was handed out, and of which it is not known yet whether the target took it."""
    _again_at: dict[tuple[str, str], float] = field(default_factory=dict)
    """The same of what a target did not take, and when it is tried again if it still lasts."""
    _throttles: dict[tuple[str, Kind, str], _Throttle] = field(default_factory=dict)

    # What it serves

    def serve(self, targets: Sequence[Target], workers: Iterable[str]) -> None:
        """Goes on with these targets. What lasts of a worker that is gone is forgotten."""
        self.wishes = tuple(map(Wish.of, targets))
        known, keys = set(workers), {wish.target for wish in self.wishes}
        for ident, mark in list(self.marks.items()):
            staying = tuple(name for name in mark.workers if name in known)
            if _Subject.from_mark(ident) is not None and staying != mark.workers:
                self._put(ident, mark._replace(workers=staying) if staying else None)
        self._throttles = {key: one for key, one in self._throttles.items() if key[0] in keys}
        self._sending = {key for key in self._sending if key[0] in keys}
        self._again_at = {key: at for key, at in self._again_at.items() if key[0] in keys and key[1] in self.marks}
        self.left_out = {key: self.left_out.get(key, 0) for key in keys}

    def remember(self, marks: Mapping[str, Mark]) -> None:
        """Takes over what another leader has written. What this one has not written yet stays."""
        ours = {ident: self.marks[ident] for ident in self._changed if ident in self.marks}
        gone = self._changed - ours.keys()
        self.marks = {ident: mark for ident, mark in marks.items() if ident not in gone} | ours

    @property
    def is_changed(self) -> bool:
        return bool(self._changed)

    def changes(self) -> dict[str, Mark | None]:
        """What is to be written since the last call; None: it is removed."""
        changed, self._changed = self._changed, set()
        return {ident: self.marks.get(ident) for ident in changed}

    def not_written(self, changes: Iterable[str]) -> None:
        self._changed.update(changes)

    # What becomes of a notice

    def taken(self, due: Due) -> None:
        """The target took it."""
        self._sending.discard((due.target, due.mark))
        mark = self.marks.get(due.mark)
        if mark is not None and due.target not in mark.told:
            self._put(due.mark, mark._replace(told=(*mark.told, due.target)))

    def not_taken(self, due: Due, now: float) -> None:
        """now: as in cycle(). What lasts is tried again after THROTTLE_S."""
        self._sending.discard((due.target, due.mark))
        if due.mark in self.marks and _Subject.from_mark(due.mark) is not None:
            self._again_at[due.target, due.mark] = now + THROTTLE_S

    # What happens once

    def happened(self, name: str, fields: Mapping[str, Any], at: float) -> list[Due]:
        """An event of the log. at: epoch seconds."""
        told = _EVENTS.get(name)
        if told is None:
            return []
        worker, message = str(fields.get("worker") or ""), str(fields.get("message") or "")
        worker = "" if fields.get("scope") == ALL else worker
        if name == "intent_settled" and fields.get("settled") != Settled.APPLIED.value:
            return []
        ident = str(fields.get("change") or fields.get("id") or fields.get("epoch") or "")
        if name == "contended":
            ident = f"{worker} {at:.3f}"  # each is another one
        figures = {key: fields[key] for key in _FIGURES if fields.get(key) is not None}
        words = told.words.format_map({"holder": "?", **fields, "message": message})
        notice = Notice("", told.kind.value, words, at, worker, figures)
        return self._once(f"{told.ident or name} {ident}", told.kind, notice)

    def _once(self, ident: str, kind: Kind, notice: Notice) -> list[Due]:
        mark = f"{_ONCE}|{ident}"
        known = self.marks.get(mark, Mark(notice.at, (notice.worker,) if notice.worker else ()))
        new = replace(notice, ident=_short(mark))
        subject = notice.worker
        found = []
        for wish in self.wishes:
            if not wish.wants(kind, known.workers) or wish.target in known.told:
                continue
            if (wish.target, mark) in self._sending:
                continue
            if mark not in self.marks:
                self._put(mark, known)
                self._forget_the_oldest()
            found += self._throttled(Due(wish.target, new, mark), kind, subject)
        return found

    def _forget_the_oldest(self) -> None:
        once = [ident for ident in self.marks if ident.startswith(f"{_ONCE}|")]
        for ident in sorted(once, key=lambda ident: self.marks[ident].since)[: max(0, len(once) - MOST_ONCE)]:
            self._put(ident, None)

    # What lasts

    def cycle(self, cycle: Cycle, failing: Mapping[str, float], minimum: int = 0) -> list[Due]:
        """A cycle of the leader. failing: what fails after it, by name, and since when, in epoch seconds.

        minimum: the worker's min_replicas at that hour, as cycle.max_workers is.
        """
        if cycle.outcome is Outcome.STANDBY:
            return []
        found = self._scaled(cycle)
        for name, since in failing.items():
            found += self._lasts(_subject(name, cycle.worker), cycle, since, _fault_words(name, cycle))
        for subject in self._lasting_of(cycle.worker):
            over = subject.name not in failing and is_heard_from(subject.name, cycle)
            if subject.kind is not Kind.AT_MAX and over:
                found += self._ended(subject, cycle)
        return found + self._at_max(cycle, minimum) + self.due(cycle.at)

    def _scaled(self, cycle: Cycle) -> list[Due]:
        decision = cycle.decision
        if decision is None or not decision.changes_something or cycle.outcome is not Outcome.APPLIED:
            return []
        figures = {"before": decision.current, "after": decision.desired, "reason": cycle.reason.value}
        words = f"{cycle.message}. Why: {_explain(cycle.at)}"
        notice = Notice("", Kind.SCALED.value, words, cycle.at, cycle.worker, figures)
        return self._once(f"scaled {cycle.change or f'{cycle.worker} {cycle.at:.3f}'}", Kind.SCALED, notice)

    def _at_max(self, cycle: Cycle, minimum: int) -> list[Due]:
        decision, subject = cycle.decision, _Subject(Kind.AT_MAX, cycle.worker, "")
        if decision is None:
            return []  # whether it lasts is unknown
        most = cycle.max_workers
        if min(decision.recommended, decision.desired) < most or most <= minimum:
            return self._ended(subject, cycle) if subject.mark in self.marks else []
        queue = cycle.queue
        jobs = "" if queue is None else f", with {queue.shown(queue.pending)} jobs pending"
        oldest = queue.oldest_age_s if queue else None
        waits = "" if oldest is None else f", the oldest for {in_words(oldest)}"
        fix = "raise the budget" if cycle.reason in _OF_A_BUDGET else "raise it"
        words = (
            f"at max_replicas ({most}) for {{lasted}}{jobs}{waits}: if jobs may not wait that long, {fix}; "
            f"{_explain(cycle.at)}"
        )
        return self._lasts(subject, cycle, cycle.at, words)

    def _lasting_of(self, worker: str) -> Iterator[_Subject]:
        for ident, mark in list(self.marks.items()):
            subject = _Subject.from_mark(ident)
            if subject is not None and worker in mark.workers:
                yield subject

    def _lasts(self, subject: _Subject, cycle: Cycle, since: float, words: str) -> list[Due]:
        if not any(subject.kind in wish.kinds for wish in self.wishes):
            return []
        mark = self.marks.get(subject.mark)
        if mark is None or cycle.worker not in mark.workers:
            mark = mark or Mark(since)
            mark = mark._replace(since=min(mark.since, since), workers=(*mark.workers, cycle.worker))
            self._put(subject.mark, mark)
        found = []
        for wish in self.wishes:
            key = wish.target, subject.mark
            lasted = max(0.0, cycle.at - mark.since)
            waits = lasted < wish.after(subject.kind) or cycle.at < self._again_at.get(key, 0.0)
            if waits or not wish.wants(subject.kind, mark.workers) or wish.target in mark.told or key in self._sending:
                continue
            self._again_at.pop(key, None)
            figures = {"since": iso(mark.since), "lasted_s": round(lasted, 1), **_named(subject)}
            notice = Notice(
                _short(f"{subject.mark} {mark.since:.0f}"),
                subject.kind.value,
                words.replace("{lasted}", in_words(lasted)),
                cycle.at,
                subject.place or _those(mark.workers),
                figures,
            )
            due = Due(wish.target, notice, subject.mark)
            found += self._throttled(due, subject.kind, subject.shared)
        return found

    def _ended(self, subject: _Subject, cycle: Cycle) -> list[Due]:
        mark = self.marks[subject.mark]
        others = tuple(name for name in mark.workers if name != cycle.worker)
        if others:
            self._put(subject.mark, mark._replace(workers=others))
            return []
        self._put(subject.mark, None)
        lasted = max(0.0, cycle.at - mark.since)
        ends = f"fewer than max_replicas ({cycle.max_workers}) are wanted again after {in_words(lasted)}"
        words = ends if subject.kind is Kind.AT_MAX else Recovery(subject.name, lasted).sentence
        ident = _short(f"{subject.mark} {mark.since:.0f} is over")
        figures = {"of": subject.kind.value, "lasted_s": round(lasted, 1), **_named(subject)}
        notice = Notice(ident, Kind.RECOVERED.value, words, cycle.at, subject.place, figures)
        found = []
        for wish in self.wishes:
            key = wish.target, subject.mark
            is_told = wish.target in mark.told or key in self._sending
            self._again_at.pop(key, None)
            self._sending.discard(key)
            if self._dropped(wish.target, subject.kind, subject.shared, subject.mark):
                continue  # it was held back: of what was never told, no end is told
            if is_told and Kind.RECOVERED in wish.kinds:
                due = Due(wish.target, notice, f"{subject.mark} is over")
                found += self._throttled(due, Kind.RECOVERED, subject.shared)
        return found

    # The throttle

    def _throttled(self, due: Due, kind: Kind, subject: str) -> list[Due]:
        """What of it goes out now. at: of the notice."""
        self._sending.add((due.target, due.mark))
        key, now = (due.target, kind, subject), due.notice.at
        throttle = self._throttles.get(key)
        if throttle is None or (throttle.held is None and now - throttle.sent_at >= THROTTLE_S):
            self._throttles[key] = _Throttle(now)
            return [due]
        if throttle.held is not None:
            self.left_out[due.target] = self.left_out.get(due.target, 0) + 1
            self.taken(throttle.held)
        throttle.held, throttle.count = due, throttle.count + 1
        return []

    def due(self, now: float) -> list[Due]:
        """What was held back for long enough: the newest, with the number of those before it."""
        found = []
        for key, throttle in list(self._throttles.items()):
            if now - throttle.sent_at < THROTTLE_S:
                continue
            held, left_out = throttle.held, throttle.count - 1
            if held is None:
                del self._throttles[key]
                continue
            self._throttles[key] = _Throttle(now)
            within_s = now - throttle.sent_at
            found.append(held._replace(notice=replace(held.notice, left_out=left_out, within_s=within_s)))
        return found

    def _dropped(self, target: str, kind: Kind, subject: str, mark: str) -> bool:
        throttle = self._throttles.get((target, kind, subject))
        if throttle is None or throttle.held is None or throttle.held.mark != mark:
            return False
        self.left_out[target] = self.left_out.get(target, 0) + 1
        throttle.held, throttle.count = None, 0
        return True

    def _put(self, ident: str, mark: Mark | None) -> None:
        self._changed.add(ident)
        if mark is None:
            self.marks.pop(ident, None)
        else:
            self.marks[ident] = mark


class _Told(NamedTuple):
    """How an event of the log is told. ident: in the place of the event's name, if two events tell the same."""

    kind: Kind
    words: str
    ident: str = ""


_EVENTS: Mapping[str, _Told] = {
    "intent_settled": _Told(Kind.SCALED, "{message}. Why: `autoscaler history --since 1h`", "scaled"),
    "override_set": _Told(Kind.OVERRIDE, "override set: {message}; `autoscaler overrides` lists all"),
    "override_ended": _Told(Kind.OVERRIDE, "override ended: {message}"),
    "lease_acquired": _Told(Kind.TAKEOVER, "replica {holder} leads now, with epoch {epoch}; `autoscaler history`"),
    "budget": _Told(Kind.BUDGET, "{message}"),
    "contended": _Told(Kind.CONTENDED, "{message}"),
}


def _subject(name: str, worker: str) -> _Subject:
    own = name in CONDITIONS or name == CONTROLLER
    return _Subject(_KIND_OF.get(name, Kind.FAILING), worker if own else "", name)


def _named(subject: _Subject) -> dict[str, str]:
    return {"source": subject.name} if subject.name else {}


def _fault_words(name: str, cycle: Cycle) -> str:
    """With {lasted} in the place of the time that it has lasted."""
    said = next((one.words for one in cycle.degrading if one.reason.value == name), None)
    if said is not None:
        return f"{name}: {said}; {_explain(cycle.at)}"
    text = f": {cycle.fault.text}" if cycle.fault is not None and cycle.fault.source == name else ""
    return f"{name} has failed for {{lasted}}{text}; `autoscaler doctor` looks for the cause"


def _those(workers: Sequence[str]) -> str:
    return workers[0] if len(workers) == 1 else f"{len(workers)} workers"


def _explain(at: float) -> str:
    return f'`autoscaler explain --at "{_second(at)}"`'


def _second(at: float) -> str:
    """Not before it: what was decided then is asked for."""
    return f"{iso(math.ceil(at))[:19]}Z"


def _short(ident: str) -> str:
    """16 characters that are the same wherever the same thing is told of."""
    return hashlib.sha256(ident.encode()).hexdigest()[:16]
