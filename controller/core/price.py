"""What a worker costs while it runs. Pure."""

from __future__ import annotations

from dataclasses import dataclass

MONTH_S = 43_200 * 60.0
"""Railway's month."""
_GB_MONTH, _CPU_MONTH = 10.0, 20.0
"""Railway's prices in dollars, of a GB of memory and of a vCPU."""


@dataclass(frozen=True, slots=True)
class Price:
    """What one worker uses on Railway while it is paid for.

    an_hour: dollars of one worker for an hour, instead of what it uses; None: by Railway's prices.
    """

    memory_gb: float = 0.5
    cpu: float = 0.25
    an_hour: float | None = None

    @property
    def per_second(self) -> float:
        if self.an_hour is not None:
            return self.an_hour / 3600
        return (self.memory_gb * _GB_MONTH + self.cpu * _CPU_MONTH) / MONTH_S
