"""One worker's last cycle as /status, the page, the metrics and a standby read it, ours or another replica's. Pure.

    Cycle.to_json()             one pass, as JSON
    WorkerStatus.from_json()    that JSON as a value with typed fields
    Publication                 what a leader leaves in Redis of a worker: its WorkerStatus, how old it is, what fails

Redis may hold what a leader of another version has published, or anything at all. from_json() refuses what is no
cycle, fills what is missing with None, leaves out and names what is of another type, and keeps keys that only the other
version knows. Of remarks and conditions it takes those that it can read. So a rolling deploy works in both directions:
the keys below are a contract between versions.
"""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from types import UnionType
from typing import Any, Self, get_args, get_origin, get_type_hints

from controller.core.model import Remark
from controller.core.text.masking import Masker
from controller.loop.budget_status import BudgetStatus
from controller.loop.cycle import CONTROLLER, Outcome
from controller.loop.faults import CONDITIONS
from controller.loop.override_status import OverrideStatus
from controller.loop.pool_status import PoolStatus
from controller.loop.schedule_status import ScheduleStatus
from controller.loop.shadow_status import ShadowStatus

_LARGEST = 1e15
"""Of a figure, and of an age in seconds; what is not below it is an accident."""
_OF_THE_POLICY = ("target_wait_s", "per_worker", "max_wait_s", "queues", "schedule", "budgets", "pool", "shadow")
"""Keys that are no readings: the leader before may have had another policy."""
_LONGEST_DIGEST = 64
_LAST_SECOND = 253_402_300_799
"""Of the year 9999; a later stamp is no date."""


@dataclass(frozen=True, slots=True)
class ConditionStatus:
    """A condition of the worker's service. for_s: seconds it has lasted; degrades: it counts as a fault in /health."""

    reason: str
    message: str
    for_s: float
    degrades: bool


@dataclass(frozen=True, slots=True)
class QueueStatus:
    """One of several queues. wants: workers that it asks for, unrounded. message: why, or why it cannot be read."""

    queue: str
    pending: int | None
    processing: int | None
    depth: int | None
    oldest_age_s: float | None
    service_time_s: float | None
    wants: float | None
    message: str


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """The keys of a worker in /status. None: not known. The order of the fields is the order of the keys.

    Counts are jobs, workers or requests per minute; *_s is seconds and *_ms milliseconds; at, last_scale_up and
    last_scale_down are dates as iso() writes them; *_shown is a count as people read it (`10000+` at the limit).
    """

    outcome: Outcome
    at: str | None = None
    message: str = ""
    reason: str | None = None
    reasons: tuple[str, ...] = ()
    direction: str | None = None
    epoch: int | None = None
    pending: int | None = None
    processing: int | None = None
    depth: int | None = None
    oldest_age_s: float | None = None
    configured: int | None = None
    running: int | None = None
    recommended: int | None = None
    desired: int | None = None
    rpm_used: int | None = None
    rpm_limit: int | None = None
    took_ms: int | None = None
    state: str | None = None
    stale: int | None = None
    depth_shown: str | None = None
    pending_shown: str | None = None
    processing_shown: str | None = None
    stale_shown: str | None = None
    max_workers: int | None = None
    scale_up_cooldown_left_s: float | None = None
    scale_down_cooldown_left_s: float | None = None
    last_scale_up: str | None = None
    last_scale_down: str | None = None
    level: str | None = None
    event: str | None = None
    worker: str | None = None
    service_time_s: float | None = None
    target_wait_s: float | None = None
    """None: the policy has none. Then this is no key of the JSON, and service_time_s is one only if it is known."""
    per_worker: int | None = None
    """None: the policy has none, and then this is no key of the JSON; the same holds for max_wait_s."""
    max_wait_s: float | None = None
    remarks: tuple[Remark, ...] | None = None
    standby_lag_s: float | None = None
    conditions: tuple[ConditionStatus, ...] | None = None
    soon: int | None = None
    """None: unknown which jobs fall due soon; then neither this nor soon_shown is a key of the JSON."""
    soon_shown: str | None = None
    queues: tuple[QueueStatus, ...] | None = None
    """None: the worker has one queue. Then this is no key of the JSON."""
    overrides: tuple[OverrideStatus, ...] | None = None
    """What operators have asked for and is in force; a key of the JSON only if there is any."""
    schedule: ScheduleStatus | None = None
    """The schedule that is on; a key of the JSON only if one is."""
    budgets: tuple[BudgetStatus, ...] | None = None
    """Those that the worker is under; a key of the JSON only if there is any."""
    pool: PoolStatus | None = None
    """What it may have of its pool; a key of the JSON only if it is in one."""
    shadow: ShadowStatus | None = None
    """What a shadow policy would have; a key of the JSON only if there is one."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Keys that only another version knows, with their values."""
    malformed: tuple[str, ...] = ()
    """Keys whose values are of another type than the field; they are left out."""

    @classmethod
    def from_json(cls, published: Any) -> Self:
        """Of Cycle.to_json() or to_json(), of any version.

        Raises:
            ValueError: it is no cycle, or its outcome is not known here.
        """
        if not isinstance(published, dict):
            raise ValueError("is no object")  # noqa: TRY004  # one kind of error for all that JSON may hold
        known: dict[str, Any] = {"outcome": _READERS["outcome"](published.get("outcome"))}
        malformed = []
        for name, read in _READERS.items():
            if name in published:
                try:
                    known[name] = read(published[name])
                except ValueError:
                    malformed.append(name)
        others = {name: value for name, value in published.items() if name not in _READERS}
        more = {name: value for name, value in others.items() if _is_text(name) and _is_plain(value)}
        return cls(**known, more=more, malformed=tuple(malformed))

    def to_json(self) -> dict[str, Any]:
        """For /status, and to be published."""
        known = {name: getattr(self, name) for name in _READERS}
        without = {name for name in _OF_THE_POLICY if known[name] is None}
        if self.target_wait_s is None and self.service_time_s is None:
            without.add("service_time_s")
        if self.soon is None:
            without |= {"soon", "soon_shown"}
        if self.queues is not None:
            known["queues"] = _each(self.queues)
        if not self.overrides:
            without.add("overrides")
        known["overrides"] = _each(self.overrides)
        if self.budgets is not None:
            known["budgets"] = _each(self.budgets)
        if self.pool is not None:
            known["pool"] = asdict(self.pool)
        if self.schedule is not None:
            known["schedule"] = asdict(self.schedule)
        if self.shadow is not None:
            known["shadow"] = asdict(self.shadow)
        known = {name: value for name, value in known.items() if name not in without}
        known["reasons"] = list(self.reasons)
        known["remarks"] = _each(self.remarks)
        known["conditions"] = _each(self.conditions)
        return {**known, **self.more}

    def with_old(self, before: WorkerStatus | None) -> WorkerStatus:
        """With the last known value of what could not be read this time; the outcome says that it is old."""
        if before is None:
            return self
        names = [name for name in _READERS if name not in {"service_time_s", *_OF_THE_POLICY}]
        if self.target_wait_s is not None:
            names.append("service_time_s")
        return replace(self, **{name: getattr(before, name) for name in names if getattr(self, name) is None})


@dataclass(frozen=True, slots=True)
class Publication:
    """What a leader leaves in Redis of one worker, for the standbys.

    age_s: seconds since the figures were read (None: unknown, so that they count as old). failing: what fails, by name,
    and since when, in seconds since the epoch by the leader's wall clock. policy: the digest of the leader's policy, or
    "" if it is unknown.
    """

    status: WorkerStatus
    age_s: float | None
    failing: Mapping[str, float]
    policy: str = ""

    def to_text(self) -> str:
        entry: dict[str, Any] = {"age_s": self.age_s, "failing": dict(self.failing), "status": self.status.to_json()}
        if self.policy:
            entry["policy"] = self.policy
        return json.dumps(entry, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str, mask: Masker, sources: Collection[str]) -> Self:
        """Figures of an entry that is malformed in part have an unknown age.

        Raises:
            ValueError: it is no publication; the text says what it is instead.
        """
        try:
            entry = json.loads(text)
            published, age, failing = mask.value(entry["status"]), entry["age_s"], entry.get("failing")
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ValueError("is not the published status of a controller") from None
        try:
            status = WorkerStatus.from_json(published)
            age_s = _age(age)
        except ValueError:
            raise ValueError("has no outcome or no age that this version knows") from None
        policy = entry.get("policy")
        digest = policy if _is_text(policy) and len(policy) <= _LONGEST_DIGEST else ""
        return cls(status, None if status.malformed else age_s, _known_faults(failing, sources), digest)


def _each(values: tuple[Any, ...] | None) -> list[dict[str, Any]] | None:
    return None if values is None else [asdict(value) for value in values]


def _known_faults(failing: Any, sources: Collection[str]) -> dict[str, float]:
    """Those of which this version knows what ends them."""
    if not isinstance(failing, dict):
        return {}
    names = (*sources, CONTROLLER, *CONDITIONS)
    stamps = {name: failing[name] for name in names if type(failing.get(name)) in {int, float}}
    return {name: float(since) for name, since in stamps.items() if 0 <= since <= _LAST_SECOND}


def _is_text(value: Any) -> bool:
    """That can be sent: JSON knows halves of characters which no encoding does."""
    return isinstance(value, str) and not any("\ud800" <= character <= "\udfff" for character in value)


def _is_plain(value: Any) -> bool:
    try:
        return _is_text(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except (ValueError, TypeError, RecursionError):
        return False


def _text(value: Any) -> Any:
    return _checked(value, "text", is_one=_is_text(value))


def _count(value: Any) -> Any:
    return _checked(value, "count", is_one=type(value) is int and abs(value) < _LARGEST)


def _number(value: Any) -> Any:
    return _checked(value, "number", is_one=type(value) in {int, float} and abs(value) < _LARGEST)


def _flag(value: Any) -> Any:
    return _checked(value, "flag", is_one=type(value) is bool)


def _age(value: Any) -> float | None:
    return None if value is None else float(_checked(_number(value), "age", is_one=value >= 0))


def _checked(value: Any, kind: str, *, is_one: bool) -> Any:
    if not is_one:
        raise ValueError(f"is no {kind}")
    return value


_PLAIN: Mapping[Any, Callable[[Any], Any]] = {
    str: _text,
    int: _count,
    float: _number,
    bool: _flag,
    Outcome: Outcome,
}


def _reader(kind: Any) -> Callable[[Any], Any]:
    """What makes a value of that type of its JSON, or raises ValueError."""
    if isinstance(kind, UnionType):  # only ever with None
        inner = _reader(get_args(kind)[0])
        return lambda value: None if value is None else inner(value)
    if get_origin(kind) is tuple:
        (inner, _) = get_args(kind)
        return functools.partial(_readable if is_dataclass(inner) else _every, _reader(inner))
    if is_dataclass(kind):
        return functools.partial(_object, kind, _readers_of(kind))
    return _PLAIN[kind]


def _readers_of(kind: Any, *, without: Collection[str] = ()) -> dict[str, Callable[[Any], Any]]:
    kinds = get_type_hints(kind)
    return {one.name: _reader(kinds[one.name]) for one in fields(kind) if one.name not in without}


def _every(read: Callable[[Any], Any], value: Any) -> tuple[Any, ...]:
    return tuple(read(one) for one in _list(value))


def _readable(read: Callable[[Any], Any], value: Any) -> tuple[Any, ...]:
    """Objects are what another version may well write otherwise; one that cannot be read spoils none of the others."""
    found = []
    for one in _list(value):
        with contextlib.suppress(ValueError):
            found.append(read(one))
    return tuple(found)


def _list(value: Any) -> Any:
    return _checked(value, "list", is_one=isinstance(value, list))


def _object(kind: Any, readers: Mapping[str, Callable[[Any], Any]], value: Any) -> Any:
    """Keys that the type does not have are left out: a newer version may say more."""
    _checked(value, "object", is_one=isinstance(value, dict) and readers.keys() <= value.keys())
    return kind(**{name: read(value[name]) for name, read in readers.items()})


_READERS = _readers_of(WorkerStatus, without={"more", "malformed"})
"""By key of the JSON, what reads its value."""
