"""What only real processes show, one fault at a time and at a moment that random faults would take days to hit.

A sequence only arranges; what it proves is for the verdict to say. It may begin in any state.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable

from tests.faults.fleet import Controller
from tests.faults.misfortunes import KINDS, spoiled
from tests.faults.stage import Stage
from tests.support.misfortunes import LinkMode

Sequence = Callable[[Stage], Awaitable[None]]
_NO_DICE = random.Random(0)


async def leader_stopped_beyond_its_lease_goes_on(stage: Stage) -> None:
    """SIGSTOP for three leases. Its successor cannot read the queue, so that only the old leader could act then."""
    old = await _at_rest(stage)
    with stage.fault("pause", old.name) as fault:
        old.stop()
        new = await stage.until_led(other_than=old.name)
        async with spoiled(stage, new.seat.links["postgres"], LinkMode.DROP):
            await stage.queue.hold(25)
            await asyncio.sleep(max(0.0, fault.began + 3 * stage.pace.ttl - time.monotonic()))
            old.go_on()
            await asyncio.sleep(6 * stage.pace.interval)
    await stage.until_configured(2)


async def leader_killed_in_mid_change(stage: Stage) -> None:
    """kill -9 when the change is made and before it is answered, with more work coming in."""
    leader = await _at_rest(stage)
    order = stage.fake.inject("slow", on="mutation", seconds=3.0, times=3)
    with stage.fault("kill", leader.name):
        await stage.queue.hold(8)
        await stage.until_configured(1)
        await leader.kill()
        stage.fake.faults.pending[:] = [each for each in stage.fake.faults.pending if each is not order]
        await stage.queue.hold(500)
        await stage.until_led(other_than=leader.name)
    await leader.seat.start()
    await stage.until_configured(5)


async def leader_terminated_within_a_cooldown(stage: Stage) -> None:
    """SIGTERM right after a scale-up, with more work coming in."""
    await _at_rest(stage)
    await stage.queue.hold(8)
    await stage.until_configured(1)
    await stage.queue.hold(500)
    await stage.hand_over("terminate")
    await stage.until_configured(5)


async def redis_restarts_with_its_data(stage: Stage) -> None:
    await _with_a_fresh_change(stage, "restart redis")


async def redis_restarts_empty(stage: Stage) -> None:
    """The replicas remember the change that Redis forgot."""
    await _with_a_fresh_change(stage, "restart redis empty")


async def leader_is_cut_off_from_redis(stage: Stage) -> None:
    """For longer than its lease: the other leads. Then every connection of the new leader is reset."""
    old = await _at_rest(stage)
    async with spoiled(stage, old.seat.links["redis"], LinkMode.REFUSE):
        await stage.queue.hold(8)
        new = await stage.until_led(other_than=old.name)
    with stage.fault("cut", new.name):
        for link in new.seat.links.values():
            link.cut()
    await stage.until_configured(1)


async def all_start_at_once(stage: Stage) -> None:
    """After all were killed, with work waiting: one of them leads."""
    await _at_rest(stage)
    async with KINDS["kill all"].inject(stage, _NO_DICE):
        await stage.queue.hold(25)
    await stage.until_configured(2)


EVERY: tuple[Sequence, ...] = (
    leader_stopped_beyond_its_lease_goes_on,
    leader_killed_in_mid_change,
    leader_terminated_within_a_cooldown,
    redis_restarts_with_its_data,
    redis_restarts_empty,
    leader_is_cut_off_from_redis,
    all_start_at_once,
)
BY_NAME = {sequence.__name__.replace("_", " "): sequence for sequence in EVERY}


async def play(stage: Stage, sequence: Sequence) -> None:
    """Where one waits in vain, the calm after it says what never came."""
    try:
        await sequence(stage)
    except AssertionError:
        await stage.calm(0, stay=1.0)
    await stage.stand_up()


async def _at_rest(stage: Stage) -> Controller:
    """One replica leads, no worker runs, no cooldown is left, and no fault is near."""
    await stage.quiet()
    if stage.configured != 0:
        await stage.calm(0, stay=0.1)
    last = max((one["at_s"] for one in stage.fake.mutations), default=0.0)
    await asyncio.sleep(max(0.0, last + stage.pace.up + 0.2 - time.time()))
    return await stage.until_led()


async def _with_a_fresh_change(stage: Stage, misfortune: str) -> None:
    """Right after a scale-up, with more work coming in; every replica had the time to read of the scale-up."""
    await _at_rest(stage)
    await stage.queue.hold(8)
    await stage.until_configured(1)
    await asyncio.sleep(stage.pace.ttl / 3)
    async with KINDS[misfortune].inject(stage, _NO_DICE):
        await stage.queue.hold(500)
    await stage.until_configured(5)
