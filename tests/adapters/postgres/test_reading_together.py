"""One depths() for all workers: in one round trip on one connection; bounded counts; claims of dead workers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from controller.adapters.postgres import lookup
from controller.adapters.postgres.lookup import key_of
from controller.adapters.postgres.own_query import OwnReading
from controller.adapters.postgres.queue import PostgresQueue
from controller.core.model import QueueDepth, Rest
from controller.core.ports import Unavailable
from controller.demo.jobs import create_queue, enqueue
from controller.policy import Queue
from tests.support.patience import until_equal
from tests.support.together import read_together, requests
from tests.support.unhurried import PATIENT_S, impatient

Connection = psycopg.AsyncConnection[Any]
JOBS = Queue(table="generation_job")
OWN = Queue(sql="SELECT 5 AS pending, 6 AS processing")


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await create_queue(connection)
        yield connection


@pytest.fixture
async def queue(admin: Connection, database_url: str) -> AsyncIterator[PostgresQueue]:
    postgres = PostgresQueue(database_url, timeout_s=PATIENT_S)
    yield postgres
    await postgres.close()


async def test_workers_that_are_read_in_one_cycle_share_one_transaction_and_one_round_trip(
    admin: Connection, queue: PostgresQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await enqueue(admin, 3)
    many = [JOBS, OWN, *(Queue.model_validate({"table": "generation_job", "where": f"attempts < {n}"}) for n in (1, 2))]
    await read_together(queue, *many)
    reader = queue._lanes.main.kept
    assert reader is not None
    sent: list[str] = []
    execute, sync = reader.connection.execute, reader._pipeline.sync

    async def noted(query: Any, *rest: Any, **more: Any) -> Any:
        sent.append(query.decode() if isinstance(query, bytes) else query.as_string())
        return await execute(query, *rest, **more)

    async def round_trip() -> None:
        sent.append("a round trip")
        await sync()

    monkeypatch.setattr(reader.connection, "execute", noted)
    monkeypatch.setattr(reader._pipeline, "sync", round_trip)
    depths = await read_together(queue, *many)
    assert [depth.depth for depth in depths if isinstance(depth, QueueDepth)] == [3, 11, 3, 3]
    assert (sent.count("BEGIN READ ONLY"), sent.count("a round trip")) == (1, 1)


async def test_one_queue_that_fails_spoils_no_other_s_reading_now_or_later(
    admin: Connection, queue: PostgresQueue
) -> None:
    await enqueue(admin, 3)
    broken = Queue(sql="SELECT 1/0 AS pending, 1 AS processing")
    for _ in range(3):
        good, bad, own = await read_together(queue, JOBS, broken, OWN)
        assert isinstance(good, QueueDepth)
        assert good.pending == 3
        assert isinstance(bad, Unavailable)
        assert own == QueueDepth(5, 6)
    assert queue._readings._failed_last == {key_of(broken)}


async def test_a_query_that_ends_the_connection_does_not_end_the_reading_of_another_queue(
    admin: Connection, queue: PostgresQueue
) -> None:
    await enqueue(admin, 3)
    fatal = Queue(sql="SELECT pg_terminate_backend(pg_backend_pid())::int AS pending, 0 AS processing")
    for _ in range(3):
        bad, good = await read_together(queue, fatal, JOBS)
        assert isinstance(bad, Unavailable)
        assert isinstance(good, QueueDepth)
        assert good.pending == 3


async def test_a_queue_that_was_slow_the_last_time_does_not_delay_the_others(
    admin: Connection, queue: PostgresQueue
) -> None:
    await enqueue(admin, 3)
    slow = Queue(sql="SELECT 1 AS pending, 0 AS processing FROM pg_sleep(30)")
    with pytest.raises(Unavailable, match="took longer than"), impatient(queue, 0.5):
        await queue.depth(slow, 100)
    reading = queue.depths(requests(slow, JOBS))
    name, good = await anext(reading)
    assert name == "1"
    assert isinstance(good, QueueDepth)
    assert good.pending == 3
    await reading.aclose()


async def test_a_queue_that_failed_the_last_time_does_not_delay_the_others_on_the_same_connection(
    admin: Connection, queue: PostgresQueue
) -> None:
    await enqueue(admin, 3)
    moody, create = Queue(sql="SELECT moody() AS pending, 0 AS processing"), "CREATE OR REPLACE FUNCTION moody()"
    await admin.execute(f"{create} RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1 / 0'".encode())
    await read_together(queue, moody, JOBS)
    await admin.execute(f"{create} RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1 FROM pg_sleep(600)'".encode())
    fails_now = Queue(sql="SELECT 1/0 AS pending, 1 AS processing")  # so that the other one has to be read alone, too
    reading = queue.depths(requests(moody, fails_now, JOBS))
    answers = dict([await anext(reading), await anext(reading)])
    assert isinstance(answers["1"], Unavailable)
    assert isinstance(answers["2"], QueueDepth)
    assert answers["2"].pending == 3
    await reading.aclose()


@pytest.mark.parametrize("local", ["true", "false"])
async def test_what_an_own_query_sets_is_gone_before_the_next_is_asked(
    admin: Connection, queue: PostgresQueue, local: str
) -> None:
    await enqueue(admin, 3)
    await admin.execute("CREATE SCHEMA other")
    await admin.execute("CREATE TABLE other.generation_job (LIKE generation_job)")
    sly = Queue(sql=f"SELECT 1 AS pending, 0 AS processing, set_config('search_path', 'other', {local})")
    count = Queue(sql="SELECT count(*) AS pending, 0 AS processing FROM generation_job")
    for _ in range(2):
        answers = await read_together(queue, sly, JOBS, count)
        assert [answer.pending for answer in answers if isinstance(answer, QueueDepth)] == [1, 3, 3]


async def test_a_column_that_was_added_counts_from_the_next_look_on(
    admin: Connection, queue: PostgresQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "_LOOK_AGAIN_S", 0)
    await admin.execute("CREATE TABLE job (status text)")
    await admin.execute("INSERT INTO job VALUES ('pending')")
    assert (await queue.depth(Queue(table="job"), 100)).pending == 1
    await admin.execute("ALTER TABLE job ADD scheduled_for timestamptz DEFAULT now() + interval '1 h'")
    assert (await queue.depth(Queue(table="job"), 100)).pending == 0


async def test_a_server_that_is_down_is_asked_once_and_not_for_each_worker() -> None:
    nowhere = PostgresQueue("postgresql://postgres@127.0.0.1:1/none", timeout_s=0.5)
    answers = await read_together(nowhere, JOBS, OWN)
    assert {str(answer) for answer in answers} == {
        "PostgreSQL: refuses connections at the address in DATABASE_URL; is it running?"
    }


async def test_a_reading_that_is_cancelled_leaves_another_one_to_be_answered(
    admin: Connection, queue: PostgresQueue
) -> None:
    first, second = (asyncio.create_task(read_together(queue, one, OWN)) for one in (JOBS, JOBS))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == [QueueDepth(0, 0), QueueDepth(5, 6)]
    assert first.cancelled()
    assert await queue.depth(JOBS, 100) == QueueDepth(0, 0)


async def test_a_bug_in_reading_one_queue_ends_the_reading_and_leaves_nothing_to_be_read(
    admin: Connection, queue: PostgresQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def buggy(*_: object) -> OwnReading:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(OwnReading, "of", buggy)
        with pytest.raises(ZeroDivisionError, match="a bug"):
            await read_together(queue, JOBS, OWN)
    assert await read_together(queue, JOBS, OWN) == [QueueDepth(0, 0), QueueDepth(5, 6)]


async def at_work(admin: Connection) -> int:
    cursor = await admin.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' "
        "AND query LIKE '%own\\_%' AND pid <> pg_backend_pid()"
    )
    ((count,),) = await cursor.fetchall()
    return int(count)


def endless(number: int, **more: object) -> Queue:
    return Queue.model_validate({"sql": f"SELECT {number} AS pending, 0 AS processing FROM pg_sleep(600)", **more})


SEVERAL = [
    pytest.param([endless(1), endless(2)], 1, id="in one round trip"),
    pytest.param([endless(number, timeout="60s") for number in range(10)], 10, id="ten side by side"),
]


@pytest.mark.parametrize(("queues", "running"), SEVERAL)
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
async def test_a_reading_that_is_cancelled_ends_what_the_server_still_runs_for_it(
    admin: Connection, queue: PostgresQueue, queues: list[Queue], running: int, times: int
) -> None:
    for _ in range(2):  # the second one has the connections that the first one gave back
        reading = asyncio.create_task(read_together(queue, *queues))
        await until_equal(lambda: at_work(admin), running)
        for _ in range(times):
            reading.cancel()
            await asyncio.sleep(0)
        await asyncio.wait({reading})
        assert reading.cancelled()
        assert await at_work(admin) == 0
    assert await read_together(queue, JOBS, OWN) == [QueueDepth(0, 0), QueueDepth(5, 6)]


async def test_a_slow_queue_that_finds_ten_others_running_says_so_within_its_own_timeout(
    admin: Connection, queue: PostgresQueue
) -> None:
    eleventh = Queue.model_validate({"table": "generation_job", "timeout": "300ms"})
    reading = queue.depths(requests(*(endless(number, timeout="60s") for number in range(10)), eleventh))
    name, answer = await anext(reading)
    assert name == "10"
    assert "10 slow queries are running, and this one had to wait longer than 300 ms" in str(answer)
    await reading.aclose()


async def test_closing_the_iterator_ends_what_the_server_still_runs_for_it(
    admin: Connection, queue: PostgresQueue
) -> None:
    reading = queue.depths(requests(endless(1, timeout="60s"), JOBS, endless(2, timeout="60s")))
    assert await anext(reading) == ("1", QueueDepth(0, 0))
    await until_equal(lambda: at_work(admin), 2)
    await reading.aclose()
    assert await at_work(admin) == 0


async def test_a_slow_queue_of_one_reading_goes_on_while_the_next_reads_the_others(
    admin: Connection, queue: PostgresQueue
) -> None:
    slow = asyncio.create_task(read_together(queue, JOBS, endless(1, timeout="60s")))
    await until_equal(lambda: at_work(admin), 1)
    for _ in range(3):
        assert await read_together(queue, JOBS, OWN) == [QueueDepth(0, 0), QueueDepth(5, 6)]
    assert not slow.done()
    slow.cancel()
    await asyncio.wait({slow})


@pytest.mark.parametrize(
    ("jobs", "shown"), [(0, "0 jobs"), (49, "49 jobs (49 pending, 0 processing)"), (50, "50+ jobs"), (80, "50+ jobs")]
)
async def test_a_depth_at_the_limit_is_shown_as_that_many_and_more(
    admin: Connection, queue: PostgresQueue, jobs: int, shown: str
) -> None:
    await enqueue(admin, jobs)
    depth = await queue.depth(JOBS, 50)
    assert depth.pending == min(jobs, 50)
    assert depth.sentence.startswith(shown)


async def test_claims_that_are_stale_are_shown_apart_where_the_policy_says_when(
    admin: Connection, queue: PostgresQueue
) -> None:
    await enqueue(admin, 5)
    await admin.execute(
        "UPDATE generation_job SET status = 'processing', locked_at = now() - n * interval '10 min' FROM "
        "(SELECT id AS which, row_number() OVER () - 1 AS n FROM generation_job) AS numbered WHERE id = which"
    )
    for stale_after, working, stale in (("15m", 2, 3), ("1h", 5, 0), (None, 5, None)):
        policy = Queue.model_validate({"table": "generation_job", "stale_after": stale_after})
        depth = await queue.depth(policy, 100)
        assert (depth.processing, depth.stale, depth.depth) == (working, stale, working)
    assert (
        "(0 pending, 2 processing, 3 stale)"
        in (await queue.depth(Queue.model_validate({"table": "generation_job", "stale_after": "15m"}), 100)).sentence
    )


async def test_a_claim_that_does_not_say_when_it_was_made_is_trusted(admin: Connection, queue: PostgresQueue) -> None:
    await enqueue(admin, 1)
    await admin.execute("UPDATE generation_job SET status = 'processing', locked_at = NULL")
    policy = Queue.model_validate({"table": "generation_job", "stale_after": "1s"})
    assert await queue.depth(policy, 100) == QueueDepth(0, 1, None, 0)


async def test_a_table_that_cannot_tell_when_a_job_was_claimed_says_so(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE TABLE job (status text)")
    with pytest.raises(Unavailable, match=r"set queue.columns.locked_at to one"):
        await queue.depth(Queue.model_validate({"table": "job", "stale_after": "1m"}), 100)


async def test_what_a_queue_holds_besides_is_counted_apart(admin: Connection, queue: PostgresQueue) -> None:
    await enqueue(admin, 2)
    await enqueue(admin, 4, delay_s=3600)
    await enqueue(admin, 3)
    await admin.execute(
        "UPDATE generation_job SET status = 'failed' WHERE id IN (SELECT id FROM generation_job "
        "WHERE scheduled_for <= now() LIMIT 3)"
    )
    assert await queue.rest(JOBS, 100) == Rest(4, 3, 100)
    assert await queue.rest(JOBS, 2) == Rest(2, 2, 2)
    assert Rest(2, None, 2).sentence == "2+ scheduled for later, failed: unknown"


async def test_names_and_values_that_look_like_our_own_placeholders_are_only_names(
    admin: Connection, queue: PostgresQueue
) -> None:
    await admin.execute('CREATE TABLE odd ("{jobs}" text, "{stale}" timestamptz)')
    await admin.execute("INSERT INTO odd VALUES ('{limit} %s', now()), ('{ready}', now())")
    policy = Queue.model_validate(
        {
            "table": "odd",
            "columns": {"status": "{jobs}", "scheduled_for": "{stale}"},
            "statuses": {"pending": ["{limit} %s"], "processing": ["{ready}", "a' OR true --"]},
        }
    )
    depth = await queue.depth(policy, 100)
    assert (depth.pending, depth.processing) == (1, 1)
