"""What a worker costs while it runs. Pure."""

from __future__ import annotations

from dataclasses import dataclass

MONTH_S = 43_200 * 60.0
"""A month as a platform that bills by use has it."""
_GB_MONTH, _CPU_MONTH = 10.0, 20.0
"""The usual prices in dollars, of a GB of memory and of a vCPU; see docs/budget.md."""


@dataclass(frozen=True, slots=True)
class Price:
    """What one worker uses while it is paid for.

    an_hour: dollars of one worker for an hour, instead of what it uses; None: by the prices above.
    """

    memory_gb: float = 0.5
    cpu: float = 0.25
    an_hour: float | None = None

    @property
    def words(self) -> str:
        """`0.5 GB and 0.25 vCPU`, or `$0.012 an hour`."""
        if self.an_hour is not None:
            return f"${self.an_hour:.6g} an hour"
        return f"{self.memory_gb:g} GB and {self.cpu:g} vCPU"

    @property
    def per_second(self) -> float:
        if self.an_hour is not None:
            return self.an_hour / 3600
        return (self.memory_gb * _GB_MONTH + self.cpu * _CPU_MONTH) / MONTH_S
