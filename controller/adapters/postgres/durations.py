"""Finished jobs of a table of the user's own: where a few of them are, for whoever measures how long they take."""

from __future__ import annotations

import math

from psycopg import sql

from controller.adapters.postgres.columns import Ask
from controller.adapters.postgres.own_table import OwnTable

_SAMPLE_PAGES = 200
_NEWEST = 500
# A partitioned table has no pages but its partitions'.
_PAGES = """
SELECT greatest(1, coalesce((SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree({table}::oid)),
  pg_relation_size({table}::oid)) / current_setting('block_size')::int)::float8,
  current_setting('server_version_num')::int
"""
_LONGEST = "SELECT percentile_disc(0.99) WITHIN GROUP (ORDER BY seconds) FROM ({rows}) AS done"
# A block sample: it reads about as many pages as it is told to, wherever they are, and needs no index.
_SAMPLE = "SELECT {ended} AS ended, {seconds} AS seconds FROM {table} j TABLESAMPLE SYSTEM ({percent}) WHERE {done}"
# A view has no pages; whether an index serves this is for the view to say.
_OF_A_VIEW = """
SELECT {ended} AS ended, {seconds} AS seconds FROM {table} j WHERE {done} ORDER BY {raw} DESC NULLS LAST LIMIT {newest}
"""


async def pages_of(table: OwnTable, ask: Ask) -> tuple[float, int]:
    """How many pages the table has, with all its partitions, and the server's version as a number.

    Raises:
        psycopg.Error: it could not be asked.
    """
    ((pages, server),) = await ask(sql.SQL(_PAGES).format(table=sql.Literal(table.shape.oid)))
    return pages, server


def sampled(table: OwnTable, pages: float, wanted: int) -> sql.Composed:
    """Rows (ended, seconds) of finished jobs, from a sample of about so many pages."""
    percent = sql.Literal(min(100.0, 100.0 * wanted / pages))
    return sql.SQL(_SAMPLE).format(**names(table), percent=percent)


def of_a_view(table: OwnTable) -> sql.Composed:
    """Rows (ended, seconds) of the jobs that finished last."""
    assert table.ended is not None, "nothing says when a job was done"
    return sql.SQL(_OF_A_VIEW).format(**names(table), raw=table.ended.raw, newest=sql.Literal(_NEWEST))


def names(table: OwnTable) -> dict[str, sql.Composable]:
    """What {words} stand for in a query of finished jobs."""
    assert table.ended is not None, "nothing says when a job was done"
    seconds, done = table.seconds()
    condition = sql.SQL("{}{}").format(done, table.where)
    return {"table": table.shape.identifier, "ended": table.ended.value, "seconds": seconds, "done": condition}


async def finished_within(table: OwnTable, ask: Ask) -> float | None:
    """So many seconds all but one in a hundred took; None where no finished job says it.

    Raises:
        psycopg.Error: it could not be asked.
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
