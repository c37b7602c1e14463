"""Where the API has a resource that a policy names: `deployments.apps` is under /apis/apps/v1."""

from __future__ import annotations

from typing import Any

from controller.adapters.kubernetes import SOURCE
from controller.adapters.kubernetes.client import KubernetesClient, Missing
from controller.core.ports import Refused, Unavailable

_KNOWN = {"apps": "v1"}
"""Groups whose version has been the same since before any cluster that still runs."""
BY_OBJECT = frozenset({"deployments.apps", "statefulsets.apps", "replicasets.apps", "rollouts.argoproj.io"})
"""Resources whose own objects hold all that is needed, so that one list reads all of them. Of any other, only the Scale
says where its replicas stand."""


class Resources:
    """Asks for the version of each group once."""

    def __init__(self, client: KubernetesClient) -> None:
        self._client = client
        self._versions: dict[str, str] = dict(_KNOWN)

    async def path(self, namespace: str, resource: str, name: str = "") -> str:
        """Of one object, or of the list of all in the namespace. Raises Unavailable."""
        plural, _, group = resource.partition(".")
        base = f"/apis/{group}/{await self._version(group)}" if group else "/api/v1"
        return f"{base}/namespaces/{namespace}/{plural}{f'/{name}' if name else ''}"

    def forget(self, resource: str) -> None:
        """Has the version asked for again: a cluster that was upgraded may serve the resource by another one."""
        _, _, group = resource.partition(".")
        if group not in _KNOWN:
            self._versions.pop(group, None)

    async def _version(self, group: str) -> str:
        if group not in self._versions:
            try:
                found = await self._client.get(f"/apis/{group}")
            except Missing:
                words = f"knows no API group {group}; write the resource as `kubectl api-resources` names it"
                raise Refused(SOURCE, f"{words}, such as deployments.apps") from None
            self._versions[group] = _preferred(found, group)
        return self._versions[group]


def _preferred(found: dict[str, Any], group: str) -> str:
    version = found.get("preferredVersion")
    named = version.get("version") if isinstance(version, dict) else None
    if not isinstance(named, str) or not named.isalnum():
        raise Unavailable(SOURCE, f"does not say which version of {group} it prefers")
    return named
