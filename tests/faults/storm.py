"""Rounds of random misfortune, each followed by calm; all of it from one seed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import NamedTuple

from tests.faults.demand import DEPTHS
from tests.faults.misfortunes import KINDS, Misfortune
from tests.faults.stage import BusyError, Stage


class Blow(NamedTuple):
    """Comes `after` seconds of the round and stays `held` seconds, unless its victim is taken. seed: its own dice."""

    after: float
    misfortune: Misfortune
    held: float
    seed: int


@dataclass(frozen=True)
class Weather:
    """length: of the disturbed part of a round; every: the mean time between two blows; only: these misfortunes.

    Blows come in gusts, with lulls between them: no replica acts while everything is broken, and if no replica acts
    nothing is proven.
    """

    seed: int
    length: float = 50.0
    every: float = 0.25
    gust: float = 7.0
    lull: float = 7.0
    only: Collection[str] = ()


def blows(weather: Weather, number: int) -> Iterator[Blow]:
    """Of one round; the same for the same seed and number, whatever happened before."""
    dice = random.Random(f"{weather.seed}:{number}")
    kinds = [one for name, one in KINDS.items() if not weather.only or name in weather.only]
    at = 0.0
    while (at := at + dice.expovariate(1 / weather.every)) < weather.length:
        if at % (weather.gust + weather.lull) <= weather.gust:
            (kind,) = dice.choices(kinds, [one.weight for one in kinds])
            yield Blow(at, kind, dice.uniform(*kind.hold), dice.randrange(2**32))


async def rounds(stage: Stage, weather: Weather, *, until: float, say: Callable[[str], None]) -> None:
    """At least one round, and as many as begin before `until`; the last storm is cut short then, its calm is not."""
    number = 0
    while number == 0 or time.monotonic() < until:
        left = max(8.0, until - time.monotonic())
        await one_round(stage, replace(weather, length=min(weather.length, left)), number)
        calm = stage.records.calms[-1]
        took = "never" if calm.converged_at is None else f"after {calm.converged_at - calm.healed_at:.1f} s"
        number += 1
        hit = sum(fault.hit for fault in stage.records.faults)
        say(f"round {number}: calm at {calm.asked} of {calm.wanted} {took}; {hit} faults so far")


async def one_round(stage: Stage, weather: Weather, number: int) -> None:
    dice = random.Random(f"{weather.seed}:{number}:demand")
    await stage.hand_over("kill" if number % 2 == 0 else "terminate")
    async with asyncio.TaskGroup() as tasks:
        swinging = tasks.create_task(stage.queue.swing(dice))
        began = time.monotonic()
        for blow in blows(weather, number):
            await asyncio.sleep(max(0.0, began + blow.after - time.monotonic()))
            tasks.create_task(_befall(stage, blow))
        swinging.cancel()
    # Another depth than the one there is, so that the calm has something to show.
    await stage.calm(dice.choice([each for each in DEPTHS if stage.pace.wanted(each) != stage.configured]), stay=2.0)


async def _befall(stage: Stage, blow: Blow) -> None:
    with suppress(BusyError):
        async with blow.misfortune.inject(stage, random.Random(blow.seed)):
            await asyncio.sleep(blow.held)
