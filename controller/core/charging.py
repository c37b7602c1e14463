"""What one pass does for the budgets that its worker is under: charge the time, and report the steps. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from controller.core.allowed import of_the_hour
from controller.core.budget import OWN, Shared, Spent, Standing, budgets_of, charged, standings, told_words
from controller.core.cap import Cap
from controller.core.price import Price
from controller.core.steps import Event
from controller.policy import WorkerPolicy


@dataclass(frozen=True, slots=True)
class Charged:
    """spent: for the history; None: no budget. events: of the steps that were reached or left since the last pass."""

    spent: Spent | None = None
    standings: tuple[Standing, ...] = ()
    caps: tuple[Cap, ...] = ()
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Charging:
    """alive: instances now; None: unknown. gap, limits: see budget.charged(). writes: not in a quick check."""

    worker: str
    policy: WorkerPolicy
    shared: Shared | None
    alive: int | None
    now: float
    gap: float
    epoch: int
    limits: Price | None = None
    writes: bool = True

    def after(self, spent: Spent | None) -> Charged:
        budgets = budgets_of(self.policy, self.shared)
        if not budgets:
            return Charged(spent)
        if self.writes:
            spent = charged(
                spent, (budget for _, budget in budgets), self.alive, self.now, self.gap, limits=self.limits
            )
        now = standings(self.worker, self.policy, spent, self.shared, self.now)
        hour = of_the_hour(self.policy, self.now)
        caps = tuple(cap for one in now if (cap := one.cap(hour)) is not None)
        if spent is None or not self.writes:
            return Charged(spent, now, caps)
        events = tuple(
            self._event(one, spent.told.get(one.scope, 0), hour)
            for one in now
            if one.step != spent.told.get(one.scope, 0)
        )
        spent = replace(spent, told={one.scope: one.step for one in now if one.step})
        return Charged(spent, now, caps, events)

    def _event(self, standing: Standing, before: int, hour: WorkerPolicy) -> Event:
        was, now = standing.count(hour, before), standing.count(hour)
        whose = self.worker if standing.scope == OWN else ""
        fields = {
            "epoch": self.epoch,
            "scope": standing.scope,
            # The history and the notifications keep one of each: the budget of all is told once, not for each worker.
            "id": f"{standing.scope} {whose} {standing.period.begins:.0f} {before} {standing.step}",
            "spent": round(standing.spend.dollars, 4),
            "amount": float(standing.budget.amount),
            "max_replicas": now,
            "message": told_words(standing, before, was, now),
        }
        return Event("budget", fields)
