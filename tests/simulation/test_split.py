"""Several queues of one worker in the simulator: which job is in which, and what the policy decides by."""

from __future__ import annotations

from typing import Any

import pytest

from controller.policy import WorkerPolicy
from controller.simulation.contenders import own_worker
from controller.simulation.own import OwnPolicy
from controller.simulation.split import Split, queue_of
from controller.simulation.workload.jobs import Job
from tests.simulation.runs import Ledger, run
from tests.simulation.test_own import Sleeper

JOBS: list[Job] = [(7.0 * number, 5.0 + number % 40) for number in range(150)]
WAKE = 1.0


def policy(waits: tuple[str, str] | None = None, **fields: Any) -> WorkerPolicy:
    """With two queues of these target waits; None: with one queue."""
    queues: dict[str, Any] = {}
    if waits is not None:
        named = zip("ab", waits, strict=True)
        queues = {"queue": None, "queues": {name: {"table": name, "target_wait": wait} for name, wait in named}}
    return own_worker({"max_replicas": 6, "target_wait": "60s", "service_time": "20s", **queues, **fields})


def simulated(worker: WorkerPolicy, shares: tuple[float, float] | None = (1.0, 1.0)) -> Ledger:
    split = None if shares is None else Split(("a", "b"), shares)
    return run(OwnPolicy(worker, 10.0, WAKE), JOBS, cap=6, until=2000.0, split=split)


def mean_wait(ledger: Ledger) -> float:
    return ledger.waits.mean


@pytest.mark.parametrize("shares", [(1.0, 1.0), (3.0, 1.0), (0.0, 1.0)])
def test_jobs_are_drawn_by_the_shares_and_each_run_draws_the_same(shares: tuple[float, float]) -> None:
    tasks = [(at, service, 0.0) for at, service, *_ in JOBS * 10]
    first, second = ([queue_of(job) for job in Split("ab", shares).tagged(tasks)] for _ in range(2))
    assert first == second
    assert first.count(0) / len(first) == pytest.approx(shares[0] / sum(shares), abs=0.05)


@pytest.mark.costly
@pytest.mark.parametrize(
    "fields",
    [
        {"waits": ("5s", "60s")},
        {"waits": ("5s", "60s"), "scale_down": {"idle_off": "30s"}},
        {"waits": ("5s", "60s"), "jobs_per_worker": 2, "max_wait": "60s"},
    ],
    ids=["a target wait that learns", "idle_off", "two jobs at once and max_wait"],
)
def test_every_answer_for_two_queues_is_the_one_of_a_fresh_decision(fields: dict[str, Any]) -> None:
    held = Sleeper(OwnPolicy(policy(**fields), 10.0, WAKE), most_answers=400)
    run(held, JOBS, cap=6, until=1500.0, split=Split("ab", (1.0, 1.0)))
    assert held.answers >= 150


def test_two_queues_with_one_wait_are_as_one_queue() -> None:
    assert simulated(policy(("60s", "60s"))).actions == simulated(policy(), None).actions


@pytest.mark.parametrize(("shares", "wait"), [((1.0, 0.0), "5s"), ((0.0, 1.0), "60s")])
def test_jobs_of_one_queue_alone_go_by_its_wait(shares: tuple[float, float], wait: str) -> None:
    # The time that a worker stays follows from the strictest wait, so it is given.
    down = {"idle_off": "30s"}
    two = simulated(policy(("5s", "60s"), scale_down=down), shares)
    assert two.actions == simulated(policy(target_wait=wait, scale_down=down), None).actions


@pytest.mark.costly
def test_the_strictest_wait_brings_workers_for_the_jobs_of_both_queues() -> None:
    lax, mixed, strict = (simulated(policy(waits)) for waits in (("60s", "60s"), ("5s", "60s"), ("5s", "5s")))
    assert mean_wait(strict) < mean_wait(mixed) < mean_wait(lax)
    assert strict.paid_s > mixed.paid_s > lax.paid_s


def test_the_waits_of_each_queue_add_up_to_those_of_all() -> None:
    ledger = simulated(policy(("5s", "60s")))
    each = ledger.by_queue
    assert [waits.count for waits in each] == [
        sum(queue_of(job) == n for _, _, job, _ in ledger.finished) for n in (0, 1)
    ]
    assert sum(waits.total for waits in each) == pytest.approx(ledger.waits.total)


def test_a_queue_with_a_larger_weight_counts_for_more_in_the_tiers() -> None:
    tiers = {
        "target_wait": None,
        "service_time": None,
        "tiers": [{"up_to": 0, "replicas": 0}, {"up_to": 4, "replicas": 2}, {"replicas": 6}],
    }
    queues = {"queue": None, "queues": {"a": {"table": "a", "weight": 10}, "b": {"table": "b"}}}
    base = {"max_replicas": 6, "tiers": tiers["tiers"]}
    weighted, plain = own_worker({**base, **queues}), own_worker(base)
    assert mean_wait(simulated(weighted)) < mean_wait(simulated(plain, None))
