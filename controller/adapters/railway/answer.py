"""Takes in the body of an answer, never more of it than the bounds below, however it was sent and packed.

Both what is received and what it unpacks to are limited while it is read; the rest is not waited for, and the
connection is closed. The JSON is parsed at once: within these bounds that takes some 30 ms, and 20 MB of memory.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from pydantic_core import from_json

from controller.adapters.railway import SOURCE
from controller.adapters.railway.http import httpx
from controller.core.ports import Unavailable
from controller.core.text import bounds

MOST_BYTES = 2_000_000
"""Of an answer, as it is received and when it is unpacked. 50 services of three deployments each have some 0.5 MB."""
MOST_VALUES = 50_000
"""Of the JSON. 50 services of three deployments each have some 30,000. An empty list has 3 bytes, and 80 in memory."""
MOST_PIECES = 10_000
"""Into which an answer is chunked: each costs more time than the bytes in it."""
ACCEPTED = "gzip"
"""What is asked for (Accept-Encoding); an answer may also come as it is."""

_PLAIN = frozenset({"", "identity"})
_HALF = re.compile(rb"\\u(?:[dD][89abAB]\w\w(\\u[dD][c-fC-F]\w\w)?|[dD][c-fC-F]\w\w)")
_MOST_HALVES = 10_000
_MOST_BACKSLASHES = 1000
"""Before a half."""
_STEP = 262_144


class BrokenOff(Exception):  # noqa: N818  # as the ports' Unavailable, into which the client turns it
    """What arrived is not the whole answer, or cannot be unpacked."""


async def taken_in(
    response: httpx.Response, encoding: str, operation: str, clean: Callable[[str], str]
) -> dict[str, Any] | None:
    """The JSON object that the answer is; None where it is none, as the HTML of Railway's edge when it has troubles.

    clean: takes the secrets out of it, before anything of it is cut.

    Raises:
        Unavailable: it is more than is read.
        BrokenOff: it is not whole.
    """
    body = bytearray()
    try:
        await _read(response, encoding.strip().lower(), operation, body)
        return _object(body, operation, clean)
    finally:
        body.clear()  # an error keeps the frames that it went through, and all that they hold


async def _read(response: httpx.Response, encoding: str, operation: str, body: bytearray) -> None:
    if encoding not in {*_PLAIN, ACCEPTED}:
        shown = bounds.cut(encoding, bounds.NAME)
        raise Unavailable(SOURCE, f"packed its answer to {operation} as {shown!r}; only gzip is understood")
    gzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS) if encoding == ACCEPTED else None
    received = pieces = 0
    async for piece in response.aiter_raw():
        received += len(piece)
        pieces += 1
        if received > MOST_BYTES:
            raise _too_much(operation, f"more than {MOST_BYTES:,} bytes")
        if pieces > MOST_PIECES:
            raise _too_much(operation, f"more than {MOST_PIECES:,} pieces")
        if gzip is None:
            body += piece
            continue
        for step in _unpacked(gzip, piece):
            body += step
            if len(body) > MOST_BYTES:
                raise _too_much(operation, f"{received:,} bytes that unpack to more than {MOST_BYTES:,}")
    if gzip is not None and not gzip.eof and received:
        raise BrokenOff("gzip")


def _unpacked(gzip: zlib._Decompress, piece: bytes) -> Iterator[bytes]:
    """In small steps: 64 KB may unpack to 64 MB."""
    while True:
        try:
            step = gzip.decompress(piece, _STEP)
        except zlib.error:
            raise BrokenOff("gzip") from None
        yield step
        piece = gzip.unconsumed_tail
        if not piece and len(step) < _STEP:
            return


def _object(body: bytearray, operation: str, clean: Callable[[str], str]) -> dict[str, Any] | None:
    # Commas in texts are counted too, so that there are never more values than this.
    values = body.count(b",") + body.count(b"[") + body.count(b"{")
    if values > MOST_VALUES:
        raise _too_much(operation, f"some {values:,} values, and up to {MOST_VALUES:,} are read")
    try:
        text = body.decode()
        cleaned = clean(text)
        if cleaned != text:
            body[:] = cleaned.encode()
        del text, cleaned
    except ValueError:
        return None  # it is no UTF-8
    found = _json(body)
    return found if isinstance(found, dict) else None


def _json(body: bytearray) -> Any:
    try:
        return _parsed(body)
    except ValueError:
        if rb"\ud" not in body and rb"\uD" not in body:
            return None
    _replace_halves(body)
    try:
        return _parsed(body)
    except ValueError:
        return None


def _parsed(body: bytearray) -> Any:
    return from_json(body, allow_inf_nan=False, cache_strings="keys")


def _replace_halves(body: bytearray) -> None:
    """JavaScript that cuts a text within an emoji sends half of a character, which the parser's strings cannot hold.

    In place: what stands for an unknown character is written in as many bytes.
    """
    at = 0
    for _ in range(_MOST_HALVES):
        found = _HALF.search(body, at)
        if found is None:
            return
        before = body[max(0, found.start() - _MOST_BACKSLASHES) : found.start()]
        if (len(before) - len(before.rstrip(b"\\"))) % 2:  # the backslash is escaped itself, and begins nothing
            at = found.start() + 2
            continue
        at = found.end()
        if not found[1]:
            body[found.start() : at] = rb"\ufffd"


def _too_much(operation: str, what: str) -> Unavailable:
    return Unavailable(SOURCE, f"answered {operation} with {what}; it was not read any further")
