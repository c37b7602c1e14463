"""Where PostgreSQL, or a pooler, allows one connection: the reading has it, and what takes a second is said once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import psycopg
import pytest

from controller.adapters.postgres import listener as postgres_listener
from controller.adapters.postgres.queue import PostgresQueue
from controller.configuration import configure
from controller.demo.servers import Servers
from controller.doctor.finding import Finding, Level
from controller.doctor.report import examine
from controller.policy import Queue
from tests.support.listening import CHANNEL, listening
from tests.support.pooler import pooler, through
from tests.support.processes import QUICK, autoscaler, running
from tests.support.scene import Scene

SOON_DEAF = {
    "UNHURRIED_BUT": "controller.adapters.postgres.listener._SELF_TEST_S=0.5 "
    # What has no session to answer on never answers.
    "controller.adapters.postgres.listener._ANSWER_S=5 controller.doctor.postgres_server._ANSWER_S=5"
}
"""What never arrives need not be waited for."""
LIMITS = ["the role", "the database", "a session pooler"]


@contextmanager
def one_connection(servers: Servers, url: str, limit: str) -> Iterator[str]:
    """The address of a user who may read, and may connect once at a time."""
    name = urlsplit(url).path[1:]
    with psycopg.connect(url, autocommit=True) as admin:
        if admin.execute("SELECT FROM pg_roles WHERE rolname = 'single'").fetchone() is None:
            admin.execute("CREATE ROLE single LOGIN")
        admin.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO single")
        admin.execute(f"ALTER ROLE single CONNECTION LIMIT {1 if limit == 'the role' else -1}".encode())
        # The scene, this one and the one that empties it (tests/support/clean_places.py) are in the database too.
        admin.execute(f"ALTER DATABASE {name} CONNECTION LIMIT {4 if limit == 'the database' else -1}".encode())
        address = urlsplit(url)
        alone = address._replace(netloc=f"single@{address.netloc.rpartition('@')[2]}").geturl()
        try:
            if limit == "a session pooler":
                with pooler(servers, sessions=1, mode="session") as port:
                    yield through(port, url)
            else:
                yield alone
        finally:
            admin.execute("ALTER ROLE single CONNECTION LIMIT -1")
            admin.execute(f"ALTER DATABASE {name} CONNECTION LIMIT -1".encode())
            admin.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'single'")
            admin.execute("DROP OWNED BY single")


@pytest.fixture(params=LIMITS)
async def alone(request: pytest.FixtureRequest, scene: Scene, servers: Servers) -> AsyncIterator[Scene]:
    """A scene whose DATABASE_URL allows one connection, and whose queue announces its jobs."""
    with one_connection(servers, scene.environment["DATABASE_URL"], request.param) as url:
        scene.environment["DATABASE_URL"] = url
        yield scene


async def test_doctor_looks_at_everything_on_one_connection_and_says_what_takes_two(
    alone: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_listener, "_ANSWER_S", 1.0)
    await alone.jobs(4)
    report = await examine(configure(alone.policy, alone.environment))
    found: dict[str, Finding] = {finding.about: finding for _, finding in report.rows()}
    assert report.is_well
    assert {found[about].level for about in ("PostgreSQL", "queue", "plan", "bloat")} == {Level.OK}
    assert "4 jobs" in found["queue"].says
    assert found["listening"].level is Level.WARNING
    assert (
        "listening for NOTIFY needs a second connection at DATABASE_URL, beside the one that reads"
        in found["listening"].says
    )
    assert "allow 2" in found["listening"].sentence
    assert "until then the queue is read once per interval" in found["listening"].fix


@pytest.mark.costly
async def test_doctor_as_people_run_it_ends_well_with_one_connection(alone: Scene) -> None:
    ran = await autoscaler("doctor", environment={**alone.environment, **SOON_DEAF})
    assert (ran.code, ran.err) == (0, "")
    assert "needs a second connection" in ran.out


@pytest.mark.costly
async def test_the_controller_reads_on_its_one_connection_and_says_once_why_it_is_not_woken(alone: Scene) -> None:
    async with running(alone, **QUICK, **SOON_DEAF) as controller:
        await controller.until(event="wake_unavailable")
        await alone.jobs(3)
        await controller.until(event="reconcile", pending=3)
        await alone.jobs(5)
        await controller.until(event="reconcile", pending=5)
    said = [line["message"] for line in controller.lines if line["event"] == "wake_unavailable"]
    assert len(said) == 1
    assert "listening for NOTIFY needs a second connection at DATABASE_URL" in said[0]
    assert not [line for line in controller.lines if line.get("reason") == "QueueUnavailable"]


@pytest.mark.costly
async def test_a_second_connection_that_is_allowed_later_is_listened_on(
    scene: Scene, servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_listener, "_NO_ROOM_AGAIN_S", 0.5)
    with one_connection(servers, scene.environment["DATABASE_URL"], "the role") as url:
        queue = PostgresQueue(url, timeout_s=2.0)
        async with listening(url, queue, queues=[Queue(table="generation_job", wake_on=CHANNEL)]) as ear:
            await ear.until(lambda: bool(ear.said))
            await asyncio.sleep(1.5)  # time for more attempts, which say the same
            assert ear.events == ["wake_unavailable"]
            await scene.queue.execute("ALTER ROLE single CONNECTION LIMIT 2")
            await ear.until(lambda: ear.begun == 1)
            assert ear.events == ["wake_unavailable", "listening"]
        await queue.close()
