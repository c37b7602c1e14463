"""`python -m tests.faults`: real processes, every misfortune, and a verdict."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from controller.demo.servers import MissingExtra
from tests.faults import directed, mutants
from tests.faults.fleet import PLAIN
from tests.faults.history import History
from tests.faults.misfortunes import ALL
from tests.faults.report import Least, Report, timeline
from tests.faults.stage import Stage, set_stage
from tests.faults.storm import Weather, rounds

_MORE = """\
Two or three `autoscaler run` on a real Redis and a real PostgreSQL scale a fake Railway, which records every mutation.
First come directed sequences, for at most half of the time. Then rounds: a storm of random faults while the queue
swings, then calm, in which the count has to become what the policy wants. At the end everything is judged.

The seed decides which fault comes when and for how long; the processes run in real time, so that a failing seed comes
back in most runs and not in every one. Times are scaled down: a lease of 3 s, cooldowns of 5 and 8 s.

Exit codes: 0 nothing broken; 1 a promise was broken, or too little happened to prove anything; 2 wrong arguments.

faults: {faults}

sequences: {sequences}

mutants (controllers that lack one guard; the run is expected to fail): {mutants}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parse(arguments)
    began = time.monotonic()
    print(f"seed {given.seed}", flush=True)

    def say(words: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {words}", flush=True)

    partial = given.sequences or given.faults or given.mutant
    least = Least(0, 0) if partial else Least.for_a_run_of(given.seconds)
    try:
        report = Report.of(asyncio.run(_run(given, began, say)), least)
    except MissingExtra as missing:
        print(missing, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    for line in report.lines(began):
        print(line)
    if report.is_good:
        return 0
    record = Path(tempfile.gettempdir()) / f"faults-{given.seed}.txt"
    record.write_text("\n".join(timeline(report.history, began)))
    more = f" ARGS='--replicas {given.replicas}'" if given.replicas != 2 else ""
    print(f"what happened when: {record}\nagain with: make faults SECONDS={given.seconds} SEED={given.seed}{more}")
    return 1


async def _run(given: argparse.Namespace, began: float, say: Callable[[str], None]) -> History:
    module, environment = (PLAIN, {}) if given.mutant is None else mutants.as_module(given.mutant)
    async with set_stage(replicas=given.replicas, module=module, environment=environment) as stage:
        say(f"{given.replicas} controllers start")
        progress = asyncio.create_task(_progress(stage, say))
        try:
            share = 1.0 if given.sequences or given.mutant else 0.4
            await directed.in_turn(stage, _sequences(given), say, until=began + share * given.seconds)
            if not given.sequences and given.mutant is None:
                weather = Weather(given.seed, every=given.every, only=given.faults)
                await rounds(stage, weather, until=began + given.seconds, say=say)
        finally:
            progress.cancel()
        return stage.recorded()


def _sequences(given: argparse.Namespace) -> Sequence[str]:
    """All of them, but where something was chosen."""
    if given.mutant is not None and not given.sequences:
        return (mutants.ALL[given.mutant].killer,)
    chosen: Sequence[str] = given.sequences
    return chosen if chosen or given.faults else tuple(directed.BY_NAME)


async def _progress(stage: Stage, say: Callable[[str], None]) -> None:
    while True:
        await asyncio.sleep(10)
        hit = sum(fault.hit for fault in stage.faults)
        say(f"{hit} faults, {len(stage.fake.record.mutations)} mutations, now {stage.fake.worker.configured} replicas")


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description="Injects faults into real controllers and judges what they did.",
        epilog=_MORE.format(
            faults=", ".join(sorted(ALL)),
            sequences=", ".join(directed.BY_NAME),
            mutants=", ".join(sorted(mutants.ALL)),
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=_seconds, default=120, metavar="N", help="for how long, default %(default)s")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), metavar="N", help="default: a new one")
    parser.add_argument("--replicas", type=int, choices=(2, 3), default=2, help="controllers, default %(default)s")
    parser.add_argument(
        "--faults", type=_known(ALL), default=(), metavar="A,B", help="only these random faults, no directed sequences"
    )
    parser.add_argument(
        "--sequences", type=_known(directed.BY_NAME), default=(), metavar="A,B", help="only these directed sequences"
    )
    parser.add_argument(
        "--every", type=_pace, default=0.18, metavar="S", help="mean seconds between faults, default %(default)s"
    )
    parser.add_argument(
        "--mutant",
        choices=sorted(mutants.ALL),
        default=None,
        metavar="NAME",
        help="controllers that lack this guard, in the sequence that shows it",
    )
    return parser.parse_args(arguments)


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 1 to 86400")
    return int(text)


def _pace(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.05 <= value <= 600:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 0.05 to 600")
    return value


def _known(names: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    def read(text: str) -> tuple[str, ...]:
        given = tuple(name.strip() for name in text.split(","))
        unknown = [name for name in given if name not in names]
        if unknown:
            raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}; there are: {', '.join(names)}")
        return given

    return read


if __name__ == "__main__":
    sys.exit(main())
