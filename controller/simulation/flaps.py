"""How often a policy with tiers flaps at a tier's edge, and which stabilization window would help.

Jobs arrive steadily (a Poisson process), at a rate for which one tier has too few workers and the next one too
many. So the depth stays near the edge, and the count goes up and down across it. The queue is stepped with random
numbers for each step and not for each job, so that short jobs cost no more time; the policy is the same that simulate
runs. The result depends on the policy, the time per job and the start-up time alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from statistics import NormalDist
from typing import Any, Self

from controller.core.units import as_policy, in_words, percent
from controller.policy import Policy, WorkerPolicy
from controller.simulation.fleet import Platform
from controller.simulation.own import OwnPolicy
from controller.simulation.scaler import View

WITHIN_S = 300.0
"""A scale-down across an edge is a flap if the same edge is crossed upwards within this time."""
_WINDOWS_S = (60.0, 120.0, 300.0)
_MOST_EDGES = 6
_STEPS, _LEAST_STEPS = 8_000, 1_000
"""Of one run; the workers of a policy share them, so that a long file takes a second and not a minute."""
_WORTH_IT = 2 / 3
"""The shortest window that leaves at most this share of the flaps is proposed."""
_LEAST_A_DAY = 24.0
"""One in an hour; fewer are not worth a remark."""
_DAY_S = 86_400.0
_START_UP_S = Platform().start_up_s


@dataclass(frozen=True, slots=True)
class Edge:
    """Up to this depth the policy wants `low` workers, and above it `high`."""

    depth: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class Flaps:
    """The edge with the most flaps a day; how many with the proposed window, and what that costs in worker time.

    more: the mean count of workers with the window, divided by the one without it, minus 1.
    """

    edge: Edge
    service_s: float
    a_day: float
    window_s: float
    then_a_day: float
    more: float

    @classmethod
    def of(cls, policy: Policy, worker: WorkerPolicy, service_s: float) -> Self | None:
        """None with a target_wait, with a window that is set, and where a window would not help."""
        if not worker.tiers or "stabilization_window" in worker.scale_down.model_fields_set:
            return None
        steps = max(_LEAST_STEPS, _STEPS // len(policy.workers))
        runs = [(_run(policy, worker, edge, service_s, steps), edge) for edge in _edges(worker)]
        if not runs:
            return None
        (a_day, count), edge = max(runs, key=lambda run: run[0][0])
        if a_day < _LEAST_A_DAY:
            return None
        for window_s in _WINDOWS_S:
            then, then_count = _run(policy, _with_window(worker, window_s), edge, service_s, steps)
            if then <= a_day * _WORTH_IT:
                return cls(edge, service_s, a_day, window_s, then, max(0.0, then_count / count - 1))
        return None

    @property
    def words(self) -> str:
        """Two sentences, with what to write."""
        down = f"scale_down: {{stabilization_window: {as_policy(self.window_s)}}}"
        cost = f"for {percent(self.more)} more worker time" if self.more >= 0.005 else "for the same worker time"
        return (
            f"while jobs of {in_words(self.service_s)} arrive steadily, so that the depth stays near "
            f"{self.edge.depth:,}, where the count changes between {self.edge.low} and {self.edge.high}, this policy "
            f"would remove a worker and start it again within {in_words(WITHIN_S)} about {_about(self.a_day)} times a "
            f"day. With {down} it would be about {_about(self.then_a_day)} times, {cost}."
        )

    def as_object(self) -> dict[str, Any]:
        """For --json."""
        return {
            "depth": self.edge.depth,
            "between_workers": [self.edge.low, self.edge.high],
            "flaps_a_day": round(self.a_day),
            "stabilization_window_s": self.window_s,
            "flaps_a_day_with_it": round(self.then_a_day),
            "more_worker_time": round(self.more, 3),
            "words": self.words,
        }


def _about(number: float) -> str:
    """With two digits: more would not be the same with other random numbers."""
    return f"{float(f'{number:.2g}'):,.0f}"


def _edges(worker: WorkerPolicy) -> list[Edge]:
    """Where the wanted count changes within min and max; at most _MOST_EDGES of them, from the first to the last."""
    steps = [(tier.up_to, min(max(tier.replicas, worker.min_replicas), worker.max_replicas)) for tier in worker.tiers]
    edges = [Edge(depth, low, high) for (depth, low), (_, high) in pairwise(steps) if depth is not None and low < high]
    if len(edges) <= _MOST_EDGES:
        return edges
    return [edges[number * (len(edges) - 1) // (_MOST_EDGES - 1)] for number in range(_MOST_EDGES)]


def _with_window(worker: WorkerPolicy, window_s: float) -> WorkerPolicy:
    down = worker.scale_down.model_copy(update={"stabilization_window": window_s})
    return worker.model_copy(update={"scale_down": down})


def _run(policy: Policy, worker: WorkerPolicy, edge: Edge, service_s: float, steps: int) -> tuple[float, float]:
    """Flaps a day, and the mean count of workers."""
    asked = worker.only_queue
    scaler = OwnPolicy.of(policy, worker, wakes=asked.wake_on is not None or asked.preset is not None)
    queue = _Queue(edge, worker.concurrency, service_s, _step_s(policy.interval, service_s))
    for seen in queue.looks(scaler, steps):
        queue.scale(seen.now, scaler.look(seen))
    return queue.flaps * _DAY_S / queue.now, queue.paid_s / queue.now


def _step_s(interval: float, service_s: float) -> float:
    """A part of the interval, and short beside a job: within a step, the number of jobs in work is constant."""
    return interval / math.ceil(interval / min(interval / 2, service_s / 2))


class _Queue:
    """Jobs and workers near an edge, in steps of `step_s` seconds."""

    def __init__(self, edge: Edge, concurrency: int, service_s: float, step_s: float) -> None:
        self.now, self.flaps, self.paid_s = 0.0, 0, 0.0
        self._edge, self._concurrency, self._step_s = edge, concurrency, step_s
        self._depth, self._configured = edge.depth, 0
        self._starting: list[float] = []
        self._down_at = -math.inf
        self._dice = Random(0)
        self._done_per_step = step_s / service_s
        self._done: dict[int, _Poisson] = {}
        self._arrivals = _Poisson((edge.low + edge.high) / 2 * concurrency * step_s / service_s)

    def looks(self, scaler: OwnPolicy, steps: int) -> Iterator[View]:
        """What the policy sees at each poll, and after an arrival if new jobs wake it."""
        seen, looked_at, due, random = View(), -math.inf, 0.0, self._dice.random
        for number in range(steps):
            self.now = number * self._step_s
            came = self._advance(random)
            polls = self.now >= due - self._step_s / 4
            wake = scaler.wake_interval
            if polls or (came and wake is not None and self.now - looked_at >= wake):
                looked_at = self.now
                running = self._configured - len(self._starting)
                seen.now, seen.notified, seen.configured, seen.running = self.now, not polls, self._configured, running
                seen.busy = min(self._depth, running * self._concurrency)
                seen.waiting = self._depth - seen.busy
                before = self._configured
                yield seen
                if polls or self._configured != before:
                    due = self.now + scaler.interval
        self.now = steps * self._step_s

    def scale(self, now: float, desired: int) -> None:
        before, low = self._configured, self._edge.low
        if desired > before:
            self._starting += [now + _START_UP_S] * (desired - before)
            if before <= low < desired and now - self._down_at <= WITHIN_S:
                self.flaps += 1
        elif desired < before:
            del self._starting[max(0, len(self._starting) - (before - desired)) :]
            if desired <= low < before:
                self._down_at = now
        self._configured = desired

    def _advance(self, random: Callable[[], float]) -> int:
        """The jobs that came in this step."""
        while self._starting and self._starting[0] <= self.now:
            del self._starting[0]
        self.paid_s += self._configured * self._step_s
        slots = (self._configured - len(self._starting)) * self._concurrency
        came = self._arrivals.draw(random())
        self._depth += came
        busy = min(self._depth, slots)
        if busy:
            done = self._done.get(busy)
            if done is None:
                done = self._done[busy] = _Poisson(busy * self._done_per_step)
            self._depth -= min(self._depth, done.draw(random()))
        return came


class _Poisson:
    """Draws a number of events with this mean, by the inverse of its distribution."""

    def __init__(self, mean: float) -> None:
        self._mean, self._none = mean, math.exp(-mean)

    def draw(self, number: float) -> int:
        if self._mean > 50:  # too many terms; the normal distribution is close enough
            return max(0, round(NormalDist(self._mean, math.sqrt(self._mean)).inv_cdf(max(number, 1e-12))))
        events, chance = 0, self._none
        while number >= chance > 0 and events < 1000:
            number -= chance
            events += 1
            chance *= self._mean / events
        return events
