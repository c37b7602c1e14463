"""What a process counts of its own cycles, for /metrics. All times are arguments."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.core.model import Finished, Replicas, ServiceState, ServiceTime
from controller.core.reasons import Because, Reason
from controller.loop.counts import Counts, Histogram
from controller.loop.cycle import LONGEST_CYCLE_S, Cycle, Outcome
from tests.web.stand_ins import cycle

LONGEST_S = 31.0
"""Three intervals of 10 s, and 1 s."""


def with_running(running: int | None) -> Cycle:
    seen = None if running is None else Replicas(running, running, running, ServiceState.RUNNING)
    return replace(cycle(), replicas=seen)


@pytest.mark.parametrize(
    ("seen", "seconds"),
    [
        pytest.param([(0, 3), (10, 3)], 30.0, id="3 workers for 10 s"),
        pytest.param([(0, 3), (10, 1), (20, 1)], 40.0, id="a count holds until the next cycle"),
        pytest.param([(0, 0), (10, 0)], 0.0, id="no worker costs nothing, and that is known"),
        pytest.param([(0, 3)], 0.0, id="one cycle alone says nothing of the time before it"),
        pytest.param([(0, 3), (60, 3), (70, 3)], 30.0, id="a gap is not counted, another replica may have led"),
        pytest.param([(0, 3), (10, None), (20, 3)], 30.0, id="time with an unknown count is not counted"),
        pytest.param([(0, None), (10, None)], None, id="unknown is not 0"),
    ],
)
def test_worker_seconds(seen: list[tuple[float, int | None]], seconds: float | None) -> None:
    counts = Counts()
    for at, running in seen:
        counts.cycle(with_running(running), at, LONGEST_S)
    assert counts.worker_seconds.get("w") == seconds


def jobs(*ends: float) -> Cycle:
    """Jobs that ended then, each of which waited a tenth of that time."""
    finished = tuple(Finished(end, 1.0, (end - 1 - end / 10, end - 1)) for end in ends)
    return replace(cycle(), service=ServiceTime(1.0, 1.0, len(ends), finished=finished))


def waited(*readings: tuple[float, Cycle]) -> tuple[int, float]:
    counts = Counts()
    for at, reading in readings:
        counts.cycle(reading, at, LONGEST_S)
    waits = counts.waits.get("w", Histogram(()))
    return sum(waits.counts), round(waits.sum, 6)


def test_a_job_s_wait_is_counted_once_however_often_it_is_read() -> None:
    assert waited((0, jobs(10)), (10, jobs(10, 20)), (20, jobs(10, 20)), (30, jobs(20, 30))) == (2, 5.0)


def test_jobs_that_ended_before_the_first_reading_are_not_counted() -> None:
    assert waited((0, jobs(10, 20))) == (0, 0.0)


def test_jobs_that_ended_in_a_gap_are_not_counted_because_another_replica_may_have_led() -> None:
    assert waited((0, jobs(10)), (60, jobs(20)), (70, jobs(20, 30))) == (1, 3.0)


def test_a_reading_without_jobs_forgets_none() -> None:
    assert waited((0, jobs(10)), (10, cycle()), (20, jobs(10, 20))) == (1, 2.0)


def test_a_job_without_times_is_not_counted() -> None:
    untold = replace(cycle(), service=ServiceTime(1.0, 1.0, 1, finished=(Finished(20.0, 1.0),)))
    assert waited((0, jobs(10)), (10, untold)) == (0, 0.0)


@pytest.mark.parametrize("outcome", Outcome)
def test_only_a_cycle_that_did_not_fail_is_a_success_and_only_a_held_one_has_a_reason_counted(outcome: Outcome) -> None:
    counts = Counts()
    counts.cycle(cycle(outcome), 0.0, LONGEST_S)
    lost = outcome in {Outcome.FAILED, Outcome.CRASHED, Outcome.FENCED}
    assert counts.last_success == ({} if lost else {"w": 1_700_000_000.0})
    assert counts.holds == ({("w", "Tier"): 1} if outcome is Outcome.HELD else {})
    assert counts.outcomes == {("w", outcome.value): 1}


def test_a_cycle_that_exceeded_its_deadline_counts_as_long_as_that() -> None:
    counts = Counts()
    counts.cycle(replace(cycle(), because=(Because(Reason.TIMED_OUT, "words"),)), 0.0, LONGEST_S)
    assert counts.cycles.sum == LONGEST_CYCLE_S


def test_a_histogram_puts_a_value_into_the_bucket_whose_bound_it_reaches() -> None:
    histogram = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 9.0):
        histogram.add(value)
    assert [count for _, count in histogram.cumulative] == [2, 3, 4]
    assert histogram.sum == 12.0


def test_a_worker_that_left_the_policy_is_forgotten_and_the_others_stay() -> None:
    counts = Counts()
    for at in (0.0, 10.0):
        for worker in ("w", "v"):
            counts.cycle(replace(cycle(Outcome.HELD), worker=worker), at, LONGEST_S)
    counts.serve(["v"])
    assert {worker for worker, _ in counts.outcomes} == {worker for worker, _ in counts.holds} == {"v"}
    assert list(counts.worker_seconds) == list(counts.last_success) == ["v"]
