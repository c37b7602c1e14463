"""A queue library's day in its published tables, the rows put in by hand as the library writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from controller.adapters.postgres.queue import PostgresQueue
from controller.core.model import QueueDepth
from controller.demo.servers import Servers
from controller.policy import Queue
from tests.queues.scenario import ABANDONED, DEFAULT_QUEUE, EVERYTHING, LIMIT, Count, Stage, stage
from tests.support.unhurried import PATIENT_S

ZONES = ("Asia/Tokyo", "America/New_York", "UTC")
OLDEST_S = 60

# What waits is due since a minute at most; a dead worker's jobs are ready again where any other worker takes them.
READY_AGAIN = Count(pending=10, processing=0, scheduled=4, failed=2)


def move_to(place: Stage, zone: str) -> None:
    """Where the server and every session that does not say otherwise think they are."""
    place.execute(
        f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = %L', current_database(), '{zone}'); END $$"
    )


async def depth(place: Stage, queue: Queue) -> QueueDepth:
    """What the controller itself reads."""
    reader = PostgresQueue(place.reader, timeout_s=PATIENT_S)
    try:
        return await reader.depth(queue, LIMIT, holders=True)
    finally:
        await reader.close()


class PublishedSentences:
    """What holds for every library; day: SQL that makes the scenario's day; much_later: what only time does.

    begun_s: how long ago the jobs in work were begun, whenever the last sign of life came.
    """

    preset: ClassVar[str]
    schema: ClassVar[str]
    day: ClassVar[str]
    much_later: ClassVar[str]
    begun_s: ClassVar[float] = 60
    expected: ClassVar[Count] = EVERYTHING
    expected_default_queue: ClassVar[Count] = DEFAULT_QUEUE
    expected_much_later: ClassVar[Count] = ABANDONED
    holders: ClassVar[tuple[str, ...] | None] = None
    """Who holds the jobs in work; None: the library does not say it."""

    @classmethod
    def begin(cls, place: Stage) -> None:
        place.create(cls.schema, cls.day)
        place.let_read()

    @pytest.fixture(scope="class")
    @classmethod
    def written(cls, servers: Servers) -> Iterator[Stage]:
        """The day, for sentences that only read it."""
        with stage(servers) as one:
            cls.begin(one)
            yield one

    @pytest.mark.parametrize("zone", ZONES)
    async def test_what_waits_is_held_is_for_later_and_failed_are_told_apart_in_any_time_zone(
        self, written: Stage, zone: str
    ) -> None:
        move_to(written, zone)
        seen = await written.read(self.preset)
        assert seen == self.expected
        assert seen.oldest_age_s == written.aged(OLDEST_S)

    async def test_the_controller_reads_the_same(self, written: Stage) -> None:
        seen = await depth(written, Queue(preset=self.preset))
        assert (seen.pending, seen.processing, seen.stale) == (self.expected.pending, self.expected.processing, 0)
        assert seen.oldest_age_s == written.aged(OLDEST_S)
        assert seen.holders == self.holders

    async def test_one_queue_alone_can_be_read(self, written: Stage) -> None:
        assert await written.read(self.preset, queues=["default"]) == self.expected_default_queue

    async def test_how_long_a_job_has_been_worked_on_counts_from_when_it_was_begun(self, written: Stage) -> None:
        assert await written.longest_claim(self.preset) == written.aged(self.begun_s)

    async def test_a_claim_without_a_sign_of_life_is_not_worked_on(self, bare_place: Stage) -> None:
        self.begin(bare_place)
        bare_place.execute(self.much_later)
        assert await bare_place.read(self.preset) == self.expected_much_later
