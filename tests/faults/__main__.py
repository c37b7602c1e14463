"""`python -m tests.faults`: real processes, misfortunes, and a verdict."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from controller.demo.servers import MissingExtra
from tests.faults import sequences
from tests.faults.fleet import PLAIN
from tests.faults.misfortunes import KINDS
from tests.faults.mutants import MUTANTS, as_module
from tests.faults.report import Report, timeline
from tests.faults.seen import Seen
from tests.faults.stage import set_stage
from tests.faults.storm import Weather, rounds
from tests.support.misfortunes import MISFORTUNES

_MORE = """\
Two or three `autoscaler run` on a real Redis and a real PostgreSQL scale a fake Railway, which records every mutation.
First come directed sequences, for at most half of the time. Then rounds: a storm of random faults while the queue
swings, then calm, in which the count has to become what the policy wants. At the end everything is judged.

The seed decides which fault comes when and for how long; but processes run in real time, and a failing seed may pass
the next time. Times are scaled down: a lease of 3 s, cooldowns of 5 and 8 s. For more faults: python -m tests.virtual

Exit codes: 0 nothing broken; 1 a promise was broken, or too little happened to prove anything; 2 wrong arguments.

faults:
{faults}

sequences:
{sequences}

mutants (controllers that lack one guard; the run is expected to fail):
{mutants}
"""


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parse(arguments)
    began = time.monotonic()
    print(f"seed {given.seed}", flush=True)

    def say(words: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {words}", flush=True)

    # A run in which little happened proves nothing, unless little was asked for.
    per = 0 if given.sequence or given.only or given.mutant else given.seconds
    try:
        seen = asyncio.run(_run(given, began, say))
    except MissingExtra as missing:
        print(missing, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    report = Report.of(seen, least=per // 30, take_overs=per // 90)
    print("\n".join(report.lines()))
    if report.is_good:
        return 0
    record = Path(tempfile.gettempdir()) / f"faults-{given.seed}.txt"
    record.write_text("\n".join(timeline(report.seen)))
    print(f"what happened when: {record}\nagain with: make faults SECONDS={given.seconds} SEED={given.seed}")
    return 1


async def _run(given: argparse.Namespace, began: float, say: Callable[[str], None]) -> Seen:
    module, environment = (PLAIN, {}) if given.mutant is None else as_module(given.mutant)
    async with set_stage(replicas=given.replicas, module=module, environment=environment) as stage:
        say(f"{given.replicas} controllers start")
        chosen = given.sequence or ([MUTANTS[given.mutant].killer] if given.mutant else [])
        every = random.Random(given.seed).sample(list(sequences.BY_NAME), len(sequences.BY_NAME))
        for name in chosen or ([] if given.only else every):
            if chosen or time.monotonic() < began + given.seconds / 2:
                say(name)
                await sequences.play(stage, sequences.BY_NAME[name])
        if not chosen:
            await rounds(stage, Weather(given.seed, only=given.only or ()), until=began + given.seconds, say=say)
        return stage.seen()


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.faults",
        description="Injects faults into real controllers and judges what they did.",
        epilog=_MORE.format(
            faults="\n".join(f"  {name}: {MISFORTUNES[name]}" for name in KINDS),
            sequences="\n".join(f"  {name}" for name in sequences.BY_NAME),
            mutants="\n".join(f"  {name}" for name in MUTANTS),
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=_seconds, default=120, metavar="N", help="for how long, default %(default)s")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), metavar="N", help="default: a new one")
    parser.add_argument("--replicas", type=int, choices=(2, 3), default=2, help="controllers, default %(default)s")
    parser.add_argument("--only", action="append", choices=KINDS, metavar="FAULT", help="only this random fault")
    parser.add_argument(
        "--sequence", action="append", choices=sequences.BY_NAME, metavar="NAME", help="only this directed sequence"
    )
    parser.add_argument(
        "--mutant", choices=MUTANTS, metavar="NAME", help="a controller without a guard, in the sequence that shows it"
    )
    return parser.parse_args(arguments)


def _seconds(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 86_400:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds, 1 to 86400")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
