"""How long things may take, and the inequalities without which two leaders could act at once. All in seconds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from controller.core.units import as_policy

_DRIFT = 0.01
"""Two clocks of which one runs this much faster still agree in time on who leads."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The times of the lease, and of what is done under it.

    ttl: how long Redis keeps a lease. renew: how often its holder renews it. redis_timeout: the deadline of one
    script. change_timeout: the deadline of one change asked of the platform. landing_bound: how long a change that was
    asked for may stay invisible, or land late, before it is called not honoured.
    """

    ttl: float = 15.0
    renew: float = 1.5
    redis_timeout: float = 2.0
    change_timeout: float = 5.0
    landing_bound: float = 60.0
    """The slowest known way to zero is seen within 7 s and a new deployment within 20 s; a gateway may hold
    a request for most of a minute."""

    @classmethod
    def around(
        cls,
        ttl: float = 15.0,
        *,
        renew: float | None = None,
        redis_timeout: float | None = None,
        change_timeout: float | None = None,
        landing_bound: float | None = None,
    ) -> Self:
        """What is not given follows from the lease's life, so that a short lease has short deadlines."""
        # Often: a call of a millisecond, and whatever befalls the lease or what Redis remembers is noticed as soon.
        renewed = min(1.5, ttl / 3) if renew is None else renew
        left = max(0.05, _window(ttl) - renewed)
        landing = 60.0 if landing_bound is None else landing_bound
        return cls(
            ttl=ttl,
            renew=renewed,
            redis_timeout=min(2.0, left) if redis_timeout is None else redis_timeout,
            change_timeout=min(5.0, 0.6 * left, landing) if change_timeout is None else change_timeout,
            landing_bound=landing,
        )

    @property
    def window(self) -> float:
        """How long its holder trusts a lease, from before it asked for it: less than Redis keeps it."""
        return _window(self.ttl)

    @property
    def least_left(self) -> float:
        """What must be left of the window for a change to be sent: it is over, or given up, before the lease is."""
        return self.change_timeout + self._slack

    @property
    def _slack(self) -> float:
        """Between the last look at the lease and the moment when a request is given up."""
        return min(0.2, self.ttl / 50)

    @property
    def retry(self) -> float:
        """The pause after Redis did not answer."""
        return min(1.0, self.ttl / 10)

    @property
    def poll(self) -> float:
        """How often a standby looks: also how long it may take to see that the lease was given back."""
        return min(1.5, self.ttl / 5)

    @property
    def survivors_wait(self) -> float:
        """How long a newcomer leaves an empty Redis to those who may remember what it held.

        A standby looks once a poll; a leader only when it renews its lease.
        """
        return 1.25 * max(self.poll, self.renew) + 0.25

    def problems(self, variable: str = "change_timeout") -> Iterator[tuple[str, str]]:
        """The inequalities that do not hold: the variable to change first, and the fix.

        variable: the one that sets change_timeout; the platform names it.
        """
        left = self.window - self.renew
        if self.renew + self.redis_timeout > self.window + 1e-9:
            both, window = self.renew + self.redis_timeout, self.window
            fix = f"a lease of {as_policy(self.ttl)} is trusted for {as_policy(window)}, and they are {as_policy(both)}"
            yield "LEASE_RENEW_MS", f"and REDIS_TIMEOUT_MS are too long together: {fix}"
        elif self.least_left > left + 1e-9:
            most = max(0.0, left - self._slack)
            fix = f"not {as_policy(self.change_timeout)}; lower it, or raise LEASE_TTL_MS"
            lease = f"a lease of {as_policy(self.ttl)} that is renewed every {as_policy(self.renew)}"
            yield variable, f"may be at most {as_policy(most)} with {lease}, {fix}"
        if self.landing_bound < self.change_timeout:
            yield "LANDING_BOUND_MS", f"may not be below {variable}, which is {as_policy(self.change_timeout)}"


def _window(ttl: float) -> float:
    return ttl * (1 - _DRIFT) - min(1.0, ttl / 10)
