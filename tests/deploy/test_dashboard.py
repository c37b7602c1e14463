"""The Grafana dashboard and what compose provisions: valid, of metrics that exist, and mounted where they are read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.process_collector import PROCESS_COLLECTOR

from controller.web.metrics import METRICS
from tests.support.promtool import promtool

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
OURS = re.compile(r"\b(?:autoscaler|process)_[a-z_]+")


def exported() -> set[str]:
    """The names of all samples; of a histogram with their suffixes."""
    names = {sample.name for family in PROCESS_COLLECTOR.collect() for sample in family.samples}
    for metric in METRICS.values():
        suffixes = ("_bucket", "_count", "_sum") if metric.kind == "histogram" else ("",)
        names |= {metric.name + suffix for suffix in suffixes}
    return names


def panels() -> Iterator[dict[str, Any]]:
    yield from (panel for panel in DASHBOARD["panels"] if panel["type"] != "row")


def expressions() -> dict[str, str]:
    found = {f"{one['title']} {at['refId']}": at["expr"] for one in panels() for at in one["targets"]}
    found |= {one["name"]: one["expr"] for one in DASHBOARD["annotations"]["list"]}
    return found


def rules() -> list[str]:
    (group,) = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule["expr"] for rule in group["rules"]]


@pytest.mark.parametrize("expression", [*expressions().values(), *rules()])
def test_each_metric_of_the_dashboard_and_of_the_alerts_is_exported_and_not_deprecated(expression: str) -> None:
    named = set(OURS.findall(expression))
    assert named
    assert named <= exported()


@pytest.mark.parametrize("expression", [*expressions().values(), *rules()])
def test_each_label_that_an_expression_selects_or_groups_by_is_one_of_its_metrics(expression: str) -> None:
    of_targets = {"group", "instance", "job", "le"}
    declared = {
        label
        for name in OURS.findall(expression)
        for metric in METRICS.values()
        if name.startswith(metric.name)
        for label in metric.labels
    }
    grouped = [label for labels in re.findall(r"by \(([^)]*)\)", expression) for label in re.split(r", *", labels)]
    selected = re.findall(r"(\w+)(?:=~|!~|!=|=)\"", expression)
    assert {*grouped, *selected} <= declared | of_targets


def test_promtool_can_read_every_expression_of_the_dashboard(tmp_path: Path) -> None:
    ready = [one.replace("$__rate_interval", "1m") for one in expressions().values()]
    records = [{"record": f"a:{at}", "expr": expression} for at, expression in enumerate(ready)]
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": records}]}))
    assert "SUCCESS" in promtool("check", "rules", str(tmp_path / "rules.yml"))


def test_grafana_s_own_types_read_the_dashboard_and_lose_nothing_of_it() -> None:
    sdk = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason="grafana-foundation-sdk is missing")
    cog = pytest.importorskip("grafana_foundation_sdk.cog.encoder")
    read = json.loads(cog.JSONEncoder().encode(sdk.Dashboard.from_json(DASHBOARD)))
    assert [one["title"] for one in read["panels"]] == [one["title"] for one in DASHBOARD["panels"]]
    assert read.keys() >= DASHBOARD.keys() - {"liveNow"}
    for panel, original in zip(read["panels"], DASHBOARD["panels"], strict=True):
        assert panel.keys() >= original.keys()
        assert panel["gridPos"] == original["gridPos"]


def test_every_panel_is_said_in_words_has_its_place_and_is_of_the_chosen_group() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
    assert all(panel["description"] for panel in panels())
    assert all('group=~"$group"' in expression for expression in expressions().values())
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])


def test_the_variables_are_group_and_worker_and_panels_name_the_data_source_by_a_variable() -> None:
    assert [one["name"] for one in DASHBOARD["templating"]["list"]] == ["datasource", "group", "worker"]
    assert {panel["datasource"]["uid"] for panel in panels()} == {"${datasource}"}


def test_compose_mounts_what_prometheus_and_grafana_read_where_they_read_it() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    mounts = dict(
        volume.removesuffix(":ro").split(":")[::-1]
        for name in ("prometheus", "grafana")
        for volume in services[name]["volumes"]
    )
    assert all((DEPLOY / source).exists() for source in mounts.values())
    prometheus = yaml.safe_load((DEPLOY / mounts["/etc/prometheus"] / "prometheus.yml").read_text())
    assert all((DEPLOY / "prometheus" / name).is_file() for name in prometheus["rule_files"])
    (job,) = prometheus["scrape_configs"]
    targets = {target.split(":")[0] for static in job["static_configs"] for target in static["targets"]}
    assert targets == {"controller-a", "controller-b"} <= services.keys()

    provisioning = DEPLOY / mounts["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "autoscaler.yml").read_text())["providers"]
    home = services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert home == f"{provider['options']['path']}/dashboard.json"
    assert mounts[home] == "./grafana/dashboard.json"
    assert job["job_name"] == "autoscaler", "the alerts select this job"
