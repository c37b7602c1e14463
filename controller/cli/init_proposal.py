"""What `autoscaler init` proposes for a queue that was recognised, and what it says about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.cli.init_text import Draft, flow, short, worker_name
from controller.core.units import as_policy, in_words

if TYPE_CHECKING:
    from controller.adapters.postgres.proposed_table import Proposal
    from controller.adapters.postgres.queue import PostgresQueue
    from controller.adapters.postgres.recognise import Library
    from controller.core.model import ServiceTime
    from controller.policy import Queue

_TARGET_S = 60.0
_MOST_SHOWN = 8
_FIX = "name it with --table NAME or --preset NAME, or write a policy by hand (docs/queues.md)"


@dataclass(frozen=True, slots=True)
class Found:
    """draft: the policy without its service. said: what was found, a sentence each."""

    draft: Draft
    said: Sequence[str]


async def proposed(queue: PostgresQueue, *, preset: str | None, table: str | None) -> Found | str:
    """The proposal; or why there is none.

    Raises:
        psycopg.Error: PostgreSQL could not be read.
        Unavailable: the named table could not be read.
    """
    from controller.adapters.postgres.recognise import libraries

    if table is not None:
        return await _of_table(queue, table)
    found = await libraries(queue, preset)
    if found:
        besides = "" if found[0].unfinished or preset is not None else await _besides(queue, found)
        return _of_library(found, besides)
    if preset is not None:
        return f"this user can see no tables of preset {preset}; is it the database of DATABASE_URL? Or {_FIX}"
    return await _search(queue)


# --- a library ---


async def _besides(queue: PostgresQueue, found: Sequence[Library]) -> str:
    """What is said of a table with jobs, where the libraries that are there have none; "" if there is no such table."""
    from controller.adapters.postgres.recognise import asks
    from controller.adapters.postgres.recognise_table import as_policy as table_name
    from controller.adapters.postgres.recognise_table import likeliest_table

    best = (await likeliest_table(asks(queue), [name for one in found for name in one.tables])).best
    if best is None or not best.waiting:
        return ""
    return f"Table {short(table_name(best))} holds jobs, too; --table NAME takes it."


def _of_library(found: Sequence[Library], besides: str) -> Found:
    best, *rest = found
    name = best.preset.name
    said = [f"Found {_described(best)}."]
    said += [f"Found also {_described(one)}; --preset {one.preset.name} takes it." for one in rest]
    said += [besides] if besides else []
    remarks = {"preset": f"{best.preset.library}, version {best.form.versions or best.preset.versions}"}
    notes = []
    shown = ", ".join(map(short, best.queues[:_MOST_SHOWN]))
    if "queues" in best.keys:
        remarks["queues"] = "all that were found; leave out those that other workers serve"
    elif best.queues:
        each = best.preset.queue_is
        notes.append(f"queues: {flow(list(best.queues[:_MOST_SHOWN]))} # unset: all count; a list counts only its own")
        said.append(f"Its {each}s: {shown}.")
    if best.alike:
        alike = " and ".join(best.alike)
        notes.append(f"{alike} has the same tables: if you use it, write preset: {best.alike[0]}")
    if best.why:
        said.append(f"It could not be counted: {best.why}.")
    draft = Draft(
        worker_name(name), f"Jobs of {best.preset.library}, found in DATABASE_URL.", best.keys, remarks, notes
    )
    return Found(draft, said)


def _described(one: Library) -> str:
    jobs = "its jobs could not be counted" if one.unfinished is None else f"{one.unfinished} unfinished jobs"
    where = f" in schema {short(one.keys['schema'])}" if "schema" in one.keys else ""
    return f"{one.preset.library}{where} ({jobs})"


# --- a table ---


async def _search(queue: PostgresQueue) -> Found | str:
    from controller.adapters.postgres.presets.reader import names
    from controller.adapters.postgres.recognise import asks
    from controller.adapters.postgres.recognise_table import likeliest_table

    looked = await likeliest_table(asks(queue), ())
    if looked.best is not None:
        return await _of_proposal(queue, looked.best, looked.unreadable)
    shown = ", ".join(map(short, looked.unreadable[:_MOST_SHOWN]))
    denied = f"; could not read {shown}" if shown else ""
    tables = "no table" if not looked.tables else f"{looked.tables} table{'s' * (looked.tables != 1)}"
    return (
        f"no queue was found in the database of DATABASE_URL: looked for the tables of {len(names())} libraries, and "
        "for a table with a status of words such as pending and running, and a time of creation "
        f"({tables} with a status looked at){denied}; {_FIX}"
    )


async def _of_table(queue: PostgresQueue, table: str) -> Found | str:
    import psycopg
    from psycopg import sql

    from controller.adapters.postgres import SOURCE
    from controller.adapters.postgres.errors import in_words
    from controller.adapters.postgres.recognise import TIMEOUT_S, asks
    from controller.adapters.postgres.recognise_table import named_table
    from controller.core.ports import Unavailable
    from controller.policy import Queue, split_name

    schema, name = split_name(table)
    try:
        identifier = sql.Identifier(*filter(None, (schema, name)))
        proposal = await named_table(identifier, asks(queue), is_visible=not schema)
    except psycopg.Error as error:
        raise Unavailable(SOURCE, in_words(error, Queue(table=table), TIMEOUT_S)) from None
    if proposal is None:
        return (
            f"this user can see no table {table} with a column that could be a status (named status or state, an enum, "
            "or a boolean such as done); check its name, which is case-sensitive, or use queue.sql (docs/queues.md)"
        )
    if not proposal.statuses["pending"]:
        values = ", ".join(map(short, proposal.unknown[:_MOST_SHOWN])) or "no value"
        return (
            f"no value of {table}.{short(proposal.status)} plainly means waiting ({values} found); write the policy by "
            "hand, with queue.statuses (docs/queues.md)"
        )
    return await _of_proposal(queue, proposal, ())


async def _of_proposal(queue: PostgresQueue, proposal: Proposal, unreadable: Sequence[str]) -> Found:
    from controller.adapters.postgres.recognise_table import as_policy as table_name
    from controller.policy import Queue

    table = table_name(proposal)
    keys, remarks, notes = _keys(proposal, table)
    read = Queue.model_validate(keys)
    said = [f"Found table {short(table)}, whose {short(proposal.status)} is that of jobs."]
    if proposal.others:
        others = ", ".join(map(short, proposal.others[:_MOST_SHOWN]))
        said.append(f"These look like tables of jobs too: {others}; --table NAME takes one.")
    if unreadable:
        said.append(f"Could not read {', '.join(map(short, unreadable[:_MOST_SHOWN]))}.")
    if "sql" not in keys:
        keys = {**keys, **await _more_statuses(queue, read, keys)}
        read = Queue.model_validate(keys)
        notes += await _doubts(queue, read)
    service = await _service_time(queue, read)
    target, remark = _target(service)
    draft = Draft(
        worker_name(proposal.shape.name), f"Jobs of table {short(table)}, found in DATABASE_URL.", keys, remarks, notes,
        target_wait=target, wait_remark=remark,
    )  # fmt: skip
    return Found(draft, said)


def _keys(proposal: Proposal, table: str) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """The keys of the queue, remarks beside them, and notes below them."""
    from controller.adapters.postgres.recognise import COUNT_LIMIT
    from controller.adapters.postgres.recognise_table import query_of

    notes: list[str] = []
    remarks: dict[str, str] = {}
    if proposal.needs_query:
        remarks["sql"] = f"no value of {short(proposal.status)} says that a job is in progress"
        has_claim = {"started_at", "locked_at"} & proposal.times.keys()
        if not has_claim:
            notes.append("processing is 0: no column says that a job was begun, so a scale-down may hit a busy worker")
        keys: dict[str, Any] = {"sql": query_of(proposal, COUNT_LIMIT)}
    else:
        keys = {"table": table}
        columns = _columns(proposal)
        if columns:
            keys["columns"] = columns
        keys["statuses"] = {key: list(texts) for key, texts in proposal.statuses.items() if texts}
        if proposal.is_flag and "completed_at" in proposal.times:
            from psycopg import sql

            done = sql.Identifier(proposal.times["completed_at"].name).as_string()
            keys["where"] = f"{done} IS NULL"
        if not proposal.statuses["processing"]:
            keys["statuses"] = {**keys["statuses"], "processing": _guessed(proposal.statuses["pending"])}
            remarks["statuses"] = "processing: usual words; none was seen yet"
    if proposal.by_rows:
        values = ", ".join(map(short, proposal.by_rows[:_MOST_SHOWN]))
        notes.append(f"by their rows' times or the default, and not by their words: {values}; look at them once")
    if proposal.unknown:
        values = ", ".join(map(short, proposal.unknown[:_MOST_SHOWN]))
        notes.append(f"not counted, because their words do not say whether work is left: {values}")
    notes += [
        f"{short(name)} holds numbers; if it is a time, name it in columns as {{name: …, unit: s}} (or ms)"
        for name in proposal.dropped[:_MOST_SHOWN]
    ]
    if proposal.channels:
        keys["wake_on"] = proposal.channels[0]
        remarks["wake_on"] = "a trigger announces new jobs there"
    else:
        notes.append("wake_on: no trigger announces new jobs; `autoscaler queue-trigger` prints one")
    return keys, remarks, notes


def _guessed(pending: Sequence[str]) -> list[str]:
    """Words for "in progress" of which none was seen: a word that does not occur counts nothing."""
    is_upper = all(text.isupper() for text in pending)
    return [word.upper() if is_upper else word for word in ("processing", "running", "in_progress", "started")]


def _columns(proposal: Proposal) -> dict[str, Any]:
    columns: dict[str, Any] = {} if proposal.status == "status" else {"status": proposal.status}
    for key, one in proposal.times.items():
        if not one.is_usual:
            columns[key] = one.name if one.unit is None else {"name": one.name, "unit": one.unit}
    if "priority" in proposal.shape.columns:
        columns["priority"] = "priority"
    return columns


async def _more_statuses(queue: PostgresQueue, read: Queue, keys: Mapping[str, Any]) -> dict[str, Any]:
    """With the statuses that a controller's survey finds besides: by an index, or by PostgreSQL's statistics."""
    from controller.core.ports import Unavailable

    try:
        words = (await queue.survey(read)).words
    except Unavailable:
        return {}
    if words is None:
        return {}
    statuses = {key: list(texts) for key, texts in keys["statuses"].items()}
    for key, texts in (("pending", words.waiting), ("processing", words.running), ("failed", words.failed)):
        if texts:
            statuses[key] = list(dict.fromkeys([*statuses.get(key, []), *texts]))
    return {"statuses": statuses}


async def _doubts(queue: PostgresQueue, read: Queue) -> list[str]:
    """What may have to be set, with the figure for it: a zone that nothing tells, and how long a claim counts."""
    from controller.core.ports import Unavailable

    notes = []
    try:
        own = await queue.own(read)
        longest = await queue.finished_within(read)
    except Unavailable:
        return []
    if own is not None and own.zone_warning:
        notes.append(own.zone_warning)
    if own is not None and "locked_at" in own.times:
        if longest is None:
            notes.append(
                "stale_after: 1h  # longer than the longest job takes: then a killed worker's job stops counting"
            )
        else:
            value = as_policy(max(300.0, math.ceil(3 * longest / 60) * 60.0))
            took = f"99 of 100 jobs took at most {in_words(longest)}"
            notes.append(f"stale_after: {value}  # a killed worker's job stops counting then; {took}")
    return notes


async def _service_time(queue: PostgresQueue, read: Queue) -> ServiceTime | None:
    from controller.core.ports import NotMeasurable, Unavailable

    try:
        return await queue.service_time(read)
    except (Unavailable, NotMeasurable):
        return None


def _target(service: ServiceTime | None) -> tuple[str | None, str]:
    """target_wait where the time per job is known, and what it was chosen by."""
    if service is None:
        return None, ""
    target = max(_TARGET_S, math.ceil(service.mean_s / 60) * 60.0)
    newest = f"the newest {service.jobs} jobs" if service.jobs > 1 else "the only finished job"
    return as_policy(target), f"the longest that a job should wait; one takes {in_words(service.mean_s)} by {newest}"
