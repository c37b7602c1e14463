"""The Prometheus text format 0.0.4, written by prometheus-client from the rows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from controller.loop.counts import Histogram
from controller.web.health import Shown
from controller.web.metrics import figures, replica
from controller.web.metrics.model import Metric, Sample

METRICS: Mapping[str, Metric] = {metric.name: metric for metric in (*figures.FIGURES, *replica.OWN)}
"""By name, in the order of the text."""
DEPRECATED: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        *(old for metric in METRICS.values() for old in metric.before()),
        *figures.OF_BEFORE,
        *replica.OF_BEFORE,
    )
}
"""The names of before, which go with the next release. They are shown as they were: on a standby, too."""
_OF_THE_LEADER = frozenset(metric.name for metric in figures.FIGURES)


def shows_figures(shown: Shown) -> bool:
    """Whether this replica exports the figures of the workers: it leads, or reads them although Redis is away."""
    leadership = shown.leadership
    return leadership.lease is not None or (leadership.fault is not None and leadership.has_led)


def collected(shown: Shown) -> Iterator[tuple[Metric, Sequence[Sample]]]:
    """Each row that has samples on this replica now, without the deprecated ones."""
    for metric in METRICS.values():
        if metric.name in _OF_THE_LEADER and not shows_figures(shown):
            continue
        samples = list(metric.samples(shown))
        if samples:
            yield metric, samples


def prometheus_text(shown: Shown, *others: Collector) -> str:
    """A metric without samples is left out. others: of which the text has the metrics too."""
    return generate_latest(_Everything(shown, others)).decode()


@dataclass(frozen=True, slots=True)
class _Everything:
    shown: Shown
    others: tuple[Collector, ...]

    def collect(self) -> Iterable[Family]:
        for metric, samples in collected(self.shown):
            yield _family(metric, samples)
        for metric in DEPRECATED.values():
            samples = list(metric.samples(self.shown))
            if samples:
                yield _family(metric, samples)
        for other in self.others:
            yield from other.collect()


def _family(metric: Metric, samples: Sequence[Sample]) -> Family:
    name = metric.name.removesuffix("_total") if metric.kind == "counter" else metric.name
    family = Family(name, metric.help, metric.kind)
    for value, labels in samples:
        if not isinstance(value, Histogram):
            family.add_sample(metric.name, dict(labels), float(value))
            continue
        for bound, count in value.cumulative:
            family.add_sample(f"{name}_bucket", {**labels, "le": "+Inf" if math.isinf(bound) else str(bound)}, count)
        family.add_sample(f"{name}_count", dict(labels), sum(value.counts))
        family.add_sample(f"{name}_sum", dict(labels), value.sum)
    return family
