"""The controllers as processes: started, killed, stopped, continued, ended; and every line that they print."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.faults.history import Life, Line, Sent
from tests.support.processes import CLEAN
from tests.support.proxy import Link

ROOT = Path(__file__).parents[2]
NEIGHBOURS = ("redis", "postgres", "railway")
PLAIN = "controller"
_EPOCH = re.compile(rb"^x-autoscaler-epoch: *(\d+)", re.IGNORECASE | re.MULTILINE)
_INTENT = re.compile(rb"^x-autoscaler-intent: *(\S+)", re.IGNORECASE | re.MULTILINE)


@dataclass
class Records:
    """What all processes of a run said and sent."""

    lines: list[Line] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    lives: list[Life] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def line(self, process: str, fields: Mapping[str, Any]) -> None:
        self.lines.append(Line(time.monotonic(), process, fields))
        self.news.set()

    async def until(self, found: Callable[[Line], bool], *, since: float, within: float) -> Line | None:
        """The first such line that arrived, or arrives, after `since`."""
        deadline = time.monotonic() + within
        seen = 0
        while True:
            for line in self.lines[seen:]:
                seen += 1
                if line.at >= since and found(line):
                    return line
            self.news.clear()
            try:
                await asyncio.wait_for(self.news.wait(), deadline - time.monotonic())
            except TimeoutError:
                return None


class Controller:
    """One process. Code that ends it sets a flag first, so that a process that ends by itself is found out."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, records: Records) -> None:
        self.name = name
        self.process = process
        self.life = Life(name, time.monotonic())
        self.leads: int | None = None
        """The epoch that it last said it has."""
        self._records = records
        self._has_started = False
        self._paused_since: float | None = None
        records.lives.append(self.life)
        self._reading = asyncio.create_task(self._read())

    @property
    def is_alive(self) -> bool:
        return self.life.ended is None

    @property
    def is_awake(self) -> bool:
        return self.is_alive and self._paused_since is None

    def stop(self) -> None:
        self._paused_since = self._paused_since or time.monotonic()
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self._signal(signal.SIGCONT)
        self.noticed_awake()

    def noticed_awake(self) -> None:
        if self._paused_since is not None:
            self.life.paused.append((self._paused_since, time.monotonic()))
            self._paused_since = None

    async def kill(self) -> None:
        await self._end(signal.SIGKILL, "killed")

    async def term(self, patience: float = 30.0) -> None:
        """In good order; killed if it takes too long, which the verdict hears of."""
        await self._end(signal.SIGTERM, "ended", patience)

    async def _end(self, how: signal.Signals, word: str, patience: float = 10.0) -> None:
        if self.is_alive:
            self.life.end = word
            self._signal(how)
            try:
                await asyncio.wait_for(self.process.wait(), patience)
            except TimeoutError:
                self.life.end = "would not end"
                self._signal(signal.SIGKILL)
        await self._reading

    @property
    def is_stopped(self) -> bool:
        """By a signal, from any sender."""
        try:
            return Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(") ")[2][0] == "T"
        except OSError:
            return False

    def noticed_stopped(self) -> None:
        self._paused_since = self._paused_since or time.monotonic()

    def _signal(self, which: signal.Signals) -> None:
        if self.process.returncode is None:
            self.process.send_signal(which)

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for text in self.process.stdout:
            self._hear(text)
        await self.process.wait()
        self.noticed_awake()
        self.life.ended = time.monotonic()
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
        self._records.line(self.name, fields)
        self._has_started |= fields.get("event") == "started"
        if fields.get("event") == "lease_acquired":
            self.leads = fields.get("epoch")
        elif fields.get("event") in {"lease_lost", "lease_released"}:
            self.leads = None


class Seat:
    """A place for one controller at a time, with links of its own to its neighbours."""

    def __init__(self, name: str, environment: Mapping[str, str], ports: Iterator[int], records: Records) -> None:
        self.name = name
        self.current: Controller | None = None
        self._records = records
        self._count = 0
        addresses = {"redis": "REDIS_URL", "postgres": "DATABASE_URL", "railway": "RAILWAY_API_URL"}
        self.links: dict[str, Link] = {}
        self._environment = {**CLEAN, **environment, "PORT": "0", "LOG_FORMAT": "json"}
        for neighbour, variable in addresses.items():
            url = urlsplit(environment[variable])
            link = Link(f"{name} to {neighbour}", next(ports), (url.hostname or "127.0.0.1", url.port or 0))
            user = f"{url.username}@" if url.username else ""
            self._environment[variable] = url._replace(netloc=f"{user}127.0.0.1:{link.port}").geturl()
            self.links[neighbour] = link
        self.links["railway"].overhear = self._overhear

    @property
    def controller(self) -> Controller:
        assert self.current is not None, f"no controller runs at {self.name}"
        return self.current

    async def start(self, module: str = PLAIN, **environment: str) -> Controller:
        assert self.current is None or not self.current.is_alive, f"{self.name} is taken"
        self._count += 1
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, "run", "--policy", str(ROOT / "policy.yaml")),
            env={**self._environment, "PYTHONPATH": str(ROOT), "RAILWAY_REPLICA_ID": self.name, **environment},
            cwd=ROOT,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self.current = Controller(f"{self.name}{self._count}", process, self._records)
        return self.current

    def _overhear(self, data: bytes) -> None:
        epoch, intent = _EPOCH.search(data), _INTENT.search(data)
        if epoch is not None and self.current is not None:
            name = intent[1].decode() if intent else ""
            self._records.sent.append(Sent(time.monotonic(), self.current.name, int(epoch[1]), name))


class Fleet:
    """All seats; `module` is what a controller is started as, and `environment` what it is told in addition."""

    def __init__(self, seats: list[Seat], records: Records, module: str, environment: Mapping[str, str]) -> None:
        self.seats = seats
        self.records = records
        self._module = module
        self._environment = dict(environment)

    async def start(self, seat: Seat, module: str | None = None, **environment: str) -> Controller:
        return await seat.start(module or self._module, **{**self._environment, **environment})

    @property
    def leading_seat(self) -> Seat | None:
        """The one whose controller says that it leads; of several (one is stopped, or cut off) the newest epoch."""
        leading = [
            seat
            for seat in self.seats
            if seat.current is not None and seat.current.is_alive and seat.current.leads is not None
        ]
        return max(leading, key=lambda seat: seat.controller.leads or 0, default=None)

    @property
    def leader(self) -> Controller | None:
        seat = self.leading_seat
        return seat.controller if seat else None

    async def until_led(self, *, within: float = 20.0, other_than: str = "") -> Controller:
        deadline = time.monotonic() + within
        while self.leader is None or self.leader.name == other_than:
            if time.monotonic() > deadline:
                raise TimeoutError(f"no replica leads after {within:g} s")
            await asyncio.sleep(0.02)
        return self.leader

    async def close(self) -> None:
        for seat in self.seats:
            if seat.current is not None:
                await seat.current.kill()
            for link in seat.links.values():
                await link.close()
