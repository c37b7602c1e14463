"""`autoscaler run` with a blocked output and with hostile clients: it goes on, and it ends.

What it does is seen over HTTP and in Redis, since its log is what fails here.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import random
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.examples import some
from tests.support.patience import in_time, until
from tests.support.processes import CLEAN, QUICK, Fork, led_before, run_forked
from tests.support.scene import POLICY, WORKER, Scene

FEW_LINES = "controller.loop.outlet.MOST_WAITING_BYTES=2000"


@dataclass
class Running:
    process: Fork | asyncio.subprocess.Process
    port: int

    async def status(self) -> dict[str, Any]:
        """Of /status; empty where it does not answer yet."""
        try:
            async with httpx.AsyncClient() as client:
                found: dict[str, Any] = (await client.get(f"http://127.0.0.1:{self.port}/status")).json()
        except httpx.TransportError:
            return {}
        return found

    async def leads(self) -> dict[str, Any]:
        async def led() -> dict[str, Any] | None:
            status = await self.status()
            return status if status.get("role") == "leader" and status["workers"][WORKER] else None

        return await until(led, "it to lead and to have looked")

    async def goes_on(self) -> None:
        """Until it has made three cycles more, by the same lease as before."""
        epoch = (await self.leads())["epoch"]
        for _ in range(3):
            last = (await self.leads())["workers"][WORKER]["at"]

            async def another(last: str = last) -> bool:
                return bool((await self.leads())["workers"][WORKER]["at"] > last)

            await until(another, "another cycle")
        assert (await self.leads())["epoch"] == epoch
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{self.port}/health")).json()["status"] == "healthy"

    async def ends(self, scene: Scene) -> None:
        self.process.send_signal(signal.SIGTERM)
        assert await in_time(self.process.wait(), "it to end") == 0
        assert await scene.redis.keys("*:lease") == []


@asynccontextmanager
async def run(
    scene: Scene,
    *,
    stdout: int | None = None,
    closed: tuple[int, ...] = (),
    first: Callable[[], None] | None = None,
    **environment: str,
) -> AsyncIterator[Running]:
    """The controller, whose log may lead anywhere; its port is chosen before, since its log may be unreadable.

    closed: files that it starts without. first: what it does before all else.
    """
    await led_before(scene)
    port = free_port()
    environment = {**CLEAN, **scene.environment, **QUICK, "PORT": str(port), "LOG_FORMAT": "json", **environment}
    process: Fork | asyncio.subprocess.Process
    if closed:
        process = await _without(closed, environment)
    else:
        with Path(os.devnull).open("w") as nowhere:  # noqa: ASYNC230  # a device, handed to the process
            process = run_forked((), environment, nowhere.fileno() if stdout is None else stdout, first)
    try:
        yield Running(process, port)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _without(closed: tuple[int, ...], environment: dict[str, str]) -> asyncio.subprocess.Process:
    """A new interpreter, because Python itself sees at its start which of these are not open."""

    def close() -> None:
        for number in closed:
            os.close(number)

    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.unhurried", "run"),
        env=environment,
        cwd=POLICY.parent,
        stdout=subprocess.DEVNULL,
        preexec_fn=close,  # nothing else runs in this process
    )


def free_port() -> int:
    """A port outside the range from which the system assigns free ports to other tests."""
    for port in random.sample(range(20_000, 32_000), 1000):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    pytest.fail("every port is taken")


def small_pipe() -> tuple[int, int]:
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    return reading, writing


# --- the log ---


@pytest.mark.costly
async def test_a_log_that_is_not_read_stops_nothing_and_says_later_what_is_missing(scene: Scene) -> None:
    reading, writing = small_pipe()
    async with run(scene, stdout=writing, UNHURRIED_BUT=FEW_LINES) as controller:
        os.close(writing)

        async def lost() -> int:
            return int((await controller.status()).get("log_lines_lost", 0))

        await until(lost, "lines to be lost")
        await controller.goes_on()
        text = b""

        async def said() -> bool:
            nonlocal text
            text += await asyncio.to_thread(os.read, reading, 65536)
            return b'"event": "lines_lost"' in text

        await until(said, "it to say what is missing")
        os.close(reading)
        await controller.ends(scene)


@pytest.mark.costly
async def test_it_ends_in_time_while_its_log_is_not_read(scene: Scene) -> None:
    reading, writing = small_pipe()
    promised = f"{FEW_LINES} controller.cli.run._LAST_LINES_S=0.2"
    async with run(scene, stdout=writing, UNHURRIED_BUT=promised) as controller:
        os.close(writing)

        async def lost() -> int:
            return int((await controller.status()).get("log_lines_lost", 0))

        await until(lost, "lines to be lost")
        await controller.ends(scene)
    os.close(reading)


@pytest.mark.costly
async def test_a_log_whose_reader_went_away_stops_nothing(scene: Scene) -> None:
    reading, writing = small_pipe()
    async with run(scene, stdout=writing) as controller:
        os.close(writing)
        await controller.leads()
        os.close(reading)
        await controller.goes_on()
        assert (await controller.status())["log_lines_lost"] > 0
        await controller.ends(scene)


@pytest.mark.costly
async def test_a_full_disk_stops_nothing(scene: Scene) -> None:
    with Path("/dev/full").open("w") as full:  # noqa: ASYNC230  # a device, handed to the process
        async with run(scene, stdout=full.fileno()) as controller:
            await controller.goes_on()
            assert (await controller.status())["log_lines_lost"] > 0
            await controller.ends(scene)


@pytest.mark.costly
@pytest.mark.parametrize("closed", some([(0, 1, 2), (1,), (1, 2)], every=3))
async def test_without_any_output_it_runs_too(scene: Scene, closed: tuple[int, ...]) -> None:
    async with run(scene, closed=closed) as controller:
        await controller.goes_on()
        await controller.ends(scene)


# --- clients ---


def descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def few_descriptors() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))


@pytest.mark.costly
async def test_four_hundred_silent_connections_and_few_descriptors_cost_no_cycle_and_no_lease(scene: Scene) -> None:
    async with run(scene, first=few_descriptors) as controller:
        await controller.leads()
        idle = [await asyncio.open_connection("127.0.0.1", controller.port) for _ in range(400)]
        for _, writer in idle[::2]:
            writer.write(b"GET /health HTT")
        await controller.goes_on()
        await controller.ends(scene)
        for _, writer in idle:
            writer.close()


@pytest.mark.costly
async def test_where_no_descriptor_is_left_silent_clients_make_room_and_probes_are_answered(scene: Scene) -> None:
    """However that came about: the limit falls while it runs."""
    async with run(scene) as controller:
        await controller.leads()
        pid = controller.process.pid
        open_now = descriptors(pid)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_now + 8, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
        idle = [await asyncio.open_connection("127.0.0.1", controller.port) for _ in range(100)]
        await controller.goes_on()
        await controller.ends(scene)
        for _, writer in idle:
            writer.close()


@pytest.mark.costly
async def test_requests_by_the_thousand_whose_answers_are_not_read_cost_no_cycle(scene: Scene) -> None:
    request = b"GET /status HTTP/1.1\r\nHost: x\r\n\r\n" * 30

    async def flood(port: int) -> None:
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                while not writer.transport.is_closing():
                    writer.write(request)
                    await asyncio.sleep(0.01)
            except OSError:
                await asyncio.sleep(0.01)

    async with run(scene) as controller:
        await controller.leads()
        floods = [asyncio.create_task(flood(controller.port)) for _ in range(20)]
        await controller.goes_on()
        await controller.ends(scene)
        for one in floods:
            one.cancel()
        await asyncio.wait(floods)
