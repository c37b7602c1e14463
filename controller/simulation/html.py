"""A comparison as one self-contained page: figures, a picture of each policy, the meaning of the words. Pure.

It is sent around by mail and attached to pull requests: so it loads nothing, runs nothing, and explains its own
columns. A part of the run (a day of a week) is chosen by radio buttons and CSS, for all policies at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from controller.simulation import drawing
from controller.simulation.comparison import Comparison
from controller.simulation.drawing import Scales
from controller.simulation.figures import Figures
from controller.simulation.picture import (
    IN_WORK,
    WAITING,
    WAITS,
    WORKERS,
    Points,
    Stretch,
    caption,
    drawable,
    in_columns,
    stretches,
)
from controller.simulation.report import cost_and_waits, doings, heading, legend, worths

_STYLE = f"""
:root {{ color-scheme: light dark; --line: #8884; --dim: #707070; --waiting: {WAITING}; --busy: {IN_WORK};
  --workers: {WORKERS}; --waits: {WAITS} }}
@media (prefers-color-scheme: dark) {{
  :root {{ --dim: #999; --waiting: #56b4e9; --busy: #24506b; --workers: #f0883e }}
}}
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 78rem; margin: 2rem auto; padding: 0 1rem }}
h1 {{ font-size: 1.25rem; margin: 0 }} h2 {{ font-size: 1.05rem; margin: 0; overflow-wrap: anywhere }}
section {{ border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.2rem; margin: 1rem 0 }}
p {{ margin: .3rem 0 0 }} .dim {{ color: var(--dim) }} .wide {{ overflow-x: auto }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; white-space: nowrap; font-size: .9rem }}
th, td {{ text-align: right; padding: .2rem .6rem; border-bottom: 1px solid var(--line) }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0 }}
thead th {{ color: var(--dim); font-weight: normal }}
tbody th {{ font-weight: 600; white-space: normal; overflow-wrap: anywhere; min-width: 14rem }}
figure {{ margin: .6rem 0 0; overflow-x: auto }}
svg {{ display: block; width: 100%; min-width: 40rem; height: auto }}
.key {{ display: inline-block; width: 1.2em; height: .7em; margin: 0 .4em 0 1em }}
.key:first-child {{ margin-left: 0 }} .line {{ height: 3px; margin-bottom: .2em }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1rem; margin: .6rem 0 0 }}
dt {{ font-weight: 600 }} dd {{ margin: 0 }}
.choice {{ position: absolute; opacity: 0 }} .part {{ display: none }}
.parts {{ position: sticky; top: 0; z-index: 1; background: Canvas; padding: .5rem 0 }}
.parts label {{ display: inline-block; border: 1px solid var(--line); border-radius: .4rem; padding: .1rem .6rem;
  margin: 0 .3rem .3rem 0; cursor: pointer }}
"""
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
    body = [
        f"<h1>{escape(title)}</h1>",
        *(f'<p class="dim">{escape(line.strip())}</p>' for line in assumed),
        _section("Cost and waits", _table(cost_and_waits(comparison))),
        _section("Total cost J(v), if a second of waiting costs v worker-seconds", _table(worths(comparison))),
        _section("Scale actions", _table(doings(comparison))),
        *_pictures(comparison),
        _section("Meaning of the words", "".join(_words(comparison))),
    ]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(comparison.workload.name)}: autoscaling policies</title>"
        f"<style>{_STYLE}{drawing.STYLE}</style></head><body>\n" + "\n".join(body) + "\n</body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{content}</section>"


def _table(rows: Sequence[Sequence[str]]) -> str:
    head, *others = rows
    columns = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in cells)}</tr>'
        for name, *cells in others
    )
    return f'<div class="wide"><table><thead><tr>{columns}</tr></thead><tbody>{body}</tbody></table></div>'


def _pictures(comparison: Comparison) -> Iterator[str]:
    panels = drawable(comparison)
    if not panels:
        return
    yield (
        '<p><span class="key" style="background: var(--waiting)"></span>waiting'
        '<span class="key" style="background: var(--busy)"></span>in progress'
        '<span class="key line" style="background: var(--workers)"></span>workers requested (right)'
        '<span class="key" style="background: var(--waits)"></span>longest wait (below)'
        '<span class="dim"> · pale: from the fewest to the most; the line is the mean</span></p>'
    )
    end = max(figures.end_s for figures, _ in panels)
    most = max(max(points.most) for _, points in panels)
    scales = Scales(end, most, comparison.workload.began)
    parts = stretches(end, comparison.workload.began)
    if parts:
        yield from _choice(parts)
    yield from (_picture(figures, points, scales, parts) for figures, points in panels)


def _choice(parts: Sequence[Stretch]) -> Iterator[str]:
    """A radio button for the whole run and for each part; before the pictures, so that CSS can refer to them."""
    names = ["whole run", *(part.name for part in parts)]
    rules = []
    for number in range(len(names)):
        rules += [
            f"#part-{number}:checked ~ section .part-{number} {{ display: block }}",
            f"#part-{number}:checked ~ .parts label[for=part-{number}] {{ background: var(--busy) }}",
            f"#part-{number}:focus-visible ~ .parts label[for=part-{number}] {{ outline: 2px solid currentColor }}",
        ]
        checked = "" if number else " checked"
        yield f'<input class="choice" type="radio" name="part" id="part-{number}"{checked}>'
    yield f"<style>{' '.join(rules)}</style>"
    labels = (f'<label for="part-{number}">{escape(name)}</label>' for number, name in enumerate(names))
    yield f'<p class="parts">{"".join(labels)}</p>'


def _picture(figures: Figures, points: Points, scales: Scales, parts: Sequence[Stretch]) -> str:
    image = drawing.picture(points, scales, figures.name)
    if parts:
        images = [image, *(_part(figures, points, scales, part) for part in parts)]
        image = "".join(f'<div class="part part-{number}">{one}</div>' for number, one in enumerate(images))
    return _section(figures.name, f'<p class="dim">{escape(caption(figures))}</p><figure>{image}</figure>')


def _part(figures: Figures, points: Points, scales: Scales, part: Stretch) -> str:
    began = None if scales.began is None else scales.began + part.since_s
    own = in_columns(points, drawing.COLUMNS, part.since_s, part.until_s)
    own_scales = Scales(part.until_s - part.since_s, scales.most_workers, began)
    return drawing.picture(own, own_scales, f"{figures.name}, {part.name}")


def _words(comparison: Comparison) -> Iterator[str]:
    yield from (f"<p>{escape(line)}</p>" for line in legend(comparison))
    yield "<dl>"
    yield from (f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>" for word, meaning in _WORDS)
    yield "</dl>"
