"""The connections that read: one that all readings share, and up to ten beside it, for slow queues.

Here belongs which connection a statement takes, and when one is opened or closed; lane.py is one connection. A role
may be allowed only one: then it is the shared one, and slow queues wait until it is free.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

from controller.adapters.postgres import SOURCE
from controller.adapters.postgres.lane import CannotConnect, Lane
from controller.core.ports import Unavailable
from controller.core.units import in_words
from controller.policy import Queue as QueuePolicy

T = TypeVar("T")
_MOST_BESIDE = 10
_KEEP_BESIDE_S = 60.0


class Lanes:
    """main: the shared connection; hold `main.turn` while using it. timeout_s: of one statement, where none is given.

    changed: called with a queue whose query was refused, because its tables may have changed.
    """

    def __init__(self, dsn: str, search_path: str, timeout_s: float, changed: Callable[[QueuePolicy], None]) -> None:
        self._new = functools.partial(Lane, dsn, changed, search_path)
        self.timeout_s = timeout_s
        self.main = self._new()
        self._idle: list[Lane] = []
        self._places = asyncio.Semaphore(_MOST_BESIDE)

    async def shared(self, queue: QueuePolicy | None, ask: Callable[[Lane], Awaitable[T]]) -> T:
        """Asks on the shared connection, once it is free. queue: the one that is read; None for several or none.

        Raises:
            Unavailable: it failed; the message says why.
        """
        async with self.main.turn:
            return await self.on_main(queue, ask)

    async def on_main(
        self, queue: QueuePolicy | None, ask: Callable[[Lane], Awaitable[T]], timeout_s: float | None = None
    ) -> T:
        """As shared(), for a caller that holds the turn. If it cannot be opened, closes the idle ones and tries again.

        Raises:
            Unavailable: it failed; the message says why.
        """
        timeout_s = self.timeout_s if timeout_s is None else timeout_s
        try:
            return await self.main.guarded(queue, lambda: ask(self.main), timeout_s)
        except CannotConnect:
            idle, self._idle = self._idle, []
            if not idle:
                raise
            for lane in idle:
                await lane.drop()
            return await self.main.guarded(queue, lambda: ask(self.main), timeout_s)

    @contextlib.asynccontextmanager
    async def beside(self, timeout_s: float) -> AsyncIterator[Lane]:
        """A connection for one slow queue, kept for the next one for 60 s. It may not be open yet.

        Raises:
            Unavailable: all ten were in use for timeout_s seconds.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self._places.acquire()
        except TimeoutError:
            within = in_words(timeout_s)
            words = f"{_MOST_BESIDE} slow queries are running, and this one had to wait longer than {within}"
            raise Unavailable(SOURCE, words) from None
        try:
            if self.main.is_lost:
                # The role may be allowed only one connection: then it must be the shared one, so open that first.
                with contextlib.suppress(Unavailable):
                    await self.shared(None, Lane.reader)
            lane = self._idle.pop() if self._idle else self._new()
            try:
                yield lane
            finally:
                lane.idle_since = asyncio.get_running_loop().time()
                self._idle.append(lane)
        finally:
            self._places.release()
        await self._close_idle()

    async def _close_idle(self) -> None:
        before = asyncio.get_running_loop().time() - _KEEP_BESIDE_S
        idle = [lane for lane in self._idle if lane.idle_since < before or lane.is_lost]
        self._idle = [lane for lane in self._idle if lane not in idle]
        for lane in idle:
            await lane.drop()

    async def close(self) -> None:
        """Closes all that no reading uses; the next reading opens one again."""
        for lane in (self.main, *self._idle):
            await lane.drop()
        self._idle.clear()
