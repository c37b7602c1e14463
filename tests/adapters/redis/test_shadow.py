"""What Redis has lost is given back by the processes that remember it; what was only given back is not news.

What is given back after which loss is in tests/core/test_history.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from redis.asyncio import Redis

from controller.adapters.clock import SystemClock
from controller.adapters.redis.journal import RedisJournal
from controller.adapters.redis.keys import Keys
from controller.adapters.redis.leases import RedisLeases
from controller.adapters.redis.shadow import Shadow
from controller.core.budget import Spent, Tally
from controller.core.history import Known
from controller.core.model import Lease
from controller.core.override import Overrides
from controller.core.ports import Bid, NotAcquired, Outrun, Settled, Unavailable
from tests.support.journal_steps import UP, accept, note, record, scale_up, settle, take

MOMENT_S = 30.0
"""More than any call takes here, and less than anything is aged by."""
KEYS = Keys("autoscaler", "env")
HASH = KEYS.worker("w")


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


@dataclass
class Copy:
    """The record as it is now, to come back later, as an older snapshot of Redis does."""

    redis: Redis
    fields: dict[Any, Any]

    @classmethod
    async def of(cls, redis: Redis) -> Copy:
        return cls(redis, await redis.hgetall(HASH))

    async def comes_back(self) -> None:
        await self.redis.delete(HASH)
        await self.redis.hset(HASH, mapping=self.fields)


async def test_the_leader_that_remembers_gives_back_to_an_emptied_redis(redis: Redis, journal: RedisJournal) -> None:
    at = await scale_up(journal, await acquired(redis))
    await redis.flushdb()
    history, now, *_ = await take(journal, await acquired(redis), note())
    assert history.last_up == pytest.approx(at, abs=MOMENT_S)
    assert (history.count, history.since) == (3, now)


async def test_an_open_change_outlasts_an_emptied_redis(redis: Redis, journal: RedisJournal, lease: Lease) -> None:
    change = (await take(journal, lease, note(), record())).history.change
    assert change is not None
    await redis.flushdb()
    lease = await acquired(redis)
    given = (await take(journal, lease, note())).history.change
    assert given is not None
    assert (given.id, given.after) == (change.id, 3)
    assert given.at == pytest.approx(change.at, abs=MOMENT_S)
    settled = (await take(journal, lease, settle(Settled.NEVER_SENT, 1))).history
    assert settled.last_up == pytest.approx(change.at, abs=MOMENT_S), "what it was before is lost, so that it stays"


async def test_reading_gives_back_and_writes_nothing(redis: Redis, journal: RedisJournal, lease: Lease) -> None:
    at = await scale_up(journal, lease)
    await redis.delete(HASH)
    assert (await journal.recall("w")).history.last_up == pytest.approx(at, abs=MOMENT_S)
    assert await redis.exists(HASH) == 0


async def test_a_standby_that_watched_gives_back_without_the_lease(
    redis: Redis, journal: RedisJournal, standby: RedisJournal, lease: Lease
) -> None:
    at = await scale_up(journal, lease)
    await standby.watch(["w"])
    await redis.flushdb()
    await standby.watch(["w"])
    newcomer = RedisJournal(redis, KEYS, SystemClock())
    history = (await take(newcomer, await acquired(redis, "newcomer"), note())).history
    assert history.last_up == pytest.approx(at, abs=MOMENT_S)


async def test_a_standby_that_has_seen_nothing_writes_nothing(redis: Redis, standby: RedisJournal) -> None:
    for _ in range(2):
        await standby.watch(["w"])
    assert await redis.keys("*") == []


@pytest.mark.parametrize("loss", ["emptied", "rolled back"])
async def test_a_standby_gives_back_an_open_change_too(
    redis: Redis, journal: RedisJournal, standby: RedisJournal, lease: Lease, loss: str
) -> None:
    """The leader died while it was open, and what it requested may still land."""
    await take(journal, lease, note())
    older = await Copy.of(redis)
    change = (await take(journal, lease, record())).history.change
    assert change is not None
    await standby.watch(["w"])
    if loss == "emptied":
        await redis.flushdb()
    else:
        await older.comes_back()
    await standby.watch(["w"])
    newcomer = RedisJournal(redis, KEYS, SystemClock())
    lease = await acquired(redis, "newcomer") if loss == "emptied" else lease
    given = (await take(newcomer, lease, note())).history.change
    assert given is not None
    assert given.id == change.id
    assert given.at == pytest.approx(change.at, abs=MOMENT_S)
    await take(newcomer, lease, settle())
    await standby.watch(["w"])
    assert (await take(newcomer, lease, note())).history.change is None, "what is settled stays settled"


async def test_a_redis_that_came_back_with_older_data_gets_back_what_it_lost(
    redis: Redis, journal: RedisJournal, lease: Lease
) -> None:
    await take(journal, lease, note())
    older = await Copy.of(redis)
    at = await scale_up(journal, lease)
    await older.comes_back()
    for _ in range(2):  # reading it makes it no less rolled back
        assert (await journal.recall("w")).history.count == 3
    history, now, *_ = await take(journal, lease, note())
    assert history.last_up == pytest.approx(at, abs=MOMENT_S)
    assert (history.count, history.since) == (3, now)
    await redis.hset(HASH, "since", str(round((now - 500) * 1000)))
    again = (await journal.recall("w")).history
    assert again.since == pytest.approx(now - 500, abs=0.001), "what was given back is not rolled back any more"


@pytest.mark.parametrize("loss", ["emptied", "rolled back"])
async def test_a_standby_gives_back_once(
    redis: Redis, journal: RedisJournal, standby: RedisJournal, lease: Lease, loss: str
) -> None:
    await take(journal, lease, note())
    older = await Copy.of(redis)
    await scale_up(journal, lease)
    await standby.watch(["w"])
    await (redis.delete(HASH) if loss == "emptied" else older.comes_back())
    await standby.watch(["w"])
    given = await redis.hgetall(HASH)
    assert given["raised"] == "1"
    await standby.watch(["w"])
    assert await redis.hgetall(HASH) == given


async def test_a_standby_that_was_outrun_gives_back_with_its_next_look(
    redis: Redis, journal: RedisJournal, standby: RedisJournal, lease: Lease
) -> None:
    at = await scale_up(journal, lease)
    await standby.watch(["w"])
    await redis.hincrby(HASH, "last_up", -300_000)
    write: Any = standby._write

    async def after_another(**what: Any) -> Any:
        await redis.hincrby(HASH, "raised", 1)
        return await write(**what)

    standby._write = after_another  # type: ignore[assignment]
    await standby.watch(["w"])
    assert int(await redis.hget(HASH, "last_up") or 0) / 1000 == pytest.approx(at - 300, abs=0.001)
    standby._write = write
    await standby.watch(["w"])
    assert int(await redis.hget(HASH, "last_up") or 0) / 1000 == pytest.approx(at, abs=MOMENT_S)


async def test_what_a_standby_gave_back_hides_no_rollback_from_a_leader_that_knows_more(
    redis: Redis, journal: RedisJournal, standby: RedisJournal, lease: Lease
) -> None:
    await take(journal, lease, note())
    older = await Copy.of(redis)
    await take(journal, lease, record())
    await standby.watch(["w"])
    await take(journal, lease, accept(), settle(), record(replace(UP, id="two", before=3, after=5)))
    await older.comes_back()
    await standby.watch(["w"])
    assert await redis.hget(HASH, "intent") == "up", "the standby knows of the first change only"
    change = (await journal.recall("w")).history.change
    assert change is not None
    assert change.id == "two"


async def test_a_standby_that_gives_back_makes_the_leader_read_again(
    redis: Redis, journal: RedisJournal, standby: RedisJournal, lease: Lease
) -> None:
    await scale_up(journal, lease)
    await standby.watch(["w"])
    await redis.hincrby(HASH, "last_up", -300_000)
    recalled = await RedisJournal(redis, KEYS, SystemClock()).recall("w")
    await standby.watch(["w"])
    with pytest.raises(Outrun):
        await journal.write("w", recalled, recalled.history, lease, now=recalled.now)


async def test_another_process_of_the_server_puts_the_history_in_doubt_until_it_is_written(
    redis: Redis, journal: RedisJournal, lease: Lease
) -> None:
    since = (await take(journal, lease, note())).history.since
    assert since is not None
    await redis.hset(HASH, mapping={"run": "the process before this one", "since": str(round((since - 500) * 1000))})
    recalled = await journal.recall("w")
    assert recalled.history.since == recalled.now
    written = await take(journal, lease, note())
    assert written.history.since == written.now
    assert (await journal.recall("w")).history.since == written.now


async def test_a_clock_that_jumped_ahead_makes_no_timestamp_older(
    redis: Redis, journal: RedisJournal, standby: RedisJournal, lease: Lease
) -> None:
    at = await scale_up(journal, lease)
    for teller in (journal, standby):
        await standby.watch(["w"])
        await redis.hincrby(HASH, "last_up", -300_000)  # as a clock that is five minutes ahead would show it
        if teller is standby:
            await teller.watch(["w"])
        else:
            await take(teller, lease, note())
        assert int(await redis.hget(HASH, "last_up") or 0) / 1000 == pytest.approx(at, abs=MOMENT_S)


@pytest.mark.costly
async def test_a_replica_ignores_its_own_messages(
    redis: Redis, journal: RedisJournal, standby: RedisJournal, lease: Lease
) -> None:
    """Otherwise a cooldown would begin again with every look, and nothing would ever scale."""
    at = await scale_up(journal, lease)
    for _ in range(50):
        await standby.watch(["w"])
        history = (await take(journal, lease, note())).history
    assert history.last_up == at
    assert await redis.hget(HASH, "raised") is None, "nothing was given back"


async def test_a_cooldown_that_was_given_back_stays_given_back(
    journal: RedisJournal, standby: RedisJournal, lease: Lease
) -> None:
    await take(journal, lease, note(), record())
    await standby.watch(["w"])
    await take(journal, lease, settle(Settled.NEVER_SENT, 1))
    await standby.watch(["w"])
    await standby.watch(["w"])
    history = (await take(journal, lease, note())).history
    assert (history.last_up, history.change) == (None, None)


# --- the copy of one record; ages by the process's own clock ---

REDIS_MS = 1_790_000_000_000
ASKED_AT = 5000.0


def copied(*readings: tuple[int, int]) -> Known:
    """After readings at the same moment; each is (the revision, ms since last_up by the server's clock)."""
    shadow = Shadow()
    for revision, ago in readings:
        fields = {"memory": "m", "revision": str(revision), "last_up": str(REDIS_MS - ago)}
        shadow.note(fields, REDIS_MS, ASKED_AT)
    known = shadow.known(ASKED_AT + 10)
    assert known is not None
    return known


@pytest.mark.parametrize(
    ("readings", "age"),
    [
        pytest.param([(1, 30_000)], 40, id="the age goes on with the process's own clock"),
        pytest.param([(1, 30_000), (1, 300_000)], 40, id="the server's clock jumped ahead"),
        pytest.param([(1, 30_000), (2, 300_000)], 310, id="an earlier time was written on purpose"),
        pytest.param([(5, 30_000), (4, 300_000)], 40, id="the record was rolled back"),
        pytest.param([(1, 30_000), (1, 28_500)], 40, id="the same event, given back by another process"),
        pytest.param([(1, 30_000), (1, 27_500)], 37.5, id="a later event"),
        pytest.param([(1, 30_000), (2, 28_500)], 38.5, id="a later event that was written soon after"),
        pytest.param([(1, -3_600_000)], 10, id="a time from the future counts as now, and grows old"),
        pytest.param([(1, -3_600_000), (1, -3_600_000)], 10, id="a time from the future that is read again"),
    ],
)
def test_the_age_of_a_time_is_what_this_process_knows_of_it(readings: list[tuple[int, int]], age: float) -> None:
    assert copied(*readings).up_age == pytest.approx(age)


def test_how_long_ago_an_operator_changed_something_goes_on_with_the_process_s_own_clock() -> None:
    shadow, changed_at = Shadow(), REDIS_MS / 1000 - 5
    fields = {"memory": "m", "revision": "1", "overrides": Overrides(changed_at).as_text()}
    shadow.note(fields, REDIS_MS, ASKED_AT)
    shadow.note({**fields, "revision": "2"}, REDIS_MS - 300_000, ASKED_AT + 7)  # its clock was set back
    known = shadow.known(ASKED_AT + 10)
    assert known is not None
    assert (known.overrides.changed_at, known.overrides_age) == (changed_at, 15)


def test_of_an_emptied_record_it_learns_what_others_gave_back_and_what_an_operator_asked_for_since() -> None:
    shadow, now = Shadow(), REDIS_MS / 1000

    def fields(worker_s: float, changed_at: float) -> dict[str, str]:
        spent = Spent(now, 2, {"hour UTC": Tally(now - 60, now - 60, worker_s)})
        return {"spent": spent.as_text(), "overrides": Overrides(changed_at).as_text()}

    def known() -> tuple[float, float]:
        one = shadow.known(ASKED_AT)
        assert one is not None
        assert one.spent is not None
        return one.spent.tallies["hour UTC"].worker_s, one.overrides.changed_at

    shadow.note({"memory": "m", "revision": "1", **fields(50, now - 20)}, REDIS_MS, ASKED_AT)
    shadow.note(fields(40, now - 30), REDIS_MS, ASKED_AT)
    assert known() == (50, now - 20)
    shadow.note(fields(60, now - 5), REDIS_MS, ASKED_AT)
    assert known() == (60, now - 5)


def test_a_time_that_was_deleted_by_a_write_is_forgotten_and_one_that_was_lost_is_not() -> None:
    shadow = Shadow()
    shadow.note({"memory": "m", "revision": "1", "last_up": str(REDIS_MS)}, REDIS_MS, ASKED_AT)
    shadow.note({"memory": "m", "revision": "1"}, REDIS_MS, ASKED_AT)
    assert shadow.known(ASKED_AT) == Known(up_age=0.0)
    shadow.note({"memory": "m", "revision": "2"}, REDIS_MS, ASKED_AT)
    assert shadow.known(ASKED_AT) == Known()


# --- the lease, where Redis forgets it ---


async def test_a_lease_that_vanished_before_its_time_is_waited_for(redis: Redis, lease: Lease) -> None:
    await redis.delete(KEYS.lease)
    held = await RedisLeases(redis, KEYS).acquire(Bid("you"), 60)
    assert isinstance(held, NotAcquired)
    assert 0 < held.wait <= 60


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


async def test_a_renewal_restores_what_else_of_the_lease_was_lost(redis: Redis, lease: Lease) -> None:
    """Otherwise each successor would first wait for a process that may remember more."""
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
