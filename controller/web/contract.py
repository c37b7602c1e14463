"""The JSON of /metrics, whose keys are a contract: sums over the workers of the policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controller.web.health import Shown, Totals, totals

KEYS: Mapping[str, Callable[[Totals], int | None]] = {
    "workers_current": lambda sums: sums.running,
    "workers_max": lambda sums: sums.max_workers,
    "queue_pending": lambda sums: sums.pending,
    "queue_processing": lambda sums: sums.processing,
    "rpm_used": lambda sums: sums.rpm_used,
    "rpm_limit": lambda sums: sums.rpm_limit,
}


def metrics_body(shown: Shown) -> dict[str, int | None]:
    """The promised keys; null while a worker of the sum was not read yet."""
    sums = totals(shown)
    return {key: total(sums) for key, total in KEYS.items()}
