"""Virtual time for tests in which all parties run in one event loop, with real sockets: no real second is waited for.

Time moves only when nothing else can: no callback is ready, and nothing sent within this process is still on its way.
So a client in a test sees each state of a server in the same process, and a deadline passes only if the answer really
does not come, on any machine. Not for tests that talk to other processes: those run in real time, far too slow for it.

`pytestmark = pytest.mark.virtual_time` gives it to the tests of a module (see tests/conftest.py).
"""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections.abc import Callable, Mapping
from typing import Any

_OUTSIDE_S = 0.01
"""How often it is looked whether a thread has ended; real."""
_LEAST_S = 1e-6
"""Any wait is that long, or one for less than the clock can count would go on for ever."""
_MOST_AT_ONCE = 10_000
"""Turns of the loop at one time: aiohttp sets a timer for `now` again and again, until it is later than that."""


class IdleLoop(asyncio.SelectorEventLoop):
    """asyncio's own, but for its clock."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.threads = 0
        super().__init__(_Idle(self))

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]  # whatever its types are there
        """Time stands still until the thread has ended."""
        running = super().run_in_executor(executor, func, *args)
        self.threads += 1
        running.add_done_callback(self._thread_ended)
        return running

    def _thread_ended(self, _: asyncio.Future[Any]) -> None:
        self.threads -= 1


class LoopClock:
    """The time of the running loop, for code that takes a clock."""

    def wall(self) -> float:
        return 1_790_000_000 + self.monotonic()

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class _Idle(selectors.BaseSelector):
    """Moves the clock to the next timer instead of sleeping."""

    def __init__(self, loop: IdleLoop) -> None:
        self._loop = loop
        self._real = selectors.DefaultSelector()
        self._turns = 0
        with socket.create_server(("127.0.0.1", 0)) as server:
            self._sender = socket.create_connection(server.getsockname())
            self._sender.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._receiver, _ = server.accept()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = self._real.select(0)
        if events or (timeout is not None and timeout <= 0):
            self._turns = 0 if events else self._turns + 1
            if self._turns >= _MOST_AT_ONCE:
                self._pass(_LEAST_S)
            return events
        self._let_everything_arrive()
        events = self._real.select(0)
        if events:
            return events
        if timeout is None or self._loop.threads:
            return self._real.select(None if timeout is None else _OUTSIDE_S)
        self._pass(max(timeout, _LEAST_S))
        return []

    def _pass(self, seconds: float) -> None:
        self._turns = 0
        self._loop.now += seconds

    def _let_everything_arrive(self) -> None:
        """What was sent before this byte is there when the byte is."""
        self._sender.send(b".")
        self._receiver.recv(1)

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def modify(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.modify(fileobj, events, data)

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()

    def close(self) -> None:
        self._real.close()
        self._sender.close()
        self._receiver.close()
