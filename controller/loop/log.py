"""Writes the log: one JSON object, or one line of text, per event. No secret passes."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TextIO

from controller.core.ports import Clock
from controller.core.text import bounds
from controller.core.text.escaping import as_json, visible, visible_lines
from controller.core.text.layout import columns_of, wrap
from controller.core.text.masking import Masker
from controller.core.units import iso
from controller.loop import levels
from controller.loop.cycle import as_text
from controller.loop.faults import Throttle
from controller.loop.outlet import Outlet

_INDENT = " " * 9
"""Below the time, which is `17:31:44 `."""
_LONGEST_KIND = 200
"""Lines of a library count as the same if their first characters, this many, are the same."""


class Log:
    """Writes every line of the controller, masked by `mask`.

    width: columns of the terminal, at which a line of text continues indented on the next; None: lines stay whole.

    Cycles go to `stream`, other events to `events`, or to `stream` too if it is None. It never waits for an output: if
    one is blocked or closed, lines are dropped and counted, and the log says later how many.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        form: Literal["json", "text"],
        clock: Clock,
        mask: Masker | None = None,
        events: TextIO | None = None,
        width: Callable[[], int] | None = None,
    ) -> None:
        self._stream = Outlet(stream, self._missing)
        self._events = self._stream if events is None or events is stream else Outlet(events, self._missing)
        self._form = form
        self._width = width
        self._clock = clock
        self._said = Throttle()
        self._mask = mask or Masker()
        self._listeners: list[Callable[[str, Mapping[str, Any]], None]] = []

    def tell(self, listener: Callable[[str, Mapping[str, Any]], None]) -> None:
        """Calls it with the name and the fields of each event from now on."""
        self._listeners.append(listener)

    def event(self, event: str, /, **fields: Any) -> None:
        """One event besides the cycles, such as started, lease_acquired or external_change."""
        self._write(self._of_event(event, **fields), self._events)
        for listener in self._listeners:
            listener(event, fields)

    def line(self, line: Mapping[str, Any]) -> None:
        """One cycle's line."""
        self._write(line, self._stream)

    def is_new(self, kind: str) -> bool:
        """Whether no line of that kind was let through within the last faults.REPEAT_S."""
        return self._said.lasted(kind, self._clock.monotonic()) is not None

    @property
    def lost(self) -> int:
        """Lines that were dropped since the start."""
        return sum(outlet.lost for outlet in self._outlets)

    def serve(self, workers: int) -> None:
        """The lines of one cycle of these workers may wait for the output together."""
        self._stream.make_room(workers)

    def close(self, within_s: float | None) -> None:
        """Waits until all lines are written, at most `within_s` seconds; None: without a limit."""
        for outlet in self._outlets:
            outlet.close(within_s)

    @property
    def _outlets(self) -> set[Outlet]:
        return {self._stream, self._events}

    def _write(self, line: Mapping[str, Any], outlet: Outlet) -> None:
        outlet.write(self._formed(line, outlet))

    def _formed(self, line: Mapping[str, Any], outlet: Outlet) -> str:
        # Masked before it is cut: the masker may not recognise half of a secret.
        masked = self._mask.value(line)
        shown = {
            key: bounds.cut(value, bounds.TRACEBACK) if isinstance(value, str) else value
            for key, value in masked.items()
        }
        if self._form == "json":
            return as_json(shown, only_ascii=not outlet.is_unicode)
        trace = shown.pop("traceback", None)
        text = self._wrapped(visible(as_text(shown)))
        # Indented, so that a line of the traceback cannot pass for a line of the log.
        return (
            text
            if trace is None
            else f"{text}\n    {visible_lines(str(trace).rstrip()).replace(chr(10), chr(10) + '    ')}"
        )

    def _wrapped(self, text: str) -> str:
        if self._width is None or columns_of(text) <= (width := self._width()):
            return text
        return "\n".join(wrap(text, width, rest=_INDENT))

    def _missing(self, count: int) -> str:
        lines = "1 line" if count == 1 else f"{count} lines"
        message = f"{lines} lost here: the output did not take them"
        return self._formed(self._of_event("lines_lost", lost=count, message=message), self._events)

    def _of_event(self, event: str, /, **fields: Any) -> dict[str, Any]:
        return {"at": iso(self._clock.wall()), "level": levels.of_event(event), "event": event, **fields}


@contextmanager
def library_lines(log: Log) -> Iterator[None]:
    """While it is open, warnings and errors of libraries are events of this log, masked like all others."""
    handler = _LibraryLines(log)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


class _LibraryLines(logging.Handler):
    """A library may log the same line thousands of times a second; it is written once every faults.REPEAT_S."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        if self._log.is_new(f"{record.name} {record.levelno} {record.msg}"[:_LONGEST_KIND]):
            level = "error" if record.levelno >= logging.ERROR else "warning"
            self._log.event("library", level=level, logger=record.name, message=self.format(record))
