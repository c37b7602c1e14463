"""J(v) of policies over all traces of a folder: `python -m tests.bench.worth FOLDER`, or `make worth TRACES=FOLDER`.

Customary scaling: the time axis is stretched so that the offered load is 2 workers, service times are cut at their 99th
percentile and rescaled to a mean of 20 s; of traces that only count jobs by the minute a part is taken in real time, 7
days of it. Start-up 20 s, at most 5 workers, whoever is taken away finishes its job.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from math import exp, log
from pathlib import Path

from controller.simulation.comparison import Comparison, Setting, compare
from controller.simulation.contenders import Common, read_contender
from controller.simulation.figures import WORTHS, Figures
from controller.simulation.workload.jobs import Workload, first, scaled
from controller.simulation.workload.traces import read_trace

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


def table(comparisons: Mapping[str, Comparison]) -> list[list[str]]:
    """A row for each policy: J(v) in the geometric mean over the traces, what it costs, how long jobs wait for it."""
    names = [name.removesuffix(".csv.gz") for name in comparisons]
    rows = [["policy", *(f"J({value:g})" for value in WORTHS), "cost/W", "avoidable wait", *names]]
    for index, name in enumerate(POLICIES):
        figures = [comparison.figures[index] for comparison in comparisons.values()]
        worths = [f"{geometric([one.worth(value) for one in figures]):.3f}" for value in WORTHS]
        cost = f"{geometric([one.cost_over_work for one in figures]):.2f}"
        wait = f"{sum(one.avoidable.mean for one in figures) / len(figures):.1f} s"
        rows.append([name, *worths, cost, wait, *map(_each, figures)])
    return rows


def geometric(values: Sequence[float]) -> float:
    return exp(sum(map(log, values)) / len(values))


def _each(figures: Figures) -> str:
    return " / ".join(f"{figures.worth(value):.2f}" for value in WORTHS)


def main(folder: Path) -> int:
    paths = sorted([*folder.glob("*.csv"), *folder.glob("*.csv.gz")])
    if not paths:
        print(f"{folder} holds no trace", file=sys.stderr)
        return 2
    contenders = [read_contender(name, Common(5), {}) for name in POLICIES]
    comparisons = {path.name: compare(read(path), contenders, Setting()) for path in paths}
    rows = table(comparisons)
    print("| " + " | ".join(rows[0]) + " |")
    print("|---|" + "---:|" * (len(rows[0]) - 1))
    for row in rows[1:]:
        print("| " + " | ".join(row) + " |")
    for name, comparison in comparisons.items():
        speed = f"{comparison.jobs_a_second:,.0f} jobs/s, {comparison.days_a_second:.1f} days/s"
        print(f"{name}: {comparison.jobs:,} jobs in {comparison.span_s / 86_400:.1f} days; {speed}")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
