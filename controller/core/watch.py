"""Since when a service has crashed, had too few workers, or made no progress: kept from cycle to cycle.

It is stored as one JSON text in the journal, so that a new leader and `once` continue where the cycle before stopped.
If Redis loses it, the conditions are only reported later, because their times start again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self, TypeVar

T = TypeVar("T")
_LARGEST = 1e15
"""Limit for a time or a count; anything larger is not a value that a controller wrote."""


@dataclass(frozen=True, slots=True)
class Short:
    """Fewer workers ran than were configured since then, and at most `running`."""

    since: float
    running: int
    configured: int


@dataclass(frozen=True, slots=True)
class Rollout:
    """A deployment that does not serve yet, and since when it has been in this status."""

    deployment: str
    status: str
    since: float


@dataclass(frozen=True, slots=True)
class Stall:
    """Since then jobs were ready and a worker idle, and no reading showed that a job was taken.

    pending: the highest of these readings. ready_at: when the oldest ready job became ready (None: unknown). readings:
    their number, counted only up to the number that is needed to report a stall.
    """

    since: float
    pending: int
    processing: int
    ready_at: float | None
    readings: int


@dataclass(frozen=True, slots=True)
class Contest:
    """An external change that followed one of ours, and the count after it."""

    at: float
    after: int


@dataclass(frozen=True, slots=True)
class Watch:
    """What is known of the deployment that served last; times are by the journal's clock, None: does not hold.

    running_since: at least one instance ran in every reading since. crashing_since: none has run since a crash.
    exited_since: workers ended by themselves. said: conditions that were already reported in the log.
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
        """JSON of the fields that are set."""
        return json.dumps({name: value for name, value in asdict(self).items() if value}, separators=(",", ":"))

    @classmethod
    def from_text(cls, text: str | None) -> Self:
        """An empty watch if the text is not understood: another version's text must not fail the cycle."""
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
        """Timestamps from the future (the clock was set back) become `now`."""
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
        raise ValueError(f"not a time in seconds: {value!r}")
    return float(value)


def _count(value: Any) -> int:
    if type(value) is not int or not abs(value) < _LARGEST:
        raise ValueError(f"not a whole number: {value!r}")
    return value


def _word(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"not a text: {value!r}")
    return value


def _at_most(stamp: float | None, now: float) -> float | None:
    return None if stamp is None else min(stamp, now)
