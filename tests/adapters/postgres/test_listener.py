"""The listening connection: dead links, ended sessions, odd notifications; and how many connections are opened."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from controller.adapters.postgres import connection as postgres_connection
from controller.adapters.postgres import listener as postgres_listener
from controller.adapters.postgres.queue import PostgresQueue
from controller.configuration import configure
from controller.core.model import QueueDepth
from controller.core.ports import Unavailable
from controller.demo.jobs import create_queue, enqueue
from controller.demo.server_host import free_ports
from controller.doctor import postgres_server as postgres_reach
from controller.doctor.finding import Level
from controller.doctor.report import examine
from controller.policy import Queue
from tests.queues.scenario import SCHEMAS
from tests.support.listening import CHANNEL, OURS, Ear, end_sessions, listening, sessions_become
from tests.support.misfortunes import LinkMode
from tests.support.patience import in_time, until
from tests.support.processes import QUICK, running
from tests.support.proxy import Link
from tests.support.scene import Scene
from tests.support.unhurried import PATIENT_S, PROMISED

Connection = psycopg.AsyncConnection[Any]
JOBS = Queue(table="generation_job")
EMPTY = QueueDepth(0, 0, None)
NOTICED_WITHIN_S = 30


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await create_queue(connection)
        yield connection


@pytest.fixture
async def queue(database_url: str, admin: Connection) -> AsyncIterator[PostgresQueue]:
    postgres = PostgresQueue(database_url, timeout_s=PATIENT_S)
    yield postgres
    await postgres.close()


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Nothing is different but the pauses."""
    for name in ("_LOOK_S", "_AGAIN_S"):
        monkeypatch.setattr(postgres_listener, name, 0.02)
    monkeypatch.setattr(postgres_listener, "_ALIVE_S", 0.4)
    return monkeypatch


@asynccontextmanager
async def link_to(url: str) -> AsyncIterator[tuple[Link, str]]:
    """A link that can be disturbed, and the address that leads over it."""
    address = urlsplit(url)
    link = Link("PostgreSQL", next(free_ports()), ("127.0.0.1", address.port or 5432))
    await link.open()
    try:
        yield link, address._replace(netloc=f"postgres@127.0.0.1:{link.port}").geturl()
    finally:
        await link.close()


# --- what is announced ---


async def test_a_job_is_announced_at_once(admin: Connection, queue: PostgresQueue, database_url: str) -> None:
    async with listening(database_url, queue) as ear:
        await ear.until(lambda: ear.begun == 1)
        assert ear.said == [("listening", f"a NOTIFY on {CHANNEL} starts a cycle at once")]
        await enqueue(admin, 1)
        await ear.until(lambda: ear.woken == 1)


@pytest.mark.costly
@pytest.mark.usefixtures("hurry")
async def test_whether_a_link_is_one_is_not_asked_behind_a_flood_of_announcements(
    admin: Connection, queue: PostgresQueue, database_url: str
) -> None:
    """All that came before the answer would be kept until then: 600 MB within seconds."""

    async def last_words() -> list[str]:
        found = await admin.execute(f"SELECT query FROM pg_stat_activity WHERE {OURS}")
        return [query for (query,) in await found.fetchall()]

    async with listening(database_url, queue) as ear:
        await ear.until(lambda: ear.begun == 1)
        loop = asyncio.get_running_loop()
        announced = loop.time()
        ends = announced + 4 * postgres_listener._ALIVE_S
        was_silent = False  # on a machine that is very busy, so that it may ask
        while loop.time() < ends:
            await admin.execute("SELECT pg_notify(%s, g::text) FROM generate_series(1, 100) g", (CHANNEL,))
            was_silent |= loop.time() - announced > postgres_listener._ALIVE_S / 2
            announced = loop.time()
            await asyncio.sleep(0.01)
            assert was_silent or "SELECT 1" not in await last_words()

        async def asked() -> bool:
            return "SELECT 1" in await last_words()

        await until(asked, "it to ask, now that all is silent")


async def test_where_the_reading_connection_cannot_notify_the_listener_tests_itself(
    admin: Connection, database_url: str
) -> None:
    unread = PostgresQueue("postgresql://postgres@127.0.0.1:1/none", timeout_s=0.5)
    async with listening(database_url, unread) as ear:
        await ear.until(lambda: ear.begun == 1)
        await enqueue(admin, 1)
        await ear.until(lambda: ear.woken == 1)


async def test_channels_may_have_any_name(admin: Connection, queue: PostgresQueue, database_url: str) -> None:
    odd = ("jobs:insert", 'procrastinate_queue_v1#a"b', "Ünïcode; DROP TABLE generation_job", "x" * 63)
    async with listening(database_url, queue, *odd) as ear:
        await ear.until(lambda: ear.begun == 1)
        for channel in odd:
            await admin.execute("SELECT pg_notify(%s, 'x')", (channel,))
        await ear.until(lambda: ear.woken == len(odd))


async def test_a_queue_that_cannot_be_read_takes_no_other_s_wake_ups_away_and_is_listened_to_once_it_can(
    admin: Connection, queue: PostgresQueue, database_url: str, hurry: pytest.MonkeyPatch
) -> None:
    library = Queue(preset="oban")
    async with listening(database_url, queue, queues=[library, Queue(table="generation_job", wake_on=CHANNEL)]) as ear:
        await ear.until(lambda: ear.begun == 1)
        await enqueue(admin, 1)
        await ear.until(lambda: ear.woken == 1)
        await admin.execute((SCHEMAS / "oban.sql").read_text().encode())
        await ear.until(lambda: ear.begun == 2)
        await admin.execute("SELECT pg_notify('public.oban_insert', '')")
        await ear.until(lambda: ear.woken >= 2)


async def test_who_does_not_lead_listens_on_no_connection(
    admin: Connection, queue: PostgresQueue, database_url: str, hurry: pytest.MonkeyPatch
) -> None:
    async with listening(database_url, queue) as ear:
        await ear.until(lambda: ear.begun == 1)
        await queue.close()
        await sessions_become(1, admin)
        ear.leads = False
        await sessions_become(0, admin)


# --- links that die ---


async def test_an_ended_session_is_replaced_and_polled_for_once(
    admin: Connection, queue: PostgresQueue, database_url: str, hurry: pytest.MonkeyPatch
) -> None:
    async with listening(database_url, queue) as ear:
        await ear.until(lambda: ear.begun == 1)
        assert await end_sessions(admin) == 2
        await ear.until(lambda: ear.begun == 2)
        await enqueue(admin, 1)
        await ear.until(lambda: ear.woken == 1)
        assert (ear.begun, ear.events) == (2, ["listening"])


@pytest.mark.costly
@pytest.mark.parametrize("mode", [LinkMode.DROP, LinkMode.HALF_DROP])
async def test_the_readings_never_wait_for_a_link_that_went_silent(
    admin: Connection, queue: PostgresQueue, database_url: str, hurry: pytest.MonkeyPatch, mode: LinkMode
) -> None:
    """The proxy's kernel acknowledges everything, as a load balancer does, so no TCP timeout ends such a link."""
    async with link_to(database_url) as (link, address), listening(address, queue) as ear:
        await ear.until(lambda: ear.begun == 1)
        await link.disturb(mode)
        silent = set(link._pairs)
        await until(lambda: link.suffered > 0, "a question on the silent link")
        for _ in range(20):
            assert await queue.depth(JOBS, 100) == EMPTY
        assert set(link._pairs) == silent, "by now its answer was waited for long enough"


@pytest.mark.parametrize("mode", [LinkMode.DROP, LinkMode.HALF_DROP])
async def test_a_link_that_went_silent_is_noticed_and_replaced(
    admin: Connection,
    queue: PostgresQueue,
    database_url: str,
    hurry: pytest.MonkeyPatch,
    mode: LinkMode,
) -> None:
    assert postgres_listener._ALIVE_S + PROMISED["controller.adapters.postgres.listener._ANSWER_S"] < NOTICED_WITHIN_S
    async with link_to(database_url) as (link, address), listening(address, queue) as ear:
        await ear.until(lambda: ear.begun == 1)
        (dead,) = link._pairs
        with hurry.context() as impatient:
            impatient.setattr(postgres_listener, "_ANSWER_S", 0.2)
            await link.disturb(mode)
            await until(lambda: dead not in link._pairs, "the dead link to be given up")
        await link.heal()
        await ear.until(lambda: ear.begun >= 2)
        await enqueue(admin, 1)
        await ear.until(lambda: ear.woken >= 1)


@pytest.fixture
async def warm(database_url: str, admin: Connection) -> AsyncIterator[tuple[Link, PostgresQueue]]:
    """A queue with a connection over a link, which has answered once."""
    async with link_to(database_url) as (link, address):
        queue = PostgresQueue(address, timeout_s=PATIENT_S)
        await queue.depth(JOBS, 100)
        yield link, queue
        await queue.close()


@asynccontextmanager
async def impatient_reading(queue: PostgresQueue, link: Link) -> AsyncIterator[asyncio.Task[QueueDepth]]:
    """A reading that gets no answer and is given up at once; the readings after it have enough time."""
    patient = queue._lanes.timeout_s, postgres_connection._SLACK_S
    queue._lanes.timeout_s, postgres_connection._SLACK_S = 0.3, 0.1
    await link.disturb(LinkMode.DROP)
    reading = asyncio.create_task(queue.depth(JOBS, 100))
    await until(lambda: link.suffered > 0, "a question on the silent link")
    queue._lanes.timeout_s, postgres_connection._SLACK_S = patient
    yield reading


async def test_a_reading_whose_link_went_silent_is_made_on_a_new_one(
    admin: Connection, warm: tuple[Link, PostgresQueue]
) -> None:
    link, queue = warm
    async with impatient_reading(queue, link) as reading:
        link.mode = LinkMode.OPEN  # for new connections; what the old one has lost never comes
        assert await in_time(reading, "a reading on a new connection") == EMPTY
        await sessions_become(1, admin)


@pytest.mark.costly
async def test_a_reading_without_any_link_is_unavailable_in_time(
    warm: tuple[Link, PostgresQueue], monkeypatch: pytest.MonkeyPatch
) -> None:
    link, queue = warm
    with monkeypatch.context() as impatient:
        impatient.setattr(postgres_connection, "CONNECT_TIMEOUT_S", 2)  # libpq's least
        async with impatient_reading(queue, link) as reading:
            with pytest.raises(Unavailable, match="did not answer at the address in DATABASE_URL in time"):
                await in_time(reading, "a reading to be given up")
    await link.heal()
    assert await queue.depth(JOBS, 100) == EMPTY


async def test_an_address_that_does_not_answer_is_reported_once_and_tried_again(
    queue: PostgresQueue, database_url: str, hurry: pytest.MonkeyPatch
) -> None:
    async with link_to(database_url) as (link, address):
        await link.disturb(LinkMode.REFUSE)
        async with listening(address, queue, variable="DATABASE_DIRECT_URL") as ear:
            await ear.until(lambda: bool(ear.said))
            await asyncio.sleep(0.3)  # a few tries more
            ((event, message),) = ear.said
            assert event == "wake_unavailable"
            assert "PostgreSQL refuses connections at the address in DATABASE_DIRECT_URL; is it running?" in message
            await link.heal()
            await ear.until(lambda: ear.begun == 1)
            assert ear.events == ["wake_unavailable", "listening"]


# --- links that are cut again and again ---


async def cut(admin: Connection, ear: Ear) -> None:
    """Once, as soon as it listens again."""
    times = ear.begun
    while not await end_sessions(admin):
        await asyncio.sleep(0.02)
    await ear.until(lambda: ear.begun > times)


@pytest.mark.costly
async def test_a_connection_that_is_cut_again_and_again_is_said_once_and_so_is_its_end(
    admin: Connection, database_url: str, queue: PostgresQueue, hurry: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_listener, "_HOLDS_S", 2.0)
    async with listening(database_url, queue, variable="DATABASE_DIRECT_URL") as ear:
        await ear.until(lambda: ear.begun == 1)
        for _ in range(postgres_listener._CUTS - 1):
            await cut(admin, ear)
        assert ear.events == ["listening"], "a cut or two are no news"
        for _ in range(6):
            await cut(admin, ear)
        assert ear.events == ["listening", "wake_unavailable"]
        said = ear.said[-1][1]
        assert said.startswith("the listening connection was cut 3 times within ")
        assert "PostgreSQL ended the connection" in said
        assert "probably something ends idle or old connections: a pooler, a proxy, idle_session_timeout" in said
        assert "set it to PostgreSQL's own address; until then the queue is read once per interval" in said
        await enqueue(admin, 1)
        await ear.until(lambda: ear.woken > 0)  # between two cuts it listens all the same
        await ear.until(lambda: len(ear.said) == 3)
        event, said = ear.said[-1]
        assert event == "listening"
        assert re.search(
            r"a NOTIFY on new_generation_job starts a cycle at once; the connection has now held for [\d.]+ m?s", said
        )
        for _ in range(postgres_listener._CUTS):
            await cut(admin, ear)
        assert ear.events == ["listening", "wake_unavailable"] * 2, "and what begins anew is said anew"


async def test_a_link_that_is_cut_and_refused_by_turns_is_said_once(
    admin: Connection, database_url: str, queue: PostgresQueue, hurry: None
) -> None:
    async with link_to(database_url) as (link, address), listening(address, queue) as ear:
        await ear.until(lambda: ear.begun == 1)
        for _ in range(8):
            times = ear.begun
            await link.disturb(LinkMode.REFUSE)
            await asyncio.sleep(0.1)
            await link.heal()
            await ear.until(lambda times=times: ear.begun > times)  # type: ignore[misc]
        assert len([message for _, message in ear.said if "was cut 3 times" in message]) == 1
        assert len(ear.said) <= 6
        before = len(ear.said)
        for _ in range(4):
            times = ear.begun
            link.cut()
            await ear.until(lambda times=times: ear.begun > times)  # type: ignore[misc]
        assert len(ear.said) == before


@pytest.mark.parametrize(
    ("at", "held_s", "over"),
    [([0, 7, 14], 29, False), ([0, 7, 14], 31, True), ([0, 200, 400], 599, False), ([0, 200, 400], 601, True)],
)
def test_cuts_count_as_over_when_the_connection_has_held_for_longer_than_they_ever_let_it(
    at: list[float], held_s: float, *, over: bool
) -> None:
    assert postgres_listener._Cuts(at).are_over(held_s) is over


@pytest.mark.costly
async def test_what_the_leader_said_of_being_cut_is_seen_by_doctor_until_it_listens_again(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def said_to_doctor() -> list[str]:
        report = await examine(configure(scene.policy, scene.environment))
        return [one.says for one in report.everywhere if one.about == "listening" and one.level is Level.WARNING]

    monkeypatch.setattr(postgres_reach, "_QUIET_S", 0.05)
    async with running(scene, **QUICK) as controller:
        await controller.until(event="listening")
        assert await said_to_doctor() == []
        cuts = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND " + OURS
        while not [line for line in controller.lines if line["event"] == "wake_unavailable"]:
            await scene.queue.execute(cuts.encode())
            await asyncio.sleep(0.05)
        said = await until(said_to_doctor, "doctor's word of it", pause=0.3)
    assert re.match(r"the leading controller reported at 20\d\d-.*Z: the listening connection was cut 3 times", said[0])


# --- how many connections ---


@pytest.mark.costly
async def test_forty_readings_and_eight_reconnects_leave_two_connections(
    admin: Connection, queue: PostgresQueue, database_url: str, hurry: pytest.MonkeyPatch
) -> None:
    async with listening(database_url, queue) as ear:
        for times in range(1, 9):
            await ear.until(lambda times=times: ear.begun == times)  # type: ignore[misc]
            for _ in range(5):
                await queue.depth(JOBS, 100)
            assert await end_sessions(admin) == 2
        await ear.until(lambda: ear.begun == 9)
        await queue.depth(JOBS, 100)
        await sessions_become(2, admin)


@pytest.mark.costly
async def test_a_queue_that_announces_nothing_is_read_on_one_connection(
    admin: Connection, queue: PostgresQueue
) -> None:
    for times in range(1, 9):
        for _ in range(5):
            await queue.depth(JOBS, 100)
        assert await end_sessions(admin) == 1, times
    await queue.depth(JOBS, 100)
    await sessions_become(1, admin)


@pytest.mark.costly
async def test_of_two_replicas_only_the_leader_has_connections(scene: Scene) -> None:
    quick = {**QUICK, "POLL_INTERVAL_MS": "100"}
    async with running(scene, **quick) as leader, running(scene, **quick) as standby:
        await asyncio.gather(leader.until(event="started"), standby.until(event="started"))
        listening = [asyncio.create_task(one.until(event="listening")) for one in (leader, standby)]
        await asyncio.wait(listening, return_when=asyncio.FIRST_COMPLETED)
        for task in listening:
            task.cancel()
        await asyncio.sleep(1)  # whatever the other one might open
        await sessions_become(2, scene.queue)
        cursor = await scene.queue.execute(
            "SELECT count(DISTINCT application_name) FROM pg_stat_activity WHERE datname = current_database()"
        )
        assert await cursor.fetchone() == (2,)  # theirs and the test's own
