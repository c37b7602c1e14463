"""Lines leave by a thread of their own, so that an output that nobody takes never stops the event loop.

The thread waits for a pipe, a terminal or a disk; whoever has a line only puts it into a queue, and never waits. What
does not fit, or cannot be written, is dropped and counted. Once lines flow again, the log says how many are missing, at
the place where they are missing.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from typing import TextIO

MOST_WAITING_BYTES = 256 * 1024
"""Some 300 lines: what an output that is slow for a moment lets wait. As much again may be on its way."""


class Outlet:
    """One output. What is no file of the operating system's (a text in memory) is written to at once.

    missing: makes the line that says how many are missing.
    """

    def __init__(self, stream: TextIO, missing: Callable[[int], str]) -> None:
        self._stream = stream
        self._missing = missing
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._file = _number(stream)
        self._waiting: list[bytes] = []
        self._size = 0
        self._dropped = 0
        self._lost = 0
        self._is_torn = False
        self._is_closing = False
        self._news = threading.Condition()
        self._thread: threading.Thread | None = None

    @property
    def is_unicode(self) -> bool:
        """Whether every character can be written as it is."""
        return self._encoding.lower().replace("_", "-") in {"utf-8", "utf8"}

    @property
    def lost(self) -> int:
        """Lines that were dropped or could not be written, so far."""
        return self._lost

    def write(self, line: str) -> None:
        """Never waits and never fails."""
        if self._file is None:
            print(line, file=self._stream, flush=True)
            return
        data = f"{line}\n".encode(self._encoding, "backslashreplace")
        with self._news:
            # Once one was dropped, none fits before the others have left: it would stand before the note of the one.
            if self._dropped or self._size + len(data) > MOST_WAITING_BYTES:
                self._dropped += 1
                self._lost += 1
                return
            self._waiting.append(data)
            self._size += len(data)
            if self._thread is None:
                # A daemon: whatever it waits for, the process ends without it.
                thread = threading.Thread(target=self._run, name="log", daemon=True)
                with contextlib.suppress(RuntimeError):  # no thread may be started right now; the next line tries again
                    thread.start()
                    self._thread = thread
            self._news.notify()

    def close(self, within_s: float | None) -> None:
        """Waits until all is written, for so long at most; None: for as long as it takes."""
        with self._news:
            self._is_closing = True
            self._news.notify()
        if self._thread is not None:
            self._thread.join(within_s)

    def _run(self) -> None:
        missing = 0
        while True:
            with self._news:
                while not self._waiting and not self._is_closing:
                    self._news.wait()
                if not self._waiting:
                    return
                batch, self._waiting, self._size = self._waiting, [], 0
                # There was no room behind these, so that this is the place where they are missing.
                behind, self._dropped = self._dropped, 0
            for data in batch:
                missing = self._tell_missing(missing)
                if not self._put(data):
                    missing += 1
                    self._lost += 1
            missing = self._tell_missing(missing + behind)

    def _tell_missing(self, missing: int) -> int:
        """How many are missing still, once it was said."""
        if not missing:
            return 0
        line = f"{self._missing(missing)}\n".encode(self._encoding, "backslashreplace")
        return 0 if self._put(line) else missing

    def _put(self, data: bytes) -> bool:
        """Whether it was written. What was cut short by an error is ended before the next line begins."""
        assert self._file is not None
        rest = memoryview(b"\n" + data if self._is_torn else data)
        whole = len(rest)
        while rest:
            try:
                rest = rest[os.write(self._file, rest) :]
            except BlockingIOError:
                _wait_for(self._file)
            except (OSError, ValueError):
                self._is_torn = self._is_torn or len(rest) < whole
                return False
        self._is_torn = False
        return True


def _number(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, ValueError, AttributeError):
        return None


def _wait_for(file: int) -> None:
    """Until something can be written; somebody who shares the output may have set it not to wait by itself."""
    poll = select.poll()
    poll.register(file, select.POLLOUT)
    poll.poll(1000)
