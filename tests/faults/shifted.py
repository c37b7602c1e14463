"""`python -m tests.faults.shifted run`: a controller whose wall clock is wrong by FAULTS_WALL_SHIFT_S seconds."""

from __future__ import annotations

import os

from controller.adapters.clock import SystemClock
from controller.cli.main import main

_true_wall = SystemClock.wall
_shift = float(os.environ["FAULTS_WALL_SHIFT_S"])


def _shifted_wall(self: SystemClock) -> float:
    return _true_wall(self) + _shift


if __name__ == "__main__":
    SystemClock.wall = _shifted_wall  # type: ignore[method-assign]  # the offset is what this program is for
    main()
