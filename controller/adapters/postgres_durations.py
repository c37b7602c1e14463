"""How long jobs take, for doctor: by a sample of those that a table of the user's own keeps when they are done."""

from __future__ import annotations

import math

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
  pg_relation_size({table}::oid)) / 8192)::float8
"""
# A block sample: it reads some 200 pages, wherever they are, and needs no index. Infinity has no difference.
_DURATIONS = """
SELECT percentile_disc(0.99) WITHIN GROUP (ORDER BY extract(epoch FROM {ended} - {began})::float8)
FROM {table} TABLESAMPLE SYSTEM ({percent})
WHERE CASE WHEN isfinite({ended}) AND isfinite({began}) THEN {ended} > {began} END
"""


async def finished_within(table: Table, ask: Ask) -> float | None:
    """So many seconds all but one in a hundred took; None where nobody can tell.

    Raises:
        psycopg.Error: it could not be asked.
    """
    oid = sql.Literal(table.oid)
    columns = {row[0] for row in await ask(sql.SQL(_SPANS).format(table=oid))} if table.is_stored else set()
    ended = next((name for name in ("completed_at", "finished_at") if name in columns), None)
    if ended is None or "started_at" not in columns:
        return None
    ((pages,),) = await ask(sql.SQL(_PAGES).format(table=oid))
    statement = sql.SQL(_DURATIONS).format(
        ended=sql.Identifier(ended),
        began=sql.Identifier("started_at"),
        table=sql.Identifier(table.schema, table.name),
        percent=sql.Literal(min(100.0, 100.0 * _SAMPLE_PAGES / pages)),
    )
    ((seconds,),) = await ask(statement)
    return seconds if seconds is not None and math.isfinite(seconds) else None
