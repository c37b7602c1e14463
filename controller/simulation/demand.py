"""What the workload itself asks for, whoever scales: the least waits, the workers needed, and what no policy can beat.

The jobs are served first come, first served by as many slots as the cap allows, without any start-up. No policy under
that cap can begin a job sooner, so that what a job waits here is forced by the cap, and not by the policy.

A clairvoyant who pays for start-ups (delta seconds each) keeps the k-th worker through a gap in the k-th level of
demand where that is shorter than delta, and stops it otherwise: with last in, first out dispatch the levels are
independent ski rentals (Lu and Chen, arXiv 1112.0442), so that its cost is W + sum min(gap, delta) + delta for each
level's first start. On the capped schedule it is the price of the least possible waits; without a cap, of none at all.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

Task = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Levels:
    """From each of the times on, so many workers are needed."""

    times: Sequence[float]
    heights: Sequence[int]


@dataclass(slots=True)
class Clairvoyant:
    """The cheapest way to have every worker ready when the schedule needs it, with each start paid for.

    needed_s: worker-seconds in which the schedule needs a worker: more than the work where some hands of one are free.
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
        """The level of demand changes, each time by one."""
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
        """Paid worker-seconds; idle_s and starts are what comes on top of the need."""
        return self.needed_s + self.idle_s + self.starts * self.start_up_s


@dataclass(slots=True)
class Unlimited:
    """What it costs a clairvoyant who may have any number of workers to let nobody wait.

    The k-th level of demand falls and rises again like a bracket that is opened and closed, so that each rise closes
    the gap that the last fall has opened. most: workers at once.
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

    def take(self, jobs: Sequence[tuple[float, float]]) -> None:
        """In order of arrival."""
        each, start_up, gaps, busy = self.concurrency, self.start_up_s, self._gaps, self._busy
        ends = sorted([*self._ends, *[at + service for at, service in jobs], math.inf])
        needed = idle = 0.0
        starts, following, most = 0, 0, self.most
        for at, _ in jobs:
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
        """Paid worker-seconds, once all that was begun is done."""
        left = range(len(self._ends) - 1, -1, -1)
        falls = [end for end, others in zip(self._ends, left, strict=True) if others % self.concurrency == 0]
        return self._needed_s + sum(falls) + self.idle_s + self.starts * self.start_up_s

    @property
    def workers(self) -> int:
        return -(-self.most // self.concurrency)


@dataclass(slots=True)
class Demand:
    """Takes the jobs in order of arrival, and tells of each what the cap alone makes it wait.

    cap: workers; concurrency: jobs that each runs at once.
    """

    cap: int
    concurrency: int
    clairvoyant: Clairvoyant
    jobs: int = 0
    last_end: float = 0.0
    _ends: list[float] = field(default_factory=list)
    _level: int = 0

    def take(self, jobs: Iterable[tuple[float, float]]) -> tuple[list[Task], Levels]:
        """The jobs with their least waits, and the changes of the level up to the last arrival."""
        ends, slots, each, level = self._ends, self.cap * self.concurrency, self.concurrency, self._level
        times: list[float] = []
        heights: list[int] = []
        tasks: list[Task] = []
        push, pop, replace = heapq.heappush, heapq.heappop, heapq.heapreplace
        for at, service in jobs:
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
                tasks.append((at, service, 0.0))
            else:
                start = replace(ends, ends[0] + service)
                tasks.append((at, service, start - at))
        self.jobs += len(tasks)
        self._level = level
        levels = Levels(times, heights)
        self.clairvoyant.follow(levels)
        return tasks, levels

    def rest(self) -> Levels:
        """The changes after the last arrival, until nothing is left."""
        ends = sorted(self._ends)
        left = range(len(ends) - 1, -1, -1)
        falls = [(end, n // self.concurrency) for end, n in zip(ends, left, strict=True) if n % self.concurrency == 0]
        self.last_end = ends[-1] if ends else self.last_end
        levels = Levels([end for end, _ in falls], [level for _, level in falls])
        self._ends, self._level = [], 0
        self.clairvoyant.follow(levels)
        return levels
