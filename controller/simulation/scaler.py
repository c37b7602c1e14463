"""The interface between a fleet and a policy: how many workers should there be?"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from controller.simulation.account import Done

NEVER = math.inf
Calm = dict[tuple[int, int, int], int]
"""By jobs waiting, jobs in progress and draining workers: the count that is wanted and would not be changed."""

Span = tuple[float, float] | None


@dataclass(slots=True)
class View:
    """What a scaler sees. One object for all looks of a run, because there are millions of them.

    busy: jobs in progress. configured: requested workers, running: those that have started. leaving: removed workers
    that still have jobs, draining_s: seconds that these may go on. oldest_s: seconds that the oldest waiting job has
    waited. notified: the look is a quick check after a notification, which only read the queue. began: epoch
    seconds of the time 0; None: unknown, as of a trace. parts: if the jobs are split among queues, of each queue the
    jobs waiting and in progress.
    """

    now: float = 0.0
    waiting: int = 0
    busy: int = 0
    configured: int = 0
    running: int = 0
    leaving: int = 0
    oldest_s: float = 0.0
    notified: bool = False
    draining_s: float = NEVER
    began: float | None = None
    parts: tuple[tuple[int, int], ...] = ()


class Scaler(Protocol):
    """A policy that says how many workers there should be.

    interval: seconds between two looks. wake_interval: shortest time in seconds between two looks that a new job
    causes; None: jobs do not wake it. settled: another look at the same queue and fleet would change nothing, however
    much later. calm: wanted counts for which no look is needed. up_at, down_at: before these times, more or fewer
    workers cannot be had. times_starts: whether it measures start times. learn_at: when it next needs the ended jobs.
    """

    interval: float
    wake_interval: float | None
    settled: bool
    calm: Calm
    learn_at: float
    up_at: float
    down_at: float
    times_starts: bool

    def look(self, seen: View) -> int:
        """The number of workers that should run from now on."""

    def passed(self, wanted: int, polls: Span, wakes: Span) -> None:
        """Looks were left out: they would all have wanted `wanted` workers and changed nothing.

        polls, wakes: the first and the last that a poll and that a new job would have caused.
        """

    def learn(self, finished: Iterable[Done], now: float, configured: int) -> None:
        """Takes the jobs that ended since the last call."""

    def time_start(self, now: float, configured: int, running: int) -> None:
        """A poll sees for the first time that workers have started; only if it `times_starts`."""
