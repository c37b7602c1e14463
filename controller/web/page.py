"""The page at /: what /status says, for people. Pure.

static/page.js draws it from the stream of events. What <noscript> holds is for a terminal's browser, or one without
JavaScript: the same StatusReport as /status, which loads itself again by <meta http-equiv="refresh">.
The Content-Security-Policy allows the files of static/ and nothing inline: names, messages of PostgreSQL and entries of
Redis come from outside, and what escape() missed still could not run.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator

from controller.core.text.escaping import visible
from controller.core.units import in_words, iso
from controller.loop.worker_status import QueueStatus, WorkerStatus
from controller.web import assets
from controller.web.health import Failing, StatusReport, WorkerReport

_RELOAD_S = 5
"""Half of the default interval, so that what is shown is at most half a cycle older than it could be."""
_MOST_DOTS = 50
_MILLISECONDS = re.compile(r"(:\d\d)\.\d+Z$")


def escape(text: str) -> str:
    """As text that is never markup and holds no character that a reader does not see."""
    return html.escape(visible(text))


def page(status: StatusReport) -> str:
    """The whole document."""
    health, role = escape(status.health.value), escape(status.role.value)
    badges = f'<span class="badge {health}">{health}</span><span class="badge dim">{role}</span>'
    body = "\n".join(
        [
            f"<header><h1>worker-autoscaler {badges}</h1></header><main>",
            *map(_failing, status.failing),
            *(_worker(name, worker) for name, worker in status.workers.items()),
            f'</main><footer><p class="dim">{escape(_footer(status))}</p></footer>',
        ]
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<noscript><meta http-equiv="refresh" content="{_RELOAD_S}"></noscript>'
        f"<title>worker-autoscaler: {health}</title>{_files()}</head><body>\n"
        f'<noscript>\n{body}\n</noscript>\n<div id="live"></div></body></html>\n'
    )


def _files() -> str:
    styles = "".join(f'<link rel="stylesheet" href="{assets.address(name)}">' for name in ("uplot.css", "product.css"))
    scripts = "".join(
        f'<script defer src="{assets.address(name)}"></script>' for name in ("uplot.js", "chart.js", "page.js")
    )
    return f'<link rel="icon" type="image/svg+xml" href="{assets.address("icon.svg")}">{styles}{scripts}'


def _failing(one: Failing) -> str:
    what = f"{one.name} fails" if one.worker is None else f"{one.name} of {one.worker}"
    return f'<p class="unhealthy">{escape(what)} since <time>{escape(_to_a_second(iso(one.since)))}</time></p>'


def _worker(name: str, worker: WorkerReport | None) -> str:
    if worker is None:
        return f'<section><h2>{escape(name)}</h2><p class="dim">no cycle yet</p></section>'
    last = worker.last
    facts = "".join(
        f"<div><dt>{escape(label)}</dt><dd>{escape(value)}</dd></div>" for label, value in _facts(last) if value
    )
    words = f"{last.message} ({', '.join(last.reasons)})"
    remarks = "".join(f'<p class="degraded">{escape(remark.text)}</p>' for remark in last.remarks or ())
    return (
        f"<section><h2>{escape(name)}</h2>{_dots(last)}<p>{escape(words)}</p>{remarks}{_schedule(last)}{_budgets_and_pool(last)}{_overrides(last)}{_shadow(last)}<dl>{facts}</dl>{_queues(last)}"
        f'<p class="dim">seen {escape(_ago(worker.age_s))}, outcome {escape(last.outcome.value)}</p></section>'
    )


def _dots(last: WorkerStatus) -> str:
    """One dot for each of max_replicas: a worker that runs, one that was asked for and does not run yet, or none."""
    running, configured = last.running, last.configured
    if running is None or configured is None:
        return '<p class="dim">number of running workers unknown</p>'
    coming = max(0, configured - running)
    most = max(running, configured) if last.max_workers is None else last.max_workers
    off = max(0, most - running - coming)
    title = f"{running} running, {configured} configured, {most} at most"
    if running + coming + off > _MOST_DOTS:
        return f"<p>{escape(title)}</p>"
    return (
        f'<p class="dots" title="{escape(title)}" aria-label="{escape(title)}"><span class="on">{"●" * running}</span>'
        f'<span class="coming">{"◐" * coming}</span><span class="off">{"○" * off}</span></p>'
    )


def _facts(last: WorkerStatus) -> Iterator[tuple[str, str]]:
    """Each figure's name and how it is shown; one whose text is empty is left out."""
    yield "depth", last.depth_shown or "unknown"
    yield "pending", last.pending_shown or ""
    yield "processing", last.processing_shown or ""
    yield "due soon", (last.soon_shown or "") if last.soon else ""
    yield "stale", (last.stale_shown or "") if last.stale else ""
    yield "oldest job has waited", "" if last.oldest_age_s is None else in_words(last.oldest_age_s)
    yield "running", _count(last.running)
    yield "configured", _count(last.configured)
    yield "recommended", _count(last.recommended)
    yield "desired", _count(last.desired)
    yield "may scale up", _cooldown(last.scale_up_cooldown_left_s)
    yield "may scale down", _cooldown(last.scale_down_cooldown_left_s)
    yield "last scale-up", _to_a_second(last.last_scale_up or "")
    yield "last scale-down", _to_a_second(last.last_scale_down or "")
    if last.rpm_limit is not None:
        used = "?" if last.rpm_used is None else last.rpm_used
        yield "requests this minute", f"{used} of {last.rpm_limit}"


def _schedule(last: WorkerStatus) -> str:
    return "" if last.schedule is None else f"<p>{escape(last.schedule.message)}</p>"


def _shadow(last: WorkerStatus) -> str:
    if last.shadow is None:
        return ""
    words = f"shadow policy: would be at {last.shadow.desired}; {last.shadow.comparison}"
    return f'<p class="dim">{escape(words)}</p>'


def _budgets_and_pool(last: WorkerStatus) -> str:
    pool = "" if last.pool is None else f"<p>{escape(last.pool.message)}</p>"
    return pool + "".join(f"<p>budget: {escape(one.message)}</p>" for one in last.budgets or ())


def _overrides(last: WorkerStatus) -> str:
    """What operators have asked for; its end rather than the time left, which would be old by the time it is read."""
    return "".join(
        f'<p class="degraded">override {escape(one.override)}: {escape(one.message)} '
        f"(until <time>{escape(_to_a_second(one.until))}</time>)</p>"
        for one in last.overrides or ()
    )


def _queues(last: WorkerStatus) -> str:
    """A line for each queue of a worker with several."""
    return "".join(f"<p>{escape(_queue_words(queue))}</p>" for queue in last.queues or ())


def _queue_words(queue: QueueStatus) -> str:
    if queue.depth is None:
        return f"queue {queue.queue}: unknown; {queue.message}"
    age = "" if queue.oldest_age_s is None else f", the oldest has waited {in_words(queue.oldest_age_s)}"
    return f"queue {queue.queue}: {queue.pending} pending, {queue.processing} processing{age}; {queue.message}"


def _to_a_second(time: str) -> str:
    """`2026-11-23T22:31:07Z` of such a time with milliseconds, as /status has it; any other text stays as it is."""
    return _MILLISECONDS.sub(r"\1Z", time)


def _count(value: int | None) -> str:
    return "unknown" if value is None else str(value)


def _ago(seconds: float | None) -> str:
    return "at an unknown time" if seconds is None else f"{in_words(seconds)} ago"


def _cooldown(left: float | None) -> str:
    if left is None:
        return ""
    return "now" if left <= 0 else f"in {in_words(left)}"


def _footer(status: StatusReport) -> str:
    leader, requests = status.leader, status.requests
    parts = []
    if leader is not None:
        parts.append(f"epoch {leader.epoch}, led by {leader.holder} since {_to_a_second(iso(leader.since))}")
    if requests is not None:
        parts.append(f"{requests.requests.used} of {requests.requests.quota} requests to {requests.platform} used")
        parts += [requests.stretched] if requests.stretched else []
    return " · ".join([*parts, "as JSON: /status"])
