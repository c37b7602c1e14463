"""What a controller finds out while it runs: how long a job takes, and how long workers take to start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from controller.model import Direction, Intent, Lease, Replicas, ServiceTime
from controller.policy import WorkerPolicy
from controller.ports import Clock, NotMeasurable, Queue, Report, Unavailable
from controller.trouble import Beat

_READ_AGAIN_S = 60.0
_LONGEST_START_S = 600.0
"""What took longer waited for something else: an image to be built, a plan's limit, somebody's hands."""


class JobTime:
    """How long a job of one worker takes: as the policy says, or as its table does, which is read once a minute.

    What was read once is known for as long as this process lives, however often it cannot be read again: a wait that is
    aimed at by figures of an hour ago is better than none.
    """

    def __init__(self, worker: str, policy: WorkerPolicy, queue: Queue, clock: Clock, report: Report) -> None:
        self.known: ServiceTime | None = policy.given_service
        self.why_not = ""
        """Why it cannot be measured at all; "" as long as it may be."""
        self._worker = worker
        self._policy = policy
        self._queue = queue
        self._clock = clock
        self._report = report
        self._beat = Beat()
        self._read_at: float | None = None

    @property
    def _is_due(self) -> bool:
        if self._policy.target_wait is None or self._policy.given_service is not None:
            return False
        return self._read_at is None or self._clock.monotonic() - self._read_at >= _READ_AGAIN_S

    async def read(self) -> ServiceTime | None:
        """The newest that is known. Where it cannot be read, the log says so, and no cycle fails by it."""
        if self._is_due:
            self._read_at = self._clock.monotonic()
            try:
                self.known = await self._queue.service_time(self._policy.queue) or self.known
            except NotMeasurable as no:
                if no.why != self.why_not:
                    self._report("service_time_unmeasurable", worker=self._worker, message=str(no))
                self.why_not = no.why
            except Unavailable as unavailable:
                if self._beat.lasted(str(unavailable), self._clock.monotonic()) is not None:
                    self._report("service_time_unreadable", worker=self._worker, message=str(unavailable))
            else:
                self.why_not = ""
                self._beat.over()
        return self.known


class _Start(NamedTuple):
    """A change up that the platform accepted. at: when, by the monotonic clock."""

    epoch: int
    before: int
    after: int
    at: float


@dataclass
class StartUp:
    """Times one change up at a time, from its acceptance until as many workers run as were asked for.

    Only where nothing else happened meanwhile: not the lease lost, no other change, nobody else's hands. A change of
    which no reading showed anybody missing tells nothing.
    """

    clock: Clock
    _start: _Start | None = None
    _seen_short: bool = False

    def accepted(self, intent: Intent) -> None:
        self.forget()
        if intent.direction is Direction.UP:
            self._start = _Start(intent.epoch, intent.before, intent.after, self.clock.monotonic())

    def forget(self) -> None:
        self._start, self._seen_short = None, False

    def seen(self, replicas: Replicas, lease: Lease) -> float | None:
        """How many seconds it took, told once: by the first reading that shows all of them running."""
        start = self._start
        if start is None:
            return None
        took = self.clock.monotonic() - start.at
        by_other_hands = replicas.configured not in {start.before, start.after}
        if lease.epoch != start.epoch or took >= _LONGEST_START_S or by_other_hands:
            self.forget()
            return None
        if replicas.configured != start.after or replicas.running < start.after:
            self._seen_short = True
            return None
        is_measured = self._seen_short
        self.forget()
        return took if is_measured else None
