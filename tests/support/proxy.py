"""A real TCP link from a client to a server, which can be disturbed in each LinkMode but HOLD."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.support.misfortunes import LinkMode

_CHUNK = 65_536
_RESET = struct.pack("ii", 1, 0)
"""What SO_LINGER takes to end a connection with a reset."""


@dataclass
class Link:
    """`overhear` sees every chunk that the controller sends, before anything can happen to it."""

    name: str
    port: int
    target: tuple[str, int]
    overhear: Callable[[bytes], None] | None = None
    mode: LinkMode = LinkMode.OPEN
    delay: float = 0.0
    suffered: int = 0
    """Connections and chunks that met a disturbance so far."""
    _server: asyncio.Server | None = None
    _pairs: dict[asyncio.Task[None], tuple[asyncio.StreamWriter, ...]] = field(default_factory=dict)
    _lossy: set[asyncio.Task[None]] = field(default_factory=set)

    async def open(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)

    async def close(self) -> None:
        await self._stop_listening()
        tasks = list(self._pairs)
        self.cut()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def disturb(self, mode: LinkMode, *, delay: float = 0.0) -> None:
        self.mode, self.delay = mode, delay
        if mode is LinkMode.REFUSE:
            await self._stop_listening()
            self.cut()

    async def heal(self) -> None:
        """Connections that have lost something end now: their bytes would never come again."""
        self.mode = LinkMode.OPEN
        for task in list(self._lossy):
            self._abort(task)
        await self.open()

    def cut(self) -> int:
        """Ends every connection with a reset; new ones are welcome. How many there were."""
        tasks = list(self._pairs)
        for task in tasks:
            self._abort(task)
        self.suffered += len(tasks)
        return len(tasks)

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def _abort(self, task: asyncio.Task[None]) -> None:
        for writer in self._pairs.get(task, ()):
            end: socket.socket | None = writer.get_extra_info("socket")
            if end is not None and not writer.transport.is_closing():
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._pairs[task] = (writer,)
        try:
            await self._between(task, reader, writer)
        except (OSError, asyncio.CancelledError):
            self._abort(task)  # the other end is gone, or the run is over
        finally:
            for each in self._pairs.pop(task):
                each.close()
            self._lossy.discard(task)

    async def _between(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        there, back = await asyncio.open_connection(*self.target)
        self._pairs[task] = (writer, back)
        asking = asyncio.create_task(self._pump(task, reader, back, asks=True))
        answering = asyncio.create_task(self._pump(task, there, writer, asks=False))
        try:
            await asyncio.wait({asking, answering}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            asking.cancel()
            answering.cancel()
            await asyncio.gather(asking, answering, return_exceptions=True)

    async def _pump(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, asks: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if asks and self.overhear is not None:
                    self.overhear(data)
                if self.mode is LinkMode.SLOW:
                    self.suffered += 1
                    await asyncio.sleep(self.delay)
                if self.mode is LinkMode.DROP or (self.mode is LinkMode.HALF_DROP and not asks):
                    self.suffered += 1
                    self._lossy.add(task)
                if task in self._lossy and (self.mode is not LinkMode.HALF_DROP or not asks):
                    continue
                writer.write(data)
                await writer.drain()
