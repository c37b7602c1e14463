"""J(v) of policies over all traces of a folder: `python -m tests.bench.worth FOLDER`, or `make worth TRACES=FOLDER`.

One setting (worth_settings: load 2, jobs of 20 s, start-up 20 s; --load, --service and --start-up give another one), or
with --all a table of all settings and of generated workloads. With --sweep the presets are also compared with the best
of some 200 settings of the rivals, chosen in hindsight (rivals.py). --write puts the tables and the sentence of the
README into the given pages, between their marks.

With --bound also J_of_all_waits(v), as in `simulate --json`, divided by the least that any policy can reach on that
trace: 1 cannot be improved. The bound takes 20 s and more for each trace.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

from controller.cli.output import progress
from controller.core.problems import ConfigurationError
from controller.core.text.layout import markdown
from controller.simulation.contenders import Common, read_contender
from controller.simulation.figures import WORTHS
from tests.bench.bound import lower_bound
from tests.bench.rivals import standard, sweep
from tests.bench.worth_settings import CAP, Case, Scaling, made_up, scalings
from tests.bench.worth_tables import Rows, Run, Runs, Tables, over_the_least, written

_AT_ONCE = 12
"""Policies of one pass over the jobs, in one process."""
Task = tuple[Case, tuple[str, ...]]


def replay(tasks: Sequence[Task], processes: int, done: Callable[[int, int], None]) -> Runs:
    """What each policy is worth in each case. done: called with the tasks that are done, and with all."""
    runs: dict[Case, dict[str, Run]] = {}

    def collect(replayed: Iterable[list[Run]]) -> None:
        for number, ((case, policies), answers) in enumerate(zip(tasks, replayed, strict=True), 1):
            runs.setdefault(case, {}).update(zip(policies, answers, strict=True))
            done(number, len(tasks))

    if processes == 1:
        collect(map(_replayed, tasks))
    else:
        with ProcessPoolExecutor(processes) as pool:
            collect(pool.map(_replayed, tasks))
    return runs


def _replayed(task: Task) -> list[Run]:
    case, policies = task
    comparison = case.run(policies)
    took = comparison.took_s / len(policies)
    return [Run(figures, comparison.jobs, comparison.span_s, took) for figures in comparison.figures]


def _tasks(cases: Iterable[Case], policies: Callable[[float], Iterable[str]]) -> Iterator[Task]:
    for case in cases:
        names = list(dict.fromkeys(policies(case.scaling.service_s)))
        for start in range(0, len(names), _AT_ONCE):
            yield case, tuple(names[start : start + _AT_ONCE])


def _least(case: Case, runs: Mapping[str, Run]) -> dict[float, float]:
    """Under the largest count that any of them paid for: workers that are taken away finish jobs beside the others."""
    return lower_bound(
        case.workload(),
        cap=max(max(run.figures.cap, run.figures.most) for run in runs.values()),
        start_up_s=case.scaling.start_up_s,
        concurrency=1,
        worths=WORTHS,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parse(arguments)
    paths = sorted([*given.folder.glob("*.csv"), *given.folder.glob("*.csv.gz")])
    if not paths:
        print(f"{given.folder} holds no trace: no *.csv and no *.csv.gz", file=sys.stderr)
        return 2
    chosen = Scaling(given.load, given.service, given.start_up)
    settings = list(scalings()) if given.all else [replace(chosen, most_jobs=None)]
    cases = [Case(path.name.removesuffix(".csv.gz"), path, scaling) for scaling in settings for path in paths]
    if given.all:
        cases += made_up()

    def policies(service_s: float) -> tuple[str, ...]:
        listed = tuple(given.policies) or standard(service_s)
        return (*listed, *sweep(service_s)) if given.sweep else listed

    try:
        for name in policies(20.0):
            read_contender(name, Common(CAP), os.environ)
        with progress("replaying") as shows:
            runs = replay(list(_tasks(cases, policies)), given.jobs, shows)
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    tables = Tables(runs, swept=given.sweep, listed=tuple(given.policies) or None)
    for page in given.write:
        page.write_text(written(page.read_text(encoding="utf-8"), tables.by_name()), encoding="utf-8")
    for rows in tables.shown():
        _print(rows)
        print()
    if given.bound:
        of_one = {case: runs[case] for case in cases if case.scaling == settings[0]}
        least = {case: _least(case, by_policy) for case, by_policy in of_one.items()}
        _print(over_the_least(of_one, least, tuple(given.policies) or standard(settings[0].service_s)))
        print()
    for line in tables.speeds():
        print(line)
    return 0


def _print(rows: Rows) -> None:
    print("\n".join(markdown(rows, right=range(1, len(rows[0])))))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.worth", description="What policies are worth on traces."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="with the traces, *.csv or *.csv.gz")
    parser.add_argument(
        "policies", nargs="*", metavar="POLICY", help="a file or a name as of `simulate`; default: a dozen of names"
    )
    usual = Scaling()
    of_one = "for one setting, default %(default)g"
    parser.add_argument("--load", type=_above_0, default=usual.load, metavar="WORKERS", help=f"offered load, {of_one}")
    parser.add_argument(
        "--service", type=_above_0, default=usual.service_s, metavar="S", help=f"mean time per job in s, {of_one}"
    )
    parser.add_argument(
        "--start-up", type=_above_0, default=usual.start_up_s, metavar="S", help=f"of a worker in s, {of_one}"
    )
    parser.add_argument("--all", action="store_true", help="all settings and generated workloads, in one table")
    parser.add_argument("--sweep", action="store_true", help="also the best of 200 rivals' settings, in hindsight")
    parser.add_argument("--bound", action="store_true", help="also compare with the least that any policy can reach")
    parser.add_argument(
        "--jobs", type=_processes, default=os.cpu_count() or 1, metavar="N", help="processes, default %(default)s"
    )
    parser.add_argument(
        "--write", type=Path, action="append", default=[], metavar="PAGE", help="put the tables into this page"
    )
    given = parser.parse_args(arguments)
    if given.all and given.policies:
        parser.error("--all compares the standard list in all settings; name no POLICY, or leave out --all")
    return given


def _above_0(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be above 0")
    return number


def _processes(text: str) -> int:
    number = int(text)
    if not 1 <= number <= 256:
        raise argparse.ArgumentTypeError(f"{text} must be from 1 to 256")
    return number


if __name__ == "__main__":
    sys.exit(main())
