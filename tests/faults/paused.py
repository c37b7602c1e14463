"""`python -m tests.faults.paused run`: a controller that stops itself right before it first asks for a change.

Its intent is recorded, its last check of the lease still to come: a process that continues it much later finds out
whether that look is there.
"""

from __future__ import annotations

import os
import signal
from typing import Any

from controller.adapters.railway.platform import RailwayPlatform
from controller.cli.main import main

_scale = RailwayPlatform.scale
_pauses = [1]


async def _pause_and_scale(self: RailwayPlatform, *arguments: Any) -> Any:
    if _pauses:
        _pauses.pop()
        os.kill(os.getpid(), signal.SIGSTOP)
    return await _scale(self, *arguments)


def pause_before_the_first_change() -> None:
    RailwayPlatform.scale = _pause_and_scale  # type: ignore[assignment,method-assign]  # the pause is what this program is for


if __name__ == "__main__":
    pause_before_the_first_change()
    main()
