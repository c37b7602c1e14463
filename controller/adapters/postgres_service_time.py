"""How long a job takes now, for a policy that aims at a wait: by the newest that a table of the user's own keeps.

It needs no index, and reads some 200 pages however large the table is: the last 100, where a table that only grows has
its newest rows, and a block sample of 100 more, since rows that were updated or put where others were deleted are
anywhere. Of what these hold, the 500 that were done last.

It keeps no state, so that a restart and another replica see the same, but for the blocks that chance gives them: what
smooths it is that it is the mean of 500 jobs. Each counts as at most the 99th percentile of them, so that a few jobs
that hung do not call for workers; its other bounds are ServiceTime's. Where fewer are done, the mean of these.
"""

from __future__ import annotations

import math

from psycopg import sql

from controller.adapters.postgres_durations import Spans, spans_of
from controller.adapters.postgres_rights import Ask, Table
from controller.model import ServiceTime

_PAGES = 100
_NEWEST = 500
_BY_PAGES_SINCE = 140000
"""Before PostgreSQL 14, a condition on ctid reads the whole table."""

_EVERYWHERE = sql.SQL("true")
_MEASURED = """
WITH done AS ({sources}),
newest AS (SELECT seconds FROM done ORDER BY ended DESC LIMIT {newest}),
figures AS (SELECT count(*) AS jobs, percentile_disc(0.5) WITHIN GROUP (ORDER BY seconds) AS median,
  percentile_disc(0.99) WITHIN GROUP (ORDER BY seconds) AS most FROM newest)
SELECT avg(least(seconds, most)), median, jobs FROM newest, figures GROUP BY median, most, jobs
"""
# Each row is in one of the two: what the sample finds in the last pages is left to the other.
_LAST_PAGES = "SELECT {ended} AS ended, {seconds} AS seconds FROM ONLY {table} WHERE ctid >= {last}::tid AND {done}"
_SAMPLE = """
SELECT {ended} AS ended, {seconds} AS seconds FROM {table} TABLESAMPLE SYSTEM ({percent}) WHERE {before} AND {done}
"""


async def measured(table: Table, ask: Ask) -> ServiceTime | None:
    """None: the table does not say it, or no job that was found has been done.

    Raises:
        psycopg.Error: it could not be asked.
    """
    spans = await spans_of(table, ask)
    if spans is None:
        return None
    has_last_pages = table.kind == "r" and spans.server >= _BY_PAGES_SINCE and spans.pages > 2 * _PAGES
    sources = _both(spans) if has_last_pages else _sample(spans, 2 * _PAGES)
    rows = await ask(sql.SQL(_MEASURED).format(sources=sources, newest=sql.Literal(_NEWEST)))
    if not rows:
        return None
    ((mean, median, jobs),) = rows
    return ServiceTime.measured(mean, median, jobs)


def _both(spans: Spans) -> sql.Composed:
    last = sql.Literal(f"({math.ceil(spans.pages) - _PAGES},0)")
    pages = sql.SQL(_LAST_PAGES).format(
        ended=spans.ended, seconds=spans.seconds, table=spans.table, last=last, done=spans.done
    )
    before = sql.SQL("ctid < {}::tid").format(last)
    return sql.SQL(" UNION ALL ").join([pages, _sample(spans, _PAGES, before)])


def _sample(spans: Spans, pages: int, before: sql.Composable = _EVERYWHERE) -> sql.Composed:
    return sql.SQL(_SAMPLE).format(
        ended=spans.ended,
        seconds=spans.seconds,
        table=spans.table,
        percent=spans.percent(pages),
        before=before,
        done=spans.done,
    )
