"""A standby reads what a leader of another version published, and an older standby reads what this one publishes."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from controller.core.conditions import Condition
from controller.core.model import Decision, QueueDepth, RateUsage, Remark, Replicas, ServiceState, ServiceTime
from controller.core.reasons import Because, Reason
from controller.core.text.masking import MASK, Masker
from controller.loop.cycle import Cooldowns, Cycle, Fault, Outcome
from controller.loop.status import ControllerStatus
from controller.loop.worker_status import ConditionStatus, Publication, WorkerStatus
from tests.support.sources import SOURCES
from tests.web.stand_ins import HandClock

BECAUSE = (
    Because(Reason.TARGET_WAIT, "12 jobs want 3 workers"),
    Because(Reason.SCALE_DOWN_COOLDOWN, "scale-down cools down for 74 s more"),
)
HELD = Cycle(
    at=1_700_000_000.0,
    worker="w",
    outcome=Outcome.HELD,
    because=BECAUSE,
    message="hold at 4: 12+ jobs want 3 workers",
    max_workers=5,
    epoch=7,
    queue=QueueDepth(
        10, 5, 3.24, stale=2, limit=12, lag_s=1.5, remarks=(Remark("claims", "2 jobs claimed for up to 10 h"),)
    ),
    replicas=Replicas(4, 3, 4, ServiceState.STARTING),
    decision=Decision(4, 3, 4, BECAUSE),
    rate=RateUsage(30, 60),
    cooldowns=Cooldowns(0, 74.26, 1_699_999_000.0, None),
    took_s=0.0841,
    service=ServiceTime(2.05, 1.9, 100),
    target_wait_s=30.0,
    conditions=(
        Condition(Reason.WORKERS_MISSING, "3 of 4 run for 61 s", "see the plan's limit", 61.26, degrades=True),
    ),
)
FAILED = Cycle(
    at=1_700_000_010.0,
    worker="v",
    outcome=Outcome.FAILED,
    because=(Because(Reason.QUEUE_UNAVAILABLE, "hold: PostgreSQL: is away"),),
    message="hold: PostgreSQL: is away",
    max_workers=5,
    fault=Fault("PostgreSQL", "PostgreSQL: is away"),
)

# What the code at commit b7e6294 published of these two cycles, the first of them 4 s old. Replicas of that version run
# beside this one while a deploy is under way, so that these texts stay as they are.
HELD_AT_B7E6294 = (
    '{"age_s": 4.0, "failing": {"WorkersMissing": 1699999938.74}, "status": {"outcome": "held", '
    '"at": "2023-11-14T22:13:20.000Z", "message": "hold at 4: 12+ jobs want 3 workers", '
    '"reason": "ScaleDownCooldown", "reasons": ["TargetWait", "ScaleDownCooldown", "WorkersMissing"], '
    '"direction": "none", "epoch": 7, "pending": 10, "processing": 5, "depth": 15, "oldest_age_s": 3.2, '
    '"configured": 4, "running": 3, "recommended": 3, "desired": 4, "rpm_used": 30, "rpm_limit": 60, '
    '"took_ms": 84, "state": "starting", "stale": 2, "depth_shown": "12+", "pending_shown": "10", '
    '"processing_shown": "5", "stale_shown": "2", "max_workers": 5, "scale_up_cooldown_left_s": 0, '
    '"scale_down_cooldown_left_s": 74.3, "last_scale_up": "2023-11-14T21:56:40.000Z", "last_scale_down": null, '
    '"level": "warning", "event": "reconcile", "worker": "w", "service_time_s": 2.05, "target_wait_s": 30.0, '
    '"remarks": [{"about": "claims", "text": "2 jobs claimed for up to 10 h"}], "standby_lag_s": 1.5, '
    '"conditions": [{"reason": "WorkersMissing", "message": "3 of 4 run for 61 s: see the plan\'s limit", '
    '"for_s": 61.3, "degrades": true}]}}'
)
FAILED_AT_B7E6294 = (
    '{"age_s": null, "failing": {"PostgreSQL": 1700000010.0}, "status": {"outcome": "failed", '
    '"at": "2023-11-14T22:13:30.000Z", "message": "hold: PostgreSQL: is away", "reason": "QueueUnavailable", '
    '"reasons": ["QueueUnavailable"], "direction": "none", "epoch": null, "pending": null, "processing": null, '
    '"depth": null, "oldest_age_s": null, "configured": null, "running": null, "recommended": null, '
    '"desired": null, "rpm_used": null, "rpm_limit": null, "took_ms": 0, "state": null, "stale": null, '
    '"depth_shown": null, "pending_shown": null, "processing_shown": null, "stale_shown": null, '
    '"max_workers": 5, "scale_up_cooldown_left_s": null, "scale_down_cooldown_left_s": null, '
    '"last_scale_up": null, "last_scale_down": null, "level": "error", "event": "reconcile", "worker": "v", '
    '"remarks": null, "standby_lag_s": null, "conditions": null}}'
)


def read(text: str) -> Publication:
    return Publication.from_text(text, Masker(), SOURCES.names)


def with_status(**changed: Any) -> str:
    """The publication of a worker of which these keys are otherwise."""
    entry = json.loads(HELD_AT_B7E6294)
    return json.dumps({**entry, "status": {**entry["status"], **changed}})


def test_what_the_code_at_b7e6294_published_is_read_in_every_field() -> None:
    entry = read(HELD_AT_B7E6294)
    assert (entry.age_s, entry.failing) == (4.0, {"WorkersMissing": 1699999938.74})
    assert entry.status == WorkerStatus(
        outcome=Outcome.HELD,
        at="2023-11-14T22:13:20.000Z",
        message="hold at 4: 12+ jobs want 3 workers",
        reason="ScaleDownCooldown",
        reasons=("TargetWait", "ScaleDownCooldown", "WorkersMissing"),
        direction="none",
        epoch=7,
        pending=10,
        processing=5,
        depth=15,
        oldest_age_s=3.2,
        configured=4,
        running=3,
        recommended=3,
        desired=4,
        rpm_used=30,
        rpm_limit=60,
        took_ms=84,
        state="starting",
        stale=2,
        depth_shown="12+",
        pending_shown="10",
        processing_shown="5",
        stale_shown="2",
        max_workers=5,
        scale_up_cooldown_left_s=0,
        scale_down_cooldown_left_s=74.3,
        last_scale_up="2023-11-14T21:56:40.000Z",
        last_scale_down=None,
        level="warning",
        event="reconcile",
        worker="w",
        service_time_s=2.05,
        target_wait_s=30.0,
        remarks=(Remark("claims", "2 jobs claimed for up to 10 h"),),
        standby_lag_s=1.5,
        conditions=(
            ConditionStatus("WorkersMissing", "3 of 4 run for 61 s: see the plan's limit", 61.3, degrades=True),
        ),
    )


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(HELD_AT_B7E6294, id="a cycle that held"),
        pytest.param(FAILED_AT_B7E6294, id="a cycle that read nothing"),
    ],
)
def test_what_was_read_is_published_again_without_a_change(text: str) -> None:
    assert read(text).to_text() == text


@pytest.mark.parametrize(
    ("cycle", "seconds_ago", "text"),
    [
        pytest.param(HELD, 4.0, HELD_AT_B7E6294, id="a cycle that held"),
        pytest.param(FAILED, 0.0, FAILED_AT_B7E6294, id="a cycle that read nothing"),
    ],
)
def test_this_version_publishes_what_the_code_at_b7e6294_would_have_published(
    cycle: Cycle, seconds_ago: float, text: str
) -> None:
    clock = HandClock()
    leader = ControllerStatus(clock, 10, SOURCES.names)
    leader.put(cycle)
    clock.now += seconds_ago
    assert leader.to_publish() == {cycle.worker: text}


def test_every_key_that_a_cycle_publishes_is_a_field_and_no_field_lacks_its_key() -> None:
    status = WorkerStatus.from_json(HELD.to_json())
    assert (status.more, status.malformed) == ({}, ())
    assert status.to_json() == HELD.to_json()


def test_by_tiers_there_are_no_keys_of_a_target_wait() -> None:
    by_tiers = replace(HELD, service=None, target_wait_s=None)
    assert HELD.to_json().keys() - WorkerStatus.from_json(by_tiers.to_json()).to_json().keys() == {
        "service_time_s",
        "target_wait_s",
    }


def test_jobs_per_worker_and_max_wait_are_keys_only_if_the_policy_has_them() -> None:
    with_both = replace(HELD, target_wait_s=None, service=None, per_worker=5, max_wait_s=300.0)
    published = WorkerStatus.from_json(with_both.to_json())
    assert (published.more, published.per_worker, published.max_wait_s) == ({}, 5, 300.0)
    assert published.to_json() == with_both.to_json()
    assert not {"per_worker", "max_wait_s"} & WorkerStatus.from_json(HELD.to_json()).to_json().keys()
    without = WorkerStatus.from_json(replace(FAILED, worker="w").to_json())
    assert without.with_old(published).per_worker is None, "the leader before may have had another policy"


def test_a_service_time_that_is_not_known_yet_is_null() -> None:
    assert WorkerStatus.from_json(replace(HELD, service=None).to_json()).to_json()["service_time_s"] is None


def test_a_key_that_only_a_newer_version_knows_is_kept_and_published_again() -> None:
    text = with_status(idle_workers=[1, {"a": None}])
    assert json.loads(read(text).to_text()) == json.loads(text)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("\ud800", 1, id="a name of half a character"),
        pytest.param("new", "\ud800", id="a text of half a character"),
        pytest.param("new", math.nan, id="a number that is none"),
        pytest.param("new", [{"a": math.inf}], id="an endless number within"),
    ],
)
def test_a_key_that_could_not_be_sent_on_as_json_is_left_out(key: str, value: Any) -> None:
    assert read(with_status(**{key: value})).to_text() == HELD_AT_B7E6294


def test_a_newer_version_may_say_more_of_a_condition() -> None:
    condition = {"reason": "NoProgress", "message": "none", "for_s": 1, "degrades": False, "jobs": 5}
    status = read(with_status(conditions=[condition])).status
    assert status.conditions == (ConditionStatus("NoProgress", "none", 1, degrades=False),)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        pytest.param("depth", "15", id="a count that is a text"),
        pytest.param("depth", True, id="a count that is a flag"),
        pytest.param("depth", 1.5, id="a count that is no whole number"),
        pytest.param("depth", 10**15, id="a count that no queue has"),
        pytest.param("oldest_age_s", [], id="a number that is a list"),
        pytest.param("message", None, id="no message"),
        pytest.param("message", "\ud800", id="half of a character"),
        pytest.param("reasons", "Tier", id="reasons that are a text"),
        pytest.param("reasons", [1], id="a reason that is a number"),
        pytest.param("remarks", "none", id="remarks that are a text"),
        pytest.param("conditions", {"reason": "NoProgress"}, id="conditions that are no list"),
        pytest.param("level", 3, id="a level that is a number"),
    ],
)
def test_a_value_of_another_type_is_left_out_and_named_and_the_figures_count_as_old(key: str, value: Any) -> None:
    entry = read(with_status(**{key: value}))
    assert entry.status.malformed == (key,)
    assert getattr(entry.status, key) == getattr(WorkerStatus(Outcome.HELD), key)
    assert entry.status.desired == 4
    assert entry.age_s is None


@pytest.mark.parametrize(
    "odd",
    [
        pytest.param(1, id="a number"),
        pytest.param(None, id="null"),
        pytest.param(["claims", "text"], id="a list"),
        pytest.param({}, id="an empty object"),
        pytest.param({"about": "claims"}, id="a remark without its text"),
        pytest.param({"about": "claims", "text": [2]}, id="a remark whose text is a list"),
        pytest.param({"about": "claims", "text": "\ud800"}, id="a remark of half a character"),
    ],
)
def test_remarks_that_can_be_read_are_taken_without_those_that_cannot(odd: Any) -> None:
    entry = read(with_status(remarks=[odd, {"about": "claims", "text": "2 jobs"}]))
    assert entry.status.remarks == (Remark("claims", "2 jobs"),)
    assert (entry.status.malformed, entry.age_s) == ((), 4.0)


def test_a_condition_that_cannot_be_read_is_left_out() -> None:
    status = read(
        with_status(conditions=[{"reason": "NoProgress", "message": "m", "for_s": "x", "degrades": True}])
    ).status
    assert (status.conditions, status.malformed) == ((), ())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        pytest.param("", "is not the published status of a controller", id="nothing"),
        pytest.param("[" * 100_000, "is not the published status of a controller", id="a list of lists"),
        pytest.param('{"age_s": 1}', "is not the published status of a controller", id="no status"),
        pytest.param('{"age_s": 1, "status": 5}', "has no outcome or no age", id="a status that is a number"),
        pytest.param('{"age_s": 1, "status": {"depth": 1}}', "has no outcome or no age", id="no outcome"),
        pytest.param(with_status(outcome="postponed"), "has no outcome or no age", id="an outcome of a newer version"),
        pytest.param('{"age_s": -1, "status": {"outcome": "held"}}', "has no outcome or no age", id="a negative age"),
        pytest.param('{"age_s": true, "status": {"outcome": "held"}}', "has no outcome or no age", id="an age of true"),
    ],
)
def test_what_is_no_publication_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        read(text)


def test_what_a_leader_published_of_a_secret_is_masked_on_the_standby() -> None:
    text = with_status(
        message="cannot reach redis://:hunter2hunter2@h", remarks=[{"about": "x", "text": "hunter2hunter2"}]
    )
    status = Publication.from_text(text, Masker(["hunter2hunter2"]), SOURCES.names).status
    assert "hunter2" not in json.dumps(status.to_json())
    assert status.remarks == (Remark("x", MASK),)


def test_a_cycle_that_read_nothing_keeps_the_last_figures_but_no_target_wait_of_another_policy() -> None:
    before = read(HELD_AT_B7E6294).status
    after = WorkerStatus.from_json(FAILED.to_json()).with_old(before)
    assert (after.outcome, after.depth, after.remarks) == (Outcome.FAILED, 15, before.remarks)
    assert (after.target_wait_s, after.service_time_s) == (None, None)
