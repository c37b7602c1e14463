"""The steps of a pass as values, see plan.py: each says in words what it does, for `explain`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from controller.core.conditions import Condition
from controller.core.model import Change, Decision, History, Replicas, Shares, workers
from controller.core.ports import Settled, Unavailable
from controller.core.reasons import Because


class Event(NamedTuple):
    """A line for the log. throttle: the events with this key are written at most once in a while; "": each one is."""

    name: str
    fields: Mapping[str, object]
    throttle: str = ""


@dataclass(frozen=True, slots=True)
class Note:
    """What was read is added to the history. recommended: the count before any limit; None: not both could be read."""

    history: History
    recommended: int | None
    events: tuple[Event, ...] = ()

    @property
    def words(self) -> str:
        if self.recommended is None:
            return "note what could be read"
        return f"note that {workers(self.recommended)} {'is' if self.recommended == 1 else 'are'} recommended"


@dataclass(frozen=True, slots=True)
class UpdateOverrides:
    """An event for each override that an operator set or ended since the last pass, or that has expired."""

    history: History
    events: tuple[Event, ...] = ()

    @property
    def words(self) -> str:
        return "report " + " and ".join("that an override " + _OVERRIDE[event.name] for event in self.events)


@dataclass(frozen=True, slots=True)
class UpdateSchedule:
    """An event for the schedule that is over since the last pass, and one for the schedule that is on since."""

    history: History
    events: tuple[Event, ...] = ()

    @property
    def words(self) -> str:
        return "report " + " and ".join("that a schedule is " + _SCHEDULE[event.name] for event in self.events)


@dataclass(frozen=True, slots=True)
class UpdateBudget:
    """An event for each budget of which a step was reached or left since the last pass."""

    history: History
    events: tuple[Event, ...] = ()

    @property
    def words(self) -> str:
        return "report that a budget lowers or raises max"


@dataclass(frozen=True, slots=True)
class Settle:
    """The open change is closed. event: only if its outcome was unknown, or if it was not made."""

    history: History
    change: Change
    outcome: Settled
    events: tuple[Event, ...] = ()

    @property
    def words(self) -> str:
        return f"close the change {self.change.before} → {self.change.after}: {self.outcome.value}"


@dataclass(frozen=True, slots=True)
class UpdateWatch:
    """The conditions that hold by this reading; an event for each that becomes a fault now."""

    history: History
    conditions: tuple[Condition, ...]
    events: tuple[Event, ...] = ()

    @property
    def words(self) -> str:
        """Empty if no condition holds."""
        return ", ".join(f"watch {condition.reason.value}" for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class RecordExternalChange:
    history: History
    before: int
    after: int
    events: tuple[Event, ...] = ()

    @property
    def words(self) -> str:
        return f"record that {self.before} → {self.after} was changed outside the controller"


@dataclass(frozen=True, slots=True)
class Share:
    """These shares of the rate limit are published, because the workers read others now."""

    shares: Shares

    @property
    def words(self) -> str:
        return f"publish a share of {self.shares.each} of {self.shares.limit} requests a minute for each worker"


@dataclass(frozen=True, slots=True)
class Hold:
    """No change is sent. because: beside the decision's own reasons. backing_off: the platform refused the last one."""

    because: tuple[Because, ...]
    message: str
    backing_off: bool = False

    @property
    def words(self) -> str:
        return "send no change"


@dataclass(frozen=True, slots=True)
class Fail:
    """A dependency could not be read, and the count stays."""

    unavailable: Unavailable

    @property
    def words(self) -> str:
        return "send no change, because something could not be read"


@dataclass(frozen=True, slots=True)
class Send:
    """The change is recorded, and then requested. replicas: the reading that it was decided on.

    despite: what could not be read, for a fallback.
    """

    history: History
    change: Change
    replicas: Replicas
    decision: Decision
    despite: Unavailable | None = None

    @property
    def words(self) -> str:
        return f"record {self.change.before} → {self.change.after}, then request it"


_OVERRIDE = {"override_set": "was set", "override_ended": "ended"}
_SCHEDULE = {"schedule_on": "on", "schedule_off": "over"}
Noting = Note | UpdateOverrides | UpdateSchedule | UpdateBudget | Settle | UpdateWatch | RecordExternalChange
"""Steps that change the history and do not end the pass."""
Step = Noting | Share | Hold | Fail | Send
