"""What is deployed in a cluster: valid by Kubernetes' own schemas, and fitting together."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from controller.policy import load_policy
from tests.support.kubectl import KUBECTL, needs_kubectl

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"


def manifests() -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(FOLDER.glob("*.yaml")):
        for one in yaml.safe_load_all(path.read_text()):
            if "kind" in one:
                yield path.name, one


EACH = list(manifests())


def of(kind: str) -> dict[str, Any]:
    (found,) = (one for _, one in EACH if one["kind"] == kind)
    return found


@pytest.mark.parametrize(("name", "manifest"), EACH, ids=[f"{name}-{one['kind']}" for name, one in EACH])
def test_each_manifest_is_valid_by_kubernetes_schema(name: str, manifest: dict[str, Any]) -> None:
    if manifest["kind"] in {"Kustomization", "ServiceMonitor"}:
        pytest.skip("no part of Kubernetes itself")
    kubernetes_validate.validate(manifest, "1.32", strict=True)


def test_two_replicas_are_probed_and_may_not_both_be_evicted() -> None:
    deployment, budget = of("Deployment")["spec"], of("PodDisruptionBudget")["spec"]
    (container,) = deployment["template"]["spec"]["containers"]
    assert (deployment["replicas"], budget["minAvailable"]) == (2, 1)
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    labels = deployment["template"]["metadata"]["labels"]
    selectors = [deployment["selector"], budget["selector"], of("NetworkPolicy")["spec"]["podSelector"]]
    assert all(one == {"matchLabels": labels} for one in selectors)
    assert of("Service")["spec"]["selector"] == labels


def test_the_rights_are_those_of_a_cycle_and_of_doctor_and_no_more() -> None:
    rights = {
        (group, resource): set(rule["verbs"])
        for rule in of("Role")["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert rights == {
        ("apps", "deployments"): {"get", "list"},
        ("apps", "deployments/scale"): {"get", "patch"},
        ("", "pods"): {"list", "patch"},
        ("autoscaling", "horizontalpodautoscalers"): {"list"},
        ("keda.sh", "scaledobjects"): {"list"},
    }


def test_the_policy_is_valid_and_the_role_is_in_the_namespace_of_its_worker() -> None:
    policy, _ = load_policy((FOLDER / "policy.yaml").read_text(), {})
    (worker,) = policy.workers.values()
    assert worker.kubernetes is not None
    assert worker.kubernetes.namespace == of("Role")["metadata"]["namespace"]


@needs_kubectl
def test_the_kustomization_makes_all_of_them() -> None:
    made = subprocess.run([KUBECTL, "kustomize", FOLDER], capture_output=True, text=True, check=True).stdout
    every = list(yaml.safe_load_all(made))
    assert {one["kind"] for one in every} == {one["kind"] for _, one in EACH} - {"Kustomization", "ServiceMonitor"} | {
        "ConfigMap"
    }
    places = {one["kind"]: one["metadata"].get("namespace") for one in every}
    assert (places["Role"], places["ConfigMap"], places["Deployment"]) == ("workers", "autoscaler", "autoscaler")
