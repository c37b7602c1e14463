"""Doctor's checks of Kubernetes: the rights, each target's state, and what else scales it.

Another autoscaler on the same target is an error: both would write the same number forever.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, cast

from controller.adapters.kubernetes import SOURCE
from controller.adapters.kubernetes.chooser import CHOOSABLE, ORDERED
from controller.adapters.kubernetes.client import Forbidden, KubernetesClient
from controller.adapters.kubernetes.contenders import Scaler, named, scalers_in
from controller.adapters.kubernetes.platform import KubernetesPlatform
from controller.adapters.kubernetes.resources import BY_OBJECT
from controller.core.holders import instance_of
from controller.core.ports import Unavailable
from controller.core.text import bounds
from controller.doctor.any_platform import PlatformAsked, PlatformFindings, check_any
from controller.doctor.finding import Finding, error, ok, warning
from controller.policy import KubernetesTarget

_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
_MOST_SHOWN = 3


async def check_kubernetes(asked: PlatformAsked) -> PlatformFindings:
    """All of them, for the workers in Kubernetes."""
    platform = cast("KubernetesPlatform", asked.platform)
    found = await check_any(asked)
    targets = {name: cast("KubernetesTarget", worker.target.given) for name, worker in asked.workers.items()}
    scalers = {
        namespace: await scalers_in(platform.client, namespace)
        for namespace in dict.fromkeys(target.namespace for target in targets.values())
    }
    for name, target in targets.items():
        found.workers[name] += [await rights(platform.client, target), contenders(target, scalers[target.namespace])]
        if name in asked.holders or target.resource not in {*CHOOSABLE, ORDERED}:
            key = asked.workers[name].target.key
            found.workers[name].append(await idle_first(platform, key, target, asked.holders.get(name)))
    return found


async def rights(client: KubernetesClient, target: KubernetesTarget) -> Finding:
    """Whether the account may do what a cycle does."""
    resource, _, group = target.resource.partition(".")
    scaled: Mapping[str, str] = {"resource": resource, "group": group}
    reads = [(verb, scaled) for verb in ("get", "list")] if target.resource in BY_OBJECT else []
    scale = {**scaled, "subresource": "scale"}
    reads += [("get", scale)] if target.resource not in BY_OBJECT else []
    try:
        missing = await _missing(client, target, [*reads, ("patch", scale), ("list", _PODS)])
    except Unavailable as unavailable:
        return warning("rights", f"cannot be checked: {unavailable}")
    if missing:
        return error("rights", f"lacks {', '.join(missing)} in namespace {target.namespace}", _RIGHTS)
    return ok("rights", f"may read and scale {target.words}")


async def _missing(
    client: KubernetesClient, target: KubernetesTarget, asks: Iterable[tuple[str, Mapping[str, str]]]
) -> list[str]:
    """Of these verbs and resources, what the account may not do. Raises Unavailable."""
    missing = []
    for verb, what in asks:
        answer = await client.post(_REVIEW, _review({"namespace": target.namespace, "verb": verb, **what}))
        status = answer.get("status")
        if not isinstance(status, dict):
            raise Unavailable(SOURCE, "answered a review of its rights in an unknown format")
        if status.get("allowed") is not True:
            missing.append(f"{verb} {what['resource']}{'/scale' if 'subresource' in what else ''}")
    return missing


_PODS = {"resource": "pods", "group": ""}
_RIGHTS = "apply deploy/kubernetes/rbac.yaml in that namespace"


def contenders(target: KubernetesTarget, scalers: Mapping[str, list[Scaler] | Unavailable]) -> Finding:
    """What else sets the count of this target, of those that could be listed, by kind."""
    unread = [f"{kind}: {one.text}" for kind, one in scalers.items() if isinstance(one, Unavailable)]
    others = named(target, [one for some in scalers.values() if not isinstance(some, Unavailable) for one in some])
    if others:
        fix = "delete it, or take the worker out of this policy (`autoscaler import-keda` carries a ScaledObject over)"
        return error("contenders", f"{' and '.join(others)} sets the replicas of {target.words}, too", fix)
    if unread:
        fix = _RIGHTS if any(isinstance(one, Forbidden) for one in scalers.values()) else ""
        return warning("contenders", f"it is unknown what else scales it: {'; '.join(unread)}", fix)
    return ok("contenders", "no HorizontalPodAutoscaler and no ScaledObject names it")


async def idle_first(
    platform: KubernetesPlatform, key: str, target: KubernetesTarget, holders: tuple[str, ...] | None
) -> Finding:
    """Whether idle pods go first: who holds jobs has to be known, to be pods, and the pods have to be patched."""
    about, else_ = "idle first", "so a scale-down goes by how many jobs run, and may remove a busy pod"
    chooser = platform.chooser(key)
    if chooser is None:
        return ok(about, f"which pods of {target.resource} go cannot be chosen, {else_}")
    if holders is None:
        fix = "name the column with the pod's name in queue.columns.locked_by, if there is one"
        return ok(about, f"the queue does not tell who holds a job, {else_}; {fix}")
    resource, _, group = target.resource.partition(".")
    scale = {"resource": resource, "group": group, "subresource": "scale"}
    patches = [] if target.resource == ORDERED else [("patch", _PODS)]
    try:
        missing = await _missing(platform.client, target, [("get", scale), ("list", _PODS), *patches])
        if missing:
            return warning(about, f"lacks {', '.join(missing)} in namespace {target.namespace}, {else_}", _RIGHTS)
        found = await chooser.instances()
    except Unavailable as unavailable:
        return warning(about, f"cannot be checked: {unavailable}")
    if not holders:
        return ok(about, "no job is in progress now, so it is unknown whether who holds one is named as a pod")
    pods = (*found.staying, *found.first, *found.leaving)
    known = {*pods}
    others = [holder for holder in holders if instance_of(holder, known) is None]
    if not others:
        stay = "these and all with a lower ordinal stay" if found.in_order else "these stay"
        return ok(about, f"each of the {len(holders)} that hold jobs is a pod, so {stay}")
    says = f"{len(others)} of {len(holders)} that hold jobs are no pods, such as {_shown(others)}"
    fix = "let each worker write the name of its pod (HOSTNAME there), and requeue jobs of workers that are gone"
    return warning(about, f"{says} (pods: {_shown(pods)}), {else_}", fix)


def _shown(names: Collection[str]) -> str:
    some = [repr(bounds.cut(name, bounds.NAME)) if name else "jobs without a name" for name in names][:_MOST_SHOWN]
    return ", ".join([*some, *(["…"] if len(names) > len(some) else [])]) or "none"


def _review(attributes: Mapping[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": dict(attributes)},
    }
