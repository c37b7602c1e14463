"""The stream of events: the newest state and no other, one serialisation for all, and slow readers are closed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from controller.web import connections, stream
from controller.web.server import application, listening_socket
from tests.support.patience import in_time, until
from tests.web.staged import RENDER, KeptTimeline, Staged, cycle, failed, staged
from tests.web.stand_ins import silent

ASKS = b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture
async def controller() -> AsyncIterator[Staged]:
    async with staged(timeline=KeptTimeline()) as one:
        yield one


class Listener:
    """One client of the stream, which reads it event by event."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def event(self) -> tuple[str, dict[str, Any]]:
        size = int(await in_time(self.reader.readline(), "the size of an event"), 16)
        chunk = await in_time(self.reader.readexactly(size + 2), "an event")
        kind, data, *_ = chunk.decode().split("\n")
        return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))

    async def state(self) -> dict[str, Any]:
        while True:
            kind, data = await self.event()
            if kind == "state":
                return data


@asynccontextmanager
async def listening(controller: Staged) -> AsyncIterator[Listener]:
    reader, writer = await asyncio.open_connection("127.0.0.1", controller.port)
    writer.write(ASKS)
    head = await in_time(reader.readuntil(b"\r\n\r\n"), "the head of the stream")
    assert b"200 OK" in head
    assert b"text/event-stream" in head
    yield Listener(reader, writer)
    writer.close()


async def test_it_begins_with_the_state_of_now_and_goes_on_with_each_new_one(controller: Staged) -> None:
    async with listening(controller) as one:
        state = await one.state()
        assert state["workers"][RENDER]["message"] == "86 jobs want 4 workers: stays at 4"
        assert (state["role"], state["workers"][RENDER]["old"]) == ("leader", False)
        assert set(state["policy"]) <= {"hash", "loaded_at"}, "the values of the policy are for /status"
        controller.put(failed(RENDER))
        assert (await one.state())["failing"][0]["name"] == "PostgreSQL"
        controller.put(cycle(RENDER, 55, 3, 3))
        assert (await one.state())["status"] == "healthy"


async def test_one_state_is_made_for_all_streams(controller: Staged, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    of = stream.Message.of
    async with listening(controller) as first, listening(controller) as second:
        await first.state(), await second.state()

        def counted(kind: str, data: Any, number: int = 0) -> stream.Message:
            made.append(kind)
            return of(kind, data, number)

        monkeypatch.setattr(stream.Message, "of", counted)
        controller.put(cycle(RENDER, 55, 3, 3))
        assert (await first.state())["workers"][RENDER]["depth"] == 55
        assert (await second.state())["workers"][RENDER]["depth"] == 55
        assert made.count("state") == 1


async def test_while_nothing_changes_the_stream_says_that_the_controller_lives(
    controller: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "ALIVE_S", 0.1)
    async with listening(controller) as one:
        await one.state()
        assert (await one.event())[0] == "alive"


async def test_above_the_limit_the_answer_is_503_and_requests_are_answered(controller: Staged) -> None:
    (server,) = controller.connections
    server.most_streams = 1
    async with listening(controller) as one, httpx.AsyncClient() as client:
        answer = await client.get(f"{controller.url}stream")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
        assert (await client.get(f"{controller.url}health")).status_code == 200
        await one.state()


async def test_a_stream_takes_no_room_from_requests_and_is_not_closed_for_its_age(
    controller: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    (server,) = controller.connections
    server.most = 1
    monkeypatch.setattr(connections, "REQUEST_S", 0.0)
    async with listening(controller) as one, httpx.AsyncClient() as client:
        for _ in range(3):
            assert (await client.get(f"{controller.url}health")).status_code == 200
        server._look()
        controller.put(cycle(RENDER, 55, 3, 3))
        await one.state()
        assert len(server._streams) == 1


@pytest.mark.costly
async def test_a_client_that_does_not_read_gets_nothing_more_and_is_closed(
    controller: Staged, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "ANSWER_S", 0.2)
    monkeypatch.setattr(stream, "_LOOK_S", 0.0)
    monkeypatch.setattr(stream, "_SEND_BUFFER", 4096)
    (server,) = controller.connections
    _reader, writer = await asyncio.open_connection("127.0.0.1", controller.port)
    writer.write(ASKS)
    writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads has it
    await until(lambda: bool(server._streams), "the stream to begin")
    most = 0

    def is_closed() -> bool:
        nonlocal most
        controller.put(cycle(RENDER, 55, 3, 3))
        most = max([most, *(one.unread for one in server._streams)])
        server._look()
        return not server._streams

    await until(is_closed, "the client to be closed", pause=0.001)
    assert 0 < most < 20_000, "one state at most waits for it"
    writer.close()


async def test_a_stream_that_its_client_leaves_is_forgotten(controller: Staged) -> None:
    (server,) = controller.connections
    async with listening(controller) as one:
        await one.state()
    await until(lambda: not server._streams and not len(server), "the stream to be forgotten")


async def test_a_proxy_of_http_1_0_gets_the_events_without_chunks(controller: Staged) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", controller.port)
    writer.write(b"GET /stream HTTP/1.0\r\n\r\n")
    await in_time(reader.readuntil(b"\r\n\r\n"), "the head of the stream")
    assert await in_time(reader.readline(), "an event") == b"event: state\n"
    writer.close()


async def test_the_stream_needs_the_token() -> None:
    async with staged(timeline=KeptTimeline()) as plain:
        listener = listening_socket(0)
        port = listener.getsockname()[1]
        app = application(plain.shown, "t0ken-with-enough-characters")
        async with connections.serving(app, listener, silent), httpx.AsyncClient() as client:
            for path in ("stream", "static/page.js", "history/samples", "history/cost"):
                assert (await client.get(f"http://127.0.0.1:{port}/{path}")).status_code == 401
