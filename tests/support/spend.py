"""What a worker's record says of its budgets, for the verdict. The program's own functions for this may be a mutant's.

Budgets here are by the hour, in UTC.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

from controller.policy import Budget
from tests.support.record import Limits

HOUR_S = 3600.0
_STEPS = (0.8, 0.9, 1.0)
_ROUNDED = 1e-4
"""The record keeps milliseconds, so a share is known within this part of it."""


class Charge(NamedTuple):
    """The spend at one write of the record: at the time `at`, by Redis' clock `now`.

    workers: those that are charged from then on. begins: of the hour. told: the last step told, by whose budget.
    """

    at: float
    who: str
    now: float
    workers: int
    begins: float
    worker_s: float
    told: Mapping[str, int]

    @classmethod
    def in_record(cls, fields: Mapping[str, str], at: float, who: str) -> Self | None:
        if not fields.get("spent"):
            return None
        now, workers, tallies, told = json.loads(fields["spent"])
        if "hour UTC" not in tallies:
            return None  # Redis' clock was set back to before the first hour that is known
        begins, _, worker_s, _ = tallies["hour UTC"]
        steps = {scope: step for scope, step in told.items() if isinstance(step, int)}
        return cls(at, who, now, workers, begins, worker_s, steps)

    def worker_s_at(self, now: float) -> float:
        """By Redis' clock, if their number stays; of the hour of that time."""
        hour = now - now % HOUR_S
        if hour > self.begins:
            return max(0.0, now - max(hour, self.now)) * self.workers
        return self.worker_s + max(0.0, now - self.now) * self.workers


def step_of(share: float) -> int:
    return sum(share >= step for step in _STEPS)


def capped(limits: Limits, budgets: Sequence[tuple[Budget, float]], worker_s: float) -> tuple[Limits, ...]:
    """Within these budgets, each with the price of a worker-second; more than one right at a step."""
    return tuple({_capped(limits, budgets, worker_s * part): None for part in (1 - _ROUNDED, 1 + _ROUNDED)})


def _capped(limits: Limits, budgets: Sequence[tuple[Budget, float]], worker_s: float) -> Limits:
    least, most, adds = limits.least, limits.most, limits.most
    for budget, price in budgets:
        share = worker_s * price / budget.amount
        floor = limits.least if budget.at_budget == "min" else min(int(budget.at_budget), limits.most)
        cap = floor + math.ceil((limits.most - floor) * (3 - step_of(share)) / 3)
        least, adds = min(least, cap), min(adds, cap)
        if share >= 1 + budget.overrun:
            most = min(most, cap)
    return Limits(least, most, min(adds, most))


def stays_within_its_step(budgets: Sequence[tuple[Budget, float]], before: float, after: float) -> bool:
    """Whether no step, and no end of a budget, is between these worker-seconds."""
    return all(
        not before < share * budget.amount / price * (1 + sign * _ROUNDED) <= after
        for budget, price in budgets
        for share in (*_STEPS, 1 + budget.overrun)
        for sign in (-1, 1)
    )
