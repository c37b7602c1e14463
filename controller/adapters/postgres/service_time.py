"""How long a job takes now, for a policy that aims at a wait: by the newest that a table of the user's own keeps.

It needs no index, and reads some 200 pages however large the table is: the last 100, where a table that only grows has
its newest rows, and a block sample of 100 more, since rows that were updated or put where others were deleted are
anywhere. Of what these hold, the 500 that were done last. A view has no pages: there it is the newest 500 by their end.

It keeps no state, so that a restart and another replica see the same, but for the blocks that chance gives them: what
smooths it is that it is the mean of 500 jobs. Each counts as at most the 99th percentile of them, so that a few jobs
that hung do not call for workers; its other bounds are ServiceTime's. Where fewer are done, the mean of these.
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
# Each row is in one of the two: what the sample finds in the last pages is left to the other.
_LAST_PAGES = "SELECT {ended} AS ended, {seconds} AS seconds FROM ONLY {table} j WHERE j.ctid >= {last}::tid AND {done}"
_BEFORE = " AND j.ctid < {last}::tid"


async def measured(table: OwnTable, ask: Ask) -> ServiceTime | None:
    """None: the table does not say it, or no job that was found has been done.

    Raises:
        psycopg.Error: it could not be asked.
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
