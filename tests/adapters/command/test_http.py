"""The same over HTTP: what is sent to an address, and what its answers mean."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from controller.adapters.command import http
from controller.adapters.command.platform import AT_ONCE, CommandPlatform, Means
from controller.adapters.http import httpx
from controller.core.model import Replicas
from controller.core.ports import LeaseLost, NotSent, Outdated, Refused, Unavailable
from controller.core.text.masking import Masker
from controller.policy import Policy
from tests.adapters.command.test_programs import KEY, UP, read, seen
from tests.virtual.idle import LoopClock

pytestmark = pytest.mark.virtual_time
TOKEN = "t0ken-of-the-scaler"


@dataclass
class Scaler:
    """An address that scales; `answer` stands in for what it answers."""

    answer: Callable[[web.Request], web.Response] = lambda _: web.json_response({"configured": 1})
    requests: list[tuple[web.Request, bytes]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        self.requests.append((request, await request.read()))
        return self.answer(request)


@asynccontextmanager
async def reached(scaler: Scaler, may_act: Callable[[int], bool] = lambda _: True) -> AsyncIterator[CommandPlatform]:
    app = web.Application()
    app.router.add_route("*", "/scale", scaler.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    command = {"url": f"http://127.0.0.1:{runner.addresses[0][1]}/scale?app=7", "bearer": "TOKEN", "name": "jobs"}
    worker = {"command": command, "queue": {"table": "job"}, "tiers": [{"replicas": 1}], "max_replicas": 5}
    policy = Policy.model_validate({"interval": "10s", "workers": {"generation": worker}})
    platform = CommandPlatform(Means({"TOKEN": TOKEN}, LoopClock(), may_act, Masker()), policy)
    try:
        yield platform
    finally:
        await platform.close()
        await runner.cleanup()


async def test_a_reading_is_a_get_and_a_change_is_a_post_with_the_token_and_the_change_s_id() -> None:
    scaler = Scaler(lambda _: web.json_response({"configured": 1}, headers={"ETag": '"v7"', "Set-Cookie": "a=b"}))
    async with reached(scaler) as platform:
        await platform.scale(KEY, UP, await seen(platform))
    (get, _), (post, body) = scaler.requests
    assert (get.method, dict(get.query)) == ("GET", {"app": "7", "worker": "generation", "target": KEY})
    assert (post.method, dict(post.query)) == ("POST", {"app": "7"})
    assert {request.headers["Authorization"] for request in (get, post)} == {f"Bearer {TOKEN}"}
    assert (post.headers["Idempotency-Key"], post.headers["If-Match"]) == ("a1b2c3", '"v7"')
    assert "Cookie" not in post.headers
    told = json.loads(body)
    assert (told["worker"], told["desired"], told["current"], told["epoch"]) == ("generation", 3, 1, 7)


@pytest.mark.parametrize(
    ("status", "error", "says"),
    [
        pytest.param(409, Outdated, "the next cycle reads", id="conflict"),
        pytest.param(412, Outdated, "the next cycle reads", id="precondition failed"),
        pytest.param(400, Refused, "HTTP 400: no such app", id="bad request"),
        pytest.param(401, Refused, "HTTP 401", id="unauthorized"),
        pytest.param(307, Refused, "redirect, which is not followed", id="redirect"),
        pytest.param(429, NotSent, "nothing is sent for 30 s", id="too many"),
        pytest.param(408, Unavailable, "HTTP 408", id="timeout"),
        pytest.param(500, Unavailable, "HTTP 500", id="server error"),
        pytest.param(503, Unavailable, "HTTP 503", id="unavailable"),
    ],
)
async def test_what_a_status_of_a_change_means(status: int, error: type[Unavailable], says: str) -> None:
    scaler = Scaler()
    async with reached(scaler) as platform:
        before = await seen(platform)
        scaler.answer = lambda _: web.Response(status=status, text=f"no such app {TOKEN}", headers={"Location": "/"})
        with pytest.raises(Unavailable, match=says) as caught:
            await platform.scale(KEY, UP, before)
    assert type(caught.value) is error
    assert TOKEN not in str(caught.value)
    assert len(scaler.requests) == 2


async def test_targets_that_hang_keep_no_place_of_one_that_answers() -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path != "/well":
            await asyncio.sleep(1e6)
        return web.Response(text="1")

    app = web.Application()
    app.router.add_get("/{name}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    names = [*(f"hangs{number}" for number in range(2 * AT_ONCE)), "well"]
    address = f"http://127.0.0.1:{runner.addresses[0][1]}"
    more = {"queue": {"table": "job"}, "tiers": [{"replicas": 1}], "max_replicas": 5}
    workers = {
        name: {"command": {"url": f"{address}/{name}", "timeout": "60s", "name": name}, **more} for name in names
    }
    policy = Policy.model_validate({"interval": "10s", "workers": workers})
    platform = CommandPlatform(Means({}, LoopClock(), lambda _: True, Masker()), policy)
    keys, clock = [f"command:{name}" for name in names], LoopClock()
    seen = []
    for _ in range(4):
        began = clock.monotonic()
        seen.append((await platform.observe(keys))["command:well"])
        assert clock.monotonic() - began < 90, "a cycle is given up then"
    assert "was not asked, because 8 others took longer than 20 s" in str(seen[0])
    assert all(isinstance(one, Replicas) for one in seen[2:]), seen
    await platform.close()
    await runner.cleanup()


async def test_retry_after_is_honoured_without_a_request() -> None:
    scaler = Scaler(lambda _: web.Response(status=429, headers={"Retry-After": "7"}))
    async with reached(scaler) as platform:
        assert "nothing is sent for 7 s" in str(await read(platform))
        scaler.answer = lambda _: web.Response(text="2")
        assert "asked us to wait" in str(await read(platform))
        assert len(scaler.requests) == 1
        await asyncio.sleep(8)
        assert isinstance(await read(platform), Replicas)


ANSWERS: dict[str, tuple[Any, str]] = {
    "an error": (lambda _: web.Response(status=500, text="boom \x1b[2J"), r"HTTP 500: boom \x1b[2J"),
    "a redirect": (lambda _: web.Response(status=302, headers={"Location": "/"}), "not followed"),
    "not found": (lambda _: web.Response(status=404), "HTTP 404"),
    "no count": (lambda _: web.Response(text="<html>"), "neither a number nor JSON"),
    "too large": (lambda _: web.Response(text="1" * 2000), "more than 1,000 bytes"),
    "an ETag that no header can carry": (
        lambda _: web.Response(text="1", headers={"ETag": '"é"'}),
        "the ETag of the answer is longer than 100 characters, or not ASCII",
    ),
    "an ETag that is too long to go back whole": (
        lambda _: web.Response(text="1", headers={"ETag": f'"{"x" * 100}"'}),
        "the ETag of the answer is longer than 100 characters, or not ASCII",
    ),
    "compressed": (lambda _: web.Response(text="1", headers={"Content-Encoding": "gzip"}), "a compressed answer"),
}


@pytest.mark.parametrize(("answer", "says"), ANSWERS.values(), ids=ANSWERS)
async def test_a_reading_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, answer: Any, says: str) -> None:
    monkeypatch.setattr(http, "MOST_BYTES", 1000)
    async with reached(Scaler(answer)) as platform:
        reading = await read(platform)
    assert isinstance(reading, Unavailable)
    assert says in str(reading)


@pytest.mark.parametrize("left", [0, 1], ids=["before connecting", "after connecting"])
async def test_without_the_lease_nothing_is_posted(left: int) -> None:
    answers = iter([True] * left + [False] * 9)
    scaler = Scaler()
    async with reached(scaler, lambda _: next(answers)) as platform:
        with pytest.raises(LeaseLost):
            await platform.scale(KEY, UP, await seen(platform))
    assert [request.method for request, _ in scaler.requests] == ["GET"]


async def test_where_nothing_listens_nothing_was_sent() -> None:
    scaler = Scaler()
    async with reached(scaler) as platform:
        before = await seen(platform)
    async with reached(Scaler()) as platform:
        platform._served[KEY].by._address = httpx.URL("http://127.0.0.1:1/scale")  # type: ignore[attr-defined]  # of HttpTarget
        with pytest.raises(NotSent, match="cannot be reached"):
            await platform.scale(KEY, UP, before)
