"""The preset river, on River's published tables."""

from __future__ import annotations

import pytest

from tests.queues.published import READY_AGAIN, PublishedSentences
from tests.queues.scenario import ABANDONED, EVERYTHING, Count, Stage

DAY = """
INSERT INTO river_job (kind, args, max_attempts, queue, state, scheduled_at, attempt, finalized_at)
SELECT 'sort', '{}', 25, queue, state::river_job_state, now() + due::interval, attempt, now() + finalized::interval
FROM (VALUES
    (3, 'default', 'available', '-2 min', 0, NULL),
    (2, 'default', 'discarded', '-2 min', 25, '-1 min'),
    (1, 'default', 'completed', '-2 min', 1, '-1 min'),
    (1, 'default', 'cancelled', '-2 min', 1, '-1 min')
) AS v(n, queue, state, due, attempt, finalized), generate_series(1, n);
"""
# As the client claims: the first by priority, time and id, with the time of the attempt and its own name.
CLAIM = """
UPDATE river_job SET state = 'running', attempt = attempt + 1, attempted_at = now() - interval '1 min',
    attempted_by = '{host_1}'
WHERE id IN (
    SELECT id FROM river_job WHERE state = 'available' AND queue = 'default' AND scheduled_at <= now()
    ORDER BY priority, scheduled_at, id LIMIT 3 FOR UPDATE SKIP LOCKED
);
"""
WAITING = """
INSERT INTO river_job (kind, args, max_attempts, queue, state, scheduled_at)
SELECT 'sort', '{}', 25, queue, state::river_job_state, now() + due::interval
FROM (VALUES
    (5, 'default', 'available', '-1 min'),
    (2, 'other', 'available', '-1 s'),
    (3, 'default', 'scheduled', '1 h'),
    (1, 'default', 'retryable', '1 h')
) AS v(n, queue, state, due), generate_series(1, n);
"""
MUCH_LATER = "UPDATE river_job SET attempted_at = attempted_at - interval '61 min'"
DUE = "UPDATE river_job SET scheduled_at = now() - interval '1 s' WHERE state IN ('scheduled', 'retryable')"
PAUSED = (
    "INSERT INTO river_queue (name, paused_at, updated_at) VALUES ('default', now(), now()), ('other', NULL, now())"
)


class TestRiver(PublishedSentences):
    preset = "river"
    schema = "river"
    day = DAY + CLAIM + WAITING
    much_later = MUCH_LATER
    holders = ("host_1",)
    # At zero workers no client would rescue them.
    expected_much_later = READY_AGAIN

    async def test_due_jobs_count_though_only_a_running_client_would_make_them_available(
        self, bare_place: Stage
    ) -> None:
        self.begin(bare_place)
        bare_place.execute(DUE)
        assert await bare_place.read("river") == Count(pending=11, processing=3, scheduled=0, failed=2)

    async def test_a_paused_queue_has_nothing_ready(self, bare_place: Stage) -> None:
        self.begin(bare_place)
        bare_place.execute(PAUSED)
        assert await bare_place.read("river") == Count(pending=2, processing=3, scheduled=4, failed=2)

    @pytest.mark.parametrize(
        "but",
        [
            pytest.param("attempt = max_attempts", id="on its last attempt"),
            pytest.param("""metadata = '{"cancel_attempted_at": "2026-01-01T00:00:00Z"}'""", id="to be cancelled"),
            pytest.param("attempted_at = NULL", id="without the time of its attempt"),
        ],
    )
    async def test_a_stuck_job_that_its_rescuer_would_not_run_again_is_stale(self, bare_place: Stage, but: str) -> None:
        self.begin(bare_place)
        bare_place.execute(f"{MUCH_LATER}; UPDATE river_job SET {but} WHERE state = 'running'")
        assert await bare_place.read("river") == ABANDONED

    async def test_a_stuck_job_of_a_paused_queue_is_stale_until_the_queue_goes_on(self, bare_place: Stage) -> None:
        self.begin(bare_place)
        bare_place.execute(f"{MUCH_LATER}; {PAUSED}")
        assert await bare_place.read("river") == Count(pending=2, processing=0, scheduled=4, failed=2, stale=3)
        bare_place.execute("UPDATE river_queue SET paused_at = NULL")
        assert await bare_place.read("river") == READY_AGAIN

    async def test_a_rescued_job_waits_since_it_could_be_rescued(self, bare_place: Stage) -> None:
        bare_place.create("river", DAY + CLAIM + MUCH_LATER)
        bare_place.let_read()
        assert (await bare_place.read("river")).oldest_age_s == pytest.approx(120, abs=30)

    async def test_a_longer_limit_of_the_policy_is_heeded(self, bare_place: Stage) -> None:
        self.begin(bare_place)
        bare_place.execute(MUCH_LATER)
        assert await bare_place.read("river", stale_after="2h") == EVERYTHING


class TestRiverBeforeItsQueuesCouldBePaused(PublishedSentences):
    preset = "river"
    schema = "river_003"
    day = DAY + CLAIM + WAITING
    much_later = MUCH_LATER
    holders = ("host_1",)
    expected_much_later = READY_AGAIN
