"""Kubernetes as a Platform: one list for all targets of a namespace and resource, and one merge-patch for a change.

A change carries the resourceVersion of the reading that it was decided on. So the API itself refuses the change of a
leader that was stopped and woke up too late, or of any two that act at once: HTTP 409, nothing is sent again, and the
next cycle reads and decides anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, cast

from controller.adapters.kubernetes import SOURCE, reading
from controller.adapters.kubernetes.chooser import CHOOSABLE, ORDERED, InOrder, PodChooser
from controller.adapters.kubernetes.client import KubernetesClient, Missing
from controller.adapters.kubernetes.contenders import Contenders
from controller.adapters.kubernetes.reading import Coordinates
from controller.adapters.kubernetes.resources import BY_OBJECT, Resources
from controller.core.model import Change, Replicas
from controller.core.ports import Outdated, Receipt, Unavailable
from controller.core.units import in_words
from controller.policy import KubernetesTarget, Policy

KEY = "kubernetes"
_LONGEST_LOOK_S = 20.0
_AT_ONCE = 16
"""Requests that run at the same time."""
_Objects = Mapping[str, dict[str, Any] | Unavailable]


class KubernetesPlatform:
    """Reads and scales targets in one cluster."""

    source = SOURCE

    def __init__(self, client: KubernetesClient, policy: Policy) -> None:
        self.client = client
        self.resources = Resources(client)
        self._contenders = Contenders(client, client.clock)
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        self.serve(policy)

    @property
    def sent(self) -> Mapping[tuple[str, str], int]:
        return self.client.sent

    def serve(self, policy: Policy) -> None:
        self._targets = {key: cast("KubernetesTarget", one.given) for key, one in policy.on(KEY).items()}

    async def close(self) -> None:
        await self.client.close()

    def requests(self) -> None:
        """The API limits by priority and fairness, and says so by HTTP 429; no quota is known before."""

    def chooser(self, service: str) -> PodChooser | InOrder | None:
        target = self._targets[service]
        if target.resource == ORDERED:
            return InOrder(self.client, self.resources, target)
        return PodChooser(self.client, self.resources, target) if target.resource in CHOOSABLE else None

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        targets = {key: self._targets[key] for key in services}
        together: dict[tuple[str, str], dict[str, KubernetesTarget]] = {}
        for key, target in targets.items():
            together.setdefault((target.namespace, target.resource), {})[key] = target
        try:
            async with asyncio.timeout(_LONGEST_LOOK_S):
                parts, _ = await asyncio.gather(
                    asyncio.gather(*(self._objects(*place, these) for place, these in together.items())),
                    self._contenders.look([namespace for namespace, _ in together]),
                )
                objects = {key: found for part in parts for key, found in part.items()}
                pods = await self._pods(targets, objects)
        except TimeoutError:
            raise Unavailable(SOURCE, f"could not be read within {in_words(_LONGEST_LOOK_S)}") from None
        return {
            key: self._with_contenders(target, _reading(target, objects[key], pods.get(target.namespace)))
            for key, target in targets.items()
        }

    def _with_contenders(self, target: KubernetesTarget, seen: Replicas | Unavailable) -> Replicas | Unavailable:
        others = self._contenders.of(target)
        return replace(seen, contenders=others) if others and isinstance(seen, Replicas) else seen

    async def scale(self, service: str, change: Change, observed: Replicas) -> Receipt:
        target = self._targets[service]
        coordinates = cast("Coordinates", observed.coordinates)
        path = await self.resources.path(target.namespace, target.resource, target.name)
        body = {"metadata": {"resourceVersion": coordinates.resource_version}, "spec": {"replicas": change.after}}
        try:
            scale = await self.client.patch(f"{path}/scale", body, change)
        except Outdated as outdated:
            raise Outdated(SOURCE, f"{target.words}: {outdated.text}; the next cycle decides again") from None
        shown = reading.count_of_scale(scale)
        if shown != change.after:
            raise Unavailable(SOURCE, f"answered with {shown} replicas of {target.words}, not {change.after}")
        return Receipt.ACCEPTED

    async def _objects(self, namespace: str, resource: str, targets: Mapping[str, KubernetesTarget]) -> _Objects:
        """Each target's own object, or its Scale, or why it could not be read."""
        if resource in BY_OBJECT and len(targets) > 1:
            return await self._listed(namespace, resource, targets)
        found = await asyncio.gather(*(self._one(target) for target in targets.values()))
        return dict(zip(targets, found, strict=True))

    async def _listed(self, namespace: str, resource: str, targets: Mapping[str, KubernetesTarget]) -> _Objects:
        try:
            items = await self._items(await self.resources.path(namespace, resource))
        except Missing:
            return dict.fromkeys(targets, self._not_served(resource))
        except Unavailable as unavailable:
            return dict.fromkeys(targets, unavailable)
        by_name: dict[str, dict[str, Any]] = {}
        twice = set()
        for one in filter(_has_name, items):
            name = one["metadata"]["name"]
            if name in by_name:
                twice.add(name)
            by_name[name] = one
        found: dict[str, dict[str, Any] | Unavailable] = {}
        for key, target in targets.items():
            found[key] = by_name.get(target.name) or _not_there(target)
            if target.name in twice:
                found[key] = Unavailable(SOURCE, f"lists {target.words} twice")
        return found

    async def _one(self, target: KubernetesTarget) -> dict[str, Any] | Unavailable:
        try:
            path = await self.resources.path(target.namespace, target.resource, target.name)
            return await self._get(path if target.resource in BY_OBJECT else f"{path}/scale")
        except Missing as missing:
            return _not_there(target) if missing.names_it else self._not_served(target.resource)
        except Unavailable as unavailable:
            return unavailable

    def _not_served(self, resource: str) -> Unavailable:
        self.resources.forget(resource)
        words = f"serves no {resource} with a scale; name a resource that `kubectl scale` can scale"
        return Unavailable(SOURCE, f"{words}, such as deployments.apps")

    async def _pods(
        self, targets: Mapping[str, KubernetesTarget], objects: _Objects
    ) -> Mapping[str, list[dict[str, Any]]]:
        """By namespace, where a target's own object does not tell all; one whose pods may not be read is left out."""
        namespaces = {
            target.namespace: None
            for key, target in targets.items()
            if isinstance(found := objects[key], dict)
            if target.resource not in BY_OBJECT or _lacks(found)
        }
        lists = await asyncio.gather(*(self._pods_in(namespace) for namespace in namespaces))
        return {name: pods for name, pods in zip(namespaces, lists, strict=True) if pods is not None}

    async def _pods_in(self, namespace: str) -> list[dict[str, Any]] | None:
        try:
            return await self._items(f"/api/v1/namespaces/{namespace}/pods")
        except Unavailable:
            return None  # the counts are known without them; of missing rights, doctor says so

    async def _get(self, path: str) -> dict[str, Any]:
        async with self._at_once:
            return await self.client.get(path)

    async def _items(self, path: str) -> list[dict[str, Any]]:
        async with self._at_once:
            return await self.client.items(path)


def _reading(
    target: KubernetesTarget, found: dict[str, Any] | Unavailable, every: Iterable[dict[str, Any]] | None
) -> Replicas | Unavailable:
    if isinstance(found, Unavailable):
        return found
    try:
        if target.resource in BY_OBJECT:
            looks = every is not None and reading.needs_pods(found)
            pods = reading.pods_of(_selector(found), every or ()) if looks else None
            return reading.of_object(target, found, pods)
        return reading.of_scale(target, found, _scale_pods(found, every))
    except Unavailable as unavailable:
        return unavailable


def _scale_pods(found: dict[str, Any], every: Iterable[dict[str, Any]] | None) -> reading.Pods | None:
    """None where the Scale names no selector: then its own count is all that is known."""
    status = found.get("status")
    selector = status.get("selector") if isinstance(status, dict) else None
    return reading.pods_of(selector, every) if isinstance(selector, str) and selector and every is not None else None


def _selector(found: dict[str, Any]) -> object:
    spec = found.get("spec")
    return spec.get("selector") if isinstance(spec, dict) else None


def _lacks(found: dict[str, Any]) -> bool:
    try:
        return reading.needs_pods(found)
    except Unavailable:
        return False  # which its reading says


def _has_name(one: Mapping[str, Any]) -> bool:
    return isinstance(one.get("metadata"), dict) and isinstance(one["metadata"].get("name"), str)


def _not_there(target: KubernetesTarget) -> Unavailable:
    return Unavailable(SOURCE, f"has no {target.words}; create it, or correct the policy")
