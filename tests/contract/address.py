"""A stage on an address: a small server that keeps counts, as somebody would write one for a platform of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from controller.adapters.command.platform import CommandPlatform, Means
from controller.core.text.masking import Masker
from controller.policy import Policy
from tests.contract.stages import WORKER, Lead, Stage
from tests.virtual.idle import LoopClock


@dataclass
class Counts:
    """By target: its count. orders: faults for the next requests, with the method that they are for."""

    of: dict[str, int]
    orders: list[tuple[str, str]] = field(default_factory=list)
    changes: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        kind = next((kind for kind, method in self.orders if method == request.method), "")
        if kind:
            self.orders.remove((kind, request.method))
        if kind == "hang":
            await asyncio.sleep(3600)
        if kind in {"502", "429"}:
            return web.Response(status=int(kind), text="<html>")
        if kind == "null":
            return web.json_response(None)
        answer = self._read(request) if request.method == "GET" else await self._scale(request)
        if kind == "lost" and request.transport is not None:
            request.transport.abort()
        return answer

    def _read(self, request: web.Request) -> web.Response:
        target = request.query["target"]
        if target not in self.of:
            return web.Response(status=404)
        count = self.of[target]
        return web.json_response(
            {"configured": count, "running": count, "deployment": "d1"}, headers={"ETag": f'"{count}"'}
        )

    async def _scale(self, request: web.Request) -> web.Response:
        told = await request.json()
        self.changes += 1
        if request.headers["If-Match"] != f'"{self.of[told["target"]]}"':
            return web.Response(status=412)
        self.of[told["target"]] = told["desired"]
        return web.Response(status=204)


@asynccontextmanager
async def on_an_address() -> AsyncIterator[Stage]:
    lead, keys = Lead(), [f"command:{name}" for name in ("one", "two", "absent")]
    counts = Counts({keys[0]: 2, keys[1]: 1})
    app = web.Application()
    app.router.add_route("*", "/", counts.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    command = {"url": f"http://127.0.0.1:{runner.addresses[0][1]}/", "timeout": "2s"}
    workers = {
        name: {**WORKER, "queue": {"table": f"jobs_{name}"}, "command": {**command, "name": name}}
        for name in ("one", "two", "absent")
    }
    means = Means({}, LoopClock(), lead.may_act, Masker())
    platform = CommandPlatform(means, Policy.model_validate({"workers": workers}))

    async def by_hand(count: int) -> None:
        counts.of[keys[0]] = count

    def order(kind: str, on: str) -> None:
        counts.orders.append((kind, {"read": "GET", "change": "POST"}[on]))

    yield Stage(platform, keys[0], keys[1], keys[2], lead, by_hand, order, sent=lambda: counts.changes)
    await platform.close()
    await runner.cleanup()
