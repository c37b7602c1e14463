"""The depth of a real queue, in all the shapes that queues have, and what is said when it cannot be read."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from controller.adapters.postgres.queue import PostgresQueue
from controller.core.model import QueueDepth
from controller.core.ports import Unavailable
from controller.demo.jobs import create_queue, enqueue, enqueue_minimal
from controller.demo.servers import Servers
from controller.policy import Queue
from tests.support.patience import until
from tests.support.unhurried import PATIENT_S

Connection = psycopg.AsyncConnection[Any]
JOBS = Queue(table="generation_job")
LIMIT = 100


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
async def queue(database_url: str) -> AsyncIterator[PostgresQueue]:
    postgres = PostgresQueue(database_url, timeout_s=PATIENT_S)
    yield postgres
    await postgres.close()


async def unavailable(queue: PostgresQueue, policy: Queue = JOBS) -> str:
    with pytest.raises(Unavailable) as error:
        await queue.depth(policy, LIMIT)
    return str(error.value)


@pytest.mark.parametrize("status_enum", [False, True], ids=["a status of text", "a status of an enum"])
async def test_pending_and_processing_are_counted_whatever_the_status_is_made_of(
    admin: Connection, queue: PostgresQueue, *, status_enum: bool
) -> None:
    await create_queue(admin, status_enum=status_enum)
    await enqueue(admin, 7)
    await admin.execute(
        "UPDATE generation_job SET status = 'processing' WHERE id IN (SELECT id FROM generation_job LIMIT 3)"
    )
    depth = await queue.depth(JOBS, LIMIT)
    assert (depth.pending, depth.processing, depth.depth) == (4, 3, 7)


async def test_jobs_that_are_scheduled_for_later_are_not_pending_until_they_are_due(
    admin: Connection, queue: PostgresQueue
) -> None:
    await create_queue(admin)
    await enqueue(admin, 2)
    await enqueue(admin, 5, delay_s=3600)
    assert (await queue.depth(JOBS, LIMIT)).pending == 2
    await admin.execute("UPDATE generation_job SET scheduled_for = now()")
    assert (await queue.depth(JOBS, LIMIT)).pending == 7


async def test_run_at_is_known_as_a_due_time_too_and_null_means_now(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE TABLE job (status text, run_at timestamptz)")
    await admin.execute(
        "INSERT INTO job VALUES ('pending', now() + interval '1 h'), ('pending', NULL), ('pending', now())"
    )
    assert (await queue.depth(Queue(table="job"), LIMIT)).pending == 2


async def test_a_due_time_without_a_zone_is_utc_whatever_zone_the_server_thinks_in(
    admin: Connection, queue: PostgresQueue, database_url: str
) -> None:
    name = urlsplit(database_url).path[1:]
    await admin.execute(
        psycopg.sql.SQL("ALTER DATABASE {} SET TimeZone = 'America/New_York'").format(psycopg.sql.Identifier(name))
    )
    await admin.execute("CREATE TABLE job (status text, run_at timestamp)")
    await admin.execute("INSERT INTO job VALUES ('pending', timezone('UTC', now()) - interval '1 min')")
    depth = await queue.depth(Queue(table="job"), LIMIT)
    assert depth.pending == 1
    assert depth.oldest_age_s == pytest.approx(60, abs=5)


async def test_a_table_with_only_a_status_works_and_has_no_age(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE TABLE job (status text)")
    await admin.execute("INSERT INTO job VALUES ('pending'), ('processing')")
    assert await queue.depth(Queue(table="job"), LIMIT) == QueueDepth(1, 1, None)


async def test_the_minimal_table_works(admin: Connection, queue: PostgresQueue) -> None:
    await create_queue(admin, minimal=True)
    await enqueue_minimal(admin, 3)
    depth = await queue.depth(JOBS, LIMIT)
    assert depth.pending == 3
    assert depth.oldest_age_s is not None


async def test_an_empty_queue_is_zero_and_has_no_oldest_job(admin: Connection, queue: PostgresQueue) -> None:
    await create_queue(admin)
    assert await queue.depth(JOBS, LIMIT) == QueueDepth(0, 0, None)


async def test_the_age_is_of_the_oldest_ready_job_since_it_became_ready(
    admin: Connection, queue: PostgresQueue
) -> None:
    await create_queue(admin)
    await enqueue(admin, 3)
    await admin.execute(
        "UPDATE generation_job SET created_at = now() - interval '1 h', scheduled_for = now() - interval '90 s'"
    )
    assert (await queue.depth(JOBS, LIMIT)).oldest_age_s == pytest.approx(90, abs=5)


@pytest.mark.parametrize(
    ("create", "table"),
    [
        ('CREATE TABLE "Odd Name" (status text)', "Odd Name"),
        ('CREATE SCHEMA jobs; CREATE TABLE jobs."select" (status text)', "jobs.select"),
        ('CREATE SCHEMA jobs; CREATE TABLE jobs."a.b" (status text)', 'jobs."a.b"'),
        ('CREATE TABLE "it""s; DROP TABLE x" (status text)', '"it""s; DROP TABLE x"'),
        ('CREATE TABLE "a\'b" (status text)', "a'b"),
    ],
)
async def test_a_name_is_only_a_name_however_odd(
    admin: Connection, queue: PostgresQueue, create: str, table: str
) -> None:
    for statement in create.split("; CREATE"):
        text = statement if statement.startswith("CREATE") else f"CREATE{statement}"
        await admin.execute(text.encode())
    assert await queue.depth(Queue(table=table), LIMIT) == QueueDepth(0, 0, None)


async def test_columns_and_statuses_may_have_any_name(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute('CREATE TABLE job ("State" int, due timestamptz, born timestamptz)')
    await admin.execute(
        "INSERT INTO job VALUES (0, now() - interval '1 min', now()), (1, NULL, now()), (2, NULL, now())"
    )
    policy = Queue.model_validate(
        {
            "table": "job",
            "columns": {"status": "State", "scheduled_for": "due", "created_at": "born"},
            "statuses": {"pending": ["0", "1"], "processing": ["2"]},
        }
    )
    depth = await queue.depth(policy, LIMIT)
    assert (depth.pending, depth.processing) == (2, 1)


async def test_a_backlog_without_end_is_not_counted_to_its_end(admin: Connection, queue: PostgresQueue) -> None:
    await create_queue(admin)
    await enqueue(admin, LIMIT + 50)
    assert (await queue.depth(JOBS, LIMIT)).pending == LIMIT


async def test_what_no_decision_needs_is_counted_less_often_and_what_one_needs_each_time(
    admin: Connection, queue: PostgresQueue
) -> None:
    await create_queue(admin)
    await enqueue(admin, 5000)
    assert (await queue.depth(JOBS, 10_000)).pending == 5000
    await admin.execute("DELETE FROM generation_job WHERE id NOT IN (SELECT id FROM generation_job LIMIT 1000)")
    assert (await queue.depth(JOBS, 10_000)).pending == 5000, "it was counted a moment ago, and decides nothing"
    assert (await queue.depth(JOBS, 10_000, enough=2000)).pending == 1000
    await admin.execute("DELETE FROM generation_job WHERE id NOT IN (SELECT id FROM generation_job LIMIT 90)")
    assert (await queue.depth(JOBS, 10_000)).pending == 90


@pytest.mark.costly
async def test_a_count_that_no_decision_needs_may_take_too_long(admin: Connection, database_url: str) -> None:
    await admin.execute(
        "CREATE FUNCTION slowly(n int) RETURNS bool LANGUAGE plpgsql VOLATILE AS "
        "$$ BEGIN IF n > 1000 THEN PERFORM pg_sleep(60); END IF; RETURN true; END $$"
    )
    await admin.execute(
        "CREATE VIEW job AS SELECT 'pending' AS status FROM generate_series(1, 5000) AS n WHERE slowly(n)"
    )
    queue = PostgresQueue(database_url, timeout_s=2.0)
    try:
        depth = await queue.depth(Queue(table="job"), 10_000)
    finally:
        await queue.close()
    assert depth.sentence == "100+ jobs (100+ pending, 0 processing)"


async def test_a_backlog_past_the_limit_is_shown_with_a_plus(admin: Connection, queue: PostgresQueue) -> None:
    await create_queue(admin)
    await enqueue(admin, 1100)
    for _ in range(2):
        depth = await queue.depth(JOBS, 1000, enough=101)
        assert depth.sentence == "1000+ jobs (1000+ pending, 0 processing)"


async def test_a_missing_table_says_what_to_set(queue: PostgresQueue) -> None:
    assert 'this user can see no table "generation_job"; set queue.table' in await unavailable(queue)


async def test_a_missing_column_says_which_there_are(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE TABLE job (state text, id int)")
    words = await unavailable(queue, Queue(table="job"))
    assert (
        "table job has no column status; set queue.columns.status (did you mean state?) to one of: id, state" in words
    )


async def test_a_status_that_the_enum_does_not_have_says_what_to_set(admin: Connection, queue: PostgresQueue) -> None:
    await create_queue(admin, status_enum=True)
    policy = Queue.model_validate({"table": "generation_job", "statuses": {"pending": ["waiting"]}})
    assert "set queue.statuses to possible values" in await unavailable(queue, policy)


async def test_a_table_that_changes_under_us_is_read_again(admin: Connection, queue: PostgresQueue) -> None:
    await create_queue(admin)
    await queue.depth(JOBS, LIMIT)
    await admin.execute("ALTER TABLE generation_job DROP COLUMN scheduled_for")
    assert "has changed" in await unavailable(queue)
    assert await queue.depth(JOBS, LIMIT) == QueueDepth(0, 0, None)


async def test_a_locked_table_is_unavailable_and_soon(admin: Connection, queue: PostgresQueue) -> None:
    await create_queue(admin)
    await queue.depth(JOBS, LIMIT)
    async with admin.transaction():
        await admin.execute("LOCK TABLE generation_job IN ACCESS EXCLUSIVE MODE")
        assert "is locked by another session" in await unavailable(queue)
    assert await queue.depth(JOBS, LIMIT) == QueueDepth(0, 0, None)


async def test_a_count_that_takes_too_long_is_given_up(admin: Connection, database_url: str) -> None:
    await admin.execute("CREATE VIEW job AS SELECT 'pending' AS status FROM pg_sleep(3)")
    slow = PostgresQueue(database_url, timeout_s=0.25)
    words = await unavailable(slow, Queue(table="job"))
    assert words.endswith(
        "counting job took longer than 250 ms; `autoscaler doctor` shows why, and which index would help"
    )
    await slow.close()


async def test_a_user_without_the_right_is_told_to_grant_it(admin: Connection, database_url: str) -> None:
    await create_queue(admin)
    await admin.execute("DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN")
    stranger = PostgresQueue(database_url.replace("postgres@", "stranger@"), timeout_s=PATIENT_S)
    assert "GRANT SELECT ON generation_job" in await unavailable(stranger)
    await stranger.close()


async def test_rows_that_row_security_hides_are_not_counted_as_none(admin: Connection, database_url: str) -> None:
    await create_queue(admin)
    await enqueue(admin, 3)
    await admin.execute("DROP ROLE IF EXISTS blind; CREATE ROLE blind LOGIN; GRANT SELECT ON generation_job TO blind")
    await admin.execute("ALTER TABLE generation_job ENABLE ROW LEVEL SECURITY")
    blind = PostgresQueue(database_url.replace("postgres@", "blind@"), timeout_s=PATIENT_S)
    assert "row security hides rows of generation_job" in await unavailable(blind)
    await blind.close()


async def test_a_due_time_that_cannot_be_read_is_named_and_not_left_out(
    admin: Connection, queue: PostgresQueue
) -> None:
    await admin.execute("CREATE TABLE job (status text, run_at bigint)")
    assert "column run_at of job is a number, not a timestamp" in await unavailable(queue, Queue(table="job"))


async def test_a_due_time_may_be_a_domain_over_a_time(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE DOMAIN due AS timestamptz; CREATE TABLE job (status text, run_at due)")
    await admin.execute("INSERT INTO job VALUES ('pending', now() + interval '1 h')")
    assert await queue.depth(Queue(table="job"), LIMIT) == QueueDepth(0, 0, None)


async def test_an_age_without_end_is_no_age(admin: Connection, queue: PostgresQueue) -> None:
    await create_queue(admin)
    await enqueue(admin, 1)
    await admin.execute("UPDATE generation_job SET created_at = '-infinity', scheduled_for = '-infinity'")
    assert await queue.depth(JOBS, LIMIT) == QueueDepth(1, 0, None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("postgres@", "nobody_here@"), "does not know the user in DATABASE_URL"),
        (("/test_", "/no_such_"), "does not have the database that DATABASE_URL names"),
        (("127.0.0.1", "no-such-host.invalid"), "the host in DATABASE_URL does not exist"),
    ],
)
async def test_an_address_that_is_wrong_says_what_of_it(database_url: str, change: tuple[str, str], words: str) -> None:
    wrong = PostgresQueue(database_url.replace(*change), timeout_s=PATIENT_S)
    assert words in await unavailable(wrong)


async def test_a_wrong_password_is_named_and_not_shown(admin: Connection, servers: Servers, database_url: str) -> None:
    """The tests' server trusts everybody; this one role is asked for its password."""
    await admin.execute("DROP ROLE IF EXISTS careful; CREATE ROLE careful LOGIN PASSWORD 'right'")
    rules = next(servers.folder.rglob("pg_hba.conf"))
    before = rules.read_text()
    try:
        rules.write_text("host all careful 127.0.0.1/32 scram-sha-256\n" + before)
        await admin.execute("SELECT pg_reload_conf()")
        wrong = PostgresQueue(database_url.replace("postgres@", "careful:hunter2@"), timeout_s=PATIENT_S)

        async def refused() -> str:
            """Once the new rules are read; until then the role is let in."""
            words = await unavailable(wrong)
            await wrong.close()
            return words if "can see no table" not in words else ""

        words = await until(refused, "the role to be asked for its password")
    finally:
        rules.write_text(before)
        await admin.execute("SELECT pg_reload_conf()")
    assert words == "PostgreSQL: refuses the user or password in DATABASE_URL"


async def test_it_reconnects_by_itself_after_its_session_was_ended(admin: Connection, queue: PostgresQueue) -> None:
    await create_queue(admin)
    await queue.depth(JOBS, LIMIT)
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'worker-autoscaler'"
    )
    assert await queue.depth(JOBS, LIMIT) == QueueDepth(0, 0, None)


async def test_it_comes_back_when_the_server_does(stoppable_servers: Servers, stoppable_database_url: str) -> None:
    queue = PostgresQueue(stoppable_database_url, timeout_s=PATIENT_S)
    async with await psycopg.AsyncConnection.connect(stoppable_database_url, autocommit=True) as admin:
        await create_queue(admin)
    await queue.depth(JOBS, LIMIT)
    stoppable_servers.stop_postgres()
    assert "is it running?" in await unavailable(queue)
    stoppable_servers.start_postgres()
    assert await queue.depth(JOBS, LIMIT) == QueueDepth(0, 0, None)
    await queue.close()


@pytest.mark.costly
async def test_it_reads_only_and_holds_one_connection_that_is_idle_between_readings(
    admin: Connection, queue: PostgresQueue
) -> None:
    await create_queue(admin)
    for _ in range(20):
        await queue.depth(JOBS, LIMIT)
    cursor = await admin.execute(
        "SELECT state FROM pg_stat_activity "
        "WHERE application_name = 'worker-autoscaler' AND datname = current_database()"
    )
    assert await cursor.fetchall() == [("idle",)]
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        await queue._lanes.main.ask(psycopg.sql.SQL("DELETE FROM generation_job").format(), 2.0)
    assert await queue.depth(JOBS, LIMIT) == QueueDepth(0, 0, None)
