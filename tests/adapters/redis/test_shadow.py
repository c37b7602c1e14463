"""What Redis loses, the processes that remember give back; what was only given back by us is no news."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis

from controller.adapters.clock import SystemClock
from controller.adapters.redis.journal import Keys, RedisJournal, RedisLeases
from controller.core.model import Decision, Lease
from controller.core.ports import Bid, CycleNote, NotAcquired, Recalled, Retention, Settled, Unavailable
from controller.core.reasons import Because, Reason

MOMENT_S = 30.0
"""More than any call takes here, and less than anything is aged by."""
KEYS = Keys("autoscaler", "env")
HASH = KEYS.worker("w")
KEEP = Retention(window=0, gap=30)
UP = Decision(1, 3, 3, (Because(Reason.TIER, "jobs"),))


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
def journal(redis: Redis) -> RedisJournal:
    return RedisJournal(redis, KEYS, SystemClock())


@pytest.fixture
def standby(redis: Redis) -> RedisJournal:
    return RedisJournal(redis, KEYS, SystemClock())


@pytest.fixture
async def lease(redis: Redis) -> Lease:
    return await acquired(redis)


async def acquired(redis: Redis, holder: str = "me") -> Lease:
    answer = await RedisLeases(redis, KEYS).acquire(Bid(holder), 60)
    assert isinstance(answer, Lease)
    return answer


async def remember(journal: RedisJournal, lease: Lease) -> Recalled:
    return await journal.remember("w", CycleNote(3, 1), KEEP, lease)


async def scale_up(journal: RedisJournal, lease: Lease) -> float:
    """Up and done; answers when that was."""
    intent = await journal.record_intent("w", "up", UP, (await remember(journal, lease)).version, lease)
    await journal.accept("w", intent, lease)
    history, _, _ = await journal.settle("w", intent, Settled.APPLIED, 3, lease)
    assert history.last_up is not None
    return history.last_up


async def test_an_emptied_redis_is_told_again_by_the_leader_that_remembers(redis: Redis, journal: RedisJournal) -> None:
    at = await scale_up(journal, await acquired(redis))
    await redis.flushdb()
    history, now, _ = await remember(journal, await acquired(redis))
    assert history.last_up == pytest.approx(at, abs=MOMENT_S)
    assert (history.count, history.since) == (3, now)


async def test_an_open_intent_outlasts_an_emptied_redis(redis: Redis, journal: RedisJournal, lease: Lease) -> None:
    intent = await journal.record_intent("w", "up", UP, (await remember(journal, lease)).version, lease)
    await redis.flushdb()
    lease = await acquired(redis)
    history, _, _ = await remember(journal, lease)
    assert history.intent is not None
    assert (history.intent.id, history.intent.after) == (intent.id, 3)
    assert history.intent.at == pytest.approx(intent.at, abs=MOMENT_S)
    settled, _, _ = await journal.settle("w", history.intent, Settled.NEVER_SENT, 1, lease)
    assert settled.last_up == pytest.approx(intent.at, abs=MOMENT_S), "what it was before is lost, so that it stays"


async def test_a_standby_that_watched_tells_a_leader_that_knows_nothing(
    redis: Redis, journal: RedisJournal, standby: RedisJournal, lease: Lease
) -> None:
    at = await scale_up(journal, lease)
    await standby.watch(["w"])
    await redis.flushdb()
    await standby.watch(["w"])
    newcomer = RedisJournal(redis, KEYS, SystemClock())
    history, _, _ = await remember(newcomer, await acquired(redis, "newcomer"))
    assert history.last_up == pytest.approx(at, abs=MOMENT_S)


@pytest.mark.parametrize("loss", ["emptied", "rolled back"])
async def test_a_standby_gives_back_an_open_intent_too(
    redis: Redis, journal: RedisJournal, standby: RedisJournal, lease: Lease, loss: str
) -> None:
    """The leader died with it, and what it asked for may still land."""
    version = (await remember(journal, lease)).version
    older: dict[Any, Any] = dict(await redis.hgetall(HASH))
    intent = await journal.record_intent("w", "up", UP, version, lease)
    await standby.watch(["w"])
    if loss == "emptied":
        await redis.flushdb()
    else:
        await redis.delete(HASH)
        await redis.hset(HASH, mapping=older)
    await standby.watch(["w"])
    newcomer = RedisJournal(redis, KEYS, SystemClock())
    lease = await acquired(redis, "newcomer") if loss == "emptied" else lease
    history, _, _ = await remember(newcomer, lease)
    assert history.intent is not None
    assert history.intent.id == intent.id
    assert history.intent.at == pytest.approx(intent.at, abs=MOMENT_S)
    history, _, _ = await newcomer.settle("w", history.intent, Settled.APPLIED, 3, lease)
    await standby.watch(["w"])
    assert (await remember(newcomer, lease)).history.intent is None, "what is settled stays settled"


async def test_a_redis_that_came_back_with_older_data_is_told_what_it_forgot(
    redis: Redis, journal: RedisJournal, lease: Lease
) -> None:
    await remember(journal, lease)
    older: dict[Any, Any] = dict(await redis.hgetall(HASH))
    at = await scale_up(journal, lease)
    await redis.delete(HASH)
    await redis.hset(HASH, mapping=older)
    history, now, _ = await remember(journal, lease)
    assert history.last_up == pytest.approx(at, abs=MOMENT_S)
    assert (history.count, history.since) == (3, now)


async def test_another_process_of_the_server_puts_the_memory_in_doubt(
    redis: Redis, journal: RedisJournal, lease: Lease
) -> None:
    since = (await remember(journal, lease)).history.since
    await redis.hset(HASH, "run", "the process before this one")
    await asyncio.sleep(0.01)
    history, now, _ = await remember(journal, lease)
    assert since is not None
    assert history.since == now > since


async def test_a_clock_that_jumped_ahead_makes_no_stamp_older(
    redis: Redis, journal: RedisJournal, standby: RedisJournal, lease: Lease
) -> None:
    at = await scale_up(journal, lease)
    for teller in (journal, standby):
        await standby.watch(["w"])
        await redis.hincrby(HASH, "last_up", -300_000)  # as a clock that is five minutes ahead would show it
        if teller is standby:
            await teller.watch(["w"])
        else:
            await remember(teller, lease)
        assert int(await redis.hget(HASH, "last_up") or 0) / 1000 == pytest.approx(at, abs=MOMENT_S)


async def test_a_replica_ignores_its_own_messages(
    redis: Redis, journal: RedisJournal, standby: RedisJournal, lease: Lease
) -> None:
    """Else a cooldown would begin again with every look, and nothing would ever scale."""
    at = await scale_up(journal, lease)
    for _ in range(50):
        await standby.watch(["w"])
        history, _, _ = await remember(journal, lease)
    assert history.last_up == at


async def test_a_cooldown_that_was_given_back_stays_given_back(
    journal: RedisJournal, standby: RedisJournal, lease: Lease
) -> None:
    intent = await journal.record_intent("w", "up", UP, (await remember(journal, lease)).version, lease)
    await standby.watch(["w"])
    await journal.settle("w", intent, Settled.NEVER_SENT, 1, lease)
    await standby.watch(["w"])
    await standby.watch(["w"])
    history, _, _ = await remember(journal, lease)
    assert (history.last_up, history.intent) == (None, None)


@pytest.mark.parametrize("change", ["a stamp told by a standby", "emptied", "another process", "an intent"])
async def test_an_intent_is_refused_on_another_memory_than_it_was_decided_on(
    redis: Redis, journal: RedisJournal, lease: Lease, change: str
) -> None:
    version = (await remember(journal, lease)).version
    if change == "a stamp told by a standby":
        await redis.hincrby(HASH, "revision", 1)
    elif change == "emptied":
        await redis.delete(HASH)
    elif change == "another process":
        await redis.hset(HASH, "run", "x")
    else:
        await journal.record_intent("w", "another", UP, version, lease)
    before = await redis.hgetall(HASH)
    with pytest.raises(Unavailable, match="newer data than this decision"):
        await journal.record_intent("w", "up", UP, version, lease)
    assert await redis.hgetall(HASH) == before


async def test_an_intent_whose_answer_was_lost_is_written_once(journal: RedisJournal, lease: Lease) -> None:
    version = (await remember(journal, lease)).version
    first = await journal.record_intent("w", "up", UP, version, lease)
    assert await journal.record_intent("w", "up", UP, version, lease) == first


# --- the lease, where Redis forgets it ---


async def test_a_lease_that_vanished_before_its_time_is_waited_for(redis: Redis, lease: Lease) -> None:
    await redis.delete(KEYS.lease)
    held = await RedisLeases(redis, KEYS).acquire(Bid("you"), 60)
    assert isinstance(held, NotAcquired)
    assert 59 < held.wait <= 60


async def test_the_last_holder_does_not_wait_for_its_own_lease(redis: Redis, lease: Lease) -> None:
    await redis.delete(KEYS.lease)
    answer = await RedisLeases(redis, KEYS).acquire(Bid("me again", last_holder="me"), 60)
    assert answer == Lease("me again", lease.epoch + 1)


async def test_a_lease_that_was_given_back_is_free_at_once(redis: Redis, lease: Lease) -> None:
    leases = RedisLeases(redis, KEYS)
    await leases.release(lease)
    assert isinstance(await leases.acquire(Bid("you", lease.epoch, patience=30), 60), Lease)


async def test_a_survivor_waits_for_the_end_of_a_lease_that_redis_has_forgotten(redis: Redis) -> None:
    held = await RedisLeases(redis, KEYS).acquire(Bid("you", patience=7), 60)
    assert held == NotAcquired(0, 7.0)


async def test_a_newcomer_does_not_begin_anew_unless_it_says_so(redis: Redis) -> None:
    leases = RedisLeases(redis, KEYS)
    assert await leases.acquire(Bid("newcomer", of_nothing=False), 60) == NotAcquired(empty=True)
    assert await redis.keys("*") == []
    assert isinstance(await leases.acquire(Bid("newcomer"), 60), Lease)


async def test_an_end_too_far_away_is_moved_to_where_it_can_be_at_most(redis: Redis, lease: Lease) -> None:
    """After a clock was set back: another replica does not wait for an hour."""
    await redis.delete(KEYS.lease)
    await redis.hincrby(KEYS.leader, "until", 3_600_000)
    held = await RedisLeases(redis, KEYS).acquire(Bid("you"), 60)
    assert isinstance(held, NotAcquired)
    assert held.wait <= 60
    now, _ = await redis.time()
    assert int(await redis.hget(KEYS.leader, "until") or 0) / 1000 <= now + 61


async def test_a_renewal_tells_again_whatever_else_of_the_lease_was_lost(redis: Redis, lease: Lease) -> None:
    """Else every successor would wait for those who may remember more, for the rest of this leader's term."""
    run = await redis.hget(KEYS.leader, "run")
    await redis.hset(KEYS.leader, "run", "the process before this one")
    await redis.delete(KEYS.epoch)
    leases = RedisLeases(redis, KEYS)
    assert await leases.renew(lease, 60)
    assert await redis.hget(KEYS.leader, "run") == run
    assert await redis.get(KEYS.epoch) == str(lease.epoch)
    await redis.delete(KEYS.leader)
    assert await leases.renew(lease, 60)
    assert await redis.hget(KEYS.leader, "holder") == "me"
    await leases.release(lease)
    assert await leases.acquire(Bid("you", of_nothing=False), 60) == Lease("you", lease.epoch + 1)


async def test_an_epoch_that_is_none_is_unavailable_and_no_crash(redis: Redis) -> None:
    await redis.set(KEYS.epoch, "inf")
    with pytest.raises(Unavailable, match="epoch"):
        await RedisLeases(redis, KEYS).acquire(Bid("me"), 60)
