"""Durations: one form for people, one for the policy, which is what the policy reads back."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core.units import as_policy, in_seconds, in_words, money, percent, seconds_of


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.0004, "0.4 ms"),
        (0.0084, "8.4 ms"),
        (0.00996, "10 ms"),
        (0.0842, "84 ms"),
        (0.5, "500 ms"),
        (0.9994, "999 ms"),
        (0.9996, "1 s"),
        (1, "1 s"),
        (1.25, "1.2 s"),
        (7.44, "7.4 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (42.4, "42 s"),
        (59.4, "59 s"),
        (59.6, "1 min"),
        (74.2, "1 min 14 s"),
        (300, "5 min"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h"),
        (7500, "2 h 5 min"),
        (7529, "2 h 5 min"),
        (86_369, "23 h 59 min"),
        (86_371, "1 d"),
        (129_600, "1 d 12 h"),
        (1000 * 86_400, "1,000 d"),
        (-74.2, "-1 min 14 s"),
        (math.inf, "an unknown time"),
        (math.nan, "an unknown time"),
    ],
)
def test_people_read_two_units_at_most(seconds: float, words: str) -> None:
    assert in_words(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (0.04, "0.0 s"),
        (5, "5.0 s"),
        (74.24, "74.2 s"),
        (99.94, "99.9 s"),
        (99.96, "100 s"),
        (3600, "3,600 s"),
    ],
)
def test_times_that_are_compared_are_all_in_seconds(seconds: float, text: str) -> None:
    assert in_seconds(seconds) == text


_UNITS = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86_400}


@given(st.floats(0.001, 1e7))
def test_what_people_read_is_off_by_less_than_a_tenth(seconds: float) -> None:
    parts = re.findall(r"([\d.,]+) (ms|s|min|h|d)\b", in_words(seconds))
    read = sum(float(number.replace(",", "")) * _UNITS[unit] for number, unit in parts)
    assert read == pytest.approx(seconds, rel=0.06)
    assert 1 <= len(parts) <= 2


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.0005, "0.5ms"),
        (0.5, "500ms"),
        (1, "1s"),
        (1.5, "1.5s"),
        (74, "74s"),
        (74.2, "74.2s"),
        (14.8999999999, "14.9s"),
        (90, "90s"),
        (120, "2m"),
        (3600, "1h"),
        (86_400, "24h"),
    ],
)
def test_a_policy_reads_the_shortest_form_that_is_exact(seconds: float, text: str) -> None:
    assert as_policy(seconds) == text
    assert seconds_of(text) == pytest.approx(seconds)


@given(st.integers(0, 31 * 24 * 3600 * 1000))
def test_every_duration_is_read_back_as_it_was_written(milliseconds: int) -> None:
    assert seconds_of(as_policy(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("30", "is not a duration; write 500ms, 30s, 2m or 1h"),
        ("30 s", "is not a duration"),
        ("-1s", "is not a duration"),
        ("1m14s", "is not a duration"),
        ("1e3s", "is not a duration"),
        ("745h", "is longer than a month"),
        ("9" * 400 + "s", "is longer than a month"),
    ],
)
def test_what_is_no_duration_is_refused_with_what_to_write(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        seconds_of(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(percent(0.913, 1), "91.3 %", id="a share with a digit"),
        pytest.param(percent(0.916), "92 %", id="a share"),
        pytest.param(percent(12.5), "1,250 %", id="a large share"),
        pytest.param(percent(0.1, signed=True), "+10 %", id="a rise"),
        pytest.param(percent(-0.1, signed=True), "-10 %", id="a fall"),
        pytest.param(percent(-0.004, signed=True), "0 %", id="a fall that rounds to nothing"),
        pytest.param(percent(0.004, signed=True), "0 %", id="a rise that rounds to nothing"),
        pytest.param(money(1021.376), "$1,021.38", id="money"),
        pytest.param(money(1.2, signed=True), "+$1.20", id="more money"),
        pytest.param(money(-1.2, signed=True), "-$1.20", id="less money"),
        pytest.param(money(-0.001, signed=True), "$0.00", id="less money that rounds to nothing"),
    ],
)
def test_shares_and_money_have_one_form(text: str, expected: str) -> None:
    assert text == expected
