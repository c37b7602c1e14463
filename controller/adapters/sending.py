"""What every adapter needs that sends a change over HTTP while it holds a lease."""

from __future__ import annotations

import socket
import ssl
import struct
import zlib
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
_MOST_PIECES, _SHORT_PIECE = 10_000, 100
"""Chunks of an answer whose mean is below that number of bytes: each chunk costs more time than the bytes in it."""


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


def result_of(status: int) -> str:
    """What became of a request with this HTTP status, as OpenPlatform.sent counts it."""
    if status < 300:
        return "ok"
    if status == httpx.codes.TOO_MANY_REQUESTS:
        return "throttled"
    return "refused" if status < 500 else "failed"


class TooLargeError(Exception):
    """An answer has more than the allowed bytes; the rest was not read."""


async def read_body(response: httpx.Response, most: int, *, unpacks: bool = False) -> bytes:
    """The body, of at most `most` bytes. Unless it unpacks, request it with `Accept-Encoding: identity`.

    unpacks: takes gzip, once; request it with `Accept-Encoding: gzip`. httpx would unpack any number of layers, each
    piece as a whole: a few kB in three layers become gigabytes before their size is known.

    Raises:
        TooLargeError: it has more than `most` bytes, or is compressed in a way that is not taken, so that its size is
            unknown.
        httpx.DecodingError: it is not gzip, ends too early, or goes on after its end.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    packed = unpacks and encoding in {"gzip", "x-gzip"}
    if not packed and encoding not in {"", "identity"}:
        raise TooLargeError("a compressed answer")
    unpacked = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    body, pieces, taken = bytearray(), 0, 0
    async for piece in response.aiter_raw():
        body += _unpacked(unpacked, piece, most + 1 - len(body)) if packed else piece
        pieces += 1
        taken += len(piece)
        if len(body) > most or (pieces > _MOST_PIECES and taken < pieces * _SHORT_PIECE):
            raise TooLargeError(f"more than {most:,} bytes")
    if packed and not unpacked.eof:
        raise httpx.DecodingError("the answer ends too early")
    return bytes(body)


def _unpacked(unpacked: zlib._Decompress, piece: bytes, most: int) -> bytes:
    try:
        found = unpacked.decompress(piece, most)
    except zlib.error as error:
        raise httpx.DecodingError(str(error)) from None
    if unpacked.unused_data:  # zlib would keep all of it, without a limit
        raise httpx.DecodingError("the answer goes on after its end")
    return found
