"""KEDA's ScaledObjects as workers of a policy, and what of them could not be carried over. Pure."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pydantic import ValidationError

from controller.core.text import bounds
from controller.core.units import as_policy
from controller.policy import KubernetesTarget, plural_of

_POLLING_S, _COOLDOWN_S, _MOST, _STABLE_S = 30.0, 300.0, 100, 300.0
"""KEDA's defaults, and that of the HorizontalPodAutoscaler which it makes."""
_LONGEST_S = 31 * 24 * 3600.0
"""Of a duration in a policy."""
_LONGEST_QUERY = 60_000
_NAME = re.compile(r"[^A-Za-z0-9_.-]")
_UNWRITABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What no YAML may hold."""
_USUAL_KINDS = {"Deployment", "StatefulSet", "ReplicaSet", "Rollout"}
_END = re.compile(r"(;\s*(--[^\n]*\s*)?)+$")
"""Of a statement, with what is said after it."""
_KNOWN = {
    "scaleTargetRef",
    "pollingInterval",
    "cooldownPeriod",
    "minReplicaCount",
    "maxReplicaCount",
    "fallback",
    "advanced",
    "triggers",
}
_OF_THE_CONNECTION = {
    "host",
    "port",
    "userName",
    "dbName",
    "sslmode",
    "connection",
    "connectionFromEnv",
    "passwordFromEnv",
}


class NotCarriedError(ValueError):
    """A ScaledObject that cannot become a worker; the message says why."""


class StaysError(NotCarriedError):
    """It is about no PostgreSQL, or about no replicas, so that it may stay with KEDA."""


@dataclass
class Carried:
    """worker: as it stands in a policy. lost: what to look at, a sentence each, with the field that it is about."""

    name: str
    worker: dict[str, Any]
    interval_s: float
    lost: list[str] = field(default_factory=list)

    @property
    def target(self) -> tuple[str, ...]:
        """What no other worker of the policy may have, too."""
        return tuple(self.worker["kubernetes"].values())


def carried(scaled: Mapping[str, Any]) -> Carried:
    """One ScaledObject, as YAML has it.

    Raises:
        NotCarriedError: it has no trigger of PostgreSQL, or names no target.
    """
    if scaled.get("kind") == "ScaledJob":
        raise StaysError("is a ScaledJob, which starts Jobs; here replicas are scaled")
    meta, spec = _part(scaled, "metadata"), _part(scaled, "spec")
    name = _NAME.sub("-", _word(meta, "name", "")).strip("-_.")[:63] or "worker"
    interval_s = _number(spec, "pollingInterval", _POLLING_S, _LONGEST_S)
    found = Carried(name, {"kubernetes": _target(meta, spec)}, interval_s)
    kind = _word(_part(spec, "scaleTargetRef"), "kind", "Deployment")
    if kind not in _USUAL_KINDS:
        resource = found.worker["kubernetes"]["resource"]
        found.lost.append(f"scaleTargetRef: {resource} is a guess; compare it with `kubectl api-resources`")
    trigger = _trigger(spec, found)
    found.worker |= _queue(trigger, found)
    found.worker |= _limits(spec, found)
    _say_what_is_left(meta, spec, found)
    return found


def told_apart(found: Sequence[Carried]) -> None:
    """Gives workers of one name, which are in several namespaces, names of their own."""
    taken: set[str] = set()
    for one in found:
        namespace = one.worker["kubernetes"]["namespace"]
        others = (f"{one.name[:58]}-{number}" for number in itertools.count(2))
        candidates = itertools.chain((one.name, f"{namespace}.{one.name}"[:63]), others)
        name = next(name for name in candidates if name not in taken)
        if name != one.name:
            one.lost.append(f"name: another one is called {one.name}, too")
        one.name = name
        taken.add(name)


def _target(meta: Mapping[str, Any], spec: Mapping[str, Any]) -> dict[str, str]:
    reference = _part(spec, "scaleTargetRef")
    if not reference.get("name"):
        raise NotCarriedError("spec.scaleTargetRef has no name")
    group, has_group, _ = _word(reference, "apiVersion", "apps/v1").partition("/")
    plural = plural_of(_word(reference, "kind", "Deployment"))
    target = {
        "namespace": _word(meta, "namespace", "default"),
        "resource": f"{plural}.{group}" if has_group else plural,
        "name": _word(reference, "name", ""),
    }
    try:
        KubernetesTarget.model_validate(target)
    except ValidationError as error:
        key = str(error.errors()[0]["loc"][0])
        shown = bounds.cut(target[key], bounds.VALUE)
        raise NotCarriedError(f"names no object of Kubernetes: its {key} would be {shown}") from None
    return target


def _trigger(spec: Mapping[str, Any], found: Carried) -> Mapping[str, Any]:
    listed = spec.get("triggers")
    triggers = [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
    ours = [one for one in triggers if one.get("type") == "postgresql"]
    if not ours:
        kinds = ", ".join(str(one.get("type")) for one in triggers) or "none"
        raise StaysError(f"has no trigger of type postgresql (its triggers: {kinds})")
    for one in triggers:
        if one is not ours[0]:
            found.lost.append(
                f"triggers: another one ({one.get('type')}) is left out; KEDA takes the largest, `queues` adds up"
            )
    return ours[0]


def _queue(trigger: Mapping[str, Any], found: Carried) -> dict[str, Any]:
    given = _part(trigger, "metadata")
    query = _query(given)
    found.lost.append(
        "query: KEDA knows one number and not which jobs are in progress, so busy workers cannot be kept; write "
        "`table:` or `preset:` instead (`autoscaler init` finds which)"
    )
    if given.keys() & _OF_THE_CONNECTION or trigger.get("authenticationRef"):
        found.lost.append("connection and authenticationRef: set DATABASE_URL in the controller's environment")
    if str(trigger.get("metricType", "AverageValue")) != "AverageValue":
        found.lost.append("metricType: Value compares with the whole number; per_worker divides it by the workers")
    for key in ("useCachedMetrics", "name"):
        if trigger.get(key):
            found.lost.append(f"triggers.{key}: has no counterpart, and needs none")
    worker: dict[str, Any] = {"queue": {"sql": f"SELECT ({query}) AS pending, 0 AS processing"}}
    target = _number(given, "targetQueryValue", 0.0)
    if target <= 0:
        raise NotCarriedError("its trigger has no targetQueryValue above 0")
    worker["per_worker"] = math.ceil(target)
    if target != math.ceil(target):
        found.lost.append(f"targetQueryValue: {target:g} is rounded up to {math.ceil(target)} jobs per worker")
    activation = math.floor(_number(given, "activationTargetQueryValue", 0.0)) + 1
    if activation > 1:
        worker["activation"] = activation
    return worker


def _query(given: Mapping[str, Any]) -> str:
    """As it has to stand in a policy and within another query."""
    query = _END.sub("", str(given.get("query") or "").strip())
    if not query:
        raise NotCarriedError("its trigger has no query")
    if len(query) > _LONGEST_QUERY or _UNWRITABLE.search(query):
        words = f"is longer than {_LONGEST_QUERY:,} characters, or holds one that no policy can hold"
        raise NotCarriedError(f"the query of its trigger {words}")
    if "--" in query:
        query += "\n"  # which ends a comment
    return query.replace("$", "$$") if "${" in query or "$$" in query else query


def _limits(spec: Mapping[str, Any], found: Carried) -> dict[str, Any]:
    cooldown_s = _number(spec, "cooldownPeriod", _COOLDOWN_S, _LONGEST_S)
    behavior = _part(_part(_part(spec, "advanced"), "horizontalPodAutoscalerConfig"), "behavior")
    stable_s = _number(_part(behavior, "scaleDown"), "stabilizationWindowSeconds", _STABLE_S, _LONGEST_S)
    least, most = _count(spec, "minReplicaCount", 0), _count(spec, "maxReplicaCount", _MOST)
    if least > most:
        raise NotCarriedError(f"minReplicaCount, {least}, is above maxReplicaCount, {most}")
    limits: dict[str, Any] = {
        "tolerance": "10%",
        "min_replicas": least,
        "max_replicas": most,
        "scale_up": {"cooldown": "0s"},
        "scale_down": {"cooldown": as_policy(cooldown_s), "stabilization_window": as_policy(stable_s)},
    }
    found.lost.append(
        "cooldownPeriod: KEDA waits so only before it goes to 0, scale_down.cooldown before each step down"
    )
    if any(_part(behavior, way).get("policies") for way in ("scaleUp", "scaleDown")):
        found.lost.append("behavior.policies: write scale_up.max_step and scale_down.max_step, workers per change")
    return limits | _fallback(_part(spec, "fallback"), limits, found)


def _fallback(fallback: Mapping[str, Any], limits: Mapping[str, Any], found: Carried) -> dict[str, Any]:
    if fallback.get("replicas") is None:
        return {}
    wanted = _count(fallback, "replicas", 0)
    after_s = _number(fallback, "failureThreshold", 3, _LONGEST_S) * found.interval_s
    at_least = min(max(wanted, limits["min_replicas"], 1), limits["max_replicas"])
    if not 0 < after_s <= _LONGEST_S or not at_least:
        found.lost.append("fallback: is left out: its failureThreshold or the maximum is 0, or its time above a month")
        return {}
    found.lost.append("fallback: on_unavailable only ever adds workers, up to at_least; KEDA also takes some away")
    if at_least != wanted:
        found.lost.append(f"fallback.replicas: {wanted} is not within 1 and the limits; at_least is {at_least}")
    return {"on_unavailable": {"after": as_policy(after_s), "at_least": at_least}}


def _say_what_is_left(meta: Mapping[str, Any], spec: Mapping[str, Any], found: Carried) -> None:
    if spec.get("idleReplicaCount") is not None:
        found.lost.append("idleReplicaCount: with min_replicas: 0 no worker runs while there is no job")
    advanced = _part(spec, "advanced")
    if advanced.get("restoreToOriginalReplicaCount"):
        found.lost.append("advanced.restoreToOriginalReplicaCount: a worker that leaves the policy keeps its count")
    if advanced.get("scalingModifiers"):
        found.lost.append("advanced.scalingModifiers: formulas have no counterpart")
    for key in sorted(map(str, spec.keys() - _KNOWN - {"idleReplicaCount"})):
        found.lost.append(f"{key}: is not known here")
    if any(str(key).startswith("autoscaling.keda.sh/paused") for key in _part(meta, "annotations")):
        found.lost.append("annotation paused: use `autoscaler pause` or `autoscaler hold`, which end by themselves")


def objects(documents: Iterator[Any]) -> Iterator[Mapping[str, Any]]:
    """The ScaledObjects and ScaledJobs among the documents of a file, and in the lists that kubectl prints."""
    for one in documents:
        if isinstance(one, dict) and isinstance(one.get("items"), list):
            yield from objects(iter(one["items"]))
        elif isinstance(one, dict) and str(one.get("kind")) in {"ScaledObject", "ScaledJob"}:
            yield one


def _part(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _word(value: Mapping[str, Any], name: str, absent: str) -> str:
    """A text, or a number or a truth value that YAML made of one."""
    found = value.get(name)
    if found is None or found == "":
        return absent
    if not isinstance(found, str | int | float | date):
        raise NotCarriedError(f"{name} is no text")
    return str(found)


def _count(value: Mapping[str, Any], name: str, absent: int) -> int:
    number = _number(value, name, absent)
    if number != int(number):
        raise NotCarriedError(f"{name} is no whole number")
    return int(number)


def _number(value: Mapping[str, Any], name: str, absent: float, most: float = 1e9) -> float:
    """A number, or a text of one, as a trigger's metadata has it."""
    given = value.get(name, absent)
    try:
        number = math.nan if isinstance(given, bool) else float(given)
    except (TypeError, ValueError, OverflowError):
        raise NotCarriedError(f"{name} is no number") from None
    if not 0 <= number <= most:
        raise NotCarriedError(f"{name} is not between 0 and {most:,.0f}")
    return number
