"""What the controller measures while it runs: how long a job takes."""

from __future__ import annotations

from controller.core.model import ServiceTime
from controller.core.ports import Clock, NotMeasurable, Queue, Report, Unavailable
from controller.core.slo import unmeasurable_words, why_not
from controller.core.wanted import given_service
from controller.loop.faults import Throttle
from controller.policy import WorkerPolicy

_READ_AGAIN_S = 60.0


class JobTime:
    """How long a job of one worker takes: from the policy, or from its table, which is read once a minute.

    A measured time stays known while the process lives, even if it cannot be read again: a target_wait with a time of
    an hour ago is better than none.
    """

    def __init__(self, worker: str, policy: WorkerPolicy, queue: Queue, clock: Clock, report: Report) -> None:
        self.known: ServiceTime | None = given_service(policy)
        self.why_not = ""
        """Why it cannot be measured at all; "" while it may be possible."""
        self._worker = worker
        self._policy = policy
        self._queue = queue
        self._clock = clock
        self._report = report
        self._throttle = Throttle()
        self._read_at: float | None = None
        self._no_waits = ""

    @property
    def _is_due(self) -> bool:
        if self._policy.target_wait is None or self._policy.service_time is not None:
            return False
        return self._read_at is None or self._clock.monotonic() - self._read_at >= _READ_AGAIN_S

    async def read(self) -> ServiceTime | None:
        """The newest time that is known. If it cannot be read, the log says so; no cycle fails because of it."""
        if self._is_due:
            self._read_at = self._clock.monotonic()
            try:
                self.known = await self._queue.service_time(self._policy.only_queue) or self.known
            except NotMeasurable as no:
                if no.why != self.why_not and self._policy.slo is None:
                    self._report("service_time_unmeasurable", worker=self._worker, message=str(no))
                self.why_not = no.why
            except Unavailable as unavailable:
                if self._throttle.lasted(str(unavailable), self._clock.monotonic()) is not None:
                    self._report("service_time_unreadable", worker=self._worker, message=str(unavailable))
            else:
                self.why_not = ""
                self._throttle.over()
            self._report_no_waits(why_not(self.known, self.why_not))
        return self.known

    def _report_no_waits(self, why: str) -> None:
        if self._policy.slo is not None and why and why != self._no_waits:
            self._report("slo_unmeasurable", worker=self._worker, message=unmeasurable_words(why))
        self._no_waits = why
