"""A gateway before an API server: it passes each request on, or does what was ordered, as a load balancer may.

So a server that does nothing wrong by itself is tested with HTTP 5xx, 429, answers that hang and answers that are lost.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import TracebackType
from typing import Self

import httpx
from aiohttp import web

from controller.adapters.kubernetes.access import KubernetesAccess
from controller.adapters.kubernetes.client import trust
from controller.fake_kubernetes.faults import Fault, Faults

_OF_ONE_HOP = {"connection", "content-encoding", "content-length", "host", "keep-alive", "transfer-encoding"}
_WAITS_S = 30.0


def order_of(faults: Faults, kind: str, on: str) -> None:
    """For the next requests. kind: a fault of the fake, or one in the contract's words. on: read or change."""
    named = {"502": "html", "null": "500"}.get(kind, kind)
    faults.add({"fault": named, "on": on, "times": 9 if on == "read" else 1, "seconds": 60})


class Gateway:
    """`async with Gateway(access) as gateway:` listens on a free port of this machine.

    changes: how many were passed on.
    """

    def __init__(self, access: KubernetesAccess) -> None:
        self.faults, self.changes = Faults(), 0
        self._access, self._url = access, ""
        self._server = httpx.AsyncClient(base_url=access.server, verify=trust(access), timeout=_WAITS_S)
        app = web.Application(client_max_size=4_000_000)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)

    @property
    def access(self) -> KubernetesAccess:
        """To what is behind it, through it. A client's certificate is shown by the gateway."""
        return replace(self._access, server=self._url, ca="", ca_file=None, certificate=None)

    def order(self, kind: str, on: str) -> None:
        order_of(self.faults, kind, on)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self._url = f"http://{host}:{port}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()
        await self._server.aclose()

    async def _handle(self, request: web.Request) -> web.Response:
        fault = self.faults.take(request.method, request.path)
        if fault is None:
            return await self._passed_on(request)
        if fault.answer is not None:
            return web.Response(status=fault.answer.status, body=fault.answer.body, headers=fault.answer.headers)
        return await self._wrong(request, fault)

    async def _wrong(self, request: web.Request, fault: Fault) -> web.Response:
        answer = web.Response()
        if fault.kind == "hang":
            await asyncio.sleep(fault.seconds)
        else:
            answer = await self._passed_on(request)
        if request.transport is not None:
            request.transport.abort()
        return answer

    async def _passed_on(self, request: web.Request) -> web.Response:
        self.changes += request.method == "PATCH"
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_ONE_HOP}
        answer = await self._server.request(
            request.method, request.path_qs, headers=headers, content=await request.read()
        )
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_ONE_HOP}
        return web.Response(status=answer.status_code, body=answer.content, headers=kept)
