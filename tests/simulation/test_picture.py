"""A picture shows what was seen, and what holds where nothing was seen."""

from __future__ import annotations

import pytest

from controller.simulation.picture import caption, drawable, in_columns, series_points, unit_of_time
from controller.simulation.series import Series
from tests.simulation.drawn import CAP, CONTENDERS, comparison


def test_each_step_shows_its_most_jobs_and_all_the_workers_that_were_asked_for_in_it() -> None:
    series = Series()
    series.note(1.0, 4, 1, 1)
    series.note(2.0, 7, 0, 3)
    series.note(11.0, 2, 3, 2)
    points = series_points(series, 20.0)
    assert points.times == [0.0, 10.0, 20.0]
    assert (points.waiting, points.busy, points.depth) == ([7, 2, 0], [1, 3, 0], [8, 5, 0])
    assert (points.least, points.most, points.workers) == ([1, 2, 2], [3, 2, 2], [3, 2, 2])


def test_each_step_shows_its_fewest_jobs_too() -> None:
    series = Series()
    series.note(0.0, 0, 0, 1)
    series.note(11.0, 4, 1, 1)
    series.note(12.0, 7, 3, 3)
    # Three came in the second step, began in it, and end after it.
    series.note_waits([(25.0, 0, (11.0, 14.0, 0.0), 0.0)] * 3)
    points = series_points(series, 30.0)
    assert points.depth[:2] == [0, 10]
    assert (points.fewest, points.fewest_busy) == ([0, 0, 0, 0], [0, 0, 0, 0])
    # In a column of both steps, the most and the fewest are those of both.
    column = in_columns(points, 1)
    assert (column.depth[0], column.fewest[0], column.least[0], column.most[0]) == (10, 0, 1, 3)


def test_without_a_look_the_jobs_are_counted_and_the_workers_are_those_that_were_asked_for_last() -> None:
    series = Series()
    series.note(0.0, 0, 0, 1)
    series.note(5.0, 0, 0, 2)
    # Came at 12 s, began at 34 s, ended at 55 s; and one that began when it came, at 15 s, and ended at 35 s.
    series.note_waits([(35.0, 0, (15.0, 20.0, 0.0), 0.0), (55.0, 0, (12.0, 21.0, 0.0), 22.0)])
    points = series_points(series, 100.0)
    assert points.times == [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 100.0]
    assert points.waiting == [0, 1, 1, 0, 0, 0, 0, 0]
    assert points.busy == [0, 1, 1, 1, 1, 0, 0, 0]
    assert points.waits == [0.0, 0.0, 0.0, 22.0, 0.0, 0.0, 0.0, 0.0]
    assert points.workers == points.most == [2] * 8
    assert points.least == [1, *[2] * 7], "what is held is what was asked for last"


def test_a_policy_that_never_looks_again_has_a_queue_in_the_picture() -> None:
    (_, points), *_ = drawable(comparison(CONTENDERS[:1]))
    assert max(points.busy) == CAP
    assert max(points.waiting) >= 10
    assert points.depth[-1] == 0
    assert set(points.workers) == {CAP}


def test_steps_that_became_longer_keep_the_workers_of_the_last_look() -> None:
    series = Series()
    series.note(0.0, 0, 0, 5)
    series.note_waits([(10.0, 0, (5.0, 1.0, 0.0), 6.0)])
    series.note_waits([(200_000.0, 0, (190_000.0, 1.0, 0.0), 1.0)])
    assert series.step_s > 10
    assert set(series_points(series, 200_000.0).workers) == {5}


def test_a_run_in_which_nothing_was_seen_is_a_flat_line() -> None:
    points = series_points(Series(), 3600.0)
    assert (points.times, points.depth, points.waits) == ([0.0, 3600.0], [0, 0], [0.0, 0.0])


def test_the_picture_ends_where_the_run_ends() -> None:
    series = Series()
    series.note(0.0, 0, 0, 1)
    series.note(30.0, 0, 0, 2)
    assert series_points(series, 30.0).times == [0.0, 10.0, 30.0]
    assert series_points(series, 35.0).times == [0.0, 10.0, 30.0, 35.0]


@pytest.mark.parametrize(
    ("span_s", "unit"), [(90.0, "seconds"), (3600.0, "minutes"), (6 * 3600.0, "hours"), (90 * 86_400.0, "days")]
)
def test_the_time_axis_is_in_a_unit_that_fits(span_s: float, unit: str) -> None:
    assert unit_of_time(span_s)[0] == unit


def test_the_clairvoyant_has_no_picture() -> None:
    assert [figures.name for figures, _ in drawable(comparison())] == [each.name for each in CONTENDERS[:3]]


def test_a_panel_says_what_the_policy_costs_and_how_long_its_jobs_wait() -> None:
    figures = comparison().figures[0]
    words = caption(figures)
    assert f"${figures.dollars_a_month:,.2f}/month" in words
    assert f"cost/W {figures.cost_over_work:.2f}" in words
    assert "wait p95" in words
    assert "avoidable p95" in words
