"""Made-up workloads are what their names and numbers say, the same for the same seed; what is not known is refused."""

from __future__ import annotations

import math
import statistics
import tracemalloc
from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core.problems import ConfigurationError
from controller.simulation.workload.generators import NAMES, generate
from controller.simulation.workload.jobs import DAY_S, Job, measure
from tests.support.examples import examples, some

WEEK_S = 7 * DAY_S


def made(text: str, *, span_s: float = WEEK_S, seed: int = 1) -> list[Job]:
    return list(generate(text, seed=seed, span_s=span_s).jobs())


@pytest.mark.costly
@pytest.mark.parametrize("name", NAMES)
def test_left_alone_each_keeps_two_workers_busy(name: str) -> None:
    jobs = made(name, span_s=3 * WEEK_S)
    assert sum(job[1] for job in jobs) / (3 * WEEK_S) == pytest.approx(2.0, rel=0.03)


@pytest.mark.parametrize("name", NAMES)
def test_one_seed_gives_the_same_jobs_and_another_gives_others(name: str) -> None:
    workload = generate(name, seed=5, span_s=DAY_S)
    jobs = list(workload.jobs())
    assert jobs == list(workload.jobs()) == made(name, seed=5, span_s=DAY_S)
    assert jobs != made(name, seed=6, span_s=DAY_S)
    assert (workload.name, workload.span_s, workload.began, workload.notes) == (name, DAY_S, None, ())


@pytest.mark.parametrize("name", NAMES)
def test_another_service_time_meets_the_same_arrivals(name: str) -> None:
    one, other = (made(f"{name}:{options}", span_s=DAY_S) for options in ("service=5s", "service=50s,cv=2"))
    assert [arrival for arrival, *_ in one] == [arrival for arrival, *_ in other]


OPTIONS: Mapping[str, st.SearchStrategy[str]] = {
    "poisson": st.sampled_from(["", ":rate=1/m", ":cv=0", ":rate=86400/d,service=500ms"]),
    "diurnal": st.sampled_from(["", ":swing=0", ":swing=1", ":rate=360/h,swing=0.5"]),
    "bursts": st.sampled_from(["", ":rate=0/s", ":size=1", ":every=10s,size=3", ":size=1.5"]),
    "cron": st.sampled_from(["", ":rate=0/s", ":every=7s,jobs=1", ":every=31m"]),
}


@pytest.mark.costly
@settings(max_examples=examples(24))
@given(st.sampled_from(NAMES).flatmap(lambda name: OPTIONS[name].map(name.__add__)), st.integers(), st.floats(1, 9e4))
def test_jobs_are_in_order_and_within_the_window(text: str, seed: int, span_s: float) -> None:
    jobs = made(text, seed=seed, span_s=span_s)
    arrivals = [arrival for arrival, *_ in jobs]
    assert arrivals == sorted(arrivals)
    assert all(0 <= arrival < span_s for arrival in arrivals)
    assert all(0 <= job[1] < math.inf for job in jobs)


@pytest.mark.parametrize("rate", ["0.1/s", "6/m", "360/h", "8640/d"])
def test_a_rate_is_per_second_minute_hour_or_day(rate: str) -> None:
    assert made(f"poisson:rate={rate}", span_s=DAY_S) == made("poisson:rate=0.1/s", span_s=DAY_S)


def test_poisson_arrivals_have_no_memory() -> None:
    arrivals = [arrival for arrival, *_ in made("poisson:rate=6/m")]
    per_minute = Counter(int(arrival // 60) for arrival in arrivals)
    counts = [per_minute[minute] for minute in range(7 * 1440)]
    assert statistics.fmean(counts) == pytest.approx(6, rel=0.02)
    assert statistics.variance(counts) == pytest.approx(6, rel=0.06)


@pytest.mark.costly
@pytest.mark.parametrize("cv", some([1.0, 0.0, 2.0, 0.5], every=2))
def test_service_times_vary_as_much_as_they_are_asked_to(cv: float) -> None:
    services = [job[1] for job in made(f"poisson:service=30s,cv={cv:g}", span_s=2 * WEEK_S)]
    assert statistics.fmean(services) == pytest.approx(30, rel=0.03)
    assert statistics.pstdev(services) / statistics.fmean(services) == pytest.approx(cv, rel=0.1)
    if cv == 1:
        assert statistics.median(services) == pytest.approx(30 * math.log(2), rel=0.02), "exponential"


@pytest.mark.costly
def test_by_day_it_is_busy_and_at_midnight_quiet() -> None:
    hours = Counter(int(arrival % DAY_S // 3600) for arrival, *_ in made("diurnal:rate=20/m,swing=0.8"))
    mean = sum(hours.values()) / 24
    for hour in range(24):
        assert hours[hour] / mean == pytest.approx(
            1 - 0.8 * math.cos(2 * math.pi * (hour + 0.5) / 24), rel=0.05, abs=0.02
        )


@pytest.mark.costly
def test_bursts_come_at_one_moment_at_random_on_top_of_a_trickle() -> None:
    moments = Counter(arrival for arrival, *_ in made("bursts:rate=1/m,every=30m,size=40", span_s=8 * WEEK_S))
    bursts = {at: size for at, size in moments.items() if size > 1}
    assert len(bursts) == pytest.approx(16 * 168, rel=0.07)
    assert statistics.fmean(bursts.values()) == pytest.approx(41, rel=0.07), "one that is one job is not seen as such"
    assert statistics.pstdev(bursts.values()) == pytest.approx(40, rel=0.1), "geometric"
    assert len(moments) - len(bursts) == pytest.approx(8 * 7 * 1440 + 16 * 168 / 40, rel=0.02)
    assert set(Counter(arrival for arrival, *_ in made("bursts:rate=0/s,size=1")).values()) == {1}


def test_cron_comes_by_the_clock_with_all_its_jobs() -> None:
    moments = Counter(arrival for arrival, *_ in made("cron:rate=0/s,every=30m,jobs=7", span_s=2 * 3600))
    assert moments == {0: 7, 1800: 7, 3600: 7, 5400: 7}
    assert len(made("cron:rate=0/s,every=30m,jobs=7", span_s=2 * 3600 + 1)) == 5 * 7
    moments = Counter(arrival for arrival, *_ in made("cron:rate=2/m,every=30m,jobs=7"))
    assert [at for at, jobs in moments.items() if jobs > 1] == [1800.0 * run for run in range(336)]
    assert len(moments) - 336 == pytest.approx(2 * 7 * 1440, rel=0.03)


@pytest.mark.parametrize(
    ("text", "place", "said"),
    [
        ("", "--workload", "'' is not a known workload; known are poisson, diurnal, bursts, cron"),
        ("poison", "--workload", "did you mean poisson? known are"),
        ("poisson:rates=6/m", "--workload poisson", "'rates' is not a key of poisson; did you mean rate? known are"),
        ("poisson:swing=1", "--workload poisson", "known are rate, service, cv"),
        ("poisson:", "--workload poisson", "'' is not a key"),
        ("poisson:rate=6/m,", "--workload poisson", "'' is not a key"),
        ("poisson:rate", "--workload poisson:rate", "has no value; write rate=6/m"),
        ("poisson:rate=6/m,rate=7/m", "--workload poisson:rate", "is given twice"),
        ("poisson:rate=6", "--workload poisson:rate", "'6' is not a rate; write jobs per second, minute, hour or day"),
        ("poisson:rate=-6/m", "--workload poisson:rate", "is not a rate"),
        ("poisson:rate=6/w", "--workload poisson:rate", "is not a rate"),
        ("poisson:rate=nan/m", "--workload poisson:rate", "is not a rate"),
        ("poisson:rate=0/s", "--workload poisson:rate", "'0/s' is 0; give more than 0"),
        ("poisson:service=20", "--workload poisson:service", "'20' is not a duration; write 500ms, 30s, 2m or 1h"),
        ("poisson:service=0s", "--workload poisson:service", "is 0;"),
        ("poisson:service=9999h", "--workload poisson:service", "longer than a month"),
        ("poisson:cv=-1", "--workload poisson:cv", "'-1' is not a number from 0 to 100"),
        ("poisson:cv=nan", "--workload poisson:cv", "is not a number"),
        ("poisson:cv=1_0", "--workload poisson:cv", "is not a number"),
        ("diurnal:swing=1.1", "--workload diurnal:swing", "is not a number from 0 to 1"),
        ("bursts:size=0.5", "--workload bursts:size", "is not a number from 1 to 1e+06"),
        ("bursts:every=0s", "--workload bursts:every", "is 0;"),
        ("cron:jobs=1.5", "--workload cron:jobs", "is not a whole number"),
        ("cron:jobs=0", "--workload cron:jobs", "is not a whole number"),
        ("poisson:rate=1000/s", "--workload poisson", "makes some 604,800,000 jobs"),
        ("cron:every=1ms,jobs=1", "--workload cron", "makes some 604,840,320 jobs"),
    ],
)
def test_what_is_not_known_is_refused_with_what_is(text: str, place: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        made(text)
    (problem,) = refused.value.problems
    assert problem.place == place
    assert said in problem.text


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(ConfigurationError) as refused:
        made("cron:jobs=x,often=1,every=7,rate=1/m")
    assert [problem.place for problem in refused.value.problems] == [
        "--workload cron",
        "--workload cron:every",
        "--workload cron:jobs",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_memory_does_not_grow_with_the_jobs(name: str) -> None:
    workload = generate(name, seed=1, span_s=2 * DAY_S)
    tracemalloc.start()
    try:
        assert sum(1 for _ in workload.jobs()) > 14_000
        assert tracemalloc.get_traced_memory()[1] < 100_000, "bytes; a list of them would take a million"
    finally:
        tracemalloc.stop()
    assert measure(workload).jobs > 14_000
