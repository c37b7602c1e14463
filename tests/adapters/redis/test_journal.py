"""The journal, the lease and the shares on a real Redis: what is written, what is refused, what survives.

What each step makes of a history is in tests/core/test_history.py.
"""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from controller.adapters.clock import SystemClock
from controller.adapters.redis.connection import connect
from controller.adapters.redis.journal import RedisJournal
from controller.adapters.redis.keys import Keys
from controller.adapters.redis.leases import RedisLeases
from controller.adapters.redis.rate_limit import RedisRateLimit
from controller.core.model import History, Lease, RateUsage, Recommendation, Shares, Start
from controller.core.ports import Bid, LeaseLost, NotAcquired, Outrun, Settled, Unavailable
from controller.core.text import bounds
from controller.core.watch import Watch
from controller.demo.servers import Servers
from controller.policy import RateLimit
from tests.support.journal_steps import UP, accept, change_from_outside, note, record, scale_up, settle, take
from tests.support.patience import until

KEYS = Keys("autoscaler", "env")
HASH = KEYS.worker("w")
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


# --- the lease ---


async def test_only_one_holder_gets_the_lease(leases: RedisLeases, lease: Lease) -> None:
    held = await leases.acquire(Bid("you"), 60)
    assert isinstance(held, NotAcquired)
    assert held.epoch == lease.epoch
    assert 0 < held.wait <= 60


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


async def test_a_release_of_another_holder_s_lease_does_nothing(leases: RedisLeases, lease: Lease) -> None:
    await leases.release(STRANGER)
    assert await leases.renew(lease, 60)


async def test_a_lease_that_would_last_for_ever_is_given_an_end(
    redis: Redis, leases: RedisLeases, lease: Lease
) -> None:
    await redis.persist(KEYS.lease)
    assert isinstance(await leases.acquire(Bid("you"), 5), NotAcquired)
    assert 0 < await redis.pttl(KEYS.lease) <= 60_000


# --- one history, read and written ---


async def test_an_empty_journal_knows_nothing_and_reading_it_leaves_it_empty(
    redis: Redis, journal: RedisJournal
) -> None:
    recalled = await journal.recall("w")
    assert replace(recalled.history, since=None) == History()
    assert recalled.now > 1_700_000_000
    assert await redis.keys("*") == []


async def test_a_history_is_read_by_another_process_as_it_was_written(
    redis: Redis, journal: RedisJournal, lease: Lease
) -> None:
    recalled = await journal.recall("w")
    now = recalled.now
    history = History(
        last_up=now - 4,
        last_down=now - 500.001,
        since=now - 900,
        unbroken_since=now - 60,
        remembered_at=now - 1,
        window=60.0,
        recommendations=(Recommendation(now - 50, 4), Recommendation(now - 1, 2)),
        change=replace(UP, at=now - 5, accepted_at=now - 4, stops="deployment", previous=now - 77),
        count=2,
        refused_at=now - 300,
        refused_to=4,
        setbacks=2,
        unconfirmed_stop="deployment",
        start_ups=(12.345,),
        queue_seen="a queue named @",
        start=Start(now - 4, 1, 3, seen=now - 1),
        read_at=now - 30,
        watch=Watch(deployment="@", crashing_since=1.5),
    )
    written = await journal.write("w", recalled, history, lease, now=now)
    another = await RedisJournal(redis, KEYS, SystemClock()).recall("w")
    assert rounded(another.history) == rounded(written.history) == rounded(history)
    assert another.history.change is not None
    assert another.history.change.previous == pytest.approx(now - 77, abs=0.001)


def rounded(history: History) -> str:
    """To the millisecond, which is what the journal keeps."""
    return re.sub(r"\d+\.\d+", lambda number: f"{float(number[0]):.3f}", repr(history))


async def test_a_new_time_is_the_time_of_the_write_and_a_known_one_stays(
    redis: Redis, journal: RedisJournal, lease: Lease
) -> None:
    """A cooldown counts from the platform's answer, and not from the reading before it."""
    first = (await take(journal, lease, note())).history
    recalled = await journal.recall("w")

    async def has_passed() -> bool:
        return (await journal.recall("w")).now > recalled.now + 0.01

    await until(has_passed, "10 ms of the server's time")
    changed = replace(recalled.history, last_up=recalled.now, last_down=recalled.now - 5)
    written = await journal.write("w", recalled, changed, lease, now=recalled.now)
    last_up, last_down = written.history.last_up, written.history.last_down
    assert last_up is not None
    assert last_up == written.now > recalled.now
    assert last_down == pytest.approx(recalled.now - 5, abs=0.001)
    assert (written.history.since, written.history.recommendations) == (first.since, first.recommendations)


async def test_each_write_raises_the_revision_and_what_was_taken_back_is_deleted(
    redis: Redis, journal: RedisJournal, lease: Lease
) -> None:
    await take(journal, lease, note(), record(), accept())
    held = await redis.hgetall(HASH)
    assert held["revision"] == "3"
    assert {"intent", "start_at", "last_up"} <= held.keys()
    await take(journal, lease, settle(Settled.NEVER_SENT, 1))
    after = await redis.hgetall(HASH)
    assert after["revision"] == "4"
    assert after["memory"] == held["memory"]
    gone = {name for name in held if name not in after}
    assert {"intent", "intent_at", "intent_previous", "last_up"} <= gone


async def test_fields_of_another_version_stay(redis: Redis, journal: RedisJournal, lease: Lease) -> None:
    await redis.hset(HASH, "of_version_9", "@")
    await take(journal, lease, note(), record(), settle())
    assert await redis.hget(HASH, "of_version_9") == "@"


async def test_a_holder_without_the_lease_writes_nothing(redis: Redis, journal: RedisJournal, lease: Lease) -> None:
    await take(journal, lease, note(), record())
    before = await redis.hgetall(HASH)
    for step in (note(), record(replace(UP, id="another")), accept(), settle(), change_from_outside(2)):
        with pytest.raises(LeaseLost):
            await take(journal, STRANGER, step)
    with pytest.raises(LeaseLost):
        await journal.publish({"w": "{}"}, STRANGER)
    assert await redis.hgetall(HASH) == before
    assert (await journal.watch(["w"])).published == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("revision", "99", id="another controller wrote it"),
        pytest.param("raised", "1", id="a standby gave a time back"),
        pytest.param("memory", "other", id="it was emptied and began anew"),
        pytest.param("run", "other", id="another server process wrote it"),
    ],
)
async def test_a_history_that_was_written_meanwhile_is_not_replaced(
    redis: Redis, journal: RedisJournal, lease: Lease, name: str, value: str
) -> None:
    recalled = await take(journal, lease, note())
    await redis.hset(HASH, name, value)
    before = await redis.hgetall(HASH)
    with pytest.raises(Outrun, match="newer data than this decision"):
        await journal.write("w", recalled, record()(recalled.history, recalled.now), lease, now=recalled.now)
    assert await redis.hgetall(HASH) == before


async def test_a_history_that_was_lost_meanwhile_is_not_written(
    redis: Redis, journal: RedisJournal, lease: Lease
) -> None:
    recalled = await take(journal, lease, note())
    await redis.delete(HASH)
    with pytest.raises(Outrun):
        await journal.write("w", recalled, record()(recalled.history, recalled.now), lease, now=recalled.now)
    assert await redis.exists(HASH) == 0


async def test_nothing_is_written_on_another_server_process_than_was_read(stoppable_servers: Servers) -> None:
    """A failover with all data: what the new process has lost is only found by reading it again."""
    async with connect(stoppable_servers.redis_url) as client:
        assert isinstance(client, Redis)
        journal, lease = RedisJournal(client, KEYS, SystemClock()), await acquired(RedisLeases(client, KEYS), "me")
        recalled = await take(journal, lease, note())
        kept = [(key, await client.dump(key)) for key in await client.keys("*")]
        stoppable_servers.stop_redis()
        stoppable_servers.start_redis()

        async def is_back() -> bool:
            try:
                return bool(await client.ping())
            except Exception:  # noqa: BLE001  # the first command may only find that its connection is gone
                return False

        await until(is_back, "Redis to answer again")
        for key, value in kept:
            assert value is not None, "nothing expires within this test"
            await client.restore(key, 60_000 if key == KEYS.lease else 0, value, replace=True)
        before = await client.hgetall(HASH)
        with pytest.raises(Outrun):
            await journal.write("w", recalled, record()(recalled.history, recalled.now), lease, now=recalled.now)
        assert await client.hgetall(HASH) == before
        again = await take(journal, lease, record())
        assert again.history.change is not None


async def test_a_write_whose_answer_was_lost_is_found_by_the_next_reading_and_is_not_repeated(
    journal: RedisJournal, lease: Lease
) -> None:
    recalled = await take(journal, lease, note())
    changed = record()(recalled.history, recalled.now)
    first = await journal.write("w", recalled, changed, lease, now=recalled.now)
    with pytest.raises(Outrun):
        await journal.write("w", recalled, changed, lease, now=recalled.now)
    assert (await journal.recall("w")).history == first.history


async def test_timestamps_from_the_future_become_now_and_are_written_so(
    redis: Redis, journal: RedisJournal, lease: Lease
) -> None:
    now = (await take(journal, lease, note())).now
    tomorrow = str(round((now + 86_400) * 1000))
    names = ("last_up", "last_down", "since", "unbroken_since", "wanted_at", "read_at", "refused_at")
    await redis.hset(HASH, mapping=dict.fromkeys(names, tomorrow))
    await redis.hset(HASH, "wants", f"{tomorrow}:9")
    recalled = await journal.recall("w")
    assert (recalled.history.last_up, recalled.history.recommendations) == (recalled.now, ())
    written = await take(journal, lease, note())
    held = await redis.hgetall(HASH)
    assert {held[name] for name in names} == {str(round(written.now * 1000))}


@pytest.mark.parametrize(
    "fields",
    [
        {"last_up": "abc"},
        {"last_up": "9" * 30},
        {"count": "x"},
        {"intent": "alone"},
        {"last_down": b"\xff"},
        {"memory": b"\xff"},
        {"memory": "m", "revision": "many"},
        {"wants": "3"},
        {"wants": "x:3"},
        {"start_at": "1"},
    ],
)
async def test_what_is_not_ours_in_our_hash_is_unavailable_and_no_crash(
    redis: Redis, journal: RedisJournal, fields: dict[str, str]
) -> None:
    for name, value in fields.items():
        await redis.hset(HASH, name, value)
    before = await redis.hgetall(HASH)
    with pytest.raises(Unavailable, match="not ours"):
        await journal.recall("w")
    assert await redis.hgetall(HASH) == before


@pytest.mark.parametrize("key", [HASH, KEYS.past("w")], ids=["the record", "the recommendations of the version before"])
async def test_a_key_of_ours_that_holds_another_kind_is_unavailable(
    redis: Redis, journal: RedisJournal, key: str
) -> None:
    await redis.lpush(key, "x")
    with pytest.raises(Unavailable, match=f"{re.escape(HASH)} or .* that is not ours"):
        await journal.recall("w")


async def test_all_keys_of_ours_share_one_hash_tag(redis: Redis, lease: Lease) -> None:
    journal = RedisJournal(redis, KEYS, SystemClock(), {"w": "service"})
    await take(journal, lease, note())
    await journal.publish({"w": "{}"}, lease)
    names = [str(name) for name in await redis.keys("*")]
    assert {name.removeprefix("{autoscaler:env}:") for name in names} == {
        *("lease", "epoch", "leader", "cycles", "records", "worker:w"),
    }


# --- what the leader publishes ---


async def test_what_is_published_replaces_what_was(journal: RedisJournal, lease: Lease) -> None:
    await journal.publish({"a": "1", "b": "2"}, lease)
    await journal.publish({"b": "3"}, lease)
    assert (await journal.watch(["w"])).published == {"b": "3"}


async def test_what_no_leader_would_publish_is_not_even_sent_to_a_standby(journal: RedisJournal, lease: Lease) -> None:
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


@pytest.mark.parametrize("key", [KEYS.leader, KEYS.cycles, HASH], ids=["the leader", "the cycles", "a record"])
async def test_a_key_of_another_kind_is_named_to_a_standby_which_shows_the_others(
    redis: Redis, journal: RedisJournal, lease: Lease, key: str
) -> None:
    await scale_up(journal, lease)
    await journal.publish({"w": "{}"}, lease)
    await redis.delete(key)
    await redis.lpush(key, "x")
    state = await journal.watch(["w"])
    assert state.problems == (f"{key} is not a hash; check it (TYPE), and DEL it",)
    assert (state.leader is not None) is (key != KEYS.leader)
    assert state.published == ({} if key == KEYS.cycles else {"w": "{}"})


async def test_a_malformed_record_is_named_to_a_standby_and_stays_as_it_is(
    redis: Redis, journal: RedisJournal, lease: Lease
) -> None:
    await take(journal, lease, note())
    await redis.hset(HASH, "last_up", "soon")
    before = await redis.hgetall(HASH)
    assert (await journal.watch(["w"])).problems == (f"{HASH} has a malformed field; check it (HGETALL), and DEL it",)
    assert await redis.hgetall(HASH) == before


# --- the rate limit ---


class At:
    """A clock that stands still, by default 59.5 s into the minute that begins at 1700000040."""

    def __init__(self, wall: float = 1_700_000_099.5) -> None:
        self.now = wall

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return 0.0


LIMIT = RateLimit(rpm=60)


async def test_the_usage_is_read_from_the_minute_in_epoch_seconds(redis: Redis) -> None:
    await redis.set("worker:rpm:1700000040", "17")
    assert await RedisRateLimit(redis, At()).used(LIMIT) == RateUsage(17, 60)


@pytest.mark.parametrize(("replicas", "share"), [(0, 60), (1, 60), (2, 30), (7, 8), (61, 0)])
async def test_the_share_is_the_limit_over_the_replicas(redis: Redis, replicas: int, share: int) -> None:
    rate_limit = RedisRateLimit(redis, At())
    shares = Shares.among(replicas, 60, 5)
    await rate_limit.share(LIMIT, shares)
    assert await redis.get("worker:config:per_worker_rpm") == str(share)
    assert (await rate_limit.used(LIMIT)).published == shares


async def test_a_usage_that_is_no_number_is_unavailable(redis: Redis) -> None:
    await redis.set("worker:rpm:1700000040", "many")
    with pytest.raises(Unavailable, match="does not hold a number"):
        await RedisRateLimit(redis, At()).used(LIMIT)


async def test_a_usage_of_another_kind_is_unavailable(redis: Redis) -> None:
    await redis.lpush("worker:rpm:1700000040", "x")
    with pytest.raises(Unavailable):
        await RedisRateLimit(redis, At()).used(LIMIT)


@pytest.mark.parametrize("held", ["nothing", "no number", "another kind"])
async def test_a_share_that_no_controller_wrote_leaves_the_usage_readable_and_is_replaced(
    redis: Redis, held: str
) -> None:
    rate_limit, shares = RedisRateLimit(redis, At()), Shares(60, 20, 5)
    await rate_limit.share(LIMIT, shares)
    await redis.set("worker:rpm:1700000040", "17")
    await redis.delete("worker:config:rpm_limit")
    if held == "no number":
        await redis.set("worker:config:rpm_limit", "6_0")
    elif held == "another kind":
        await redis.lpush("worker:config:rpm_limit", "x")
    usage = await rate_limit.used(LIMIT)
    assert (usage.used, usage.published) == (17, None)
    await rate_limit.share(LIMIT, shares)
    assert (await rate_limit.used(LIMIT)).published == shares


async def test_a_process_that_does_not_lead_any_more_publishes_no_share(redis: Redis) -> None:
    with pytest.raises(LeaseLost):
        await RedisRateLimit(redis, At(), may_write=lambda: False).share(LIMIT, Shares(60, 20, 5))
    assert await redis.keys("*") == []


# --- a Redis that cannot be reached ---


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
