"""A preset of the user's own reads as those that ship do, with the precautions that all SQL of a user's own has."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from controller.adapters.postgres.presets.reader import PresetFiles
from controller.adapters.postgres.queue import PostgresQueue
from controller.core.model import QueueDepth, Rest
from controller.core.ports import Unavailable
from controller.policy import Queue
from tests.support.together import read_together
from tests.support.unhurried import PATIENT_S

Connection = psycopg.AsyncConnection[Any]
PRESET = """\
library = "our queue"
queue_column = "j.queue"
prefix = "our_"
wakes = ["{prefix}jobs_{queue}"]
stale_after = 900

[tables]
jobs = "{prefix}jobs"

[[forms]]
needs = ["jobs.claimed_at"]
ready = "{jobs} j WHERE j.state = 'ready' AND {due}"
processing = "{jobs} j WHERE j.state = 'taken'"
scheduled = "{jobs} j WHERE j.state = 'ready' AND NOT {due}"
failed = "{jobs} j WHERE j.state = 'dead'"
claimed_at = "j.claimed_at"
alive = "j.claimed_at > now() - {stale}"
since = "j.run_at"

[forms.words]
due = "j.run_at <= now()"
"""
TABLE = """
CREATE TABLE our_jobs (queue text, state text, run_at timestamptz DEFAULT now(), claimed_at timestamptz);
INSERT INTO our_jobs VALUES ('mail', 'ready', now() - interval '1 min', NULL),
  ('mail', 'ready', now() + interval '1 h', NULL), ('mail', 'taken', now(), now()),
  ('mail', 'taken', now(), now() - interval '1 h'), ('mail', 'dead', now(), NULL), ('other', 'ready', now(), NULL);
CREATE FUNCTION hidden(bigint) RETURNS text LANGUAGE sql AS $$ SELECT pg_advisory_lock($1)::text $$;
CREATE FUNCTION writes() RETURNS text LANGUAGE sql AS $$ DELETE FROM our_jobs; SELECT 'ready' $$;
"""


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(TABLE)
        yield connection


@pytest.fixture
async def queue(admin: Connection, database_url: str) -> AsyncIterator[PostgresQueue]:
    postgres = PostgresQueue(database_url, timeout_s=PATIENT_S)
    yield postgres
    await postgres.close()


def own(folder: Path, *, old: str = "", new: str = "", **wishes: Any) -> Queue:
    """The preset with one piece of it replaced."""
    assert old in PRESET
    (folder / "my.toml").write_text(PRESET.replace(old, new, 1) if old else PRESET)
    name = PresetFiles(folder).load("./my.toml").name
    return Queue.model_validate({"preset": name, **wishes})


async def test_its_jobs_are_counted_by_queue_and_those_of_a_dead_worker_are_stale(
    queue: PostgresQueue, tmp_path: Path
) -> None:
    mail = own(tmp_path, queues=["mail"])
    depth = await queue.depth(mail, 100)
    assert (depth.pending, depth.processing, depth.stale) == (1, 1, 1)
    assert depth.oldest_age_s == pytest.approx(60, abs=30)
    assert await queue.rest(mail, 100) == Rest(1, 1, 100)
    assert await queue.channels(mail) == ("our_jobs_mail",)
    assert (await queue.depth(own(tmp_path), 100)).pending == 2


async def test_a_lock_that_its_sql_hides_is_given_back_and_said(
    queue: PostgresQueue, admin: Connection, tmp_path: Path
) -> None:
    depth = await queue.depth(own(tmp_path, old="j.state = 'ready'", new="hidden(1) IS NOT NULL"), 100)
    (remark,) = depth.remarks
    assert remark.text.startswith(f"preset {tmp_path}/my.toml leaves advisory lock ")
    held = await (await admin.execute("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")).fetchone()
    assert held == (0,)


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        pytest.param("j.state = 'ready'", "j.stat = 'ready'", "column j.stat does not exist", id="no such column"),
        pytest.param("j.state = 'ready'", "j.state = = 'a'", "syntax error", id="SQL that is none"),
        pytest.param("j.state = 'ready'", "j.state = $1", "has placeholders such as $1", id="a placeholder"),
        pytest.param("j.state = 'ready'", "1/0 = 1", "division by zero", id="a division by zero"),
        pytest.param("j.state = 'ready'", "j.state = writes()", "read-only transaction", id="SQL that writes"),
        pytest.param('since = "j.run_at"', 'since = "j.state"', "isfinite(text) does not exist", id="a time in words"),
        pytest.param('since = "j.run_at"', "oldest = \"SELECT 'x'\"", "double precision", id="an age that is a text"),
        pytest.param("jobs.claimed_at", "jobs.taken_at", "missing: jobs.taken_at); add [[forms]]", id="columns"),
        pytest.param('prefix = "our_"', 'prefix = "my_"', "this user can see no table", id="another table"),
    ],
)
async def test_what_postgresql_refuses_of_it_is_unavailable_and_never_0(
    queue: PostgresQueue, tmp_path: Path, old: str, new: str, problem: str
) -> None:
    with pytest.raises(Unavailable) as unavailable:
        await queue.depth(own(tmp_path, old=old, new=new), 100)
    said = str(unavailable.value)
    assert problem in said
    assert f"preset {tmp_path}/my.toml" in said


async def test_the_jobs_are_there_after_a_function_in_it_tried_to_delete_them(
    queue: PostgresQueue, admin: Connection, tmp_path: Path
) -> None:
    with pytest.raises(Unavailable):
        await queue.depth(own(tmp_path, old="j.state = 'ready'", new="j.state = writes()"), 100)
    assert await (await admin.execute("SELECT count(*) FROM our_jobs")).fetchone() == (6,)


async def test_one_that_cannot_be_read_keeps_no_other_queue_of_the_same_reading_from_being_read(
    queue: PostgresQueue, tmp_path: Path
) -> None:
    (tmp_path / "bad").mkdir()
    bad = own(tmp_path / "bad", old="j.state = 'ready'", new="1/0 = 1")
    good = own(tmp_path, queues=["other"])
    refused, depth = await read_together(queue, bad, good)
    assert isinstance(refused, Unavailable)
    assert isinstance(depth, QueueDepth)
