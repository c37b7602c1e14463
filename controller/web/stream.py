"""GET /stream: the newest state as server-sent events, for the page.

    event: state    what /status says, without the values of the policy; at once, and whenever it changes
    event: alive    nothing has changed; so that a page notices a controller that hangs

A stream has no queue. It gets the newest state or, while its client has not read the one before, none: that client then
gets the newest once it has read. The state is made and written as text once for all streams, at most every
_LOOK_S seconds, and asks nothing of PostgreSQL, Redis or the platform.
"""

from __future__ import annotations

import asyncio
import socket
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, NamedTuple

from aiohttp import HttpVersion11, web

from controller.core.text.escaping import as_json
from controller.core.units import iso
from controller.web.connections import becomes_stream
from controller.web.health import Shown, health_report, status_report

ALIVE_S = 5.0
_LOOK_S = 0.25
_AT_ONCE = 50
"""Streams that are written to before the event loop goes on to other work."""
_SEND_BUFFER = 16 * 1024
"""Bytes that the kernel keeps for a client; the default would hide for minutes that it does not read."""
_AGAIN_S = 30
_OF_THE_POLICY = ("hash", "loaded_at", "refused", "leader_hash")
_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "X-Accel-Buffering": "no",  # or nginx would keep the events until there are many
}


class Message(NamedTuple):
    """number: of the state; 0 if it tells of none. chunk: the same, as HTTP/1.1 sends a part of an answer."""

    number: int
    text: bytes
    chunk: bytes

    @classmethod
    def of(cls, kind: str, data: Any, number: int = 0) -> Message:
        text = f"event: {kind}\ndata: {as_json(data)}\n\n".encode()
        return cls(number, text, b"%x\r\n%b\r\n" % (len(text), text))


@dataclass(eq=False, slots=True)
class _Stream:
    """told: the number of the state that it got last."""

    transport: asyncio.Transport
    chunked: bool
    ended: asyncio.Future[None]
    told: int = 0

    def tell(self, event: Message) -> None:
        if self.transport.is_closing():
            self.end()
        elif not self.transport.get_write_buffer_size():
            self.transport.write(event.chunk if self.chunked else event.text)
            self.told = event.number or self.told

    def end(self) -> None:
        if not self.ended.done():
            self.ended.set_result(None)


class Streams:
    """The route, and the task that tells all streams, which runs while there are any."""

    def __init__(self, shown: Shown) -> None:
        self._shown = shown
        self._open: set[_Stream] = set()
        self._telling: asyncio.Task[None] | None = None
        self._key: object = None
        self._ageless: object = None
        self._newest = Message(0, b"", b"")
        self._made_at = self._rests_until = 0.0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.method == "HEAD":
            return web.Response(headers=_HEADERS)
        if not becomes_stream(request):
            text = "503: too many streams are open; try again later\n"
            again = {"Retry-After": str(_AGAIN_S)}
            return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, text=text, headers=again)
        response = web.StreamResponse(headers=_HEADERS)
        response.force_close()
        await response.prepare(request)
        transport = request.transport
        if transport is None:
            return response
        raw = transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        loop = asyncio.get_running_loop()
        stream = _Stream(transport, request.version >= HttpVersion11, loop.create_future())
        self._look(begins=True)
        stream.tell(self._newest)
        self._open.add(stream)
        if self._telling is None or self._telling.done():
            self._telling = asyncio.create_task(self._tell())
        try:
            await stream.ended
        finally:
            self._open.discard(stream)
        return response

    async def _tell(self) -> None:
        beat = time.monotonic()
        while self._open:
            await asyncio.sleep(_LOOK_S)
            self._look()
            alive = None
            if time.monotonic() - beat >= ALIVE_S:
                beat = time.monotonic()
                alive = Message.of("alive", {"now": iso(self._shown.status.clock.wall())})
            for number, stream in enumerate(list(self._open), 1):
                if stream.told != self._newest.number:
                    stream.tell(self._newest)
                elif alive is not None or stream.transport.is_closing():
                    stream.tell(alive or self._newest)
                if number % _AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _look(self, *, begins: bool = False) -> None:
        """Makes the state again if it has changed; one that takes long to make, at most a tenth of the time.

        begins: for a stream that begins, for which the ages in it have to be new, too.
        """
        shown, now = self._shown, time.monotonic()
        if now < self._rests_until:
            return
        status, leadership = shown.status, shown.leadership
        # The health may change by itself, because figures grow old.
        report = health_report(shown)
        key = (
            status.changes,
            leadership.lease,
            leadership.fault,
            leadership.leader,
            shown.digest,
            shown.refusal,
            report.failing,
        )
        if key != self._key or (begins and now - self._made_at > _LOOK_S):
            body = state(shown)
            ageless = _ageless(body)
            self._newest = Message.of("state", body, self._newest.number + (ageless != self._ageless))
            self._key, self._ageless, self._made_at = key, ageless, now
            self._rests_until = now + 10 * (time.monotonic() - now)


def state(shown: Shown) -> dict[str, Any]:
    """What /status says, with the time, and for each worker whether its figures are old."""
    body = status_report(shown).to_json()
    policy = body["policy"]
    body["policy"] = {name: policy[name] for name in _OF_THE_POLICY if name in policy}
    old = {shown.mask.text(name): shown.status.is_old(name) for name in shown.policy.workers}
    body["workers"] = {name: worker and {**worker, "old": old[name]} for name, worker in body["workers"].items()}
    return {"now": iso(shown.status.clock.wall()), "interval_s": float(shown.policy.interval), **body}


def _ageless(body: dict[str, Any]) -> dict[str, Any]:
    """A state without what changes by itself: with the same one, nothing has happened but that the loop turned."""
    workers = {name: worker and {**worker, "age_s": None} for name, worker in body["workers"].items()}
    return {**body, "now": None, "workers": workers}
