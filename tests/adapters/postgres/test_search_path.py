"""The schema in DATABASE_URL: tables without one are looked for there, in each reading, and no session remembers it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from controller.adapters.postgres.address import database_address
from controller.adapters.postgres.queue import PostgresQueue, known_of
from controller.configuration import configure
from controller.core.model import Rest
from controller.core.ports import Unavailable
from controller.demo.servers import Servers
from controller.doctor.report import examine
from controller.policy import Queue
from controller.simulation.workload.database import read_jobs
from tests.support.pooler import pooler, through
from tests.support.processes import autoscaler, running
from tests.support.scene import Scene

Connection = psycopg.AsyncConnection[Any]
OWN = Queue(table="job")
LIBRARY = Queue(preset="procrastinate")
QUERY = Queue(sql="SELECT count(*) AS pending, 0 AS processing FROM job WHERE status = 'pending'")
PROCRASTINATE = """
CREATE TABLE {0}.procrastinate_workers (id bigint, last_heartbeat timestamptz DEFAULT now());
CREATE TABLE {0}.procrastinate_events (job_id bigint, type text, at timestamptz);
CREATE TABLE {0}.procrastinate_jobs (
  id bigserial, queue_name text, status text, scheduled_at timestamptz, worker_id bigint
);
INSERT INTO {0}.procrastinate_jobs (status) SELECT 'todo' FROM generate_series(1, {1});
"""
TABLE = """
CREATE TABLE {0}.job (status text, created_at timestamptz DEFAULT now(), scheduled_for timestamptz,
  started_at timestamptz, completed_at timestamptz);
INSERT INTO {0}.job (status) SELECT 'pending' FROM generate_series(1, {1});
INSERT INTO {0}.job SELECT 'completed', now(), now(), now() - make_interval(secs => {1}), now()
FROM generate_series(1, 9);
INSERT INTO {0}.job (status) SELECT 'failed' FROM generate_series(1, {1});
"""


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[Connection]:
    """The same tables in two schemas: three jobs in the one that everybody sees, and seven in the one that is named."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute('CREATE SCHEMA "My App"')
        for schema, jobs in (("public", 3), ('"My App"', 7)):
            for statements in (TABLE, PROCRASTINATE):
                await connection.execute(statements.format(schema, jobs).encode())
        yield connection


def named(database_url: str, schema: str) -> tuple[str, str]:
    address = database_address(f"{database_url}?schema={schema}")
    return address.url, address.search_path


@pytest.mark.parametrize(("schema", "jobs"), [("My%20App", 7), ("public", 3)])
async def test_every_kind_of_queue_is_looked_for_in_the_schema_of_the_address(
    admin: Connection, database_url: str, schema: str, jobs: int
) -> None:
    url, search_path = named(database_url, schema)
    queue = PostgresQueue(url, timeout_s=5.0, search_path=search_path)
    try:
        for one in (OWN, LIBRARY, QUERY):
            assert (await queue.depth(one, 100)).pending == jobs
        assert (await queue.depth(Queue(table="public.job"), 100)).pending == 3
        assert await queue.rest(OWN, 100) == Rest(0, jobs, 100)
        service = await queue.service_time(OWN)
        assert service is not None
        assert service.mean_s == pytest.approx(jobs)
    finally:
        await queue.close()


async def test_a_table_that_is_only_elsewhere_is_not_taken_for_it_and_said_where_it_is(
    admin: Connection, database_url: str
) -> None:
    await admin.execute('CREATE TABLE "My App".mine (status text)')
    url, search_path = named(database_url, "public")
    queue = PostgresQueue(url, timeout_s=5.0, search_path=search_path)
    with pytest.raises(Unavailable) as unavailable:
        await queue.depth(Queue(table="mine"), 100)
    await queue.close()
    assert 'this user can see no table "mine"; schema My App has one: set queue.table' in str(unavailable.value)


async def test_jobs_and_service_times_of_a_person_s_commands_are_read_there_too(
    admin: Connection, database_url: str
) -> None:
    url, search_path = named(database_url, "My%20App")
    (known,) = (await known_of(url, {"w": OWN}, search_path=search_path)).values()
    assert known.service is not None
    assert known.service.mean_s == pytest.approx(7)
    workload = await read_jobs(url, OWN, since_s=3600, progress=lambda *_: None, search_path=search_path)
    assert {round(job[1]) for job in workload.jobs()} == {7}


async def test_a_pooler_s_session_is_left_without_the_schema(
    admin: Connection, database_url: str, servers: Servers
) -> None:
    with pooler(servers, sessions=1) as port:
        url, search_path = named(through(port, database_url), "My%20App")
        queue = PostgresQueue(url, timeout_s=5.0, search_path=search_path)
        assert (await queue.depth(OWN, 100)).pending == 7
        async with await psycopg.AsyncConnection.connect(url, prepare_threshold=None) as other:
            cursor = await other.execute("SHOW search_path")
            assert await cursor.fetchone() == ('"$user", public',)
        await queue.close()


@pytest.mark.costly
async def test_an_address_for_prisma_runs_the_controller_with_one_line_on_what_is_without_effect(scene: Scene) -> None:
    await scene.queue.execute("CREATE SCHEMA app")
    await scene.queue.execute("ALTER TABLE generation_job SET SCHEMA app")
    await scene.queue.execute("INSERT INTO app.generation_job (status) SELECT 'pending' FROM generate_series(1, 15)")
    prisma = f"{scene.environment['DATABASE_URL']}?schema=app&connection_limit=1&pgbouncer=true&pool_timeout=0"
    scene.environment["DATABASE_URL"] = prisma
    async with running(scene, POLL_INTERVAL_MS="200") as controller:
        await controller.until(event="reconcile", pending=15)
        await controller.until(event="listening")
    ignored = [line for line in controller.lines if line["event"] == "setting_ignored"]
    assert [(line["variable"], line["message"]) for line in ignored] == [
        ("DATABASE_URL", "DATABASE_URL: connection_limit, pool_timeout: for other clients, without effect here")
    ]


@pytest.mark.costly
async def test_doctor_names_what_is_without_effect_and_looks_at_the_table_of_the_schema(scene: Scene) -> None:
    await scene.queue.execute("CREATE SCHEMA app")
    await scene.queue.execute("ALTER TABLE generation_job SET SCHEMA app")
    prisma = f"{scene.environment['DATABASE_URL']}?schema=app&connection_limit=1"
    report = await examine(configure(scene.policy, {**scene.environment, "DATABASE_URL": prisma}))
    assert report.is_well
    said = {finding.about: finding.says for _, finding in report.rows()}
    assert said["addresses"] == "DATABASE_URL: connection_limit: for other clients, without effect here"


@pytest.mark.costly
async def test_a_person_s_commands_take_such_an_address_and_refuse_a_wrong_one_with_2(
    admin: Connection, database_url: str, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("workers: {w: {service: svc, queue: {table: job}, max_replicas: 5, target_wait: 60s}}")
    prisma = {"DATABASE_URL": f"{database_url}?schema=My%20App&connection_limit=1"}
    ran = await autoscaler("check", str(policy), "--from-database", environment=prisma)
    assert (ran.code, ran.err) == (0, "")
    assert "7 s" in ran.out
    wrong = {"DATABASE_URL": "postgresql+psycopg://u:hunter2@h/d"}
    for command in (("check", str(policy), "--from-database"), ("simulate", str(policy), "--from-database")):
        ran = await autoscaler(*command, environment=wrong)
        assert ran.code == 2
        assert "take out +psycopg" in ran.err
        assert "hunter2" not in ran.err + ran.out
