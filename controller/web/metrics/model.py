"""What a metric's row is made of.

What Prometheus expects of a row: base units, named by the suffix (_seconds, _total); a counter only rises, and begins
at 0 with each process, which rate() allows for. What is unknown has no sample: a 0 would be averaged, and would look
like an empty queue. https://prometheus.io/docs/practices/naming/
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from controller.loop.counts import Histogram
from controller.loop.worker_status import QueueStatus, WorkerStatus
from controller.web.health import Shown

Kind = Literal["gauge", "counter", "histogram"]


class Sample(NamedTuple):
    """One value of a metric. labels: by name, without secrets."""

    value: float | Histogram
    labels: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Metric:
    """One row. samples: none while the value is not known, since absent is not 0.

    unit: of the value; where the Prometheus conventions have a suffix for it, the name ends in it. labels: the names of
    those that every sample has. was: names of before, each with the labels that it stood for; a sample that has them is
    shown under that name too, without them. instead: of a metric that will go, what to use in its place.
    """

    name: str
    kind: Kind
    unit: str
    help: str
    samples: Callable[[Shown], Iterator[Sample]]
    labels: tuple[str, ...] = ()
    was: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    instead: str = ""

    def before(self) -> Iterator[Metric]:
        """Under the names of before."""
        for name, fixed in self.was.items():
            exactly = ",".join(f'{label}="{value}"' for label, value in fixed.items())
            instead = f"{self.name}{{{exactly}}}" if exactly else self.name
            kept = tuple(label for label in self.labels if label not in fixed)
            text = f"Deprecated: use {instead}."
            yield Metric(name, self.kind, self.unit, text, _only(self.samples, fixed), kept, instead=instead)


def _only(
    samples: Callable[[Shown], Iterator[Sample]], fixed: Mapping[str, str]
) -> Callable[[Shown], Iterator[Sample]]:
    def chosen(shown: Shown) -> Iterator[Sample]:
        for value, labels in samples(shown):
            if fixed.items() <= labels.items():
                yield Sample(value, {name: text for name, text in labels.items() if name not in fixed})

    return chosen


def each_worker(
    label: str, figures: Mapping[str, Callable[[WorkerStatus], float | None]]
) -> Callable[[Shown], Iterator[Sample]]:
    """A sample for each worker and each of these figures that its last cycle has; `label` tells the figures apart."""

    def samples(shown: Shown) -> Iterator[Sample]:
        for name, last in shown.status.workers.items():
            for which, figure in figures.items():
                value = figure(last)
                if value is not None:
                    yield Sample(value, {"worker": shown.mask.text(name), label: which})

    return samples


def of_each_worker(figure: Callable[[WorkerStatus], float | None]) -> Callable[[Shown], Iterator[Sample]]:
    """A sample for each worker whose last cycle has that figure."""

    def samples(shown: Shown) -> Iterator[Sample]:
        for name, last in shown.status.workers.items():
            value = figure(last)
            if value is not None:
                yield Sample(value, {"worker": shown.mask.text(name)})

    return samples


def each_queue(
    label: str, figures: Mapping[str, Callable[[QueueStatus], float | None]]
) -> Callable[[Shown], Iterator[Sample]]:
    """A sample for each queue of the workers that have several; none for a worker with one queue."""

    def samples(shown: Shown) -> Iterator[Sample]:
        for name, last in shown.status.workers.items():
            for queue in last.queues or ():
                for which, figure in figures.items():
                    value = figure(queue)
                    if value is not None:
                        named = {label: which} if label else {}
                        yield Sample(value, {"worker": shown.mask.text(name), "queue": queue.queue, **named})

    return samples


def counted(count: Callable[[Shown], Mapping[tuple[str, str], int]], label: str) -> Callable[[Shown], Iterator[Sample]]:
    """A sample for each worker and what was counted of it."""

    def samples(shown: Shown) -> Iterator[Sample]:
        for (worker, which), value in sorted(count(shown).items()):
            yield Sample(value, {"worker": shown.mask.text(worker), label: which})

    return samples


def by_worker(values: Callable[[Shown], Mapping[str, float | Histogram]]) -> Callable[[Shown], Iterator[Sample]]:
    """A sample for each worker that has such a value."""

    def samples(shown: Shown) -> Iterator[Sample]:
        for worker, value in sorted(values(shown).items()):
            yield Sample(value, {"worker": shown.mask.text(worker)})

    return samples


def one(value: Callable[[Shown], float | Histogram | None]) -> Callable[[Shown], Iterator[Sample]]:
    """One sample without labels, while the value is known."""

    def samples(shown: Shown) -> Iterator[Sample]:
        known = value(shown)
        if known is not None:
            yield Sample(known)

    return samples
