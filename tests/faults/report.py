"""What a person wants to know of a run: what was done to it, what it did, and what it broke."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from tests.faults.history import History
from tests.faults.verdict import TakeOver, Violation, judge, scales, take_overs


@dataclass(frozen=True)
class Least:
    """What a run must have shown at least: nothing is proven by a run in which nothing happened."""

    scales: int
    take_overs: int

    @classmethod
    def for_a_run_of(cls, seconds: float) -> Least:
        return cls(scales=max(2, int(seconds / 30)), take_overs=max(1, int(seconds / 75)))


@dataclass(frozen=True)
class Report:
    history: History
    violations: list[Violation]
    missing: list[str]
    """Why this run proves nothing."""

    @classmethod
    def of(cls, history: History, least: Least) -> Report:
        return cls(history, judge(history), list(_missing(history, least)))

    @property
    def is_good(self) -> bool:
        return not self.violations and not self.missing

    def lines(self, began: float) -> Iterator[str]:
        hit = [fault for fault in self.history.faults if fault.hit]
        kinds = Counter(fault.kind for fault in hit)
        changes = scales(self.history)
        yield f"faults      {len(hit)} of {len(kinds)} kinds ({len(self.history.faults) - len(hit)} more had no effect)"
        yield f"            {', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}"
        yield f"mutations   {len(self.history.mutations)} checked, {len(changes)} changes of the count"
        yield f"leaders     {sum(line.event == 'lease_acquired' for line in self.history.lines)}"
        for cause, name in (("kill-leader", "kill -9"), ("term-leader", "SIGTERM")):
            yield f"take-over   after {name}: {_times(take_overs(self.history), cause)}"
        settled = [max(0.0, calm.reached - calm.healed) for calm in self.history.calms if calm.reached is not None]
        if settled:
            bound = self.history.pace.settled_within
            calms = f"{len(settled)} of {len(self.history.calms)} settled"
            yield f"calms       {calms}; {_figures(settled)}, bound {bound:g} s"
        yield f"violations  {len(self.violations)}"
        for one in self.violations:
            yield f"  at {one.at - began:7.2f} s  {one.promise}: {one.words}"
        for words in self.missing:
            yield f"  proves nothing: {words}"


def timeline(history: History, began: float) -> Iterator[str]:
    """Everything that was recorded, in the order of time, to find the cause of a violation."""
    moments = [(line.at, f"{line.process:>4}  {dict(line.fields)}") for line in history.lines]
    moments += [
        (sent.at, f"{sent.process:>4}  SENDS under epoch {sent.epoch}, intent {sent.intent}") for sent in history.sent
    ]
    for one in history.mutations:
        moments.append((one.at, f"      MUTATION {one.name} of epoch {one.epoch}, intent {one.intent}"))
        if one.applied_at is not None:
            moments.append((one.applied_at, f"      DONE {one.name} {one.before} → {one.after} of intent {one.intent}"))
    for fault in history.faults:
        moments.append((fault.began, f"      FAULT {fault.kind} {fault.target}"))
        moments.append((fault.healed or fault.began, f"      healed {fault.kind} {fault.target}"))
    moments += [
        (one.ended, f"      DEMAND {one.depth}, perhaps from {one.began - began:.2f} s on") for one in history.demand
    ]
    moments += [(life.ended, f"{life.process:>4}  {life.end}") for life in history.lives if life.ended is not None]
    for at, words in sorted(moments):
        yield f"{at - began:8.2f}  {words}"


def _missing(history: History, least: Least) -> Iterator[str]:
    if len(scales(history)) < least.scales:
        yield f"{len(scales(history))} changes of the count, where at least {least.scales} were expected"
    if len(take_overs(history)) < least.take_overs:
        yield f"{len(take_overs(history))} undisturbed take-overs, where at least {least.take_overs} were expected"
    if unmarked := sum(one.epoch is None for one in history.mutations):
        yield f"{unmarked} mutations carry no epoch, so that it is unknown which leader sent them"
    if history.mutations and not history.sent:
        yield "no mutation was seen on its way out of a controller"


def _times(overs: list[TakeOver], cause: str) -> str:
    took = [over.took for over in overs if over.cause == cause and over.took is not None]
    return f"{len(took)} times, {_figures(took)}" if took else "none"


def _figures(values: list[float]) -> str:
    return f"median {median(values):.2f} s, longest {max(values):.2f} s"
