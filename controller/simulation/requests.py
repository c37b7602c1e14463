"""How many requests a policy would cost on Railway, which allows so many an hour."""

from __future__ import annotations

from dataclasses import dataclass

from controller.core.units import in_words
from controller.simulation.figures import Figures

HOBBY, FREE = 1000, 100
"""Requests an hour that Railway allows on these plans."""
_HOUR_S = 3600.0
_HOURS_A_DAY = 24
_AN_ACTION = 4
"""Requests of a scale action at most: the count, the restart from zero, the reading back, the cycle that a job woke."""


@dataclass(frozen=True, slots=True)
class Requests:
    """What the platform allows in an hour, and what reading every `interval_s` takes of it.

    source: whose number `allowed` is.
    """

    interval_s: float
    allowed: int = HOBBY
    source: str = "on its Hobby plan"

    @property
    def readings(self) -> int:
        """In an hour, one a cycle."""
        return round(_HOUR_S / self.interval_s)

    @property
    def most_actions(self) -> int:
        """Scale actions in an hour for which requests are left."""
        return max(0, self.allowed - self.readings) // _AN_ACTION

    @property
    def words(self) -> str:
        return (
            f"Railway allows {self.allowed:,} requests an hour {self.source}"
            f"{f' ({FREE} on the Free plan)' if self.allowed != FREE else ''}; "
            f"reading every {in_words(self.interval_s)} takes {self.readings:,}, and a scale action up to {_AN_ACTION}"
        )

    def warning(self, figures: Figures) -> str | None:
        """None where the requests are enough for every hour that was simulated."""
        a_day, in_an_hour = figures.per_day(figures.ups + figures.downs), figures.most_actions_an_hour
        if in_an_hour <= self.most_actions and a_day <= _HOURS_A_DAY * self.most_actions:
            return None
        return (
            f"{a_day:,.0f} scale actions a day, up to {in_an_hour:,} in one hour, are more than Railway's requests "
            f"allow: {_HOURS_A_DAY * self.most_actions:,} a day, {self.most_actions:,} in one hour. "
            "Railway would be read less often; write a longer interval, idle_off or cooldown"
        )
