"""Of a real queue: rights, the plan, what slows it down, what wakes us; what is printed to mend it does mend it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from controller.adapters import postgres_checks
from controller.demo.jobs import create_queue
from controller.findings import Level
from controller.policy import Policy
from controller.queue_guide import triggers
from tests.doctor.looking import FILL, Patient, policy

Connection = psycopg.AsyncConnection[Any]


async def test_a_queue_that_is_as_it_should_be_is_not_complained_of(
    patient: Patient, reader_url: str, owner: Connection
) -> None:
    await patient.do("GRANT SELECT ON generation_job TO doctors_reader")
    found = await Patient(reader_url, owner, policy(table="generation_job", wake_on="new_generation_job")).findings()
    assert {about: finding.level for about, finding in found.items()} == dict.fromkeys(
        ("queue", "rights", "plan", "bloat", "wake-up"), Level.OK
    )


# --- rights ---


@pytest.mark.parametrize("preset", [None, "river"])
async def test_whoever_may_not_read_is_told_what_lets_him(
    patient: Patient, reader_url: str, owner: Connection, preset: str | None
) -> None:
    if preset is not None:
        await patient.do(
            "CREATE SCHEMA jobs",
            "CREATE TABLE jobs.river_job (state text, queue text, scheduled_at timestamptz, attempted_at timestamptz)",
            "CREATE TABLE jobs.river_queue (name text, paused_at timestamptz)",
        )
    worker = policy() if preset is None else policy(preset=preset, schema="jobs")
    poor = Patient(reader_url, owner, worker)
    found = await poor.findings()
    assert (found["queue"].level, found["rights"].level) == (Level.ERROR, Level.ERROR)
    await patient.do(*found["rights"].sql)
    found = await poor.findings()
    assert (found["queue"].level, found["rights"].level) == (Level.OK, Level.OK)


async def test_a_user_that_may_do_more_than_read_is_warned_of_with_one_that_may_not(
    patient: Patient, reader_url: str, owner: Connection
) -> None:
    found = (await patient.findings())["rights"]
    assert (found.level, found.says) == (
        Level.WARNING,
        "user postgres is a superuser, and SELECT is all that is needed",
    )
    create, *grants = found.sql
    assert create.startswith("CREATE ROLE autoscaler_reader LOGIN PASSWORD '…';")
    await patient.do(*(grant.replace("autoscaler_reader", "doctors_reader") for grant in grants))
    assert (await Patient(reader_url, owner, policy()).findings())["rights"].level is Level.OK


async def test_one_right_to_write_is_one_too_many(patient: Patient, reader_url: str, owner: Connection) -> None:
    await patient.do("GRANT SELECT, DELETE ON generation_job TO doctors_reader")
    found = (await Patient(reader_url, owner, policy()).findings())["rights"]
    assert (found.level, found.says) == (
        Level.WARNING,
        "user doctors_reader may write to its tables, and SELECT is all that is needed",
    )


async def test_row_security_that_hides_rows_is_named_with_what_lets_us_see_them(
    patient: Patient, reader_url: str, owner: Connection
) -> None:
    await patient.do(
        "GRANT SELECT ON generation_job TO doctors_reader", "ALTER TABLE generation_job ENABLE ROW LEVEL SECURITY"
    )
    poor = Patient(reader_url, owner, policy())
    found = (await poor.findings())["rights"]
    assert found.level is Level.WARNING
    await patient.do(*found.sql)
    assert (await poor.findings())["rights"].level is Level.OK


# --- the plan ---

SQL = """
SELECT (SELECT count(*) FROM generation_job g WHERE g.status = 'pending' AND g.scheduled_for <= now()) AS pending,
  (SELECT count(*) FROM generation_job WHERE status = 'processing') AS processing"""


@pytest.mark.parametrize(
    ("before", "queue"),
    [
        ("", {}),
        ("CREATE INDEX ON generation_job (scheduled_for)", {}),
        ("ALTER TABLE generation_job ALTER status TYPE state USING status::state", {}),
        ("", {"sql": SQL}),
    ],
    ids=["no index", "an index that sorts out nothing", "an enum", "a query"],
)
async def test_a_big_table_without_the_index_it_needs_is_warned_of_with_the_index(
    patient: Patient, before: str, queue: dict[str, str]
) -> None:
    await patient.do(
        "DROP INDEX generation_job_status_idx",
        "ALTER TABLE generation_job DROP CONSTRAINT IF EXISTS generation_job_status_check",
        "CREATE TYPE state AS ENUM ('pending', 'processing', 'completed', 'failed')",
        "ALTER TABLE generation_job ALTER status DROP DEFAULT",
        *filter(None, [before]),
        FILL.format(table="generation_job").replace(
            "'completed'", "'completed'::state" if "state" in before else "'completed'"
        ),
        "ANALYZE generation_job",
    )
    patient.worker = policy(**queue)
    found = (await patient.findings())["plan"]
    assert found.level is Level.WARNING
    assert all(statement.startswith("CREATE INDEX CONCURRENTLY ON") for statement in found.sql)
    await patient.do(*found.sql)
    found = (await patient.findings())["plan"]
    assert found.level is Level.OK, found
    assert found.says.startswith("goes by generation_job_")


async def test_a_query_that_no_index_can_serve_is_told_how_to_ask(patient: Patient) -> None:
    await patient.do(FILL.format(table="generation_job"))
    patient.worker = policy(
        sql="SELECT count(*) FILTER (WHERE status = 'pending') AS pending, 0 AS processing FROM generation_job"
    )
    found = (await patient.findings())["plan"]
    assert (found.level, found.sql) == (Level.WARNING, ())
    assert found.mend.startswith("put its conditions into WHERE")


async def test_a_small_table_may_be_read_whole(patient: Patient) -> None:
    await patient.do("DROP INDEX generation_job_status_idx")
    found = (await patient.findings())["plan"]
    assert found.level is Level.OK


async def test_a_query_that_would_write_is_refused_and_writes_nothing(patient: Patient) -> None:
    await patient.do("CREATE TABLE precious (id int)", "INSERT INTO precious VALUES (1)")
    for query in (
        "DELETE FROM precious RETURNING 1 AS pending, 0 AS processing",
        "WITH gone AS (DELETE FROM precious RETURNING 1) SELECT count(*) AS pending, 0 AS processing FROM gone",
        "SELECT 1 AS pending, 0 AS processing; COMMIT; DROP TABLE precious",
    ):
        patient.worker = policy(sql=query)
        assert (await patient.findings())["queue"].level is Level.ERROR
    cursor = await patient.owner.execute("SELECT count(*) FROM precious")
    assert await cursor.fetchone() == (1,)


# --- what slows it down ---


async def test_dead_rows_that_vacuum_left_are_warned_of(patient: Patient) -> None:
    await patient.do(
        "ALTER TABLE generation_job SET (autovacuum_enabled = off)",
        FILL.format(table="generation_job"),
        "UPDATE generation_job SET progress = 1",
        "SELECT pg_stat_force_next_flush()",
    )
    found = (await patient.findings())["bloat"]
    assert (found.level, found.sql[0]) == (Level.WARNING, 'VACUUM (ANALYZE) "public"."generation_job";')
    await patient.do(*found.sql, "SELECT pg_stat_force_next_flush()")
    assert (await patient.findings())["bloat"].level is Level.OK


async def test_an_old_transaction_is_named(
    patient: Patient, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_checks, "_LONG_TRANSACTION_S", 0)
    async with await psycopg.AsyncConnection.connect(database_url) as idle:
        await idle.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
        await idle.execute("SELECT count(*) FROM generation_job")
        found = (await patient.findings())["bloat"]
        assert found.level is Level.WARNING
        assert f"transaction of process {idle.info.backend_pid} has been open for" in found.says


# --- what wakes us ---


async def test_a_table_that_announces_nothing_is_told_of_the_trigger_which_mends_it(
    patient: Patient, owner: Connection
) -> None:
    await create_queue(owner, "quiet")
    await patient.do("DROP TRIGGER quiet_wake_workers ON quiet")
    patient.worker = policy(table="quiet", wake_on="new_quiet")
    found = (await patient.findings())["wake-up"]
    assert (found.level, found.says) == (Level.WARNING, 'no trigger of "public"."quiet" notifies on new_quiet')
    printed = "\n".join(triggers(Policy(workers={"w": patient.worker})))
    await patient.do(printed)
    assert (await patient.findings())["wake-up"].level is Level.OK


# --- how long jobs take ---


async def test_how_long_jobs_take_is_known_from_those_that_are_done(patient: Patient) -> None:
    assert await patient.longest_job() is None
    await patient.do(
        "INSERT INTO generation_job (id, status, started_at, completed_at) "
        "SELECT n::text, 'completed', now() - n * interval '1 s', now() FROM generate_series(1, 100) n"
    )
    assert await patient.longest_job() == pytest.approx(95, abs=1)


async def test_or_else_from_how_long_the_oldest_claim_is_worked_on(patient: Patient) -> None:
    await patient.do(
        "INSERT INTO generation_job (id, status, locked_at) VALUES ('1', 'processing', now() - interval '90 s')"
    )
    assert await patient.longest_job() == pytest.approx(90, abs=5)
