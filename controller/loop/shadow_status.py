"""What a shadow policy would have, as /status, the page, the metrics and `explain` show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from controller.core.shadow import ShadowFleet
from controller.core.units import in_words, iso

_HOUR_S = 3600.0


@dataclass(frozen=True, slots=True)
class ShadowStatus:
    """desired: the workers that it would have, since `since`. reason, message: of its newest decision.

    The sums are of the counted_hours since counted_since; *_in_force: of the policy in force in the same time.
    worker_hours: by configured replicas. waiting_job_hours: of jobs for which no worker was free. implied_wait_s: the
    mean wait that follows from these; None while the time per job, or a job, is unknown.
    """

    desired: int
    reason: str
    message: str
    since: str
    counted_since: str
    counted_hours: float
    worker_hours: float
    worker_hours_in_force: float
    waiting_job_hours: float
    waiting_job_hours_in_force: float
    implied_wait_s: float | None
    implied_wait_in_force_s: float | None

    @classmethod
    def of(cls, fleet: ShadowFleet) -> Self:
        account = fleet.account

        def hours(seconds: float) -> float:
            return round(seconds / _HOUR_S, 4)

        def wait(waiting: float) -> float | None:
            seconds = account.mean_wait_s(waiting, fleet.service_s)
            return None if seconds is None else round(seconds, 3)

        return cls(
            desired=fleet.count,
            reason=fleet.reason,
            message=fleet.message,
            since=iso(fleet.since),
            counted_since=iso(account.since),
            counted_hours=hours(account.seconds),
            worker_hours=hours(account.workers),
            worker_hours_in_force=hours(account.workers_in_force),
            waiting_job_hours=hours(account.waiting),
            waiting_job_hours_in_force=hours(account.waiting_in_force),
            implied_wait_s=wait(account.waiting),
            implied_wait_in_force_s=wait(account.waiting_in_force),
        )

    @property
    def comparison(self) -> str:
        """`in 3 h: 4.2 worker-hours instead of 6.0, and jobs would have waited 12 s instead of 4 s`."""
        hours = f"{self.worker_hours:.4g} worker-hours instead of {self.worker_hours_in_force:.4g}"
        time = in_words(round(self.counted_hours * _HOUR_S))
        if self.implied_wait_s is None or self.implied_wait_in_force_s is None:
            waits = (
                f"{self.waiting_job_hours:.4g} job-hours of waiting instead of {self.waiting_job_hours_in_force:.4g}"
            )
            return f"in {time}: {hours}, and {waits}"
        wait, real = in_words(self.implied_wait_s), in_words(self.implied_wait_in_force_s)
        return f"in {time}: {hours}, and an implied wait of {wait} instead of {real}"
