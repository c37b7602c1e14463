"""Everything that a run needs, real wherever it can be: two servers, the fake Railway, links, controllers, demand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from controller.demo.server_host import free_ports
from controller.demo.servers import Servers, start_servers
from controller.fake_railway import FakeRailway, Timings
from tests.faults import history
from tests.faults.demand import Queue
from tests.faults.fleet import PLAIN, Controller, Fleet, Records, Seat
from tests.faults.pace import Pace
from tests.support.proxy import Link

READER = "autoscaler"
DURABLE = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
"""Redis keeps its data through kill -9 as well, so that losing it is a fault of its own."""


class BusyError(Exception):
    """Somebody is at it already: two misfortunes of one thing at a time could not both be healed."""


@dataclass
class Stage:
    pace: Pace
    servers: Servers
    fake: FakeRailway
    queue: Queue
    fleet: Fleet
    replicas: int
    faults: list[history.Fault] = field(default_factory=list)
    calms: list[history.Calm] = field(default_factory=list)
    data_losses: list[float] = field(default_factory=list)
    _claimed: set[str] = field(default_factory=set)
    # The platform's record has wall time; this process' clock is not among those that are shifted.
    _wall_ahead: float = field(default_factory=lambda: time.time() - time.monotonic())

    @property
    def seats(self) -> list[Seat]:
        """Those of the standing replicas; one more is kept for overlapping deploys."""
        return self.fleet.seats[: self.replicas]

    @property
    def spare(self) -> Seat:
        return self.fleet.seats[self.replicas]

    @contextmanager
    def claim(self, *things: str) -> Iterator[None]:
        taken = self._claimed.intersection(things)
        if taken:
            raise BusyError(", ".join(sorted(taken)))
        self._claimed.update(things)
        try:
            yield
        finally:
            self._claimed.difference_update(things)

    def is_claimed(self, thing: str) -> bool:
        return thing in self._claimed

    @contextmanager
    def fault(self, kind: str, target: str = "") -> Iterator[history.Fault]:
        """Records a fault from its injection to its healing."""
        one = history.Fault(kind, time.monotonic(), target)
        self.faults.append(one)
        try:
            yield one
        finally:
            one.healed = time.monotonic()

    @property
    def links(self) -> list[Link]:
        return [link for seat in self.fleet.seats for link in seat.links.values()]

    async def calm(self, depth: int, *, stay: float) -> history.Calm:
        """Fixes the demand and waits until the count is as wanted and stays so, or the bound has passed.

        It must stay for the rest of the bound as well; `stay` is how much of that is watched.
        """
        await self.queue.hold(depth)
        began, wanted = max(time.monotonic(), self._turned_away_until), self.pace.wanted(depth)
        bound = began + self.pace.settled_within
        reached: float | None = None
        while (now := time.monotonic()) < bound + stay and not (reached is not None and now > reached + stay):
            if self.fake.worker.configured != wanted:
                reached = None
            elif reached is None:
                reached = now
            await asyncio.sleep(0.02)
        one = history.Calm(began, wanted, reached, self.fake.worker.configured)
        self.calms.append(one)
        return one

    @property
    def _turned_away_until(self) -> float:
        """A client that was told to stay away is not healed before it may come back."""
        met = (fault for fault in self.faults if fault.hit and fault.kind == "railway-cloudflare")
        return max((fault.healed + self.pace.turned_away for fault in met if fault.healed is not None), default=0.0)

    async def until_configured(self, replicas: int, *, within: float = 15.0) -> None:
        deadline = time.monotonic() + within
        while self.fake.worker.configured != replicas:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.fake.worker.configured} replicas after {within:g} s, not {replicas}")
            await asyncio.sleep(0.02)

    async def stand_up(self) -> Controller:
        """Every seat taken, and one replica leading."""
        for seat in self.seats:
            if seat.current is None or not seat.current.is_alive:
                await self.fleet.start(seat)
        return await self.fleet.until_led()

    async def quiet(self) -> Controller:
        """Long enough without a fault, and with all started, for the next take-over to be a plain one."""
        leader = await self.stand_up()
        healed = max((fault.healed or 0.0 for fault in self.faults), default=0.0)
        youngest = max(seat.controller.life.began for seat in self.seats)
        until = max(healed + self.pace.ttl, youngest + history.STARTED_S) + 0.1
        await asyncio.sleep(max(0.0, until - time.monotonic()))
        return leader

    def recorded(self) -> history.History:
        records = self.fleet.records
        return history.History(
            pace=self.pace,
            sent=tuple(records.sent),
            mutations=tuple(self._mutations()),
            lines=tuple(records.lines),
            lives=tuple(records.lives),
            faults=tuple(self.faults),
            demand=tuple(self.queue.records),
            calms=tuple(self.calms),
            data_losses=tuple(self.data_losses),
        )

    def _mutations(self) -> Iterator[history.Mutation]:
        for one in self.fake.mutations:
            applied_at = one["applied_at_s"]
            yield history.Mutation(
                at=one["at_s"] - self._wall_ahead,
                name=one["mutation"],
                before=one["from"],
                after=one["to"],
                applied_at=None if applied_at is None else applied_at - self._wall_ahead,
                epoch=None if one.get("epoch") is None else int(one["epoch"]),
                intent=one.get("intent"),
                effect=one["effect"],
                answered=one["answered"],
            )


@asynccontextmanager
async def set_stage(
    pace: Pace | None = None, *, replicas: int = 2, module: str = PLAIN, environment: dict[str, str] | None = None
) -> AsyncIterator[Stage]:
    """No controller runs yet; the queue is empty, and the worker service is deployed and stopped."""
    pace = pace or Pace()
    with start_servers(redis_options=DURABLE) as servers:
        queue = Queue(servers.database_url)
        await queue.create(READER)
        async with FakeRailway.create(0, timings=Timings().scaled(0.05), quota=1_000_000) as fake:
            database = urlsplit(servers.database_url)
            told = {
                **fake.environment_variables(),
                "DATABASE_URL": database._replace(netloc=f"{READER}@{database.netloc.rpartition('@')[2]}").geturl(),
                "REDIS_URL": servers.redis_url,
                **pace.environment,
            }
            records, ports = Records(), _different(free_ports())
            seats = [Seat(name, told, ports, records) for name in "abcdefgh"[: replicas + 1]]
            fleet = Fleet(seats, records, module, environment or {})
            stage = Stage(pace, servers, fake, queue, fleet, replicas)
            try:
                for link in stage.links:
                    await link.open()
                yield stage
            finally:
                await fleet.close()
                await queue.close()


def _different(ports: Iterator[int]) -> Iterator[int]:
    seen: set[int] = set()
    for port in ports:
        if port not in seen:
            seen.add(port)
            yield port
