"""What a policy's schedules come to: the hours of a week in which each one holds, and what their minimum costs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from controller.core.schedule import limits_of, on_s
from controller.core.units import as_policy, money
from controller.policy import Schedule, WorkerPolicy
from controller.simulation.figures import Price

_FIRST = datetime(2026, 1, 5)  # noqa: DTZ001  # a Monday, in the zone of the first schedule
_WEEKS = 52
_WEEKS_A_MONTH = 365.25 / 12 / 7


def as_text(schedule: Schedule) -> str:
    """`0 8 * * mon-fri` for 10h Europe/Berlin: min_replicas 2."""
    lead = f", {as_policy(schedule.lead)} early" if schedule.lead else ""
    return f"`{schedule.cron}` for {as_policy(schedule.on_for)}{lead} {schedule.timezone}: {limits_of(schedule)}"


def changed(old: WorkerPolicy, new: WorkerPolicy) -> Iterator[str]:
    """The edit of the schedules; the order counts, because the first that is on holds."""
    if old.schedules == new.schedules:
        return
    yield from (f"schedule dropped: {as_text(one)}" for one in old.schedules if one not in new.schedules)
    yield from (f"schedule new: {as_text(one)}" for one in new.schedules if one not in old.schedules)
    if sorted(map(as_text, old.schedules)) == sorted(map(as_text, new.schedules)):
        yield "the schedules have another order, and the first that is on holds"


def weekly(worker: WorkerPolicy, price: Price) -> list[dict[str, Any]]:
    """Of each schedule: hours_a_week in which it holds, as a mean over a year, and minimum_dollars_a_month."""
    if not worker.schedules:
        return []
    first = _FIRST.replace(tzinfo=worker.schedules[0].zone)
    held = on_s(worker.schedules, first.timestamp(), (first + timedelta(weeks=_WEEKS)).timestamp())
    rows = []
    for one, seconds in zip(worker.schedules, held, strict=True):
        least = worker.min_replicas if one.min_replicas is None else one.min_replicas
        dollars = least * seconds / _WEEKS * _WEEKS_A_MONTH * price.per_second
        hours = round(seconds / _WEEKS / 3600, 2)
        rows.append({"schedule": as_text(one), "hours_a_week": hours, "minimum_dollars_a_month": round(dollars, 4)})
    return rows


def sentences(worker: WorkerPolicy, price: Price) -> Iterator[str]:
    for row in weekly(worker, price):
        costs = f"its min_replicas costs {money(row['minimum_dollars_a_month'])} a month"
        yield f"{row['schedule']}: holds {row['hours_a_week']:.1f} hours a week; {costs}"
