"""`python -m tests.faults.soak`: memory and open sockets of two replicas over a long time, which have to stay flat.

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
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import linear_regression

from tests.faults.fleet import NEIGHBOURS
from tests.faults.stage import Stage, set_stage
from tests.faults.verdict import judge

EVERY_S = 2.0
CUT_EVERY_S = 7.0
WARM_UP = 0.2
"""Of the whole time."""
MOST_KB = 3_000
"""That the memory may grow over what is measured: pages come and go, a leak of a cycle's readings is ten times that."""
MOST_SOCKETS = 2.0


@dataclass(frozen=True)
class Sample:
    at: float
    memory_kb: int
    sockets: int


@dataclass(frozen=True)
class Growth:
    """Of one figure of one process, as the straight line through its samples has it."""

    name: str
    first: float
    last: float
    per_hour: float
    in_all: float
    most: float

    @property
    def is_flat(self) -> bool:
        return self.in_all <= self.most

    def __str__(self) -> str:
        word = "flat" if self.is_flat else f"GROWS by {self.in_all:.0f} (at most {self.most:g})"
        return (
            f"{self.name:<14} first {self.first:8.0f}   last {self.last:8.0f}   slope {self.per_hour:+9.1f}/h   {word}"
        )


def growth(process: str, samples: Sequence[Sample]) -> list[Growth]:
    """Memory and sockets, without the warm-up."""
    begin = samples[0].at + WARM_UP * (samples[-1].at - samples[0].at)
    warm = [sample for sample in samples if sample.at >= begin]
    times = [sample.at for sample in warm]
    memory, sockets = [sample.memory_kb for sample in warm], [sample.sockets for sample in warm]
    return [
        _growth(f"{process} memory kB", times, memory, MOST_KB),
        _growth(f"{process} sockets", times, sockets, MOST_SOCKETS),
    ]


def _growth(name: str, times: list[float], values: list[int], most: float) -> Growth:
    slope = linear_regression(times, values).slope
    return Growth(name, values[0], values[-1], slope * 3600, slope * (times[-1] - times[0]), most)


def sample(pid: int) -> Sample:
    status = Path(f"/proc/{pid}/status").read_text()
    resident = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    sockets = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):  # it was closed meanwhile
            sockets += str(descriptor.readlink()).startswith("socket:")
    return Sample(time.monotonic(), int(resident[1]) if resident else 0, sockets)


async def soak(stage: Stage, seconds: float, seed: int) -> dict[str, list[Sample]]:
    """Samples of each controller, by its name."""
    await stage.stand_up()
    dice = random.Random(seed)
    tasks = [asyncio.create_task(stage.queue.swing(dice)), asyncio.create_task(_cut(stage, random.Random(seed)))]
    controllers = [seat.controller for seat in stage.seats]
    samples: dict[str, list[Sample]] = {controller.name: [] for controller in controllers}
    began = said = time.monotonic()
    while time.monotonic() < began + seconds:
        await asyncio.sleep(EVERY_S)
        for controller in controllers:
            if controller.is_alive:
                samples[controller.name].append(sample(controller.process.pid))
        if time.monotonic() - said > 60:
            said = time.monotonic()
            now = "; ".join(
                f"{name} {some[-1].memory_kb} kB, {some[-1].sockets} sockets" for name, some in samples.items()
            )
            print(f"{said - began:6.0f} s  {now}; {len(stage.fake.record.mutations)} mutations", flush=True)
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
        samples = await soak(stage, minutes * 60, seed)
        violations = judge(stage.recorded())
    growths = [one for name, some in samples.items() for one in growth(name, some)]
    for each in growths:
        print(each)
    for violation in violations:
        print(f"{violation.promise}: {violation.words}")
    return 0 if not violations and all(each.is_flat for each in growths) else 1


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults.soak",
        description="Samples memory and sockets of two busy replicas, and fails where they grow.",
        epilog="Exit codes: 0 flat; 1 something grows, or a promise was broken; 2 wrong arguments.",
    )
    parser.add_argument("--minutes", type=_minutes, default=30.0, metavar="N", help="for how long, default %(default)g")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), metavar="N", help="default: a new one")
    given = parser.parse_args(arguments)
    print(f"seed {given.seed}", flush=True)
    return asyncio.run(_run(given.minutes, given.seed))


def _minutes(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.5 <= value <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of minutes, 0.5 to 10000")
    return value


if __name__ == "__main__":
    sys.exit(main())
