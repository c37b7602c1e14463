"""Samples of the history in equal steps, for a chart: a stretch without a sample is None, never 0. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence

from controller.core.timeline import Sample


def in_steps(samples: Iterable[Sample], since: float, every_s: float, count: int) -> list[Sample | None]:
    """`count` steps of `every_s` seconds from `since` on; `at` of each is its beginning.

    Extremes stay extremes, so that a short peak is seen however wide the steps are. Means are weighted by the time for
    which the workers were known.
    """
    found: list[list[Sample]] = [[] for _ in range(count)]
    for sample in samples:
        # A sample ends at its time, so that one which ends with a step belongs to it.
        number = math.ceil((sample.at - since) / every_s - 1e-9) - 1
        if 0 <= number < count:
            found[number].append(sample)
    return [_together(some, since + number * every_s) if some else None for number, some in enumerate(found)]


def _together(some: Sequence[Sample], at: float) -> Sample:
    return Sample(
        seen_s=sum(one.seen_s for one in some),
        depth_min=_extreme(min, [one.depth_min for one in some]),
        depth_mean=_mean(some, [one.depth_mean for one in some]),
        depth_max=_extreme(max, [one.depth_max for one in some]),
        oldest_s=_extreme(max, [one.oldest_s for one in some]),
        configured=_mean(some, [one.configured for one in some]),
        running=_mean(some, [one.running for one in some]),
        desired=_mean(some, [one.desired for one in some]),
        at=at,
        shadow=_mean(some, [one.shadow for one in some]),
    )


def _extreme(pick: Callable[[list[float]], float], values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return pick(known) if known else None


def _mean(some: Sequence[Sample], values: Sequence[float | None]) -> float | None:
    known = [(max(one.seen_s, 1.0), value) for one, value in zip(some, values, strict=True) if value is not None]
    seconds = math.fsum(weight for weight, _ in known)
    return math.fsum(weight * value for weight, value in known) / seconds if known else None
