"""Where the API has a resource that a policy names: `deployments.apps` is under /apis/apps/v1."""

from __future__ import annotations

import re
from collections.abc import Sequence

from controller.adapters.kubernetes import SOURCE
from controller.adapters.kubernetes.client import KubernetesClient, Missing
from controller.core.ports import Refused, Unavailable

_KNOWN = {"apps": "v1"}
"""Groups whose version has been the same since before any cluster that still runs."""
BY_OBJECT = frozenset({"deployments.apps", "statefulsets.apps", "replicasets.apps", "rollouts.argoproj.io"})
"""Resources whose own objects hold all that is needed, so that one list reads all of them. Of any other, only the Scale
says where its replicas stand."""


_VERSION = re.compile(r"[a-z0-9-]{1,63}")
_MOST_VERSIONS = 10


class Resources:
    """Asks for the version of each resource once, and again after its API was not found in it."""

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client
        self._versions: dict[str, str] = {}
        """By resource."""

    async def path(self, namespace: str, resource: str, name: str = "") -> str:
        """Of one object, or of the list of all in the namespace. Raises Unavailable."""
        plural, _, group = resource.partition(".")
        base = f"/apis/{group}/{await self._version(resource)}" if group else "/api/v1"
        return f"{base}/namespaces/{namespace}/{plural}{f'/{name}' if name else ''}"

    def forget(self, resource: str) -> None:
        """Nothing was found there: its version may not be served any more."""
        self._versions.pop(resource, None)

    async def _version(self, resource: str) -> str:
        plural, _, group = resource.partition(".")
        if group in _KNOWN:
            return _KNOWN[group]
        if resource not in self._versions:
            versions = await self._served(group)
            self._versions[resource] = versions[0] if len(versions) == 1 else await self._with(plural, group, versions)
        return self._versions[resource]

    async def _served(self, group: str) -> list[str]:
        """The versions of a group, the preferred one first."""
        try:
            found = await self._client.get(f"/apis/{group}")
        except Missing:
            words = f"knows no API group {group}; write the resource as `kubectl api-resources` names it"
            raise Refused(SOURCE, f"{words}, such as deployments.apps") from None
        listed = found.get("versions")
        every = [found.get("preferredVersion"), *(listed if isinstance(listed, list) else ())]
        named = [one.get("version") for one in every if isinstance(one, dict)]
        versions = list(dict.fromkeys(one for one in named if isinstance(one, str) and _VERSION.fullmatch(one)))
        if not versions:
            raise Unavailable(SOURCE, f"does not say which versions of {group} it serves")
        return versions[:_MOST_VERSIONS]

    async def _with(self, plural: str, group: str, versions: Sequence[str]) -> str:
        """The first version that has the resource's scale: a group may serve some resources in one version only."""
        for version in versions:
            try:
                listed = (await self._client.get(f"/apis/{group}/{version}")).get("resources")
            except Missing:
                continue  # it was taken away in between
            names = [one.get("name") for one in (listed if isinstance(listed, list) else ()) if isinstance(one, dict)]
            if f"{plural}/scale" in names:
                return version
        words = f"serves no {plural}.{group} with a scale subresource, in none of {', '.join(versions)}"
        raise Refused(SOURCE, f"{words}; see `kubectl api-resources`, and subresources in its CRD")
