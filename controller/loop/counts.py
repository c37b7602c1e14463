"""What this process has counted since its start, cycle by cycle: the counters and histograms of /metrics. No I/O.

Each counter begins at 0 with the process, which rate() and increase() of Prometheus allow for. Each replica counts only
its own cycles, so that a sum over the replicas of a group counts nothing twice.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from controller.core.model import ServiceTime
from controller.core.reasons import Reason
from controller.loop.cycle import LONGEST_CYCLE_S, Cycle, Outcome

CYCLE_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, LONGEST_CYCLE_S)
"""Upper bounds of the buckets: an interval is 0.1 s or longer, 10 s by default, and a cycle ends after 90 s."""
CALL_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Of a call to a dependency: the longest, a reading of the platform, has a deadline of 8 s for each request."""
WAIT_S = (1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
"""Of a job's wait: from the shortest start of a worker up to an hour."""
_LOST = frozenset({Outcome.FAILED, Outcome.CRASHED, Outcome.FENCED})


@dataclass
class Histogram:
    """How many values were at most each bound. bounds: ascending; the last bucket, without a bound, is added."""

    bounds: Sequence[float]
    sum: float = 0.0
    counts: list[int] = field(init=False)
    """Of each bucket by itself, one more than there are bounds."""

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def add(self, value: float) -> None:
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    @property
    def cumulative(self) -> list[tuple[float, int]]:
        """By bound, the last of which is infinite: how many values were at most that."""
        total, found = 0, []
        for bound, count in zip((*self.bounds, math.inf), self.counts, strict=True):
            total += count
            found.append((bound, total))
        return found


@dataclass
class _Seen:
    """Of the last cycle of one worker. running: None: unknown. newest: when its newest finished job ended."""

    at: float
    running: int | None
    newest: float | None


@dataclass
class Counts:
    """By worker, and by what else the name says. answered: dependencies to which a call of a cycle has succeeded.

    worker_seconds: seconds times running workers. last_success: when the last cycle ended that did not fail, by the
    wall clock. calls: by dependency, the seconds that each call took, whatever came back.
    """

    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    scales: Counter[tuple[str, str]] = field(default_factory=Counter)
    holds: Counter[tuple[str, str]] = field(default_factory=Counter)
    worker_seconds: dict[str, float] = field(default_factory=dict)
    last_success: dict[str, float] = field(default_factory=dict)
    waits: dict[str, Histogram] = field(default_factory=dict)
    cycles: Histogram = field(default_factory=lambda: Histogram(CYCLE_S))
    calls: dict[str, Histogram] = field(default_factory=dict)
    answered: set[str] = field(default_factory=set)
    _seen: dict[str, _Seen] = field(default_factory=dict)

    def cycle(self, cycle: Cycle, now: float, longest_s: float) -> None:
        """One more cycle. now: monotonic. longest_s: after a longer time without a cycle, nothing is known of it."""
        worker = cycle.worker
        self.outcomes[worker, cycle.outcome.value] += 1
        if cycle.outcome is Outcome.APPLIED and cycle.decision is not None:
            self.scales[worker, cycle.decision.direction.value] += 1
        if cycle.outcome is Outcome.HELD:
            self.holds[worker, cycle.reason.value] += 1
        if cycle.outcome not in _LOST:
            self.last_success[worker] = cycle.at
        if cycle.reason is Reason.TIMED_OUT:
            self.cycles.add(LONGEST_CYCLE_S)
        elif cycle.took_s > 0:
            self.cycles.add(cycle.took_s)
        self.answered |= cycle.answered
        self._since_the_last(cycle, now, longest_s)

    def call(self, dependency: str, seconds: float) -> None:
        self.calls.setdefault(dependency, Histogram(CALL_S)).add(seconds)

    def serve(self, workers: Iterable[str]) -> None:
        """Counts these workers from now on, and forgets any other."""
        named = set(workers)
        for counter in (self.outcomes, self.scales, self.holds):
            for key in [key for key in counter if key[0] not in named]:
                del counter[key]
        of_workers: Sequence[dict[str, float] | dict[str, Histogram] | dict[str, _Seen]] = (
            self.worker_seconds,
            self.last_success,
            self.waits,
            self._seen,
        )
        for of_worker in of_workers:
            for name in of_worker.keys() - named:
                del of_worker[name]

    def _since_the_last(self, cycle: Cycle, now: float, longest_s: float) -> None:
        """Adds what has passed since the cycle before. After a gap another replica may have counted it."""
        before = self._seen.get(cycle.worker)
        if before is not None and now - before.at > longest_s:
            before = None
        newest = self._count_waits(cycle.worker, cycle.service, None if before is None else before.newest)
        running = None if cycle.replicas is None else cycle.replicas.running
        if before is not None and before.running is not None:
            used = before.running * (now - before.at)
            self.worker_seconds[cycle.worker] = self.worker_seconds.get(cycle.worker, 0.0) + used
        elif running is not None:
            self.worker_seconds.setdefault(cycle.worker, 0.0)
        self._seen[cycle.worker] = _Seen(now, running, newest)

    def _count_waits(self, worker: str, service: ServiceTime | None, newest: float | None) -> float | None:
        """Counts each job that ended after `newest` once; returns when the newest one ended. None: none is known yet.

        Those of the first reading are not counted: they ended before this process, or before it led.
        """
        finished = service.finished if service is not None else ()
        if not finished:
            return newest
        if newest is not None:
            for job in finished:
                if job.at > newest and job.waited is not None:
                    since, began = job.waited
                    self.waits.setdefault(worker, Histogram(WAIT_S)).add(max(0.0, began - since))
        return max(finished[-1].at, newest or -math.inf)


def with_zeros(counter: Mapping[tuple[str, str], int], keys: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """The counter, with a 0 for each of these keys that was not counted: increase() misses a series' first value."""
    return {**dict.fromkeys(keys, 0), **counter}
