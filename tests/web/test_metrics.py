"""/metrics: each row of the table is rendered as it is declared, as JSON and in the Prometheus text format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from platform import python_version
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.process_collector import PROCESS_COLLECTOR

from controller.config.timing import Timing
from controller.core.conditions import Condition
from controller.core.model import Decision, Finished, QueueDepth, QueuePart, ServiceTime
from controller.core.override import Kind, Override
from controller.core.ports import Requests
from controller.core.reasons import Because, Reason
from controller.core.text.masking import Masker
from controller.loop.budget_status import BudgetStatus
from controller.loop.cycle import Outcome, PartSeen
from controller.loop.leadership import Leadership
from controller.loop.notifier import TargetReport
from controller.loop.override_status import OverrideStatus
from controller.loop.pool_status import PoolStatus
from controller.loop.schedule_status import ScheduleStatus
from controller.loop.shadow_status import ShadowStatus
from controller.loop.status import ControllerStatus
from controller.policy import Policy, Schedule, WorkerSize
from controller.web.contract import metrics_body
from controller.web.health import Shown, health_body
from controller.web.metrics import DEPRECATED, METRICS, Metric, prometheus_text
from controller.web.metrics.replica import our_version
from tests.support.exposition import Labels, samples_of, value_of
from tests.support.promtool import promtool
from tests.support.sources import SOURCES
from tests.web.stand_ins import FAULT, POLICY, AwayLeases, HandClock, Leases, NoLeases, cycle, silent

PROMISED = {
    "workers_current": 2,
    "workers_max": 5,
    "queue_pending": 10,
    "queue_processing": 5,
    "rpm_used": 30,
    "rpm_limit": 60,
}
"""The JSON for leading(): its keys are the contract."""
ALWAYS = Schedule.model_validate({"cron": "* * * * *", "for": "1h", "timezone": "UTC", "min_replicas": 1})
SIZED = WorkerSize.model_validate({"price_per_hour": "0.36$"})
SCHEDULED = POLICY.model_copy(
    update={"workers": {"w": POLICY.workers["w"].model_copy(update={"schedules": (ALWAYS,), "worker_size": SIZED})}}
)
W = (("worker", "w"),)
EMPTY: Labels = ()


def w(**labels: str) -> Labels:
    return tuple(sorted({**labels, "worker": "w"}.items()))


def _of(**labels: str) -> Labels:
    return tuple(sorted(labels.items()))


RENDERED: Mapping[str, Mapping[Labels, float]] = {
    "autoscaler_replicas": {
        w(kind="configured"): 3,
        w(kind="running"): 2,
        w(kind="recommended"): 6,
        w(kind="desired"): 4,
        w(kind="max"): 7,
    },
    "autoscaler_queue_jobs": {
        w(state="pending"): 10,
        w(state="processing"): 5,
        w(state="soon"): 8,
        w(state="stale"): 1,
    },
    "autoscaler_queue_oldest_age_seconds": {W: 3.2},
    "autoscaler_each_queue_jobs": {
        w(queue="urgent", state="pending"): 8,
        w(queue="urgent", state="processing"): 1,
        w(queue="bulk", state="pending"): 2,
        w(queue="bulk", state="processing"): 4,
    },
    "autoscaler_each_queue_oldest_age_seconds": {w(queue="urgent"): 3.2},
    "autoscaler_each_queue_wanted_replicas": {w(queue="urgent"): 1.7, w(queue="bulk"): 0.4},
    "autoscaler_rpm_used": {W: 30},
    "autoscaler_rpm_limit": {W: 90},
    "autoscaler_observation_age_seconds": {W: 2.5},
    "autoscaler_worker_fault": {w(reason="NoProgress"): 1},
    "autoscaler_override_left_seconds": {w(override="hold"): 57.5},
    "autoscaler_schedule_active": {W: 1},
    "autoscaler_shadow_replicas": {W: 3},
    "autoscaler_shadow_worker_seconds": {w(policy="shadow"): 5400, w(policy="in_force"): 7200},
    "autoscaler_shadow_implied_wait_seconds": {w(policy="shadow"): 12.5},
    "autoscaler_budget_spent_dollars": {w(budget="worker"): 1.25, _of(budget="all", worker=""): 33.5},
    "autoscaler_budget_amount_dollars": {w(budget="worker"): 2, _of(budget="all", worker=""): 40},
    "autoscaler_pool_replicas": {_of(pool="render"): 18},
    "autoscaler_pool_max_replicas": {_of(pool="render"): 20},
    "autoscaler_outcome_total": {
        w(outcome="applied"): 2,
        w(outcome="held"): 1,
        **{w(outcome=one): 0 for one in ("standby", "failed", "unknown", "fenced", "crashed")},
    },
    "autoscaler_scale_total": {w(direction="up"): 2, w(direction="down"): 0},
    "autoscaler_held_total": {w(reason="Tier"): 1},
    "autoscaler_cycle_duration_seconds_count": {EMPTY: 2},
    "autoscaler_cycle_duration_seconds_sum": {EMPTY: 0.5},
    "autoscaler_loop_lag_seconds": {EMPTY: 2.5},
    "autoscaler_last_success_timestamp_seconds": {W: 1_700_000_000},
    "autoscaler_worker_seconds_total": {W: 20},
    "autoscaler_cost_dollars_total": {W: 0.002},
    "autoscaler_job_wait_seconds_count": {W: 1},
    "autoscaler_job_wait_seconds_sum": {W: 7},
    "autoscaler_is_leader": {EMPTY: 1},
    "autoscaler_lease_epoch": {EMPTY: 7},
    "autoscaler_dependency_up": {_of(dependency=name): 1 for name in SOURCES.names},
    "autoscaler_dependency_duration_seconds_count": {_of(dependency="Redis"): 1},
    "autoscaler_dependency_duration_seconds_sum": {_of(dependency="Redis"): 0.3},
    "autoscaler_platform_requests_total": {
        _of(operation="EnvironmentState", result="ok"): 9,
        _of(operation="EnvironmentState", result="failed"): 1,
    },
    "autoscaler_platform_quota": {EMPTY: 1000},
    "autoscaler_platform_quota_remaining": {EMPTY: 588},
    "autoscaler_policy_info": {_of(hash=SCHEDULED.digest): 1},
    "autoscaler_policy_loaded_timestamp_seconds": {EMPTY: 1790000000.5},
    "autoscaler_policy_refused": {EMPTY: 0},
    "autoscaler_log_lines_lost_total": {EMPTY: 12},
    "autoscaler_notifications_total": {
        _of(target="slack-1", result="sent"): 4,
        _of(target="slack-1", result="failed"): 0,
    },
    "autoscaler_build_info": {_of(version=our_version(), python_version=python_version()): 1},
}
"""By name, the samples for leading(); of a histogram the count and the sum."""
BEFORE: Mapping[str, Mapping[Labels, float]] = {
    "autoscaler_replicas_configured": {W: 3},
    "autoscaler_replicas_running": {W: 2},
    "autoscaler_replicas_recommended": {W: 6},
    "autoscaler_replicas_desired": {W: 4},
    "autoscaler_replicas_max": {W: 7},
    "autoscaler_queue_pending_jobs": {W: 10},
    "autoscaler_queue_processing_jobs": {W: 5},
    "autoscaler_queue_soon_jobs": {W: 8},
    "autoscaler_queue_stale_jobs": {W: 1},
    "autoscaler_each_queue_pending_jobs": {w(queue="urgent"): 8, w(queue="bulk"): 2},
    "autoscaler_each_queue_processing_jobs": {w(queue="urgent"): 1, w(queue="bulk"): 4},
    "autoscaler_cycles_total": RENDERED["autoscaler_outcome_total"],
    "autoscaler_scales_total": RENDERED["autoscaler_scale_total"],
    "autoscaler_railway_requests_quota": {EMPTY: 1000},
    "autoscaler_failing": {
        **{_of(source=name): 0 for name in SOURCES.names},
        w(source="NoProgress"): 1,
    },
    "autoscaler_railway_requests_used": {EMPTY: 412},
}
"""The names of before, which go with the next release."""


async def leading() -> Shown:
    """A replica that leads and of which each metric has a sample, no two of a worker with the same figure.

    Its policy says 5 workers and 60 requests a minute; the last cycle, which may be another leader's, 7 and 90.
    """
    clock = HandClock()
    status = ControllerStatus(clock, POLICY.interval, SOURCES.names)
    leadership = Leadership(Leases(), clock, timing=Timing.around(15), replica="a", report=silent)
    await leadership.turn()
    last = cycle(Outcome.APPLIED)
    assert last.replicas is not None
    assert last.rate is not None
    last = replace(
        last,
        took_s=0.25,
        queue=QueueDepth(10, 5, 3.2, stale=1, soon=8),
        replicas=replace(last.replicas, configured=3, running=2),
        decision=Decision(3, 6, 4, (Because(Reason.TIER, "words"),)),
        rate=replace(last.rate, limit=90),
        max_workers=7,
        conditions=(FAULT,),
        parts=(
            PartSeen(QueuePart("urgent", QueueDepth(8, 1, 3.2)), 1.7, "words"),
            PartSeen(QueuePart("bulk", QueueDepth(2, 4)), 0.4, "words"),
        ),
        budgets=(
            BudgetStatus("worker", 2.0, 1.25, "day", "2026-12-01T00:00:00.000Z", None, 0.0, 6, "words"),
            BudgetStatus("all", 40.0, 33.5, "month", "2026-12-01T00:00:00.000Z", None, 0.0, 7, "words"),
        ),
        pool=PoolStatus("render", 20, 18, 5, "words"),
        overrides=(OverrideStatus.of(Override("o1", Kind.HOLD, "ann", 0.0, 60.0, replicas=4), 0.0),),
        schedule=ScheduleStatus.of(SCHEDULED.workers["w"], 0.0),
    )
    status.put(cycle())
    for jobs in (FINISHED[:1], FINISHED):
        clock.now += 5
        status.put(replace(last, service=ServiceTime(3.0, 3.0, len(jobs), finished=jobs)))
    status.put_shadow("w", ShadowStatus(3, "Tier", "hold", "then", "then", 1.0, 1.5, 2.0, 0.0, 0.0, 12.5, None))
    status.counts.call("Redis", 0.3)
    status.turned()
    clock.now += 2.5
    await leadership.turn()
    status.interval = 0.0
    return Shown(
        status,
        leadership,
        SCHEDULED,
        requests=lambda: Requests(412, 1000, 3600.0, 7.25),
        lost_lines=lambda: 12,
        loaded_at=1_790_000_000.5,
        notifications=lambda: [TargetReport("slack-1", {"sent": 4, "failed": 0}, 0)],
        sent=lambda: {("EnvironmentState", "ok"): 9, ("EnvironmentState", "failed"): 1},
    )


FINISHED = (Finished(90.0, 3.0, (80.0, 85.0)), Finished(100.0, 3.0, (90.0, 97.0)))
"""Two jobs, of which the second ended between two readings; it waited 7 s."""


def _names(metric: Metric) -> list[str]:
    return [f"{metric.name}_{part}" for part in ("count", "sum")] if metric.kind == "histogram" else [metric.name]


def test_every_metric_has_its_line_in_this_table() -> None:
    assert [name for metric in METRICS.values() for name in _names(metric)] == list(RENDERED)
    assert list(DEPRECATED) == list(BEFORE)


@pytest.mark.parametrize("metric", [*METRICS.values(), *DEPRECATED.values()], ids=[*METRICS, *DEPRECATED])
async def test_a_row_is_rendered_in_the_text_with_its_help_its_type_and_its_samples(metric: Metric) -> None:
    text = prometheus_text(await leading())
    lines = text.splitlines()
    start = lines.index(f"# HELP {metric.name} {metric.help}")
    assert lines[start + 1] == f"# TYPE {metric.name} {metric.kind}"
    found = samples_of(text)
    for name in _names(metric):
        assert found[name] == {**RENDERED, **BEFORE}[name]


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
async def test_each_sample_has_the_labels_that_its_row_declares(metric: Metric) -> None:
    shown = await leading()
    for _, labels in metric.samples(shown):
        assert sorted(labels) == sorted(metric.labels)


async def test_the_json_has_the_promised_keys_and_no_others() -> None:
    assert metrics_body(await leading()) == PROMISED


async def test_a_histogram_counts_a_value_in_each_bucket_that_it_fits_into() -> None:
    buckets = samples_of(prometheus_text(await leading()))["autoscaler_cycle_duration_seconds_bucket"]
    counts = {labels[0][1]: count for labels, count in buckets.items()}
    assert (counts["0.1"], counts["0.25"], counts["90.0"], counts["+Inf"]) == (0, 2, 2, 2)


async def test_what_a_queue_cannot_tell_has_no_sample_and_is_not_0() -> None:
    shown = await leading()
    (last,) = shown.status.workers.values()
    assert last.stale == 1
    shown.status.put(replace(cycle(Outcome.APPLIED), queue=QueueDepth(10, 5)))
    found = samples_of(prometheus_text(shown))
    assert "autoscaler_queue_oldest_age_seconds" not in found
    assert found["autoscaler_queue_jobs"] == {w(state="pending"): 10, w(state="processing"): 5}


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_name_ends_in_its_unit_where_prometheus_asks_for_it_and_a_counter_in_total(metric: Metric) -> None:
    assert metric.name.startswith("autoscaler_")
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    base = metric.name.removesuffix("_total")
    for unit in ("seconds", "jobs", "dollars"):
        assert base.endswith(f"_{unit}") == (metric.unit == unit)
    assert metric.unit


@pytest.mark.parametrize("metric", DEPRECATED.values(), ids=DEPRECATED)
def test_a_deprecated_name_says_what_to_use_instead(metric: Metric) -> None:
    assert metric.help == f"Deprecated: use {metric.instead}." or metric.help.startswith("Deprecated: use ")
    assert any(name in metric.instead for name in METRICS)


async def test_promtool_finds_nothing_wrong_with_the_metrics() -> None:
    assert promtool("check", "metrics", given=prometheus_text(await leading(), PROCESS_COLLECTOR)) == ""


async def test_the_text_ends_with_what_the_process_uses() -> None:
    found = samples_of(prometheus_text(await leading(), PROCESS_COLLECTOR))
    assert found["process_resident_memory_bytes"][EMPTY] > 1e6
    assert {"process_cpu_seconds_total", "process_open_fds", "process_start_time_seconds"} <= set(found)


def test_a_metric_that_was_never_read_is_null_in_the_json_and_absent_in_the_text(shown: Shown) -> None:
    assert metrics_body(shown) == {
        "workers_current": None,
        "workers_max": 5,
        "queue_pending": None,
        "queue_processing": None,
        "rpm_used": None,
        "rpm_limit": 60,
    }
    found = samples_of(prometheus_text(shown))
    assert {name for name in found if name in METRICS} == {
        *("autoscaler_outcome_total", "autoscaler_scale_total", "autoscaler_loop_lag_seconds", "autoscaler_is_leader"),
        *("autoscaler_policy_info", "autoscaler_policy_refused", "autoscaler_log_lines_lost_total"),
        "autoscaler_build_info",
    }


def test_the_json_and_health_show_one_moment(shown: Shown) -> None:
    shown.status.put(cycle())
    body = metrics_body(shown)
    assert (body["queue_pending"], body["queue_processing"]) == (10, 5)
    assert health_body(shown)["queueDepth"] == 15


def test_there_is_no_figure_for_workers_of_which_one_was_never_read(shown: Shown) -> None:
    worker = POLICY.workers["w"]
    both = replace(shown, policy=POLICY.model_copy(update={"workers": {"w": worker, "v": worker}}))
    shown.status.put(cycle())
    assert metrics_body(both)["workers_current"] is None
    shown.status.put(replace(cycle(), worker="v"))
    assert metrics_body(both)["workers_current"] == 4


def test_the_requests_of_workers_without_a_rate_limit_are_no_part_of_the_sum(shown: Shown) -> None:
    unlimited: dict[str, Any] = {"service": "v", "queue": {"table": "v"}, "tiers": [{"replicas": 1}], "max_replicas": 2}
    worker = Policy.model_validate({"workers": {"v": unlimited}}).workers["v"]
    both = replace(shown, policy=POLICY.model_copy(update={"workers": {**POLICY.workers, "v": worker}}))
    shown.status.put(cycle())
    body = metrics_body(both)
    assert (body["rpm_used"], body["rpm_limit"], body["workers_max"]) == (30, 60, 7)
    assert body["workers_current"] is None


async def test_a_standby_leaves_the_figures_of_the_workers_to_the_leader() -> None:
    leader = await leading()
    standby = await _as_standby(leader)
    told, untold = samples_of(prometheus_text(leader)), samples_of(prometheus_text(standby))
    assert told["autoscaler_queue_jobs"]
    assert not {"autoscaler_queue_jobs", "autoscaler_replicas", "autoscaler_worker_fault"} & set(untold)
    assert untold["autoscaler_is_leader"] == {EMPTY: 0}
    assert untold["autoscaler_queue_pending_jobs"] == {W: 10}, "the names of before are as they were"
    assert metrics_body(standby) == PROMISED


async def _as_standby(leader: Shown) -> Shown:
    clock = HandClock()
    status = ControllerStatus(clock, POLICY.interval, SOURCES.names)
    assert status.take_over(leader.status.to_publish(), 0.0) == []
    leadership = Leadership(NoLeases(), clock, timing=Timing.around(15), replica="b", report=silent)
    return Shown(status, leadership, SCHEDULED)


async def test_the_last_leader_goes_on_showing_the_figures_while_redis_is_away() -> None:
    leader = await leading()
    leader.leadership._leases = AwayLeases()
    clock = leader.status.clock
    assert isinstance(clock, HandClock)
    clock.now += 60
    await leader.leadership.turn()  # the lease ends
    await leader.leadership.turn()
    assert leader.leadership.lease is None
    text = prometheus_text(leader)
    assert value_of(text, "autoscaler_queue_jobs", worker="w", state="pending") == 10
    assert value_of(text, "autoscaler_dependency_up", dependency="Redis") == 0
    assert value_of(text, "autoscaler_dependency_up", dependency="PostgreSQL") == 1
    assert value_of(text, "autoscaler_is_leader") == 0


async def test_a_worker_that_left_the_policy_has_no_series_any_more() -> None:
    shown = await leading()
    other = POLICY.model_copy(update={"workers": {"v": POLICY.workers["w"]}})
    shown.status.serve(other, {})
    shown.policy = other
    assert 'worker="w"' not in prometheus_text(shown)
    assert 'worker="v"' in prometheus_text(shown)


async def test_the_text_names_each_dependency_that_fails() -> None:
    shown = await leading()
    shown.status.put(cycle(Outcome.FAILED, read=False))
    found = samples_of(prometheus_text(shown))["autoscaler_dependency_up"]
    assert found == {(("dependency", name),): float(name != "PostgreSQL") for name in SOURCES.names}


async def test_a_dependency_that_was_not_called_yet_is_neither_up_nor_down() -> None:
    clock = HandClock()
    status = ControllerStatus(clock, POLICY.interval, SOURCES.names)
    leadership = Leadership(Leases(), clock, timing=Timing.around(15), replica="a", report=silent)
    shown = Shown(status, leadership, POLICY)
    assert "autoscaler_dependency_up" not in samples_of(prometheus_text(shown))
    await leadership.turn()
    status.put(cycle(Outcome.FAILED, read=False))
    found = samples_of(prometheus_text(shown))["autoscaler_dependency_up"]
    assert found == {_of(dependency="PostgreSQL"): 0, _of(dependency="Redis"): 1}


async def test_a_condition_that_is_no_fault_yet_has_no_sample() -> None:
    shown = await leading()
    young = Condition(Reason.NO_PROGRESS, "no job was taken for 10 s", "see the workers' log", 10.0, degrades=False)
    shown.status.put(replace(cycle(), conditions=(young,)))
    assert "autoscaler_worker_fault" not in samples_of(prometheus_text(shown))


async def test_a_dry_run_is_no_leader_and_has_no_epoch() -> None:
    found = samples_of(prometheus_text(replace(await leading(), dry_run=True)))
    assert found["autoscaler_is_leader"] == {EMPTY: 0}
    assert "autoscaler_lease_epoch" not in found


async def test_a_secret_in_the_name_of_a_worker_is_masked_and_a_label_is_escaped() -> None:
    shown = await leading()
    for name in ("hunter2hunter2", 'a"b\\c\n'):
        shown.status.put(replace(cycle(), worker=name))
    text = prometheus_text(replace(shown, mask=Masker(["hunter2hunter2"])))
    assert value_of(text, "autoscaler_replicas", worker="•••", kind="running") == 2
    assert value_of(text, "autoscaler_replicas", worker='a"b\\c\n', kind="running") == 2
    assert "hunter2" not in text


async def test_a_worker_with_one_queue_has_no_metric_with_the_label_queue() -> None:
    shown = await leading()
    assert 'queue="urgent"' in prometheus_text(shown)
    shown.status.put(replace(cycle(Outcome.APPLIED), queue=QueueDepth(10, 5)))
    found = samples_of(prometheus_text(shown))
    assert not [name for name in found if "each_queue" in name]


async def test_a_queue_that_cannot_be_read_has_no_sample_and_is_not_0() -> None:
    shown = await leading()
    lost, read = QueuePart("urgent", None, "refused"), QueuePart("bulk", QueueDepth(2, 4))
    parts = (PartSeen(lost, None, "refused"), PartSeen(read, 0.4, "words"))
    shown.status.put(replace(cycle(Outcome.FAILED), queue=None, parts=parts))
    found = samples_of(prometheus_text(shown))["autoscaler_each_queue_jobs"]
    assert found == {w(queue="bulk", state="pending"): 2, w(queue="bulk", state="processing"): 4}


async def test_no_family_is_rendered_twice() -> None:
    families = [family.name for family in text_string_to_metric_families(prometheus_text(await leading()))]
    assert len(families) == len(set(families))
    assert not [name for name in families if not re.fullmatch("autoscaler_[a-z_]+", name)]
