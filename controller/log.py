"""Writes the log: one JSON object, or one line of text, per event. No secret passes."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal, TextIO

from controller import bounds, levels
from controller.cycle import as_text, iso
from controller.masking import Masker
from controller.ports import Clock


class Log:
    """Every event of the controller goes through here, and through `mask`.

    Cycles go to `stream`, and so do all other events unless `events` names another place for them.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        form: Literal["json", "text"],
        clock: Clock,
        mask: Masker | None = None,
        events: TextIO | None = None,
    ) -> None:
        self._stream = stream
        self._events = events or stream
        self._form = form
        self._clock = clock
        self._mask = mask or Masker()

    def event(self, event: str, /, **fields: Any) -> None:
        """One event besides the cycles, such as started, lease_acquired or external_change."""
        self._write(
            {"at": iso(self._clock.wall()), "level": levels.of_event(event), "event": event, **fields}, self._events
        )

    def line(self, line: Mapping[str, Any]) -> None:
        """One cycle's line."""
        self._write(line, self._stream)

    def _write(self, line: Mapping[str, Any], stream: TextIO) -> None:
        # Masked before it is cut: half of a secret is harder to know.
        masked = self._mask.value(line)
        shown = {
            key: bounds.cut(value, bounds.TRACEBACK) if isinstance(value, str) else value
            for key, value in masked.items()
        }
        text = json.dumps(shown, ensure_ascii=False) if self._form == "json" else as_text(shown)
        print(text, file=stream, flush=True)


@contextmanager
def library_lines(log: Log) -> Iterator[None]:
    """While it is open, what libraries have to say goes where all lines go, in their form and without secrets."""
    handler = _LibraryLines(log)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


class _LibraryLines(logging.Handler):
    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        level = "error" if record.levelno >= logging.ERROR else "warning"
        self._log.event("library", level=level, logger=record.name, message=self.format(record))
