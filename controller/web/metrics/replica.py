"""What each replica knows of itself: its cycles, its calls, its lease, its policy, its log. Each replica shows these.

A counter has what this replica did since it started. So sum(rate(…)) over the replicas is right, whichever of them led.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from controller.core.model import Direction
from controller.loop.counts import with_zeros
from controller.loop.cycle import Outcome
from controller.web.health import Shown, failing_since
from controller.web.metrics.model import Metric, Sample, by_worker, counted, one


def _outcomes(shown: Shown) -> dict[tuple[str, str], int]:
    keys = ((worker, outcome.value) for worker in shown.policy.workers for outcome in Outcome)
    return with_zeros(shown.status.counts.outcomes, keys)


def _scales(shown: Shown) -> dict[tuple[str, str], int]:
    directions = (Direction.UP.value, Direction.DOWN.value)
    return with_zeros(
        shown.status.counts.scales, ((worker, to) for worker in shown.policy.workers for to in directions)
    )


def leads(shown: Shown) -> bool:
    """A dry run holds a lease that no other replica knows of, and changes nothing."""
    return shown.leadership.lease is not None and not shown.dry_run


def _epoch(shown: Shown) -> int | None:
    lease = shown.leadership.lease
    return lease.epoch if lease is not None and leads(shown) else None


def _dependencies(shown: Shown) -> Iterator[Sample]:
    """Of each that this replica calls. A standby calls only the journal, the last of them."""
    leadership, (*of_the_leader, journal) = shown.leadership, shown.status.sources
    if leadership.fault is not None or leadership.leader is not None or leadership.lease is not None:
        yield Sample(leadership.fault is None, {"dependency": journal})
    if leadership.lease is None and not (leadership.fault is not None and leadership.has_led):
        return
    faults = failing_since(shown)
    for source in of_the_leader:
        if source in faults or source in shown.status.counts.answered:
            yield Sample(source not in faults, {"dependency": source})


def _costs(shown: Shown) -> dict[str, float]:
    """By worker, in dollars; only of workers whose policy says what one of them uses."""
    sizes = {name: worker.worker_size for name, worker in shown.policy.workers.items()}
    seconds = shown.status.counts.worker_seconds
    return {name: seconds[name] * size.price.per_second for name, size in sizes.items() if size and name in seconds}


def _calls(shown: Shown) -> Iterator[Sample]:
    for dependency, seconds in sorted(shown.status.counts.calls.items()):
        yield Sample(seconds, {"dependency": dependency})


def _platform_requests(shown: Shown) -> Iterator[Sample]:
    for (operation, result), count in sorted(shown.sent().items()):
        yield Sample(count, {"operation": operation, "result": result})


def _quota(shown: Shown) -> int | None:
    requests = shown.requests()
    return None if requests is None else requests.quota


def _quota_left(shown: Shown) -> int | None:
    requests = shown.requests()
    return None if requests is None else max(0, requests.quota - requests.used)


def _quota_used(shown: Shown) -> int | None:
    requests = shown.requests()
    return None if requests is None else requests.used


def _notifications(shown: Shown) -> Iterator[Sample]:
    for target in shown.notifications():
        for result, count in target.results.items():
            yield Sample(count, {"target": target.name, "result": result})


def _policy_info(shown: Shown) -> Iterator[Sample]:
    yield Sample(1, {"hash": shown.digest})


@functools.cache
def our_version() -> str:
    try:
        return version("worker-autoscaler")
    except PackageNotFoundError:
        return "unknown"


def _build_info(_: Shown) -> Iterator[Sample]:
    yield Sample(1, {"version": our_version(), "python_version": platform.python_version()})


OWN = (
    Metric(
        "autoscaler_outcome_total",
        "counter",
        "cycles",
        "Cycles of this replica, by worker and outcome.",
        counted(_outcomes, "outcome"),
        ("worker", "outcome"),
        {"autoscaler_cycles_total": {}},
    ),
    Metric(
        "autoscaler_scale_total",
        "counter",
        "changes",
        "Changes of the count that this replica applied, by worker and direction.",
        counted(_scales, "direction"),
        ("worker", "direction"),
        {"autoscaler_scales_total": {}},
    ),
    Metric(
        "autoscaler_held_total",
        "counter",
        "cycles",
        "Cycles of this replica that left the count as it was, by worker and the reason that decided.",
        counted(lambda shown: shown.status.counts.holds, "reason"),
        ("worker", "reason"),
    ),
    Metric(
        "autoscaler_cycle_duration_seconds",
        "histogram",
        "seconds",
        "How long the cycles of this replica took, of all workers together.",
        one(lambda shown: shown.status.counts.cycles),
    ),
    Metric(
        "autoscaler_loop_lag_seconds",
        "gauge",
        "seconds",
        "How much longer than the interval the loop has not turned. A cycle that takes 2 s makes it 2 at most; more "
        "than 120 means that the loop stands still.",
        one(lambda shown: shown.status.lag_s),
    ),
    Metric(
        "autoscaler_last_success_timestamp_seconds",
        "gauge",
        "seconds",
        "When this replica last ended a cycle of the worker that did not fail, in seconds since the epoch.",
        by_worker(lambda shown: shown.status.counts.last_success),
        ("worker",),
    ),
    Metric(
        "autoscaler_worker_seconds_total",
        "counter",
        "seconds",
        "Seconds times running workers, while this replica led.",
        by_worker(lambda shown: shown.status.counts.worker_seconds),
        ("worker",),
    ),
    Metric(
        "autoscaler_cost_dollars_total",
        "counter",
        "dollars",
        "These seconds at the price of the worker's `worker_size` in the policy in force; no sample without one.",
        by_worker(_costs),
        ("worker",),
    ),
    Metric(
        "autoscaler_job_wait_seconds",
        "histogram",
        "seconds",
        "How long jobs waited, from when they could be taken until a worker took them, of the jobs that ended while "
        "this replica led; at most 500 a minute. Only with target_wait or slo, where the table has these times.",
        by_worker(lambda shown: shown.status.counts.waits),
        ("worker",),
    ),
    Metric("autoscaler_is_leader", "gauge", "0 or 1", "1 if this replica leads.", one(leads)),
    Metric("autoscaler_lease_epoch", "gauge", "epoch", "Epoch of the lease that this replica holds.", one(_epoch)),
    Metric(
        "autoscaler_dependency_up",
        "gauge",
        "0 or 1",
        "1 if the dependency answered this replica's last call, 0 if not; no sample of one that it does not call, and "
        "a standby calls only Redis.",
        _dependencies,
        ("dependency",),
    ),
    Metric(
        "autoscaler_dependency_duration_seconds",
        "histogram",
        "seconds",
        "How long the calls to a dependency took that cycles wait for, also those that failed.",
        _calls,
        ("dependency",),
    ),
    Metric(
        "autoscaler_platform_requests_total",
        "counter",
        "requests",
        "Requests that this replica sent to the platform, by operation and result: ok, refused, throttled (HTTP 429), "
        "failed (no answer, or none that can be used).",
        _platform_requests,
        ("operation", "result"),
    ),
    Metric(
        "autoscaler_platform_quota",
        "gauge",
        "requests",
        "Requests that the platform allows within its window.",
        one(_quota),
        was={"autoscaler_railway_requests_quota": {}},
    ),
    Metric(
        "autoscaler_platform_quota_remaining",
        "gauge",
        "requests",
        "Requests that are left to this replica within the window.",
        one(_quota_left),
    ),
    Metric(
        "autoscaler_policy_info",
        "gauge",
        "always 1",
        "By hash: the policy that this replica goes by; replicas of one group should have the same.",
        _policy_info,
        ("hash",),
    ),
    Metric(
        "autoscaler_policy_loaded_timestamp_seconds",
        "gauge",
        "seconds",
        "When this replica read its policy, in seconds since the epoch.",
        one(lambda shown: shown.loaded_at),
    ),
    Metric(
        "autoscaler_policy_refused",
        "gauge",
        "0 or 1",
        "1 while the policy's file was changed and cannot be used, so that an older one is in force.",
        one(lambda shown: shown.refusal is not None),
    ),
    Metric(
        "autoscaler_log_lines_lost_total",
        "counter",
        "lines",
        "Log lines that the output did not take.",
        one(lambda shown: shown.lost_lines()),
    ),
    Metric(
        "autoscaler_notifications_total",
        "counter",
        "notifications",
        "Notifications of this replica, by target and result: sent, failed, dropped, left_out.",
        _notifications,
        ("target", "result"),
    ),
    Metric(
        "autoscaler_build_info",
        "gauge",
        "always 1",
        "By version and python_version: what this replica runs.",
        _build_info,
        ("version", "python_version"),
    ),
)

OF_BEFORE = (
    Metric(
        "autoscaler_railway_requests_used",
        "gauge",
        "requests",
        "Deprecated: use autoscaler_platform_quota - autoscaler_platform_quota_remaining.",
        one(_quota_used),
        instead="autoscaler_platform_quota - autoscaler_platform_quota_remaining",
    ),
)
"""Rows that are no other row under another name."""
