"""What one pass over one worker's service saw, decided and did (a Cycle), and its one log line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from controller.core import queues
from controller.core.allowed import of_the_hour
from controller.core.conditions import Condition
from controller.core.model import (
    Decision,
    Direction,
    Lease,
    QueueDepth,
    QueuePart,
    RateUsage,
    Replicas,
    ServiceTime,
)
from controller.core.ports import Clock, Role, Sources, Unavailable
from controller.core.reasons import Because, Reason
from controller.core.text import bounds
from controller.core.units import iso
from controller.loop import levels
from controller.loop.budget_status import BudgetStatus
from controller.loop.override_status import OverrideStatus
from controller.loop.pool_status import PoolStatus
from controller.loop.schedule_status import ScheduleStatus
from controller.policy import WorkerPolicy

_MOST_REMARKS = 10
LONGEST_CYCLE_S = 90.0
"""The deadline of a whole cycle. Each call in it has its own, shorter one; this is the last resort."""


class Outcome(StrEnum):
    STANDBY = "standby"
    HELD = "held"
    APPLIED = "applied"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """A change was sent and its answer was lost, so that it may or may not have been applied."""
    FENCED = "fenced"
    CRASHED = "crashed"


CONTROLLER = "controller"
"""The source of a fault that is the controller's own: a bug, or a cycle that took longer than LONGEST_CYCLE_S."""
_UNAVAILABLE: Mapping[Role, Reason] = {
    Role.QUEUE: Reason.QUEUE_UNAVAILABLE,
    Role.PLATFORM: Reason.PLATFORM_UNAVAILABLE,
    Role.JOURNAL: Reason.JOURNAL_UNAVAILABLE,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What failed in a cycle, noted where it was caught, so that /health need not guess it from the cycle's reason.

    source: the dependency under the name that its adapter gives it, such as PostgreSQL, or CONTROLLER.
    text: what failed, in one sentence.
    """

    source: str
    text: str

    @classmethod
    def of(cls, unavailable: Unavailable) -> Self:
        return cls(unavailable.source.name, str(unavailable))


def hold_because(unavailable: Unavailable) -> Because:
    """The reason of a cycle that holds because a dependency could not be reached."""
    return Because(_UNAVAILABLE[unavailable.source.role], f"hold: {unavailable}")


@dataclass(frozen=True, slots=True)
class Cooldowns:
    """up, down: seconds until that direction is open. last_up, last_down: seconds since the epoch; None: never."""

    up: float
    down: float
    last_up: float | None
    last_down: float | None


@dataclass(frozen=True, slots=True)
class Cycle:
    """One pass: what was read, what was decided and why, and how it ended. What was not read is None, never 0."""

    at: float
    worker: str
    outcome: Outcome
    because: tuple[Because, ...]
    message: str
    max_workers: int
    epoch: int | None = None
    queue: QueueDepth | None = None
    replicas: Replicas | None = None
    decision: Decision | None = None
    rate: RateUsage | None = None
    cooldowns: Cooldowns | None = None
    took_s: float = 0.0
    service: ServiceTime | None = None
    target_wait_s: float | None = None
    """None: the policy has no target_wait, and the others need no service time."""
    per_worker: int | None = None
    max_wait_s: float | None = None
    conditions: tuple[Condition, ...] | None = None
    """Crashes, hanging deployments and the like (see conditions.py); None if this cycle could not tell."""
    answered: frozenset[str] = frozenset()
    """Names of the dependencies to which a call of this cycle succeeded: what failed there before is over."""
    fault: Fault | None = None
    """Every failed or crashed cycle has one; so has one that acted, or backed off, in spite of a fault."""
    parts: tuple[PartSeen, ...] = ()
    """Each queue of a worker that has several, also those that could be read while another could not."""
    overrides: tuple[OverrideStatus, ...] | None = None
    """Those in force; None if the journal could not be read."""
    schedule: ScheduleStatus | None = None
    """The one that is on; None: none."""
    budgets: tuple[BudgetStatus, ...] | None = None
    """Those that the worker is under; None: there is none, or the journal could not be read."""
    pool: PoolStatus | None = None
    """What the worker may have of its pool; None: it is in none, or something could not be read."""
    change: str = ""
    """The id of the change that this cycle requested; "" if none."""

    @property
    def reason(self) -> Reason:
        """The one that binds the decision, or that ended the cycle. Conditions do not bind the count."""
        return self.because[-1].reason

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """All reasons of the decision, and then those of the conditions that degrade /health."""
        binding = [because.reason for because in self.because]
        return (*binding, *(one.reason for one in self.degrading if one.reason not in binding))

    @property
    def degrading(self) -> tuple[Condition, ...]:
        return tuple(condition for condition in self.conditions or () if condition.degrades)

    def line(self) -> dict[str, Any]:
        """The log line, which says why it did or did not scale. Its keys are a contract."""
        queue, replicas, decision, rate = self.queue, self.replicas, self.decision, self.rate
        return {
            "at": iso(self.at),
            "level": levels.of_cycle(self.outcome.value, degraded=bool(self.degrading)),
            "event": "reconcile",
            "worker": self.worker,
            "outcome": self.outcome.value,
            "epoch": self.epoch,
            "pending": queue.pending if queue else None,
            "processing": queue.processing if queue else None,
            "depth": queue.depth if queue else None,
            "oldest_age_s": round(queue.oldest_age_s, 1) if queue and queue.oldest_age_s is not None else None,
            "configured": replicas.configured if replicas else None,
            "running": replicas.running if replicas else None,
            "recommended": decision.recommended if decision else None,
            "desired": decision.desired if decision else None,
            "direction": (decision.direction if decision else Direction.NONE).value,
            "reason": self.reason.value,
            "reasons": [reason.value for reason in self.reasons],
            "rpm_used": rate.used if rate else None,
            "rpm_limit": rate.limit if rate else None,
            "took_ms": round(self.took_s * 1000),
            "message": self.message,
            **self._aim(),
            **({"soon": queue.soon} if queue and queue.soon else {}),
            **({"stale": queue.stale} if queue and queue.stale else {}),
            **({"depth_shown": queue.shown(queue.depth)} if queue and queue.is_at_limit else {}),
            **({"queues": [part.as_object() for part in self.parts]} if self.parts else {}),
        }

    def _aim(self) -> dict[str, Any]:
        aim: dict[str, Any] = {}
        if self.target_wait_s is not None:
            known = None if self.service is None else round(self.service.mean_s, 3)
            aim = {"service_time_s": known, "target_wait_s": round(self.target_wait_s, 3)}
        if self.per_worker is not None:
            aim["per_worker"] = self.per_worker
        if self.max_wait_s is not None:
            aim["max_wait_s"] = round(self.max_wait_s, 3)
        return aim

    def to_json(self) -> dict[str, Any]:
        """The line with what /status adds to it, which is also what a standby is told.

        It is read back as a WorkerStatus, never as a Cycle: another version may leave any of it out.
        """
        cooldowns = self.cooldowns
        return {
            **self.line(),
            "state": self.replicas.state.value if self.replicas else None,
            "stale": self.queue.stale if self.queue else None,
            "depth_shown": self.queue.shown(self.queue.depth) if self.queue else None,
            "pending_shown": self.queue.shown(self.queue.pending) if self.queue else None,
            "stale_shown": self.queue.shown(self.queue.stale) if self.queue and self.queue.stale is not None else None,
            "processing_shown": self.queue.shown(self.queue.processing) if self.queue else None,
            "max_workers": self.max_workers,
            "remarks": _remarks(self.queue),
            "standby_lag_s": self.queue.lag_s if self.queue else None,
            "conditions": None if self.conditions is None else [_as_object(one) for one in self.conditions],
            "scale_up_cooldown_left_s": round(cooldowns.up, 1) if cooldowns else None,
            "scale_down_cooldown_left_s": round(cooldowns.down, 1) if cooldowns else None,
            "last_scale_up": iso(cooldowns.last_up) if cooldowns and cooldowns.last_up else None,
            "last_scale_down": iso(cooldowns.last_down) if cooldowns and cooldowns.last_down else None,
            **self._soon(),
            **({} if self.schedule is None else {"schedule": asdict(self.schedule)}),
            **({} if self.overrides is None else {"overrides": [asdict(one) for one in self.overrides]}),
            **({} if self.pool is None else {"pool": asdict(self.pool)}),
            **({} if self.budgets is None else {"budgets": [asdict(one) for one in self.budgets]}),
        }

    def _soon(self) -> dict[str, Any]:
        queue = self.queue
        if queue is None or queue.soon is None:
            return {}
        return {"soon": queue.soon, "soon_shown": queue.shown(queue.soon)}


@dataclass(frozen=True, slots=True)
class PartSeen:
    """One of several queues in a cycle. wants: workers that it asks for, unrounded; None: unknown, or with tiers."""

    part: QueuePart
    wants: float | None
    words: str

    @classmethod
    def each(cls, policy: WorkerPolicy, parts: tuple[QueuePart, ...], leaving: int) -> Iterator[Self]:
        """leaving: draining workers that have the time to finish their jobs."""
        depths = [part.depth for part in parts if part.depth is not None]
        staying = max(0, sum(depth.processing for depth in depths) - leaving)
        read = QueueDepth(
            sum(depth.pending for depth in depths),
            sum(depth.processing for depth in depths),
            soon=sum(depth.soon or 0 for depth in depths),
            parts=tuple(part for part in parts if part.depth is not None),
        )
        asked = {} if policy.target_wait is None else queues.needs(policy, read.as_soon, staying)
        for part in parts:
            idle = None if part.depth is None or policy.target_wait is None else 0.0
            wants = asked.get(part.name, idle)
            yield cls(part, wants, queues.part_words(policy, part, wants))

    def as_object(self) -> dict[str, Any]:
        """What could not be read is null, and the message says why."""
        depth = self.part.depth
        return {
            "queue": self.part.name,
            "pending": depth.pending if depth else None,
            "processing": depth.processing if depth else None,
            "depth": depth.depth if depth else None,
            "oldest_age_s": round(depth.oldest_age_s, 1) if depth and depth.oldest_age_s is not None else None,
            "service_time_s": None if self.part.service is None else round(self.part.service.mean_s, 3),
            "wants": None if self.wants is None else round(self.wants, 2),
            "message": bounds.cut(self.words, bounds.WORDS),
        }


@dataclass
class Account:
    """What a pass has found so far. close() makes a Cycle of it, however the pass ends."""

    worker: str
    policy: WorkerPolicy
    clock: Clock
    lease: Lease | None
    sources: Sources
    queue: QueueDepth | None = None
    replicas: Replicas | None = None
    decision: Decision | None = None
    rate: RateUsage | None = None
    cooldowns: Cooldowns | None = None
    service: ServiceTime | None = None
    conditions: tuple[Condition, ...] | None = None
    fault: Fault | None = None
    started: float = 0.0
    parts: tuple[QueuePart, ...] = ()
    overrides: tuple[OverrideStatus, ...] | None = None
    budgets: tuple[BudgetStatus, ...] | None = None
    pool: PoolStatus | None = None
    change: str = ""

    def close(self, outcome: Outcome, *because: Because, message: str | None = None) -> Cycle:
        reasons = because or (self.decision.because if self.decision else ())
        said = {one.reason for one in reasons}
        text = message or ", ".join(reason.words for reason in reasons)
        beside = [condition for condition in self.conditions or () if condition.reason not in said]
        if not because and outcome is Outcome.HELD:
            # While workers crash none is added, even if this decision wants none right now.
            reasons = (*reasons, *(one.because for one in beside if one.reason is Reason.WORKERS_CRASH))
        at = self.clock.wall()
        return Cycle(
            at=at,
            worker=self.worker,
            outcome=outcome,
            because=reasons,
            message=bounds.cut("; ".join([text, *(condition.words for condition in beside)]), bounds.MESSAGE),
            max_workers=min(
                [of_the_hour(self.policy, at).max_replicas, *(one.max_replicas for one in self.budgets or ())]
            ),
            epoch=self.lease.epoch if self.lease else None,
            queue=self.queue,
            replicas=self.replicas,
            decision=self.decision,
            rate=self.rate,
            cooldowns=self.cooldowns,
            took_s=self.clock.monotonic() - self.started,
            service=self.service,
            target_wait_s=self.policy.strictest_wait,
            per_worker=self.policy.per_worker,
            max_wait_s=self.policy.max_wait,
            conditions=self.conditions,
            answered=frozenset(self._answered(outcome)),
            fault=self.fault,
            parts=tuple(PartSeen.each(self.policy, self.parts, self._leaving)),
            overrides=self.overrides,
            budgets=self.budgets,
            pool=self.pool,
            schedule=ScheduleStatus.of(self.policy, at),
            change=self.change,
        )

    @property
    def _leaving(self) -> int:
        return 0 if self.replicas is None else self.replicas.finishing(self.service)

    def _answered(self, outcome: Outcome) -> Iterator[str]:
        if self.queue is not None:
            yield self.sources.queue.name
        if self.replicas is not None:
            yield self.sources.platform.name
        if self.decision is not None or outcome is Outcome.FENCED:
            # No decision is made before the journal was read, and only the journal can say that a lease is lost.
            yield self.sources.journal.name

    def close_unavailable(self, unavailable: Unavailable) -> Cycle:
        """The pass ends here, since a dependency could not be reached."""
        self.fault = Fault.of(unavailable)
        return self.close(Outcome.FAILED, hold_because(unavailable))

    @property
    def decided(self) -> Decision:
        assert self.decision is not None, "asked for before it was decided"
        return self.decision


def _remarks(queue: QueueDepth | None) -> list[dict[str, str]] | None:
    if queue is None:
        return None
    shown = queue.remarks[:_MOST_REMARKS]
    return [{"about": one.about, "text": bounds.cut(one.text, bounds.MESSAGE)} for one in shown]


def _as_object(condition: Condition) -> dict[str, Any]:
    return {
        "reason": condition.reason.value,
        "message": condition.words,
        "for_s": round(condition.lasted_s, 1),
        "degrades": condition.degrades,
    }


def as_text(line: Mapping[str, Any]) -> str:
    """A log line for a terminal: the main figures, and the sentence."""
    at = str(line["at"])[11:19]
    if line["level"] != "info":
        at = f"{at} {line['level'].upper()}"
    if line["event"] != "reconcile":
        shown = {key: value for key, value in line.items() if key not in {"at", "level", "event", "message"}}
        rest = " ".join(f"{key}={value}" for key, value in shown.items())
        return " ".join(part for part in (at, f"{line['event']:<10}", line.get("message", ""), rest) if part)
    configured, running, desired = (
        "?" if line[key] is None else line[key] for key in ("configured", "running", "desired")
    )
    depth = "?" if line["depth"] is None else line.get("depth_shown", line["depth"])
    return (
        f"{at} {line['outcome']:<10} {line['worker']}  depth {depth}  configured {configured}  running {running}"
        f"  desired {desired}  {line['message']}"
    )
