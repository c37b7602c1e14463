"""What a run leaves behind, as plain values. All times are the harness' own monotonic seconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.faults.pace import Pace

STARTED_S = 2.0
"""After this long a controller is ready to take over."""


@dataclass(frozen=True)
class Sent:
    """A mutation as it left a controller, whatever became of it on the way."""

    at: float
    process: str
    epoch: int
    intent: str


@dataclass(frozen=True)
class Mutation:
    """A mutation as the platform recorded it. before and after: the count; applied_at: None where nothing was done."""

    at: float
    name: str
    before: int | None
    after: int | None
    applied_at: float | None
    epoch: int | None
    intent: str | None
    effect: str
    answered: bool

    @property
    def is_scale(self) -> bool:
        return self.applied_at is not None and self.before != self.after

    @property
    def moment(self) -> float:
        """When it was carried out, else when it came."""
        return self.at if self.applied_at is None else self.applied_at


@dataclass(frozen=True)
class Line:
    """A log line, and when it arrived."""

    at: float
    process: str
    fields: Mapping[str, Any]

    @property
    def event(self) -> str:
        return str(self.fields.get("event"))


@dataclass
class Life:
    """One process from its start to its end. end: how it ended; paused: from when to when it was stopped."""

    process: str
    began: float
    ended: float | None = None
    end: str = ""
    paused: list[tuple[float, float]] = field(default_factory=list)

    def lived_through(self, begin: float, end: float) -> bool:
        """Alive and awake from begin to end."""
        alive = self.began <= begin and (self.ended is None or self.ended >= end)
        return alive and not any(since < end and until > begin for since, until in self.paused)


@dataclass
class Fault:
    """hit: whether it had an effect."""

    kind: str
    began: float
    target: str = ""
    healed: float | None = None
    hit: bool = True

    def overlaps(self, begin: float, end: float) -> bool:
        return self.began < end and (self.healed is None or self.healed > begin)


@dataclass(frozen=True)
class Demand:
    """The depth that the queue was given: perhaps from began, certainly from ended on."""

    began: float
    ended: float
    depth: int


@dataclass(frozen=True)
class Calm:
    """Everything healed and the demand fixed. reached: when the count was as wanted for good; None: never."""

    healed: float
    wanted: int
    reached: float | None
    found: int


@dataclass(frozen=True)
class History:
    pace: Pace
    sent: tuple[Sent, ...] = ()
    mutations: tuple[Mutation, ...] = ()
    lines: tuple[Line, ...] = ()
    lives: tuple[Life, ...] = ()
    faults: tuple[Fault, ...] = ()
    demand: tuple[Demand, ...] = ()
    calms: tuple[Calm, ...] = ()
    data_losses: tuple[float, ...] = ()
    """When Redis lost its data."""
