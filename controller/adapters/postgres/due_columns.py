"""Finds columns that may say when a job is due, where the policy names none and the table has none of a usual name.

Without a due time, jobs for later count as pending. A column is suspected if jobs that count as pending hold times in
the future there, and jobs that were worked on do not: a worker takes no job before it is due. A time at which a row
expires is in the future in both, and its name often says so.

It reads few pages: a small table whole, of a large one a sample of blocks and, by an index, some pending jobs.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from psycopg import errors, sql

from controller.adapters.postgres.columns import UTC, Ask, Kind, Shape, TimeSql
from controller.adapters.postgres.own_table import OwnTable
from controller.adapters.postgres.statuses import one_of, size_of, sources, written
from controller.adapters.postgres.zones import DUE, candidates
from controller.policy import Columns, TimeColumn

_ENDS = re.compile(r"expir|deadline|ttl|purg|delet|timeout|retain|retention|archiv|keep|lease|lock", re.IGNORECASE)
"""Names of times at which something ends; none of them is a due time."""
_NUMBERS = re.compile(
    r"due|run|sched|avail|visib|after|before|next|eta|exec|perform|start|begin|retry|delay|at$", re.IGNORECASE
)
"""Names of columns of numbers that may be times; another number may lie in the same range by chance."""
_MOST_COLUMNS = 20
_MOST_ROWS = 50_000
_MOST_PENDING = 1000
"""Rows read by the index on the status; a cycle reads about as many."""
_CLOCK_SKEW_S = 300
_YEARS = 10
"""A number that would be a time further in the future is none."""
_CONTRADICTED = 0.1
"""With this share of times in the future among the jobs that were worked on, a column holds no due times."""

_MAY_READ = """
SELECT a.attname FROM pg_attribute a WHERE a.attrelid = {table}::oid AND a.attnum > 0 AND NOT a.attisdropped
AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')
"""
_COUNTS = """
SELECT {counts} FROM (SELECT {named} AS is_pending, NOT {open} AND j.value IS NOT NULL AS was_taken, {columns}
  FROM (SELECT j.{status} AS value, {raw} FROM {rows} LIMIT {limit}) AS j) AS j
"""


class DueColumn(NamedTuple):
    """A column that may say when a job is due. unit: of a column of numbers: s or ms. jobs: pending jobs for later.

    jobs is a lower bound if is_sampled.
    """

    name: str
    unit: str | None
    jobs: int
    is_sampled: bool = False

    @property
    def as_policy(self) -> str:
        return _as_policy(self.name, self.unit)


def warning(found: Sequence[DueColumn], own: OwnTable) -> str:
    """`3 jobs of table jobs count as pending although their run_after lies in the future; …`; "" without a column."""
    if not found:
        return ""
    first, *others = found
    jobs = "1 job" if first.jobs == 1 else f"{first.jobs} jobs"
    count, its = ("counts", "its") if first.jobs == 1 else ("count", "their")
    columns = ", ".join((*_columns_of(own.queue.columns), f"{DUE}: {first.as_policy}"))
    or_one = f" (or {', '.join(one.as_policy for one in others)}, which is also in the future)" if others else ""
    least = "at least " if first.is_sampled else ""
    return (
        f"{least}{jobs} of table {own.queue.table} {count} as pending although {its} {written(first.name)} lies in the "
        f"future; if workers wait for that time, write columns: {{{columns}}}{or_one}"
    )


def _columns_of(columns: Columns) -> Iterator[str]:
    """The columns that the policy names, as it writes them."""
    for key in type(columns).model_fields:
        named: str | TimeColumn | None = getattr(columns, key)
        if key in columns.model_fields_set and named is not None:
            yield f"{key}: {_as_policy(named) if isinstance(named, str) else _as_policy(named.name, named.unit)}"


def _as_policy(name: str, unit: str | None = None) -> str:
    return written(name) if unit is None else f"{{name: {written(name)}, unit: {unit}}}"


async def due_columns(own: OwnTable, ask: Ask) -> tuple[DueColumn, ...]:
    """The suspected columns, the one with most jobs first; none if the table has a due time already.

    Columns that this user may not read are left out. A statement that takes too long finds nothing.

    Raises:
        psycopg.Error: a statement failed in another way.
    """
    if DUE in own.times:
        return ()
    found: dict[tuple[str, TimeSql], _Later] = {}
    is_sampled = False
    with contextlib.suppress(errors.QueryCanceled, errors.InsufficientPrivilege):
        times = [(name, time) for name, every in (await _unused(own, ask)).items() for time in every]
        if not times:
            return ()
        for rows in await _rows(own, ask):
            is_sampled = is_sampled or rows.is_sampled
            for key, later in zip(times, await _counted(own, times, rows, ask), strict=True):
                found[key] = found.get(key, _Later()).with_more(later)
    columns = [
        DueColumn(name, _unit(time), later.pending, is_sampled)
        for (name, time), later in found.items()
        if later.may_be_due
    ]
    return tuple(sorted(columns, key=lambda one: -one.jobs))


class _Later(NamedTuple):
    """Jobs whose time is in the future: pending, and taken by a worker; and all that were taken."""

    pending: int = 0
    taken_later: int = 0
    taken: int = 0

    def with_more(self, other: _Later) -> _Later:
        """With those of another sample, which may hold the same pending jobs."""
        taken = self.taken_later + other.taken_later, self.taken + other.taken
        return _Later(max(self.pending, other.pending), *taken)

    @property
    def may_be_due(self) -> bool:
        return self.pending > 0 and self.taken_later <= _CONTRADICTED * self.taken


class _Rows(NamedTuple):
    """source: the SQL after FROM. limit: rows at most. is_sampled: whether they are only a part of the table."""

    source: sql.Composed
    limit: int
    is_sampled: bool


async def _unused(own: OwnTable, ask: Ask) -> dict[str, list[TimeSql]]:
    """By name, the columns that may hold due times; of numbers, one reading for each unit."""
    taken = {time.name for time in own.times.values()}
    free = [
        name
        for name, column in own.shape.columns.items()
        if name not in taken
        and name not in {own.status, "value"}  # the statement itself has a column value
        and not _ENDS.search(name)
        and (column.is_time or (column.is_number and _NUMBERS.search(name)))
    ]
    if not free:
        return {}
    may_read = {name for (name,) in await ask(sql.SQL(_MAY_READ).format(table=sql.Literal(own.shape.oid)))}
    free = [name for name in free if name in may_read][:_MOST_COLUMNS]
    zones: tuple[str, ...] = (own.queue.timezone or UTC,)
    if own.queue.timezone is None and any(own.shape.columns[name].kind is Kind.LOCAL for name in free):
        zones = (await candidates(own.shape, ask)).zones
    return {name: _readings(own.shape, name, zones) for name in free}


def _readings(shape: Shape, name: str, zones: tuple[str, ...]) -> list[TimeSql]:
    kind = shape.columns[name].kind
    if shape.columns[name].is_number:
        return [TimeSql(name, kind, per_second=per_second) for per_second in (1, 1000)]
    return [TimeSql(name, kind, zones)]


async def _rows(own: OwnTable, ask: Ask) -> list[_Rows]:
    """What to read. Of pending jobs, a cycle reads about as many, and as quickly."""
    table, status = own.shape.identifier, sql.Identifier(own.status)
    named = sql.SQL(", ").join(map(sql.Literal, own.queue.statuses.pending))
    pending = sql.SQL("{} j WHERE j.{} IN ({}){}").format(table, status, named, own.where)
    some = _Rows(pending, _MOST_PENDING, is_sampled=True)
    if not own.shape.is_stored:
        every = sql.SQL("{} j WHERE true{}").format(table, own.where)
        return [_Rows(every, _MOST_PENDING, is_sampled=True), some]
    size = await size_of(own.shape, own.status, ask)
    rows = [
        _Rows(sql.SQL("{}{}").format(one, own.where), _MOST_ROWS, not size.is_small) for one in sources(own.shape, size)
    ]
    return [*rows, some] if size.has_index and not size.is_small else rows


async def _counted(own: OwnTable, times: Sequence[tuple[str, TimeSql]], rows: _Rows, ask: Ask) -> list[_Later]:
    """The counts of each time."""
    statuses = own.queue.statuses
    later = sql.SQL(", ").join(
        sql.SQL("coalesce({}, false) AS later_{}").format(_is_later(time), sql.SQL(str(index)))
        for index, (_, time) in enumerate(times)
    )
    counts = sql.SQL(", ").join(
        sql.SQL(
            "count(*) FILTER (WHERE is_pending AND later_{n}), count(*) FILTER (WHERE was_taken AND later_{n}), "
            "count(*) FILTER (WHERE was_taken)"
        ).format(n=sql.SQL(str(index)))
        for index, _ in enumerate(times)
    )
    statement = sql.SQL(_COUNTS).format(
        counts=counts,
        named=one_of(statuses.pending, own.shape, own.status),
        # A job that failed for good may keep the time of its next attempt.
        open=one_of((*statuses.pending, *statuses.failed), own.shape, own.status),
        columns=later,
        status=sql.Identifier(own.status),
        raw=sql.SQL(", ").join(sql.SQL("j.{}").format(sql.Identifier(name)) for name in dict(times)),
        rows=rows.source,
        limit=sql.Literal(rows.limit),
    )
    (answer,) = await ask(statement)
    return [_Later(*answer[3 * index : 3 * index + 3]) for index, _ in enumerate(times)]


def _unit(time: TimeSql) -> str | None:
    if time.kind in {Kind.ZONED, Kind.LOCAL}:
        return None
    return "s" if time.per_second == 1 else "ms"


def _is_later(time: TimeSql) -> sql.Composed:
    """Whether the row's time is in the future, whatever its zone is."""
    least = sql.SQL("least({})").format(sql.SQL(", ").join(map(time.read_in, time.zones)))
    later = sql.SQL("{} > now() + make_interval(secs => {})").format(least, sql.Literal(_CLOCK_SKEW_S))
    if time.kind in {Kind.ZONED, Kind.LOCAL}:
        return later
    return sql.SQL("{} AND {} < now() + make_interval(years => {})").format(later, least, sql.Literal(_YEARS))
