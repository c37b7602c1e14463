"""One policy over time as SVG, without a library or a script; the page or file around it gives the colours. Pure.

Four shapes need no plotting library, which would be one more package to install. From top to bottom: the jobs as an
area (in progress below, waiting above) with the workers over it, on an axis of their own; then the longest waits. Where
a column of the picture is longer than the time between two looks, it shows a band from the fewest to the most: up to
the fewest the colour is full, and above it pale; the line of the workers is their mean. A year has no more columns than
a day.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from controller.core.units import in_words
from controller.simulation.picture import Points, in_columns, unit_of_time

STYLE = """
svg text { font-size: 12px; fill: currentColor }
svg .right { fill: var(--workers) } svg .end { text-anchor: end } svg .middle { text-anchor: middle }
svg .axis { stroke: currentColor; fill: none } svg .tick { stroke: var(--line) }
.waiting { fill: var(--waiting) } .busy { fill: var(--busy) }
.most-waiting { fill: var(--waiting); opacity: .4 } .most-busy { fill: var(--busy); opacity: .45 }
.range { fill: var(--workers); opacity: .25 } .workers { stroke: var(--workers); fill: none; stroke-width: 1.3 }
.waits { fill: var(--waits) }
"""
"""Wants the colours --waiting, --busy, --workers, --waits and --line."""
WIDTH, LEFT, RIGHT = 1000.0, 76.0, 36.0
_TOP, _MAIN, _GAP, _STRIP, _BOTTOM = 18.0, 160.0, 12.0, 40.0, 22.0
HEIGHT = _TOP + _MAIN + _GAP + _STRIP + _BOTTOM
"""All of these in the picture's own units, which are pixels where it is drawn WIDTH wide."""
_MOST_TICKS = 8
_COLUMN = 1.5
"""Width of a column in the picture's units; narrower ones are not seen on a screen, and make the file larger."""
COLUMNS = int((WIDTH - LEFT - RIGHT) / _COLUMN)


@dataclass(frozen=True, slots=True)
class Scales:
    """What all pictures of a page have in common. began: epoch seconds of time 0, where it is known."""

    end_s: float
    most_workers: int
    began: float | None = None

    def x(self, time_s: float) -> float:
        share = time_s / self.end_s if self.end_s else 0.0
        return LEFT + share * (WIDTH - LEFT - RIGHT)


def picture(points: Points, scales: Scales, name: str) -> str:
    """An <svg>; name: of whom it is, for those who cannot see it."""
    shapes = "".join(panel(points, scales))
    return (
        f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label="{escape(label(points, name))}">{shapes}</svg>'
    )


def label(points: Points, name: str) -> str:
    """What a picture shows, in words."""
    return (
        f"{name}: up to {max(points.depth):,} jobs, up to {max(points.most)} workers, "
        f"waits up to {in_words(max(points.waits))}"
    )


def panel(points: Points, scales: Scales) -> list[str]:
    """What is in the picture, as SVG elements: WIDTH wide and HEIGHT high."""
    if len(points.times) > COLUMNS + 1:
        points = in_columns(points, COLUMNS)
    depth, longest = points.depth, max(points.waits)
    # A little more than the highest value, so that its line is not the picture's edge.
    jobs = _Band(_TOP, _MAIN, max(1, *depth) * 1.05)
    workers = _Band(_TOP, _MAIN, scales.most_workers + 0.5)
    waits = _Band(_TOP + _MAIN + _GAP, _STRIP, longest * 1.1 or 1.0)
    x = [round(scales.x(time), 1) for time in points.times]
    nothing = [0.0] * len(x)
    return [
        *_time_axis(scales),
        _area("most-busy", x, nothing, points.busy, jobs),
        _area("most-waiting", x, points.busy, depth, jobs),
        _area("busy", x, nothing, points.fewest_busy, jobs),
        _area("waiting", x, points.fewest_busy, points.fewest, jobs),
        _area("range", x, points.least, points.most, workers),
        f'<path class="workers" d="M{_steps(x, points.workers, workers)}"/>',
        _area("waits", x, nothing, points.waits, waits),
        *_left_axis(jobs, [(value, f"{value:,}") for value in whole_ticks(max(1, *depth))]),
        f'<text class="end" x="{LEFT - 6:g}" y="12">jobs</text>',
        f'<text class="right end" x="{WIDTH:g}" y="12">workers</text>',
        *_right_axis(workers, whole_ticks(max(1, scales.most_workers))),
        *_left_axis(waits, [(longest, in_words(longest)), (0, "0")] if longest else [(0, "no waits")]),
    ]


@dataclass(frozen=True, slots=True)
class _Band:
    """A stretch of the picture from its top down, in which values from 0 to `most` are drawn."""

    top: float
    height: float
    most: float

    def y(self, value: float) -> float:
        return round(self.top + self.height * (1 - value / self.most), 1)


def _steps(x: Sequence[float], values: Sequence[float], band: _Band) -> str:
    """Each value holds until the next; only the corners."""
    corners = _corners(x, values, band)
    return "".join([f"{x[0]:g},{corners[0][1]:g}", *(f"H{at:g}V{y:g}" for at, y in corners[1:]), f"H{x[-1]:g}"])


def _corners(x: Sequence[float], values: Sequence[float], band: _Band) -> list[tuple[float, float]]:
    """Where the height changes, and to what."""
    found = [(x[0], band.y(values[0]))]
    for at, value in zip(x, values, strict=True):
        y = band.y(value)
        if y != found[-1][1]:
            found.append((at, y))
    return found


def _area(kind: str, x: Sequence[float], low: Sequence[float], high: Sequence[float], band: _Band) -> str:
    under = _corners(x, low, band)
    back = [f"V{under[-1][1]:g}"]
    for (at, _), (_, before) in zip(reversed(under[1:]), reversed(under[:-1]), strict=True):
        back.append(f"H{at:g}V{before:g}")
    return f'<path class="{kind}" d="M{_steps(x, high, band)}{"".join(back)}H{x[0]:g}Z"/>'


def _left_axis(band: _Band, ticks: Sequence[tuple[float, str]]) -> Iterator[str]:
    bottom = band.top + band.height
    yield f'<path class="axis" d="M{LEFT:g},{band.top:g} V{bottom:g} H{WIDTH - RIGHT:g}"/>'
    for value, words in ticks:
        yield f'<text class="end" x="{LEFT - 6:g}" y="{band.y(value) + 4:g}">{escape(words)}</text>'


def _right_axis(band: _Band, ticks: Sequence[int]) -> Iterator[str]:
    for value in ticks:
        yield f'<text class="right" x="{WIDTH - RIGHT + 6:g}" y="{band.y(value) + 4:g}">{value}</text>'


def _time_axis(scales: Scales) -> Iterator[str]:
    upper, lower = _TOP, _TOP + _MAIN + _GAP + _STRIP
    for time, words in time_ticks(scales):
        x = round(scales.x(time), 1)
        yield f'<path class="tick" d="M{x:g},{upper:g} V{lower:g}"/>'
        yield f'<text class="middle" x="{x:g}" y="{lower + 16:g}">{escape(words)}</text>'


def whole_ticks(most: int) -> list[int]:
    """From 0 on, at most five, at steps of 1, 2 or 5 times a power of ten."""
    step = next(size for size in _round_sizes(1) if most / size <= 4)
    return list(range(0, most + 1, int(step)))


def time_ticks(scales: Scales) -> list[tuple[float, str]]:
    """Seconds from the beginning, each with its label: hours, days, or date and time (UTC)."""
    name, unit = unit_of_time(scales.end_s)
    began, end = scales.began, scales.end_s
    if began is None:
        sizes = _HOURS if name == "hours" else _round_sizes(1)
        step = next(size for size in sizes if end / unit / size <= _MOST_TICKS)
        ticks = [number * step for number in range(int(end / unit / step) + 1)]
        return [(tick * unit, f"{tick:g}{_SHORT[name]}" if tick else "0") for tick in ticks]
    step = next(size for size in _CLOCK if end / size <= _MOST_TICKS)
    first = math.ceil(began / step) * step
    form = "%d %b" if step >= _CLOCK_DAY else "%d %b %H:%M"
    times = itertools.takewhile(lambda at: at <= began + end, itertools.count(first, step))
    return [(at - began, datetime.fromtimestamp(at, UTC).strftime(form)) for at in times]


_SHORT = {"days": " d", "hours": " h", "minutes": " min", "seconds": " s"}
_HOURS = (1, 2, 3, 6, 12)
_CLOCK_DAY = 86_400
# Seconds between two ticks, round on a clock: 1, 2 and 5 times a power of ten would give times such as 02:46:40.
_CLOCK = [
    60,
    300,
    900,
    1800,
    3600,
    10_800,
    21_600,
    43_200,
    *(days * _CLOCK_DAY for days in (1, 2, 5, 10, 20, 50, 100, 10**4)),
]


def _round_sizes(smallest: int) -> Iterator[int]:
    for power in itertools.count():
        yield from (smallest * factor * 10**power for factor in (1, 2, 5))
