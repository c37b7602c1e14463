"""SQL of the policy's own leaves no lock in a session and no backend at work, however it is spelled; and it is said."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest

from controller.adapters.postgres import connection as postgres_connection
from controller.adapters.postgres import own_query as postgres_own
from controller.adapters.postgres.lookup import key_of
from controller.adapters.postgres.queue import PostgresQueue
from controller.core.model import QueueDepth
from controller.core.ports import Unavailable
from controller.demo.servers import Servers
from controller.policy import Queue
from tests.support.patience import until, until_equal
from tests.support.pooler import pooler, through
from tests.support.together import read_together
from tests.support.unhurried import PATIENT_S

Connection = psycopg.AsyncConnection[Any]
FUNCTIONS = """
CREATE TABLE job (status text);
INSERT INTO job VALUES ('pending');
CREATE FUNCTION hidden(key bigint) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  EXECUTE 'SELECT pg_adv' || 'isory_lock(' || key || ')'; RETURN 1; END $$;
CREATE FUNCTION many() RETURNS SETOF int LANGUAGE plpgsql AS $$ BEGIN
  PERFORM pg_advisory_lock(n) FROM generate_series(1, 3) AS n; PERFORM pg_advisory_lock(1);
  PERFORM pg_advisory_lock_shared(-5, -6); RETURN NEXT 1; END $$;
CREATE FUNCTION then_fails() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  PERFORM pg_advisory_lock(99); RETURN 1 / 0; END $$;
CREATE FUNCTION prepares() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  EXECUTE 'PREPARE kept AS SELECT 1'; RETURN 1; END $$;
CREATE FUNCTION locks_the_table() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  EXECUTE 'LOCK TABLE job IN ACCESS EXCLUSIVE MODE'; RETURN 1; END $$;
CREATE FUNCTION only_within() RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  PERFORM pg_advisory_xact_lock(7); EXECUTE 'LISTEN somebody'; EXECUTE 'DECLARE held CURSOR WITH HOLD FOR SELECT 1';
  PERFORM set_config('work_mem', '77MB', false); RETURN 1; END $$;
CREATE FUNCTION stubborn(number int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN
  PERFORM set_config('client_connection_check_interval', '0', false);
  LOOP
    BEGIN PERFORM pg_sleep(600); EXCEPTION WHEN query_canceled THEN NULL; END;
  END LOOP; END $$;
"""
LEFT = """
SELECT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database =
  (SELECT oid FROM pg_database WHERE datname = current_database())),
  (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'worker-autoscaler'
   AND state = 'active')
"""
AT_WORK = """
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE '%own\\_%'
AND pid <> pg_backend_pid()
"""


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(FUNCTIONS)
        yield connection
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )


@pytest.fixture
async def queue(admin: Connection, database_url: str) -> AsyncIterator[PostgresQueue]:
    one = PostgresQueue(database_url, timeout_s=PATIENT_S)
    yield one
    await one.close()


@pytest.fixture(scope="module")
def one_session(servers: Servers) -> Iterator[int]:
    with pooler(servers, sessions=1) as port:
        yield port


async def rows(admin: Connection, query: str) -> Any:
    return await (await admin.execute(query)).fetchone()


async def number_at_work(admin: Connection) -> int:
    return int((await rows(admin, AT_WORK))[0])


def own(what: str) -> Queue:
    return Queue.model_validate({"sql": f"SELECT 1 AS pending, 0 AS processing FROM {what}"})


SPELLINGS = [
    "hidden(1)",
    "pg_advisory_lock/**/(1)",
    "pg_advisory_lock -- so\n (1)",
    'pg_catalog . U&"pg\\005fadvisory\\005flock" (1)',
    "U&\"pg!005fadvisory_lock\" UESCAPE '!' (1)",
    "many()",
    "generate_series(1, hidden(3)) AS n",
    "(SELECT hidden(4) UNION ALL SELECT hidden(4) LIMIT 1) AS n",
    "job, LATERAL (SELECT CASE WHEN status <> '' THEN hidden(5) END) AS n",
]


def unchecked(what: str) -> Queue:
    """As a policy whose text says nothing of it."""
    return Queue.model_construct(**{**dict(own("job")), "sql": f"SELECT 1 AS pending, 0 AS processing FROM {what}"})


@pytest.mark.parametrize("what", SPELLINGS)
async def test_a_lock_that_outlives_its_query_is_given_back_and_said_however_it_is_spelled(
    admin: Connection, queue: PostgresQueue, what: str
) -> None:
    for _ in range(2):
        depth = await queue.depth(unchecked(what), 100)
        assert depth == QueueDepth(1, 0)
        (remark,) = depth.remarks
        assert remark.text.startswith("queue.sql leaves advisory lock ")
        assert "pg_try_advisory_xact_lock (released at the end of the query)" in remark.text
        assert queue._lanes.main.is_lost
        await until_equal(lambda: rows(admin, LEFT), (0, 0))


@pytest.mark.parametrize("what", ["hidden(1)", "many()", "then_fails()"])
@pytest.mark.parametrize("others", [{42, 2}, set()], ids=["where others have locks", "where there is none"])
async def test_behind_a_pooler_the_session_is_left_as_it_was_found(
    admin: Connection, database_url: str, one_session: int, what: str, others: set[int]
) -> None:
    pooled = through(one_session, database_url)
    async with await psycopg.AsyncConnection.connect(pooled, autocommit=True, prepare_threshold=None) as other:
        if others:
            await other.execute("SELECT pg_advisory_lock(42), pg_advisory_lock(1, 2)")
        queue = PostgresQueue(pooled, timeout_s=PATIENT_S)
        try:
            said = (await queue.depth(own(what), 100)).remarks[0].text
        except Unavailable as unavailable:
            said = str(unavailable)
        assert "queue.sql leaves advisory lock" in said
        await queue.close()
        cursor = await other.execute("SELECT objid FROM pg_locks WHERE locktype = 'advisory'")
        left = {objid for (objid,) in await cursor.fetchall()}
        await other.execute("SELECT pg_advisory_unlock_all()")
        # One that is taken twice is given back once where others have locks, since it may be one of theirs.
        assert left == others | ({1} if what == "many()" and others else set())


async def test_a_query_that_fails_after_it_took_a_lock_says_both(admin: Connection, queue: PostgresQueue) -> None:
    with pytest.raises(Unavailable, match=r"division by zero; and queue\.sql leaves advisory lock 99"):
        await queue.depth(own("then_fails()"), 100)
    await until_equal(lambda: rows(admin, LEFT), (0, 0))
    assert await queue.depth(own("job"), 100) == QueueDepth(1, 0)


async def test_a_condition_that_takes_a_lock_is_found_too(admin: Connection, queue: PostgresQueue) -> None:
    depth = await queue.depth(Queue.model_validate({"table": "job", "where": "hidden(8) = 1"}), 100)
    assert depth.pending == 1
    assert any(remark.text.startswith("queue.where leaves advisory lock 8 ") for remark in depth.remarks)
    await queue.rest(Queue.model_validate({"table": "job", "where": "hidden(8) = 1"}), 100)
    await until_equal(lambda: rows(admin, LEFT), (0, 0))


async def test_whose_lock_it_is_is_said_where_several_are_read_together(
    admin: Connection, queue: PostgresQueue
) -> None:
    good, bad, table = own("job"), own("hidden(6)"), Queue(table="job")
    remarks = [depth.remarks for depth in await read_together(queue, good, bad, table) if isinstance(depth, QueueDepth)]
    assert [len(every) for every in remarks[:2]] == [0, 1]
    assert not [remark for remark in remarks[2] if "lock" in remark.text]
    await until_equal(lambda: rows(admin, LEFT), (0, 0))


async def test_a_prepared_statement_is_got_rid_of_with_its_session(admin: Connection, queue: PostgresQueue) -> None:
    depth = await queue.depth(own("prepares()"), 100)
    assert "queue.sql leaves prepared statement kept in its session" in depth.remarks[0].text
    assert queue._lanes.main.is_lost


async def test_a_lock_on_a_table_is_said_since_workers_wait_for_it(admin: Connection, queue: PostgresQueue) -> None:
    depth = await queue.depth(own("locks_the_table()"), 100)
    (remark,) = depth.remarks
    assert "queue.sql takes a lock on job (AccessExclusiveLock); workers that write there wait" in remark.text


async def test_what_ends_with_the_query_is_not_reported(admin: Connection, queue: PostgresQueue) -> None:
    for _ in range(2):
        kept = queue._lanes.main.kept
        depth = await queue.depth(own("only_within()"), 100)
        assert depth.remarks == ()
        assert kept is None or queue._lanes.main.kept is kept


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_connection, "_SLACK_S", 0.3)
    monkeypatch.setattr(postgres_own, "GRACE_S", 0.1)


def stubborn(number: int = 1) -> Queue:
    return Queue.model_validate({"sql": f"SELECT stubborn({number}) AS pending, 0 AS processing", "timeout": "200ms"})


async def failing(queue: PostgresQueue, policy: Queue) -> str:
    with pytest.raises(Unavailable) as unavailable:
        await queue.depth(policy, 100)
    return str(unavailable.value)


async def test_a_query_that_does_not_end_when_it_is_cancelled_is_ended_after_each_reading(
    admin: Connection, database_url: str, hurry: None
) -> None:
    queue = PostgresQueue(database_url, timeout_s=0.5)
    for _ in range(3):
        said = await failing(queue, stubborn())
        assert "queue.sql did not stop when it was cancelled" in said
        assert "its backend was terminated: a function in it that catches query_canceled must raise it again" in said
        assert await number_at_work(admin) == 0
    await queue.close()


async def test_it_keeps_no_other_queue_from_being_read(admin: Connection, database_url: str, hurry: None) -> None:
    queue = PostgresQueue(database_url, timeout_s=0.5)
    untimed = Queue(sql="SELECT stubborn(2) AS pending, 0 AS processing")

    async def answers() -> bool:
        one, other = await read_together(queue, own("job"), untimed)
        assert isinstance(other, Unavailable)
        assert await number_at_work(admin) <= 1
        return isinstance(one, QueueDepth) and "did not stop when it was cancelled" in str(other)

    assert await until(answers, "the good queue to be read, and the other to be named")
    await queue.close()


async def test_what_a_controller_that_is_gone_left_at_work_is_ended_by_the_next(
    admin: Connection, database_url: str, hurry: None
) -> None:
    gone = await psycopg.AsyncConnection.connect(database_url, autocommit=True)
    mark = postgres_own._mark(key_of(stubborn()))
    asking = asyncio.create_task(gone.execute(f"/* {mark} */ SELECT stubborn(1)".encode()))

    async def is_at_work() -> bool:
        longer = AT_WORK + "AND clock_timestamp() - query_start > interval '1 s'"
        return int((await rows(admin, longer))[0]) == 1

    await until(is_at_work, "the query to be at work")
    with socket.socket(fileno=os.dup(gone.fileno())) as link:
        link.shutdown(socket.SHUT_RDWR)
    await asyncio.gather(asking, return_exceptions=True)
    await gone.close()
    assert await number_at_work(admin) == 1
    queue = PostgresQueue(database_url, timeout_s=60.0)
    assert "its backend was terminated" in await failing(queue, stubborn())
    assert await number_at_work(admin) == 0
    await queue.close()


async def test_where_it_may_not_be_ended_there_is_one_backend_and_no_more(
    admin: Connection, database_url: str, hurry: None
) -> None:
    await admin.execute("DROP ROLE IF EXISTS may_not_end")
    await admin.execute("CREATE ROLE may_not_end LOGIN")
    await admin.execute("REVOKE EXECUTE ON FUNCTION pg_terminate_backend(int, bigint) FROM PUBLIC")
    queue = PostgresQueue(database_url.replace("postgres@", "may_not_end@"), timeout_s=0.5)
    try:
        for _ in range(3):
            said = await failing(queue, stubborn())
            assert "cannot be terminated (permission denied for function pg_terminate_backend)" in said
            assert "the queue is not read until it ends: SELECT pg_terminate_backend(" in said
            assert await number_at_work(admin) == 1
        await admin.execute(f"SELECT pg_terminate_backend(pid) FROM ({AT_WORK.replace('count(*)', 'pid')}) AS one")
        await until_equal(lambda: number_at_work(admin), 0)
        await admin.execute("CREATE OR REPLACE FUNCTION stubborn(number int) RETURNS int LANGUAGE sql AS 'SELECT 1'")
        assert await queue.depth(stubborn(), 100) == QueueDepth(1, 0)
    finally:
        await queue.close()
        await admin.execute("GRANT EXECUTE ON FUNCTION pg_terminate_backend(int, bigint) TO PUBLIC")
        await admin.execute("DROP OWNED BY may_not_end")
        await admin.execute("DROP ROLE may_not_end")


async def test_behind_a_pooler_a_query_that_goes_on_is_ended_as_well(
    admin: Connection, database_url: str, servers: Servers, hurry: None
) -> None:
    with pooler(servers, sessions=2) as port:
        queue = PostgresQueue(through(port, database_url), timeout_s=0.5)
        for _ in range(2):
            await failing(queue, stubborn())
            await until_equal(lambda: number_at_work(admin), 0)
        assert await queue.depth(own("job"), 100) == QueueDepth(1, 0)
        await queue.close()


async def test_a_reading_of_a_table_alone_looks_at_nothing_else(admin: Connection, queue: PostgresQueue) -> None:
    """The looks cost a table or a library nothing, and a query no round trip."""
    await queue.depth(Queue(table="job"), 100)
    assert queue._lanes.main.kept is not None
    for policy, looks in ((Queue(table="job"), 0), (own("job"), 3)):
        await queue.depth(policy, 100)  # what is asked once, about what was there before us, has been asked
        sent: list[str] = []
        with pytest.MonkeyPatch.context() as noted:
            execute = queue._lanes.main.kept.connection.execute

            async def note(
                query: Any, *rest: Any, _execute: Any = execute, _sent: list[str] = sent, **more: Any
            ) -> Any:
                _sent.append(query.decode() if isinstance(query, bytes) else query.as_string())
                return await _execute(query, *rest, **more)

            noted.setattr(queue._lanes.main.kept.connection, "execute", note)
            await queue.depth(policy, 100)
        assert sum("pg_locks" in one for one in sent) == looks
        assert sum(one.startswith("BEGIN") for one in sent) == 1, sent
