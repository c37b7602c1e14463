"""A ScaledObject becomes a policy that is valid, and what it means otherwise here is said."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from controller.cli.import_keda import _carried
from controller.cli.keda_policy import NotCarriedError, carried
from controller.config import foreign_yaml
from controller.core.problems import ConfigurationError
from controller.policy import load_policy
from tests.support.processes import autoscaler

KEDA = """
apiVersion: keda.sh/v1alpha1
kind: ScaledObject
metadata: {name: render, namespace: jobs}
spec:
  scaleTargetRef: {name: render-worker}
  pollingInterval: 15
  cooldownPeriod: 120
  minReplicaCount: 1
  maxReplicaCount: 12
  fallback: {failureThreshold: 4, replicas: 3}
  triggers:
    - type: postgresql
      metadata:
        query: "SELECT count(*) FROM job WHERE status = 'queued';"
        targetQueryValue: "5"
        activationTargetQueryValue: "2"
        connectionFromEnv: PG
"""


def scaled(other: Mapping[Any, Any] | None = None, **changes: Any) -> dict[str, Any]:
    one: dict[str, Any] = yaml.safe_load(KEDA)
    one["spec"] |= {**changes, **(other or {})}
    return one


def trigger(query: str) -> dict[str, Any]:
    return {"type": "postgresql", "metadata": {"query": query, "targetQueryValue": "5"}}


async def test_the_command_prints_a_policy_that_check_accepts_and_says_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "keda.yaml"
    path.write_text(KEDA)
    ran = await autoscaler("import-keda", str(path))
    assert ran.code == 0
    assert "warning: render: connection and authenticationRef: set DATABASE_URL" in ran.err
    policy, _ = load_policy(ran.out, {})
    worker = policy.workers["render"]
    assert worker.target.key == "kubernetes:jobs/deployments.apps/render-worker"
    assert (policy.interval, worker.per_worker, worker.activation) == (15, 5, 3)
    assert (worker.min_replicas, worker.max_replicas, worker.scale_down.cooldown) == (1, 12, 120)
    assert worker.on_unavailable is not None
    assert (worker.on_unavailable.after, worker.on_unavailable.at_least) == (60, 3)
    assert (
        worker.only_queue.sql == "SELECT (SELECT count(*) FROM job WHERE status = 'queued') AS pending, 0 AS processing"
    )


async def test_a_file_without_any_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "keda.yaml"
    path.write_text("kind: Deployment\n")
    ran = await autoscaler("import-keda", str(path))
    assert (ran.code, ran.out) == (2, "")
    assert "holds no ScaledObject" in ran.err


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"triggers": [{"type": "cron"}]}, "no trigger of type postgresql (its triggers: cron)"),
        ({"triggers": None}, "its triggers: none"),
        ({"scaleTargetRef": {}}, "scaleTargetRef has no name"),
        ({"maxReplicaCount": "many"}, "maxReplicaCount is no number"),
        ({"maxReplicaCount": 10**400}, "maxReplicaCount is no number"),
        ({"maxReplicaCount": 2.5}, "maxReplicaCount is no whole number"),
        ({"maxReplicaCount": True}, "maxReplicaCount is not between 0 and"),
        ({"minReplicaCount": 20}, "minReplicaCount, 20, is above maxReplicaCount, 12"),
        ({"pollingInterval": 99_999_999}, "pollingInterval is not between 0 and 2,678,400"),
        ({"scaleTargetRef": {"name": "W"}}, "names no object of Kubernetes: its name would be W"),
        ({"scaleTargetRef": {"name": "W" * 500}}, f"its name would be {'W' * 79}…"),
        ({"scaleTargetRef": {"name": ["w"]}}, "name is no text"),
        ({"scaleTargetRef": {"name": "w", "kind": "A B"}}, "its resource would be a bs"),
        ({"triggers": [trigger("a\0b")]}, "the query of its trigger is longer than 60,000 characters, or holds one"),
        ({"triggers": [trigger("x" * 60_001)]}, "the query of its trigger is longer than 60,000 characters"),
    ],
)
def test_what_cannot_become_a_worker_is_refused_with_the_reason(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(NotCarriedError) as error:
        carried(scaled(**changes))
    assert says in str(error.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"idleReplicaCount": 0}, "idleReplicaCount:"),
        ({"advanced": {"restoreToOriginalReplicaCount": True}}, "restoreToOriginalReplicaCount:"),
        ({"advanced": {"scalingModifiers": {"formula": "a"}}}, "scalingModifiers:"),
        ({"initialCooldownPeriod": 5}, "initialCooldownPeriod: is not known here"),
        ({"scaleTargetRef": {"kind": "Proxy", "apiVersion": "a.io/v1", "name": "p"}}, "proxies.a.io is a guess"),
        ({"fallback": {"failureThreshold": 0, "replicas": 3}}, "fallback: is left out"),
        ({"fallback": {"failureThreshold": 3, "replicas": 50}}, "fallback.replicas: 50 is not within 1 and the limits"),
        (
            {
                "advanced": {
                    "horizontalPodAutoscalerConfig": {"behavior": {"scaleUp": {"policies": [{"type": "Pods"}]}}}
                }
            },
            "behavior.policies:",
        ),
    ],
)
def test_what_has_no_counterpart_is_said(changes: dict[str, Any], says: str) -> None:
    assert any(says in words for words in carried(scaled(**changes)).lost)


def test_a_key_that_is_no_text_is_said_like_any_other() -> None:
    assert "5: is not known here" in carried(scaled({5: 6, "z": 1})).lost


def test_another_kind_and_another_trigger_are_carried_or_said() -> None:
    one = scaled(scaleTargetRef={"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "r"})
    one["spec"]["triggers"].append({"type": "cron", "metadata": {}})
    found = carried(one)
    assert found.worker["kubernetes"]["resource"] == "rollouts.argoproj.io"
    assert any("another one (cron) is left out" in words for words in found.lost)


@pytest.mark.parametrize(
    ("name", "here"), [("-é-", "worker"), ("ein name", "ein-name"), (7, "7"), (True, "True")], ids=repr
)
def test_a_worker_s_name_is_one_that_a_policy_takes(name: object, here: str) -> None:
    one = scaled()
    one["metadata"]["name"] = name
    assert carried(one).name == here


BOMB = "\n".join(f"{after}: &{after} [{', '.join([f'*{one}'] * 9)}]" for one, after in itertools.pairwise("abcdefgh"))
UNREADABLE = {
    "an object that holds itself": ("&a {items: [*a]}", "is nested more than 100 deep"),
    "aliases of aliases": (f"a: &a [x]\n{BOMB}", "has more than 1,000 values, aliases counted"),
    "a month that does not exist": ("a: 2024-13-01", "is not YAML"),
    "a number of 5,000 digits": (f"a: {'9' * 5000}", "is not YAML"),
    "a kind that is a list": ("kind: [ScaledObject]", "holds no ScaledObject"),
    "a truth value that is none": ("a: !!bool 7", "is not YAML"),
    "the same target twice": (f"{KEDA}---{KEDA}", "render: scales what render scales, too"),
}


@pytest.mark.parametrize(("text", "says"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_cannot_be_carried_is_refused_in_one_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, says: str
) -> None:
    monkeypatch.setattr(foreign_yaml, "_MOST_VALUES", 1_000)
    path = tmp_path / "keda.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError) as error:
        _carried(path)
    assert says in str(error.value)


async def test_of_a_whole_cluster_each_worker_has_a_name_of_its_own_and_what_is_not_ours_is_left_out(
    tmp_path: Path,
) -> None:
    elsewhere = KEDA.replace("namespace: jobs", "namespace: test")
    kafka = KEDA.replace("type: postgresql", "type: kafka").replace("name: render,", "name: events,")
    path = tmp_path / "keda.yaml"
    job = KEDA.replace("kind: ScaledObject", "kind: ScaledJob").replace("name: render,", "name: nightly,")
    path.write_text(f"{KEDA}---{elsewhere}---{kafka}---{job}")
    ran = await autoscaler("import-keda", str(path))
    policy, _ = load_policy(ran.out, {})
    assert {name: one.target.key for name, one in policy.workers.items()} == {
        "render": "kubernetes:jobs/deployments.apps/render-worker",
        "test.render": "kubernetes:test/deployments.apps/render-worker",
    }
    said = " ".join(ran.err.split())
    assert "events: has no trigger of type postgresql (its triggers: kafka); it is left out" in said
    assert "nightly: is a ScaledJob" in said
    assert "test.render: name: another one is called render, too" in said


@pytest.mark.parametrize(
    ("query", "sql"),
    [
        pytest.param("SELECT '${A}' || $$x$$;", "SELECT (SELECT '${A}' || $$x$$) AS", id="dollars"),
        pytest.param("SELECT 1; -- of all\n", "SELECT (SELECT 1) AS", id="a comment after the statement"),
        pytest.param("SELECT 1 -- all", "SELECT (SELECT 1 -- all\n) AS", id="a comment at the end"),
    ],
)
def test_a_query_means_in_the_policy_what_it_meant_in_keda(query: str, sql: str) -> None:
    trigger = {"type": "postgresql", "metadata": {"query": query, "targetQueryValue": "5"}}
    one = carried(scaled(triggers=[trigger]))
    policy, _ = load_policy(yaml.safe_dump({"workers": {one.name: one.worker}}), {})
    assert policy.workers["render"].only_queue.sql == f"{sql} pending, 0 AS processing"
