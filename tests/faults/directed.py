"""The sequences that random faults would take days to find: each sets up one moment, and lets it go wrong there.

A sequence only arranges; what it proves is for the verdict to say. It may begin in any state, and ends with every seat
taken and nothing disturbed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable

from tests.faults.fleet import Controller, Seat
from tests.faults.misfortunes import ALL
from tests.faults.stage import Stage
from tests.faults.storm import clean_hand_over
from tests.support.proxy import Mode

Sequence = Callable[[Stage], Awaitable[None]]


async def stopped_leader_continues(stage: Stage) -> None:
    """Stopped for three leases; its successor cannot read the queue, so that only the old one can act then."""
    await _at_rest(stage)
    old_seat, old = _leader(stage)
    with stage.fault("stopped-for-three-leases", old.name):
        old.stop()
        new = await stage.fleet.until_led(other_than=old.name)
        blind = next(seat for seat in stage.seats if seat.current is new).links["postgres"]
        with stage.fault("link-silent", blind.name):
            await blind.disturb(Mode.SILENT)
            await stage.queue.hold(25)
            await asyncio.sleep(max(0.0, stage.faults[-2].began + 3 * stage.pace.ttl - time.monotonic()))
            old.go_on()
            await asyncio.sleep(4 * stage.pace.interval)
            await blind.heal()
    assert old_seat.current is old
    await stage.until_configured(2, within=stage.pace.settled_within)


async def leader_pauses_before_its_request(stage: Stage) -> None:
    """The intent is written, the request is not sent, and the lease runs out in between."""
    await _at_rest(stage)
    seat, old = _leader(stage)
    others = [each for each in stage.seats if each is not seat]
    await asyncio.gather(old.kill(), *(each.controller.kill() for each in others))
    paused = await stage.fleet.start(seat, "tests.faults.mutants", FAULTS_PAUSE="1")
    await stage.fleet.until_led()
    await asyncio.gather(*(stage.fleet.start(each) for each in others))
    with stage.fault("paused-before-its-request", paused.name):
        await stage.queue.hold(8)
        await _until(lambda: paused.is_stopped)
        paused.noticed_stopped()
        await stage.fleet.until_led(other_than=paused.name)
        await asyncio.sleep(2 * stage.pace.slack)
        paused.go_on()
    await stage.until_configured(1, within=stage.pace.settled_within)


async def leader_dies_in_mid_change(stage: Stage) -> None:
    """Killed when the change is made and before it is answered, with more work coming in."""
    await _at_rest(stage)
    seat, leader = _leader(stage)
    order = stage.fake.inject("slow", on="mutation", seconds=2.0, times=3)
    with stage.fault("killed-in-mid-change", leader.name):
        await stage.queue.hold(8)
        await stage.until_configured(1)
        await leader.kill()
        _cancel(stage, order)
        await stage.queue.hold(500)
        await stage.fleet.until_led(other_than=leader.name)
    await stage.fleet.start(seat)
    await stage.until_configured(5, within=stage.pace.settled_within)


async def hand_over_within_a_cooldown(stage: Stage) -> None:
    """A scale-up, more work, and another leader before the cooldown is over."""
    await _at_rest(stage)
    await stage.queue.hold(8)
    await stage.until_configured(1)
    await stage.queue.hold(500)
    await clean_hand_over(stage, "term-leader")
    await stage.until_configured(5, within=stage.pace.settled_within)


async def answer_never_comes(stage: Stage) -> None:
    """Nothing was done, which is not known before the landing bound."""
    await _at_rest(stage)
    with stage.fault("railway-hang", "mutation"):
        order = stage.fake.inject("hang", on="mutation", seconds=3.0)
        await stage.queue.hold(8)
        await stage.until_configured(1, within=stage.pace.settled_within)
        _cancel(stage, order)


async def change_lands_late(stage: Stage) -> None:
    """Long after it was given up, with a hand-over in between and other wishes meanwhile."""
    await _at_rest(stage)
    with stage.fault("railway-late", "mutation"):
        order = stage.fake.inject("late", on="mutation", seconds=stage.pace.landing - 2.0)
        await stage.queue.hold(8)
        await _until(lambda: order not in stage.fake.faults.pending)
        await stage.queue.hold(500)
        await asyncio.sleep(stage.pace.change_timeout)
    await clean_hand_over(stage, "kill-leader")
    await stage.until_configured(5, within=stage.pace.settled_within)


async def queue_is_locked_for_long(stage: Stage) -> None:
    """For longer than the cooldown of a scale-down; not to know is not to have nothing to do."""
    await _at_rest(stage)
    await stage.queue.hold(8)
    await stage.until_configured(1)
    async with ALL["postgres-locked"].inject(stage, random.Random()):
        await asyncio.sleep(stage.pace.down + 2.0)


async def redis_forgets_a_fresh_change(stage: Stage) -> None:
    """FLUSHALL right after a scale-up, with more work coming in: the surviving replicas remember."""
    await _at_rest(stage)
    await stage.queue.hold(8)
    await stage.until_configured(1)
    await asyncio.sleep(0.5)
    async with ALL["redis-flushed"].inject(stage, random.Random()):
        await stage.queue.hold(500)
    await stage.until_configured(5, within=stage.pace.settled_within)


async def redis_forgets_only_the_fresh_change(stage: Stage) -> None:
    """Rolled back to right before a scale-up, with more work coming in."""
    await _at_rest(stage)
    async with ALL["redis-rolled-back"].inject(stage, random.Random()):
        await stage.queue.hold(8)
        await stage.until_configured(1)
        await stage.queue.hold(500)
        await asyncio.sleep(0.5)
    await stage.until_configured(5, within=stage.pace.settled_within)


async def everybody_and_everything_is_lost(stage: Stage) -> None:
    """All killed and Redis emptied: no replica can remember, and a burst does not wait."""
    await _at_rest(stage)
    await stage.queue.hold(8)
    await stage.until_configured(1)
    async with ALL["kill-all"].inject(stage, random.Random()), ALL["redis-emptied"].inject(stage, random.Random()):
        await stage.queue.hold(500)
    await stage.until_configured(5, within=stage.pace.settled_within)


EVERY: tuple[Sequence, ...] = (
    stopped_leader_continues,
    leader_pauses_before_its_request,
    leader_dies_in_mid_change,
    hand_over_within_a_cooldown,
    answer_never_comes,
    change_lands_late,
    queue_is_locked_for_long,
    redis_forgets_a_fresh_change,
    redis_forgets_only_the_fresh_change,
    everybody_and_everything_is_lost,
)


BY_NAME = {sequence.__name__.replace("_", "-"): sequence for sequence in EVERY}


async def in_turn(stage: Stage, names: Iterable[str], say: Callable[[str], None], *, until: float) -> None:
    """As many as begin before `until`."""
    for name in names:
        if time.monotonic() > until:
            return
        say(name)
        await play(stage, BY_NAME[name])


async def play(stage: Stage, sequence: Sequence) -> None:
    """One that gets stuck has shown that something never happened: the calm after it will say what."""
    try:
        await sequence(stage)
    except TimeoutError:
        await stage.calm(0, stay=1.0)
    await stage.stand_up()


async def _at_rest(stage: Stage) -> None:
    """Somebody leads, nothing runs, no cooldown is left, and no fault is near."""
    await stage.quiet()
    if stage.fake.worker.configured != 0:
        await stage.calm(0, stay=0.1)
    last = max((one["at_s"] for one in stage.fake.mutations), default=0.0)
    await asyncio.sleep(max(0.0, last + stage.pace.up + 0.2 - time.time()))


def _leader(stage: Stage) -> tuple[Seat, Controller]:
    seat = stage.fleet.leading_seat
    assert seat is not None, "no replica leads"
    return seat, seat.controller


def _cancel(stage: Stage, order: object) -> None:
    stage.fake.faults.pending[:] = [each for each in stage.fake.faults.pending if each is not order]


async def _until(happened: Callable[[], bool], *, within: float = 15.0) -> None:
    async with asyncio.timeout(within):
        while not happened():
            await asyncio.sleep(0.01)
