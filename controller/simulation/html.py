"""A comparison as one self-contained page: figures, a picture of each policy, the meaning of the words. Pure.

It is sent around by mail and attached to pull requests: so it loads nothing, and explains its own columns. Its pictures
are drawn by the code of the controller's own page, from figures that it brings along; a reader without JavaScript sees
the same as SVG. Its Content-Security-Policy allows these scripts and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from html import escape
from typing import Any

from controller.core.text.escaping import as_json
from controller.simulation import drawing
from controller.simulation.comparison import Comparison
from controller.simulation.drawing import Scales
from controller.simulation.figures import Figures
from controller.simulation.picture import Points, caption, drawable, in_columns, stretches
from controller.simulation.report import cost_and_waits, doings, heading, legend, worths
from controller.web import assets

_WORTHS = "Total cost J(v), if a second of waiting costs v worker-seconds"
_STYLES = ("uplot.css", "product.css")
_MOST_POINTS = 4096
"""Of a picture: as many as a screen can show of a fourth of the run."""
_WORDS = (
    ("cost/W", "paid time divided by the work; 1 means workers that are never idle and never start"),
    ("wait", "from a job's arrival until it begins; p95: 95 % of the jobs wait at most this long"),
    ("flaps", "workers that were stopped and requested again within one start-up time"),
    ("at zero, at cap", "share of the time in which 0 workers were requested, or the maximum"),
    (
        "too few, too many",
        "missing or surplus workers, on average, by those needed / share of the time with too few or too many",
    ),
    (
        "requeued",
        "jobs that started again because their worker was removed; hours lost: the work that this cost",
    ),
)


def page(comparison: Comparison) -> str:
    """The whole document. Names and notes come from outside, so everything is escaped."""
    title, *assumed = heading(comparison)
    panels = drawable(comparison)
    body = [
        f"<header><h1>{escape(title)}</h1>",
        *(f'<p class="dim">{escape(line.strip())}</p>' for line in assumed),
        "</header><main>",
        _section("Cost and waits", _table(cost_and_waits(comparison), "Cost and waits")),
        _section(_WORTHS, _table(worths(comparison), "Total cost")),
        _section("Scale actions", _table(doings(comparison), "Scale actions")),
        *_pictures(comparison, panels),
        _section("Meaning of the words", "".join(_words(comparison))),
        "</main>",
    ]
    style = "".join(map(assets.text, _STYLES)) + drawing.STYLE
    scripts = [assets.text(name) for name in assets.IN_REPORT] if panels else []
    runs = " ".join(map(_hash, scripts)) or "'none'"
    may = f"default-src 'none'; style-src {_hash(style)}; script-src {runs}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{may}">'
        f"<title>{escape(comparison.workload.name)}: autoscaling policies</title>"
        f"<style>{style}</style></head><body>\n"
        + "\n".join([*body, *(f"<script>{script}</script>" for script in scripts)])
        + "\n</body></html>\n"
    )


def _hash(text: str) -> str:
    """Of an element's text, for the policy that allows this one and no other."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _table(rows: Sequence[Sequence[str]], name: str) -> str:
    head, *others = rows
    columns = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in others
    )
    wide = f'<div class="wide" tabindex="0" role="region" aria-label="Table: {name}">'
    return f'{wide}<table class="numbers"><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>'


def _pictures(comparison: Comparison, panels: Sequence[tuple[Figures, Points]]) -> Iterator[str]:
    """A place for each picture, and the figures from which the script draws it; without a script, an SVG."""
    if not panels:
        return
    yield (
        '<p class="legend"><span class="key area k-waiting"></span> waiting'
        '<span class="key area k-busy"></span> in progress'
        '<span class="key k-workers"></span> workers requested (right)'
        '<span class="key area k-waits"></span> longest wait (below)'
        '<span class="dim"> · pale: from the fewest to the most; the line is the mean</span></p>'
    )
    end = max(figures.end_s for figures, _ in panels)
    most = max(max(points.most) for _, points in panels)
    began = comparison.workload.began
    scales = Scales(end, most, began)
    yield '<div class="bar" id="parts" role="group" aria-label="Part of the run"></div>'
    for place, (figures, points) in enumerate(panels):
        still = f"<noscript>{drawing.picture(points, scales, figures.name)}</noscript>"
        drawn = f'<div class="drawing" id="panel-{place}"></div>'
        yield _section(figures.name, f'<p class="dim">{escape(caption(figures))}</p>{drawn}{still}')
    parts = [(part.name, part.since_s, part.until_s) for part in stretches(end, began)]
    figures_of = [_panel(figures.name, points) for figures, points in panels]
    data = {"began": began, "end": end, "most_workers": most + 0.5, "parts": parts, "panels": figures_of}
    yield f'<script type="application/json" id="figures">{_harmless(data)}</script>'


def _panel(name: str, points: Points) -> dict[str, Any]:
    if len(points.times) > _MOST_POINTS:
        points = in_columns(points, _MOST_POINTS)
    rounded = {"times": [round(at, 1) for at in points.times], "workers": [round(one, 2) for one in points.workers]}
    waits = [round(wait, 1) for wait in points.waits]
    return {"name": name, "label": drawing.label(points, name), **asdict(points), **rounded, "waits": waits}


def _harmless(data: object) -> str:
    """As JSON in which nothing ends the element that holds it."""
    return as_json(data).replace("<", "\\u003c")


def _words(comparison: Comparison) -> Iterator[str]:
    yield from (f"<p>{escape(line)}</p>" for line in legend(comparison))
    yield '<dl class="words">'
    yield from (f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>" for word, meaning in _WORDS)
    yield "</dl>"
