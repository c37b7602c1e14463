"""A Railway with hostile answers: too much, for too long, packed too well, or no HTTP at all."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

PIECE = 65_536
Answer = Callable[[], AsyncIterator[bytes]]
"""The bytes of one answer, from its first line on."""


@dataclass
class HostileRailway:
    """answer: what every request gets from now on. asked: operations, in order. sent: bytes that were taken."""

    answer: Answer
    url: str = ""
    asked: list[str] = field(default_factory=list)
    sent: int = 0
    heads: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Cancelled at the end of a test's loop.
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                length = next(
                    int(line.partition(b":")[2])
                    for line in head.split(b"\r\n")
                    if line.lower().startswith(b"content-length:")
                )
                self.asked.append(json.loads(await reader.readexactly(length))["operationName"])
                async for piece in self.answer():
                    writer.write(piece)
                    await writer.drain()
                    self.sent += len(piece)
                if b"content-length" not in head.lower():
                    break
        writer.close()


@asynccontextmanager
async def hostile_railway(answer: Answer) -> AsyncIterator[HostileRailway]:
    railway = HostileRailway(answer)
    server = await asyncio.start_server(railway.serve, "127.0.0.1", 0)
    railway.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/graphql/v2"
    try:
        yield railway
    finally:
        server.close()


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


def whole(body: bytes, *lines: str, status: str = "200 OK") -> Answer:
    """One ordinary answer with that body."""

    async def answer() -> AsyncIterator[bytes]:
        yield head("Content-Type: application/json", f"Content-Length: {len(body)}", *lines, status=status)
        for start in range(0, len(body), PIECE):
            yield body[start : start + PIECE]

    return answer


def late(make: Callable[[], Answer]) -> Answer:
    """The same, made where it is asked for first: to import megabytes takes every process of the tests some time."""
    made = cache(make)

    def answer() -> AsyncIterator[bytes]:
        return made()()

    return answer


def long(first: bytes, again: bytes, times: int, *lines: str, status: str = "200 OK") -> Answer:
    """The same with a body that is made as it is sent: no process of the tests holds hundreds of MB all the time."""

    async def answer() -> AsyncIterator[bytes]:
        length = len(first) + times * len(again)
        yield head("Content-Type: application/json", f"Content-Length: {length}", *lines, status=status) + first
        for _ in range(times):
            yield again

    return answer


def endless(first: bytes, again: Callable[[], Iterable[bytes]], pause: float | None = None) -> Answer:
    """first, and then the pieces of `again`, for ever; pause: seconds before each."""

    async def answer() -> AsyncIterator[bytes]:
        yield first
        while True:
            for piece in again():
                if pause is not None:
                    await asyncio.sleep(pause)
                yield piece

    return answer


def raw(*pieces: bytes, then: Callable[[], Awaitable[Any]] | None = None) -> Answer:
    async def answer() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece
        if then is not None:
            await then()
        raise ConnectionError  # and closes

    return answer


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


@cache
def packed(million: bytes, *, wbits: int = 16 + zlib.MAX_WBITS) -> tuple[bytes, bytes]:
    """The beginning of gzip, and a block of it that unpacks to these bytes and may be repeated at will."""
    packer = zlib.compressobj(9, wbits=wbits)
    begin = packer.compress(b"[") + packer.flush(zlib.Z_FULL_FLUSH)
    return begin, packer.compress(million) + packer.flush(zlib.Z_FULL_FLUSH)


def bomb(million: bytes, times: int, *, wbits: int = 16 + zlib.MAX_WBITS) -> bytes:
    begin, block = packed(million, wbits=wbits)
    return begin + block * times


def service(ident: str = "svc", **changes: Any) -> dict[str, Any]:
    deployment = {
        "id": "d1",
        "status": "SUCCESS",
        "statusUpdatedAt": "2026-11-23T12:00:00.000Z",
        "createdAt": "2026-11-23T12:00:00.000Z",
        "deploymentStopped": False,
        "meta": {
            "serviceManifest": {"deploy": {"multiRegionConfig": {"us": {"numReplicas": 2}}, "drainingSeconds": 30}},
            "volumeMounts": [],
        },
        "instances": [{"id": "i1", "status": "RUNNING"}, {"id": "i2", "status": "RUNNING"}],
    }
    return {
        "serviceId": ident,
        "serviceName": "worker",
        "numReplicas": None,
        "region": "us",
        "cronSchedule": None,
        "drainingSeconds": 60,
        "latestDeployment": deployment,
        "activeDeployments": [{**deployment, "id": "d0"}, deployment],
        **changes,
    }


def page(*nodes: Any, cursor: Any = None, more: Any = False) -> dict[str, Any]:
    edges = [{"node": node} for node in nodes]
    instances = {"edges": edges, "pageInfo": {"hasNextPage": more, "endCursor": cursor}}
    return {"data": {"environment": {"id": "e", "name": "n", "serviceInstances": instances}}}


async def _never() -> None:
    await asyncio.Event().wait()


CHUNKED = head("Content-Type: application/json", "Transfer-Encoding: chunked")
ZEROS = bytes(1_000_000)
LISTS = b"[]," * 333_333
BEGIN, BLOCK = packed(ZEROS)

TOO_MUCH: dict[str, tuple[Answer, str]] = {
    "100 MB that are announced": (long(b'{"data": "', b"x" * 50_000, 2_000), "more than 2,000,000 bytes"),
    "100 MB in chunks": (endless(CHUNKED, lambda: [chunk(b" " * PIECE)]), "more than 2,000,000 bytes"),
    "an endless answer without a length": (
        endless(head("Content-Type: application/json"), lambda: [b"[" * PIECE]),
        "more than 2,000,000 bytes",
    ),
    "50 MB of empty lists": (long(b"", LISTS, 50), "more than 2,000,000 bytes"),
    "1.5 MB of gzip that are 1.5 GB": (
        whole(bomb(ZEROS, 1500), "Content-Encoding: gzip"),
        "bytes that decompress to more than 2,000,000",
    ),
    "gzip of 50 MB of empty lists": (
        whole(bomb(LISTS, 50), "Content-Encoding: gzip"),
        "bytes that decompress to more than 2,000,000",
    ),
    "gzip in chunks that never end": (
        endless(
            head("Content-Encoding: gzip", "Transfer-Encoding: chunked") + chunk(BEGIN),
            lambda: [chunk(BLOCK)],
        ),
        "bytes that decompress to more than 2,000,000",
    ),
    "1.9 MB of empty lists": (whole(b"[" + b"[]," * 640_000 + b"0]"), "about 1,280,001 values"),
    "900,000 numbers": (whole(b"[" + b"1," * 900_000 + b"1]"), "about 900,001 values"),
    "600,000 empty objects": (whole(b"[" + b"{}," * 600_000 + b"1]"), "about 1,200,001 values"),
    "300,000 levels": (whole(b'{"a":' * 300_000), "about 300,000 values"),
    "pieces of one byte": (endless(CHUNKED, lambda: [chunk(b" ") * 10_000]), "more than 10,000 pieces"),
    "the data of a change": (whole(b'{"data": {"deploymentStop": "' + b"x" * 5_000_000), "more than 2,000,000 bytes"),
}
"""By name: the answer, and what is said of it. Once each: it is not asked for again."""

NO_ANSWER: dict[str, tuple[Answer, str]] = {
    "a byte each second": (endless(CHUNKED, lambda: [chunk(b" ")], pause=1.0), "within 8 s"),
    "a byte of a header each second": (endless(b"HTTP/1.1 200 OK\r\nX-A: ", lambda: [b"a"], pause=1.0), "within 8 s"),
    "a header each second": (endless(b"HTTP/1.1 200 OK\r\n", lambda: [b"X-A: b\r\n"], pause=1.0), "within 8 s"),
    "an interim answer each second": (endless(b"", lambda: [head(status="102 Wait")], pause=1.0), "within 8 s"),
    "nothing at all": (raw(then=_never), "within 8 s"),
    "no end": (raw(CHUNKED, chunk(b"{"), then=_never), "within 8 s"),
    "a header of 1 MB": (raw(head("X-A: " + "a" * 1_000_000)), "broke off its answer to EnvironmentState"),
    "100,000 headers": (late(lambda: raw(head(*(f"X-{n}: a" for n in range(100_000))))), "broke off"),
    "headers without an end": (endless(b"HTTP/1.1 200 OK\r\n", lambda: [b"X-A: b\r\n" * 1000]), "broke off"),
    "a chunk of endless size": (raw(CHUNKED + b"F" * 1000 + b"\r\nx"), "broke off"),
    "a chunk with an endless extension": (endless(CHUNKED + b"1;", lambda: [b"a" * 1000]), "broke off"),
    "trailers without an end": (endless(CHUNKED + b"0\r\n", lambda: [b"X-A: b\r\n" * 1000]), "broke off|without data"),
    "a length below 0": (raw(head("Content-Length: -1"), b"{}"), "broke off"),
    "two lengths": (raw(head("Content-Length: 2", "Content-Length: 3"), b"{}"), "broke off"),
    "a length that is not kept": (raw(head("Content-Length: 200"), b"{}"), "broke off"),
    "no HTTP": (raw(b"220 smtp.example.com ESMTP\r\n"), "broke off"),
    "zero bytes": (raw(bytes(100_000)), "broke off"),
    "an end at once": (raw(), "broke off"),
    "a redirect to nowhere": (whole(b"", "Location: ht!tp://[::", status="307 Moved"), "broke off|HTTP 307"),
    "a redirect to an endless address": (
        whole(b"", "Location: http://a/" + "x" * 90_000, status="302 Moved"),
        "broke off",
    ),
    "gzip that is cut off": (whole(bomb(ZEROS, 1), "Content-Encoding: gzip"), "broke off"),
    "gzip that is none": (whole(b"{}" * 100, "Content-Encoding: gzip"), "broke off"),
    "a text that is not UTF-8": (whole(b'{"data": {"environment": "\xff"}}'), "without data"),
    "50,000 levels": (whole(b"[" * 50_000 + b"]" * 50_000), "without data"),
    "a number of 100,000 digits": (whole(b'{"data": {"environment": ' + b"9" * 100_000 + b"}}"), "without data"),
    "NaN": (whole(b'{"data": {"environment": NaN}}'), "without data"),
    "9,000 headers": (whole(b"{}", *(f"X-{number}: a" for number in range(9_000))), "without data"),
    "4,500 cookies": (whole(b"{}", *(f"Set-Cookie: a{number}=b" for number in range(4_500))), "without data"),
    "a page of HTML": (whole(b"<html>" + b"a" * 100_000), "without data"),
}
"""The same of what may be better a moment later, so that a reading is tried again."""

REFUSED: dict[str, tuple[Answer, str]] = {
    "another packing": (whole(bomb(ZEROS, 100, wbits=15), "Content-Encoding: deflate"), "as 'deflate'; only gzip"),
    "packed twice": (whole(bomb(ZEROS, 1), "Content-Encoding: gzip, gzip"), "as 'gzip, gzip'"),
    "a packing with a long name": (whole(b"{}", "Content-Encoding: " + "x" * 50_000), "only gzip is supported"),
    "a redirect": (
        whole(b"", "Location: http://169.254.169.254/latest", status="301 Moved"),
        r"HTTP 301 \(a redirect, not followed\); check RAILWAY_API_URL",
    ),
    "429 with 100 MB": (
        long(b"", b"x" * 50_000, 2_000, "Retry-After: 99999999999", status="429 Too Many Requests"),
        "HTTP 429, Retry-After.; 5 min left",
    ),
    "an error of 2 MB": (
        late(
            lambda: whole(json.dumps({"errors": [{"message": "word " * 350_000, "traceId": "x" * 100_000}]}).encode())
        ),
        "refused EnvironmentState: word word .*…",
    ),
    "an error of nested lists": (whole(b'{"errors": ' + b"[" * 150 + b"]" * 150 + b"}"), "an error without a message"),
    "an error that is no text": (
        whole(b'{"errors": [{"message": {"a": [1e400]}, "traceId": -1}]}'),
        "refused EnvironmentState: an error without a message",
    ),
}


def _with_meta(meta: Callable[[], Any], **more: Any) -> Answer:
    def made() -> Answer:
        odd = service("another one", activeDeployments=[])
        odd["latestDeployment"]["meta"] = meta()
        return whole(json.dumps(page(odd, **more), ensure_ascii=False).encode())

    return late(made)


AT_THE_BOUNDS: dict[str, Answer] = {
    "a text of 2 MB": _with_meta(lambda: {"text": "a" * 1_990_000}),
    "a text of 2 MB with an emoji, which takes 8": _with_meta(lambda: {"text": "a" * 1_990_000 + "😀"}),
    "the same in gzip": late(
        lambda: whole(gzip.compress(json.dumps("a" * 1_990_000 + "😀").encode()), "Content-Encoding: gzip")
    ),
    "the same with half a character": whole(b'{"data": "' + b"a" * 1_990_000 + b'\\ud83d\xf0\x9f\x98\x80"}'),
    "many halves of characters": whole(b'{"data": "' + b"\\ud83d" * 330_000 + b'"}'),
    "24,000 objects": _with_meta(lambda: {"list": [{"a": number} for number in range(24_000)]}),
    "24,000 keys": _with_meta(lambda: {"key of some length " * 2 + str(number): number for number in range(24_000)}),
    "24,000 empty lists": _with_meta(lambda: {"list": [[]] * 24_000}),
    "44,000 long texts": _with_meta(lambda: {"list": [f"{number:038}é" for number in range(44_000)]}),
    "twenty pages of 2 MB": _with_meta(lambda: {"text": "a" * 1_990_000 + "😀"}, cursor="c", more=True),
    "twenty pages of 24,000 objects": _with_meta(
        lambda: {"list": [{"a": number} for number in range(24_000)]}, cursor="c", more=True
    ),
}
"""As much as is read."""
