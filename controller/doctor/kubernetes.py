"""Doctor's checks of Kubernetes: the rights, each target's state, and what else scales it.

Another autoscaler on the same target is an error: both would write the same number forever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from controller.adapters.kubernetes.client import KubernetesClient
from controller.adapters.kubernetes.platform import KubernetesPlatform
from controller.adapters.kubernetes.resources import BY_OBJECT
from controller.core.ports import Unavailable
from controller.doctor.any_platform import PlatformAsked, PlatformFindings, check_any
from controller.doctor.finding import Finding, error, ok, warning
from controller.policy import KubernetesTarget

_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_SCALERS = (
    ("HorizontalPodAutoscaler", "/apis/autoscaling/v1/namespaces/{}/horizontalpodautoscalers", "Deployment"),
    ("ScaledObject", "/apis/keda.sh/v1alpha1/namespaces/{}/scaledobjects", "Deployment"),
)
"""Kinds that set a count, where they are listed, and the kind that their scaleTargetRef has by default.

Each API server lists all HorizontalPodAutoscalers as v1, too; v2 is only there from Kubernetes 1.23 on.
"""


async def check_kubernetes(asked: PlatformAsked) -> PlatformFindings:
    """All of them, for the workers in Kubernetes."""
    platform = cast("KubernetesPlatform", asked.platform)
    found = await check_any(asked)
    targets = {name: cast("KubernetesTarget", worker.target.given) for name, worker in asked.workers.items()}
    scalers = {
        namespace: await _scalers(platform.client, namespace)
        for namespace in dict.fromkeys(target.namespace for target in targets.values())
    }
    for name, target in targets.items():
        found.workers[name] += [await rights(platform.client, target), contenders(target, scalers[target.namespace])]
    return found


async def rights(client: KubernetesClient, target: KubernetesTarget) -> Finding:
    """Whether the account may do what a cycle does."""
    resource, _, group = target.resource.partition(".")
    scaled: Mapping[str, str] = {"resource": resource, "group": group}
    reads = [(verb, scaled) for verb in ("get", "list")] if target.resource in BY_OBJECT else []
    scale = {**scaled, "subresource": "scale"}
    reads += [("get", scale)] if target.resource not in BY_OBJECT else []
    asks = [*reads, ("patch", scale), ("list", {"resource": "pods", "group": ""})]
    missing = []
    for verb, what in asks:
        attributes = {"namespace": target.namespace, "verb": verb, **what}
        try:
            answer = await client.post(_REVIEW, _review(attributes))
        except Unavailable as unavailable:
            return warning("rights", f"cannot be checked: {unavailable}")
        if not answer.get("status", {}).get("allowed"):
            missing.append(f"{verb} {what['resource']}{'/scale' if 'subresource' in what else ''}")
    if missing:
        return error("rights", f"lacks {', '.join(missing)} in namespace {target.namespace}", _RIGHTS)
    return ok("rights", f"may read and scale {target.words}")


_RIGHTS = "apply deploy/kubernetes/rbac.yaml in that namespace"


def contenders(target: KubernetesTarget, scalers: list[tuple[str, dict[str, Any]]]) -> Finding:
    """What else sets the count of this target."""
    plural = target.resource.partition(".")[0]
    others = [
        f"{kind} {one.get('metadata', {}).get('name')}"
        for kind, one in scalers
        if (reference := one.get("spec", {}).get("scaleTargetRef", {})).get("name") == target.name
        if f"{str(reference.get('kind') or 'Deployment').lower()}s" == plural
    ]
    if others:
        fix = "delete it, or take the worker out of this policy (`autoscaler import-keda` carries a ScaledObject over)"
        return error("contenders", f"{' and '.join(others)} sets the replicas of {target.words}, too", fix)
    return ok("contenders", "no HorizontalPodAutoscaler and no ScaledObject that can be read names it")


async def _scalers(client: KubernetesClient, namespace: str) -> list[tuple[str, dict[str, Any]]]:
    """Each with its kind; those that may not be read are left out."""
    found: list[tuple[str, dict[str, Any]]] = []
    for kind, path, _ in _SCALERS:
        try:
            items = (await client.get(path.format(namespace))).get("items", [])
        except Unavailable:
            continue
        found += [(kind, one) for one in items if isinstance(one, dict)]
    return found


def _review(attributes: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": dict(attributes)},
    }
