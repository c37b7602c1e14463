"""What /health and /status say: one moment, exact keys, and what fails since when."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from controller.config.timing import Timing
from controller.core.model import Leader
from controller.core.ports import Requests, Unavailable
from controller.core.reasons import Because, Reason
from controller.core.text.masking import Masker
from controller.loop.cycle import CONTROLLER, Fault, Outcome
from controller.loop.leadership import Leadership
from controller.loop.status import ControllerStatus
from controller.web.health import ReplicaRole, Shown, health_body, status_body, status_report
from controller.web.page import page
from tests.support.sources import REDIS, SOURCES
from tests.web.stand_ins import FAULT, POLICY, SINCE, AwayLeases, HandClock, Leases, NoLeases, cycle, silent


def test_health_has_the_promised_keys_and_no_others_while_healthy(shown: Shown) -> None:
    shown.status.put(cycle())
    assert health_body(shown) == {
        "status": "healthy",
        "workers": 2,
        "maxWorkers": 5,
        "queueDepth": 15,
        "rpmUsage": 30,
        "rpmLimit": 60,
    }


def test_what_was_never_read_is_null_and_not_zero(shown: Shown) -> None:
    body = health_body(shown)
    assert (body["status"], body["workers"], body["queueDepth"]) == ("degraded", None, None)


def test_a_failed_reading_keeps_the_last_figures_and_turns_health_degraded(shown: Shown) -> None:
    shown.status.put(cycle())
    shown.status.put(cycle(Outcome.FAILED, read=False))
    body = health_body(shown)
    assert (body["status"], body["workers"], body["queueDepth"]) == ("degraded", 2, 15)


def test_while_degraded_health_names_what_fails_and_since_when(shown: Shown, clock: HandClock) -> None:
    shown.status.put(cycle())
    shown.status.put(cycle(Outcome.FAILED, read=False))
    clock.now += 20
    shown.status.put(replace(cycle(Outcome.FAILED, read=False), at=clock.now))
    body = health_body(shown)
    assert body["failing"] == status_body(shown)["failing"] == [{"name": "PostgreSQL", "since": SINCE}]
    shown.status.put(cycle())
    assert "failing" not in health_body(shown)


def test_a_bug_is_the_controller_s_own(shown: Shown) -> None:
    bug = Because(Reason.CRASHED, "a bug")
    shown.status.put(replace(cycle(Outcome.CRASHED, read=False), because=(bug,), fault=Fault(CONTROLLER, bug.words)))
    assert health_body(shown)["failing"] == [{"name": "controller", "since": SINCE}]


def test_figures_that_were_never_read_are_named_as_failing(shown: Shown, clock: HandClock) -> None:
    clock.now += 5
    assert health_body(shown)["failing"] == [{"name": "observation", "since": SINCE}]


async def test_a_standby_names_redis_as_soon_as_it_cannot_reach_it_itself(clock: HandClock) -> None:
    leadership = Leadership(AwayLeases(), clock, timing=Timing.around(15), replica="a", report=silent)
    shown = Shown(ControllerStatus(clock, POLICY.interval, SOURCES.names), leadership, POLICY)
    await leadership.turn()
    clock.now += 20
    await leadership.turn()
    assert health_body(shown)["failing"] == [{"name": "Redis", "since": SINCE}]


def test_a_standby_names_what_the_leader_cannot_reach(shown: Shown, clock: HandClock) -> None:
    leader = ControllerStatus(clock, 10, SOURCES.names)
    leader.put(cycle())
    leader.put(cycle(Outcome.FAILED, read=False))
    shown.status.take_over(leader.to_publish(), 1.0)
    assert health_body(shown)["failing"] == [{"name": "PostgreSQL", "since": SINCE}]


def test_a_loop_that_stands_still_says_since_when(shown: Shown, clock: HandClock) -> None:
    shown.status.put(cycle())
    clock.now += 1000
    body = health_body(shown)
    assert (body["status"], body["failing"]) == ("unhealthy", [{"name": "loop", "since": SINCE}])


def test_old_numbers_turn_health_degraded_and_a_loop_that_stands_still_unhealthy(
    shown: Shown, clock: HandClock
) -> None:
    shown.status.put(cycle())
    shown.status.turned()
    clock.now += 36
    assert health_body(shown)["status"] == "degraded"
    clock.now += 60
    assert health_body(shown)["status"] == "degraded"  # the cycle is given up after 90 s, and the loop turns on
    clock.now += 60
    assert health_body(shown)["status"] == "unhealthy"


def test_a_standby_shows_what_the_leader_published(shown: Shown, clock: HandClock) -> None:
    leader = ControllerStatus(clock, 10, SOURCES.names)
    leader.put(cycle())
    shown.status.take_over(leader.to_publish(), 1.0)
    assert (health_body(shown)["status"], health_body(shown)["queueDepth"]) == ("healthy", 15)
    clock.now += 100
    shown.status.turned()
    assert health_body(shown)["status"] == "degraded"


def test_status_and_the_page_say_that_cycles_are_stretched(shown: Shown) -> None:
    stretched = replace(shown, requests=lambda: Requests(80, 100, 3600.0, 45.25), platform="Railway")
    counted = "80 of the 100 requests that Railway allows in 1 h are used"
    words = f"the next cycle comes 45 s after the last, not 10 s: {counted}"
    assert status_body(stretched)["railway_requests"]["stretched"] == words
    assert words in page(status_report(stretched))


def test_the_requests_to_railway_are_shown_where_they_are_counted(shown: Shown) -> None:
    assert status_body(shown)["railway_requests"] is None
    counted = replace(shown, requests=lambda: Requests(412, 1000, 3600.0, 7.25))
    figures = {"used": 412, "quota": 1000, "window_s": 3600, "pace_s": 7.2}
    assert status_body(counted)["railway_requests"] == {**figures, "stretched": None}


def test_a_fault_of_a_service_degrades_health_and_is_named_with_its_worker(shown: Shown) -> None:
    shown.status.put(replace(cycle(), conditions=(replace(FAULT, degrades=False),)))
    assert health_body(shown)["status"] == "healthy"
    shown.status.put(replace(cycle(), conditions=(FAULT,)))
    body = health_body(shown)
    assert body["status"] == "degraded"
    assert body["failing"] == [{"name": "NoProgress", "worker": "w", "since": "2023-11-14T22:03:20.000Z"}]
    assert status_body(shown)["workers"]["w"]["conditions"] == [
        {
            "reason": "NoProgress",
            "message": "no job was taken for 10 min: see the workers' log",
            "for_s": 600.0,
            "degrades": True,
        }
    ]


def test_a_dependency_is_named_once_and_a_fault_of_a_service_once_for_each_worker(
    shown: Shown, clock: HandClock
) -> None:
    worker = POLICY.workers["w"]
    both = replace(shown, policy=POLICY.model_copy(update={"workers": {"w": worker, "v": worker}}))
    for name in ("w", "v"):
        shown.status.put(replace(cycle(), worker=name, conditions=(FAULT,)))
        clock.now += 5
        shown.status.put(replace(cycle(Outcome.FAILED, read=False), worker=name, at=clock.now))
    began = "2023-11-14T22:03:20.000Z"
    assert health_body(both)["failing"] == [
        {"name": "NoProgress", "worker": "w", "since": began},
        {"name": "NoProgress", "worker": "v", "since": began},
        {"name": "PostgreSQL", "since": "2023-11-14T22:13:25.000Z"},
    ]


def test_a_standby_shows_the_faults_that_the_leader_published(shown: Shown, clock: HandClock) -> None:
    leader = ControllerStatus(clock, POLICY.interval, SOURCES.names)
    leader.put(replace(cycle(), conditions=(FAULT,)))
    shown.status.take_over(leader.to_publish(), 0.0)
    assert [one["name"] for one in health_body(shown)["failing"]] == ["NoProgress"]


def test_status_says_who_leads_since_when_and_in_which_epoch(shown: Shown) -> None:
    assert status_body(shown)["leader"] is None
    shown.leadership.leader = Leader("b:1", 7, 1_700_000_000.0)
    assert status_body(shown)["leader"] == {"holder": "b:1", "epoch": 7, "since": SINCE}


@pytest.mark.parametrize(
    ("leases", "dry_run", "role"),
    [
        pytest.param(Leases(), False, ReplicaRole.LEADER, id="this replica has the lease"),
        pytest.param(NoLeases(), False, ReplicaRole.STANDBY, id="another replica has the lease"),
        pytest.param(AwayLeases(), False, ReplicaRole.UNKNOWN, id="Redis cannot be reached"),
        pytest.param(Leases(), True, ReplicaRole.DRY_RUN, id="a dry run has a lease of its own"),
    ],
)
async def test_the_role_is_known_from_the_lease(
    clock: HandClock,
    leases: Any,
    dry_run: bool,  # noqa: FBT001  # a table
    role: ReplicaRole,
) -> None:
    leadership = Leadership(leases, clock, timing=Timing.around(15), replica="a", report=silent)
    await leadership.turn()
    shown = Shown(ControllerStatus(clock, POLICY.interval, SOURCES.names), leadership, POLICY, dry_run)
    assert status_report(shown).role is role
    assert status_body(shown)["role"] == role.value


async def test_no_text_of_status_holds_a_secret(clock: HandClock) -> None:
    secret = "hunter2hunter2"
    leadership = Leadership(AwayLeases(), clock, timing=Timing.around(15), replica=secret, report=silent)
    await leadership.turn()
    leadership.leader = Leader(f"{secret}:1", 7, 1_700_000_000.0)
    leadership.fault = Unavailable(REDIS, f"redis://:{secret}@h is away")
    policy = POLICY.model_copy(update={"workers": {secret: POLICY.workers["w"]}})
    mask = Masker([secret])
    status = ControllerStatus(clock, POLICY.interval, SOURCES.names, mask=mask)
    status.put(replace(cycle(), worker=secret, conditions=(FAULT,), message=f"hold: {secret}"))
    shown = Shown(status, leadership, policy, mask=mask, policy_shown={})
    assert secret not in json.dumps([status_body(shown), health_body(shown)])
    assert secret not in page(status_report(shown))


def test_a_stamp_that_no_calendar_holds_is_shown_as_its_end(shown: Shown) -> None:
    shown.leadership.leader = Leader("b:1", 7, 999_999_999_999.0)
    assert status_body(shown)["leader"]["since"].startswith("9999-12-31")
    shown.leadership.leader = Leader("b:1", 7, -999_999_999_999.0)
    assert status_body(shown)["leader"]["since"].startswith("0001-01-01")


def test_there_is_no_sum_over_workers_of_which_one_was_never_read(clock: HandClock) -> None:
    worker = POLICY.workers["w"]
    both = POLICY.model_copy(update={"workers": {"w": worker, "v": worker}})
    leadership = Leadership(NoLeases(), clock, timing=Timing.around(15), replica="a", report=silent)
    shown = Shown(ControllerStatus(clock, POLICY.interval, SOURCES.names), leadership, both)
    shown.status.put(cycle())
    body = health_body(shown)
    assert (body["workers"], body["queueDepth"], body["rpmUsage"]) == (None, None, None)
    shown.status.put(replace(cycle(), worker="v"))
    body = health_body(shown)
    assert (body["workers"], body["queueDepth"], body["rpmUsage"]) == (4, 30, 60)
