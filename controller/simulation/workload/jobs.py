"""Jobs with arrivals and service times; and functions that stretch, thin, split or resample them.

To save memory, a workload is an iterator over its jobs, which can be started again from the beginning.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, NamedTuple

from controller.core.problems import ConfigurationError, Problem
from controller.core.units import in_words

Job = tuple[float, float, *tuple[str, ...]]
"""Its arrival in seconds from the start of the window, its service time in seconds, and the name of its queue if that
is known.
"""

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S
_HOUR_S = 3600.0
_ABOUT_A_DAY_S = 23 * _HOUR_S
"""Tolerance for the length of a window: a log of one day seldom ends at its last second."""
_FEW_DAYS_S = 3 * DAY_S
_LEAST_BLOCKS = 8
"""Fewest blocks of a window; with fewer, the resampled weeks would all be the same."""


@dataclass(frozen=True, slots=True)
class Workload:
    """Jobs in a window of time.

    jobs: each call starts again and gives the same jobs by arrival; of a file, it raises ConfigurationError at the
    first wrong line. span_s: length of the window in seconds; None: it ends with the last job. began: epoch seconds of
    its start, if known. notes: remarks that are shown with the results. queues: names that each job has one of; empty:
    which queue a job is in is unknown.
    """

    name: str
    jobs: Callable[[], Iterator[Job]]
    span_s: float | None
    began: float | None = None
    notes: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()


class Measured(NamedTuple):
    """jobs: their number. first, last: arrivals. work_s: sum of the service times. All 0 without jobs."""

    jobs: int
    first: float
    last: float
    work_s: float
    mean_s: float
    median_s: float
    p99_s: float


def quantile(ascending: Sequence[float], share: float) -> float:
    """The lowest value that this share of them does not exceed; 0 without values."""
    return ascending[max(0, math.ceil(share * len(ascending) - 1e-9) - 1)] if ascending else 0.0


def measure(workload: Workload) -> Measured:
    """In one pass, with 8 bytes for each job."""
    jobs = workload.jobs()
    opening = next(jobs, None)
    if opening is None:
        return Measured(0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    first = last = opening[0]
    services = array("d", [opening[1]])
    for arrival, service, *_ in jobs:
        services.append(service)
        last = arrival
    work, ascending = math.fsum(services), sorted(services)
    mean = work / len(services)
    return Measured(len(services), first, last, work, mean, quantile(ascending, 0.5), quantile(ascending, 0.99))


def span_of(workload: Workload) -> float:
    """The length of the window in seconds; if unknown, found in one pass over the jobs."""
    if workload.span_s is not None:
        return workload.span_s
    return max((arrival for arrival, *_ in workload.jobs()), default=0.0)


def first(workload: Workload, seconds: float) -> Workload:
    """Only the jobs of the first `seconds`. A shorter window stays as it is."""
    span = workload.span_s
    if span is None and any(arrival >= seconds for arrival, *_ in workload.jobs()):
        span = seconds
    return replace(workload, jobs=lambda: _between(workload, 0.0, seconds), span_s=span and min(span, seconds))


def from_its_first_job(workload: Workload, quiet: float = 0.1) -> Workload:
    """Without the time before the first job, if that is more than this share of the window: a table may be new."""
    arrival, *_ = next(workload.jobs(), (0.0, 0.0))
    span = span_of(workload)
    if arrival <= quiet * span:
        return workload
    note = f"the {in_words(arrival)} before the first job are left out"
    return replace(
        workload,
        jobs=lambda: _between(workload, arrival, math.inf),
        span_s=span - arrival,
        began=None if workload.began is None else workload.began + arrival,
        notes=(*workload.notes, note),
    )


def halves(workload: Workload) -> tuple[Workload, Workload]:
    """The first two thirds of the window and the last third, each from 0: to tune a policy, and to test it.

    The part for tuning is the larger one, because it must contain each repeating pattern more than once.
    """
    span = span_of(workload)
    cut = span * 2 / 3
    began = None if workload.began is None else workload.began + cut
    return (
        replace(workload, jobs=lambda: _between(workload, 0.0, cut), span_s=cut),
        replace(workload, jobs=lambda: _between(workload, cut, math.inf), span_s=span - cut, began=began),
    )


def _between(workload: Workload, since: float, until: float) -> Iterator[Job]:
    """Arrivals count from `since`."""
    for job in workload.jobs():
        arrival = job[0]
        if arrival >= until:
            return
        if arrival >= since:
            yield arrival - since, *job[1:]


def scaled(
    workload: Workload,
    *,
    load: float | None = None,
    service_mean: float | None = None,
    winsorise: float | None = None,
    by: Literal["stretch", "thin"] = "stretch",
    seed: int = 0,
) -> Workload:
    """The jobs with other service times and another rate: winsorised, then scaled to the mean, then to the load.

    load: workers that the jobs keep busy on average: their work divided by the window. by: stretch the time axis,
    or keep a random part of the jobs. service_mean: seconds. winsorise: a quantile, such as 0.99; longer
    jobs take as long as that. One pass over the jobs; winsorising holds 8 bytes for each.

    Raises:
        ConfigurationError: it cannot be scaled to that; or its file is wrong.
    """
    wanted = (("load", load), ("mean service time", service_mean), ("quantile", winsorise))
    for what, number in wanted:
        if number is not None and not (0 < number < math.inf and (what != "quantile" or number <= 1)):
            raise _refusal(workload, f"cannot be scaled to a {what} of {number:g}; give one above 0")
    if load is None and service_mean is None and winsorise is None:
        return workload
    cap, jobs, work, span = _totals(workload, winsorise)
    if (load is not None or service_mean is not None) and not work:
        raise _refusal(workload, "has no work, so it cannot be scaled; choose a longer window")
    longer = 1.0 if service_mean is None else service_mean * jobs / work
    wider, kept = (1.0, 1.0) if load is None else _to_load(workload, load, work * longer, span, by)
    scale = _Scale(cap, longer, wider, kept)
    return replace(
        workload,
        jobs=lambda: scale.applied(workload, seed),
        span_s=span * wider,
        began=workload.began if wider == 1 else None,
        notes=(*workload.notes, *scale.said(winsorise)),
    )


class _Scale(NamedTuple):
    """cap: longest service time before the factor `longer`. wider: factor of the time axis. kept: share of jobs."""

    cap: float
    longer: float
    wider: float
    kept: float

    def applied(self, workload: Workload, seed: int) -> Iterator[Job]:
        cap, longer, wider, kept = self
        random = Random(seed).random
        for job in workload.jobs():
            if kept == 1 or random() < kept:
                service = cap if job[1] > cap else job[1]  # noqa: FURB136  # half the time
                yield job[0] * wider, service * longer, *job[2:]

    def said(self, winsorise: float | None) -> tuple[str, ...]:
        """In one sentence; empty if nothing was changed."""
        time = "" if self.wider == 1 else f"time axis × {self.wider:.3g}"
        part = "" if self.kept == 1 else f"a random {100 * self.kept:.3g} % of the jobs"
        capped = "" if winsorise is None else f"winsorised at p{100 * winsorise:g}"
        service = " and ".join(filter(None, (capped, "" if self.longer == 1 else f"× {self.longer:.3g}")))
        said = ", ".join(filter(None, (time, part, service and f"service {service}")))
        return (said,) if said else ()


def _to_load(workload: Workload, load: float, work: float, span: float, by: str) -> tuple[float, float]:
    """The factor of the time axis, and the share of the jobs to keep."""
    if not span:
        raise _refusal(workload, "has all its jobs at the same time, so it cannot be scaled to a load")
    ratio = work / span / load
    if by == "stretch":
        return ratio, 1.0
    if ratio < 1 - 1e-9:
        has = f"offers a load of {ratio * load:.3g} workers, and leaving out jobs cannot raise that to {load:g}"
        raise _refusal(workload, f"{has}; change the time axis instead, or give a lower load")
    return 1.0, min(1.0, 1 / ratio)


def _refusal(workload: Workload, text: str) -> ConfigurationError:
    return ConfigurationError([Problem(workload.name, text)])


def _totals(workload: Workload, winsorise: float | None) -> tuple[float, int, float, float]:
    """The longest service time, the number of jobs, their work with that limit, and the window."""
    cap, jobs, work, last = math.inf, 0, 0.0, 0.0
    if winsorise is None:
        for arrival, service, *_ in workload.jobs():
            jobs += 1
            work += service
            last = arrival
    else:
        services = array("d")
        for arrival, service, *_ in workload.jobs():
            services.append(service)
            last = arrival
        cap, jobs = quantile(sorted(services), winsorise), len(services)
        work = math.fsum(min(service, cap) for service in services)
    return cap, jobs, work, last if workload.span_s is None else workload.span_s


def resampled(workload: Workload, seed: int, *, weeks: int = 1, block_s: float = DAY_S) -> Workload:
    """Resampled weeks: each block of time is a random block of the old window from the same time of day.

    With three days or more, blocks of `block_s` are moved by whole days. A shorter window has too few of those: its
    blocks are hours, and may begin up to an hour earlier or later; under a day, a block may come from any time.
    It holds 24 bytes for each job of the old window.

    Raises:
        ConfigurationError: the window is empty; or its file is wrong.
    """
    arrivals, services = array("d"), array("d")
    queues: list[tuple[str, ...]] = []
    for job in workload.jobs():
        arrivals.append(job[0])
        services.append(job[1])
        queues.append(job[2:])
    span = workload.span_s if workload.span_s is not None else max(arrivals, default=0.0)
    if not span:
        raise _refusal(workload, "has a window of 0 s, so it cannot be resampled")
    new_span, random = weeks * WEEK_S, Random(seed)
    if span < _FEW_DAYS_S:
        block_s = _HOUR_S
    block_s = min(block_s, span / _LEAST_BLOCKS) if span < _ABOUT_A_DAY_S else min(block_s, DAY_S)
    starts = array("d", (_start(at * block_s, block_s, span, random) for at in range(math.ceil(new_span / block_s))))

    def jobs() -> Iterator[Job]:
        for number, start in enumerate(starts):
            began, ended = number * block_s, min((number + 1) * block_s, new_span)
            for after, index in _block(arrivals, start, ended - began, span):
                # Rounding must not move a job behind the first one of the next block.
                yield min(began + after, ended), services[index], *queues[index]

    note = f"resampled in blocks of {in_words(block_s)} from {in_words(span)} (seed {seed})"
    return replace(workload, jobs=jobs, span_s=new_span, notes=(*workload.notes, note))


def _block(arrivals: Sequence[float], start: float, length: float, span: float) -> Iterator[tuple[float, int]]:
    """Each job of a block: its time after the start of the block, and its index; the window repeats after its end."""
    end = start + length
    for index in range(bisect_left(arrivals, start), bisect_left(arrivals, end) if end < span else len(arrivals)):
        yield arrivals[index] - start, index
    for index in range(bisect_left(arrivals, end - span)):
        yield span - start + arrivals[index], index


def _start(at: float, block_s: float, span: float, random: Random) -> float:
    """The start in the old window of the block for the time `at` in the new one."""
    if span < _ABOUT_A_DAY_S:
        return random.uniform(0.0, span)  # it may go past the end, so that each time has the same chance
    latest, time_of_day = span - block_s, at % DAY_S
    days = max(1, math.floor((latest - time_of_day) / DAY_S) + 1)
    start = time_of_day + DAY_S * random.randrange(days)
    if span < _FEW_DAYS_S:
        start += random.uniform(-_HOUR_S, _HOUR_S)
    return min(max(start, 0.0), latest)
