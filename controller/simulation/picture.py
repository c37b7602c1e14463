"""A comparison as a picture: for each policy the jobs that wait and are in work, the workers, and the longest waits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controller.core.problems import ConfigurationError, Problem
from controller.core.units import in_words
from controller.simulation.comparison import Comparison
from controller.simulation.figures import Figures
from controller.simulation.report import seconds
from controller.simulation.series import Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FORMATS = (".png", ".svg")
_WIDTH = 11.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 0.95, 0.75, 0.75, 0.5
_TITLE, _MAIN, _GAP, _STRIP, _BETWEEN = 0.5, 1.5, 0.1, 0.4, 0.15
"""All of these in inches; a panel is a title, the depth with the workers, a gap, and the strip of the waits."""
_LONGEST_NAME = 110
_MANY = 400
"""Points from which on a thinner line shows more."""
WAITING, IN_WORK, WORKERS, WAITS = "#0072b2", "#9ad0f0", "#d55e00", "#555555"
"""From the palette of Okabe and Ito, whose colours everybody can tell apart; waiting is darker than in work."""
_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86_400.0


@dataclass(slots=True)
class Points:
    """What holds from each of the times (seconds) on; the last one is the end.

    waiting, busy: the most jobs. least, most, workers: that were asked for, and how many at last. waits: the longest.
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
    """For drawing: the most that was seen in each step or is there at its end, and what is there holds until the next.

    Where nobody looked, the workers are those that were asked for last.
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
    """What an axis of so many seconds is best read in, and how many seconds that is."""
    for name, size in (("days", _DAY_S), ("hours", _HOUR_S), ("minutes", _MINUTE_S)):
        if span_s >= 3 * size:
            return name, size
    return "seconds", 1.0


def caption(figures: Figures) -> str:
    return (
        f"${figures.dollars_a_month:,.2f}/month · cost/W {figures.cost_over_work:.2f} · "
        f"wait p95 {seconds(figures.waits.p95)} · avoidable p95 {seconds(figures.avoidable.p95)}"
    )


def drawable(comparison: Comparison) -> list[tuple[Figures, Points]]:
    """Those of whom it is known what happened over time; the clairvoyant is reckoned, and not simulated."""
    pairs = zip(comparison.figures, comparison.series, strict=True)
    return [(figures, series_points(series, figures.end_s)) for figures, series in pairs if series is not None]


def check_suffix(path: Path) -> None:
    """Before a long run, rather than after it.

    Raises:
        ConfigurationError: it is none that can be drawn.
    """
    if path.suffix.lower() not in _FORMATS:
        found = f"{path.suffix} is no picture" if path.suffix else "it has no suffix"
        raise _refusal(f"{path}: {found} that can be drawn; end its name with .png or .svg")


def save_plot(comparison: Comparison, path: Path) -> None:
    """Writes a .png or a .svg; the same comparison gives the same file.

    Raises:
        ConfigurationError: the suffix is another, the file cannot be written, or there is nothing to draw.
        ModuleNotFoundError: matplotlib is not installed.
    """
    check_suffix(path)
    panels = drawable(comparison)
    if not panels:
        raise _refusal("no policy was simulated that could be drawn; compare one besides the oracle")
    from matplotlib import rc_context  # noqa: PLC0415  # the command that runs always does without

    with rc_context({"svg.hashsalt": "worker-autoscaler", "svg.fonttype": "path", "font.size": 8.5}):
        figure = _drawn(comparison, panels)
        is_svg = path.suffix.lower() == ".svg"
        try:
            figure.savefig(path, dpi=110, metadata={"Date": None} if is_svg else None)
        except OSError as error:
            raise _refusal(f"{path} cannot be written: {error.strerror or error}") from None


def _refusal(text: str) -> ConfigurationError:
    return ConfigurationError([Problem("--plot", text)])


def _drawn(comparison: Comparison, panels: Sequence[tuple[Figures, Points]]) -> Figure:
    from matplotlib.figure import Figure  # noqa: PLC0415

    each = _TITLE + _MAIN + _GAP + _STRIP + _BETWEEN
    height = _TOP + each * len(panels) + _BOTTOM
    figure = Figure(figsize=(_WIDTH, height))
    plane = _Plane(figure, height, comparison.workload.began, max(figures.end_s for figures, _ in panels))
    most = max(max(points.most) for _, points in panels)
    for number, (figures, points) in enumerate(panels):
        top = _TOP + number * each + _TITLE
        main = plane.axes(top, _MAIN)
        _title(main, figures)
        _depth(main, points, plane.x(points.times))
        _workers(main, points, plane.x(points.times), most)
        strip = plane.axes(top + _MAIN + _GAP, _STRIP)
        _waits(strip, points, plane.x(points.times))
        plane.time_axis(main, strip, is_last=number == len(panels) - 1)
    _heading(figure, height, comparison)
    return figure


@dataclass(frozen=True, slots=True)
class _Plane:
    """Where things stand: in inches from the top, and in time."""

    figure: Figure
    height: float
    began: float | None
    end_s: float

    @property
    def unit(self) -> float:
        return unit_of_time(self.end_s)[1] if self.began is None else _DAY_S

    def x(self, times: Sequence[float]) -> list[float]:
        """In the axis's unit; where it happened at a known time, in days since 1970, as matplotlib counts dates."""
        return [((self.began or 0.0) + time) / self.unit for time in times]

    def axes(self, top: float, height: float) -> Axes:
        width = (_WIDTH - _LEFT - _RIGHT) / _WIDTH
        bottom = 1 - (top + height) / self.height
        axes = self.figure.add_axes((_LEFT / _WIDTH, bottom, width, height / self.height))
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_xlim(*self.x([0.0, self.end_s or 1.0]))
        return axes

    def time_axis(self, main: Axes, strip: Axes, *, is_last: bool) -> None:
        from matplotlib.dates import AutoDateLocator, ConciseDateFormatter  # noqa: PLC0415

        for axes in (main, strip):
            if self.began is not None:
                locator = AutoDateLocator(maxticks=10)  # type: ignore[no-untyped-call]  # matplotlib's own gap
                axes.xaxis.set_major_locator(locator)
                dates = ConciseDateFormatter(locator, show_offset=is_last)  # type: ignore[no-untyped-call]  # the same
                axes.xaxis.set_major_formatter(dates)
            axes.grid(visible=True, axis="x", color="#00000018", linewidth=0.6)
            axes.tick_params(axis="x", labelbottom=False, length=2)
        if is_last:
            strip.tick_params(axis="x", labelbottom=True)
            unit = f"{unit_of_time(self.end_s)[0]} from the beginning"
            strip.set_xlabel(unit if self.began is None else "time (UTC)", labelpad=2)


def _heading(figure: Figure, height: float, comparison: Comparison) -> None:
    from matplotlib.lines import Line2D  # noqa: PLC0415
    from matplotlib.patches import Patch  # noqa: PLC0415

    words = f"{comparison.workload.name}: {comparison.jobs:,} jobs in {in_words(comparison.span_s)}"
    at = 1 - 0.16 / height
    figure.text(_LEFT / _WIDTH, at, _short(words), va="top", fontsize=11, fontweight="bold", parse_math=False)
    figure.legend(
        handles=[
            Patch(color=WAITING, label="waiting"),
            Patch(color=IN_WORK, label="in work"),
            Line2D([], [], color=WORKERS, label="workers asked for (right)"),
            Line2D([], [], color=WAITS, label="longest wait (strip below)"),
        ],
        loc="upper left",
        bbox_to_anchor=(_LEFT / _WIDTH, 1 - 0.38 / height),
        borderaxespad=0,
        ncols=4,
        frameon=False,
        borderpad=0,
    )


def _title(axes: Axes, figures: Figures) -> None:
    place: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "parse_math": False}
    axes.annotate(_short(figures.name), (0, 1), (0, 17), fontsize=9.5, fontweight="bold", **place)
    axes.annotate(caption(figures), (0, 1), (0, 5), color="#444444", **place)


def _short(text: str) -> str:
    plain = "".join(letter if letter.isprintable() else " " for letter in text)
    return plain if len(plain) <= _LONGEST_NAME else f"{plain[: _LONGEST_NAME - 1]}…"


def _depth(axes: Axes, points: Points, x: Sequence[float]) -> None:
    from matplotlib.ticker import MaxNLocator, StrMethodFormatter  # noqa: PLC0415

    axes.fill_between(x, points.busy, step="post", color=IN_WORK, linewidth=0)
    axes.fill_between(x, points.busy, points.depth, step="post", color=WAITING, linewidth=0)
    axes.set_ylim(0, max(1, *points.depth) * 1.05)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.set_ylabel("jobs")


def _workers(beside: Axes, points: Points, x: Sequence[float], most: int) -> None:
    from matplotlib.ticker import MaxNLocator  # noqa: PLC0415

    axes = beside.twinx()
    axes.spines[["top"]].set_visible(False)
    axes.fill_between(x, points.least, points.most, step="post", color=WORKERS, alpha=0.25, linewidth=0)
    axes.step(x, points.workers, where="post", color=WORKERS, linewidth=1.1 if len(x) < _MANY else 0.7)
    axes.set_ylim(0, most + 0.5)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.set_ylabel("workers", color=WORKERS)
    axes.tick_params(axis="y", colors=WORKERS)


def _waits(axes: Axes, points: Points, x: Sequence[float]) -> None:
    longest = max(points.waits)
    axes.fill_between(x, points.waits, step="post", color=WAITS, linewidth=0, alpha=0.35)
    axes.step(x, points.waits, where="post", color=WAITS, linewidth=0.8)
    axes.set_ylim(0, longest * 1.1 or 1)
    axes.set_yticks([0, longest] if longest else [0], ["0", in_words(longest)] if longest else ["0"])
