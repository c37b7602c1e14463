"""What the loop reads of a worker's queue, beside the platform: its depth, and how long a job takes."""

from __future__ import annotations

from dataclasses import dataclass

from controller.core.ahead import ahead_s
from controller.core.model import QueueDepth, ServiceTime
from controller.core.ports import Clock, DepthRequest, Queue, Report, Unavailable
from controller.core.wanted import all_busy, count_limit, enough
from controller.loop.faults import RemarkThrottle
from controller.loop.measurements import JobTime
from controller.policy import WorkerPolicy


@dataclass(frozen=True, slots=True)
class QueueReading:
    """One reading of a worker's queue. service: how long a job takes; unmeasured: why it cannot be measured, or "".

    asked_at: when the reading began, by the monotonic clock; the cycle's time counts from then. None: from its plan.
    """

    depth: QueueDepth | Unavailable
    service: ServiceTime | None = None
    unmeasured: str = ""
    asked_at: float | None = None


class QueueReader:
    """What is asked of one worker's queue, and what is known of it from cycle to cycle."""

    def __init__(self, worker: str, policy: WorkerPolicy, queue: Queue, clock: Clock, report: Report) -> None:
        self._worker = worker
        self._policy = policy
        self._clock = clock
        self._report = report
        self._remarks = RemarkThrottle()
        self.start_up_s: float | None = None
        """As the last pass found it in the history, which is recalled only after the queue is read; None: unknown."""
        self.job_time = JobTime(worker, policy, queue, clock, report)

    @property
    def request(self) -> DepthRequest:
        policy, service = self._policy, self.job_time.known
        return DepthRequest(
            policy.queue,
            count_limit(policy, service),
            enough(policy, service),
            all_busy(policy),
            ahead_s(policy, self.start_up_s),
        )

    async def completed(self, depth: QueueDepth | Unavailable) -> QueueReading:
        """With the time per job, which is read once a minute, after the depths of all workers."""
        if isinstance(depth, QueueDepth):
            await self.job_time.read()
        return self.with_known(depth)

    def with_known(self, depth: QueueDepth | Unavailable) -> QueueReading:
        """With what is known of the time per job by now."""
        return QueueReading(depth, self.job_time.known, self.job_time.why_not)

    def report_remarks(self, depth: QueueDepth) -> None:
        """Warnings about the queue go to the log, once each."""
        for remark in self._remarks.new(depth.remarks, self._clock.monotonic()):
            self._report("queue_warning", worker=self._worker, about=remark.about, message=remark.text)
