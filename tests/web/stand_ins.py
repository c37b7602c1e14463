"""A policy of one worker, its cycles, a clock that a test sets, and leases: what the tests of status and web share."""

from __future__ import annotations

from dataclasses import dataclass

from controller.core.conditions import Condition
from controller.core.model import Decision, Lease, QueueDepth, RateUsage, Replicas, ServiceState
from controller.core.ports import Bid, NotAcquired, Unavailable
from controller.core.reasons import Because, Reason
from controller.loop.cycle import Cooldowns, Cycle, Fault, Outcome
from controller.policy import Policy
from tests.support.sources import REDIS, SOURCES

POLICY = Policy.model_validate(
    {
        "workers": {
            "w": {
                "service": "s",
                "queue": {"table": "t"},
                "tiers": [{"replicas": 2}],
                "max_replicas": 5,
                "rate_limit": {"rpm": 60},
            }
        }
    }
)


@dataclass
class HandClock:
    now: float = 1_700_000_000.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


def silent(event: str, /, **fields: object) -> None:
    """A report that goes nowhere."""


class AwayLeases:
    async def acquire(self, bid: Bid, ttl: float) -> Lease | NotAcquired:
        raise Unavailable(REDIS, "is away")

    async def renew(self, lease: Lease, ttl: float) -> bool:
        raise Unavailable(REDIS, "is away")

    async def release(self, lease: Lease) -> None:
        raise Unavailable(REDIS, "is away")


class Leases:
    async def acquire(self, bid: Bid, ttl: float) -> Lease | NotAcquired:
        return Lease(bid.holder, 7)

    async def renew(self, lease: Lease, ttl: float) -> bool:
        return True

    async def release(self, lease: Lease) -> None:
        return None


class NoLeases:
    async def acquire(self, bid: Bid, ttl: float) -> Lease | NotAcquired:
        return NotAcquired(1, 5.0)

    async def renew(self, lease: Lease, ttl: float) -> bool:
        return False

    async def release(self, lease: Lease) -> None:
        return None


SINCE = "2023-11-14T22:13:20.000Z"


FAULT = Condition(Reason.NO_PROGRESS, "no job was taken for 10 min", "see the workers' log", 600.0, degrades=True)


def cycle(outcome: Outcome = Outcome.HELD, *, read: bool = True) -> Cycle:
    tier = Because(Reason.TIER, "15 jobs want 2 workers")
    return Cycle(
        at=1_700_000_000.0,
        worker="w",
        outcome=outcome,
        because=(tier,) if read else (Because(Reason.QUEUE_UNAVAILABLE, "hold: PostgreSQL: is away"),),
        message="hold at 2",
        max_workers=5,
        epoch=7,
        queue=QueueDepth(10, 5, 3.2) if read else None,
        replicas=Replicas(2, 2, 2, ServiceState.RUNNING) if read else None,
        decision=Decision(2, 2, 2, (tier,)) if read else None,
        rate=RateUsage(30, 60) if read else None,
        cooldowns=Cooldowns(0, 74, 1_699_999_000.0, None) if read else None,
        answered=frozenset(SOURCES.names) if read else frozenset(),
        fault=None if read else Fault("PostgreSQL", "PostgreSQL: is away"),
    )
