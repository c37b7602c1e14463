"""The preset django-q2, on the real library; and on tables of versions before it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from dataclasses import asdict

import pytest

from controller.core.ports import Unavailable
from tests.queues.scenario import ROOT, Count, Counted, Job, PresetSentences, Stage, play, python

# Its cluster claims two tasks ahead of its workers, and the table does not tell them from those that run.
TWO_AHEAD = Count(pending=5, processing=5, scheduled=4, failed=2)
# Any cluster takes a task whose claim has ended: at zero workers it must bring one.
READY_AGAIN = Count(pending=10, processing=0, scheduled=4, failed=2)


class DjangoQ2:
    preset = "django-q2"

    async def migrate(self, url: str, *target: str) -> None:
        await self._run(url, "migrate", *target)

    async def put(self, url: str, jobs: Sequence[Job]) -> None:
        await self._run(url, "put", json.dumps([asdict(job) for job in jobs]))

    def worker(self) -> list[str]:
        return self._program("work")

    def _program(self, *arguments: str) -> list[str]:
        return python("-m", "tests.queues.django_q2_app", *arguments)

    async def _run(self, url: str, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *self._program(*arguments), cwd=ROOT, env={**os.environ, "DATABASE_URL": url}
        )
        assert await process.wait() == 0


@pytest.fixture(scope="module")
def seen(place: Stage) -> Counted:
    claims_end = "UPDATE django_q_ormq SET lock = lock - interval '700 s' WHERE lock > now()"
    return asyncio.run(play(place, DjangoQ2(), after_kill=claims_end, expected=TWO_AHEAD, then=READY_AGAIN))


@pytest.mark.costly
class TestDjangoQ2(PresetSentences):
    expected = TWO_AHEAD
    expected_default_queue = Count(pending=3, processing=5, scheduled=4, failed=2)
    expected_after_kill = READY_AGAIN

    async def test_a_schedule_that_is_due_is_ready_for_only_a_cluster_makes_a_task_of_it(
        self, seen: Counted, place: Stage
    ) -> None:
        place.execute("UPDATE django_q_schedule SET next_run = now() - interval '90 s'")
        overdue = await place.read("django-q2")
        assert overdue == Count(pending=14, processing=0, scheduled=0, failed=2)
        assert overdue.oldest_age_s == place.aged(90)
        place.execute("UPDATE django_q_schedule SET repeats = 0")
        assert await place.read("django-q2") == Count(pending=10, processing=0, scheduled=0, failed=2)

    async def test_a_schedule_is_of_its_cluster_and_one_without_is_of_whichever_is_asked(
        self, seen: Counted, place: Stage
    ) -> None:
        place.execute("UPDATE django_q_schedule SET repeats = -1, next_run = now() + interval '1 h'")
        assert (await place.read("django-q2", queues=["default"])).scheduled == 4
        assert (await place.read("django-q2", queues=["other", "default"])).scheduled == 4
        place.execute("UPDATE django_q_schedule SET cluster = 'default'")
        assert (await place.read("django-q2", queues=["other"])).scheduled == 0
        assert (await place.read("django-q2", queues=["other", "default"])).scheduled == 4

    async def test_a_limit_of_ones_own_is_refused_because_no_column_says_when_a_task_was_claimed(
        self, seen: Counted, place: Stage
    ) -> None:
        with pytest.raises(Unavailable, match=r"remove queue\.stale_after"):
            await place.read("django-q2", stale_after="10m")


@pytest.mark.costly
async def test_before_tasks_had_a_cluster_those_that_failed_are_of_every_one(bare_place: Stage) -> None:
    await DjangoQ2().migrate(bare_place.url, "django_q", "0014")
    bare_place.let_read()
    bare_place.execute(
        "INSERT INTO django_q_ormq (key, payload, lock) "
        "SELECT key, '', now() + wait FROM unnest(ARRAY['default', 'other']) key, "
        "unnest(ARRAY[interval '-1 min', interval '1 min']) wait; "
        "INSERT INTO django_q_schedule (func, schedule_type, repeats, next_run, cluster) "
        "VALUES ('f', 'D', -1, now() - interval '1 s', 'default'), ('f', 'D', -1, now() + interval '1 h', 'other'); "
        "INSERT INTO django_q_task (id, name, func, started, stopped, success, attempt_count) "
        "VALUES ('a', 'a', 'f', now(), now(), false, 1), ('b', 'b', 'f', now(), now(), true, 1)"
    )
    assert await bare_place.read("django-q2") == Count(pending=3, processing=2, scheduled=1, failed=1)
    assert await bare_place.read("django-q2", queues=["other"]) == Count(pending=1, processing=1, scheduled=1, failed=1)
