"""The metrics as an OpenTelemetry collector gets them, decoded by OpenTelemetry's own protocol buffers."""

from __future__ import annotations

import gzip
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from controller.cli.run import refuse_without_otlp
from controller.core.problems import ConfigurationError
from controller.web.metrics import METRICS
from controller.web.metrics.otlp import Pusher
from tests.web.test_metrics import RENDERED, leading


@asynccontextmanager
async def collector(
    monkeypatch: pytest.MonkeyPatch, status: int = 200
) -> AsyncIterator[list[ExportMetricsServiceRequest]]:
    """On this machine; what it was sent."""
    sent: list[ExportMetricsServiceRequest] = []

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        body = gzip.decompress(body) if request.headers.get("Content-Encoding") == "gzip" else body
        sent.append(ExportMetricsServiceRequest.FromString(body))
        return web.Response(status=status)

    app = web.Application()
    app.add_routes([web.post("/v1/metrics", take)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{port}")
    yield sent
    await runner.cleanup()


async def test_a_collector_gets_every_row_with_the_figures_of_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(monkeypatch) as sent:
        assert await Pusher(await leading(), group="g", replica="a", interval_s=60).push()
    (resource,) = sent[0].resource_metrics
    attributes = {one.key: one.value.string_value for one in resource.resource.attributes}
    assert (attributes["service.namespace"], attributes["service.instance.id"]) == ("g", "a")
    found = {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}
    assert list(found) == list(METRICS)
    for name, row in METRICS.items():
        sent_as = found[name]
        assert sent_as.description == row.help
        assert sent_as.WhichOneof("data") == {"gauge": "gauge", "counter": "sum", "histogram": "histogram"}[row.kind]
        if row.kind == "histogram":
            (point,) = sent_as.histogram.data_points
            assert (point.count, point.sum) == tuple(
                value for part in ("count", "sum") for value in RENDERED[f"{name}_{part}"].values()
            )
            assert sum(point.bucket_counts) == point.count
            continue
        points = (sent_as.gauge if row.kind == "gauge" else sent_as.sum).data_points
        values = {
            tuple(sorted((one.key, one.value.string_value) for one in point.attributes)): (
                point.as_int if point.WhichOneof("value") == "as_int" else point.as_double
            )
            for point in points
        }
        assert values == RENDERED[name]


async def test_a_collector_that_refuses_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async with collector(monkeypatch, status=400) as sent:
        assert not await Pusher(await leading(), group="g", replica="a", interval_s=60).push()
    assert len(sent) == 1


def test_without_the_extra_run_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "controller.web.metrics.otlp")
    monkeypatch.delattr("controller.web.metrics.otlp")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.metrics", None)
    with pytest.raises(ConfigurationError) as refused:
        refuse_without_otlp()
    (problem,) = refused.value.problems
    assert problem.place == "OTEL_EXPORTER_OTLP_ENDPOINT"
    assert problem.text.endswith("install worker-autoscaler[otlp], or unset the variable")
