"""A small Engine in Swarm mode for tests and the demo: the API that the adapter uses, over a Unix socket or TCP.

What it answers was read off a real one (Docker 20.10), and tests/adapters/swarm runs the same tests on both.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from aiohttp import web

ENDED = ("complete", "shutdown", "failed", "rejected")


@dataclass
class FakeTask:
    """A task, as the Engine's JSON has it in `json`."""

    json: dict[str, Any]

    @property
    def slot(self) -> int:
        return int(self.json["Slot"])

    @property
    def state(self) -> str:
        return str(self.json["Status"]["State"])

    @property
    def desired(self) -> str:
        return str(self.json["DesiredState"])


@dataclass
class FakeEngine:
    """Its tasks change only where a test says so, by step(); requests are answered at once.

    runs_by_itself: after each list of tasks, those that start or end have done so. orders: faults for the next
    requests, with the method that they are for: 502, 429, null, hang, or lost (it is done, and the answer is lost).
    now: epoch seconds. fault: answers a request instead of the Engine, by method and path; None: the Engine answers.
    """

    now: float = 1_800_000_000.0
    api: str = "1.41"
    is_manager: bool = True
    runs_by_itself: bool = False
    orders: list[tuple[str, str]] = field(default_factory=list)
    fault: Callable[[str, str], web.StreamResponse | None] = lambda _method, _path: None
    services: dict[str, dict[str, Any]] = field(default_factory=dict)
    tasks: dict[str, list[FakeTask]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    """Method, path and query of each request."""
    sent: list[Any] = field(default_factory=list)
    """The bodies of the updates."""
    _index: itertools.count[int] = field(default_factory=lambda: itertools.count(10))

    def create(self, name: str, replicas: int = 1, **spec: Any) -> str:
        """A service whose tasks run already; its id. spec: further parts of its spec."""
        ident = secrets.token_hex(13)[:25]
        template = {
            "ContainerSpec": {"Image": "worker:1", "StopGracePeriod": 3_000_000_000, "Env": ["KEY=p<>&\u00e4"]},
            "Resources": {"Limits": {"MemoryBytes": 2**53 + 1}},
            "Runtime": "container",
        }
        mode = {"Replicated": {"Replicas": replicas}}
        whole = {"Name": name, "Labels": {}, "TaskTemplate": template, "Mode": mode, **spec}
        self.services[ident] = {"ID": ident, "Spec": whole, "CreatedAt": self.stamp, "Endpoint": {"Spec": {}}}
        self.tasks[ident] = []
        self._write(ident)
        self.reconcile(ident)
        self.step(name, "running")
        return ident

    def of(self, name: str) -> dict[str, Any]:
        return next(one for one in self.services.values() if one["Spec"]["Name"] == name)

    def tasks_of(self, name: str) -> list[FakeTask]:
        return self.tasks[self.of(name)["ID"]]

    def count(self, name: str) -> int:
        return int(self.of(name)["Spec"]["Mode"]["Replicated"]["Replicas"])

    @property
    def stamp(self) -> str:
        return datetime.fromtimestamp(self.now, UTC).isoformat().replace("+00:00", "Z")

    def step(self, name: str, state: str, *, slots: tuple[int, ...] = (), err: str = "") -> None:
        """The tasks that start reach this state. One that fails is replaced, as by the restart condition `any`."""
        for task in list(self.tasks_of(name)):
            if task.desired in {"running", "ready"} and task.state not in ENDED and (not slots or task.slot in slots):
                if task.state == state:
                    continue
                task.json["Status"] = {"State": state, "Timestamp": self.stamp, **({"Err": err} if err else {})}
                task.json["DesiredState"] = "running"
                if state in ENDED:
                    task.json["DesiredState"] = "shutdown"
                    self._add(self.of(name)["ID"], task.slot, "ready", "ready")

    def end(self, name: str, state: str) -> None:
        """All tasks end for good, as under the restart condition `none`."""
        for task in self.tasks_of(name):
            task.json["Status"] = {"State": state, "Timestamp": self.stamp}
            task.json["DesiredState"] = "shutdown"

    def stop(self, name: str) -> None:
        """The tasks that were told to end have ended."""
        ident = self.of(name)["ID"]
        self.tasks[ident] = [task for task in self.tasks[ident] if task.desired != "remove"]

    def set_update(self, name: str, state: str, message: str = "") -> None:
        """What a rolling update has come to; it changes the version, as the manager's writes do."""
        service = self.of(name)
        service["UpdateStatus"] = {"State": state, "StartedAt": self.stamp, "Message": message}
        self._write(service["ID"])

    def update(self, ident: str, spec: dict[str, Any]) -> None:
        """Another spec; what an update had come to is forgotten."""
        service = self.services[ident]
        service["PreviousSpec"], service["Spec"] = service["Spec"], spec
        service.pop("UpdateStatus", None)
        self._write(ident)
        self.reconcile(ident)

    def reconcile(self, ident: str) -> None:
        """Tells tasks to end, or makes new ones, until there is one in each slot."""
        wanted = self.services[ident]["Spec"]["Mode"].get("Replicated", {"Replicas": 0})["Replicas"]
        live = [task for task in self.tasks[ident] if task.desired in {"running", "ready"}]
        for task in live[wanted:]:
            task.json["DesiredState"] = "remove"
        taken = {task.slot for task in live}
        free = (slot for slot in itertools.count(1) if slot not in taken)
        for _ in range(wanted - len(live)):
            self._add(ident, next(free), "new", "running")

    def _add(self, ident: str, slot: int, state: str, desired: str) -> None:
        json = {
            "ID": secrets.token_hex(13)[:25],
            "ServiceID": ident,
            "Slot": slot,
            "CreatedAt": self.stamp,
            "Spec": self.services[ident]["Spec"]["TaskTemplate"],
            "Status": {"State": state, "Timestamp": self.stamp},
            "DesiredState": desired,
        }
        self.tasks[ident].append(FakeTask(json))

    def _write(self, ident: str) -> None:
        self.services[ident]["Version"] = {"Index": next(self._index)}
        self.services[ident]["UpdatedAt"] = self.stamp

    @asynccontextmanager
    async def over(self, socket: Path) -> AsyncIterator[str]:
        """Serves on this Unix socket; the value of DOCKER_HOST."""
        async with self._running() as runner:
            await web.UnixSite(runner, str(socket)).start()
            yield f"unix://{socket}"

    @asynccontextmanager
    async def over_tcp(self, tls: Any = None) -> AsyncIterator[str]:
        async with self._running() as runner:
            site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
            await site.start()
            yield f"tcp://127.0.0.1:{runner.addresses[0][1]}"

    @asynccontextmanager
    async def _running(self) -> AsyncIterator[web.AppRunner]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        try:
            yield runner
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.requests.append(f"{request.method} {request.path_qs}")
        kind = next((kind for kind, method in self.orders if method == request.method), "")
        if kind:
            self.orders.remove((kind, request.method))
        if kind == "hang":
            await asyncio.sleep(3600)
        fault = _ANSWERS[kind]() if kind in _ANSWERS else self.fault(request.method, request.path)
        answer = fault if fault is not None else await self._handled(request)
        if kind == "lost" and request.transport is not None:
            request.transport.abort()
        if self.runs_by_itself and request.path.endswith("/tasks"):
            self.now += 10
            for one in self.services.values():
                self.step(one["Spec"]["Name"], "running")
                self.stop(one["Spec"]["Name"])
        answer.headers["Api-Version"] = self.api
        answer.headers["Date"] = datetime.fromtimestamp(self.now, UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
        return answer

    async def _handled(self, request: web.Request) -> web.Response:
        if request.path == "/_ping":
            return web.Response(text="OK")
        version, _, path = request.path.removeprefix("/v").partition("/")
        if version != self.api:
            words = f"client version {version} is too new. Maximum supported API version is {self.api}"
            return said(400, words)
        if not self.is_manager:
            return said(503, "This node is not a swarm manager. Worker nodes can't be used to view or modify …")
        filters = json.loads(request.query.get("filters", "{}"))
        if path == "services":
            names = filters.get("name", [""])
            found = [one for one in self.services.values() if one["Spec"]["Name"].startswith(tuple(names))]
            return web.json_response(
                [{**one, **self._status(one)} for one in found] if "status" in request.query else found
            )
        if path == "tasks":
            return self._tasks(filters)
        return await self._update(path.split("/")[1], request)

    def _status(self, service: dict[str, Any]) -> dict[str, Any]:
        """What `docker service ls` shows."""
        wanted = [task for task in self.tasks[service["ID"]] if task.desired != "remove"]
        running = sum(task.state == "running" for task in wanted)
        return {"ServiceStatus": {"RunningTasks": running, "DesiredTasks": len(wanted)}}

    def _tasks(self, filters: dict[str, list[str]]) -> web.Response:
        for ident in filters["service"]:
            if ident not in self.services:
                return said(404, f"service {ident} not found")
        return web.json_response(
            [
                task.json
                for ident in filters["service"]
                for task in self.tasks[ident]
                if task.desired in filters["desired-state"]
            ]
        )

    async def _update(self, ident: str, request: web.Request) -> web.Response:
        if ident not in self.services:
            return said(404, f"service {ident} not found")
        service, spec = self.services[ident], await request.json()
        if service["Version"]["Index"] != int(request.query["version"]):
            return said(500, "rpc error: code = Unknown desc = update out of sequence")
        self.sent.append(spec)
        self.update(ident, spec)
        return web.json_response({"Warnings": None})


_ANSWERS: dict[str, Callable[[], web.Response]] = {
    "502": lambda: web.Response(status=502, text="<html>"),
    "429": lambda: web.Response(status=429),
    "null": lambda: web.json_response(None),
}


def said(status: int, message: str) -> web.Response:
    return web.json_response({"message": message}, status=status)
