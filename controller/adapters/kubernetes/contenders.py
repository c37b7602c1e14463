"""What else sets the count of a target in a cluster: HorizontalPodAutoscalers, and ScaledObjects of KEDA.

It is looked for at the start and every five minutes. What may not be listed, or is not installed, is no answer and no
fault: of missing rights, doctor says so.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from itertools import chain
from typing import Any, NamedTuple

from controller.adapters.kubernetes import SOURCE
from controller.adapters.kubernetes.client import Forbidden, KubernetesClient, Missing
from controller.core.ports import Clock, Unavailable
from controller.core.text import bounds
from controller.core.units import in_words
from controller.policy import KubernetesTarget, plural_of

_KINDS = {
    "HorizontalPodAutoscaler": "/apis/autoscaling/v1/namespaces/{}/horizontalpodautoscalers",
    "ScaledObject": "/apis/keda.sh/v1alpha1/namespaces/{}/scaledobjects",
}
"""Kinds that set a count, and where they are listed: as v1, because v2 is only there from Kubernetes 1.23 on."""
_DEFAULT_KIND = "Deployment"
"""That a ScaledObject means where its scaleTargetRef names none."""
_EVERY_S = 300.0
_LONGEST_S = 2.0
"""A cycle waits for it, so it does not wait long."""
_PAGE = "500"
_MOST_NAMED = 5


class Scaler(NamedTuple):
    """words: its kind and name. kind, target: what it scales."""

    words: str
    kind: str
    target: str


class Contenders:
    """Those of each namespace, as last seen."""

    def __init__(self, client: KubernetesClient, clock: Clock) -> None:
        self._client, self._clock = client, clock
        self._seen: dict[str, tuple[float, Mapping[str, list[Scaler]]]] = {}
        """By namespace, when it is looked at again, and what was there, by kind."""

    async def look(self, namespaces: Collection[str]) -> None:
        """Looks at those that are due. What cannot be read this time keeps what was seen there."""
        now = self._clock.monotonic()
        due = [one for one in dict.fromkeys(namespaces) if now >= self._seen.get(one, (now, {}))[0]]
        for namespace, found in zip(due, await asyncio.gather(*map(self._look_at, due)), strict=True):
            before = self._seen.get(namespace, (now, {}))[1]
            self._seen[namespace] = now + _EVERY_S, {kind: _now(before.get(kind, []), found[kind]) for kind in found}

    async def _look_at(self, namespace: str) -> Mapping[str, list[Scaler] | Unavailable]:
        try:
            async with asyncio.timeout(_LONGEST_S):
                return await scalers_in(self._client, namespace)
        except TimeoutError:
            late = Unavailable(SOURCE, f"did not say within {in_words(_LONGEST_S)} what else scales")
            return dict.fromkeys(_KINDS, late)

    def of(self, target: KubernetesTarget) -> tuple[str, ...]:
        """The kind and name of each."""
        return named(target, chain(*self._seen.get(target.namespace, (0.0, {}))[1].values()))


async def scalers_in(client: KubernetesClient, namespace: str) -> dict[str, list[Scaler] | Unavailable]:
    """All of a namespace, by kind: none of a kind that the cluster does not have."""
    found: dict[str, list[Scaler] | Unavailable] = {}
    for kind, path in _KINDS.items():
        try:
            found[kind] = [_scaler(kind, one) for one in await client.items(path.format(namespace), limit=_PAGE)]
        except Missing:
            found[kind] = []
        except Unavailable as unavailable:
            found[kind] = unavailable
    return found


def _now(before: list[Scaler], found: list[Scaler] | Unavailable) -> list[Scaler]:
    if isinstance(found, Unavailable):
        return [] if isinstance(found, Forbidden) else before
    return found


def named(target: KubernetesTarget, scalers: Iterable[Scaler]) -> tuple[str, ...]:
    """Of these, the ones that scale the target."""
    plural = target.resource.partition(".")[0]
    mine = (one.words for one in scalers if one.target == target.name and plural_of(one.kind) == plural)
    return tuple(mine)[:_MOST_NAMED]


def _scaler(kind: str, found: Mapping[str, Any]) -> Scaler:
    spec = _part(found, "spec")
    scaled = _part(spec, "scaleTargetRef")
    name = _word(_part(found, "metadata").get("name"))
    return Scaler(f"{kind} {name}", _word(scaled.get("kind")) or _DEFAULT_KIND, _word(scaled.get("name")))


def _part(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = value.get(name)
    return found if isinstance(found, dict) else {}


def _word(value: object) -> str:
    return bounds.cut(value, bounds.NAME) if isinstance(value, str) and value.isprintable() else ""
