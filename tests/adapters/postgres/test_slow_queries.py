"""Slow queries are read beside the others: they keep nothing else waiting, and have one deadline together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from controller.adapters.postgres.lookup import key_of
from controller.adapters.postgres.queue import PostgresQueue
from controller.core.model import QueueDepth
from controller.core.ports import Unavailable
from controller.policy import Queue
from tests.support.patience import until
from tests.support.together import read_together, requests

Connection = psycopg.AsyncConnection[Any]
GOOD = Queue(table="jobs")


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("CREATE TABLE jobs (status text)")
        await connection.execute("INSERT INTO jobs VALUES ('pending')")
        await connection.execute("CREATE TABLE gate (closed bool)")
        yield connection


def waiting(number: int, **more: object) -> Queue:
    """A query that does not end before the lock that the test holds is gone, or its time is up."""
    text = f"SELECT {number} AS pending, 0 AS processing FROM pg_sleep(600)"
    return Queue.model_validate({"sql": text, **more})


async def side_by_side(admin: Connection, number: int) -> bool:
    cursor = await admin.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' "
        "AND application_name = 'worker-autoscaler' AND query LIKE '%own%'"
    )
    ((count,),) = await cursor.fetchall()
    return bool(count == number)


@pytest.mark.costly
async def test_ten_slow_queries_run_at_the_same_time_and_the_good_one_before_them_all(
    admin: Connection, database_url: str
) -> None:
    queue = PostgresQueue(database_url, timeout_s=2.0)
    slow = [waiting(number) for number in range(10)]
    # The first time, nothing tells the slow ones from the good one.
    await read_together(queue, GOOD, *slow)

    watching = asyncio.create_task(until(lambda: side_by_side(admin, 10), "ten queries at the same time"))
    answers: list[tuple[str, QueueDepth | Unavailable]] = []
    while not watching.done():  # on a machine that is too slow to see it, the next readings may show it
        answers = [one async for one in queue.depths(requests(*slow, GOOD))]
    assert await watching
    good, *others = answers
    assert good == ("10", QueueDepth(1, 0))
    assert len(others) == 10
    assert all(isinstance(other, Unavailable) and "took longer than 2 s" in str(other) for _, other in others)
    await queue.close()


@pytest.mark.costly
async def test_queries_that_are_slow_together_are_read_side_by_side_at_once(
    admin: Connection, database_url: str
) -> None:
    watching = asyncio.create_task(until(lambda: side_by_side(admin, 3), "three queries at the same time"))
    while not watching.done():
        queue = PostgresQueue(database_url, timeout_s=1.0)  # which does not know yet that they are slow
        good, *others = await read_together(queue, GOOD, *(waiting(number) for number in range(3)))
        assert good == QueueDepth(1, 0)
        assert all(isinstance(other, Unavailable) for other in others)
        await queue.close()
    assert await watching


async def test_a_queue_may_have_more_time_than_the_others(admin: Connection, database_url: str) -> None:
    queue = PostgresQueue(database_url, timeout_s=0.2)
    text = "SELECT 3 AS pending, 0 AS processing FROM pg_sleep(0.6)"
    patient = Queue.model_validate({"sql": text, "timeout": "60s"})
    hasty = Queue.model_validate({"sql": text})
    first, second = await read_together(queue, patient, hasty)
    assert first == QueueDepth(3, 0)
    assert isinstance(second, Unavailable)
    assert "took longer than 200 ms" in str(second)
    await queue.close()


async def test_a_table_that_takes_too_long_says_the_time_that_it_was_given(
    admin: Connection, database_url: str
) -> None:
    await admin.execute("CREATE VIEW slow AS SELECT 'pending' AS status FROM pg_sleep(600)")
    queue = PostgresQueue(database_url, timeout_s=60.0)
    with pytest.raises(Unavailable, match="took longer than 300 ms"):
        await queue.depth(Queue.model_validate({"table": "slow", "timeout": "300ms"}), 100)
    await queue.close()


async def test_where_no_other_connection_is_to_be_had_the_slow_one_waits_for_the_only_one(
    admin: Connection, database_url: str
) -> None:
    await admin.execute("DROP ROLE IF EXISTS only_one")
    await admin.execute("CREATE ROLE only_one LOGIN CONNECTION LIMIT 1")
    try:
        await admin.execute("GRANT SELECT ON jobs TO only_one")
        queue = PostgresQueue(database_url.replace("postgres@", "only_one@"), timeout_s=30.0)
        alone = Queue.model_validate({"sql": "SELECT 3 AS pending, 0 AS processing", "timeout": "30s"})
        for _ in range(2):
            assert await read_together(queue, GOOD, alone) == [QueueDepth(1, 0), QueueDepth(3, 0)]
        await queue.close()
    finally:
        await admin.execute("DROP OWNED BY only_one")
        await admin.execute("DROP ROLE only_one")


async def test_what_was_slow_once_and_is_quick_again_goes_along_with_the_others(
    admin: Connection, database_url: str
) -> None:
    queue = PostgresQueue(database_url, timeout_s=30.0)
    other = Queue(sql="SELECT 1 AS pending, 0 AS processing")
    await read_together(queue, GOOD, other)
    queue._readings._slow.add(key_of(other))

    async def forgiven() -> bool:
        await read_together(queue, GOOD, other)
        return key_of(other) not in queue._readings._slow

    assert await until(forgiven, "the query is quick again")
    await queue.close()
