"""/metrics: each row of the table is rendered as it is declared, as JSON and in the Prometheus text format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from controller.config.timing import Timing
from controller.core.conditions import Condition
from controller.core.model import Decision, QueueDepth, QueuePart
from controller.core.override import Kind, Override
from controller.core.ports import Requests
from controller.core.reasons import Because, Reason
from controller.core.text.masking import Masker
from controller.loop.cycle import Outcome, PartSeen
from controller.loop.leadership import Leadership
from controller.loop.notifier import TargetReport
from controller.loop.override_status import OverrideStatus
from controller.loop.schedule_status import ScheduleStatus
from controller.loop.shadow_status import ShadowStatus
from controller.loop.status import ControllerStatus
from controller.policy import Policy, Schedule
from controller.web.health import Shown, health_body
from controller.web.metrics import METRICS, InJson, Metric, Sample, metrics_body, prometheus_text
from tests.support.sources import SOURCES
from tests.web.stand_ins import FAULT, POLICY, HandClock, Leases, NoLeases, cycle, silent

PROMISED = {"workers_current", "workers_max", "queue_pending", "queue_processing", "rpm_used", "rpm_limit"}
"""The keys of the JSON, by the contract."""


class Rendered(NamedTuple):
    """What a row looks like for leading(): its samples in the text, and its key and figure in the JSON."""

    samples: list[str]
    in_json: tuple[str, int] | None = None


ALWAYS = Schedule.model_validate({"cron": "* * * * *", "for": "1h", "timezone": "UTC", "min_replicas": 1})
SCHEDULED = POLICY.model_copy(
    update={"workers": {"w": POLICY.workers["w"].model_copy(update={"schedules": (ALWAYS,)})}}
)
RENDERED: Mapping[str, Rendered] = {
    "autoscaler_replicas_configured": Rendered(['{worker="w"} 3']),
    "autoscaler_replicas_running": Rendered(['{worker="w"} 2'], ("workers_current", 2)),
    "autoscaler_replicas_recommended": Rendered(['{worker="w"} 6']),
    "autoscaler_replicas_desired": Rendered(['{worker="w"} 4']),
    "autoscaler_replicas_max": Rendered(['{worker="w"} 7'], ("workers_max", 5)),
    "autoscaler_queue_pending_jobs": Rendered(['{worker="w"} 10'], ("queue_pending", 10)),
    "autoscaler_queue_processing_jobs": Rendered(['{worker="w"} 5'], ("queue_processing", 5)),
    "autoscaler_queue_soon_jobs": Rendered(['{worker="w"} 8']),
    "autoscaler_queue_stale_jobs": Rendered(['{worker="w"} 1']),
    "autoscaler_queue_oldest_age_seconds": Rendered(['{worker="w"} 3.2']),
    "autoscaler_each_queue_pending_jobs": Rendered(
        ['{worker="w",queue="urgent"} 8', '{worker="w",queue="bulk"} 2'],
    ),
    "autoscaler_each_queue_processing_jobs": Rendered(
        ['{worker="w",queue="urgent"} 1', '{worker="w",queue="bulk"} 4'],
    ),
    "autoscaler_each_queue_oldest_age_seconds": Rendered(['{worker="w",queue="urgent"} 3.2']),
    "autoscaler_each_queue_wanted_replicas": Rendered(
        ['{worker="w",queue="urgent"} 1.7', '{worker="w",queue="bulk"} 0.4'],
    ),
    "autoscaler_rpm_used": Rendered(['{worker="w"} 30'], ("rpm_used", 30)),
    "autoscaler_rpm_limit": Rendered(['{worker="w"} 90'], ("rpm_limit", 60)),
    "autoscaler_observation_age_seconds": Rendered(['{worker="w"} 2.5']),
    "autoscaler_failing": Rendered(
        [
            '{source="PostgreSQL"} 0',
            '{source="Railway"} 0',
            '{source="Redis"} 0',
            '{source="NoProgress",worker="w"} 1',
        ]
    ),
    "autoscaler_override_left_seconds": Rendered(['{worker="w",override="hold"} 57.5']),
    "autoscaler_schedule_active": Rendered(['{worker="w"} 1']),
    "autoscaler_shadow_replicas_desired": Rendered(['{worker="w",policy="shadow"} 3']),
    "autoscaler_shadow_worker_seconds": Rendered(
        ['{worker="w",policy="shadow"} 5400', '{worker="w",policy="in_force"} 7200']
    ),
    "autoscaler_shadow_implied_wait_seconds": Rendered(['{worker="w",policy="shadow"} 12.5']),
    "autoscaler_cycles_total": Rendered(['{worker="w",outcome="applied"} 2']),
    "autoscaler_scales_total": Rendered(['{worker="w",direction="up"} 2']),
    "autoscaler_policy_info": Rendered([f'{{hash="{SCHEDULED.digest}"}} 1']),
    "autoscaler_policy_loaded_timestamp_seconds": Rendered([" 1790000000.5"]),
    "autoscaler_policy_refused": Rendered([" 0"]),
    "autoscaler_is_leader": Rendered([" 1"]),
    "autoscaler_lease_epoch": Rendered([" 7"]),
    "autoscaler_log_lines_lost_total": Rendered([" 12"]),
    "autoscaler_notifications_total": Rendered(
        ['{target="slack-1",result="sent"} 4', '{target="slack-1",result="failed"} 0']
    ),
    "autoscaler_railway_requests_used": Rendered([" 412"]),
    "autoscaler_railway_requests_quota": Rendered([" 1000"]),
}


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
        overrides=(OverrideStatus.of(Override("o1", Kind.HOLD, "ann", 0.0, 60.0, replicas=4), 0.0),),
        schedule=ScheduleStatus.of(SCHEDULED.workers["w"], 0.0),
    )
    status.put(last)
    status.put(last)
    status.put_shadow("w", ShadowStatus(3, "Tier", "hold", "then", "then", 1.0, 1.5, 2.0, 0.0, 0.0, 12.5, None))
    clock.now += 2.5
    return Shown(
        status,
        leadership,
        SCHEDULED,
        requests=lambda: Requests(412, 1000, 3600.0, 7.25),
        lost_lines=lambda: 12,
        loaded_at=1_790_000_000.5,
        notifications=lambda: [TargetReport("slack-1", {"sent": 4, "failed": 0}, 0)],
    )


def test_every_metric_has_its_line_in_this_table() -> None:
    assert list(METRICS) == list(RENDERED)


@pytest.mark.parametrize("name", METRICS)
async def test_a_row_is_rendered_in_the_text_with_its_help_its_type_and_its_samples(name: str) -> None:
    lines = prometheus_text(await leading()).splitlines()
    metric, samples = METRICS[name], RENDERED[name].samples
    start = lines.index(f"# HELP {name} {metric.help}")
    block = lines[start : start + 2 + len(samples)]
    assert block[1:] == [f"# TYPE {name} {metric.kind}", *(f"{name}{sample}" for sample in samples)]
    assert [line for line in lines if re.match(rf"(# \w+ )?{name}\b", line)] == block, "and nowhere else"


@pytest.mark.parametrize("name", METRICS)
async def test_a_row_is_rendered_in_the_json_under_its_key_and_only_if_it_has_one(name: str) -> None:
    body, row, expected = metrics_body(await leading()), METRICS[name].in_json, RENDERED[name].in_json
    assert (None if row is None else (row.key, body[row.key])) == expected


async def test_what_a_queue_cannot_tell_has_no_sample_and_is_not_0() -> None:
    shown = await leading()
    (last,) = shown.status.workers.values()
    assert last.stale == 1
    shown.status.put(replace(cycle(Outcome.APPLIED), queue=QueueDepth(10, 5)))
    samples = [line for line in prometheus_text(shown).splitlines() if not line.startswith("#")]
    assert [line for line in samples if re.match(r"autoscaler_queue_(soon|stale|oldest)", line)] == []
    assert 'autoscaler_queue_pending_jobs{worker="w"} 10' in samples


def test_the_json_has_the_promised_keys_and_no_others(shown: Shown) -> None:
    assert metrics_body(shown).keys() == PROMISED


async def test_the_text_follows_the_format_line_by_line() -> None:
    text = prometheus_text(await leading())
    assert text.endswith("\n")
    label = r'[a-z_]+="(?:[^"\\\n]|\\["\\n])*"'
    shapes = (
        r"# HELP [a-z_]+ [^\\]+\.",
        r"# TYPE [a-z_]+ (gauge|counter)",
        rf"[a-z_]+(\{{{label}(,{label})*\}})? [0-9.e+]+",
    )
    for line in text.splitlines():
        assert any(re.fullmatch(shape, line) for shape in shapes), line


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_a_name_ends_in_its_unit_where_prometheus_asks_for_it_and_a_counter_in_total(metric: Metric) -> None:
    assert metric.name.startswith("autoscaler_")
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    for unit in ("seconds", "jobs"):
        assert metric.name.endswith(f"_{unit}") == (metric.unit == unit)
    assert metric.unit


def test_a_metric_that_was_never_read_is_null_in_the_json_and_absent_in_the_text(shown: Shown) -> None:
    assert metrics_body(shown) == {
        "workers_current": None,
        "workers_max": 5,
        "queue_pending": None,
        "queue_processing": None,
        "rpm_used": None,
        "rpm_limit": 60,
    }
    names = set(re.findall(r"^(autoscaler_\w+)", prometheus_text(shown), re.MULTILINE))
    assert names == {
        *("autoscaler_failing", "autoscaler_is_leader", "autoscaler_log_lines_lost_total"),
        *("autoscaler_policy_info", "autoscaler_policy_refused"),
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


def test_the_text_names_each_dependency_that_fails(shown: Shown) -> None:
    shown.status.put(cycle(Outcome.FAILED, read=False))
    samples = [line for line in prometheus_text(shown).splitlines() if line.startswith("autoscaler_failing")]
    assert samples == [
        'autoscaler_failing{source="PostgreSQL"} 1',
        'autoscaler_failing{source="Railway"} 0',
        'autoscaler_failing{source="Redis"} 0',
    ]


def test_a_condition_that_is_no_fault_yet_has_no_sample(shown: Shown) -> None:
    young = Condition(Reason.NO_PROGRESS, "no job was taken for 10 s", "see the workers' log", 10.0, degrades=False)
    shown.status.put(replace(cycle(), conditions=(young,)))
    assert "NoProgress" not in prometheus_text(shown)


async def test_a_dry_run_is_no_leader_and_has_no_epoch() -> None:
    dry = replace(await leading(), dry_run=True)
    assert "autoscaler_is_leader 0" in prometheus_text(dry).splitlines()
    assert "autoscaler_lease_epoch" not in prometheus_text(dry)


def test_a_secret_in_the_name_of_a_worker_is_masked_and_a_label_is_escaped() -> None:
    clock = HandClock()
    status = ControllerStatus(clock, POLICY.interval, SOURCES.names)
    leadership = Leadership(NoLeases(), clock, timing=Timing.around(15), replica="a", report=silent)
    for name in ("hunter2hunter2", 'a"b\\c'):
        status.put(replace(cycle(), worker=name))
    lines = prometheus_text(Shown(status, leadership, POLICY, mask=Masker(["hunter2hunter2"]))).splitlines()
    assert 'autoscaler_replicas_running{worker="•••"} 2' in lines
    assert r'autoscaler_replicas_running{worker="a\"b\\c"} 2' in lines


async def test_one_row_more_is_one_metric_more_in_both_forms(monkeypatch: pytest.MonkeyPatch) -> None:
    row = Metric("autoscaler_x", "gauge", "x", "An x.", lambda _: iter([Sample(5)]), InJson("x", lambda _: 5))
    monkeypatch.setattr("controller.web.metrics.METRICS", {**METRICS, row.name: row})
    shown = await leading()
    assert metrics_body(shown)["x"] == 5
    assert prometheus_text(shown).endswith("# HELP autoscaler_x An x.\n# TYPE autoscaler_x gauge\nautoscaler_x 5\n")


async def test_a_worker_with_one_queue_has_no_metric_with_the_label_queue() -> None:
    shown = await leading()
    assert 'queue="urgent"' in prometheus_text(shown)
    shown.status.put(replace(cycle(Outcome.APPLIED), queue=QueueDepth(10, 5)))
    assert not [line for line in prometheus_text(shown).splitlines() if "queue=" in line or "each_queue" in line]


async def test_a_queue_that_cannot_be_read_has_no_sample_and_is_not_0() -> None:
    shown = await leading()
    lost, read = QueuePart("urgent", None, "refused"), QueuePart("bulk", QueueDepth(2, 4))
    parts = (PartSeen(lost, None, "refused"), PartSeen(read, 0.4, "words"))
    shown.status.put(replace(cycle(Outcome.FAILED), queue=None, parts=parts))
    samples = [line for line in prometheus_text(shown).splitlines() if line.startswith("autoscaler_each_queue_pending")]
    assert samples == ['autoscaler_each_queue_pending_jobs{worker="w",queue="bulk"} 2']
