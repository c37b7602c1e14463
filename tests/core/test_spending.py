"""What the workers cost per day: sums of samples, and nothing for what was not seen."""

from __future__ import annotations

import pytest

from controller.core.spending import Day, days, together
from controller.core.timeline import Sample

MIDNIGHT = 1_790_035_200.0
"""2026-09-22 00:00 UTC."""


def sample(at: float, running: float | None, desired: float | None = 1.0, seen_s: float = 600.0) -> Sample:
    return Sample(seen_s, 0, 0, 0, None, running, running, desired, at=at)


def test_a_day_has_the_seconds_of_its_samples_beside_always_on_and_a_fixed_count() -> None:
    samples = [sample(MIDNIGHT + 600 * (number + 1), 2.0 if number < 6 else 0.5, 2.0) for number in range(12)]
    (day,) = days("w", samples, 5)
    assert day == Day("w", "2026-09-22", 7200.0, 6 * 600 * 2 + 6 * 600 * 0.5, 7200.0 * 5, 2, 7200.0 * 2)


def test_a_sample_that_ends_at_midnight_belongs_to_the_day_before() -> None:
    assert [day.day for day in days("w", [sample(MIDNIGHT, 1.0), sample(MIDNIGHT + 600, 1.0)], 5)] == [
        "2026-09-21",
        "2026-09-22",
    ]


def test_what_was_not_seen_costs_nothing_and_is_not_counted_as_always_on() -> None:
    (day,) = days("w", [sample(MIDNIGHT + 600, None), sample(MIDNIGHT + 1200, 1.0, seen_s=60.0)], 5)
    assert (day.seen_s, day.worker_s, day.always_s) == (60.0, 60.0, 300.0)
    assert days("w", [sample(MIDNIGHT + 600, None)], 5) == []


@pytest.mark.parametrize(
    ("desired", "fixed"),
    [([1.0] * 95 + [5.0] * 5, 1), ([1.0] * 94 + [5.0] * 6, 5), ([0.0] * 100, 0), ([1.5] * 100, 2), ([None] * 3, None)],
)
def test_the_fixed_count_is_enough_for_95_percent_of_the_time(desired: list[float | None], fixed: int | None) -> None:
    samples = [sample(MIDNIGHT + 600 * (number + 1), 1.0, wanted) for number, wanted in enumerate(desired)]
    assert days("w", samples, 5)[0].fixed == fixed


def test_a_sum_has_no_fixed_count_but_its_seconds_if_all_are_known() -> None:
    one, other = Day("w", "a", 10.0, 5.0, 50.0, 2, 20.0), Day("v", "a", 10.0, 6.0, 30.0, 1, 10.0)
    assert together("all", "", [one, other]) == Day("all", "", 20.0, 11.0, 80.0, None, 30.0)
    assert together("all", "", [one, Day("v", "a", 1.0, 1.0, 1.0, None, None)]).fixed_s is None
