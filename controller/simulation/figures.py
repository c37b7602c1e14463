"""The figures of a run, each with its formula.

W is the work: the sum of the service times, divided by the jobs that one worker runs at once. J(v) is the total cost if
one second of avoidable waiting of a job costs as much as v worker-seconds: J(v) = paid + v x the sum of the avoidable
waits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from controller.core.price import MONTH_S, Price
from controller.simulation.account import Account
from controller.simulation.waits import Waits

_DAY_S = 86_400.0
_HOUR_S = 3_600.0
WORTHS = (0.05, 0.2, 1.0)
"""v: worker-seconds that a job's second of waiting is worth; 0.05 is 3 worker-minutes for a job-hour, 1 is equal."""

PER_WORTH = {
    "unit": "worker-seconds paid or waited for, for each worker-second of work",
    "by": "v, the worker-seconds that a job's second of waiting is worth",
}
"""The unit and the parameter of all figures that depend on v."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The distribution of waits, in seconds."""

    mean: float
    p50: float
    p95: float
    p99: float
    longest: float
    total: float

    @classmethod
    def of(cls, waits: Waits) -> Spread:
        p50, p95, p99 = (waits.percentile(share) for share in (0.5, 0.95, 0.99))
        return cls(waits.mean, p50, p95, p99, waits.longest, waits.total)

    def as_object(self) -> dict[str, float]:
        return {
            "mean_s": _rounded(self.mean),
            "p50_s": _rounded(self.p50),
            "p95_s": _rounded(self.p95),
            "p99_s": _rounded(self.p99),
            "max_s": _rounded(self.longest),
            "total_s": _rounded(self.total),
        }


@dataclass(frozen=True, slots=True)
class Elasticity:
    """SPEC's elasticity metrics (Herbst, Krebs et al., SPEC-RG-2016-01) of ready workers s and demand d.

    d is the demand of the capped FIFO schedule. under, over: accuracy, the mean shortage and surplus in workers; theta:
    the same as a share of max(d, 1), in per cent; tau: the share of the time with a shortage or a surplus, in per cent.
    """

    under: float
    over: float
    theta_under: float
    theta_over: float
    tau_under: float
    tau_over: float

    @classmethod
    def of(cls, together: Mapping[int, Sequence[float]]) -> Elasticity:
        """`together`: seconds by the number of ready workers (key) and of needed ones (index)."""
        cells = [(ready, needed, s) for ready, row in together.items() for needed, s in enumerate(row) if s > 0]
        whole = sum(seconds for _, _, seconds in cells) or 1.0

        def mean(of: list[float]) -> float:
            return sum(of) / whole

        return cls(
            mean([max(0, needed - ready) * s for ready, needed, s in cells]),
            mean([max(0, ready - needed) * s for ready, needed, s in cells]),
            100 * mean([max(0, needed - ready) / max(needed, 1) * s for ready, needed, s in cells]),
            100 * mean([max(0, ready - needed) / max(needed, 1) * s for ready, needed, s in cells]),
            100 * mean([s for ready, needed, s in cells if ready < needed]),
            100 * mean([s for ready, needed, s in cells if ready > needed]),
        )

    def as_object(self) -> dict[str, float]:
        return {
            "under_workers": _rounded(self.under),
            "over_workers": _rounded(self.over),
            "theta_under_percent": _rounded(self.theta_under),
            "theta_over_percent": _rounded(self.theta_over),
            "tau_under_percent": _rounded(self.tau_under),
            "tau_over_percent": _rounded(self.tau_over),
        }


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one policy on one workload. Times in seconds, money in dollars, shares from 0 to 1.

    span_s: length of the workload; end_s: when the last job was done.
    """

    name: str
    jobs: int
    unfinished: int
    span_s: float
    end_s: float
    work_s: float
    paid_s: float
    dollars: float
    waits: Spread
    avoidable: Spread
    slo_s: float
    late: int
    weighted_wait_s: float
    ups: int
    downs: int
    starts: int
    flaps: int
    most_actions_an_hour: int
    start_up_s: float
    at_zero: float
    at_cap: float
    most: int
    cap: int
    lost_s: float
    given_back: int
    elasticity: Elasticity
    is_clairvoyant: bool = False

    @classmethod
    def of(
        cls,
        name: str,
        account: Account,
        *,
        concurrency: int,
        start_up_s: float,
        slo_s: float,
        price: Price,
        span_s: float,
    ) -> Figures:
        end = account.end_s or 1.0
        return cls(
            name=name,
            jobs=account.jobs,
            unfinished=account.unfinished,
            span_s=span_s,
            end_s=account.end_s,
            work_s=account.work_s / concurrency,
            paid_s=account.paid_s,
            dollars=account.paid_s * price.per_second,
            waits=Spread.of(account.waits),
            avoidable=Spread.of(account.excess),
            slo_s=slo_s,
            late=account.waits.over(slo_s),
            weighted_wait_s=account.weighted_wait / account.work_s if account.work_s else 0.0,
            ups=account.ups,
            downs=account.downs,
            starts=account.starts,
            flaps=account.flaps,
            most_actions_an_hour=account.most_actions_an_hour,
            start_up_s=start_up_s,
            at_zero=account.at_zero_s / end,
            at_cap=account.at_cap_s / end,
            most=account.most_paid,
            cap=account.cap,
            lost_s=account.lost_s,
            given_back=account.given_back,
            elasticity=Elasticity.of(account.together),
        )

    @property
    def cost_over_work(self) -> float:
        return self.paid_s / self.work_s if self.work_s else 0.0

    @property
    def dollars_a_month(self) -> float:
        """The cost of one month at the workload's rate of jobs."""
        return self.dollars * MONTH_S / self.span_s if self.span_s else 0.0

    @property
    def late_share(self) -> float:
        return self.late / (self.jobs + self.unfinished) if self.jobs + self.unfinished else 0.0

    def per_day(self, count: float) -> float:
        return count * _DAY_S / self.end_s if self.end_s else 0.0

    def worth(self, value: float) -> float:
        """J(v) / W; infinite if a job was not done, or if there was no work."""
        if self.unfinished or not self.work_s:
            return math.inf
        return (self.paid_s + value * self.avoidable.total) / self.work_s

    def as_object(self) -> dict[str, Any]:
        """For --json; the keys contain the units."""
        return {
            "name": self.name,
            "jobs": self.jobs,
            "unfinished_jobs": self.unfinished,
            "span_s": _rounded(self.span_s),
            "end_s": _rounded(self.end_s),
            "work_s": _rounded(self.work_s),
            "worker_hours": _rounded(self.paid_s / _HOUR_S),
            "paid_s": _rounded(self.paid_s),
            "dollars": _rounded(self.dollars),
            "dollars_a_month": _rounded(self.dollars_a_month),
            "cost_over_work": _rounded(self.cost_over_work),
            "utilisation": _rounded(self.work_s / self.paid_s) if self.paid_s else None,
            "wait": self.waits.as_object(),
            "avoidable_wait": self.avoidable.as_object(),
            "work_weighted_wait_s": _rounded(self.weighted_wait_s),
            "slo_s": self.slo_s,
            "late_jobs": self.late,
            "late_share": _rounded(self.late_share),
            "scale_ups": self.ups,
            "scale_downs": self.downs,
            "actions_a_day": _rounded(self.per_day(self.ups + self.downs)),
            "most_actions_an_hour": self.most_actions_an_hour,
            "starts": self.starts,
            "starts_a_day": _rounded(self.per_day(self.starts)),
            "start_up_cost_s": _rounded(self.starts * self.start_up_s),
            "flaps": self.flaps,
            "share_at_zero": _rounded(self.at_zero),
            "share_at_cap": _rounded(self.at_cap),
            "most_workers": self.most,
            "max_workers": self.cap,
            "lost_work_s": _rounded(self.lost_s),
            "given_back_jobs": self.given_back,
            "elasticity": self.elasticity.as_object(),
            "J": {f"{value:g}": _known(self.worth(value)) for value in WORTHS},
            "J_counts": {
                "what": "paid worker-seconds plus avoidable waits; each second of each job counts the same",
                "formula": "(paid_s + v * avoidable_wait.total_s) / work_s",
                **PER_WORTH,
            },
            "clairvoyant": self.is_clairvoyant,
        }


def _known(value: float) -> float | None:
    return _rounded(value) if math.isfinite(value) else None


def _rounded(value: float) -> float:
    """Rounded to 6 decimals: more than a reader needs, and without floating-point noise."""
    return round(value, 6)
