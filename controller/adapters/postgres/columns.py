"""The columns of the user's table: their types, and the SQL that reads a time from each type."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from psycopg import sql

Ask = Callable[[sql.Composed], Awaitable[Sequence[tuple[Any, ...]]]]

UTC = "UTC"
_LAST_SECOND = 253_402_300_799
"""The last second of the year 9999, since 1970. A larger number is not a time; PostgreSQL would fail on it."""

# A domain counts as its base type. A view's columns have no defaults; those of the tables behind it are used, by name.
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
  (SELECT array_agg(l.enumlabel::text ORDER BY l.enumsortorder) FROM pg_enum l WHERE l.enumtypid = t.oid),
  has_column_privilege(c.oid, a.attnum, 'SELECT')
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
    """The types that a reading distinguishes."""

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
    """default: its expression, as PostgreSQL prints it. labels: the values of an enum. is_readable: by this user."""

    kind: Kind
    never_null: bool = False
    default: str | None = None
    labels: tuple[str, ...] = ()
    is_readable: bool = True

    @property
    def is_time(self) -> bool:
        return self.kind in {Kind.ZONED, Kind.LOCAL}

    @property
    def is_number(self) -> bool:
        return self.kind in {Kind.WHOLE, Kind.NUMBER}


class Shape(NamedTuple):
    """A table or view as the database describes it. kind: pg_class.relkind."""

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
        """Whether this server stores its rows, so that its blocks can be sampled."""
        return self.kind in {"r", "p", "m"}


async def schemas_with(table: str, ask: Ask) -> list[str]:
    """Up to 5 schemas that have a table of that name, in the search path or not."""
    return [schema for (schema,) in await ask(sql.SQL(_ELSEWHERE).format(name=sql.Literal(table)))]


async def shape_of(table: sql.Identifier, ask: Ask) -> Shape | None:
    """The table's columns; None if this user can see no such table.

    Raises:
        psycopg.Error: the query failed.
    """
    rows = await ask(sql.SQL(_COLUMNS).format(table=sql.Literal(table.as_string())))
    if not rows:
        return None
    columns: dict[str, Column] = {}
    for *_, name, never_null, is_enum, type_name, default, labels, is_readable in rows:
        kind = Kind.ENUM if is_enum else _KINDS.get(type_name, Kind.OTHER)
        columns[name] = Column(kind, never_null, default, tuple(labels or ()), is_readable)
    oid, schema, name, relkind, *_ = rows[0]
    return Shape(oid, schema, name, relkind, columns)


@dataclass(frozen=True, slots=True)
class TimeSql:
    """The SQL that reads a time of the row j.

    zones: for a timestamp without a zone, the zones that it may be in, the likeliest first; one if rows decided.
    per_second: for a number, 1 (seconds) or 1000 (milliseconds).
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
        """The time as a timestamptz; NULL for a number that is not a time."""
        return self.read_in(self.zones[0])

    @property
    def latest(self) -> sql.Composable:
        """The latest time that the value may mean."""
        if self.kind is not Kind.LOCAL or len(self.zones) == 1:
            return self.value
        return sql.SQL("greatest({})").format(sql.SQL(", ").join(map(self.read_in, self.zones)))

    def read_in(self, zone: str) -> sql.Composable:
        """The time as a timestamptz if it is written in that zone."""
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
        """The instant converted to the column's type, so that a comparison can use an index on the column."""
        before, after = self.around_instant
        return sql.Composed([before, instant, after])

    @property
    def around_instant(self) -> tuple[sql.Composable, sql.Composable]:
        """The SQL before and after an instant that converts it to the column's type."""
        if self.kind is Kind.ZONED:
            return sql.SQL(""), sql.SQL("")
        if self.kind is Kind.LOCAL:
            return sql.SQL("timezone({}, ").format(sql.Literal(self.zones[0])), sql.SQL(")")
        name, ending = ("floor", "::bigint") if self.kind is Kind.WHOLE else ("", "::float8")
        each = sql.SQL(") * {})").format(sql.Literal(self.per_second))
        return sql.SQL(f"{name}(extract(epoch FROM "), each + sql.SQL(ending)

    @property
    def is_finite(self) -> sql.Composable:
        """Whether the row's time is neither NULL nor infinity."""
        return sql.SQL("coalesce(isfinite({}), false)").format(self.value)
