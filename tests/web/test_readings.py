"""As many readings as there are different questions, and few at once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from controller.core.ports import Unavailable
from controller.web import readings as under_test
from controller.web.readings import Readings
from tests.support.sources import REDIS


@dataclass
class Store:
    asked: int = 0
    at_once: int = 0
    most_at_once: int = 0
    goes_on: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> bytes:
        self.asked += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await self.goes_on.wait()
        self.at_once -= 1
        return b"x" * 1000


async def test_those_who_ask_the_same_share_one_reading() -> None:
    readings, store = Readings(), Store()
    asking = [asyncio.create_task(readings.answer("a", 60, store.read)) for _ in range(500)]
    await asyncio.sleep(0)
    store.goes_on.set()
    assert {len(body) for body in await asyncio.gather(*asking)} == {1000}
    await readings.answer("a", 60, store.read)
    assert store.asked == 1


async def test_different_questions_are_read_two_at_a_time() -> None:
    readings, store = Readings(), Store()
    asking = [asyncio.create_task(readings.answer(f"{number}", 60, store.read)) for number in range(20)]
    for _ in range(5):
        await asyncio.sleep(0)
    store.goes_on.set()
    await asyncio.gather(*asking)
    assert (store.asked, store.most_at_once) == (20, 2)


async def test_an_answer_is_kept_for_its_time_and_a_failure_is_not_kept() -> None:
    readings, store = Readings(), Store()
    store.goes_on.set()
    await readings.answer("a", 0, store.read)
    await readings.answer("a", 0, store.read)
    assert store.asked == 2

    async def fails() -> bytes:
        raise Unavailable(REDIS, "is away")

    with pytest.raises(Unavailable):
        await readings.answer("b", 60, fails)
    assert await readings.answer("b", 60, store.read) == b"x" * 1000


async def test_what_is_kept_is_bounded_in_number_and_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    readings, store = Readings(), Store()
    store.goes_on.set()
    for number in range(100):
        await readings.answer(f"{number}", 60, store.read)
    assert len(readings._kept) == under_test._MOST_KEPT
    monkeypatch.setattr(under_test, "_MOST_KEPT_BYTES", 3500)
    await readings.answer("one more", 60, store.read)
    assert len(readings._kept) == 3


async def test_a_client_that_leaves_does_not_end_the_reading_that_others_wait_for() -> None:
    readings, store = Readings(), Store()
    first = asyncio.create_task(readings.answer("a", 60, store.read))
    second = asyncio.create_task(readings.answer("a", 60, store.read))
    await asyncio.sleep(0)
    first.cancel()
    store.goes_on.set()
    assert len(await second) == 1000
