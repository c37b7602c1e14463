"""How an httpx client reaches a simulated server: it connects, says so to the client's trace, and asks over a Link."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.virtual.network import Answer, Errors, Link, Reply, Work

ERRORS = Errors(
    timed_out=lambda: httpx.ReadTimeout("simulated"),
    refused=lambda: httpx.ConnectError("simulated"),
    broken=lambda: httpx.ReadError("simulated"),
)
_KEPT_S = 5.0
"""How long an idle connection stays open."""


@dataclass
class Wire(httpx.AsyncBaseTransport):
    """The transport of one process's httpx client."""

    link: Link
    who: str
    _connected_until: float = field(default=0.0, init=False)

    async def connect(self, request: httpx.Request) -> None:
        """Returns right before the request's first byte."""
        tell = request.extensions.get("trace")
        if self.link.kernel.now >= self._connected_until:
            if tell is not None:
                await tell("connection.connect_tcp.started", {})
            try:
                await self.link.ask(_accept, request.extensions["timeout"]["connect"])
            except httpx.ReadTimeout:
                raise httpx.ConnectTimeout("simulated") from None
            except httpx.ReadError:
                raise httpx.ConnectError("simulated") from None
        self._connected_until = 0.0
        if tell is not None:
            await tell("http11.send_request_headers.started", {})

    async def ask(self, work: Work, request: httpx.Request) -> Any:
        answer = await self.link.ask(work, request.extensions["timeout"]["read"])
        self._connected_until = self.link.kernel.now + _KEPT_S
        return answer


def _accept(reply: Reply) -> None:
    reply(Answer())
