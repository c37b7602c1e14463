"""Finds a table of the user's that holds jobs: reads the catalogue, and of the likeliest tables a few pages.

At most 200 tables are looked at by the names of their columns, and of the 12 likeliest a bounded sample is read, as the
survey of a running controller does. proposed_table.py judges what was read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import psycopg
from psycopg import sql

from controller.adapters.postgres.columns import Ask, Kind, Shape, shape_of
from controller.adapters.postgres.proposed_table import (
    FLAG_WORDS,
    JOB_WORDS,
    MOST_VALUES,
    STATUS_WORDS,
    Proposal,
    Seen,
    TimeKey,
    is_likely,
    judged,
    number_columns,
    status_columns,
    time_columns,
)
from controller.adapters.postgres.recognise import MOST_TABLES
from controller.adapters.postgres.statuses import size_of, sources

_MOST_SAMPLED = 12
_MOST_ROWS = 20_000
_FEW_ROWS = 1000
_CLOSE_POINTS = 3
"""A table that is so close behind is worth telling."""
_YEAR_S = 365.25 * 24 * 3600

_TABLES = """
SELECT n.nspname, c.relname, pg_table_is_visible(c.oid), has_schema_privilege(n.oid, 'USAGE')
  AND has_any_column_privilege(c.oid, 'SELECT'),
  (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    AND a.attname ~* '(_at|_for|At|attempts|retries|locked_by|worker|priority|payload|args)$')::int
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND EXISTS (SELECT FROM pg_attribute a JOIN pg_type y ON y.oid = a.atttypid
    WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
    AND (a.attname ~* {status} OR y.typtype = 'e' OR (y.oid = 'bool'::regtype AND a.attname ~* {flag})))
ORDER BY c.relname ~* {job} DESC, 5 DESC, c.reltuples DESC, 1, 2 LIMIT {most}
"""
_SEEN = """
SELECT j.value::text, count(*), count(*) FILTER (WHERE j.began), count(*) FILTER (WHERE j.ended)
FROM (SELECT j.{status} AS value, {began} AS began, {ended} AS ended FROM {rows} LIMIT {limit}) AS j
WHERE j.value IS NOT NULL GROUP BY j.value ORDER BY 2 DESC, 1 LIMIT {most}
"""
_CHECKS = """
SELECT pg_get_constraintdef(k.oid) FROM pg_constraint k WHERE k.conrelid = {table}::oid AND k.contype = 'c'
AND k.conkey = ARRAY[(SELECT attnum FROM pg_attribute WHERE attrelid = {table}::oid AND attname = {column})] LIMIT 10
"""
_TRIGGERS = """
SELECT left(p.prosrc, 20000), encode(t.tgargs, 'escape') FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
WHERE t.tgrelid = {table}::oid AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 4 > 0
AND p.prosrc ILIKE '%notify%' LIMIT 10
"""
_CHANNEL = re.compile(r"pg_notify\s*\(\s*'((?:[^']|'')+)'|\bNOTIFY\s+(?:\"((?:[^\"]|\"\")+)\"|(\w+))", re.IGNORECASE)
_BY_ARGUMENT = re.compile(r"pg_notify\s*\(\s*TG_ARGV\s*\[\s*0\s*\]", re.IGNORECASE)


class Looked(NamedTuple):
    """best: the likeliest table; None if none holds jobs. tables: how many were looked at.

    unreadable: names of tables that could hold jobs and could not be read, each with what would help.
    """

    best: Proposal | None
    tables: int
    unreadable: tuple[str, ...] = ()


async def likeliest_table(ask: Ask, libraries: Collection[str]) -> Looked:
    """The table that most likely holds jobs. libraries: patterns of names of tables that belong to a library.

    Raises:
        psycopg.Error: the catalogue could not be read.
    """
    words = {"status": rf"(^|_)({STATUS_WORDS})$|(Status|State)$", "flag": FLAG_WORDS, "job": JOB_WORDS}
    statement = sql.SQL(_TABLES).format(
        **{key: sql.Literal(text) for key, text in words.items()}, most=sql.Literal(MOST_TABLES)
    )
    rows = [row for row in await ask(statement) if not any(re.fullmatch(one, row[1]) for one in libraries)]
    closed = [row for row in rows if not row[3] and re.search(JOB_WORDS, row[1], re.IGNORECASE)]
    unreadable = [f"{shown(schema, name)} (GRANT SELECT)" for schema, name, *_ in closed]
    found: list[Proposal] = []
    for schema, name, is_visible, *_ in [row for row in rows if row[3]][:_MOST_SAMPLED]:
        try:
            found += [one async for one in _proposals(sql.Identifier(schema, name), ask, is_visible=is_visible)]
        except (psycopg.OperationalError, psycopg.errors.InsufficientPrivilege) as error:
            unreadable.append(f"{shown(schema, name)} ({_help(error)})")
    likely = sorted(filter(is_likely, found), key=lambda one: (one.points, one.waiting), reverse=True)
    if not likely:
        return Looked(None, len(rows), tuple(unreadable))
    best, *rest = likely
    close = (one for one in rest if one.points >= best.points - _CLOSE_POINTS and one.shape.oid != best.shape.oid)
    others = tuple(dict.fromkeys(shown(one.shape.schema, one.shape.name) for one in close))
    return Looked(await _announced(replace(best, others=others), ask), len(rows), tuple(unreadable))


def _help(error: psycopg.Error) -> str:
    if not isinstance(error, psycopg.errors.InsufficientPrivilege):
        return "locked, or too slow to read"
    return "row security; ALTER ROLE … BYPASSRLS" if "row-level security" in str(error) else "GRANT SELECT"


async def named_table(name: sql.Identifier, ask: Ask, *, is_visible: bool) -> Proposal | None:
    """How the table or view that a person names would be read; None if there is none, or no column is a status.

    Raises:
        psycopg.Error: it could not be read.
    """
    found = [one async for one in _proposals(name, ask, is_visible=is_visible)]
    found.sort(key=lambda one: (bool(one.statuses["pending"]), one.points), reverse=True)
    return await _announced(found[0], ask) if found else None


async def _proposals(name: sql.Identifier, ask: Ask, *, is_visible: bool) -> Any:
    """One for each column that may be the status and whose values are few."""
    shape = await shape_of(name, ask)
    if shape is None or not (shape.schema + shape.name).isprintable():
        return  # no policy could name it
    numbers = number_columns(shape)
    units = await _units(shape, numbers, ask) if numbers else {}
    times = time_columns(shape, units)
    dropped = tuple(name for name in numbers if name not in units)
    for status in status_columns(shape)[:3]:
        seen = await _seen(shape, status, times, ask)
        if len(seen) > MOST_VALUES:
            continue
        parts = {"table": sql.Literal(shape.oid), "column": sql.Literal(status)}
        checks = [text for (text,) in await ask(sql.SQL(_CHECKS).format(**parts))]
        proposal = judged(shape, status, seen, checks, times, is_visible=is_visible)
        yield replace(proposal, dropped=dropped)


async def _seen(shape: Shape, status: str, times: Mapping[str, TimeKey], ask: Ask) -> list[Seen]:
    def is_set(*keys: str) -> sql.Composable:
        names = [times[key].name for key in keys if key in times]
        parts = [sql.SQL("j.{} IS NOT NULL").format(sql.Identifier(name)) for name in names]
        return sql.SQL(" OR ").join(parts) if parts else sql.SQL("false")

    parts = {
        "status": sql.Identifier(status),
        "began": is_set("started_at", "locked_at"),
        "ended": is_set("completed_at"),
        "most": sql.Literal(MOST_VALUES + 1),
    }
    counts: dict[str, Seen] = {}
    for rows, limit in await _rows(shape, status, ask):
        for text, *numbers in await ask(sql.SQL(_SEEN).format(**parts, rows=rows, limit=sql.Literal(limit))):
            before = counts.get(text, Seen(text))
            counts[text] = Seen(text, *(a + b for a, b in zip(before[1:], numbers, strict=True)))
    return list(counts.values())


async def _rows(shape: Shape, status: str, ask: Ask) -> Sequence[tuple[sql.Composable, int]]:
    """Where to read rows, as SQL after FROM with the rows aliased j, each with how many are read."""
    if not shape.is_stored:
        return [(sql.SQL("{} j").format(shape.identifier), _FEW_ROWS)]
    return [(rows, _MOST_ROWS) for rows in sources(shape, await size_of(shape, status, ask))]


async def _units(shape: Shape, names: Sequence[str], ask: Ask) -> dict[str, str]:
    """The unit in which each column of numbers holds times since 1970, by the rows; no entry if none shows one."""
    largest = sql.SQL(", ").join(sql.SQL("max(j.{})::float8").format(sql.Identifier(name)) for name in names)
    rows = sql.SQL("SELECT {columns} FROM {table} j LIMIT {few}").format(
        columns=sql.SQL(", ").join(map(sql.Identifier, names)), table=shape.identifier, few=sql.Literal(_FEW_ROWS)
    )
    ((*values,),) = await ask(sql.SQL("SELECT {} FROM ({}) AS j").format(largest, rows))
    units: dict[str, str] = {}
    for name, value in zip(names, values, strict=True):
        for unit, per_second in (("s", 1), ("ms", 1000)):
            # A number of this century in one unit is none in the other.
            if value is not None and 20 * _YEAR_S <= value / per_second <= 130 * _YEAR_S:
                units[name] = unit
    return units


async def _announced(proposal: Proposal, ask: Ask) -> Proposal:
    """With the channels on which a trigger of the table notifies."""
    return replace(proposal, channels=await announced_on(proposal.shape.oid, ask))


async def announced_on(oid: int, ask: Ask) -> tuple[str, ...]:
    """The channels on which a trigger of the table notifies of new rows. Raises psycopg.Error."""
    rows = await ask(sql.SQL(_TRIGGERS).format(table=sql.Literal(oid)))
    return tuple(dict.fromkeys(name for row in rows for name in _channels(*row)))


def _channels(source: str, arguments: str) -> Iterator[str]:
    for literal, quoted, plain in _CHANNEL.findall(source):
        yield literal.replace("''", "'") or quoted.replace('""', '"') or plain.lower()
    first = arguments.split("\\000", 1)[0]
    if _BY_ARGUMENT.search(source) and first:
        yield first


def shown(schema: str, name: str) -> str:
    """A table's name for people, and for a policy: quoted where it must be."""
    return ".".join(_written(part) for part in (schema, name))


def _written(name: str) -> str:
    is_plain = not re.search(r'[".]', name)
    return name if is_plain else '"' + name.replace('"', '""') + '"'


def as_policy(proposal: Proposal) -> str:
    """The table's name in a policy: with its schema where the search path does not find it."""
    shape = proposal.shape
    return _written(shape.name) if proposal.is_visible else shown(shape.schema, shape.name)


def query_of(proposal: Proposal, limit: int) -> str:
    """The SQL that counts jobs in progress by the time of their claim, as no status of theirs says it."""
    claim = proposal.times.get("started_at") or proposal.times.get("locked_at")
    due, done = proposal.times.get("scheduled_for"), proposal.times.get("completed_at")
    status = sql.SQL("j.{}").format(sql.Identifier(proposal.status))
    values = sql.SQL(", ").join(map(sql.Literal, proposal.statuses["pending"]))
    is_flag = proposal.kind is Kind.BOOLEAN
    open_ = sql.SQL("NOT {}").format(status) if is_flag else sql.SQL("{} IN ({})").format(status, values)
    conditions = [open_]
    if done is not None:
        conditions.append(sql.SQL("j.{} IS NULL").format(sql.Identifier(done.name)))
    if due is not None and due.unit is None:
        name = sql.Identifier(due.name)
        is_local = proposal.shape.columns[due.name].kind is Kind.LOCAL
        now = sql.SQL("timezone('UTC', now())") if is_local else sql.SQL("now()")
        conditions.append(sql.SQL("(j.{} IS NULL OR j.{} <= {})").format(name, name, now))
    taken = sql.SQL("false") if claim is None else sql.SQL("j.{} IS NOT NULL").format(sql.Identifier(claim.name))
    table = proposal.shape.identifier
    return (
        sql.SQL(
            "SELECT count(*) FILTER (WHERE NOT taken) AS pending, count(*) FILTER (WHERE taken) AS processing\n"
            "FROM (SELECT {taken} AS taken FROM {table} AS j\n"
            "  WHERE {where} LIMIT {limit}) AS counted"
        )
        .format(taken=taken, table=table, where=sql.SQL(" AND ").join(conditions), limit=sql.Literal(limit))
        .as_string()
    )
