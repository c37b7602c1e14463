"""A cycle names the dependency that failed in it, as it was raised, whatever the cycle's reason is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from controller.core.model import Change, History, Lease, QueueDepth, Replicas
from controller.core.ports import (
    LeaseLost,
    NotSent,
    Recalled,
    Receipt,
    Refused,
    Unavailable,
)
from controller.core.reasons import Reason
from controller.loop.cycle import CONTROLLER, Cycle, Fault, Outcome
from controller.policy import Policy
from controller.policy import Queue as QueuePolicy
from tests.loop.test_runner import LEASE, Jobs, Memory, Services, Stage
from tests.support.sources import POSTGRESQL, RAILWAY, REDIS

pytestmark = pytest.mark.virtual_time

WORKER: Mapping[str, Any] = {
    "service": "s",
    "queue": {"table": "t"},
    "tiers": [{"replicas": 1}],
    "max_replicas": 3,
    "on_unavailable": {"after": "5m", "at_least": 2},
}
POLICY = Policy.model_validate({"workers": {"w": WORKER}})
LONG_UNREAD = History(since=0.0, read_at=0.0, unread=3, unread_at=990.0)
JUST_REFUSED = History(since=0.0, refused_at=999.0, setbacks=1)


@dataclass
class FailingJobs(Jobs):
    fault: Exception | None = None
    hangs: bool = False

    async def depth(self, queue: QueuePolicy, limit: int, enough: int = 0, busy: int = 0) -> QueueDepth:
        if self.fault is not None:
            raise self.fault
        if self.hangs:
            await asyncio.Event().wait()
        return QueueDepth(1, 0)


@dataclass
class FailingServices(Services):
    refusal: Exception | None = None

    async def scale(self, service: str, change: Change, observed: Replicas) -> Receipt:
        if self.refusal is not None:
            raise self.refusal
        return Receipt.DRY_RUN


class FailingMemory(Memory):
    def __init__(self, history: History, fault: Exception | None) -> None:
        super().__init__()
        self.history, self.fault = history, fault

    async def recall(self, worker: str) -> Recalled:
        return Recalled(self.history, 1000.0, 0.0)

    async def write(self, worker: str, recalled: Recalled, history: History, lease: Lease, *, now: float) -> Recalled:
        if self.fault is not None:
            raise self.fault
        return await super().write(worker, recalled, history, lease, now=now)


@dataclass(frozen=True)
class Case:
    """What fails in the one cycle of a service that has no worker and wants one."""

    queue: Exception | None = None
    queue_hangs: bool = False
    platform: Exception | None = None
    change: Exception | None = None
    journal: Exception | None = None
    history: History = field(default_factory=lambda: History(since=0.0))

    async def cycle(self) -> Cycle:
        jobs = FailingJobs(fault=self.queue, hangs=self.queue_hangs)
        services = FailingServices(self.platform, refusal=self.change)
        memory = FailingMemory(self.history, self.journal)
        (cycle,) = await Stage(jobs, services, memory, policy=POLICY).runner.tick(LEASE)
        return cycle


QUEUE, PLATFORM, JOURNAL = POSTGRESQL, RAILWAY, REDIS


@pytest.mark.parametrize(
    ("case", "ends", "source", "text"),
    [
        pytest.param(
            Case(queue=Unavailable(QUEUE, "is away")),
            (Outcome.FAILED, Reason.QUEUE_UNAVAILABLE),
            "PostgreSQL",
            "is away",
            id="the queue cannot be read",
        ),
        pytest.param(
            Case(platform=Unavailable(PLATFORM, "is away")),
            (Outcome.FAILED, Reason.PLATFORM_UNAVAILABLE),
            "Railway",
            "is away",
            id="the platform cannot be read",
        ),
        pytest.param(
            Case(journal=Unavailable(JOURNAL, "is away")),
            (Outcome.FAILED, Reason.JOURNAL_UNAVAILABLE),
            "Redis",
            "is away",
            id="the journal cannot be written",
        ),
        pytest.param(
            Case(change=Refused(PLATFORM, "said no")),
            (Outcome.FAILED, Reason.SCALE_FAILED),
            "Railway",
            "said no",
            id="the platform refuses the change",
        ),
        pytest.param(
            Case(change=NotSent(JOURNAL, "was not asked first")),
            (Outcome.FAILED, Reason.SCALE_FAILED),
            "Redis",
            "was not asked first",
            id="the change is not sent because of another dependency than the platform",
        ),
        pytest.param(
            Case(change=Unavailable(PLATFORM, "did not answer")),
            (Outcome.UNKNOWN, Reason.OUTCOME_UNKNOWN),
            "Railway",
            "did not answer",
            id="the answer to the change is lost",
        ),
        pytest.param(
            Case(history=JUST_REFUSED),
            (Outcome.HELD, Reason.BACKING_OFF),
            "Railway",
            "refused the last change",
            id="the change waits because the platform refused the last one",
        ),
        pytest.param(
            Case(queue=Unavailable(QUEUE, "is away"), history=LONG_UNREAD),
            (Outcome.HELD, Reason.DRY_RUN),
            "PostgreSQL",
            "is away",
            id="the controller scales although the queue cannot be read",
        ),
        pytest.param(
            Case(queue=Unavailable(QUEUE, "is away"), change=Refused(PLATFORM, "said no"), history=LONG_UNREAD),
            (Outcome.FAILED, Reason.SCALE_FAILED),
            "Railway",
            "said no",
            id="the queue cannot be read and the platform refuses the change",
        ),
        pytest.param(
            Case(queue=KeyError("a bug")),
            (Outcome.CRASHED, Reason.CRASHED),
            CONTROLLER,
            "KeyError",
            id="a bug ends the cycle",
        ),
    ],
)
async def test_a_fault_keeps_the_source_that_it_was_raised_with(
    case: Case, ends: tuple[Outcome, Reason], source: str, text: str
) -> None:
    cycle = await case.cycle()
    assert (cycle.outcome, cycle.reason) == ends
    assert cycle.fault is not None
    assert cycle.fault.source == source
    assert text in cycle.fault.text


@pytest.mark.parametrize(
    "case",
    [pytest.param(Case(), id="all is well"), pytest.param(Case(change=LeaseLost("gone")), id="the lease is lost")],
)
async def test_a_cycle_in_which_every_dependency_answered_has_no_fault(case: Case) -> None:
    assert (await case.cycle()).fault is None


async def test_a_cycle_that_took_too_long_is_the_controller_s_own_fault() -> None:
    cycle = await Case(queue_hangs=True).cycle()
    assert (cycle.outcome, cycle.reason) == (Outcome.FAILED, Reason.TIMED_OUT)
    assert cycle.fault == Fault(CONTROLLER, "hold: the cycle took longer than 1 min 30 s")


async def test_a_replica_that_never_led_names_redis_while_redis_is_away() -> None:
    stage = Stage(policy=POLICY)
    stage.leadership.fault = Unavailable(JOURNAL, "is away")
    await stage.runner._without_redis()
    assert list(stage.status.failing["w"]) == ["Redis"]


async def test_the_fault_is_no_key_of_the_log_line() -> None:
    cycle = await Case(queue=Unavailable(QUEUE, "is away")).cycle()
    assert cycle.line().keys() == replace(cycle, fault=None).line().keys()
