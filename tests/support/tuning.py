"""`tune` with fewer candidates and shorter weeks. It does the same with few of them as with many."""

from __future__ import annotations

import pytest

from controller.simulation import tune

FEW: dict[str, object] = {
    "_WAITS": (5.0, 30.0, 240.0),
    "_COOLDOWNS": ((0.0, 30.0), (30.0, 120.0)),
    "_IDLE_OFFS": (0.0, 60.0),
    "_FINER": (0.85, 1.2),
    "_MOST_A_WEEK": 1000,
}


def search_among_few(patch: pytest.MonkeyPatch) -> None:
    for name, value in FEW.items():
        assert hasattr(tune, name), name
        patch.setattr(tune, name, value)
