"""The guard by the age of the oldest ready job: the table, its sentences, and what holds on every day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.adapters.railway.reading import WITH_A_VOLUME
from controller.core.long_wait import pace, until_the_next
from controller.core.model import (
    Decision,
    Direction,
    History,
    Observation,
    QueueDepth,
    Rate,
    RateUsage,
    Replicas,
    ServiceState,
    ServiceTime,
)
from controller.core.reasons import Reason
from controller.core.rules import decide, recommend, trail
from controller.core.watch import Watch
from controller.policy import WorkerPolicy
from tests.core.test_decide import (
    BELOW,
    DOWN,
    MAX,
    NOW,
    RATE,
    SHIPPED,
    TIER,
    UP,
    any_rate,
    history,
    next_depth,
    observed,
    policies,
    policy,
    remembered,
    stamped,
)
from tests.support.examples import examples

LATE = Reason.MAX_WAIT
KINDS: Mapping[str, Mapping[str, object]] = {
    "tiers": {},
    "target_wait": {"tiers": None, "target_wait": "60s", "service_time": "20s"},
    "per_worker": {"tiers": None, "per_worker": 5},
}


def guarded(**changes: object) -> WorkerPolicy:
    """The shipped tiers, with a guard at 5 minutes."""
    return WorkerPolicy.model_validate(
        {key: value for key, value in {**SHIPPED, "max_wait": "5m", **changes}.items() if value is not None}
    )


def waiting(age: float | None, configured: int = 1, *, pending: int = 1, processing: int = 0) -> Observation:
    seen = observed(pending + processing, configured, processing=processing)
    return replace(seen, queue=replace(seen.queue, oldest_age_s=age))


@dataclass(frozen=True)
class Late:
    """A case with the shipped tiers, and a guard at 300 s; age in seconds."""

    title: str
    age: float | None
    pending: int
    configured: int
    desired: int
    reasons: list[Reason]
    history: History = field(default_factory=history)
    policy: Mapping[str, object] = field(default_factory=dict)
    rate: Rate = None


CRASHING = replace(history(), watch=Watch(crashing_since=NOW - 60))
TABLE = [
    Late("a wait that is too long adds one worker", 301, 1, 1, 2, [TIER, LATE]),
    Late("a wait of just max_wait adds none", 300, 1, 1, 1, [TIER]),
    Late("a wait that is too long adds the first worker", 301, 1, 0, 1, [TIER], history(), {}),
    Late("it adds one to what is wanted already", 301, 15, 2, 3, [TIER, LATE]),
    Late("tiers that want more than one more have it at once", 301, 50, 1, 3, [TIER]),
    Late("a scale-up is slowed by the cooldown", 301, 1, 1, 1, [TIER, LATE], history(up=29)),
    Late("when the cooldown is over, one more", 301, 1, 1, 2, [TIER, LATE], history(up=30)),
    Late("the last scale-down does not matter", 301, 1, 1, 2, [TIER, LATE], history(down=1)),
    Late("a longer start slows it", 301, 1, 1, 1, [TIER, LATE], replace(history(up=59), start_ups=(60.0,))),
    Late("after a longer start, one more", 301, 1, 1, 2, [TIER, LATE], replace(history(up=60), start_ups=(60.0,))),
    Late(
        *("no start counts as longer than 5 minutes", 301, 1, 1, 2, [TIER, LATE]),
        history=replace(history(up=300), start_ups=(599.0,)),
    ),
    Late(
        *("at max_replicas a start that takes longer does not matter", 301, 1, 5, 5, [TIER, LATE, MAX]),
        history=replace(history(up=40), start_ups=(60.0,)),
    ),
    Late("max_replicas is the limit", 301, 1, 5, 5, [TIER, LATE, MAX]),
    Late("no scale-down while a job waits too long", 301, 1, 3, 4, [TIER, LATE], history(up=500)),
    Late("no scale-down while the pace is not over", 301, 1, 3, 3, [TIER, LATE], history(up=5)),
    Late("a scale-down once none waits too long", 299, 1, 3, 1, [TIER], history(up=500)),
    Late("no job waits, so the age does not matter", 900, 0, 2, 0, [TIER], history(up=500)),
    Late("an unknown age is not too long", None, 1, 1, 1, [TIER]),
    Late("an unknown age holds no worker", None, 1, 3, 1, [TIER]),
    Late("an unknown age does not change a cooldown", None, 1, 3, 3, [TIER, DOWN], history(down=1)),
    Late("the rate limit is respected", 301, 1, 1, 1, [TIER, LATE, RATE], rate=RateUsage(60, 60)),
    Late("the step limit is no smaller", 301, 1, 1, 2, [TIER, LATE], policy={"scale_up": {"max_step": 1}}),
    Late("more than max is corrected", 301, 1, 9, 5, [Reason.ABOVE_MAXIMUM]),
    Late("fewer than min is corrected first", 301, 1, 0, 2, [BELOW], policy={"min_replicas": 2}),
    Late("without max_wait the age does not matter", 3010, 1, 1, 1, [TIER], policy={"max_wait": None}),
]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: f"max_wait: {case.title}")
def test_the_table_of_a_wait_that_is_too_long(case: Late) -> None:
    seen = replace(waiting(case.age, case.configured, pending=case.pending), rate=case.rate)
    decision = decide(guarded(**case.policy), seen, case.history, NOW)
    assert (decision.desired, list(decision.reasons)) == (case.desired, case.reasons)


def test_while_workers_crash_none_is_added_and_none_removed() -> None:
    seen = waiting(301, 2)
    seen = replace(seen, replicas=replace(seen.replicas, running=0))
    decision = decide(guarded(), seen, CRASHING, NOW)
    assert (decision.desired, list(decision.reasons)) == (2, [TIER, LATE, Reason.WORKERS_CRASH])


def test_the_platform_has_the_last_word() -> None:
    seen = waiting(301, 1)
    seen = replace(seen, replicas=replace(seen.replicas, largest=WITH_A_VOLUME))
    decision = decide(guarded(), seen, history(), NOW)
    assert (decision.desired, list(decision.reasons)) == (1, [TIER, LATE, Reason.VOLUME])


@pytest.mark.parametrize("kind", KINDS)
def test_it_works_with_each_way_to_set_the_number_of_workers(kind: str) -> None:
    decision = decide(guarded(**KINDS[kind]), replace(waiting(301), service=ServiceTime(20, 20, 0)), history(), NOW)
    assert (decision.recommended, decision.desired, decision.reason) == (1, 2, LATE)


def test_while_the_time_per_job_is_unknown_a_job_that_waits_too_long_adds_one() -> None:
    decision = decide(guarded(tiers=None, target_wait="60s"), waiting(301, 2), history(), NOW)
    assert (decision.desired, list(decision.reasons)) == (3, [Reason.SERVICE_TIME_UNKNOWN, LATE])


def test_fewer_jobs_than_activation_get_a_worker_once_they_have_waited_too_long() -> None:
    few = guarded(tiers=None, per_worker=5, activation=3)
    decisions = [decide(few, waiting(age, 0, pending=2), history(), NOW) for age in (299, 301)]
    assert [(one.desired, one.reason) for one in decisions] == [(0, Reason.ACTIVATION), (1, LATE)]


@pytest.mark.parametrize(
    ("cooldown", "measured", "seconds"),
    [("0s", None, 20), ("0s", 60, 60), ("0s", 1, 5), ("0s", 900, 300), ("90s", 60, 90), ("30s", None, 30)],
)
def test_the_pace_is_the_cooldown_or_a_start_if_that_takes_longer(
    cooldown: str, measured: float | None, seconds: float
) -> None:
    slow = guarded(scale_up={"cooldown": cooldown})
    started = History(start_ups=() if measured is None else (measured,))
    assert pace(slow, started.start_up_s) == seconds
    assert until_the_next(slow, replace(started, last_up=NOW - 4), NOW) == max(0, seconds - 4)


def test_a_scale_up_from_the_future_delays_it_by_one_pace_at_most() -> None:
    assert until_the_next(guarded(), history(up=-500), NOW) == 30


def test_with_a_target_wait_one_is_added_per_start_and_not_per_cycle() -> None:
    """100 s in cycles of 5 s, with starts of 20 s (none was measured)."""
    slow, past, count, counts = guarded(tiers=None, target_wait="60s", service_time="1s"), history(), 1, []
    for step in range(20):
        now = NOW + 5 * step
        decision = decide(slow, replace(waiting(400, count), service=ServiceTime(1, 1, 0)), past, now)
        if decision.direction is Direction.UP:
            past = stamped(past, last_up=now)
        count = decision.desired
        counts.append(count)
    assert counts == [2] * 4 + [3] * 4 + [4] * 4 + [5] * 8


@pytest.mark.parametrize(
    ("age", "configured", "past", "sentence"),
    [
        (
            *(360, 1, history()),
            (
                "1 job (1 pending, 0 processing) wants 1 worker, the oldest ready job has waited 6 min, longer than "
                "max_wait (5 min), so 1 worker more: 1 → 2"
            ),
        ),
        (
            *(360, 1, history(up=16)),
            (
                "hold at 1: 1 job (1 pending, 0 processing) wants 1 worker, the oldest ready job has waited 6 min, "
                "longer than max_wait (5 min), so 1 worker more in 14 s"
            ),
        ),
        (
            *(360, 3, history(up=16)),
            (
                "hold at 3: 1 job (1 pending, 0 processing) wants 1 worker, the oldest ready job has waited 6 min, "
                "longer than max_wait (5 min), so no worker is removed, and 1 worker more in 14 s"
            ),
        ),
        (
            *(360, 5, history()),
            (
                "hold at 5: 1 job (1 pending, 0 processing) wants 1 worker, the oldest ready job has waited 6 min, "
                "longer than max_wait (5 min), so 1 worker more, max_replicas is 5"
            ),
        ),
        (
            *(None, 1, history()),
            (
                "hold at 1: 1 job (1 pending, 0 processing) wants 1 worker; how long the oldest ready job has waited "
                "is unknown, so max_wait has no effect"
            ),
        ),
    ],
)
def test_the_sentence_says_how_long_the_job_has_waited(
    age: float | None, configured: int, past: History, sentence: str
) -> None:
    assert decide(guarded(), waiting(age, configured), past, NOW).sentence == sentence


def test_an_age_that_is_unknown_is_not_spoken_of_without_max_wait_and_without_a_job() -> None:
    assert "unknown" not in decide(policy(), waiting(None), history(), NOW).sentence
    assert "unknown" not in decide(guarded(), waiting(None, pending=0), history(), NOW).sentence


def test_where_counting_stopped_the_age_is_said_to_be_of_a_counted_job() -> None:
    seen = replace(waiting(360), queue=QueueDepth(10, 0, 360, limit=10))
    assert "the oldest counted job has waited 6 min, longer" in decide(guarded(), seen, history(), NOW).sentence


def test_the_trail_has_a_turn_for_it_only_with_max_wait() -> None:
    steps = trail(guarded(), waiting(301), history(), NOW)
    assert [(step.rule, step.desired) for step in steps if step.because] == [
        ("tier or target wait", 1),
        ("longest wait", 2),
    ]
    assert "longest wait" not in [step.rule for step in trail(policy(), waiting(301), history(), NOW)]


# --- properties -------------------------------------------------------------------------------------------------------

AGES = st.none() | st.floats(0, 900)


@given(policies(), AGES, st.integers(0, 300), st.integers(0, 9), st.integers(-100, 900), st.integers(-100, 900))
def test_it_only_ever_adds_one_worker_or_keeps_those_that_run(  # noqa: PLR0917  # what is drawn
    policy: WorkerPolicy, age: float | None, depth: int, count: int, up: int, down: int
) -> None:
    careful, past, seen = (
        policy.model_copy(update={"max_wait": 300.0}),
        history(up=up, down=down),
        observed(depth, count),
    )
    seen = replace(seen, queue=QueueDepth(depth, 0, age if depth else None))
    without, decision = (decide(one, seen, past, NOW) for one in (policy, careful))
    assert decision.recommended == without.recommended
    if age is None or age <= 300 or not depth:
        assert (decision.desired, decision.reasons) == (without.desired, without.reasons)
    else:
        assert without.desired <= decision.desired <= max(without.desired, count + 1)
        assert decision.desired >= min(count, policy.max_replicas)


@pytest.mark.costly
@settings(max_examples=examples(5, 200))
@given(policies(), st.sampled_from(list(KINDS)), st.integers(0, 2**32))
def test_over_random_days_it_never_removes_nor_hurries(policy: WorkerPolicy, kind: str, seed: int) -> None:
    dice = Random(seed)
    limits = {
        key: value
        for key, value in policy.model_dump(exclude={"queue", "tiers"}).items()
        if "max_replicas" in key or key == "min_replicas"
    }
    careful = guarded(**{**KINDS[kind], **limits})
    count, now, depth, age, past = dice.randint(0, 9), NOW, 0, 0.0, History(since=None)
    added_at = -1e9
    for _ in range(1440):
        now += 10
        depth = next_depth(depth, dice)
        age = 0.0 if not depth or dice.random() < 0.05 else age + 10
        queue = QueueDepth(depth, 0, age if depth else None)
        replicas = Replicas(count, count, count, ServiceState.RUNNING)
        service = ServiceTime(20, 20, 0)
        past = remembered(past, careful, recommend(careful, queue, service, count), now, 60)
        decision = decide(careful, Observation(queue, replicas, any_rate(dice), service), past, now)
        _never_hurries(careful, decision, age=age if depth else 0, since=now - added_at, past=past, now=now)
        if decision.direction is Direction.UP:
            past, added_at = stamped(past, last_up=now), now
        elif decision.direction is Direction.DOWN:
            past = stamped(past, last_down=now)
        count = decision.desired


def _never_hurries(
    careful: WorkerPolicy, decision: Decision, *, age: float, since: float, past: History, now: float
) -> None:
    assert careful.min_replicas <= decision.desired <= careful.max_replicas
    if age > 300:
        assert decision.desired >= min(decision.current, careful.max_replicas)
    beyond = decision.desired > max(decision.recommended, careful.min_replicas, decision.current)
    if beyond:
        assert decision.desired == decision.current + 1
        assert age > 300
        assert since >= pace(careful, past.start_up_s)
        assert UP not in decision.reasons
