"""Endpoints beside the API: the record, the state, faults to order, and changes as in the dashboard.

For tests and people, on paths that Railway does not have, so that no request of a controller can meet them. /state
shows more than the API does (configured count, process ids, restarts): a test compares what the controller believes
with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from controller.fake_railway.by_hand import BadChangeError
from controller.fake_railway.errors import RefusalError
from controller.fake_railway.faults import BadFaultError
from controller.fake_railway.record import iso

if TYPE_CHECKING:
    from controller.fake_railway.by_hand import Dashboard
    from controller.fake_railway.faults import Faults
    from controller.fake_railway.record import Record
    from controller.fake_railway.state import Deployment, RailwayState, Service


class Admin:
    def __init__(self, state: RailwayState, record: Record, faults: Faults, dashboard: Dashboard) -> None:
        self._state = state
        self._record = record
        self._faults = faults
        self._dashboard = dashboard

    def routes(self) -> list[web.RouteDef]:
        return [
            web.get("/mutations", self._mutations),
            web.get("/requests", self._requests),
            web.get("/state", self._shown_state),
            web.get("/faults", self._pending),
            web.post("/faults", self._order),
            web.delete("/faults", self._clear),
            web.post("/services/{id}", self._change),
        ]

    async def _mutations(self, _: web.Request) -> web.Response:
        return web.json_response([each.as_json() for each in self._record.mutations])

    async def _requests(self, _: web.Request) -> web.Response:
        return web.json_response(self._record.requests_as_json())

    async def _shown_state(self, _: web.Request) -> web.Response:
        services = [service_as_json(each) for each in self._state.services.values()]
        return web.json_response({"services": services, "staged": self._state.staged, "by_hand": self._record.by_hand})

    async def _pending(self, _: web.Request) -> web.Response:
        return web.json_response([each.as_json() for each in self._faults.pending])

    async def _order(self, request: web.Request) -> web.Response:
        wish = await _body(request)
        try:
            new = self._faults.add(*(wish if isinstance(wish, list) else [wish]))
        except BadFaultError as bad:
            return _bad(str(bad))
        return web.json_response([each.as_json() for each in new])

    async def _clear(self, _: web.Request) -> web.Response:
        self._faults.pending.clear()
        return web.json_response([])

    async def _change(self, request: web.Request) -> web.Response:
        """The id may also be the service's name, which is easier to type."""
        wanted = request.match_info["id"]
        service = next((each for each in self._state.services.values() if wanted in {each.id, each.name}), None)
        if service is None:
            return _bad(f"there is no service {wanted!r}", status=404)
        change = await _body(request)
        try:
            self._dashboard.change(service, change)
        except (BadChangeError, RefusalError) as bad:
            return _bad(str(bad))
        self._record.hand(service.name, change)
        return web.json_response(service_as_json(service))


async def _body(request: web.Request) -> Any:
    """None if it is no JSON; who asked for it then says what it takes."""
    try:
        return await request.json()
    except ValueError:
        return None


def _bad(message: str, status: int = 400) -> web.Response:
    return web.json_response({"error": message}, status=status)


def service_as_json(service: Service) -> dict[str, Any]:
    return {
        "id": service.id,
        "name": service.name,
        "configured": service.configured,
        "running": service.running,
        "mode": service.switches.mode,
        "deploy": service.deploy,
        "deployments": [_deployment_as_json(each) for each in reversed(service.deployments)],
    }


def _deployment_as_json(deployment: Deployment) -> dict[str, Any]:
    return {
        "id": deployment.id,
        "status": deployment.status,
        "deploymentStopped": deployment.stopped,
        "createdAt": iso(deployment.created_at),
        "target": deployment.target,
        "instances": [
            {
                "id": each.id,
                "region": each.region,
                "status": each.status,
                "restarts": each.restarts,
                "pid": each.process.pid if each.process else None,
            }
            for each in deployment.replicas
        ],
    }
