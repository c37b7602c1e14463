"""POST /graphql/v2: one request, its fault if one is due, its answer, and a record of it.

In this order: the quota, then the fault, then GraphQL. A request is recorded before it is answered, so that one
whose answer is lost is in the record, too: such a mutation may have been applied, and the controller has to find out by
reading.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from aiohttp import web

from controller.fake_railway import errors
from controller.fake_railway.access import Caller, identify
from controller.fake_railway.queries import Context

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.fake_railway.api import Api, Asked
    from controller.fake_railway.faults import Fault, Faults
    from controller.fake_railway.record import Mutation, Record

HOUR = 3600
_CLOUDFLARE = "<!DOCTYPE html><html><head><title>Access denied | backboard.railway.com used Cloudflare to restrict access</title></head><body><h1>Error 1015</h1><p>You are being rate limited</p></body></html>"  # noqa: E501 -- one page
_BAD_GATEWAY = "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
_SILENT = frozenset({"hang", "lost"})
"""Faults that close the connection without an answer."""
_WORK_NORMALLY = frozenset({"not_honoured", "plan_clamp"})
"""Faults that the answer does not show; the mutation itself does less (mutations.py)."""


class Endpoint:
    def __init__(self, api: Api, faults: Faults, record: Record, *, quota: int, enforce_quota: bool) -> None:
        self._api = api
        self._faults = faults
        self._record = record
        self._quota = quota
        self._left = quota if enforce_quota else None
        self._window_ends = time.monotonic() + HOUR

    async def handle(self, request: web.Request) -> web.StreamResponse:
        asked = self._api.understand(await _payload(request))
        self._record.request(asked.operation)
        caller = identify(request.headers)
        entries = self._write_down(asked, caller, request.headers)
        response = self._over_quota() or await self._serve(request, asked, Context(caller, entries=entries))
        self._record.by_status[response.status] += 1
        # The documented X-RateLimit headers are never sent; this one always is.
        response.headers["ratelimit-policy"] = f'"default";q={self._quota};w={HOUR}'
        return response

    async def _serve(self, request: web.Request, asked: Asked, context: Context) -> web.Response:
        fault = context.fault = self._faults.take(asked.kind, asked.names)
        if fault is None or fault.kind in _WORK_NORMALLY:
            return self._carry_out(asked, context)
        for each in context.entries.values():
            each.effect = f"dropped: {fault.kind}"
            each.answered = fault.kind not in _SILENT
        if fault.kind == "late":
            await asyncio.sleep(fault.seconds)
        carried_out = self._carry_out(asked, context) if fault.applied else None
        if fault.kind in {"slow", "hang"}:
            await asyncio.sleep(fault.seconds)
        if carried_out is not None and fault.kind in {"slow", "late"}:
            return carried_out
        return self._fail(request, asked, context, fault)

    def _carry_out(self, asked: Asked, context: Context) -> web.Response:
        for each in context.entries.values():
            each.effect = "none"
            each.answered = True
        status, body = self._api.answer(asked, context)
        if asked.refusal is not None:
            for each in context.entries.values():
                each.effect = f"refused: {body['errors'][0]['message']}"
        return _json(body, status)

    def _fail(self, request: web.Request, asked: Asked, context: Context, fault: Fault) -> web.Response:
        if fault.kind in _SILENT or fault.kind in {"slow", "late"}:
            for each in context.entries.values():
                each.answered = False
            if request.transport is not None:
                request.transport.close()
            return web.Response(status=499)  # reaches no client; nginx counts a client that went away by this number
        return _answer_of(fault, asked)

    def _write_down(self, asked: Asked, caller: Caller, headers: Mapping[str, str]) -> dict[str, Mutation]:
        if asked.kind != "mutation":
            return {}
        return {
            key: self._record.mutation(asked.operation, name, str(caller), asked.variables, headers)
            for key, name in asked.roots.items()
        }

    def _over_quota(self) -> web.Response | None:
        if self._left is None:
            return None
        if time.monotonic() >= self._window_ends:
            self._left, self._window_ends = self._quota, time.monotonic() + HOUR
        self._left -= 1
        return _too_many(int(self._window_ends - time.monotonic()) + 1) if self._left < 0 else None


async def _payload(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except (ValueError, ConnectionError):  # the latter: the connection was cut, and the client is gone
        return None


def _answer_of(fault: Fault, asked: Asked) -> web.Response:
    match fault.kind:
        case "429":
            return _too_many(fault.retry_after)
        case "cloudflare":
            return web.Response(status=429, text=_CLOUDFLARE, content_type="text/html")
        case "502":
            return web.Response(status=502, text=_BAD_GATEWAY, content_type="text/html")
        case "null":
            return _json({"data": None})
        case "not_authorized":
            error = errors.problem("Not Authorized")
        case _:
            error = errors.problem()
    message = {"message": error.pop("message")}
    return _json({"errors": [{**message, **asked.place, **error}], "data": None})


def _too_many(retry_after: int) -> web.Response:
    # The body of Railway's own 429 is not documented; its clients only read the header.
    return _json({"errors": [errors.problem("Too Many Requests")]}, 429, {"Retry-After": str(retry_after)})


def _json(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    text = json.dumps(body, ensure_ascii=False, separators=(",", ":"))
    return web.Response(status=status, text=text, content_type="application/json", headers=headers)
