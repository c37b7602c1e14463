"""What is remembered from cycle to cycle of how a service fares: since when it crashes, is short, makes no progress.

One text in the journal, so that a take-over and `once` go on where the cycle before stopped. A Redis that lost it only
makes what follows from it late: the conditions begin anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self, TypeVar

T = TypeVar("T")
_LARGEST = 1e15
"""A number of seconds or of anything else that is not below this is an accident."""


@dataclass(frozen=True, slots=True)
class Short:
    """Fewer ran than were configured since then, and never more than `running`."""

    since: float
    running: int
    configured: int


@dataclass(frozen=True, slots=True)
class Rollout:
    """A deployment on its way, and since when it was seen in this status."""

    deployment: str
    status: str
    since: float


@dataclass(frozen=True, slots=True)
class Stall:
    """Jobs were ready and a worker idle since then, and no reading showed that anything was taken.

    pending: the most of any reading since. ready_at: when the oldest ready job became ready (None: unknown). readings:
    how many were seen, as far as it matters.
    """

    since: float
    pending: int
    processing: int
    ready_at: float | None
    readings: int


@dataclass(frozen=True, slots=True)
class Contest:
    """A change from outside that followed one of ours, and the count that it left."""

    at: float
    after: int


@dataclass(frozen=True, slots=True)
class Watch:
    """Stamps in the journal's time, all of the deployment that served last.

    running_since: one instance at least ran in every reading since. crashing_since: none has run since a crash.
    exited_since: workers ended by themselves. said: conditions of which the log has an event already.
    """

    deployment: str | None = None
    running_since: float | None = None
    crashing_since: float | None = None
    exited_since: float | None = None
    short: Short | None = None
    rollout: Rollout | None = None
    stall: Stall | None = None
    contests: tuple[Contest, ...] = ()
    said: tuple[str, ...] = ()

    def as_text(self) -> str:
        """Only what is there."""
        return json.dumps({name: value for name, value in asdict(self).items() if value}, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str | None) -> Self:
        """What is not understood (another version wrote it) counts as nothing: it must not end a cycle."""
        try:
            fields = json.loads(text or "{}")
            return cls(
                deployment=None if fields.get("deployment") is None else str(fields["deployment"]),
                running_since=_stamp(fields.get("running_since")),
                crashing_since=_stamp(fields.get("crashing_since")),
                exited_since=_stamp(fields.get("exited_since")),
                short=_part(_short, fields.get("short")),
                rollout=_part(_rollout, fields.get("rollout")),
                stall=_part(_stall, fields.get("stall")),
                contests=tuple(Contest(_time(one["at"]), _count(one["after"])) for one in fields.get("contests", ())),
                said=tuple(str(one) for one in fields.get("said", ())),
            )
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            return cls()

    def by(self, now: float) -> Self:
        """Stamps from the future (a clock that was set back) are moved to the present."""
        short, rollout, stall = self.short, self.rollout, self.stall
        return replace(
            self,
            running_since=_at_most(self.running_since, now),
            crashing_since=_at_most(self.crashing_since, now),
            exited_since=_at_most(self.exited_since, now),
            short=short and replace(short, since=min(short.since, now)),
            rollout=rollout and replace(rollout, since=min(rollout.since, now)),
            stall=stall and replace(stall, since=min(stall.since, now)),
            contests=tuple(replace(one, at=min(one.at, now)) for one in self.contests),
        )


def _part(kind: Callable[[Mapping[str, Any]], T], fields: Mapping[str, Any] | None) -> T | None:
    return kind(fields) if fields else None


def _short(fields: Mapping[str, Any]) -> Short:
    return Short(_time(fields["since"]), _count(fields["running"]), _count(fields["configured"]))


def _rollout(fields: Mapping[str, Any]) -> Rollout:
    return Rollout(_word(fields["deployment"]), _word(fields["status"]), _time(fields["since"]))


def _stall(fields: Mapping[str, Any]) -> Stall:
    pending, processing, readings = (_count(fields[name]) for name in ("pending", "processing", "readings"))
    return Stall(_time(fields["since"]), pending, processing, _stamp(fields["ready_at"]), readings)


def _stamp(value: Any) -> float | None:
    return None if value is None else _time(value)


def _time(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
        raise ValueError("is no time")
    return float(value)


def _count(value: Any) -> int:
    if type(value) is not int or not abs(value) < _LARGEST:
        raise ValueError("is no number")
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("is no text")
    return value


def _at_most(stamp: float | None, now: float) -> float | None:
    return None if stamp is None else min(stamp, now)
