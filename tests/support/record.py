"""What an episode records for the verdict: values only."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from controller.policy import WorkerPolicy


class Granted(NamedTuple):
    """An intent that Redis wrote down."""

    at: float
    who: str
    holder: str
    intent: str
    epoch: int
    before: int
    after: int


class Acquired(NamedTuple):
    """knew_others: the process had seen an earlier leader, or was one."""

    at: float
    who: str
    holder: str
    epoch: int
    knew_others: bool


class Sent(NamedTuple):
    """A mutation at the moment when its first byte left, with what its sender had read last."""

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


class Change(NamedTuple):
    """The count that was asked for went from one number to another."""

    at: float
    before: int
    after: int
    by: str
    epoch: int
    intent: str


class Life(NamedTuple):
    """A process from start to end. `learned`: times when it read Redis' memory; `deaf`: times when it could not."""

    who: str
    since: float
    until: float | None
    learned: list[float]
    deaf: list[tuple[float, float]]


@dataclass
class Record:
    policy: WorkerPolicy
    landing_bound: float
    granted: list[Granted] = field(default_factory=list)
    acquired: list[Acquired] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    changes: list[Change] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    lost_data_at: list[float] = field(default_factory=list)
    leapt_at: list[float] = field(default_factory=list)
    healed_at: float = 0.0
    ended_at: float = 0.0
    bound_s: float = 0.0
    converged_at: float | None = None
    strayed_at: float | None = None
    wanted: int = 0
    asked: int = 0
    running: int = 0
    bugs: list[str] = field(default_factory=list)
