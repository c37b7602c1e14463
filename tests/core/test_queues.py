"""Several queues of one worker: their sum, what they ask for together, and what holds of every one of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core.model import (
    History,
    Observation,
    QueueDepth,
    QueuePart,
    Remark,
    Replicas,
    ServiceState,
    ServiceTime,
)
from controller.core.plan import plan
from controller.core.ports import Unavailable
from controller.core.queues import alone, doubt, merged, needs, part_words, seen_in, slowest
from controller.core.reasons import Reason
from controller.core.rules import decide, recommend, recommend_ahead, trail
from controller.core.steps import Fail
from controller.core.wanted import all_busy, count_limit, enough, tier_replicas
from controller.policy import WorkerPolicy
from tests.core.test_decide import NOW, history, observed
from tests.core.test_plan import seen
from tests.support.examples import examples
from tests.support.sources import POSTGRESQL

BASE = {"service": "w", "max_replicas": 1000}


def by_wait(queues: Mapping[str, Mapping[str, Any]], **changes: Any) -> WorkerPolicy:
    """Named queues with a table each, at a wait of a minute where they have none."""
    tables = {name: {"table": name, **queue} for name, queue in queues.items()}
    return WorkerPolicy.model_validate({**BASE, "target_wait": "60s", "queues": tables, **changes})


def by_tiers(queues: Mapping[str, Mapping[str, Any]], **changes: Any) -> WorkerPolicy:
    tables = {name: {"table": name, **queue} for name, queue in queues.items()}
    tiers = [{"up_to": 0, "replicas": 0}, {"up_to": 10, "replicas": 1}, {"up_to": 30, "replicas": 2}, {"replicas": 3}]
    return WorkerPolicy.model_validate({**BASE, "tiers": tiers, "queues": tables, **changes})


def of(seconds: float) -> ServiceTime:
    return ServiceTime(seconds, seconds, 500)


def depths(policy: WorkerPolicy, **queues: tuple[int, int, float | None]) -> QueueDepth:
    """Of each queue: pending, processing, and the time per job (None: unknown)."""
    parts = []
    for name, (pending, processing, seconds) in queues.items():
        queue = policy.named_queues[name]
        service = None if seconds is None or policy.target_wait is None else of(seconds)
        depth = QueueDepth(pending, processing)
        parts.append(QueuePart(name, depth, service=service, target_wait=queue.target_wait, weight=queue.weight))
    found = merged(parts, POSTGRESQL)
    assert isinstance(found, QueueDepth)
    return found


FIVE_AND_60 = by_wait({"urgent": {"target_wait": "5s"}, "bulk": {}})


@pytest.mark.parametrize(
    ("urgent", "bulk", "wanted"),
    [
        pytest.param((0, 0, 5), (0, 0, 20), 0, id="no job in either"),
        pytest.param((1, 0, 5), (2, 0, 20), 1, id="half a worker and half a worker are one: 0.5 + 0.5"),
        pytest.param((1, 0, 5), (3, 0, 20), 2, id="0.5 + 0.75"),
        pytest.param((4, 0, 5), (0, 0, 20), 2, id="only the urgent one: 4 · 5 / 10"),
        pytest.param((0, 0, 5), (8, 0, 20), 2, id="only the other one: 8 · 20 / 80"),
        pytest.param((2, 2, 5), (4, 4, 20), 6, id="never fewer than are busy: 1.5 + 1.5, and 6 in progress"),
        pytest.param((10, 2, 5), (8, 4, 20), 8, id="who is busy counts half: 5.5 + 2.5"),
    ],
)
def test_needs_add_up_and_are_rounded_once(
    urgent: tuple[int, int, float], bulk: tuple[int, int, float], wanted: int
) -> None:
    assert recommend(FIVE_AND_60, depths(FIVE_AND_60, urgent=urgent, bulk=bulk)) == wanted


def test_jobs_per_worker_divides_the_sum_once() -> None:
    policy = by_wait({"urgent": {"target_wait": "5s"}, "bulk": {}}, jobs_per_worker=4)
    assert recommend(policy, depths(policy, urgent=(4, 0, 5), bulk=(8, 0, 20))) == 1, "(2 + 2) / 4"
    assert recommend(policy, depths(policy, urgent=(4, 0, 5), bulk=(9, 0, 20))) == 2


def test_floating_point_does_not_turn_a_whole_sum_into_one_more() -> None:
    policy = by_wait({"a": {"target_wait": "1.4s"}, "b": {"target_wait": "1.4s"}})
    assert recommend(policy, depths(policy, a=(4, 0, 0.7), b=(5, 0, 0.7))) == 3, "as floats it is 3.0000000000000004"


@pytest.mark.parametrize(
    ("a", "b", "current", "wanted"),
    [
        pytest.param((3, 0, None), (0, 0, 20), 0, 1, id="one worker measures it"),
        pytest.param((3, 0, None), (0, 0, 20), 4, 4, id="the count stays"),
        pytest.param((3, 0, None), (40, 0, 20), 4, 10, id="the known queue asks for more"),
        pytest.param((0, 0, None), (8, 0, 20), 4, 2, id="a queue without jobs needs no time per job"),
        pytest.param((0, 0, None), (0, 0, None), 4, 0, id="no job at all"),
    ],
)
def test_a_queue_whose_time_per_job_is_unknown_keeps_the_count_and_asks_for_one(
    a: tuple[int, int, float | None], b: tuple[int, int, float | None], current: int, wanted: int
) -> None:
    policy = by_wait({"a": {}, "b": {}})
    assert recommend(policy, depths(policy, a=a, b=b), None, current) == wanted


def test_jobs_on_draining_workers_are_spread_over_the_queues() -> None:
    policy = by_wait({"a": {}, "b": {}})
    queue = depths(policy, a=(0, 4, 20), b=(0, 4, 60))
    assert needs(policy, queue, staying=8) == {"a": 0.5, "b": 1.0}
    assert needs(policy, queue, staying=4) == {"a": 0.25, "b": 0.5}
    assert recommend(policy, queue, None, 0, leaving=8) == 0, "all of them finish on workers that leave"


@pytest.mark.parametrize(
    ("weights", "jobs", "depth"),
    [
        (("1", "1"), (10, 5), 15),
        (("0.2", "1"), (10, 5), 7),
        (("0.2", "1"), (11, 5), 8),  # 7.2 is rounded up
        (("0.1", "0.2"), (1, 1), 1),  # as floats 0.1 + 0.2 is more than 0.3, and decimals have no such error
        (("0.1", "0.1"), (7, 3), 1),
        (("100", "1"), (1, 0), 100),
    ],
)
def test_by_tiers_each_job_counts_by_the_weight_of_its_queue(
    weights: tuple[str, str], jobs: tuple[int, int], depth: int
) -> None:
    policy = by_tiers({"a": {"weight": weights[0]}, "b": {"weight": weights[1]}})
    queue = depths(policy, a=(jobs[0], 0, None), b=(0, jobs[1], None))
    assert (queue.weighted, queue.depth) == (depth, sum(jobs))
    assert recommend(policy, queue) == tier_replicas(policy, depth)


# --- the sum as one depth ---


def part(name: str, depth: QueueDepth | None, why: str = "") -> QueuePart:
    return QueuePart(name, depth, why)


def test_the_sum_has_the_oldest_age_and_what_any_of_them_knows() -> None:
    one = QueueDepth(3, 1, 2.5, stale=None, limit=100, remarks=(Remark("claims", "a claim is old"),))
    other = QueueDepth(4, 2, 7.5, stale=2, limit=50, lag_s=1.5)
    found = merged([part("a", one), part("b", other)], POSTGRESQL)
    assert isinstance(found, QueueDepth)
    assert (found.pending, found.processing, found.oldest_age_s, found.stale, found.lag_s) == (7, 3, 7.5, 2, 1.5)
    assert found.limit is None, "no count reached its limit, so the sum is exact"
    assert found.remarks == (Remark("claims", "queue a: a claim is old"),)


@pytest.mark.parametrize(
    ("one", "other", "shown"),
    [
        pytest.param(QueueDepth(10, 0, limit=10), QueueDepth(5, 2, limit=10), ("15+", "2", "15+"), id="pending"),
        pytest.param(QueueDepth(0, 10, limit=10), QueueDepth(0, 3, limit=10), ("0", "13+", "13+"), id="in progress"),
        pytest.param(QueueDepth(6, 4, limit=10), QueueDepth(1, 0, limit=10), ("7", "4", "11+"), id="both together"),
        pytest.param(QueueDepth(6, 3, limit=10), QueueDepth(6, 3, limit=10), ("12", "6", "18"), id="neither"),
    ],
)
def test_a_sum_with_a_count_at_its_limit_shows_as_a_lower_bound(
    one: QueueDepth, other: QueueDepth, shown: tuple[str, str, str]
) -> None:
    found = merged([part("a", one), part("b", other)], POSTGRESQL)
    assert isinstance(found, QueueDepth)
    assert tuple(map(found.shown, (found.pending, found.processing, found.depth))) == shown


def test_one_queue_that_cannot_be_read_makes_the_depth_unavailable_and_is_named() -> None:
    found = merged([part("a", QueueDepth(3, 1)), part("b", None, "the table is gone")], POSTGRESQL)
    assert isinstance(found, Unavailable)
    assert str(found) == f"{POSTGRESQL}: queue b: the table is gone"
    both = merged([part("a", None, "no right"), part("b", None, "the table is gone")], POSTGRESQL)
    assert isinstance(both, Unavailable)
    assert both.text == "queue a: no right; 1 more of its queues cannot be read"


def test_the_time_per_job_of_the_worker_is_the_longest_and_unknown_while_one_is() -> None:
    known = [replace(part(name, QueueDepth(0, 0)), service=of(seconds)) for name, seconds in (("a", 5), ("b", 60))]
    assert slowest(known) == of(60)
    assert slowest([*known, part("c", QueueDepth(0, 0))]) is None


# --- which queues are believed ---


TWO = Replicas(2, 2, 2, ServiceState.RUNNING)
DOUBTFUL = QueueDepth(0, 0, unnamed="rows have other statuses")


def test_an_empty_queue_is_doubted_by_itself_whatever_the_others_hold() -> None:
    policy = by_tiers({"a": {}, "b": {}})
    queue = merged([part("a", QueueDepth(5, 0)), part("b", DOUBTFUL)], POSTGRESQL)
    assert isinstance(queue, QueueDepth)
    a, b = (one.identity for one in policy.each_queue.values())
    assert doubt(policy, queue, "") == "queue b: rows have other statuses"
    assert doubt(policy, queue, a), "that jobs were seen in another queue says nothing of this one"
    assert not doubt(policy, queue, f"{a},{b}")
    assert not doubt(policy, queue, b)


def test_the_history_remembers_each_queue_in_which_jobs_were_seen() -> None:
    policy = by_tiers({"a": {}, "b": {}, "c": {}})
    a, b, c = (one.identity for one in policy.each_queue.values())

    def seen_with(before: str, **jobs: int) -> str:
        parts = [part(name, QueueDepth(jobs.get(name, 0), 0)) for name in ("a", "b", "c")]
        queue = merged(parts, POSTGRESQL)
        assert isinstance(queue, QueueDepth)
        return seen_in(policy, queue, before)

    assert seen_with("", b=1) == b
    assert seen_with(b, a=1, c=2) == f"{a},{b},{c}"
    assert seen_with(f"{a},another", b=1) == f"{a},{b}", "a queue that the policy no longer has is forgotten"
    assert not seen_with(a), "a cycle that saw no job notes nothing, and the history keeps what it has"


def test_a_doubtful_queue_of_several_ends_the_pass_as_unreadable_until_jobs_were_seen_in_it() -> None:
    policy = by_tiers({"a": {}, "b": {}})
    queue = merged([part("a", QueueDepth(5, 0)), part("b", DOUBTFUL)], POSTGRESQL)
    b = policy.each_queue["b"].identity
    doubted = plan(seen(queue, TWO, History(since=0.0, count=2), policy))
    assert isinstance(doubted.last, Fail)
    assert "queue b: rows have other statuses" in doubted.last.unavailable.text
    believed = plan(seen(queue, TWO, History(since=0.0, count=2, queue_seen=b), policy))
    assert not isinstance(believed.last, Fail)
    assert believed.history.queue_seen == ",".join(one.identity for one in policy.each_queue.values())


# --- the reason ---


def reason(policy: WorkerPolicy, queue: QueueDepth, current: int = 0) -> tuple[Reason, str]:
    observation = replace(observed(0, current), queue=queue)
    first = next(step.because for step in trail(policy, observation, history(), NOW) if step.because is not None)
    return first.reason, first.words


def says(name: Reason, words: str) -> tuple[Reason, str]:
    return name, words


def test_the_reason_names_the_queue_that_asks_for_most_and_each_one_s_part() -> None:
    queue = depths(FIVE_AND_60, bulk=(8, 4, 20), urgent=(10, 2, 5))
    assert reason(FIVE_AND_60, queue) == says(
        Reason.TARGET_WAIT,
        "24 jobs (18 pending, 6 processing) in 2 queues want 8 workers: urgent asks for most, 5.5 (12 jobs of 5 s "
        "each, a wait of 5 s); bulk 2.5 (12 jobs of 20 s each, a wait of 1 min)",
    )


def test_a_queue_without_jobs_is_not_named() -> None:
    queue = depths(FIVE_AND_60, bulk=(0, 0, 20), urgent=(1, 0, 5))
    assert reason(FIVE_AND_60, queue)[1] == (
        "1 job (1 pending, 0 processing) in 2 queues wants 1 worker: urgent asks for 0.5 (1 job of 5 s, a wait of 5 s)"
    )
    nothing = depths(FIVE_AND_60, bulk=(0, 0, 20), urgent=(0, 0, 5))
    assert reason(FIVE_AND_60, nothing, 1)[1] == "0 jobs in 2 queues want 0 workers"


def test_the_reason_says_which_queue_has_no_known_time_per_job() -> None:
    policy = by_wait({"a": {}, "b": {}})
    queue = depths(policy, a=(3, 0, None), b=(4, 0, 20))
    assert reason(policy, queue, 2) == says(
        Reason.SERVICE_TIME_UNKNOWN,
        "7 jobs (7 pending, 0 processing) in 2 queues, and the time per job of queue a is not known yet, so the count "
        "stays",
    )
    enough_anyway = depths(policy, a=(3, 0, None), b=(16, 0, 20))
    assert reason(policy, enough_anyway, 2) == says(
        Reason.TARGET_WAIT,
        "19 jobs (19 pending, 0 processing) in 2 queues want 4 workers: b asks for 4 (16 jobs of 20 s each, a wait of "
        "1 min); a unknown, as its time per job is not known yet",
    )


def test_by_tiers_the_reason_has_the_weighted_depth_and_each_part_of_it() -> None:
    policy = by_tiers({"a": {"weight": 0.2}, "b": {}})
    assert reason(policy, depths(policy, a=(30, 0, None), b=(0, 9, None))) == says(
        Reason.TIER,
        "39 jobs (30 pending, 9 processing) in 2 queues, a depth of 15, want 2 workers: b counts most, 9; a 6 (30 jobs "
        "× 0.2)",
    )


def test_of_many_queues_the_first_five_are_named_and_the_others_summed() -> None:
    policy = by_wait({f"q{number}": {} for number in range(8)})
    queue = depths(policy, **{f"q{number}": (4 * (number + 1), 0, 20.0) for number in range(8)})
    said = reason(policy, queue)[1]
    assert "q7 asks for most, 8 (" in said
    assert said.endswith("q3 4 (16 jobs of 20 s each, a wait of 1 min); 3 others 6")


def test_what_one_queue_asks_for_is_told_by_itself() -> None:
    queue = depths(FIVE_AND_60, urgent=(2, 0, 5), bulk=(6, 0, 20))
    asked = needs(FIVE_AND_60, queue, 0)
    assert [part_words(FIVE_AND_60, part, asked[part.name]) for part in queue.parts] == [
        "asks for 1 worker, jobs of 5 s for a wait of 5 s",
        "asks for 1.5 workers, jobs of 20 s for a wait of 1 min",
    ]
    lost, new, never = part("a", None, "no right"), part("b", QueueDepth(1, 0)), part("c", QueueDepth(1, 0))
    never = replace(never, unmeasured="it has no times")
    assert [part_words(FIVE_AND_60, one, None) for one in (lost, new, never)] == [
        "no right",
        "for a wait of 1 min; the time per job is not known yet",
        "for a wait of 1 min; the time per job cannot be measured, because it has no times (write service_time)",
    ]
    tiers = by_tiers({"a": {"weight": 0.2}, "b": {}})
    parts = depths(tiers, a=(30, 0, None), b=(0, 9, None)).parts
    assert [part_words(tiers, one, None) for one in parts] == ["counts 6 (30 jobs × 0.2)", "counts 9"]


# --- what always holds ---

JOBS = st.integers(0, 60)
PARTS = st.lists(
    st.tuples(JOBS, JOBS, st.sampled_from([0.5, 5.0, 20.0, 300.0]), st.sampled_from([None, "0s", "5s", "2m"])),
    min_size=1,
    max_size=5,
)


def named(parts: list[tuple[int, int, float, str | None]], **changes: Any) -> tuple[WorkerPolicy, QueueDepth]:
    queues = {f"q{place}": {} if wait is None else {"target_wait": wait} for place, (*_, wait) in enumerate(parts)}
    policy = by_wait(queues, **changes)
    each = {f"q{place}": (pending, busy, seconds) for place, (pending, busy, seconds, _) in enumerate(parts)}
    return policy, depths(policy, **each)


@settings(max_examples=examples(70, 2000), deadline=None)
@given(PARTS, st.integers(1, 4), st.integers(0, 20), st.integers(0, 4), st.sampled_from([(1, 0), (0, 1)]))
def test_more_jobs_in_any_queue_never_mean_fewer_workers(
    parts: list[tuple[int, int, float, str | None]], each: int, leaving: int, which: int, more: tuple[int, int]
) -> None:
    fewer = recommend(*named(parts, jobs_per_worker=each), leaving=leaving)
    pending, busy, seconds, wait = parts[which % len(parts)]
    parts = [*parts]
    parts[which % len(parts)] = (pending + more[0], busy + more[1], seconds, wait)
    assert recommend(*named(parts, jobs_per_worker=each), leaving=leaving) >= fewer


@settings(max_examples=examples(70, 2000), deadline=None)
@given(PARTS, st.integers(1, 4))
def test_together_they_need_at_most_what_they_need_alone_and_at_least_what_any_needs(
    parts: list[tuple[int, int, float, str | None]], each: int
) -> None:
    policy, queue = named(parts, jobs_per_worker=each)
    by_itself = [
        recommend(only, QueueDepth(part.known.pending, part.known.processing), part.service)
        for part, only in zip(queue.parts, alone(policy).values(), strict=True)
    ]
    assert max(by_itself) <= recommend(policy, queue) <= sum(by_itself)


@settings(max_examples=examples(50, 1000), deadline=None)
@given(JOBS, JOBS, st.sampled_from([0.5, 20.0, 300.0]), st.sampled_from(["0s", "5s", "2m"]), st.integers(0, 9))
def test_one_named_queue_wants_what_it_wants_as_the_only_queue(
    pending: int, busy: int, seconds: float, wait: str, leaving: int
) -> None:
    policy, queue = named([(pending, busy, seconds, wait)])
    single = alone(policy)["q0"]
    plain = QueueDepth(pending, busy)
    assert recommend(policy, queue, of(seconds), 0, leaving) == recommend(single, plain, of(seconds), 0, leaving)


@settings(max_examples=examples(70, 2000), deadline=None)
@given(PARTS, st.integers(0, 12), st.integers(0, 4), st.integers(4, 12))
def test_the_count_stays_within_min_and_max(
    parts: list[tuple[int, int, float, str | None]], current: int, least: int, most: int
) -> None:
    policy, queue = named(parts, min_replicas=least, max_replicas=most)
    observation: Observation = replace(observed(0, current), queue=queue)
    assert least <= decide(policy, observation, history(), NOW).desired <= most


@settings(max_examples=examples(70, 2000), deadline=None)
@given(
    st.lists(st.tuples(JOBS, st.sampled_from(["0.01", "0.2", "1", "2.5", "100"])), min_size=1, max_size=4),
)
def test_counting_a_queue_up_to_its_limit_decides_as_its_exact_count(parts: list[tuple[int, str]]) -> None:
    """Each queue is counted up to the depth that wants the most workers by itself."""
    queues = {f"q{place}": {"weight": weight} for place, (_, weight) in enumerate(parts)}
    policy = by_tiers(queues)
    exact = depths(policy, **{f"q{place}": (jobs, 0, None) for place, (jobs, _) in enumerate(parts)})
    limits = {name: enough(only, None) for name, only in alone(policy).items()}
    counted = {f"q{place}": (min(jobs, limits[f"q{place}"]), 0, None) for place, (jobs, _) in enumerate(parts)}
    assert recommend(policy, depths(policy, **counted)) == recommend(policy, exact)
    weighed = math.ceil(sum(Decimal(weight) * jobs for jobs, weight in parts))
    assert exact.weighted == weighed


def test_a_queue_alone_is_counted_by_its_own_limit_and_its_own_wait() -> None:
    policy = by_wait({"urgent": {"target_wait": "5s", "count_limit": 7}, "bulk": {}}, max_replicas=3, jobs_per_worker=2)
    only = alone(policy)
    assert enough(only["urgent"], of(5)) == 9, "4 workers' jobs less one: 2 · 2 · 10 / 5 + 1"
    assert enough(only["bulk"], of(20)) == 17
    assert (count_limit(only["urgent"], None), count_limit(only["bulk"], None)) == (7, 10_000)
    assert all_busy(only["urgent"]) == all_busy(policy) == 6


# --- with the other keys ---


def test_jobs_that_fall_due_soon_add_to_the_need_of_their_own_queue() -> None:
    queue = depths(FIVE_AND_60, urgent=(0, 0, 5), bulk=(2, 0, 20))
    urgent, bulk = queue.parts
    parts = [replace(urgent, depth=QueueDepth(0, 0, soon=4, ahead_s=20.0)), replace(bulk, depth=QueueDepth(2, 0))]
    found = merged(parts, POSTGRESQL)
    assert isinstance(found, QueueDepth)
    assert (found.soon, found.ahead_s, found.depth) == (4, 20.0, 2)
    assert (recommend(FIVE_AND_60, found), recommend_ahead(FIVE_AND_60, found)) == (1, 3), "4 · 5 / 10 + 2 · 20 / 80"
    assert reason(FIVE_AND_60, found)[1] == (
        "2 jobs (2 pending, 0 processing, 4 due within 20 s) in 2 queues want 3 workers: urgent asks for most, 2 (4 "
        "jobs of 5 s each, a wait of 5 s); bulk 0.5 (2 jobs of 20 s each, a wait of 1 min)"
    )


def per_worker(**queues: Mapping[str, Any]) -> WorkerPolicy:
    tables = {name: {"table": name, **queue} for name, queue in queues.items()}
    return WorkerPolicy.model_validate({**BASE, "per_worker": 5, "queues": tables})


def test_per_worker_goes_by_the_weighted_depth() -> None:
    policy = per_worker(a={"weight": 0.2}, b={})
    queue = depths(policy, a=(30, 0, None), b=(0, 9, None))
    assert recommend(policy, queue) == 3, "30 · 0.2 + 9 = 15"
    assert reason(policy, queue) == says(
        Reason.PER_WORKER,
        "39 jobs (30 pending, 9 processing) in 2 queues, a depth of 15, want 3 workers (at 5 per worker): b counts "
        "most, 9; a 6 (30 jobs × 0.2)",
    )


@pytest.mark.parametrize("weight", ["0.01", "0.3", "1", "2.5", "100"])
@pytest.mark.parametrize("most", [1, 3, 10])
def test_by_per_worker_a_queue_is_counted_until_it_wants_all_workers_by_itself(weight: str, most: int) -> None:
    policy = WorkerPolicy.model_validate(
        {**BASE, "max_replicas": most, "per_worker": 7, "activation": 4, "tolerance": "20%"}
        | {"queues": {"a": {"table": "a", "weight": weight}}}
    )
    enough_of_it = enough(alone(policy)["a"], None)
    weighted = math.ceil(Decimal(weight) * enough_of_it)
    assert weighted >= enough(alone(per_worker_alone(policy)["a"])[""], None)


def per_worker_alone(policy: WorkerPolicy) -> Mapping[str, WorkerPolicy]:
    """As if its weight were 1."""
    fields = {**dict(policy), "queues": {"a": policy.named_queues["a"].model_copy(update={"weight": Decimal(1)})}}
    return alone(WorkerPolicy.model_construct(policy.model_fields_set, **fields))
