"""The preset pg-boss, on the real library; and on tables of versions before it."""

from __future__ import annotations

import asyncio

import pytest

from tests.queues.node_library import NodeLibrary, needs_node
from tests.queues.scenario import (
    ABANDONED,
    DEFAULT_QUEUE,
    EVERYTHING,
    Count,
    Counted,
    PresetSentences,
    Stage,
    play,
)

# Any pg-boss that runs retries what has expired: at zero workers it must bring one.
READY_AGAIN = Count(pending=10, processing=0, scheduled=4, failed=2)
EXPIRED = "UPDATE pgboss.job SET started_on = started_on - interval '16 min' WHERE state = 'active'"


@pytest.fixture(scope="module")
def seen(place: Stage) -> Counted:
    library = NodeLibrary("pg-boss")
    return asyncio.run(play(place, library, after_kill=EXPIRED, then=READY_AGAIN, schemas=["pgboss"]))


@needs_node
@pytest.mark.costly
class TestPgBoss(PresetSentences):
    expected_after_kill = READY_AGAIN

    async def test_the_policy_may_say_sooner_that_a_claim_is_stale(self, place: Stage, seen: Counted) -> None:
        claimed = "UPDATE pgboss.job SET started_on = now() - interval '20 s', heartbeat_on = NULL"
        place.execute(f"{claimed} WHERE state = 'active'")
        assert await place.read("pg-boss", stale_after="1m") == EVERYTHING
        assert await place.read("pg-boss", stale_after="10s") == ABANDONED


COLUMNS = "name, state, start_after, started_on, created_on, retry_count, retry_limit"
ROWS = """
SELECT name, state::pgboss.job_state, now() + due::interval, now() + started::interval, now() - interval '10 min',
    tried, 2
FROM (VALUES
    (3, 'default', 'active', '-10 min', '-1 min', 0),
    (4, 'default', 'created', '-1 min', NULL, 0),
    (1, 'default', 'retry', '-1 s', '-5 min', 0),
    (2, 'other', 'created', '-1 s', NULL, 0),
    (3, 'default', 'created', '1 h', NULL, 0),
    (1, 'default', 'retry', '1 h', '-5 min', 0),
    (2, 'default', 'failed', '-10 min', '-5 min', 2),
    (1, 'default', 'completed', '-10 min', '-5 min', 0),
    (1, 'default', 'cancelled', '-10 min', NULL, 0),
    (1, '__pgboss__send-it', 'created', '-10 min', NULL, 0) -- its own housekeeping
) AS v(n, name, state, due, started, tried), generate_series(1, n);
"""
# Before version 10: no query reads the job that says another is completed, and an expired job is not called failed.
ROWS_OF_9 = """
INSERT INTO pgboss.job (name, state) VALUES ('__state__completed__default', 'created');
UPDATE pgboss.job SET state = 'expired' WHERE id = (SELECT id FROM pgboss.job WHERE state = 'failed' LIMIT 1);
"""


def begin(place: Stage, version: str) -> None:
    columns = COLUMNS if version != "9" else COLUMNS.replace("_", "")
    insert = f"INSERT INTO pgboss.job ({columns}) {ROWS}"
    place.create(f"pg-boss_{version}", insert if version != "9" else insert + ROWS_OF_9)
    place.let_read("pgboss")


@pytest.mark.parametrize("version", ["9", "10", "11", "12.18", "12.38"])
class TestItsTablesOfSeveralVersions:
    async def test_what_waits_is_held_is_for_later_and_failed_are_told_apart(
        self, bare_place: Stage, version: str
    ) -> None:
        begin(bare_place, version)
        everything = await bare_place.read("pg-boss")
        assert everything == EVERYTHING
        assert everything.oldest_age_s == bare_place.aged(60)
        assert await bare_place.read("pg-boss", queues=["default"]) == DEFAULT_QUEUE

    async def test_what_expired_is_ready_if_it_may_be_retried_for_only_a_running_pg_boss_retries_it(
        self, bare_place: Stage, version: str
    ) -> None:
        begin(bare_place, version)
        started, tried, limit = ("started_on", "retry_count", "retry_limit")
        if version == "9":
            started, tried, limit = ("startedon", "retrycount", "retrylimit")
        bare_place.execute(f"UPDATE pgboss.job SET {started} = now() - interval '16 min' WHERE state = 'active'")
        again = await bare_place.read("pg-boss")
        assert again == READY_AGAIN
        assert again.oldest_age_s == bare_place.aged(60)
        bare_place.execute(f"UPDATE pgboss.job SET {tried} = {limit} WHERE state = 'active'")
        assert await bare_place.read("pg-boss") == ABANDONED


@pytest.mark.parametrize("version", ["12.18", "12.38"])
async def test_a_missed_heartbeat_ends_a_claim_before_it_expires(bare_place: Stage, version: str) -> None:
    begin(bare_place, version)
    bare_place.execute("UPDATE pgboss.job SET heartbeat_seconds = 60, heartbeat_on = now() WHERE state = 'active'")
    assert await bare_place.read("pg-boss") == EVERYTHING
    assert await bare_place.longest_claim("pg-boss") == bare_place.aged(60), "from when it was begun"
    bare_place.execute("UPDATE pgboss.job SET heartbeat_on = now() - interval '61 s' WHERE state = 'active'")
    assert await bare_place.read("pg-boss") == READY_AGAIN


async def test_a_job_that_waits_for_another_is_not_ready(bare_place: Stage) -> None:
    begin(bare_place, "12.38")
    bare_place.execute("UPDATE pgboss.job SET blocked = true WHERE name = 'other'")
    assert await bare_place.read("pg-boss") == Count(pending=5, processing=3, scheduled=4, failed=2)
