"""Jobs of a table of the user's own that fall due soon, read from a real PostgreSQL: types, zones, limits, cost."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from controller.adapters.postgres.queue import PostgresQueue, known_of
from controller.core.model import QueueDepth
from controller.policy import Queue

Connection = psycopg.AsyncConnection[Any]
LIMIT = 100
AHEAD = 600.0
"""So far ahead that no row falls due while a test runs: a loaded machine may take seconds for it."""


def jobs(**more: object) -> Queue:
    return Queue.model_validate({"table": "jobs", **more})


async def holds(admin: Connection, kind: str, *due: str, name: str = "run_at") -> None:
    """The table jobs, with one pending job for each due time, an SQL expression."""
    await admin.execute(f"CREATE TABLE jobs (id serial, status text DEFAULT 'pending', {name} {kind})".encode())
    for value in due:
        await admin.execute(f"INSERT INTO jobs ({name}) VALUES ({value})".encode())


async def soon(queue: PostgresQueue, policy: Queue, ahead: float = AHEAD) -> tuple[int, int | None]:
    depth = await queue.depth(policy, LIMIT, ahead=ahead)
    return depth.pending, depth.soon


DUE = ["now() - interval '1 min'", "now() + interval '5 min'", "now() + interval '20 min'", "'infinity'", "NULL"]


@pytest.mark.parametrize(
    ("kind", "due", "columns"),
    [
        pytest.param("timestamptz", DUE, {}, id="timestamptz"),
        pytest.param("timestamp", [f"timezone('UTC', {one})" for one in DUE[:3]] + DUE[3:], {}, id="timestamp in UTC"),
        pytest.param(
            "bigint",
            [f"extract(epoch FROM {one})::bigint" for one in DUE[:3]] + ["9223372036854775807", "NULL"],
            {"scheduled_for": {"name": "run_at", "unit": "s"}},
            id="whole seconds",
        ),
        pytest.param(
            "float8",
            [f"extract(epoch FROM {one}) * 1000" for one in DUE[:3]] + ["'infinity'", "NULL"],
            {"scheduled_for": {"name": "run_at", "unit": "ms"}},
            id="milliseconds with fractions",
        ),
    ],
)
async def test_a_job_counts_as_soon_if_it_is_due_within_that_time_and_as_pending_once_it_is(
    admin: Connection, queue: PostgresQueue, kind: str, due: list[str], columns: dict[str, object]
) -> None:
    await holds(admin, kind, *due)
    policy = jobs(columns=columns)
    assert await soon(queue, policy) == (2, 1), "of five: one is due, one has no time, one is due in 5 min"
    assert await soon(queue, policy, 3600.0) == (2, 2), "what has no end is never due"
    assert await soon(queue, policy, 60.0) == (2, 0)
    await admin.execute(b"UPDATE jobs SET run_at = (SELECT min(run_at) FROM jobs) WHERE id = 2")
    assert await soon(queue, policy) == (3, 0), "it is never in both counts"


@pytest.mark.parametrize("zone", ["Asia/Tokyo", "America/New_York"])
async def test_a_time_without_a_zone_is_soon_in_the_zone_in_which_it_is_due(
    admin: Connection, queue: PostgresQueue, database_url: str, zone: str
) -> None:
    name = urlsplit(database_url).path.removeprefix("/")
    await admin.execute(f"ALTER DATABASE {name} SET TimeZone = '{zone}'".encode())
    await admin.execute(f"SET TimeZone = '{zone}'".encode())
    await holds(admin, "timestamp DEFAULT now()", *DUE[:3])
    assert await soon(queue, jobs()) == (1, 1), "by the column's default"
    assert await soon(queue, jobs(timezone=zone)) == (1, 1), "by the policy"


async def test_a_zone_that_nothing_decides_is_read_for_soon_as_for_due(
    admin: Connection, queue: PostgresQueue, database_url: str
) -> None:
    name = urlsplit(database_url).path.removeprefix("/")
    await admin.execute(f"ALTER DATABASE {name} SET TimeZone = 'Asia/Tokyo'".encode())
    await holds(admin, "timestamp", "timezone('UTC', now()) + interval '20 days'")
    depth = await queue.depth(jobs(), LIMIT, ahead=AHEAD)
    assert (depth.pending, depth.soon) == (0, 0)
    await admin.execute(b"UPDATE jobs SET run_at = timezone('UTC', now()) + interval '5 min'")
    again = await queue.depth(jobs(), LIMIT, ahead=AHEAD)
    assert again.pending + (again.soon or 0) == 1, (
        "due in UTC soon, or in Tokyo long ago: in one count, whichever it is"
    )


async def test_only_pending_jobs_of_this_queue_are_soon(admin: Connection, queue: PostgresQueue) -> None:
    await holds(admin, "timestamptz", *["now() + interval '5 min'"] * 6)
    await admin.execute(b"UPDATE jobs SET status = 'processing' WHERE id = 1")
    await admin.execute(b"UPDATE jobs SET status = 'failed' WHERE id = 2")
    await admin.execute(b"UPDATE jobs SET status = 'new' WHERE id = 3")
    assert await soon(queue, jobs()) == (0, 3)
    assert await soon(queue, jobs(statuses={"pending": ["pending", "new"]})) == (0, 4)
    assert await soon(queue, jobs(where="id > 4 OR id = 1")) == (0, 2)


async def test_a_view_is_read_as_its_table(admin: Connection, queue: PostgresQueue) -> None:
    await holds(admin, "timestamptz", *DUE, name="starts")
    await admin.execute(b"CREATE VIEW v AS SELECT status, starts AS scheduled_for FROM jobs")
    assert await soon(queue, Queue(table="v")) == (2, 1)


async def test_no_due_time_and_no_question_are_unknown_and_not_0(admin: Connection, queue: PostgresQueue) -> None:
    await holds(admin, "timestamptz", *DUE, name="noted")
    assert await soon(queue, jobs()) == (5, None), "no column says when a job is due"
    named = jobs(columns={"scheduled_for": "noted"})
    assert await soon(queue, named, ahead=0.0) == (2, None), "nobody asked"
    assert await soon(queue, named) == (2, 1)
    assert (await queue.due_column(jobs()), await queue.due_column(named)) == ("", "noted")
    sql = Queue(sql="SELECT 3 AS pending, 1 AS processing")
    assert await soon(queue, sql) == (3, None)
    assert await queue.due_column(sql) == ""


async def test_the_count_stops_where_a_decision_needs_no_more_and_is_completed_for_display(
    admin: Connection, queue: PostgresQueue
) -> None:
    await holds(admin, "timestamptz")
    await admin.execute(b"INSERT INTO jobs (run_at) SELECT now() + interval '5 min' FROM generate_series(1, 250)")
    shown = await queue.depth(jobs(count_limit=1000), 1000, 101, ahead=AHEAD)
    assert shown == QueueDepth(0, 0, soon=250)
    assert shown.sentence == "0 jobs (250 due within 10 min)"
    at_its_limit = await queue.depth(jobs(), 120, ahead=AHEAD)
    assert (at_its_limit.soon, at_its_limit.is_at_limit) == (120, True)


async def test_with_an_index_on_status_and_time_jobs_of_next_year_cost_nothing(
    admin: Connection, queue: PostgresQueue
) -> None:
    await holds(admin, "timestamptz NOT NULL")
    await admin.execute(
        b"INSERT INTO jobs (run_at) SELECT now() + interval '1 year' + make_interval(secs => n) "
        b"FROM generate_series(1, 100000) AS n"
    )
    await admin.execute(b"INSERT INTO jobs (run_at) SELECT now() + interval '5 min' FROM generate_series(1, 1000)")
    await admin.execute(b"CREATE INDEX ON jobs (status, run_at)")
    await admin.execute(b"VACUUM ANALYZE jobs")
    pages = {ahead: await pages_of(admin, await queue.statement(jobs(), LIMIT, ahead)) for ahead in (0.0, AHEAD)}
    assert pages[AHEAD] - pages[0.0] < 20, "of 600"
    assert await soon(queue, jobs()) == (0, LIMIT)


async def pages_of(admin: Connection, statement: psycopg.sql.Composed) -> int:
    """Pages that it reads, with the settings of a cycle."""
    async with admin.transaction():
        await admin.execute(b"SET LOCAL enable_seqscan = off")
        explain = psycopg.sql.SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {}").format(statement)
        row = await (await admin.execute(explain)).fetchone()
    assert row is not None
    plan = row[0][0]["Plan"]
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


async def test_a_database_tells_by_which_column_jobs_count_ahead(admin: Connection, database_url: str) -> None:
    await holds(admin, "timestamptz", name="scheduled_for")
    known = await known_of(database_url, {"a": jobs(), "b": Queue(sql="SELECT 0 AS pending, 0 AS processing")})
    assert {name: one.due_column for name, one in known.items()} == {"a": "scheduled_for", "b": ""}
