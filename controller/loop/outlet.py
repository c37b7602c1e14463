"""Log lines are written by a thread of their own, so that a blocked output never stops the event loop.

The thread waits for a pipe, a terminal or a disk; a caller only puts its line into a queue and never waits. Lines that
do not fit or cannot be written are dropped and counted. Once lines can be written again, the log says how many are
missing, at the place where they are missing.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from typing import TextIO

MOST_WAITING_BYTES = 256 * 1024
"""About 300 lines wait while the output is slow. The thread may hold as much again for writing."""
_LINE_BYTES = 1024
"""More than most lines of a cycle have."""


class Outlet:
    """One output. A stream without a file descriptor (a text in memory) is written at once.

    missing: makes the line that says how many lines are missing.
    """

    def __init__(self, stream: TextIO, missing: Callable[[int], str]) -> None:
        self._stream = stream
        self._missing = missing
        self._encoding = getattr(stream, "encoding", None) or "utf-8"
        self._file = _number(stream)
        self._waiting: list[bytes] = []
        self._size = 0
        self._most = MOST_WAITING_BYTES
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

    def make_room(self, lines: int) -> None:
        """That many lines may come at once without one being lost, although nobody reads for a moment."""
        self._most = max(MOST_WAITING_BYTES, lines * _LINE_BYTES)

    def write(self, line: str) -> None:
        """Queues the line. Never waits and never fails."""
        if self._file is None:
            print(line, file=self._stream, flush=True)
            return
        data = f"{line}\n".encode(self._encoding, "backslashreplace")
        with self._news:
            # After one dropped line, drop the next ones, too, until the queue is written: then the gap is in one place.
            if self._dropped or self._size + len(data) > self._most:
                self._dropped += 1
                self._lost += 1
                return
            self._waiting.append(data)
            self._size += len(data)
            if self._thread is None:
                # A daemon, so that the process can end while the thread waits for the output.
                thread = threading.Thread(target=self._run, name="log", daemon=True)
                with contextlib.suppress(RuntimeError):  # no thread can be started right now; the next line tries again
                    thread.start()
                    self._thread = thread
            self._news.notify()

    def close(self, within_s: float | None) -> None:
        """Waits until all lines are written, for at most `within_s` seconds; None: without a limit."""
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
                # The queue was full after this batch, so the dropped lines are missing right behind it.
                behind, self._dropped = self._dropped, 0
            for data in batch:
                missing = self._write_missing(missing)
                if not self._put(data):
                    missing += 1
                    self._lost += 1
            missing = self._write_missing(missing + behind)

    def _write_missing(self, missing: int) -> int:
        """Writes how many lines are missing; returns the number that is still to be reported (0 if it was written)."""
        if not missing:
            return 0
        line = f"{self._missing(missing)}\n".encode(self._encoding, "backslashreplace")
        return 0 if self._put(line) else missing

    def _put(self, data: bytes) -> bool:
        """Whether the data was written. After an error in the middle of a line, the next data begins a new line."""
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
    """Waits until the output can be written: another process that shares it may have made it non-blocking."""
    poll = select.poll()
    poll.register(file, select.POLLOUT)
    poll.poll(1000)
