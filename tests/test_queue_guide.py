"""`autoscaler queues` and `queue-trigger`: what they print is true, and the printed SQL does what it says."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from controller.adapters.queues.preset import load, names
from controller.demo.jobs import create_queue, enqueue
from controller.policy import PRESETS, load_policy
from controller.queue_guide import triggers
from tests.processes import autoscaler

Connection = psycopg.AsyncConnection[Any]
ID = {"RAILWAY_WORKER_SERVICE_ID": "w"}


def policy_text(queue: str) -> str:
    return f"workers: {{a: {{service: s, max_replicas: 1, tiers: [{{replicas: 1}}], queue: {queue}}}}}"


def printed(queue: str) -> str:
    policy, _ = load_policy(policy_text(queue), {})
    return "\n".join(triggers(policy))


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


def test_the_names_that_a_policy_may_use_are_those_of_the_files() -> None:
    assert names() == tuple(sorted(PRESETS))


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_says_what_it_was_tested_with_and_where_its_jobs_are(name: str) -> None:
    preset = load(name)
    assert preset.tested in {"library", "schema"}
    assert preset.versions
    assert preset.forms
    words = set(re.findall(r"\{([a-z_0-9]+)\}", " ".join(part for form in preset.forms for part in _parts(form))))
    assert words <= {*preset.tables, "stale", "ready", "first_queue"}


def _parts(form: Any) -> list[str]:
    single = [text for text in (form.since, form.oldest, form.alive, form.claimed_at, form.common) if text]
    return [*form.ready, *form.processing, *form.scheduled, *form.failed, *single]


async def test_queues_lists_every_library_and_tells_all_of_one() -> None:
    everything, one, objects = await asyncio.gather(
        autoscaler("queues"), autoscaler("queues", "procrastinate"), autoscaler("queues", "--json")
    )
    assert all(re.search(rf"^{name} ", everything.out, re.MULTILINE) for name in PRESETS)
    assert "{jobs} j WHERE j.status = 'todo'" in one.out
    assert [entry["preset"] for entry in json.loads(objects.out)] == list(PRESETS)


async def test_what_is_not_known_is_one_message_and_exit_2() -> None:
    library, worker = await asyncio.gather(
        autoscaler("queues", "kafka"), autoscaler("queue-trigger", "nobody", environment=ID)
    )
    assert (library.code, worker.code) == (2, 2)
    assert "'kafka' is not known; known are" in library.err
    assert "'nobody' is no worker of policy.yaml; there is generation-worker" in worker.err


async def test_the_printed_trigger_announces_at_most_four_times_a_second(admin: Connection, database_url: str) -> None:
    await create_queue(admin)
    await admin.execute("DROP TRIGGER IF EXISTS generation_job_insert ON generation_job")
    for row in await (await admin.execute("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal")).fetchall():
        await admin.execute(psycopg.sql.SQL("DROP TRIGGER {} ON generation_job").format(psycopg.sql.Identifier(row[0])))
    await admin.execute(printed("{table: generation_job, wake_on: 'odd:name'}").encode())
    await admin.execute('LISTEN "odd:name"')
    await enqueue(admin, 1)
    assert len([_ async for _ in admin.notifies(timeout=0.5)]) == 1
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as client:
        for _ in range(200):
            await client.execute("INSERT INTO generation_job DEFAULT VALUES")
    assert 1 <= len([_ async for _ in admin.notifies(timeout=0.5)]) <= 9


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
        await asyncio.wait_for(other.execute("INSERT INTO job DEFAULT VALUES"), 5)
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
    ("queue", "words"),
    [
        ("{preset: procrastinate}", "-- a: procrastinate announces its jobs by itself"),
        ("{preset: dramatiq-pg}", "into no other: name them); nobody listens yet: set workers.a.queue.queues."),
        ("{preset: dramatiq-pg, queues: [mail]}", "into no other: name them).\n"),
        ("{sql: SELECT 1}", "nobody can tell from it which table the jobs come into"),
        ("{table: job}", "-- In the policy: workers.a.queue.wake_on: new_job"),
        ("{table: job}", "9,073 inserts a second without, 2,986 with"),
    ],
)
def test_who_needs_no_trigger_is_told_so_and_who_does_what_it_costs(queue: str, words: str) -> None:
    assert words in printed(queue)


def test_the_shipped_policy_prints_a_trigger(tmp_path: Path) -> None:
    policy, _ = load_policy((Path(__file__).parents[1] / "policy.yaml").read_text(), ID)
    assert 'AFTER INSERT ON "generation_job"' in "\n".join(triggers(policy))
