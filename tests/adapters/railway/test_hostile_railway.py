"""Any answer of Railway becomes a reading, or Unavailable with its reason, within the stated limits."""

from __future__ import annotations

import asyncio
import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydantic import SecretStr

from controller.adapters.railway.answer import MOST_BYTES
from controller.adapters.railway.client import RailwayClient
from controller.adapters.railway.platform import RailwayPlatform
from controller.adapters.railway.reading import Placement, placement
from controller.adapters.railway.settings import RailwayToken
from controller.core.model import Replicas, ServiceState
from controller.core.ports import NotSent, Unavailable
from controller.core.text import bounds
from tests.support.examples import some
from tests.support.hostile import (
    NO_ANSWER,
    REFUSED,
    TOO_MUCH,
    Answer,
    HostileRailway,
    hostile_railway,
    page,
    service,
    whole,
)
from tests.support.scene import intent_to
from tests.support.unhurried import PROMISED
from tests.virtual.idle import LoopClock

pytestmark = pytest.mark.virtual_time


@pytest.fixture(autouse=True)
def deadlines_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("client.TIMEOUT", "client.LONGEST_S", "platform._LONGEST_LOOK_S"):
        place = f"controller.adapters.railway.{name}"
        monkeypatch.setattr(place, PROMISED[place])


TOKEN = RailwayToken("project", SecretStr("a-token-of-the-tests"))
ODD = {**TOO_MUCH, **NO_ANSWER, **REFUSED}
RUNNING = Replicas(1, 1, 1, ServiceState.RUNNING, "d", Placement({"us": 1}, {"us": 1}))
ON_THE_WAY = 7_000_000
"""What sockets may hold of an answer that is given up: some MB, by the kernel's settings."""


@asynccontextmanager
async def platform(answer: Answer, **more: Any) -> AsyncIterator[tuple[RailwayPlatform, HostileRailway]]:
    async with hostile_railway(answer) as railway:
        client = RailwayClient(railway.url, TOKEN, LoopClock())
        yield RailwayPlatform(client, project="p", environment="e", shown_within_s=0.05, **more), railway
        await client.close()


async def reading_of(railway: RailwayPlatform) -> Replicas | Unavailable:
    try:
        return (await railway.observe(["svc"]))["svc"]
    except Unavailable as unavailable:
        return unavailable


@pytest.mark.parametrize("name", ODD)
async def test_an_answer_that_is_none_is_unavailable_with_its_reason_in_one_short_sentence(name: str) -> None:
    answer, words = ODD[name]
    async with platform(answer) as (railway, server):
        with pytest.raises(Unavailable, match=words) as error:
            await railway.observe(["svc"])
    assert len(str(error.value)) < 2 * bounds.WORDS
    assert str(error.value).isprintable()
    assert len(server.asked) <= (3 if name in NO_ANSWER else 1)
    assert server.sent <= len(server.asked) * (MOST_BYTES + ON_THE_WAY)


@pytest.mark.parametrize("name", some(list(ODD), every=2))
async def test_a_change_that_is_answered_so_is_refused_or_unknown_and_never_done(name: str) -> None:
    answer, _ = ODD[name]
    async with platform(answer) as (railway, server):
        with pytest.raises(Unavailable) as error:
            await railway.scale("svc", intent_to(0), RUNNING)
    assert server.asked == ["DeploymentStop"]
    refused = name.startswith(("429", "an error", "nothing was"))
    assert isinstance(error.value, NotSent) is refused


@pytest.mark.costly
@pytest.mark.parametrize("name", TOO_MUCH)
async def test_what_is_too_much_is_never_in_memory(name: str) -> None:
    """Of what Python allocates; test_hostile_railway_process.py judges the whole process."""
    answer, _ = TOO_MUCH[name]
    async with platform(answer) as (railway, _):
        await reading_of(railway)  # whatever is imported and set up once
        tracemalloc.start()
        try:
            await reading_of(railway)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < 4 * MOST_BYTES


# --- the values of an answer


def paths(value: Any, *before: Any) -> Iterator[tuple[Any, ...]]:
    yield before
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in parts:
        yield from paths(part, *before, key)


def replaced(value: Any, path: tuple[Any, ...], odd: str) -> str:
    """The JSON with another text in one place."""
    mark = "‡"
    copy = json.loads(json.dumps(value))
    if not path:
        return odd
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = mark
    return json.dumps(copy, ensure_ascii=False).replace(f'"{mark}"', odd)


LONG = json.dumps("x y" * 300_000)
VALUES = {
    "nothing": "null",
    "a flag": "true",
    "below 0": "-1",
    "a fraction": "0.5",
    "endless": "1e400",
    "not a number": "NaN",
    "10**30": "1" + "0" * 30,
    "-10**30": "-1" + "0" * 30,
    "1001": "1001",
    "100,000": "100000",
    "1000 digits": "9" * 1000,
    "a text": '"a"',
    "digits": '"12"',
    "no text": '""',
    "half a character": r'"\ud800 \udfff\ud800x"',
    "control characters": r'"\u001b[31m\u0000\n"',
    "a megabyte": LONG,
    "a list": "[]",
    "20,000 numbers": "[" + "0," * 20_000 + "0]",
    "20,000 objects": "[" + "{}," * 20_000 + "{}]",
    "an object": "{}",
    "an object of 20,000": "{" + ",".join(f'"{n}": {{"numReplicas": 9}}' for n in range(20_000)) + "}",
    "a key of a megabyte": "{" + LONG + ": 1}",
    "a region with a name of 15,000 letters": json.dumps({"r" * 15_000: {"numReplicas": 2}}),
    "51 regions": json.dumps({f"r{number}": {"numReplicas": 1} for number in range(51)}),
    "10 regions of 1000": json.dumps({f"r{number}": {"numReplicas": 1000} for number in range(10)}),
    "nested": "[" * 100 + "]" * 100,
}


@pytest.mark.parametrize("name", VALUES)
async def test_an_odd_value_in_any_place_is_a_bounded_reading_or_unavailable(name: str) -> None:
    """Each place of an ordinary answer, one at a time."""
    ordinary = page(service(), service("other"))
    async with platform(whole(b"")) as (railway, server):
        for path in some(list(paths(ordinary)), every=10, first=list(VALUES).index(name)):
            server.answer = whole(replaced(ordinary, path, VALUES[name]).encode())
            reading = await reading_of(railway)
            assert_bounded(reading, path)


def assert_bounded(reading: Replicas | Unavailable, where: object) -> None:
    if isinstance(reading, Unavailable):
        text = str(reading)
        assert len(text) <= bounds.MESSAGE + 20, where
        text.encode()  # half a character could not be written anywhere
        return
    assert 0 <= reading.configured <= 1000, where
    assert len(placement(reading).regions) <= 50, where
    assert 0 <= reading.running <= reading.alive <= 2000, where
    assert 0 <= reading.draining_s <= 24 * 3600, where
    assert len(repr(reading)) < 10_000, where
    repr(reading).encode()


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ({"serviceName": 5}, r"service svc \(serviceName: Input should be a valid string\)"),
        ({"numReplicas": "2"}, "numReplicas: Input should be a valid integer"),
        ({"region": "r" * 101}, "region: String should have at most 100 characters"),
        ({"activeDeployments": [{}] * 51}, "activeDeployments"),
    ],
)
async def test_what_is_not_understood_is_named_without_what_stands_there(odd: dict[str, Any], words: str) -> None:
    async with platform(whole(json.dumps(page(service(**odd))).encode())) as (railway, _):
        with pytest.raises(Unavailable, match=words):
            raise await reading_of(railway)  # type: ignore[misc]  # it is one, or the test fails


async def test_a_text_that_was_cut_within_an_emoji_does_not_make_the_reading_unavailable() -> None:
    odd = service()
    odd["latestDeployment"]["meta"]["commitMessage"] = "a \\ud83d \\\\ ‡"
    body = json.dumps(page(odd)).replace("\\u2021", "\\ud83d\\ude00 \\ud83d").encode()
    async with platform(whole(body)) as (railway, _):
        reading = await reading_of(railway)
    assert isinstance(reading, Replicas)
    assert reading.configured == 2


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (lambda body: body, ("Content-Type: text/plain",)),
        (lambda body: body, ("Content-Encoding: identity", "Content-Type: image/png")),
        (gzip.compress, ("Content-Encoding: gzip",)),
        (gzip.compress, ("Content-Encoding: GZIP", "Transfer-Encoding: identity")),
        (lambda body: body, ("Set-Cookie: a=b; Path=/", *(f"X-{n}: {'v' * 1000}" for n in range(50)))),
        (lambda body: body + b" " * 1_900_000, ()),
    ],
    ids=[
        "another content type",
        "a wrong content type",
        "gzip",
        "headers in capitals",
        "cookies and 50 kB of headers",
        "almost 2 MB",
    ],
)
async def test_an_answer_within_the_bounds_is_read_however_it_comes(content: Any, lines: tuple[str, ...]) -> None:
    lines = tuple(line for line in lines if not line.startswith("Transfer-Encoding"))
    async with platform(whole(content(json.dumps(page(service())).encode()), *lines)) as (railway, server):
        for _ in range(2):
            reading = await reading_of(railway)
            assert isinstance(reading, Replicas), reading
    assert b"cookie" not in b"".join(server.heads).lower()
    assert b"accept-encoding: gzip\r\n" in server.heads[0].lower()


async def test_of_an_environment_whose_pages_never_end_twenty_are_read_and_none_is_kept() -> None:
    others = [service(f"{number}", serviceName="n" * 5000) for number in range(50)]
    async with platform(whole(json.dumps(page(*others, cursor="c" * 1000, more=True)).encode())) as (railway, server):
        reading = await reading_of(railway)
    assert len(server.asked) == 20
    assert isinstance(reading, Unavailable)
    assert "service svc does not exist" in str(reading)
    assert "and 40 more" in str(reading)
    assert_bounded(reading, "others")


@pytest.mark.parametrize(("interval", "within"), [(1, 8.5), (10, 8.5), (30, 28), (600, 45)])
async def test_pages_that_come_slowly_without_an_end_make_no_cycle_of_ten_seconds_late(
    interval: float, within: float
) -> None:
    async def slow() -> AsyncIterator[bytes]:
        await asyncio.sleep(3.0)
        async for piece in whole(json.dumps(page(cursor="c", more=True)).encode())():
            yield piece

    loop = asyncio.get_running_loop()
    async with platform(slow, interval_s=interval) as (railway, _):
        began = loop.time()
        with pytest.raises(Unavailable, match=f"could not be read within {within} s"):
            await railway.observe(["svc"])
    assert loop.time() - began == pytest.approx(within, abs=0.3)


async def test_a_cursor_that_is_too_long_is_not_sent_back() -> None:
    async with platform(whole(json.dumps(page(cursor="c" * 1001, more=True)).encode())) as (railway, server):
        assert "in an unknown format: the list of services" in str(await reading_of(railway))
    assert len(server.asked) == 1


@pytest.mark.parametrize("header", ["q=1;w=999999", "q=29;w=3600", "q=" + "1" * 90_000, "q=1 " * 20_000])
async def test_one_odd_header_changes_no_budget(header: str) -> None:
    body = json.dumps(page(service())).encode()
    async with platform(whole(body, f"RateLimit-Policy: {header}")) as (railway, server):
        await reading_of(railway)
        server.answer = whole(body)
        for _ in range(10):
            await reading_of(railway)
        requests = railway.requests()
    assert (requests.quota, requests.window_s, requests.pace_s) == (1000, 3600, 0)
