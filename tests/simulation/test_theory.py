"""The engine against what queueing theory knows exactly.

Noise is taken out by antithetic pairs: each random number is used once as it is and once as its opposite, so that what
one run had too much of, the other has too little of. The means of four runs then vary by 0.3 % or less (by 1 % in
the short runs).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from random import Random
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.simulation.account import Account
from controller.simulation.demand import Clairvoyant, Demand, Task
from controller.simulation.fleet import Fleet, Platform
from controller.simulation.peers import Static
from controller.simulation.scaler import NEVER
from controller.simulation.workload.jobs import Job
from tests.simulation.runs import random_jobs, run
from tests.support.examples import LONG, examples, some

RATE, SERVICE_S = 0.1, 20.0
Service = Callable[[float], float]
"""The service time of a random number from 0 to 1."""


def exponential(number: float) -> float:
    return -SERVICE_S * math.log(1 - number)


def uniform(number: float) -> float:
    return 2 * SERVICE_S * number


def always(number: float) -> float:
    return SERVICE_S


def two_kinds(number: float) -> float:
    return 5.0 if number < 0.8 else 80.0


def tasks(count: int, seed: int, rate: float, service: Service, *, opposite: bool) -> Iterator[Task]:
    random, at = Random(seed), 0.0
    for _ in range(count):
        gap, size = random.random(), random.random()
        if opposite:
            gap, size = 1 - gap, math.nextafter(1.0, 0.0) - size
        at -= math.log(max(gap, 1e-18)) / rate
        yield at, service(size), 0.0


def waits(workers: int, count: int, rate: float, service: Service) -> tuple[float, float]:
    """The share of the jobs that wait, and the mean wait of all, with no start-up and jobs as theory has them."""
    shares, means = [], []
    for seed in (1, 2):
        for opposite in (False, True):
            account = Account(workers, 0.0)
            fleet = Fleet(Static(workers, NEVER, replicas=workers), Platform(start_up_s=0.0), account)
            fleet.feed(tasks(count, seed, rate, service, opposite=opposite), 1e12)
            fleet.finish(0.0)
            shares.append(account.waits.over(0.0) / count)
            means.append(account.waits.mean)
    return mean(shares), mean(means)


def erlang_c(workers: int) -> tuple[float, float]:
    """P(wait) and E[w] = P S / (c - R)."""
    load = RATE * SERVICE_S
    full = load**workers / math.factorial(workers) * workers / (workers - load)
    share = full / (sum(load**k / math.factorial(k) for k in range(workers)) + full)
    return share, share * SERVICE_S / (workers - load)


def test_the_formula_is_the_one_in_the_literature() -> None:
    assert [round(erlang_c(workers)[1], 3) for workers in (3, 4, 5)] == [8.889, 1.739, 0.398]


@pytest.mark.costly
@pytest.mark.parametrize("workers", some([4, 3, 5], every=3))
def test_waits_of_memoryless_jobs_are_erlangs(workers: int) -> None:
    count, within = examples(60_000, 150_000), 0.01 if LONG else 0.015
    assert waits(workers, count, RATE, exponential) == pytest.approx(erlang_c(workers), rel=within)


@pytest.mark.costly
@pytest.mark.parametrize(
    "service",
    some(
        [
            pytest.param(two_kinds, id="jobs of 5 s or 80 s"),
            pytest.param(always, id="jobs always of 20 s"),
            pytest.param(uniform, id="jobs of up to 40 s"),
        ],
        every=3,
    ),
)
def test_waits_for_a_single_worker_are_those_of_pollaczek_and_khinchine(service: Service) -> None:
    """E[w] = rate E[S²] / 2 (1 - load); the share that waits is the load."""
    rate = 0.03
    steps = [service((number + 0.5) / 100_000) for number in range(100_000)]
    load = rate * mean(steps)
    wait = rate * mean(step * step for step in steps) / (2 * (1 - load))
    count, within = examples(30_000, 80_000), 0.015 if LONG else 0.025
    assert waits(1, count, rate, service) == pytest.approx((load, wait), rel=within)


@pytest.mark.costly
@settings(max_examples=examples(24))
@given(random_jobs(), st.integers(1, 4), st.integers(1, 3))
def test_a_full_fleet_without_start_up_waits_exactly_as_the_demand_says(jobs: list[Job], cap: int, each: int) -> None:
    platform = Platform(start_up_s=0.0, concurrency=each)
    ledger = run(Static(cap, NEVER, replicas=cap), jobs, platform, cap=cap)
    assert ledger.excess.longest < 1e-6
    least, _ = Demand(cap, each, Clairvoyant(0.0)).take(jobs)
    assert ledger.waits.total == sum(task[2] for task in least)
