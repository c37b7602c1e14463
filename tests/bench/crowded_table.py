"""The queue of the shipped policy in a table where millions of jobs are done, and what befalls such a table."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg

from controller.demo.jobs import create_queue

_STEPS = 10
_PROCESSING = 50
_FINISHED: LiteralString = """
INSERT INTO generation_job (client_id, flow_id, type, payload, status, progress, result, attempts, scheduled_for,
    locked_by, locked_at, priority, created_at, started_at, completed_at)
SELECT 'client-' || mod(n, 500), 'flow-' || mod(n, 10000), 'image',
    '{"prompt": "a lighthouse in the rain", "width": 1024, "height": 1024}',
    CASE WHEN mod(n, 20) = 0 THEN 'failed' ELSE 'completed' END, 100, '{"file": "lighthouse.png"}', 1,
    at, 'worker-' || mod(n, 5), at, mod(n, 3), at, at, at
FROM (SELECT n, now() - make_interval(secs => 86400 + %(rows)s - n) AS at
    FROM generate_series(%(first)s::int, %(last)s::int) AS n) AS each
"""
_PENDING: LiteralString = """
INSERT INTO generation_job (client_id, flow_id, type, payload, priority, created_at, scheduled_for)
SELECT 'client-' || mod(n, 500), 'flow-' || mod(n, 10000), 'image',
    '{"prompt": "a lighthouse in the rain", "width": 1024, "height": 1024}', mod(n, 3), at, at
FROM (SELECT n, now() - make_interval(secs => (%(count)s - n) * 0.001) AS at
    FROM generate_series(1, %(count)s::int) AS n) AS each
"""
_CLAIM: LiteralString = """
UPDATE generation_job SET status = 'processing', locked_by = 'worker-1', locked_at = now(), started_at = now(),
    attempts = attempts + 1
WHERE id IN (SELECT id FROM generation_job WHERE status = 'pending' LIMIT %s FOR UPDATE SKIP LOCKED)
"""
_COMPLETE: LiteralString = """
UPDATE generation_job SET status = 'completed', progress = 100, completed_at = now(), result = '{"file": "done.png"}'
WHERE status = 'processing' AND locked_by = 'worker-1'
"""

Connection = psycopg.Connection[Any]
Say = Callable[[str], None]


def build(database_url: str, connection: Connection, rows: int, say: Say) -> None:
    """`count` finished jobs, and a few in progress; autovacuum is off."""
    asyncio.run(_create(database_url))
    # These must not wake a controller, and autovacuum might run in the middle of a measurement.
    connection.execute("ALTER TABLE generation_job DISABLE TRIGGER USER")
    connection.execute("ALTER TABLE generation_job SET (autovacuum_enabled = off)")
    connection.execute("SET maintenance_work_mem = '512MB'")
    with _indexed_afterwards(connection, say), connection.transaction():
        connection.execute("TRUNCATE generation_job")  # in the same transaction, so that nothing goes into the WAL
        for first, last in _slices(rows):
            connection.execute(_FINISHED, {"rows": rows, "first": first, "last": last})
            say(f"{last:,} of {rows:,} finished jobs")
    add_pending(connection, _PROCESSING)
    connection.execute(
        "UPDATE generation_job SET status = 'processing', locked_by = 'worker-0', locked_at = now() "
        "WHERE status = 'pending'"
    )


async def _create(database_url: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await create_queue(connection)


@contextmanager
def _indexed_afterwards(connection: Connection, say: Say) -> Iterator[None]:
    """An index is built in a fraction of the time that it takes to keep it up to date."""
    listed = connection.execute(
        "SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index "
        "WHERE indrelid = 'generation_job'::regclass AND NOT indisprimary"
    ).fetchall()
    for name, _ in listed:
        connection.execute(f"DROP INDEX {name}".encode())
    connection.execute("ALTER TABLE generation_job DROP CONSTRAINT generation_job_pkey")
    yield
    say("its indexes")
    connection.execute("ALTER TABLE generation_job ADD PRIMARY KEY (id)")
    for _, definition in listed:
        connection.execute(definition.encode())


def add_pending(connection: Connection, count: int) -> None:
    connection.execute(_PENDING, {"count": count})


def pending(connection: Connection) -> int:
    row = connection.execute("SELECT count(*) FROM generation_job WHERE status = 'pending'").fetchone()
    assert row is not None
    return int(row[0])


def tidy(connection: Connection) -> None:
    connection.execute("VACUUM (ANALYZE) generation_job")


def work_off(connection: Connection, count: int, say: Say) -> None:
    """Each of that many jobs goes pending → processing → completed, and leaves two dead rows behind."""
    for first, last in _slices(count):
        connection.execute(_CLAIM, (last - first + 1,))
        connection.execute(_COMPLETE)
        say(f"{last:,} of {count:,} jobs worked off")


def _slices(count: int) -> Iterator[tuple[int, int]]:
    """1 to count in steps, each with its first and its last."""
    bounds = [count * step // _STEPS for step in range(_STEPS + 1)]
    for before, last in itertools.pairwise(bounds):
        if last > before:
            yield before + 1, last
