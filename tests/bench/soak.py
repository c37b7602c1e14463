"""`python -m tests.bench.soak`: memory and open sockets of two replicas over a long time, which have to stay flat.

The queue swings all the while, and every few seconds a connection is cut: what leaks, leaks when something is opened
again. The beginning is left out: an interpreter grows until it has seen everything once.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from statistics import linear_regression
from typing import NamedTuple

from tests.faults.fleet import NEIGHBOURS
from tests.faults.seen import record_of
from tests.faults.stage import Stage, set_stage
from tests.support.verdict import violations

EVERY_S = 2.0
CUT_EVERY_S = 7.0
WARM_UP = 0.2
"""Of the whole time."""
MOST = {"memory_kb": 3_000, "sockets": 2}
"""The growth that is allowed: pages come and go, a leak of a cycle's readings is ten times that."""


class Sample(NamedTuple):
    at: float
    memory_kb: int
    sockets: int


def sample(pid: int) -> Sample:
    resident = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    sockets = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # it was closed meanwhile
            sockets += str(descriptor.readlink()).startswith("socket:")
    return Sample(time.monotonic(), int(resident[1]) if resident else 0, sockets)


def growth(samples: Sequence[Sample]) -> Iterator[tuple[str, float]]:
    """Of each figure over the time after the warm-up, as the straight line through its samples has it."""
    warm = [one for one in samples if one.at >= samples[0].at + WARM_UP * (samples[-1].at - samples[0].at)]
    times = [one.at for one in warm]
    for figure in MOST:
        slope = linear_regression(times, [getattr(one, figure) for one in warm]).slope
        yield figure, slope * (times[-1] - times[0])


async def soak(stage: Stage, seconds: float, dice: random.Random) -> dict[str, list[Sample]]:
    """Samples of each controller, by its name."""
    await stage.stand_up()
    tasks = [asyncio.create_task(stage.queue.swing(dice)), asyncio.create_task(_cut(stage, dice))]
    controllers = [seat.controller for seat in stage.seats]
    samples: dict[str, list[Sample]] = {controller.name: [] for controller in controllers}
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        await asyncio.sleep(EVERY_S)
        for controller in controllers:
            if controller.is_alive:
                samples[controller.name].append(sample(controller.process.pid))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return samples


async def _cut(stage: Stage, dice: random.Random) -> None:
    while True:
        await asyncio.sleep(dice.expovariate(1 / CUT_EVERY_S))
        dice.choice(stage.seats).links[dice.choice(NEIGHBOURS)].cut()


async def _run(minutes: float, seed: int) -> int:
    async with set_stage() as stage:
        samples = await soak(stage, minutes * 60, random.Random(seed))
        broken = violations(record_of(stage.seen()))
    for name, some in samples.items():
        for figure, grown in growth(some):
            print(f"{name} {figure}: first {getattr(some[0], figure)}, last {getattr(some[-1], figure)}")
            if grown > MOST[figure]:
                broken.append(f"{name} {figure} grows by {grown:.0f}, at most {MOST[figure]} is allowed")
    print("\n".join(broken or ["flat"]))
    return 1 if broken else 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.soak",
        description="Samples memory and sockets of two busy replicas, and fails where they grow.",
        epilog="Exit codes: 0 flat; 1 something grows, or a promise was broken; 2 wrong arguments.",
    )
    parser.add_argument("--minutes", type=float, default=30.0, metavar="N", help="for how long, default %(default)g")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), metavar="N", help="default: a new one")
    given = parser.parse_args(arguments)
    if not 0.5 <= given.minutes <= 10_000:
        parser.error(f"--minutes: {given.minutes:g} is not a number of minutes, 0.5 to 10000")
    print(f"seed {given.seed}", flush=True)
    return asyncio.run(_run(given.minutes, given.seed))


if __name__ == "__main__":
    sys.exit(main())
