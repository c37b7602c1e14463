"""The misfortunes: each is injected when its context is entered, and healed when it is left.

`hold` comes from the caller's dice: for how long it lasts. What is meant for one victim claims it first, so that two
misfortunes never fight over the same thing (BusyError), while any number of different ones may come together.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from redis.asyncio import Redis

from tests.faults.fleet import NEIGHBOURS, Controller, Seat
from tests.faults.history import Fault
from tests.faults.stage import READER, BusyError, Stage
from tests.support.proxy import Link, Mode

Injection = Callable[[Stage, random.Random], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Misfortune:
    """hold: the shortest and the longest that it lasts; weight: how often it comes, compared with the others.

    Redis itself is spared a little: while it is away no replica leads, and nothing else can be shown.
    """

    name: str
    inject: Injection
    hold: tuple[float, float]
    weight: float


ALL: dict[str, Misfortune] = {}


def _misfortune(
    name: str, *, hold: tuple[float, float] = (0.0, 0.0), weight: float
) -> Callable[[Callable[[Stage, random.Random], AsyncIterator[None]]], Injection]:
    def register(act: Callable[[Stage, random.Random], AsyncIterator[None]]) -> Injection:
        inject = asynccontextmanager(act)
        ALL[name] = Misfortune(name, inject, hold, weight)
        return inject

    return register


# --- processes


@contextmanager
def _victim(stage: Stage, seat: Seat | None) -> Iterator[Controller]:
    """The controller on that seat, awake and ours alone for as long as the context lasts."""
    if seat is None or seat.current is None or not seat.current.is_awake:
        raise BusyError("no process there")
    with stage.claim(seat.name):
        yield seat.current


def _any_seat(stage: Stage, dice: random.Random) -> Seat:
    free = [
        seat
        for seat in stage.seats
        if seat.current is not None and seat.current.is_awake and not stage.is_claimed(seat.name)
    ]
    if not free:
        raise BusyError("every seat")
    return dice.choice(free)


def _following_seat(stage: Stage, dice: random.Random) -> Seat:
    seat = _any_seat(stage, dice)
    if seat is stage.fleet.leading_seat:
        raise BusyError("only the leader is free")
    return seat


@asynccontextmanager
async def _killed(stage: Stage, seat: Seat, kind: str) -> AsyncIterator[None]:
    with _victim(stage, seat) as controller:
        try:
            with stage.fault(kind, controller.name):
                await controller.kill()
                yield
        finally:
            await stage.fleet.start(seat)


@_misfortune("kill-leader", hold=(0.0, 2.0), weight=2)
async def kill_leader(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    async with _killed(stage, _leading(stage), "kill-leader"):
        yield


@_misfortune("kill-standby", hold=(0.0, 2.0), weight=1)
async def kill_standby(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    async with _killed(stage, _following_seat(stage, dice), "kill-standby"):
        yield


@_misfortune("kill-all", hold=(0.0, 1.0), weight=0.3)
async def kill_all(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    """And all start again at once."""
    with stage.claim("spare", *(seat.name for seat in stage.seats)):
        try:
            with stage.fault("kill-all"):
                await asyncio.gather(*(seat.controller.kill() for seat in stage.seats))
                yield
        finally:
            await asyncio.gather(*(stage.fleet.start(seat) for seat in stage.seats))


@asynccontextmanager
async def _stopped(stage: Stage, seat: Seat, kind: str) -> AsyncIterator[None]:
    with _victim(stage, seat) as controller, stage.fault(kind, controller.name):
        controller.stop()
        try:
            yield
        finally:
            controller.go_on()


@_misfortune("stop-leader-short", hold=(0.2, 2.5), weight=2)
async def stop_leader_short(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    """For less than the lease lasts, more or less."""
    async with _stopped(stage, _leading(stage), "stop-leader-short"):
        yield


@_misfortune("stop-leader-long", hold=(3.5, 6.0), weight=1.5)
async def stop_leader_long(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    async with _stopped(stage, _leading(stage), "stop-leader-long"):
        yield


@_misfortune("stop-standby", hold=(0.2, 5.0), weight=1.5)
async def stop_standby(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    async with _stopped(stage, _following_seat(stage, dice), "stop-standby"):
        yield


@_misfortune("term-leader", hold=(0.0, 2.0), weight=1.5)
async def term_leader(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    with _victim(stage, stage.fleet.leading_seat) as controller:
        seat = _leading(stage)
        try:
            with stage.fault("term-leader", controller.name):
                await controller.term()
                yield
        finally:
            await stage.fleet.start(seat)


@_misfortune("overlapping-deploy", hold=(0.0, 1.0), weight=1)
async def overlapping_deploy(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    """A new one starts beside the old ones, one of which is told to go; later it goes itself, for its successor."""
    seat = _any_seat(stage, dice)
    with stage.claim("spare"), _victim(stage, seat) as old:
        try:
            with stage.fault("overlapping-deploy", old.name):
                await stage.fleet.start(stage.spare)
                await asyncio.sleep(dice.uniform(0.0, 1.5))
                await old.term()
                yield
        finally:
            await stage.fleet.start(seat)
            await asyncio.sleep(dice.uniform(0.0, 1.5))
            await stage.spare.controller.term()


@_misfortune("clock-shifted", hold=(1.0, 6.0), weight=1)
async def clock_shifted(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    """One controller's wall clock is wrong from its start on; its monotonic clock is true, as all others' are."""
    seat = _any_seat(stage, dice)
    with _victim(stage, seat) as old:
        shift = dice.choice((-3600, -40, -3, 3, 40, 3600))
        try:
            with stage.fault("clock-shifted", f"{old.name} {shift:+d} s"):
                await old.kill()
                wrong = await stage.fleet.start(seat, "tests.faults.shifted", FAULTS_WALL_SHIFT_S=str(shift))
                yield
                await wrong.kill()
        finally:
            await seat.controller.kill()
            await stage.fleet.start(seat)


def _leading(stage: Stage) -> Seat:
    seat = stage.fleet.leading_seat
    if seat is None or seat not in stage.seats:
        raise BusyError("no replica leads from a standing seat")
    return seat


# --- Redis


@contextmanager
def _redis(stage: Stage, kind: str) -> Iterator[Fault]:
    with stage.claim("redis"), stage.fault(kind) as fault:
        yield fault


async def _command(stage: Stage, *words: Any) -> None:
    async with Redis.from_url(stage.servers.redis_url, socket_timeout=5) as client:
        await client.execute_command(*words)  # type: ignore[no-untyped-call]  # as the library has it


@_misfortune("redis-restarted", hold=(0.1, 3.0), weight=0.7)
async def redis_restarted(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    """In good order, with its data."""
    with _redis(stage, "redis-restarted"):
        await asyncio.to_thread(stage.servers.stop_redis)
        try:
            yield
        finally:
            await asyncio.to_thread(stage.servers.start_redis)


@_misfortune("redis-killed", hold=(0.1, 4.0), weight=0.7)
async def redis_killed(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    """With kill -9; its append-only file survives."""
    with _redis(stage, "redis-killed"):
        pid = stage.servers.redis_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        try:
            yield
        finally:
            await asyncio.to_thread(stage.servers.start_redis)


@_misfortune("redis-emptied", hold=(0.1, 4.0), weight=0.7)
async def redis_emptied(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    """It goes, and comes back without its data."""
    with _redis(stage, "redis-emptied"):
        await asyncio.to_thread(stage.servers.stop_redis, keep_data=False)
        stage.data_losses.append(time.monotonic())
        try:
            yield
        finally:
            await asyncio.to_thread(stage.servers.start_redis)


@_misfortune("redis-rolled-back", hold=(0.5, 5.0), weight=0.7)
async def redis_rolled_back(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    """It comes back with what it held a few seconds ago, as from a snapshot that is not quite the last."""
    with stage.claim("redis"):
        files = [path for path in (stage.servers.folder / "redis").rglob("*") if path.is_file()]
        earlier = {path: path.read_bytes() for path in files}
        yield
        with stage.fault("redis-rolled-back"):
            await asyncio.to_thread(stage.servers.stop_redis)
            stage.data_losses.append(time.monotonic())
            for path, content in earlier.items():
                path.write_bytes(content)  # in place: the server's user owns it
            await asyncio.to_thread(stage.servers.start_redis)


@_misfortune("redis-flushed", weight=0.7)
async def redis_flushed(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    with _redis(stage, "redis-flushed"):
        await _command(stage, "FLUSHALL")
        stage.data_losses.append(time.monotonic())
        yield


@_misfortune("redis-paused", weight=0.7)
async def redis_paused(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    """CLIENT PAUSE: connections are taken, and commands wait. What waited is then carried out late."""
    seconds = dice.uniform(0.2, 4.5)
    with _redis(stage, "redis-paused"):
        await _command(stage, "CLIENT", "PAUSE", round(seconds * 1000), "ALL")
        until = time.monotonic() + seconds  # what would end it earlier has to wait as well
        try:
            yield
        finally:
            await asyncio.sleep(max(0.0, until - time.monotonic()))


@_misfortune("redis-frozen", hold=(0.2, 4.5), weight=0.7)
async def redis_frozen(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    """SIGSTOP: even its clock seems to jump afterwards."""
    with _redis(stage, "redis-frozen"):
        pid = stage.servers.redis_pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(pid, signal.SIGCONT)


@_misfortune("lease-deleted", weight=0.7)
async def lease_deleted(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    """By a person, or by an eviction; the rest of the data stays."""
    with _redis(stage, "lease-deleted"):
        async with Redis.from_url(stage.servers.redis_url, socket_timeout=5) as client:
            keys = [key async for key in client.scan_iter("*:lease")]
            if keys:
                await client.delete(*keys)
        yield


# --- links


def _any_link(stage: Stage, dice: random.Random) -> Link:
    """Mostly one that is used: who does not lead talks to Redis alone."""
    seat, neighbour = dice.choice(stage.seats), dice.choice(NEIGHBOURS)
    return seat.links[neighbour if seat is stage.fleet.leading_seat or dice.random() < 0.2 else "redis"]


@asynccontextmanager
async def _disturbed(
    stage: Stage, dice: random.Random, kind: str, mode: Mode, delay: float = 0.0
) -> AsyncIterator[None]:
    async with _all_disturbed(stage, kind, [_any_link(stage, dice)], mode, delay):
        yield


@asynccontextmanager
async def _all_disturbed(
    stage: Stage, kind: str, links: list[Link], mode: Mode, delay: float = 0.0
) -> AsyncIterator[None]:
    names = [link.name for link in links]
    with stage.claim(*names), stage.fault(kind, ", ".join(names)) as fault:
        before = sum(link.suffered for link in links)
        for link in links:
            await link.disturb(mode, delay=delay)
        try:
            yield
        finally:
            fault.hit = sum(link.suffered for link in links) > before
            for link in links:
                await link.heal()


@_misfortune("link-refused", hold=(0.2, 4.0), weight=2)
async def link_refused(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    async with _disturbed(stage, dice, "link-refused", Mode.REFUSE):
        yield


@_misfortune("link-silent", hold=(0.2, 5.0), weight=3)
async def link_silent(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    async with _disturbed(stage, dice, "link-silent", Mode.SILENT):
        yield


@_misfortune("link-half-silent", hold=(0.2, 5.0), weight=3)
async def link_half_silent(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    """Requests pass, replies are lost."""
    async with _disturbed(stage, dice, "link-half-silent", Mode.HALF):
        yield


@_misfortune("link-delayed", hold=(0.5, 4.0), weight=5)
async def link_delayed(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    async with _disturbed(stage, dice, "link-delayed", Mode.DELAY, dice.choice((0.02, 0.1, 0.3, 0.8))):
        yield


@_misfortune("link-cut", weight=8)
async def link_cut(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    """Every connection of it ends with a reset; the next one works."""
    link = _any_link(stage, dice)
    with stage.fault("link-cut", link.name) as fault:
        fault.hit = link.cut() > 0
        yield


@_misfortune("isolated", hold=(0.5, 6.0), weight=1.5)
async def isolated(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    """One controller is cut off from everything, without an error."""
    links = list(dice.choice(stage.seats).links.values())
    async with _all_disturbed(stage, "isolated", links, Mode.SILENT):
        yield


# --- PostgreSQL


@_misfortune("postgres-stopped", hold=(0.2, 3.0), weight=1)
async def postgres_stopped(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    with stage.claim("postgres"), stage.fault("postgres-stopped"):
        await asyncio.to_thread(stage.servers.stop_postgres)
        try:
            yield
        finally:
            await asyncio.to_thread(stage.servers.start_postgres)


@_misfortune("postgres-locked", hold=(0.5, 4.0), weight=2)
async def postgres_locked(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    with stage.claim("postgres"):
        async with await psycopg.AsyncConnection.connect(stage.queue.url) as holder:
            await holder.execute("LOCK TABLE generation_job IN ACCESS EXCLUSIVE MODE")
            with stage.fault("postgres-locked"):
                yield
            await holder.rollback()


@_misfortune("postgres-full", hold=(0.5, 4.0), weight=2)
async def postgres_full(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    """No connection is left for the controllers, and those that they had are gone."""
    with stage.claim("postgres"):
        async with await psycopg.AsyncConnection.connect(stage.queue.url, autocommit=True) as admin:
            with stage.fault("postgres-full"):
                await admin.execute(f"ALTER ROLE {READER} CONNECTION LIMIT 0".encode())
                try:
                    await _terminate(admin)
                    yield
                finally:
                    await admin.execute(f"ALTER ROLE {READER} CONNECTION LIMIT -1".encode())


@_misfortune("postgres-slow", hold=(0.5, 4.0), weight=2)
async def postgres_slow(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    """For all, beyond what a controller waits for."""
    links = [seat.links["postgres"] for seat in stage.seats]
    async with _all_disturbed(stage, "postgres-slow", links, Mode.DELAY, dice.choice((0.2, 0.6, 1.5))):
        yield


@_misfortune("postgres-terminates", weight=3)
async def postgres_terminates(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    with stage.claim("postgres"):
        async with await psycopg.AsyncConnection.connect(stage.queue.url, autocommit=True) as admin:
            with stage.fault("postgres-terminates"):
                await _terminate(admin)
                yield


async def _terminate(admin: psycopg.AsyncConnection[Any]) -> None:
    await admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (READER,))


# --- Railway


@asynccontextmanager
async def _ordered(stage: Stage, kind: str, **options: Any) -> AsyncIterator[None]:
    on = options.get("on", "any")
    with stage.claim(f"railway {on}"), stage.fault(f"railway-{kind}", on) as fault:
        order = stage.fake.inject(kind, **options)
        ordered = order.times
        try:
            yield
        finally:
            fault.hit = order.times < ordered
            if order in stage.fake.faults.pending:
                stage.fake.faults.pending.remove(order)


def _on_order(kind: str, on: str, hold: tuple[float, float], weight: float, **fixed: Any) -> None:
    async def order(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
        options = {**fixed, "on": on, "times": 1 if on == "mutation" else dice.randint(1, 4)}
        if kind == "late":
            # Always within the landing bound: a change that lands after it has no guarantee.
            options["seconds"] = dice.uniform(stage.pace.change_timeout + 0.5, stage.pace.landing - 1.5)
        async with _ordered(stage, kind, **options):
            yield

    _misfortune(f"railway-{kind}-on-{on}", hold=hold, weight=weight)(order)


for _kind, _options in (
    ("429", {"retry_after": 1}),
    ("502", {}),
    ("problem", {}),
    ("null", {}),
    ("hang", {"seconds": 3.0}),
    ("slow", {"seconds": 0.7}),
):
    _on_order(_kind, "query", (0.5, 3.0), 2.5, **_options)
    _on_order(_kind, "mutation", (3.0, 6.0), 1.5, **_options)
# Seldom: it says nothing of how long to wait, so that a client that gets it waits for 30 s, storm or calm.
_on_order("cloudflare", "query", (0.5, 3.0), 0.2)
_on_order("cloudflare", "mutation", (3.0, 6.0), 0.2)
_on_order("lost", "mutation", (3.0, 6.0), 4)
_on_order("late", "mutation", (3.0, 6.0), 4)
