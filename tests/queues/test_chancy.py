"""The preset chancy, on the real library; and on tables of versions before it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from chancy import Chancy as Client

from tests.queues.chancy_app import work
from tests.queues.jobs import LATER_S
from tests.queues.scenario import Count, Counted, Job, PresetSentences, Stage, play, python

# Any worker's plugin Recovery frees a job whose worker is gone: at zero workers it must bring one.
READY_AGAIN = Count(pending=10, processing=0, scheduled=4, failed=2)


class Chancy:
    preset = "chancy"

    async def migrate(self, url: str) -> None:
        async with Client(url) as chancy:
            await chancy.migrate()

    async def put(self, url: str, jobs: Sequence[Job]) -> None:
        async with Client(url) as chancy:
            for job in jobs:
                due = datetime.now(UTC) + timedelta(seconds=LATER_S if job.later else 0)
                await chancy.push(work.job.with_queue(job.queue).with_kwargs(does=job.does).with_scheduled_at(due))

    def worker(self) -> list[str]:
        return python("-m", "tests.queues.chancy_app")


@pytest.fixture(scope="module")
def seen(place: Stage) -> Counted:
    no_heartbeat = "UPDATE chancy_workers SET last_seen = now() - interval '5 min'"
    return asyncio.run(play(place, Chancy(), after_kill=no_heartbeat, then=READY_AGAIN))


@pytest.mark.costly
class TestChancy(PresetSentences):
    expected_after_kill = READY_AGAIN

    async def test_how_long_a_job_has_been_worked_on_counts_from_when_it_was_begun(
        self, place: Stage, seen: Counted
    ) -> None:
        place.execute(
            "UPDATE chancy_workers SET last_seen = now();"
            "UPDATE chancy_jobs SET started_at = now() - interval '10 min' WHERE state = 'running'"
        )
        assert await place.longest_claim("chancy") == place.aged(600)
