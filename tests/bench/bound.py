"""The least that any policy can pay for work and waiting, clairvoyant or not: a rigorous bound from a fluid model.

In the fluid, work flows: workers c(t) do work at the rate of m c(t), m the jobs that each runs at once. With U(t) the
work that would be done if every job began at its arrival, sum min(S_i, (t - t_i)^+), X(t) the work that is done, and S
the mean service time, the fluid pays

    min  int c dt + delta int dc^+ + v int (U - X) dt / S    where  X' <= m c,  X <= U,  0 <= c <= cap,  X(end) = W.

Why no policy pays less: take its ready workers for c and what its jobs' last attempts have done for X. Both keep those
rules; each start has paid delta on top of int c; and int (U - X) dt is sum S_i w_i exactly, since a job that began w_i
late and is not interrupted stays w_i late. The fluid may also give work half a worker, split a job, and start early.

Any grid makes an error. So that it only ever lowers the bound, not the fluid is put on the grid but its dual: any
prices of work l(t)/m in worker-seconds and values q(t) of a worker that runs, with 0 <= q <= delta, l >= 0,
l' >= -m v/S, and l <= 1 from the end on, prove with d = U', the jobs that would be in work, that

    fluid  >=  int l d dt / m  -  cap int (l - 1 + q')^+ dt.

Prices that are linear between the grid's points are such prices; int l d dt is exact for them, and the last integrand
is convex in each step, so that the trapezoid is above it. A coarse grid, or prices that a solver found not quite best
or a little outside of what is allowed (they are put right before they prove anything), can lower the bound and cannot
lift it above what a policy can pay. l = 1 with q = 0 proves W, so that it is never less.
"""

from __future__ import annotations

import itertools
import math
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from controller.simulation.demand import Clairvoyant, Demand
from controller.simulation.workload.jobs import Job, Workload

Vector = NDArray[np.float64]
_KEPT = 1000
"""Steps that are solved for at once, so that the time grows with the steps and not with their square."""
_AHEAD = 250
"""Steps that are looked ahead each time, and solved for again."""
_FINEST = 1 / 16
"""Of a service or a start-up, whichever is shorter: a finer grid hardly lifts the bound."""

Progress = Callable[[float], None]
"""Is told which share of the whole has been done, from 0 to 1."""


def lower_bound(
    workload: Workload,
    *,
    cap: int,
    start_up_s: float,
    concurrency: int,
    worths: Sequence[float],
    steps: int = 60_000,
    progress: Progress | None = None,
) -> dict[float, float]:
    """By v, the least of (paid + v x sum (S_i / S) w_i) in units of W: of `report.total_worth`.

    It holds for any policy that does all the jobs with at most `cap` paid workers at a time. Those that are taken
    away and still finish their jobs count: where policies are compared, cap is the highest of their `most`, or more.
    start_up_s: what each start is paid for at least, in seconds. steps: of the grid, at most; more lift the bound.
    It goes twice through the jobs and holds 8 bytes for each step. Without any work, the answer is 1.

    Raises:
        ConfigurationError: the workload turns out not to be what it claims to be.
        RuntimeError: the solver gave up.
    """
    jobs, work, end = _totals(workload, cap, concurrency)
    if not work:
        return dict.fromkeys(worths, 1.0)
    mean = work / jobs
    patience = [math.sqrt(2 * start_up_s * mean / (worth * concurrency)) for worth in worths if worth > 0]
    # The last jobs may be worth a delay: by so much does a price fall that pays for a start.
    horizon = end + max(patience, default=0.0) + mean
    finest = _FINEST * min(mean, start_up_s or mean)
    count = max(4, math.ceil(min(steps, horizon / finest)))
    step = horizon / count
    coming = _coming(workload.jobs(), step, count)
    answer: dict[float, float] = {}
    for done, worth in enumerate(worths):
        fluid = _Fluid(coming, step, start_up_s / step, cap, concurrency, fall=concurrency * worth * step / mean)
        parts = len(worths)
        tell = None if progress is None else _partly(progress, done / parts, 1 / parts)
        answer[worth] = max(1.0, fluid.least(tell) / (work / concurrency))
    return answer


def _partly(progress: Progress, done: float, part: float) -> Progress:
    return lambda share: progress(done + part * share)


def _totals(workload: Workload, cap: int, concurrency: int) -> tuple[int, float, float]:
    """Jobs, their work, and when the last one ends if the cap is always there: seconds."""
    demand, work, jobs = Demand(cap, concurrency, Clairvoyant(0.0)), 0.0, workload.jobs()
    while chunk := list(itertools.islice(jobs, 4096)):
        work += math.fsum([job[1] for job in chunk])
        demand.take(chunk)
    demand.rest()
    return demand.jobs, work, demand.last_end


def _coming(jobs: Iterator[Job], step: float, count: int) -> array[float]:
    """For each point of the grid, int h d dt: h falls from 1 at the point to 0 at its neighbours, d the jobs in work.

    U grows by a ramp from each arrival on, and by one less from each end on; what a ramp adds at a point is a second
    difference of its second integral, (t - t_i)^+^2 / 2: of three points, that is the quadratic B-spline's weights.
    """
    changes = array("d", bytes(8 * (count + 4)))
    for at, service, *_ in jobs:
        for time, sign in ((at, 1.0), (at + service, -1.0)):
            index = min(int(time / step), count + 1)
            into = time / step - index
            here, later = (1 - into) ** 2 / 2, into**2 / 2
            changes[index] += sign * here
            changes[index + 1] += sign * (1 - here - later)
            changes[index + 2] += sign * later
    return array("d", (step * level for level in itertools.accumulate(itertools.islice(changes, count + 1))))


@dataclass(frozen=True, slots=True)
class _Fluid:
    """The dual on a grid. Times are in steps, so that a price falls by `fall` in each, and `start_up` steps are one."""

    coming: array[float]
    step_s: float
    start_up: float
    cap: int
    concurrency: int
    fall: float

    def least(self, progress: Progress | None) -> float:
        """In worker-seconds: prices for one window after the other, put right, and what they prove."""
        come = np.asarray(self.coming)
        last = len(come) - 1
        highest = 1 + self.fall * self._until_free(come)
        prices, values = np.ones(last + 1), np.zeros(last + 1)
        begin, known = 0, None
        while begin < last:
            end = min(begin + _KEPT + _AHEAD, last)
            if last - end < _AHEAD:
                end = last
            some_prices, some_values = self._solved(come[begin : end + 1], float(highest[end]), known)
            keep = end if end == last else begin + _KEPT
            prices[begin : keep + 1] = some_prices[: keep - begin + 1]
            values[begin : keep + 1] = some_values[: keep - begin + 1]
            begin, known = keep, (float(prices[keep]), float(values[keep]))
            if progress is not None:
                progress(begin / last)
        return self._proven(come, prices, values)

    def _until_free(self, come: Vector) -> Vector:
        """For each point, the steps until the cap has caught up with the work: a price may be higher by their falls."""
        backlog, most = 0.0, self.cap * self.concurrency * self.step_s
        free = np.zeros(len(come), dtype=np.bool_)
        for point, new in enumerate(come):
            backlog = max(0.0, backlog + float(new) - most)
            free[point] = backlog == 0
        free[-1] = True
        index = np.arange(len(come))
        caught_up = np.minimum.accumulate(np.where(free, index, len(come))[::-1])[::-1]
        return (caught_up - index).astype(np.float64)

    def _solved(self, come: Vector, highest: float, known: tuple[float, float] | None) -> tuple[Vector, Vector]:
        """The best prices and values of a window. highest: its last price at most; known: where it has to begin."""
        from scipy import optimize  # half a second, which no process pays that only collects the tests

        steps = len(come) - 1
        each = self.cap / 2
        gain = come / (self.concurrency * self.step_s)
        cost = np.concatenate([-gain, np.zeros(steps + 1), np.full(2 * steps, each)])
        lowest, most = np.zeros(len(cost)), np.full(len(cost), np.inf)
        most[steps] = highest
        most[steps + 1 : 2 * steps + 2] = self.start_up
        if known is not None:
            lowest[0] = most[0] = max(0.0, known[0])
            lowest[steps + 1] = most[steps + 1] = min(max(0.0, known[1]), self.start_up)
        limits = np.concatenate([np.full(steps, self.fall), np.ones(2 * steps)])
        found = optimize.linprog(
            cost, A_ub=_rules(steps), b_ub=limits, bounds=np.column_stack([lowest, most]), method="highs-ds"
        )
        if found.status != 0:
            raise RuntimeError(f"no prices for the lower bound: {found.message}")
        return found.x[: steps + 1], found.x[steps + 1 : 2 * steps + 2]

    def _proven(self, come: Vector, prices: Vector, values: Vector) -> float:
        """What prices prove after they were put right: none falls faster than it may, and the last is not above 1."""
        values = np.clip(values, 0.0, self.start_up)
        prices = np.maximum(prices, 0.0)
        prices[-1] = min(prices[-1], 1.0)
        index = self.fall * np.arange(len(prices))
        prices = np.minimum.accumulate((prices + index)[::-1])[::-1] - index
        rise = np.diff(values) - 1
        above = np.maximum(prices[:-1] + rise, 0.0) + np.maximum(prices[1:] + rise, 0.0)
        return float(come @ prices) / self.concurrency - self.cap * self.step_s * float(above.sum()) / 2


@lru_cache(maxsize=4)
def _rules(steps: int) -> Any:
    """The rows l_k - l_k+1 <= fall; l_k + q_k+1 - q_k - above <= 1; and the latter at the step's end, with l_k+1.

    Of the prices l and the values q there are steps + 1, and of what is above 1 as many as steps, twice.
    """
    from scipy import sparse

    begins, ends = sparse.eye_array(steps, steps + 1), sparse.eye_array(steps, steps + 1, k=1)
    above = -sparse.eye_array(steps)
    rows = [
        [begins - ends, None, None, None],
        [begins, ends - begins, above, None],
        [ends, ends - begins, None, above],
    ]
    return sparse.block_array(rows, format="csr")
