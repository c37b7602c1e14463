"""What is known right now, for the server to show: the last cycles, the role, and whether the loop turns.

Written by the runner and by the standby's watch, read by the server. No I/O.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from controller.cycle import Cycle, Outcome
from controller.ports import Clock

_FIGURES = (
    *("pending", "processing", "depth", "oldest_age_s", "configured", "running", "recommended", "desired"),
    *("rpm_used", "rpm_limit", "max_workers"),
)


_LARGEST_FIGURE = 1e15


def _is_well_formed(status: Mapping[str, Any]) -> bool:
    """Another version of the controller may publish otherwise during a deploy."""
    figures = [status.get(key) for key in _FIGURES]
    return status.get("outcome") in list(Outcome) and all(
        figure is None or (type(figure) in {int, float} and abs(figure) < _LARGEST_FIGURE) for figure in figures
    )


@dataclass
class Board:
    """`status` is what /status shows of each worker, ours while leading and the leader's while standing by."""

    clock: Clock
    interval: float
    status: dict[str, dict[str, Any]] = field(default_factory=dict)
    seen_at: dict[str, float] = field(default_factory=dict)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    scales: Counter[tuple[str, str]] = field(default_factory=Counter)
    _last_turn: float = field(init=False)

    def __post_init__(self) -> None:
        self._last_turn = self.clock.monotonic()

    def put(self, cycle: Cycle) -> None:
        known = self.status.get(cycle.worker, {})
        new = cycle.status()
        if cycle.outcome in {Outcome.FAILED, Outcome.CRASHED, Outcome.FENCED}:
            # What could not be read keeps its last known figure; the outcome says that it is old.
            new = {key: known.get(key) if value is None else value for key, value in new.items()}
        else:
            self.seen_at[cycle.worker] = self.clock.wall()
        self.status[cycle.worker] = new
        self.outcomes[cycle.worker, cycle.outcome.value] += 1
        if cycle.outcome is Outcome.APPLIED and cycle.decision is not None:
            self.scales[cycle.worker, cycle.decision.direction.value] += 1

    def take_over(self, published: Mapping[str, str]) -> None:
        """The leader's numbers, as it left them in Redis; what cannot be read as such is passed over."""
        for worker, text in published.items():
            try:
                entry = json.loads(text)
                status, at = dict(entry["status"]), float(entry["at"])
            except (ValueError, TypeError, KeyError, RecursionError):
                continue
            if _is_well_formed(status) and math.isfinite(at):
                self.status[worker] = status
                self.seen_at[worker] = at

    def to_publish(self) -> dict[str, str]:
        return {
            worker: json.dumps({"at": self.seen_at.get(worker, 0.0), "status": status}, ensure_ascii=False)
            for worker, status in self.status.items()
        }

    def turned(self) -> None:
        """The loop went round once more, whatever came of it."""
        self._last_turn = self.clock.monotonic()

    @property
    def somebody_is_idle(self) -> bool:
        """Whether a worker service was read well and had no replicas, and no jobs either."""
        well = {Outcome.HELD.value, Outcome.APPLIED.value}
        return any(
            status.get("outcome") in well and status.get("configured") == 0 and status.get("depth") == 0
            for status in self.status.values()
        )

    @property
    def stands_still(self) -> bool:
        """The loop itself has stopped turning: the one thing that only a restart can mend."""
        return self.clock.monotonic() - self._last_turn > self._patience + 60

    def age(self, worker: str) -> float | None:
        seen = self.seen_at.get(worker)
        return None if seen is None else max(0.0, self.clock.wall() - seen)

    def is_old(self, worker: str) -> bool:
        age = self.age(worker)
        return age is None or age > self._patience

    @property
    def _patience(self) -> float:
        return 3 * self.interval + 5
