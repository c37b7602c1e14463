"""The times of a run, scaled down so that a fault and its aftermath fit into seconds, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass

TIERS = ((0, 0), (10, 1), (30, 2), (60, 3), (100, 4))
"""Of the shipped policy; beyond the last, the maximum."""


@dataclass(frozen=True)
class Pace:
    """Seconds. Production's 15, 10, 30, 120 and 60, scaled so that a take-over still ends within a cooldown."""

    ttl: float = 3.0
    interval: float = 0.5
    up: float = 5.0
    down: float = 8.0
    landing: float = 6.0
    redis_timeout: float = 0.5
    change_timeout: float = 1.0
    minimum: int = 0
    maximum: int = 5

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LEASE_TTL_MS": _ms(self.ttl),
            "LEASE_RENEW_MS": _ms(self.ttl / 3),
            "POLL_INTERVAL_MS": _ms(self.interval),
            "SCALE_UP_COOLDOWN_MS": _ms(self.up),
            "SCALE_DOWN_COOLDOWN_MS": _ms(self.down),
            "LANDING_BOUND_MS": _ms(self.landing),
            "REDIS_TIMEOUT_MS": _ms(self.redis_timeout),
            "RAILWAY_TIMEOUT_MS": _ms(self.change_timeout),
            "MIN_WORKERS": str(self.minimum),
            "MAX_WORKERS": str(self.maximum),
        }

    def wanted(self, depth: int) -> int:
        """What the policy wants at this depth, cooldowns aside."""
        tier = next((replicas for up_to, replicas in TIERS if depth <= up_to), self.maximum)
        return max(self.minimum, min(self.maximum, tier))

    @property
    def settled_within(self) -> float:
        """From the last healing to the count that the policy wants."""
        return 2 * self.ttl + self.landing + self.up + self.down + 8 * self.interval

    @property
    def take_over_after_a_kill(self) -> float:
        return self.ttl + 2.0 + self.grace

    @property
    def take_over_after_a_term(self) -> float:
        return 2.0 + self.grace

    @property
    def memory_of_demand(self) -> float:
        """How old the reading behind a change may be: a paused leader may act on one for as long as its lease lasts."""
        return 2 * self.ttl

    turned_away: float = 30.0
    """How long a client stays away that is told HTTP 429 and nothing else; it is not scaled down."""
    grace: float = 0.0
    """What a machine that is busy with other things may add to a take-over."""
    slack: float = 0.5
    """Two things seen by the harness within so much time may have happened in the other order."""
    tolerance: float = 0.05
    """Redis counts in whole milliseconds, and a change is applied a moment after it was granted."""


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))
