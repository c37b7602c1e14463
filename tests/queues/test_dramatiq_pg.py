"""The preset dramatiq-pg, on the real library."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from tests.queues.jobs import LATER_S
from tests.queues.published import move_to
from tests.queues.scenario import (
    ROOT,
    Count,
    Counted,
    Job,
    PresetSentences,
    Stage,
    play,
    python,
    working,
)
from tests.support.examples import some
from tests.support.patience import until

_APP = "tests.queues.dramatiq_app"
QUEUES = ["default", "other"]

# The next worker that starts takes a message that no lock holds: with zero workers, one must be started.
READY_AGAIN = Count(pending=10, processing=0, scheduled=4, failed=2)


@dataclass(frozen=True, slots=True)
class Dramatiq:
    """dramatiq-pg, or its fork: folder is where `make test` put it."""

    preset: str = "dramatiq-pg"
    folder: str = "dramatiq"
    schema: str = "dramatiq"
    prefix: str = ""

    async def migrate(self, url: str) -> None:
        with psycopg.connect(url, autocommit=True) as owner:
            owner.execute(_tables(self, url).encode())

    async def put(self, url: str, jobs: Sequence[Job], later_s: float = LATER_S) -> None:
        what = [
            {"does": job.does, "queue": job.queue, "delay_ms": int(later_s * 1000) if job.later else 0} for job in jobs
        ]
        await self._run(url, "-m", _APP, "put", json.dumps(what))

    def worker(self) -> list[str]:
        # It takes no more than it has threads for: else some that only wait count as processing.
        variables = [f"{name}={value}" for name, value in {**self._variables(), "dramatiq_queue_prefetch": "3"}.items()]
        limits = ("--processes", "1", "--threads", "3", "--queues", "default")
        return ["env", *variables, *python("-m", "dramatiq", _APP, *limits)]

    @property
    def is_installed(self) -> bool:
        return (Path(sys.prefix) / self.folder).is_dir()

    @property
    def missing(self) -> str:
        return f"needs {self.preset}: make test installs it"

    @property
    def needed(self) -> pytest.MarkDecorator:
        return pytest.mark.skipif(not self.is_installed, reason=self.missing)

    def _variables(self) -> dict[str, str]:
        path = os.pathsep.join([str(Path(sys.prefix) / self.folder), str(ROOT)])
        library = self.preset.replace("-", "_")
        return {"PYTHONPATH": path, "LIBRARY": library, "SCHEMA": self.schema, "PREFIX": self.prefix}

    async def _run(self, url: str, *arguments: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *python(*arguments), cwd=ROOT, env={**os.environ, **self._variables(), "DATABASE_URL": url}
        )
        assert await process.wait() == 0


_statements: dict[Dramatiq, str] = {}


def _tables(library: Dramatiq, url: str) -> str:
    """The statements that the library makes its tables with. It is asked once."""
    if library not in _statements:
        environment = {**os.environ, **library._variables(), "DATABASE_URL": url}
        asked = subprocess.run(
            python("-m", _APP, "sql"), cwd=ROOT, env=environment, capture_output=True, text=True, check=True
        )
        _statements[library] = asked.stdout
    return _statements[library]


LIBRARY = Dramatiq()
pytestmark = LIBRARY.needed


@pytest.fixture(scope="module")
def seen(place: Stage) -> Counted:
    return asyncio.run(play(place, LIBRARY, then=READY_AGAIN, schemas=["dramatiq"], queues=QUEUES))


@pytest.mark.costly
class TestDramatiqPg(PresetSentences):
    expected_after_kill = READY_AGAIN

    async def test_only_queues_that_are_named_can_be_listened_for(self, seen: Counted, place: Stage) -> None:
        assert seen.heard == {"dramatiq.default.enqueue", "dramatiq.other.enqueue"}
        assert await place.channels("dramatiq-pg") == frozenset()
        assert await place.read("dramatiq-pg") == READY_AGAIN


async def until_held(place: Stage, times: int) -> None:
    await until(lambda: len(list(place.folder.glob("held-*"))) == times, f"{times} jobs to be held")


@pytest.mark.costly
@pytest.mark.parametrize("zone", some(["America/New_York", "Asia/Tokyo"], every=2))
async def test_another_schema_and_prefix_can_be_read_and_a_limit_of_ones_own_goes_by_the_claim_in_any_time_zone(
    bare_place: Stage, zone: str
) -> None:
    library, where = Dramatiq(schema="jobs", prefix="my_"), {"schema": "jobs", "prefix": "my_"}
    held = Count(pending=0, processing=3, scheduled=0, failed=0)
    stale = Count(pending=0, processing=0, scheduled=0, failed=0, stale=3)
    move_to(bare_place, zone)
    await library.migrate(bare_place.url)
    bare_place.let_read("jobs")
    with working(bare_place, library.worker()):
        await library.put(bare_place.url, [Job("hold")] * 3)
        await until_held(bare_place, 3)
        assert await bare_place.read("dramatiq-pg", **where, stale_after="1m") == held
        bare_place.execute("UPDATE jobs.my_queue SET mtime = mtime - interval '2 min'")
        assert await bare_place.read("dramatiq-pg", **where, stale_after="1m") == stale
        assert await bare_place.read("dramatiq-pg", **where, stale_after="3m") == held


@pytest.mark.long  # what the library does; that such messages count as ready is told by its day above
async def test_a_dead_worker_s_messages_are_taken_by_the_next_one_that_starts(bare_place: Stage) -> None:
    library = LIBRARY
    held = Count(pending=0, processing=3, scheduled=0, failed=0)
    await library.migrate(bare_place.url)
    bare_place.let_read("dramatiq")
    await library.put(bare_place.url, [Job("hold")] * 3)
    for workers in (1, 2):
        with working(bare_place, library.worker()):
            await until_held(bare_place, 3 * workers)
            assert await bare_place.read_until("dramatiq-pg", held) == held
        unlocked = Count(pending=3, processing=0, scheduled=0, failed=0)
        assert await bare_place.read_until("dramatiq-pg", unlocked) == unlocked


@pytest.mark.costly
async def test_a_delayed_message_is_ready_when_its_time_has_come_though_no_worker_moves_it(bare_place: Stage) -> None:
    library = LIBRARY
    await library.migrate(bare_place.url)
    bare_place.let_read("dramatiq")
    await library.put(bare_place.url, [Job("pass", later=True)] * 2, later_s=0.001)
    await library.put(bare_place.url, [Job("pass", later=True)])
    seen = await bare_place.read("dramatiq-pg", queues=["default"])
    assert seen == Count(pending=2, processing=0, scheduled=1, failed=0)
    assert seen.oldest_age_s == bare_place.aged(0)
