"""Reads the body of an answer within fixed limits, however it is sent and compressed.

Both the received and the decompressed size are limited while reading. Beyond a limit the connection is closed without
reading the rest. Parsing the JSON within these limits takes about 30 ms and 20 MB of memory.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from pydantic_core import from_json

from controller.adapters.http import httpx
from controller.adapters.railway import SOURCE
from controller.core.ports import Unavailable
from controller.core.text import bounds

MOST_BYTES = 2_000_000
"""Of an answer, received and decompressed. 50 services with three deployments each have about 0.5 MB."""
MOST_VALUES = 50_000
"""JSON values. 50 services with three deployments each have about 30,000. `[],` has 3 bytes, but 80 in memory."""
MOST_PIECES = 10_000
"""Chunks of an answer: each chunk costs more time than the bytes in it."""
ACCEPTED = "gzip"
"""The Accept-Encoding that is sent; an answer may also be uncompressed."""

_PLAIN = frozenset({"", "identity"})
_SURROGATE = re.compile(rb"\\u(?:[dD][89abAB]\w\w(\\u[dD][c-fC-F]\w\w)?|[dD][c-fC-F]\w\w)")
_MOST_SURROGATES = 10_000
_MOST_BACKSLASHES = 1000
"""Counted before a surrogate escape, to see whether its backslash is itself escaped."""
_STEP = 262_144


class IncompleteAnswer(Exception):  # noqa: N818  # as the ports' Unavailable, into which the client turns it
    """The answer is incomplete, or cannot be decompressed."""


async def read_json(
    response: httpx.Response, encoding: str, operation: str, clean: Callable[[str], str]
) -> dict[str, Any] | None:
    """The answer's JSON object; None if it is not one, for example an HTML error page of Railway's edge.

    clean: masks secrets; called before anything is cut, as a part of a secret would not be recognised.

    Raises:
        Unavailable: the answer exceeds a limit.
        IncompleteAnswer: the answer is incomplete.
    """
    body = bytearray()
    try:
        await _read(response, encoding.strip().lower(), operation, body)
        return _object(body, operation, clean)
    finally:
        body.clear()  # a kept error would keep this frame, and the body with it


async def _read(response: httpx.Response, encoding: str, operation: str, body: bytearray) -> None:
    if encoding not in {*_PLAIN, ACCEPTED}:
        shown = bounds.cut(encoding, bounds.NAME)
        raise Unavailable(SOURCE, f"compressed its answer to {operation} as {shown!r}; only gzip is supported")
    gzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS) if encoding == ACCEPTED else None
    received = pieces = 0
    async for piece in response.aiter_raw():
        received += len(piece)
        pieces += 1
        if received > MOST_BYTES:
            raise _too_large(operation, f"more than {MOST_BYTES:,} bytes")
        if pieces > MOST_PIECES:
            raise _too_large(operation, f"more than {MOST_PIECES:,} pieces")
        if gzip is None:
            body += piece
            continue
        for step in _unpacked(gzip, piece):
            body += step
            if len(body) > MOST_BYTES:
                raise _too_large(operation, f"{received:,} bytes that decompress to more than {MOST_BYTES:,}")
    if gzip is not None and not gzip.eof and received:
        raise IncompleteAnswer("gzip")


def _unpacked(gzip: zlib._Decompress, piece: bytes) -> Iterator[bytes]:
    """Decompresses in steps of 256 KB: 64 KB may decompress to 64 MB."""
    while True:
        try:
            step = gzip.decompress(piece, _STEP)
        except zlib.error:
            raise IncompleteAnswer("gzip") from None
        yield step
        piece = gzip.unconsumed_tail
        if not piece and len(step) < _STEP:
            return


def _object(body: bytearray, operation: str, clean: Callable[[str], str]) -> dict[str, Any] | None:
    # An upper bound: commas within texts are counted, too.
    values = body.count(b",") + body.count(b"[") + body.count(b"{")
    if values > MOST_VALUES:
        raise _too_large(operation, f"about {values:,} values; the limit is {MOST_VALUES:,}")
    try:
        text = body.decode()
        cleaned = clean(text)
        if cleaned != text:
            body[:] = cleaned.encode()
        del text, cleaned
    except ValueError:
        return None  # not UTF-8
    found = _json(body)
    return found if isinstance(found, dict) else None


def _json(body: bytearray) -> Any:
    try:
        return _parsed(body)
    except ValueError:
        if rb"\ud" not in body and rb"\uD" not in body:
            return None
    _replace_lone_surrogates(body)
    try:
        return _parsed(body)
    except ValueError:
        return None


def _parsed(body: bytearray) -> Any:
    return from_json(body, allow_inf_nan=False, cache_strings="keys")


def _replace_lone_surrogates(body: bytearray) -> None:
    """Replaces lone surrogates, which the parser rejects; JavaScript sends one when it cuts a text within an emoji.

    It works in place: the replacement, the escape of U+FFFD, has as many bytes.
    """
    at = 0
    for _ in range(_MOST_SURROGATES):
        found = _SURROGATE.search(body, at)
        if found is None:
            return
        before = body[max(0, found.start() - _MOST_BACKSLASHES) : found.start()]
        if (len(before) - len(before.rstrip(b"\\"))) % 2:  # the backslash is itself escaped, so this is no escape
            at = found.start() + 2
            continue
        at = found.end()
        if not found[1]:
            body[found.start() : at] = rb"\ufffd"


def _too_large(operation: str, what: str) -> Unavailable:
    return Unavailable(SOURCE, f"answered {operation} with {what}; the rest was not read")
