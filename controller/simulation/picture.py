"""What a picture of a comparison shows: jobs waiting and in progress, workers and longest waits over time. Pure."""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from dataclasses import dataclass, field
from datetime import UTC, datetime
from statistics import fmean

from controller.core.units import in_seconds, money
from controller.simulation.comparison import Comparison
from controller.simulation.figures import Figures
from controller.simulation.series import Series

WAITING, IN_WORK, WORKERS, WAITS = "#0072b2", "#9ad0f0", "#d55e00", "#808080"
"""From the palette of Okabe and Ito, for colour-blind people, too; waiting is darker than in progress."""
_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86_400.0
_SHORTEST_TO_CUT_S = 1.5 * _DAY_S
_MOST_STRETCHES = 14
_DAYS_OF_A_STRETCH = (1, 7, 28, 91)


@dataclass(slots=True)
class Points:
    """The values from each of `times` (seconds) on; the last one is the end.

    waiting, busy: most jobs. fewest_busy, fewest: fewest jobs in progress, and fewest in all. least, most, workers:
    fewest, most and last requested workers (in_columns: their mean). waits: the longest.
    """

    times: list[float] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    busy: list[int] = field(default_factory=list)
    fewest_busy: list[int] = field(default_factory=list)
    fewest: list[int] = field(default_factory=list)
    least: list[int] = field(default_factory=list)
    most: list[int] = field(default_factory=list)
    workers: list[float] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)

    @property
    def depth(self) -> list[int]:
        return [waiting + busy for waiting, busy in zip(self.waiting, self.busy, strict=True)]

    def add(self, time: float, jobs: tuple[int, int, int, int], workers: tuple[int, int, float], wait_s: float) -> None:
        """jobs: waiting, busy, fewest_busy and fewest. workers: least, most and the last."""
        self.times.append(time)
        each = (self.waiting, self.busy, self.fewest_busy, self.fewest, self.least, self.most)
        for of, value in zip(each, (*jobs, *workers[:2]), strict=True):
            of.append(value)
        self.workers.append(workers[2])
        self.waits.append(wait_s)


def series_points(series: Series, end_s: float) -> Points:
    """For drawing: the extremes in each step, its end included; a value holds until the next one.

    In a step without a look, the workers are those that were requested last.
    """
    points, waiting, busy, workers, upto = Points(), 0, 0, 0, 0
    for index in sorted(series.steps):
        if index * series.step_s >= end_s > 0:
            break
        if index > upto:
            _hold(points, upto * series.step_s, waiting, busy, workers)
        step, before = series.steps[index], (busy, waiting + busy)
        waiting, busy = waiting + step.more_waiting, busy + step.more_busy
        counts = (workers, workers, workers)
        if step.least is not None:
            counts, workers = (step.least, step.most, step.last), step.last
        fewest_busy = min(before[0], busy, busy if step.fewest_busy is None else step.fewest_busy)
        fewest = min(before[1], waiting + busy, waiting + busy if step.fewest is None else step.fewest)
        jobs = (max(waiting, step.waiting), max(busy, step.busy), min(fewest_busy, fewest), fewest)
        points.add(index * series.step_s, jobs, counts, step.wait_s)
        upto = index + 1
    if upto * series.step_s < end_s:
        _hold(points, upto * series.step_s, waiting, busy, workers)
    _hold(points, end_s, waiting, busy, workers)
    return points


def _hold(points: Points, time: float, waiting: int, busy: int, workers: int) -> None:
    points.add(time, (waiting, busy, busy, waiting + busy), (workers, workers, workers), 0.0)


def in_columns(points: Points, columns: int, since_s: float = 0.0, until_s: float | None = None) -> Points:
    """The extremes in each of `columns` equal parts of a stretch of time, which counts from 0.

    Shorter steps could not be told apart in a picture, and would paint over each other.
    """
    end = points.times[-1] if until_s is None else min(until_s, points.times[-1])
    width = (end - since_s) / columns
    if not width > 0:
        return points
    # The value that holds at the beginning counts for the first column.
    first = max(0, bisect_right(points.times, since_s) - 1)
    last = bisect_left(points.times, end, first)
    by_column: dict[int, range] = {}
    for number in range(first, last):
        column = max(0, min(columns - 1, int((points.times[number] - since_s) / width)))
        by_column[column] = range(by_column[column].start if column in by_column else number, number + 1)
    found, upto = Points(), 0
    for column, numbers in by_column.items():
        if column > upto:
            _hold_last(points, numbers.start - 1, found, upto * width)
        # A value also holds at the beginning of the next column, unless another one begins exactly there.
        start = numbers.start
        if start > first and points.times[start] > since_s + column * width:
            start -= 1
        _add_extremes(points, range(start, numbers.stop), numbers, found, column * width)
        upto = column + 1
    if upto < columns:
        _hold_last(points, last - 1, found, upto * width)
    _hold_last(points, last - 1, found, end - since_s)
    return found


def _hold_last(points: Points, number: int, found: Points, time: float) -> None:
    jobs = (points.waiting[number], points.busy[number], points.fewest_busy[number], points.fewest[number])
    found.add(time, jobs, (points.least[number], points.most[number], points.workers[number]), 0.0)


def _add_extremes(points: Points, numbers: range, begun: range, found: Points, time: float) -> None:
    """begun: those that begin in this column; a wait is that of the jobs that began then."""
    part = slice(numbers.start, numbers.stop)
    highest = max(range(numbers.start, numbers.stop), key=lambda number: points.waiting[number] + points.busy[number])
    busy = max(points.busy[part])
    waiting = max(0, points.waiting[highest] + points.busy[highest] - busy)
    jobs = (waiting, busy, min(points.fewest_busy[part]), min(points.fewest[part]))
    workers = (min(points.least[part]), max(points.most[part]), fmean(points.workers[part]))
    found.add(time, jobs, workers, max(points.waits[begun.start : begun.stop]))


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the run to be drawn alone, in seconds from the beginning of the run."""

    name: str
    since_s: float
    until_s: float


def stretches(end_s: float, began: float | None) -> list[Stretch]:
    """The days of a run (UTC days where its date is known), or weeks, or longer parts; none of a run of a day."""
    if end_s < _SHORTEST_TO_CUT_S:
        return []
    days = next((days for days in _DAYS_OF_A_STRETCH if end_s / _DAY_S / days <= _MOST_STRETCHES), None)
    if days is None:
        return []
    length = days * _DAY_S
    first = length if began is None or days > 1 else _DAY_S - began % _DAY_S
    # A run ends a little after its window; that is not a day of its own.
    inner = itertools.takewhile(lambda at: at < end_s - length / 10, itertools.count(first, length))
    cuts = [0.0, *inner, end_s]
    return [
        Stretch(_name(number, since, days, began), since, until)
        for number, (since, until) in enumerate(itertools.pairwise(cuts), 1)
    ]


def _name(number: int, since_s: float, days: int, began: float | None) -> str:
    if began is not None:
        return datetime.fromtimestamp(began + since_s, UTC).strftime("%a %d %b" if days == 1 else "from %d %b")
    kind = {1: "day", 7: "week"}.get(days, "part")
    return f"{kind} {number}"


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
