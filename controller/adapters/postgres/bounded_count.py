"""Bounded and exact counts. Each reading counts only up to the number that can change a decision (bounded).

Counting 10,000 jobs takes eighty times as long as counting 100. The count up to count_limit (exact) is only displayed,
so it is made now and then: the more jobs it found, the longer its figure is reused. Pure: the time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from controller.core.model import QueueDepth

BOUND = 100
"""Every reading counts at least up to this many jobs, because counting 100 costs hardly more than counting none."""
_HOLDS_FOR_S = 9.0
"""How long an exact count that reached its limit is reused; one that went half as far is reused half as long.

It is less than the usual interval of 10 s, so that each regular cycle shows fresh figures; only cycles between, started
by a NOTIFY, reuse them."""

_GIVES_UP_FOR_S = 60.0


class Wanted(NamedTuple):
    """An exact count. key: the queue. limit: where it stops (count_limit)."""

    key: str
    limit: int


class Limits(NamedTuple):
    """Where the counts of a reading stop. waiting: for ready jobs and those due soon. claimed: processing and stale."""

    waiting: int
    claimed: int

    @classmethod
    def bounded(cls, limit: int, enough: int, busy: int) -> Limits:
        """As far as a decision needs: the depth up to `enough`, jobs in work up to `busy`."""
        return cls(min(limit, max(enough, BOUND)), min(limit, max(enough, busy, BOUND)))

    def reached(self, depth: QueueDepth) -> tuple[bool, bool, bool, bool]:
        """Whether pending, processing, stale and soon each reached their limit."""
        pending, processing, stale, soon = _counts(depth)
        return pending >= self.waiting, processing >= self.claimed, stale >= self.claimed, soon >= self.waiting


class _Known(NamedTuple):
    """depth: None if the exact count failed or took too long."""

    depth: QueueDepth | None
    until: float


@dataclass
class ExactCounts:
    """The last exact count of each queue."""

    _known: dict[Wanted, _Known] = field(default_factory=dict)

    def are_due(self, wanted: Wanted, bounded: QueueDepth, limits: Limits, now: float) -> bool:
        """Whether an exact count is needed: the bounded one reached its limit, and the known exact one is too old.

        It is also too old if the bounded count is already larger.
        """
        if not any(_short(bounded, limits, wanted.limit)):
            return False
        known = self._known.get(wanted)
        if known is None or now >= known.until:
            return True
        if known.depth is None:
            return False
        stopped = zip(_short(bounded, limits, wanted.limit), _counts(bounded), _counts(known.depth), strict=True)
        return any(is_short and exact < count for is_short, count, exact in stopped)

    def keep(self, wanted: Wanted, depth: QueueDepth, now: float) -> None:
        share = max(_counts(depth)) / wanted.limit
        self._known[wanted] = _Known(depth, now + _HOLDS_FOR_S * share)

    def give_up(self, wanted: Wanted, now: float) -> None:
        """The exact count failed or took too long; for 60 s only bounded counts are made."""
        self._known[wanted] = _Known(None, now + _GIVES_UP_FOR_S)

    def complete(self, wanted: Wanted, bounded: QueueDepth, limits: Limits) -> QueueDepth:
        """The bounded reading, with the exact figure for each count that reached its limit."""
        short = _short(bounded, limits, wanted.limit)
        known = self._known[wanted].depth if any(short) else bounded
        if known is None:
            return replace(bounded, limit=max(limits))  # shown as "100 or more"
        exact = _counts(known)
        pending, processing, stale, soon = (
            further if is_short else count
            for is_short, count, further in zip(short, _counts(bounded), exact, strict=True)
        )
        return QueueDepth(
            pending,
            processing,
            bounded.oldest_age_s,
            None if bounded.stale is None else stale,
            wanted.limit,
            soon=None if bounded.soon is None else soon,
            ahead_s=bounded.ahead_s,
        )


def _counts(depth: QueueDepth) -> tuple[int, int, int, int]:
    """Pending, processing, stale and soon; an unknown number of stale jobs or of those due soon reaches no limit."""
    return depth.pending, depth.processing, depth.stale or 0, depth.soon or 0


def _short(bounded: QueueDepth, limits: Limits, limit: int) -> tuple[bool, ...]:
    """Which counts reached their limit although `limit` would allow more."""
    could = (limits.waiting < limit, limits.claimed < limit, limits.claimed < limit, limits.waiting < limit)
    return tuple(reached and further for reached, further in zip(limits.reached(bounded), could, strict=True))
