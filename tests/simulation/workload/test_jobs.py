"""Workloads that are measured, stretched, thinned, cut and resampled: tables, and properties over random ones."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core.problems import ConfigurationError
from controller.simulation.workload import jobs as workload_module
from controller.simulation.workload.jobs import (
    DAY_S,
    Job,
    Measured,
    Workload,
    first,
    halves,
    measure,
    quantile,
    resampled,
    scaled,
    span_of,
)
from tests.support.examples import examples

WEEK_S = 7 * DAY_S


def workload(*jobs: Job, span_s: float | None = None, began: float | None = None) -> Workload:
    return Workload("made up", lambda: iter(jobs), span_s, began, ("as it was",))


def every(gap_s: float, span_s: float, service_s: float = 1.0) -> Workload:
    def jobs() -> Iterator[Job]:
        for number in range(math.ceil(span_s / gap_s)):
            yield number * gap_s, service_s

    return Workload("regular", jobs, span_s)


def load(one: Workload) -> float:
    return measure(one).work_s / span_of(one)


@st.composite
def workloads(draw: st.DrawFn, *, least: int = 1) -> Workload:
    gaps = draw(st.lists(st.floats(0, 1e5), min_size=least, max_size=60))
    jobs, at = [], 0.0
    for gap in gaps:
        at += gap
        jobs.append((at, draw(st.floats(0.001, 1e4))))
    span = draw(st.one_of(st.none(), st.floats(0.001, 1e5).map(lambda more: at + more)))
    return workload(*jobs, span_s=span)


def test_a_workload_is_measured_in_one_pass() -> None:
    jobs = [(2.0 + number, float(number % 100 + 1)) for number in range(200)]
    assert measure(workload(*jobs)) == Measured(200, 2.0, 201.0, 10_100.0, 50.5, 50.0, 99.0)
    assert measure(workload((3, 4))) == Measured(1, 3, 3, 4, 4, 4, 4)
    assert measure(workload()) == Measured(0, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1), (0.1, 1), (0.11, 2), (0.5, 5), (0.51, 6), (0.7, 7), (0.99, 10), (1.0, 10)]
)
def test_a_quantile_is_the_least_value_that_the_share_does_not_exceed(share: float, value: int) -> None:
    assert quantile(range(1, 11), share) == value


def test_a_window_ends_with_the_last_job_by_default() -> None:
    assert [span_of(workload((1, 1), (5, 1), span_s=span)) for span in (None, 9.0)] == [5, 9]
    assert span_of(workload()) == 0


@pytest.mark.parametrize(
    ("span", "seconds", "new_span", "jobs"),
    [(None, 5, 5, 2), (None, 5.5, 5.5, 3), (None, 9, 9, 3), (None, 20, None, 4), (30, 20, 20, 4), (12, 20, 12, 4)],
)
def test_the_first_seconds_of_a_workload(span: float | None, seconds: float, new_span: float | None, jobs: int) -> None:
    whole = workload((0, 1), (2, 1), (5, 1), (9, 1), span_s=span, began=100.0)
    part = first(whole, seconds)
    assert (part.span_s, part.began, part.notes) == (new_span, 100.0, ("as it was",))
    assert list(part.jobs()) == list(whole.jobs())[:jobs]


def test_two_thirds_are_for_tuning_and_one_for_trying() -> None:
    tuned, tried = halves(workload((0, 1), (5, 2), (6, 3), (9, 4), span_s=9.0, began=100.0))
    assert (list(tuned.jobs()), tuned.span_s, tuned.began) == ([(0, 1), (5, 2)], 6, 100)
    assert (list(tried.jobs()), tried.span_s, tried.began) == ([(0, 3), (3, 4)], 3, 106)


@given(workloads())
def test_no_job_is_lost_between_the_halves(whole: Workload) -> None:
    tuned, tried = halves(whole)
    assert [job[1] for part in (tuned, tried) for job in part.jobs()] == [job[1] for job in whole.jobs()]
    assert span_of(tuned) + span_of(tried) == pytest.approx(span_of(whole))
    assert all(0 <= arrival <= span_of(part) for part in (tuned, tried) for arrival, *_ in part.jobs())


def test_each_job_keeps_its_queue_whatever_is_done_to_the_workload() -> None:
    jobs = [(60.0 * number, float(number % 7), f"q{number % 7}") for number in range(7 * 1440)]
    whole = replace(workload(), jobs=lambda: iter(jobs), span_s=WEEK_S, queues=tuple(f"q{n}" for n in range(7)))
    tuned, tried = halves(whole)
    for changed in (tuned, tried, first(whole, DAY_S), resampled(whole, 1), scaled(whole, load=0.02, by="thin")):
        assert changed.queues == whole.queues
        assert {(job[1], *job[2:]) for job in changed.jobs()} == {(float(n), f"q{n}") for n in range(7)}
    assert [job[2:] for job in scaled(whole, service_mean=9).jobs()] == [job[2:] for job in jobs]


def test_nothing_is_scaled_that_was_not_asked_for() -> None:
    whole = workload((0, 1), (5, 1))
    assert scaled(whole) is whole
    same = scaled(whole, load=0.4, service_mean=1)
    assert (list(same.jobs()), same.notes) == (list(whole.jobs()), ("as it was",))


def test_what_was_done_to_a_workload_is_noted() -> None:
    jobs = [(float(number), 10.0) for number in range(100)]
    whole = workload(*jobs[:-1], (99, 1000), began=5.0)
    done = scaled(whole, load=2, service_mean=7, winsorise=0.99)
    assert done.notes == ("as it was", "time axis × 3.54, service winsorised at p99 and × 0.7")
    assert done.began is None, "on another time axis no date is right"
    assert scaled(whole, service_mean=7).began == 5
    assert scaled(whole, winsorise=0.99).notes[1:] == ("service winsorised at p99",)
    assert scaled(whole, service_mean=199).notes[1:] == ("service × 10",)
    assert scaled(whole, load=10, by="thin").notes[1:] == ("a random 49.7 % of the jobs",)


@given(
    workloads(least=2).filter(lambda one: span_of(one) > 0.01),
    st.floats(0.01, 50),
    st.floats(0.1, 1000),
    st.sampled_from([None, 0.5, 0.9, 0.99]),
)
def test_a_stretched_workload_has_the_load_and_the_mean_that_were_asked_for(
    whole: Workload, wanted: float, mean: float, winsorise: float | None
) -> None:
    done = scaled(whole, load=wanted, service_mean=mean, winsorise=winsorise)
    measured = measure(done)
    assert [load(done), measured.mean_s] == pytest.approx([wanted, mean])
    assert measured.jobs == measure(whole).jobs
    assert measured.last <= span_of(done) * (1 + 1e-12)
    assert load(scaled(whole, load=wanted)) == pytest.approx(wanted)
    assert measure(scaled(whole, load=wanted)).mean_s == pytest.approx(measure(whole).mean_s)


def test_long_jobs_are_cut_before_the_mean_is_made() -> None:
    whole = workload((0, 3), (1, 500), *[(float(number), 1.0) for number in range(2, 100)])
    assert max(job[1] for job in scaled(whole, winsorise=0.99).jobs()) == 3
    done = list(scaled(whole, winsorise=0.99, service_mean=1.04 * 5).jobs())
    assert [job[1] for job in done] == pytest.approx([15, 15] + [5] * 98)


def test_thinning_keeps_a_part_of_the_jobs_where_they_are() -> None:
    whole = every(1, 20_000, 4.0)
    done = scaled(whole, load=1, by="thin", seed=7)
    kept = list(done.jobs())
    assert len(kept) == pytest.approx(5000, rel=0.06)
    assert set(kept) < set(whole.jobs())
    assert kept == list(done.jobs()) == list(scaled(whole, load=1, by="thin", seed=7).jobs())
    assert kept != list(scaled(whole, load=1, by="thin", seed=8).jobs())
    assert done.span_s == 20_000
    assert list(scaled(whole, load=4, by="thin").jobs()) == list(whole.jobs())


@pytest.mark.parametrize(
    ("whole", "wanted", "said"),
    [
        (workload((0, 1), (9, 1), span_s=10.0), {"load": 1, "by": "thin"}, "cannot raise that to 1"),
        (workload((0, 1), (9, 1)), {"load": 0}, "a load of 0; give one above 0"),
        (workload((0, 1), (9, 1)), {"load": math.nan}, "a load of nan"),
        (workload((0, 1), (9, 1)), {"service_mean": -3}, "a mean service time of -3"),
        (workload((0, 1), (9, 1)), {"winsorise": 1.5}, "a quantile of 1.5"),
        (workload((0, 0), (9, 0)), {"load": 1}, "has no work"),
        (workload((0, 0), (9, 0)), {"service_mean": 1}, "has no work"),
        (workload(), {"load": 1}, "has no work"),
        (workload((0, 1), (0, 1)), {"load": 1}, "at the same time"),
    ],
)
def test_what_cannot_be_scaled_is_refused(whole: Workload, wanted: dict[str, float], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        scaled(whole, **wanted)  # type: ignore[arg-type]
    assert [problem.place for problem in refused.value.problems] == ["made up"]


def test_a_week_drawn_anew_keeps_the_time_of_day() -> None:
    """Each day of nine has one job an hour, which says at what hour and on which day it came."""
    days = Workload("nine days", lambda: ((hour * 3600.0 + 60, float(hour)) for hour in range(9 * 24)), 9 * DAY_S)
    week = list(resampled(days, 1).jobs())
    assert len(week) == 7 * 24
    assert all(arrival % DAY_S == (service * 3600 + 60) % DAY_S for arrival, service, *_ in week)
    drawn = [int(job[1]) // 24 for job in week]
    assert all(len(set(drawn[day * 24 : day * 24 + 24])) == 1 for day in range(7)), "a day is a day of the old ones"
    seen = {int(job[1]) // 24 for seed in range(20) for job in resampled(days, seed).jobs()}
    assert seen == set(range(9)), "each day has its chance"
    hours = [int(job[1]) // 24 for job in resampled(days, 1, block_s=3600).jobs()]
    assert len(set(hours[:24])) > 3, "shorter blocks come from several days"
    assert measure(resampled(days, 1, weeks=3)).jobs == 21 * 24


def test_of_a_day_the_time_of_day_is_kept_within_an_hour_and_no_two_days_are_the_same() -> None:
    day = Workload("a day", lambda: ((minute * 60.0, float(minute)) for minute in range(24 * 60)), DAY_S - 60)
    week = list(resampled(day, 1).jobs())
    shifts = [(arrival - service * 60) % DAY_S for arrival, service, *_ in week]
    assert max(min(shift, DAY_S - shift) for shift in shifts) <= 3660
    days = {tuple(service for arrival, service, *_ in week if arrival // DAY_S == number) for number in range(7)}
    assert len(days) == 7


def test_of_an_hour_every_part_comes_again() -> None:
    hour = Workload("an hour", lambda: ((minute * 60.0, float(minute)) for minute in range(60)), 3600.0)
    week = resampled(hour, 1)
    assert {job[1] for job in week.jobs()} == set(range(60))
    assert measure(week).jobs == pytest.approx(7 * 24 * 60, rel=0.02)
    assert week.notes[-1] == "resampled in blocks of 7 min 30 s from 1 h (seed 1)"


@settings(max_examples=examples(16))
@given(workloads(least=2).filter(lambda one: span_of(one) > 1000), st.integers(0, 1000), st.integers(1, 2))
def test_what_is_drawn_anew_is_in_order_and_made_of_old_jobs(whole: Workload, seed: int, weeks: int) -> None:
    drawn = resampled(whole, seed, weeks=weeks)
    jobs = list(drawn.jobs())
    arrivals = [arrival for arrival, *_ in jobs]
    assert drawn.span_s == weeks * WEEK_S
    assert arrivals == sorted(arrivals)
    assert all(0 <= arrival <= weeks * WEEK_S for arrival in arrivals)
    assert {job[1] for job in jobs} <= {job[1] for job in whole.jobs()}
    assert jobs == list(drawn.jobs()) == list(resampled(whole, seed, weeks=weeks).jobs())


def test_rounding_carries_no_job_past_the_next_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each block begins just before the end of the window with a job, and has its last one just before its own end."""
    span = 7777.7
    start = span - span / 8 / 400
    jobs = ((math.nextafter(start + span / 8 - span, 0), 1.0), (start, 2.0))
    monkeypatch.setattr(workload_module, "_start", lambda *_: start)
    arrivals = [arrival for arrival, *_ in resampled(workload(*jobs, span_s=span), 1).jobs()]
    assert len(arrivals) > 900
    assert arrivals == sorted(arrivals)


@pytest.mark.costly
def test_the_mean_of_many_drawn_weeks_is_the_old_one_s() -> None:
    busy = Workload(
        "busy on day 4",
        lambda: ((at * 60.0, 1.0) for at in range(10 * 1440) if at // 1440 == 4 or not at % 10),
        10 * DAY_S,
    )
    counts = [measure(resampled(busy, seed)).jobs for seed in range(60)]
    assert sum(counts) / 60 == pytest.approx(measure(busy).jobs * 0.7, rel=0.15)
    assert len(set(counts)) > 3


def test_without_a_window_nothing_is_drawn() -> None:
    with pytest.raises(ConfigurationError, match="has a window of 0 s"):
        resampled(workload((0, 1)), 1)
