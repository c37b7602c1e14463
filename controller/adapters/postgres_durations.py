"""How long jobs take, for doctor: by a sample of those that a table of the user's own keeps when they are done."""

from __future__ import annotations

import math
from typing import NamedTuple

from psycopg import sql

from controller.adapters.postgres_rights import Ask, Table

_SAMPLE_PAGES = 200
# The times that requirements and habit name.
_SPANS = """
SELECT a.attname FROM pg_attribute a
WHERE a.attrelid = {table}::oid AND NOT a.attisdropped AND a.attname IN ('started_at', 'completed_at', 'finished_at')
  AND a.atttypid IN ('timestamp'::regtype, 'timestamptz'::regtype)
"""
# A partitioned table has no pages but its partitions'.
_PAGES = """
SELECT greatest(1, coalesce((SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree({table}::oid)),
  pg_relation_size({table}::oid)) / current_setting('block_size')::int)::float8,
  current_setting('server_version_num')::int
"""
# A block sample: it reads some 200 pages, wherever they are, and needs no index.
_DURATIONS = """
SELECT percentile_disc(0.99) WITHIN GROUP (ORDER BY {seconds}) FROM {table} TABLESAMPLE SYSTEM ({percent}) WHERE {done}
"""


class Spans(NamedTuple):
    """Where a table says from when to when a job was worked on. pages: how many it has, with all its partitions.

    seconds, done: SQL of one row: how long it took, and whether that is a time, which infinity does not have.
    """

    table: sql.Identifier
    ended: sql.Identifier
    seconds: sql.Composed
    done: sql.Composed
    pages: float
    server: int

    def percent(self, pages: int) -> sql.Literal:
        """Of a block sample that reads about so many pages."""
        return sql.Literal(min(100.0, 100.0 * pages / self.pages))


async def spans_of(table: Table, ask: Ask) -> Spans | None:
    """None: the table does not say when a job was started and when it was done.

    Raises:
        psycopg.Error: it could not be asked.
    """
    oid = sql.Literal(table.oid)
    columns = {row[0] for row in await ask(sql.SQL(_SPANS).format(table=oid))} if table.is_stored else set()
    end = next((name for name in ("completed_at", "finished_at") if name in columns), None)
    if end is None or "started_at" not in columns:
        return None
    ((pages, server),) = await ask(sql.SQL(_PAGES).format(table=oid))
    ended, began = sql.Identifier(end), sql.Identifier("started_at")
    seconds = sql.SQL("extract(epoch FROM {} - {})::float8").format(ended, began)
    done = sql.SQL("CASE WHEN isfinite({0}) AND isfinite({1}) THEN {0} > {1} END").format(ended, began)
    return Spans(sql.Identifier(table.schema, table.name), ended, seconds, done, pages, server)


async def finished_within(table: Table, ask: Ask) -> float | None:
    """So many seconds all but one in a hundred took; None where nobody can tell.

    Raises:
        psycopg.Error: it could not be asked.
    """
    spans = await spans_of(table, ask)
    if spans is None:
        return None
    statement = sql.SQL(_DURATIONS).format(
        seconds=spans.seconds, table=spans.table, percent=spans.percent(_SAMPLE_PAGES), done=spans.done
    )
    ((seconds,),) = await ask(statement)
    return seconds if seconds is not None and math.isfinite(seconds) else None
