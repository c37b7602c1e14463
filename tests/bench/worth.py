"""J(v) of policies over all traces of a folder: `python -m tests.bench.worth FOLDER`, or `make worth TRACES=FOLDER`.

With --bound (`make worth TRACES=FOLDER BOUND=1`) also J_of_all_waits(v), as in `simulate --json`, divided by the least
that any policy can reach on that trace: 1 cannot be improved. The bound takes 20 s and more for each trace.

Customary scaling: the time axis is stretched so that the offered load is 2 workers, service times are cut at their 99th
percentile and rescaled to a mean of 20 s; of traces that only count jobs by the minute a part is taken in real time, 7
days of it. Start-up 20 s, at most 5 workers, a worker that is taken away finishes its jobs.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from math import exp, log
from pathlib import Path

from controller.core.problems import ConfigurationError
from controller.core.text.layout import markdown
from controller.simulation.comparison import Comparison, Contender, Setting, compare
from controller.simulation.contenders import Common, read_contender
from controller.simulation.figures import WORTHS, Figures
from controller.simulation.report import total_worth
from controller.simulation.workload.jobs import Workload, first, scaled
from controller.simulation.workload.traces import read_trace
from tests.bench.bound import lower_bound

POLICIES = (
    *("tiers", "recut:wait=60", "keda:target=3,window=60", "keda:target=3,window=60,cooldown=60"),
    *("keda:target=3,window=300", "hpa:target=3,window=60", "latency", "latency:high=10,step=2,delay=120,min=0"),
    *("economy", "balanced", "fast", "static:5", "oracle"),
)
_LOAD, _SERVICE_S, _CUT = 2.0, 20.0, 0.99
_WEEK_S = 7 * 86_400.0


def read(path: Path) -> Workload:
    """As it is customary to scale it."""
    trace = read_trace(path, service_mean=_SERVICE_S)
    if trace.span_s is not None:  # counts by the minute, whose span is known beforehand
        return scaled(first(trace, _WEEK_S), load=_LOAD, by="thin")
    return scaled(trace, load=_LOAD, service_mean=_SERVICE_S, winsorise=_CUT)


def table(comparisons: Mapping[str, Comparison], policies: Sequence[str] = POLICIES) -> list[list[str]]:
    """A row for each policy: J(v) in the geometric mean over the traces, what it costs, how long jobs wait for it."""
    names = [name.removesuffix(".csv.gz") for name in comparisons]
    rows = [["policy", *(f"J({value:g})" for value in WORTHS), "cost/W", "avoidable wait", *names]]
    for index, name in enumerate(policies):
        figures = [comparison.figures[index] for comparison in comparisons.values()]
        worths = [f"{geometric([one.worth(value) for one in figures]):.3f}" for value in WORTHS]
        cost = f"{geometric([one.cost_over_work for one in figures]):.2f}"
        wait = f"{sum(one.avoidable.mean for one in figures) / len(figures):.1f} s"
        rows.append([name, *worths, cost, wait, *map(_each, figures)])
    return rows


def geometric(values: Sequence[float]) -> float:
    return exp(sum(map(log, values)) / len(values)) if all(values) else 0.0


def _each(figures: Figures) -> str:
    return " / ".join(f"{figures.worth(value):.2f}" for value in WORTHS)


def over_the_least(comparisons: Mapping[str, Comparison], policies: Sequence[str] = POLICIES) -> list[list[str]]:
    """A row for each policy: by v, its J_of_all_waits / the least one, in the geometric mean over the traces."""
    least = {name: _least(comparison) for name, comparison in comparisons.items()}
    rows = [["policy", *(f"J/least({value:g})" for value in WORTHS)]]
    for index, policy in enumerate(policies):
        row = [policy]
        for value in WORTHS:
            ratios = [_over_least(one.figures[index], value, least[name]) for name, one in comparisons.items()]
            row.append("-" if None in ratios else f"{geometric([ratio for ratio in ratios if ratio]):.3f}")
        rows.append(row)
    return rows


def _least(comparison: Comparison) -> dict[float, float]:
    """Under the largest count that any of them paid for: workers that are taken away finish jobs beside the others."""
    platform = comparison.setting.platform
    return lower_bound(
        comparison.workload,
        cap=max(max(figures.cap, figures.most) for figures in comparison.figures),
        start_up_s=platform.start_up_s,
        concurrency=platform.concurrency,
        worths=WORTHS,
    )


def _over_least(figures: Figures, value: float, least: Mapping[float, float]) -> float | None:
    """None where jobs were left undone: the bound is one for all of them."""
    return None if figures.unfinished else total_worth(figures, value) / least[value]


def main(arguments: Sequence[str] | None = None) -> int:
    given = _parse(arguments)
    paths = sorted([*given.folder.glob("*.csv"), *given.folder.glob("*.csv.gz")])
    if not paths:
        print(f"{given.folder} holds no trace: no *.csv and no *.csv.gz", file=sys.stderr)
        return 2
    policies = given.policies or POLICIES
    try:
        contenders: list[Contender] = [read_contender(name, Common(5), os.environ) for name in policies]
        comparisons = {path.name: compare(read(path), contenders, Setting()) for path in paths}
    except ConfigurationError as error:
        print(error, file=sys.stderr)
        return 2
    _print(table(comparisons, policies))
    if given.bound:
        print()
        _print(over_the_least(comparisons, policies))
    for name, comparison in comparisons.items():
        speed = f"{comparison.jobs_a_second:,.0f} jobs/s, {comparison.days_a_second:.1f} days/s"
        print(f"{name}: {comparison.jobs:,} jobs in {comparison.span_s / 86_400:.1f} days; {speed}")
    return 0


def _print(rows: Sequence[Sequence[str]]) -> None:
    print("\n".join(markdown(rows, right=range(1, len(rows[0])))))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.worth", description="What policies are worth on traces."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="with the traces, *.csv or *.csv.gz")
    parser.add_argument(
        "policies", nargs="*", metavar="POLICY", help="a file or a name as of `simulate`; default: a dozen of names"
    )
    parser.add_argument("--bound", action="store_true", help="also compare with the least that any policy can reach")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
