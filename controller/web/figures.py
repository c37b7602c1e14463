"""GET /history/samples and GET /history/cost: what the charts and the table of costs of the page show.

Both read Redis, as /history does. There are as many questions as workers and spans, and each answer is shared, so the
readings are bounded whatever clients ask.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, NamedTuple

from aiohttp import web

from controller.core.ports import Timeline, Unavailable
from controller.core.price import Price
from controller.core.resampling import in_steps
from controller.core.spending import days, together
from controller.core.text.escaping import as_json
from controller.core.timeline import Sample
from controller.core.units import iso
from controller.policy import WorkerPolicy
from controller.web.health import Shown
from controller.web.readings import Readings

_HOUR_S = 3600.0


class Span(NamedTuple):
    every_s: float
    steps: int


SPANS: Mapping[str, Span] = {
    "1h": Span(60, 60),
    "6h": Span(60, 360),
    "24h": Span(300, 288),
    "7d": Span(1800, 336),
}
_KEPT_S = {"1h": 10.0, "6h": 20.0, "24h": 60.0, "7d": 120.0}
"""Seconds that an answer is shared; samples come once a minute."""
_COST_KEPT_S = 600.0
_COLUMNS = ("depth_min", "depth_mean", "depth_max", "oldest_s", "configured", "running", "desired", "shadow")


class Figures:
    """The two routes' handlers."""

    def __init__(self, shown: Shown, timeline: Timeline, readings: Readings) -> None:
        self._shown = shown
        self._timeline = timeline
        self._readings = readings

    async def samples(self, request: web.Request) -> web.Response:
        worker, since = request.query.get("worker", ""), request.query.get("since", "24h")
        # The name as people see it, which a masked one is only in part.
        names = {self._shown.mask.text(name): name for name in self._shown.policy.workers}
        if unknown := sorted(request.query.keys() - {"worker", "since"}):
            return _problem(f"{unknown[0][:100]!r} is no parameter; there is since, worker")
        if since not in SPANS:
            return _problem(f"since is not one of {', '.join(SPANS)}")
        if worker not in names:
            return _problem("worker is not a worker of the policy")

        async def read() -> bytes:
            return await self._columns(names[worker], worker, SPANS[since])

        return await self._answer(f"samples {since} {names[worker]}", _KEPT_S[since], read)

    async def cost(self, request: web.Request) -> web.Response:
        if unknown := sorted(request.query.keys()):
            return _problem(f"{unknown[0][:100]!r} is no parameter; there is none")
        return await self._answer("cost", _COST_KEPT_S, self._costs)

    async def _answer(self, question: str, keep_s: float, read: Any) -> web.Response:
        try:
            body = await self._readings.answer(question, keep_s, read)
        except Unavailable as unavailable:
            error = {"error": self._shown.mask.text(str(unavailable))}
            return web.json_response(text=as_json(error), status=HTTPStatus.SERVICE_UNAVAILABLE)
        return web.Response(body=body, content_type="application/json", charset="utf-8")

    async def _columns(self, worker: str, name: str, span: Span) -> bytes:
        """Until the end of the step that holds this moment."""
        until = math.ceil(time.time() / span.every_s) * span.every_s
        since = until - span.every_s * span.steps
        samples = await self._timeline.samples(worker, since, until)
        steps = in_steps(samples, since, span.every_s, span.steps)
        columns = {column: [_value(step, column) for step in steps] for column in _COLUMNS}
        return as_json({"worker": name, "since": since, "every_s": span.every_s, **columns}).encode()

    async def _costs(self) -> bytes:
        """Of this calendar month (UTC), as far as the history goes back."""
        now = time.time()
        since = datetime.fromtimestamp(now, UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
        workers, first = [], now
        for name, worker in self._shown.policy.workers.items():
            samples = await self._timeline.samples(name, since, now)
            first = min([first, *(sample.at for sample in samples[:1])])
            workers.append(_cost(self._shown.mask.text(name), worker, samples))
        return as_json({"since": iso(max(since, first)), "workers": workers}).encode()


def _cost(name: str, worker: WorkerPolicy, samples: tuple[Sample, ...]) -> dict[str, Any]:
    """Beside max_replicas all that time. seen_hours are hours of the clock, the others worker-hours."""
    month = together(name, "", days(name, samples, worker.max_replicas))
    each = (Price() if worker.worker_size is None else worker.worker_size.price).per_second
    return {
        "worker": name,
        "worker_hours": round(month.worker_s / _HOUR_S, 3),
        "dollars": round(month.worker_s * each, 4),
        "always_on_hours": round(month.always_s / _HOUR_S, 3),
        "always_on_dollars": round(month.always_s * each, 4),
        "seen_hours": round(month.seen_s / _HOUR_S, 3),
    }


def _value(step: Sample | None, column: str) -> float | None:
    value = None if step is None else getattr(step, column)
    return None if value is None else round(value, 2)


def _problem(text: str) -> web.Response:
    return web.json_response(text=as_json({"error": text}), status=HTTPStatus.BAD_REQUEST)
