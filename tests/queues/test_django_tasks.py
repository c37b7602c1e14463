"""The preset django-tasks, on the real library; and on tables of versions before it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, replace

import pytest

from tests.queues.scenario import (
    ABANDONED,
    DEFAULT_QUEUE,
    EVERYTHING,
    ROOT,
    Counted,
    Job,
    PresetSentences,
    Stage,
    play,
    python,
)

# It keeps no sign of life, so it is unknown which workers are gone.
HELD = replace(EVERYTHING, stale=None)


class DjangoTasks:
    preset = "django-tasks"

    async def migrate(self, url: str) -> None:
        await self._run(url, "migrate")

    async def put(self, url: str, jobs: Sequence[Job]) -> None:
        await self._run(url, "put", json.dumps([asdict(job) for job in jobs]))

    def worker(self) -> list[str]:
        return ["env", "DJANGO_SETTINGS_MODULE=tests.queues.django_settings", *self._program("work")]

    def _program(self, *arguments: str) -> list[str]:
        return python("-m", "tests.queues.django_app", *arguments)

    async def _run(self, url: str, *arguments: str) -> None:
        environment = {"DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "tests.queues.django_settings"}
        process = await asyncio.create_subprocess_exec(
            *self._program(*arguments), cwd=ROOT, env={**os.environ, **environment}
        )
        assert await process.wait() == 0


@pytest.fixture(scope="module")
def seen(place: Stage) -> Counted:
    return asyncio.run(play(place, DjangoTasks(), expected=HELD, then=HELD))


@pytest.mark.costly
class TestDjangoTasks(PresetSentences):
    expected = expected_after_kill = HELD
    expected_default_queue = replace(DEFAULT_QUEUE, stale=None)

    async def test_only_a_time_limit_of_ones_own_shows_that_no_worker_has_them(
        self, seen: Counted, place: Stage
    ) -> None:
        place.execute("UPDATE django_tasks_database_dbtaskresult SET started_at = started_at - interval '1 h'")
        assert await place.read("django-tasks", stale_after="10m") == ABANDONED
        assert await place.read("django-tasks", stale_after="100m") == EVERYTHING
