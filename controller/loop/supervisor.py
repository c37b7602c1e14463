"""Keeps a bug in what runs beside the loop from ending a controller that scales.

The history and the notifications are such parts. Here, in Catching.__exit__, is what a broad `except` would be to them;
the one of the loop is in runner.py.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import ParamSpec, Self

from controller.core.ports import Clock, Report
from controller.core.text import bounds
from controller.loop.faults import Throttle, kind_of_bug

P = ParamSpec("P")


@dataclass
class Supervisor:
    """part: what is kept, as its events name it, such as `notifications`."""

    part: str
    clock: Clock
    report: Report
    _throttle: Throttle = field(default_factory=Throttle)

    def catching(self) -> Catching:
        """For a `with`: a bug ends the block and nothing else."""
        return Catching(self)

    def around(self, call: Callable[P, None]) -> Callable[P, None]:
        """The same call, whose bugs end only the call."""

        def kept(*args: P.args, **kwargs: P.kwargs) -> None:
            with self.catching():
                call(*args, **kwargs)

        return kept

    def caught(self, bug: Exception) -> None:
        """Reports it: at once, and once a minute while the same one comes again."""
        # Noted before it is reported: the report may come back here, because the history keeps it too.
        if self._throttle.lasted(kind_of_bug(bug), self.clock.monotonic()) is not None:
            message = f"{self.part}: {bounds.cut(repr(bug), bounds.MESSAGE)}"
            self.report("crashed", message=message, traceback="".join(traceback.format_exception(bug)))


@dataclass
class Catching:
    """bug: what ended the block; None: nothing did."""

    supervisor: Supervisor
    bug: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, bug: BaseException | None, _: TracebackType | None) -> bool:
        if not isinstance(bug, Exception):
            return False  # none, or the task is cancelled
        self.bug = bug
        self.supervisor.caught(bug)
        return True
