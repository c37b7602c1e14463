"""Counts that stop early: each reading counts only as far as a decision can need; the rest is only shown.

To count 10,000 jobs takes eighty times as long as to count 100. So a count that stops is carried on up to its limit
only now and then, the seldomer the further that went, and its figure stands for what was not counted since. Pure: the
time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from controller.core.model import QueueDepth

BOUND = 100
"""So many jobs cost hardly more to count than none."""
_HOLDS_FOR_S = 9.0
"""How long a count holds that went all the way to its limit; one that went half as far holds half as long. It is less
than the usual interval, so that each cycle shows what is, and only what wakes us between two of them goes by less."""

_GIVES_UP_FOR_S = 60.0


class Wanted(NamedTuple):
    """Which queue's count, and up to where it may go."""

    key: str
    limit: int


class Limits(NamedTuple):
    """Where the counts of a reading stop: of jobs that wait, and of those that were claimed."""

    waiting: int
    claimed: int

    @classmethod
    def bounded(cls, limit: int, enough: int, busy: int) -> Limits:
        """As far as decisions need: the depth up to `enough`, jobs in work up to `busy`."""
        return cls(min(limit, max(enough, BOUND)), min(limit, max(enough, busy, BOUND)))

    def reached(self, depth: QueueDepth) -> tuple[bool, bool, bool]:
        """Whether each count of a reading with these stops ended at one."""
        return depth.pending >= self.waiting, depth.processing >= self.claimed, depth.stale >= self.claimed


class _Known(NamedTuple):
    """depth: None where it could not be counted, or took too long."""

    depth: QueueDepth | None
    until: float


@dataclass
class ExactCounts:
    """The last count of each queue that went as far as its limit."""

    _known: dict[Wanted, _Known] = field(default_factory=dict)

    def are_due(self, wanted: Wanted, bounded: QueueDepth, stops: Limits, now: float) -> bool:
        """Whether a count that stopped early has to be carried on: nothing stands for the rest, or not any more."""
        if not any(_short(bounded, stops, wanted.limit)):
            return False
        known = self._known.get(wanted)
        if known is None or now >= known.until:
            return True
        if known.depth is None:
            return False
        stopped = zip(_short(bounded, stops, wanted.limit), _counts(bounded), _counts(known.depth), strict=True)
        return any(is_short and exact < count for is_short, count, exact in stopped)

    def keep(self, wanted: Wanted, depth: QueueDepth, now: float) -> None:
        share = max(_counts(depth)) / wanted.limit
        self._known[wanted] = _Known(depth, now + _HOLDS_FOR_S * share)

    def give_up(self, wanted: Wanted, now: float) -> None:
        """The exact count failed or took too long: for a minute only the bounded one is made."""
        self._known[wanted] = _Known(None, now + _GIVES_UP_FOR_S)

    def complete(self, wanted: Wanted, bounded: QueueDepth, stops: Limits) -> QueueDepth:
        """The bounded reading, with what is known in the place of each count that stopped."""
        short = _short(bounded, stops, wanted.limit)
        known = self._known[wanted].depth if any(short) else bounded
        if known is None:
            return replace(bounded, limit=max(stops))  # "so many and more", of what was counted
        exact = _counts(known)
        pending, processing, stale = (
            further if is_short else count
            for is_short, count, further in zip(short, _counts(bounded), exact, strict=True)
        )
        return QueueDepth(pending, processing, bounded.oldest_age_s, stale, wanted.limit)


def _counts(depth: QueueDepth) -> tuple[int, int, int]:
    return depth.pending, depth.processing, depth.stale


def _short(bounded: QueueDepth, stops: Limits, limit: int) -> tuple[bool, ...]:
    """Which counts stopped, and could go further."""
    could = (stops.waiting < limit, stops.claimed < limit, stops.claimed < limit)
    return tuple(reached and further for reached, further in zip(stops.reached(bounded), could, strict=True))
