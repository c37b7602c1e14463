"""Production controllers in a simulated world with many faults: each promise is kept under each of them.

The first 20 seeds (in `make test-long` 3000), and those that once found a bug. `make simulate-faults SEEDS=20000` runs
more; a failing seed is replayed with `python -m tests.virtual --trace`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.support.examples import examples, some
from tests.virtual.episode import PLATFORMS
from tests.virtual.seeds import run_chunk, run_with

_SEEDS = examples(20, 3000)
_CHUNK = examples(20, 60)
"""Short, so that they spread over the test run's processes; long enough for every kind of misfortune to come up."""
_FOUND_A_BUG = (1088, 1349, 20647, 20809, 31024, 31318, 31536, 43221, 43302, 800005, 800022, 1000076, 1001071)
_FOUND_A_BUG_ON_KUBERNETES = (1911, 50057, 50580, 50646, 51157, 61019, 71914, 123133)
_ROOT = Path(__file__).parents[2]


@pytest.mark.costly
@pytest.mark.parametrize("first", range(0, _SEEDS, _CHUNK))
def test_every_promise_is_kept_whatever_strikes(first: int) -> None:
    total = run_chunk(range(first, first + _CHUNK))
    assert total.violating == [], "replay a seed with: python -m tests.virtual --trace SEED"
    assert total.why_vacuous() == []


# With the misfortunes that were added later, they are seeds like all others.
@pytest.mark.costly
@pytest.mark.parametrize(
    "undisturbed",
    some([pytest.param(True, id="as they were then"), pytest.param(False, id="with what came later")], every=2),
)
def test_seeds_that_once_found_a_bug_find_none(undisturbed: bool) -> None:  # noqa: FBT001  # a parameter of the test
    assert run_chunk(_FOUND_A_BUG, undisturbed=undisturbed, platform="railway").violating == []


@pytest.mark.costly
def test_seeds_that_once_found_a_bug_on_kubernetes_find_none() -> None:
    assert run_chunk(_FOUND_A_BUG_ON_KUBERNETES, platform="kubernetes").violating == []


@pytest.mark.costly
def test_the_same_seed_gives_the_same_trace_byte_for_byte_in_any_process() -> None:
    here = ["\n".join(run_with(None, 7, with_trace=True, platform=name).trace) for name in PLATFORMS]
    calls = "; ".join(f"main(['--trace', '7', '--platform', '{name}'])" for name in PLATFORMS)
    for hash_seed in ("1", "2")[: examples(1, 2)]:  # this process has another one
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(_ROOT)}
        command = [sys.executable, "-c", f"from tests.virtual.__main__ import main; {calls}"]
        there = subprocess.run(command, env=environment, cwd=_ROOT, capture_output=True, text=True, check=True).stdout
        assert re.split(r"\n\nseed 7: .*\n", there) == [*here, ""]
    assert all(len(trace.splitlines()) > 50 for trace in here)


def test_a_run_in_which_too_little_happened_fails_as_vacuous() -> None:
    from tests.virtual.seeds import Sum

    assert Sum(seeds=1).why_vacuous()
    said = "; ".join(Sum(seeds=30, platforms=Counter(railway=20, kubernetes=10)).why_vacuous())
    for what in (
        "refused by the fence",
        "rollouts",
        "moves of regions",
        "updates of several regions",
        "fallbacks",
        "overrides",
        "by a schedule",
        "steps of budgets",
        "was old",
        "was failed",
        "was too slow",
    ):
        assert what in said
