"""Doctor on a real queue: rights, plan, bloat, wake-up; and the SQL that it prints as a fix does fix it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from controller.cli.queue_trigger import triggers
from controller.demo.jobs import create_queue
from controller.doctor import postgres_queue as postgres_checks
from controller.doctor.finding import Finding, Level
from controller.policy import Policy
from tests.doctor.looking import FILL, Patient, looks, policy, soon_after
from tests.support.patience import until

Connection = psycopg.AsyncConnection[Any]


async def test_a_queue_that_is_as_it_should_be_is_not_complained_of(
    patient: Patient, reader_url: str, owner: Connection
) -> None:
    await patient.do("GRANT SELECT ON generation_job TO doctors_reader")
    found = await Patient(reader_url, owner, policy(table="generation_job", wake_on="new_generation_job")).findings()
    assert {about: finding.level for about, finding in found.items()} == dict.fromkeys(
        ("queue", "rights", "plan", "bloat", "wake-up", "ahead"), Level.OK
    )


async def test_the_column_by_which_jobs_count_ahead_is_named_and_an_ahead_without_one_is_warned_of(
    patient: Patient,
) -> None:
    said = (await patient.findings())["ahead"]
    words = "scheduled jobs count one start-up time before scheduled_for (20 s until it is measured)"
    assert (said.level, said.says) == (Level.OK, words)
    await patient.do(
        "CREATE TABLE mails (status text, send_after timestamptz)",
        "INSERT INTO mails VALUES ('pending', now() + interval '10 min')",
    )
    patient.worker = policy(table="mails", columns={"scheduled_for": "send_after"}, ahead="20m")
    found = await patient.findings()
    assert found["ahead"].says == "scheduled jobs count 20 min before send_after"
    assert found["queue"].says.startswith("0 jobs (1 due within 20 min)")
    patient.worker = policy(table="mails")
    assert "says when a job falls due" in (await patient.findings())["ahead"].says
    patient.worker = policy(table="mails", ahead="20m")
    assert (await patient.findings())["ahead"].sentence == (
        "queue.ahead has no effect: nothing here says when a job falls due, so no worker is started ahead of a "
        "scheduled job; set queue.columns.scheduled_for to the column, or leave ahead out"
    )


async def test_a_due_time_that_the_policy_does_not_name_is_warned_of_with_the_line_to_write(patient: Patient) -> None:
    await patient.do(
        "CREATE TABLE mails (status text, send_after timestamptz)",
        "INSERT INTO mails VALUES ('pending', now() + interval '1 day'), ('pending', now() + interval '2 days')",
    )
    patient.worker = policy(table="mails")
    found = await patient.findings()
    assert found["due time"].level is Level.WARNING
    assert found["due time"].sentence == (
        "2 jobs of table mails count as pending although their send_after lies in the future; if workers wait for that "
        "time, write columns: {scheduled_for: send_after}"
    )
    assert found["queue"].says.endswith("; how long the oldest ready job has waited is unknown")
    patient.worker = policy(table="mails", columns={"scheduled_for": "send_after"})
    assert "due time" not in await patient.findings()


@pytest.mark.parametrize(
    ("queue", "level", "sentence"),
    [
        (
            *({"table": "mails"}, Level.WARNING),
            (
                "max_wait has no effect, because no column of mails says since when a job is ready; add a column "
                "created_at, or name it in queue.columns.created_at"
            ),
        ),
        (
            *({"table": "mails", "columns": {"created_at": "added"}}, Level.OK),
            "one worker more at a time once the oldest ready job has waited 5 min (max_wait)",
        ),
        (
            *({"sql": "SELECT 1 AS pending, 0 AS processing"}, Level.WARNING),
            (
                "how long the oldest ready job has waited is unknown, so max_wait has no effect; return a column "
                "oldest_age_s, in seconds"
            ),
        ),
    ],
)
async def test_a_queue_that_cannot_tell_how_long_its_jobs_wait_is_warned_of_beside_max_wait(
    patient: Patient, queue: dict[str, Any], level: Level, sentence: str
) -> None:
    await patient.do(
        "CREATE TABLE mails (status text, added timestamptz)", "INSERT INTO mails VALUES ('pending', now())"
    )
    patient.worker = policy(**queue)
    assert "max_wait" not in await patient.findings(), "only max_wait needs the age"
    patient.worker = patient.worker.model_copy(update={"max_wait": 300.0})
    found = (await patient.findings())["max_wait"]
    assert (found.level, found.sentence) == (level, sentence)


async def test_all_columns_that_the_table_does_not_have_are_in_one_finding(patient: Patient) -> None:
    columns = {"status": "state", "created_at": "create_at", "locked_at": "lock_at"}
    patient.worker = policy(table="generation_job", columns=columns)
    found = (await patient.findings())["queue"]
    assert found.level is Level.ERROR
    assert (
        "no columns state, create_at and lock_at; set queue.columns.status (did you mean status?), "
        "queue.columns.created_at (did you mean created_at?) and queue.columns.locked_at (did you mean locked_at?) each"
    ) in found.says


# --- rights ---


@pytest.mark.parametrize("preset", [None, "river"])
async def test_a_user_without_the_right_to_read_is_told_which_grant_is_missing(
    patient: Patient, reader_url: str, owner: Connection, preset: str | None
) -> None:
    if preset is not None:
        await patient.do(
            "CREATE SCHEMA jobs",
            "CREATE TABLE jobs.river_job (state text, queue text, scheduled_at timestamptz, attempted_at timestamptz, "
            "attempt int, max_attempts int, metadata jsonb)",
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
        "user postgres is a superuser; SELECT is enough",
    )
    create, *grants = found.sql
    assert create.startswith("CREATE ROLE autoscaler_reader LOGIN PASSWORD '…';")
    await patient.do(*(grant.replace("autoscaler_reader", "doctors_reader") for grant in grants))
    assert (await Patient(reader_url, owner, policy()).findings())["rights"].level is Level.OK


async def test_the_role_that_only_reads_is_made_once_and_every_queue_is_granted_to_it(
    patient: Patient, owner: Connection
) -> None:
    await create_queue(owner, "other")
    first, second = [
        next(finding for finding in found if finding.about == "rights").sql
        for found in await looks(patient.url, policy(), policy(table="other"))
    ]
    assert [statement.split()[0] for statement in first] == ["CREATE", "GRANT", "GRANT", "GRANT"]
    assert second == (
        'GRANT USAGE ON SCHEMA "public" TO "autoscaler_reader";',
        'GRANT SELECT ON "public"."other" TO "autoscaler_reader";',
    )


async def test_the_right_to_read_the_needed_columns_is_enough(
    patient: Patient, reader_url: str, owner: Connection
) -> None:
    await patient.do(
        "GRANT SELECT (status, scheduled_for, created_at, locked_at, started_at) ON generation_job TO doctors_reader",
        "INSERT INTO generation_job (status, locked_at) VALUES ('processing', now() - interval '50 s')",
    )
    poor = Patient(reader_url, owner, policy())
    found = await poor.findings()
    assert (found["queue"].level, found["rights"].level) == (Level.OK, Level.OK)
    poor.worker = policy(table="generation_job", stale_after="15m")
    assert await poor.longest_job() == soon_after(50)


async def test_one_right_to_write_is_one_too_many(patient: Patient, reader_url: str, owner: Connection) -> None:
    await patient.do("GRANT SELECT, DELETE ON generation_job TO doctors_reader")
    found = (await Patient(reader_url, owner, policy()).findings())["rights"]
    assert (found.level, found.says) == (
        Level.WARNING,
        "user doctors_reader may write to the queue's tables; SELECT is enough",
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


async def test_a_view_with_its_reader_s_rights_needs_those_on_the_table_behind_it(
    patient: Patient, reader_url: str, owner: Connection
) -> None:
    await patient.do(
        "CREATE VIEW work WITH (security_invoker) AS SELECT * FROM generation_job WHERE client_id IS NULL",
        "GRANT SELECT ON work TO doctors_reader",
    )
    poor = Patient(reader_url, owner, policy(table="work"))
    found = (await poor.findings())["rights"]
    assert (found.level, found.says) == (
        Level.ERROR,
        'user doctors_reader may not read "public"."generation_job"',
    )
    await patient.do(*found.sql, "ALTER TABLE generation_job ENABLE ROW LEVEL SECURITY")
    found = (await poor.findings())["rights"]
    assert (found.level, found.says) == (
        Level.WARNING,
        'row security of "public"."generation_job" may hide rows from user doctors_reader',
    )
    await patient.do(*found.sql)
    assert {one.level for one in (await poor.findings()).values()} == {Level.OK}


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
    ids=[
        "a table without an index",
        "an index that sorts out nothing",
        "a status that is an enum",
        "a query of one's own",
    ],
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
    assert found.says.startswith("uses generation_job_")


@pytest.mark.parametrize(
    ("before", "about", "says"),
    [
        ((), "plan", "reads small tables whole"),
        (
            (FILL.format(table="generation_job"), "DELETE FROM generation_job WHERE status = 'completed'"),
            "bloat",
            "has 18000 dead and 4 live rows",
        ),
        (
            (
                FILL.format(table="generation_job"),
                "DELETE FROM generation_job WHERE status = 'completed' AND id <> 'done-18000'",
                "VACUUM ANALYZE generation_job",
            ),
            "bloat",
            "MB for few rows: it was larger once, and each count reads all of it",
        ),
    ],
    ids=[
        "a table that was never larger",
        "a table that was emptied and not vacuumed",
        "a table that was emptied and vacuumed",
    ],
)
async def test_a_table_of_a_few_rows_needs_no_index_however_many_pages_it_has(
    patient: Patient, before: tuple[str, ...], about: str, says: str
) -> None:
    await patient.do(
        "DROP INDEX generation_job_status_idx",
        *before,
        "INSERT INTO generation_job (id, status) SELECT 'few-' || n, 'pending' FROM generate_series(1, 4) n",
    )

    async def seen() -> dict[str, Finding] | None:
        found = await patient.findings()
        return found if says in found[about].says else None

    found = await until(seen, says)  # the statistics come a moment later
    assert "CREATE INDEX" not in "".join("".join(one.sql) + one.sentence for one in found.values())
    assert about != "bloat" or "VACUUM" in found["bloat"].sql[0]


async def test_a_query_that_no_index_can_serve_is_told_how_to_ask(patient: Patient) -> None:
    await patient.do(FILL.format(table="generation_job"))
    patient.worker = policy(
        sql="SELECT count(*) FILTER (WHERE status = 'pending') AS pending, 0 AS processing FROM generation_job"
    )
    found = (await patient.findings())["plan"]
    assert (found.level, found.sql) == (Level.WARNING, ())
    assert found.fix.startswith("put its conditions into WHERE")


async def test_a_view_is_told_of_the_index_of_the_table_behind_it(patient: Patient) -> None:
    await patient.do(
        "DROP INDEX generation_job_status_idx",
        FILL.format(table="generation_job"),
        "CREATE VIEW work AS SELECT * FROM generation_job",
        "ANALYZE generation_job",
    )
    patient.worker = policy(table="work")
    found = (await patient.findings())["plan"]
    assert found.level is Level.WARNING
    assert all(
        statement.startswith('CREATE INDEX CONCURRENTLY ON "public"."generation_job"') for statement in found.sql
    )
    await patient.do(*found.sql)
    assert (await patient.findings())["plan"].level is Level.OK


async def test_where_a_view_hides_what_is_looked_for_no_index_is_made_up(patient: Patient) -> None:
    await patient.do(
        FILL.format(table="generation_job"),
        "CREATE VIEW work AS SELECT max(status) AS status FROM generation_job GROUP BY length(id)",
        "ANALYZE generation_job",
    )
    patient.worker = policy(table="work")
    found = (await patient.findings())["plan"]
    assert (found.level, found.fix, found.sql) == (Level.WARNING, "", ())
    assert found.says.endswith("; its plan does not show which index would help")


@pytest.mark.parametrize(
    "query",
    ["SELECT 1 / (random() < 0)::int AS pending, 0 AS processing", "SELECT 1 AS waiting", "SELECT 1; SELECT 2"],
    ids=["a query that fails", "a query without its columns", "two queries"],
)
async def test_of_a_query_that_cannot_be_read_no_plan_is_praised(patient: Patient, query: str) -> None:
    patient.worker = policy(sql=query)
    found = await patient.findings()
    assert found["queue"].level is Level.ERROR
    assert "plan" not in found


async def test_a_foreign_table_without_a_server_to_ask_breaks_nothing(patient: Patient) -> None:
    await patient.do(
        "DROP FOREIGN DATA WRAPPER IF EXISTS nothing CASCADE",
        "CREATE FOREIGN DATA WRAPPER nothing",
        "CREATE SERVER nowhere FOREIGN DATA WRAPPER nothing",
        "CREATE FOREIGN TABLE far (status text, started_at timestamptz, completed_at timestamptz) SERVER nowhere",
    )
    patient.worker = policy(table="far")
    found = await patient.findings()
    assert {about: finding.level for about, finding in found.items()} == {
        "queue": Level.ERROR,
        "rights": Level.WARNING,
        "wake-up": Level.OK,
    }
    assert await patient.longest_job() is None
    await patient.do("DROP FOREIGN DATA WRAPPER nothing CASCADE")


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


async def test_a_table_without_a_trigger_is_told_of_the_trigger_that_fixes_it(
    patient: Patient, owner: Connection
) -> None:
    await create_queue(owner, "quiet")
    await patient.do("DROP TRIGGER quiet_wake_workers ON quiet")
    patient.worker = policy(table="quiet", wake_on="new_quiet")
    found = (await patient.findings())["wake-up"]
    assert (found.level, found.says) == (Level.WARNING, 'no trigger of "public"."quiet" sends NOTIFY on new_quiet')
    printed = "\n".join(triggers(Policy(workers={"w": patient.worker})))
    await patient.do(printed)
    patient.worker = policy(table="quiet")
    said = (await patient.findings())["wake-up"].says
    assert said.startswith('a trigger of "public"."quiet" announces new jobs on new_quiet, which nobody listens to')
    assert said.endswith("write wake_on: new_quiet")
    patient.worker = policy(table="quiet", wake_on="new_quiet")
    assert (await patient.findings())["wake-up"].level is Level.OK
