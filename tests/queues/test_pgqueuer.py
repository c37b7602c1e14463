"""The preset pgqueuer, on the real library; and on tables of versions before it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from tests.queues.jobs import LATER_S
from tests.queues.scenario import Count, Counted, Job, PresetSentences, Stage, play, python

if TYPE_CHECKING:
    from pgqueuer import Queries  # its import takes a third of a second, in every process that collects the tests

# Any worker takes a job whose heartbeat is old: at zero workers it must bring one.
READY_AGAIN = Count(pending=10, processing=0, scheduled=4, failed=2)


@asynccontextmanager
async def queries(url: str) -> AsyncIterator[Queries]:
    import asyncpg
    from pgqueuer import AsyncpgDriver, Queries

    connection = await asyncpg.connect(url)
    try:
        yield Queries(AsyncpgDriver(connection))
    finally:
        await connection.close()


class PgQueuer:
    preset = "pgqueuer"

    async def migrate(self, url: str) -> None:
        async with queries(url) as client:
            await client.install()

    async def put(self, url: str, jobs: Sequence[Job]) -> None:
        async with queries(url) as client:
            for job in jobs:
                later = timedelta(seconds=LATER_S) if job.later else None
                await client.enqueue(job.queue, job.does.encode(), execute_after=later)

    def worker(self) -> list[str]:
        return python("-m", "tests.queues.pgqueuer_app")


@pytest.fixture(scope="module")
def seen(place: Stage) -> Counted:
    no_heartbeat = "UPDATE pgqueuer SET heartbeat = heartbeat - interval '1 min' WHERE status = 'picked'"
    return asyncio.run(play(place, PgQueuer(), after_kill=no_heartbeat, then=READY_AGAIN))


@pytest.mark.costly
class TestPgQueuer(PresetSentences):
    expected_after_kill = READY_AGAIN

    async def test_how_long_a_job_has_been_worked_on_counts_from_when_it_was_begun(
        self, place: Stage, seen: Counted
    ) -> None:
        place.execute(
            "UPDATE pgqueuer SET heartbeat = now(), updated = now() - interval '10 min' WHERE status = 'picked'"
        )
        assert await place.longest_claim("pgqueuer") == place.aged(600)
