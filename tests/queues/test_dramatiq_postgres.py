"""The preset dramatiq-postgres, on the real library; and each of the two presets on the tables of the other."""

from __future__ import annotations

import asyncio

import pytest

from controller.core.ports import Unavailable
from tests.queues import test_dramatiq_pg
from tests.queues.jobs import LATER_S
from tests.queues.scenario import Count, Counted, Job, PresetSentences, Stage, play, working
from tests.queues.test_dramatiq_pg import QUEUES, READY_AGAIN, Dramatiq, until_held
from tests.support.patience import PATIENCE_S

LIBRARY = Dramatiq("dramatiq-postgres", "dramatiq-postgres")
NO_HEARTBEAT = "UPDATE dramatiq.worker SET heartbeat_at = heartbeat_at - interval '1 min'"
HELD = Count(pending=0, processing=3, scheduled=0, failed=0)

pytestmark = LIBRARY.needed


@pytest.fixture(scope="module")
def seen(place: Stage) -> Counted:
    day = play(place, LIBRARY, after_kill=NO_HEARTBEAT, then=READY_AGAIN, schemas=["dramatiq"], queues=QUEUES)
    return asyncio.run(day)


@pytest.mark.costly
class TestDramatiqPostgres(PresetSentences):
    expected_after_kill = READY_AGAIN

    async def test_only_queues_that_are_named_can_be_listened_for(self, seen: Counted, place: Stage) -> None:
        assert seen.heard == {"dramatiq.default.enqueue", "dramatiq.other.enqueue"}
        assert await place.channels("dramatiq-postgres") == frozenset()
        assert await place.read("dramatiq-postgres") == READY_AGAIN


async def begin(place: Stage, library: Dramatiq = LIBRARY) -> None:
    await library.migrate(place.url)
    place.let_read(library.schema)


@pytest.mark.long  # what the library does; that such messages count as ready is told by its day above
async def test_a_dead_worker_s_messages_are_taken_by_the_next_one_that_starts(bare_place: Stage) -> None:
    await begin(bare_place)
    await LIBRARY.put(bare_place.url, [Job("hold")] * 3)
    for workers in (1, 2):
        with working(bare_place, LIBRARY.worker()):
            await until_held(bare_place, 3 * workers)
            assert await bare_place.read_until("dramatiq-postgres", HELD) == HELD
        bare_place.execute(NO_HEARTBEAT)
        seen = await bare_place.read("dramatiq-postgres")
        assert seen == Count(pending=3, processing=0, scheduled=0, failed=0)
        assert seen.oldest_age_s is not None
        assert 0 <= seen.oldest_age_s < PATIENCE_S


@pytest.mark.costly
async def test_a_worker_that_left_no_row_of_its_own_holds_nothing(bare_place: Stage) -> None:
    await begin(bare_place)
    await LIBRARY.put(bare_place.url, [Job("hold")] * 3)
    with working(bare_place, LIBRARY.worker()):
        await until_held(bare_place, 3)
    bare_place.execute("DELETE FROM dramatiq.worker")
    assert await bare_place.read("dramatiq-postgres") == Count(pending=3, processing=0, scheduled=0, failed=0)


@pytest.mark.long  # rows that are due and rows for later: test_every_row.py
async def test_a_delayed_message_is_ready_when_its_time_has_come_though_no_worker_moves_it(bare_place: Stage) -> None:
    await begin(bare_place)
    await LIBRARY.put(bare_place.url, [Job("pass", later=True)] * 2, later_s=0.001)
    await LIBRARY.put(bare_place.url, [Job("pass", later=True)], later_s=LATER_S)
    seen = await bare_place.read("dramatiq-postgres", queues=["default"])
    assert seen == Count(pending=2, processing=0, scheduled=1, failed=0)
    assert seen.oldest_age_s is not None
    assert 0 < seen.oldest_age_s < PATIENCE_S


@pytest.mark.costly
async def test_another_schema_and_prefix_can_be_read_and_a_limit_of_ones_own_goes_by_the_heartbeat(
    bare_place: Stage,
) -> None:
    library = Dramatiq("dramatiq-postgres", "dramatiq-postgres", "jobs", "my_")
    where = {"schema": "jobs", "prefix": "my_"}
    await begin(bare_place, library)
    with working(bare_place, library.worker()):
        await library.put(bare_place.url, [Job("hold")] * 3)
        await until_held(bare_place, 3)
        assert await bare_place.read("dramatiq-postgres", **where) == HELD
    bare_place.execute("UPDATE jobs.my_worker SET heartbeat_at = now() - interval '11 s'")
    stale = Count(pending=0, processing=0, scheduled=0, failed=0, stale=3)
    assert await bare_place.read("dramatiq-postgres", **where, stale_after="10s") == stale


@pytest.mark.parametrize(
    ("library", "written", "words"),
    [
        pytest.param(
            LIBRARY,
            "dramatiq-pg",
            r'"dramatiq"\."queue" has the columns of dramatiq-postgres, not those of dramatiq-pg; '
            "write preset: dramatiq-postgres$",
            id="the fork's tables, read as dramatiq-pg's",
        ),
        pytest.param(
            test_dramatiq_pg.LIBRARY,
            "dramatiq-postgres",
            r'"dramatiq"\."queue" has the columns of dramatiq-pg, not those of dramatiq-postgres; '
            "write preset: dramatiq-pg$",
            id="dramatiq-pg's tables, read as the fork's",
            marks=test_dramatiq_pg.LIBRARY.needed,
        ),
    ],
)
async def test_tables_of_the_other_library_are_named_with_the_preset_to_write(
    bare_place: Stage, library: Dramatiq, written: str, words: str
) -> None:
    await begin(bare_place, library)
    with pytest.raises(Unavailable, match=words):
        await bare_place.read(written)
