"""The demand of a workload, independent of any policy: shortest waits, workers needed, lower bounds of the cost.

The jobs are served first come, first served by all slots that the cap allows, without start-up time. No policy under
that cap can begin a job sooner, so the waits in this schedule come from the cap and not from a policy.

A clairvoyant knows all future jobs and pays for start-ups (delta seconds each). It keeps the k-th worker through a gap
in the k-th level of demand that is shorter than delta, and stops it otherwise: with last in, first out dispatch, the
levels are independent ski rentals (Lu and Chen, arXiv 1112.0442). So its cost is W + sum min(gap, delta) + delta for
the first start of each level. On the capped schedule this is the lowest cost of the shortest possible waits; without a
cap, of no waits at all.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from controller.simulation.workload.jobs import Job

Task = tuple[float, float, float, *tuple[str, ...]]
"""A job's arrival, service time and shortest wait, in seconds; then the name of its queue if that is known."""


@dataclass(frozen=True, slots=True)
class Levels:
    """Workers needed over time: `heights[i]` from `times[i]` (seconds) on."""

    times: Sequence[float]
    heights: Sequence[int]


@dataclass(slots=True)
class Clairvoyant:
    """The lowest cost to have every worker ready when the schedule needs it, with each start paid for.

    needed_s: worker-seconds in which the schedule needs a worker; more than the work if a worker has free slots.
    """

    start_up_s: float
    needed_s: float = 0.0
    idle_s: float = 0.0
    starts: int = 0
    stops: int = 0
    most: int = 0
    _fell_at: list[float] = field(default_factory=list)
    _level: int = 0
    _since: float = 0.0

    def follow(self, levels: Levels) -> None:
        """Takes the next changes of the demand; each change is by one worker."""
        level, since, fell_at, start_up = self._level, self._since, self._fell_at, self.start_up_s
        needed = idle = 0.0
        starts = kept = 0
        for now, height in zip(levels.times, levels.heights, strict=True):
            needed += level * (now - since)
            if height < level:
                fell_at[height] = now
            elif level < len(fell_at):
                gap = now - fell_at[level]
                starts += 1
                if gap < start_up:
                    idle += gap
                    kept += 1
            else:
                fell_at.append(now)
                self.starts += 1
            level, since = height, now
        self.needed_s += needed
        self.idle_s += idle
        self.starts += starts - kept
        self.stops += starts - kept
        self.most = len(fell_at)
        self._level, self._since = level, since

    @property
    def cost_s(self) -> float:
        """Paid worker-seconds: needed ones, idle ones and starts."""
        return self.needed_s + self.idle_s + self.starts * self.start_up_s


@dataclass(slots=True)
class Unlimited:
    """The cost of a clairvoyant without a cap, whose jobs never wait. most: jobs at once.

    Each fall of the k-th level opens a gap and the next rise closes it, so a stack of open gaps is enough.
    """

    concurrency: int
    start_up_s: float
    starts: int = 0
    most: int = 0
    idle_s: float = 0.0
    _needed_s: float = 0.0
    _busy: int = 0
    _ends: list[float] = field(default_factory=list)
    _gaps: list[float] = field(default_factory=list)

    def take(self, jobs: Sequence[Job]) -> None:
        """Takes the next jobs (arrival, service time), in the order of arrival."""
        each, start_up, gaps, busy = self.concurrency, self.start_up_s, self._gaps, self._busy
        ends = sorted([*self._ends, *[at + service for at, service, *_ in jobs], math.inf])
        needed = idle = 0.0
        starts, following, most = 0, 0, self.most
        for at, *_ in jobs:
            while ends[following] <= at:
                busy -= 1
                if busy % each == 0:
                    gaps.append(ends[following])
                    needed += ends[following]
                following += 1
            if busy % each == 0:
                needed -= at
                gap = at - gaps.pop() if gaps else math.inf
                if gap < start_up:
                    idle += gap
                else:
                    starts += 1
            busy += 1
            most = max(most, busy)
        self._needed_s += needed
        self.idle_s += idle
        self.starts += starts
        self._busy, self._ends, self.most = busy, ends[following:-1], most

    @property
    def cost_s(self) -> float:
        """Paid worker-seconds until all jobs taken so far are done."""
        left = range(len(self._ends) - 1, -1, -1)
        falls = [end for end, others in zip(self._ends, left, strict=True) if others % self.concurrency == 0]
        return self._needed_s + sum(falls) + self.idle_s + self.starts * self.start_up_s

    @property
    def workers(self) -> int:
        return -(-self.most // self.concurrency)


@dataclass(slots=True)
class Demand:
    """Takes the jobs in the order of arrival, and gives the wait of each that comes from the cap alone.

    cap: workers; concurrency: jobs that each worker runs at once.
    """

    cap: int
    concurrency: int
    clairvoyant: Clairvoyant
    jobs: int = 0
    last_end: float = 0.0
    _ends: list[float] = field(default_factory=list)
    _level: int = 0

    def take(self, jobs: Iterable[Job]) -> tuple[list[Task], Levels]:
        """The jobs with their shortest waits, and the changes of the demand up to the last arrival."""
        ends, slots, each, level = self._ends, self.cap * self.concurrency, self.concurrency, self._level
        times: list[float] = []
        heights: list[int] = []
        tasks: list[Task] = []
        push, pop, replace = heapq.heappush, heapq.heappop, heapq.heapreplace
        for job in jobs:
            at, service, queue = job[0], job[1], job[2:]
            while ends and ends[0] <= at:
                end = pop(ends)
                if len(ends) % each == 0:
                    level -= 1
                    times.append(end)
                    heights.append(level)
            if len(ends) < slots:
                if len(ends) % each == 0:
                    level += 1
                    times.append(at)
                    heights.append(level)
                push(ends, at + service)
                tasks.append((at, service, 0.0, *queue))
            else:
                start = replace(ends, ends[0] + service)
                tasks.append((at, service, start - at, *queue))
        self.jobs += len(tasks)
        self._level = level
        levels = Levels(times, heights)
        self.clairvoyant.follow(levels)
        return tasks, levels

    def rest(self) -> Levels:
        """The changes of the demand after the last arrival, until all jobs are done."""
        ends = sorted(self._ends)
        left = range(len(ends) - 1, -1, -1)
        falls = [(end, n // self.concurrency) for end, n in zip(ends, left, strict=True) if n % self.concurrency == 0]
        self.last_end = ends[-1] if ends else self.last_end
        levels = Levels([end for end, _ in falls], [level for _, level in falls])
        self._ends, self._level = [], 0
        self.clairvoyant.follow(levels)
        return levels
