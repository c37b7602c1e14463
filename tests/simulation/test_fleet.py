"""A fleet on small workloads: who begins when, who is paid for, who is removed, and when a look happens."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.simulation.contenders import own_worker
from controller.simulation.fleet import Platform
from controller.simulation.own import OwnPolicy
from controller.simulation.peers import Static
from controller.simulation.scaler import NEVER
from controller.simulation.workload.jobs import Job
from tests.simulation.runs import Ledger, Scripted, platforms, random_jobs, run
from tests.support.examples import examples

INSTANT = Platform(start_up_s=0.0)


def static(replicas: int) -> Static:
    return Static(replicas, NEVER, replicas=replicas)


@st.composite
def scripts(draw: st.DrawFn) -> list[tuple[float, int]]:
    """Ends with a worker, so that every job is done in the end."""
    steps = draw(st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 4)), max_size=12))
    return [*sorted((float(at), count) for at, count in steps), (3001.0, 2)]


def overlap(begun: Sequence[tuple[float, float, float]]) -> float:
    return sum(end - start for _, start, end in begun)


@pytest.mark.costly
@settings(max_examples=examples(10, 200))
@given(random_jobs(), platforms, scripts())
def test_every_job_is_done_once_and_in_its_time(
    jobs: list[Job], platform: Platform, script: list[tuple[float, int]]
) -> None:
    ledger = run(Scripted(script), jobs, platform, cap=4)
    assert sorted(job[:2] for _, _, job, _ in ledger.finished) == sorted(jobs)
    assert all(start >= arrival for arrival, start, _ in ledger.begun)
    assert all(end == job[0] + wait + job[1] for end, _, job, wait in ledger.finished)
    assert (ledger.jobs, ledger.unfinished) == (len(jobs), 0)
    assert ledger.work_s == sum(job[1] for job in jobs)


@pytest.mark.costly
@settings(max_examples=examples(10, 200))
@given(random_jobs(), platforms, scripts())
def test_jobs_begin_in_order_of_arrival_as_long_as_none_is_given_back(
    jobs: list[Job], platform: Platform, script: list[tuple[float, int]]
) -> None:
    ledger = run(Scripted(script), jobs, platform, cap=4)
    arrivals = [arrival for arrival, _, _ in ledger.begun]
    assert ledger.given_back or arrivals == sorted(arrivals)


def hands_at(ledger: Ledger, moment: float, each: int) -> int:
    return each * sum(change for at, change in ledger.readied if at <= moment)


@pytest.mark.costly
@settings(max_examples=examples(10, 200))
@given(random_jobs(), st.integers(1, 3), st.sampled_from([0.0, 5.0, 20.0]), st.lists(st.integers(0, 2000), max_size=4))
def test_no_job_waits_while_a_worker_is_idle(jobs: list[Job], each: int, start_up: float, more_at: list[int]) -> None:
    """Workers are only added, so that each that is ready takes jobs."""
    script = [(0.0, 1), *((float(at), 2 + number) for number, at in enumerate(sorted(more_at)))]
    ledger = run(Scripted(script), jobs, Platform(start_up_s=start_up, concurrency=each), cap=6)
    moments = sorted({time for one in ledger.begun for time in one} | {at for at, _ in ledger.readied})
    for moment in moments:
        at_work = sum(start <= moment < end for _, start, end in ledger.begun)
        waits = any(arrival <= moment < start for arrival, start, _ in ledger.begun)
        hands = hands_at(ledger, moment, each)
        assert at_work <= hands
        assert not waits or at_work == hands


@pytest.mark.costly
@settings(max_examples=examples(8, 140))
@given(random_jobs(most=15, longest=100), platforms, scripts())
def test_no_second_of_work_and_none_that_is_paid_is_lost_from_the_books(
    jobs: list[Job], platform: Platform, script: list[tuple[float, int]]
) -> None:
    """All happens at even seconds, so that what is seen at each odd one holds from the one before to the next."""
    even = [(2 * arrival, 2 * service) for arrival, service, *_ in jobs]
    doubled = [(2 * at, count) for at, count in script]
    drain = NEVER if platform.drain_s == NEVER else 2 * platform.drain_s
    both = Platform(
        2 * platform.start_up_s, drain, platform.start_failure, platform.concurrency, platform.idle_first, platform.seed
    )
    scaler = Scripted(doubled)
    ledger = run(scaler, even, both, cap=4)
    busy = sum(2 * busy for now, _, busy, _, _ in scaler.looks if now % 2)
    assert busy == ledger.work_s + ledger.lost_s
    ready = sum(number * sum(row) for number, row in ledger.together.items())
    starting = sum(2 * (count_at(ledger, now) - running) for now, _, _, running, _ in scaler.looks if now % 2)
    assert ledger.paid_s == ready + starting
    assert sum(map(sum, ledger.together.values())) == ledger.end_s


def count_at(ledger: Ledger, moment: float) -> int:
    return next((after for at, _, after in reversed(ledger.actions) if at <= moment), 0)


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_a_fleet_that_never_changes_costs_its_workers_for_the_span(replicas: int) -> None:
    jobs = [(float(13 * number), 20.0) for number in range(50)]
    ledger = run(static(replicas), jobs, cap=5, until=5000.0)
    assert ledger.paid_s == replicas * ledger.end_s
    assert (ledger.end_s, ledger.starts, ledger.downs, ledger.most_paid) == (5000.0, replicas, 0, replicas)
    assert ledger.at_cap_s == (5000.0 if replicas == 5 else 0.0)


def test_a_fleet_without_workers_leaves_every_job_and_says_so() -> None:
    ledger = run(static(0), [(0.0, 5.0), (10.0, 5.0)], cap=1)
    week = 7 * 24 * 3600.0
    assert (ledger.jobs, ledger.unfinished, ledger.paid_s, ledger.end_s) == (0, 2, 0.0, week + 10)
    assert ledger.left == [week + 10, week]
    assert ledger.at_zero_s == week + 10


def test_a_job_that_is_longer_than_the_run_is_counted_as_not_finished() -> None:
    ledger = run(Scripted([(0.0, 1)], interval=3600.0), [(0.0, 5.0), (1.0, 1e7), (2.0, 5.0)], INSTANT, cap=1)
    assert (ledger.jobs, ledger.unfinished) == (1, 2)
    assert ledger.left == [4.0, ledger.end_s - 2.0]


@pytest.mark.parametrize(("start_up", "begins"), [(0.0, 0.0), (0.25, 0.25), (20.0, 20.0), (90.5, 90.5)])
def test_a_worker_begins_to_the_second_when_it_has_started(start_up: float, begins: float) -> None:
    ledger = run(static(1), [(0.0, 5.0)], Platform(start_up_s=start_up))
    assert ledger.begun == [(0.0, begins, begins + 5.0)]
    assert ledger.paid_s == begins + 5.0


def test_a_start_that_fails_is_tried_again_and_paid_for() -> None:
    times = set()
    for seed in range(40):
        ledger = run(static(1), [(0.0, 1.0)], Platform(start_up_s=10.0, start_failure=0.5, seed=seed))
        times.add(ledger.begun[0][1])
        assert ledger.paid_s == ledger.end_s
    assert times >= {10.0, 20.0, 30.0}
    assert all(time % 10 == 0 for time in times)


# Two jobs of 100 s, the first of which began at 0; at 10 its worker is taken, at 20 another one comes.
@pytest.mark.parametrize(
    ("drain", "begun", "lost", "paid"),
    [
        (NEVER, [(0, 0, 100), (1, 20, 120)], 0, 100 + 100),
        (90, [(0, 0, 100), (1, 20, 120)], 0, 100 + 100),
        (0, [(0, 20, 120), (1, 120, 220)], 10, 10 + 200),
        (5, [(0, 20, 120), (1, 120, 220)], 15, 15 + 200),
        (89, [(1, 20, 120), (0, 120, 220)], 99, 99 + 200),
    ],
    ids=[
        "draining without an end",
        "draining just long enough",
        "no draining",
        "draining ends before the other worker comes",
        "draining ends after the other worker came",
    ],
)
def test_a_worker_that_is_taken_finishes_in_time_or_gives_its_job_back_to_its_place(
    drain: float, begun: list[tuple[float, float, float]], lost: float, paid: float
) -> None:
    platform = Platform(start_up_s=0.0, drain_s=drain)
    ledger = run(Scripted([(0, 1), (10, 0), (20, 1)], interval=5.0), [(0.0, 100.0), (1.0, 100.0)], platform, cap=1)
    assert ledger.begun == begun
    assert (ledger.lost_s, ledger.paid_s, ledger.given_back) == (lost, paid, int(lost > 0))


@pytest.mark.parametrize("each", [2, 3])
def test_a_worker_gives_back_all_that_it_has_not_finished(each: int) -> None:
    """It is taken at 10 and has 20 s; the job of 15 s is done, the others begin anew on the worker that comes at 40."""
    platform = Platform(start_up_s=0.0, drain_s=20.0, concurrency=each)
    jobs = [(0.0, 15.0), *[(1.0, 100.0)] * (each - 1)]
    ledger = run(Scripted([(0, 1), (10, 0), (40, 1)], interval=5.0), jobs, platform, cap=1)
    assert ledger.begun == [(0, 0, 15), *[(1, 40, 140)] * (each - 1)]
    assert (ledger.lost_s, ledger.given_back, ledger.paid_s) == (29 * (each - 1), each - 1, 30 + 100)


@pytest.mark.parametrize("each", [1, 2, 3])
def test_a_worker_does_as_many_jobs_at_once_as_it_may(each: int) -> None:
    ledger = run(static(1), [(0.0, 10.0)] * 6, Platform(start_up_s=0.0, concurrency=each))
    assert [start for _, start, _ in ledger.begun] == [10.0 * (number // each) for number in range(6)]
    assert ledger.paid_s == 60 / each


@pytest.mark.parametrize("seed", range(6))
def test_where_idle_workers_go_first_no_job_is_disturbed(seed: int) -> None:
    """All five have had a job; three of them are at work, one of which will be done first."""
    platform = Platform(start_up_s=0.0, drain_s=0.0, idle_first=True, seed=seed)
    first = seed % 5
    jobs = [(1.0, 3.0 if number in {first, (first + 1) % 5} else 50.0 + number) for number in range(5)]
    ledger = run(Scripted([(0, 5), (10, 3)]), jobs, platform)
    assert (ledger.given_back, ledger.lost_s) == (0, 0)


def test_otherwise_chance_takes_workers_whatever_they_do() -> None:
    lost = [
        run(Scripted([(0, 5), (10, 3)]), [(1.0, 50.0)] * 3, Platform(0.0, drain_s=0.0, seed=seed)).given_back
        for seed in range(60)
    ]
    assert set(lost) == {0, 1, 2}
    assert sum(lost) / 60 == pytest.approx(2 * 3 / 5, abs=0.25)


def test_one_that_still_starts_is_taken_without_a_loss() -> None:
    ledger = run(Scripted([(0, 1), (5, 0), (30, 1)]), [(1.0, 10.0)], cap=1)
    assert (ledger.paid_s, ledger.begun, ledger.flaps) == (5 + 20 + 10, [(1.0, 50.0, 60.0)], 0)


@pytest.mark.parametrize(("again_at", "flaps"), [(25.0, 1), (30.0, 1), (31.0, 0)])
def test_a_stop_that_is_taken_back_before_a_start_would_have_paid_is_a_flap(again_at: float, flaps: int) -> None:
    ledger = run(Scripted([(0, 1), (10, 0), (again_at, 1)]), [(50.0, 10.0)], cap=1)
    assert (ledger.flaps, ledger.starts, ledger.ups, ledger.downs) == (flaps, 2, 2, 1)


@pytest.mark.parametrize(
    ("wake", "arrivals", "looks"),
    [
        (None, [3.0, 14.0], [0, 10, 20]),
        (1.0, [3.0, 14.0], [0, 3, 10, 14, 20]),
        (1.0, [3.0, 3.25, 3.5], [0, 3, 4, 10, 20]),
        (4.0, [3.0, 5.0, 6.0, 14.0], [0, 3, 7, 10, 14, 20]),
        (4.0, [8.0, 9.0], [0, 8, 10, 20]),
    ],
    ids=[
        "no wake-ups",
        "each job wakes",
        "jobs within a second wake once more",
        "wake-ups are 4 s apart",
        "the next look comes before a wake-up",
    ],
)
def test_a_look_comes_by_the_clock_or_with_a_job(wake: float | None, arrivals: list[float], looks: list[float]) -> None:
    scaler = Scripted([(0, 1)], interval=10.0, wake_interval=wake)
    run(scaler, [(at, 1.0) for at in arrivals], INSTANT, cap=1, until=21.0)
    assert [now for now, *_ in scaler.looks] == looks
    assert [notified for *_, notified in scaler.looks] == [now % 10 != 0 for now in looks]


@pytest.mark.parametrize(
    ("up_at", "looks"), [(10.0, [0, 10, 20, 30]), (13.0, [0, 10, 13, 23, 33]), (99.0, [0, 10, 20])]
)
def test_a_change_begins_the_interval_anew(up_at: float, looks: list[float]) -> None:
    scaler = Scripted([(up_at, 1)], interval=10.0, wake_interval=1.0)
    run(scaler, [(13.0, 1.0)] if up_at == 13 else [], INSTANT, cap=1, until=35.0 if up_at < 99 else 25.0)
    assert [now for now, *_ in scaler.looks] == looks


@pytest.mark.costly
@settings(max_examples=examples(8, 140))
@given(random_jobs(), platforms, scripts(), st.integers(1, 7))
def test_it_is_all_the_same_in_how_many_pieces_the_jobs_are_fed(
    jobs: list[Job], platform: Platform, script: list[tuple[float, int]], chunk: int
) -> None:
    whole = run(Scripted(script, wake_interval=4.0), jobs, platform, cap=4)
    assert run(Scripted(script, wake_interval=4.0), jobs, platform, cap=4, chunk=chunk).outcome == whole.outcome


def test_what_a_scaler_is_told_of_ended_jobs_does_not_grow_with_them() -> None:
    ledger = run(static(1), [(float(number), 0.5) for number in range(5000)], INSTANT, cap=1, chunk=100)
    assert len(ledger._untold) == 500
    assert len(ledger.fresh()) == 500
    assert ledger.fresh() == []
    assert math.isclose(ledger.work_s, 2500)


@pytest.mark.costly
@settings(max_examples=examples(10, 200))
@given(random_jobs(longest=5), st.sampled_from([None, 1.0, 3.0]), st.sampled_from([1, 2, 3, 1000]))
def test_jobs_of_one_instant_are_seen_together(jobs: list[Job], wake: float | None, chunk: int) -> None:
    """No worker runs before the last of them has come, so that all that came are waiting."""
    scaler = Scripted([(0.0, 0), (jobs[-1][0] + 1, 2)], interval=10.0, wake_interval=wake)
    run(scaler, jobs, chunk=chunk)
    for now, waiting, _, _, notified in scaler.looks:
        if now <= jobs[-1][0]:
            before, until = (sum(at < now for at, *_ in jobs), sum(at <= now for at, *_ in jobs))
            # A wake-up by an earlier job, put off for `wake`, may fall on this instant too: it comes first.
            put_off = wake is not None and any(now - wake <= at < now for at, *_ in jobs)
            assert waiting in ({until} if notified and not put_off else {before, until})


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_a_burst_of_one_instant_asks_for_all_its_workers_at_once(chunk: int) -> None:
    tiers = [{"up_to": 0, "replicas": 0}, {"up_to": 10, "replicas": 1}, {"up_to": 30, "replicas": 2}, {"replicas": 5}]
    policy = own_worker({"max_replicas": 5, "tiers": tiers, "scale_up": {"cooldown": "30s"}})
    for at in (60.0, 104.0):  # at a look, and between two
        ledger = run(OwnPolicy(policy, 10.0, 1.0), [(at, 5.0)] * 40, chunk=chunk)
        assert ledger.actions[0] == (at, 0, 5)
