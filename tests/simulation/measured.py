"""The plain way to what the simulator measures step by step."""

from __future__ import annotations

from collections.abc import Sequence

from controller.core.model import Finished, LongRun, ServiceTime
from controller.simulation.measured import MEASURED_JOBS


def plainly_measured(services: Sequence[float]) -> ServiceTime | None:
    """The longer of two means: of all jobs, and of the newest."""
    newest = ServiceTime.measured([Finished(0.0, one) for one in services[-MEASURED_JOBS:]])
    return newest and LongRun(sum(services) / len(services), len(services), 0.0).with_newest(newest)
