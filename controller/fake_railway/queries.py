"""The root fields of Query. Each first asks whether the caller may, as Railway does."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from controller.fake_railway import ids, views
from controller.fake_railway.errors import deployment_not_found, not_authorized
from controller.fake_railway.record import iso

if TYPE_CHECKING:
    from collections.abc import Callable

    from controller.fake_railway.access import Caller
    from controller.fake_railway.faults import Fault
    from controller.fake_railway.record import Mutation
    from controller.fake_railway.state import Deployment, RailwayState, Service

REGIONS = {
    "us-west2": ("US West", "California"),
    "us-east4-eqdc4a": ("US East", "Virginia"),
    "europe-west4-drams3a": ("EU West", "Amsterdam"),
    "asia-southeast1-eqsg3a": ("Southeast Asia", "Singapore"),
}


@dataclass
class Context:
    """What a resolver knows of the request it is part of."""

    caller: Caller
    fault: Fault | None = None
    entries: dict[str, Mutation] = field(default_factory=dict)
    """One per root field of a mutation, under its name in the answer."""


class Info(Protocol):
    """As much of graphql-core's resolve info as is used here; its type differs between the versions."""

    context: Context
    path: Any


class Queries:
    def __init__(self, state: RailwayState) -> None:
        self._state = state

    def resolvers(self) -> dict[str, Callable[..., Any]]:
        return {
            "me": self._me,
            "apiToken": self._api_token,
            "projectToken": self._project_token,
            "workspace": self._workspace,
            "project": self._project,
            "regions": self._regions,
            "environment": self._environment,
            "environmentStagedChanges": self._staged,
            "service": self._service,
            "serviceInstance": self._service_instance,
            "deployment": self._deployment,
            "deployments": self._deployments,
        }

    def _me(self, info: Info) -> views.View:
        info.context.caller.of_kind("account")
        return {"id": ids.USER_ID, "name": "Fake User", "email": "fake@example.com", "username": "fake"}

    def _api_token(self, info: Info) -> views.View:
        info.context.caller.of_kind("account", "workspace")
        return {"workspaces": [{"id": ids.WORKSPACE_ID, "name": "Fake Workspace"}]}

    def _project_token(self, info: Info) -> views.View:
        info.context.caller.of_kind("project")
        environment_id = info.context.caller.environment_id
        return {
            "id": ids.named(f"token of {environment_id}"),
            "name": "autoscaler",
            "displayToken": "fake…",
            "createdAt": iso(self._state.started_at),
            "projectId": ids.PROJECT_ID,
            "environmentId": environment_id,
            "project": lambda _info: views.project(self._state),
            "environment": lambda nested: self._environment(nested, id=str(environment_id)),
        }

    def _workspace(self, info: Info, **arguments: Any) -> views.View:
        info.context.caller.of_kind("account", "workspace")
        if arguments["workspaceId"] != ids.WORKSPACE_ID:
            raise not_authorized()
        return {"id": ids.WORKSPACE_ID, "name": "Fake Workspace"}

    def _project(self, info: Info, **arguments: Any) -> views.View:
        info.context.caller.project(arguments["id"])
        return views.project(self._state)

    def _regions(self, info: Info, **_: Any) -> list[views.View]:
        info.context.caller.known()
        return [
            {"id": None, "name": name, "region": region, "country": "", "location": location}
            for name, (region, location) in REGIONS.items()
        ]

    def _environment(self, info: Info, **arguments: Any) -> views.View:
        info.context.caller.environment(arguments["id"])
        info.context.caller.project(arguments.get("projectId"))
        return views.environment(self._state)

    def _staged(self, info: Info, **arguments: Any) -> views.View:
        info.context.caller.environment(arguments["environmentId"])
        return views.staged_patch(self._state)

    def _service(self, info: Info, **arguments: Any) -> views.View:
        return views.service(self._state, find_service(self._state, info.context.caller, arguments["id"]))

    def _service_instance(self, info: Info, **arguments: Any) -> views.View:
        info.context.caller.environment(arguments["environmentId"])
        return views.instance(self._state, find_service(self._state, info.context.caller, arguments["serviceId"]))

    def _deployment(self, info: Info, **arguments: Any) -> views.View:
        return views.deployment(self._state, find_deployment(self._state, info.context.caller, arguments["id"]))

    def _deployments(self, info: Info, **arguments: Any) -> views.View:
        wish = arguments.pop("input")
        info.context.caller.environment(wish.get("environmentId"))
        info.context.caller.project(wish.get("projectId"))
        return views.connection(views.deployments(self._state, lambda each: _wanted(each, wish)), **arguments)


def find_service(state: RailwayState, asking: Caller, service_id: str) -> Service:
    """An unknown service gets the same answer as a forbidden one."""
    asking.environment(None)
    if service_id not in state.services:
        raise not_authorized()
    return state.services[service_id]


def find_deployment(state: RailwayState, asking: Caller, deployment_id: str) -> Deployment:
    asking.known()
    found = state.deployment(deployment_id)
    if found is None:
        raise deployment_not_found()
    asking.environment(None)
    return found


def _wanted(deployment: Deployment, wish: dict[str, Any]) -> bool:
    status = wish.get("status") or {}
    allowed, refused = status.get("in"), status.get("notIn") or []
    return (
        wish.get("serviceId") in {None, deployment.service.id}
        and (allowed is None or deployment.status in allowed)
        and deployment.status not in refused
    )
