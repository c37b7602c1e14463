"""What is measured of finished jobs in the simulator is what a plain count over all of them gives."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.simulation.measured import Recent
from tests.simulation.measured import plainly_measured
from tests.support.examples import examples


@settings(max_examples=examples(16))
@given(st.lists(st.floats(0.001, 1e4), max_size=60), st.integers(1, 20))
def test_what_is_measured_is_the_longer_mean_of_the_newest_and_of_all(services: list[float], newest: int) -> None:
    recent = Recent()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("controller.simulation.measured.MEASURED_JOBS", newest)
        patch.setattr("tests.simulation.measured.MEASURED_JOBS", newest)
        for number, service in enumerate(services, 1):
            recent.add([(float(number), 0, (0.0, service, 0.0), 0.0)])
            plain, measured = plainly_measured(services[:number]), recent.measured(number)
            assert measured is not None
            assert plain is not None
            assert measured.mean_s == pytest.approx(plain.mean_s, rel=0.021)  # a step more or less by a last digit
            assert (measured.median_s, measured.jobs) == (plain.median_s, plain.jobs)


def test_nothing_is_measured_where_nothing_is_done() -> None:
    assert Recent().measured(0.0) is None


def test_a_job_that_hung_counts_as_ten_times_the_99th_percentile() -> None:
    recent = Recent()
    for number, service in enumerate([10.0] * 99 + [100_000.0]):
        recent.add([(float(number), 0, (0.0, service, 0.0), 0.0)])
    measured = recent.measured(100.0)
    assert measured is not None
    assert (measured.mean_s, measured.median_s, measured.jobs) == (10.8, 10.0, 100)


def test_arrivals_are_counted_over_the_newest_jobs_and_not_of_a_few() -> None:
    recent = Recent()
    for number in range(29):
        recent.add([(2.0 * number, 0, (2.0 * number, 1.0, 0.0), 0.0)])
    few = recent.measured(60.0)
    recent.add([(58.0, 0, (58.0, 1.0, 0.0), 0.0)])
    enough = recent.measured(60.0)
    assert few is not None
    assert enough is not None
    assert (few.arrivals_per_s, enough.arrivals_per_s) == (0.0, 0.5)
