"""HTTP: /health, /metrics, /status and a page show the last cycles. Answering calls nothing and decides nothing."""

from __future__ import annotations

import base64
import binascii
import errno
import hmac
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any, NamedTuple

from aiohttp import web

from controller.core.model import Leader
from controller.core.ports import Requests, Source, pace_words
from controller.core.problems import ConfigurationError, Problem
from controller.core.text.escaping import as_json
from controller.core.text.masking import Masker
from controller.loop.cycle import iso
from controller.loop.faults import CONDITIONS
from controller.loop.leadership import Leadership
from controller.loop.status import Board
from controller.policy import Policy
from controller.web.connections import HEADERS
from controller.web.page import STYLE_HASH, page

PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"
_PAGE_MAY = f"{HEADERS['Content-Security-Policy']}; style-src '{STYLE_HASH}'"
_FRESH_S = 0.1
_CHEAP_S = 0.002
_HOW_TO_GET_IN = """\
401: this controller shows this only to those who have its token, the value of HTTP_TOKEN.

  curl -H "Authorization: Bearer $HTTP_TOKEN" ADDRESS

In a browser: any user name, and the token as the password. /health needs none.
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """What the server shows: the board, the role, and the policy in force."""

    board: Board
    leadership: Leadership
    policy: Policy
    dry_run: bool = False
    requests: Callable[[], Requests | None] = lambda: None
    """How many requests to Railway this replica has used."""
    lost_lines: Callable[[], int] = lambda: 0
    """How many lines of the log its output did not take."""
    mask: Masker = field(default_factory=Masker)
    policy_shown: Mapping[str, Any] | None = None
    """The policy without its secrets; None: it has none."""


class Answer(NamedTuple):
    body: bytes
    headers: Mapping[str, str]
    status: int = 200


def application(shown: Shown, token: str | None = None) -> web.Application:
    """token: what a client has to show for everything but /health; None: nothing."""

    def health() -> Answer:
        body = health_body(shown)
        return _json(body, status=503 if body["status"] == "unhealthy" else 200, headers=age_header(shown))

    def metrics() -> Answer:
        return _json(metrics_body(shown), headers=age_header(shown))

    def text() -> Answer:
        return Answer(prometheus_text(shown).encode(), {"Content-Type": PROMETHEUS, **age_header(shown)})

    def status() -> Answer:
        return _json(status_body(shown))

    def look() -> Answer:
        return Answer(page(status_body(shown)).encode(), {"Content-Type": HTML, "Content-Security-Policy": _PAGE_MAY})

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
    ways = {"/health": health, "/metrics": metrics, "/status": status, "/": look}
    app.add_routes([web.get(path, answering(make)) for path, make in ways.items()])
    return app


class _Fresh:
    """An answer, made anew whenever what it shows has changed, or as the time goes by.

    However often it is asked for, to make it takes a tenth of the time at most.
    """

    def __init__(self, shown: Shown, make: Callable[[], Answer]) -> None:
        self._shown = shown
        self._make = make
        self._state: object = None
        self._answer: Answer | None = None
        self._made_at = self._lasts = 0.0

    def answer(self) -> Answer:
        board, leadership = self._shown.board, self._shown.leadership
        now = board.clock.monotonic()
        state = (board.changes, leadership.lease, leadership.fault, leadership.leader)
        old = abs(now - self._made_at) >= max(_FRESH_S, self._lasts)
        changed = state != self._state and abs(now - self._made_at) >= self._lasts
        if self._answer is None or old or changed:
            began = time.perf_counter()
            self._answer = self._make()
            took = time.perf_counter() - began
            # Cheap ones are never older than what they show.
            self._lasts = 0.0 if took < _CHEAP_S else 10 * took
            self._state, self._made_at = state, now
        return self._answer


def _json(body: Any, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Answer:
    return Answer(as_json(body).encode(), {"Content-Type": JSON, **(headers or {})}, status)


async def _with_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers["Server"] = HEADERS["Server"]  # aiohttp has put its version there


def _only_with(token: str) -> Any:
    """Lets through to /health, and to all else only who shows the token."""
    expected = token.encode()

    @web.middleware
    async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
        if request.path == "/health" or hmac.compare_digest(_shown_token(request), expected):
            found: web.StreamResponse = await handler(request)
            return found
        refusal = web.Response(status=401, text=_HOW_TO_GET_IN)
        refusal.headers.add("WWW-Authenticate", 'Bearer realm="worker-autoscaler"')
        refusal.headers.add("WWW-Authenticate", 'Basic realm="worker-autoscaler", charset="UTF-8"')
        return refusal

    return guard


def _shown_token(request: web.Request) -> bytes:
    """As a bearer token, or as the password that a browser asks for; empty where there is none."""
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
    """On every address, IPv6 and IPv4 both: Railway's older private networks are IPv6 only.

    Raises:
        ConfigurationError: the port is taken, or may not be had.
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
    raise AssertionError("the last family either answers or raises")


def age_header(shown: Shown) -> dict[str, str]:
    """HTTP's own word for how old a second-hand answer is, in whole seconds; whoever leads answers at first hand."""
    ages = [shown.board.age(name) for name in shown.policy.workers]
    known = [age for age in ages if age is not None]
    if shown.leadership.lease is not None or len(known) < len(ages):
        return {}
    return {"Age": f"{max(known):.0f}"}


def health_body(shown: Shown) -> dict[str, Any]:
    """The promised keys and no other while all is well; whatever is not says its name, and since when."""
    status = health_status(shown)
    return {
        **_health_figures(shown, status),
        **({} if status == "healthy" else {"failing": _failing_list(shown)}),
    }


def _health_figures(shown: Shown, status: str) -> dict[str, Any]:
    return {
        "status": status,
        "workers": _sum(shown, "running"),
        "maxWorkers": _max_workers(shown),
        "queueDepth": _sum(shown, "depth"),
        "rpmUsage": _rpm_used(shown),
        "rpmLimit": _rpm_limit(shown),
    }


def health_status(shown: Shown) -> str:
    """unhealthy: the loop stands still. degraded: a dependency fails, or the numbers are old or not there yet."""
    if shown.board.stands_still:
        return "unhealthy"
    return "degraded" if failing(shown) else "healthy"


def failing(shown: Shown) -> dict[str, float]:
    """What fails, and since when by the wall clock, the oldest trouble first.

    A dependency by its name, a fault of a worker's service by its reason; `controller` where a bug or a slow cycle is
    to blame, `loop` where it stands still, and `observation` where nothing is known to fail and the numbers are old all
    the same, or not there yet.
    """
    board, leadership = shown.board, shown.leadership
    troubles = [trouble for worker in shown.policy.workers for trouble in board.failing.get(worker, {}).items()]
    if leadership.fault is not None:
        troubles.append((leadership.fault.source.value, leadership.fault_since or board.clock.wall()))
    if board.stands_still:
        troubles.append(("loop", board.turned_at))
    old = [worker for worker in shown.policy.workers if board.is_old(worker)]
    if old and not troubles:
        troubles.append(("observation", min(map(board.last_seen, old))))
    found: dict[str, float] = {}
    for name, since in troubles:
        found[name] = min(since, found.get(name, since))
    return dict(sorted(found.items(), key=itemgetter(1)))


def _failing_list(shown: Shown) -> list[dict[str, str]]:
    """A dependency once, whichever workers miss it; a fault of one worker's service with that worker."""
    return [
        {"name": name, **({"worker": shown.mask.text(worker)} if worker else {}), "since": iso(since)}
        for name, since in failing(shown).items()
        for worker, since in _whose(shown, name, since)
    ]


def _whose(shown: Shown, name: str, since: float) -> list[tuple[str, float]]:
    if name not in CONDITIONS:
        return [("", since)]
    of = {worker: shown.board.failing.get(worker, {}).get(name) for worker in shown.policy.workers}
    return [(worker, began) for worker, began in of.items() if began is not None]


def metrics_body(shown: Shown) -> dict[str, Any]:
    return {
        "workers_current": _sum(shown, "running"),
        "workers_max": _max_workers(shown),
        "queue_pending": _sum(shown, "pending"),
        "queue_processing": _sum(shown, "processing"),
        "rpm_used": _rpm_used(shown),
        "rpm_limit": _rpm_limit(shown),
    }


def status_body(shown: Shown) -> dict[str, Any]:
    board, leadership, lease = shown.board, shown.leadership, shown.leadership.lease
    policy = shown.policy_shown
    about = {
        "status": health_status(shown),
        "role": role(shown),
        "epoch": lease.epoch if lease else None,
        "holder": leadership.holder,
        "dry_run": shown.dry_run,
        "trouble": str(leadership.fault) if leadership.fault else None,
        "trouble_since": iso(leadership.fault_since) if leadership.fault_since else None,
        "leader": _leader(leadership.leader),
        "failing": _failing_list(shown),
    }
    return {
        **shown.mask.value(about),
        # What the board keeps went through the mask when it came there.
        "workers": {
            shown.mask.text(name): {**board.status[name].as_object(), "age_s": _rounded(board.age(name))}
            if name in board.status
            else None
            for name in shown.policy.workers
        },
        "railway_requests": _railway_requests(shown),
        "log_lines_lost": shown.lost_lines(),
        "policy": shown.policy.model_dump(mode="json", exclude_none=True, by_alias=True) if policy is None else policy,
    }


def _railway_requests(shown: Shown) -> dict[str, Any] | None:
    """stretched: why cycles come less often than the interval; null while they do not."""
    requests = shown.requests()
    if requests is None:
        return None
    stretched = requests.pace_s > shown.policy.interval
    return {
        **requests._asdict(),
        "pace_s": round(requests.pace_s, 1),
        "stretched": pace_words(requests, shown.policy.interval) if stretched else None,
    }


def _leader(leader: Leader | None) -> dict[str, Any] | None:
    """Who leads, whichever replica is asked."""
    if leader is None:
        return None
    return {"holder": leader.holder, "epoch": leader.epoch, "since": iso(leader.since)}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def role(shown: Shown) -> str:
    if shown.dry_run:
        return "dry run"
    if shown.leadership.lease is not None:
        return "leader"
    return "unknown" if shown.leadership.fault is not None else "standby"


def _sum(shown: Shown, key: str) -> int | None:
    """Over the workers; None while any of them was not read yet: a sum of a part would be a wrong number."""
    values = [_figure(shown, name, key) for name in shown.policy.workers]
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _figure(shown: Shown, worker: str, key: str) -> int | None:
    value: int | None = getattr(shown.board.status.get(worker), key, None)
    return value


def _rpm_used(shown: Shown) -> int | None:
    limited = [name for name, worker in shown.policy.workers.items() if worker.rate_limit]
    known = [used for name in limited if (used := _figure(shown, name, "rpm_used")) is not None]
    return sum(known) if len(known) == len(limited) else None


def _max_workers(shown: Shown) -> int:
    return sum(worker.max_replicas for worker in shown.policy.workers.values())


def _rpm_limit(shown: Shown) -> int:
    return sum(worker.rate_limit.rpm for worker in shown.policy.workers.values() if worker.rate_limit)


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


METRICS: Mapping[str, tuple[str, str]] = {
    "autoscaler_replicas_configured": ("gauge", "Replicas that the platform was last asked for."),
    "autoscaler_replicas_running": ("gauge", "Replicas that run."),
    "autoscaler_replicas_recommended": (
        "gauge",
        "Replicas that the tier or the target wait says.",
    ),
    "autoscaler_replicas_desired": ("gauge", "Replicas that are wanted after every rule."),
    "autoscaler_replicas_max": ("gauge", "max_replicas of the policy."),
    "autoscaler_queue_pending_jobs": ("gauge", "Jobs that may be claimed now."),
    "autoscaler_queue_processing_jobs": ("gauge", "Jobs that are being worked on."),
    "autoscaler_queue_stale_jobs": ("gauge", "Jobs that were claimed and that nobody works on any more."),
    "autoscaler_queue_oldest_age_seconds": ("gauge", "How long the oldest ready job has waited."),
    "autoscaler_rpm_used": ("gauge", "Requests that the workers counted in this minute."),
    "autoscaler_rpm_limit": ("gauge", "Requests a minute that all workers together may make."),
    "autoscaler_observation_age_seconds": ("gauge", "Age of the numbers above."),
    "autoscaler_failing": (
        "gauge",
        "1 where a dependency cannot be reached, 0 where it answers; 1 while a worker's service has a fault.",
    ),
    "autoscaler_cycles_total": ("counter", "Cycles of this replica, by outcome."),
    "autoscaler_scales_total": ("counter", "Changes of the count that this replica applied, by direction."),
    "autoscaler_is_leader": ("gauge", "1 where this replica leads."),
    "autoscaler_lease_epoch": ("gauge", "Epoch of the lease that this replica holds."),
    "autoscaler_log_lines_lost_total": ("counter", "Lines of the log that its output did not take."),
    "autoscaler_railway_requests_used": ("gauge", "Requests that this replica sent to Railway within its window."),
    "autoscaler_railway_requests_quota": ("gauge", "Requests that Railway allows within its window."),
}
"""Name, type and help of every metric of the Prometheus text."""

_FROM_STATUS = {
    "autoscaler_replicas_configured": "configured",
    "autoscaler_replicas_running": "running",
    "autoscaler_replicas_recommended": "recommended",
    "autoscaler_replicas_desired": "desired",
    "autoscaler_replicas_max": "max_workers",
    "autoscaler_queue_pending_jobs": "pending",
    "autoscaler_queue_processing_jobs": "processing",
    "autoscaler_queue_stale_jobs": "stale",
    "autoscaler_queue_oldest_age_seconds": "oldest_age_s",
    "autoscaler_rpm_used": "rpm_used",
    "autoscaler_rpm_limit": "rpm_limit",
}


def prometheus_text(shown: Shown) -> str:
    """The text format 0.0.4. A figure that was never read has no sample: absent is not 0."""
    samples = _samples(shown)
    lines: list[str] = []
    for name, (kind, help_text) in METRICS.items():
        found = samples.get(name, [])
        if found:
            lines += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{labels} {value:.15g}" for labels, value in found]
    return "\n".join(lines) + "\n"


def _samples(shown: Shown) -> dict[str, list[tuple[str, float]]]:
    board, lease = shown.board, shown.leadership.lease
    leads = lease is not None and not shown.dry_run
    samples: dict[str, list[tuple[str, float]]] = {"autoscaler_is_leader": [("", float(leads))]}
    if lease is not None and leads:
        samples["autoscaler_lease_epoch"] = [("", float(lease.epoch))]
    samples["autoscaler_log_lines_lost_total"] = [("", float(shown.lost_lines()))]
    requests = shown.requests()
    if requests is not None:
        samples["autoscaler_railway_requests_used"] = [("", float(requests.used))]
        samples["autoscaler_railway_requests_quota"] = [("", float(requests.quota))]
    troubles = failing(shown)
    samples["autoscaler_failing"] = [(f'{{source="{source}"}}', float(source in troubles)) for source in Source]
    samples["autoscaler_failing"] += [
        (f'{{source="{name}",worker="{shown.mask.text(worker)}"}}', 1.0)
        for worker in shown.policy.workers
        for name in CONDITIONS
        if name in board.failing.get(worker, {})
    ]
    for name_of, status in board.status.items():
        figures, worker = dict(status.figures()), shown.mask.text(name_of)
        for name, key in _FROM_STATUS.items():
            if key in figures:
                samples.setdefault(name, []).append((f'{{worker="{worker}"}}', float(figures[key])))
        age = board.age(name_of)
        if age is not None:
            samples.setdefault("autoscaler_observation_age_seconds", []).append((f'{{worker="{worker}"}}', age))
    for (worker, outcome), count in sorted(board.outcomes.items()):
        label = f'{{worker="{shown.mask.text(worker)}",outcome="{outcome}"}}'
        samples.setdefault("autoscaler_cycles_total", []).append((label, float(count)))
    for (worker, direction), count in sorted(board.scales.items()):
        label = f'{{worker="{shown.mask.text(worker)}",direction="{direction}"}}'
        samples.setdefault("autoscaler_scales_total", []).append((label, float(count)))
    return samples
