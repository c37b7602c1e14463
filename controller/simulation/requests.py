"""How many requests a policy needs on Railway, which limits the requests per hour."""

from __future__ import annotations

from dataclasses import dataclass

from controller.core.units import in_words
from controller.simulation.figures import Figures

HOBBY, FREE = 1000, 100
"""Requests per hour that Railway allows on these plans."""
_HOUR_S = 3600.0
_HOURS_A_DAY = 24
_AN_ACTION = 4
"""Most requests of one scale action: the count, the restart from zero, the confirming read, a cycle woken by a job."""


@dataclass(frozen=True, slots=True)
class Requests:
    """The requests that the platform allows per hour, and those that one reading every `interval_s` needs.

    source: where the number `allowed` comes from, such as a plan.
    """

    interval_s: float
    allowed: int = HOBBY
    source: str = "on its Hobby plan"

    @property
    def readings(self) -> int:
        """Readings per hour: one per cycle."""
        return round(_HOUR_S / self.interval_s)

    @property
    def most_actions(self) -> int:
        """Scale actions per hour for which the remaining requests are enough."""
        return max(0, self.allowed - self.readings) // _AN_ACTION

    @property
    def words(self) -> str:
        return (
            f"Railway allows {self.allowed:,} requests an hour {self.source}"
            f"{f' ({FREE} on the Free plan)' if self.allowed != FREE else ''}; "
            f"reading every {in_words(self.interval_s)} takes {self.readings:,}, and a scale action up to {_AN_ACTION}"
        )

    def warning(self, figures: Figures) -> str | None:
        """None if the requests are enough for every simulated hour."""
        a_day, in_an_hour = figures.per_day(figures.ups + figures.downs), figures.most_actions_an_hour
        if in_an_hour <= self.most_actions and a_day <= _HOURS_A_DAY * self.most_actions:
            return None
        return (
            f"{a_day:,.0f} scale actions a day, up to {in_an_hour:,} in one hour, are more than Railway's requests "
            f"allow: {_HOURS_A_DAY * self.most_actions:,} a day, {self.most_actions:,} in one hour. "
            "Railway would be read less often; set a longer interval, idle_off or cooldown"
        )
