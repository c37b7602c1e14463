"""What every adapter needs that sends a change over HTTP while it holds a lease."""

from __future__ import annotations

import socket
import ssl
import struct
from collections.abc import Callable, Mapping
from http.cookiejar import CookieJar
from typing import Any
from urllib.request import getproxies

from controller.adapters.http import httpx
from controller.core.ports import LeaseLost

_KEEP_S = 60.0
"""Idle connections are kept for longer than an interval, so that a cycle started by NOTIFY need not open one."""
_REQUEST_BEGINS = frozenset({"http11.send_request_headers.started", "http2.send_request_headers.started"})
"""httpcore's events right before a request's first byte, when DNS lookup, connect and TLS handshake are done."""


class LastCheck:
    """Checks the lease once more between connecting and the request's first byte, called by httpcore's trace."""

    def __init__(self, operation: str, may_mutate: Callable[[], bool]) -> None:
        self._operation = operation
        self._may_mutate = may_mutate
        self._events = 0
        self._request_began = False

    def now(self) -> None:
        if not self._may_mutate():
            raise LeaseLost(f"the lease expired before {self._operation}; it was not sent")

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        del info
        self._events += 1
        if event in _REQUEST_BEGINS:
            self.now()
            self._request_began = True

    @property
    def certainly_not_begun(self) -> bool:
        """Whether no byte was sent. A transport without trace events proves nothing."""
        return self._events > 0 and not self._request_began


def own_transport(timeout_s: float, verify: ssl.SSLContext | bool = True) -> httpx.AsyncBaseTransport | None:  # noqa: FBT001, FBT002  # httpx's own word and default
    """Sockets that drop data not delivered in time, so that the kernel does not deliver a change later.

    None if the environment sets a proxy, which a transport of our own would bypass.
    """
    if getproxies().keys() - {"no"}:
        return None
    options: list[tuple[int, int, int] | tuple[int, int, bytes]] = [
        (socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing discards unsent data
    ]
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        options.append((socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(timeout_s * 1000)))
    limits = httpx.Limits(keepalive_expiry=_KEEP_S)
    return httpx.AsyncHTTPTransport(verify=verify, socket_options=options, limits=limits)


class NoCookies(CookieJar):
    """Stores no cookies: they would be sent back, and the jar would grow with each new one."""

    def extract_cookies(self, response: Any, request: Any) -> None: ...
