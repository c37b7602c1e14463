"""Worker-hours and dollars of a day, by the samples of the history; beside always-on and a fixed count. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from controller.core.timeline import Sample

_COVERED = 0.95


@dataclass(frozen=True, slots=True)
class Day:
    """One worker on one day (UTC). All but `day` in seconds; worker seconds are seconds times running workers.

    seen_s: for how long the running workers were known. worker_s: while they were known. always_s: with `most` workers
    all that time. fixed: the smallest constant count that was at least what was desired for 95 % of that time, and
    fixed_s its worker seconds; None: what was desired is unknown.
    """

    worker: str
    day: str
    seen_s: float
    worker_s: float
    always_s: float
    fixed: int | None
    fixed_s: float | None


def days(worker: str, samples: Iterable[Sample], most: int) -> list[Day]:
    """The days of these samples, the oldest first. most: max_replicas."""
    by_day: dict[str, list[Sample]] = {}
    for sample in samples:
        if sample.running is not None and sample.seen_s > 0:
            # A sample ends at its time, so one of midnight belongs to the day before.
            by_day.setdefault(datetime.fromtimestamp(sample.at - 1, UTC).date().isoformat(), []).append(sample)
    return [_day(worker, day, of_day, most) for day, of_day in sorted(by_day.items())]


def together(worker: str, name: str, parts: Sequence[Day]) -> Day:
    """The sum of several days, or of several workers. A fixed count has no sum, but its seconds do."""
    known = [part.fixed_s for part in parts if part.fixed_s is not None]
    return Day(
        worker,
        name,
        sum(part.seen_s for part in parts),
        sum(part.worker_s for part in parts),
        sum(part.always_s for part in parts),
        None,
        sum(known) if len(known) == len(parts) else None,
    )


def _day(worker: str, day: str, samples: Sequence[Sample], most: int) -> Day:
    seen = math.fsum(sample.seen_s for sample in samples)
    used = math.fsum(sample.seen_s * (sample.running or 0.0) for sample in samples)
    fixed = _fixed(samples)
    return Day(worker, day, seen, used, seen * most, fixed, None if fixed is None else seen * fixed)


def _fixed(samples: Sequence[Sample]) -> int | None:
    wanted = sorted((sample.desired, sample.seen_s) for sample in samples if sample.desired is not None)
    total = math.fsum(seconds for _, seconds in wanted)
    covered = 0.0
    for desired, seconds in wanted:
        covered += seconds
        if covered >= _COVERED * total:
            return math.ceil(desired - 1e-9)
    return None
