"""At most one leads, and whoever is not sure of it does not. Time is an argument; Redis is real."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from redis.asyncio import Redis

from controller.adapters.redis import Keys, RedisLeases
from controller.adapters.redis_connection import connect
from controller.demo.servers import Servers
from controller.leading import Leadership
from controller.ports import Source

KEYS = Keys("autoscaler", "env")
TTL = 15.0


@dataclass
class HandClock:
    now: float = 1000.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


@dataclass
class Replica:
    leadership: Leadership
    clock: HandClock
    events: list[str]


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with connect(redis_url) as client:
        assert isinstance(client, Redis)
        yield client


def replica(redis: Redis, name: str = "a") -> Replica:
    clock, events = HandClock(), list[str]()

    def note(event: str, /, **fields: object) -> None:
        events.append(event)

    leadership = Leadership(RedisLeases(redis, KEYS), clock, ttl=TTL, replica=name, report=note)
    return Replica(leadership, clock, events)


def in_trouble(one: Replica) -> bool:
    return one.leadership.trouble is not None and one.leadership.trouble.source is Source.JOURNAL


def leads(one: Replica) -> bool:
    return one.leadership.lease is not None


async def test_the_first_leads_and_the_second_waits(redis: Redis) -> None:
    first, second = replica(redis, "a"), replica(redis, "b")
    await first.leadership.turn()
    await second.leadership.turn()
    assert leads(first)
    assert not leads(second)


async def test_the_lease_ends_here_before_it_ends_in_redis(redis: Redis) -> None:
    one = replica(redis)
    await one.leadership.turn()
    one.clock.now += TTL * 0.99 - 1 - 0.01
    assert leads(one)
    one.clock.now += 0.02
    assert not leads(one)
    assert await redis.pttl(KEYS.lease) > 1000


async def test_a_renewal_moves_the_end_from_the_moment_it_was_asked_for(redis: Redis) -> None:
    one = replica(redis)
    await one.leadership.turn()
    one.clock.now += 5
    await one.leadership.turn()
    one.clock.now += 13
    assert leads(one)


async def test_whoever_slept_through_its_lease_steps_down_and_comes_back_with_a_higher_epoch(redis: Redis) -> None:
    one = replica(redis)
    await one.leadership.turn()
    before = one.leadership.lease
    one.clock.now += 60
    await one.leadership.turn()
    assert not leads(one)
    await redis.delete(KEYS.lease)
    await one.leadership.turn()
    after = one.leadership.lease
    assert before is not None
    assert after is not None
    assert after.epoch > before.epoch
    assert after.holder != before.holder
    assert one.events == ["lease_acquired", "lease_lost", "lease_acquired"]


async def test_a_lease_that_went_to_another_is_noticed_at_the_next_renewal(redis: Redis) -> None:
    one = replica(redis)
    await one.leadership.turn()
    await redis.set(KEYS.lease, "another")
    await one.leadership.turn()
    assert not leads(one)


@dataclass
class SlowLeases:
    """Answers a renewal only after the holder's window has closed."""

    inner: RedisLeases
    clock: HandClock
    slow: bool = field(default=False)

    async def acquire(self, *arguments: Any) -> Any:
        return await self.inner.acquire(*arguments)

    async def renew(self, *arguments: Any) -> bool:
        answer = await self.inner.renew(*arguments)
        self.clock.now += 20 if self.slow else 0
        return answer

    async def release(self, *arguments: Any) -> None:
        await self.inner.release(*arguments)


async def test_a_renewal_that_is_answered_too_late_counts_as_lost(redis: Redis) -> None:
    clock = HandClock()
    leases = SlowLeases(RedisLeases(redis, KEYS), clock)
    one = replica(redis)
    one.leadership = Leadership(leases, clock, ttl=TTL, replica="a", report=one.leadership._report)
    await one.leadership.turn()
    leases.slow = True
    await one.leadership.turn()
    assert not leads(one)


async def test_while_redis_is_away_nobody_leads_once_the_lease_has_run_out(stoppable_servers: Servers) -> None:
    async with connect(stoppable_servers.redis_url) as client:
        assert isinstance(client, Redis)
        one = replica(client)
        await one.leadership.turn()
        stoppable_servers.stop_redis()
        await one.leadership.turn()
        assert leads(one)
        assert in_trouble(one)
        one.clock.now += 14
        await one.leadership.turn()
        assert not leads(one)
        stoppable_servers.start_redis()
        await client.delete(KEYS.lease)
        await one.leadership.turn()
        assert leads(one)
        assert not in_trouble(one)
    assert one.events == ["lease_acquired", "redis_unavailable", "lease_lost", "lease_acquired"]
