"""The rules of other autoscalers, worked out by hand from what they publish."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.simulation.fleet import Platform
from controller.simulation.peers import Hpa, Keda, Latency, Static
from controller.simulation.scaler import NEVER, Scaler, View
from controller.simulation.workload.jobs import Job
from tests.simulation.runs import Sleepless, platforms, random_jobs, run
from tests.support.examples import examples


def hpa(**changes: float) -> Hpa:
    return Hpa(20, 15.0, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metric", "pods", "wanted"),
    [
        (0, 1, 1),
        (5, 1, 1),
        (6, 1, 2),
        (21, 4, 4),
        (23, 4, 5),
        (15, 4, 3),
        (19, 4, 4),
        (30, 1, 5),
        (100, 3, 7),
        (100, 6, 12),
        (500, 16, 20),
        (0, 7, 1),
    ],
    ids=[
        "the HPA never goes to zero",
        "the metric at its target changes nothing",
        "the count is rounded up",
        "5 % above the target is tolerated",
        "15 % above the target is not tolerated",
        "the HPA goes down to what is wanted",
        "5 % below the target is tolerated",
        "4 pods more at once",
        "4 pods more are more than twice as many",
        "twice as many pods are more than 4 more",
        "the HPA stops at its maximum",
        "the HPA goes down at once",
    ],
)
def test_the_hpa_wants_the_metric_by_the_target(metric: int, pods: int, wanted: int) -> None:
    assert hpa().look(View(0.0, metric, 0, pods, pods)) == wanted


def test_the_hpa_goes_up_by_four_or_twice_in_each_15_seconds() -> None:
    scaler, pods = hpa(), 1
    sizes = [pods := scaler.look(View(15.0 * step, 1000, 0, pods, pods)) for step in range(4)]
    assert sizes == [5, 10, 20, 20]


def test_the_hpa_goes_down_only_to_the_highest_of_the_window() -> None:
    scaler, pods = hpa(), 6
    metrics = {0.0: 30, 15.0: 20}
    sizes = {now: scaler.look(View(now, metrics.get(now, 5), 0, pods, pods)) for now in (15.0 * n for n in range(23))}
    assert {now for now, size in sizes.items() if size == 6} == {15.0 * number for number in range(21)}
    assert (sizes[315.0], sizes[330.0]) == (4, 1)


@pytest.mark.parametrize(("counts_running", "wanted"), [(True, 3), (False, 1)])
def test_the_metric_counts_jobs_in_work_or_not(counts_running: bool, wanted: int) -> None:  # noqa: FBT001
    scaler = Hpa(20, 15.0, counts_running=counts_running)
    assert scaler.look(View(0.0, 4, 9, 1, 1)) == wanted


@pytest.mark.parametrize(
    ("jobs", "actions"),
    [
        ([(31.0, 5.0)], [(60, 0, 1), (360, 1, 0)]),
        ([(29.0, 5.0)], [(30, 0, 1), (330, 1, 0)]),
        ([(0.0, 1000.0)], [(30, 0, 1), (1320, 1, 0)]),
        ([(29.0, 5.0), (320.0, 15.0)], [(30, 0, 1), (630, 1, 0)]),
        ([(29.0, 5.0), (301.0, 5.0)], [(30, 0, 1), (330, 1, 0)]),
        ([(1.0, 1000.0)] * 11, [(30, 0, 1), (45, 1, 3)]),
    ],
    ids=[
        "it polls every 30 s, and to zero goes 300 s after it was last active",
        "a job just before the poll",
        "a job in work keeps it active",
        "a job that it polls keeps it for 300 s more",
        "a job that it does not poll does not",
        "from one on, the HPA decides",
    ],
)
def test_keda_goes_from_zero_to_one_and_back(jobs: list[Job], actions: list[tuple[float, int, int]]) -> None:
    ledger = run(Keda(20, 15.0), jobs, cap=20, until=2000.0)
    assert ledger.actions[: len(actions)] == actions


def test_keda_polls_at_the_first_look_that_is_due() -> None:
    """Every 40 s is every 45 s with a look every 15 s."""
    assert run(Keda(20, 15.0, polling=40.0), [(1000.0, 5.0)]).actions[0] == (45.0 * 23, 0, 1)


def test_keda_is_active_by_what_it_polled_alone() -> None:
    """It polls at 45, 90 and 135; the job that is in work from 100 to 121 it never sees."""
    jobs = [(20.0, 1.0), (40.0, 1.0), (100.0, 21.0)]
    ledger = run(Keda(6, 15.0, polling=40.0, cooldown=100.0), jobs, Platform(start_up_s=0.0), until=600.0)
    assert ledger.actions == [(45, 0, 1), (180, 1, 0)]


def latency(**changes: float) -> Latency:
    return Latency(5, 10.0, **changes)  # type: ignore[arg-type]


def test_latency_goes_up_by_steps_and_down_after_a_delay() -> None:
    table = [
        (0.0, 0.0, 0, 1),  # the minimum
        (5.0, 31.0, 1, 1),  # 10 s have not gone by
        (10.0, 31.0, 1, 2),
        (20.0, 30.0, 2, 2),  # not above 30 s
        (30.0, 4.9, 2, 2),
        (619.0, 0.0, 2, 2),  # 599 s below 5 s
        (620.0, 0.0, 2, 1),
        (1300.0, 0.0, 1, 1),
        (1310.0, 500.0, 1, 2),
        (1320.0, 4.0, 2, 2),
        (1900.0, 5.0, 2, 2),  # not below 5 s
        (1910.0, 0.0, 2, 2),
        (2500.0, 0.0, 2, 1),
    ]
    scaler = latency()
    assert [scaler.look(View(now, int(oldest > 0), 0, at, at, oldest_s=oldest)) for now, oldest, at, _ in table] == [
        wanted for *_, wanted in table
    ]


@pytest.mark.parametrize(("at", "wanted"), [(1, 4), (3, 5), (5, 5)])
def test_latency_takes_its_whole_step_up_to_the_maximum(at: int, wanted: int) -> None:
    assert latency(step=3).look(View(100.0, 9, 0, at, at, oldest_s=31.0)) == wanted


def test_latency_lets_the_last_one_go_when_it_is_not_needed() -> None:
    ledger = run(latency(minimum=0, delay=100.0), [(5.0, 300.0)], Platform(start_up_s=0.0), until=1000.0)
    assert ledger.actions == [(10, 0, 1), (400, 1, 0)]


def test_latency_does_not_sleep_while_its_only_job_waits() -> None:
    """The first is worked on for 1000 s; the second has waited for 31 s at 50, the first look at which it has."""
    ledger = run(latency(), [(15.0, 1000.0), (19.0, 5.0)], Platform(start_up_s=0.0), until=2000.0)
    assert ledger.actions[:2] == [(0, 0, 1), (50, 1, 2)]


def test_a_static_fleet_is_what_it_is() -> None:
    assert run(Static(3, NEVER, replicas=3), [(5.0, 1.0)], until=99.0).actions == [(0.0, 0, 3)]


PEERS: dict[str, Callable[[], Scaler]] = {
    "hpa": lambda: Hpa(6, 15.0, target=2.0, window=60.0),
    "hpa by what waits": lambda: Hpa(6, 15.0, target=1.0, minimum=2, counts_running=False),
    "keda": lambda: Keda(6, 15.0, target=3.0, window=90.0),
    "keda at another pace": lambda: Keda(6, 15.0, target=2.0, polling=40.0, cooldown=100.0),
    "keda by what waits": lambda: Keda(6, 15.0, target=2.0, polling=10.0, counts_running=False),
    "latency": lambda: Latency(6, 10.0, delay=60.0),
    "latency to zero": lambda: Latency(6, 10.0, minimum=0, step=2, high=10.0, delay=120.0),
    "static": lambda: Static(6, NEVER, replicas=2),
}


@pytest.mark.costly
@settings(max_examples=examples(16))
@given(st.sampled_from(sorted(PEERS)), random_jobs(most=20), platforms)
def test_what_is_left_out_changes_nothing_for_them(name: str, jobs: list[Job], platform: Platform) -> None:
    until = jobs[-1][0] + 500
    whole = run(Sleepless(PEERS[name]()), jobs, platform, cap=6, until=until)
    assert run(PEERS[name](), jobs, platform, cap=6, until=until).outcome == whole.outcome
