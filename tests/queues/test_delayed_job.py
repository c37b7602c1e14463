"""The preset delayed_job, on the published tables of Delayed::Job and of its fork delayed."""

from __future__ import annotations

from tests.queues.published import READY_AGAIN, PublishedSentences
from tests.queues.scenario import ABANDONED, EVERYTHING, Stage

DAY = """
INSERT INTO delayed_jobs ({name}handler, queue, run_at, locked_at, locked_by, failed_at, attempts)
SELECT {value}'--- !ruby/object:Sort', queue, timezone('UTC', now() + due::interval),
    timezone('UTC', now() + locked::interval), CASE WHEN locked IS NOT NULL THEN 'host:a pid:17' END,
    timezone('UTC', now() + failed::interval), attempts
FROM (VALUES
    (3, 'default', '-2 min', '-1 min', NULL, 0),
    (3, NULL, '-1 min', NULL, NULL, 0), -- without a queue
    (2, 'default', '-1 s', NULL, NULL, 0),
    (2, 'other', '-1 s', NULL, NULL, 0),
    (3, 'default', '1 h', NULL, NULL, 0),
    (1, NULL, '1 h', NULL, NULL, 1),
    (2, 'default', '-2 min', '-1 min', '-50 s', 25) -- a failed job keeps its claim
) AS v(n, queue, due, locked, failed, attempts), generate_series(1, n);
"""
MUCH_LATER = "UPDATE delayed_jobs SET locked_at = locked_at - interval '4 h'"


class TestDelayedJob(PublishedSentences):
    preset = "delayed_job"
    schema = "delayed_job"
    day = DAY.format(name="", value="")
    much_later = MUCH_LATER
    expected_much_later = READY_AGAIN
    holders = ("host:a pid:17",)

    async def test_the_tables_name_may_have_a_prefix(self, bare_place: Stage) -> None:
        self.begin(bare_place)
        bare_place.execute("ALTER TABLE delayed_jobs RENAME TO shop_delayed_jobs")
        assert await bare_place.read("delayed_job", prefix="shop_") == EVERYTHING


class TestDelayed(PublishedSentences):
    preset = "delayed"
    schema = "delayed"
    day = DAY.format(name="name, ", value="'Sort', ")
    much_later = MUCH_LATER
    expected_much_later = READY_AGAIN
    holders = ("host:a pid:17",)

    async def test_its_claims_end_sooner_and_the_policy_may_give_them_up_before(self, bare_place: Stage) -> None:
        self.begin(bare_place)
        bare_place.execute("UPDATE delayed_jobs SET locked_at = locked_at - interval '15 min'")
        assert await bare_place.read("delayed") == EVERYTHING
        assert await bare_place.read("delayed", stale_after="10m") == ABANDONED
