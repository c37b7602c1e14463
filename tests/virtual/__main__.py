"""Simulates faults from the command line: many seeds on all cores, or one seed with its trace."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.virtual.episode import PLATFORMS
from tests.virtual.mutants import MUTANTS
from tests.virtual.seeds import Sum, run_seeds, run_with

_ABOUT = """\
Runs the production controller (runner, reconciler, lease, journal, budget) in virtual time: two or three replicas on a
simulated network, Redis, PostgreSQL and Railway or Kubernetes, while misfortunes strike, and checks that every promise
is kept: one leader at a time, epochs that only rise, cooldowns, bounds, no change on a missing reading, no write on an
old resourceVersion, and the right count soon after all is well again. A seed decides everything, the platform too; the
same seed gives the same trace, byte for byte."""

_EXAMPLES = """\
examples:
  python -m tests.virtual --seeds 20000                     a long run; exit 1 where a promise was broken
  python -m tests.virtual --trace 4711                      what happened in seed 4711, line by line
  python -m tests.virtual --platform kubernetes             all seeds on the virtual Kubernetes
  python -m tests.virtual --seeds 500 --mutant 'late intent'    the same with one guard taken out: it should fail
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        "python -m tests.virtual", description=_ABOUT, epilog=_EXAMPLES, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seeds", type=_count, default=2000, metavar="N", help="how many episodes (default 2000)")
    parser.add_argument("--first-seed", type=int, default=0, metavar="S", help="where the seeds begin (default 0)")
    parser.add_argument("--trace", type=int, metavar="SEED", help="run this one seed and print its trace")
    parser.add_argument(
        "--mutant", choices=sorted(MUTANTS), metavar="NAME", help="take out one guard: " + ", ".join(sorted(MUTANTS))
    )
    parser.add_argument("--platform", choices=PLATFORMS, help="run all seeds on it (default: a quarter on kubernetes)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes (default: cores)")
    options = parser.parse_args(arguments)
    if options.trace is not None:
        return _trace(options.trace, options.mutant, options.platform)
    return _many(options)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 10**8:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seeds, 1 or more")
    return int(text)


def _trace(seed: int, mutant: str | None, platform: str | None) -> int:
    result = run_with(mutant, seed, with_trace=True, platform=platform)
    print("\n".join(result.trace))
    print(f"\nseed {seed}: {result.faults} faults, {result.mutations} mutations, {len(result.violations)} violations")
    return 1 if result.violations else 0


def _many(options: argparse.Namespace) -> int:
    first, count, mutant, platform = options.first_seed, options.seeds, options.mutant, options.platform
    print(f"seeds {first} to {first + count - 1}", flush=True)
    started, total, said = time.monotonic(), Sum(), time.monotonic()
    for part in run_seeds(range(first, first + count), mutant=mutant, jobs=options.jobs, platform=platform):
        for seed, violations in part.violating:
            print(f"seed {seed}: {violations[0]}" + (f" (and {len(violations) - 1} more)" if violations[1:] else ""))
        total.add(part)
        if sys.stderr.isatty() or time.monotonic() - said > 10:
            said = time.monotonic()
            print(f"\r{total.seeds} of {count} seeds, {total.faults} faults … ", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    print(_account(total, time.monotonic() - started))
    vacuous = total.why_vacuous()
    for what in vacuous:
        print(f"vacuous: {what}")
    if total.violating:
        seed = total.violating[0][0]
        chosen = (f" --mutant '{mutant}'" if mutant else "") + (f" --platform {platform}" if platform else "")
        print(f"replay the first one with: python -m tests.virtual --trace {seed}{chosen}")
    return 1 if total.violating or vacuous else 0


def _account(total: Sum, took: float) -> str:
    hours = total.simulated_s / 3600
    kinds = ", ".join(f"{name} {hits}" for name, hits in sorted(Counter(total.hits).items()))
    queries = ", ".join(f"{hits} {what}" for what, hits in sorted(total.queries.items()))
    return (
        f"{total.faults} faults ({kinds})\n"
        f"{', '.join(f'{seeds} seeds on {name}' for name, seeds in sorted(total.platforms.items()))}\n"
        f"{total.fenced} changes refused by the fence, {total.rollouts} rollouts\n"
        f"{total.moves} moves of regions, {total.spread} updates of several regions, {total.fallbacks} fallbacks, "
        f"{total.overridden} changes by an override\n"
        f"{total.scheduled} changes while a schedule was on, {total.steps} steps of budgets told\n"
        f"readings of the queue: {queries}\n"
        f"{total.mutations} mutations, {total.intents} intents, {total.terms} terms of leaders\n"
        f"{len(total.violating)} of {total.seeds} seeds with violations\n"
        f"{hours:.0f} simulated hours in {took:.0f} s ({total.simulated_s / took:.0f} times real time)"
    )


if __name__ == "__main__":
    raise SystemExit(main())
