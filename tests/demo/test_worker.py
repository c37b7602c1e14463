"""Workers as real processes on a real queue: what they take, count, finish, and give back."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any, LiteralString

import pytest
import redis
from psycopg import AsyncConnection

from controller.demo.jobs import Summary, create_queue, enqueue, enqueue_minimal, summary
from controller.demo.servers import Servers
from controller.demo.worker import Settings
from tests.support import patience
from tests.support.processes import Fork, demo_worker

Start = Callable[..., Fork]


def worker(database_url: str, redis_url: str, name: str, **environment: str) -> AbstractContextManager[Fork]:
    """One worker; it ends with the block, or with this process."""
    return demo_worker(
        {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "RAILWAY_REPLICA_ID": name, **environment}
    )


@pytest.fixture
def start(database_url: str, redis_url: str) -> Iterator[Start]:
    """Starts workers that end with the test."""
    with ExitStack() as workers:
        yield lambda name="one", **environment: workers.enter_context(
            worker(database_url, redis_url, name, **environment)
        )


@pytest.fixture
async def conn(database_url: str) -> AsyncIterator[AsyncConnection]:
    async with await AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def queue(conn: AsyncConnection) -> AsyncConnection:
    await create_queue(conn)
    return conn


async def until(conn: AsyncConnection, settled: Callable[[Summary], bool]) -> Summary:
    """The first state of the queue that is as it should be."""
    last: list[Summary] = []

    async def seen() -> Summary | None:
        last[:] = [await summary(conn)]
        return last[0] if settled(last[0]) else None

    return await patience.until(seen, "the queue to look as it should", shown=lambda: last)


async def rows(conn: AsyncConnection, query: LiteralString) -> list[tuple[Any, ...]]:
    return await (await conn.execute(query)).fetchall()


async def ended(process: Fork) -> int:
    return await patience.in_time(process.wait(), "the worker to end")


def counted(redis_url: str) -> dict[int, int]:
    """The requests counted so far, by window."""
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        return {int(key.rsplit(":", 1)[1]): int(client.get(key) or 0) for key in client.keys("worker:rpm:*")}


@pytest.mark.costly
async def test_no_job_is_ever_taken_twice(queue: AsyncConnection, redis_url: str, start: Start) -> None:
    names = {"one", "two", "three"}
    for name in names:
        start(name)
    for jobs in range(100, 10_000, 100):  # until all three have been at it
        await enqueue(queue, 100, duration_s=0.1)
        done = await until(queue, lambda now, jobs=jobs: now.completed == jobs)  # type: ignore[misc]
        if set(done.by_worker) == names:
            break
    assert (done.completed, done.processing, done.pending) == (jobs, 0, 0)
    assert await rows(queue, "SELECT DISTINCT attempts FROM generation_job") == [(1,)]
    assert sum(counted(redis_url).values()) == jobs


async def test_a_request_is_counted_in_the_window_of_epoch_seconds(
    queue: AsyncConnection, redis_url: str, start: Start
) -> None:
    await enqueue(queue, 3, duration_s=0.01)
    earliest = math.floor(time.time() / 60) * 60
    start()
    await until(queue, lambda now: now.completed == 3)
    windows = counted(redis_url)
    assert sum(windows.values()) == 3
    assert set(windows) <= {earliest, earliest + 60}
    with redis.Redis.from_url(redis_url) as client:
        assert all(0 < client.ttl(f"worker:rpm:{window}") <= 65 for window in windows)


async def test_a_worker_stays_within_its_share(queue: AsyncConnection, redis_url: str, start: Start) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set("worker:config:per_worker_rpm", 2)
    await enqueue(queue, 5, duration_s=0.01)
    start()
    await until(queue, lambda now: now.completed >= 2)
    await asyncio.sleep(0.3)
    assert max(counted(redis_url).values()) == 2


async def test_a_new_job_wakes_an_idle_worker(queue: AsyncConnection, start: Start) -> None:
    """Here it polls once an hour: a job that does not wake it stays pending until the patience of the test ends."""
    start(UNHURRIED_BUT="controller.demo.worker.POLL_S=3600")
    listens: LiteralString = "SELECT FROM pg_stat_activity WHERE application_name = 'one' AND query LIKE 'LISTEN%'"
    await patience.until(lambda: rows(queue, listens), "the worker to listen")
    for number in range(1, 4):
        await enqueue(queue, 1, duration_s=0.01)
        await until(queue, lambda now, number=number: now.completed == number)  # type: ignore[misc]
    taken: LiteralString = "SELECT status, attempts, locked_by FROM generation_job"
    assert await rows(queue, taken) == [("completed", 1, "one")] * 3, "each is taken once, however often it is woken"


async def test_sigterm_gives_unfinished_jobs_back(queue: AsyncConnection, start: Start) -> None:
    await enqueue(queue, 7, duration_s=60)
    process = start(DRAIN_SECONDS="0.1")
    assert (await until(queue, lambda now: now.processing == 5)).processing == 5
    process.terminate()
    assert await ended(process) == 0
    state: LiteralString = "SELECT DISTINCT status, attempts, locked_by, locked_at, started_at FROM generation_job"
    assert await rows(queue, state) == [("pending", 0, None, None, None)]


@pytest.mark.costly
async def test_sigterm_lets_a_short_job_finish(queue: AsyncConnection, start: Start) -> None:
    await enqueue(queue, 2, duration_s=3)
    process = start(WORKER_CONCURRENCY="1")
    await until(queue, lambda now: now.processing == 1)
    process.terminate()
    assert await ended(process) == 0
    done = await summary(queue)
    assert (done.completed, done.pending) == (1, 1)


async def test_a_worker_ends_with_the_holder_of_its_lifeline(queue: AsyncConnection, start: Start) -> None:
    await enqueue(queue, 1, duration_s=60)
    process = start()
    await until(queue, lambda now: now.processing == 1)
    assert process.stdin is not None
    process.stdin.close()
    assert await ended(process) == 1


async def test_a_failing_job_is_tried_again_later_until_it_had_its_attempts(
    queue: AsyncConnection, start: Start
) -> None:
    await enqueue(queue, 1, duration_s=0.01, fail=True)
    await enqueue(queue, 1, duration_s=0.01, fail=1)
    start(WORKER_RETRY_SECONDS="0.1")
    done = await until(queue, lambda now: now.completed + now.failed == 2)
    assert (done.completed, done.failed) == (1, 1)
    attempts: LiteralString = "SELECT status, attempts, scheduled_for > created_at FROM generation_job ORDER BY status"
    assert await rows(queue, attempts) == [("completed", 2, True), ("failed", 3, True)]


async def test_a_job_of_the_future_is_left_alone(queue: AsyncConnection, start: Start) -> None:
    await enqueue(queue, 1, duration_s=0.01, delay_s=60)
    await enqueue(queue, 1, duration_s=0.01)
    start()
    done = await until(queue, lambda now: now.completed == 1)
    assert (done.completed, done.pending) == (1, 1)


async def test_a_status_that_is_an_enum_works_the_same(conn: AsyncConnection, start: Start) -> None:
    await create_queue(conn, status_enum=True)
    await enqueue(conn, 2, duration_s=0.01)
    await enqueue(conn, 1, duration_s=0.01, fail=True)
    start(WORKER_RETRY_SECONDS="0.01")
    done = await until(conn, lambda now: now.completed + now.failed == 3)
    assert (done.completed, done.failed) == (2, 1)


async def test_a_minimal_queue_has_three_columns_and_still_wakes_workers(conn: AsyncConnection) -> None:
    await create_queue(conn, "tiny", minimal=True)
    await conn.execute("LISTEN new_generation_job")
    await enqueue_minimal(conn, 2, table="tiny")
    told = [notice.payload async for notice in conn.notifies(timeout=patience.PATIENCE_S, stop_after=2)]
    jobs = await rows(conn, "SELECT id, status FROM tiny")
    assert sorted(jobs) == sorted((job, "pending") for job in told)


@pytest.mark.costly
async def test_a_job_in_hand_survives_an_outage_of_both_servers(
    stoppable_servers: Servers, stoppable_database_url: str
) -> None:
    async with await AsyncConnection.connect(stoppable_database_url, autocommit=True) as before:
        await create_queue(before)
        await enqueue(before, 6, duration_s=2)
        with worker(stoppable_database_url, stoppable_servers.redis_url, "one"):
            await until(before, lambda now: now.processing == 5)
            stoppable_servers.stop_postgres()
            stoppable_servers.stop_redis()
            await asyncio.sleep(2)
            stoppable_servers.start_redis()
            stoppable_servers.start_postgres()
            async with await AsyncConnection.connect(stoppable_database_url, autocommit=True) as after:
                done = await until(after, lambda now: now.completed == 6)
                assert done.completed == 6
                assert await rows(after, "SELECT DISTINCT attempts FROM generation_job") == [(1,)]


async def test_sigterm_ends_a_worker_whose_database_is_away(
    stoppable_servers: Servers, stoppable_database_url: str
) -> None:
    async with await AsyncConnection.connect(stoppable_database_url, autocommit=True) as conn:
        await create_queue(conn)
        await enqueue(conn, 1, duration_s=0)
        soon = "controller.demo.worker.CLAIM_S=1 controller.demo.worker.GIVE_BACK_S=1"
        redis_url = stoppable_servers.redis_url
        with worker(stoppable_database_url, redis_url, "one", UNHURRIED_BUT=soon) as process:
            await until(conn, lambda now: now.completed == 1)
            stoppable_servers.stop_postgres()
            process.terminate()
            assert await ended(process) == 0


def test_no_secret_shows_in_the_settings() -> None:
    settings = Settings.read({"DATABASE_URL": "postgresql://u:secret@h/d", "REDIS_URL": "redis://:secret@h"})
    assert "secret" not in repr(settings)
