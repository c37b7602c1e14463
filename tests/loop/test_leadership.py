"""At most one leads, and a replica that is not sure of it does not act. Time is an argument; Redis is real."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from controller.adapters.redis.connection import connect
from controller.adapters.redis.journal import RedisJournal
from controller.adapters.redis.keys import Keys
from controller.adapters.redis.leases import RedisLeases
from controller.config.timing import Timing
from controller.core.model import Lease
from controller.core.ports import LeaderState
from controller.demo.servers import Servers
from controller.loop.leadership import Leadership
from tests.support.sources import REDIS

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


def replica(
    redis: Redis, name: str = "a", *, turning: Callable[[], bool] = lambda: True, waits_for_survivors: bool = False
) -> Replica:
    clock, events = HandClock(), list[str]()

    def note(event: str, /, **fields: object) -> None:
        events.append(event)

    async def watch() -> LeaderState:
        return await RedisJournal(redis, KEYS, clock).watch(["w"])

    leadership = Leadership(
        RedisLeases(redis, KEYS),
        clock,
        timing=Timing.around(TTL),
        replica=name,
        report=note,
        watch=watch,
        turning=turning,
        waits_for_survivors=waits_for_survivors,
    )
    return Replica(leadership, clock, events)


def is_failing(one: Replica) -> bool:
    return one.leadership.fault is not None and one.leadership.fault.source is REDIS


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


class Slow(RedisLeases):
    """Its answers take their time; Redis has renewed the lease when it was asked."""

    clock: HandClock
    takes_s = 0.0

    async def renew(self, lease: Lease, ttl: float) -> bool:
        renewed = await super().renew(lease, ttl)
        self.clock.now += self.takes_s
        return renewed


async def test_a_renewal_counts_from_when_it_was_asked_for_and_not_from_its_answer(redis: Redis) -> None:
    clock = HandClock()
    leases = Slow(redis, KEYS)
    leases.clock, leases.takes_s = clock, 1.9
    leadership = Leadership(leases, clock, timing=Timing.around(TTL), replica="a", report=lambda *_, **__: None)
    await leadership.turn()
    clock.now += 5
    await leadership.turn()
    clock.now += leadership._timing.window - 1.9 - 0.01
    assert leadership.lease is not None
    clock.now += 0.02
    assert leadership.lease is None, "Redis may give it to another 15 s after it was asked"


async def test_a_replica_that_slept_through_its_lease_steps_down_and_returns_with_a_higher_epoch(
    redis: Redis,
) -> None:
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
    one.leadership = Leadership(leases, clock, timing=Timing.around(TTL), replica="a", report=one.leadership._report)
    await one.leadership.turn()
    leases.slow = True
    await one.leadership.turn()
    assert not leads(one)


async def test_while_redis_is_away_no_replica_leads_once_the_lease_has_run_out(stoppable_servers: Servers) -> None:
    async with connect(stoppable_servers.redis_url) as client:
        assert isinstance(client, Redis)
        one = replica(client)
        await one.leadership.turn()
        stoppable_servers.stop_redis()
        await one.leadership.turn()
        assert leads(one)
        assert is_failing(one)
        one.clock.now += 14
        await one.leadership.turn()
        assert not leads(one)
        stoppable_servers.start_redis()
        await client.delete(KEYS.lease)
        await one.leadership.turn()
        assert leads(one)
        assert not is_failing(one)
    assert one.events == ["lease_acquired", "redis_unavailable", "lease_lost", "lease_acquired"]


async def test_a_change_is_sent_only_under_its_own_epoch_and_only_if_it_will_be_over_before_the_lease_is(
    redis: Redis,
) -> None:
    one = replica(redis)
    await one.leadership.turn()
    assert one.leadership.lease is not None
    epoch = one.leadership.lease.epoch
    assert one.leadership.may_act(epoch)
    assert not one.leadership.may_act(epoch - 1)
    one.clock.now += Timing.around(TTL).window - Timing.around(TTL).least_left + 0.01
    assert leads(one)
    assert not one.leadership.may_act(epoch)


async def test_every_replica_sees_who_leads_since_when_and_under_which_epoch(redis: Redis) -> None:
    first, second = replica(redis, "a"), replica(redis, "b")
    began = time.time()
    await first.leadership.turn()
    await second.leadership.turn()
    for one in (first, second):
        assert one.leadership.leader is not None
        assert one.leadership.leader.holder.startswith("a:")
        assert first.leadership.lease is not None
        assert one.leadership.leader.epoch == first.leadership.lease.epoch
    assert second.leadership.leader is not None
    assert began - 1 < second.leadership.leader.since < time.time() + 1


async def test_a_replica_that_saw_a_leader_waits_for_the_end_of_its_lease_though_redis_forgot_it(
    redis: Redis,
) -> None:
    first, second = replica(redis, "a"), replica(redis, "b")
    await first.leadership.turn()
    await second.leadership.turn()
    await redis.flushdb()
    await second.leadership.turn()
    second.clock.now += TTL - 1
    await second.leadership.turn()
    assert not leads(second)
    second.clock.now += 1.1
    await second.leadership.turn()
    assert leads(second)


async def test_a_lease_that_no_other_replica_saw_before_redis_was_emptied_is_waited_for(redis: Redis) -> None:
    first, second = replica(redis, "a"), replica(redis, "b", waits_for_survivors=True)
    await first.leadership.turn()
    await second.leadership.turn()
    second.clock.now += TTL - 1  # in which another may have got the lease
    await redis.flushdb()
    await second.leadership.turn()
    second.clock.now += 2
    await second.leadership.turn()
    assert not leads(second)
    second.clock.now += TTL
    await second.leadership.turn()
    assert leads(second)


async def test_a_replica_that_led_itself_leads_again_at_once_over_an_emptied_redis(redis: Redis) -> None:
    one = replica(redis)
    await one.leadership.turn()
    await redis.flushdb()
    await one.leadership.turn()
    assert not leads(one)
    await one.leadership.turn()
    assert leads(one)


async def test_a_newcomer_leaves_an_empty_redis_to_those_who_may_remember_and_then_begins(redis: Redis) -> None:
    newcomer = replica(redis, waits_for_survivors=True)
    await newcomer.leadership.turn()
    assert not leads(newcomer)
    newcomer.clock.now += Timing.around(TTL).survivors_wait + 0.01
    await newcomer.leadership.turn()
    assert leads(newcomer)


@pytest.mark.parametrize("has_seen_a_leader", [False, True])
async def test_the_wait_for_survivors_ends_when_it_is_over_and_not_a_look_later(
    redis: Redis, *, has_seen_a_leader: bool
) -> None:
    newcomer, timing = replica(redis, waits_for_survivors=True), Timing.around(TTL)
    newcomer.leadership._seen_epoch = int(has_seen_a_leader)
    patience = timing.window if has_seen_a_leader else timing.survivors_wait
    await newcomer.leadership.turn()
    began = newcomer.clock.now
    looks = 0
    while not leads(newcomer):
        newcomer.clock.now += newcomer.leadership._pause()
        await newcomer.leadership.turn()
        looks += 1
    assert patience <= newcomer.clock.now - began < patience + 0.1
    assert looks <= patience / timing.poll + 1


async def test_a_newcomer_takes_over_at_once_where_redis_knows_that_no_replica_leads(redis: Redis) -> None:
    first = replica(redis)
    await first.leadership.turn()
    await first.leadership.release()
    newcomer = replica(redis, "b", waits_for_survivors=True)
    await newcomer.leadership.turn()
    assert leads(newcomer)


async def test_a_leader_whose_loop_hangs_gives_the_lease_to_one_whose_loop_turns(redis: Redis) -> None:
    turning = True
    one, other = replica(redis, "a", turning=lambda: turning), replica(redis, "b")
    await one.leadership.turn()
    turning = False
    await one.leadership.turn()
    await one.leadership.turn()
    assert not leads(one)
    await other.leadership.turn()
    assert leads(other)


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        ({}, True),
        ({"change_timeout": 12.1}, True),
        ({"change_timeout": 12.2}, False),
        ({"renew": 14.0}, False),
        ({"renew": 8.0, "redis_timeout": 6.0}, False),
        ({"landing_bound": 4.0}, True),
        ({"landing_bound": 4.0, "change_timeout": 5.0}, False),
    ],
)
def test_times_that_would_let_two_act_at_once_are_refused(given: dict[str, float], *, fits: bool) -> None:
    assert (list(Timing.around(TTL, **given).problems()) == []) == fits


@given(st.floats(1, 600))
def test_a_lease_of_any_length_alone_brings_times_that_fit(ttl: float) -> None:
    assert list(Timing.around(ttl).problems()) == []


async def test_another_s_lease_is_waited_for_from_the_answer_that_told_of_it(redis: Redis) -> None:
    """It may have been renewed right before the answer, and trusts itself from there."""
    first, second = replica(redis, "a"), replica(redis, "b")
    await first.leadership.turn()
    watch = second.leadership._watch
    assert watch is not None

    async def slowly() -> LeaderState:
        watched = await watch()
        second.clock.now += 2.0
        return watched

    second.leadership._watch = slowly
    await second.leadership.turn()
    await redis.flushdb()
    second.clock.now += TTL - 0.1
    await second.leadership.turn()
    assert not leads(second)
