"""A history as a record in Redis: what is written is read again, by this version and by the one before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from controller.adapters.clock import SystemClock
from controller.adapters.redis.journal import RedisJournal
from controller.adapters.redis.keys import Keys
from controller.adapters.redis.leases import RedisLeases
from controller.adapters.redis.record import NOW, Stored, Write, history_of, write_of
from controller.core.history import noted
from controller.core.load import Load
from controller.core.model import Change, Direction, History, Lease, LongRun, Recommendation, Start
from controller.core.override import Blocks, Kind, Override, Overrides
from controller.core.pauses import PLACES, rounded
from controller.core.ports import Bid, CycleNote, Retention, Settled
from controller.core.slo import Promise, Tally
from controller.core.watch import Contest, Rollout, Short, Stall, Watch
from tests.adapters.redis.version_before import Version01
from tests.support.examples import examples
from tests.support.journal_steps import UP, note, record, scale_up, settle, take
from tests.virtual import scripts
from tests.virtual.store import Store

READ_MS = 1_790_000_000_500
"""When the record was read: the `now` of a write."""
WRITTEN_MS = READ_MS + 777
"""When the script runs."""
HASH, LEASE, RECORDS = "worker", "lease", "records"
_NEXT_STAMP_S = 0.002
"""After this Redis' time is another millisecond: what is read and what fails in the same one can't be told apart."""

# --- every history ---

STAMPS = st.one_of(st.integers(READ_MS - 10**9, READ_MS - 1), st.just(READ_MS)).map(lambda ms: ms / 1000)
MAYBE = st.none() | STAMPS
COUNTS = st.integers(0, 500)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\ufffd"), min_size=1, max_size=20)
IDS = st.text("0123456789abcdef", min_size=1, max_size=32)
SECONDS = st.integers(0, 10**9).map(lambda ms: ms / 1000)


def watches() -> st.SearchStrategy[Watch]:
    since = st.floats(1, 2e9)
    return st.builds(
        Watch,
        deployment=st.none() | WORDS,
        running_since=st.none() | since,
        crashing_since=st.none() | since,
        exited_since=st.none() | since,
        short=st.none() | st.builds(Short, since, COUNTS, COUNTS),
        rollout=st.none() | st.builds(Rollout, WORDS, WORDS, since),
        stall=st.none() | st.builds(Stall, since, COUNTS, COUNTS, st.none() | since, COUNTS),
        contests=st.lists(st.builds(Contest, since, COUNTS), max_size=3).map(tuple),
        said=st.lists(WORDS, max_size=3).map(tuple),
    )


FLOATS = st.floats(0, 1e12, allow_nan=False)


def pauses() -> st.SearchStrategy[tuple[tuple[float, ...], ...]]:
    """Of some workers, the last of which has one."""
    each = st.lists(st.floats(0, 2000).map(rounded), max_size=4).map(tuple)
    return st.lists(each, max_size=PLACES).map(tuple).filter(lambda every: not every or bool(every[-1]))


def overrides() -> st.SearchStrategy[Overrides]:
    one = st.builds(
        Override,
        ident=IDS,
        kind=st.sampled_from(Kind),
        author=WORDS,
        at=st.integers(1, READ_MS - 1).map(lambda ms: ms / 1000),
        until=STAMPS,
        why=st.just("") | WORDS,
        replicas=COUNTS,
        blocks=st.sampled_from(Blocks),
        is_forced=st.booleans(),
    )
    return st.builds(Overrides, STAMPS, st.lists(one, max_size=2).map(tuple))


@st.composite
def promises(draw: st.DrawFn) -> Promise:
    late, more, at_max = draw(COUNTS), draw(COUNTS), draw(COUNTS)
    span = st.tuples(STAMPS, STAMPS).map(lambda pair: (min(pair), max(pair)))
    return Promise(
        integral=draw(st.floats(-4, 2)),
        learned_at=draw(MAYBE),
        newest=draw(st.none() | FLOATS),
        tally=Tally(late, late + more, at_max),
        spans=draw(st.lists(span, max_size=3).map(tuple)),
        is_at_max=draw(st.booleans()),
    )


@st.composite
def histories(draw: st.DrawFn) -> History:
    """Any that the steps of core/history.py can lead to."""
    last_up, last_down, remembered_at, read_at = draw(MAYBE), draw(MAYBE), draw(MAYBE), draw(MAYBE)
    unread_at = draw(MAYBE)
    # read_before() moves a stamp by a millisecond, which must leave the two apart.
    is_unread = unread_at is not None and unread_at >= max(remembered_at or 0.0, read_at or 0.0) + _NEXT_STAMP_S
    recommended = draw(st.lists(st.builds(Recommendation, STAMPS, COUNTS), max_size=6))
    change = None
    if draw(st.booleans()):
        before, after = draw(st.tuples(COUNTS, COUNTS).filter(lambda pair: pair[0] != pair[1]))
        at = draw(STAMPS)
        scaled_at = last_up if Direction.between(before, after) is Direction.UP else last_down
        change = Change(
            id=draw(IDS),
            epoch=draw(st.integers(0, 10**10)),
            before=before,
            after=after,
            at=at,
            # The cooldown counts from the platform's answer, so both are one field.
            accepted_at=(at if scaled_at is None else scaled_at) if draw(st.booleans()) else None,
            stops=draw(st.none() | WORDS),
            within=draw(st.just("") | WORDS),
            previous=draw(MAYBE),
        )
    return History(
        last_up=last_up,
        last_down=last_down,
        since=draw(MAYBE),
        unbroken_since=draw(MAYBE),
        remembered_at=remembered_at,
        window=draw(SECONDS),
        recommendations=tuple(sorted(recommended, key=lambda one: one.at)),
        change=change,
        count=draw(st.none() | COUNTS),
        refused_at=draw(MAYBE),
        refused_to=draw(st.none() | COUNTS),
        setbacks=draw(COUNTS),
        unconfirmed_stop=draw(st.none() | WORDS),
        apart_s=draw(st.none() | SECONDS),
        pauses=draw(pauses()),
        kept_s=draw(st.lists(st.none() | SECONDS, max_size=5).map(tuple)),
        learned_at=draw(MAYBE),
        long_run=draw(st.none() | st.builds(LongRun, FLOATS, st.integers(1, LongRun.MOST), FLOATS)),
        load=draw(st.none() | st.builds(Load, st.floats(0, 2), st.integers(0, 86_400), STAMPS)),
        promise=draw(st.none() | promises()),
        start_ups=draw(st.lists(SECONDS, max_size=9).map(tuple)),
        queue_seen=draw(st.just("") | WORDS),
        schedule=draw(st.just("") | WORDS),
        scaled_within=draw(st.sampled_from(("", "0..5", "1..2 0a1b2c3d"))),
        start=draw(st.none() | st.builds(Start, STAMPS, COUNTS, COUNTS, MAYBE)),
        read_at=read_at,
        unread=draw(st.integers(1, 99)) if is_unread else 0,
        unread_at=unread_at if is_unread else None,
        watch=draw(watches()),
        overrides=draw(overrides()),
    )


def read_before(history: History) -> History:
    """The same, with no timestamp that is as new as the reading."""
    return moved(history, -0.001)


def as_written(history: History) -> History:
    return moved(history, (WRITTEN_MS - READ_MS) / 1000)


def moved(history: History, seconds: float) -> History:
    """Timestamps that equal the reading's time are moved by so much."""
    now = READ_MS / 1000

    def at(stamp: float | None) -> float | None:
        return round(stamp + seconds, 3) if stamp == now else stamp

    change, start = history.change, history.start
    return replace(
        history,
        last_up=at(history.last_up),
        last_down=at(history.last_down),
        since=at(history.since),
        unbroken_since=at(history.unbroken_since),
        remembered_at=at(history.remembered_at),
        learned_at=at(history.learned_at),
        refused_at=at(history.refused_at),
        read_at=at(history.read_at),
        unread_at=at(history.unread_at),
        recommendations=tuple(Recommendation(at(one.at) or 0.0, one.replicas) for one in history.recommendations),
        change=change
        and replace(change, at=at(change.at) or 0.0, accepted_at=at(change.accepted_at), previous=at(change.previous)),
        start=start and replace(start, at=at(start.at) or 0.0, seen=at(start.seen)),
    )


def after_write(held: Mapping[str, str], write: Write) -> dict[str, str]:
    """The record after the script has run; tests/virtual compares this model of it with a real server."""
    store = Store("run", now=WRITTEN_MS)
    store.data[HASH] = {"memory": "m", **held}
    sets = [text for name, value in write.values.items() for text in (name, value, str(int(name in write.stamped)))]
    guards = ["", "m", "", "", "", "run", "", ""]
    answer = scripts.write(store, [LEASE, HASH, RECORDS], [*guards, str(len(write.deleted)), *write.deleted, *sets])
    assert answer[0] == "ok"
    return dict(store.hash(HASH))


def written(held: Mapping[str, str], history: History) -> dict[str, str]:
    return after_write(held, write_of(Stored(held, "run"), history, READ_MS / 1000))


@pytest.mark.costly
@settings(max_examples=examples(15, 1000))
@given(before=histories(), after=histories())
def test_any_history_that_replaces_any_other_is_read_as_it_was_written(before: History, after: History) -> None:
    held = written({}, read_before(before))
    assert history_of(held) == read_before(before)
    read = history_of(written(held, after))
    assert read == as_written(after)
    # What equality leaves out:
    assert (read.change and read.change.previous) == (after.change and as_written(after).change.previous)  # type: ignore[union-attr]


@pytest.mark.costly
@given(history=histories())
def test_a_history_that_was_read_and_not_changed_writes_nothing(history: History) -> None:
    held = written({}, history)
    write = write_of(Stored(held, "run"), history_of(held), WRITTEN_MS / 1000)
    assert (dict(write.values), list(write.deleted)) == ({}, [])


@pytest.mark.costly
@given(before=histories(), after=histories(), others=st.dictionaries(st.text("xyz", min_size=1), WORDS))
def test_fields_of_another_version_stay_as_they_are(before: History, after: History, others: dict[str, str]) -> None:
    held = written(written(others, read_before(before)), after)
    assert {name: held.get(name) for name in others} == others


@pytest.mark.costly
@given(history=histories())
def test_only_times_are_replaced_by_the_time_of_the_script(history: History) -> None:
    """A queue, a deployment or the conditions may hold the same character."""
    texts = replace(history, queue_seen=NOW, unconfirmed_stop=NOW, watch=Watch(deployment=NOW))
    read = history_of(written({}, texts))
    assert (read.queue_seen, read.unconfirmed_stop, read.watch.deployment) == (NOW, NOW, NOW)


@given(ms=st.integers(1, 10**9), unit=st.sampled_from([0.001, 0.06, 3.6]))
def test_a_window_of_any_policy_is_no_longer_than_the_one_that_was_written_for_it(ms: int, unit: float) -> None:
    """Otherwise each reading would break the recommendations, and no worker would ever be removed."""
    keep = Retention(ms * unit, 31.0)
    history = noted(History(), CycleNote(3, 1), keep, READ_MS / 1000)
    read = history_of(written({}, history))
    assert noted(read, CycleNote(3, 1), keep, WRITTEN_MS / 1000 + 1).unbroken_since == read.unbroken_since


# --- the record of the version before ---

MS = "1790000000000"


def test_recommendations_of_version_before_are_read_from_its_sorted_set() -> None:
    fields = {"memory": "m", "recommended_at": MS, "window": "60000"}
    history = history_of(fields, [f"{int(MS) - 9000}:4:name", f"{MS}:2:other"])
    at = int(MS) / 1000
    assert history.recommendations == (Recommendation(at - 9, 4), Recommendation(at, 2))
    assert (history.remembered_at, history.window) == (at, 60)


def test_a_sorted_set_that_version_before_has_left_behind_is_not_read_again() -> None:
    """This version has taken its members over, and prunes them."""
    history = history_of({"memory": "m", "wanted_at": MS, "wants": f"{MS}:2"}, [f"{int(MS) - 9000}:4:name"])
    assert [one.replicas for one in history.recommendations] == [2]


def test_a_reading_of_version_before_is_newer_than_what_this_version_left_before() -> None:
    """This version deletes `recommended_at`, so where it stands, 0.1 has read the queue since."""
    later = str(int(MS) + 9000)
    history = history_of({"wanted_at": MS, "wants": f"{MS}:2", "recommended_at": later}, [f"{later}:4:name"])
    assert history.remembered_at == int(later) / 1000
    assert [one.replicas for one in history.recommendations] == [2, 4]


def test_failures_that_version_before_counted_before_its_last_reading_do_not_count() -> None:
    """It leaves the number, and notes a reading as a recommendation alone."""
    fields = {"unread": "2", "unread_at": MS, "recommended_at": str(int(MS) + 9000)}
    assert history_of(fields).unread == 0
    assert history_of({**fields, "recommended_at": str(int(MS) - 9000)}).unread == 2


def test_a_change_that_version_before_gave_back_keeps_its_cooldown() -> None:
    """It marks by `=` that the scale before it is not known."""
    fields = {"intent": "i", "intent_epoch": "1", "intent_before": "1", "intent_after": "3", "intent_at": MS}
    change = history_of({**fields, "intent_previous": "=", "last_up": MS}).change
    assert change is not None
    assert change.previous == int(MS) / 1000


def test_a_stopped_deployment_of_an_earlier_change_is_not_that_of_the_open_one() -> None:
    fields = {"intent": "i", "intent_epoch": "1", "intent_before": "3", "intent_after": "1", "intent_at": MS}
    change = history_of({**fields, "intent_stops": "earlier:deployment"}).change
    assert change is not None
    assert change.stops is None


# --- a rolling deploy on a real Redis: old → new → old ---

KEYS = Keys("autoscaler", "env")
RECORD = KEYS.worker("w")
DOWN = Change("down", 1, 3, 1, at=0.0, stops="deployment")


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


async def leading(redis: Redis, holder: str) -> Lease:
    """The lease, given back by the one before, as at the end of a deploy."""
    leases = RedisLeases(redis, KEYS)
    epoch, _, before = str(await redis.get(KEYS.lease) or "0:").partition(":")
    await leases.release(Lease(before, int(epoch)))
    lease = await leases.acquire(Bid(holder, seen_epoch=int(epoch)), 60)
    assert isinstance(lease, Lease)
    return lease


async def old_version(redis: Redis, holder: str = "old") -> Version01:
    return Version01(redis, KEYS, await leading(redis, holder))


def new_version(redis: Redis) -> RedisJournal:
    return RedisJournal(redis, KEYS, SystemClock())


async def test_the_new_version_takes_over_cooldowns_recommendations_and_the_unbroken_time(redis: Redis) -> None:
    old = await old_version(redis)
    await old.remember(4, 1)
    await old.record(UP)
    await old.accept(UP)
    held = await old.settle(UP, "applied", 3)
    held = await old.remember(2, 3)
    history = (await new_version(redis).recall("w")).history
    stamps = (history.last_up, history.since, history.unbroken_since, history.remembered_at)
    assert stamps == tuple(int(held[name]) / 1000 for name in ("last_up", "since", "unbroken_since", "recommended_at"))
    assert (history.count, [one.replicas for one in history.recommendations]) == (3, [4, 2])
    after = (await take(new_version(redis), await leading(redis, "new"), note(1, 3))).history
    assert (after.last_up, after.since, after.unbroken_since) == (
        history.last_up,
        history.since,
        history.unbroken_since,
    )
    assert [one.replicas for one in after.recommendations] == [4, 2, 1]


@pytest.mark.parametrize("is_accepted", [True, False], ids=["accepted", "not accepted"])
@pytest.mark.parametrize("change", [UP, DOWN], ids=["a scale-up", "a scale-down"])
async def test_an_open_change_goes_from_the_old_version_to_the_new_one_and_back(
    redis: Redis, change: Change, *, is_accepted: bool
) -> None:
    old = await old_version(redis)
    await old.remember(4, change.before)
    before = await old.record(change)
    if is_accepted:
        before = await old.accept(change)
    names = [name for name in before if name.startswith(("intent", "last_"))]
    journal, lease = new_version(redis), await leading(redis, "new")
    found = (await take(journal, lease, note(1, change.before))).history.change
    assert found is not None
    assert (found.id, found.before, found.after, found.stops) == (change.id, change.before, change.after, change.stops)
    assert (found.at, found.is_accepted) == (int(before["intent_at"]) / 1000, is_accepted)
    after = await (await old_version(redis, "old again")).remember(1, change.before)
    assert {name: after.get(name) for name in names} == {name: before[name] for name in names}


async def test_a_change_that_the_new_version_recorded_is_settled_by_the_old_one_and_the_other_way_round(
    redis: Redis,
) -> None:
    old = await old_version(redis)
    await old.remember(4, 1)
    first = await scale_up(new_version(redis), await leading(redis, "new"))
    await redis.hincrby(RECORD, "last_up", -90_000)
    again = replace(UP, id="again", before=3, after=5)
    await take(new_version(redis), await leading(redis, "new again"), record(again))
    old = await old_version(redis, "old again")
    await old.remember(5, 3)
    held = await old.settle(again, "never sent", 3)
    assert int(held["last_up"]) / 1000 == pytest.approx(first - 90, abs=0.001), "the cooldown before it counts again"
    await redis.hset(RECORD, "last_up", str(round((first - 80) * 1000)))
    await old.record(replace(again, id="third"))
    settled = await take(
        new_version(redis),
        await leading(redis, "new for good"),
        settle(Settled.NEVER_SENT, 3, replace(again, id="third")),
    )
    assert settled.history.last_up == pytest.approx(first - 80, abs=0.001)
    assert settled.history.change is None


async def test_a_cooldown_of_the_new_version_is_kept_by_the_old_one(redis: Redis) -> None:
    await (await old_version(redis)).remember(4, 1)
    at = await scale_up(new_version(redis), await leading(redis, "new"))
    held = await (await old_version(redis, "old again")).remember(1, 3)
    assert int(held["last_up"]) / 1000 == at
    assert held["count"] == "3"


async def test_the_old_version_that_comes_back_waits_for_a_whole_window(redis: Redis) -> None:
    """It does not see what the new version recommended meanwhile."""
    await (await old_version(redis)).remember(4, 1)
    await take(new_version(redis), await leading(redis, "new"), note(5, 1))
    old = await old_version(redis, "old again")
    held = await old.remember(1, 1)
    assert held["unbroken_since"] == held["recommended_at"], "unbroken from this reading on"
    assert int(held["unbroken_since"]) >= int(held["wanted_at"])
    assert await old.wanted() == [4, 1]


async def test_the_new_version_that_comes_back_knows_the_recommendations_of_both(redis: Redis) -> None:
    await (await old_version(redis)).remember(4, 1)
    await take(new_version(redis), await leading(redis, "new"), note(5, 1), note(3, 1))
    await (await old_version(redis, "old again")).remember(2, 1)
    history = (await take(new_version(redis), await leading(redis, "new again"), note(1, 1))).history
    assert [one.replicas for one in history.recommendations] == [5, 3, 2, 1]


async def test_failed_readings_of_the_queue_are_counted_on_over_both_versions(redis: Redis) -> None:
    old = await old_version(redis)
    await old.remember(4, 1)
    await asyncio.sleep(_NEXT_STAMP_S)
    await old.remember(None, 1, read=False)
    history = (await take(new_version(redis), await leading(redis, "new"), note(None, 1, read=False))).history
    assert history.unread == 2
    held = await (await old_version(redis, "old again")).remember(None, 1, read=False)
    assert held["unread"] == "3"
    history = (await take(new_version(redis), await leading(redis, "new again"), note(1, 1))).history
    assert history.unread == 0
    await asyncio.sleep(_NEXT_STAMP_S)
    held = await (await old_version(redis, "and old")).remember(None, 1, read=False)
    assert held["unread"] == "1", "the new version has read it meanwhile"


async def test_a_standby_of_the_new_version_gives_back_to_the_old_one_and_takes_no_recommendation_from_it(
    redis: Redis,
) -> None:
    """The old version leads on, or dies: whichever comes next must still see the window as it was."""
    old = await old_version(redis)
    await old.remember(4, 1)
    await old.record(UP)
    before = await old.settle(UP, "applied", 3)
    standby = new_version(redis)
    await standby.watch(["w"])
    await redis.hincrby(RECORD, "last_up", -300_000)
    await standby.watch(["w"])
    held = await redis.hgetall(RECORD)
    assert held["raised"] == "1"
    assert int(held["last_up"]) == pytest.approx(int(before["last_up"]), abs=30_000)
    history = (await new_version(redis).recall("w")).history
    assert [one.replicas for one in history.recommendations] == [4]
    after = await old.remember(2, 3)
    assert after["unbroken_since"] == before["unbroken_since"], "the old one goes on as if nothing had been"
