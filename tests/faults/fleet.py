"""The controllers as processes: started, killed, stopped, continued, ended; and every line that they print."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from controller.adapters.redis.scripts import script
from tests.faults.pace import POLICY
from tests.faults.seen import Life, Line, Request, Seen
from tests.support.processes import CLEAN
from tests.support.proxy import Link

ROOT = POLICY.parent
NEIGHBOURS = ("redis", "postgres", "railway")
PLAIN = "controller"
_EPOCH = re.compile(rb"^x-autoscaler-epoch: *(\d+)", re.IGNORECASE | re.MULTILINE)
_INTENT = re.compile(rb"^x-autoscaler-intent: *(\S+)", re.IGNORECASE | re.MULTILINE)
_OPERATION = re.compile(rb'"operationName": *"(\w+)"')
_READING = tuple(hashlib.sha1(script(name).encode()).hexdigest().encode() for name in ("recall", "watch"))
"""How a request to Redis looks that reads what it remembers."""


class Controller:
    """One process. Code that ends it sets a flag first, so that a process that ends by itself is found out."""

    def __init__(self, name: str, seat: Seat, process: asyncio.subprocess.Process, records: Seen) -> None:
        self.name = name
        self.seat = seat
        self.process = process
        self.life = Life(name, time.monotonic(), seat=seat.name)
        self.leads: int | None = None
        """The epoch that it last said it has."""
        self.led_at = 0.0
        """When it said so."""
        self._records = records
        self._has_started = False
        self._paused_since: float | None = None
        records.lives.append(self.life)
        self._reading = asyncio.create_task(self._read())

    @property
    def is_alive(self) -> bool:
        return self.life.until is None

    @property
    def is_awake(self) -> bool:
        return self.is_alive and self._has_started and self._paused_since is None

    def stop(self) -> None:
        self._paused_since = time.monotonic()
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)
        self._is_awake_again()

    def _is_awake_again(self) -> None:
        if self._paused_since is not None:
            self.life.deaf.append((self._paused_since, time.monotonic()))
            self._paused_since = None

    async def kill(self) -> None:
        await self._end(signal.SIGKILL, "killed")

    async def term(self) -> None:
        """In good order; killed if it takes too long, which the verdict hears of."""
        await self._end(signal.SIGTERM, "ended")

    async def _end(self, how: signal.Signals, word: str) -> None:
        if self.is_alive:
            self.life.end = word
            self._signal(how)
            try:
                await asyncio.wait_for(self.process.wait(), 60.0)
            except TimeoutError:
                self.life.end = "would not end"
                self._signal(signal.SIGKILL)
        await self._reading

    def _signal(self, which: signal.Signals) -> None:
        if self.process.returncode is None:
            self.process.send_signal(which)

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for text in self.process.stdout:
            self._hear(text)
        await self.process.wait()
        self._is_awake_again()
        self.life.until = time.monotonic()
        code = self.process.returncode
        # One that is told to go before it has started cannot do so in good order.
        in_order = (0,) if self._has_started else (0, -signal.SIGTERM)
        if not self.life.end or (self.life.end == "ended" and code not in in_order):
            self.life.end = f"by itself with code {code}"

    def _hear(self, text: bytes) -> None:
        try:
            fields: Any = json.loads(text)
        except ValueError:
            fields = None
        if not isinstance(fields, dict):
            fields = {"event": "stray output", "message": text.decode(errors="replace").rstrip()}
        line = Line(time.monotonic(), self.name, fields)
        self._records.lines.append(line)
        self._has_started |= fields.get("event") == "started"
        if line.event == "lease_acquired":
            self.leads, self.led_at = fields.get("epoch"), line.at
        elif line.event in {"lease_lost", "lease_released"}:
            self.leads = None


class Seat:
    """A place for one controller at a time, with links of its own to its neighbours. module: what it is started as."""

    def __init__(
        self, name: str, module: str, environment: Mapping[str, str], ports: Iterator[int], records: Seen
    ) -> None:
        self.name = name
        self._module = module
        self.current: Controller | None = None
        self._records = records
        self._count = 0
        self._latest: Request | None = None
        addresses = {"redis": "REDIS_URL", "postgres": "DATABASE_URL", "railway": "RAILWAY_API_URL"}
        self.links: dict[str, Link] = {}
        self._environment = {**CLEAN, **environment, "PORT": "0", "LOG_FORMAT": "json"}
        for neighbour, variable in addresses.items():
            url = urlsplit(environment[variable])
            link = Link(f"{name} to {neighbour}", next(ports), (url.hostname or "127.0.0.1", url.port or 0))
            user = f"{url.username}@" if url.username else ""
            self._environment[variable] = url._replace(netloc=f"{user}127.0.0.1:{link.port}").geturl()
            self.links[neighbour] = link
        self.links["railway"].overhear = self._overhear_railway
        self.links["redis"].overhear = self._overhear_redis

    @property
    def controller(self) -> Controller:
        assert self.current is not None
        return self.current

    async def start(self) -> Controller:
        assert self.current is None or not self.current.is_alive, f"{self.name} is taken"
        self._count += 1
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", self._module, "run", "--policy", str(POLICY)),
            env={**self._environment, "PYTHONPATH": str(ROOT), "RAILWAY_REPLICA_ID": self.name},
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self.current = Controller(f"{self.name}{self._count}", self, process, self._records)
        return self.current

    def _overhear_railway(self, data: bytes) -> None:
        epoch, intent, operation = _EPOCH.search(data), _INTENT.search(data), _OPERATION.search(data)
        if epoch is not None and self.current is not None:
            name = intent[1].decode() if intent else ""
            self._latest = Request(time.monotonic(), self.current.name, int(epoch[1]), name)
            self._records.requests.append(self._latest)
        if operation is not None and self._latest is not None:
            self._latest.operation, self._latest = operation[1].decode(), None

    def _overhear_redis(self, data: bytes) -> None:
        if self.current is not None and any(sha in data for sha in _READING):
            self.current.life.learned.append(time.monotonic())
