"""A shadow policy decides as the one in force would, by its own count and history; its sums are those of a clock."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core.model import PlatformLimit, QueueDepth, QueuePart, RateUsage, Replicas, ServiceState, ServiceTime
from controller.core.override import Kind, Override, Overrides
from controller.core.ports import Unavailable
from controller.core.reasons import Reason
from controller.core.shadow import Account, Moment, Service, ShadowFleet, ShadowLook, begun, stepped
from controller.core.shadow_policy import beside, differing_queue, policies_key
from controller.policy import Policy, WorkerPolicy
from tests.support.examples import examples
from tests.support.sources import POSTGRESQL, SOURCES

NOW = 1_800_000_000.0
DATA: dict[str, Any] = {
    "service": "svc",
    "queue": {"table": "job"},
    "tiers": [{"up_to": 0, "replicas": 0}, {"up_to": 10, "replicas": 1}, {"replicas": 4}],
    "max_replicas": 4,
    "scale_up": {"cooldown": "30s"},
    "scale_down": {"cooldown": "60s"},
}
IN_FORCE = WorkerPolicy.model_validate(DATA)
TWO = [{"up_to": 0, "replicas": 0}, {"replicas": 2}]
AT_TWO = WorkerPolicy.model_validate({**DATA, "tiers": TWO})
ONE = Replicas(1, 1, 1, ServiceState.RUNNING, deployment="d1")
FIVE = QueueDepth(4, 1)


def look(now: float = NOW, policy: WorkerPolicy = AT_TWO, **more: Any) -> ShadowLook:
    known: dict[str, Any] = {"queue": FIVE, "replicas": ONE, "configured": 1, "services": {}, **more}
    return ShadowLook(policy, IN_FORCE, now=now, gap=31.0, sources=SOURCES, **known)


def fleet(count: int = 1, *, policy: WorkerPolicy = AT_TWO) -> ShadowFleet:
    """One whose cooldowns are over."""
    new = begun("", look(NOW - 1000, policy, configured=count))
    settled, _ = stepped(new, look(NOW - 900, policy, queue=QueueDepth(0, 0, stale=1), configured=count))
    return replace(
        settled, count=count, moment=None, account=Account(NOW), history=replace(settled.history, count=count)
    )


def test_it_begins_with_the_workers_that_there_are_and_waits_for_a_cooldown_as_any_new_history_does() -> None:
    new = begun("key", look(configured=3))
    assert (new.count, new.account) == (3, Account(NOW))
    after, decision = stepped(new, look(configured=3))
    assert (after.count, decision, after.reason) == (3, None, Reason.SCALE_DOWN_COOLDOWN.value)


def test_what_it_wants_is_there_at_once_and_its_own_cooldown_begins() -> None:
    after, decision = stepped(fleet(), look())
    assert decision is not None
    assert (decision.current, decision.desired, after.count, after.since) == (1, 2, 2, NOW)
    assert after.history.change is None
    later, held = stepped(after, look(NOW + 10, queue=QueueDepth(0, 0)))
    assert (later.count, held, later.reason) == (2, None, Reason.SCALE_DOWN_COOLDOWN.value)
    last, down = stepped(later, look(NOW + 61, queue=QueueDepth(0, 0)))
    assert (last.count, down is None) == (0, False)


def test_an_unreadable_queue_never_lowers_its_count() -> None:
    after, decision = stepped(fleet(2), look(queue=Unavailable(POSTGRESQL, "is away"), configured=2))
    assert (after.count, decision, after.moment) == (2, None, None)
    assert "is away" in after.message


def test_a_platform_s_limit_holds_for_it_too() -> None:
    limit = PlatformLimit(1, Reason.VOLUME, "the plan allows 1", "use another plan")
    after, decision = stepped(fleet(), look(replicas=replace(ONE, largest=limit)))
    assert (after.count, decision) == (1, None)


def test_an_operator_s_override_holds_for_both_and_is_not_remembered_by_the_shadow() -> None:
    hold = Override("o", Kind.HOLD, "ann", NOW - 1, NOW + 100, replicas=3)
    after, decision = stepped(fleet(), look(overrides=Overrides(NOW - 1, (hold,))))
    assert decision is not None
    assert (after.count, decision.reason) == (3, Reason.HELD)
    assert after.history.overrides == Overrides()


def test_its_own_schedule_holds() -> None:
    every = {"cron": "0 * * * *", "for": "1h", "timezone": "UTC", "min_replicas": 4}
    scheduled = WorkerPolicy.model_validate({**DATA, "schedules": [every]})
    after, _ = stepped(fleet(policy=scheduled), look(policy=scheduled))
    assert (after.count, after.reason) == (4, Reason.SCHEDULE.value)


@pytest.mark.parametrize(("used", "count"), [(3, 2), (5, 1)], ids=["room is left", "used up by the shadow's limit"])
def test_the_requests_of_the_real_workers_count_against_its_own_rate_limit(used: int, count: int) -> None:
    limited = WorkerPolicy.model_validate({**DATA, "tiers": TWO, "rate_limit": {"rpm": 5}})
    after, _ = stepped(fleet(policy=limited), look(policy=limited, rate=RateUsage(used, 100)))
    assert after.count == count


def test_each_queue_of_several_counts_by_the_weight_that_the_shadow_gives_it() -> None:
    queues = {"a": {"table": "a", "weight": 3}, "b": {"table": "b"}}
    tiers = [{"up_to": 3, "replicas": 1}, {"replicas": 4}]
    policy = WorkerPolicy.model_validate({"service": "svc", "queues": queues, "tiers": tiers, "max_replicas": 4})
    parts = (QueuePart("a", QueueDepth(2, 0)), QueuePart("b", QueueDepth(0, 0)))
    depth = QueueDepth(2, 0, parts=parts)
    after, _ = stepped(fleet(policy=policy), look(policy=policy, queue=depth))
    assert after.count == 4, "2 jobs of weight 3"


def test_a_time_per_job_that_only_the_shadow_needs_decides() -> None:
    waits = WorkerPolicy.model_validate(
        {"service": "svc", "queue": {"table": "job"}, "target_wait": "10s", "max_replicas": 4}
    )
    unknown, _ = stepped(fleet(policy=waits), look(policy=waits, queue=QueueDepth(40, 0)))
    assert (unknown.count, unknown.reason) == (1, Reason.SERVICE_TIME_UNKNOWN.value)
    services = {"": Service(ServiceTime(10.0, 10.0, 50))}
    known, _ = stepped(unknown, look(NOW + 10, waits, queue=QueueDepth(40, 0), services=services))
    assert (known.count, known.service_s) == (4, 10.0)


@dataclass(frozen=True)
class Sum:
    """What is counted between two looks, `after` seconds apart, with 3 shadow workers and 1 in force."""

    after: float
    seconds: float
    moment: Moment | None = field(default=Moment(NOW, 5, 1, 1))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Sum(10, 10), id="a cycle"),
        pytest.param(Sum(500, 31), id="after a gap only as long as a look holds"),
        pytest.param(Sum(10, 0, None), id="nothing was known before"),
        pytest.param(Sum(-5, 0), id="a clock that was set back"),
    ],
)
def test_worker_seconds_and_waiting_jobs_are_summed_over_the_time_that_is_known(case: Sum) -> None:
    three = replace(fleet(3), moment=case.moment)
    account = stepped(three, look(NOW + case.after))[0].account
    s = case.seconds
    assert account == Account(NOW, s, 3 * s, s, waiting=2 * s, waiting_in_force=4 * s, busy=s)


def test_the_implied_wait_is_by_littles_law_and_unknown_without_a_time_per_job() -> None:
    account = Account(NOW, 100.0, busy=200.0, waiting=50.0)
    assert account.mean_wait_s(account.waiting, 20.0) == 5.0, "200 job-seconds of 20 s are 10 jobs"
    assert account.mean_wait_s(account.waiting, None) is None
    assert Account(NOW).mean_wait_s(0.0, 20.0) is None


@pytest.mark.costly
@settings(max_examples=examples(30), deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5), st.floats(1, 40)), max_size=30))
def test_a_policy_beside_itself_decides_the_same_and_differs_in_nothing(seen: list[tuple[int, int, float]]) -> None:
    real, shadow, now = fleet(policy=IN_FORCE), fleet(policy=IN_FORCE), NOW
    for pending, processing, after in seen:
        now += after
        queue = QueueDepth(pending, processing)
        real, _ = stepped(real, look(now, IN_FORCE, queue=queue))
        shadow, _ = stepped(shadow, look(now, IN_FORCE, queue=queue, configured=real.count))
        assert shadow.count == real.count
    assert shadow.account.workers == pytest.approx(shadow.account.workers_in_force)
    assert shadow.account.waiting == pytest.approx(shadow.account.waiting_in_force)


# --- what the file says ---


def policy(**workers: dict[str, Any]) -> Policy:
    return Policy.model_validate(
        {"workers": {name: {**DATA, "service": name, **more} for name, more in workers.items()}}
    )


def test_workers_go_by_their_names_and_what_has_no_effect_is_said_once_each() -> None:
    shadow = policy(mail={"service": "other"}, video={}, image={"rate_limit": {"rpm": 60}})
    found = beside(policy(mail={}, image={}, audio={}), shadow, "other.yaml")
    assert {name: worker.service for name, worker in found.workers.items()} == {"mail": "mail", "image": "image"}
    assert found.workers["image"].rate_limit is None
    assert [note.partition(": ")[0].split(" has ")[0].split(" names ")[0] for note in found.notes] == [
        "workers.mail of other.yaml",
        "workers.video of other.yaml",
        "workers.image.rate_limit of other.yaml",
        "workers.audio",
    ]


TARGETS: dict[str, dict[str, Any]] = {
    "service": {"service": "one"},
    "kubernetes": {"kubernetes": {"name": "one"}},
    "swarm": {"swarm": {"service": "one"}},
    "command": {"command": {"scale": ["a"], "read": ["b"]}},
    "platform": {"platform": {"use": "m:C", "target": "one"}},
}


@pytest.mark.parametrize("theirs", TARGETS)
@pytest.mark.parametrize("ours", TARGETS)
def test_the_target_is_that_of_the_policy_in_force_on_every_platform(ours: str, theirs: str) -> None:
    def on(key: str) -> Policy:
        return Policy.model_validate(
            {"workers": {"mail": {**{name: DATA[name] for name in DATA if name != "service"}, **TARGETS[key]}}}
        )

    found = beside(on(ours), on(theirs), "other.yaml")
    assert found.workers["mail"].target == on(ours).workers["mail"].target


@pytest.mark.parametrize(
    ("queue", "differs"),
    [
        ({"table": "job"}, ""),
        ({"table": "job", "count_limit": 50, "wake_on": "new_job", "timeout": "5s"}, ""),
        ({"table": "job", "stale_after": "1h"}, "queue"),
        ({"table": "task"}, "queue"),
    ],
    ids=["the same", "read in another way", "other claims count", "another table"],
)
def test_a_shadow_has_the_same_jobs(queue: dict[str, Any], differs: str) -> None:
    assert differing_queue(IN_FORCE, WorkerPolicy.model_validate({**DATA, "queue": queue})) == differs


def test_several_queues_may_weigh_otherwise_and_have_the_same_jobs() -> None:
    def of(**queues: dict[str, Any]) -> WorkerPolicy:
        return WorkerPolicy.model_validate({name: DATA[name] for name in DATA if name != "queue"} | {"queues": queues})

    one, two = {"table": "a"}, {"table": "b"}
    assert differing_queue(of(a=one, b=two), of(a=one, b={**two, "weight": 5})) == ""
    assert differing_queue(of(a=one, b=two), of(a=one, b={"table": "c"})) == "queues.b"
    assert differing_queue(of(a=one, b=two), of(a=one)) == "queues"
    assert differing_queue(of(a=one, b=two), IN_FORCE) == "queue"


def test_an_edit_of_either_policy_is_another_comparison() -> None:
    assert policies_key(IN_FORCE, AT_TWO) == policies_key(IN_FORCE, AT_TWO)
    assert len({policies_key(IN_FORCE, AT_TWO), policies_key(AT_TWO, IN_FORCE), policies_key(AT_TWO, AT_TWO)}) == 3
