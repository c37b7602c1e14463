"""`autoscaler init`: from a database that nobody described to a policy that reads it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import yaml
from psycopg import sql

from controller.adapters.postgres.queue import PostgresQueue
from controller.core.model import QueueDepth
from controller.demo.jobs import create_queue
from controller.policy import Queue
from tests.queues.scenario import SCHEMAS
from tests.queues.test_procrastinate import Procrastinate
from tests.support.processes import Ran, autoscaler
from tests.support.scene import Scene
from tests.support.unhurried import PATIENT_S

RENDERS = """
CREATE TYPE render_state AS ENUM ('queued', 'running', 'done', 'broken', 'failed');
CREATE TABLE renders (id bigserial PRIMARY KEY, state render_state NOT NULL DEFAULT 'queued',
  inserted_at timestamptz NOT NULL DEFAULT now(), due_at timestamptz, picked_at timestamptz, ended_at timestamptz);
INSERT INTO renders (state, picked_at, ended_at)
  SELECT 'done', now() - interval '5 min', now() - interval '5 min' + interval '20 s' FROM generate_series(1, 40);
INSERT INTO renders (state) SELECT 'queued' FROM generate_series(1, 12);
INSERT INTO renders (state, due_at) VALUES ('queued', now() + interval '1 day');
INSERT INTO renders (state, picked_at) SELECT 'running', now() FROM generate_series(1, 3);
"""
PROCRASTINATE = """
INSERT INTO procrastinate_jobs (queue_name, task_name, args)
SELECT CASE WHEN n < 5 THEN 'render' ELSE 'mail' END, 'send', '{}' FROM generate_series(1, 14) n
"""


def make(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as owner:
        for one in statements:
            owner.execute(one.encode())


def schema(name: str) -> str:
    """A library's published tables."""
    return (SCHEMAS / f"{name}.sql").read_text()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def init(url: str, folder: Path, *arguments: str, **environment: str) -> Ran:
    return await autoscaler("init", *arguments, environment={"DATABASE_URL": url, **environment}, cwd=folder)


@dataclass
class Written:
    """What init wrote. text: of the file. queue: as it is in the file."""

    ran: Ran
    text: str
    worker: Mapping[str, Any]

    @property
    def queue(self) -> dict[str, Any]:
        return dict(self.worker["queue"])

    async def depth(self, url: str) -> QueueDepth:
        """As a cycle reads it."""
        document = {key: value.replace("$$", "$") if key == "sql" else value for key, value in self.queue.items()}
        reader = PostgresQueue(url, timeout_s=PATIENT_S)
        try:
            return await reader.depth(Queue.model_validate(document), 1000)
        finally:
            await reader.close()


async def written(url: str, folder: Path, *arguments: str, **environment: str) -> Written:
    """After init, and after `check` accepted what it wrote."""
    ran = await init(url, folder, *arguments, **environment)
    assert ran.code == 0, ran.err
    checked = await autoscaler("check", environment={"RAILWAY_WORKER_SERVICE_ID": "some-id", **environment}, cwd=folder)
    assert checked.code == 0, checked.err
    text = (folder / "policy.yaml").read_text()
    (worker,) = yaml.safe_load(text)["workers"].values()
    return Written(ran, text, worker)


class TestFromInitToExplainWithoutAHandEditedLine:
    async def test_on_a_procrastinate_database(self, scene: Scene, tmp_path: Path) -> None:
        url = scene.environment["DATABASE_URL"]
        await scene.queue.execute("DROP TABLE generation_job")
        await Procrastinate().migrate(url)
        make(url, PROCRASTINATE)
        explained = await self.explained(scene, tmp_path)
        assert "→ 14 jobs (14 pending, 0 processing) want 2 workers: 0 → 2" in explained

    async def test_on_a_table_of_ones_own(self, scene: Scene, tmp_path: Path) -> None:
        await scene.queue.execute("DROP TABLE generation_job")
        make(scene.environment["DATABASE_URL"], RENDERS)
        explained = await self.explained(scene, tmp_path)
        assert "→ 15 jobs (12 pending, 3 processing) of 20 s each want 4 workers" in explained
        assert "1 scheduled for later" in explained

    async def explained(self, scene: Scene, folder: Path) -> str:
        for command in ("init", "check"):
            ran = await autoscaler(command, environment=scene.environment, cwd=folder)
            assert ran.code == 0, ran.err
        return (await autoscaler("explain", environment=scene.environment, cwd=folder)).out


LIBRARIES = {
    "river": (
        (
            "INSERT INTO river_job (state, args, kind, max_attempts, queue)"
            " SELECT 'available', '{}', 'k', 3, 'mail' FROM generate_series(1, 7)"
        ),
        {"preset": "river"},
    ),
    "good_job": ("", {"preset": "good_job"}),
    "que": ("", {"preset": "que"}),
    "solid_queue": ("", {"preset": "solid_queue"}),
    "oban": ("", {"preset": "oban"}),
    "pg-boss_12.38": ("", {"preset": "pg-boss"}),
    "graphile-worker_0.15": ("", {"preset": "graphile-worker"}),
    "delayed_job": ("", {"preset": "delayed_job"}),
}


class TestALibrary:
    @pytest.mark.parametrize("tables", LIBRARIES)
    async def test_is_recognised_by_its_tables(self, tables: str, database_url: str, tmp_path: Path) -> None:
        rows, keys = LIBRARIES[tables]
        make(database_url, schema(tables), rows)
        found = await written(database_url, tmp_path)
        assert found.queue == keys
        assert (await found.depth(database_url)).pending == (7 if rows else 0)

    async def test_is_found_in_another_schema_and_under_another_prefix(self, database_url: str, tmp_path: Path) -> None:
        await Procrastinate().migrate(database_url)
        moved = "; ".join(
            f"ALTER TABLE procrastinate_{name} RENAME TO my_procrastinate_{name};"
            f"ALTER TABLE my_procrastinate_{name} SET SCHEMA work"
            for name in ("jobs", "workers", "events")
        )
        make(database_url, PROCRASTINATE, f"CREATE SCHEMA work; {moved}")
        found = await written(database_url, tmp_path)
        assert found.queue == {"preset": "procrastinate", "schema": "work", "prefix": "my_"}
        assert "# queues: [mail, render]" in found.text
        assert (await found.depth(database_url)).pending == 14

    async def test_with_most_unfinished_jobs_is_taken_of_several_and_another_by_its_name(
        self, database_url: str, tmp_path: Path
    ) -> None:
        await Procrastinate().migrate(database_url)
        make(database_url, PROCRASTINATE, schema("river"), LIBRARIES["river"][0])
        found = await written(database_url, tmp_path)
        assert found.queue == {"preset": "procrastinate"}
        assert "Found also River (7 unfinished jobs); --preset river takes it." in found.ran.out
        other = await init(database_url, tmp_path, "-", "--preset", "river")
        assert "preset: river" in other.out

    async def test_that_is_not_there_is_said(self, database_url: str, tmp_path: Path) -> None:
        ran = await init(database_url, tmp_path, "--preset", "oban")
        assert (ran.code, files(tmp_path)) == (1, [])
        assert "can see no tables of preset oban" in ran.err

    async def test_whose_tables_may_not_be_read_is_proposed_with_the_grant(
        self, database_url: str, bystander: str, tmp_path: Path
    ) -> None:
        make(database_url, schema("river"))
        found = await written(bystander, tmp_path)
        assert found.queue == {"preset": "river"}
        assert "GRANT SELECT ON" in found.ran.out

    async def test_with_tables_for_each_queue_has_its_queues_named(self, database_url: str, tmp_path: Path) -> None:
        queue = "(msg_id bigint, read_ct int, enqueued_at timestamptz, vt timestamptz, message jsonb)"
        make(
            database_url,
            f"CREATE SCHEMA pgmq; CREATE TABLE pgmq.q_mail {queue}; CREATE TABLE pgmq.q_render {queue};"
            "CREATE TABLE pgmq.q_other (id int); INSERT INTO pgmq.q_mail VALUES (1, 0, now(), now(), '{}')",
        )
        found = await written(database_url, tmp_path)
        assert found.queue == {"preset": "pgmq", "queues": ["mail", "render"]}
        assert (await found.depth(database_url)).pending == 1


@pytest.fixture
def bystander(database_url: str) -> str:
    """The address of a role that may log in and do nothing else."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        if admin.execute("SELECT FROM pg_roles WHERE rolname = 'init_bystander'").fetchone() is None:
            admin.execute("CREATE ROLE init_bystander LOGIN")
    address = urlsplit(database_url)
    return address._replace(netloc=f"init_bystander@{address.netloc.rpartition('@')[2]}").geturl()


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
    @pytest.mark.parametrize("case", TABLES)
    async def test_is_read_with_its_own_names(self, case: str, database_url: str, tmp_path: Path) -> None:
        table = TABLES[case]
        make(database_url, table.sql)
        found = await written(database_url, tmp_path)
        assert {**found.queue, **({"sql": None} if "sql" in found.queue else {})} == table.queue
        depth = await found.depth(database_url)
        assert (depth.pending, depth.processing) == table.depth

    async def test_what_cannot_be_told_is_a_comment_with_the_reason(self, database_url: str, tmp_path: Path) -> None:
        make(database_url, TABLES["with_the_usual_names"].sql, "INSERT INTO jobs (status) VALUES ('on_hold')")
        found = await written(database_url, tmp_path)
        assert "# not counted, because their words do not say whether work is left: on_hold" in found.text
        assert "# stale_after: 1h" in found.text
        assert "# wake_on: no trigger announces new jobs" in found.text

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

    async def test_that_may_not_be_read_is_named(self, database_url: str, bystander: str, tmp_path: Path) -> None:
        make(database_url, TABLES["with_the_usual_names"].sql)
        ran = await init(bystander, tmp_path)
        assert ran.code == 1
        assert "could not read public.jobs (GRANT SELECT)" in ran.err
        named = await init(bystander, tmp_path, "--table", "jobs")
        assert (named.code, "GRANT SELECT ON jobs" in named.err) == (1, True)

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

    async def test_without_a_job_in_progress_yet_gets_the_usual_words_for_it(
        self, database_url: str, tmp_path: Path
    ) -> None:
        make(database_url, "CREATE TABLE jobs (id int, status text DEFAULT 'NEW', created_at timestamptz)")
        found = await written(database_url, tmp_path)
        assert found.queue["statuses"]["processing"] == ["PROCESSING", "RUNNING", "IN_PROGRESS", "STARTED"]
        make(database_url, "INSERT INTO jobs (status) VALUES ('NEW'), ('RUNNING')")
        depth = await found.depth(database_url)
        assert (depth.pending, depth.processing) == (1, 1)

    async def test_is_named_where_a_library_is_there_without_a_job(self, database_url: str, tmp_path: Path) -> None:
        make(database_url, schema("que"), TABLES["with_the_usual_names"].sql)
        found = await written(database_url, tmp_path)
        assert found.queue == {"preset": "que"}
        assert "Table jobs holds jobs, too; --table NAME takes it." in found.ran.out

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


class TestTheFile:
    async def test_that_exists_is_kept(self, database_url: str, tmp_path: Path) -> None:
        (tmp_path / "policy.yaml").write_text("mine")
        (tmp_path / "link.yaml").symlink_to("nowhere.yaml")
        make(database_url, RENDERS)
        for name in ("policy.yaml", "link.yaml"):
            ran = await init(database_url, tmp_path, name)
            assert (ran.code, "init overwrites nothing" in ran.err) == (2, True)
        assert (tmp_path / "policy.yaml").read_text() == "mine"
        assert not (tmp_path / "nowhere.yaml").exists()

    async def test_is_printed_alone_for_a_dash(self, database_url: str, tmp_path: Path) -> None:
        make(database_url, RENDERS)
        ran = await init(database_url, tmp_path, "-")
        assert list(yaml.safe_load(ran.out)) == ["workers"]
        assert "Found table renders" in ran.err
        assert files(tmp_path) == []

    async def test_has_some_15_lines_that_fit(self, database_url: str, tmp_path: Path) -> None:
        make(database_url, RENDERS)
        text = (await written(database_url, tmp_path)).text
        assert 12 <= len(text.splitlines()) <= 22
        assert max(map(len, text.splitlines())) <= 120

    async def test_in_a_folder_that_is_not_there_is_refused_before_anything_is_asked(self, tmp_path: Path) -> None:
        ran = await init("postgres://nowhere.invalid/x", tmp_path, "no/policy.yaml")
        assert (ran.code, "make the folder first" in ran.err) == (2, True)

    async def test_is_not_written_without_a_database(self, tmp_path: Path) -> None:
        ran = await autoscaler("init", cwd=tmp_path)
        assert (ran.code, "DATABASE_URL" in ran.err, files(tmp_path)) == (2, True, [])
        ran = await init("postgres://127.0.0.1:1/x", tmp_path)
        assert (ran.code, ran.err.count("\n"), files(tmp_path)) == (1, 1, [])


class TestTheService:
    async def proposed(self, scene: Scene, folder: Path, *arguments: str) -> Ran:
        environment = {key: value for key, value in scene.environment.items() if key != "RAILWAY_WORKER_SERVICE_ID"}
        return await autoscaler("init", "-", *arguments, environment=environment, cwd=folder)

    async def test_is_the_only_one_that_is_named_like_a_worker(self, scene: Scene, tmp_path: Path) -> None:
        scene.fake.add_service("Postgres")
        ran = await self.proposed(scene, tmp_path)
        assert f"service: '{scene.environment['RAILWAY_WORKER_SERVICE_ID']}' # worker on Railway" in ran.out

    async def test_is_a_variable_and_a_list_where_several_could_be_it(self, scene: Scene, tmp_path: Path) -> None:
        other = scene.fake.add_service("render worker\n  evil: true")
        ran = await self.proposed(scene, tmp_path)
        assert "service: ${RAILWAY_WORKER_SERVICE_ID} # an environment variable" in ran.out
        assert rf"# render worker\n  evil: true is {other.id}".replace("  ", " ") in ran.out.replace("  ", " ")
        (worker,) = yaml.safe_load(ran.out)["workers"].values()
        assert "evil" not in worker
        ran = await self.proposed(scene, tmp_path, "--service", other.id)
        assert f"service: '{other.id}'" in ran.out

    async def test_that_is_not_there_is_refused(self, scene: Scene, tmp_path: Path) -> None:
        for ident in ("no-such-id", "no id"):
            ran = await self.proposed(scene, tmp_path, "--service", ident)
            assert (ran.code, ran.out) == (2, "")

    async def test_is_a_variable_where_railway_does_not_answer(self, scene: Scene, tmp_path: Path) -> None:
        scene.environment["RAILWAY_API_URL"] = "http://127.0.0.1:1"
        ran = await self.proposed(scene, tmp_path)
        assert (ran.code, "service: ${RAILWAY_WORKER_SERVICE_ID}" in ran.out) == (0, True)
        assert "Railway: cannot be reached" in ran.err


async def test_two_at_once_write_one_file(database_url: str, tmp_path: Path) -> None:
    make(database_url, RENDERS)
    rans = await asyncio.gather(*(init(database_url, tmp_path) for _ in range(3)))
    assert sorted(ran.code for ran in rans) == [0, 2, 2]
