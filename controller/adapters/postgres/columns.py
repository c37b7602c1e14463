"""The columns of a table of the user's own: what they hold, and how a time in one is read, whatever its type is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from psycopg import sql

Ask = Callable[[sql.Composed], Awaitable[Sequence[tuple[Any, ...]]]]

UTC = "UTC"
_LAST_SECOND = 253_402_300_799
"""Of the year 9999. A number beyond it is no time; PostgreSQL would end the query over it."""

# A domain is what it is made of. A view's columns have no defaults; those of the tables behind it are taken by name.
_COLUMNS = """
WITH RECURSIVE jobs AS (SELECT to_regclass({table})::oid AS oid),
types AS (
  SELECT DISTINCT y.oid AS named, y.oid, y.typtype, y.typbasetype FROM jobs
  JOIN pg_attribute a ON a.attrelid = jobs.oid AND a.attnum > 0 JOIN pg_type y ON y.oid = a.atttypid
  UNION ALL SELECT t.named, y.oid, y.typtype, y.typbasetype FROM types t JOIN pg_type y ON y.oid = t.typbasetype
  WHERE t.typtype = 'd'),
behind AS (
  SELECT DISTINCT d.refobjid AS oid FROM jobs JOIN pg_rewrite r ON r.ev_class = jobs.oid
  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
  WHERE d.refobjid <> jobs.oid)
SELECT c.oid, n.nspname, c.relname, c.relkind::text, a.attname, a.attnotnull, t.typtype = 'e', t.oid::regtype::text,
  coalesce(pg_get_expr(f.adbin, f.adrelid), (
    SELECT min(pg_get_expr(e.adbin, e.adrelid)) FROM behind JOIN pg_attribute b ON b.attrelid = behind.oid
    JOIN pg_attrdef e ON e.adrelid = b.attrelid AND e.adnum = b.attnum WHERE b.attname = a.attname)),
  (SELECT array_agg(l.enumlabel::text ORDER BY l.enumsortorder) FROM pg_enum l WHERE l.enumtypid = t.oid)
FROM jobs JOIN pg_class c ON c.oid = jobs.oid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN types t ON t.named = a.atttypid AND t.typtype <> 'd'
LEFT JOIN pg_attrdef f ON f.adrelid = a.attrelid AND f.adnum = a.attnum
"""

_ELSEWHERE = """
SELECT DISTINCT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = {name} AND c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY 1 LIMIT 5
"""


class Kind(StrEnum):
    """What a column holds, as far as a reading has to know."""

    ZONED = "timestamptz"
    LOCAL = "timestamp"
    WHOLE = "whole number"
    NUMBER = "number"
    ENUM = "enum"
    BOOLEAN = "boolean"
    OTHER = "other"


_KINDS = {
    "timestamp with time zone": Kind.ZONED,
    "timestamp without time zone": Kind.LOCAL,
    **dict.fromkeys(("smallint", "integer", "bigint"), Kind.WHOLE),
    **dict.fromkeys(("numeric", "real", "double precision"), Kind.NUMBER),
    "boolean": Kind.BOOLEAN,
}


class Column(NamedTuple):
    """default: its expression, as PostgreSQL prints it. labels: the values that an enum has."""

    kind: Kind
    never_null: bool = False
    default: str | None = None
    labels: tuple[str, ...] = ()

    @property
    def is_time(self) -> bool:
        return self.kind in {Kind.ZONED, Kind.LOCAL}

    @property
    def is_number(self) -> bool:
        return self.kind in {Kind.WHOLE, Kind.NUMBER}


class Shape(NamedTuple):
    """A table or a view as it is in the database. kind: pg_class.relkind."""

    oid: int
    schema: str
    name: str
    kind: str
    columns: Mapping[str, Column]

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def is_stored(self) -> bool:
        """Whether it has rows of its own in this server, so that blocks of it can be sampled."""
        return self.kind in {"r", "p", "m"}


async def schemas_with(table: str, ask: Ask) -> list[str]:
    """Where there is a table of that name, whether the search path leads there or not."""
    return [schema for (schema,) in await ask(sql.SQL(_ELSEWHERE).format(name=sql.Literal(table)))]


async def shape_of(table: sql.Identifier, ask: Ask) -> Shape | None:
    """None: there is no such table that this user can see.

    Raises:
        psycopg.Error: it could not be asked.
    """
    rows = await ask(sql.SQL(_COLUMNS).format(table=sql.Literal(table.as_string())))
    if not rows:
        return None
    columns: dict[str, Column] = {}
    for *_, name, never_null, is_enum, type_name, default, labels in rows:
        kind = Kind.ENUM if is_enum else _KINDS.get(type_name, Kind.OTHER)
        columns[name] = Column(kind, never_null, default, tuple(labels or ()))
    oid, schema, name, relkind, *_ = rows[0]
    return Shape(oid, schema, name, relkind, columns)


@dataclass(frozen=True, slots=True)
class TimeSql:
    """A time of the row j, in SQL.

    zones: of a timestamp without a zone, those that it may be written in, the likeliest first; more than one where
    nothing decides. per_second: of a number, 1 or 1000.
    """

    name: str
    kind: Kind
    zones: tuple[str, ...] = (UTC,)
    per_second: int = 1

    @property
    def raw(self) -> sql.Composed:
        return sql.SQL("j.{}").format(sql.Identifier(self.name))

    @property
    def value(self) -> sql.Composable:
        """As a timestamptz; NULL for a number that is no time."""
        return self.read_in(self.zones[0])

    @property
    def latest(self) -> sql.Composable:
        """The latest time that the value may mean."""
        if self.kind is not Kind.LOCAL or len(self.zones) == 1:
            return self.value
        return sql.SQL("greatest({})").format(sql.SQL(", ").join(map(self.read_in, self.zones)))

    def read_in(self, zone: str) -> sql.Composable:
        """As a timestamptz, if it is written in that zone."""
        if self.kind is Kind.ZONED:
            return self.raw
        if self.kind is Kind.LOCAL:
            return sql.SQL("timezone({}, {})").format(sql.Literal(zone), self.raw)
        most = sql.Literal(_LAST_SECOND * self.per_second)
        seconds = sql.SQL("{}::float8 / {}").format(self.raw, sql.Literal(self.per_second))
        return sql.SQL("CASE WHEN {} > 0 AND {} <= {} THEN to_timestamp({}) END").format(
            self.raw, self.raw, most, seconds
        )

    def at(self, instant: sql.Composable) -> sql.Composable:
        """The instant as the column would hold it, so that an index on the column can serve a comparison."""
        if self.kind is Kind.ZONED:
            return instant
        if self.kind is Kind.LOCAL:
            return sql.SQL("timezone({}, {})").format(sql.Literal(self.zones[0]), instant)
        number = sql.SQL("extract(epoch FROM {}) * {}").format(instant, sql.Literal(self.per_second))
        return sql.SQL("floor({})::bigint" if self.kind is Kind.WHOLE else "({})::float8").format(number)

    @property
    def is_finite(self) -> sql.Composable:
        """Whether the row has a time there that is neither NULL nor infinity."""
        return sql.SQL("coalesce(isfinite({}), false)").format(self.value)
