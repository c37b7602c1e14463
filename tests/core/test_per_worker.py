"""One worker per N jobs: the formula, activation and tolerance, and what holds for every depth."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core.jobs_each import JobsEach
from controller.core.model import Direction, History, QueueDepth
from controller.core.reasons import Reason
from controller.core.rules import decide, recommend, trail
from controller.core.wanted import all_busy, count_limit, enough
from controller.policy import WorkerPolicy
from controller.simulation.peers import Hpa
from controller.simulation.scaler import View
from tests.core.test_decide import (
    BELOW,
    BUSY,
    DOWN,
    MAX,
    NOW,
    PAST,
    SHIPPED,
    UP,
    WINDOW,
    any_rate,
    check,
    history,
    next_depth,
    observed,
    remembered,
    stamped,
)
from tests.support.drawn_limits import limits
from tests.support.examples import examples

EACH, FIRST, NEAR = Reason.PER_WORKER, Reason.ACTIVATION, Reason.TOLERANCE


def by_jobs(**changes: object) -> WorkerPolicy:
    """One worker for each 5 jobs, in the place of the shipped tiers."""
    kept = {key: value for key, value in SHIPPED.items() if key != "tiers"}
    return WorkerPolicy.model_validate({**kept, "per_worker": 5, **changes})


@pytest.mark.parametrize(
    ("depth", "each", "wanted"),
    [(0, 5, 0), (1, 5, 1), (5, 5, 1), (6, 5, 2), (10, 5, 2), (7, 1, 7), (1_000_000, 3, 333_334), (3, 10**9, 1)],
)
def test_the_workers_are_the_depth_divided_by_per_worker_and_rounded_up(depth: int, each: int, wanted: int) -> None:
    assert recommend(by_jobs(per_worker=each), QueueDepth(depth, 0)) == wanted
    assert recommend(by_jobs(per_worker=each), QueueDepth(0, depth)) == wanted, "those in progress count as well"


@dataclass(frozen=True)
class Jobs:
    """A case of one worker for each 5 jobs."""

    title: str
    depth: int
    configured: int
    desired: int
    reasons: list[Reason]
    history: History = field(default_factory=history)
    policy: Mapping[str, object] = field(default_factory=dict)
    processing: int = 0


THREE: Mapping[str, object] = {"activation": 3}
TENTH: Mapping[str, object] = {"tolerance": "10%", "max_replicas": 20}
TABLE = [
    Jobs("an idle queue needs no worker", 0, 0, 0, [EACH]),
    Jobs("the first job starts the first worker", 1, 0, 1, [EACH]),
    Jobs("a burst goes up in one step", 24, 0, 5, [EACH]),
    Jobs("max has the last word", 100, 0, 5, [EACH, MAX]),
    Jobs("a scale-up waits for the cooldown", 15, 1, 1, [EACH, UP], history(up=29)),
    Jobs("a scale-down waits for the cooldown", 5, 2, 2, [EACH, DOWN], history(up=119)),
    Jobs("a scale-down is allowed after the cooldown", 5, 2, 1, [EACH], history(up=120)),
    Jobs("the stabilization window applies", 1, 5, 3, [EACH, Reason.STABILIZATION_WINDOW], PAST, WINDOW),
    Jobs("fewer than min goes at once to what is wanted", 15, 0, 3, [BELOW, EACH], policy={"min_replicas": 1}),
    Jobs("more than max is corrected", 100, 9, 5, [Reason.ABOVE_MAXIMUM]),
    Jobs("jobs_per_worker keeps busy workers", 9, 5, 3, [EACH, BUSY], policy={"jobs_per_worker": 3}, processing=9),
    Jobs("per_worker alone keeps no busy worker", 9, 5, 2, [EACH], processing=9),
    Jobs("fewer jobs than activation start no worker", 2, 0, 0, [EACH, FIRST], policy=THREE),
    Jobs("as many jobs as activation start the first worker", 3, 0, 1, [EACH], policy=THREE),
    Jobs("jobs in progress count for activation", 3, 0, 1, [EACH], policy=THREE, processing=3),
    Jobs("activation above per_worker starts several at once", 8, 0, 2, [EACH], policy={"activation": 8}),
    Jobs("a worker that runs stays below activation", 1, 1, 1, [EACH], policy=THREE),
    Jobs("the last worker goes when there is no job", 0, 1, 0, [EACH], policy=THREE),
    Jobs("of more workers all but one go below activation", 1, 3, 1, [EACH], policy=THREE),
    Jobs("min is kept below activation", 1, 0, 1, [BELOW], policy={**THREE, "min_replicas": 1}),
    Jobs("activation holds nobody where min keeps a worker", 12, 1, 3, [EACH], policy={**THREE, "min_replicas": 1}),
    Jobs("a tenth more is within the tolerance", 22, 4, 4, [EACH, NEAR], policy=TENTH),
    Jobs("more than a tenth more is not", 23, 4, 5, [EACH], policy=TENTH),
    Jobs("a tenth less is within the tolerance", 72, 16, 16, [EACH, NEAR], policy=TENTH),
    Jobs("more than a tenth less is not", 71, 16, 15, [EACH], policy=TENTH),
    Jobs(
        *("a tolerance that floating point would miss by a last digit", 79, 10, 10, [EACH, NEAR]),
        policy={"tolerance": "58%", "max_replicas": 20},
    ),
    Jobs("what wants the same needs no tolerance", 20, 4, 4, [EACH], policy=TENTH),
    Jobs("without a tolerance one job too many counts", 21, 4, 5, [EACH]),
    Jobs("no tolerance keeps the last worker", 0, 1, 0, [EACH], policy={"tolerance": "99%"}),
    Jobs("no tolerance keeps the first worker away", 1, 0, 1, [EACH], policy={"tolerance": "99%"}),
    Jobs(
        "within the tolerance is no reason to stay above max",
        31,
        6,
        5,
        [Reason.ABOVE_MAXIMUM],
        policy={"tolerance": 0.5},
    ),
    Jobs("the tolerance is looked at before the cooldown", 22, 4, 4, [EACH, NEAR], history(up=1), TENTH),
]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: f"per_worker: {case.title}")
def test_the_table_of_jobs_per_worker(case: Jobs) -> None:
    seen = observed(case.depth, case.configured, processing=case.processing)
    decision = decide(by_jobs(**case.policy), seen, case.history, NOW)
    assert (decision.desired, list(decision.reasons)) == (case.desired, case.reasons)


@pytest.mark.parametrize(
    ("depth", "configured", "changes", "sentence"),
    [
        (12, 0, {}, "12 jobs (12 pending, 0 processing) want 3 workers, at 5 per worker: 0 → 3"),
        (1, 0, {}, "1 job (1 pending, 0 processing) wants 1 worker, at 5 per worker: 0 → 1"),
        (0, 1, {}, "0 jobs want 0 workers: 1 → 0"),
        (
            *(2, 0, THREE),
            (
                "hold at 0: 2 jobs (2 pending, 0 processing) want 1 worker, at 5 per worker, the first worker needs "
                "3 jobs (activation)"
            ),
        ),
        (
            *(22, 4, TENTH),
            (
                "hold at 4: 22 jobs (22 pending, 0 processing) want 5 workers, at 5 per worker, the depth is within "
                "10% of the 20 jobs for 4 workers (tolerance)"
            ),
        ),
    ],
)
def test_the_sentence_says_what_the_jobs_want_and_what_holds_the_count(
    depth: int, configured: int, changes: Mapping[str, object], sentence: str
) -> None:
    assert decide(by_jobs(**changes), observed(depth, configured), history(), NOW).sentence == sentence


def test_the_trail_names_the_rule_and_has_a_turn_for_activation_and_tolerance() -> None:
    steps = trail(by_jobs(**THREE), observed(2, 0), history(), NOW)
    assert [(step.rule, step.desired) for step in steps if step.because] == [
        ("jobs per worker", 1),
        ("activation and tolerance", 0),
    ]


@pytest.mark.parametrize(
    ("changes", "depth"),
    [
        ({}, 21),
        ({"max_replicas": 0}, 1),
        ({"max_replicas": 1}, 1),
        ({"activation": 90}, 90),
        ({"tolerance": "10%"}, 23),
        ({"per_worker": 100, "tolerance": "10%"}, 441),
    ],
)
def test_counting_stops_where_max_replicas_are_wanted_and_no_tolerance_holds_fewer(
    changes: Mapping[str, object], depth: int
) -> None:
    assert enough(by_jobs(**changes), None) == depth


def test_the_display_s_limit_and_the_busy_are_counted_as_with_tiers() -> None:
    assert count_limit(by_jobs(per_worker=5_000), None) == 20_001
    assert (all_busy(by_jobs()), all_busy(by_jobs(jobs_per_worker=2))) == (0, 10)


# --- properties -------------------------------------------------------------------------------------------------------


@st.composite
def shares(draw: st.DrawFn) -> WorkerPolicy:
    return by_jobs(
        per_worker=draw(st.integers(1, 40)),
        activation=draw(st.none() | st.integers(1, 60)),
        tolerance=draw(st.none() | st.sampled_from(["5%", "10%", "25%", "90%"])),
        **draw(limits(12)),
    )


@pytest.mark.costly
@settings(max_examples=examples(5, 200))
@given(shares(), st.integers(0, 2**32))
def test_every_rule_of_jobs_per_worker_holds_over_random_days(policy: WorkerPolicy, seed: int) -> None:
    dice = Random(seed)
    count, now, past, depth = dice.randint(0, 14), NOW, History(since=None), 0
    for _ in range(1440):
        now += 60.0
        depth = next_depth(depth, dice)
        if dice.random() < 0.02:
            continue
        past = remembered(past, policy, recommend(policy, QueueDepth(depth, 0)), now, 180.0)
        seen = observed(depth, count, processing=min(depth, dice.choice([0, 3, depth])), rate=any_rate(dice))
        decision = decide(policy, seen, past, now)
        check(policy, seen, decision, past, now)
        if decision.direction is Direction.UP:
            past = stamped(past, last_up=now)
        elif decision.direction is Direction.DOWN:
            past = stamped(past, last_down=now)
        count = decision.desired


@given(shares(), st.integers(0, 600), st.integers(1, 600), st.integers(0, 14))
def test_more_jobs_never_mean_fewer_workers(policy: WorkerPolicy, depth: int, more: int, count: int) -> None:
    desired = [decide(policy, observed(jobs, count), history(), NOW).desired for jobs in (depth, depth + more)]
    assert desired[0] <= desired[1]


@given(shares(), st.integers(0, 12), st.integers(0, 10**6))
def test_a_count_that_stopped_where_it_may_decides_as_the_whole_count_would(
    policy: WorkerPolicy, count: int, more: int
) -> None:
    limit = enough(policy, None)
    counted, whole = (
        decide(policy.model_copy(update={"jobs_per_worker": None}), observed(depth, count), history(), NOW)
        for depth in (limit, limit + more)
    )
    if count < policy.max_replicas:
        assert counted.desired == whole.desired


@given(st.integers(1, 40), st.sampled_from([0.05, 0.1, 0.25]), st.integers(1, 30), st.integers(1, 1500))
def test_the_tolerance_is_the_one_of_hpa(each: int, tolerance: float, count: int, depth: int) -> None:
    """Against the simulator's HPA, without its limit of +4 pods at once."""
    peer = Hpa(10**6, 15.0, target=each, window=0.0, tolerance=tolerance, minimum=0)
    theirs = peer.look(View(0.0, depth, 0, count, count))
    policy = by_jobs(per_worker=each, tolerance=tolerance, max_replicas=10**6)
    ours = decide(policy, observed(depth, count), history(), NOW)
    # Where the two sides of HPA's floating point comparison are equal, either answer is right.
    if not math.isclose(abs(depth / (each * count) - 1), tolerance):
        assert theirs == min(ours.desired, max(count + 4, 2 * count))


@given(shares(), st.integers(1, 600))
def test_what_is_shown_of_it_is_what_holds(policy: WorkerPolicy, depth: int) -> None:
    each = JobsEach.of(policy)
    assert each is not None
    assert (each.workers(depth) - 1) * each.each < depth <= each.workers(depth) * each.each


def test_in_words_it_is_the_rule_with_what_holds_it() -> None:
    plain, full = JobsEach.of(by_jobs(per_worker=1)), JobsEach.of(by_jobs(activation=3, tolerance="12.5%"))
    assert plain is not None
    assert full is not None
    assert plain.words == "1 worker per job"
    assert full.words == "1 worker per 5 jobs, the first at 3; no change within 12.5% (tolerance)"
