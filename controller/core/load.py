"""How much of all workers' capacity the jobs use over a day, and what follows from it for waits. Pure.

A worker that is missing delays every job until the queue is empty again. Near max_replicas this takes long, because
little capacity is left to catch up with: at a load of x, a backlog goes down by only 1 - x seconds of work a second. So
above a load of 0.7, one second of waiting brings about 1 / (1 - x) seconds, and the waits after a wrong stop count for
more. How much more depends on v, what a second of waiting is worth: a policy that accepts long waits has a queue in any
case, and other workers left to start. With all of it for each v, a target_wait of 60 s would cost 4 to 7 % more on
generated jobs near max_replicas; with less load, or the load of the last minutes, usual loads would cost more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

DAY_S = 86_400.0
HIGH = 0.7
_LEAST_OBSERVED_S = 3600.0
"""What was observed for less says nothing about the day."""
_LEAST_LEFT = 0.05
"""So a wait counts at most 20 times."""


@dataclass(frozen=True, slots=True)
class Load:
    """Jobs in progress, as a share of those that max_replicas can run at once: the mean over the last day.

    observed_s: seconds that it covers, at most a day. at: when it was last observed, by the journal's clock.
    """

    share: float
    observed_s: float
    at: float

    @classmethod
    def after(cls, before: Load | None, share: float, now: float, gap: float) -> Load:
        """With the share since the last observation; what happened during a gap of more than `gap` s is unknown."""
        if before is None:
            return cls(0.0, 0.0, now)
        passed = now - before.at
        if not 0 < passed <= gap:
            return replace(before, at=now)
        observed = min(before.observed_s + passed, DAY_S)
        moved = before.share + (share - before.share) * min(1.0, passed / observed)
        return cls(moved, observed, now)

    @property
    def is_high(self) -> bool:
        return self.observed_s >= _LEAST_OBSERVED_S and self.share > HIGH

    def times(self, worth: float) -> float:
        """How often the waits after a wrong stop count; 1 unless the load is high.

        worth: worker-seconds that a second of waiting is worth.
        """
        return 1 + min(worth, 1.0) * (1 / max(1 - self.share, _LEAST_LEFT) - 1) if self.is_high else 1.0

    @property
    def is_sound(self) -> bool:
        """Whether it can have been observed; a stored text may hold anything."""
        return math.isfinite(self.share) and self.share >= 0 and 0 <= self.observed_s <= DAY_S
