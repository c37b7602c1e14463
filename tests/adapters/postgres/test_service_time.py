"""How long a job takes, by a real table: the newest that are done, wherever they are in it, and never all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from unittest.mock import ANY

import psycopg
import pytest
from psycopg import sql

from controller.adapters.postgres.own_table import own_table
from controller.adapters.postgres.queue import PostgresQueue
from controller.adapters.postgres.service_time import measured
from controller.core.model import ServiceTime
from controller.core.ports import NotMeasurable, Unavailable
from controller.demo.jobs import create_queue
from controller.policy import Queue
from tests.support.unhurried import PATIENT_S

Connection = psycopg.AsyncConnection[Any]
JOBS = Queue(table="generation_job")
DONE = """
INSERT INTO generation_job (id, status, started_at, completed_at)
SELECT gen_random_uuid(), 'completed', at - {seconds} * interval '1 s', at
FROM (SELECT n, now() - {hours_ago} * interval '1 h' + n * interval '1 ms' AS at FROM generate_series(1, {count}) n) t
"""


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await create_queue(connection)
        yield connection


@pytest.fixture
async def queue(database_url: str) -> AsyncIterator[PostgresQueue]:
    postgres = PostgresQueue(database_url, timeout_s=PATIENT_S)
    yield postgres
    await postgres.close()


async def done(admin: Connection, count: int, seconds: str, *, hours_ago: float = 0) -> None:
    """`count` jobs; `seconds` is SQL, in which `n` is the number of the job."""
    await admin.execute(DONE.format(count=count, seconds=f"({seconds})", hours_ago=hours_ago).encode())


async def test_the_service_time_is_unknown_while_no_job_has_finished(admin: Connection, queue: PostgresQueue) -> None:
    assert await queue.service_time(JOBS) is None
    await admin.execute(
        "INSERT INTO generation_job (id, started_at, completed_at) VALUES "
        "('begun', now(), NULL), ('done somehow', NULL, now()), ('at once', now(), now()), "
        "('in no order', now(), now() - interval '1 s'), ('1', '-infinity', now()), ('2', now(), 'infinity')"
    )
    assert await queue.service_time(JOBS) is None


@pytest.mark.parametrize(
    ("count", "seconds", "mean_s", "median_s", "jobs"),
    [
        (1, "7", 7, 7, 1),
        (10, "n", 5.5, 5, 10),
        (500, "CASE WHEN n <= 5 THEN 100000 ELSE 20 END", 22, 20, 500),
        (500, "CASE WHEN n % 10 = 0 THEN 100 ELSE 20 END", 28, 20, 500),
        (10, "CASE WHEN n = 1 THEN 3600 ELSE 2 END", 20, 2, 10),
        (10, "0.0001", 0.01, 0.01, 10),
        (10, "200000", 86_000, 86_400, 10),
    ],
    ids=[
        *("one job", "ten jobs", "one job in a hundred hangs", "one job in ten takes long", "one of ten jobs hangs"),
        *("jobs take 0.1 ms", "jobs take days"),
    ],
)
async def test_it_is_the_mean_of_what_is_done_and_what_hung_counts_little(  # noqa: PLR0917  # a table
    admin: Connection, queue: PostgresQueue, count: int, seconds: str, mean_s: float, median_s: float, jobs: int
) -> None:
    await done(admin, count, seconds)
    service = await queue.service_time(JOBS)
    assert service == nearly(mean_s, median_s, jobs)


async def test_the_newest_count_wherever_they_are_and_the_old_ones_only_where_there_are_few(
    admin: Connection, queue: PostgresQueue
) -> None:
    await done(admin, 400, "3")
    await done(admin, 2000, "50", hours_ago=9)
    service = await queue.service_time(JOBS)
    assert service == nearly((400 * 3 + 100 * 50) / 500, 3, 500)


async def test_of_a_large_table_the_last_pages_are_read_and_a_sample_but_never_all_of_it(
    database_url: str, admin: Connection, queue: PostgresQueue
) -> None:
    await admin.execute("ALTER TABLE generation_job SET (autovacuum_enabled = off)")
    await done(admin, 60_000, "50", hours_ago=9)
    await done(admin, 600, "3")
    ((pages,),) = await (await admin.execute("SELECT pg_relation_size('generation_job') / 8192")).fetchall()
    assert pages > 700
    assert await queue.service_time(JOBS) == nearly(3, 3, 500)
    statements: list[sql.Composed] = []
    table = await own_table(JOBS, lambda statement: answered(admin, statement, statements))
    await measured(table, lambda statement: answered(admin, statement, statements))
    explain = sql.SQL("EXPLAIN (ANALYZE, BUFFERS, FORMAT TEXT) {}").format(statements[-1])
    plan = "\n".join(row[0] for row in await (await admin.execute(explain)).fetchall())
    assert "Tid Range Scan" in plan
    assert "Seq Scan" not in plan
    touched = next(line for line in plan.splitlines() if "shared hit" in line)
    assert int(touched.split("shared hit=")[1].split()[0]) < 400, plan


@pytest.mark.parametrize(
    ("jobs", "a_second"),
    [
        pytest.param(29, 0.0, id="29 jobs may be one burst"),
        pytest.param(100, 0.5, id="one each 2 s"),
        pytest.param(900, 0.5, id="of 900 jobs the newest 500"),
    ],
)
async def test_arrivals_are_those_of_the_newest_jobs(
    admin: Connection, queue: PostgresQueue, jobs: int, a_second: float
) -> None:
    await admin.execute(
        "INSERT INTO generation_job (id, status, created_at, started_at, completed_at) "
        "SELECT gen_random_uuid(), 'completed', at, at, at + interval '1 s' FROM (SELECT n, now() - interval '1 s' * "
        f"(CASE WHEN n <= 500 THEN 2 * n ELSE 9000 + n END) AS at FROM generate_series(1, {jobs}) n) t".encode()
    )
    service = await queue.service_time(JOBS)
    assert service is not None
    assert service.arrivals_per_s == pytest.approx(a_second, rel=0.05)
    assert len(service.finished) == min(jobs, 500)


async def test_a_job_that_ended_in_the_future_is_no_part_of_the_long_run(
    admin: Connection, queue: PostgresQueue
) -> None:
    await done(admin, 3, "7", hours_ago=-9)
    await done(admin, 2, "3")
    service = await queue.service_time(JOBS)
    assert service is not None
    assert (service.jobs, [one.seconds for one in service.finished]) == (5, [3, 3])


async def test_a_partitioned_table_is_sampled_over_its_partitions(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute(
        "CREATE TABLE parts (id int, status text, started_at timestamp, finished_at timestamp) PARTITION BY RANGE (id)"
    )
    await admin.execute("CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (70000)")
    await admin.execute("CREATE TABLE parts_2 PARTITION OF parts DEFAULT")
    assert await queue.service_time(Queue(table="parts")) is None
    await admin.execute(
        "INSERT INTO parts SELECT n, 'done', now() - interval '9 s', now() - interval '2 s' "
        "FROM generate_series(1, 40000) n"
    )
    assert await queue.service_time(Queue(table="parts")) == nearly(7, 7, 500)
    await admin.execute(
        "INSERT INTO parts SELECT n, 'done', now() - interval '3 s', now() FROM generate_series(1, 4000) n"
    )
    assert await queue.service_time(Queue(table="parts")) == nearly(3, 3, 500), "its last pages are in the sample, too"


@pytest.mark.parametrize(
    "columns",
    ["", ", started_at timestamptz", ", completed_at timestamptz", ", started_at text, completed_at text"],
    ids=["neither time", "no completed_at", "no started_at", "times that are texts"],
)
async def test_a_table_without_the_two_columns_does_not_say_it(
    admin: Connection, queue: PostgresQueue, columns: str
) -> None:
    await admin.execute(f"CREATE TABLE job (id int, status text{columns})".encode())
    with pytest.raises(NotMeasurable, match="job has no time"):
        await queue.service_time(Queue(table="job"))


async def test_neither_does_a_library_nor_a_query(queue: PostgresQueue) -> None:
    for one in (Queue(preset="procrastinate"), Queue(sql="SELECT 1 AS pending, 1 AS processing")):
        with pytest.raises(NotMeasurable, match="has no start and end times of its jobs"):
            await queue.service_time(one)


async def test_what_cannot_be_read_is_unavailable(database_url: str, admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("ALTER TABLE generation_job ENABLE ROW LEVEL SECURITY")
    await admin.execute("ALTER TABLE generation_job FORCE ROW LEVEL SECURITY")
    await admin.execute("DROP ROLE IF EXISTS of_some_rows")
    await admin.execute("CREATE ROLE of_some_rows LOGIN")
    try:
        await admin.execute("GRANT SELECT ON generation_job TO of_some_rows")
        url = psycopg.conninfo.make_conninfo(database_url, user="of_some_rows")
        theirs = PostgresQueue(url, timeout_s=PATIENT_S)
        with pytest.raises(Unavailable):
            await theirs.service_time(JOBS)
        await theirs.close()
    finally:
        await admin.execute("DROP OWNED BY of_some_rows")
        await admin.execute("DROP ROLE of_some_rows")


def nearly(mean_s: float, median_s: float, jobs: int) -> object:
    approximately: Any = pytest.approx
    return ServiceTime(approximately(mean_s), approximately(median_s), jobs, arrivals_per_s=ANY)


async def answered(admin: Connection, statement: sql.Composed, kept: list[sql.Composed]) -> list[tuple[Any, ...]]:
    kept.append(statement)
    return await (await admin.execute(statement)).fetchall()
