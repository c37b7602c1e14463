"""A comparison as an SVG file: for each policy the jobs waiting and in progress, the workers, the longest waits."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from controller.core.problems import ConfigurationError, Problem
from controller.core.units import in_words
from controller.simulation import drawing
from controller.simulation.comparison import Comparison
from controller.simulation.drawing import LEFT, RIGHT, WIDTH, Scales
from controller.simulation.figures import Figures
from controller.simulation.picture import (
    IN_WORK,
    WAITING,
    WAITS,
    WORKERS,
    Points,
    caption,
    drawable,
    unit_of_time,
)

_HEADING, _TITLE, _BETWEEN, _FOOT = 52.0, 40.0, 8.0, 24.0
"""Heights in pixels: heading with legend, title and caption of a panel, gap below it, text below the last one."""
_LONGEST = 130
"""Characters that fit one line of the picture."""
_COLOURS = {"waiting": WAITING, "busy": IN_WORK, "workers": WORKERS, "waits": WAITS, "line": "#dddddd"}
_STYLE = """
svg { color: #222222; font-family: sans-serif }
svg .heading { font-size: 15px; font-weight: bold } svg .title { font-size: 13px; font-weight: bold }
svg .caption { fill: #555555 }
"""
_LEGEND = (
    ("waiting", "waiting", 0),
    ("busy", "in work", 90),
    ("workers", "workers requested (right)", 180),
    ("waits", "longest wait (strip below)", 370),
)
"""The CSS class, the name in the legend, and its distance from the left."""
_PALE = "pale: from the fewest to the most; the line is the mean"


def check_suffix(path: Path) -> None:
    """Checks the suffix before a long run.

    Raises:
        ConfigurationError: the suffix is not .svg.
    """
    if path.suffix.lower() != ".svg":
        raise _refusal(f"{path}: pictures are written as SVG only; name the file {path.stem or 'picture'}.svg")


def save_plot(comparison: Comparison, path: Path) -> None:
    """Writes an SVG; the same comparison gives the same file.

    Raises:
        ConfigurationError: the suffix is not .svg, the file cannot be written, or there is nothing to draw.
    """
    check_suffix(path)
    panels = drawable(comparison)
    if not panels:
        raise _refusal("no simulated policy can be drawn; compare one other than the oracle")
    try:
        path.write_text(_document(comparison, panels), encoding="utf-8")
    except OSError as error:
        raise _refusal(f"{path} cannot be written: {error.strerror or error}") from None


def _refusal(text: str) -> ConfigurationError:
    return ConfigurationError([Problem("--plot", text)])


def _document(comparison: Comparison, panels: Sequence[tuple[Figures, Points]]) -> str:
    """Names and notes come from outside, so everything is cut and escaped."""
    each = _TITLE + drawing.HEIGHT + _BETWEEN
    height = _HEADING + each * len(panels) + _FOOT
    end_s = max(figures.end_s for figures, _ in panels)
    scales = Scales(end_s, max(max(points.most) for _, points in panels), comparison.workload.began)
    words = f"{comparison.workload.name}: {comparison.jobs:,} jobs in {in_words(comparison.span_s)}"
    body = [
        f"<title>{_text(words)}</title>",
        f"<style>{_style()}</style>",
        f'<rect width="{WIDTH:g}" height="{height:g}" fill="white"/>',
        f'<text class="heading" x="{LEFT:g}" y="22">{_text(words)}</text>',
        *_legend(),
    ]
    for number, (figures, points) in enumerate(panels):
        body.append(f'<g transform="translate(0 {_HEADING + number * each:g})">{_panel(figures, points, scales)}</g>')
    of_time = "time (UTC)" if scales.began is not None else f"{unit_of_time(end_s)[0]} from the beginning"
    middle = (LEFT + WIDTH - RIGHT) / 2
    body.append(f'<text class="middle" x="{middle:g}" y="{height - _FOOT + 8:g}">{of_time}</text>')
    size = f'width="{WIDTH:g}" height="{height:g}" viewBox="0 0 {WIDTH:g} {height:g}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img">\n' + "\n".join(body) + "\n</svg>\n"


def _style() -> str:
    """The style with the colours as values: programs other than browsers do not support CSS variables."""
    return re.sub(r"var\(--(\w+)\)", lambda found: _COLOURS[found[1]], drawing.STYLE) + _STYLE


def _legend() -> Iterator[str]:
    for kind, words, right in _LEGEND:
        x = LEFT + right
        shape = f'<path class="{kind}" d="M{x:g},40 H{x + 16:g}"/>'
        if kind != "workers":  # a line; the others are areas
            shape = f'<rect class="{kind}" x="{x:g}" y="35" width="16" height="9"/>'
        yield f'{shape}<text x="{x + 22:g}" y="44">{words}</text>'
    yield f'<text class="caption" x="{LEFT + 560:g}" y="44">{_PALE}</text>'


def _panel(figures: Figures, points: Points, scales: Scales) -> str:
    return (
        f'<text class="title" x="{LEFT:g}" y="18">{_text(figures.name)}</text>'
        f'<text class="caption" x="{LEFT:g}" y="34">{_text(caption(figures))}</text>'
        f'<g transform="translate(0 {_TITLE:g})">{"".join(drawing.panel(points, scales))}</g>'
    )


def _text(words: str) -> str:
    """The text on one line, without characters that XML forbids."""
    plain = "".join(letter if letter.isprintable() else " " for letter in words)
    return escape(plain if len(plain) <= _LONGEST else f"{plain[: _LONGEST - 1]}…")
