"""The lower bound: no policy pays less, whatever the grid; and it is not so low that it says nothing."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.simulation.comparison import Contender, Setting, compare
from controller.simulation.fleet import Platform
from controller.simulation.peers import Keda, Latency, Static
from controller.simulation.report import total_worth
from controller.simulation.workload.jobs import Job, Workload
from tests.bench.bound import lower_bound
from tests.support.examples import examples

WORTHS = (0.05, 0.2, 1.0, 5.0)
ROUNDING = 1e-6
CAP = 3
CONTENDERS = [
    Contender("static", CAP, lambda: Static(CAP, math.inf, replicas=CAP)),
    Contender("static:1", CAP, lambda: Static(CAP, math.inf, replicas=1)),
    Contender("keda", CAP, lambda: Keda(CAP, 15.0, target=2.0, window=30.0, cooldown=30.0)),
    Contender("latency", CAP, lambda: Latency(CAP, 10.0, high=10.0, delay=20.0, minimum=0)),
    Contender("oracle", CAP, None),
]


def workload(jobs: Sequence[Job]) -> Workload:
    return Workload("drawn", lambda: iter(jobs), None)


def bound(
    jobs: Sequence[Job], *, steps: int = 200, platform: Platform | None = None, cap: int = CAP
) -> dict[float, float]:
    platform = platform or Platform()
    return lower_bound(
        workload(jobs),
        cap=cap,
        start_up_s=platform.start_up_s,
        concurrency=platform.concurrency,
        worths=WORTHS,
        steps=steps,
    )


drawn = st.lists(
    st.tuples(st.floats(0.0, 60.0), st.floats(0.1, 90.0)).map(lambda pair: (round(pair[0], 2), round(pair[1], 2))),
    min_size=1,
    max_size=25,
)
platforms = st.builds(
    Platform,
    start_up_s=st.sampled_from([0.0, 5.0, 20.0, 90.0]),
    concurrency=st.integers(1, 3),
    start_failure=st.sampled_from([0.0, 0.3]),
    drain_s=st.sampled_from([0.0, 10.0, math.inf]),
)


@pytest.mark.costly
@settings(max_examples=examples(10))
@given(gaps=drawn, platform=platforms, steps=st.sampled_from([5, 40, 200]))
def test_no_policy_pays_less(gaps: list[tuple[float, float]], platform: Platform, steps: int) -> None:
    now, jobs = 0.0, []
    for gap, service in gaps:
        now += gap
        jobs.append((now, service))
    figures = compare(workload(jobs), CONTENDERS, Setting(platform)).figures
    # Those that are taken away and still finish their jobs work beside as many as the cap allows.
    least = bound(jobs, steps=steps, platform=platform, cap=max(CAP, *(each.most for each in figures)))
    for worth in WORTHS:
        assert least[worth] >= 1.0
        for each in figures:
            if not each.unfinished:
                assert total_worth(each, worth) >= least[worth] - ROUNDING, (each.name, worth)
    for low, high in itertools.pairwise(WORTHS):
        assert least[high] >= least[low] - ROUNDING


@pytest.mark.costly
def test_one_job_pays_its_start_where_waiting_would_not_help() -> None:
    """A worker for 20 s and a start of 20 s: no policy does it for less than twice the work, but for half a worker."""
    alone = [(0.0, 20.0)]
    dear = bound(alone, steps=4000)
    assert dear[5.0] == pytest.approx(2.0, rel=0.03)
    # At v = 0.05, c workers cost c starts of 20 s and take 20 s / c: least at c = sqrt(v / 2).
    share = math.sqrt(0.05 / 2)
    assert dear[0.05] == pytest.approx(1 + share + 0.05 * 0.5 * (1 / share - 1), rel=0.03)


def test_a_burst_beyond_the_cap_is_charged_the_wait_that_the_cap_forces() -> None:
    """Two workers at most, eight jobs of 10 s at once: rounds of two wait 0, 10, 20 and 30 s."""
    burst = [(0.0, 10.0)] * 8
    least = bound(burst, steps=4000, cap=2)
    starts, waits = 2 * 20.0, 2 * (10 + 20 + 30)
    assert least[1.0] == pytest.approx((80 + starts + waits) / 80, rel=0.02)


def test_workers_that_run_several_jobs_are_counted_as_workers() -> None:
    together = [(0.0, 10.0)] * 4
    least = bound(together, platform=Platform(concurrency=4), steps=4000)
    # One worker for 10 s does the work, which is 10 worker-seconds; it is started once.
    assert least[5.0] == pytest.approx((10 + 20) / 10, rel=0.03)


@pytest.mark.costly
def test_a_finer_grid_lifts_the_bound() -> None:
    jobs = [(30.0 * number, 5.0 + number % 7) for number in range(100)]
    coarse, fine = bound(jobs, steps=100), bound(jobs, steps=800)
    assert all(coarse[worth] <= fine[worth] + ROUNDING for worth in WORTHS)
    assert fine[5.0] > 1.3


APART = [(at + number, 20.0) for at in (0.0, 2000.0, 4000.0) for number in range(30)]
LONGER_THAN_A_WINDOW = [(1000.0 + number, 20.0) for number in range(300)] + [(6000.0, 20.0)]


@pytest.mark.costly
@pytest.mark.parametrize("jobs", [APART, LONGER_THAN_A_WINDOW], ids=["bursts apart", "a backlog longer than a window"])
def test_solving_it_window_by_window_loses_hardly_anything(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> None:
    whole = bound(jobs, steps=600)
    monkeypatch.setattr("tests.bench.bound._KEPT", 60)
    monkeypatch.setattr("tests.bench.bound._AHEAD", 25)
    cut = bound(jobs, steps=600)
    for worth in WORTHS:
        assert whole[worth] * 0.99 <= cut[worth] <= whole[worth] + ROUNDING


@pytest.mark.parametrize("which", ["falls", "bounds"])
def test_prices_that_are_not_allowed_never_lift_the_bound(which: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the solver says is put right first: prices that fall too fast, values above a start, prices above 1."""
    import scipy.optimize

    best = bound(APART)
    solve = scipy.optimize.linprog

    def sloppy(*args: Any, **more: Any) -> Any:
        if which == "falls":
            more["b_ub"] = more["b_ub"] * np.where(more["b_ub"] == 1, 1, 3)
        else:
            more["bounds"] = more["bounds"] * 2
        return solve(*args, **more)

    monkeypatch.setattr("scipy.optimize.linprog", sloppy)
    worse = bound(APART)
    assert all(1.0 <= worse[worth] <= best[worth] + ROUNDING for worth in WORTHS)


def test_without_work_there_is_nothing_to_pay_for_and_the_bound_is_one() -> None:
    assert bound([]) == dict.fromkeys(WORTHS, 1.0)
    assert bound([(1.0, 0.0)]) == dict.fromkeys(WORTHS, 1.0)


def test_it_tells_how_far_it_has_come() -> None:
    told: list[float] = []
    lower_bound(
        replace(workload([(0.0, 20.0), (50.0, 20.0)]), span_s=100.0),
        cap=CAP,
        start_up_s=20.0,
        concurrency=1,
        worths=(0.2, 1.0),
        steps=100,
        progress=told.append,
    )
    assert told == [0.5, 1.0]
