"""What `autoscaler queues` and `autoscaler queue-trigger` print: the libraries that are known, and how to be woken."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Any

from controller.adapters.postgres.places import TableName, table_names
from controller.adapters.postgres.trigger import THROTTLE_MS, trigger_sql
from controller.config.presets import load, names
from controller.policy import ARMS, NAME_BYTES, Policy, Preset
from controller.policy import Queue as QueuePolicy

_TESTED = {"library": "its own client and worker", "schema": "its published tables", None: "nothing here"}
_WIDTH = 120
_Key = tuple[str, str]
"""A table, by its schema and its name."""
_NO_WORD = re.compile(r"[^a-z0-9_]+")

COST = f"""\
-- What NOTIFY costs the writers: PostgreSQL lets transactions that notify commit one after the other. Measured with 32
-- clients that insert single rows: 9,073 inserts a second without, 2,986 with a notification in each (two thirds less).
-- Hence the throttle below: at most one notification each {THROTTLE_MS} ms, so that nearly all inserts send none. A job
-- that comes in just after another may go unannounced, and so may one that comes in just after an insert that is rolled
-- back: that uses up the pause too. The next reading, one interval later at most, finds it.
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
        limit = f"after {preset.stale_after:g} s without a sign of life; queue.stale_after takes its place"
        yield f"  {'retried' if _rescues(preset) else 'stale':<9} {limit}"
    for note in preset.notes:
        yield from _wrapped("  note      ", note)
    for index in preset.indexes:
        yield from _wrapped("  index     ", index)
    for form in preset.forms:
        yield ""
        yield f"  versions {form.versions}:" if form.versions else "  read as:"
        for key, parts in (
            *((arm, getattr(form, arm)) for arm in ARMS),
            ("alive if", (form.alive,)),
            ("claimed at", (form.claimed_at,)),
            ("begun at", (form.began,)),
            ("ready since", (form.since,)),
        ):
            for part in filter(None, parts):
                yield from _wrapped(f"    {key:<13}", part)


def _rescues(preset: Preset) -> bool:
    """Whether a claim that is too old is ready again, rather than stale."""
    return any("{stale}" in part for form in preset.forms for part in form.ready)


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
        yield f"{preset.schema_name}.{name}" if preset.schema_name else name


def triggers(policy: Policy, only: str | None = None) -> Iterator[str]:
    """For each worker whose queue announces nothing, the trigger that would; for the others, why it needs none."""
    yield COST
    channels = _channels(policy)
    printed: dict[_Key, str] = {}
    for name, worker in policy.workers.items():
        if only is not None and name != only:
            continue
        yield from _no_trigger(name, worker.queue)
        for table in _silent(worker.queue):
            key = _key(table)
            yield from _about(name, worker.queue, table, channels[key], printed.get(key))
            if printed.setdefault(key, name) == name:
                yield trigger_sql(*key, table.identifier, channels[key])


def claims_without_end(policy: Policy) -> Iterator[str]:
    """Warnings of queues in which a dead worker's job would count for ever."""
    for name, worker in policy.workers.items():
        queue = worker.queue
        if queue.sql is not None or queue.stale_after is not None:
            continue
        if queue.preset is not None and not all(form.keeps_claims_of_the_dead for form in load(queue.preset).forms):
            continue
        yield (
            f"workers.{name}.queue: nothing limits how long a claim counts: a killed worker's job keeps a "
            "worker running until its row is changed; write stale_after, longer than the longest job takes (it goes by "
            "columns.locked_at, which says when a job was claimed)"
        )


def _key(table: TableName) -> _Key:
    # Without a schema, the search path says where the table is; what its trigger needs goes into public either way.
    return table.schema or "public", table.name


def _silent(queue: QueuePolicy) -> tuple[TableName, ...]:
    """The tables that jobs are inserted into, where a trigger would have to announce them."""
    if queue.preset is not None and load(queue.preset).wakes and queue.wake_on is None:
        return ()
    tables = table_names(queue)
    return tuple(table for table in tables if table.short == tables[0].short)


def _channels(policy: Policy) -> dict[_Key, str]:
    """One for each table, however many workers share it: one that somebody listens on already, where there is one."""
    chosen: dict[_Key, str] = {}
    queues = [worker.queue for worker in policy.workers.values()]
    for queue in sorted(queues, key=lambda queue: queue.wake_on is None):
        keys = [_key(table) for table in _silent(queue)]
        known = [chosen[key] for key in keys if key in chosen]
        for key in keys:
            named_after = _NO_WORD.sub("_", f"new_{keys[0][1]}".lower())[:NAME_BYTES]
            chosen.setdefault(key, queue.wake_on or next(iter(known), named_after))
    return chosen


def _no_trigger(name: str, queue: QueuePolicy) -> Iterator[str]:
    if queue.sql is not None:
        yield f"-- {name}: its queue is a query, and nobody can tell from it which table the jobs come into.\n"
    elif queue.preset is not None and not _silent(queue):
        preset = load(queue.preset)
        unheard = not queue.queues and all("{queue}" in channel for channel in preset.wakes)
        mend = f"; nobody listens yet: set workers.{name}.queue.queues" if unheard else ""
        yield f"-- {name}: {queue.preset} announces its jobs by itself ({preset.wakes_when}){mend}.\n"


def _about(name: str, queue: QueuePolicy, table: TableName, channel: str, above: str | None) -> Iterator[str]:
    """What to know of the trigger that announces the worker's jobs; above: the worker that it was printed for."""
    shown = table.identifier.as_string()
    if above is None:
        yield f"-- {name}: jobs are inserted into {shown} and announced on {channel}."
    else:
        yield f"-- {name}: jobs are inserted into {shown} too, and the trigger for {above} announces them on {channel}."
    if queue.wake_on is None:
        yield f"-- In the policy: workers.{name}.queue.wake_on: {channel}"
    elif queue.wake_on != channel:
        yield f"-- It listens on {queue.wake_on}, and a table needs one trigger, however many workers share it."
        yield f"-- In the policy: workers.{name}.queue.wake_on: {channel}"
    if above is not None:
        yield ""
        return
    yield "-- If the table has a trigger that notifies on this channel already, it needs no other."
    if queue.table is not None:
        yield "-- If it is a view, put the trigger onto the table behind it (after ON):"
        yield "-- inserts through a view fire none of the view's own."
