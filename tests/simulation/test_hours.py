"""The hours of a policy's schedules in `plan`."""

from __future__ import annotations

import pytest

from controller.core.edits import schedule_changes
from controller.core.price import Price
from controller.simulation import hours
from controller.simulation.contenders import own_worker

OFFICE = {"cron": "0 8 * * mon-fri", "for": "10h", "timezone": "Europe/Berlin", "min_replicas": 2}
LUNCH = {"cron": "0 12 * * *", "for": "1h", "timezone": "Europe/Berlin", "max_replicas": 1}
BASE = {"max_replicas": 5, "tiers": [{"replicas": 1}]}


def test_a_week_has_the_hours_in_which_a_schedule_holds_and_its_minimum_has_a_price() -> None:
    price = Price(memory_gb=1.0, cpu=1.0)
    lunch, office = hours.weekly(own_worker({**BASE, "schedules": [LUNCH, OFFICE]}), price)
    assert (lunch["hours_a_week"], office["hours_a_week"]) == (7.0, 45.0)
    month_s = 45 * 3600 * 365.25 / 84
    assert office["minimum_dollars_a_month"] == pytest.approx(2 * month_s * price.per_second, abs=1e-3)
    assert lunch["minimum_dollars_a_month"] == 0


def test_an_edit_of_schedules_is_told_by_what_is_new_dropped_and_moved() -> None:
    none, one, two, turned = (
        own_worker({**BASE, **({"schedules": each} if each else {})})
        for each in ([], [OFFICE], [OFFICE, LUNCH], [LUNCH, OFFICE])
    )
    office = "`0 8 * * mon-fri` for 10h Europe/Berlin: min_replicas 2"
    assert list(schedule_changes(one, one)) == []
    assert list(schedule_changes(none, one)) == [f"schedule new: {office}"]
    assert list(schedule_changes(one, none)) == [f"schedule dropped: {office}"]
    assert list(schedule_changes(two, turned)) == ["the schedules have another order, and the first that is on holds"]
