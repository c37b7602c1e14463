"""A wait that is aimed at: the formula, the table of what limits it, and what holds on every day."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core.model import (
    Direction,
    History,
    Observation,
    QueueDepth,
    Recommendation,
    Replicas,
    ServiceState,
    ServiceTime,
)
from controller.core.reasons import Reason
from controller.core.rules import decide, recommend
from controller.policy import WorkerPolicy
from tests.core.test_decide import (
    BUSY,
    NOW,
    SHIPPED,
    UP,
    any_rate,
    beyond_counting,
    check,
    history,
    next_depth,
    observed,
    remembered,
    stamped,
)
from tests.support.examples import examples

WAIT, UNKNOWN, IDLE = Reason.TARGET_WAIT, Reason.SERVICE_TIME_UNKNOWN, Reason.IDLE_OFF


def aiming(**changes: object) -> WorkerPolicy:
    """At a wait of a minute, in the place of the shipped tiers."""
    given = {key: value for key, value in SHIPPED.items() if key != "tiers"}
    return WorkerPolicy.model_validate({**given, "target_wait": "60s", **changes})


def of(seconds: float) -> ServiceTime:
    return ServiceTime(seconds, seconds / 2, 500)


@pytest.mark.parametrize(
    ("pending", "processing", "seconds", "wait", "each", "wanted"),
    [
        (0, 0, 20, "60s", 1, 0),
        (1, 0, 20, "60s", 1, 1),
        (4, 0, 20, "60s", 1, 1),  # one worker begins the fourth after 60 s
        (5, 0, 20, "60s", 1, 2),
        (12, 0, 20, "60s", 1, 3),  # 12 · 20 / 80 is 3 exactly
        (13, 0, 20, "60s", 1, 4),
        (10, 4, 20, "60s", 1, 4),  # the law wants 3, and 4 are busy
        (10, 5, 20, "60s", 2, 3),  # two jobs each: the law wants 2, the busy are 3
        (24, 0, 20, "60s", 2, 3),
        (11, 2, 20, "60s", 1, 3),  # who is busy counts half: (11 + 1) · 20 / 80
        (12, 2, 20, "60s", 1, 4),
        (1000, 0, 20, "60s", 1, 250),  # max is no business of the law's
        (6, 0, 20, "0s", 1, 6),  # no wait at all is a worker for each job
        (49, 0, 0.7, "0.1s", 1, 43),
        (9, 0, 0.7, "1.4s", 1, 3),  # as a float it is 3.0000000000000004
        (18, 0, 0.7, "1.4s", 2, 3),
    ],
)
def test_a_wait_wants_as_many_workers_as_work_off_what_waits_within_it(  # noqa: PLR0917  # a table
    pending: int, processing: int, seconds: float, wait: str, each: int, wanted: int
) -> None:
    aim = aiming(target_wait=wait, jobs_per_worker=each)
    assert recommend(aim, QueueDepth(pending, processing), of(seconds)) == wanted


@pytest.mark.parametrize(
    ("depth", "current", "wanted"), [(0, 0, 0), (0, 3, 0), (1, 0, 1), (500, 0, 1), (500, 1, 1), (1, 3, 3)]
)
def test_while_the_time_per_job_is_unknown_the_count_stays_and_one_worker_measures_it(
    depth: int, current: int, wanted: int
) -> None:
    assert recommend(aiming(), QueueDepth(depth, 0), None, current) == wanted


def needed(*past: tuple[float, int], memory: float = 3600, start_up: float | None = None, up: float = 0) -> History:
    """Workers that were recommended that many seconds ago."""
    return replace(
        history(up=up or None, unbroken=NOW - memory),
        recommendations=tuple(sorted(Recommendation(NOW - ago, replicas) for ago, replicas in past)),
        start_ups=() if start_up is None else (start_up,),
    )


@dataclass(frozen=True)
class Aimed:
    """A case in which a wait of 60 s is aimed at and a job takes 20 s; seconds None: unknown."""

    title: str
    pending: int
    processing: int
    configured: int
    desired: int
    reasons: list[Reason]
    history: History = field(default_factory=needed)
    policy: Mapping[str, object] = field(default_factory=dict)
    seconds: float | None = 20


AIMED_TABLE = [
    Aimed("an idle queue needs no worker", 0, 0, 2, 0, [WAIT]),
    Aimed("the first job wakes the first worker", 1, 0, 0, 1, [WAIT]),
    Aimed("a burst goes up in one step", 100, 0, 0, 5, [WAIT, Reason.MAXIMUM]),
    Aimed("workers that start count, so that none is asked for twice", 12, 0, 3, 3, [WAIT]),
    Aimed("a scale-up needs no cooldown", 13, 0, 3, 4, [WAIT], needed(up=1)),
    Aimed(
        *("a scale-up waits for a cooldown that is written", 13, 0, 3, 3, [WAIT, UP]),
        history=needed(up=1),
        policy={"scale_up": {"cooldown": "30s"}},
    ),
    Aimed("a scale-down needs no cooldown", 0, 0, 2, 0, [WAIT], needed(up=1)),
    # A wrong stop costs a start of L s and its worth in waits, L · 4/60; L is 10 s until it is measured.
    Aimed("a worker that was needed a moment ago stays", 4, 0, 3, 2, [WAIT, IDLE], needed((10, 2), (11, 3))),
    Aimed("a worker stays as long as a wrong stop costs", 4, 0, 3, 3, [WAIT, IDLE], needed((32, 3), start_up=30)),
    Aimed("a worker goes after what a wrong stop costs", 4, 0, 3, 1, [WAIT], needed((33, 3), start_up=30)),
    Aimed("a start takes 5 s at least", 4, 0, 3, 2, [WAIT, IDLE], needed((5, 2), (6, 3), start_up=0.5)),
    Aimed("a start takes 5 minutes at most", 4, 0, 3, 2, [WAIT, IDLE], needed((320, 2), (321, 3), start_up=550)),
    Aimed(
        *("each worker stays as long as was learned for it", 4, 0, 4, 3, [WAIT, IDLE]),
        history=replace(needed((100, 4)), kept_s=(10.0, 20.0, 100.0, 99.0)),
    ),
    Aimed(
        *("what was learned for a fourth worker is nothing to three", 4, 0, 3, 1, [WAIT]),
        history=replace(needed((100, 4)), kept_s=(10.0, 20.0, 30.0, 900.0)),
    ),
    Aimed(
        *("a worker stays for idle_off", 4, 0, 3, 3, [WAIT, IDLE]),
        *(needed((40, 3), start_up=1), {"scale_down": {"idle_off": "40s"}}),
    ),
    Aimed(
        "with idle_off 0s a worker goes at once", 4, 0, 3, 1, [WAIT], needed((0, 3)), {"scale_down": {"idle_off": "0s"}}
    ),
    Aimed("what was needed adds no worker", 4, 0, 2, 2, [WAIT, IDLE], needed((1, 5))),
    Aimed(
        *("without a memory that reaches back there is no way down", 4, 0, 3, 3, [WAIT, Reason.MEMORY_TOO_SHORT]),
        *(needed(memory=10),),
    ),
    Aimed("without any memory there is no way down", 0, 0, 3, 3, [WAIT, Reason.MEMORY_TOO_SHORT], history()),
    Aimed("no busy worker is taken", 0, 3, 5, 3, [WAIT]),
    Aimed("no busy worker is taken where each runs several jobs", 0, 7, 5, 4, [WAIT], needed(), {"jobs_per_worker": 2}),
    Aimed("no busy worker is taken, job time unknown", 0, 3, 5, 5, [UNKNOWN], seconds=None),
    Aimed("an unknown job time starts one worker", 500, 0, 0, 1, [UNKNOWN], seconds=None),
    Aimed("an unknown job time holds the workers there are", 500, 0, 3, 3, [UNKNOWN], seconds=None),
    Aimed("an idle queue needs no worker, however long a job takes", 0, 0, 3, 0, [WAIT], seconds=None),
    Aimed("fewer than min is corrected at once", 0, 0, 0, 1, [Reason.BELOW_MINIMUM], needed(), {"min_replicas": 1}),
    Aimed("more than max is corrected at once", 500, 0, 9, 5, [Reason.ABOVE_MAXIMUM]),
    Aimed("an idle queue keeps min", 0, 0, 2, 1, [WAIT, Reason.MINIMUM], needed(), {"min_replicas": 1}),
    Aimed(
        "a step limits a scale-up", 100, 0, 0, 2, [WAIT, Reason.SCALE_UP_STEP], needed(), {"scale_up": {"max_step": 2}}
    ),
]


@pytest.mark.parametrize("case", AIMED_TABLE, ids=lambda case: f"target_wait: {case.title}")
def test_the_table_of_a_wait_that_is_aimed_at(case: Aimed) -> None:
    seen = observed(case.pending + case.processing, case.configured, processing=case.processing)
    seen = replace(seen, service=None if case.seconds is None else of(case.seconds))
    decision = decide(aiming(**case.policy), seen, case.history, NOW)
    assert (decision.desired, list(decision.reasons)) == (case.desired, case.reasons)


@pytest.mark.parametrize(
    ("leaving", "draining", "seconds", "processing", "desired"),
    [
        pytest.param(3, 60, 20, 5, 2, id="leaving workers have more time than a job takes"),
        pytest.param(3, 20, 20, 5, 2, id="leaving workers have just the time of a job"),
        pytest.param(3, 19, 20, 5, 5, id="leaving workers have less time than a job takes"),
        pytest.param(3, 0, 20, 5, 5, id="leaving workers have no time to drain"),
        pytest.param(3, 3600, None, 5, 5, id="some workers leave, job time unknown"),
        pytest.param(0, 3600, 20, 5, 5, id="no worker leaves"),
        pytest.param(5, 60, 20, 5, 0, id="all workers leave, and no job waits"),
        pytest.param(5, 60, None, 5, 5, id="all workers leave, job time unknown"),
        pytest.param(3, 30, 600, 5, 5, id="jobs of ten minutes, and half a minute to drain"),
    ],
)
def test_a_job_needs_no_worker_where_the_one_that_has_it_leaves_with_the_time_to_end_it(
    leaving: int, draining: float, seconds: float | None, processing: int, desired: int
) -> None:
    seen = observed(processing, 5, processing=processing)
    replicas = replace(seen.replicas, leaving=leaving, draining_s=draining, alive=10)
    seen = replace(seen, replicas=replicas, service=None if seconds is None else of(seconds))
    assert decide(aiming(), seen, needed(), NOW).desired == desired


def test_where_more_are_busy_than_were_counted_none_is_removed() -> None:
    seen = replace(beyond_counting(9, limit=5), service=of(20))
    decision = decide(aiming(max_replicas=9), seen, needed(), NOW)
    assert (decision.desired, list(decision.reasons)) == (9, [WAIT, BUSY])


@pytest.mark.parametrize(
    ("pending", "processing", "seconds", "configured", "past", "sentence"),
    [
        (
            *(10, 5, 20, 1),
            needed(),
            (
                "15 jobs (10 pending, 5 processing) of 20 s each want 4 workers for a wait of 1 min, and 5 workers are "
                "busy: 1 → 5"
            ),
        ),
        (
            *(11, 2, 20, 1),
            needed(),
            "13 jobs (11 pending, 2 processing) of 20 s each want 3 workers for a wait of 1 min: 1 → 3",
        ),
        (
            1,
            0,
            0.25,
            0,
            needed(),
            "1 job (1 pending, 0 processing) of 250 ms wants 1 worker for a wait of 1 min: 0 → 1",
        ),
        (
            *(4, 0, 20, 3),
            needed((5, 3)),
            (
                "hold at 3: 4 jobs (4 pending, 0 processing) of 20 s each want 1 worker for a wait of 1 min, "
                "3 workers were needed within the last 11 s, and are kept so long because a stop would cost as much "
                "(too few pauses are known)"
            ),
        ),
        (
            *(0, 0, 20, 1),
            needed((5, 1)),
            (
                "hold at 1: 0 jobs want 0 workers for a wait of 1 min, 1 worker was needed within the last 11 s, and "
                "is kept so long because a stop would cost as much (too few pauses are known)"
            ),
        ),
        (
            *(0, 0, 20, 1),
            replace(needed((40, 1)), kept_s=(44.0,), pauses=((10.0,) * 480 + (300.0,) * 20,)),
            (
                "hold at 1: 0 jobs want 0 workers for a wait of 1 min, 1 worker was needed within the last 44 s, and "
                "is kept so long because 480 of the last 500 pauses were not longer: stopping earlier would cost more"
            ),
        ),
        (
            *(3, 0, None, 0),
            needed(),
            (
                "3 jobs (3 pending, 0 processing), and the time per job is not known yet, so 1 worker is "
                "needed to measure it: 0 → 1"
            ),
        ),
        (
            *(3, 0, None, 2),
            needed(),
            ("hold at 2: 3 jobs (3 pending, 0 processing), and the time per job is not known yet, so the count stays"),
        ),
    ],
)
def test_the_sentence_of_a_wait_that_is_aimed_at(  # noqa: PLR0917  # a table
    pending: int, processing: int, seconds: float | None, configured: int, past: History, sentence: str
) -> None:
    seen = observed(pending + processing, configured, processing=processing)
    seen = replace(seen, service=None if seconds is None else of(seconds))
    assert decide(aiming(), seen, past, NOW).sentence == sentence


# --- properties -------------------------------------------------------------------------------------------------------


@st.composite
def aims(draw: st.DrawFn) -> WorkerPolicy:
    maximum, steps = draw(st.integers(0, 8)), st.none() | st.integers(1, 3)
    idle_off = draw(st.none() | st.sampled_from([0, 10, 60, 300, 900]))
    up: dict[str, object] = {"max_step": draw(steps)}
    return aiming(
        target_wait=f"{draw(st.sampled_from([0, 5, 20, 60, 600]))}s",
        max_replicas=maximum,
        min_replicas=draw(st.integers(0, maximum)),
        jobs_per_worker=draw(st.none() | st.integers(1, 20)),
        scale_up=draw(st.sampled_from([up, {**up, "cooldown": "90s"}])),
        scale_down={"max_step": draw(steps), **({} if idle_off is None else {"idle_off": f"{idle_off}s"})},
    )


@pytest.mark.costly
@settings(max_examples=examples(3, 100))
@given(aims(), st.integers(0, 2**32))
def test_every_rule_of_a_wait_holds_over_random_days(policy: WorkerPolicy, seed: int) -> None:
    """Hours in cycles of 5 s: bursts, lulls, lost readings, jobs that get longer, starts that are measured anew."""
    dice = Random(seed)
    count, now, depth = dice.randint(0, 10), NOW, 0
    past, service = History(since=None), dice.choice([None, of(20)])
    for _ in range(1440):
        now += 5
        depth = next_depth(depth, dice)
        if dice.random() < 0.02:
            continue
        if dice.random() < 0.05:
            service = dice.choice([service, of(dice.uniform(0.01, 300))])
            past = replace(past, start_ups=dice.choice([past.start_ups, (dice.uniform(0, 700),)]))
            past = replace(past, kept_s=dice.choice([past.kept_s, (dice.uniform(5, 900), None, 40.0)]))
        queue = QueueDepth(depth, dice.choice([0, 3, depth]))
        replicas = Replicas(count, count, count, ServiceState.RUNNING)
        seen = Observation(queue, replicas, any_rate(dice), service)
        past = remembered(past, policy, recommend(policy, queue, service, count), now, 16)
        decision = decide(policy, seen, past, now)
        check(policy, seen, decision, past, now)
        if decision.direction is Direction.UP:
            past = stamped(past, last_up=now)
        elif decision.direction is Direction.DOWN:
            past = stamped(past, last_down=now)
        count = decision.desired


@given(aims(), st.integers(0, 500), st.integers(0, 500), st.floats(0.01, 3600), st.floats(0.01, 3600))
def test_more_jobs_or_longer_ones_or_less_patience_never_want_fewer_workers(
    policy: WorkerPolicy, depth: int, more: int, seconds: float, longer: float
) -> None:
    wanted = recommend(policy, QueueDepth(depth, 3), of(seconds))
    assert recommend(policy, QueueDepth(depth + more, 3), of(seconds)) >= wanted
    assert recommend(policy, QueueDepth(depth, 3), of(seconds + longer)) >= wanted
    impatient = policy.model_copy(update={"target_wait": 0.0})
    assert recommend(impatient, QueueDepth(depth, 3), of(seconds)) >= wanted
