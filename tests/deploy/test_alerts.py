"""Each alert of deploy/prometheus fires on what it is for, and resolves, as Prometheus' own tool evaluates the rules.

Minutes count from the first reading; there is one a minute.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from tests.support.promtool import promtool

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yml"
PROMETHEUS = RULES.with_name("prometheus.yml")
A, B = 'job="autoscaler",group="g",instance="a"', 'job="autoscaler",group="g",instance="b"'


class Case(NamedTuple):
    """series: as promtool writes them. quiet, fires, resolved: minutes. labels: of the alert, without the severity."""

    alert: str
    series: dict[str, str]
    quiet: int
    fires: int
    resolved: int
    labels: dict[str, str]


G, W = {"group": "g"}, {"group": "g", "worker": "w"}


def fault(reason: str) -> dict[str, str]:
    return {f'autoscaler_worker_fault{{{A},worker="w",reason="{reason}"}}': "_x5 1x10 _x30"}


CASES = {
    "no replica leads": Case(
        alert="AutoscalerNoLeader",
        series={
            f"autoscaler_is_leader{{{A}}}": "1x5 0x10 0x30",
            f"autoscaler_is_leader{{{B}}}": "0x5 0x10 1x30",
        },
        quiet=5,
        fires=10,
        resolved=20,
        labels=G,
    ),
    "every replica is away": Case(
        alert="AutoscalerNoLeader",
        series={
            f"autoscaler_is_leader{{{A}}}": "1x5 stale _x9 1x30",
            f"up{{{A}}}": "1x5 0x10 1x30",
        },
        quiet=5,
        fires=10,
        resolved=20,
        labels=G,
    ),
    "two replicas lead": Case(
        alert="AutoscalerTwoLeaders",
        series={f"autoscaler_is_leader{{{A}}}": "1x40", f"autoscaler_is_leader{{{B}}}": "0x5 1x10 0x30"},
        quiet=5,
        fires=10,
        resolved=20,
        labels=G,
    ),
    "the loop of one replica hangs": Case(
        alert="AutoscalerLoopStale",
        series={f"autoscaler_loop_lag_seconds{{{A}}}": "2x5 62+60x10 2x30"},
        quiet=5,
        fires=10,
        resolved=20,
        labels={"group": "g", "instance": "a"},
    ),
    "every cycle of a worker fails": Case(
        alert="AutoscalerWorkerStale",
        series={f'autoscaler_last_success_timestamp_seconds{{{A},worker="w"}}': "0+60x5 300x10 960+60x30"},
        quiet=5,
        fires=15,
        resolved=20,
        labels=W,
    ),
    "PostgreSQL is away": Case(
        alert="AutoscalerDependencyDown",
        series={
            f'autoscaler_dependency_up{{{A},dependency="PostgreSQL"}}': "1x5 0x10 1x30",
            f'autoscaler_dependency_up{{{A},dependency="Redis"}}': "1x40",
            f'autoscaler_dependency_up{{{B},dependency="Redis"}}': "1x40",
        },
        quiet=5,
        fires=10,
        resolved=20,
        labels={"group": "g", "dependency": "PostgreSQL"},
    ),
    "the highest count is not enough": Case(
        alert="AutoscalerAtMax",
        series={
            f'autoscaler_replicas{{{A},worker="w",kind="desired"}}': "2x5 5x40",
            f'autoscaler_replicas{{{A},worker="w",kind="max"}}': "5x50",
            f'autoscaler_queue_jobs{{{A},worker="w",state="pending"}}': "9x29 0x20",
        },
        quiet=15,
        fires=25,
        resolved=32,
        labels=W,
    ),
    "the platform did not do what it accepted": Case(
        alert="AutoscalerNotHonoured",
        series={f'autoscaler_held_total{{{A},worker="w",reason="NotHonoured"}}': "_x5 1+6x5 31x40"},
        quiet=5,
        fires=10,
        resolved=30,
        labels=W,
    ),
    "workers take no job": Case(
        alert="AutoscalerNoProgress",
        series=fault("NoProgress"),
        quiet=5,
        fires=10,
        resolved=25,
        labels=W,
    ),
    "workers crash": Case(
        alert="AutoscalerWorkersCrash",
        series=fault("WorkersCrash"),
        quiet=5,
        fires=10,
        resolved=25,
        labels=W,
    ),
    "a deployment hangs": Case(
        alert="AutoscalerWorkerFault",
        series=fault("DeploymentHangs"),
        quiet=5,
        fires=14,
        resolved=25,
        labels={**W, "reason": "DeploymentHangs"},
    ),
    "a bug ends cycles": Case(
        alert="AutoscalerCyclesCrash",
        series={f'autoscaler_outcome_total{{{A},worker="w",outcome="crashed"}}': "0x5 1+1x5 6x40"},
        quiet=5,
        fires=8,
        resolved=30,
        labels=W,
    ),
    "the process ends again and again": Case(
        alert="AutoscalerCrashLoop",
        series={f"process_start_time_seconds{{{A}}}": "100x5 200x2 300x2 400x2 500x2 600x60"},
        quiet=10,
        fires=20,
        resolved=60,
        labels={"job": "autoscaler", "group": "g", "instance": "a"},
    ),
    "the log loses lines": Case(
        alert="AutoscalerLinesLost",
        series={f"autoscaler_log_lines_lost_total{{{A}}}": "0x5 12x40"},
        quiet=5,
        fires=8,
        resolved=30,
        labels={"group": "g", "instance": "a"},
    ),
    "requests to the platform run out": Case(
        alert="AutoscalerRequestsNearlyUsed",
        series={
            f"autoscaler_platform_quota{{{A}}}": "1000x40",
            f"autoscaler_platform_quota_remaining{{{A}}}": "900x5 200x10 900x30",
        },
        quiet=5,
        fires=13,
        resolved=20,
        labels={"group": "g", "instance": "a"},
    ),
    "a budget is nearly spent": Case(
        alert="AutoscalerBudgetNear",
        series={
            f'autoscaler_budget_spent_dollars{{{A},worker="w",budget="worker"}}': "20x5 34x10 1x30",
            f'autoscaler_budget_amount_dollars{{{A},worker="w",budget="worker"}}': "40x40",
        },
        quiet=5,
        fires=13,
        resolved=20,
        labels={"group": "g", "worker": "w", "budget": "worker"},
    ),
    "two policies": Case(
        alert="AutoscalerPoliciesDiffer",
        series={
            f'autoscaler_policy_info{{{A},hash="x"}}': "1x40",
            f'autoscaler_policy_info{{{B},hash="y"}}': "1x14 stale",
            f'autoscaler_policy_info{{{B},hash="x"}}': "_x15 1x30",
        },
        quiet=5,
        fires=12,
        resolved=20,
        labels=G,
    ),
    "a policy is refused": Case(
        alert="AutoscalerPolicyRefused",
        series={f"autoscaler_policy_refused{{{A}}}": "0x5 1x5 0x30"},
        quiet=5,
        fires=8,
        resolved=20,
        labels={"group": "g", "instance": "a"},
    ),
    "notifications fail": Case(
        alert="AutoscalerNotificationsFail",
        series={f'autoscaler_notifications_total{{{A},target="slack-1",result="failed"}}': "0x5 1x60"},
        quiet=5,
        fires=8,
        resolved=50,
        labels={"group": "g", "target": "slack-1"},
    ),
}


def rules() -> dict[str, Any]:
    (group,) = yaml.safe_load(RULES.read_text())["groups"]
    return {rule["alert"]: rule for rule in group["rules"]}


def _file(case: Case, tmp_path: Path) -> Path:
    """The case as promtool's unit test of rules; without the texts of the alerts, which it would compare as well."""
    wordless = {
        name: {key: value for key, value in rule.items() if key != "annotations"} for name, rule in rules().items()
    }
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": list(wordless.values())}]}))
    labels = {**case.labels, **rules()[case.alert]["labels"]}
    expected = {case.quiet: [], case.fires: [{"exp_labels": labels}], case.resolved: []}
    asked = [{"eval_time": f"{at}m", "alertname": case.alert, "exp_alerts": alerts} for at, alerts in expected.items()]
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    test = {"interval": "1m", "input_series": series, "alert_rule_test": asked}
    path = tmp_path / "case.yml"
    path.write_text(yaml.safe_dump({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [test]}))
    return path


def test_every_alert_has_a_case() -> None:
    assert {case.alert for case in CASES.values()} == set(rules())


@pytest.mark.costly
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_alert_fires_and_resolves(case: Case, tmp_path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", str(_file(case, tmp_path)))


def test_promtool_finds_nothing_wrong_with_the_rules_and_the_configuration() -> None:
    assert "FAILED" not in promtool("check", "config", str(PROMETHEUS))


@pytest.mark.parametrize("rule", rules().values(), ids=rules())
def test_an_alert_says_how_urgent_it_is_and_what_to_look_at(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert rule["annotations"].keys() == {"summary", "description"}
    assert all(text.endswith((".", "?")) for text in rule["annotations"].values())
