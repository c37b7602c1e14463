"""What the workload asks for by itself, against the plainest way to reckon it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.policy import WorkerPolicy
from controller.simulation.demand import Clairvoyant, Demand, Unlimited
from controller.simulation.fleet import Platform
from controller.simulation.own import OwnPolicy
from controller.simulation.workload.jobs import Job
from tests.simulation.policies import policies
from tests.simulation.runs import random_jobs, run
from tests.support.examples import examples

Schedule = list[tuple[float, float]]
"""When each job begins and ends."""


def fifo(jobs: Sequence[Job], slots: int) -> Schedule:
    free = [0.0] * slots
    schedule = []
    for arrival, service, *_ in jobs:
        first = min(range(slots), key=lambda slot: free[slot])
        start = max(arrival, free[first])
        free[first] = start + service
        schedule.append((start, free[first]))
    return schedule


def needed(schedule: Schedule, moment: float, each: int) -> int:
    return math.ceil(sum(start <= moment < end for start, end in schedule) / each)


def plain_cost(schedule: Schedule, each: int, start_up: float) -> tuple[float, int]:
    """Each level of the need by itself: through a gap that is shorter than a start it idles, else it starts again."""
    moments = sorted({time for one in schedule for time in one})
    spans = [(a, b, needed(schedule, a, each)) for a, b in itertools.pairwise(moments)]
    cost, starts = 0.0, 0
    for level in range(max((height for _, _, height in spans), default=0)):
        last: float | None = None
        for begin, end, height in spans:
            if height <= level:
                continue
            if last is None or begin - last >= start_up:
                starts, cost = starts + 1, cost + start_up
            else:
                cost += begin - last
            cost, last = cost + end - begin, end
    return cost, starts


small = st.integers(1, 4)


@settings(max_examples=examples(25, 600))
@given(random_jobs(most=15), small, st.integers(1, 3), st.sampled_from([1.0, 20.0, 90.0]), st.integers(1, 15))
def test_waits_levels_and_the_clairvoyants_cost_are_those_of_a_plain_replay(
    jobs: list[Job], cap: int, each: int, start_up: float, chunk: int
) -> None:
    demand = Demand(cap, each, Clairvoyant(start_up))
    schedule = fifo(jobs, cap * each)
    changes: list[tuple[float, int]] = []
    waits: list[float] = []
    for start in range(0, len(jobs), chunk):
        tasks, levels = demand.take(jobs[start : start + chunk])
        waits += [task[2] for task in tasks]
        changes += zip(levels.times, levels.heights, strict=True)
    rest = demand.rest()
    changes += zip(rest.times, rest.heights, strict=True)
    assert waits == [start - arrival for (start, _), (arrival, *_) in zip(schedule, jobs, strict=True)]
    assert [time for time, _ in changes] == sorted(time for time, _ in changes)
    assert all(abs(height - before) == 1 for (_, before), (_, height) in itertools.pairwise([(0.0, 0), *changes]))
    for moment in {time for one in schedule for time in one}:
        last = [height for time, height in changes if time <= moment][-1]
        assert last == needed(schedule, moment, each)
    seer = demand.clairvoyant
    assert (seer.cost_s, seer.starts) == pytest.approx(plain_cost(schedule, each, start_up))
    assert seer.needed_s == pytest.approx(plain_cost(schedule, each, 0.0)[0])
    assert demand.last_end == max(end for _, end in schedule)


@pytest.mark.parametrize(
    ("jobs", "cost", "starts", "idle", "most"),
    [
        ([(0, 5)], 20 + 5, 1, 0, 1),
        ([(0, 5), (24, 5)], 20 + 5 + 19 + 5, 1, 19, 1),
        ([(0, 5), (25, 5)], 20 + 5 + 20 + 5, 2, 0, 1),
        ([(0, 5), (500, 5)], 20 + 5 + 20 + 5, 2, 0, 1),
        ([(0, 5), (1, 5)], 2 * (20 + 5), 2, 0, 2),
        ([(0, 5), (1, 5), (10, 5)], 2 * (20 + 5) + 4 + 5, 2, 4, 2),
    ],
    ids=[
        "one job",
        "a gap just shorter than a start",
        "a gap as long as a start",
        "a gap much longer than a start",
        "two jobs at once",
        "two jobs at once, and a third soon",
    ],
)
def test_a_clairvoyant_idles_through_short_gaps_only(
    jobs: list[Job], cost: float, starts: int, idle: float, most: int
) -> None:
    demand = Demand(1000, 1, Clairvoyant(20.0))
    demand.take(jobs)
    demand.rest()
    seer = demand.clairvoyant
    assert (seer.cost_s, seer.starts, seer.idle_s, seer.most) == (cost, starts, idle, most)


@given(random_jobs(most=30), st.integers(1, 3), st.sampled_from([0.0, 5.0, 20.0, 90.0]), st.integers(1, 30))
def test_who_may_have_any_number_of_workers_pays_what_a_cap_out_of_reach_costs(
    jobs: list[Job], each: int, start_up: float, chunk: int
) -> None:
    capped, unlimited = Demand(1000, each, Clairvoyant(start_up)), Unlimited(each, start_up)
    for start in range(0, len(jobs), chunk):
        capped.take(jobs[start : start + chunk])
        unlimited.take(jobs[start : start + chunk])
    capped.rest()
    seer = capped.clairvoyant
    assert unlimited.cost_s == pytest.approx(seer.cost_s)
    assert unlimited.idle_s == pytest.approx(seer.idle_s)
    assert (unlimited.starts, unlimited.workers) == (seer.starts, seer.most)


def test_with_a_cap_out_of_reach_no_job_waits() -> None:
    tasks, _ = Demand(1000, 1, Clairvoyant(20.0)).take([(0.0, 9.0)] * 50)
    assert {task[2] for task in tasks} == {0.0}


@pytest.mark.costly
@settings(max_examples=examples(16))
@given(random_jobs(most=15), policies(), st.integers(1, 3))
def test_no_policy_makes_jobs_wait_less_than_the_cap_does(jobs: list[Job], policy: WorkerPolicy, each: int) -> None:
    """Unless workers that are going away are still at work beside the new ones, which drain 0 excludes."""
    platform = Platform(drain_s=0.0, concurrency=each)
    ledger = run(OwnPolicy(policy, 10.0, 1.0), jobs, platform, cap=policy.max_replicas)
    least = sum(job[2] for _, _, job, _ in ledger.finished)
    waited = sum(wait for _, _, _, wait in ledger.finished)
    assert waited >= least
    assert ledger.excess.total >= waited - least
