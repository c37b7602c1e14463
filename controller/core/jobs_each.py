"""per_worker: one worker per N jobs, as KEDA's and Airflow's rule has it; with activation and tolerance.

The depth is pending + processing, as for tiers. activation only keeps the first worker from being started, and
tolerance only keeps a count that is nearly right. Neither changes what is recommended: each holds the count with its
own reason, so that a log shows both what the jobs want and why the count stays.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Self

from controller.core.model import Decision, workers
from controller.core.reasons import Because, Reason
from controller.core.units import as_share
from controller.policy import WorkerPolicy

_NEARLY = 1e-9


@dataclass(frozen=True, slots=True)
class JobsEach:
    """per_worker of a policy, with its defaults. each, activation: jobs; tolerance: a share, 1 being all."""

    each: int
    activation: int = 1
    tolerance: float = 0.0

    @classmethod
    def of(cls, policy: WorkerPolicy) -> Self | None:
        """None: the policy sets the number of workers in another way."""
        if policy.per_worker is None:
            return None
        return cls(policy.per_worker, policy.activation or 1, policy.tolerance or 0.0)

    @property
    def words(self) -> str:
        """`1 worker per 5 jobs, the first at 3; no change within 10% (tolerance)`."""
        first = f", the first at {self.activation}" if self.activation > 1 else ""
        tolerance = f"; no change within {as_share(self.tolerance)} (tolerance)" if self.tolerance else ""
        jobs = "1 worker per job" if self.each == 1 else f"1 worker per {self.each} jobs"
        return f"{jobs}{first}{tolerance}"

    def workers(self, depth: int) -> int:
        """For each `each` jobs one, rounded up."""
        return -(-depth // self.each)

    def enough(self, maximum: int) -> int:
        """Depth at which `maximum` workers are wanted and no tolerance holds fewer: counting further changes nothing.

        The tolerance counts: with `maximum` - 1 workers, a count that stopped within it would hold them, however many
        jobs there are.
        """
        fewer = self.each * max(0, maximum - 1)
        return max(1, self.activation, math.floor(fewer + fewer * self.tolerance + _NEARLY) + 1)

    def held(self, depth: int, decision: Decision) -> Because | None:
        """Why the count stays although the jobs want another; None: nothing holds it."""
        current = decision.current
        if not decision.changes_something:
            return None
        if not current:
            needs = f"the first worker needs {self.activation} jobs (activation)"
            return Because(Reason.ACTIVATION, needs) if depth < self.activation else None
        if not self._tolerates(depth, current):
            return None
        full = f"{self.each * current} jobs for {workers(current)}"
        return Because(Reason.TOLERANCE, f"the depth is within {as_share(self.tolerance)} of the {full} (tolerance)")

    def _tolerates(self, depth: int, current: int) -> bool:
        """As HPA has it: |depth / (each x current) - 1| is at most the tolerance.

        It is below 100 %, so it never holds a count that no job wants.
        """
        full = self.each * current
        return abs(depth - full) <= full * self.tolerance + _NEARLY
