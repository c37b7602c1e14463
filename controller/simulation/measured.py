"""What our own policies measure in the simulator: the pauses of each worker, and the newest finished jobs."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from controller.core import pauses
from controller.core.model import LongRun, ServiceTime, longest_counted
from controller.core.pauses import FEWEST_ARRIVALS
from controller.simulation.account import MOST_TOLD, Done

MEASURED_JOBS = MOST_TOLD


@dataclass(slots=True)
class Pauses:
    """The newest pauses of one worker, in their order and by length, and for how long it stays by them."""

    _ascending: list[float] = field(default_factory=list)
    _newest: deque[float] = field(default_factory=deque)
    _cost: pauses.Cost | None = None
    """What a wrong stop cost when it was to be learned; None: it is learned, or was never to be."""
    _kept_s: float | None = None

    def add(self, pause: float) -> None:
        if self._cost is not None:
            self.kept_s()  # by the pauses that were known then
        insort(self._ascending, pause)
        self._newest.append(pause)
        if len(self._newest) > pauses.MOST_PAUSES:
            del self._ascending[bisect_left(self._ascending, self._newest.popleft())]

    def learn(self, cost: pauses.Cost) -> bool:
        """Makes kept_s() what today's pauses tell, once it is asked for; whether they are enough for that."""
        self._cost = cost
        return len(self._ascending) >= pauses.FEWEST_PAUSES

    def kept_s(self) -> float | None:
        """As pauses.learned()."""
        if self._cost is not None:
            self._kept_s, self._cost = pauses.learned(self._ascending, self._cost, self._kept_s or 0.0), None
        return self._kept_s


@dataclass(slots=True)
class Recent:
    """What the newest finished jobs tell, as adapters/postgres/service_time.py measures it in the table."""

    _newest: deque[Done] = field(default_factory=deque)
    _sorted: list[float] = field(default_factory=list)
    _total: float = 0.0
    _long_run: LongRun | None = None
    _fresh: list[Done] = field(default_factory=list)

    def add(self, finished: Sequence[Done]) -> None:
        ascending, newest, total, most = self._sorted, self._newest, self._total, MEASURED_JOBS
        for done in finished:
            service_s = done[2][1]
            newest.append(done)
            insort(ascending, service_s)
            total += service_s
            if len(newest) > most:
                oldest = newest.popleft()[2][1]
                total -= oldest
                del ascending[bisect_left(ascending, oldest)]
        self._total = total
        self._fresh += finished

    def waits(self) -> tuple[list[tuple[float, float]], float]:
        """Of the newest jobs, from when to when each waited; and when the last of them ended. There is at least one."""
        return [(job[0], job[0] + wait) for _, _, job, wait in self._newest], self._newest[-1][0]

    def measured(self, now: float) -> ServiceTime | None:
        """None: no job has finished yet."""
        if not self._sorted:
            return None
        most = longest_counted(self._sorted)
        newest = -math.inf if self._long_run is None else self._long_run.newest
        seconds = [min(job[1], most) for end, _, job, _ in self._fresh if end > newest]
        if seconds:
            self._long_run = LongRun.of(self._long_run, seconds, self._fresh[-1][0])
        self._fresh.clear()
        assert self._long_run is not None, "it counts each job that has finished"
        jobs, within_s = len(self._newest), now - self._newest[0][2][0]
        arrivals_per_s = jobs / max(within_s, 1.0) if jobs >= FEWEST_ARRIVALS else 0.0
        return ServiceTime.of(self._sorted, self._total, arrivals_per_s, self._long_run)
