"""Budgets in the simulated world: small ones, which are spent within an episode. A worker-second costs 0.001$."""

from __future__ import annotations

from random import Random

from tests.support.spend import HOUR_S
from tests.virtual.redis import EPOCH_S

PRICE = {"worker_size": {"price_per_hour": "3.6$"}}
_LEFT_S = HOUR_S - EPOCH_S % HOUR_S
"""Of the first hour."""


def budget(amount: float, at_budget: object) -> dict[str, object]:
    return {"amount": f"{amount:.4f}$", "per": "hour", "at_budget": at_budget}


def worker(dice: Random) -> dict[str, object]:
    """Values for policy_of(): a budget of the worker, of all, or both."""
    own, of_all = (budget(dice.uniform(0.05, 0.6), dice.choice(["min", 0, 1])) for _ in range(2))
    which = dice.choice([{"budget": own}, {"budget_of_all": of_all}, {"budget": own, "budget_of_all": of_all}])
    return {**PRICE, **which}


def clock_s(dice: Random) -> float:
    """By how much the clock of Redis is set forward at the beginning: often the hour ends soon."""
    return dice.choice([0.0, 0.0, _LEFT_S - dice.uniform(60.0, 400.0)])
