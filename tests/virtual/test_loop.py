"""The kernel itself: virtual seconds, pauses, kills, and the libraries that the controller uses."""

from __future__ import annotations

import asyncio
import contextlib

import httpx
import pytest
from tenacity import AsyncRetrying, stop_after_attempt, wait_fixed

from tests.virtual.loop import Kernel, in_virtual_time, process_loop


def test_an_hour_of_sleep_takes_no_time() -> None:
    async def nap() -> float:
        await asyncio.sleep(3000)
        return asyncio.get_running_loop().time()

    assert in_virtual_time(nap()) == 3000


def test_what_the_controller_uses_of_asyncio_works() -> None:
    async def everything() -> list[str]:
        said = []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(10)
        said.append(f"timeout {asyncio.get_running_loop().time():g}")
        event = asyncio.Event()
        waiting = asyncio.create_task(event.wait())
        done, _ = await asyncio.wait({waiting}, timeout=2)
        said.append(f"wait {len(done)} {asyncio.get_running_loop().time():g}")
        event.set()
        await asyncio.gather(waiting, asyncio.shield(asyncio.sleep(1)))
        said.append(f"gather {asyncio.get_running_loop().time():g}")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 3)
        async for attempt in AsyncRetrying(stop=stop_after_attempt(3), wait=wait_fixed(10)):
            with attempt:
                assert attempt.retry_state.attempt_number == 3
        said.append(f"tenacity {asyncio.get_running_loop().time():g}")
        return said

    assert in_virtual_time(everything()) == ["timeout 5", "wait 0 7", "gather 8", "tenacity 31"]


def test_httpx_works() -> None:
    class Slow(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await asyncio.sleep(7)
            return httpx.Response(200, json={"path": request.url.path})

    async def ask() -> tuple[object, float]:
        async with httpx.AsyncClient(transport=Slow()) as client:
            answer = (await client.get("http://railway/x")).json()
        return answer, asyncio.get_running_loop().time()

    assert in_virtual_time(ask()) == ({"path": "/x"}, 7)


def test_a_paused_process_sees_its_timers_late_and_a_killed_one_never() -> None:
    kernel = Kernel()
    seen: list[tuple[str, float]] = []

    async def tick(name: str) -> None:
        while True:
            await asyncio.sleep(1)
            seen.append((name, kernel.now))

    for name in ("paused", "killed"):
        loop = process_loop(kernel, name)
        loop.create_task(tick(name))
        if name == "paused":
            kernel.at(1.5, loop.pause)
            kernel.at(10.25, loop.resume)
        else:
            kernel.at(2.5, loop.kill)
    kernel.run_until(12)
    assert [at for name, at in seen if name == "paused"] == [1, 10.25, 11.25]
    assert [at for name, at in seen if name == "killed"] == [1, 2]
