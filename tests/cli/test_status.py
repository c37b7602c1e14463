"""`autoscaler status`: what a running controller says, and what is said if something else answers, or nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from controller.web.server import application
from tests.support.processes import autoscaler
from tests.support.scene import WORKER, Scene


@asynccontextmanager
async def served(app: web.Application) -> AsyncIterator[str]:
    async with TestServer(app) as server:
        yield f"http://127.0.0.1:{server.port}"


@asynccontextmanager
async def answering(body: Any, status: int = 200) -> AsyncIterator[str]:
    async def answer(_: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    app = web.Application()
    app.add_routes([web.get("/status", answer)])
    async with served(app) as address:
        yield address


@pytest.mark.costly
async def test_it_says_who_leads_and_why_each_worker_has_its_count(scene: Scene) -> None:
    await scene.jobs(5)
    async with scene.controller() as driven:
        await driven.tick()
        async with served(application(driven.controller.shown, "sesame")) as address:
            ran = await autoscaler("status", address, environment={"HTTP_TOKEN": "sesame"})
            refused = await autoscaler("status", address)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("healthy: this replica is the leader, epoch ")
    heading, row, *_ = (line.split() for line in ran.out.splitlines() if WORKER in line or line.startswith("worker"))
    assert heading[0] == "worker"
    assert row[:2] == [WORKER, "5"]
    assert f"{WORKER}: 5 jobs (5 pending, 0 processing) want 1 worker: 0 → 1" in ran.out
    assert refused.code == 1
    assert "needs a token; set HTTP_TOKEN" in refused.err


@pytest.mark.costly
async def test_faults_and_overrides_are_shown_and_the_exit_code_is_1_while_it_is_not_healthy(scene: Scene) -> None:
    words = ("pause", WORKER, "--for", "2h", "--by", "ann", "--policy", str(scene.policy))
    assert (await autoscaler(*words, environment=scene.environment)).code == 0
    async with scene.controller() as driven:
        await driven.tick()
        await scene.queue.execute("ALTER TABLE generation_job RENAME TO hidden")
        await driven.tick()
        async with served(application(driven.controller.shown)) as address:
            ran = await autoscaler("status", address)
    assert ran.code == 1
    assert ran.out.startswith("degraded: ")
    assert "PostgreSQL fails since " in ran.out
    assert "override pause: scaling is paused by ann" in ran.out


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({}, 200, "answered something else than a status"),
        ([], 200, "answered something else than a status"),
        ({"status": "healthy", "workers": []}, 200, "answered something else than a status"),
        ({}, 404, "answered 404; is it a worker-autoscaler?"),
        ({}, 302, "answered 302"),
    ],
)
async def test_something_else_is_no_status(body: Any, status: int, said: str) -> None:
    async with answering(body, status) as address:
        ran = await autoscaler("status", address)
    assert ran.code == 1
    assert said in ran.err
    assert "Traceback" not in ran.err


async def test_figures_that_are_none_are_unknown_and_not_a_traceback() -> None:
    workers = {"a": None, "b": {"outcome": "held", "oldest_age_s": "long", "age_s": "x"}, "c": 7}
    async with answering({"status": "healthy", "workers": workers, "failing": [{}], "leader": 7}) as address:
        ran = await autoscaler("status", address)
    assert ran.code == 0
    assert "Traceback" not in ran.err
    assert "no cycle yet" in ran.out


async def test_no_answer_is_said_with_exit_code_1() -> None:
    ran = await autoscaler("status", "http://127.0.0.1:1")
    assert ran.code == 1
    assert "http://127.0.0.1:1: no answer" in ran.err


@pytest.mark.parametrize("address", ["ftp://x", "http://", "http://x:port", "http://[::1"])
async def test_an_address_that_is_none_is_refused(address: str) -> None:
    ran = await autoscaler("status", address)
    assert ran.code == 2
    assert "is not an address; write http://HOST:PORT" in ran.err
