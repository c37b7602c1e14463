"""What a person wants to know of a run: what was done to it, what it did, and what it broke."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from tests.faults.seen import Seen, record_of
from tests.support.record import Record
from tests.support.verdict import violations


@dataclass(frozen=True)
class Report:
    seen: Seen
    record: Record
    violations: list[str]
    vacuous: list[str]
    """Why this run proves nothing."""

    @classmethod
    def of(cls, seen: Seen, *, least: int, take_overs: int = 0) -> Report:
        """least, take_overs: how many changes and take-overs it must have shown; with fewer, it proves nothing."""
        record = record_of(seen)
        return cls(seen, record, violations(record), list(_vacuous(seen, record, least, take_overs)))

    @property
    def is_good(self) -> bool:
        return not self.violations and not self.vacuous

    def lines(self) -> Iterator[str]:
        hit = [fault for fault in self.seen.faults if fault.hit]
        kinds = ", ".join(f"{name} {count}" for name, count in sorted(Counter(fault.kind for fault in hit).items()))
        yield f"{len(hit)} faults ({kinds}); {len(self.seen.faults) - len(hit)} more had no effect"
        record = self.record
        yield f"{len(record.sent)} mutations, {len(record.changes)} changes, {len(record.acquired)} terms of leaders"
        for cause in ("kill", "terminate"):
            took = [one.took_s for one in record.take_overs if one.cause == cause and one.took_s is not None]
            yield f"take-over after {cause}: {_figures(took)}"
        reached = [calm.converged_at - calm.healed_at for calm in record.calms if calm.converged_at is not None]
        yield f"{len(reached)} of {len(record.calms)} calms settled: {_figures(reached)}"
        yield f"{len(self.violations)} violations"
        yield from self.violations
        yield from (f"vacuous: {what}" for what in self.vacuous)


def timeline(seen: Seen) -> Iterator[str]:
    """Everything that was recorded, in the order of time, to find the cause of a violation."""
    moments = [(line.at, f"{line.process:>4}  {dict(line.fields)}") for line in seen.lines]
    moments += [
        (one.at, f"{one.process:>4}  sends {one.operation} ({one.epoch}, {one.intent})") for one in seen.requests
    ]
    moments += [(one.at, f"      {one}") for one in seen.changes]
    moments += [(fault.began, f"      {fault}") for fault in seen.faults]
    moments += [(fault.healed or 0.0, f"      healed: {fault.kind} {fault.target}") for fault in seen.faults]
    moments += [(one.ended, f"      {one}") for one in seen.demand]
    moments += [(life.until, f"{life.who:>4}  {life.end}") for life in seen.lives if life.until is not None]
    return (f"{at:10.3f}  {words}" for at, words in sorted(moments))


def _vacuous(seen: Seen, record: Record, least: int, take_overs: int) -> Iterator[str]:
    if len(record.changes) < least:
        yield f"only {len(record.changes)} changes, not {least}"
    if len(record.take_overs) < take_overs:
        yield f"only {len(record.take_overs)} take-overs, not {take_overs}"
    if seen.unmarked:
        yield f"{seen.unmarked} mutations carry no epoch, so that it is unknown which leader sent them"
    if unheard := sum(change.by == "unknown" for change in record.changes):
        yield f"{unheard} changes were not seen on their way out of a controller"


def _figures(values: list[float]) -> str:
    return f"{len(values)} times, median {median(values):.2f} s, longest {max(values):.2f} s" if values else "none"
