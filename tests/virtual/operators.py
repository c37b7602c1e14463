"""Operators in the simulated world: they set and end overrides, each from a machine with a link of its own to Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from random import Random
from typing import cast

from redis.asyncio import Redis

from controller.adapters.redis.journal import RedisJournal
from controller.core.override import Blocks, Kind, Override, Overrides
from controller.core.ports import Unavailable
from tests.virtual import redis
from tests.virtual.loop import process_loop
from tests.virtual.network import Link
from tests.virtual.redis import SimulatedRedis
from tests.virtual.world import KEYS, WORKER, Clock, SimulatedWorld

_MEAN_BETWEEN_OVERRIDES_S = 40.0
_TRIES = 60


def at_times(world: SimulatedWorld, dice: Random, end: float) -> None:
    """Somebody sets or ends an override now and then, until `end`."""
    at = dice.expovariate(1 / _MEAN_BETWEEN_OVERRIDES_S)
    while at < end:
        world.kernel.at(at, act, world, Random(dice.getrandbits(64)))
        at += dice.expovariate(1 / _MEAN_BETWEEN_OVERRIDES_S)


def act(world: SimulatedWorld, dice: Random) -> None:
    kind = dice.choice([Kind.PAUSE, Kind.HOLD, Kind.HOLD, Kind.AT_LEAST, None])
    if kind is None:
        amend(world, "resume", lambda overrides, now: overrides.resumed("bob", now))
        return
    count, blocks, lasts = dice.randint(0, 6), dice.choice(list(Blocks)), dice.choice([4.0, 15.0, 40.0, 90.0])
    ident = f"{dice.getrandbits(64):x}"

    def amended(overrides: Overrides, now: float) -> Overrides:
        return overrides.with_new(Override(ident, kind, "ann", now, now + lasts, replicas=count, blocks=blocks))

    amend(world, f"{kind.value} {count} {blocks.value} for {lasts:g} s", amended)


def resume(world: SimulatedWorld) -> None:
    """Ends all overrides, once Redis can be reached and the commands that began before have ended."""
    others = set(world.operators)
    amend(world, "resume", lambda overrides, now: overrides.resumed("bob", now), tries=_TRIES, after=others)


def amend(
    world: SimulatedWorld,
    what: str,
    amended: Callable[[Overrides, float], Overrides],
    *,
    tries: int = 1,
    after: Collection[str] = (),
) -> None:
    """Runs the command on a machine of its own; it fails if Redis cannot be reached.

    after: it waits until these other operators are done.
    """
    world.operations += 1
    name = f"operator {world.operations}"
    loop = process_loop(world.kernel, name)
    link = Link(world.kernel, loop, Random(name), redis.ERRORS, 0.02)
    client = cast("Redis", SimulatedRedis(world.redis, link, name))
    journal = RedisJournal(client, KEYS, Clock(world.kernel, boot_s=500.0), world.policy.target_ids)

    async def run() -> None:
        while not world.operators.isdisjoint(after):
            await asyncio.sleep(0.1)
        for left in reversed(range(tries)):
            try:
                await journal.amend(WORKER, amended)
            except Unavailable as unavailable:
                world.trace.note(name, "failed", f"{what}: {unavailable}")
                if left:
                    await asyncio.sleep(1.0)
            else:
                world.trace.note(name, "wrote", what)
                break
        world.operators.discard(name)

    world.operators.add(name)
    world.tools.append(loop)
    loop.call_soon(lambda: loop.create_task(run()))
