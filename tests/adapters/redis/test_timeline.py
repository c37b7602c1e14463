"""The history on a real Redis: bounded, written once and only by the leader, read page by page."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from controller.adapters.redis.keys import Keys
from controller.adapters.redis.leases import RedisLeases
from controller.adapters.redis.timeline import RedisTimeline
from controller.core.model import Lease
from controller.core.ports import Batch, Bid, LeaseLost, NotAcquired, Unavailable
from controller.core.timeline import MOST_HAPPENINGS, Decided, Happening, Sample

KEYS = Keys("autoscaler", "env")
WEEK_S = 7 * 24 * 3600.0
FOREVER = float("inf")
HELD = Decided("held", ("Tier", "ScaleDownCooldown"), 15, 5, 3.25, 2, 2, 2, 2)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def lease(redis: Redis) -> Lease:
    lease = await RedisLeases(redis, KEYS).acquire(Bid("me"), 600)
    assert not isinstance(lease, NotAcquired)
    return lease


@pytest.fixture
def timeline(redis: Redis) -> RedisTimeline:
    return RedisTimeline(redis, KEYS)


def scaled(number: int, at: float = 0.0) -> Happening:
    """As long as the usual one."""
    message = "15 jobs (10 pending, 5 processing) want 2 workers: 1 → 2"
    figures = {"before": 1, "after": 2, "reasons": ["Tier"], "pending": 10, "processing": 5}
    return Happening("scaled", "generation-worker", message, f"scaled {number:032x}", figures, at)


async def test_what_was_written_is_read_the_newest_first(timeline: RedisTimeline, lease: Lease) -> None:
    now = time.time()
    every = [scaled(number, round(now - 10 + number, 3)) for number in range(5)]
    await timeline.append(Batch(every), lease)
    page = await timeline.happenings(0.0, FOREVER, most=100)
    assert list(page.happenings) == every[::-1]
    assert page.more == ""
    some = await timeline.happenings(every[1].at, every[3].at, most=100)
    assert [one.ident for one in some.happenings] == [every[3].ident, every[2].ident, every[1].ident]


async def test_it_is_read_page_by_page(timeline: RedisTimeline, lease: Lease) -> None:
    await timeline.append(Batch([scaled(number) for number in range(25)]), lease)
    found: list[str] = []
    after = ""
    for size in (10, 10, 5):
        page = await timeline.happenings(0.0, FOREVER, most=10, after=after)
        assert len(page.happenings) == size
        found += [one.ident for one in page.happenings]
        after = page.more
    assert after == ""
    assert found == [scaled(number).ident for number in reversed(range(25))]


async def test_a_change_that_two_leaders_tell_of_is_there_once(timeline: RedisTimeline, lease: Lease) -> None:
    await timeline.append(Batch([scaled(1), scaled(2)]), lease)
    await timeline.append(Batch([scaled(1), scaled(3)]), lease)
    page = await timeline.happenings(0.0, FOREVER, most=100)
    assert [one.ident for one in page.happenings] == [scaled(number).ident for number in (3, 2, 1)]


async def test_only_the_leader_writes(timeline: RedisTimeline, lease: Lease) -> None:
    with pytest.raises(LeaseLost):
        await timeline.append(Batch([scaled(1)]), Lease("another", lease.epoch))
    assert not (await timeline.happenings(0.0, FOREVER, most=1)).happenings


async def test_decisions_and_samples_are_read_by_worker(timeline: RedisTimeline, lease: Lease) -> None:
    now = time.time()
    held, later = HELD._replace(at=round(now - 60, 3)), HELD._replace(outcome="applied", at=round(now, 3))
    minutes = [("w", Sample(60.0, 1, 2, 3, None, 2, 2, 2, at=float(round(now - back)))) for back in (120, 60)]
    tens = [("w", Sample(600.0, 1, 2, 3, 9, 2, 2, 2, at=float(round(now - back)))) for back in (1200, 60)]
    await timeline.append(Batch((), [("w", held), ("w", later), ("other", later)], minutes, tens), lease)
    assert await timeline.decided("w", 0.0, FOREVER, most=9) == (later, held)
    assert await timeline.decided("w", 0.0, now - 30, most=1) == (held,)
    assert [one.at for one in await timeline.samples("w", now - 3600, now)] == [
        tens[0][1].at,
        minutes[0][1].at,
        minutes[1][1].at,
    ], "where there is one for each minute, those of ten minutes are left out"


@pytest.mark.costly
async def test_2_000_changes_with_two_decisions_each_take_less_than_1_mb(
    timeline: RedisTimeline, lease: Lease, redis: Redis
) -> None:
    now = time.time()
    for first in range(0, 2_000, 500):
        numbers = range(first, first + 500)
        decided = [("w", HELD._replace(pending=number % 97, at=now)) for number in numbers for _ in range(2)]
        await timeline.append(Batch([scaled(number, now) for number in numbers], decided), lease)
    keys = (KEYS.history, KEYS.decided("w"))
    sizes = [await redis.memory_usage(key, samples=0) or 0 for key in keys]
    assert [await redis.xlen(key) for key in keys] == [2_000, 4_000]
    assert sum(sizes) < 1_000_000, sizes


@pytest.mark.costly
async def test_the_number_of_entries_is_bounded(timeline: RedisTimeline, lease: Lease, redis: Redis) -> None:
    for first in range(0, MOST_HAPPENINGS + 2_000, 1_000):
        entries = [Happening("failing", figures={"n": number}) for number in range(first, first + 1_000)]
        await timeline.append(Batch(entries), lease)
    assert MOST_HAPPENINGS <= await redis.xlen(KEYS.history) <= MOST_HAPPENINGS + 200
    newest = (await timeline.happenings(0.0, FOREVER, most=1)).happenings[0]
    assert newest.figures == {"n": MOST_HAPPENINGS + 1_999}


async def test_the_decision_of_the_oldest_moment_is_kept_as_long_as_that_moment(
    timeline: RedisTimeline, lease: Lease, redis: Redis
) -> None:
    """One that does not change is written again after an hour, so it was written before the moment that it is of."""
    for hours, is_kept in ((0.9, True), (2.0, False)):
        begin = round((time.time() - WEEK_S - hours * 3600) * 1000)
        pipe = redis.pipeline()
        for number in range(300):
            pipe.xadd(KEYS.decided("w"), {"d": HELD.as_text()}, id=begin + number)
        await pipe.execute()
        await timeline.append(Batch((), [("w", HELD)], keep_s=WEEK_S), lease)
        kept = await redis.xlen(KEYS.decided("w"))
        assert kept == 301 if is_kept else kept < 150, "whole blocks of old entries are dropped"
        await redis.delete(KEYS.decided("w"))


async def test_entries_end_with_the_retention(timeline: RedisTimeline, lease: Lease, redis: Redis) -> None:
    await timeline.append(Batch([scaled(number) for number in range(300)], keep_s=WEEK_S), lease)
    await asyncio.sleep(0.02)
    await timeline.append(Batch([scaled(999)], keep_s=0.01), lease)
    assert await redis.xlen(KEYS.history) < 150, "whole blocks of old entries are dropped"
    assert 0 <= await redis.pttl(KEYS.history) <= 10 or not await redis.exists(KEYS.history)


async def test_foreign_data_under_our_key_is_said(timeline: RedisTimeline, lease: Lease, redis: Redis) -> None:
    await redis.set(KEYS.history, "x")
    with pytest.raises(Unavailable, match="is not ours"):
        await timeline.append(Batch([scaled(1)]), lease)
    with pytest.raises(Unavailable, match="is not ours"):
        await timeline.happenings(0.0, FOREVER, most=1)


async def test_entries_of_another_version_are_left_out_where_they_cannot_be_read(
    timeline: RedisTimeline, lease: Lease, redis: Redis
) -> None:
    await redis.xadd(KEYS.decided("w"), {"d": "v9:held"})
    await redis.xadd(KEYS.decided("w"), {"d": HELD.as_text()})
    await redis.xadd(KEYS.history, {"e": "boost", "f": "{"})
    assert len(await timeline.decided("w", 0.0, FOREVER, most=9)) == 1
    assert [one.event for one in (await timeline.happenings(0.0, FOREVER, most=9)).happenings] == ["boost"]
