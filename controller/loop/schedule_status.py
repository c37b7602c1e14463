"""The schedule that is on, as /status, the page and `explain` show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from controller.core.schedule import in_force, on_words
from controller.core.units import iso
from controller.policy import WorkerPolicy


@dataclass(frozen=True, slots=True)
class ScheduleStatus:
    """min_replicas, max_replicas: None where the schedule leaves the policy's own. until: None: after 8 days."""

    cron: str
    timezone: str
    min_replicas: int | None
    max_replicas: int | None
    until: str | None
    message: str

    @classmethod
    def of(cls, policy: WorkerPolicy, now: float) -> Self | None:
        """None: the policy has no schedule, or none is on."""
        if not policy.schedules:
            return None
        stretch = in_force(policy.schedules, now)
        if stretch.place is None:
            return None
        one = policy.schedules[stretch.place]
        return cls(
            cron=one.cron,
            timezone=one.timezone,
            min_replicas=one.min_replicas,
            max_replicas=one.max_replicas,
            until=None if stretch.until is None else iso(stretch.until),
            message=on_words(one, stretch.until, now),
        )
