"""Limits how many clients are connected and for how long, so that no client keeps the loop from its work.

aiohttp parses and answers. The number of open connections is limited, so that descriptors are left for PostgreSQL,
Redis and the platform: above the limit, the connection that has been silent for longest is closed in favour of the
newest, so that a health probe is always answered. A connection that takes too long to send its request or to read its
answer is closed. Refused requests and connections are counted, and logged in one line every faults.REPEAT_S.

A stream of events is an answer that does not end. Its connection is counted apart, so that many open pages take no
room from requests; it is closed only if its client does not read.
"""

from __future__ import annotations

import asyncio
import errno
import resource
import socket
import traceback
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Final, cast

from aiohttp import web

from controller.core.ports import Report
from controller.core.units import in_words
from controller.loop.faults import REPEAT_S

MOST_OPEN = 128
MOST_STREAMS = 512
RESERVED = 100
"""Descriptors that are never used for clients. The controller needs at most 40: a connection for each slow queue, the
listener, Redis, the platform, and those to look up a name or read a certificate."""
FEWEST_OPEN = 8
REQUEST_S = 10.0
"""Seconds for a whole request to arrive, from its first byte or, on a new connection, from its opening."""
IDLE_S = 30.0
"""Seconds between two requests of one connection."""
ANSWER_S = 10.0
"""Seconds for a client to read an answer."""
LARGEST_REQUEST = 32 * 1024
"""Bytes of the request line, the headers and the body together; a usual request has a few hundred."""
MOST_UNREAD = 4 * 1024 * 1024
"""Bytes of answers that clients have not read yet, of all clients together."""
HEADERS: Final[Mapping[str, str]] = {
    "Server": "worker-autoscaler",
    "Content-Security-Policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
"""Of every answer, also to what is no valid request."""
_AT_ONCE = 16
"""Connections that are accepted before the event loop goes on to other work."""
_LOOK_S = 1.0
_SHORTAGE = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_TOO_LARGE = (
    "HTTP/1.1 431 Request Header Fields Too Large\r\n"
    + "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())
    + "Content-Length: 0\r\nConnection: close\r\n\r\n"
).encode()
_KINDS = {
    "malformed": "malformed or too large",
    "wrong_token": "with a wrong token",
    "slow": f"closed because a request took longer than {in_words(REQUEST_S)} to arrive, or its answer to be read",
    "crowded_out": "closed as silent for longest, to make room for new ones",
    "not_accepted": "failed attempts to accept a connection",
}


@asynccontextmanager
async def serving(app: web.Application, listener: socket.socket, report: Report) -> AsyncIterator[Connections]:
    """Answers requests on that socket until the context ends."""
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=0.1)
    await runner.setup()
    assert runner.server is not None
    connections = Connections(runner.server, listener, report)
    connections.open()
    try:
        yield connections
    finally:
        connections.close()
        await runner.cleanup()


class Connections:
    """All open connections, in the order of their last request, the oldest first."""

    def __init__(self, server: web.Server, listener: socket.socket, report: Report) -> None:
        self._server = server
        self._listener = listener
        self._report = report
        self._loop = asyncio.get_running_loop()
        self._open: OrderedDict[_Connection, None] = OrderedDict()
        self._streams: set[_Connection] = set()
        self._opening: set[asyncio.Task[None]] = set()
        self._refused: Counter[str] = Counter()
        self._newest = ""
        self._said = -REPEAT_S
        self._bug_said = -REPEAT_S
        self._is_closed = False
        self._looking: asyncio.TimerHandle | None = None
        self._resting: asyncio.TimerHandle | None = None
        descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.most, self.most_streams = most_open(descriptors), most_streams(descriptors)

    def __len__(self) -> int:
        return len(self._open)

    def open(self) -> None:
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener.fileno(), self._accept)
        self._looking = self._loop.call_later(_LOOK_S, self._look)

    def close(self) -> None:
        """At once, without waiting for answers on their way. A second call does nothing."""
        if self._is_closed:
            return
        self._is_closed = True
        for timer in (self._looking, self._resting):
            if timer is not None:
                timer.cancel()
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
        for task in self._opening:
            task.cancel()
        for connection in self._all():
            connection.end()
        self._open.clear()
        self._streams.clear()

    def stream(self, connection: _Connection) -> bool:
        """Counts the connection among the streams from now on; False: there are as many as may be."""
        if len(self._streams) >= self.most_streams or connection not in self._open:
            return False
        del self._open[connection]
        self._streams.add(connection)
        return True

    def stream_ended(self, connection: _Connection) -> None:
        """It is one that may ask something else, or be closed."""
        if connection in self._streams:
            self._streams.discard(connection)
            self._open[connection] = None

    def refused(self, kind: str, newest: str = "") -> None:
        """Counts one of _KINDS for the next line of the log. newest: what the line names as the last example."""
        self._refused[kind] += 1
        self._newest = newest or self._newest

    def answered(self, connection: _Connection) -> None:
        if connection in self._open:
            self._open.move_to_end(connection)
        if connection.unread:
            self.made_to_wait()

    def made_to_wait(self) -> None:
        """A client reads too slowly. Above MOST_UNREAD, the connection with the most unread bytes is closed."""
        if sum(one.unread for one in self._all()) > MOST_UNREAD:
            self.refused("slow")
            self.end(max(self._all(), key=lambda one: one.unread))

    def _all(self) -> list[_Connection]:
        return [*self._open, *self._streams]

    def crashed(self, bug: BaseException) -> None:
        """A bug in an answer; its traceback is logged once every faults.REPEAT_S."""
        if self._loop.time() - self._bug_said >= REPEAT_S:
            self._bug_said = self._loop.time()
            trace = "".join(traceback.format_exception(bug))
            self._report("crashed", message=f"an answer over HTTP failed: {bug!r}", traceback=trace)

    def end(self, connection: _Connection) -> None:
        self.lost(connection)
        connection.end()

    def lost(self, connection: _Connection) -> None:
        self._open.pop(connection, None)
        self._streams.discard(connection)

    def _accept(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                client, _address = self._listener.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:
                if error.errno in _SHORTAGE:
                    self._make_room(error)
                    return
                continue  # the client has gone already
            if len(self._open) >= self.most:
                self.refused("crowded_out")
                self.end(next(iter(self._open)))
            client.setblocking(False)
            connection = _Connection(self, self._server, self._loop)
            self._open[connection] = None
            self._opening.add(task := self._loop.create_task(self._begin(client, connection)))
            task.add_done_callback(self._opening.discard)

    async def _begin(self, client: socket.socket, connection: _Connection) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, client)
        except (OSError, asyncio.CancelledError):
            self.lost(connection)
            client.close()

    def _make_room(self, error: OSError) -> None:
        """The process is out of descriptors: closes a few connections, and accepts none until those are gone."""
        self.refused("not_accepted", error.strerror or "")
        for connection in list(self._open)[:FEWEST_OPEN]:
            self.refused("crowded_out")
            self.end(connection)
        self._loop.remove_reader(self._listener.fileno())
        pause = _LOOK_S / 10 if self._open else _LOOK_S
        self._resting = self._loop.call_later(
            pause, lambda: self._loop.add_reader(self._listener.fileno(), self._accept)
        )

    def _look(self) -> None:
        now = self._loop.time()
        for connection in self._all():
            if connection.is_over(now):
                if connection.owes:
                    self.refused("slow")
                self.end(connection)
        self._tell(now)
        self._looking = self._loop.call_later(_LOOK_S, self._look)

    def _tell(self, now: float) -> None:
        if not self._refused or now - self._said < REPEAT_S:
            return
        self._said = now
        counts = {kind: self._refused[kind] for kind in _KINDS}
        words = "; ".join(f"{count} {_KINDS[kind]}" for kind, count in counts.items() if count)
        newest = f" (the newest: {self._newest})" if self._newest else ""
        message = f"refused HTTP requests and connections: {words}{newest}; at most {self.most} may be open"
        self._refused.clear()
        self._newest = ""
        self._report("http_refused", **counts, message=message)


class _Connection(web.RequestHandler):
    """One connection, and since when it owes the rest of a request, or has not read its answer."""

    def __init__(self, connections: Connections, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]  # as aiohttp itself calls it
            keepalive_timeout=10 * IDLE_S,  # only a last resort: is_over() closes them earlier
            lingering_time=1.0,
            auto_decompress=False,  # no body is read, and 32 kB may decompress to 32 MB
        )
        self._connections = connections
        self._socket: asyncio.Transport | None = None
        self._is_ended = False
        self._clock = loop.time
        self._silent_since = loop.time()
        self._begun: float | None = None
        self._unread_since: float | None = None
        self._received = 0
        self._was_answered = False
        self._is_stream = False

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > LARGEST_REQUEST:
            self._refuse()
            return
        if data and self._begun is None:
            self._begun = self._clock()
        super().data_received(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._socket = cast("asyncio.Transport", transport)
        if self._is_ended:
            self.end()

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.lost(self)
        self._socket = None
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._connections.made_to_wait()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        finished = await super().finish_response(request, resp, start_time)
        if finished[0].status == HTTPStatus.UNAUTHORIZED and "Authorization" in request.headers:
            self._connections.refused("wrong_token")
        self._silent_since, self._begun, self._received, self._was_answered = self._clock(), None, 0, True
        if self._is_stream:
            self._is_stream = False
            self._connections.stream_ended(self)
        self._connections.answered(self)
        return finished

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  # it repeats what the client sent
    ) -> web.StreamResponse:
        """In place of aiohttp's, which logs a traceback each time and repeats the request to the client."""
        if isinstance(exc, UnicodeEncodeError) and "Expect" in request.headers:
            status = HTTPStatus.BAD_REQUEST  # aiohttp repeats this header, and fails where it is no text
        if status == HTTPStatus.BAD_REQUEST:
            self._connections.refused("malformed", f"{type(exc).__name__}")
        elif exc is not None:
            self._connections.crashed(exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun already")
        response = web.Response(status=status, text=f"{status}: {HTTPStatus(status).phrase}\n", headers=HEADERS)
        response.force_close()
        return response

    def becomes_stream(self) -> bool:
        self._is_stream = self._connections.stream(self)
        return self._is_stream

    @property
    def unread(self) -> int:
        """Bytes of answers that the client has not taken."""
        return 0 if self._socket is None else self._socket.get_write_buffer_size()

    @property
    def owes(self) -> bool:
        return (self._begun is not None and not self._is_stream) or self._unread_since is not None

    def is_over(self, now: float) -> bool:
        if self.unread:
            self._unread_since = now if self._unread_since is None else self._unread_since
            return now - self._unread_since > ANSWER_S
        self._unread_since = None
        if self._is_stream:
            return False
        if self._begun is not None:
            return now - self._begun > REQUEST_S
        return now - self._silent_since > (IDLE_S if self._was_answered else REQUEST_S)

    def end(self) -> None:
        """At once: an orderly close would wait for the client."""
        self._is_ended = True
        if self._socket is not None:
            self._socket.abort()

    def _refuse(self) -> None:
        self._connections.refused("malformed", "too large")
        may_say = not self._was_answered and not self._is_stream
        if self._socket is not None and may_say and not self._socket.is_closing():
            self._socket.write(_TOO_LARGE)
            self.force_close()
        else:
            self.end()


def most_open(descriptors: int) -> int:
    """How many connections may be open if the process may have that many descriptors."""
    if descriptors == resource.RLIM_INFINITY:
        return MOST_OPEN
    return max(FEWEST_OPEN, min(MOST_OPEN, descriptors - RESERVED))


def most_streams(descriptors: int) -> int:
    """How many streams may be open besides."""
    if descriptors == resource.RLIM_INFINITY:
        return MOST_STREAMS
    return max(FEWEST_OPEN, min(MOST_STREAMS, descriptors - RESERVED - MOST_OPEN))


def becomes_stream(request: web.Request) -> bool:
    """Whether the answer to this request may be a stream: it does not end, and its connection is counted apart.

    False: there are as many as may be. Without these limits, as in a test, there may always be one.
    """
    connection = request.protocol
    return not isinstance(connection, _Connection) or connection.becomes_stream()
