"""What a run records for the verdict, simulated or with real processes: values only. Times are seconds of one clock."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Self

from controller.policy import Schedule, WorkerPolicy

if TYPE_CHECKING:
    from tests.support.spend import Charge


class InForce(NamedTuple):
    """An override, as the record has it. kind: pause, hold or at-least; blocks: up, down or both, of a pause."""

    kind: str
    replicas: int
    blocks: str

    @classmethod
    def in_record(cls, fields: Mapping[str, str], now: float) -> tuple[Self, ...]:
        """At `now`, by Redis' clock in seconds. The program's own functions for this may be a mutant's."""
        _, each = json.loads(fields.get("overrides") or "[0,[]]")
        return tuple(
            cls(one["kind"], one.get("replicas", 0), one.get("blocks", "both"))
            for one in each
            if one.get("ended_at") is None and now < one["until"]
        )


class Limits(NamedTuple):
    """min_replicas and max_replicas at one moment. adds: the highest count to which workers are added; None: most."""

    least: int
    most: int
    adds: int | None = None

    @property
    def highest(self) -> int:
        return self.most if self.adds is None else self.adds

    @classmethod
    def at(cls, policy: WorkerPolicy, now: float) -> Self:
        """By Redis' clock in seconds. Schedules here have the form `*/N * * * *`, where an hour has whole N minutes.

        The program's own functions for this may be a mutant's.
        """
        for one in policy.schedules:
            if now % period_s(one) < one.on_for:
                least = policy.min_replicas if one.min_replicas is None else one.min_replicas
                return cls(least, policy.max_replicas if one.max_replicas is None else one.max_replicas)
        return cls(policy.min_replicas, policy.max_replicas)

    def allow(self, count: int) -> bool:
        return self.least <= count <= self.most


def period_s(schedule: Schedule) -> float:
    """Of such a schedule, from one begin to the next."""
    return 60.0 * int(schedule.cron.split()[0].removeprefix("*/"))


class Granted(NamedTuple):
    """An intent that Redis wrote down.

    overrides: in force when it was written, so also when it was decided on. ended: those whose time was up within the
    pass, so it may have been decided on by them, too. overridden: one that may have been in force when it was decided
    on was a hold or a floor. limits: of the hours in which it may have been decided on; without any, those of the
    policy. policy: of the process that decided; None: that of the record. smallest: the count
    above 0 that the platform had shown to be the smallest possible; what is sent later may know of a larger one.
    """

    at: float
    who: str
    holder: str
    intent: str
    epoch: int
    before: int
    after: int
    overrides: tuple[InForce, ...] = ()
    overridden: bool = False
    limits: tuple[Limits, ...] = ()
    policy: WorkerPolicy | None = None
    smallest: int = 1
    ended: tuple[InForce, ...] = ()


class Acquired(NamedTuple):
    """knew_others: the process had seen an earlier leader, or was one."""

    at: float
    who: str
    holder: str
    epoch: int
    knew_others: bool


class Placing(NamedTuple):
    """The map of regions in an update, and those that its sender had read right before it.

    asked: replicas by region; None for one that is to be dropped. stored, deployed: regions of the stored configuration
    and of the deployment. read_at: when that reading was sent.
    """

    asked: Mapping[str, int | None]
    stored: frozenset[str]
    deployed: frozenset[str]
    read_at: float


class Sent(NamedTuple):
    """A mutation at the moment when its first byte left, with what its sender had read last.

    knows_readings: False if the sender died before it said what it had read. smallest: the smallest count but 0 by what
    it had read, one in each region. placing: None if it is no update, or if that is not recorded. read_version: of the
    target, by the same reading as read_count; "" where the platform has no fence.
    """

    at: float
    who: str
    operation: str
    epoch: int
    acquired_at: float
    intent: Granted | None
    read_count: int | None
    read_depth: int | None
    rivals: tuple[str, ...]
    is_leader: bool
    knows_readings: bool = True
    smallest: int = 1
    placing: Placing | None = None
    read_version: str = ""


class Change(NamedTuple):
    """The count that was asked for went from one number to another."""

    at: float
    before: int
    after: int
    by: str
    epoch: int
    intent: str


class StepTold(NamedTuple):
    """An event `budget` in the log: `ident` is its id."""

    at: float
    who: str
    ident: str


class Written(NamedTuple):
    """A write that a platform with a fence made for one of our requests, also one that changed nothing.

    read: the version of the target that its sender had read last. found: the target's version when it was written.
    """

    at: float
    by: str
    intent: str
    before: int
    after: int
    read: str
    found: str


class Moved(NamedTuple):
    """The regions of the stored configuration were changed. until: when others' change reached the deployment."""

    at: float
    until: float
    by: str
    intent: str
    before: frozenset[str]
    after: frozenset[str]


class Noted(NamedTuple):
    """A reading of the queue after which its process wrote the history; whether it succeeded."""

    at: float
    who: str
    succeeded: bool


@dataclass
class Life:
    """A process from start to end. `learned`: times when it read Redis' memory; `deaf`: times when it could not."""

    who: str
    since: float
    until: float | None = None
    learned: list[float] = field(default_factory=list)
    deaf: list[tuple[float, float]] = field(default_factory=list)


class Calm(NamedTuple):
    """A time without faults and with a fixed demand. converged_at: None if never within the bound."""

    healed_at: float
    bound_s: float
    wanted: int
    asked: int
    running: int
    converged_at: float | None
    strayed_at: float | None = None


class TakeOver(NamedTuple):
    """From the end of one leader to the lease of the next, with no other fault meanwhile; took_s: None for never."""

    at: float
    cause: str
    took_s: float | None
    bound_s: float


@dataclass
class Record:
    """tolerance_s: how much of a cooldown may be missing, where clocks are read in whole milliseconds.

    leapt_at, set_at: when the clock of Redis was set forward, and when it was set at all. writable_again_at: when Redis
    accepted writes again after it had refused them.
    """

    policy: WorkerPolicy
    landing_bound: float
    tolerance_s: float = 0.0
    granted: list[Granted] = field(default_factory=list)
    acquired: list[Acquired] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    moved: list[Moved] = field(default_factory=list)
    written: list[Written] = field(default_factory=list)
    noted: list[Noted] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    lost_data_at: list[float] = field(default_factory=list)
    lost_records_at: list[float] = field(default_factory=list)
    leapt_at: list[float] = field(default_factory=list)
    set_at: list[float] = field(default_factory=list)
    writable_again_at: list[float] = field(default_factory=list)
    charges: list[Charge] = field(default_factory=list)
    told: list[StepTold] = field(default_factory=list)
    calms: list[Calm] = field(default_factory=list)
    take_overs: list[TakeOver] = field(default_factory=list)
    ended_at: float = 0.0
    bugs: list[str] = field(default_factory=list)
