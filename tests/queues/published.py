"""A queue library's day in its published tables, the rows put in by hand as the library writes them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import pytest

from controller.demo.servers import Servers
from tests.queues.scenario import DEFAULT_QUEUE, EVERYTHING, NOBODY_HOLDS_THEM, Count, Stage, stage

ZONES = ("Asia/Tokyo", "America/New_York", "UTC")
OLDEST_S = 60

# What waits is due since a minute at most; a dead worker's jobs are ready again where any other worker takes them.
READY_AGAIN = Count(pending=10, processing=0, scheduled=4, failed=2)


@pytest.fixture(name="place")
def empty_place(servers: Servers) -> Iterator[Stage]:
    with stage(servers) as one:
        yield one


def move_to(place: Stage, zone: str) -> None:
    """Where the server and every session that does not say otherwise think they are."""
    place.execute(
        f"DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET TimeZone = %L', current_database(), '{zone}'); END $$"
    )


class PublishedSentences:
    """What holds for every library; day: SQL that makes the scenario's day; much_later: what only time does."""

    preset: ClassVar[str]
    schema: ClassVar[str]
    day: ClassVar[str]
    much_later: ClassVar[str]
    expected: ClassVar[Count] = EVERYTHING
    expected_default_queue: ClassVar[Count] = DEFAULT_QUEUE
    expected_much_later: ClassVar[Count] = NOBODY_HOLDS_THEM

    def begin(self, place: Stage) -> None:
        place.create(self.schema, self.day)
        place.let_read()

    @pytest.mark.parametrize("zone", ZONES)
    async def test_what_waits_is_held_is_for_later_and_failed_are_told_apart_in_any_time_zone(
        self, place: Stage, zone: str
    ) -> None:
        move_to(place, zone)
        self.begin(place)
        seen = await place.read(self.preset)
        assert seen == self.expected
        assert seen.oldest_age_s is not None
        assert OLDEST_S <= seen.oldest_age_s < OLDEST_S + 30

    async def test_one_queue_alone_can_be_read(self, place: Stage) -> None:
        self.begin(place)
        assert await place.read(self.preset, ["default"]) == self.expected_default_queue

    async def test_a_claim_without_a_sign_of_life_is_not_worked_on(self, place: Stage) -> None:
        self.begin(place)
        place.execute(self.much_later)
        assert await place.read(self.preset) == self.expected_much_later
