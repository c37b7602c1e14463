"""The preset absurd, on the real library."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from tests.queues.node_library import NodeLibrary, needs_node
from tests.queues.scenario import (
    ABANDONED,
    EVERYTHING,
    Count,
    Counted,
    PresetSentences,
    Stage,
    play,
)

absurdctl = pytest.importorskip("absurdctl", reason="needs absurdctl, which brings the tables: make test installs it")

# The next worker takes over a claim that has expired: at zero workers it must bring one.
READY_AGAIN = Count(pending=10, processing=0, scheduled=4, failed=2)
EXPIRED = "UPDATE absurd.r_default SET claim_expires_at = now() WHERE state = 'running'"


class Absurd(NodeLibrary):
    async def migrate(self, url: str) -> None:
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute(absurdctl.BUNDLED_SCHEMA_SQL.encode())
        await super().migrate(url)


QUEUES = ["default", "other"]


@pytest.fixture(scope="module")
def seen(place: Stage) -> Counted:
    library = Absurd("absurd")
    return asyncio.run(play(place, library, after_kill=EXPIRED, then=READY_AGAIN, schemas=["absurd"], queues=QUEUES))


@needs_node
@pytest.mark.costly
class TestAbsurd(PresetSentences):
    expected_after_kill = READY_AGAIN

    async def test_a_claim_that_expired_on_the_last_attempt_is_stale_because_it_is_not_retried(
        self, place: Stage, seen: Counted
    ) -> None:
        place.execute(EXPIRED)
        place.execute("UPDATE absurd.t_default SET max_attempts = attempts WHERE state = 'running'")
        assert await place.read("absurd", queues=QUEUES) == ABANDONED

    async def test_a_claim_without_a_limit_is_held_until_the_policy_says_that_it_is_stale(
        self, place: Stage, seen: Counted
    ) -> None:
        place.execute(
            "UPDATE absurd.r_default SET claim_expires_at = NULL, started_at = now() - interval '20 s' "
            "WHERE state = 'running'"
        )
        assert await place.read("absurd", queues=QUEUES) == EVERYTHING
        assert await place.read("absurd", queues=QUEUES, stale_after="10s") == ABANDONED

    async def test_a_task_that_waits_for_an_event_is_for_no_time(self, place: Stage, seen: Counted) -> None:
        place.execute("UPDATE absurd.r_default SET available_at = 'infinity' WHERE state = 'sleeping'")
        assert (await place.read("absurd", queues=QUEUES)).scheduled == 0
