"""The state as the API shows it: dictionaries whose lazy members are only computed if a query asks for them.

They must be lazy, because the schema is a graph with circles: a project has services, and each of these has its
project.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from controller.fake_railway import config, ids
from controller.fake_railway.record import iso
from controller.fake_railway.state import STARTING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from controller.fake_railway.state import Deployment, RailwayState, Service

View = dict[str, Any]
PROJECT_NAME = "fake-railway"
ENVIRONMENT_NAME = "production"
MOUNT_PATH = "/data"


def project(state: RailwayState) -> View:
    return {
        "id": ids.PROJECT_ID,
        "name": PROJECT_NAME,
        "description": None,
        "createdAt": iso(state.started_at),
        "updatedAt": iso(state.started_at),
        "deletedAt": None,
        "workspaceId": ids.WORKSPACE_ID,
        "subscriptionType": state.plan,
        "environments": lambda _info, **page: connection([environment(state)], **page),
        "services": lambda _info, **page: connection(
            [service(state, each) for each in state.services.values()], **page
        ),
    }


def environment(state: RailwayState) -> View:
    services = state.services.values()
    return {
        "id": ids.ENVIRONMENT_ID,
        "name": ENVIRONMENT_NAME,
        "projectId": ids.PROJECT_ID,
        "isEphemeral": False,
        "createdAt": iso(state.started_at),
        "updatedAt": iso(state.started_at),
        "deletedAt": None,
        "config": lambda _info, **_: environment_config(state),
        "serviceInstances": lambda _info, **page: connection([instance(state, each) for each in services], **page),
        "deployments": lambda _info, **page: connection(deployments(state), **page),
    }


def environment_config(state: RailwayState) -> View:
    services = {
        each.id: {
            "source": {"image": image(each)},
            "deploy": dict(each.deploy),
            "variables": {},
            **({"volumeMounts": {volume_id(each): {"mountPath": MOUNT_PATH}}} if each.has_volume else {}),
        }
        for each in state.services.values()
    }
    volumes = {volume_id(each): {"sizeMB": 5000} for each in state.services.values() if each.has_volume}
    return {"services": services, "sharedVariables": {}, "volumes": volumes}


def service(state: RailwayState, known: Service) -> View:
    return {
        "id": known.id,
        "name": known.name,
        "projectId": ids.PROJECT_ID,
        "project": lambda _info: project(state),
        "createdAt": iso(known.created_at),
        "updatedAt": iso(known.created_at),
        "deletedAt": None,
    }


def instance(state: RailwayState, known: Service) -> View:
    """A ServiceInstance: the service in its environment, not a replica."""
    plain = ("startCommand", "cronSchedule", "overlapSeconds", "drainingSeconds", "healthcheckPath", "buildCommand")
    regions = known.deploy.get("multiRegionConfig") or {}
    return {
        **{key: known.deploy.get(key) for key in plain},
        "id": known.instance_id,
        "serviceId": known.id,
        "serviceName": known.name,
        "service": lambda _info: service(state, known),
        "environmentId": ids.ENVIRONMENT_ID,
        # The legacy field: never the truth about several regions, and null until it is set.
        "numReplicas": 1 if len(regions) > 1 else known.deploy.get("numReplicas"),
        "region": known.deploy.get("region"),
        "sleepApplication": known.deploy.get("sleepApplication", False),
        "healthcheckTimeout": known.deploy.get("healthcheckTimeout"),
        "restartPolicyType": known.deploy.get("restartPolicyType") or "ON_FAILURE",
        "restartPolicyMaxRetries": known.deploy.get("restartPolicyMaxRetries") or 10,
        "isUpdatable": True,
        "railwayConfigFile": None,
        "source": {"image": image(known), "repo": None},
        "createdAt": iso(known.created_at),
        "updatedAt": iso(known.created_at),
        "deletedAt": None,
        "latestDeployment": lambda _info: known.latest and deployment(state, known.latest),
        "activeDeployments": lambda _info: [deployment(state, each) for each in known.active],
    }


def deployment(state: RailwayState, known: Deployment) -> View:
    return {
        "id": known.id,
        "status": known.status,
        "deploymentStopped": known.stopped,
        "canRedeploy": known.status not in STARTING,
        "canRollback": known.status == "REMOVED",
        "createdAt": iso(known.created_at),
        "updatedAt": iso(known.status_updated_at),
        "statusUpdatedAt": iso(known.status_updated_at),
        "instances": [{"id": each.id, "status": each.status} for each in known.replicas],
        "meta": lambda _info: meta(known),
        "projectId": ids.PROJECT_ID,
        "environmentId": ids.ENVIRONMENT_ID,
        "environment": lambda _info: environment(state),
        "serviceId": known.service.id,
        "service": lambda _info: service(state, known.service),
        "snapshotId": ids.named(known.id),
        "url": None,
        "staticUrl": None,
    }


def meta(known: Deployment) -> View:
    deploy = dict(known.manifest)
    if known.service.switches.legacy_meta:
        regions = config.counts(deploy)
        region = next(iter(regions))
        deploy = {"region": region, "numReplicas": regions[region]}
    return {
        "image": image(known.service),
        "imageDigest": "sha256:" + hashlib.sha256(known.service.name.encode()).hexdigest(),
        "reason": "deploy",
        # What the image declares as a VOLUME reads the same as one that is attached.
        "volumeMounts": [MOUNT_PATH]
        if known.service.has_volume or known.service.switches.image_declares_volume
        else [],
        "fileServiceManifest": {"deploy": known.service.config_file} if known.service.config_file else {},
        "serviceManifest": {"build": {"builder": "RAILPACK"}, "deploy": deploy},
    }


def deployments(state: RailwayState, keep: Callable[[Deployment], bool] = lambda _: True) -> list[View]:
    """Newest first, removed ones too: that is how `railway down` finds one to remove."""
    every = [each for known in state.services.values() for each in known.deployments if keep(each)]
    return [deployment(state, each) for each in sorted(every, key=lambda each: each.created_at, reverse=True)]


def staged_patch(state: RailwayState, status: str = "STAGED") -> View:
    return {
        "id": state.patch_id,
        "status": status,
        "patch": lambda _info, **_: state.staged,
        "environment": lambda _info: environment(state),
        "environmentId": ids.ENVIRONMENT_ID,
        "createdAt": iso(state.started_at),
        "updatedAt": iso(state.started_at),
        "appliedAt": None,
        "lastAppliedError": None,
        "message": None,
    }


def image(known: Service) -> str:
    return f"ghcr.io/example/{known.name}:latest"


def volume_id(known: Service) -> str:
    return ids.named(f"volume of {known.name}")


def connection(
    nodes: Sequence[View],
    *,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    **_: Any,
) -> View:
    """A Relay page; the cursor is the node's id, so that it survives what comes and goes between two pages."""
    cursors = [node["id"] for node in nodes]
    start = cursors.index(after) + 1 if after in cursors else 0
    stop = cursors.index(before) if before in cursors else len(nodes)
    if first is not None:
        stop = min(stop, start + first)
    if last is not None:
        start = max(start, stop - last)
    page = [{"cursor": cursor, "node": node} for cursor, node in zip(cursors, nodes, strict=True)][start:stop]
    return {
        "edges": page,
        "pageInfo": {
            "hasNextPage": stop < len(nodes),
            "hasPreviousPage": start > 0,
            "startCursor": page[0]["cursor"] if page else None,
            "endCursor": page[-1]["cursor"] if page else None,
        },
    }
