"""/metrics, as JSON and in the Prometheus text format. Pure.

METRICS is the table: one row a metric, and both forms are rendered from the rows. To add a metric, add its row here and
its line to tests/web/test_metrics.py, which renders every row in both forms.

What Prometheus expects of a row: base units, named by the suffix (_seconds, _total); a counter only rises, and begins
at 0 with each process, which rate() allows for. What is unknown has no sample: a 0 would be averaged, and would look
like an empty queue. The JSON form has null instead, because its keys are promised to be there.
https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from controller.loop.faults import CONDITIONS
from controller.loop.shadow_status import ShadowStatus
from controller.loop.worker_status import QueueStatus, WorkerStatus
from controller.web.health import Shown, Totals, failing_since, totals

Kind = Literal["gauge", "counter"]
_HOUR_S = 3600.0


class Sample(NamedTuple):
    """One value of a metric. labels: by name, without secrets."""

    value: float
    labels: Mapping[str, str] = {}


class InJson(NamedTuple):
    """The same as one number for all workers, under the key that the contract of /metrics promises."""

    key: str
    total: Callable[[Totals], int | None]


@dataclass(frozen=True, slots=True)
class Metric:
    """One row. samples: none while the value is not known, since absent is not 0. in_json: None for most.

    unit: of the value; where the Prometheus conventions have a suffix for it, the name ends in it.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    samples: Callable[[Shown], Iterator[Sample]]
    in_json: InJson | None = None


def metrics_body(shown: Shown) -> dict[str, int | None]:
    """The promised keys; null while a worker of the sum was not read yet."""
    sums = totals(shown)
    figures = [metric.in_json for metric in METRICS.values() if metric.in_json is not None]
    return {figure.key: figure.total(sums) for figure in figures}


def prometheus_text(shown: Shown) -> str:
    """The text format 0.0.4. A metric without samples is left out."""
    return "\n".join(line for metric in METRICS.values() for line in _lines(metric, shown)) + "\n"


def _lines(metric: Metric, shown: Shown) -> Iterator[str]:
    samples = list(metric.samples(shown))
    if samples:
        yield f"# HELP {metric.name} {metric.help}"
        yield f"# TYPE {metric.name} {metric.kind}"
    for sample in samples:
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in sample.labels.items())
        yield f"{metric.name}{{{labels}}} {sample.value:.15g}" if labels else f"{metric.name} {sample.value:.15g}"


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _each_worker(figure: Callable[[WorkerStatus], float | None]) -> Callable[[Shown], Iterator[Sample]]:
    """A sample for each worker whose last cycle has that figure."""

    def samples(shown: Shown) -> Iterator[Sample]:
        for name, last in shown.status.workers.items():
            value = figure(last)
            if value is not None:
                yield Sample(value, {"worker": shown.mask.text(name)})

    return samples


def _each_queue(figure: Callable[[QueueStatus], float | None]) -> Callable[[Shown], Iterator[Sample]]:
    """A sample for each queue of the workers that have several; none for a worker with one queue."""

    def samples(shown: Shown) -> Iterator[Sample]:
        for name, last in shown.status.workers.items():
            for queue in last.queues or ():
                value = figure(queue)
                if value is not None:
                    yield Sample(value, {"worker": shown.mask.text(name), "queue": queue.queue})

    return samples


def _age(shown: Shown) -> Iterator[Sample]:
    for name in shown.status.workers:
        age = shown.status.age(name)
        if age is not None:
            yield Sample(age, {"worker": shown.mask.text(name)})


def _failing(shown: Shown) -> Iterator[Sample]:
    faults = failing_since(shown)
    for source in shown.status.sources:
        yield Sample(source in faults, {"source": source})
    for worker in shown.policy.workers:
        for name in CONDITIONS:
            if name in shown.status.failing.get(worker, {}):
                yield Sample(1, {"source": name, "worker": shown.mask.text(worker)})


def _overrides(shown: Shown) -> Iterator[Sample]:
    for name, last in shown.status.workers.items():
        for one in last.overrides or ():
            left = max(0.0, one.left_s - (shown.status.age(name) or 0.0))
            yield Sample(left, {"worker": shown.mask.text(name), "override": one.override})


def _policy_info(shown: Shown) -> Iterator[Sample]:
    yield Sample(1, {"hash": shown.policy.digest})


def _policy_loaded(shown: Shown) -> Iterator[Sample]:
    if shown.loaded_at is not None:
        yield Sample(shown.loaded_at)


def _policy_refused(shown: Shown) -> Iterator[Sample]:
    yield Sample(shown.refusal is not None)


def _schedules(shown: Shown) -> Iterator[Sample]:
    for name, last in shown.status.workers.items():
        worker = shown.policy.workers.get(name)
        if worker is not None and worker.schedules:
            yield Sample(last.schedule is not None, {"worker": shown.mask.text(name)})


def _shadows(figure: Callable[[ShadowStatus], Mapping[str, float | None]]) -> Callable[[Shown], Iterator[Sample]]:
    """A sample for each worker with a shadow, and for each policy of the figure: shadow and in_force."""

    def samples(shown: Shown) -> Iterator[Sample]:
        for name, last in shown.status.workers.items():
            for policy, value in ({} if last.shadow is None else figure(last.shadow)).items():
                if value is not None:
                    yield Sample(value, {"worker": shown.mask.text(name), "policy": policy})

    return samples


def _cycles(shown: Shown) -> Iterator[Sample]:
    for (worker, outcome), count in sorted(shown.status.outcomes.items()):
        yield Sample(count, {"worker": shown.mask.text(worker), "outcome": outcome})


def _scales(shown: Shown) -> Iterator[Sample]:
    for (worker, direction), count in sorted(shown.status.scales.items()):
        yield Sample(count, {"worker": shown.mask.text(worker), "direction": direction})


def _is_leader(shown: Shown) -> Iterator[Sample]:
    yield Sample(_leads(shown))


def _epoch(shown: Shown) -> Iterator[Sample]:
    lease = shown.leadership.lease
    if lease is not None and _leads(shown):
        yield Sample(lease.epoch)


def _leads(shown: Shown) -> bool:
    """A dry run holds a lease that no other replica knows of, and changes nothing."""
    return shown.leadership.lease is not None and not shown.dry_run


def _lost_lines(shown: Shown) -> Iterator[Sample]:
    yield Sample(shown.lost_lines())


def _notifications(shown: Shown) -> Iterator[Sample]:
    for target in shown.notifications():
        for result, count in target.results.items():
            yield Sample(count, {"target": target.name, "result": result})


def _requests_used(shown: Shown) -> Iterator[Sample]:
    requests = shown.requests()
    if requests is not None:
        yield Sample(requests.used)


def _requests_quota(shown: Shown) -> Iterator[Sample]:
    requests = shown.requests()
    if requests is not None:
        yield Sample(requests.quota)


_ROWS = (
    Metric(
        "autoscaler_replicas_configured",
        "gauge",
        "replicas",
        "Replicas that the platform was last asked for.",
        _each_worker(lambda last: last.configured),
    ),
    Metric(
        "autoscaler_replicas_running",
        "gauge",
        "replicas",
        "Replicas that run.",
        _each_worker(lambda last: last.running),
        InJson("workers_current", lambda sums: sums.running),
    ),
    Metric(
        "autoscaler_replicas_recommended",
        "gauge",
        "replicas",
        "Replicas that the tier, the jobs per worker or the target wait wants.",
        _each_worker(lambda last: last.recommended),
    ),
    Metric(
        "autoscaler_replicas_desired",
        "gauge",
        "replicas",
        "Replicas that are wanted after every rule.",
        _each_worker(lambda last: last.desired),
    ),
    Metric(
        "autoscaler_replicas_max",
        "gauge",
        "replicas",
        "max_replicas of the policy, or of the schedule that is on.",
        _each_worker(lambda last: last.max_workers),
        InJson("workers_max", lambda sums: sums.max_workers),
    ),
    Metric(
        "autoscaler_queue_pending_jobs",
        "gauge",
        "jobs",
        "Jobs that may be claimed now.",
        _each_worker(lambda last: last.pending),
        InJson("queue_pending", lambda sums: sums.pending),
    ),
    Metric(
        "autoscaler_queue_processing_jobs",
        "gauge",
        "jobs",
        "Jobs in progress.",
        _each_worker(lambda last: last.processing),
        InJson("queue_processing", lambda sums: sums.processing),
    ),
    Metric(
        "autoscaler_queue_soon_jobs",
        "gauge",
        "jobs",
        "Jobs that fall due within queue.ahead (by default, the start-up time); no sample where the queue cannot tell.",
        _each_worker(lambda last: last.soon),
    ),
    Metric(
        "autoscaler_queue_stale_jobs",
        "gauge",
        "jobs",
        "Claimed jobs that no worker is working on any more; no sample where the queue cannot tell.",
        _each_worker(lambda last: last.stale),
    ),
    Metric(
        "autoscaler_queue_oldest_age_seconds",
        "gauge",
        "seconds",
        "How long the oldest ready job has waited.",
        _each_worker(lambda last: last.oldest_age_s),
    ),
    Metric(
        "autoscaler_each_queue_pending_jobs",
        "gauge",
        "jobs",
        "Jobs that may be claimed now, by queue of a worker with several; their sum is autoscaler_queue_pending_jobs.",
        _each_queue(lambda queue: queue.pending),
    ),
    Metric(
        "autoscaler_each_queue_processing_jobs",
        "gauge",
        "jobs",
        "Jobs in progress, by queue of a worker with several; their sum is autoscaler_queue_processing_jobs.",
        _each_queue(lambda queue: queue.processing),
    ),
    Metric(
        "autoscaler_each_queue_oldest_age_seconds",
        "gauge",
        "seconds",
        "How long the oldest ready job has waited, by queue of a worker with several.",
        _each_queue(lambda queue: queue.oldest_age_s),
    ),
    Metric(
        "autoscaler_each_queue_wanted_replicas",
        "gauge",
        "replicas",
        "Replicas that one queue of a worker with several asks for, before rounding; only with target_wait.",
        _each_queue(lambda queue: queue.wants),
    ),
    Metric(
        "autoscaler_rpm_used",
        "gauge",
        "requests",
        "Requests that the workers counted in this minute.",
        _each_worker(lambda last: last.rpm_used),
        InJson("rpm_used", lambda sums: sums.rpm_used),
    ),
    Metric(
        "autoscaler_rpm_limit",
        "gauge",
        "requests per minute",
        "Requests per minute that all workers together may make.",
        _each_worker(lambda last: last.rpm_limit),
        InJson("rpm_limit", lambda sums: sums.rpm_limit),
    ),
    Metric("autoscaler_observation_age_seconds", "gauge", "seconds", "Age of the numbers above.", _age),
    Metric(
        "autoscaler_failing",
        "gauge",
        "0 or 1",
        "By source: 1 if PostgreSQL, the platform or Redis cannot be reached, 0 if it answers. By source and worker: 1 "
        "while its service has this fault, and no sample otherwise.",
        _failing,
    ),
    Metric(
        "autoscaler_override_left_seconds",
        "gauge",
        "seconds",
        "Time that an operator's override still lasts, by worker and kind; no sample while there is none.",
        _overrides,
    ),
    Metric(
        "autoscaler_schedule_active",
        "gauge",
        "0 or 1",
        "1 while one of the worker's schedules is on, 0 while none is; no sample without schedules.",
        _schedules,
    ),
    Metric(
        "autoscaler_shadow_replicas_desired",
        "gauge",
        "replicas",
        "Replicas that the shadow policy would have; no sample without one.",
        _shadows(lambda one: {"shadow": one.desired}),
    ),
    Metric(
        "autoscaler_shadow_worker_seconds",
        "gauge",
        "seconds",
        "Worker-seconds of the shadow policy and of the policy in force, in the same time.",
        _shadows(lambda one: {"shadow": one.worker_hours * _HOUR_S, "in_force": one.worker_hours_in_force * _HOUR_S}),
    ),
    Metric(
        "autoscaler_shadow_implied_wait_seconds",
        "gauge",
        "seconds",
        "Mean wait that the counts of each of the two policies imply; no sample while the time per job is unknown.",
        _shadows(lambda one: {"shadow": one.implied_wait_s, "in_force": one.implied_wait_in_force_s}),
    ),
    Metric("autoscaler_cycles_total", "counter", "cycles", "Cycles of this replica, by outcome.", _cycles),
    Metric(
        "autoscaler_scales_total",
        "counter",
        "changes",
        "Changes of the count that this replica applied, by direction.",
        _scales,
    ),
    Metric(
        "autoscaler_policy_info",
        "gauge",
        "always 1",
        "By hash: the policy that this replica goes by; replicas of one group should have the same.",
        _policy_info,
    ),
    Metric(
        "autoscaler_policy_loaded_timestamp_seconds",
        "gauge",
        "seconds",
        "When this replica read its policy, in seconds since the epoch.",
        _policy_loaded,
    ),
    Metric(
        "autoscaler_policy_refused",
        "gauge",
        "0 or 1",
        "1 while the policy's file was changed and cannot be used, so that an older one is in force.",
        _policy_refused,
    ),
    Metric("autoscaler_is_leader", "gauge", "0 or 1", "1 if this replica leads.", _is_leader),
    Metric("autoscaler_lease_epoch", "gauge", "epoch", "Epoch of the lease that this replica holds.", _epoch),
    Metric(
        "autoscaler_log_lines_lost_total", "counter", "lines", "Log lines that the output did not take.", _lost_lines
    ),
    Metric(
        "autoscaler_notifications_total",
        "counter",
        "notifications",
        "Notifications of this replica, by target and result: sent, failed, dropped, left_out.",
        _notifications,
    ),
    Metric(
        "autoscaler_railway_requests_used",
        "gauge",
        "requests",
        "Requests that this replica sent to the platform within the quota's window.",
        _requests_used,
    ),
    Metric(
        "autoscaler_railway_requests_quota",
        "gauge",
        "requests",
        "Requests that the platform allows within this window.",
        _requests_quota,
    ),
)
METRICS: Mapping[str, Metric] = {metric.name: metric for metric in _ROWS}
"""By name, in the order of the Prometheus text."""
