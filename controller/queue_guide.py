"""What `autoscaler queues` and `autoscaler queue-trigger` print: the libraries that are known, and how to be woken."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Any

from controller.adapters.queues.places import table_names
from controller.adapters.queues.preset import Preset, load, names
from controller.adapters.queues.trigger import THROTTLE_MS, trigger_sql
from controller.policy import Policy, WorkerPolicy
from controller.ports import Unavailable

_TESTED = {"library": "its own client and worker", "schema": "its published tables"}
_WIDTH = 120
_NO_WORD = re.compile(r"[^a-z0-9_]+")

COST = f"""\
-- What NOTIFY costs the writers: PostgreSQL lets transactions that notify commit one after the other. Measured with 32
-- clients that insert single rows: 9,073 inserts a second without, 2,986 with a notification in each (two thirds less).
-- Hence the throttle below: at most one notification each {THROTTLE_MS} ms, so that nearly all inserts send none. A job
-- that comes in just after another may go unannounced; the next reading, one interval later at most, finds it.
"""


def table() -> Iterator[tuple[str, ...]]:
    yield "PRESET", "LIBRARY", "LANGUAGE", "TESTED WITH", "ANNOUNCES JOBS"
    for name in names():
        preset = load(name)
        yield name, preset.library, preset.language, _TESTED[preset.tested], "yes" if preset.wakes else "no: polled"


def describe(name: str) -> Iterator[str]:
    """All that is known of one library, with the SQL that reads it."""
    preset = load(name)
    yield f"{name}: {preset.library} ({preset.language})"
    yield f"tested with {_TESTED[preset.tested]}, {preset.versions}"
    yield ""
    yield "  workers:"
    yield "    NAME:"
    yield f"      queue: {{preset: {name}, queues: [{preset.queue_is}{', …' if not preset.needs_queues else ''}]}}"
    yield ""
    yield f"  tables    {', '.join(_shown_tables(preset))}"
    yield f"  wakes by  {', '.join(preset.wakes) or 'nothing: `autoscaler queue-trigger` prints a trigger'}"
    if preset.wakes_when:
        yield f"            {preset.wakes_when}"
    if preset.stale_after is not None:
        yield f"  stale     after {preset.stale_after:g} s without a sign of life; queue.stale_after takes its place"
    for note in preset.notes:
        yield from _wrapped("  note      ", note)
    for index in preset.indexes:
        yield from _wrapped("  index     ", index)
    for form in preset.forms:
        yield ""
        yield f"  versions {form.versions}:" if form.versions else "  read as:"
        for key, parts in (
            ("ready", form.ready),
            ("processing", form.processing),
            ("scheduled", form.scheduled),
            ("failed", form.failed),
            ("alive if", (form.alive,)),
            ("claimed at", (form.claimed_at,)),
            ("begun at", (form.began,)),
            ("ready since", (form.since,)),
        ):
            for part in filter(None, parts):
                yield from _wrapped(f"    {key:<13}", part)


def _wrapped(head: str, text: str) -> Iterator[str]:
    yield from textwrap.wrap(
        " ".join(text.split()),
        _WIDTH,
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    )


def as_object(name: str) -> dict[str, Any]:
    preset = load(name)
    return {
        "preset": name,
        "library": preset.library,
        "language": preset.language,
        "versions": preset.versions,
        "tested": preset.tested,
        "queues_are": preset.queue_is,
        "needs_queues": preset.needs_queues,
        "channels": list(preset.wakes),
        "notes": list(preset.notes),
    }


def _shown_tables(preset: Preset) -> Iterator[str]:
    for template in preset.tables.values():
        name = template.replace("{prefix}", preset.prefix)
        yield f"{preset.schema}.{name}" if preset.schema else name


def triggers(policy: Policy, only: str | None = None) -> Iterator[str]:
    """For each worker whose queue announces nothing, the trigger that would; for the others, why it needs none."""
    yield COST
    for name, worker in policy.workers.items():
        if only is None or name == only:
            yield from _trigger(name, worker)


def _trigger(name: str, worker: WorkerPolicy) -> Iterator[str]:
    queue = worker.queue
    if queue.sql is not None:
        yield f"-- {name}: its queue is a query, and nobody can tell from it which table the jobs come into.\n"
        return
    try:
        tables = table_names(queue)
    except Unavailable as unavailable:
        yield f"-- {name}: {unavailable}\n"
        return
    if queue.preset is not None and load(queue.preset).wakes and queue.wake_on is None:
        preset = load(queue.preset)
        unheard = not queue.queues and all("{queue}" in channel for channel in preset.wakes)
        mend = f"; nobody listens yet: set workers.{name}.queue.queues" if unheard else ""
        yield f"-- {name}: {queue.preset} announces its jobs by itself ({preset.wakes_when}){mend}.\n"
        return
    for one in (table for table in tables if table.short == tables[0].short):
        channel = queue.wake_on or _NO_WORD.sub("_", f"new_{one.name}".lower())[:63]
        shown = one.identifier.as_string()
        yield f"-- {name}: jobs are inserted into {shown} and announced on {channel}."
        if queue.wake_on is None:
            yield f"-- In the policy: workers.{name}.queue.wake_on: {channel}"
        else:
            yield "-- If the table has a trigger that notifies on this channel already, it needs no other."
        yield trigger_sql(one.schema or "public", one.name, one.identifier, channel)
