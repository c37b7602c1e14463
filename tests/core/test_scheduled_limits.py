"""While a schedule is on, its min_replicas and max_replicas are min and max for every rule and every override."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.allowed import allowed
from controller.core.model import Decision, History, Observation, QueueDepth, RateUsage, Replicas, ServiceState
from controller.core.override import Blocks, Kind, Override, Overrides
from controller.core.plan import Seen, plan
from controller.core.ports import Retention
from controller.core.reasons import Reason
from controller.core.rules import decide, fall_back
from controller.core.steps import Share
from controller.core.wanted import enough, retention
from controller.policy import WorkerPolicy
from tests.support.sources import SOURCES

OFFICE = {"cron": "0 8 * * mon-fri", "for": "10h", "timezone": "Europe/Berlin"}
DATA: dict[str, Any] = {
    "service": "svc",
    "queue": {"table": "job"},
    "tiers": [{"up_to": 0, "replicas": 0}, {"up_to": 10, "replicas": 1}, {"up_to": 50, "replicas": 5}, {"replicas": 8}],
    "max_replicas": 5,
    "on_unavailable": {"after": "1m", "at_least": 3},
}


def worker(*schedules: dict[str, Any], **more: Any) -> WorkerPolicy:
    each = [OFFICE | one for one in schedules] or [OFFICE | {"min_replicas": 2, "max_replicas": 8}]
    return WorkerPolicy.model_validate({**DATA, "schedules": each, **more})


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


OPEN, CLOSED = at("2026-06-01 08:30"), at("2026-06-01 17:00")  # Berlin: 10:30 and 19:00 of a Monday


def override(kind: Kind, replicas: int, **more: Any) -> Override:
    return Override("o1", kind, "ann", OPEN - 60, OPEN + 86_400, replicas=replicas, is_told=True, **more)


@dataclass(frozen=True)
class Case:
    """`count` workers and `depth` pending jobs become `desired`; reason: the last one."""

    depth: int
    count: int
    desired: int
    reason: Reason
    now: float = OPEN
    policy: WorkerPolicy = worker()  # noqa: RUF009  # it is frozen
    each: tuple[Override, ...] = ()

    @property
    def decision(self) -> Decision:
        observed = Observation(QueueDepth(self.depth, 0), _replicas(self.count))
        history = History(since=self.now - 86_400, overrides=Overrides(OPEN - 60, self.each))
        return decide(self.policy, observed, history, self.now)


def _replicas(count: int) -> Replicas:
    return Replicas(count, count, count, ServiceState.RUNNING)


CASES = {
    "while it is on, fewer than its min are corrected at once": Case(0, 0, 2, Reason.SCHEDULE),
    "while it is on, its min stays": Case(0, 2, 2, Reason.SCHEDULE),
    "while it is on, its higher max is reached": Case(99, 5, 8, Reason.TIER),
    "outside it, the policy's max holds": Case(99, 2, 5, Reason.MAXIMUM, CLOSED),
    "outside it, the policy's min holds": Case(0, 2, 0, Reason.TIER, CLOSED),
    "when it has ended, more than the policy's max are corrected at once": Case(99, 8, 5, Reason.ABOVE_MAXIMUM, CLOSED),
    "a lower max of a schedule is the limit": Case(99, 0, 1, Reason.SCHEDULE, policy=worker({"max_replicas": 1})),
    "more than a schedule's max are corrected at once": Case(
        99, 5, 1, Reason.SCHEDULE, policy=worker({"max_replicas": 1})
    ),
    "of two that are on, the first decides": Case(
        0, 0, 1, Reason.SCHEDULE, policy=worker({"min_replicas": 1}, {"min_replicas": 4})
    ),
    "without a min of its own, the policy's holds": Case(
        0, 0, 1, Reason.BELOW_MINIMUM, policy=worker({"max_replicas": 3}, min_replicas=1)
    ),
    "a held count stays within its limits": Case(0, 3, 2, Reason.HELD, each=(override(Kind.HOLD, 0),)),
    "a held count may be above the policy's max": Case(0, 2, 7, Reason.HELD, each=(override(Kind.HOLD, 7),)),
    "a forced count goes beyond its limits": Case(0, 3, 0, Reason.HELD, each=(override(Kind.HOLD, 0, is_forced=True),)),
    "a floor is above its min": Case(0, 3, 3, Reason.AT_LEAST, each=(override(Kind.AT_LEAST, 3),)),
    "a floor below its min changes nothing": Case(0, 2, 2, Reason.SCHEDULE, each=(override(Kind.AT_LEAST, 1),)),
    "above a floor, its max is still the limit": Case(
        99, 2, 3, Reason.SCHEDULE, policy=worker({"max_replicas": 3}), each=(override(Kind.AT_LEAST, 1),)
    ),
    "a pause does not keep the count below its min": Case(
        0, 0, 2, Reason.SCHEDULE, each=(override(Kind.PAUSE, 0, blocks=Blocks.BOTH),)
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_what_is_decided_beside_a_schedule(case: Case) -> None:
    decision = case.decision
    assert (decision.desired, decision.because[-1].reason) == (case.desired, case.reason)


def test_the_reason_names_the_schedule_and_its_end() -> None:
    (because,) = (one for one in CASES["while it is on, its min stays"].decision.because if one.reason == "Schedule")
    assert because.words == "min_replicas is 2 by the schedule `0 8 * * mon-fri`, until 18:00 Europe/Berlin"


def test_a_count_below_its_min_is_corrected_while_the_queue_cannot_be_read() -> None:
    history = History(since=OPEN - 86_400)
    decision = fall_back(worker(), _replicas(0), history, OPEN, unread_for_s=0.0, rate=None)
    assert decision is not None
    assert (decision.desired, decision.because[-1].reason) == (2, Reason.SCHEDULE)
    assert fall_back(worker(), _replicas(0), history, CLOSED, unread_for_s=0.0, rate=None) is None


def test_a_fallback_stays_within_a_lower_max_of_the_hour() -> None:
    low = worker({"max_replicas": 2})
    decision = fall_back(low, _replicas(1), History(since=0.0), OPEN, unread_for_s=120, rate=None)
    assert decision is not None
    assert (decision.desired, decision.reason) == (2, Reason.FALLBACK)


def test_counting_and_memory_reach_as_far_as_the_highest_max_of_any_hour() -> None:
    high = WorkerPolicy.model_validate(
        {"service": "s", "queue": {"table": "job"}, "per_worker": 5, "max_replicas": 2}
        | {"schedules": [OFFICE | {"max_replicas": 10}]}
    )
    assert enough(high, None) > 45
    learns = {"tiers": (), "per_worker": None, "target_wait": 5.0}
    assert retention(high.model_copy(update=learns), 0.0).most == 10


def test_the_workers_are_told_the_max_of_the_hour() -> None:
    policy = worker(rate_limit={"rpm": 60})
    told = []
    for now in (OPEN, CLOSED):
        seen = Seen(
            policy,
            QueueDepth(0, 0),
            _replicas(2),
            History(since=now - 86_400, last_down=now - 1),
            now,
            SOURCES,
            Retention(0.0, 60.0),
            60.0,
            rate=RateUsage(0, 60),
        )
        told += [step.shares.max_workers for step in plan(seen).steps if isinstance(step, Share)]
    assert told == [8, 5]


COUNTS = st.integers(0, 12)
LIMITS = st.tuples(st.integers(0, 8), st.integers(0, 8)).map(sorted)


@given(depth=st.integers(0, 120), count=COUNTS, own=LIMITS, hour=LIMITS, hours=st.integers(0, 200))
def test_a_policy_with_a_schedule_equals_one_with_these_limits_while_it_is_on(
    depth: int, count: int, own: list[int], hour: list[int], hours: int
) -> None:
    now = OPEN + 3600 * hours
    plain = {**DATA, "on_unavailable": None}
    limits = {"min_replicas": hour[0], "max_replicas": hour[1]}
    base = {**plain, "min_replicas": own[0], "max_replicas": own[1]}
    scheduled = WorkerPolicy.model_validate({**base, "schedules": [OFFICE | limits]})
    berlin = datetime.fromtimestamp(now, scheduled.schedules[0].zone)
    is_on = berlin.weekday() < 5 and 8 <= berlin.hour < 18
    same = WorkerPolicy.model_validate({**plain, **limits} if is_on else base)
    observed, history = Observation(QueueDepth(depth, 0), _replicas(count)), History(since=now - 86_400)
    one, other = (decide(policy, observed, history, now) for policy in (scheduled, same))
    assert (one.desired, one.recommended) == (other.desired, other.recommended)
    assert same.min_replicas <= one.desired <= same.max_replicas


@given(floor=st.integers(0, 12), hold=st.one_of(st.none(), st.integers(0, 12)), hours=st.integers(0, 200))
def test_unforced_overrides_stay_within_the_limits_of_the_hour(floor: int, hold: int | None, hours: int) -> None:
    now, policy = OPEN + 3600 * hours, worker()
    each = [override(Kind.AT_LEAST, floor)]
    each += [] if hold is None else [override(Kind.HOLD, hold)]
    each = [replace(one, until=now + 60) for one in each]
    hour = allowed(policy, Overrides(), now).policy
    here = allowed(policy, Overrides(OPEN, tuple(each)), now).policy
    assert hour.min_replicas <= here.min_replicas <= here.max_replicas <= hour.max_replicas
