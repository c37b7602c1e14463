"""What a policy's schedules come to: the hours of a week in which each one holds, and what their minimum costs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from controller.core.edits import schedule_text
from controller.core.price import Price
from controller.core.schedule import on_s
from controller.core.units import money
from controller.policy import WorkerPolicy

_FIRST = datetime(2026, 1, 5)  # noqa: DTZ001  # a Monday, in the zone of the first schedule
_WEEKS = 52
_WEEKS_A_MONTH = 365.25 / 12 / 7


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
        rows.append(
            {"schedule": schedule_text(one), "hours_a_week": hours, "minimum_dollars_a_month": round(dollars, 4)}
        )
    return rows


def sentences(worker: WorkerPolicy, price: Price) -> Iterator[str]:
    for row in weekly(worker, price):
        costs = f"its min_replicas costs {money(row['minimum_dollars_a_month'])} a month"
        yield f"{row['schedule']}: holds {row['hours_a_week']:.1f} hours a week; {costs}"
