"""The entries of the history: short texts that are read as they were written, and samples that add up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.reasons import Reason
from controller.core.timeline import (
    LONGEST_MESSAGE,
    REPEATED_S,
    Decided,
    Glance,
    Happening,
    Sample,
    Sampler,
    matching,
    written_anew,
)

COUNTS = st.none() | st.integers(0, 10_000)
FIGURES = st.dictionaries(st.text("abc_", min_size=1), st.integers() | st.text() | st.lists(st.text()), max_size=4)
HELD = Decided("held", ("Tier",), 5, 0, 3.0, 1, 1, 1, 1, at=1000.0)


@given(st.text(min_size=1, max_size=30), st.text(max_size=100), st.text(max_size=300), FIGURES)
def test_a_happening_is_read_as_it_was_written(event: str, worker: str, message: str, figures: dict[str, Any]) -> None:
    one = Happening(event, worker, message, "scaled 1", figures, 1_790_000_000.25)
    read = Happening.from_fields(one.as_fields(), 7.0)
    assert (read.event, read.worker, read.ident, read.at) == (event, worker, "scaled 1", 1_790_000_000.25)
    assert read.figures == figures
    assert len(read.message) <= LONGEST_MESSAGE
    if len(message) <= LONGEST_MESSAGE:
        assert read.message == message


@pytest.mark.parametrize("fields", [{}, {"f": "["}, {"f": "7"}, {"t": "x"}, {"t": "-1"}, {"e": "x" * 9999}])
def test_what_another_version_wrote_is_shown_as_far_as_it_can_be_read(fields: dict[str, str]) -> None:
    assert Happening.from_fields(fields, 7.0).at == 7.0


@given(
    st.sampled_from(["held", "applied", "failed"]),
    st.lists(st.sampled_from(Reason).map(str), max_size=4).map(tuple),
    st.tuples(COUNTS, COUNTS, st.none() | st.integers(0, 999), COUNTS, COUNTS, COUNTS, COUNTS),
)
def test_a_decision_is_read_as_it_was_written(outcome: str, reasons: tuple[str, ...], counts: tuple[Any, ...]) -> None:
    one = Decided(outcome, reasons, *counts)._replace(at=5.0)
    assert Decided.from_text(one.as_text(), 5.0) == one


@given(st.lists(COUNTS, min_size=7, max_size=7), COUNTS)
def test_a_sample_is_read_as_it_was_written(figures: list[float | None], shadow: int | None) -> None:
    one = Sample(60.0, *figures, at=5.0, shadow=shadow)  # type: ignore[misc, arg-type]  # mypy cannot count them
    assert Sample.from_text(one.as_text(), 5.0) == one
    assert one.as_text().count("|") == (7 if shadow is None else 8), "as the version before reads it, without a shadow"


@pytest.mark.parametrize("text", ["", "held", "held|Tier|x|||||||", "held|Tier|1|2|3|4|5|6", "held|Tier|-1||||||"])
def test_what_is_no_decision_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        Decided.from_text(text, 5.0)


@pytest.mark.parametrize(
    "text", ["", "1", "1|2|3", "|1|2|3|4|5|6|7", "x|1|2|3|4|5|6|7", "1|nan|2|3|4|5|6|7", "1|1|2|3|4|5|6|7|8|9"]
)
def test_what_is_no_sample_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"[a-z]"):
        Sample.from_text(text, 5.0)


@pytest.mark.parametrize(
    ("changes", "is_written"),
    [
        ({}, False),
        ({"pending": 9, "oldest_age_s": 60.0}, False),
        ({"reasons": ("Tier", "ScaleUpCooldown")}, True),
        ({"outcome": "failed"}, True),
        ({"desired": 2}, True),
        ({"running": 0}, True),
        ({"at": 1000.0 + REPEATED_S}, True),
    ],
)
def test_a_decision_is_written_if_it_differs_or_the_last_is_an_hour_old(
    changes: dict[str, Any],
    is_written: bool,  # noqa: FBT001  # a table
) -> None:
    assert written_anew(HELD, HELD._replace(**changes)) is is_written
    assert written_anew(None, HELD)


# --- samples ---


def glance(at: float, depth: int | None = 5, running: int | None = 2) -> Glance:
    return Glance(at, depth, None, running, running, running)


def shadowed(at: float, shadow: int | None) -> Glance:
    return Glance(at, 5, None, 2, 2, 2, shadow)


@given(st.lists(st.tuples(st.floats(0.5, 40), st.integers(0, 99), st.integers(0, 9)), min_size=2, max_size=80))
def test_the_worker_seconds_of_all_samples_are_those_that_were_seen(steps: list[tuple[float, int, int]]) -> None:
    """At most the last stretch, which has not ended, is missing."""
    sampler, at, total, samples = Sampler(60.0, 31.0), 1_000_000.0, 0.0, []
    before: int | None = None
    for seconds, depth, running in steps:
        at += seconds
        total += 0 if before is None else min(seconds, 31.0) * before
        samples += sampler.add(glance(at, depth, running))
        before = running
    samples += sampler.add(glance(at + 60, None, None))
    total += (before or 0) * 31.0
    seen = sum(one.seen_s * (one.running or 0.0) for one in samples)
    assert total - 60.0 * 9 <= seen + 1e-6 <= total + 0.1 * 9 * len(samples) + 1e-6
    assert all(0 < one.seen_s <= 60.05 or one.running is None for one in samples)


def test_a_sample_has_the_least_the_mean_and_the_most_jobs_of_its_minute() -> None:
    sampler = Sampler(60.0, 31.0)
    found = [one for at, depth in ((0, 10), (20, 40), (40, 1), (60, 7)) for one in sampler.add(glance(at, depth))]
    (one,) = found
    assert (one.at, one.depth_min, one.depth_mean, one.depth_max) == (60.0, 1, 17.0, 40)
    assert (one.seen_s, one.running, one.shadow) == (60.0, 2.0, None)


def test_a_shadow_that_begins_within_a_minute_has_the_mean_of_its_own_time() -> None:
    sampler = Sampler(60.0, 31.0)
    found = [one for at, shadow in ((0, None), (30, 2), (45, 4), (60, 9)) for one in sampler.add(shadowed(at, shadow))]
    assert [(one.running, one.shadow) for one in found] == [(2.0, 3.0)]


def test_what_no_cycle_saw_is_unknown_and_not_0() -> None:
    sampler = Sampler(60.0, 31.0)
    assert sampler.add(glance(5.0)) == []
    found = sampler.add(glance(600.0))
    assert [(one.at, one.seen_s) for one in found] == [(60.0, 31.0)], "no sample of the minutes without a cycle"
    found = sampler.add(glance(630.0, None, None))
    found = sampler.add(glance(661.0))
    assert [(one.at, one.seen_s, one.depth_mean) for one in found] == [(660.0, 30.0, 5.0)]


def test_a_clock_that_is_set_back_gives_no_sample_of_negative_length() -> None:
    sampler = Sampler(60.0, 31.0)
    sampler.add(glance(1000.0))
    assert sampler.add(glance(400.0)) == []
    assert all(one.seen_s >= 0 for one in sampler.add(glance(500.0)))


def test_entries_are_found_by_worker_reason_and_event() -> None:
    every = [
        Happening("scaled", "a", figures={"reasons": ["Tier"]}),
        Happening("scaled", "b", figures={"reasons": ["Tier", "Maximum"]}),
        Happening("lease_acquired"),
    ]
    assert matching(every, worker="a") == [every[0], every[2]], "what concerns no single worker concerns all"
    assert matching(every, reason="Maximum") == [every[1]]
    assert matching(every, event="scaled", worker="b") == [every[1]]
    assert matching(every) == every
