"""Requests over HTTP: the fault if one is due, or else the API's answer. And what is done by hand, below /fake/."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from controller.fake_kubernetes import views
from controller.fake_kubernetes.answers import Answer
from controller.fake_kubernetes.api import Api, Request
from controller.fake_kubernetes.cluster import Cluster
from controller.fake_kubernetes.faults import BadFaultError, Fault


class Handler:
    def __init__(self, api: Api) -> None:
        self.api = api

    @property
    def cluster(self) -> Cluster:
        return self.api.cluster

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith("/fake/"):
            return await self._by_hand(request)
        self.api.requests.append((request.method, request.path))
        self.cluster.advance(_now())
        body = await request.read()
        fault = self.api.faults.take(request.method, request.path)
        if fault is None:
            return self._carry_out(request, body)
        if fault.answer is not None:
            return _sent(fault.answer)
        return await self._wrong(request, fault, body)

    async def _wrong(self, request: web.Request, fault: Fault, body: bytes) -> web.StreamResponse:
        if fault.kind == "hang":
            await asyncio.sleep(fault.seconds)
            return _cut(request, web.Response())
        if fault.kind == "late":
            await asyncio.shield(asyncio.sleep(fault.seconds))
            self.cluster.advance(_now())
        response = self._carry_out(request, body)
        if fault.kind == "slow":
            await asyncio.sleep(fault.seconds)
        return _cut(request, response) if fault.kind == "lost" else response

    def _carry_out(self, request: web.Request, body: bytes) -> web.Response:
        named = request.headers.get
        return _sent(
            self.api.answer(
                Request(
                    request.method,
                    request.path,
                    body,
                    authorization=named("Authorization"),
                    agent=named("User-Agent", ""),
                    content_type=named("Content-Type", ""),
                    query=request.query,
                )
            )
        )

    async def _by_hand(self, request: web.Request) -> web.Response:
        """What a person or the rest of the cluster does; no part of the API."""
        self.cluster.advance(_now())
        try:
            wishes = await request.json() if request.method == "POST" else None
        except ValueError:
            return web.json_response({"error": "that is no JSON"}, status=400)
        if request.path == "/fake/faults" and request.method == "POST":
            try:
                self.api.faults.add(*(wishes if isinstance(wishes, list) else [wishes]))
            except BadFaultError as error:
                return web.json_response({"error": str(error)}, status=400)
        elif request.path.startswith("/fake/workloads/") and request.method == "POST":
            return self._set(request.path.rpartition("/")[2], wishes)
        elif request.path not in {"/fake/faults", "/fake/requests", "/fake/changes"}:
            return web.json_response({"error": "there are faults, requests, changes and workloads/NAME"}, status=404)
        pending = [vars(fault) for fault in self.api.faults.pending]
        shown = {"faults": pending, "requests": self.api.requests, "changes": self.api.changes}
        return web.json_response(shown[request.path.rpartition("/")[2]])

    def _set(self, name: str, wishes: Any) -> web.Response:
        found = [one for one in self.cluster.workloads.values() if one.name == name]
        if not found or not isinstance(wishes, dict) or not all(_is_allowed(*wish) for wish in wishes.items()):
            words = "set replicas, trouble (crash, exit, image, unschedulable), quota or paused of a workload"
            return web.json_response({"error": words}, status=400)
        replicas = wishes.pop("replicas", found[0].replicas)
        for key, value in wishes.items():
            setattr(found[0], key, value)
        self.cluster.scale(found[0], replicas)
        self.cluster.advance(_now())
        return web.json_response(views.shown(self.cluster, found[0]))


def _is_allowed(key: str, value: object) -> bool:
    if key in {"replicas", "quota"}:
        return (type(value) is int and value >= 0) or (value is None and key == "quota")
    if key == "paused":
        return isinstance(value, bool)
    return key == "trouble" and value in ("", "crash", "exit", "image", "unschedulable")


def _sent(answer: Answer) -> web.Response:
    return web.Response(status=answer.status, body=answer.body, headers=answer.headers)


def _now() -> float:
    """By the event loop, so that a test's simulated time is the cluster's, too."""
    return asyncio.get_running_loop().time()


def _cut(request: web.Request, instead: web.StreamResponse) -> web.StreamResponse:
    """The connection ends without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return instead
