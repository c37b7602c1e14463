"""A whole controller in this process, on a real queue, a real Redis and the fake Railway, driven one tick at a time."""

from __future__ import annotations

import io
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
from redis.asyncio import Redis

from controller.adapters.clock import SystemClock
from controller.app import Controller, RunOptions, opened
from controller.configuration import configure
from controller.core.model import Change, Lease, Replicas
from controller.core.ports import Clock, Unavailable
from controller.core.reasons import Reason
from controller.core.rules import Step
from controller.core.watch import Watch
from controller.demo.jobs import create_queue
from controller.fake_railway import FakeRailway, Timings
from controller.loop.cycle import Cycle, Outcome
from controller.loop.reconciler import CannotTell
from tests.support.patience import until

POLICY = Path(__file__).parents[2] / "policy.yaml"
WORKER = "generation-worker"
LEASE_S = 600


def earlier(watch: Watch, seconds: float) -> Watch:
    """The same, as if it had been written that much earlier; the jobs that it tells of stay what they are."""

    def moved(stamp: float | None) -> float | None:
        return None if stamp is None else stamp - seconds

    short, rollout, stall = watch.short, watch.rollout, watch.stall
    return replace(
        watch,
        running_since=moved(watch.running_since),
        crashing_since=moved(watch.crashing_since),
        exited_since=moved(watch.exited_since),
        short=short and replace(short, since=short.since - seconds),
        rollout=rollout and replace(rollout, since=rollout.since - seconds),
        stall=stall and replace(stall, since=stall.since - seconds),
        contests=tuple(replace(one, at=one.at - seconds) for one in watch.contests),
    )


def intent_to(after: int, epoch: int = 1) -> Change:
    return Change("a1b2c3", epoch, before=-1, after=after, at=0.0)


@dataclass
class Scene:
    """`redis` sees all keys; `log` holds every line that the controllers of this scene wrote."""

    fake: FakeRailway
    queue: psycopg.AsyncConnection[Any]
    redis: Redis
    environment: dict[str, str]
    policy: Path = POLICY
    text: io.StringIO = field(default_factory=io.StringIO)
    journals: list[Any] = field(default_factory=list)
    rate_limits: list[Any] = field(default_factory=list)
    second: int | None = None

    @asynccontextmanager
    async def controller(
        self,
        environment: Mapping[str, str] | None = None,
        *,
        dry_run: bool = False,
        gap: float | None = None,
        clock: Clock | None = None,
    ) -> AsyncIterator[Driven]:
        """One replica of the controller; it leads if no other does, and gives the lease back at the end."""
        configuration = configure(self.policy, {**self.environment, **(environment or {})})
        options = RunOptions(dry_run=dry_run, gap=gap)
        out = self.text
        async with opened(configuration, options, stream=out, events=out, form="json", clock=clock) as controller:
            self.journals.append(controller.ports.journal)
            self.rate_limits.append(controller.ports.rate_limit)
            if self.second is not None:
                controller.ports.rate_limit._clock = StandingClock(self.second)  # type: ignore[attr-defined]  # a Redis'
            await controller.leadership.turn()
            try:
                yield Driven(controller)
            finally:
                await controller.leadership.release()

    async def jobs(self, pending: int, *, processing: int = 0, table: str = "generation_job") -> None:
        """The queue holds exactly these jobs from now on."""
        name = psycopg.sql.Identifier(table)
        await self.queue.execute(psycopg.sql.SQL("TRUNCATE {}").format(name))
        for status, count in (("pending", pending), ("processing", processing)):
            await self.queue.execute(
                psycopg.sql.SQL("INSERT INTO {} (status) SELECT {} FROM generate_series(1, %s)").format(
                    name, psycopg.sql.Literal(status)
                ),
                (count,),
            )

    async def count_requests(self, used: int | str) -> None:
        """What the workers have counted in this minute, which ends for no controller of this scene from now on."""
        self.second = self.second or int(time.time() // 60 * 60) + 30
        for limit in self.rate_limits:
            limit._clock = StandingClock(self.second)
        await self.redis.set(f"worker:rpm:{self.second - 30}", used)

    async def let_time_pass(self, seconds: float, *, looking: bool = False) -> None:
        """Moves every stamp that the journal holds into the past, as if so much time had gone by.

        looking: with a controller that has looked all the time, and found what it finds now.

        What the controllers remember themselves is forgotten, or they would take it for a clock that jumped.
        """
        for journal in self.journals:
            getattr(journal, "_journal", journal)._shadows.clear()
        key = await self.journal_key()
        names = (
            "last_up",
            "last_down",
            "since",
            "unbroken_since",
            "wanted_at",
            "intent_at",
            "refused_at",
            "read_at",
        )
        for name in names:
            if await self.redis.hexists(key, name) and not (looking and name == "wanted_at"):
                await self.redis.hincrby(key, name, -round(seconds * 1000))
        watch = Watch.from_text(str(await self.redis.hget(key, "watch") or ""))
        await self.redis.hset(key, "watch", earlier(watch, seconds).as_text())

    async def journal_key(self, worker: str = WORKER) -> str:
        return f"{{autoscaler:{self.environment['RAILWAY_ENVIRONMENT_ID']}}}:worker:{worker}"

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.getvalue().splitlines()]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.log if line["event"] == name]

    @property
    def sent(self) -> list[str]:
        """The mutations that reached the fake, by the field that they called."""
        return [mutation["mutation"] for mutation in self.fake.mutations]

    @property
    def asked_for(self) -> list[Any]:
        """The replica counts that were asked for, in order, in whichever form."""
        inputs = [m["variables"]["input"] for m in self.fake.mutations if m["mutation"] == "serviceInstanceUpdate"]
        return [
            sum(entry["numReplicas"] for entry in one["multiRegionConfig"].values() if entry)
            if "multiRegionConfig" in one
            else one["numReplicas"]
            for one in inputs
        ]


@dataclass
class StandingClock:
    """At one second, for the wall and for what is measured."""

    now: float

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@dataclass
class LaterClock(SystemClock):
    """The operating system's clock, and what has gone by besides."""

    gone_by: Callable[[], float]

    def monotonic(self) -> float:
        return super().monotonic() + self.gone_by()


@dataclass
class Driven:
    """A controller, with the crank in the test's hand."""

    controller: Controller
    last: Cycle | None = None

    @property
    def lease(self) -> Lease:
        assert self.controller.leadership.lease is not None, "this replica does not lead"
        return self.controller.leadership.lease

    async def tick(self) -> Cycle:
        (cycle,) = await self.controller.runner.tick(self.lease)
        return cycle

    async def reading(self) -> Replicas | Unavailable:
        """What the platform shows of the one worker."""
        (worker,) = self.controller.policy.workers.values()
        return (await self.controller.ports.platform.observe([worker.target.key]))[worker.target.key]

    async def explain(self) -> tuple[Cycle, tuple[Step, ...]]:
        """As the command does, for the one worker."""
        readings, queues = await self.controller.runner.read()
        (name,), (worker,) = self.controller.policy.workers.keys(), self.controller.policy.workers.values()
        explained = await self.controller.runner.reconciler(name).explain(readings[worker.target.key], queues[name])
        return explained.cycle, explained.rules

    async def quick_check(self) -> Cycle | CannotTell | None:
        """As a notification causes it, for the one worker."""
        (name,) = self.controller.policy.workers
        runner = self.controller.runner
        reconciler = runner.reconciler(name)
        return await runner._check(reconciler, runner._count([reconciler]), self.lease)

    async def tick_until(self, outcome: Outcome, reason: Reason) -> Cycle:
        """Ticks until a cycle ends so."""

        async def ends_so() -> Cycle | None:
            self.last = await self.tick()
            return self.last if (self.last.outcome, self.last.reason) == (outcome, reason) else None

        return await until(ends_so, f"a cycle that ends as {outcome}, {reason}", shown=lambda: self.last)


@asynccontextmanager
async def set_scene(
    database_url: str, redis_url: str, *, pace: float = 0.01, quota: int = 10_000, has_queue: bool = False
) -> AsyncIterator[Scene]:
    """An empty queue, and one worker service that is deployed and stopped. pace: of the platform; 1 is Railway's."""
    async with (
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as queue,
        # Ticks by hand do not wait for each other; the quota of the smaller plans would be used up in seconds.
        FakeRailway.create(0, timings=Timings().scaled(pace), quota=quota) as fake,
        Redis.from_url(redis_url, decode_responses=True) as client,
    ):
        if not has_queue:
            await create_queue(queue)
        urls = {"DATABASE_URL": database_url, "REDIS_URL": redis_url}
        # Without a leadership task, the lease of this controller is not renewed.
        environment = {**fake.environment_variables(), **urls, "LEASE_TTL_MS": f"{LEASE_S}000"}
        environment |= {"REDIS_TIMEOUT_MS": "60000", "RAILWAY_TIMEOUT_MS": "50000"}
        yield Scene(fake, queue, client, environment)
