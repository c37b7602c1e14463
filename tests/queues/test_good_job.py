"""The preset good_job, on GoodJob's published tables."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from tests.queues.published import READY_AGAIN, PublishedSentences
from tests.queues.scenario import DEFAULT_QUEUE, EVERYTHING, Count, Stage

JOBS = """
INSERT INTO good_jobs (active_job_id, job_class, queue_name, scheduled_at, performed_at, finished_at, error,
    created_at, updated_at)
SELECT gen_random_uuid(), 'Sort', queue, timezone('UTC', now() + due::interval),
    timezone('UTC', now() + performed::interval), timezone('UTC', now() + finished::interval), error,
    timezone('UTC', now() - interval '1 min'), timezone('UTC', now())
FROM (VALUES
    (3, 'default', '-1 min', '-1 min', NULL, NULL),
    (5, 'default', '-1 min', NULL, NULL, NULL),
    (2, 'other', NULL, NULL, NULL, NULL), -- before 4, a job to run at once has no scheduled_at
    (3, 'default', '1 h', NULL, NULL, NULL),
    (1, 'default', '1 h', NULL, NULL, 'RuntimeError: once more'),
    (2, 'default', '-2 min', '-2 min', '-1 min', 'RuntimeError: discarded'),
    (1, 'default', '-2 min', '-2 min', '-1 min', NULL)
) AS v(n, queue, due, performed, finished, error), generate_series(1, n);
"""
PROCESS = """
INSERT INTO good_job_processes (created_at, updated_at, state)
    VALUES (timezone('UTC', now() - interval '1 h'), timezone('UTC', now() - interval '31 s'), '{"hostname": "pod-a"}');
UPDATE good_jobs SET locked_by_id = p.id, locked_at = performed_at FROM good_job_processes p
    WHERE performed_at IS NOT NULL AND finished_at IS NULL;
"""
MUCH_LATER = "UPDATE good_job_processes SET updated_at = updated_at - interval '5 min'"


class TestGoodJob(PublishedSentences):
    preset = "good_job"
    schema = "good_job"
    day = JOBS + PROCESS
    much_later = MUCH_LATER
    holders = ("pod-a",)
    expected_much_later = READY_AGAIN

    async def test_a_job_whose_process_is_gone_is_ready_again(self, bare_place: Stage) -> None:
        self.begin(bare_place)
        bare_place.execute("DELETE FROM good_job_processes")
        assert await bare_place.read("good_job") == READY_AGAIN

    async def test_a_job_that_its_process_left_behind_unlocked_is_ready_again(self, bare_place: Stage) -> None:
        self.begin(bare_place)
        bare_place.execute("UPDATE good_jobs SET locked_by_id = NULL, locked_at = NULL WHERE finished_at IS NULL")
        assert await bare_place.read("good_job") == READY_AGAIN

    async def test_a_job_that_was_left_behind_and_put_off_is_for_later(self, bare_place: Stage) -> None:
        self.begin(bare_place)
        bare_place.execute(
            "UPDATE good_jobs SET locked_by_id = NULL, scheduled_at = timezone('UTC', now() + interval '1 h') "
            "WHERE finished_at IS NULL AND performed_at IS NOT NULL"
        )
        assert await bare_place.read("good_job") == Count(pending=7, processing=0, scheduled=7, failed=2)

    async def test_a_job_that_a_process_has_locked_and_not_yet_begun_is_in_work(self, bare_place: Stage) -> None:
        self.begin(bare_place)
        bare_place.execute("UPDATE good_jobs SET performed_at = NULL WHERE locked_by_id IS NOT NULL")
        assert await bare_place.read("good_job") == EVERYTHING
        assert await bare_place.longest_claim("good_job") == pytest.approx(60, abs=15)

    @pytest.mark.parametrize(
        ("paused", "pending"),
        [('{"queues": ["default"]}', 2), ('{"job_classes": ["Sort"]}', 0), ('{"labels": ["slow"]}', 6)],
    )
    async def test_what_is_paused_is_not_ready(self, bare_place: Stage, paused: str, pending: int) -> None:
        self.begin(bare_place)
        bare_place.execute("UPDATE good_jobs SET labels = '{slow}' WHERE id IN (SELECT id FROM good_jobs "
                      "WHERE performed_at IS NULL AND scheduled_at < timezone('UTC', now()) LIMIT 1)")  # fmt: skip
        bare_place.execute(
            "INSERT INTO good_job_settings (key, value, created_at, updated_at) "
            f"VALUES ('pauses', '{paused}', timezone('UTC', now()), timezone('UTC', now()))"
        )
        assert await bare_place.read("good_job") == Count(pending=pending, processing=3, scheduled=4, failed=2)


class TestGoodJobBeforeItsJobsNamedTheirProcess:
    """The lock's key is made as GoodJob makes it: the first 64 bits of md5('good_jobs-' || active_job_id)."""

    @pytest.fixture
    def worker(self, bare_place: Stage) -> Iterator[psycopg.Connection]:
        bare_place.create("good_job_3", JOBS)
        bare_place.let_read()
        with psycopg.connect(bare_place.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_advisory_lock(('x' || substr(md5('good_jobs' || '-' || active_job_id::text), 1, 16))::"
                "bit(64)::bigint) FROM good_jobs WHERE performed_at IS NOT NULL AND finished_at IS NULL"
            )
            yield connection

    async def test_a_running_job_is_known_by_its_advisory_lock(
        self, bare_place: Stage, worker: psycopg.Connection
    ) -> None:
        assert await bare_place.read("good_job") == EVERYTHING
        assert await bare_place.read("good_job", queues=["default"]) == DEFAULT_QUEUE

    async def test_how_long_it_has_been_worked_on_counts_from_when_it_was_begun(
        self, bare_place: Stage, worker: psycopg.Connection
    ) -> None:
        assert await bare_place.longest_claim("good_job") == bare_place.aged(60)

    async def test_a_dead_workers_jobs_are_ready_at_once(self, bare_place: Stage, worker: psycopg.Connection) -> None:
        worker.close()
        assert await bare_place.read_until("good_job", READY_AGAIN) == READY_AGAIN
