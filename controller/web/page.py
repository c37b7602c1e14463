"""The page at /: what /status says, for people who would rather look than read. One file, without a script. Pure."""

from __future__ import annotations

import base64
import hashlib
import html
from collections.abc import Iterator, Mapping
from typing import Any

from controller.core.text.escaping import visible

_RELOAD_S = 5
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #888; --good: #2a9d5c; --bad: #d04437; --busy: #c98a00 }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.2rem; display: flex; flex-wrap: wrap; gap: .6rem; align-items: baseline }
h2 { font-size: 1.05rem; margin: 0 }
section { border: 1px solid var(--line); border-radius: .6rem; padding: 1rem 1.2rem; margin: 1rem 0 }
dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .6rem 1rem; margin: .8rem 0 0 }
dt { color: var(--dim); font-size: .8rem } dd { margin: 0; font-variant-numeric: tabular-nums }
.dots { font-size: 1.5rem; letter-spacing: .15rem; line-height: 1.2 } .off { color: var(--line) }
.healthy, .on { color: var(--good) } .degraded, .coming { color: var(--busy) } .unhealthy { color: var(--bad) }
.badge { font-size: .85rem; border: 1px solid currentColor; border-radius: 1rem; padding: 0 .7rem }
p { margin: .5rem 0 0 } .dim { color: var(--dim) }
"""
STYLE_HASH = f"sha256-{base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()}"
"""By which a Content-Security-Policy allows this style and no other."""
_MOST_DOTS = 50


def escape(text: str) -> str:
    """Never markup, and nothing that turns the reading direction around."""
    return html.escape(visible(text))


def page(status: Mapping[str, Any]) -> str:
    """The whole document, of what /status shows; it loads itself again."""
    state = escape(str(status["status"]))
    role = escape(str(status["role"]))
    badges = f'<span class="badge {state}">{state}</span><span class="badge dim">{role}</span>'
    body = "\n".join(
        [
            f"<h1>worker-autoscaler {badges}</h1>",
            *_failing(status),
            *(_worker(name, worker) for name, worker in status["workers"].items()),
            f'<p class="dim">{escape(_footer(status))}</p>',
        ]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="refresh" content="{_RELOAD_S}"><title>worker-autoscaler: {state}</title>'
        f"<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def _failing(status: Mapping[str, Any]) -> Iterator[str]:
    for trouble in status["failing"]:
        since, worker = escape(str(trouble["since"])), trouble.get("worker")
        what = f"{trouble['name']} of {worker}" if worker else f"{trouble['name']} fails"
        yield f'<p class="unhealthy">{escape(what)} since <time>{since}</time></p>'


def _worker(name: str, worker: Mapping[str, Any] | None) -> str:
    if worker is None:
        return f'<section><h2>{escape(name)}</h2><p class="dim">not looked at yet</p></section>'
    facts = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>" for label, value in _facts(worker) if value
    )
    words = f"{worker['message']} ({', '.join(worker['reasons'])})"
    return (
        f"<section><h2>{escape(name)}</h2>{_dots(worker)}<p>{escape(words)}</p>{''.join(_remarks(worker))}<dl>{facts}</dl>"
        f'<p class="dim">seen {escape(_ago(worker.get("age_s")))}, '
        f"outcome {escape(str(worker['outcome']))}</p></section>"
    )


def _remarks(worker: Mapping[str, Any]) -> Iterator[str]:
    """What may be misread of the queue; another version may have published anything under that key."""
    remarks = worker.get("remarks")
    for remark in remarks if isinstance(remarks, list) else ():
        if isinstance(remark, dict) and isinstance(remark.get("text"), str):
            yield f'<p class="degraded">{escape(remark["text"])}</p>'


def _dots(worker: Mapping[str, Any]) -> str:
    """One for each worker that there may be: running, asked for and not running yet, or neither."""
    running, configured = worker["running"], worker["configured"]
    if running is None or configured is None:
        return '<p class="dim">how many workers run is not known</p>'
    coming = max(0, configured - running)
    most = max(running, configured) if worker["max_workers"] is None else worker["max_workers"]
    off = max(0, most - running - coming)
    title = f"{running} running, {configured} configured, {most} at most"
    if running + coming + off > _MOST_DOTS:
        return f"<p>{escape(title)}</p>"
    return (
        f'<p class="dots" title="{escape(title)}" aria-label="{escape(title)}"><span class="on">{"●" * running}</span>'
        f'<span class="coming">{"◐" * coming}</span><span class="off">{"○" * off}</span></p>'
    )


def _facts(worker: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What each figure is called, and how it is shown; an empty text is not."""
    yield "depth", _number(worker.get("depth_shown"), "unknown")
    yield "pending", _number(worker.get("pending_shown"))
    yield "processing", _number(worker.get("processing_shown"))
    yield "stale", _number(worker.get("stale_shown") if worker.get("stale") else None)
    yield "oldest has waited", _seconds(worker["oldest_age_s"])
    for key in ("running", "configured", "recommended", "desired"):
        yield key, _number(worker[key], "unknown")
    yield "may go up", _cooldown(worker["scale_up_cooldown_left_s"])
    yield "may go down", _cooldown(worker["scale_down_cooldown_left_s"])
    yield "last scale-up", worker["last_scale_up"] or ""
    yield "last scale-down", worker["last_scale_down"] or ""
    if worker["rpm_limit"] is not None:
        yield "requests this minute", f"{_number(worker['rpm_used'], '?')} of {worker['rpm_limit']}"


def _number(value: object, otherwise: str = "") -> str:
    return otherwise if value is None else str(value)


def _seconds(value: float | None) -> str:
    if value is None:
        return ""
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s" if minutes else f"{value:.1f} s"


def _ago(seconds: float | None) -> str:
    return "at an unknown time" if seconds is None else f"{_seconds(seconds)} ago"


def _cooldown(left: float | None) -> str:
    if left is None:
        return ""
    return "now" if left <= 0 else f"in {_seconds(left)}"


def _footer(status: Mapping[str, Any]) -> str:
    leader, requests = status["leader"], status["railway_requests"]
    parts = []
    if leader is not None:
        parts.append(f"epoch {leader['epoch']}, led by {leader['holder']} since {leader['since']}")
    if requests is not None:
        parts.append(f"{requests['used']} of {requests['quota']} Railway requests used")
        parts += [requests["stretched"]] if requests["stretched"] else []
    return " · ".join([*parts, "the same as JSON: /status"])
