"""Runs several policies on one workload in one pass over the jobs, so that memory does not grow with the workload."""

from __future__ import annotations

import gc
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from controller.core.price import Price
from controller.core.problems import ConfigurationError, Problem
from controller.simulation.account import Account
from controller.simulation.demand import Clairvoyant, Demand, Levels, Task, Unlimited
from controller.simulation.figures import Elasticity, Figures, OfQueue, Spread
from controller.simulation.fleet import Fleet, Platform
from controller.simulation.scaler import Scaler
from controller.simulation.series import Series
from controller.simulation.split import Split
from controller.simulation.waits import Waits
from controller.simulation.workload.jobs import Job, Workload

_CHUNK = 4096
"""Jobs that every fleet is given in its turn; so the jobs are read once, and never held as a whole."""
_DAY_S = 86_400.0

Progress = Callable[[float], None]
"""Called with the simulated seconds that are done."""


@dataclass(frozen=True, slots=True)
class Contender:
    """One policy of a comparison. make: its scaler; None: the clairvoyant, which is calculated and not simulated.

    note: what of the policy is not simulated, or "". queues: of several queues, the share of the jobs that each has,
    relative to the others; empty: it has one.
    """

    name: str
    maximum: int
    make: Callable[[], Scaler] | None
    note: str = ""
    queues: Mapping[str, float] = field(default_factory=dict)

    def split(self, workload: Workload) -> Split | None:
        """Which queue each job is in."""
        if not self.queues:
            return None
        return Split(tuple(self.queues), tuple(self.queues.values()), is_known=self.knows_queues_of(workload))

    def knows_queues_of(self, workload: Workload) -> bool:
        """Whether the jobs name their queues, and it has all of them."""
        return bool(workload.queues) and self.queues.keys() >= set(workload.queues)


@dataclass(frozen=True, slots=True)
class Setting:
    """The settings that all contenders share. series: record the values over time, for pictures.

    drain_source: where platform.drain_s comes from, in words.
    """

    platform: Platform = field(default_factory=Platform)
    price: Price = field(default_factory=Price)
    slo_s: float = 60.0
    series: bool = False
    drain_source: str = "as given"


@dataclass(frozen=True, slots=True)
class Limits:
    """Lower bounds of the cost, in worker-seconds.

    least_s: the work itself; only a policy that knows the future and lets jobs wait can reach it. no_wait_s: the cost
    if every job begins at once and each start is paid for, with at most no_wait_workers workers.
    """

    least_s: float
    no_wait_s: float
    no_wait_workers: int


@dataclass(frozen=True, slots=True)
class Comparison:
    workload: Workload
    setting: Setting
    figures: Sequence[Figures]
    series: Sequence[Series | None]
    limits: Limits
    jobs: int
    span_s: float
    took_s: float  # of CPU
    simulated: int

    @property
    def jobs_a_second(self) -> float:
        """Of all simulated policies together."""
        return self.jobs * self.simulated / self.took_s if self.took_s else 0.0

    @property
    def days_a_second(self) -> float:
        return self.span_s / _DAY_S * self.simulated / self.took_s if self.took_s else 0.0


@dataclass(slots=True)
class _Schedule:
    """All contenders with the same maximum of workers, which share one FIFO schedule."""

    demand: Demand
    least_waits: Waits = field(default_factory=Waits)
    weighted_wait: float = 0.0
    fleets: list[Fleet] = field(default_factory=list)
    together: dict[int, list[float]] = field(default_factory=dict)

    def take(self, jobs: Sequence[Job], until: float, *, wants_waits: bool) -> None:
        tasks, levels = self.demand.take(jobs)
        for fleet in self.fleets:
            fleet.feed(tasks, until)
            fleet.account.settle(levels, until)
        if wants_waits:
            self._note(tasks)

    def _note(self, tasks: Sequence[Task]) -> None:
        self.least_waits.extend([task[2] for task in tasks])
        self.weighted_wait += sum([service * least for _, service, least, *_ in tasks])


def compare(
    workload: Workload, contenders: Sequence[Contender], setting: Setting, progress: Progress | None = None
) -> Comparison:
    """Runs all contenders on the workload.

    Raises:
        ConfigurationError: the workload is empty, or a line of its file is wrong.
    """
    began = time.process_time()
    schedules, runs = _schedules(contenders, setting, workload)
    unlimited = Unlimited(setting.platform.concurrency, setting.platform.start_up_s)
    clairvoyants = {contender.maximum for contender in contenders if contender.make is None}
    last = work = 0.0
    jobs = 0
    with _without_collecting():
        for chunk in _chunks(workload):
            last = chunk[-1][0]
            jobs += len(chunk)
            work += sum([job[1] for job in chunk])
            unlimited.take(chunk)
            for cap, schedule in schedules.items():
                schedule.take(chunk, last, wants_waits=cap in clairvoyants)
            if progress is not None:
                progress(last)
    if not jobs:
        raise ConfigurationError([Problem(workload.name, "has no job in this span of time; take a longer one")])
    until = max(last, workload.span_s or 0.0)
    for schedule in schedules.values():
        _finish(schedule, until)
    each = setting.platform.concurrency
    figures = [
        replace(_of_fleet(contender.name, runs[index], setting, until), queues=_by_queue(runs[index]))
        if index in runs
        else _of_clairvoyant(contender.name, schedules[contender.maximum], setting, work / each, until)
        for index, contender in enumerate(contenders)
    ]
    limits = Limits(work / each, unlimited.cost_s, unlimited.workers)
    took = time.process_time() - began
    series = [runs[index].account.series if index in runs else None for index in range(len(contenders))]
    return Comparison(workload, setting, figures, series, limits, jobs, until, took, len(runs))


@contextmanager
def _without_collecting() -> Iterator[None]:
    """Turns the garbage collector off: it would take a fifth of the time on millions of tuples without a cycle."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _schedules(
    contenders: Sequence[Contender], setting: Setting, workload: Workload
) -> tuple[dict[int, _Schedule], dict[int, Fleet]]:
    """By cap, the schedule of the workload; by the contender's index, its fleet."""
    platform = setting.platform
    schedules: dict[int, _Schedule] = {}
    runs: dict[int, Fleet] = {}
    for index, contender in enumerate(contenders):
        cap = contender.maximum
        clairvoyant = Clairvoyant(platform.start_up_s)
        schedule = schedules.setdefault(cap, _Schedule(Demand(cap, platform.concurrency, clairvoyant)))
        if contender.make is not None:
            account = Account(cap, platform.start_up_s, Series() if setting.series else None)
            split = contender.split(workload)
            account.by_queue = tuple(Waits() for _ in split.names) if split else ()
            runs[index] = Fleet(contender.make(), platform, account, workload.began, split)
            schedule.fleets.append(runs[index])
    return schedules, runs


def _chunks(workload: Workload) -> Iterator[list[Job]]:
    jobs = workload.jobs()
    while chunk := list(itertools.islice(jobs, _CHUNK)):
        yield chunk


def _finish(schedule: _Schedule, until: float) -> None:
    levels = schedule.demand.rest()
    for fleet in schedule.fleets:
        end = fleet.finish(until)
        within = sum(1 for time in levels.times if time <= end)
        fleet.account.settle(Levels(levels.times[:within], levels.heights[:within]), end)
        fleet.wind_down()


def _of_fleet(name: str, fleet: Fleet, setting: Setting, until: float) -> Figures:
    platform = setting.platform
    return Figures.of(
        name,
        fleet.account,
        concurrency=platform.concurrency,
        start_up_s=platform.start_up_s,
        slo_s=setting.slo_s,
        price=setting.price,
        span_s=until,
    )


def _by_queue(fleet: Fleet) -> tuple[OfQueue, ...]:
    names = () if fleet.split is None else fleet.split.names
    return tuple(
        OfQueue(name, waits.count, Spread.of(waits)) for name, waits in zip(names, fleet.account.by_queue, strict=True)
    )


def _of_clairvoyant(name: str, schedule: _Schedule, setting: Setting, work_s: float, until: float) -> Figures:
    """The clairvoyant pays for each start, and its jobs wait only as long as the cap forces every policy to wait."""
    seer, waits = schedule.demand.clairvoyant, schedule.least_waits
    return Figures(
        name=name,
        jobs=schedule.demand.jobs,
        unfinished=0,
        span_s=until,
        end_s=max(until, schedule.demand.last_end),
        work_s=work_s,
        paid_s=seer.cost_s,
        dollars=seer.cost_s * setting.price.per_second,
        waits=Spread.of(waits),
        avoidable=Spread.of(Waits()),
        slo_s=setting.slo_s,
        late=waits.over(setting.slo_s),
        weighted_wait_s=schedule.weighted_wait / (work_s * setting.platform.concurrency) if work_s else 0.0,
        ups=seer.starts,
        downs=seer.stops,
        starts=seer.starts,
        flaps=0,
        most_actions_an_hour=0,
        start_up_s=setting.platform.start_up_s,
        at_zero=0.0,
        at_cap=0.0,
        most=seer.most,
        cap=schedule.demand.cap,
        lost_s=0.0,
        given_back=0,
        elasticity=Elasticity(0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
        is_clairvoyant=True,
    )
