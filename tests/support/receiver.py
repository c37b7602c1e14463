"""A receiver of notifications: a real HTTP server in this process, which answers as a test wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

PATH = "/services/T00PLANTED/B00PLANTED/planted-in-the-path"
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Received:
    headers: dict[str, str]
    body: bytes

    @property
    def value(self) -> Any:
        return json.loads(self.body)


@dataclass
class Receiver:
    """statuses: of the next answers; then each is 200. hangs: no answer comes at all."""

    statuses: list[int] = field(default_factory=list)
    hangs: bool = False
    slow_s: float = 0.0
    said: bytes = b"ok"
    with_headers: dict[str, str] = field(default_factory=dict)
    received: list[Received] = field(default_factory=list)
    address: str = ""

    async def answer(self, request: web.Request) -> web.Response:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.received.append(Received(headers, await request.read()))
        if self.hangs:
            await asyncio.Event().wait()
        await asyncio.sleep(self.slow_s)
        status = self.statuses.pop(0) if self.statuses else 200
        return web.Response(status=status, body=self.said, headers=self.with_headers)

    @property
    def texts(self) -> list[str]:
        return [one.value["text"] for one in self.received]


@asynccontextmanager
async def receiving(receiver: Receiver) -> AsyncIterator[Receiver]:
    app = web.Application()
    app.router.add_post("/{tail:.*}", receiver.answer)
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.address = f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"
    try:
        yield receiver
    finally:
        await runner.cleanup()
