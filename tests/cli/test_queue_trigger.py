"""`autoscaler queues` and `queue-trigger`: what they print is true, and the printed SQL does what it says."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from controller.adapters.postgres.presets.reader import names
from controller.cli.queue_trigger import triggers
from controller.demo.jobs import create_queue, enqueue
from controller.policy import load_policy
from tests.support.listening import notified
from tests.support.patience import in_time
from tests.support.processes import autoscaler

Connection = psycopg.AsyncConnection[Any]
ID = {"RAILWAY_WORKER_SERVICE_ID": "w"}


def printed(*queues: str, only: str | None = None) -> str:
    """For the workers a, b, …, each with one of the queues."""
    workers = ", ".join(
        f"{name}: {{service: {name}, max_replicas: 1, tiers: [{{replicas: 1}}], queue: {queue}}}"
        for name, queue in zip("ab", queues, strict=False)
    )
    policy, _ = load_policy(f"workers: {{{workers}}}", {})
    return "\n".join(triggers(policy, only))


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


async def test_queues_lists_every_library_and_tells_all_of_one() -> None:
    everything, one, objects = await asyncio.gather(
        autoscaler("queues"), autoscaler("queues", "procrastinate"), autoscaler("queues", "--json")
    )
    assert all(re.search(rf"^{name} ", everything.out, re.MULTILINE) for name in names())
    assert "{jobs} j WHERE j.status = 'todo'" in one.out
    assert [entry["preset"] for entry in json.loads(objects.out)] == list(names())


async def test_what_is_not_known_is_one_message_and_exit_2() -> None:
    library, worker = await asyncio.gather(
        autoscaler("queues", "kafka"), autoscaler("queue-trigger", "nobody", environment=ID)
    )
    assert (library.code, worker.code) == (2, 2)
    assert "'kafka' is not a known preset; known are" in library.err
    assert "'nobody' is not a worker in policy.yaml; there is generation-worker" in worker.err


async def test_the_printed_trigger_announces_at_most_four_times_a_second(admin: Connection, database_url: str) -> None:
    await create_queue(admin)
    await admin.execute("DROP TRIGGER IF EXISTS generation_job_insert ON generation_job")
    for row in await (await admin.execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")).fetchall():
        await admin.execute(psycopg.sql.SQL("DROP TRIGGER {} ON generation_job").format(psycopg.sql.Identifier(row[0])))
    await admin.execute(printed("{table: generation_job, wake_on: 'odd:name'}").encode())
    await admin.execute('LISTEN "odd:name"')
    await enqueue(admin, 1)
    assert len(await notified(admin)) == 1
    await asyncio.sleep(0.3)
    begun = time.monotonic()
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as client:
        for _ in range(200):
            await client.execute("INSERT INTO generation_job DEFAULT VALUES")
    assert 1 <= len(await notified(admin)) <= 1 + 4 * (time.monotonic() - begun)


async def test_no_writer_waits_for_another_or_fails_to_serialize_because_of_the_trigger(
    admin: Connection, database_url: str
) -> None:
    await admin.execute("CREATE TABLE job (id serial PRIMARY KEY)")
    await admin.execute(printed("{table: job}").encode())
    serializable = psycopg.IsolationLevel.SERIALIZABLE
    async with (
        await psycopg.AsyncConnection.connect(database_url) as one,
        await psycopg.AsyncConnection.connect(database_url) as other,
    ):
        for client in (one, other):
            await client.set_isolation_level(serializable)
            await client.execute("SELECT 1")
        await one.execute("INSERT INTO job DEFAULT VALUES")
        await asyncio.sleep(0.3)
        await in_time(other.execute("INSERT INTO job DEFAULT VALUES"), "a writer beside another")
        await one.commit()
        await other.commit()


async def test_the_printed_trigger_can_be_taken_away_as_it_says(admin: Connection) -> None:
    await admin.execute('CREATE SCHEMA jobs; CREATE TABLE jobs."odd \'name" (id int)')
    text = printed("{table: jobs.odd 'name}")
    await admin.execute(text.encode())
    undo = [line.removeprefix("--   ") for line in text.splitlines() if line.startswith("--   DROP")]
    for statement in undo:
        await admin.execute(statement.encode())
    left = await (await admin.execute("SELECT count(*) FROM pg_class WHERE relname LIKE '%_last'")).fetchone()
    assert len(undo) == 3
    assert left == (0,)


@pytest.mark.parametrize(
    "tables",
    [
        ["日" * 21],
        ["t" * 63],
        [f"{'t' * 53}_one", f"{'t' * 53}_two"],
        ["t" * 53, "t" * 54, "t" * 55, "t" * 62],
        [f"{'s' * 63}.{'t' * 60}"],
        ["x$announce$y", "x$announce_$y"],
    ],
)
async def test_however_long_or_odd_a_table_s_name_is_its_trigger_announces_and_can_be_taken_away(
    admin: Connection, tables: list[str]
) -> None:
    await admin.execute("LISTEN heard")
    sqls = [printed(f"{{table: {table}, wake_on: heard}}") for table in tables]
    for table, text in zip(tables, sqls, strict=True):
        name = psycopg.sql.Identifier(*table.split("."))
        if "." in table:
            await admin.execute(psycopg.sql.SQL("CREATE SCHEMA {}").format(psycopg.sql.Identifier("s" * 63)))
        await admin.execute(psycopg.sql.SQL("CREATE TABLE {} (id int)").format(name))
        await admin.execute(text.encode())
        await admin.execute(psycopg.sql.SQL("INSERT INTO {} VALUES (1)").format(name))
        assert len(await notified(admin)) == 1
    for statement in re.findall("^--   (DROP .*)", "\n".join(sqls), re.MULTILINE):
        made = re.findall(r'"([^"]+)"', statement)
        assert all(len(name.encode()) <= 63 for name in made)
        await admin.execute(statement.encode())


def test_all_that_a_trigger_needs_has_a_name_of_its_own() -> None:
    for table in ("job", "日" * 21, "t" * 63):
        names = re.findall(r'(?:SEQUENCE|FUNCTION|TRIGGER) (?:"public"\.)?"([^"]+)"', printed(f"{{table: {table}}}"))
        assert len({table, *names}) == 4


async def test_a_channel_s_name_never_ends_the_function_s_text(admin: Connection) -> None:
    await admin.execute("CREATE TABLE job (id int)")
    await admin.execute(printed("{table: job, wake_on: '$announce$; DROP TABLE job; --'}").encode())
    await admin.execute('LISTEN "$announce$; DROP TABLE job; --"')
    await admin.execute("INSERT INTO job VALUES (1)")
    assert len(await notified(admin)) == 1


async def test_an_insert_that_is_rolled_back_uses_up_the_pause_as_the_caveat_says(admin: Connection) -> None:
    await admin.execute("CREATE TABLE job (id int); LISTEN new_job")
    text = printed("{table: job}")
    await admin.execute(text.encode())
    for _ in range(20):
        begun = time.monotonic()
        await admin.execute("BEGIN; INSERT INTO job VALUES (1); ROLLBACK; INSERT INTO job VALUES (2)")
        heard = await notified(admin)
        await asyncio.sleep(0.3)
        if time.monotonic() - begun < 0.5:  # else the pause may have been over before the second one
            break
    assert heard == []
    await admin.execute("INSERT INTO job VALUES (3)")
    assert len(await notified(admin)) == 1
    assert "just after an insert that is rolled back, because its notification counts too" in text


async def test_a_view_s_jobs_are_announced_by_the_table_behind_it_as_the_comment_says(admin: Connection) -> None:
    await admin.execute("CREATE TABLE job (id int); CREATE VIEW seen AS SELECT * FROM job; LISTEN new_seen")
    text = printed("{table: seen}")
    await admin.execute(text.encode())
    await admin.execute("INSERT INTO seen VALUES (1)")
    assert await notified(admin) == []
    for statement in re.findall("^--   (DROP .*)", text, re.MULTILINE):
        await admin.execute(statement.encode())
    await admin.execute(text.replace('ON "seen"', 'ON "job"').encode())
    await admin.execute("INSERT INTO seen VALUES (2)")
    assert len(await notified(admin)) == 1
    assert "If it is a view, put the trigger onto the table behind it" in text
    assert "a view" not in printed("{preset: delayed_job}")


@pytest.mark.parametrize(
    ("queues", "channels", "words"),
    [
        (
            ["{table: job, wake_on: x}", "{table: job, wake_on: x}"],
            ["x"],
            '-- b: jobs are inserted into "job" too, and the trigger for a announces them on x.',
        ),
        (["{table: job}", "{table: public.job}"], ["new_job"], "-- In the policy: workers.b.queue.wake_on: new_job"),
        (["{table: job}", "{table: job, wake_on: x}"], ["x"], "-- In the policy: workers.a.queue.wake_on: x"),
        (
            ["{table: job, wake_on: x}", "{table: job, wake_on: y}"],
            ["x"],
            "however many workers share it.\n-- In the policy: workers.b.queue.wake_on: x",
        ),
        (
            ["{preset: delayed_job, queues: [mail]}", "{preset: delayed_job, queues: [render]}"],
            ["new_delayed_jobs"],
            "-- In the policy: workers.b.queue.wake_on: new_delayed_jobs",
        ),
        (
            ["{table: job}", "{table: jobs.job}"],
            ["new_job", "new_job"],
            '-- b: jobs are inserted into "jobs"."job" and',
        ),
        (
            ["{preset: absurd, queues: [x, y]}"],
            ["new_r_x", "new_r_x"],
            "-- In the policy: workers.a.queue.wake_on: new_r_x",
        ),
        (["{preset: river}", "{preset: river, wake_on: x}"], ["x"], "-- a: river announces its jobs by itself"),
    ],
    ids=[
        "the same channel",
        "none yet",
        "the second has one",
        "two channels",
        "one library, two queues",
        "two schemas",
        "one worker, two tables",
        "a library that announces, and a wish",
    ],
)
def test_a_table_has_one_trigger_and_all_its_workers_hear_of_one_channel(
    queues: list[str], channels: list[str], words: str
) -> None:
    text = printed(*queues)
    assert re.findall(r"pg_notify\('(\w+)'", text) == channels
    assert words in text


def test_the_trigger_for_one_worker_is_the_one_that_the_others_of_its_table_hear_of() -> None:
    text = printed("{table: job, wake_on: x}", "{table: job}", only="b")
    assert re.findall(r"pg_notify\('(\w+)'", text) == ["x"]
    assert "-- In the policy: workers.b.queue.wake_on: x" in text
    assert "-- a: " not in text


@pytest.mark.parametrize(
    ("queue", "words"),
    [
        ("{preset: procrastinate}", "-- a: procrastinate announces its jobs by itself"),
        (
            "{preset: dramatiq-pg}",
            "so name all of them); the controller does not listen yet: set workers.a.queue.queues.",
        ),
        ("{preset: dramatiq-pg, queues: [mail]}", "so name all of them).\n"),
        ("{sql: SELECT 1}", "a query, which does not say into which table the jobs are inserted"),
        ("{table: job}", "-- In the policy: workers.a.queue.wake_on: new_job"),
        ("{table: job}", "9,073 inserts a second without, 2,986 with"),
    ],
)
def test_who_needs_no_trigger_is_told_so_and_who_does_what_it_costs(queue: str, words: str) -> None:
    assert words in printed(queue)


def test_the_shipped_policy_prints_a_trigger(tmp_path: Path) -> None:
    policy, _ = load_policy((Path(__file__).parents[2] / "policy.yaml").read_text(), ID)
    assert 'AFTER INSERT ON "generation_job"' in "\n".join(triggers(policy))
