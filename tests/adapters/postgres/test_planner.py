"""PostgreSQL's planner, led astray by old statistics: a count that stops early goes by the index all the same."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from controller.adapters.postgres import counting
from controller.adapters.postgres.connection import AS_PLANNED
from controller.adapters.postgres.queue import PostgresQueue
from controller.core.model import QueueDepth
from controller.policy import Queue
from tests.support.patience import until
from tests.support.unhurried import PATIENT_S

Connection = psycopg.AsyncConnection[Any]
JOBS = Queue(table="job")
LIMIT = 101


async def scans(admin: Connection) -> tuple[int, int]:
    """So far, of the table: sequential ones, and ones by an index."""
    await admin.execute("SELECT pg_stat_force_next_flush()")
    cursor = await admin.execute("SELECT seq_scan, idx_scan FROM pg_stat_user_tables WHERE relname = 'job'")
    ((sequential, by_index),) = await cursor.fetchall()
    return sequential, by_index


async def scans_of_a_reading(admin: Connection, database_url: str) -> tuple[int, int]:
    before = await scans(admin)
    queue = PostgresQueue(database_url, timeout_s=PATIENT_S)
    assert await queue.depth(JOBS, LIMIT) == QueueDepth(7, 0, None)
    await queue.close()  # its session tells of its scans when it ends

    async def told() -> tuple[int, int] | None:
        after = await scans(admin)
        return (after[0] - before[0], after[1] - before[1]) if after != before else None

    return await until(told, "the scans of a reading")


async def test_a_burst_that_is_over_is_not_searched_for_in_the_whole_table(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as admin:
        await admin.execute("CREATE TABLE job (status text NOT NULL, payload text) WITH (autovacuum_enabled = off)")
        await admin.execute(
            "INSERT INTO job SELECT CASE WHEN n % 10 < 6 THEN 'pending' ELSE 'done' END, repeat('x', 100) "
            "FROM generate_series(1, 20000) AS n"
        )
        await admin.execute("CREATE INDEX ON job (status)")
        await admin.execute("ANALYZE job")  # which finds 60 % pending, and is not run again
        await admin.execute("UPDATE job SET status = 'done' WHERE status = 'pending'")
        await admin.execute("INSERT INTO job SELECT 'pending' FROM generate_series(1, 7)")
        sequential, by_index = await scans_of_a_reading(admin, database_url)
        assert sequential == 0
        assert by_index > 0
        monkeypatch.setattr(counting, "BY_INDEX", AS_PLANNED)
        assert (await scans_of_a_reading(admin, database_url))[0] > 0, "there is no trap here to be avoided"
