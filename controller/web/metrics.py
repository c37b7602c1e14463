"""What /metrics says, as JSON and in the Prometheus text format. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.core.ports import Source
from controller.loop.faults import CONDITIONS
from controller.web.health import Shown, failing_since, totals


def metrics_body(shown: Shown) -> dict[str, Any]:
    sums = totals(shown)
    return {
        "workers_current": sums.running,
        "workers_max": sums.max_workers,
        "queue_pending": sums.pending,
        "queue_processing": sums.processing,
        "rpm_used": sums.rpm_used,
        "rpm_limit": sums.rpm_limit,
    }


METRICS: Mapping[str, tuple[str, str]] = {
    "autoscaler_replicas_configured": ("gauge", "Replicas that the platform was last asked for."),
    "autoscaler_replicas_running": ("gauge", "Replicas that run."),
    "autoscaler_replicas_recommended": (
        "gauge",
        "Replicas that the tier or the target wait says.",
    ),
    "autoscaler_replicas_desired": ("gauge", "Replicas that are wanted after every rule."),
    "autoscaler_replicas_max": ("gauge", "max_replicas of the policy."),
    "autoscaler_queue_pending_jobs": ("gauge", "Jobs that may be claimed now."),
    "autoscaler_queue_processing_jobs": ("gauge", "Jobs that are being worked on."),
    "autoscaler_queue_stale_jobs": ("gauge", "Jobs that were claimed and that nobody works on any more."),
    "autoscaler_queue_oldest_age_seconds": ("gauge", "How long the oldest ready job has waited."),
    "autoscaler_rpm_used": ("gauge", "Requests that the workers counted in this minute."),
    "autoscaler_rpm_limit": ("gauge", "Requests a minute that all workers together may make."),
    "autoscaler_observation_age_seconds": ("gauge", "Age of the numbers above."),
    "autoscaler_failing": (
        "gauge",
        "1 where a dependency cannot be reached, 0 where it answers; 1 while a worker's service has a fault.",
    ),
    "autoscaler_cycles_total": ("counter", "Cycles of this replica, by outcome."),
    "autoscaler_scales_total": ("counter", "Changes of the count that this replica applied, by direction."),
    "autoscaler_is_leader": ("gauge", "1 where this replica leads."),
    "autoscaler_lease_epoch": ("gauge", "Epoch of the lease that this replica holds."),
    "autoscaler_log_lines_lost_total": ("counter", "Lines of the log that its output did not take."),
    "autoscaler_railway_requests_used": ("gauge", "Requests that this replica sent to Railway within its window."),
    "autoscaler_railway_requests_quota": ("gauge", "Requests that Railway allows within its window."),
}
"""Name, type and help of every metric of the Prometheus text."""

_FROM_STATUS = {
    "autoscaler_replicas_configured": "configured",
    "autoscaler_replicas_running": "running",
    "autoscaler_replicas_recommended": "recommended",
    "autoscaler_replicas_desired": "desired",
    "autoscaler_replicas_max": "max_workers",
    "autoscaler_queue_pending_jobs": "pending",
    "autoscaler_queue_processing_jobs": "processing",
    "autoscaler_queue_stale_jobs": "stale",
    "autoscaler_queue_oldest_age_seconds": "oldest_age_s",
    "autoscaler_rpm_used": "rpm_used",
    "autoscaler_rpm_limit": "rpm_limit",
}


def prometheus_text(shown: Shown) -> str:
    """The text format 0.0.4. A figure that was never read has no sample: absent is not 0."""
    samples = _samples(shown)
    lines: list[str] = []
    for name, (kind, help_text) in METRICS.items():
        found = samples.get(name, [])
        if found:
            lines += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{labels} {value:.15g}" for labels, value in found]
    return "\n".join(lines) + "\n"


def _samples(shown: Shown) -> dict[str, list[tuple[str, float]]]:
    status, lease = shown.status, shown.leadership.lease
    leads = lease is not None and not shown.dry_run
    samples: dict[str, list[tuple[str, float]]] = {"autoscaler_is_leader": [("", float(leads))]}
    if lease is not None and leads:
        samples["autoscaler_lease_epoch"] = [("", float(lease.epoch))]
    samples["autoscaler_log_lines_lost_total"] = [("", float(shown.lost_lines()))]
    requests = shown.requests()
    if requests is not None:
        samples["autoscaler_railway_requests_used"] = [("", float(requests.used))]
        samples["autoscaler_railway_requests_quota"] = [("", float(requests.quota))]
    faults = failing_since(shown)
    samples["autoscaler_failing"] = [(f'{{source="{source}"}}', float(source in faults)) for source in Source]
    samples["autoscaler_failing"] += [
        (f'{{source="{name}",worker="{shown.mask.text(worker)}"}}', 1.0)
        for worker in shown.policy.workers
        for name in CONDITIONS
        if name in status.failing.get(worker, {})
    ]
    for name_of, last in status.workers.items():
        worker = shown.mask.text(name_of)
        for name, key in _FROM_STATUS.items():
            figure = getattr(last, key)
            if figure is not None:
                samples.setdefault(name, []).append((f'{{worker="{worker}"}}', float(figure)))
        age = status.age(name_of)
        if age is not None:
            samples.setdefault("autoscaler_observation_age_seconds", []).append((f'{{worker="{worker}"}}', age))
    for (worker, outcome), count in sorted(status.outcomes.items()):
        label = f'{{worker="{shown.mask.text(worker)}",outcome="{outcome}"}}'
        samples.setdefault("autoscaler_cycles_total", []).append((label, float(count)))
    for (worker, direction), count in sorted(status.scales.items()):
        label = f'{{worker="{shown.mask.text(worker)}",direction="{direction}"}}'
        samples.setdefault("autoscaler_scales_total", []).append((label, float(count)))
    return samples
