"""Through a real pgbouncer in transaction mode: the same readings, nothing left in its sessions, no deaf listening."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from controller.adapters.postgres import connection as postgres_connection
from controller.adapters.postgres import listener as postgres_listener
from controller.adapters.postgres.connection import Reader
from controller.adapters.postgres.queue import PostgresQueue
from controller.core.model import QueueDepth
from controller.core.ports import Unavailable
from controller.demo.jobs import create_queue, enqueue
from controller.demo.servers import Servers
from controller.policy import Queue
from tests.support.listening import listening, sessions_become
from tests.support.patience import until
from tests.support.pooler import pooler, through
from tests.support.processes import QUICK, running
from tests.support.scene import Scene
from tests.support.together import read_together
from tests.support.unhurried import PATIENT_S, impatient

Connection = psycopg.AsyncConnection[Any]
LIMIT = 100
SOON_DEAF = "controller.adapters.postgres.listener._SELF_TEST_S=0.5"
TABLE = Queue(table="generation_job")
QUERY = Queue(sql="SELECT count(*) AS pending, 0 AS processing FROM generation_job WHERE status = 'pending'")
LIBRARY = Queue(preset="procrastinate")
PROCRASTINATE = """
CREATE TABLE procrastinate_workers (id bigint, last_heartbeat timestamptz DEFAULT now());
CREATE TABLE procrastinate_events (job_id bigint, type text, at timestamptz);
CREATE TABLE procrastinate_jobs (
  id bigserial, queue_name text, status text, scheduled_at timestamptz, worker_id bigint
);
INSERT INTO procrastinate_workers VALUES (1);
INSERT INTO procrastinate_jobs (status, worker_id) VALUES ('todo', NULL), ('todo', NULL), ('doing', 1);
"""


@pytest.fixture(scope="session", params=[1, 2], ids=["a pooler of one session", "a pooler of two sessions"])
def crowded(servers: Servers, request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    """A pooler's port, and how many sessions it has for all its clients."""
    with pooler(servers, sessions=request.param) as port:
        yield port, request.param


@pytest.fixture
def pooled_url(crowded: tuple[int, int], database_url: str) -> str:
    return through(crowded[0], database_url)


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[Connection]:
    """Not through the pooler."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await create_queue(connection)
        yield connection


@pytest.fixture
async def queue(pooled_url: str, admin: Connection) -> AsyncIterator[PostgresQueue]:
    through_it = PostgresQueue(pooled_url, timeout_s=PATIENT_S)
    yield through_it
    await through_it.close()


async def state_of(connection: Connection) -> set[tuple[str, str]]:
    """Everything that a client can leave behind in a session, but its name and encoding, which poolers keep apart."""
    cursor = await connection.execute(
        "SELECT name, setting FROM pg_settings WHERE name NOT IN ('application_name', 'client_encoding') "
        "AND name NOT LIKE 'plpgsql.%' "  # there only after a first use
        "UNION ALL SELECT 'listens to', c FROM pg_listening_channels() AS c "
        "UNION ALL SELECT 'has prepared', name FROM pg_prepared_statements "
        "UNION ALL SELECT 'has the cursor', name FROM pg_cursors WHERE is_holdable"
    )
    return set(await cursor.fetchall())


async def left_behind(pooled_url: str, count: int, admin: Connection) -> set[tuple[str, str]]:
    """What another client finds in any of the pooler's sessions that is not so in a new one."""
    untouched = await state_of(admin)
    clients = [await psycopg.AsyncConnection.connect(pooled_url, prepare_threshold=None) for _ in range(count)]
    try:
        # Each in a transaction, so that each keeps its session.
        return {left for client in clients for left in await state_of(client) ^ untouched}
    finally:
        for client in clients:
            await client.close()


@pytest.mark.costly
async def test_three_controllers_read_queues_of_every_kind_through_few_sessions(
    admin: Connection, pooled_url: str
) -> None:
    await enqueue(admin, 5)
    await admin.execute(PROCRASTINATE)
    queues = [PostgresQueue(pooled_url, timeout_s=PATIENT_S) for _ in range(3)]

    async def readings(queue: PostgresQueue) -> None:
        for _ in range(20):
            every = await read_together(queue, TABLE, QUERY, LIBRARY, limit=LIMIT)
            counts = [(one.pending, one.processing) for one in every if isinstance(one, QueueDepth)]
            assert counts == [(5, 0), (5, 0), (2, 1)]

    try:
        await asyncio.gather(*map(readings, queues))
    finally:
        for queue in queues:
            await queue.close()


@pytest.mark.costly
async def test_nothing_of_fifty_readings_is_left_in_the_pooler_s_sessions(
    admin: Connection, queue: PostgresQueue, pooled_url: str, crowded: tuple[int, int]
) -> None:
    for _ in range(25):
        await queue.depth(TABLE, LIMIT)
        await queue.depth(QUERY, LIMIT)
    assert await left_behind(pooled_url, crowded[1], admin) == set()


async def test_nothing_is_sent_after_the_end_of_a_reading(database_url: str, admin: Connection, tmp_path: Path) -> None:
    """A Flush that comes when the answer has gone out is given a session of the pooler's, and keeps it."""
    reader = await Reader.connect(database_url)
    with (tmp_path / "trace").open("w+") as trace:
        reader.connection.pgconn.trace(trace.fileno())
        await reader.read([sql.SQL("SELECT 1").format()], 2.0)
        with pytest.raises(psycopg.errors.UndefinedTable):
            await reader.read([sql.SQL("SELECT FROM nowhere").format(), sql.SQL("SELECT 1").format()], 2.0)
        await reader.notify("somebody", 2.0)
        reader.connection.pgconn.untrace()
        trace.seek(0)
        sent = [line.split("\t")[3].strip() for line in trace if line.split("\t")[1] == "F"]
    await reader.close()
    assert "Flush" not in sent
    assert sent[-1] == "Sync"


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Queue(table="slow"), "took longer than 250 ms"),
        (Queue(table="nowhere"), "this user can see no table"),
        (Queue(sql="SELECT 1 AS pending, nonsense AS processing"), 'column "nonsense" does not exist'),
        (Queue(sql="SELECT nextval('numbers') AS pending, 0 AS processing"), "queue.sql tries to write"),
        (Queue(sql="SELECT 1 AS pending, 0 AS processing; DROP TABLE generation_job"), "it must be one SELECT"),
    ],
    ids=["a timeout", "no table", "a bad query", "a write", "two statements"],
)
async def test_what_cannot_be_read_leaves_session_and_connection_as_they_were(
    admin: Connection,
    pooled_url: str,
    crowded: tuple[int, int],
    caplog: pytest.LogCaptureFixture,
    *,
    policy: Queue,
    words: str,
) -> None:
    await admin.execute("CREATE SEQUENCE numbers")
    await admin.execute("CREATE VIEW slow AS SELECT 'pending' AS status FROM pg_sleep(3)")
    queue = PostgresQueue(pooled_url, timeout_s=PATIENT_S)
    hurry = impatient(queue, 0.25) if "took longer" in words else nullcontext()
    await queue.depth(TABLE, LIMIT)
    connection = queue._lanes.main.kept
    with pytest.raises(Unavailable) as unavailable, hurry:
        await queue.depth(policy, LIMIT)
    assert words in str(unavailable.value)
    assert await queue.depth(TABLE, LIMIT) == QueueDepth(0, 0, None)
    assert queue._lanes.main.kept is connection
    assert await left_behind(pooled_url, crowded[1], admin) == set()
    await queue.close()
    assert caplog.records == []


async def test_a_pooler_that_has_no_session_left_is_no_queue_without_jobs(
    admin: Connection, pooled_url: str, crowded: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = PostgresQueue(pooled_url, timeout_s=PATIENT_S)
    await queue.depth(TABLE, LIMIT)
    greedy = [await psycopg.AsyncConnection.connect(pooled_url) for _ in range(crowded[1])]
    for one in greedy:
        await one.execute("SELECT 1")  # and its transaction stays open
    with monkeypatch.context() as hurry, impatient(queue, 0.3):
        hurry.setattr(postgres_connection, "_SLACK_S", 0.2)
        with pytest.raises(Unavailable, match=r"did not answer in time; .* has a pooler no free connection"):
            await queue.depth(TABLE, LIMIT)
    for one in greedy:
        await one.close()
    assert await queue.depth(TABLE, LIMIT) == QueueDepth(0, 0, None)
    await queue.close()


@pytest.mark.costly
async def test_a_listener_behind_a_pooler_finds_out_that_nothing_arrives_and_leaves(
    admin: Connection,
    queue: PostgresQueue,
    pooled_url: str,
    crowded: tuple[int, int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_listener, "_SELF_TEST_S", 0.2)
    monkeypatch.setattr(postgres_listener, "_DEAF_AGAIN_S", 0.5)
    tried: list[bool] = []
    receives_notify = postgres_listener.receives_notify

    async def noted(*arguments: Any) -> bool:
        tried.append(await receives_notify(*arguments))
        if len(tried) == 3:
            monkeypatch.setattr(postgres_listener, "_DEAF_AGAIN_S", 3600)
        return tried[-1]

    monkeypatch.setattr(postgres_listener, "receives_notify", noted)
    async with listening(pooled_url, queue) as ear:
        await ear.until(lambda: bool(ear.said))
        ((event, message),) = ear.said
        assert event == "wake_unavailable"
        assert "set DATABASE_DIRECT_URL to PostgreSQL's own address; until then the queue is read once per" in message
        await until(lambda: len(tried) == 3, "two tries more, which find the same")
        assert (len(ear.said), tried) == (1, [False] * 3)
    assert (ear.begun, ear.woken) == (0, 0)
    assert await queue.depth(TABLE, LIMIT) == QueueDepth(0, 0, None)
    assert await left_behind(pooled_url, crowded[1], admin) == set()


async def test_a_direct_address_beside_the_pooler_s_is_listened_at(
    admin: Connection, queue: PostgresQueue, database_url: str
) -> None:
    async with listening(database_url, queue, variable="DATABASE_DIRECT_URL") as ear:
        await ear.until(lambda: ear.begun == 1)
        await enqueue(admin, 1)
        await ear.until(lambda: ear.woken == 1)
        assert ear.events == ["listening"]


async def test_a_direct_address_of_another_database_is_found_out(
    servers: Servers, queue: PostgresQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_listener, "_SELF_TEST_S", 0.2)
    async with listening(servers.database_url, queue, variable="DATABASE_DIRECT_URL") as ear:
        await ear.until(lambda: bool(ear.said))
    ((event, message),) = ear.said
    assert event == "wake_unavailable"
    assert "DATABASE_DIRECT_URL leads through a pooler too, or to another database than DATABASE_URL" in message


@pytest.mark.costly
async def test_the_controller_polls_through_a_pooler_with_a_warning_and_wakes_by_the_direct_address(
    scene: Scene, servers: Servers
) -> None:
    with pooler(servers, sessions=1) as port:
        direct = scene.environment["DATABASE_URL"]
        pooled = {
            **QUICK,
            "DATABASE_URL": through(port, direct),
            "UNHURRIED_BUT": "controller.adapters.postgres.listener._SELF_TEST_S=0.5",
        }
        async with running(scene, **pooled) as controller:
            await controller.until(event="wake_unavailable")
            await scene.jobs(3)
            await controller.until(event="reconcile", pending=3)
            await sessions_become(1, scene.queue)  # the pooler's
            assert sum(line["event"] == "wake_unavailable" for line in controller.lines) == 1
            assert await controller.told_to_end() == 0
        await scene.jobs(0)
        async with running(
            scene, **{**pooled, "POLL_INTERVAL_MS": "60000", "SCALE_UP_COOLDOWN_MS": "0"}, DATABASE_DIRECT_URL=direct
        ) as controller:
            await controller.until(event="listening")
            await controller.until(event="reconcile", pending=0)
            await asyncio.sleep(1)  # what is due after the connect is over; the next by the clock comes in a minute
            await enqueue(scene.queue, 15)
            await controller.until(event="woken")
            await controller.until(event="reconcile", pending=15)
            await sessions_become(2, scene.queue)
    assert urlsplit(direct).port != port
