"""The preset graphile-worker, on the real library; and on tables of versions before it."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from controller.core.ports import Unavailable
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

# A running worker frees what has been locked for 4 hours: at zero workers they must bring one.
READY_AGAIN = Count(pending=10, processing=0, scheduled=4, failed=2)
EXPIRED = """
UPDATE graphile_worker._private_jobs SET locked_at = locked_at - interval '4 h', run_at = run_at - interval '4 h'
WHERE locked_at IS NOT NULL
"""


@pytest.fixture(scope="module")
def seen(place: Stage) -> Counted:
    library = NodeLibrary("graphile-worker")
    return asyncio.run(play(place, library, after_kill=EXPIRED, then=READY_AGAIN, schemas=["graphile_worker"]))


@needs_node
@pytest.mark.costly
class TestGraphileWorker(PresetSentences):
    expected_after_kill = READY_AGAIN

    async def test_the_policy_may_say_sooner_that_a_claim_is_stale(self, place: Stage, seen: Counted) -> None:
        claimed = "UPDATE graphile_worker._private_jobs SET locked_at = now() - interval '20 s'"
        place.execute(f"{claimed} WHERE locked_at IS NOT NULL")
        assert await place.read("graphile-worker", stale_after="1m") == EVERYTHING
        assert await place.read("graphile-worker", stale_after="10s") == ABANDONED

    async def test_its_tables_look_empty_to_a_role_that_may_read_them_which_is_why_its_view_is_read(
        self, place: Stage, seen: Counted
    ) -> None:
        with psycopg.connect(place.reader) as reader:
            assert reader.execute("SELECT count(*) FROM graphile_worker._private_jobs").fetchone() == (0,)
        assert (await place.read("graphile-worker")).pending > 0


ROWS = """
SELECT {task}, now() + due::interval, now() + locked::interval, attempts, 25, now() - interval '10 min'
FROM (VALUES
    (3, 'default', '-10 min', '-1 min', 1),
    (1, 'default', '-5 min', '-1 min', 25), -- on its last attempt
    (4, 'default', '-1 min', NULL, 0),
    (1, 'default', '-1 s', NULL, 1),
    (2, 'other', '-1 s', NULL, 0),
    (3, 'default', '1 h', NULL, 0),
    (1, 'default', '1 h', NULL, 1),
    (2, 'default', '-10 min', NULL, 25)
) AS v(n, task, due, locked, attempts), generate_series(1, n);
"""
OF_13 = f"""
INSERT INTO graphile_worker.jobs (task_identifier, run_at, locked_at, attempts, max_attempts, created_at)
{ROWS.format(task="task")}
"""
OF_15 = f"""
INSERT INTO graphile_worker.tasks (identifier) VALUES ('default'), ('other');
INSERT INTO graphile_worker.jobs (task_id, run_at, locked_at, attempts, max_attempts, created_at)
{ROWS.format(task="(SELECT id FROM graphile_worker.tasks WHERE identifier = task)")}
"""
ONE_MORE_HELD = Count(pending=7, processing=4, scheduled=4, failed=2)


@pytest.mark.parametrize(("version", "rows"), [("0.13", OF_13), ("0.15", OF_15)])
class TestItsTablesBeforeThereWasAView:
    def begin(self, place: Stage, version: str, rows: str, role: str = "BYPASSRLS") -> None:
        place.create(f"graphile-worker_{version}", rows)
        place.let_read("graphile_worker")
        place.execute(f"ALTER ROLE {place.role} {role}")

    async def test_what_waits_is_held_is_for_later_and_failed_are_told_apart(
        self, bare_place: Stage, version: str, rows: str
    ) -> None:
        self.begin(bare_place, version, rows)
        everything = await bare_place.read("graphile-worker")
        assert everything == ONE_MORE_HELD
        assert everything.oldest_age_s == bare_place.aged(60)
        assert await bare_place.read("graphile-worker", queues=["default"]) == Count(5, 4, 4, 2)

    async def test_what_a_dead_worker_held_is_ready_after_4_hours_unless_it_was_its_last_attempt(
        self, bare_place: Stage, version: str, rows: str
    ) -> None:
        self.begin(bare_place, version, rows)
        bare_place.execute("UPDATE graphile_worker.jobs SET locked_at = now() - interval '4 h' WHERE locked_at < now()")
        assert await bare_place.read("graphile-worker") == Count(pending=10, processing=0, scheduled=4, failed=3)

    async def test_to_a_role_that_row_security_binds_they_are_unreadable_rather_than_empty(
        self, bare_place: Stage, version: str, rows: str
    ) -> None:
        self.begin(bare_place, version, rows, "NOBYPASSRLS")
        with pytest.raises(Unavailable, match="row security hides rows"):
            await bare_place.read("graphile-worker")
