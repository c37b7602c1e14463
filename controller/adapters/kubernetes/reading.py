"""What the API's objects say of a target, as Replicas. Pure.

    An absent spec.replicas is 1 in a Deployment, a StatefulSet or a Rollout, and 0 in a Scale, which omits a zero.

A target is never STARTING: Kubernetes takes any count at any time, also during a rollout, so no change waits.
What keeps pods from running is told by its own word (ImagePullBackOff, Unschedulable, FailedCreate of a quota, paused,
ProgressDeadlineExceeded) as a deployment under way, which degrades /health if it lasts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

from controller.adapters.kubernetes import SOURCE
from controller.core.model import Instances, PlatformWords, Replicas, ServiceState, UnderWay
from controller.core.ports import Unavailable
from controller.core.text import bounds
from controller.policy import KubernetesTarget

_MOST = 1_000_000_000
_GRACE_S = 30
"""terminationGracePeriodSeconds where none is written."""
_CANNOT_START = {
    "ErrImagePull": "check the image's name and the pull secret",
    "ImagePullBackOff": "check the image's name and the pull secret",
    "InvalidImageName": "check the image's name",
    "ErrImageNeverPull": "the image is not on the node; change imagePullPolicy",
    "CreateContainerConfigError": "check the ConfigMaps and Secrets that the pods name",
    "CreateContainerError": "see the pod's events",
}
_OVER = frozenset({"Succeeded", "Failed"})
"""Phases of a pod that has ended."""
_STARTED_AGAIN = {"CrashLoopBackOff", "RunContainerError"}
"""What a container that ended waits with; by turns, where its command is not there."""
_REPLICA_SET, _ROLLOUT = "replicasets.apps", "rollouts.argoproj.io"
_MOST_ORDINALS = 10_000
_WHOLE = re.compile(r"-?[0-9]{1,10}")
_REQUIREMENT = re.compile(r"\s*(!?)([^\s=!,()]+)\s*(?:(==|=|!=)\s*([^,\s]*)|\s(in|notin)\s*\(([^)]*)\))?\s*(?:,|$)")


class Coordinates(NamedTuple):
    """What a change of a target has to carry."""

    resource_version: str


@dataclass(frozen=True, slots=True)
class Pods:
    """Pods of one target. ready: those that are. crashed, exited: by the exit code that their container ended with.

    kept: why others do not start, and the fix; "" if nothing is known to keep them.
    """

    ready: int = 0
    every: int = 0
    leaving: int = 0
    crashed: int = 0
    exited: int = 0
    kept: str = ""
    fix: str = ""


def of_object(target: KubernetesTarget, found: Mapping[str, Any], pods: Pods | None) -> Replicas:
    """A Deployment, StatefulSet, ReplicaSet or Rollout. pods: None where they were not read.

    Raises:
        Unavailable: it is not understood, or is being deleted.
    """
    meta, spec, status = _sections(found)
    if meta.get("deletionTimestamp"):
        raise Unavailable(SOURCE, f"is deleting {target.words}")
    configured = _count(spec, "replicas", 1)
    ready, every = _count(status, "readyReplicas", 0), _count(status, "replicas", 0)
    template = _part(_part(spec, "template"), "spec")
    leaving = max(_count(status, "terminatingReplicas", 0), 0 if pods is None else pods.leaving)
    told = _Told(
        configured,
        running=min(ready, every) if every else ready,
        every=every,
        leaving=leaving,
        grace_s=_count(template, "terminationGracePeriodSeconds", _GRACE_S),
        coming=_rollout(target, found) if configured else None,
        revision=_revision(meta, status),
    )
    return _replicas(target, meta, told, pods)


def of_scale(target: KubernetesTarget, found: Mapping[str, Any], pods: Pods | None) -> Replicas:
    """A Scale. Raises Unavailable: it is not understood."""
    meta, _, status = _sections(found)
    configured, every = count_of_scale(found), _count(status, "replicas", 0)
    told = _Told(configured, every, every)
    if pods is not None:
        told = _Told(configured, pods.ready, max(every, pods.every), pods.leaving)
    return _replicas(target, meta, told, pods)


def count_of_scale(found: Mapping[str, Any]) -> int:
    """What a Scale asks for. Raises Unavailable: it has no spec, or no count in it."""
    return _count(_sections(found)[1], "replicas", 0)


def needs_pods(found: Mapping[str, Any]) -> bool:
    """Whether an object's pods have to be looked at: fewer are ready than are wanted, or some are going."""
    spec, status = _part(found, "spec"), _part(found, "status")
    return _count(status, "readyReplicas", 0) != _count(spec, "replicas", 1)


def matches(selector: object, labels: Mapping[str, Any]) -> bool:
    """Of a LabelSelector of an object, or of its text in a Scale. An empty one selects nothing here."""
    return _all_hold(_wants(selector), labels)


def pods_of(selector: object, pods: Iterable[Mapping[str, Any]]) -> Pods:
    """Those that the selector selects."""
    ready = every = leaving = crashed = exited = 0
    kept = fix = ""
    wants = _wants(selector)
    for pod in pods:
        meta, status = _part(pod, "metadata"), _part(pod, "status")
        if not _all_hold(wants, _part(meta, "labels")) or _word(status.get("phase")) in _OVER:
            continue
        if meta.get("deletionTimestamp"):
            leaving += 1
            continue
        every += 1
        if _is_ready(status):
            ready += 1
            continue
        code = _ended(status)
        crashed += code not in {None, 0}
        exited += code == 0
        if not kept:
            kept, fix = _keeps(status)
    return Pods(ready, every, leaving, crashed, exited, kept, fix)


class Pod(NamedTuple):
    """is_ready: it goes after all that are not. cost: of its deletion; 0 if it has none, or no number."""

    name: str
    is_ready: bool
    is_leaving: bool
    cost: int


def pods_in(items: Iterable[Mapping[str, Any]], cost: str) -> Iterator[Pod]:
    """Of a list of pods, those that have not ended. cost: the annotation."""
    for one in items:
        meta, status = _part(one, "metadata"), _part(one, "status")
        name = meta.get("name")
        if not isinstance(name, str) or _word(status.get("phase")) in _OVER:
            continue
        yield Pod(
            bounds.cut(name, bounds.NAME),
            _is_ready(status) and not meta.get("deletionTimestamp"),
            bool(meta.get("deletionTimestamp")),
            _whole(_part(meta, "annotations").get(cost)),
        )


def instances_of(pods: Iterable[Pod]) -> Instances:
    """By what can be done about them."""
    every = list(pods)
    return Instances(
        tuple(one.name for one in every if one.is_ready),
        tuple(one.name for one in every if not one.is_ready and not one.is_leaving),
        tuple(one.name for one in every if one.is_leaving),
    )


def in_order(stateful_set: Mapping[str, Any], pods: Iterable[Pod]) -> Instances:
    """Of a StatefulSet: each ordinal up to the highest one, also one whose pod is not there now.

    A pod of another name, which no StatefulSet made, counts as none of them.
    """
    name = _part(stateful_set, "metadata").get("name")
    start = _part(_part(stateful_set, "spec"), "ordinals").get("start")
    begin = start if type(start) is int else 0
    every = list(pods)
    parts = [one.name.rpartition("-") for one in every if not one.is_leaving]
    ordinals = [int(end) for before, _, end in parts if before == name and _WHOLE.fullmatch(end)]
    last = max((one for one in ordinals if begin <= one < begin + _MOST_ORDINALS), default=begin - 1)
    staying = tuple(f"{name}-{ordinal}" for ordinal in range(begin, last + 1))
    return Instances(staying, leaving=tuple(one.name for one in every if one.is_leaving), in_order=True)


def _whole(value: object) -> int:
    return int(value) if isinstance(value, str) and _WHOLE.fullmatch(value) else 0


class _Wants(NamedTuple):
    key: str
    operator: str
    values: tuple[str, ...]


class _Told(NamedTuple):
    """What an object tells, with its pods where they were read. every: pods but for those that are leaving."""

    configured: int
    running: int
    every: int
    leaving: int = 0
    grace_s: int = _GRACE_S
    coming: UnderWay | None = None
    revision: str = ""


def _replicas(target: KubernetesTarget, meta: Mapping[str, Any], told: _Told, pods: Pods | None) -> Replicas:
    version, uid, name = meta.get("resourceVersion"), meta.get("uid"), meta.get("name")
    if name != target.name:
        raise Unavailable(SOURCE, f"answered with another object than {target.words}")
    if not isinstance(version, str) or not version:
        raise Unavailable(SOURCE, f"shows no resourceVersion of {target.words}")
    seen, coming = pods or Pods(), told.coming
    identity = f"{_word(uid)}/{told.revision}"
    if told.configured > told.running and seen.kept:
        coming = UnderWay(identity, seen.kept, fix=f"{seen.fix}; see `kubectl -n {target.namespace} get pods`")
    state = ServiceState.RUNNING if told.configured else ServiceState.STOPPED
    if told.configured and seen.crashed and not told.running:
        state = ServiceState.CRASHED
    return Replicas(
        configured=told.configured,
        running=told.running,
        alive=max(told.every, told.running) + told.leaving,
        state=state,
        deployment=identity,
        coordinates=Coordinates(version),
        draining_s=float(told.grace_s),
        leaving=told.leaving if not told.every else 0,
        crashed=seen.crashed,
        exited=seen.exited,
        under_way=coming,
        words=_words(target),
    )


def _words(target: KubernetesTarget) -> PlatformWords:
    kubectl = f"kubectl -n {target.namespace}"
    return PlatformWords(
        name=SOURCE.name,
        crashed=f"see `{kubectl} logs --previous` of one of its pods, and fix or roll back {target.words}",
        exited="let the process go on when its queue is empty: Kubernetes starts one that ended again, ever later",
        missing=f"see `{kubectl} describe {target.resource} {target.name}`, and the events of its pods",
        also_set_in="a HorizontalPodAutoscaler or a KEDA ScaledObject on it",
    )


def _rollout(target: KubernetesTarget, found: Mapping[str, Any]) -> UnderWay | None:
    """Old pods beside new ones, or pods that may not be created."""
    meta, spec, status = (_part(found, name) for name in ("metadata", "spec", "status"))
    identity = f"{_word(meta.get('uid'))}/{_revision(meta, status)}"
    conditions = {str(one.get("type")): one for one in _parts(status, "conditions")}
    failure, progress = conditions.get("ReplicaFailure", {}), conditions.get("Progressing", {})
    if failure.get("status") == "True":
        why = bounds.cut(str(failure.get("message", "")), bounds.WORDS)
        return UnderWay(
            identity, _word(failure.get("reason")) or "FailedCreate", fix=f"raise the quota or the limit: {why}"
        )
    how = _how(target)
    if progress.get("reason") == "ProgressDeadlineExceeded":
        return UnderWay(identity, "ProgressDeadlineExceeded", fix=f"see `{how.look}`")
    if not _has_old_pods(target, spec, status):
        return None
    if spec.get("paused") is True or _parts(status, "pauseConditions"):
        fix = f"`{how.go_on}`; scaling goes on meanwhile"
        return UnderWay(identity, "paused in the middle of a rollout", may_take_long=True, fix=fix)
    return UnderWay(identity, "rolling out", may_take_long=True, fix=f"see `{how.look}`")


class _How(NamedTuple):
    look: str
    go_on: str


def _how(target: KubernetesTarget) -> _How:
    """Commands that show a rollout, and that go on with a paused one."""
    if target.resource == _ROLLOUT:
        kubectl = f"kubectl argo rollouts -n {target.namespace}"
        return _How(f"{kubectl} get rollout {target.name}", f"{kubectl} promote {target.name}")
    kubectl, which = f"kubectl -n {target.namespace} rollout", f"{target.resource}/{target.name}"
    return _How(f"{kubectl} status {which}", f"{kubectl} resume {which}")


def _has_old_pods(target: KubernetesTarget, spec: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Beside new ones, and not because its strategy keeps them."""
    strategy = _part(spec, "updateStrategy")
    if target.resource == _REPLICA_SET or strategy.get("type") == "OnDelete":
        return False  # it replaces no pod by itself
    if "updatedReplicas" not in status and "observedGeneration" not in status:
        return False
    updated = status.get("updatedReplicas")
    kept = _part(strategy, "rollingUpdate").get("partition")
    new = (updated if isinstance(updated, int) else 0) + (kept if isinstance(kept, int) else 0)
    return _count(status, "replicas", 0) > new


def _revision(meta: Mapping[str, Any], status: Mapping[str, Any]) -> str:
    annotations = _part(meta, "annotations")
    known = annotations.get("deployment.kubernetes.io/revision") or annotations.get("rollout.argoproj.io/revision")
    return _word(known or status.get("updateRevision"))


def _is_ready(status: Mapping[str, Any]) -> bool:
    return any(one.get("type") == "Ready" and one.get("status") == "True" for one in _parts(status, "conditions"))


def _ended(status: Mapping[str, Any]) -> int | None:
    """The exit code with which a container ended that should go on; None: none did.

    An init container that ended with 0 did what it is there for.
    """
    codes = [_code(one) for one in _parts(status, "initContainerStatuses")]
    codes = [code or None for code in codes] + [_code(one) for one in _parts(status, "containerStatuses")]
    return next((code for code in codes if code is not None), None)


def _code(container: Mapping[str, Any]) -> int | None:
    state, before = _part(container, "state"), _part(_part(container, "lastState"), "terminated")
    ended = _part(state, "terminated")
    if not ended and _word(_part(state, "waiting").get("reason")) in _STARTED_AGAIN:
        ended = before
    code = ended.get("exitCode")
    return code if isinstance(code, int) else None


def _keeps(status: Mapping[str, Any]) -> tuple[str, str]:
    for one in (*_parts(status, "initContainerStatuses"), *_parts(status, "containerStatuses")):
        reason = _word(_part(_part(one, "state"), "waiting").get("reason"))
        if reason in _CANNOT_START:
            return reason, _CANNOT_START[reason]
    for one in _parts(status, "conditions"):
        if one.get("type") == "PodScheduled" and one.get("status") == "False":
            why = bounds.cut(str(one.get("message", "")), bounds.WORDS)
            return _word(one.get("reason")) or "Unschedulable", f"add nodes, or lower the pods' requests: {why}"
    return "", ""


def _wants(selector: object) -> list[_Wants]:
    return list(_of_text(selector) if isinstance(selector, str) else _of_object(selector))


def _all_hold(wants: Sequence[_Wants], labels: Mapping[str, Any]) -> bool:
    return bool(wants) and all(_holds(one, labels) for one in wants)


def _of_text(selector: str) -> Iterator[_Wants]:
    for sign, key, equals, value, operator, values in _REQUIREMENT.findall(selector[: bounds.MESSAGE]):
        if operator:
            yield _Wants(key, operator, tuple(one.strip() for one in values.split(",")))
        elif equals:
            yield _Wants(key, "notin" if equals == "!=" else "in", (value,))
        else:
            yield _Wants(key, "absent" if sign else "exists", ())


def _of_object(selector: object) -> Iterator[_Wants]:
    given = selector if isinstance(selector, dict) else {}
    for key, value in _part(given, "matchLabels").items():
        yield _Wants(key, "in", (str(value),))
    operators = {"In": "in", "NotIn": "notin", "Exists": "exists", "DoesNotExist": "absent"}
    for one in _parts(given, "matchExpressions"):
        values = one.get("values")
        listed = tuple(map(str, values)) if isinstance(values, list) else ()
        yield _Wants(str(one.get("key")), operators.get(str(one.get("operator")), "exists"), listed)


def _holds(wants: _Wants, labels: Mapping[str, Any]) -> bool:
    value = labels.get(wants.key)
    if wants.operator == "exists":
        return value is not None
    if wants.operator == "absent":
        return value is None
    return (value in wants.values) is (wants.operator == "in")


def _sections(found: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """metadata, spec and status. The API writes a spec even if it is empty; only a status may be missing.

    Raises:
        Unavailable: one is missing or no object: such an answer is unknown, and not 0.
    """
    each = found.get("metadata"), found.get("spec"), found.get("status") or {}
    for name, one in zip(("metadata", "spec", "status"), each, strict=True):
        if not isinstance(one, dict):
            raise Unavailable(SOURCE, f"answered in an unknown format: {name} is no object")
    return cast("tuple[dict[str, Any], dict[str, Any], dict[str, Any]]", each)


def _part(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _parts(value: Mapping[str, Any], name: str) -> Sequence[dict[str, Any]]:
    found = value.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _count(value: Mapping[str, Any], name: str, absent: int) -> int:
    count = value.get(name, absent)
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= _MOST:
        raise Unavailable(SOURCE, f"answered in an unknown format: {name} is no count")
    return count


def _word(value: object) -> str:
    """A text of the API's that is kept and shown; "" if it is none."""
    return bounds.cut(value, bounds.NAME) if isinstance(value, str) and value.isprintable() else ""
