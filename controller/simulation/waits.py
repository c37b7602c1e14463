"""Percentiles of many durations in little memory: exact for up to a million, within 0.5 % for more.

A comparison has millions of waits for each of several policies. As Python's floats in a list they would take 32 bytes
each; an array takes 8, and classes take nothing for each further wait. The classes get wider with the value (each by 1
%), so the error is relative: a p99 of 300 s is within 1.5 s, one of 2 s within 10 ms. HdrHistogram and DDSketch do the
same.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

_EXACT = 1_000_000
"""Number of durations that are kept exactly (8 MB)."""
_RESOLUTION = math.log(1.01)
"""More of them are counted in classes that are 1 % wide, so that the middle of a class is within 0.5 %."""
_LEAST_S = 0.001
"""Shorter ones are one class, which counts as 0: most jobs do not wait, and 0 has no logarithm."""


@dataclass(slots=True)
class Waits:
    """Durations in seconds. Percentiles by the nearest rank: the lowest value that this share does not exceed."""

    count: int = 0
    total: float = 0.0
    longest: float = 0.0
    _kept: array[float] = field(default_factory=lambda: array("d"))
    _is_sorted: bool = True
    _classes: Counter[int] = field(default_factory=Counter)

    def extend(self, seconds: Sequence[float]) -> None:
        if not seconds:
            return
        self._kept.extend(seconds)
        self.count += len(seconds)
        self.total += sum(seconds)
        longest = max(seconds)
        self.longest = max(self.longest, longest)
        self._is_sorted = False
        if len(self._kept) > _EXACT or (self._classes and len(self._kept) > _EXACT // 10):
            self._fold()

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def percentile(self, share: float) -> float:
        """`share` is 0.95 for p95. 0 if there are no durations."""
        if not self.count:
            return 0.0
        # In floats 0.07 x 100 is 7.000000000000001, whose ceiling would be the next rank.
        rank = max(1, math.ceil(share * self.count - 1e-9))
        if not self._classes:
            return self._sorted()[rank - 1]
        self._fold()
        passed = 0
        for index in sorted(self._classes):
            passed += self._classes[index]
            if passed >= rank:
                return min(self.longest, _middle(index))
        return self.longest

    def over(self, seconds: float) -> int:
        """How many durations are longer."""
        if not self._classes:
            return self.count - bisect_right(self._sorted(), seconds)
        self._fold()
        return sum(count for index, count in self._classes.items() if _middle(index) > seconds)

    def _sorted(self) -> array[float]:
        if not self._is_sorted:
            self._kept = array("d", sorted(self._kept))
            self._is_sorted = True
        return self._kept

    def _fold(self) -> None:
        self._classes.update(map(_class, self._kept))
        self._kept = array("d")


def _class(seconds: float) -> int:
    return 0 if seconds < _LEAST_S else 1 + math.floor(math.log(seconds / _LEAST_S) / _RESOLUTION)


def _middle(index: int) -> float:
    return 0.0 if index == 0 else _LEAST_S * math.exp((index - 0.5) * _RESOLUTION)
