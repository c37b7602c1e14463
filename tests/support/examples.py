"""How much a random test draws: little in each run of the suite, more in `make test-long`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

LONG = os.environ.get("AUTOSCALER_TEST_LONG", "") not in {"", "0"}


def examples(few: int, many: int | None = None) -> int:
    """As many examples, seeds or days as this run is to try; many: by default ten times as many."""
    return few if not LONG else 10 * few if many is None else many


def some(cases: Sequence[T], every: int, first: int = 0) -> list[T]:
    """Each `every`-th of the cases, from `first` on; in `make test-long` all of them."""
    return list(cases) if LONG else list(cases[first % every :: every])
