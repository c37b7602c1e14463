"""No client keeps the controller from its work: who is closed, who is answered, and what the log says of it."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.web import connections as under_test
from controller.web.assets import NAMES, asset
from controller.web.connections import FEWEST_OPEN, HEADERS, LARGEST_REQUEST, MOST_OPEN, Connections, most_open, serving
from controller.web.server import application, listening_socket
from tests.support.patience import in_time, until
from tests.web.stand_ins import cycle
from tests.web.test_page import shown

TOKEN = "t0ken-with-enough-characters"
REQUEST = b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n"


@dataclass
class Served:
    port: int
    connections: Connections
    said: list[dict[str, Any]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def connect(self, sent: bytes = b"") -> Client:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        if sent:
            writer.write(sent)
        return Client(reader, writer)

    async def until_said(self) -> dict[str, Any]:
        await until(lambda: bool(self.said), "a line of the log")
        return self.said[0]


@dataclass
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def closed(self) -> bytes:
        """All that was answered until the server closed the connection."""
        parts = []
        try:
            while part := await in_time(self.reader.read(65536), "the server to close the connection"):
                parts.append(part)
        except ConnectionError:
            pass
        return b"".join(parts)

    async def answer(self) -> bytes:
        head = await in_time(self.reader.readuntil(b"\r\n\r\n"), "an answer")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        return head + await self.reader.readexactly(int(length[1]) if length else 0)


@asynccontextmanager
async def served(token: str | None = None) -> AsyncIterator[Served]:
    said: list[dict[str, Any]] = []

    def report(event: str, /, **fields: object) -> None:
        said.append({"event": event, **fields})

    listener = listening_socket(0)
    port = listener.getsockname()[1]
    async with serving(application(shown(None, cycle()), token), listener, report) as connections:
        yield Served(port, connections, said)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience of a moment, so that its end is seen soon."""
    for name in ("REQUEST_S", "IDLE_S", "ANSWER_S"):
        monkeypatch.setattr(under_test, name, 0.3)
    monkeypatch.setattr(under_test, "_LOOK_S", 0.05)


# --- how long a client may take ---


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "sent",
    [b"", b"GET", b"GET /health HTTP/1.1\r\nHost: x\r\n", b"POST /health HTTP/1.1\r\nContent-Length: 9\r\n"],
    ids=["nothing sent", "half of the first line sent", "half of the headers sent", "half of the body sent"],
)
async def test_a_connection_that_sends_no_whole_request_is_closed(sent: bytes) -> None:
    async with served() as server:
        client = await server.connect(sent)
        assert await client.closed() == b""
        assert len(server.connections) == 0


@pytest.mark.usefixtures("quick")
async def test_a_request_that_trickles_is_closed_however_often_something_comes() -> None:
    async with served() as server:
        client = await server.connect(b"GET /health HTTP/1.1\r\n")

        async def trickle() -> None:
            while True:
                client.writer.write(b"X-A: b\r\n")
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        assert await client.closed() == b""
        trickling.cancel()
        assert (await server.until_said())["slow"] == 1


@pytest.mark.usefixtures("quick")
async def test_a_connection_that_asks_nothing_more_is_closed_and_that_is_no_fault() -> None:
    async with served() as server:
        client = await server.connect(REQUEST)
        assert (await client.closed()).startswith(b"HTTP/1.1 200")
        assert server.said == []


@pytest.mark.costly
@pytest.mark.usefixtures("quick")
async def test_a_client_that_does_not_read_its_answers_is_closed() -> None:
    async with served() as server:
        client = await server.connect()
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads has it

        async def asks() -> bool:
            client.writer.write(REQUEST * 30)
            await asyncio.sleep(0)
            return client.writer.transport.is_closing()

        await until(asks, "the connection to be closed")
        assert (await server.until_said())["slow"] >= 1


@pytest.mark.costly
async def test_large_answers_that_no_client_reads_wait_in_few_megabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.web.server.status_body", lambda _: {"x": "x" * 6_000_000})
    async with served() as server:
        waiting = 0
        clients = [await server.connect() for _ in range(10)]
        for client in clients:
            client.writer.transport.pause_reading()  # type: ignore[attr-defined]  # a transport that reads has it
            client.writer.write(REQUEST * 30)

        def said() -> bool:
            nonlocal waiting
            waiting = max(waiting, sum(one.unread for one in server.connections._open))
            return bool(server.said)

        await until(said, "those that take nothing to be closed", pause=0)
        assert 1_000_000 < waiting < under_test.MOST_UNREAD + 6_100_000


async def test_requests_on_one_connection_are_answered_one_after_the_other() -> None:
    async with served() as server:
        client = await server.connect(REQUEST * 20)
        for _ in range(20):
            assert (await client.answer()).startswith(b"HTTP/1.1 200")


# --- how many there may be ---


@pytest.mark.parametrize(
    ("descriptors", "most"),
    [
        (64, FEWEST_OPEN),
        (128, 28),
        (256, MOST_OPEN),
        (1024, MOST_OPEN),
        (resource.RLIM_INFINITY, MOST_OPEN),
    ],
)
def test_a_hundred_descriptors_are_kept_for_what_the_controller_itself_connects_to(descriptors: int, most: int) -> None:
    assert most_open(descriptors) == most


async def test_above_the_limit_the_one_that_is_silent_for_longest_makes_room_for_the_newest() -> None:
    async with served() as server:
        server.connections.most = 5
        clients = [await server.connect(REQUEST) for _ in range(5)]
        for client in clients:
            await client.answer()
        clients[0].writer.write(REQUEST)
        await clients[0].answer()
        newest = await server.connect(REQUEST)
        assert (await newest.answer()).startswith(b"HTTP/1.1 200")
        assert await clients[1].closed() == b""
        clients[0].writer.write(REQUEST)
        assert (await clients[0].answer()).startswith(b"HTTP/1.1 200")
        assert len(server.connections) == 5
        line = await server.until_said()
        assert (line["event"], line["crowded_out"]) == ("http_refused", 1)


@pytest.mark.costly
async def test_a_probe_is_answered_while_hundreds_are_connected_and_silent() -> None:
    async with served() as server:
        idle = [await server.connect(b"GET /hea" if number % 2 else b"") for number in range(400)]
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"{server.url}/health")).status_code == 200
        assert len(server.connections) <= MOST_OPEN
        for one in idle:
            one.writer.close()


# --- what is no request ---

NO_REQUESTS = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) + b"\r\n\r\n",
    "nonsense": b"hello\r\n\r\n",
    "another version": b"GET / HTTP/9.9\r\n\r\n",
    "markup": b"<script>alert(1)</script> / HTTP/1.1\r\n\r\n",
    "a header without a name": b"GET / HTTP/1.1\r\n: x\r\n\r\n",
    "a header with a line break": b"GET / HTTP/1.1\r\nX: a\x00b\r\n\r\n",
    "a long line": b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
    "an expectation that is no text": b"GET /health HTTP/1.1\r\nHost: x\r\nExpect: 1\xb50-continue\r\n\r\n",
    "two lengths": b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "more than there may be": b"GET / HTTP/1.1\r\n" + b"X: aaaaaaaaaaaaaaaa\r\n" * 5000,
}


@pytest.mark.parametrize("sent", NO_REQUESTS.values(), ids=NO_REQUESTS)
async def test_what_is_no_request_is_answered_in_few_words_which_are_not_its_own(sent: bytes) -> None:
    async with served() as server:
        answer = await (await server.connect(sent)).closed()
        assert re.match(rb"HTTP/1\.[01] (400|431) ", answer) or answer == b""
        head, _, body = answer.partition(b"\r\n\r\n")
        assert len(body) < 100
        assert b"script" not in answer
        for name, value in HEADERS.items() if answer else ():
            assert f"{name}: {value}".encode() in head
        line = await server.until_said()
        assert (line["event"], line["malformed"]) == ("http_refused", 1)
        assert len(json.dumps(line)) < 600


async def test_more_than_a_request_may_have_is_refused_before_it_is_read() -> None:
    async with served() as server:
        headers = b"".join(b"X-%d: %s\r\n" % (number, b"a" * 5000) for number in range(8))
        answer = await (await server.connect(b"GET / HTTP/1.1\r\n" + headers)).closed()
        assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.costly
@pytest.mark.usefixtures("quick")
async def test_three_hundred_refusals_are_one_line_of_the_log() -> None:
    async with served() as server:
        for number in range(300):
            await (await server.connect(list(NO_REQUESTS.values())[number % 4])).closed()
        await server.until_said()
        await asyncio.sleep(2 * under_test._LOOK_S)
        assert [line["event"] for line in server.said] == ["http_refused"]


@pytest.mark.costly
@given(st.binary(max_size=300))
def test_no_bytes_whatever_end_the_server_or_are_a_bug(sent: bytes) -> None:
    async def ask() -> None:
        async with served() as server:
            client = await server.connect(sent + b"\r\n\r\n")
            client.writer.write_eof()
            await client.closed()
            async with httpx.AsyncClient() as other:
                assert (await other.get(f"{server.url}/health")).status_code == 200
            assert [line for line in server.said if line["event"] == "crashed"] == []

    asyncio.run(ask())


async def test_a_body_is_neither_read_nor_waited_for() -> None:
    async with served() as server:
        client = await server.connect(b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n")
        assert (await client.answer()).startswith(b"HTTP/1.1 405")
        client.writer.write(b"x" * 2 * LARGEST_REQUEST)
        await client.closed()
        assert len(server.connections) == 0


async def test_a_bug_in_an_answer_is_a_500_and_its_traceback_stands_in_the_log_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def bug(_: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("controller.web.server.health_report", bug)
    async with served() as server, httpx.AsyncClient() as client:
        for _ in range(3):
            answer = await client.get(f"{server.url}/health")
            assert (answer.status_code, answer.text) == (500, "500: Internal Server Error\n")
        (line,) = server.said
        assert line["event"] == "crashed"
        assert "ZeroDivisionError" in line["traceback"]


# --- headers ---


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/health", 200),
        ("GET", "/status", 200),
        ("GET", "/metrics", 200),
        ("HEAD", "/health", 200),
        ("GET", "/nowhere", 404),
        ("POST", "/status", 405),
        ("OPTIONS", "/", 405),
    ],
)
async def test_every_answer_has_the_headers_that_keep_browsers_safe(method: str, path: str, status: int) -> None:
    async with served() as server, httpx.AsyncClient() as client:
        answer = await client.request(method, f"{server.url}{path}")
    assert answer.status_code == status
    assert answer.headers["server"] == "worker-autoscaler"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; ")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "aiohttp" not in str(answer.headers).lower()


async def test_the_page_may_load_its_own_files_and_nothing_else() -> None:
    async with served() as server, httpx.AsyncClient() as client:
        answer = await client.get(server.url)
        loaded = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
        assert len(loaded) == len(NAMES)
        assert len(answer.content) + sum(len(asset(name).body) for name in NAMES) < 100_000, "bytes in all"
        for address in loaded:
            file = await client.get(f"{server.url}/{address}")
            assert (file.status_code, file.headers["cache-control"]) == (200, "max-age=31536000, immutable")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'" in policy
    assert not re.search(r"<style|<script>|\sstyle=|\son\w+=|https?:", answer.text)


# --- the token ---


def basic(text: str) -> str:
    return f"Basic {base64.b64encode(text.encode()).decode()}"


@pytest.mark.parametrize(
    ("shows", "status"),
    [
        (f"Bearer {TOKEN}", 200),
        (f"bearer  {TOKEN}", 200),
        (basic(f"me:{TOKEN}"), 200),
        (basic(f":{TOKEN}"), 200),
        (None, 401),
        ("", 401),
        ("Bearer", 401),
        (f"Bearer {TOKEN[:-1]}", 401),
        (f"Bearer {TOKEN}x", 401),
        (TOKEN, 401),
        (f"Basic {TOKEN}", 401),
        (basic(TOKEN), 401),
        (basic(f"{TOKEN}:"), 401),
        ("Bearer t\xf6ken".encode("latin-1"), 401),
        ("Bearer tökén".encode(), 401),
        (b"Bearer \xff\xfe", 401),
        (b"Basic \xff", 401),
    ],
)
async def test_the_token_opens_all_pages_and_nothing_else_does(shows: Any, status: int) -> None:
    headers = [] if shows is None else [(b"Authorization", shows if isinstance(shows, bytes) else shows.encode())]
    async with served(TOKEN) as server, httpx.AsyncClient() as client:
        for path in ("/", "/status", "/metrics"):
            answer = await client.get(f"{server.url}{path}", headers=headers)
            assert answer.status_code == status
            if status == 401:
                assert answer.headers["www-authenticate"].startswith("Bearer ")
                assert "HTTP_TOKEN" in answer.text
                assert "generation" not in answer.text
                assert TOKEN not in answer.text
        assert (await client.get(f"{server.url}/health", headers=headers)).status_code == 200
        assert (await client.get(f"{server.url}/nowhere", headers=headers)).status_code == (
            404 if status == 200 else 401
        )


async def test_wrong_tokens_are_counted_in_the_log() -> None:
    async with served(TOKEN) as server, httpx.AsyncClient() as client:
        await client.get(f"{server.url}/status")
        await client.get(f"{server.url}/status", headers={"Authorization": "Bearer x"})
        assert (await server.until_said())["wrong_token"] == 1
