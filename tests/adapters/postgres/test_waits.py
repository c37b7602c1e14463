"""How long finished jobs waited, by a real table: since they could be taken, until a worker began them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from controller.adapters.postgres.queue import PostgresQueue
from controller.core.model import ServiceTime
from controller.demo.jobs import create_queue
from controller.policy import Queue
from tests.support.unhurried import PATIENT_S

Connection = psycopg.AsyncConnection[Any]
JOBS = Queue(table="generation_job")


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await create_queue(connection)
        for column in ("created_at", "scheduled_for"):
            await connection.execute(f"ALTER TABLE generation_job ALTER {column} DROP NOT NULL".encode())
            await connection.execute(f"ALTER TABLE generation_job ALTER {column} DROP DEFAULT".encode())
        yield connection


@pytest.fixture
async def queue(database_url: str) -> AsyncIterator[PostgresQueue]:
    postgres = PostgresQueue(database_url, timeout_s=PATIENT_S)
    yield postgres
    await postgres.close()


def waited(service: ServiceTime | None) -> list[Any]:
    assert service is not None
    each = [one.waited for one in service.finished]
    return [None if one is None else pytest.approx(one[1] - one[0], abs=0.001) for one in each]


@pytest.mark.parametrize(
    ("created", "due", "wait"),
    [
        pytest.param("at - interval '90 s'", "NULL", 90.0, id="since it was created"),
        pytest.param("at - interval '90 s'", "at - interval '30 s'", 30.0, id="since it was due"),
        pytest.param("at - interval '30 s'", "at - interval '90 s'", 30.0, id="it was due before it was created"),
        pytest.param("at + interval '5 s'", "NULL", 0.0, id="it began before it was created"),
        pytest.param("NULL", "NULL", None, id="neither is known"),
        pytest.param("'-infinity'", "NULL", None, id="created at no time"),
        pytest.param("'infinity'", "NULL", None, id="created never"),
    ],
)
async def test_a_job_waits_from_when_it_could_be_taken_until_it_begins(
    admin: Connection, queue: PostgresQueue, created: str, due: str, wait: float | None
) -> None:
    await admin.execute(
        "INSERT INTO generation_job (id, status, created_at, scheduled_for, started_at, completed_at) "
        f"SELECT 'a', 'completed', {created}, {due}, at, at + interval '7 s' "
        "FROM (SELECT now() - interval '1 min' AS at) t".encode()
    )
    service = await queue.service_time(JOBS)
    assert waited(service) == [wait]
    assert service is not None
    assert (service.mean_s, service.no_waits) == (7.0, "")


async def test_each_job_has_its_own_wait_in_the_order_of_their_end(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute(
        "INSERT INTO generation_job (id, status, created_at, started_at, completed_at) "
        "SELECT gen_random_uuid(), 'completed', at - n * interval '1 s', at, at + interval '3 s' "
        "FROM (SELECT n, now() - n * interval '1 min' AS at FROM generate_series(1, 700) n) t"
    )
    assert waited(await queue.service_time(JOBS)) == [float(n) for n in range(500, 0, -1)]


async def test_a_job_that_hung_keeps_the_wait_that_it_had(admin: Connection, queue: PostgresQueue) -> None:
    """What it counts for in the time per job is limited; when it began is not."""
    await admin.execute(
        "INSERT INTO generation_job (id, status, created_at, started_at, completed_at) "
        "SELECT gen_random_uuid(), 'completed', at - interval '9 s', at, "
        "CASE WHEN n = 1 THEN now() - interval '1 s' ELSE at + interval '2 s' END "
        "FROM (SELECT n, now() - interval '5 h' + n * interval '1 s' AS at FROM generate_series(1, 500) n) t"
    )
    service = await queue.service_time(JOBS)
    assert waited(service) == [9.0] * 500
    assert service is not None
    assert service.finished[-1].seconds == pytest.approx(20.0)


async def test_a_table_without_created_at_says_that_it_cannot_tell_the_waits(
    admin: Connection, queue: PostgresQueue
) -> None:
    await admin.execute("CREATE TABLE job (id int, status text, started_at timestamptz, completed_at timestamptz)")
    await admin.execute("INSERT INTO job VALUES (1, 'done', now() - interval '4 s', now())")
    service = await queue.service_time(Queue(table="job"))
    assert service is not None
    assert (service.mean_s, service.no_waits) == (4.0, "job has no time column created_at")
    assert waited(service) == [None]
