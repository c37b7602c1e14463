"""Sends the metrics to an OpenTelemetry collector, by OTLP over HTTP: the same rows as /metrics, under the same names.

Imported only if OTEL_EXPORTER_OTLP_ENDPOINT is set: it needs the extra `otlp`. The exporter itself reads the other
variables of OpenTelemetry, such as OTEL_EXPORTER_OTLP_HEADERS and OTEL_EXPORTER_OTLP_TIMEOUT.

The SDK's observable instruments have no histogram, and would read the status from a thread of theirs while the loop
changes it. So the values are read in the loop, made into the SDK's data points, and only the sending is in a thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import export as otel
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from controller.loop.counts import Histogram
from controller.web.health import Shown
from controller.web.metrics.exposition import collected
from controller.web.metrics.model import Metric, Sample
from controller.web.metrics.replica import our_version

_CUMULATIVE = otel.AggregationTemporality.CUMULATIVE
_UNITS = {"seconds": "s", "dollars": "USD"}
"""As OpenTelemetry writes them; a collector that makes Prometheus' names of ours adds no suffix twice."""


class Pusher:
    """Sends what a replica shows, every interval_s seconds. group, replica: of Settings."""

    def __init__(self, shown: Shown, *, group: str, replica: str, interval_s: float) -> None:
        self._shown = shown
        self._interval_s = interval_s
        self._resource = Resource.create(
            {
                "service.name": "worker-autoscaler",
                "service.namespace": group,
                "service.instance.id": replica,
                "service.version": our_version(),
            }
        )
        self._began = time.time_ns()
        self._exporter = OTLPMetricExporter()

    async def run(self) -> None:
        """Until it is cancelled. A failure is a line of the log, by the exporter; the next interval sends again."""
        try:
            while True:
                await self.push()
                await asyncio.sleep(self._interval_s)
        finally:
            self._exporter.shutdown()

    async def push(self) -> bool:
        """Whether the collector took them."""
        data = as_data(self._shown, self._resource, self._began, time.time_ns())
        return await asyncio.to_thread(self._exporter.export, data) is otel.MetricExportResult.SUCCESS


def as_data(shown: Shown, resource: Resource, began_ns: int, now_ns: int) -> otel.MetricsData:
    """began_ns: since when counters count; both in nanoseconds since the epoch."""
    scope = InstrumentationScope("worker-autoscaler", our_version())
    metrics = [_metric(metric, samples, began_ns, now_ns) for metric, samples in collected(shown)]
    return otel.MetricsData([otel.ResourceMetrics(resource, [otel.ScopeMetrics(scope, metrics, "")], "")])


def _metric(metric: Metric, samples: Sequence[Sample], began: int, now: int) -> otel.Metric:
    unit = _UNITS.get(metric.unit, "1" if metric.unit == "0 or 1" else f"{{{metric.unit}}}")
    histograms = [_histogram(value, labels, began, now) for value, labels in samples if isinstance(value, Histogram)]
    numbers = [
        otel.NumberDataPoint(dict(labels), began if metric.kind == "counter" else 0, now, float(value))
        for value, labels in samples
        if not isinstance(value, Histogram)
    ]
    data: otel.Histogram | otel.Sum | otel.Gauge
    if metric.kind == "histogram":
        data = otel.Histogram(histograms, _CUMULATIVE)
    elif metric.kind == "counter":
        data = otel.Sum(numbers, _CUMULATIVE, is_monotonic=True)
    else:
        data = otel.Gauge(numbers)
    return otel.Metric(metric.name, metric.help, unit, data)


def _histogram(value: Histogram, labels: Mapping[str, str], began: int, now: int) -> otel.HistogramDataPoint:
    return otel.HistogramDataPoint(
        attributes=dict(labels),
        start_time_unix_nano=began,
        time_unix_nano=now,
        count=sum(value.counts),
        sum=value.sum,
        bucket_counts=list(value.counts),
        explicit_bounds=list(value.bounds),
        min=None,  # type: ignore[arg-type]  # optional in the protocol: the smallest and the largest are not kept
        max=None,  # type: ignore[arg-type]
    )
