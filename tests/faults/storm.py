"""Rounds of random misfortune, each followed by calm; all of it from one seed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace

from tests.faults.demand import DEPTHS
from tests.faults.misfortunes import ALL, Misfortune
from tests.faults.stage import BusyError, Stage

STAY_S = 2.0
SHORTEST_S = 8.0
"""Of a storm that is worth the name."""


@dataclass(frozen=True)
class Blow:
    """Misfortunes in the order of preference: the first whose victim is free comes, and stays for its `hold`.

    after: when, from the round's beginning. part: how far between the shortest and the longest. seed: its own dice.
    """

    after: float
    choices: tuple[Misfortune, ...]
    part: float
    seed: int


@dataclass(frozen=True)
class Weather:
    """length: of the disturbed part of a round; every: the mean time between two blows; only: these misfortunes.

    Blows come in gusts, with lulls between them: no replica acts while everything is broken, and if no replica acts
    nothing is proven.
    """

    seed: int
    length: float = 52.0
    every: float = 0.18
    gust: float = 12.0
    lull: float = 8.0
    only: Collection[str] = ()


def blows(weather: Weather, number: int) -> Iterator[Blow]:
    """Of one round; the same for the same seed and number, whatever happened before."""
    dice = random.Random(f"{weather.seed}:{number}")
    kinds = [one for name, one in ALL.items() if not weather.only or name in weather.only]
    weights = [one.weight for one in kinds]
    at = 0.0
    while (at := at + dice.expovariate(1 / weather.every)) < weather.length:
        if at % (weather.gust + weather.lull) > weather.gust:
            continue
        yield Blow(at, tuple(dice.choices(kinds, weights, k=4)), dice.random(), dice.randrange(2**32))


async def rounds(stage: Stage, weather: Weather, *, until: float, say: Callable[[str], None]) -> None:
    """At least one round, and as many as begin before `until`; the last storm is cut short then, its calm is not."""
    number = 0
    while number == 0 or time.monotonic() < until:
        left = max(SHORTEST_S, until - time.monotonic())
        await one_round(stage, replace(weather, length=min(weather.length, left)), number)
        calm = stage.calms[-1]
        took = "never" if calm.reached is None else f"after {max(0.0, calm.reached - calm.healed):.1f} s"
        say(f"round {number + 1}: calm at {calm.found} of {calm.wanted} {took}")
        number += 1


async def one_round(stage: Stage, weather: Weather, number: int) -> None:
    dice = random.Random(f"{weather.seed}:{number}:demand")
    await stage.quiet()
    await clean_hand_over(stage, "kill-leader" if number % 2 == 0 else "term-leader")
    swinging = asyncio.create_task(stage.queue.swing(dice))
    try:
        await _blow(stage, list(blows(weather, number)))
    finally:
        swinging.cancel()
        with suppress(asyncio.CancelledError):
            await swinging
    await stage.calm(_another_depth(stage, dice), stay=STAY_S)


async def clean_hand_over(stage: Stage, name: str) -> None:
    """One kill or SIGTERM of the leader while nothing else is wrong, so that the take-over can be timed."""
    leader = await stage.stand_up()
    with suppress(BusyError):
        async with ALL[name].inject(stage, random.Random()):
            await stage.fleet.until_led(other_than=leader.name)


async def _blow(stage: Stage, planned: list[Blow]) -> None:
    began = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for blow in planned:
            await asyncio.sleep(max(0.0, began + blow.after - time.monotonic()))
            tasks.create_task(_befall(stage, blow))


async def _befall(stage: Stage, blow: Blow) -> None:
    for misfortune in blow.choices:
        shortest, longest = misfortune.hold
        with suppress(BusyError):
            async with misfortune.inject(stage, random.Random(blow.seed)):
                await asyncio.sleep(shortest + blow.part * (longest - shortest))
            return


def _another_depth(stage: Stage, dice: random.Random) -> int:
    """One that wants another count than there is, so that the calm has something to show."""
    there = stage.fake.worker.configured
    return dice.choice([depth for depth in DEPTHS if stage.pace.wanted(depth) != there])
