"""What a picture of a comparison shows: jobs waiting and in progress, workers and longest waits over time. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.core.units import in_seconds, money
from controller.simulation.comparison import Comparison
from controller.simulation.figures import Figures
from controller.simulation.series import Series

WAITING, IN_WORK, WORKERS, WAITS = "#0072b2", "#9ad0f0", "#d55e00", "#808080"
"""From the palette of Okabe and Ito, for colour-blind people, too; waiting is darker than in progress."""
_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86_400.0


@dataclass(slots=True)
class Points:
    """The values from each of `times` (seconds) on; the last one is the end.

    waiting, busy: most jobs. least, most, workers: fewest, most and last requested workers. waits: the longest.
    """

    times: list[float] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    busy: list[int] = field(default_factory=list)
    least: list[int] = field(default_factory=list)
    most: list[int] = field(default_factory=list)
    workers: list[int] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    @property
    def depth(self) -> list[int]:
        return [waiting + busy for waiting, busy in zip(self.waiting, self.busy, strict=True)]

    def add(self, time: float, seen: tuple[int, int, int, int, int], wait_s: float) -> None:
        """seen: waiting, busy, least, most and workers."""
        self.times.append(time)
        for of, value in zip((self.waiting, self.busy, self.least, self.most, self.workers), seen, strict=True):
            of.append(value)
        self.waits.append(wait_s)


def series_points(series: Series, end_s: float) -> Points:
    """For drawing: the highest value in each step or at its end; a value holds until the next one.

    In a step without a look, the workers are those that were requested last.
    """
    points, waiting, busy, workers, upto = Points(), 0, 0, 0, 0
    for index in sorted(series.steps):
        if index * series.step_s >= end_s > 0:
            break
        if index > upto:
            points.add(upto * series.step_s, (waiting, busy, workers, workers, workers), 0.0)
        step = series.steps[index]
        waiting, busy = waiting + step.more_waiting, busy + step.more_busy
        least = most = workers
        if step.least is not None:
            least, most, workers = step.least, step.most, step.last
        seen = (max(waiting, step.waiting), max(busy, step.busy), least, most, workers)
        points.add(index * series.step_s, seen, step.wait_s)
        upto = index + 1
    held = (waiting, busy, workers, workers, workers)
    if upto * series.step_s < end_s:
        points.add(upto * series.step_s, held, 0.0)
    points.add(end_s, held, 0.0)
    return points


def unit_of_time(span_s: float) -> tuple[str, float]:
    """The unit for an axis of `span_s` seconds, and its length in seconds."""
    for name, size in (("days", _DAY_S), ("hours", _HOUR_S), ("minutes", _MINUTE_S)):
        if span_s >= 3 * size:
            return name, size
    return "seconds", 1.0


def caption(figures: Figures) -> str:
    return (
        f"{money(figures.dollars_a_month)}/month · cost/W {figures.cost_over_work:.2f} · "
        f"wait p95 {in_seconds(figures.waits.p95)} · avoidable p95 {in_seconds(figures.avoidable.p95)}"
    )


def drawable(comparison: Comparison) -> list[tuple[Figures, Points]]:
    """The policies with values over time; the clairvoyant has none, because it is calculated and not simulated."""
    pairs = zip(comparison.figures, comparison.series, strict=True)
    return [(figures, series_points(series, figures.end_s)) for figures, series in pairs if series is not None]
