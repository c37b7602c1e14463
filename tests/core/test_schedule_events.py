"""The begin and the end of a schedule are told once each, whichever leader is there at that time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.core.history import Known, Loss, given_back
from controller.core.model import History, QueueDepth
from controller.core.plan import Plan, Seen, plan
from controller.core.ports import Retention, Unavailable
from controller.policy import WorkerPolicy
from tests.core.test_plan import RUNNING
from tests.core.test_scheduled_limits import CLOSED, OPEN, worker
from tests.support.sources import POSTGRESQL, RAILWAY, SOURCES

OFFICE = "min_replicas 2 and max_replicas 8 by the schedule `0 8 * * mon-fri` Europe/Berlin"
MORNING = {"cron": "0 9 * * mon-fri", "for": "2h", "min_replicas": 3}
NIGHT = OPEN - 12 * 3600


def planned(history: History, now: float, policy: WorkerPolicy | None = None, **more: Any) -> Plan:
    given: dict[str, Any] = {"queue": QueueDepth(5, 0), "replicas": RUNNING, "retention": Retention(0.0, 31.0)}
    seen = Seen(policy or worker(), history=history, now=now, sources=SOURCES, landing_bound=60.0, **(given | more))
    return plan(seen)


def told(made: Plan) -> list[str]:
    return [event.name for event in made.events if event.name.startswith("schedule")]


def messages(made: Plan) -> list[object]:
    return [event.fields["message"] for event in made.events if event.name.startswith("schedule")]


KNOWN = History(since=0.0, count=2)


def test_the_begin_and_the_end_are_told_once_each() -> None:
    history, events = KNOWN, []
    for minute in range(-60, 12 * 60, 10):
        made = planned(history, OPEN - 2.5 * 3600 + 60 * minute)
        history = made.history
        events += told(made)
    assert events == ["schedule_on", "schedule_off"]


def test_the_begin_says_limits_and_end_and_the_end_says_what_is_over() -> None:
    on = planned(KNOWN, OPEN)
    assert messages(on) == [
        "min_replicas 2 and max_replicas 8 by the schedule `0 8 * * mon-fri`, until 18:00 Europe/Berlin"
    ]
    off = planned(on.history, CLOSED)
    assert messages(off) == [f"{OFFICE} is over"]


@pytest.mark.parametrize(
    ("before", "now", "policy", "expected"),
    [
        pytest.param("", NIGHT, worker(), [], id="none is on, and none was told"),
        pytest.param(OFFICE, OPEN, worker(), [], id="the leader before has told it"),
        pytest.param("", OPEN, worker(), ["schedule_on"], id="the controller starts in it"),
        pytest.param(OFFICE, NIGHT, worker(), ["schedule_off"], id="it ended while no controller ran"),
        pytest.param(OFFICE, OPEN, worker(MORNING), ["schedule_off", "schedule_on"], id="an edit put another in place"),
    ],
)
def test_what_is_told_by_what_the_record_remembers(
    before: str, now: float, policy: WorkerPolicy, expected: list[str]
) -> None:
    assert told(planned(replace(KNOWN, schedule=before), now, policy)) == expected


def test_a_schedule_that_left_the_policy_is_over() -> None:
    without = worker().model_copy(update={"schedules": ()})
    assert told(planned(replace(KNOWN, schedule=OFFICE), OPEN, without)) == ["schedule_off"]


def test_it_is_told_and_remembered_while_neither_queue_nor_platform_can_be_read() -> None:
    away: dict[str, Any] = {"queue": Unavailable(POSTGRESQL, "is away"), "replicas": Unavailable(RAILWAY, "is away")}
    made = planned(KNOWN, OPEN, **away)
    assert told(made) == ["schedule_on"]
    assert made.history.schedule == OFFICE


def test_a_leader_gives_it_back_to_a_redis_that_lost_it() -> None:
    emptied = given_back(History(), Known(schedule=OFFICE), Loss.EMPTIED, OPEN)
    assert told(planned(emptied, OPEN)) == []
