"""`python -m tests.bench.load`: 500 event streams and 1,000 requests a second against a real controller, for a minute.

The controller is a process of its own on a real PostgreSQL, a real Redis and the fake Railway; those who ask it are
another process. A few clients never read: they have to be closed. Exit code 1 if a cycle came more than LATE_S late, or
if memory rose by more than MOST_MB.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import re
import resource
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from controller.demo.server_host import free_ports
from controller.demo.servers import start_servers
from tests.bench.soak import sample
from tests.support.clean_places import empty_database, empty_redis
from tests.support.patience import until
from tests.support.scene import POLICY, WORKER, set_scene

LATE_S, MOST_MB = 1.0, 25.0
INTERVAL_S = 1.0
"""Ten times as often as it is shipped, so that there are ten times as many cycles that may be late."""
CLIENTS, SLOW = 50, 10
PATHS = (
    *("/", "/health", "/metrics", "/status", "/history?since=1h", "/static/page.js", "/static/uplot.js"),
    *(f"/history/samples?worker={WORKER}&since={span}" for span in ("1h", "6h", "24h", "7d")),
    *("/history/cost", "/nowhere"),
)


@dataclass
class Counted:
    """What the clients saw. events: of the stream that got fewest, and of the one that got most."""

    answers: Counter[str] = field(default_factory=Counter)
    took_ms: list[float] = field(default_factory=list)
    refused: int = 0
    events: tuple[int, int] = (0, 0)
    streams_lost: int = 0
    slow_closed: int = 0

    def as_text(self) -> str:
        took = sorted(self.took_ms) or [0.0]
        figures = {**asdict(self), "p50_ms": took[len(took) // 2], "p99_ms": took[len(took) * 99 // 100]}
        del figures["took_ms"]
        return json.dumps({**figures, "answers": dict(self.answers)})


# --- the clients' process ---


async def _ask(port: int, rate: float, ends: float, number: int, counted: Counted) -> None:
    """One connection that is kept, and opened again if it was closed."""
    reader: asyncio.StreamReader | None = None
    due = time.monotonic() + (number / CLIENTS) / rate
    while (now := time.monotonic()) < ends:
        if now < due:
            await asyncio.sleep(due - now)
        due = max(due + 1 / rate, time.monotonic() - 1)
        number += 1
        try:
            if reader is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            began = time.monotonic()
            accept = "Accept: text/plain\r\n" if number % 2 else ""
            writer.write(f"GET {PATHS[number % len(PATHS)]} HTTP/1.1\r\nHost: x\r\n{accept}\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            await reader.readexactly(int(length[1]) if length else 0)
            counted.took_ms.append(1000 * (time.monotonic() - began))
            counted.answers[head[9:12].decode()] += 1
        except (OSError, EOFError):
            counted.refused += 1
            reader = None


async def _listen(port: int, ends: float, events: list[int], counted: Counted) -> None:
    got = 0
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + ends - time.monotonic()):
            while part := await reader.read(65536):
                got += part.count(b"event: state")
        counted.streams_lost += 1
    except TimeoutError:
        events.append(got)
    except OSError:
        counted.streams_lost += 1


async def _never_reads(port: int, ends: float, counted: Counted) -> None:
    """A stream whose client takes nothing; the kernel keeps little for it."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    raw.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(raw, ("127.0.0.1", port))
    await loop.sock_sendall(raw, b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    with contextlib.closing(raw):
        await asyncio.sleep(ends - time.monotonic())
        # What the kernels kept for it comes first; then, if the controller has closed the connection, its end.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2.0):
                try:
                    while await loop.sock_recv(raw, 65536):
                        pass
                except ConnectionError:
                    pass
                counted.slow_closed += 1


async def _as_clients(port: int, seconds: float, streams: int, rate: float) -> int:
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    counted, events, ends = Counted(), list[int](), time.monotonic() + seconds
    every = [asyncio.create_task(_never_reads(port, ends, counted)) for _ in range(SLOW if streams else 0)]
    for number in range(streams):
        every.append(asyncio.create_task(_listen(port, ends, events, counted)))
        if number % 50 == 49:
            await asyncio.sleep(0.05)
    every += [asyncio.create_task(_ask(port, rate / CLIENTS, ends, number, counted)) for number in range(CLIENTS)]
    await asyncio.gather(*every)
    counted.events = (min(events, default=0), max(events, default=0))
    print(counted.as_text())
    return 0


# --- the measuring process ---


@dataclass
class Cycles:
    """When the cycles ended, from the controller's log."""

    at: list[float] = field(default_factory=list)

    async def read(self, lines: asyncio.StreamReader) -> None:
        async for text in lines:
            with contextlib.suppress(ValueError):
                line: dict[str, Any] = json.loads(text)
                if line.get("event") == "reconcile":
                    self.at.append(datetime.fromisoformat(line["at"]).timestamp())

    def latest_s(self, since: float) -> float:
        """By how much the latest cycle came later than an interval after the one before."""
        return max((after - before - INTERVAL_S for before, after in pairwise(self.at) if after > since), default=0.0)


async def _measure(seconds: float, streams: int, rate: float) -> int:
    with start_servers() as servers:
        database, store = empty_database(servers), empty_redis(servers)
        async with set_scene(database, store, quota=1_000_000) as scene:
            port = next(free_ports())
            own = {"POLL_INTERVAL_MS": f"{1000 * INTERVAL_S:.0f}", "PORT": str(port), "LOG_FORMAT": "json"}
            bounds = {"LEASE_TTL_MS": "15000", "REDIS_TIMEOUT_MS": "2000", "RAILWAY_TIMEOUT_MS": "5000"}
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "controller", "run", "--policy", str(POLICY)),
                env={**os.environ, **scene.environment, **own, **bounds},
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdout is not None
            cycles = Cycles()
            reading = asyncio.create_task(cycles.read(process.stdout))
            try:
                await scene.jobs(15)
                await until(lambda: len(cycles.at) >= 5, "five cycles")
                return await _under_load(process.pid, port, cycles, (seconds, streams, rate))
            finally:
                process.terminate()
                await process.wait()
                reading.cancel()


async def _under_load(pid: int, port: int, cycles: Cycles, load: tuple[float, int, float]) -> int:
    seconds, streams, rate = load
    calm, rest = cycles.latest_s(0.0), sample(pid).memory_kb
    since, cpu = time.time(), cpu_s(pid)
    arguments = (
        "--as-clients-of",
        str(port),
        "--seconds",
        str(seconds),
        "--streams",
        str(streams),
        "--rate",
        str(rate),
    )
    clients = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.load", *arguments), stdout=asyncio.subprocess.PIPE
    )
    talking = asyncio.create_task(clients.communicate())
    most = rest
    while not talking.done():
        most = max(most, sample(pid).memory_kb)
        await asyncio.sleep(0.5)
    late, used = cycles.latest_s(since), cpu_s(pid) - cpu
    counted = json.loads(talking.result()[0])
    await asyncio.sleep(5)
    after = sample(pid).memory_kb
    answers = sum(counted["answers"].values())
    least, greatest = counted["events"]
    before, during, later = (f"{kb / 1024:.1f}" for kb in (rest, most, after))
    in_time = sum(at > since for at in cycles.at)
    print(f"requests: {answers} in {seconds:g} s, {answers / seconds:.0f} a second; {counted['answers']}")
    print(f"answers took: p50 {counted['p50_ms']:.1f} ms, p99 {counted['p99_ms']:.1f} ms; refused {counted['refused']}")
    print(f"streams: {streams}, {least} to {greatest} states each; {counted['streams_lost']} lost")
    print(f"clients that never read: {SLOW if streams else 0}, closed {counted['slow_closed']}")
    print(f"cycles: {in_time}; the latest came {late:.2f} s late, before the load {calm:.2f} s")
    print(f"memory: {before} MiB at rest, {during} at most, {later} 5 s after; cpu {used:.1f} s")
    return int(late > LATE_S or most - rest > MOST_MB * 1024)


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.load",
        description="Asks a real controller for all its paths, and listens to its stream, as many clients at once.",
        epilog="Exit codes: 0 in time and small enough; 1 not; 2 wrong arguments.",
    )
    parser.add_argument("--seconds", type=float, default=60.0, metavar="N", help="for how long, default %(default)g")
    parser.add_argument("--streams", type=int, default=500, metavar="N", help="open pages, default %(default)d")
    parser.add_argument(
        "--rate", type=float, default=1000.0, metavar="N", help="requests a second, default %(default)g"
    )
    parser.add_argument("--as-clients-of", type=int, metavar="PORT", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.as_clients_of:
        return asyncio.run(_as_clients(given.as_clients_of, given.seconds, given.streams, given.rate))
    return asyncio.run(_measure(given.seconds, given.streams, given.rate))


if __name__ == "__main__":
    sys.exit(main())
