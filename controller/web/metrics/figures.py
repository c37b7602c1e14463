"""What is known of the workers: their queues, replicas and faults. Only the leader shows these rows.

A standby has the leader's figures too, a moment older. If it exported them, sum() over the replicas would count each
job twice, and max() could show a figure that the leader has replaced. So a rule or a dashboard needs no selector, and
at a takeover the series of the old leader end and those of the new one begin. See exposition.shows_figures().
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from controller.core.budget import ALL
from controller.loop.budget_status import BudgetStatus
from controller.loop.faults import CONDITIONS
from controller.loop.pool_status import PoolStatus
from controller.loop.shadow_status import ShadowStatus
from controller.web.health import Shown, failing_since
from controller.web.metrics.model import Metric, Sample, each_queue, each_worker, of_each_worker

_HOUR_S = 3600.0


def _age(shown: Shown) -> Iterator[Sample]:
    for name in shown.status.workers:
        age = shown.status.age(name)
        if age is not None:
            yield Sample(age, {"worker": shown.mask.text(name)})


def _faults(shown: Shown) -> Iterator[Sample]:
    for worker in shown.policy.workers:
        for name in CONDITIONS:
            if name in shown.status.failing.get(worker, {}):
                yield Sample(1, {"worker": shown.mask.text(worker), "reason": name})


def _failing(shown: Shown) -> Iterator[Sample]:
    faults = failing_since(shown)
    for source in shown.status.sources:
        yield Sample(source in faults, {"source": source})
    for value, labels in _faults(shown):
        yield Sample(value, {"source": labels["reason"], "worker": labels["worker"]})


def _overrides(shown: Shown) -> Iterator[Sample]:
    for name, last in shown.status.workers.items():
        for override in last.overrides or ():
            left = max(0.0, override.left_s - (shown.status.age(name) or 0.0))
            yield Sample(left, {"worker": shown.mask.text(name), "override": override.override})


def _shadows(figure: Callable[[ShadowStatus], Mapping[str, float | None]]) -> Callable[[Shown], Iterator[Sample]]:
    """A sample for each worker with a shadow, and for each policy of the figure: shadow and in_force."""

    def samples(shown: Shown) -> Iterator[Sample]:
        for name, last in shown.status.workers.items():
            for policy, value in ({} if last.shadow is None else figure(last.shadow)).items():
                if value is not None:
                    yield Sample(value, {"worker": shown.mask.text(name), "policy": policy})

    return samples


def _schedules(shown: Shown) -> Iterator[Sample]:
    for name, last in shown.status.workers.items():
        worker = shown.policy.workers.get(name)
        if worker is not None and worker.schedules:
            yield Sample(last.schedule is not None, {"worker": shown.mask.text(name)})


def _budgets(figure: Callable[[BudgetStatus], float | None]) -> Callable[[Shown], Iterator[Sample]]:
    """A sample for each worker with a budget of its own, and one of the budget of all: the newest reading has most."""

    def samples(shown: Shown) -> Iterator[Sample]:
        of_all: BudgetStatus | None = None
        for name, last in shown.status.workers.items():
            for one in last.budgets or ():
                value = figure(one)
                if one.scope != ALL and value is not None:
                    yield Sample(value, {"worker": shown.mask.text(name), "budget": one.scope})
                elif one.scope == ALL and (of_all is None or _newness(one) > _newness(of_all)):
                    of_all = one
        value = None if of_all is None else figure(of_all)
        if value is not None:
            yield Sample(value, {"worker": "", "budget": ALL})

    return samples


def _newness(budget: BudgetStatus) -> tuple[str, float]:
    return budget.until, budget.spent or 0.0


def _pools(figure: Callable[[PoolStatus], int]) -> Callable[[Shown], Iterator[Sample]]:
    """A sample for each pool of which a worker's last cycle has that figure; the highest, if they differ."""

    def samples(shown: Shown) -> Iterator[Sample]:
        found: dict[str, int] = {}
        for last in shown.status.workers.values():
            if last.pool is not None:
                found[last.pool.pool] = max(figure(last.pool), found.get(last.pool.pool, 0))
        for pool, value in found.items():
            yield Sample(value, {"pool": shown.mask.text(pool)})

    return samples


FIGURES = (
    Metric(
        "autoscaler_replicas",
        "gauge",
        "replicas",
        "Replicas by kind: configured (what the platform was last asked for), running, recommended (what the tier, the "
        "jobs per worker or the target wait wants), desired (after every rule), max (max_replicas of the policy, or of "
        "the schedule that is on, lower by a budget that is nearly spent).",
        each_worker(
            "kind",
            {
                "configured": lambda last: last.configured,
                "running": lambda last: last.running,
                "recommended": lambda last: last.recommended,
                "desired": lambda last: last.desired,
                "max": lambda last: last.max_workers,
            },
        ),
        ("worker", "kind"),
        {
            "autoscaler_replicas_configured": {"kind": "configured"},
            "autoscaler_replicas_running": {"kind": "running"},
            "autoscaler_replicas_recommended": {"kind": "recommended"},
            "autoscaler_replicas_desired": {"kind": "desired"},
            "autoscaler_replicas_max": {"kind": "max"},
        },
    ),
    Metric(
        "autoscaler_queue_jobs",
        "gauge",
        "jobs",
        "Jobs by state: pending (may be claimed now), processing (in progress), soon (fall due within queue.ahead, by "
        "default the start-up time), stale (claimed, and no worker is working on them any more). No sample of soon and "
        "stale where the queue cannot tell.",
        each_worker(
            "state",
            {
                "pending": lambda last: last.pending,
                "processing": lambda last: last.processing,
                "soon": lambda last: last.soon,
                "stale": lambda last: last.stale,
            },
        ),
        ("worker", "state"),
        {
            "autoscaler_queue_pending_jobs": {"state": "pending"},
            "autoscaler_queue_processing_jobs": {"state": "processing"},
            "autoscaler_queue_soon_jobs": {"state": "soon"},
            "autoscaler_queue_stale_jobs": {"state": "stale"},
        },
    ),
    Metric(
        "autoscaler_queue_oldest_age_seconds",
        "gauge",
        "seconds",
        "How long the oldest ready job has waited.",
        of_each_worker(lambda last: last.oldest_age_s),
        ("worker",),
    ),
    Metric(
        "autoscaler_each_queue_jobs",
        "gauge",
        "jobs",
        "Jobs by queue of a worker with several, and by state; their sum is autoscaler_queue_jobs.",
        each_queue("state", {"pending": lambda queue: queue.pending, "processing": lambda queue: queue.processing}),
        ("worker", "queue", "state"),
        {
            "autoscaler_each_queue_pending_jobs": {"state": "pending"},
            "autoscaler_each_queue_processing_jobs": {"state": "processing"},
        },
    ),
    Metric(
        "autoscaler_each_queue_oldest_age_seconds",
        "gauge",
        "seconds",
        "How long the oldest ready job has waited, by queue of a worker with several.",
        each_queue("", {"": lambda queue: queue.oldest_age_s}),
        ("worker", "queue"),
    ),
    Metric(
        "autoscaler_each_queue_wanted_replicas",
        "gauge",
        "replicas",
        "Replicas that one queue of a worker with several asks for, before rounding; only with target_wait.",
        each_queue("", {"": lambda queue: queue.wants}),
        ("worker", "queue"),
    ),
    Metric(
        "autoscaler_rpm_used",
        "gauge",
        "requests",
        "Requests that the workers counted in this minute.",
        of_each_worker(lambda last: last.rpm_used),
        ("worker",),
    ),
    Metric(
        "autoscaler_rpm_limit",
        "gauge",
        "requests per minute",
        "Requests per minute that all workers together may make.",
        of_each_worker(lambda last: last.rpm_limit),
        ("worker",),
    ),
    Metric("autoscaler_observation_age_seconds", "gauge", "seconds", "Age of the numbers above.", _age, ("worker",)),
    Metric(
        "autoscaler_worker_fault",
        "gauge",
        "always 1",
        "1 while the worker's service has this fault, such as WorkersCrash or NoProgress; no sample otherwise.",
        _faults,
        ("worker", "reason"),
    ),
    Metric(
        "autoscaler_override_left_seconds",
        "gauge",
        "seconds",
        "Time that an operator's override still lasts, by worker and kind; no sample while there is none.",
        _overrides,
        ("worker", "override"),
    ),
    Metric(
        "autoscaler_schedule_active",
        "gauge",
        "0 or 1",
        "1 while one of the worker's schedules is on, 0 while none is; no sample without schedules.",
        _schedules,
        ("worker",),
    ),
    Metric(
        "autoscaler_shadow_replicas",
        "gauge",
        "replicas",
        "Replicas that the shadow policy would have; no sample without one.",
        of_each_worker(lambda last: None if last.shadow is None else last.shadow.desired),
        ("worker",),
    ),
    Metric(
        "autoscaler_shadow_worker_seconds",
        "gauge",
        "seconds",
        "Worker-seconds of the shadow policy and of the policy in force, in the same time.",
        _shadows(lambda one: {"shadow": one.worker_hours * _HOUR_S, "in_force": one.worker_hours_in_force * _HOUR_S}),
        ("worker", "policy"),
    ),
    Metric(
        "autoscaler_shadow_implied_wait_seconds",
        "gauge",
        "seconds",
        "Mean wait that the counts of each of the two policies imply; no sample while the time per job is unknown.",
        _shadows(lambda one: {"shadow": one.implied_wait_s, "in_force": one.implied_wait_in_force_s}),
        ("worker", "policy"),
    ),
    Metric(
        "autoscaler_budget_spent_dollars",
        "gauge",
        "dollars",
        "Spent in this period, by worker with a budget of its own, and by all workers; no sample while it is unknown.",
        _budgets(lambda one: one.spent),
        ("worker", "budget"),
    ),
    Metric(
        "autoscaler_budget_amount_dollars",
        "gauge",
        "dollars",
        "The amount of each of these budgets.",
        _budgets(lambda one: one.amount),
        ("worker", "budget"),
    ),
    Metric(
        "autoscaler_pool_replicas",
        "gauge",
        "replicas",
        "Replicas that all workers of a pool have or have asked for.",
        _pools(lambda one: one.taken),
        ("pool",),
    ),
    Metric(
        "autoscaler_pool_max_replicas",
        "gauge",
        "replicas",
        "The highest total of a pool.",
        _pools(lambda one: one.limit),
        ("pool",),
    ),
)

OF_BEFORE = (
    Metric(
        "autoscaler_failing",
        "gauge",
        "0 or 1",
        "Deprecated: use autoscaler_dependency_up, and autoscaler_worker_fault for a fault of a service.",
        _failing,
        ("source",),
        instead="autoscaler_dependency_up, autoscaler_worker_fault",
    ),
)
"""Rows that are no other row under another name."""
