"""What adapters share that send a change over HTTP: a last look at the lease, and answers of limited size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from controller.adapters.http import httpx
from controller.core.ports import LeaseLost

_REQUEST_BEGINS = frozenset({"http11.send_request_headers.started", "http2.send_request_headers.started"})
"""httpcore's events right before a request's first byte, when DNS lookup, connect and TLS handshake are done."""
_MOST_PIECES = 10_000
"""Chunks of an answer: each chunk costs more time than the bytes in it."""


class LastCheck:
    """Checks the lease once more between connecting and the request's first byte, called by httpcore's trace.

    Pass it as httpx' extension `trace`. may_act: whether the change may be sent now.
    """

    def __init__(self, operation: str, may_act: Callable[[], bool]) -> None:
        self._operation = operation
        self._may_act = may_act
        self._events = 0
        self._request_began = False

    def now(self) -> None:
        """Raises LeaseLost."""
        if not self._may_act():
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


class TooLargeError(Exception):
    """An answer has more than the allowed bytes; the rest was not read."""


async def read_body(response: httpx.Response, most: int) -> bytes:
    """The body as it came over the line. It is never decompressed: request it with `Accept-Encoding: identity`.

    Raises:
        TooLargeError: it has more than `most` bytes, or is compressed, so that its size is unknown.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity"}:
        raise TooLargeError("a compressed answer")
    body, pieces = bytearray(), 0
    async for piece in response.aiter_raw():
        body += piece
        pieces += 1
        if len(body) > most or pieces > _MOST_PIECES:
            raise TooLargeError(f"more than {most:,} bytes")
    return bytes(body)
