"""The times of a run, scaled down so that a fault and its aftermath fit into seconds, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from controller.core.wanted import tier_replicas
from controller.policy import WorkerPolicy, load_policy

POLICY = Path(__file__).parents[2] / "policy.yaml"
WORKER = "generation-worker"


@dataclass(frozen=True)
class Pace:
    """Seconds. Production's 15, 10, 30, 120 and 60, scaled so that a take-over still ends within a cooldown.

    grace: what a machine that is busy with other things may add to a take-over and to a recovery.
    """

    ttl: float = 3.0
    interval: float = 0.5
    up: float = 5.0
    down: float = 8.0
    landing: float = 6.0
    redis_timeout: float = 0.5
    change_timeout: float = 1.0
    grace: float = 4.0

    @property
    def environment(self) -> dict[str, str]:
        seconds = {
            "LEASE_TTL_MS": self.ttl,
            "LEASE_RENEW_MS": self.ttl / 3,
            "POLL_INTERVAL_MS": self.interval,
            "SCALE_UP_COOLDOWN_MS": self.up,
            "SCALE_DOWN_COOLDOWN_MS": self.down,
            "LANDING_BOUND_MS": self.landing,
            "REDIS_TIMEOUT_MS": self.redis_timeout,
            "RAILWAY_TIMEOUT_MS": self.change_timeout,
        }
        return {name: str(round(value * 1000)) for name, value in seconds.items()}

    @cached_property
    def policy(self) -> WorkerPolicy:
        """The shipped one with these cooldowns."""
        known = {"RAILWAY_WORKER_SERVICE_ID": "service", **self.environment}
        return load_policy(POLICY.read_text(encoding="utf-8"), known)[0].workers[WORKER]

    def wanted(self, depth: int) -> int:
        """What the policy wants at this depth, cooldowns aside."""
        return max(self.policy.min_replicas, min(self.policy.max_replicas, tier_replicas(self.policy, depth)))

    @property
    def settled_within(self) -> float:
        """From the last healing to the count that the policy wants."""
        return 2 * self.ttl + self.landing + self.up + self.down + 8 * self.interval + self.grace

    def taken_over_within(self, cause: str) -> float:
        return (self.ttl if cause == "kill" else 0.0) + 2.0 + self.grace

    started: float = 2.0
    """After this long a controller is ready to take over."""
    slack: float = 0.5
    """Two things that the harness sees within this time may have happened in the other order."""
    tolerance: float = 0.05
    """Redis counts in whole milliseconds, and a change is applied a moment after it was granted."""
