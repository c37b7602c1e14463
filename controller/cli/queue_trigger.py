"""`autoscaler queue-trigger`: the SQL of a trigger that announces new jobs, where a table has none.

It is printed and never run: it changes a production database, and slows down every INSERT a little. What it costs was
measured, and stands as a comment above the SQL, so that the reviewer of the migration sees it too.
"""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from controller.cli import output
from controller.cli.arguments import ENVIRONMENT, add_policy, names_a_file, policy_of, takes
from controller.cli.parser import meant
from controller.core.problems import ConfigurationError, Problem
from controller.core.text.layout import wrap_sql

if TYPE_CHECKING:
    from controller.adapters.postgres.places import TableName
    from controller.cli.parser import Commands
    from controller.policy import Policy
    from controller.policy import Queue as QueuePolicy

_Key = tuple[str, str]
"""A table, by its schema and its name."""
_NO_WORD = re.compile(r"[^a-z0-9_]+")

COST = """\
What NOTIFY costs the writers: PostgreSQL lets transactions that notify commit one after the other. Measured
with 32 clients that insert single rows: 9,073 inserts a second without, 2,986 with a notification in each (two
thirds less). Hence the throttle below: at most one notification each {throttle_ms} ms, so that nearly all
inserts send none. A job that is inserted just after another may not be announced. The same holds just after an insert
that is rolled back, because its notification counts too. The next reading, at most one interval later, finds
such a job."""


def add(commands: Commands) -> None:
    parser = commands.add(
        "queue-trigger",
        run,
        "print the SQL of a trigger that announces new jobs",
        "For tables that announce nothing by themselves. The trigger is throttled, and the SQL says what NOTIFY costs "
        "the writers. An argument that is a file, or ends in .yaml or .yml, is the policy; "
        "any other is a worker's name.",
        touches="nothing; the SQL is for you to read and to run",
        last=ENVIRONMENT,
    )
    named = parser.add_argument(
        "named", nargs="*", metavar="WORKER", help="one worker of the policy, default all; or FILE"
    )
    takes(named, "file")
    add_policy(parser, positional=False)


def run(parsed: argparse.Namespace) -> int:
    from controller.configuration import masker, read_policy

    file, worker = _file_and_worker(parsed)
    path = policy_of(parsed, file)
    policy, document = read_policy(path, os.environ)
    if worker is not None and worker not in policy.workers:
        near = meant(worker, policy.workers) or f"; there is {', '.join(policy.workers)}"
        raise ConfigurationError([Problem("WORKER", f"{worker!r} is not a worker in {path}{near}")])
    text = masker(os.environ, document).text("\n".join(triggers(policy, worker)))
    print("\n".join(wrap_sql(text, output.width())))
    return 0


def _file_and_worker(parsed: argparse.Namespace) -> tuple[Path | None, str | None]:
    """The policy's file and the worker among the arguments. With --policy, a plain name is a worker."""

    def is_file(text: str) -> bool:
        return names_a_file(text) if parsed.policy is None else text.endswith((".yaml", ".yml"))

    files = [text for text in parsed.named if is_file(text)]
    workers = [text for text in parsed.named if not is_file(text)]
    for what, found in (("FILE", files), ("WORKER", workers)):
        if len(found) > 1:
            raise ConfigurationError([Problem(what, f"is named {len(found)} times: {', '.join(found)}; name one")])
    return Path(files[0]) if files else None, workers[0] if workers else None


def triggers(policy: Policy, only: str | None = None) -> Iterator[str]:
    """For each worker whose queue announces nothing, the trigger that would; for the others, why it needs none.

    SQL, whose comments are not yet broken into lines.
    """
    from controller.adapters.postgres.trigger import THROTTLE_MS, trigger_sql

    cost = " ".join(COST.split())
    yield f"-- {cost.format(throttle_ms=THROTTLE_MS)}\n"
    channels = _channels(policy)
    printed: dict[_Key, str] = {}
    for one in _sources(policy, only):
        yield from _no_trigger(one)
        for table in _silent(one.queue):
            key = _key(table)
            yield from _about(one, table, channels[key], printed.get(key))
            if printed.setdefault(key, one.name) == one.name:
                yield trigger_sql(*key, table.identifier, channels[key])


class _Source(NamedTuple):
    """One queue of a worker. name: the worker's, or worker/queue if it has several. place: where the policy has it."""

    name: str
    place: str
    queue: QueuePolicy


def _sources(policy: Policy, only: str | None) -> Iterator[_Source]:
    for name, worker in policy.workers.items():
        if only is not None and name != only:
            continue
        for queue_name, queue in worker.each_queue.items():
            if queue_name:
                yield _Source(f"{name}/{queue_name}", f"workers.{name}.queues.{queue_name}", queue)
            else:
                yield _Source(name, f"workers.{name}.queue", queue)


def _key(table: TableName) -> _Key:
    # Without a schema, the search path says where the table is; what its trigger needs goes into public either way.
    return table.schema or "public", table.name


def _silent(queue: QueuePolicy) -> tuple[TableName, ...]:
    """The tables that jobs are inserted into, where a trigger would have to announce them."""
    from controller.adapters.postgres.places import table_names
    from controller.adapters.postgres.presets.reader import load

    if queue.preset is not None and load(queue.preset).wakes and queue.wake_on is None:
        return ()
    tables = table_names(queue)
    return tuple(table for table in tables if table.short == tables[0].short)


def _channels(policy: Policy) -> dict[_Key, str]:
    """One for each table, however many workers share it: one that somebody listens on already, where there is one."""
    from controller.policy import NAME_BYTES

    chosen: dict[_Key, str] = {}
    queues = [queue for worker in policy.workers.values() for queue in worker.each_queue.values()]
    for queue in sorted(queues, key=lambda queue: queue.wake_on is None):
        keys = [_key(table) for table in _silent(queue)]
        known = [chosen[key] for key in keys if key in chosen]
        for key in keys:
            named_after = _NO_WORD.sub("_", f"new_{keys[0][1]}".lower())[:NAME_BYTES]
            chosen.setdefault(key, queue.wake_on or next(iter(known), named_after))
    return chosen


def _no_trigger(one: _Source) -> Iterator[str]:
    from controller.adapters.postgres.presets.reader import load

    name, place, queue = one
    if queue.sql is not None:
        yield f"-- {name}: its queue is a query, which does not say into which table the jobs are inserted.\n"
    elif queue.preset is not None and not _silent(queue):
        preset = load(queue.preset)
        unheard = not queue.queues and all("{queue}" in channel for channel in preset.wakes)
        fix = f"; the controller does not listen yet: set {place}.queues" if unheard else ""
        yield f"-- {name}: {queue.preset} announces its jobs by itself ({preset.wakes_when}){fix}.\n"


def _about(one: _Source, table: TableName, channel: str, above: str | None) -> Iterator[str]:
    """Comments on the trigger that announces the worker's jobs; above: the worker for which it was already printed."""
    name, place, queue = one
    shown = table.identifier.as_string()
    if above is None:
        yield f"-- {name}: jobs are inserted into {shown} and announced on {channel}."
    else:
        yield f"-- {name}: jobs are inserted into {shown} too, and the trigger for {above} announces them on {channel}."
    if queue.wake_on is None:
        yield f"-- In the policy: {place}.wake_on: {channel}"
    elif queue.wake_on != channel:
        yield f"-- It listens on {queue.wake_on}, and a table needs one trigger, however many workers share it."
        yield f"-- In the policy: {place}.wake_on: {channel}"
    if above is not None:
        yield ""
        return
    yield "-- If the table has a trigger that notifies on this channel already, it needs no other."
    if queue.table is not None:
        yield "-- If it is a view, put the trigger onto the table behind it (after ON):"
        yield "-- an insert through a view fires no trigger of the view itself."
