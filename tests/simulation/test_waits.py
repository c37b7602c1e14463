"""Percentiles of many durations, in little memory."""

from __future__ import annotations

import itertools
import math
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.simulation import waits as module
from controller.simulation.waits import Waits
from tests.support.examples import examples

SHARES = [0.0, 0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0]


def nearest_rank(values: list[float], share: float) -> float:
    return sorted(values)[max(1, math.ceil(share * len(values) - 1e-9)) - 1]


def collected(*parts: list[float]) -> Waits:
    waits = Waits()
    for part in parts:
        waits.extend(part)
    return waits


@given(st.lists(st.lists(st.floats(0, 1e7), max_size=20), max_size=5), st.sampled_from(SHARES))
def test_few_are_exact(parts: list[list[float]], share: float) -> None:
    waits, values = collected(*parts), list(itertools.chain(*parts))
    assert waits.count == len(values)
    assert waits.longest == max(values, default=0.0)
    assert waits.percentile(share) == (nearest_rank(values, share) if values else 0.0)
    assert waits.mean == pytest.approx(math.fsum(values) / len(values) if values else 0.0)
    assert waits.over(60.0) == sum(value > 60.0 for value in values)


def test_adding_goes_on_after_a_percentile_was_asked_for() -> None:
    waits = collected([3.0, 1.0])
    assert waits.percentile(0.5) == 1.0
    waits.extend([2.0, 0.0, 0.0])
    assert (waits.percentile(0.5), waits.percentile(1.0), waits.over(0.0)) == (1.0, 3.0, 3)


@settings(max_examples=examples(12))
@given(st.integers(0, 1000), st.sampled_from([0.5, 30.0, 5000.0]), st.sampled_from(SHARES))
def test_many_are_within_one_per_cent(seed: int, scale: float, share: float) -> None:
    random = Random(seed)
    parts = [[random.expovariate(1 / scale) for _ in range(70)] for _ in range(20)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_EXACT", 100)
        waits, values = collected(*parts), list(itertools.chain(*parts))
        assert waits.percentile(share) == pytest.approx(nearest_rank(values, share), rel=0.0051, abs=0.001)
        assert (waits.count, waits.longest) == (len(values), max(values))
        assert waits.mean == pytest.approx(math.fsum(values) / len(values))
        assert waits.over(scale) == pytest.approx(sum(value > scale for value in values), abs=0.02 * len(values))


def test_memory_does_not_grow_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EXACT", 100)
    waits = Waits()
    for number in range(500):
        waits.extend([number % 97 * 1.7] * 40)
    assert (waits.count, len(waits._kept) <= 140, len(waits._classes) <= 97) == (20_000, True, True)


def test_exactly_the_limit_is_still_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EXACT", 5)
    assert collected([1.234567] * 5).percentile(0.5) == 1.234567
    assert collected([1.234567] * 5, [2.0]).percentile(0.5) != 1.234567


def test_waits_of_nothing_stay_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_EXACT", 3)
    waits = collected([0.0] * 50, [10.0])
    assert (waits.percentile(0.5), waits.over(0.0)) == (0.0, 1)
    assert waits.percentile(1.0) == pytest.approx(10.0, rel=0.01)
