"""Who holds the jobs in progress, read from a real PostgreSQL: with the counts, bounded, and only if asked for."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from controller.adapters.postgres.queue import PostgresQueue
from controller.core.ports import Unavailable
from controller.policy import Queue

Connection = psycopg.AsyncConnection[Any]
LIMIT = 10_000


def jobs(**more: object) -> Queue:
    return Queue.model_validate({"table": "jobs", **more})


async def table(admin: Connection, *holders: str | None, column: str = "locked_by text", rows: str = "") -> None:
    """The table jobs, with one job in progress for each holder, and one that waits."""
    await admin.execute(f"CREATE TABLE jobs (id serial, status text, locked_at timestamptz, {column})".encode())
    name = column.partition(" ")[0]
    for holder in holders:
        insert = f"INSERT INTO jobs (status, locked_at, {name}) VALUES ('processing', now(), %s)"
        await admin.execute(insert.encode(), (holder,))
    await admin.execute(b"INSERT INTO jobs (status) VALUES ('pending')")
    if rows:
        await admin.execute(rows.encode())


async def holders(queue: PostgresQueue, policy: Queue) -> list[str] | None:
    """Sorted, after the counts were found to be right."""
    depth = await queue.depth(policy, LIMIT, holders=True)
    assert depth.pending == 1
    return None if depth.holders is None else sorted(depth.holders)


async def test_each_holder_is_told_once_and_a_job_without_one_as_an_empty_name(
    admin: Connection, queue: PostgresQueue
) -> None:
    await table(admin, "pod-a", "pod-b", "pod-a", None)
    assert await holders(queue, jobs()) == ["", "pod-a", "pod-b"]
    assert (await queue.depth(jobs(), LIMIT)).holders is None, "it was not asked for"


async def test_without_a_job_in_progress_there_is_no_holder(admin: Connection, queue: PostgresQueue) -> None:
    await table(admin)
    assert await holders(queue, jobs()) == []


@pytest.mark.parametrize("column", ["worker_id text", "host varchar(40)", "worker name", "worker text[]"])
async def test_the_column_may_have_any_name_and_type(admin: Connection, queue: PostgresQueue, column: str) -> None:
    name, _, kind = column.partition(" ")
    is_usual = name == "worker_id"
    await table(admin, "{pod-a}" if kind.endswith("[]") else "pod-a", column=column)
    policy = jobs() if is_usual else jobs(columns={"locked_by": name})
    assert await holders(queue, policy) == ["{pod-a}" if kind.endswith("[]") else "pod-a"]
    assert (await holders(queue, jobs()) is None) is not is_usual


async def test_a_column_that_is_not_there_is_named_with_the_others(admin: Connection, queue: PostgresQueue) -> None:
    await table(admin)
    with pytest.raises(
        Unavailable, match=r"no column locked; set queue.columns.locked_by \(did you mean locked_by\?\)"
    ):
        await holders(queue, jobs(columns={"locked_by": "locked"}))


async def test_a_stale_job_has_no_holder(admin: Connection, queue: PostgresQueue) -> None:
    await table(admin, "pod-a", "pod-b")
    await admin.execute(b"UPDATE jobs SET locked_at = now() - interval '1 h' WHERE locked_by = 'pod-b'")
    assert await holders(queue, jobs(stale_after="15m")) == ["pod-a"]


async def test_of_too_many_jobs_it_is_unknown_and_a_long_text_is_cut(admin: Connection, queue: PostgresQueue) -> None:
    many = "INSERT INTO jobs (status, locked_by) SELECT 'processing', 'pod-' || n FROM generate_series(1, {}) n"
    await table(admin, "x" * 5000, rows=many.format(998))
    known = await holders(queue, jobs())
    assert known is not None
    assert (len(known), known[-1]) == (999, "x" * 200)
    await admin.execute(b"INSERT INTO jobs (status, locked_by) VALUES ('processing', 'pod-999')")
    assert await holders(queue, jobs()) is None


async def test_a_column_that_the_user_may_not_read_stops_no_reading(
    admin: Connection, database_url: str, queue: PostgresQueue
) -> None:
    await table(admin, "pod-a")
    name = f"reader_{(await (await admin.execute(b'SELECT current_database()')).fetchone() or [''])[0]}"[:60]
    await admin.execute(f"CREATE ROLE {name}; GRANT SELECT (id, status, locked_at) ON jobs TO {name}".encode())
    reader = PostgresQueue(f"{database_url}?options=-crole%3D{name}", timeout_s=30.0)
    try:
        assert await holders(reader, jobs()) is None
    finally:
        await reader.close()
        await admin.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


async def test_a_query_and_a_condition_of_the_policy_s_own_can_be_asked_too(
    admin: Connection, queue: PostgresQueue
) -> None:
    await table(admin, "pod-a", "pod-b")
    assert await holders(queue, jobs(where="coalesce(locked_by, '') <> 'pod-b'")) == ["pod-a"]
    sql = "SELECT 1 AS pending, 2 AS processing"
    assert await holders(queue, Queue.model_validate({"sql": sql})) is None
