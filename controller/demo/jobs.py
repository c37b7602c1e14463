"""The job queue that the shipped policy reads, and known variants of its table.

The full table is what an application has that grew with its queue; the minimal one has only what a policy must name.
Status is an enum or a text, and the trigger notifies with each row. The tests read all of these, so that no column is
needed by accident.
"""

import argparse
import asyncio
import json
import os
from dataclasses import dataclass
from typing import LiteralString

from psycopg import AsyncConnection
from psycopg.sql import SQL, Composed, Identifier, Literal

STATUSES = ("pending", "processing", "completed", "failed")
CHANNEL = "new_generation_job"

FULL_TABLE: LiteralString = """
CREATE TABLE {table} (
    id            text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    client_id     text,
    flow_id       text,
    type          text,
    payload       jsonb NOT NULL DEFAULT '{{}}',
    status        {status} NOT NULL DEFAULT 'pending',
    progress      int NOT NULL DEFAULT 0,
    result        jsonb,
    error         text,
    attempts      int NOT NULL DEFAULT 0,
    max_attempts  int NOT NULL DEFAULT 3,
    scheduled_for timestamptz NOT NULL DEFAULT now(),
    locked_by     text,
    locked_at     timestamptz,
    priority      int NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL DEFAULT now(),
    started_at    timestamptz,
    completed_at  timestamptz
);
CREATE INDEX ON {table} (priority, created_at);
CREATE INDEX ON {table} (status);
"""

MINIMAL_TABLE: LiteralString = """
CREATE TABLE {table} (
    id         text PRIMARY KEY DEFAULT gen_random_uuid()::text,
    status     {status} NOT NULL DEFAULT 'pending',
    created_at timestamptz NOT NULL DEFAULT now()
);
"""

WAKE_WORKERS: LiteralString = """
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify({channel}, NEW.id);
    RETURN NEW;
END
$$;
CREATE TRIGGER {function} AFTER INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION {function}();
"""

ENQUEUE: LiteralString = """
INSERT INTO {table} (client_id, flow_id, type, payload, scheduled_for)
SELECT 'client-' || mod(number, 3), 'demo', 'image', %s::jsonb, now() + make_interval(secs => %s)
FROM generate_series(1, %s) AS number
"""

ENQUEUE_MINIMAL: LiteralString = "INSERT INTO {table} (created_at) SELECT now() FROM generate_series(1, %s)"

SUMMARY: LiteralString = """
SELECT count(*) FILTER (WHERE status = 'pending'),
       count(*) FILTER (WHERE status = 'processing'),
       count(*) FILTER (WHERE status = 'completed'),
       count(*) FILTER (WHERE status = 'failed'),
       coalesce(extract(epoch FROM max(started_at - created_at)), 0)::float8
FROM {table}
"""

BY_WORKER: LiteralString = """
SELECT locked_by, count(*) FROM {table} WHERE status = 'completed' GROUP BY locked_by ORDER BY locked_by
"""


@dataclass(frozen=True)
class Summary:
    """The state of the jobs so far."""

    pending: int
    processing: int
    completed: int
    failed: int
    worst_wait_s: float  # of those that were started, from their creation
    by_worker: dict[str, int]  # completed jobs


async def create_queue(
    conn: AsyncConnection, table: str = "generation_job", *, status_enum: bool = False, minimal: bool = False
) -> None:
    """Create the table, its indexes and the trigger that wakes workers."""
    async with conn.transaction():
        await conn.execute(layout(table, status_enum=status_enum, minimal=minimal))


def layout(table: str = "generation_job", *, status_enum: bool = False, minimal: bool = False) -> Composed:
    """The statements that create the queue."""
    statuses = SQL(", ").join(map(Literal, STATUSES))
    kind = Identifier(f"{table}_status") if status_enum else SQL("text CHECK (status IN ({}))").format(statuses)
    enum = SQL("CREATE TYPE {} AS ENUM ({});").format(kind, statuses) if status_enum else SQL("")
    columns = SQL(MINIMAL_TABLE if minimal else FULL_TABLE).format(table=Identifier(table), status=kind)
    function = Identifier(f"{table}_wake_workers")
    wakes = SQL(WAKE_WORKERS).format(table=Identifier(table), function=function, channel=Literal(CHANNEL))
    return enum + columns + wakes


async def enqueue(
    conn: AsyncConnection,
    count: int,
    *,
    duration_s: float = 1.0,
    delay_s: float = 0.0,
    fail: bool | int = False,
    table: str = "generation_job",
) -> None:
    """Add jobs that take ``duration_s`` each and may start in ``delay_s``.

    Args:
        conn: A connection to the queue's database.
        count: The number of jobs.
        duration_s: How long a worker works on each.
        delay_s: How far ``scheduled_for`` lies in the future.
        fail: True for jobs that always fail, a number for jobs whose first N attempts fail.
        table: The queue.
    """
    payload = json.dumps({"duration_s": duration_s, "fail": fail})
    async with conn.transaction():
        await conn.execute(_on(table, ENQUEUE), (payload, delay_s, count))


async def enqueue_minimal(conn: AsyncConnection, count: int, *, table: str = "generation_job") -> None:
    """Add jobs to a queue that was created ``minimal``."""
    async with conn.transaction():
        await conn.execute(_on(table, ENQUEUE_MINIMAL), (count,))


async def summary(conn: AsyncConnection, table: str = "generation_job") -> Summary:
    async with conn.transaction():
        counts = await (await conn.execute(_on(table, SUMMARY))).fetchone()
        by_worker = await (await conn.execute(_on(table, BY_WORKER))).fetchall()
    assert counts is not None
    pending, processing, completed, failed, worst_wait_s = counts
    return Summary(pending, processing, completed, failed, worst_wait_s, dict(by_worker))


def _on(table: str, statement: LiteralString) -> Composed:
    return SQL(statement).format(table=Identifier(table))


async def _main() -> None:
    """`python -m controller.demo.jobs`: for trying things by hand, and for compose.yaml."""
    parser = argparse.ArgumentParser(description="Creates the demo's queue in DATABASE_URL, and feeds it.")
    parser.add_argument("--create", action="store_true", help="create the table generation_job if it does not exist")
    parser.add_argument("--enqueue", type=int, default=0, metavar="N", help="add N jobs")
    parser.add_argument("--duration", type=float, default=2.0, metavar="S", help="seconds that each job takes")
    wanted = parser.parse_args()
    async with await AsyncConnection.connect(os.environ["DATABASE_URL"]) as conn:
        there = await (await conn.execute("SELECT to_regclass('generation_job')")).fetchone()
        if wanted.create and there == (None,):
            await create_queue(conn)
        await enqueue(conn, wanted.enqueue, duration_s=wanted.duration)


if __name__ == "__main__":
    asyncio.run(_main())
