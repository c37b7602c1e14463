"""Finds a queue in a database: its tables, their layout, and its NOTIFY channels."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from psycopg import sql

from controller.adapters.postgres import SOURCE
from controller.adapters.postgres.columns import schemas_with
from controller.adapters.postgres.own_table import OwnTable, own_table
from controller.adapters.postgres.presets.reader import load, names
from controller.adapters.postgres.statements import Place
from controller.adapters.postgres.zones import DUE
from controller.core.ports import Unavailable
from controller.policy import Form, Preset, is_own, split_name
from controller.policy import Queue as QueuePolicy

_COLUMNS = """
SELECT t.name, n.nspname, a.attname, a.attnotnull, coalesce(nullif(y.typbasetype, 0), y.oid)
  IN ('timestamp'::regtype, 'timestamptz'::regtype) AS is_time
FROM (VALUES {tables}) AS t(name, oid) JOIN pg_class c ON c.oid = t.oid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped JOIN pg_type y ON y.oid = a.atttypid
"""
_LABELS = """
SELECT t.name, a.attname, e.enumlabel FROM (VALUES {tables}) AS t(name, oid)
JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_enum e ON e.enumtypid = a.atttypid
"""

_OF_A_JOB = re.compile(r"\bj\.([a-z_]+)")
Ask = Callable[[sql.Composed], Awaitable[Sequence[tuple[Any, ...]]]]


class Column(NamedTuple):
    is_time: bool
    never_null: bool


class Found(NamedTuple):
    """The tables that exist, by their short names: the columns of each, and its schema."""

    columns: Mapping[str, Mapping[str, Column]]
    schemas: Mapping[str, str]


class Located(NamedTuple):
    """own: how the user's table is read; None for a preset."""

    place: Place
    channels: tuple[str, ...]
    own: OwnTable | None = None

    @property
    def due_column(self) -> str:
        """The column by which a scheduled job counts shortly before it is due; "" if none tells it."""
        if self.own is not None:
            due = self.own.times.get(DUE)
            return due.name if due is not None else ""
        named = _OF_A_JOB.search(self.place.form.soon or "")
        return named[1] if named else ""


async def located(queue: QueuePolicy, ask: Ask, before: OwnTable | None = None) -> Located:
    """Finds the queue's tables. before: how the user's table was read until now.

    Raises:
        Unavailable: a table does not exist or has an unknown layout; the message says what to set.
        psycopg.Error: a query failed.
    """
    if queue.preset is not None:
        return await _preset_located(queue, load(queue.preset), ask)
    own = await own_table(queue, ask, before)
    return Located(own.place(), (), own)


class TableName(NamedTuple):
    """short: its name in a form. schema: "" to use the search path."""

    short: str
    schema: str
    name: str

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(*filter(None, (self.schema, self.name)))


def table_names(queue: QueuePolicy) -> tuple[TableName, ...]:
    """Every table of the queue, existing or not; first the one that jobs are inserted into. Empty for a query."""
    if queue.table is not None:
        return (TableName("jobs", *split_name(queue.table)),)
    if queue.preset is None:
        return ()
    preset = load(queue.preset)
    schema_name = queue.schema_name if queue.schema_name is not None else preset.schema_name
    prefix = queue.prefix if queue.prefix is not None else preset.prefix
    return tuple(
        TableName(short, schema_name, _filled(template, prefix=prefix, queue=name))
        for short, template in preset.tables.items()
        for name in (queue.queues if preset.needs_queues else ("",))
    )


async def form_of(queue: QueuePolicy, ask: Ask) -> Form | None:
    """The form that the preset's tables have; None if there are none, or they have a layout that no form knows.

    Of a preset whose queues have tables of their own, those of the first queue.

    Raises:
        psycopg.Error: a query failed.
    """
    assert queue.preset is not None, "only a preset has forms"
    preset = load(queue.preset)
    tables = {table.short: table.identifier for table in reversed(table_names(queue))}
    found = await _look_up(tables, ask)
    if any("=" in need for form in preset.forms for need in form.needs):
        found = await _with_labels(found, tables, ask)
    return next((form for form in preset.forms if form.fits(found.columns)), None)


async def _preset_located(queue: QueuePolicy, preset: Preset, ask: Ask) -> Located:
    schema = queue.schema_name if queue.schema_name is not None else preset.schema_name
    prefix = queue.prefix if queue.prefix is not None else preset.prefix
    sets: list[dict[str, sql.Identifier]] = []
    chosen: Form | None = None
    for name in queue.queues if preset.needs_queues else ("",):
        tables = {
            short: sql.Identifier(*filter(None, (schema, _filled(template, prefix=prefix, queue=name))))
            for short, template in preset.tables.items()
        }
        found = await _look_up(tables, ask)
        if any("=" in need for form in preset.forms for need in form.needs):
            found = await _with_labels(found, tables, ask)
        form = next((form for form in preset.forms if form.fits(found.columns)), None)
        if form is None:
            other = await _library_of(queue, preset, found, ask)
            if other is not None:
                table = tables[next(iter(tables))].as_string()
                words = f"{table} has the columns of {other.name}, not those of {preset.name}"
                raise Unavailable(SOURCE, f"{words}; write preset: {other.name}")
            bare = _filled(next(iter(preset.tables.values())), prefix=prefix, queue=name)
            raise Unavailable(SOURCE, await _no_form(preset, tables, bare, found, ask))
        chosen = chosen or form
        sets.append(tables)
    assert chosen is not None, "there is at least one name"
    set_by_user = queue.stale_after is not None
    if set_by_user and not chosen.can_tell_stale():
        words = f"preset {preset.name} has no time of the claim; remove queue.stale_after"
        raise Unavailable(SOURCE, words)
    place = Place(
        chosen,
        tuple(sets),
        None if preset.needs_queues else preset.queue_column,
        queue.queues,
        queue.stale_after if set_by_user else preset.stale_after,
        stale_is_set=set_by_user,
    )
    first = next(iter(preset.tables))
    return Located(place, channels(preset, found.schemas.get(first, schema), prefix, queue.queues))


def channels(preset: Preset, schema: str, prefix: str, queues: Sequence[str]) -> tuple[str, ...]:
    digest = hashlib.sha224(schema.encode()).hexdigest()[:24]
    return tuple(
        _filled(template, schema=schema, prefix=prefix, queue=queue, schema_sha224=digest)
        for template in preset.wakes
        for queue in (queues if "{queue}" in template else ("",))
    )


def _filled(template: str, **values: str) -> str:
    for name, value in values.items():
        template = template.replace(f"{{{name}}}", value)
    return template


def _values(tables: Mapping[str, sql.Identifier]) -> sql.Composed:
    return sql.SQL(", ").join(
        sql.SQL("({}, to_regclass({})::oid)").format(sql.Literal(short), sql.Literal(table.as_string()))
        for short, table in tables.items()
    )


async def _with_labels(found: Found, tables: Mapping[str, sql.Identifier], ask: Ask) -> Found:
    """Adds one column per enum value, named column=value, so that a form can require it."""
    columns = {short: dict(known) for short, known in found.columns.items()}
    for short, column, label in await ask(sql.SQL(_LABELS).format(tables=_values(tables))):
        columns[short][f"{column}={label}"] = columns[short][column]
    return Found(columns, found.schemas)


async def _look_up(tables: Mapping[str, sql.Identifier], ask: Ask) -> Found:
    columns: dict[str, dict[str, Column]] = {}
    schemas: dict[str, str] = {}
    for short, schema, column, never_null, is_time in await ask(sql.SQL(_COLUMNS).format(tables=_values(tables))):
        columns.setdefault(short, {})[column] = Column(is_time, never_null)
        schemas[short] = schema
    return Found(columns, schemas)


async def _library_of(queue: QueuePolicy, preset: Preset, found: Found, ask: Ask) -> Preset | None:
    """Another library that uses the same table names, if these tables have its columns; None if there is none."""
    if not found.columns:
        return None
    for name in names():
        other = load(name)
        if name == preset.name or set(preset.tables.values()).isdisjoint(other.tables.values()):
            continue
        tables = {table.short: table.identifier for table in table_names(queue.model_copy(update={"preset": name}))}
        columns = (await _look_up(tables, ask)).columns
        if any(form.fits(columns) for form in other.forms):
            return other
    return None


async def _no_form(preset: Preset, tables: Mapping[str, sql.Identifier], bare: str, found: Found, ask: Ask) -> str:
    short = next(iter(tables))
    if short not in found.columns:
        words = f"this user can see no table {tables[short].as_string()} of preset {preset.name}; "
        if elsewhere := await schemas_with(bare, ask):
            return f"{words}schema {' and '.join(elsewhere)} has one: set queue.schema"
        if preset.needs_queues:
            return f"{words}set queue.queues to existing names"
        fix = "has its migration run in the database of DATABASE_URL? Set other names with queue.schema and prefix"
        return words + fix
    missing = sorted({need for form in preset.forms for need in form.needs if not _there(found, need)})
    known = ", ".join(form.versions for form in preset.forms)
    lacking = f"missing: {', '.join(missing)}" if missing else "they have a column or table that the forms exclude"
    layout = f"the tables of preset {preset.name} have an unknown layout"
    if is_own(preset.name):
        return f"{layout} ({lacking}); add [[forms]] for it to the file, or change the needs of one"
    fix = f"read them with queue.sql, and report the version of {preset.library}"
    return f"{layout} ({lacking}; known versions: {known}); {fix}"


def _there(found: Found, need: str) -> bool:
    table, _, column = need.partition(".")
    return column in found.columns.get(table, {}) if column else table in found.columns
