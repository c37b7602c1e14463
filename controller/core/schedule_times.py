"""The next times of a worker's schedules, in their time zone and in UTC, for `check`. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from typing import Any

from controller.core.schedule import DAY_S, OnTime, limits_of, next_on_times
from controller.core.units import as_policy, iso
from controller.policy import Schedule, WorkerPolicy

_SHOWN = 5
_DATE = "%a %Y-%m-%d %H:%M"


@dataclass(frozen=True, slots=True)
class Times:
    """When a schedule is on next, the time that has begun included."""

    schedule: Schedule
    each: tuple[OnTime, ...]

    @property
    def heading(self) -> str:
        one = self.schedule
        lead = f", {as_policy(one.lead)} early" if one.lead else ""
        return f"schedule `{one.cron}` for {as_policy(one.on_for)}{lead} has {limits_of(one)}"

    def table(self) -> Iterator[tuple[str, str, str, str]]:
        zone = self.schedule.timezone
        yield f"ON, {zone}".upper(), "OFF", "ON, UTC", "OFF"
        for one in self.each:
            for_zone, for_utc = (_on_off(one, place) for place in (self.schedule.zone, UTC))
            yield (*for_zone, *for_utc)

    def as_object(self) -> dict[str, Any]:
        """Each time with the offset of its zone, and in UTC; until: null if it has no end."""
        zone = self.schedule.zone

        def wall(at: float) -> str:
            return datetime.fromtimestamp(at, UTC).astimezone(zone).isoformat()

        times = [
            {
                "since": wall(one.since),
                "until": None if one.until is None else wall(one.until),
                "since_utc": iso(one.since),
                "until_utc": None if one.until is None else iso(one.until),
            }
            for one in self.each
        ]
        return {"cron": self.schedule.cron, "timezone": self.schedule.timezone, "times": times}


def _on_off(one: OnTime, zone: tzinfo) -> tuple[str, str]:
    """`Mon 2026-11-30 07:55` and `Mon 18:00`; the end with its date if a day of the week does not say enough."""
    since = datetime.fromtimestamp(one.since, UTC).astimezone(zone).strftime(_DATE)
    if one.until is None:
        return since, "never"
    form = "%a %H:%M" if one.until - one.since < 6 * DAY_S else _DATE
    return since, datetime.fromtimestamp(one.until, UTC).astimezone(zone).strftime(form)


def next_times(worker: WorkerPolicy, now: float) -> list[Times]:
    return [Times(one, tuple(next_on_times(one, now, _SHOWN))) for one in worker.schedules]
