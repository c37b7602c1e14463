"""Counts that stop early. Every reading counts as far as any decision needs it; what is beyond is only shown.

To count 10,000 jobs takes fifty times as long as to count 200. So a count that stops is carried on up to its limit
only now and then, the seldomer the further that went, and its figure stands for what was not counted since. Pure: the
time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from controller.model import QueueDepth

NEAR = 200
"""So many jobs cost hardly more to count than none."""
_HOLDS_FOR_S = 30.0
"""How long a count holds that went all the way to its limit; one that went half as far holds half as long."""


class Wanted(NamedTuple):
    """Which queue's count, and up to where."""

    key: str
    limit: int


class _Known(NamedTuple):
    depth: QueueDepth
    until: float


@dataclass
class FarCounts:
    """The last count of each queue that went as far as its limit."""

    _known: dict[Wanted, _Known] = field(default_factory=dict)

    def are_due(self, wanted: Wanted, near: QueueDepth, now: float) -> bool:
        """Whether a count that stopped early has to be carried on: nothing stands for the rest, or not any more."""
        if not _stopped(near, wanted.limit):
            return False
        known = self._known.get(wanted)
        return known is None or now >= known.until or not _reaches(known.depth, near)

    def keep(self, wanted: Wanted, depth: QueueDepth, now: float) -> None:
        share = max(_counts(depth)) / wanted.limit
        self._known[wanted] = _Known(depth, now + _HOLDS_FOR_S * share)

    def complete(self, wanted: Wanted, near: QueueDepth) -> QueueDepth:
        """The near reading, with what is known in the place of each count that stopped."""
        counts = _counts(near)
        if _stopped(near, wanted.limit):
            known = _counts(self._known[wanted].depth)
            counts = tuple(
                far if count >= (near.limit or 0) else count for count, far in zip(counts, known, strict=True)
            )
        pending, processing, stale = counts
        return QueueDepth(pending, processing, near.oldest_age_s, stale, wanted.limit)


def _counts(depth: QueueDepth) -> tuple[int, ...]:
    return depth.pending, depth.processing, depth.stale


def _stopped(near: QueueDepth, limit: int) -> bool:
    return near.limit is not None and near.limit < limit and max(_counts(near)) >= near.limit


def _reaches(far: QueueDepth, near: QueueDepth) -> bool:
    """Whether each count that stopped in the one went at least as far in the other."""
    pairs = zip(_counts(far), _counts(near), strict=True)
    return all(further >= count for further, count in pairs if near.limit is not None and count >= near.limit)
