"""Production's own controllers in a simulated world full of misfortunes: every promise is kept, whatever strikes.

`make simulate-faults SEEDS=20000` runs more of it; a failing seed is replayed with `python -m tests.virtual --trace`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.virtual.seeds import run_chunk, run_with

_SEEDS = 2000
_CHUNKS = 8
"""Several, so that they spread over the test run's processes."""
_ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("chunk", range(_CHUNKS))
def test_every_promise_is_kept_whatever_strikes(chunk: int) -> None:
    part = _SEEDS // _CHUNKS
    total = run_chunk(range(chunk * part, (chunk + 1) * part))
    assert total.violating == [], "replay a seed with: python -m tests.virtual --trace SEED"
    assert total.why_vacuous() == []


def test_the_same_seed_gives_the_same_trace_byte_for_byte_in_any_process() -> None:
    here = "\n".join(run_with(None, 7, with_trace=True).trace)
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(_ROOT)}
        command = [sys.executable, "-m", "tests.virtual", "--trace", "7"]
        there = subprocess.run(command, env=environment, cwd=_ROOT, capture_output=True, text=True, check=True).stdout
        assert there.startswith(here + "\n\nseed 7:")
    assert len(here.splitlines()) > 50


def test_a_run_in_which_too_little_happened_fails_as_vacuous() -> None:
    from tests.virtual.seeds import Sum

    assert Sum(seeds=1).why_vacuous()
