"""The journal, the lease and the shares on a real Redis: what is written, what is refused, what survives."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from controller.adapters.clock import SystemClock
from controller.adapters.redis.connection import connect
from controller.adapters.redis.journal import Keys, RedisJournal, RedisLeases, RedisRateLimit
from controller.core.model import Change, Decision, History, Lease, RateUsage
from controller.core.ports import Bid, CycleNote, LeaseLost, NotAcquired, Retention, Settled, Unavailable
from controller.core.reasons import Because, Reason
from controller.core.text import bounds
from controller.demo.servers import Servers
from controller.policy import RateLimit
from tests.support.patience import until

KEYS = Keys("autoscaler", "env")
KEEP = Retention(window=60, gap=30)
UP = Decision(1, 3, 3, (Because(Reason.TIER, "jobs"),))
STRANGER = Lease("another", 1)


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with connect(redis_url) as client:
        assert isinstance(client, Redis)
        yield client


@pytest.fixture
def leases(redis: Redis) -> RedisLeases:
    return RedisLeases(redis, KEYS)


@pytest.fixture
def journal(redis: Redis) -> RedisJournal:
    return RedisJournal(redis, KEYS, SystemClock())


@pytest.fixture
async def lease(leases: RedisLeases) -> Lease:
    return await acquired(leases, "me")


async def acquired(leases: RedisLeases, holder: str, seen_epoch: int = 0) -> Lease:
    answer = await leases.acquire(Bid(holder, seen_epoch), 60)
    assert isinstance(answer, Lease)
    return answer


async def record(journal: RedisJournal, lease: Lease, ident: str = "one") -> Change:
    """An intent on what the journal holds now."""
    version = (await journal.remember("w", CycleNote(3, 1), KEEP, lease)).version
    return await journal.record_intent("w", ident, UP, version, lease)


async def test_only_one_holder_gets_the_lease(leases: RedisLeases, lease: Lease) -> None:
    held = await leases.acquire(Bid("you"), 60)
    assert isinstance(held, NotAcquired)
    assert held.epoch == lease.epoch
    assert 59 < held.wait <= 60


async def test_an_acquire_whose_answer_was_lost_gets_the_same_epoch_again(leases: RedisLeases, lease: Lease) -> None:
    assert await acquired(leases, "me") == lease


async def test_each_takeover_raises_the_epoch(leases: RedisLeases, lease: Lease) -> None:
    await leases.release(lease)
    assert (await acquired(leases, "you")).epoch > lease.epoch


async def test_the_epoch_rises_even_over_an_emptied_redis(redis: Redis, leases: RedisLeases) -> None:
    await redis.flushdb()
    ahead = await acquired(leases, "me", seen_epoch=9_000_000_000)
    assert ahead == Lease("me", 9_000_000_001)
    await redis.flushdb()
    began = time.time()
    assert began - 1 < (await acquired(leases, "newcomer")).epoch < time.time() + 1


async def test_a_renewal_never_brings_a_lost_lease_back(redis: Redis, leases: RedisLeases, lease: Lease) -> None:
    await redis.delete(KEYS.lease)
    assert not await leases.renew(lease, 60)
    assert await redis.exists(KEYS.lease) == 0


async def test_a_release_of_somebody_else_s_lease_does_nothing(leases: RedisLeases, lease: Lease) -> None:
    await leases.release(STRANGER)
    assert await leases.renew(lease, 60)


async def test_a_lease_that_would_last_for_ever_is_given_an_end(
    redis: Redis, leases: RedisLeases, lease: Lease
) -> None:
    await redis.persist(KEYS.lease)
    assert isinstance(await leases.acquire(Bid("you"), 5), NotAcquired)
    assert 0 < await redis.pttl(KEYS.lease) <= 60_000


async def test_an_empty_journal_knows_nothing_and_reading_it_leaves_it_empty(
    redis: Redis, journal: RedisJournal
) -> None:
    history, now, _ = await journal.recall("w")
    assert history == History()
    assert now > 1_700_000_000
    assert await redis.keys("*") == []


async def test_remembering_notes_the_recommendation_and_when_the_memory_began(
    journal: RedisJournal, lease: Lease
) -> None:
    first, now, _ = await journal.remember("w", CycleNote(3, 1), KEEP, lease)
    second, _, _ = await journal.remember("w", CycleNote(5, 9), KEEP, lease)
    assert first.since == first.unbroken_since == now
    assert (second.since, second.unbroken_since, second.count) == (now, now, 1)
    assert [one.replicas for one in second.recommendations] == [3, 5]


async def test_a_silence_breaks_the_chain_of_recommendations(redis: Redis, journal: RedisJournal, lease: Lease) -> None:
    _, now, _ = await journal.remember("w", CycleNote(3, 1), KEEP, lease)
    await redis.hincrby(KEYS.worker("w"), "recommended_at", -31_000)
    history, later, _ = await journal.remember("w", CycleNote(3, 1), KEEP, lease)
    assert (history.since, history.unbroken_since) == (now, later)


async def test_recommendations_older_than_the_window_are_forgotten(
    redis: Redis, journal: RedisJournal, lease: Lease
) -> None:
    _, now, _ = await journal.remember("w", CycleNote(3, 1), KEEP, lease)
    await redis.zadd(KEYS.past("w"), {"1:9:old": now * 1000 - 91_000, "2:8:kept": now * 1000 - 60_000})
    history, _, _ = await journal.remember("w", CycleNote(4, 1), KEEP, lease)
    assert [one.replicas for one in history.recommendations] == [8, 3, 4]


async def test_how_long_workers_take_to_start_is_smoothed_and_stays(
    redis: Redis, journal: RedisJournal, lease: Lease
) -> None:
    kept = []
    for seconds in (10, 20, 20):
        intent = await record(journal, lease, f"up in {seconds} s")
        await journal.accept("w", intent, lease)
        await journal.settle("w", intent, Settled.APPLIED, 3, lease, running=1)
        for name in ("start_at", "start_seen"):
            await redis.hincrby(KEYS.worker("w"), name, -1000 * seconds)
        kept.append((await journal.remember("w", CycleNote(3, 3, running=3), KEEP, lease)).history.start_up_s)
    assert kept == pytest.approx([10, 13, 15.1], abs=0.5)
    another = RedisJournal(redis, KEYS, SystemClock())
    assert (await another.recall("w")).history.start_up_s == kept[-1]


async def test_without_a_window_no_recommendation_is_kept(redis: Redis, journal: RedisJournal, lease: Lease) -> None:
    await journal.remember("w", CycleNote(3, 1), Retention(0, 30), lease)
    assert await redis.exists(KEYS.past("w")) == 0


async def test_an_intent_starts_its_cooldown_and_stays_open_until_it_is_settled(
    journal: RedisJournal, lease: Lease
) -> None:
    intent = await record(journal, lease)
    history, _, _ = await journal.recall("w")
    assert history.intent == intent
    assert history.last_up == intent.at
    assert history.last_down is None
    await journal.accept("w", intent, lease)
    accepted = (await journal.recall("w")).history.intent
    assert accepted is not None
    assert accepted.accepted
    history, _, _ = await journal.settle("w", intent, Settled.APPLIED, 3, lease)
    assert (history.intent, history.count) == (None, 3)
    assert history.last_up is not None


async def test_what_was_never_sent_gives_its_cooldown_back(redis: Redis, journal: RedisJournal, lease: Lease) -> None:
    intent = await record(journal, lease)
    history, _, _ = await journal.settle("w", intent, Settled.NEVER_SENT, 1, lease)
    assert history.last_up is None
    await redis.hset(KEYS.worker("w"), "last_up", "1700000000000")
    intent = await record(journal, lease, "two")
    history, _, _ = await journal.settle("w", intent, Settled.NEVER_SENT, 1, lease)
    assert history.last_up == 1_700_000_000


async def test_what_was_refused_gives_its_cooldown_back_and_is_remembered(journal: RedisJournal, lease: Lease) -> None:
    intent = await record(journal, lease)
    history, now, _ = await journal.settle("w", intent, Settled.REFUSED, 1, lease)
    assert (history.last_up, history.intent, history.refused_at) == (None, None, now)


@pytest.mark.parametrize("accepted", [True, False])
async def test_a_change_counts_from_its_answer_and_one_without_an_answer_from_when_it_is_seen(
    redis: Redis, journal: RedisJournal, lease: Lease, *, accepted: bool
) -> None:
    intent = await record(journal, lease)
    if accepted:
        await journal.accept("w", intent, lease)
    await redis.hincrby(KEYS.worker("w"), "last_up", -3_600_000)
    history, now, _ = await journal.settle("w", intent, Settled.APPLIED, 3, lease)
    assert history.last_up == pytest.approx(now - 3600 if accepted else now, abs=60)


async def test_stamps_from_the_future_are_moved_to_the_present(
    redis: Redis, journal: RedisJournal, lease: Lease
) -> None:
    _, now, _ = await journal.remember("w", CycleNote(3, 1), KEEP, lease)
    tomorrow = str(round((now + 86_400) * 1000))
    for name in ("last_up", "last_down", "since", "unbroken_since", "recommended_at"):
        await redis.hset(KEYS.worker("w"), name, tomorrow)
    await redis.zadd(KEYS.past("w"), {f"{tomorrow}:9:x": float(tomorrow)})
    history, later, _ = await journal.remember("w", CycleNote(3, 1), KEEP, lease)
    assert {history.last_up, history.last_down, history.since, history.unbroken_since} == {later}
    assert 9 not in [one.replicas for one in history.recommendations]


async def test_a_longer_window_than_was_kept_is_not_known_yet(journal: RedisJournal, lease: Lease) -> None:
    await journal.remember("w", CycleNote(3, 1), Retention(0, 30), lease)
    history, now, _ = await journal.remember("w", CycleNote(3, 1), KEEP, lease)
    assert history.unbroken_since == now


async def test_settling_an_old_intent_leaves_a_newer_one_alone(journal: RedisJournal, lease: Lease) -> None:
    old = await record(journal, lease, "old")
    await journal.settle("w", old, Settled.APPLIED, 3, lease)
    new = await record(journal, lease, "new")
    history, _, _ = await journal.settle("w", old, Settled.NEVER_SENT, 1, lease)
    assert history.intent == new


async def test_an_external_change_starts_both_cooldowns(journal: RedisJournal, lease: Lease) -> None:
    history, now, _ = await journal.record_external_change("w", 2, lease)
    assert (history.last_up, history.last_down, history.count) == (now, now, 2)


async def test_a_holder_without_the_lease_writes_nothing(redis: Redis, journal: RedisJournal, lease: Lease) -> None:
    intent = await record(journal, lease)
    before = await redis.hgetall(KEYS.worker("w"))
    writes = [
        journal.remember("w", CycleNote(1, 1), KEEP, STRANGER),
        journal.record_intent("w", "x", UP, "", STRANGER),
        journal.accept("w", intent, STRANGER),
        journal.settle("w", intent, Settled.APPLIED, 3, STRANGER),
        journal.record_external_change("w", 3, STRANGER),
        journal.publish({"w": "{}"}, STRANGER),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            await write
    assert await redis.hgetall(KEYS.worker("w")) == before
    assert (await journal.watch(["w"])).published == {}


async def test_what_is_published_replaces_what_was(journal: RedisJournal, lease: Lease) -> None:
    await journal.publish({"a": "1", "b": "2"}, lease)
    await journal.publish({"b": "3"}, lease)
    assert (await journal.watch(["w"])).published == {"b": "3"}


async def test_what_no_leader_would_publish_is_not_even_sent_to_a_standby(
    redis: Redis, journal: RedisJournal, lease: Lease
) -> None:
    fits, too_long = "x" * (bounds.PUBLISHED - len("fits")), "x" * bounds.PUBLISHED
    await journal.publish({"fits": fits, "long": too_long, "wide": "€" * (bounds.PUBLISHED // 2)}, lease)
    assert (await journal.watch(["w"])).published == {"fits": fits}
    await journal.publish({f"{number:03}": "x" * 31_000 for number in range(200)}, lease)
    assert sum(map(len, (await journal.watch(["w"])).published.values())) <= bounds.ALL_PUBLISHED


async def test_the_name_of_a_leader_is_cut(redis: Redis, journal: RedisJournal, lease: Lease) -> None:
    await redis.hset(KEYS.leader, "holder", "x" * 1_000_000)
    leader = (await journal.watch(["w"])).leader
    assert leader is not None
    assert len(leader.holder) == bounds.WORDS


async def test_all_keys_of_ours_share_one_hash_tag(redis: Redis, journal: RedisJournal, lease: Lease) -> None:
    await journal.remember("w", CycleNote(1, 1), KEEP, lease)
    await journal.publish({"w": "{}"}, lease)
    names = await redis.keys("*")
    assert len(names) == 6
    assert all(str(name).startswith("{autoscaler:env}:") for name in names)


async def test_the_usage_is_read_from_the_minute_in_epoch_seconds(redis: Redis) -> None:
    class HalfPast:
        def wall(self) -> float:
            return 1_700_000_099.5

        def monotonic(self) -> float:
            return 0.0

    await redis.set("worker:rpm:1700000040", "17")
    assert await RedisRateLimit(redis, HalfPast()).used(RateLimit(rpm=60)) == RateUsage(17, 60)


@pytest.mark.parametrize(("replicas", "share"), [(0, 60), (1, 60), (2, 30), (7, 8), (61, 0)])
async def test_the_share_is_the_limit_over_the_replicas(redis: Redis, replicas: int, share: int) -> None:
    await RedisRateLimit(redis, SystemClock()).share(RateLimit(rpm=60), 5, replicas)
    assert await redis.get("worker:config:per_worker_rpm") == str(share)


async def test_a_usage_that_is_no_number_is_unavailable(redis: Redis) -> None:
    rate_limit = RateLimit.model_validate({"rpm": 60, "keys": {"usage": "odd<window>"}})
    clock = SystemClock()
    this = int(clock.wall() // 60 * 60)
    for minute in (this, this + 60):  # which may begin meanwhile
        await redis.set(f"odd{minute}", "many")
    with pytest.raises(Unavailable, match="does not hold a number"):
        await RedisRateLimit(redis, clock).used(rate_limit)


async def test_a_redis_that_is_away_is_unavailable_and_comes_back(stoppable_servers: Servers) -> None:
    async with connect(stoppable_servers.redis_url) as client:
        journal = RedisJournal(client, KEYS, SystemClock())
        await journal.recall("w")
        stoppable_servers.stop_redis()
        said: list[str] = []

        async def refused() -> bool:
            """The first may only find out that its connection is gone."""
            with pytest.raises(Unavailable) as error:
                await journal.recall("w")
            said.append(str(error.value))
            return "address in REDIS_URL; is it running" in said[-1]

        await until(refused, "a connection to be refused", shown=lambda: said)
        stoppable_servers.start_redis()
        await journal.recall("w")


async def test_a_wrong_password_is_named_and_not_shown(stoppable_servers: Servers) -> None:
    async with connect(stoppable_servers.redis_url) as client:
        await client.config_set("requirepass", "right")
    url = stoppable_servers.redis_url.replace("redis://", "redis://:hunter2@")
    async with connect(url) as client:
        with pytest.raises(Unavailable) as error:
            await RedisJournal(client, KEYS, SystemClock()).recall("w")
    async with connect(url.replace("hunter2", "right")) as client:
        await client.config_set("requirepass", "")
    assert "refuses the user or password of REDIS_URL" in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "fields",
    [
        {"last_up": "abc"},
        {"last_up": "9" * 30},
        {"count": "x"},
        {"intent": "alone"},
        {"last_down": b"\xff"},
        {"memory": b"\xff"},
    ],
)
async def test_what_is_not_ours_in_our_hash_is_unavailable_and_no_crash(
    redis: Redis, journal: RedisJournal, fields: dict[str, str]
) -> None:
    for name, value in fields.items():
        await redis.hset(KEYS.worker("w"), name, value)
    with pytest.raises(Unavailable, match="not ours"):
        await journal.recall("w")


async def test_a_key_of_ours_that_holds_another_kind_is_unavailable(redis: Redis, journal: RedisJournal) -> None:
    await redis.lpush(KEYS.worker("w"), "x")
    with pytest.raises(Unavailable, match=f"{re.escape(KEYS.worker('w'))} or .* that is not ours"):
        await journal.recall("w")
