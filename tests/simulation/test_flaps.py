"""Flaps at a tier's edge: as many as the fleet has in a simulation job by job, and a window that halves the worst."""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from controller.policy import Policy, WorkerPolicy
from controller.simulation.contenders import own_worker
from controller.simulation.flaps import WITHIN_S, Edge, Flaps, _edges, _Poisson, _run
from controller.simulation.fleet import Platform
from controller.simulation.own import OwnPolicy
from tests.simulation.runs import run

pytestmark = pytest.mark.usefixtures("as_many_steps_as_promised")

TIERS = [
    {"up_to": 0, "replicas": 0},
    {"up_to": 10, "replicas": 1},
    {"up_to": 30, "replicas": 2},
    {"replicas": 3},
]


def worker(**fields: Any) -> WorkerPolicy:
    tiers = {} if "target_wait" in fields else {"tiers": TIERS}
    return own_worker({**tiers, "max_replicas": 3, **fields})


def policy(of: WorkerPolicy) -> Policy:
    return Policy.model_construct(interval=10.0, wake_min_interval=1.0, workers={"worker": of})


def flaps(of: WorkerPolicy, service_s: float = 20.0) -> Flaps | None:
    return Flaps.of(policy(of), of, service_s)


def flaps_of_a_fleet(of: WorkerPolicy, edge: Edge, service_s: float, jobs: int) -> float:
    """A day, by the simulator itself: jobs at random for the mean of both counts; it begins at the edge's depth."""
    dice, at = Random(5), 0.0
    rate = (edge.low + edge.high) / 2 / service_s
    stream = [(0.0, dice.expovariate(1 / service_s)) for _ in range(edge.depth)]
    for _ in range(jobs):
        at += dice.expovariate(rate)
        stream.append((at, dice.expovariate(1 / service_s)))
    ledger = run(OwnPolicy(of, 10.0, 1.0), stream, Platform(drain_s=0.0), cap=3)
    found, down_at = 0, -math.inf
    for now, before, after in ledger.actions:
        if after <= edge.low < before:
            down_at = now
        found += before <= edge.low < after and now - down_at <= WITHIN_S
    return found * 86_400 / ledger.end_s


@pytest.mark.costly
@pytest.mark.parametrize(
    ("edge", "service_s"), [(Edge(10, 1, 2), 20.0), (Edge(0, 0, 1), 20.0), (Edge(10, 1, 2), 2.0), (Edge(0, 0, 1), 2.0)]
)
def test_a_queue_in_steps_flaps_as_often_as_one_that_is_simulated_job_by_job(edge: Edge, service_s: float) -> None:
    of = worker()
    ours, _ = _run(policy(of), of, edge, service_s, 8_000)
    assert ours == pytest.approx(flaps_of_a_fleet(of, edge, service_s, 8_000), rel=0.2)


@pytest.mark.costly
def test_the_proposed_window_leaves_two_thirds_of_the_flaps_or_less_and_costs_worker_time() -> None:
    found = flaps(worker())
    assert found is not None
    assert found.edge in _edges(worker())
    assert found.a_day > 24
    assert found.then_a_day <= found.a_day * 2 / 3
    assert found.more > 0
    # It is the figure of a policy in which that window is written.
    assert f"{{stabilization_window: {found.window_s / 60:g}m}}" in found.words
    with_it = worker(scale_down={"stabilization_window": f"{found.window_s}s"})
    assert _run(policy(with_it), with_it, found.edge, 20.0, 8_000)[0] == found.then_a_day


@pytest.mark.costly
def test_it_is_the_same_each_time() -> None:
    assert flaps(worker()) == flaps(worker())


@pytest.mark.parametrize(
    ("fields", "service_s"),
    [
        ({"scale_down": {"stabilization_window": "60s"}}, 20.0),
        ({"scale_down": {"stabilization_window": "0s"}}, 20.0),
        ({"target_wait": "60s"}, 20.0),
        ({"min_replicas": 3}, 20.0),
        ({}, 3600.0),
    ],
    ids=[
        "a window is set",
        "a window of 0 is set, which is a choice too",
        "a target_wait has no tiers",
        "min and max leave nothing to change",
        "jobs of an hour, so that the count seldom changes",
    ],
)
def test_it_says_nothing_where_a_window_is_set_or_nothing_flaps(fields: Mapping[str, Any], service_s: float) -> None:
    assert flaps(worker(**fields), service_s) is None


def test_edges_are_those_within_min_and_max() -> None:
    assert _edges(worker()) == [Edge(0, 0, 1), Edge(10, 1, 2), Edge(30, 2, 3)]
    assert _edges(worker(min_replicas=1, max_replicas=2)) == [Edge(10, 1, 2)]
    many = [*({"up_to": number, "replicas": number} for number in range(40)), {"replicas": 40}]
    assert [edge.low for edge in _edges(worker(tiers=many, max_replicas=40))] == [0, 7, 15, 23, 31, 39]


@pytest.mark.parametrize("mean", [0.0, 0.3, 4.0, 200.0])
def test_the_steps_have_as_many_jobs_as_a_poisson_process(mean: float) -> None:
    """Mean and variance, over evenly spread numbers."""
    drawn = [_Poisson(mean).draw((number + 0.5) / 4000) for number in range(4000)]
    average = sum(drawn) / len(drawn)
    assert average == pytest.approx(mean, rel=0.01)
    assert sum((one - average) ** 2 for one in drawn) / len(drawn) == pytest.approx(mean, rel=0.03)
