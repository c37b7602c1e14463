"""The jobs that `make worth` replays, and on which platform: scaled traces, and generated jobs.

Customary scaling: the time axis is stretched so that the offered load is 2 workers; service times are cut at their 99th
percentile and rescaled to a mean of 20 s; of traces that only count jobs by the minute, a random part is taken of 7
days in real time. Start-up 20 s. The other settings change one of these. Where jobs are short, the load is lower too:
at a load of 2 there would be four jobs of 0.5 s a second.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice, pairwise
from pathlib import Path
from random import Random

from controller.simulation.comparison import Comparison, Setting, compare
from controller.simulation.contenders import Common, read_contender
from controller.simulation.fleet import Platform
from controller.simulation.workload.generators import generate
from controller.simulation.workload.jobs import Job, Workload, first, measure, scaled
from controller.simulation.workload.traces import read_trace

CAP = 5
_CUT = 0.99
_WEEK_S = 7 * 86_400.0
MOST_JOBS = 20_000
"""Of each trace, in all settings but the customary one: some hundred policies are tried in each of them."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """load: workers that the jobs keep busy; service_s: their mean time; most_jobs: of the trace's beginning."""

    load: float = 2.0
    service_s: float = 20.0
    start_up_s: float = 20.0
    most_jobs: int | None = None

    @property
    def words(self) -> str:
        """What is not as it is customary."""
        usual = Scaling()
        parts = []
        if self.service_s != usual.service_s:
            parts.append(f"jobs of {self.service_s:g} s")
        if self.load != usual.load:
            parts.append(f"load {self.load:g}")
        if self.start_up_s != usual.start_up_s:
            parts.append(f"start-up {self.start_up_s:g} s")
        return ", ".join(parts) or "customary"


def scalings() -> Iterator[Scaling]:
    """The customary one in full, and the others with the first jobs of each trace."""
    yield Scaling()
    few = Scaling(most_jobs=MOST_JOBS)
    yield from (replace(few, start_up_s=start_up) for start_up in (5.0, 90.0))
    yield replace(few, load=0.3, most_jobs=8_000)  # 7 times as long as at load 2, so that most of it is polling
    yield replace(few, load=4.0)
    yield replace(few, service_s=2.0, load=0.5)
    yield replace(few, service_s=0.5, load=0.25)


@dataclass(frozen=True, slots=True)
class Case:
    """One workload on one platform. source: a trace; or a generator's text, with the jobs' span in seconds."""

    name: str
    source: Path | tuple[str, float]
    scaling: Scaling

    def workload(self) -> Workload:
        """Held in memory, since it is replayed once for every dozen of policies."""
        return _held(self.source, replace(self.scaling, start_up_s=0.0))

    def run(self, policies: Sequence[str]) -> Comparison:
        contenders = [read_contender(name, Common(CAP), {}) for name in policies]
        return compare(self.workload(), contenders, Setting(Platform(start_up_s=self.scaling.start_up_s)))


MADE_UP = (
    ("30 a minute of 0.5 s", "poisson:rate=30/m,service=0.5s", MOST_JOBS * 2.0, 0.5),
    ("6 a minute of 5 s", "poisson:rate=6/m,service=5s", MOST_JOBS * 10.0, 5.0),
    ("1 a minute of 2 s", "poisson:rate=1/m,service=2s", _WEEK_S, 2.0),
    ("60 each 30 min of 20 s, and 1 a minute", "cron:rate=1/m,every=30m,jobs=60,service=20s", _WEEK_S, 20.0),
)
"""Name, generator, span in seconds, mean time per job in seconds."""


def made_up() -> Iterator[Case]:
    """Generated workloads, which need no folder: short, middling and rare jobs at random, and jobs by the clock."""
    for name, text, span_s, service_s in MADE_UP:
        yield Case(name, (text, span_s), Scaling(service_s=service_s))


@lru_cache(maxsize=2)
def _held(source: Path | tuple[str, float], scaling: Scaling) -> Workload:
    if isinstance(source, Path):
        workload = _traced(source, scaling)
    else:
        text, span_s = source
        workload = _beside_the_polls(generate(text, seed=0, span_s=span_s))
    jobs = list(workload.jobs())
    return replace(workload, jobs=lambda: iter(jobs))


def _beside_the_polls(workload: Workload) -> Workload:
    """Jobs of one instant come up to 30 s later, all of them together.

    Runs by the clock would else fall on polls that are 10, 15 and 30 s apart, just after each of them: a rule that only
    polls would see every run a whole interval late. In production, the two clocks have nothing to do with each other.
    """

    def jobs() -> Iterator[Job]:
        dice, at, later = Random(0), -1.0, 0.0
        for (arrival, service, *_), (following, *_) in pairwise([*workload.jobs(), (math.inf, 0.0)]):
            if arrival != at:
                at, later = arrival, dice.uniform(0.0, 30.0) if following == arrival else 0.0
            yield arrival + later, service

    return replace(workload, jobs=lambda: iter(sorted(jobs())))


def _traced(path: Path, scaling: Scaling) -> Workload:
    trace = read_trace(path, service_mean=scaling.service_s)
    if trace.span_s is None:
        return scaled(
            _beginning(trace, scaling.most_jobs), load=scaling.load, service_mean=scaling.service_s, winsorise=_CUT
        )
    week = first(trace, _WEEK_S)  # counts by the minute, whose span is known beforehand
    offered = measure(week).work_s / (week.span_s or _WEEK_S)
    # Leaving jobs out cannot raise the load.
    by_thinning = scaled(week, load=scaling.load, by="thin" if offered >= scaling.load else "stretch")
    return _beginning(by_thinning, scaling.most_jobs)


def _beginning(workload: Workload, most_jobs: int | None) -> Workload:
    """Up to the arrival of that job."""
    if most_jobs is None:
        return workload
    end = next(islice(workload.jobs(), most_jobs, None), None)
    return workload if end is None else first(workload, end[0])
