"""The account that a pass over one worker service gives of itself, and its one log line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from controller.core.conditions import Condition
from controller.core.model import (
    Because,
    Decision,
    Direction,
    Lease,
    Observation,
    QueueDepth,
    RateUsage,
    Reason,
    Replicas,
    ServiceTime,
)
from controller.core.ports import Clock, Recalled
from controller.core.text import bounds
from controller.loop import levels
from controller.policy import WorkerPolicy

_FIRST_SECOND, _LAST_SECOND = -62_135_596_800.0, 253_402_300_799.0
"""Of the years 1 and 9999."""
_MOST_REMARKS = 10
LONGEST_CYCLE_S = 90.0
"""Every call of a cycle has its own, shorter deadline; this one ends what slipped through all of them."""


class Outcome(StrEnum):
    STANDBY = "standby"
    HELD = "held"
    APPLIED = "applied"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """A change was sent and the answer was lost: not failed, and not applied either."""
    FENCED = "fenced"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True)
class Cooldowns:
    """Seconds until each direction is open again, and when the count last changed (seconds since the epoch)."""

    up: float
    down: float
    last_up: float | None
    last_down: float | None


@dataclass(frozen=True, slots=True)
class Cycle:
    """One pass: what was seen, what was decided and why, and how it ended. What was not read is None, never 0."""

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
    """None: it goes by tiers, and nobody asks how long a job takes."""
    conditions: tuple[Condition, ...] | None = None
    """What there is to say of the service besides; None where this cycle could not tell."""

    @property
    def reason(self) -> Reason:
        """The one that binds the decision, or ended the cycle; a condition beside it changes no count."""
        return self.because[-1].reason

    @property
    def reasons(self) -> tuple[Reason, ...]:
        """All of them, and those of the conditions that degrade /health."""
        binding = [because.reason for because in self.because]
        return (*binding, *(one.reason for one in self.degrading if one.reason not in binding))

    @property
    def degrading(self) -> tuple[Condition, ...]:
        return tuple(condition for condition in self.conditions or () if condition.degrades)

    def line(self) -> dict[str, Any]:
        """The log line: what a person or a program reads when they wonder why it did (or did not) scale."""
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
            **({"stale": queue.stale} if queue and queue.stale else {}),
            **({"depth_shown": queue.shown(queue.depth)} if queue and queue.is_at_limit else {}),
        }

    def _aim(self) -> dict[str, Any]:
        if self.target_wait_s is None:
            return {}
        known = None if self.service is None else round(self.service.mean_s, 3)
        return {"service_time_s": known, "target_wait_s": round(self.target_wait_s, 3)}

    def status(self) -> dict[str, Any]:
        """The line with what /status adds to it; this is also what a standby is told."""
        cooldowns = self.cooldowns
        return {
            **self.line(),
            "state": self.replicas.state.value if self.replicas else None,
            "stale": self.queue.stale if self.queue else None,
            "depth_shown": self.queue.shown(self.queue.depth) if self.queue else None,
            "pending_shown": self.queue.shown(self.queue.pending) if self.queue else None,
            "stale_shown": self.queue.shown(self.queue.stale) if self.queue else None,
            "processing_shown": self.queue.shown(self.queue.processing) if self.queue else None,
            "max_workers": self.max_workers,
            "remarks": _remarks(self.queue),
            "standby_lag_s": self.queue.lag_s if self.queue else None,
            "conditions": None if self.conditions is None else [_as_object(one) for one in self.conditions],
            "scale_up_cooldown_left_s": round(cooldowns.up, 1) if cooldowns else None,
            "scale_down_cooldown_left_s": round(cooldowns.down, 1) if cooldowns else None,
            "last_scale_up": iso(cooldowns.last_up) if cooldowns and cooldowns.last_up else None,
            "last_scale_down": iso(cooldowns.last_down) if cooldowns and cooldowns.last_down else None,
        }


@dataclass
class Account:
    """What a pass has found so far; closed into a Cycle whichever way the pass ends."""

    worker: str
    policy: WorkerPolicy
    clock: Clock
    lease: Lease | None
    queue: QueueDepth | None = None
    replicas: Replicas | None = None
    decision: Decision | None = None
    rate: RateUsage | None = None
    cooldowns: Cooldowns | None = None
    service: ServiceTime | None = None
    decided_on: tuple[Observation, Recalled] | None = None
    """What decide() was given, for those who ask for each rule's turn."""
    conditions: tuple[Condition, ...] | None = None
    started: float = field(init=False)

    def __post_init__(self) -> None:
        self.started = self.clock.monotonic()

    def close(self, outcome: Outcome, *because: Because, message: str | None = None) -> Cycle:
        reasons = because or (self.decision.because if self.decision else ())
        said = {one.reason for one in reasons}
        text = message or ", ".join(reason.words for reason in reasons)
        beside = [condition for condition in self.conditions or () if condition.reason not in said]
        if not because and outcome is Outcome.HELD:
            # No worker is added to those that crash, whether more are wanted right now or not.
            reasons = (*reasons, *(one.because for one in beside if one.reason is Reason.WORKERS_CRASH))
        return Cycle(
            at=self.clock.wall(),
            worker=self.worker,
            outcome=outcome,
            because=reasons,
            message=bounds.cut("; ".join([text, *(condition.words for condition in beside)]), bounds.MESSAGE),
            max_workers=self.policy.max_replicas,
            epoch=self.lease.epoch if self.lease else None,
            queue=self.queue,
            replicas=self.replicas,
            decision=self.decision,
            rate=self.rate,
            cooldowns=self.cooldowns,
            took_s=self.clock.monotonic() - self.started,
            service=self.service,
            target_wait_s=self.policy.target_wait,
            conditions=self.conditions,
        )

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


def iso(at: float) -> str:
    """In the form 2026-11-23T22:31:07.123Z; what no calendar holds is shown as the end of it."""
    at = min(max(at, _FIRST_SECOND), _LAST_SECOND)
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def as_text(line: Mapping[str, Any]) -> str:
    """A log line for a terminal: the sentence, with the figures that carry it."""
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
