"""The preset solid_queue, on Solid Queue's published tables."""

from __future__ import annotations

from tests.queues.published import PublishedSentences
from tests.queues.scenario import Count, Stage

# A job has one row of its own, and until it is finished one more in the table of the state that it is in.
DAY = """
INSERT INTO solid_queue_processes (kind, pid, name, hostname, last_heartbeat_at, created_at)
    VALUES ('Worker', 17, 'worker-1', 'pod-a', timezone('UTC', now() - interval '50 s'), timezone('UTC', now()));
INSERT INTO solid_queue_jobs (queue_name, class_name, arguments, scheduled_at, finished_at, created_at, updated_at)
SELECT queue, state, '{}', timezone('UTC', now() + due::interval),
    CASE WHEN state = 'finished' THEN timezone('UTC', now()) END,
    timezone('UTC', now() - interval '1 min'), timezone('UTC', now())
FROM (VALUES
    (3, 'default', 'claimed', '-2 min'), (5, 'default', 'ready', '-1 min'), (2, 'other', 'ready', '-1 min'),
    (4, 'default', 'scheduled', '1 h'), (2, 'default', 'failed', '-2 min'), (1, 'default', 'finished', '-2 min'),
    (1, 'default', 'blocked', '-2 min')
) AS v(n, queue, state, due), generate_series(1, n);
INSERT INTO solid_queue_ready_executions (job_id, queue_name, created_at)
    SELECT id, queue_name, created_at FROM solid_queue_jobs WHERE class_name = 'ready';
INSERT INTO solid_queue_scheduled_executions (job_id, queue_name, scheduled_at, created_at)
    SELECT id, queue_name, scheduled_at, created_at FROM solid_queue_jobs WHERE class_name = 'scheduled';
INSERT INTO solid_queue_claimed_executions (job_id, process_id, created_at)
    SELECT j.id, p.id, j.created_at FROM solid_queue_jobs j, solid_queue_processes p WHERE class_name = 'claimed';
INSERT INTO solid_queue_failed_executions (job_id, error, created_at)
    SELECT id, '{}', created_at FROM solid_queue_jobs WHERE class_name = 'failed';
INSERT INTO solid_queue_blocked_executions (job_id, queue_name, concurrency_key, expires_at, created_at)
    SELECT id, queue_name, 'one', timezone('UTC', now() + interval '3 min'), created_at
    FROM solid_queue_jobs WHERE class_name = 'blocked';
"""
MUCH_LATER = "UPDATE solid_queue_processes SET last_heartbeat_at = last_heartbeat_at - interval '5 min'"
DUE = "UPDATE solid_queue_scheduled_executions SET scheduled_at = timezone('UTC', now() - interval '1 s')"
EXPIRED = "UPDATE solid_queue_blocked_executions SET expires_at = timezone('UTC', now() - interval '1 s')"
PAUSED = "INSERT INTO solid_queue_pauses (queue_name, created_at) VALUES ('default', timezone('UTC', now()))"


class TestSolidQueue(PublishedSentences):
    preset = "solid_queue"
    schema = "solid_queue"
    day = DAY
    much_later = MUCH_LATER
    holders = ("pod-a",)

    async def test_due_jobs_count_though_only_a_running_dispatcher_would_make_them_ready(
        self, bare_place: Stage
    ) -> None:
        self.begin(bare_place)
        bare_place.execute(DUE)
        assert await bare_place.read("solid_queue") == Count(pending=11, processing=3, scheduled=0, failed=2)

    async def test_a_blocked_job_counts_once_only_a_running_dispatcher_is_missing(self, bare_place: Stage) -> None:
        self.begin(bare_place)
        bare_place.execute(EXPIRED)
        assert await bare_place.read("solid_queue") == Count(pending=8, processing=3, scheduled=4, failed=2)

    async def test_a_paused_queue_has_nothing_ready(self, bare_place: Stage) -> None:
        self.begin(bare_place)
        bare_place.execute(PAUSED + ";" + DUE)
        assert await bare_place.read("solid_queue") == Count(pending=2, processing=3, scheduled=0, failed=2)

    async def test_a_claim_of_a_process_that_was_pruned_is_stale(self, bare_place: Stage) -> None:
        self.begin(bare_place)
        bare_place.execute("DELETE FROM solid_queue_processes")
        assert await bare_place.read("solid_queue") == self.expected_much_later
