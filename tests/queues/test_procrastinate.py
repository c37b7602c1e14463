"""The preset procrastinate, on the real library; and on tables of versions before it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from procrastinate.types import TimeDeltaParams

from tests.queues.jobs import LATER_S
from tests.queues.procrastinate_app import app_on, job
from tests.queues.scenario import Counted, Job, PresetSentences, Stage, play, python


class Procrastinate:
    preset = "procrastinate"

    async def migrate(self, url: str) -> None:
        async with app_on(url) as app:
            await app.schema_manager.apply_schema_async()

    async def put(self, url: str, jobs: Sequence[Job]) -> None:
        async with app_on(url):
            for one in jobs:
                later: TimeDeltaParams | None = {"seconds": LATER_S} if one.later else None
                await job.configure(queue=one.queue, schedule_in=later).defer_async(does=one.does)

    def worker(self) -> list[str]:
        return python("-m", "tests.queues.procrastinate_app")


@pytest.fixture(scope="module")
def seen(place: Stage) -> Counted:
    no_heartbeat = "UPDATE procrastinate_workers SET last_heartbeat = now() - interval '1 min'"
    return asyncio.run(play(place, Procrastinate(), after_kill=no_heartbeat))


@pytest.mark.costly
class TestProcrastinate(PresetSentences):
    async def test_how_long_a_job_has_been_worked_on_counts_from_when_it_was_begun(
        self, place: Stage, seen: Counted
    ) -> None:
        place.execute(
            "UPDATE procrastinate_workers SET last_heartbeat = now();"
            "UPDATE procrastinate_events SET at = now() - interval '10 min' WHERE type = 'started'"
        )
        assert await place.longest_claim("procrastinate") == place.aged(600)
