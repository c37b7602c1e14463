"""Documents that cannot rot: every word that the program uses is explained, and what ships is what is described."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from graphql import build_schema, parse, validate

from controller.adapters.queues.preset import load
from controller.adapters.railway import operations
from controller.cycle import Outcome
from controller.demo.fake_railway import ENVIRONMENT_ID, PROJECT_ID, WORKER_SERVICE_ID
from controller.model import Reason
from controller.policy import PRESETS, WorkerPolicy
from controller.server import METRICS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
SOURCES = "\n".join(path.read_text() for path in (ROOT / "controller").glob("*.py"))


@pytest.mark.parametrize("reason", list(Reason))
def test_the_readme_has_a_row_for_every_reason(reason: Reason) -> None:
    assert f"| `{reason}` |" in README


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_readme_names_every_outcome(outcome: Outcome) -> None:
    assert f"`{outcome}`" in README


@pytest.mark.parametrize("name", PRESETS)
def test_the_readme_marks_what_each_preset_was_tested_with(name: str) -> None:
    preset = load(name)
    tested = {"library": "its own client and worker", "schema": "its published tables"}[preset.tested]
    assert f"| `{name}` | {preset.library} ({preset.language}) | {tested}, {preset.versions} |" in README


@pytest.mark.parametrize("metric", METRICS)
def test_the_readme_names_every_metric(metric: str) -> None:
    assert f"`{metric}`" in README


@pytest.mark.parametrize("key", WorkerPolicy.model_fields)
def test_the_readme_has_a_row_for_every_key_of_a_worker_s_policy(key: str) -> None:
    assert re.search(rf"^\|.*`…{key}[`.]", README, re.MULTILINE)


def test_the_readme_has_a_row_for_every_variable() -> None:
    read = set(re.findall(r'"((?:RAILWAY|DATABASE|REDIS|LEASE|LOG|AUTOSCALER)_[A-Z_]+|PORT)"', SOURCES))
    read |= set(re.findall(r"\$\{([A-Z_]+)", (ROOT / "policy.yaml").read_text()))
    read -= {"RAILWAY_REPLICA_ID", "NAME"}  # Railway sets the one; the other is a comment's example
    assert len(read) > 15
    assert [name for name in sorted(read) if f"| `{name}` |" not in README] == []


def test_the_readme_names_every_event_of_the_log() -> None:
    events = set(re.findall(r'(?:event|[_.]report)\(\s*"([a-z_]+)"', SOURCES))
    assert len(events) > 8
    assert [name for name in sorted(events) if f"`{name}`" not in README] == []


def test_the_readme_tells_what_doctor_looks_at() -> None:
    every = "".join(path.read_text() for path in (ROOT / "controller").rglob("*.py"))
    about = set(re.findall(r'\b(?:ok|warning|error|_took)\(\s*"([\w -]+)",', every))
    assert len(about) > 15
    assert [name for name in sorted(about) if f"`{name}`" not in README] == []


def test_the_readme_s_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_compose_points_two_controllers_at_the_fake() -> None:
    services = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())["services"]
    for name in ("controller-a", "controller-b"):
        environment = services[name]["environment"]
        assert environment["RAILWAY_PROJECT_ID"] == PROJECT_ID
        assert environment["RAILWAY_ENVIRONMENT_ID"] == ENVIRONMENT_ID
        assert environment["RAILWAY_WORKER_SERVICE_ID"] == WORKER_SERVICE_ID
    assert {"postgres", "redis", "railway"} <= services.keys()


def test_the_controller_s_own_service_has_two_replicas_a_healthcheck_and_time_to_leave() -> None:
    deploy = json.loads((ROOT / "deploy" / "railway.json").read_text())["deploy"]
    assert (deploy["numReplicas"], deploy["healthcheckPath"]) == (2, "/health")
    assert int(deploy["overlapSeconds"]) >= 15
    assert int(deploy["drainingSeconds"]) > 20


def test_the_mutations_that_set_the_service_up_validate() -> None:
    schema = build_schema((ROOT / "controller" / "demo" / "fake_railway" / "schema.graphql").read_text())
    assert validate(schema, parse((ROOT / "deploy" / "railway.graphql").read_text())) == []


def test_the_dockerfile_runs_the_controller_itself_and_not_as_root() -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    assert 'ENTRYPOINT ["autoscaler"]' in dockerfile
    assert re.search(r"^USER 65534", dockerfile, re.MULTILINE)


def test_no_operation_is_sent_that_could_ask_for_zero() -> None:
    assert not re.search(r"numReplicas:\s*0", "".join(operations.ALL.values()))
