"""A budget as /status, the page, the metrics and `explain` show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from controller.core.budget import Standing
from controller.core.units import iso
from controller.policy import WorkerPolicy


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """scope: worker or all. spent, amount, unseen: dollars; unseen: charged for time without a reading.

    spent: None: unknown. is_upper_bound: by the limits of a worker, for want of its size.

    until: when the period ends. since: from when on the spend is known; None: all of it is. max_replicas: the highest
    count that it allows.
    """

    scope: str
    amount: float
    spent: float | None
    per: str
    until: str
    since: str | None
    unseen: float
    max_replicas: int
    message: str
    is_upper_bound: bool = False

    @classmethod
    def of(cls, standing: Standing, policy: WorkerPolicy) -> Self:
        """policy: with min_replicas and max_replicas as they are now."""
        spend, most = standing.spend, standing.count(policy)
        lowered = f"; max is {most}" if standing.step else ""
        return cls(
            scope=standing.scope,
            amount=float(standing.budget.amount),
            spent=None if standing.is_unknown else round(spend.dollars, 4),
            per=standing.budget.per,
            until=iso(standing.period.ends),
            since=None if spend.since is None else iso(spend.since),
            unseen=round(spend.unseen, 4),
            max_replicas=most,
            message=f"{standing.words}{lowered}",
            is_upper_bound=bool(spend.limits),
        )
