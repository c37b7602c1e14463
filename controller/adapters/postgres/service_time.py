"""Measures the service time for a policy with target_wait: the mean of the newest finished jobs of the user's table.

It needs no index and reads about 200 pages of a table of any size: the last 100, where a table that only grows has its
newest rows, and a block sample of 100 more, because updated rows, and rows in freed space, may be anywhere. It uses the
500 jobs among them that finished last (or fewer). Of a view, which has no pages, it reads the 500 that finished last.

It keeps no state, so a restart or another replica measures the same, except for the random blocks; the mean of 500 jobs
smooths that. Each job counts as at most the 99th percentile, so that a few hung jobs do not add workers. Further bounds
are ServiceTime's.
"""

from __future__ import annotations

import math

from psycopg import sql

from controller.adapters.postgres.columns import Ask
from controller.adapters.postgres.durations import names, of_a_view, pages_of, sampled
from controller.adapters.postgres.own_table import OwnTable
from controller.adapters.postgres.statuses import BY_PAGES_SINCE
from controller.core.model import ServiceTime

_PAGES = 100
_NEWEST = 500

_MEASURED = """
WITH done AS ({sources}),
newest AS (SELECT seconds FROM done ORDER BY ended DESC LIMIT {newest}),
figures AS (SELECT count(*) AS jobs, percentile_disc(0.5) WITHIN GROUP (ORDER BY seconds) AS median,
  percentile_disc(0.99) WITHIN GROUP (ORDER BY seconds) AS most FROM newest)
SELECT avg(least(seconds, most)), median, jobs FROM newest, figures GROUP BY median, most, jobs
"""
# Each row is read by only one of the two queries: the sample skips the last pages.
_LAST_PAGES = "SELECT {ended} AS ended, {seconds} AS seconds FROM ONLY {table} j WHERE j.ctid >= {last}::tid AND {done}"
_BEFORE = " AND j.ctid < {last}::tid"


async def measured(table: OwnTable, ask: Ask) -> ServiceTime | None:
    """The service time; None if the table has no times for it, or no finished job was found.

    Raises:
        psycopg.Error: the query failed.
    """
    if table.unmeasured():
        return None
    rows = await ask(sql.SQL(_MEASURED).format(sources=await _sources(table, ask), newest=sql.Literal(_NEWEST)))
    if not rows:
        return None
    ((mean, median, jobs),) = rows
    return ServiceTime.measured(mean, median, jobs)


async def _sources(table: OwnTable, ask: Ask) -> sql.Composed:
    if not table.shape.is_stored:
        return of_a_view(table)
    pages, server = await pages_of(table, ask)
    if table.shape.kind != "r" or server < BY_PAGES_SINCE or pages <= 2 * _PAGES:
        return sampled(table, pages, 2 * _PAGES)
    last = sql.Literal(f"({math.ceil(pages) - _PAGES},0)")
    newest = sql.SQL(_LAST_PAGES).format(**names(table), last=last)
    before = sql.SQL(_BEFORE).format(last=last)
    return sql.SQL("{} UNION ALL {}{}").format(newest, sampled(table, pages, _PAGES), before)
