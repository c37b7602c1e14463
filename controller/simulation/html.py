"""A comparison as one page that needs nothing else: figures, a picture of each policy, what the words mean. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from controller.simulation import drawing
from controller.simulation.comparison import Comparison
from controller.simulation.drawing import Scales
from controller.simulation.figures import Figures
from controller.simulation.picture import IN_WORK, WAITING, WAITS, WORKERS, Points, caption, drawable
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
"""
_WORDS = (
    ("cost/W", "what is paid for, by the work itself; 1 would be a worker that never idles and never starts"),
    ("wait", "from a job's arrival until it begins; p95: what 95 of 100 jobs do not exceed"),
    ("flaps", "workers that were stopped and asked for again before a start-up's time had passed"),
    ("at zero, at cap", "how much of the time no worker was asked for, or as many as there may be"),
    (
        "short of, more than needed",
        "workers missing or idle, in per cent of those that the jobs needed, over all the time",
    ),
    (
        "given back",
        "jobs that began anew since their worker was taken away; lost h: the hours that they had been worked on",
    ),
)


def page(comparison: Comparison) -> str:
    """The whole document. Names and notes come from outside: everything is escaped."""
    title, *assumed = heading(comparison)
    body = [
        f"<h1>{escape(title)}</h1>",
        *(f'<p class="dim">{escape(line.strip())}</p>' for line in assumed),
        _section("What it costs, and how long jobs wait", _table(cost_and_waits(comparison))),
        _section("What a second of waiting is worth", _table(worths(comparison))),
        _section("What the policies do", _table(doings(comparison))),
        *_pictures(comparison),
        _section("What the words mean", "".join(_words(comparison))),
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
        '<span class="key" style="background: var(--busy)"></span>in work'
        '<span class="key line" style="background: var(--workers)"></span>workers asked for (right)'
        '<span class="key" style="background: var(--waits)"></span>longest wait (below)</p>'
    )
    end = max(figures.end_s for figures, _ in panels)
    most = max(max(points.most) for _, points in panels)
    scales = Scales(end, most, comparison.workload.began)
    yield from (_picture(figures, points, scales) for figures, points in panels)


def _picture(figures: Figures, points: Points, scales: Scales) -> str:
    image = drawing.picture(points, scales, figures.name)
    return _section(figures.name, f'<p class="dim">{escape(caption(figures))}</p><figure>{image}</figure>')


def _words(comparison: Comparison) -> Iterator[str]:
    yield from (f"<p>{escape(line)}</p>" for line in legend(comparison))
    yield "<dl>"
    yield from (f"<dt>{escape(word)}</dt><dd>{escape(meaning)}</dd>" for word, meaning in _WORDS)
    yield "</dl>"
