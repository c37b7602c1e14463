"""`tune` with fewer candidates and shorter weeks, and `check` with a shorter look for tiers that flap.

They do the same with few as with many.
"""

from __future__ import annotations

import pytest

from controller.simulation import candidates, flaps, tune

FEW: dict[str, object] = {
    "_WAITS": (5.0, 30.0, 240.0),
    "_COOLDOWNS": ((0.0, 30.0), (30.0, 120.0)),
    "_IDLE_OFFS": (0.0, 60.0),
    "_FINER": (0.85, 1.2),
    "_STABILIZATION_WINDOWS": (60.0,),
    "_TOLERANCES": ("10%",),
}
_JOBS_A_WEEK = 1000


def search_among_few(patch: pytest.MonkeyPatch) -> None:
    for name, value in FEW.items():
        assert hasattr(candidates, name), name
        patch.setattr(candidates, name, value)
    patch.setattr(tune, "_MOST_A_WEEK", _JOBS_A_WEEK)


_PROMISED_STEPS = flaps._STEPS, flaps._LEAST_STEPS


def look_for_flaps_in_few_steps() -> None:
    """For good. A `check` of the shipped policy needs half a second of a core otherwise, and there are many."""
    flaps._STEPS = flaps._LEAST_STEPS = 200


@pytest.fixture
def as_many_steps_as_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test of what `check` says of tiers that flap."""
    monkeypatch.setattr(flaps, "_STEPS", _PROMISED_STEPS[0])
    monkeypatch.setattr(flaps, "_LEAST_STEPS", _PROMISED_STEPS[1])
