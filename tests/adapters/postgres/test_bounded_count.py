"""Which counts are carried on to their limit, and what stands for those that are not."""

from dataclasses import replace

import pytest

from controller.adapters.postgres.bounded_count import ExactCounts, Limits, Wanted
from controller.core.model import QueueDepth

WANTED = Wanted("jobs", 10_000)
STOPS = Limits(200, 200)


def bounded(pending: int, processing: int = 0, stale: int = 0) -> QueueDepth:
    return QueueDepth(pending, processing, 7.0, stale, limit=200)


def exact(pending: int, processing: int = 0, stale: int = 0) -> QueueDepth:
    return QueueDepth(pending, processing, 9.0, stale, limit=10_000)


@pytest.mark.parametrize(
    ("limit", "enough", "busy", "stops"),
    [
        (10_000, 101, 0, (101, 101)),
        (10_000, 501, 0, (501, 501)),
        (10_000, 11, 600, (100, 600)),
        (50, 11, 600, (50, 50)),
    ],
    ids=["bounded enough", "a high top tier", "many jobs in work decide", "never past the limit"],
)
def test_every_reading_counts_as_far_as_decisions_need_it(
    limit: int, enough: int, busy: int, stops: tuple[int, int]
) -> None:
    assert Limits.bounded(limit, enough, busy) == stops


def test_a_count_that_did_not_stop_is_the_whole_truth() -> None:
    counts = ExactCounts()
    assert not counts.are_due(WANTED, bounded(199, 100), STOPS, now=0)
    assert counts.complete(WANTED, bounded(199, 100), STOPS) == QueueDepth(199, 100, 7.0, 0)


def test_a_count_that_may_not_go_further_is_not_carried_on() -> None:
    assert not ExactCounts().are_due(Wanted("jobs", 200), bounded(200), STOPS, now=0)


def test_what_a_far_count_found_stands_only_for_the_counts_that_stopped() -> None:
    counts = ExactCounts()
    assert counts.are_due(WANTED, bounded(200, 12), STOPS, now=0)
    counts.keep(WANTED, exact(4000, 11, 2), now=0)
    assert counts.complete(WANTED, bounded(200, 12), STOPS) == QueueDepth(4000, 12, 7.0, 0)


def test_jobs_in_work_stop_where_they_are_told_to_and_not_where_those_that_wait_do() -> None:
    counts = ExactCounts()
    stops = Limits(200, 600)
    assert not counts.are_due(WANTED, bounded(50, 599), stops, now=0)
    assert counts.are_due(WANTED, bounded(50, 600), stops, now=0)
    counts.keep(WANTED, exact(50, 700), now=0)
    assert counts.complete(WANTED, bounded(51, 600), stops) == QueueDepth(51, 700, 7.0, 0)


@pytest.mark.parametrize(
    ("found", "holds_for"),
    [(10_000, 9.0), (5000, 4.5), (400, 0.36)],
)
def test_the_further_a_count_went_the_longer_it_holds(found: int, holds_for: float) -> None:
    counts = ExactCounts()
    counts.keep(WANTED, exact(found), now=100)
    assert not counts.are_due(WANTED, bounded(200), STOPS, now=100 + holds_for - 0.01)
    assert counts.are_due(WANTED, bounded(200), STOPS, now=100 + holds_for)


def test_a_count_that_grew_past_what_is_known_is_carried_on_at_once() -> None:
    counts = ExactCounts()
    counts.keep(WANTED, exact(9000, 50), now=0)
    assert counts.are_due(WANTED, bounded(200, 200), STOPS, now=1)


def test_after_an_exact_count_that_took_too_long_the_bounded_count_is_shown_for_60_s() -> None:
    counts = ExactCounts()
    counts.give_up(WANTED, now=0)
    assert not counts.are_due(WANTED, bounded(200), STOPS, now=59)
    assert counts.complete(WANTED, bounded(200, 3), STOPS).sentence == "200+ jobs (200+ pending, 3 processing)"
    assert counts.are_due(WANTED, bounded(200), STOPS, now=60)


def test_each_queue_and_each_limit_has_its_own_far_count() -> None:
    counts = ExactCounts()
    counts.keep(WANTED, exact(9000), now=0)
    assert counts.are_due(Wanted("other", 10_000), bounded(200), STOPS, now=1)
    assert counts.are_due(Wanted("jobs", 20_000), bounded(200), STOPS, now=1)


def test_jobs_that_fall_due_soon_stop_where_those_that_wait_do_and_are_completed_as_they_are() -> None:
    counts, stops = ExactCounts(), Limits(200, 600)
    assert not counts.are_due(WANTED, replace(bounded(0), soon=199), stops, now=0)
    assert counts.are_due(WANTED, replace(bounded(0), soon=200, ahead_s=20.0), stops, now=0)
    counts.keep(WANTED, replace(exact(1), soon=3000), now=0)
    complete = counts.complete(WANTED, replace(bounded(0), soon=200, ahead_s=20.0), stops)
    assert (complete.soon, complete.ahead_s, complete.pending) == (3000, 20.0, 0)
    assert counts.complete(WANTED, bounded(200), stops).soon is None, "unknown stays unknown"
