"""Other minimum and maximum counts by the clock: when each begins, for how long it is on, and in which time zone.

A cron line is parsed by cronsim, which also says whether it matches a day, with Debian cron's rule for the day of the
month beside the day of the week. At which moments that day's hours and minutes come is in core/schedule.py: cronsim's
own walk through time loses starts in a zone whose clock changes by 30 minutes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache
from typing import Annotated, Any, ClassVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import AfterValidator, ConfigDict, Field, StringConstraints, field_validator
from pydantic_core import PydanticCustomError

from controller.core.text.guesses import nearest
from controller.policy.document import Path
from controller.policy.limits import RateLimit, share_problem
from controller.policy.scaling import Tier, tier_problems
from controller.policy.types import Count, Duration, Part

MOST_SCHEDULES = 20
SHORTEST_S, LONGEST_S, LONGEST_LEAD_S = 60.0, 7 * 86_400.0, 86_400.0
_LONGEST_LINE = 100
_FIELDS = ("minute", "hour", "day-of-month", "month", "day-of-week")
_FORM = "write minute hour day-of-month month day-of-week, for example 0 8 * * mon-fri"
_MAY_BE: Mapping[str, str] = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, or L for the last day",
    "month": "1 to 12, or jan to dec",
    "day-of-week": "0 to 7 (0 and 7 are Sunday), or sun to sat",
}
_A_CALENDAR = (date(2000, 1, 1), 28 * 366)
"""Its first day and its days: in 28 years, each date of a year falls on each day of the week, 29 February too."""


@dataclass(frozen=True, slots=True)
class CronLine:
    """What a line says of the days and of the clock on them.

    times: seconds from midnight by the clock on the wall, rising. is_fixed: neither minute nor hour begins with `*`,
    for which Debian's cron has another rule at clock changes.
    """

    months: frozenset[int]
    matches: Callable[[date], bool]
    times: tuple[int, ...]
    is_fixed: bool


@lru_cache(maxsize=1024)
def cron_line(text: str) -> CronLine:
    """Parsed once, when the policy is loaded.

    Raises:
        ValueError: it is no line of five fields; in words that say what to write.
    """
    from cronsim import CronSim, CronSimError  # noqa: PLC0415  # only a policy with schedules pays for it

    fields = text.split()
    if text.lstrip().startswith("@"):
        raise ValueError(f"is a nickname, and a schedule needs the five fields; {_FORM}")
    if len(fields) != len(_FIELDS):
        raise ValueError(f"has {len(fields)} field{'s' * (len(fields) != 1)} instead of five; {_FORM}")
    try:
        parsed = CronSim(text, datetime(2000, 1, 1))  # noqa: DTZ001  # by the clock on the wall
    except (CronSimError, ValueError, AssertionError, TypeError) as error:
        raise ValueError(_what_is_wrong(fields, str(error))) from None
    line = CronLine(
        frozenset(parsed.months),
        parsed.match_day,
        tuple(hour * 3600 + minute * 60 for hour in sorted(parsed.hours) for minute in sorted(parsed.minutes)),
        is_fixed=not fields[0].startswith("*") and not fields[1].startswith("*"),
    )
    if not _ever_fires(line):
        raise ValueError(_never(fields))
    return line


def _what_is_wrong(fields: Sequence[str], error: str) -> str:
    name = error.removeprefix("Bad ")
    if name not in _MAY_BE:
        return f"is not a cron line; {_FORM}"
    text = fields[_FIELDS.index(name)]
    if name == "day-of-month" and fields[3] != "*" and _is_understood(f"0 0 {text} * *"):
        return _never(fields)
    rises = "a range must rise, so write for example fri,sat,sun; " if name == "day-of-week" and "-" in text else ""
    return f"has {text} as {name}, which is not understood; {rises}it may be {_MAY_BE[name]}, a list or a range"


def _is_understood(text: str) -> bool:
    with suppress(ValueError):
        return bool(cron_line(text).times)
    return False


def _never(fields: Sequence[str]) -> str:
    return f"never begins, because no month has such a day (day-of-month {fields[2]}, month {fields[3]}); change one"


def _ever_fires(line: CronLine) -> bool:
    first, count = _A_CALENDAR
    days = (first + timedelta(days=number) for number in range(count))
    return any(day.month in line.months and line.matches(day) for day in days)


def zone_of(name: str) -> ZoneInfo:
    """Read when the policy is loaded; later calls return the same object.

    Raises:
        ValueError: there is no such zone; in words that say what to write.
    """
    try:
        return _zone(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(_no_such_zone(name)) from None


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _no_such_zone(name: str) -> str:
    known = sorted(available_timezones())
    if not known:
        return "cannot be looked up, because this machine has no time zone data; install tzdata (pip install tzdata)"
    known = ["UTC", *(one for one in known if "/" in one)]
    ends = [one for one in known if one.rpartition("/")[2].lower() == name.strip().replace(" ", "_").lower()]
    folded = {one.lower(): one for one in known}
    near = nearest(name.lower(), folded, cutoff=0.75)
    meant = ends[0] if ends else folded[near] if near else None
    fix = f"did you mean {meant}?" if meant else "write one such as Europe/Berlin, or UTC"
    return f"is not a time zone that this machine knows; {fix} (if it is right, install a newer tzdata)"


def _checked_line(text: str) -> str:
    try:
        cron_line(text)
    except ValueError as problem:
        raise PydanticCustomError("cron", "{text}", {"text": str(problem)}) from None
    return text


def checked_zone(name: str) -> str:
    """As a validator of pydantic."""
    try:
        zone_of(name)
    except ValueError as problem:
        raise PydanticCustomError("zone", "{text}", {"text": str(problem)}) from None
    return name


class Schedule(Part):
    """Another min_replicas, max_replicas, or both, from each moment of a cron line on, for a fixed time."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": [name]} for name in ("min_replicas", "max_replicas")]}
    )
    hints: ClassVar[Mapping[str, str]] = {
        "start": "write cron, and how long it is on as for",
        "end": "write for, the time that it is on, for example 10h",
        "duration": "write for",
        "tz": "write timezone",
        "replicas": "write min_replicas, max_replicas or both",
        "desiredReplicas": "write min_replicas",
    }
    cron: Annotated[str, StringConstraints(max_length=_LONGEST_LINE), AfterValidator(_checked_line)]
    """when it begins, as five fields of cron in quotes: `"0 8 * * mon-fri"`, see docs/schedules.md"""
    on_for: Duration = Field(alias="for")
    """how long it is on after that, 1m to 168h; time that passes, also over a change of the clock"""
    timezone: Annotated[str, StringConstraints(max_length=64), AfterValidator(checked_zone)]
    """time zone of `cron`, such as Europe/Berlin or UTC"""
    min_replicas: Count | None = None
    """min_replicas while it is on; at least one of the two"""
    max_replicas: Count | None = None
    """max_replicas while it is on; at least one of the two"""
    lead: Duration = 0.0
    """it begins this much earlier, for example 5m, so that workers run when the hour begins; at most 24h"""

    @field_validator("on_for")
    @classmethod
    def _a_while(cls, seconds: float) -> float:
        if not SHORTEST_S <= seconds <= LONGEST_S:
            raise PydanticCustomError("duration", "must be 1m to 168h")
        return seconds

    @field_validator("lead")
    @classmethod
    def _not_too_early(cls, seconds: float) -> float:
        if seconds > LONGEST_LEAD_S:
            raise PydanticCustomError("duration", "must be at most 24h")
        return seconds

    @property
    def line(self) -> CronLine:
        return cron_line(self.cron)

    @property
    def zone(self) -> ZoneInfo:
        return zone_of(self.timezone)


def schedules_problems(schedules: Sequence[Schedule], known: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """What each of them and the rest of the policy contradict each other in. known: the worker's valid fields."""
    if "max_replicas" not in known or "min_replicas" not in known:
        return  # which is wrong by itself
    for index, one in enumerate(schedules):
        if one.min_replicas is None and one.max_replicas is None:
            yield (index,), "changes nothing; write min_replicas, max_replicas or both"
            continue
        least = known["min_replicas"] if one.min_replicas is None else one.min_replicas
        most = known["max_replicas"] if one.max_replicas is None else one.max_replicas
        if least > most:
            yield (index,), _min_over_max(one, least, most)
        elif one.max_replicas is not None:
            yield from (((index, "max_replicas"), text) for text in _of_a_higher_max(one.max_replicas, known))


def _min_over_max(one: Schedule, least: int, most: int) -> str:
    if one.max_replicas is None:
        return f"has min_replicas {least}, more than the worker's max_replicas, which is {most}; write max_replicas too"
    if one.min_replicas is None:
        return f"has max_replicas {most}, less than the worker's min_replicas, which is {least}; write min_replicas too"
    return f"has min_replicas {least}, more than its max_replicas, which is {most}; lower the first or raise the second"


def _of_a_higher_max(most: int, known: Mapping[str, Any]) -> Iterator[str]:
    """What only a max_replicas above the worker's own makes wrong."""
    if most <= known["max_replicas"]:
        return
    tiers: tuple[Tier, ...] = known.get("tiers") or ()
    if tiers and any(tier_problems(tiers, most)):
        yield f"is {most}, and below that number the tiers fall: more jobs must not mean fewer workers; edit the tiers"
    limit: RateLimit | None = known.get("rate_limit")
    if limit is not None and share_problem(limit, most) is not None:
        yield (
            f"is {most}, more than rate_limit.rpm, which is {limit.rpm}, so that the share of each worker would be 0 "
            f"requests a minute; write {limit.rpm} or less, or raise rpm"
        )
