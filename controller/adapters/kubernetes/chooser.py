"""Which pods of a target go first: before a scale-down, those that hold jobs get a higher deletion cost.

A ReplicaSet deletes pods that are not ready first, then those with the lowest deletion cost, an annotation of the pod.
So the pods that hold jobs get a high one, and a pod that got it earlier and holds none loses it. A cost that somebody
else gave an idle pod stays. Nothing is patched that is as it should be, and at most _MOST_PATCHES pods at once.

A StatefulSet deletes its highest ordinal, whatever a pod costs: nothing is patched there, and a busy pod keeps all pods
with lower ordinals. Of other resources it is unknown which pods go: they have no chooser.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection

from controller.adapters.kubernetes import SOURCE, reading
from controller.adapters.kubernetes.client import KubernetesClient, Missing
from controller.adapters.kubernetes.resources import Resources
from controller.core.model import Change, Instances
from controller.core.ports import LeaseLost, Unavailable
from controller.core.units import in_words
from controller.policy import KubernetesTarget

CHOOSABLE = frozenset({"deployments.apps", "replicasets.apps", "rollouts.argoproj.io"})
"""Resources whose pods belong to ReplicaSets."""
COST = "controller.kubernetes.io/pod-deletion-cost"
BUSY = 1_000_000
"""The cost of a pod that holds a job. The highest possible is 2,147,483,647."""
ORDERED = "statefulsets.apps"
_PAGE = "500"
_MOST_PATCHES = 200
_AT_ONCE = 16
_LONGEST_S = 10.0


class PodChooser:
    """Of one target."""

    def __init__(self, client: KubernetesClient, resources: Resources, target: KubernetesTarget) -> None:
        self._client, self._resources, self._target = client, resources, target
        self._costs: dict[str, int] = {}
        """Of the pods that instances() found last, and that can be made to go last."""

    async def instances(self) -> Instances:
        """Its pods. Raises Unavailable."""
        try:
            async with asyncio.timeout(_LONGEST_S):
                pods = await self._pods()
        except TimeoutError:
            raise Unavailable(SOURCE, f"did not list the pods within {in_words(_LONGEST_S)}") from None
        found, self._costs = reading.instances_of(pods), {one.name: one.cost for one in pods if one.is_ready}
        return found

    async def keep(self, names: Collection[str], change: Change) -> None:
        """See Chooser.keep. Raises LeaseLost, Unavailable."""
        costs = self._costs
        wanted: dict[str, str | None] = {name: str(BUSY) for name in names if costs.get(name, 0) < BUSY}
        wanted |= {name: None for name, cost in costs.items() if cost == BUSY and name not in names}
        if len(wanted) > _MOST_PATCHES:
            words = f"would need {len(wanted)} patches of pods before this change, and {_MOST_PATCHES} are the limit"
            raise Unavailable(SOURCE, words)
        at_once = asyncio.Semaphore(_AT_ONCE)

        async def patched(name: str, cost: str | None) -> None:
            async with at_once:
                await self._patch(name, cost, change)

        try:
            async with asyncio.timeout(_LONGEST_S):
                ended = await asyncio.gather(*(patched(*one) for one in wanted.items()), return_exceptions=True)
        except TimeoutError:
            raise Unavailable(SOURCE, f"did not patch the pods within {in_words(_LONGEST_S)}") from None
        failed = [one for one in ended if isinstance(one, BaseException)]
        if failed:
            raise next((one for one in failed if isinstance(one, LeaseLost)), failed[0])

    async def _patch(self, name: str, cost: str | None, change: Change) -> None:
        path = f"/api/v1/namespaces/{self._target.namespace}/pods/{name}"
        try:
            await self._client.patch(path, {"metadata": {"annotations": {COST: cost}}}, change)
        except Missing:
            return  # a pod that is gone needs no cost

    async def _pods(self) -> list[reading.Pod]:
        return await _pods_of(self._client, self._resources, self._target)


class InOrder:
    """Of one StatefulSet, whose pods go by their ordinals."""

    def __init__(self, client: KubernetesClient, resources: Resources, target: KubernetesTarget) -> None:
        self._client, self._resources, self._target = client, resources, target

    async def instances(self) -> Instances:
        """Its pods. Raises Unavailable."""
        target = self._target
        path = await self._resources.path(target.namespace, target.resource, target.name)
        try:
            async with asyncio.timeout(_LONGEST_S):
                found, pods = await asyncio.gather(
                    self._client.get(path), _pods_of(self._client, self._resources, target)
                )
        except TimeoutError:
            raise Unavailable(SOURCE, f"did not list the pods within {in_words(_LONGEST_S)}") from None
        return reading.in_order(found, pods)

    async def keep(self, names: Collection[str], change: Change) -> None:
        """Nothing is to do: which pods go is known."""


async def _pods_of(client: KubernetesClient, resources: Resources, target: KubernetesTarget) -> list[reading.Pod]:
    path = await resources.path(target.namespace, target.resource, target.name)
    status = (await client.get(f"{path}/scale")).get("status")
    selector = status.get("selector") if isinstance(status, dict) else None
    if not isinstance(selector, str) or not selector:
        raise Unavailable(SOURCE, f"names no selector in the scale of {target.words}")
    path = f"/api/v1/namespaces/{target.namespace}/pods"
    return list(reading.pods_in(await client.items(path, labelSelector=selector, limit=_PAGE), COST))
