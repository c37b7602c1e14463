"""Everything that a run needs, real wherever it can be: two servers, the fake Railway, links, controllers, demand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice

from controller.demo.server_host import free_ports
from controller.demo.servers import Servers, start_servers
from controller.fake_railway import FakeRailway, Timings
from tests.faults.demand import Queue
from tests.faults.fleet import PLAIN, Controller, Seat
from tests.faults.pace import Pace
from tests.faults.seen import Fault, Seen
from tests.support.patience import until, until_equal
from tests.support.record import Calm, Change, TakeOver

DURABLE = ("--save", "", "--appendonly", "yes", "--appendfsync", "always")
"""Redis keeps its data through a restart, so that losing it is a fault of its own."""


class BusyError(Exception):
    """Another misfortune has it: two of one thing at a time could not both be healed."""


@dataclass
class Stage:
    pace: Pace
    servers: Servers
    fake: FakeRailway
    queue: Queue
    seats: list[Seat]
    records: Seen
    _claimed: set[str] = field(default_factory=set)

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

    @contextmanager
    def fault(self, kind: str, target: str = "") -> Iterator[Fault]:
        """Records a fault from its injection to its healing."""
        one = Fault(kind, time.monotonic(), target)
        self.records.faults.append(one)
        try:
            yield one
        finally:
            one.healed = time.monotonic()

    @property
    def configured(self) -> int:
        return self.fake.worker.configured

    async def until_configured(self, replicas: int) -> None:
        await until_equal(lambda: self.configured, replicas)

    async def calm(self, depth: int, *, stay: float) -> Calm:
        """Fixes the demand and waits until the count is as wanted and stays so for `stay`, or the bound has passed."""
        await self.queue.hold(depth)
        began, wanted = time.monotonic(), self.pace.wanted(depth)
        bound = self.pace.settled_within
        reached: float | None = None
        while (now := time.monotonic()) < began + bound + stay and not (reached is not None and now > reached + stay):
            if self.configured != wanted:
                reached = None
            elif reached is None and now <= began + bound:
                reached = now
            await asyncio.sleep(0.02)
        one = Calm(began, bound, wanted, self.configured, self.fake.worker.running, reached)
        self.records.calms.append(one)
        return one

    @property
    def leader(self) -> Controller | None:
        """The one that says it leads; of several (one is stopped, or cut off) the newest epoch."""
        controllers = [seat.current for seat in self.seats if seat.current is not None and seat.current.is_alive]
        return max((one for one in controllers if one.leads), key=lambda one: one.leads or 0, default=None)

    async def until_led(self, *, other_than: str = "") -> Controller:
        await until(lambda: self.leader is not None and self.leader.name != other_than, "a replica to lead")
        assert self.leader is not None
        return self.leader

    async def stand_up(self) -> Controller:
        """Every seat taken, and one replica leading."""
        for seat in self.seats:
            if seat.current is None or not seat.current.is_alive:
                await seat.start()
        return await self.until_led()

    async def quiet(self) -> Controller:
        """Long enough without a fault, and with all started, for the next take-over to be a plain one."""
        await self.stand_up()
        healed = max((fault.healed or 0.0 for fault in self.records.faults), default=0.0)
        youngest = max(seat.controller.life.since for seat in self.seats)
        ready = max(healed + self.pace.ttl, youngest + self.pace.started) + 0.1
        await asyncio.sleep(max(0.0, ready - time.monotonic()))
        return await self.until_led()

    async def hand_over(self, how: str) -> None:
        """One "kill" or "terminate" of the leader while nothing else is wrong, so that the take-over can be timed."""
        old = await self.quiet()
        took = None
        with self.fault(how, old.name) as fault, suppress(AssertionError):
            await (old.kill() if how == "kill" else old.term())
            new = await self.until_led(other_than=old.name)
            took = new.led_at - fault.began
        self.records.take_overs.append(TakeOver(fault.began, how, took, self.pace.taken_over_within(how)))
        await old.seat.start()

    def seen(self) -> Seen:
        """With what Railway was asked for; its record has wall time."""
        ahead = time.time() - time.monotonic()
        mutations, records = self.fake.record.mutations, self.records
        records.unmarked = sum(one.epoch is None for one in mutations)
        records.changes = [
            Change(one.applied_at_s - ahead, one.from_ or 0, one.to or 0, "", one.epoch or 0, one.intent or "")
            for one in mutations
            if one.applied_at_s is not None and one.from_ != one.to
        ]
        return records


@asynccontextmanager
async def set_stage(
    *, replicas: int = 2, module: str = PLAIN, environment: dict[str, str] | None = None
) -> AsyncIterator[Stage]:
    """No controller runs yet; the queue is empty, and the worker service is deployed and stopped."""
    pace = Pace()
    records = Seen(pace)
    with start_servers(redis_options=DURABLE) as servers:
        queue = Queue(servers.database_url, records.demand)
        await queue.create()
        async with FakeRailway.create(0, timings=Timings().scaled(0.05), quota=1_000_000) as fake:
            told = {
                **fake.environment_variables(),
                "DATABASE_URL": servers.database_url,
                "REDIS_URL": servers.redis_url,
                **pace.environment,
                **(environment or {}),
            }
            ports = iter(set(islice(free_ports(), 20)))
            seats = [Seat(name, module, told, ports, records) for name in "abc"[:replicas]]
            links = [link for seat in seats for link in seat.links.values()]
            try:
                for link in links:
                    await link.open()
                yield Stage(pace, servers, fake, queue, seats, records)
            finally:
                for seat in seats:
                    if seat.current is not None:
                        await seat.current.kill()
                for link in links:
                    await link.close()
