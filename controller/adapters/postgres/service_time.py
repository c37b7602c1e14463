"""Measures the service time for a policy with target_wait: the mean of the newest finished jobs of the user's table.

It needs no index and reads about 200 pages of a table of any size: the last 100, where a table that only grows has its
newest rows, and a block sample of 100 more, because updated rows, and rows in freed space, may be anywhere. It uses the
500 jobs among them that finished last (or fewer). Of a view, which has no pages, it reads the 500 that finished last.

It keeps no state, so a restart or another replica measures the same, except for the random blocks; the mean of 500 jobs
smooths that. What a hung job counts for is limited by ServiceTime. The same rows tell how many jobs arrive a second
(the newest 500 of them) and how long each job waited, if the table has the time at which a job was created.
"""

from __future__ import annotations

import math
from dataclasses import replace

from psycopg import sql

from controller.adapters.postgres.columns import Ask
from controller.adapters.postgres.durations import names, of_a_view, pages_of, sampled
from controller.adapters.postgres.own_table import OwnTable
from controller.adapters.postgres.statuses import BY_PAGES_SINCE
from controller.core.model import Finished, ServiceTime
from controller.core.pauses import FEWEST_ARRIVALS

_PAGES = 100
_NEWEST = 500

_MEASURED = """
WITH done AS ({sources}),
newest AS (SELECT ended, seconds, ready FROM done WHERE isfinite(ended) ORDER BY ended DESC LIMIT {newest}),
arrived AS (SELECT created FROM done WHERE created <= now() AND isfinite(created) ORDER BY created DESC LIMIT {newest})
SELECT (SELECT array_agg(extract(epoch FROM ended)::float8 ORDER BY ended, seconds, ready) FROM newest),
  (SELECT array_agg(seconds::float8 ORDER BY ended, seconds, ready) FROM newest),
  (SELECT array_agg(extract(epoch FROM ready)::float8 ORDER BY ended, seconds, ready) FROM newest),
  (SELECT count(*) FROM arrived), (SELECT extract(epoch FROM now() - min(created))::float8 FROM arrived),
  extract(epoch FROM now())::float8
"""
# Each row is read by only one of the two queries: the sample skips the last pages.
_LAST_PAGES = (
    "SELECT {ended} AS ended, {seconds} AS seconds, {created} AS created, {ready} AS ready FROM ONLY {table} j "
    "WHERE j.ctid >= {last}::tid AND {done}"
)
_BEFORE = " AND j.ctid < {last}::tid"


async def measured(table: OwnTable, ask: Ask) -> ServiceTime | None:
    """The service time; None if the table has no times for it, or no finished job was found.

    Raises:
        psycopg.Error: the query failed.
    """
    if table.unmeasured():
        return None
    rows = await ask(sql.SQL(_MEASURED).format(sources=await _sources(table, ask), newest=sql.Literal(_NEWEST)))
    ((ended, seconds, ready, arrived, within_s, now),) = rows
    if ended is None:
        return None
    no_waits = table.no_waits()
    finished = [
        Finished(at, took, None if no_waits else _waited(since, at - took))
        for at, took, since in zip(ended, seconds, ready, strict=True)
    ]
    arrivals_per_s = arrived / max(within_s, 1.0) if arrived >= FEWEST_ARRIVALS else 0.0
    service = ServiceTime.measured(finished, arrivals_per_s)
    # A job that "ended" in the future (a clock, a zone) would hide all later ones from the mean over the long run.
    known = service and tuple(one for one in service.finished if one.at <= now)
    return service and replace(service, finished=known or (), no_waits=no_waits)


def _waited(since: float | None, began: float) -> tuple[float, float] | None:
    """A job that began before it could be taken (another clock, a retry) did not wait."""
    if since is None or not math.isfinite(since):
        return None
    return min(since, began), began


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
