"""The misfortunes (tests/support/misfortunes.py) with real processes, and only those in which processes, signals and
sockets may behave otherwise than the simulation has it.

Each is injected when its context is entered, and healed when it is left. What is meant for one victim claims it first,
so that two misfortunes never fight over the same thing (BusyError), while different ones may come together.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from tests.faults.fleet import NEIGHBOURS, Controller, Seat
from tests.faults.stage import BusyError, Stage
from tests.support.misfortunes import LinkMode, name_of
from tests.support.proxy import Link

Arranged = Callable[[Stage, random.Random], AsyncIterator[None]]


@dataclass(frozen=True)
class Misfortune:
    """hold: the shortest and the longest that it lasts; weight: how often it comes, compared with the others.

    Processes and Redis are spared a little: while no replica leads, nothing else can be shown. A link to Railway that
    is spoiled loses answers and delays changes, so that Railway needs no faults of its own here.
    """

    name: str
    inject: Callable[[Stage, random.Random], AbstractAsyncContextManager[None]]
    hold: tuple[float, float]
    weight: float


KINDS: dict[str, Misfortune] = {}


def _kind(*, hold: tuple[float, float] = (0.0, 0.0), weight: float) -> Callable[[Arranged], Arranged]:
    def enter(arranged: Arranged) -> Arranged:
        name = name_of(arranged)
        KINDS[name] = Misfortune(name, asynccontextmanager(arranged), hold, weight)
        return arranged

    return enter


# Processes


def _any_awake(stage: Stage, dice: random.Random) -> Controller:
    """More often the leader than another. One that still starts is spared: that takes longer than all else here."""
    awake = [seat.current for seat in stage.seats if seat.current is not None and seat.current.is_awake]
    if not awake:
        raise BusyError("every process")
    leader = stage.leader
    return leader if leader is not None and leader in awake and dice.random() < 0.6 else dice.choice(awake)


@asynccontextmanager
async def _ended(
    stage: Stage, name: str, seats: Sequence[Seat], end: Callable[[Controller], Awaitable[object]], target: str = ""
) -> AsyncIterator[None]:
    """The processes of these seats end like this, and are replaced when the context is left."""
    with stage.claim(*(seat.name for seat in seats)):
        with stage.fault(name, target):
            await asyncio.gather(*(end(seat.controller) for seat in seats))
            yield
        await asyncio.gather(*(seat.start() for seat in seats))


@_kind(hold=(0.0, 2.0), weight=0.5)
async def _kill(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    victim = _any_awake(stage, dice)
    async with _ended(stage, "kill", [victim.seat], Controller.kill, victim.name):
        yield


@_kind(hold=(0.0, 1.0), weight=0.15)
async def _kill_all(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    async with _ended(stage, "kill all", stage.seats, Controller.kill):
        yield


@_kind(hold=(0.0, 2.0), weight=0.5)
async def _terminate(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    victim = _any_awake(stage, dice)
    async with _ended(stage, "terminate", [victim.seat], Controller.term, victim.name):
        yield


@_kind(hold=(0.2, 6.0), weight=1)
async def _pause(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    victim = _any_awake(stage, dice)
    with stage.claim(victim.seat.name), stage.fault("pause", victim.name):
        victim.stop()
        try:
            yield
        finally:
            victim.go_on()


# Redis


@asynccontextmanager
async def _without_redis(stage: Stage, name: str, stop: Callable[[], object]) -> AsyncIterator[None]:
    with stage.claim("redis"), stage.fault(name):
        await asyncio.to_thread(stop)
        try:
            yield
        finally:
            await asyncio.to_thread(stage.servers.start_redis)


@_kind(hold=(0.1, 4.0), weight=0.3)
async def _restart_redis(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    """In good order, or with kill -9; its append-only file survives both."""

    def kill() -> None:
        pid = stage.servers.redis_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)

    async with _without_redis(stage, "restart redis", stage.servers.stop_redis if dice.random() < 0.5 else kill):
        yield


@_kind(hold=(0.1, 4.0), weight=0.3)
async def _restart_redis_empty(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    async with _without_redis(stage, "restart redis empty", partial(stage.servers.stop_redis, keep_data=False)):
        yield


# The network


def _any_link(stage: Stage, dice: random.Random) -> Link:
    """One that is used: a replica that does not lead talks to Redis alone."""
    victim, neighbour = _any_awake(stage, dice), dice.choice(NEIGHBOURS)
    return victim.seat.links[neighbour if victim is stage.leader else "redis"]


@asynccontextmanager
async def spoiled(stage: Stage, link: Link, mode: LinkMode, delay: float = 0.0) -> AsyncIterator[None]:
    with stage.claim(link.name), stage.fault("spoil a link", link.name) as fault:
        before = link.suffered
        await link.disturb(mode, delay=delay)
        try:
            yield
        finally:
            fault.hit = link.suffered > before
            await link.heal()


@_kind(hold=(0.2, 5.0), weight=10)
async def _spoil_a_link(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    modes = (LinkMode.REFUSE, LinkMode.DROP, LinkMode.HALF_DROP, LinkMode.SLOW)
    mode, delay = dice.choice(modes), dice.choice((0.02, 0.1, 0.3, 0.8))
    async with spoiled(stage, _any_link(stage, dice), mode, delay):
        yield


@_kind(weight=10)
async def _cut(stage: Stage, dice: random.Random) -> AsyncIterator[None]:
    link = _any_link(stage, dice)
    with stage.fault("cut", link.name) as fault:
        fault.hit = link.cut() > 0
        yield
