"""Samples finished jobs of the user's table, to measure how long jobs take."""

from __future__ import annotations

import math

from psycopg import sql

from controller.adapters.postgres.columns import Ask
from controller.adapters.postgres.own_table import OwnTable

_SAMPLE_PAGES = 200
_NEWEST = 500
# A partitioned table has no pages of its own; its partitions have.
_PAGES = """
SELECT greatest(1, coalesce((SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree({table}::oid)),
  pg_relation_size({table}::oid)) / current_setting('block_size')::int)::float8,
  current_setting('server_version_num')::int
"""
_LONGEST = "SELECT percentile_disc(0.99) WITHIN GROUP (ORDER BY seconds) FROM ({rows}) AS done"
# A block sample reads about the given share of the pages, from anywhere in the table, and needs no index.
_SAMPLE = (
    "SELECT {ended} AS ended, {seconds} AS seconds, {created} AS created, {ready} AS ready FROM {table} j "
    "TABLESAMPLE SYSTEM ({percent}) WHERE {done}"
)
# A view has no pages to sample. Whether an index serves this ORDER BY depends on the view.
_OF_A_VIEW = """
SELECT {ended} AS ended, {seconds} AS seconds, {created} AS created, {ready} AS ready FROM {table} j WHERE {done}
ORDER BY {raw} DESC NULLS LAST LIMIT {newest}
"""


async def pages_of(table: OwnTable, ask: Ask) -> tuple[float, int]:
    """The number of pages of the table and its partitions, and the server's version as a number (140000 for 14).

    Raises:
        psycopg.Error: the query failed.
    """
    ((pages, server),) = await ask(sql.SQL(_PAGES).format(table=sql.Literal(table.shape.oid)))
    return pages, server


def sampled(table: OwnTable, pages: float, wanted: int) -> sql.Composed:
    """Rows (ended, seconds, created, ready) of finished jobs, from a sample of about `wanted` pages."""
    percent = sql.Literal(min(100.0, 100.0 * wanted / pages))
    return sql.SQL(_SAMPLE).format(**names(table), percent=percent)


def of_a_view(table: OwnTable) -> sql.Composed:
    """Rows (ended, seconds, created, ready) of the 500 jobs that finished last."""
    assert table.ended is not None, "the table has no time at which a job ended"
    return sql.SQL(_OF_A_VIEW).format(**names(table), raw=table.ended.raw, newest=sql.Literal(_NEWEST))


def names(table: OwnTable) -> dict[str, sql.Composable]:
    """The replacements for {words} in a query of finished jobs."""
    assert table.ended is not None, "the table has no time at which a job ended"
    seconds, done = table.seconds()
    condition = sql.SQL("{}{}").format(done, table.where)
    unknown = sql.SQL("NULL::timestamptz")
    created, due = (
        unknown if time is None else time.value for time in map(table.times.get, ("created_at", "scheduled_for"))
    )
    return {
        "table": table.shape.identifier,
        "ended": table.ended.value,
        "seconds": seconds,
        "created": created,
        # Since when a worker could take it: greatest() leaves out what is NULL, such as no due time.
        "ready": sql.SQL("greatest({}, {})").format(created, due),
        "done": condition,
    }


async def finished_within(table: OwnTable, ask: Ask) -> float | None:
    """The 99th percentile of the seconds that finished jobs took; None if no finished job shows it.

    Raises:
        psycopg.Error: the query failed.
    """
    if table.unmeasured():
        return None
    if table.shape.is_stored:
        pages, _ = await pages_of(table, ask)
        rows = sampled(table, pages, _SAMPLE_PAGES)
    else:
        rows = of_a_view(table)
    ((seconds,),) = await ask(sql.SQL(_LONGEST).format(rows=rows))
    return seconds if seconds is not None and math.isfinite(seconds) else None
