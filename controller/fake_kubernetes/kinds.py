"""The resources that the fake has, and discovery: what kubectl asks before anything else."""

from __future__ import annotations

from typing import Any, NamedTuple


class Kind(NamedTuple):
    """most: of its replicas, by its schema; None: no limit. builtin: no custom resource; it takes strategic patches."""

    group: str
    version: str
    kind: str
    plural: str
    short: tuple[str, ...] = ()
    most: int | None = None
    builtin: bool = True

    @property
    def name(self) -> str:
        """`deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments", ("deploy",))
STATEFUL_SET = Kind("apps", "v1", "StatefulSet", "statefulsets", ("sts",))
CUSTOM = Kind("example.com", "v1", "Worker", "workers", most=20, builtin=False)
"""A custom resource whose schema allows at most 20 replicas."""
SCALED = (DEPLOYMENT, STATEFUL_SET, CUSTOM)
POD = Kind("", "v1", "Pod", "pods", ("po",))
_SERVED = (POD, *SCALED)


def groups() -> dict[str, Any]:
    """GET /apis."""
    names = dict.fromkeys(kind.group for kind in SCALED)
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": [group(name) for name in names]}


def group(name: str) -> dict[str, Any]:
    """GET /apis/GROUP."""
    version = next(kind.version for kind in SCALED if kind.group == name)
    both = {"groupVersion": f"{name}/{version}", "version": version}
    return {"kind": "APIGroup", "apiVersion": "v1", "name": name, "versions": [both], "preferredVersion": both}


def resources(api_version: str) -> dict[str, Any]:
    """GET /apis/GROUP/VERSION, and GET /api/v1."""
    listed: list[dict[str, Any]] = []
    for kind in _SERVED:
        if kind.api_version != api_version:
            continue
        verbs = ["get", "list", "patch", "update"]
        one = {"name": kind.plural, "singularName": kind.kind.lower(), "namespaced": True, "kind": kind.kind}
        listed.append({**one, "verbs": verbs, "shortNames": list(kind.short)})
        if kind in SCALED:
            scale = {"name": f"{kind.plural}/scale", "singularName": "", "namespaced": True, "kind": "Scale"}
            listed.append({**scale, "group": "autoscaling", "version": "v1", "verbs": ["get", "patch", "update"]})
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": listed}
