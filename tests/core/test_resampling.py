"""Samples in equal steps: extremes stay extremes, and what was not seen is unknown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.resampling import in_steps
from controller.core.timeline import Sample


def sample(at: float, depth: float | None = 1.0, running: float | None = 1.0, seen_s: float = 60.0) -> Sample:
    return Sample(seen_s, depth, depth, depth, depth, running, running, running, at)


def test_the_shadow_of_a_step_is_the_mean_of_the_samples_that_have_one() -> None:
    first, second = sample(60)._replace(shadow=2.0), sample(120)._replace(shadow=4.0)
    steps = in_steps([first, second, sample(180), sample(240)], 0, 120, 2)
    assert [step and step.shadow for step in steps] == [3.0, None]


def test_a_sample_belongs_to_the_step_in_which_its_stretch_ends() -> None:
    steps = in_steps([sample(60), sample(120), sample(121), sample(0), sample(360)], 0, 120, 2)
    assert [step and (step.at, step.seen_s) for step in steps] == [(0, 120), (120, 60)]


def test_a_step_without_a_sample_is_unknown_and_not_zero() -> None:
    assert in_steps([sample(60)], 0, 60, 3)[1:] == [None, None]


def test_a_figure_that_no_sample_of_a_step_knows_stays_unknown() -> None:
    (step,) = in_steps([sample(60, depth=None), sample(120, depth=4.0, running=None)], 0, 120, 1)
    assert step is not None
    assert (step.depth_min, step.depth_mean, step.running) == (4.0, 4.0, 1.0)


def test_means_are_weighted_by_the_time_that_was_seen() -> None:
    (step,) = in_steps([sample(60, running=0.0, seen_s=10), sample(120, running=4.0, seen_s=30)], 0, 120, 1)
    assert step is not None
    assert step.running == pytest.approx(3.0)


@given(st.lists(st.tuples(st.integers(1, 200), st.floats(0, 1e6)), max_size=50), st.integers(1, 60))
def test_no_peak_is_lost_however_wide_the_steps_are(seen: list[tuple[int, float]], minutes: int) -> None:
    steps = in_steps([sample(60.0 * at, depth) for at, depth in seen], 0, 60 * minutes, -(-200 // minutes))
    highest = [step.depth_max for step in steps if step is not None and step.depth_max is not None]
    assert max(highest, default=0.0) == max((depth for _, depth in seen), default=0.0)
