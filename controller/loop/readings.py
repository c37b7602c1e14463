"""What the loop reads of a worker's queues, beside the platform: their depths, and how long a job takes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from controller.core import queues
from controller.core.ahead import ahead_s
from controller.core.model import QueueDepth, QueuePart, Remark, ServiceTime
from controller.core.ports import Clock, DepthRequest, Queue, Report, Unavailable
from controller.core.wanted import all_busy, count_limit, enough
from controller.loop.faults import RemarkThrottle
from controller.loop.measurements import JobTime
from controller.policy import WorkerPolicy

Answers = Mapping[str, QueueDepth | Unavailable]
"""By the key of its request, the depth of each queue of one worker, or why it could not be read."""


@dataclass(frozen=True, slots=True)
class QueueReading:
    """One reading of a worker's queues. service: how long a job takes; unmeasured: why it cannot be measured, or "".

    asked_at: when the reading began, by the monotonic clock; the cycle's time counts from then. None: from its plan.
    parts: of a worker with several queues, each of them, also those that could be read while another could not.
    """

    depth: QueueDepth | Unavailable
    service: ServiceTime | None = None
    unmeasured: str = ""
    asked_at: float | None = None
    parts: tuple[QueuePart, ...] = ()


@dataclass(slots=True)
class _One:
    """One queue of the worker. policy: as if it were the only one."""

    policy: WorkerPolicy
    job_time: JobTime
    remarks: RemarkThrottle = field(default_factory=RemarkThrottle)


Beside = Callable[[str, str, ServiceTime | None, float | None], DepthRequest | None]
"""By worker, queue, time per job and start-up time: what a shadow policy needs of the same reading; None: nothing."""


def nothing_beside(*_: object) -> None:
    """No shadow policy reads along."""


def request_of(
    policy: WorkerPolicy, service: ServiceTime | None, start_up_s: float | None, *, holders: bool = False
) -> DepthRequest:
    """Of the one queue of the policy. start_up_s: as measured; None: unknown."""
    return DepthRequest(
        policy.only_queue,
        count_limit(policy, service),
        enough(policy, service),
        all_busy(policy),
        ahead_s(policy, start_up_s),
        holders,
    )


def for_both(request: DepthRequest, other: DepthRequest | None) -> DepthRequest:
    """One reading that is enough for both."""
    if other is None:
        return request
    return request._replace(
        limit=max(request.limit, other.limit),
        enough=max(request.enough, other.enough),
        busy=max(request.busy, other.busy),
    )


class QueueReader:
    """What is asked of one worker's queues, and what is known of them from cycle to cycle."""

    def __init__(
        self,
        worker: str,
        policy: WorkerPolicy,
        queue: Queue,
        clock: Clock,
        report: Report,
        *,
        beside: Beside = nothing_beside,
        holders: bool = False,
    ) -> None:
        """holders: asks who holds jobs, because the worker's platform can use it."""
        self._worker = worker
        self._holders = holders
        self._beside = beside
        self._policy = policy
        self._source = queue.source
        self._clock = clock
        self._report = report
        self.start_up_s: float | None = None
        """As the last pass found it in the history, which is recalled only after the queue is read; None: unknown."""
        self._each: dict[str, _One] = {}
        for name, only in queues.alone(policy).items():
            reports = functools.partial(report, queue=name) if name else report
            self._each[name] = _One(only, JobTime(worker, only, queue, clock, reports))

    @property
    def requests(self) -> dict[str, DepthRequest]:
        """By the worker's name, or by worker/queue if it has several."""
        return {self._key(name): self._request(name, one) for name, one in self._each.items()}

    def _request(self, name: str, one: _One) -> DepthRequest:
        service = one.job_time.known
        own = request_of(one.policy, service, self.start_up_s, holders=self._holders)
        return for_both(own, self._beside(self._worker, name, service, self.start_up_s))

    async def completed(self, answers: Answers) -> QueueReading:
        """With the times per job, which are read once a minute, after the depths of all workers."""
        for name, one in self._each.items():
            if isinstance(answers[self._key(name)], QueueDepth):
                await one.job_time.read()
        return self.with_known(answers)

    def with_known(self, answers: Answers) -> QueueReading:
        """With what is known of the times per job by now."""
        if self._policy.queues is None:
            ((_, one),) = self._each.items()
            return QueueReading(answers[self._worker], one.job_time.known, one.job_time.why_not)
        parts = tuple(self._part(name, answers[self._key(name)]) for name in self._each)
        return QueueReading(queues.merged(parts, self._source), queues.slowest(parts), parts=parts)

    def _key(self, name: str) -> str:
        return f"{self._worker}/{name}" if name else self._worker

    def _part(self, name: str, answer: QueueDepth | Unavailable) -> QueuePart:
        one, queue = self._each[name], self._policy.named_queues[name]
        return QueuePart(
            name,
            answer if isinstance(answer, QueueDepth) else None,
            why="" if isinstance(answer, QueueDepth) else answer.text,
            service=one.job_time.known,
            unmeasured=one.job_time.why_not,
            target_wait=queue.target_wait,
            weight=queue.weight,
        )

    def report_remarks(self, depth: QueueDepth) -> None:
        """Warnings about the queues go to the log, once each."""
        if not depth.parts:
            self._report_new("", depth.remarks)
        for part in depth.parts:
            self._report_new(part.name, part.known.remarks)

    def _report_new(self, name: str, remarks: tuple[Remark, ...]) -> None:
        of = {"queue": name} if name else {}
        for remark in self._each[name].remarks.new(remarks, self._clock.monotonic()):
            self._report("queue_warning", worker=self._worker, **of, about=remark.about, message=remark.text)
