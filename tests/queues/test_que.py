"""The preset que, on Que's published tables; the jobs are held by advisory locks of a real second connection."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from controller.adapters.postgres.presets.reader import load
from controller.policy import Queue
from tests.queues.published import OLDEST_S, READY_AGAIN, depth
from tests.queues.scenario import DEFAULT_QUEUE, EVERYTHING, Count, Stage, listening

JOBS = """
INSERT INTO que_jobs (job_class, job_schema_version, queue, run_at, error_count, expired_at, finished_at)
SELECT 'Sort', 2, queue, now() + due::interval, errors, now() + expired::interval, now() + finished::interval
FROM (VALUES
    (8, 'default', '-1 min', 0, NULL, NULL),
    (2, 'other', '-1 s', 0, NULL, NULL),
    (3, 'default', '1 h', 0, NULL, NULL),
    (1, 'default', '1 h', 1, NULL, NULL), -- failed once, and is to be tried again
    (2, 'default', '-2 min', 16, '-1 min', NULL),
    (1, 'default', '-2 min', 0, NULL, '-1 min')
) AS v(n, queue, due, errors, expired, finished), generate_series(1, n);
"""
# Before Que 1 a job is deleted when it is done, and never given up; its id is called job_id.
JOBS_0 = """
INSERT INTO que_jobs (job_class, queue, run_at, error_count)
SELECT 'Sort', queue, now() + due::interval, 0
FROM (VALUES (8, '', '-1 min'), (2, 'other', '-1 s'), (4, '', '1 h')) AS v(n, queue, due), generate_series(1, n);
"""


@pytest.fixture
def worker(bare_place: Stage) -> Iterator[psycopg.Connection]:
    bare_place.create("que", JOBS)
    with _holding_three(bare_place, "id") as connection:
        yield connection


@pytest.fixture
def old_worker(bare_place: Stage) -> Iterator[psycopg.Connection]:
    bare_place.create("que_0", JOBS_0)
    with _holding_three(bare_place, "job_id") as connection:
        yield connection


def _holding_three(place: Stage, key: str) -> psycopg.Connection:
    place.let_read()
    connection = psycopg.connect(place.url, autocommit=True)
    connection.execute(
        f"SELECT pg_advisory_lock({key}) FROM (SELECT {key} FROM que_jobs "
        f"ORDER BY run_at < now() - interval '90 s', run_at, {key} LIMIT 3) AS first".encode()
    )
    # Locks that are none of a job's: of two numbers, and of a job's number in another database.
    connection.execute("SELECT pg_advisory_lock(0, 5)")
    return connection


async def test_what_waits_is_held_is_for_later_and_failed_are_told_apart(
    bare_place: Stage, worker: psycopg.Connection
) -> None:
    seen = await bare_place.read("que")
    assert seen == EVERYTHING
    assert seen.oldest_age_s == bare_place.aged(OLDEST_S)
    assert await bare_place.read("que", queues=["default"]) == DEFAULT_QUEUE
    by_controller = await depth(bare_place, Queue(preset="que"))
    assert (by_controller.pending, by_controller.processing) == (seen.pending, seen.processing)


async def test_the_locks_of_another_database_are_no_jobs_of_this_one(
    bare_place: Stage, worker: psycopg.Connection, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as elsewhere:
        elsewhere.execute("SELECT pg_advisory_lock(n) FROM generate_series(1, 100) AS n")
        assert await bare_place.read("que") == EVERYTHING


async def test_a_dead_workers_jobs_are_ready_at_once(bare_place: Stage, worker: psycopg.Connection) -> None:
    bare_place.execute(f"SELECT pg_terminate_backend({worker.info.backend_pid}, 5000)")
    assert await bare_place.read("que") == READY_AGAIN


async def test_each_insert_wakes_every_listener(bare_place: Stage, worker: psycopg.Connection) -> None:
    channels = frozenset(load("que").wakes)
    async with listening(bare_place, channels) as heard:
        bare_place.execute("INSERT INTO que_jobs (job_class, job_schema_version) VALUES ('Sort', 2)")
    assert heard == channels


async def test_que_before_1_is_read_too(bare_place: Stage, old_worker: psycopg.Connection) -> None:
    assert await bare_place.read("que") == Count(pending=7, processing=3, scheduled=4, failed=None)
    assert await bare_place.read("que", queues=["other"]) == Count(pending=2, processing=0, scheduled=0, failed=None)
