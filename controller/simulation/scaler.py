"""What a fleet asks, again and again: how many workers there should be."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from controller.simulation.account import Done

NEVER = math.inf
Calm = dict[tuple[int, int, int], int]
"""By jobs waiting, jobs in work and workers that are leaving: how many workers are wanted, and would be left alone."""


@dataclass(slots=True)
class View:
    """What a scaler sees; one object for all looks of a run, for there are millions.

    busy: jobs in work. configured: workers that were asked for, running: those of them that have started. leaving:
    workers that were taken away and still have jobs, draining_s: how long these may go on. oldest_s: how long the
    oldest waiting job has waited. notified: it was woken, and has only read the queue.
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


class Scaler(Protocol):
    """Anything that says how many workers there should be.

    interval: seconds from one look to the next. wake_interval: where a new job wakes it, how many seconds lie between
    two such looks at least; None: nothing wakes it. settled: looking again at the same queue and fleet would change
    nothing, however much time went by. calm: how many workers are wanted; so many need not be asked about. up_at,
    down_at: before, more or fewer are wanted in vain. times_starts: whether it looks how long workers take to start.
    learn_at: when it wants to be told again of the jobs that ended, and be asked.
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
        """The workers that there should be from now on."""

    def passed(self, now: float, wanted: int) -> None:
        """Looks up to this one were left out, since they would have wanted so many workers, and changed nothing."""

    def learn(self, finished: Iterable[Done], now: float) -> None:
        """Jobs that ended since it was last told."""
