"""Which counts are carried on to their limit, and what stands for those that are not."""

import pytest

from controller.adapters.queues.far import FarCounts, Wanted
from controller.model import QueueDepth

WANTED = Wanted("jobs", 10_000)


def near(pending: int, processing: int = 0, stale: int = 0) -> QueueDepth:
    return QueueDepth(pending, processing, 7.0, stale, limit=200)


def test_a_count_that_did_not_stop_is_the_whole_truth() -> None:
    counts = FarCounts()
    assert not counts.are_due(WANTED, near(199, 100), now=0)
    assert counts.complete(WANTED, near(199, 100)) == QueueDepth(199, 100, 7.0)


def test_a_count_that_may_not_go_further_is_not_carried_on() -> None:
    assert not FarCounts().are_due(Wanted("jobs", 200), near(200), now=0)


def test_what_a_far_count_found_stands_only_for_the_counts_that_stopped() -> None:
    counts = FarCounts()
    assert counts.are_due(WANTED, near(200, 12), now=0)
    counts.keep(WANTED, QueueDepth(4000, 11, 9.0, 2, limit=10_000), now=0)
    assert counts.complete(WANTED, near(200, 12)) == QueueDepth(4000, 12, 7.0)


@pytest.mark.parametrize(
    ("found", "holds_for"), [(10_000, 30.0), (5000, 15.0), (400, 1.2)], ids=["to the limit", "half as far", "not far"]
)
def test_the_further_a_count_went_the_longer_it_holds(found: int, holds_for: float) -> None:
    counts = FarCounts()
    counts.keep(WANTED, QueueDepth(found, 0, limit=10_000), now=100)
    assert not counts.are_due(WANTED, near(200), now=100 + holds_for - 0.01)
    assert counts.are_due(WANTED, near(200), now=100 + holds_for)


def test_a_count_that_grew_past_what_is_known_is_carried_on_at_once() -> None:
    counts = FarCounts()
    counts.keep(WANTED, QueueDepth(9000, 50, limit=10_000), now=0)
    assert counts.are_due(WANTED, near(200, 200), now=1)


def test_each_queue_and_each_limit_has_its_own_far_count() -> None:
    counts = FarCounts()
    counts.keep(WANTED, QueueDepth(9000, 0, limit=10_000), now=0)
    assert counts.are_due(Wanted("other", 10_000), near(200), now=1)
    assert counts.are_due(Wanted("jobs", 20_000), near(200), now=1)
