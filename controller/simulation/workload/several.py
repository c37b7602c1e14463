"""The jobs of several queues as one workload: the workers that serve them are shared."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import replace
from operator import itemgetter

from controller.simulation.workload.jobs import Job, Workload


def together(workloads: Mapping[str, Workload]) -> Workload:
    """All jobs by arrival, each with the name of its queue, in the window that every queue's jobs cover.

    workloads: by the queue's name. One workload stays as it is. The windows end at the same time, as they were read one
    after the other.
    """
    if len(workloads) == 1:
        (only,) = workloads.values()
        return only
    spans = [one.span_s for one in workloads.values() if one.span_s is not None]
    span = min(spans)
    notes = [f"queue {name}: {note}" for name, one in workloads.items() for note in one.notes]
    begins = [one.began for one in workloads.values() if one.began is not None]
    return replace(
        next(iter(workloads.values())),
        name=" and ".join(one.name for one in workloads.values()),
        jobs=lambda: heapq.merge(
            *(_since((one.span_s or span) - span, name, one) for name, one in workloads.items()), key=itemgetter(0, 1)
        ),
        span_s=span,
        began=max(begins, default=None),
        notes=tuple(notes),
        queues=tuple(workloads),
    )


def _since(start_s: float, name: str, workload: Workload) -> Iterator[Job]:
    """The jobs of a queue that arrive after `start_s`, their arrivals counted from there."""
    for arrival, service, *_ in workload.jobs():
        if arrival >= start_s:
            yield arrival - start_s, service, name
