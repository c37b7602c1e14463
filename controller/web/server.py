"""HTTP: the routes, the token, how long an answer is reused, and the socket.

/health, /metrics, /status, a page and the stream that feeds it show the last cycles. A request decides nothing, and
calls no dependency; only what begins with /history reads Redis.
"""

from __future__ import annotations

import base64
import binascii
import errno
import hmac
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from aiohttp import web

from controller.core.problems import ConfigurationError, Problem
from controller.core.text.escaping import as_json
from controller.web import assets
from controller.web.connections import HEADERS
from controller.web.contract import metrics_body
from controller.web.figures import Figures
from controller.web.health import Health, Shown, health_report, status_body, status_report
from controller.web.history import HistoryPage
from controller.web.page import page
from controller.web.readings import Readings
from controller.web.stream import Streams

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"
_PAGE_MAY = (
    f"{HEADERS['Content-Security-Policy']}; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'"
)
_FRESH_S = 0.1
"""An older answer is made again even if nothing in it has changed, because the ages in it have."""
_CHEAP_S = 0.002
"""What takes longer to make is reused, see _Fresh."""
_HOW_TO_GET_IN = """\
401: this page needs the controller's token, which is the value of HTTP_TOKEN.

  curl -H "Authorization: Bearer $HTTP_TOKEN" ADDRESS

In a browser: any user name, and the token as the password. /health needs no token.
"""


_PROBES = frozenset({"/health", "/livez", "/readyz"})


class Answer(NamedTuple):
    body: bytes
    headers: Mapping[str, str]
    status: int = 200


def application(shown: Shown, token: str | None = None) -> web.Application:
    """token: required for everything but the probes; None: nothing is required."""

    def health() -> Answer:
        report = health_report(shown)
        code = HTTPStatus.SERVICE_UNAVAILABLE if report.health is Health.UNHEALTHY else HTTPStatus.OK
        return _json(report.to_json(), status=code, headers=age_header(shown))

    def metrics() -> Answer:
        return _json(metrics_body(shown), headers=age_header(shown))

    def text() -> Answer:
        # Only a process that Prometheus scrapes pays for its client: 1 MB.
        from prometheus_client.process_collector import PROCESS_COLLECTOR  # noqa: PLC0415

        from controller.web.metrics import prometheus_text  # noqa: PLC0415

        text = prometheus_text(shown, PROCESS_COLLECTOR)
        return Answer(text.encode(), {"Content-Type": PROMETHEUS, **age_header(shown)})

    def status() -> Answer:
        return _json(status_body(shown))

    def look() -> Answer:
        return Answer(page(status_report(shown)).encode(), {"Content-Type": HTML, "Content-Security-Policy": _PAGE_MAY})

    prometheus = _Fresh(shown, text)

    def answering(make: Callable[[], Answer]) -> Callable[[web.Request], Awaitable[web.Response]]:
        fresh = _Fresh(shown, make)

        async def answer(request: web.Request) -> web.Response:
            wants_text = make is metrics and prefers_text(request.headers.get("Accept", ""))
            body, headers, code = (prometheus if wants_text else fresh).answer()
            return web.Response(body=body, headers=headers, status=code)

        return answer

    app = web.Application(middlewares=[_only_with(token)] if token else ())
    app.on_response_prepare.append(_with_headers)
    routes = {"/health": health, **_probes(shown), "/metrics": metrics, "/status": status, "/": look}
    app.add_routes([web.get(path, answering(make)) for path, make in routes.items()])
    app.add_routes([web.get(f"/static/{name}", _file) for name in assets.NAMES])
    app.add_routes([web.get("/stream", Streams(shown).answer)])
    if shown.timeline is not None:
        readings = Readings()
        figures = Figures(shown, shown.timeline, readings)
        history = HistoryPage(shown.timeline, shown.mask, readings, shown.status.clock)
        app.add_routes([web.get("/history", history.answer)])
        app.add_routes([web.get("/history/samples", figures.samples), web.get("/history/cost", figures.cost)])
    return app


async def _file(request: web.Request) -> web.Response:
    """A file of the page, which its address names by its contents, so that a browser keeps it."""
    body, kind, tag = assets.asset(request.path.rpartition("/")[2])
    keeps = "max-age=31536000, immutable" if request.query_string == tag else "no-cache"
    headers = {"Cache-Control": keeps, "ETag": f'"{tag}"', "Content-Type": kind}
    if request.headers.get("If-None-Match") == headers["ETag"]:
        return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    return web.Response(body=body, headers=headers)


class _Fresh:
    """An answer that is reused until what it shows has changed, or until it is _FRESH_S old.

    One that takes longer than _CHEAP_S to make is reused for ten times as long as it took, whatever has changed: so
    requests to one address, however many, use at most a tenth of the loop's time.
    """

    def __init__(self, shown: Shown, make: Callable[[], Answer]) -> None:
        self._shown = shown
        self._make = make
        self._state: object = None
        self._answer: Answer | None = None
        self._made_at = self._lasts = 0.0

    def answer(self) -> Answer:
        status, leadership = self._shown.status, self._shown.leadership
        now = status.clock.monotonic()
        state = (status.changes, leadership.lease, leadership.fault, leadership.leader)
        old = abs(now - self._made_at) >= max(_FRESH_S, self._lasts)
        changed = state != self._state and abs(now - self._made_at) >= self._lasts
        if self._answer is None or old or changed:
            began = time.perf_counter()
            self._answer = self._make()
            took = time.perf_counter() - began
            self._lasts = 0.0 if took < _CHEAP_S else 10 * took
            self._state, self._made_at = state, now
        return self._answer


def _probes(shown: Shown) -> dict[str, Callable[[], Answer]]:
    """Kubernetes': a restart heals a loop that stands still, and no dependency that is away."""

    def alive() -> Answer:
        return _probe(is_well=not shown.status.stands_still, fault="the loop does not turn; restart it")

    def ready() -> Answer:
        fault = shown.leadership.fault
        return _probe(is_well=fault is None, fault="" if fault is None else shown.mask.text(str(fault)))

    return {"/livez": alive, "/readyz": ready}


def _probe(*, is_well: bool, fault: str) -> Answer:
    code = HTTPStatus.OK if is_well else HTTPStatus.SERVICE_UNAVAILABLE
    return Answer(f"{'ok' if is_well else fault}\n".encode(), {"Content-Type": "text/plain; charset=utf-8"}, code)


def _json(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(as_json(body).encode(), {"Content-Type": JSON, **(headers or {})}, status)


async def _with_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = HEADERS["Server"]  # aiohttp has put its version there


def _only_with(token: str) -> Any:
    """Answers 401 to a request without the token, except for the probes."""
    expected = token.encode()

    @web.middleware
    async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path in _PROBES or hmac.compare_digest(_shown_token(request), expected):
            found: web.StreamResponse = await handler(request)
            return found
        refusal = web.Response(status=401, text=_HOW_TO_GET_IN)
        refusal.headers.add("WWW-Authenticate", 'Bearer realm="worker-autoscaler"')
        refusal.headers.add("WWW-Authenticate", 'Basic realm="worker-autoscaler", charset="UTF-8"')
        return refusal

    return guard


def _shown_token(request: web.Request) -> bytes:
    """The bearer token, or the password of basic authentication, which browsers ask for; empty if there is none."""
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    shown = credentials.strip().encode("utf-8", "surrogateescape")
    if scheme.lower() == "bearer":
        return shown
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(shown, validate=True).partition(b":")[2]
    except (binascii.Error, ValueError):
        return b""


def listening_socket(port: int) -> socket.socket:
    """On every address, both IPv6 and IPv4: the private networks of some platforms are IPv6 only.

    Raises:
        ConfigurationError: the port is in use, or this process may not use it.
    """
    families = [socket.AF_INET6, socket.AF_INET] if socket.has_dualstack_ipv6() else [socket.AF_INET]
    for family in families:
        host = "::" if family is socket.AF_INET6 else "0.0.0.0"  # noqa: S104  # a service's port is for its network
        try:
            return socket.create_server(
                (host, port), family=family, dualstack_ipv6=family is socket.AF_INET6, reuse_port=False
            )
        except OSError as error:
            if error.errno in {errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT} and family is socket.AF_INET6:
                continue  # IPv6 is compiled in and switched off
            taken = "is in use by another process" if error.errno == errno.EADDRINUSE else f"({error.strerror})"
            raise ConfigurationError(
                [Problem("PORT", f"{port} cannot be listened on: it {taken}; set PORT to a free one")]
            ) from None
    raise AssertionError("unreachable: IPv4, the last family, returns or raises")


def age_header(shown: Shown) -> dict[str, str]:
    """On a replica that does not lead, the header Age: how old the leader's figures are, in whole seconds."""
    ages = [shown.status.age(name) for name in shown.policy.workers]
    known = [age for age in ages if age is not None]
    if shown.leadership.lease is not None or len(known) < len(ages):
        return {}
    return {"Age": f"{max(known):.0f}"}


def prefers_text(accept: str) -> bool:
    """Whether the Accept header asks for text before JSON, as Prometheus' does. No header, or */*, is JSON."""
    qualities = {"json": 0.0, "text": 0.0, "any": 0.0}
    kinds = {"application/json": "json", "text/plain": "text", "application/openmetrics-text": "text", "*/*": "any"}
    for part in accept.split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        kind = kinds.get(media)
        if kind is not None:
            qualities[kind] = max(qualities[kind], _quality(parameters))
    return qualities["text"] > max(qualities["json"], qualities["any"])


def _quality(parameters: Iterable[str]) -> float:
    for parameter in parameters:
        if parameter.startswith("q="):
            try:
                return float(parameter[2:])
            except ValueError:
                return 0.0
    return 1.0
