"""`autoscaler init` on tables of one's own: which it takes for a queue, and how it reads them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml
from psycopg import sql

from controller.demo.jobs import create_queue
from tests.cli.initiated import bystander, files, init, make, schema, written

__all__ = ["bystander"]


@dataclass
class Table:
    """sql: of the table and its rows. queue: what the policy says. depth: pending and processing."""

    sql: str
    queue: dict[str, Any]
    depth: tuple[int, int]


TABLES = {
    "with_the_usual_names": Table(
        "CREATE TABLE jobs (id int, status text, created_at timestamptz, started_at timestamptz,"
        " finished_at timestamptz);"
        "INSERT INTO jobs (status) SELECT unnest('{pending,pending,processing,done,failed}'::text[])",
        {
            "table": "jobs",
            "statuses": {
                "pending": ["pending"],
                "processing": ["processing"],
                "failed": ["failed"],
                "finished": ["done"],
            },
        },
        (2, 1),
    ),
    "with_names_in_camel_case_in_a_schema": Table(
        'CREATE SCHEMA app; CREATE TABLE app."ExportTask" (id int, "jobStatus" text, "createdAt" timestamptz,'
        ' "scheduledFor" timestamptz, "lockedAt" timestamptz);'
        "INSERT INTO app.\"ExportTask\" (\"jobStatus\") VALUES ('WAITING'), ('IN_PROGRESS'), ('Success')",
        {
            "table": "app.ExportTask",
            "columns": {
                "status": "jobStatus",
                "scheduled_for": "scheduledFor",
                "locked_at": "lockedAt",
                "created_at": "createdAt",
            },
            "statuses": {"pending": ["WAITING"], "processing": ["IN_PROGRESS"], "finished": ["Success"]},
        },
        (1, 1),
    ),
    "empty_by_its_check_and_default": Table(
        "CREATE TABLE job (id int, created_at timestamptz, state text NOT NULL DEFAULT 'todo'"
        " CHECK (state IN ('todo', 'doing', 'done')), attempts int)",
        {
            "table": "job",
            "columns": {"status": "state"},
            "statuses": {"pending": ["todo"], "processing": ["doing"], "finished": ["done"]},
        },
        (0, 0),
    ),
    "with_times_without_zone_and_numbers": Table(
        "CREATE TABLE mail_queue (id int, status text, created_at timestamp, run_at bigint, priority int,"
        " started_at int);"
        "INSERT INTO mail_queue SELECT n, 'queued', now(), extract(epoch FROM now()) * 1000 + n * 3600000, 0"
        " FROM generate_series(-2, 3) n WHERE n <> 0; INSERT INTO mail_queue VALUES (9, 'sending'), (10, 'running');"
        "UPDATE mail_queue SET started_at = extract(epoch FROM now()) WHERE id > 8",
        {
            "table": "mail_queue",
            "columns": {
                "scheduled_for": {"name": "run_at", "unit": "ms"},
                "started_at": {"name": "started_at", "unit": "s"},
                "locked_at": {"name": "started_at", "unit": "s"},
                "priority": "priority",
            },
            "statuses": {"pending": ["queued"], "processing": ["running"]},
        },
        (2, 1),
    ),
    "whose_numbers_mean_what_their_rows_times_say": Table(
        "CREATE TABLE tasks (id int, status smallint NOT NULL DEFAULT 0, created_at timestamptz,"
        " started_at timestamptz, completed_at timestamptz, attempts int);"
        "INSERT INTO tasks VALUES (1, 0), (2, 0), (3, 1), (4, 2), (5, 3);"
        "UPDATE tasks SET started_at = now() WHERE status IN (1, 2);"
        "UPDATE tasks SET completed_at = now() WHERE status > 1",
        {"table": "tasks", "statuses": {"pending": [0], "processing": [1], "finished": [2, 3]}},
        (2, 1),
    ),
    "with_a_flag_that_is_true_when_done": Table(
        "CREATE TABLE outbox_messages (id int, processed boolean NOT NULL DEFAULT false, created_at timestamptz,"
        " locked_at timestamptz, run_at timestamptz);"
        "INSERT INTO outbox_messages VALUES (1, false, now(), NULL, NULL), (2, false, now(), now(), NULL),"
        " (3, true, now(), NULL, NULL), (4, false, now(), NULL, now()), (5, false, now(), NULL, 'infinity')",
        {"sql": None},
        (2, 1),
    ),
    "with_a_flag_that_is_true_while_it_runs": Table(
        "CREATE TABLE jobs (id int, is_running boolean NOT NULL DEFAULT false, created_at timestamptz,"
        " finished_at timestamptz);"
        "INSERT INTO jobs VALUES (1, false, now(), NULL), (2, true, now(), NULL), (3, false, now(), now())",
        {
            "table": "jobs",
            "columns": {"status": "is_running"},
            "statuses": {"pending": ["false"], "processing": ["true"]},
            "where": '"finished_at" IS NULL',
        },
        (1, 1),
    ),
    "whose_enum_has_no_word_for_in_progress": Table(
        "CREATE TYPE s AS ENUM ('todo', 'done'); CREATE TABLE tasks (id int, status s, created_at timestamptz,"
        " claimed_at timestamptz); INSERT INTO tasks VALUES (1, 'todo', now(), NULL),"
        " (2, 'todo', now(), now()), (3, 'done', now(), now())",
        {"sql": None},
        (1, 1),
    ),
}


class TestATableOfOnesOwn:
    @pytest.mark.costly
    @pytest.mark.parametrize("case", TABLES)
    async def test_is_read_with_its_own_names(self, case: str, database_url: str, tmp_path: Path) -> None:
        table = TABLES[case]
        make(database_url, table.sql)
        found = await written(database_url, tmp_path)
        assert {**found.queue, **({"sql": None} if "sql" in found.queue else {})} == table.queue
        depth = await found.depth(database_url)
        assert (depth.pending, depth.processing) == table.depth

    @pytest.mark.costly
    async def test_what_cannot_be_told_is_a_comment_with_the_reason(self, database_url: str, tmp_path: Path) -> None:
        make(database_url, TABLES["with_the_usual_names"].sql, "INSERT INTO jobs (status) VALUES ('on_hold')")
        found = await written(database_url, tmp_path)
        assert "# not counted, because their words do not say whether work is left: on_hold" in found.text
        assert "# stale_after: 1h" in found.text
        assert "# wake_on: no trigger announces new jobs" in found.text

    @pytest.mark.costly
    async def test_the_channel_of_a_trigger_and_the_time_of_a_job_are_taken_over(
        self, database_url: str, tmp_path: Path
    ) -> None:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as owner:
            await create_queue(owner)
        make(
            database_url,
            "INSERT INTO generation_job (status, started_at, completed_at) SELECT 'completed', now() - interval '1 h',"
            " now() - interval '1 h' + interval '150 s' FROM generate_series(1, 5)",
        )
        found = await written(database_url, tmp_path)
        assert (found.queue["table"], found.queue["wake_on"]) == ("generation_job", "new_generation_job")
        assert found.worker["target_wait"] == "3m"
        assert "# stale_after: 8m" in found.text

    @pytest.mark.costly
    async def test_the_likelier_of_two_is_taken_and_the_other_is_named(self, database_url: str, tmp_path: Path) -> None:
        make(
            database_url,
            TABLES["with_the_usual_names"].sql,
            "CREATE TABLE export_jobs AS SELECT * FROM jobs LIMIT 0;"
            "INSERT INTO export_jobs (status) VALUES ('queued'), ('running')",
            "CREATE TABLE orders (id int, status text, created_at timestamptz);"
            "INSERT INTO orders (status) SELECT 'pending' FROM generate_series(1, 99)",
        )
        found = await written(database_url, tmp_path)
        assert found.queue["table"] == "jobs"
        assert "These look like tables of jobs too: public.export_jobs; --table NAME takes one." in found.ran.out
        other = await init(database_url, tmp_path, "-", "--table", "export_jobs")
        assert yaml.safe_load(other.out)["workers"]["export-worker"]["queue"]["table"] == "export_jobs"

    @pytest.mark.parametrize(
        "table",
        [
            (
                "CREATE TABLE orders (id int, status text DEFAULT 'pending', created_at timestamptz, total int);"
                "INSERT INTO orders VALUES (1, 'pending'), (2, 'shipped')"
            ),
            (
                "CREATE TABLE invoices (id int, status text, created_at timestamptz, due_at timestamptz, priority int,"
                " closed_at timestamptz); INSERT INTO invoices (status) VALUES ('open'), ('closed')"
            ),
            "CREATE TABLE users (id int, state text DEFAULT 'active', created_at timestamptz)",
            (
                "CREATE TABLE jobs (id int, state text, created_at timestamptz);"
                "INSERT INTO jobs SELECT n, 'city ' || n FROM generate_series(1, 60) n"
            ),
        ],
        ids=["orders", "invoices", "accounts", "a state with many values"],
    )
    async def test_what_holds_no_jobs_is_not_taken_for_a_queue(
        self, table: str, database_url: str, tmp_path: Path
    ) -> None:
        make(database_url, table)
        ran = await init(database_url, tmp_path)
        assert (ran.code, ran.out, files(tmp_path)) == (1, "", [])
        assert "1 table with a status looked at" in ran.err

    @pytest.mark.costly
    async def test_that_may_not_be_read_is_named(self, database_url: str, bystander: str, tmp_path: Path) -> None:
        make(database_url, TABLES["with_the_usual_names"].sql)
        ran = await init(bystander, tmp_path)
        assert ran.code == 1
        assert "could not read public.jobs (GRANT SELECT)" in ran.err
        named = await init(bystander, tmp_path, "--table", "jobs")
        assert (named.code, "GRANT SELECT ON jobs" in named.err) == (1, True)

    @pytest.mark.costly
    async def test_that_is_locked_is_not_waited_for(self, database_url: str, tmp_path: Path) -> None:
        make(database_url, TABLES["with_the_usual_names"].sql)
        with psycopg.connect(database_url) as other:
            other.execute("LOCK TABLE jobs IN ACCESS EXCLUSIVE MODE")
            ran = await init(database_url, tmp_path)
            named = await init(database_url, tmp_path, "--table", "jobs")
        assert (ran.code, "could not read public.jobs (locked, or too slow to read)" in ran.err) == (1, True)
        assert (named.code, "jobs is locked by another session" in named.err) == (1, True)

    async def test_whose_rows_are_hidden_by_row_security_is_named(
        self, database_url: str, bystander: str, tmp_path: Path
    ) -> None:
        make(
            database_url,
            TABLES["with_the_usual_names"].sql,
            "ALTER TABLE jobs ENABLE ROW LEVEL SECURITY; GRANT SELECT ON jobs TO init_bystander",
        )
        ran = await init(bystander, tmp_path)
        assert (ran.code, "public.jobs (row security; ALTER ROLE … BYPASSRLS)" in ran.err) == (1, True)

    @pytest.mark.costly
    async def test_without_a_job_in_progress_yet_gets_the_usual_words_for_it(
        self, database_url: str, tmp_path: Path
    ) -> None:
        make(database_url, "CREATE TABLE jobs (id int, status text DEFAULT 'NEW', created_at timestamptz)")
        found = await written(database_url, tmp_path)
        assert found.queue["statuses"]["processing"] == ["PROCESSING", "RUNNING", "IN_PROGRESS", "STARTED"]
        make(database_url, "INSERT INTO jobs (status) VALUES ('NEW'), ('RUNNING')")
        depth = await found.depth(database_url)
        assert (depth.pending, depth.processing) == (1, 1)

    @pytest.mark.costly
    async def test_is_named_where_a_library_is_there_without_a_job(self, database_url: str, tmp_path: Path) -> None:
        make(database_url, schema("que"), TABLES["with_the_usual_names"].sql)
        found = await written(database_url, tmp_path)
        assert found.queue == {"preset": "que"}
        assert "Table jobs holds jobs, too; --table NAME takes it." in found.ran.out

    @pytest.mark.costly
    async def test_is_found_among_hundreds_of_others(self, database_url: str, tmp_path: Path) -> None:
        many = "; ".join(f"CREATE TABLE accounts_{n} (id int, status text, created_at date)" for n in range(250))
        make(database_url, many, TABLES["with_the_usual_names"].sql)
        assert (await written(database_url, tmp_path)).queue["table"] == "jobs"


HOSTILE = [
    'a "job"',
    "job's",
    "job: {x}",
    "job # y",
    "${HOME} job",
    "$$job",
    "a.job",
    "*job",
    "job\\n",
    "Job Ünïcode 工",
    "- job",
    "yes",
]


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_name_with_the_signs_of_yaml_and_sql_comes_out_as_itself(
    name: str, database_url: str, tmp_path: Path
) -> None:
    with psycopg.connect(database_url, autocommit=True) as owner:
        made = (
            "CREATE TYPE e AS ENUM ({n}, 'running');"
            "CREATE TABLE {t} (id int, {s} e DEFAULT {n}, created_at timestamptz)"
        )
        parts = {"t": sql.Identifier(name), "s": sql.Identifier(f"{name} status"[:60]), "n": sql.Literal(name)}
        owner.execute(sql.SQL(made).format(**parts))
        owner.execute(sql.SQL("INSERT INTO {t} VALUES (1, {n}), (2, {n}), (3, 'running')").format(**parts))
    quoted = '"' + name.replace('"', '""') + '"'
    ran = await init(database_url, tmp_path, "--table", quoted, "policy.yaml")
    assert ran.code == 0, ran.err
    assert "(2 pending, 1 processing)" in ran.out


async def test_a_name_with_a_line_break_is_refused_in_words(database_url: str, tmp_path: Path) -> None:
    make(
        database_url, "CREATE TABLE \"job\nevil: true\" (id int, status text DEFAULT 'pending', created_at timestamptz)"
    )
    ran = await init(database_url, tmp_path)
    assert (ran.code, "Traceback" in ran.err, files(tmp_path)) == (1, False, [])
