"""The preset oban, on Oban's published tables."""

from __future__ import annotations

from tests.queues.published import READY_AGAIN, PublishedSentences
from tests.queues.scenario import ABANDONED, EVERYTHING, Count, Stage

DAY = """
INSERT INTO oban_jobs (worker, queue, state, scheduled_at, attempted_at, attempt, attempted_by, discarded_at)
SELECT 'Sort', queue, state::oban_job_state, timezone('UTC', now() + due::interval),
    timezone('UTC', now() + attempted::interval), attempt, '{node, 4e2f7b1c-0000-4000-8000-000000000001}',
    timezone('UTC', now() + discarded::interval)
FROM (VALUES
    (3, 'default', 'executing', '-2 min', '-1 min', 1, NULL),
    (5, 'default', 'available', '-1 min', NULL, 0, NULL),
    (2, 'other', 'available', '-1 s', NULL, 0, NULL),
    (3, 'default', 'scheduled', '1 h', NULL, 0, NULL),
    (1, 'default', 'retryable', '1 h', '-1 min', 1, NULL),
    (2, 'default', 'discarded', '-2 min', '-1 min', 20, '-1 min'),
    (1, 'default', 'completed', '-2 min', '-1 min', 1, NULL),
    (1, 'default', 'cancelled', '-2 min', NULL, 0, NULL),
    (1, 'default', 'suspended', '-2 min', NULL, 0, NULL),
    (1, 'default', 'available', '-2 min', '-1 min', 20, NULL) -- no attempt is left: no node takes it
) AS v(n, queue, state, due, attempted, attempt, discarded), generate_series(1, n);
"""
MUCH_LATER = "UPDATE oban_jobs SET attempted_at = attempted_at - interval '121 min'"
DUE = """
UPDATE oban_jobs SET scheduled_at = timezone('UTC', now() - interval '1 s') WHERE state IN ('scheduled', 'retryable')
"""


class TestOban(PublishedSentences):
    preset = "oban"
    schema = "oban"
    day = DAY
    much_later = MUCH_LATER
    holders = ("node",)
    # At zero workers no node's Lifeline would rescue them.
    expected_much_later = READY_AGAIN

    async def test_due_jobs_count_though_only_a_running_node_would_stage_them(self, bare_place: Stage) -> None:
        self.begin(bare_place)
        bare_place.execute(DUE)
        assert await bare_place.read("oban") == Count(pending=11, processing=3, scheduled=0, failed=2)

    async def test_an_orphan_on_its_last_attempt_is_stale_for_it_is_not_run_again(self, bare_place: Stage) -> None:
        self.begin(bare_place)
        bare_place.execute(f"{MUCH_LATER}; UPDATE oban_jobs SET attempt = max_attempts WHERE state = 'executing'")
        assert await bare_place.read("oban") == ABANDONED

    async def test_another_rescue_after_is_written_as_stale_after(self, bare_place: Stage) -> None:
        self.begin(bare_place)
        bare_place.execute(MUCH_LATER)
        assert await bare_place.read("oban", stale_after="3h") == EVERYTHING
        bare_place.execute(MUCH_LATER.replace("- interval '121 min'", "+ interval '111 min'"))
        assert await bare_place.read("oban") == EVERYTHING
        assert await bare_place.read("oban", stale_after="5m") == READY_AGAIN

    async def test_another_prefix_is_another_schema(self, bare_place: Stage) -> None:
        bare_place.execute("CREATE SCHEMA background")
        self.begin(bare_place)
        bare_place.execute("ALTER TABLE oban_jobs SET SCHEMA background")
        bare_place.let_read("background")
        assert await bare_place.read("oban", schema="background") == EVERYTHING
