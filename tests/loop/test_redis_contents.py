"""Whatever stands under our keys in Redis: a standby goes on answering, a leader holds and says which key it is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any

import httpx
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from controller.adapters.redis.connection import connect
from controller.adapters.redis.keys import Keys
from controller.adapters.redis.listening_report import load_report
from controller.app import Controller
from controller.core.reasons import Reason
from controller.core.watch import Watch
from controller.loop.cycle import Outcome
from controller.policy import RateLimit, own_keys
from controller.web.server import application
from tests.support.examples import some
from tests.support.scene import WORKER, Scene

DEEP = "[" * 5000 + "]" * 5000
HALF = '"\\ud800"'
STATUS = '{"outcome": "held", "message": "m"}'
ENTRIES: dict[str, Any] = {
    "nothing": "",
    "not JSON": "{",
    "binary": b"\xff\xfe\x00",
    "null": "null",
    "a number": "17",
    "a list": "[]",
    "nested": DEEP,
    "nested within": f'{{"age_s": 1, "status": {{"outcome": "held", "more": {DEEP}}}}}',
    "nested, so that JSON can": f'{{"age_s": 1, "status": {{"outcome": "held", "more": {"[" * 400}{"]" * 400}}}}}',
    "no status": '{"age_s": 1}',
    "an empty status": '{"age_s": 1, "status": {}}',
    "a status that is a list": '{"age_s": 1, "status": [["outcome", "held"]]}',
    "an outcome that is a list": '{"age_s": 1, "status": {"outcome": ["held"]}}',
    "no age": f'{{"status": {STATUS}}}',
    "an age that is no number": f'{{"age_s": NaN, "status": {STATUS}}}',
    "an age without an end": f'{{"age_s": 1e999, "status": {STATUS}}}',
    "an age of long digits": f'{{"age_s": {"9" * 400}, "status": {STATUS}}}',
    "digits without an end": f'{{"age_s": {"9" * 5000}, "status": {STATUS}}}',
    "wrong types": '{"age_s": 1, "status": {"outcome": "held", "depth": "x", "reasons": {}, "message": 5, "at": [1]}}',
    "figures that are none": '{"age_s": 1, "status": {"outcome": "held", "depth": NaN, "running": 1e400}}',
    "huge figures": '{"age_s": 1, "status": {"outcome": "held", "max_workers": 999999999999999, "running": 9999999}}',
    "half a character": f'{{"age_s": 1, "status": {{"outcome": "held", "message": {HALF}, {HALF}: {HALF}}}}}',
    "remarks of another kind": '{"age_s": 1, "status": {"outcome": "held", "remarks": [1, {"text": [2]}, null]}}',
    "failing of another kind": f'{{"age_s": 1, "failing": [{HALF}], "status": {STATUS}}}',
    "markup": '{"age_s": 1, "status": {"outcome": "held", "message": "<script>alert(1)</script>"}}',
}
READABLE = {
    *("nested, so that JSON can", "huge figures", "remarks of another kind", "failing of another kind", "markup"),
}
"""Odd, and nothing in it is of another type than what stands there."""
STAMPS: tuple[str | bytes, ...] = ("", "x", "NaN", "inf", "-5", "1e3", "9" * 15, "9" * 40, "0x10", b"\xff", " 7 ", "٣")


@asynccontextmanager
async def served(controller: Controller) -> AsyncIterator[httpx.AsyncClient]:
    runner = web.AppRunner(application(controller.shown), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{runner.addresses[0][1]}") as client:
        yield client
    await runner.cleanup()


async def answers(client: httpx.AsyncClient) -> dict[str, Any]:
    """What /status says, where every page is answered."""
    for path, accept in (("/", "*/*"), ("/health", "*/*"), ("/metrics", "*/*"), ("/metrics", "text/plain")):
        answer = await client.get(path, headers={"Accept": accept})
        assert answer.status_code == 200, (path, answer.text)
        assert "<script>" not in answer.text, "only files are loaded"
    status = await client.get("/status")
    assert status.status_code == 200
    body: dict[str, Any] = json.loads(status.text, parse_constant=pytest.fail)
    return body


@pytest.fixture
async def keys(scene: Scene) -> Keys:
    return Keys("autoscaler", scene.environment["RAILWAY_ENVIRONMENT_ID"])


@pytest.mark.costly
async def test_whatever_stands_in_a_published_cycle_the_standby_answers_and_says_what_it_passed_over(
    scene: Scene, keys: Keys
) -> None:
    async with scene.controller() as leader:
        await leader.tick()
        good = str(await scene.redis.hget(keys.cycles, WORKER))
        for what in some(list(ENTRIES), every=2):
            said_before = len(scene.events("redis_warning"))
            # Each standby warns once, so that each case has its own; and it has seen nothing before.
            await scene.redis.delete(keys.cycles)
            async with scene.controller() as standby, served(standby.controller) as client:
                await scene.redis.hset(keys.cycles, WORKER, ENTRIES[what])
                await standby.controller.leadership.turn()
                status = await answers(client)
                assert (status["role"], status["trouble"]) == ("standby", None), what
                warnings = [warning["message"] for warning in scene.events("redis_warning")[said_before:]]
                if what in READABLE:
                    assert warnings == [], what
                else:
                    assert len(warnings) == 1, what
                    assert warnings[0].startswith(f"{keys.cycles}: the entry of {WORKER} "), what
                    assert status["status"] == "degraded", what
                await scene.redis.hset(keys.cycles, WORKER, good)
                await standby.controller.leadership.turn()
                assert (await answers(client))["workers"][WORKER]["depth"] == 0, what


LEADERS_FIELDS = ("holder", "epoch", "since", "until", "ttl", "released", "published")


@pytest.mark.parametrize("field", LEADERS_FIELDS)
async def test_whatever_stands_in_the_leader_s_hash_the_standby_answers(scene: Scene, keys: Keys, field: str) -> None:
    async with scene.controller() as leader, scene.controller() as standby, served(standby.controller) as client:
        await leader.tick()
        good: Any = await scene.redis.hgetall(keys.leader)
        for value in some(STAMPS, every=4, first=LEADERS_FIELDS.index(field)):
            await scene.redis.hset(keys.leader, field, value)
            await standby.controller.leadership.turn()
            status = await answers(client)
            assert (status["role"], status["trouble"]) == ("standby", None), value
            assert status["workers"][WORKER]["depth"] == 0, value
            assert (await leader.tick()).outcome is Outcome.HELD, value
            await scene.redis.delete(keys.leader)
            await scene.redis.hset(keys.leader, mapping=good)
            await standby.controller.leadership.turn()


OTHER_KINDS: dict[str, Any] = {
    "a string": lambda redis, key: redis.set(key, "x"),
    "a binary string": lambda redis, key: redis.set(key, b"\xff\x00"),
    "a list": lambda redis, key: redis.rpush(key, "x", b"\xff"),
    "a set": lambda redis, key: redis.sadd(key, "x"),
    "a sorted set": lambda redis, key: redis.zadd(key, {"x": 1}),
    "a hash": lambda redis, key: redis.hset(key, b"\xff", b"\xfe"),
    "a stream": lambda redis, key: redis.xadd(key, {"x": "y"}),
}


def places(keys: Keys) -> dict[str, str]:
    named = {name: getattr(keys, name) for name in ("lease", "epoch", "leader", "cycles", "records", "listening")}
    return {**named, "worker": keys.worker(WORKER), "past": keys.past(WORKER)}


PLACES = ("lease", "epoch", "leader", "cycles", "records", "listening", "worker", "past")


@pytest.mark.parametrize(
    ("place", "kind"),
    [
        pytest.param(place, kind, id=f"{kind} in place of {place}")
        for number, place in enumerate(PLACES)
        for kind in some(list(OTHER_KINDS), every=5, first=number)
    ],
)
async def test_under_whichever_key_something_of_another_kind_stands_no_page_fails_and_no_cycle_crashes(
    scene: Scene, keys: Keys, place: str, kind: str
) -> None:
    key = places(keys)[place]
    async with scene.controller() as leader, scene.controller() as standby, served(standby.controller) as client:
        await leader.tick()
        await scene.redis.delete(key)
        await OTHER_KINDS[kind](scene.redis, key)
        for _ in range(2):
            await standby.controller.leadership.turn()
            await answers(client)
            lease = leader.controller.leadership.lease
            (cycle,) = await leader.controller.runner.tick(lease)
            assert cycle.outcome in {Outcome.HELD, Outcome.FAILED, Outcome.FENCED}
            if cycle.outcome is Outcome.FAILED:
                assert cycle.reason is Reason.JOURNAL_UNAVAILABLE
                assert key in cycle.message
        status = await answers(client)
        if status["trouble"] is not None:
            assert key in status["trouble"]
            assert "DEL" in status["trouble"]
        async with connect(scene.environment["REDIS_URL"]) as client_of_redis:
            assert await load_report(client_of_redis, keys.listening) is None or place != "listening"


FIELDS = (
    *("memory", "revision", "raised", "last_up", "last_down", "since", "count", "intent", "intent_at", "intent_after"),
    *(
        "refused_at",
        "refused_to",
        "setbacks",
        "start_up",
        "start_at",
        "unseen_stop",
        "recommended_at",
        "window",
        "watch",
    ),
    *("unbroken_since", "read_at", "unread", "unread_at", "queue_seen", "service", "name", "run"),
)


OF_A_FIELD: tuple[str | bytes, ...] = (*STAMPS, "null", "[]", '{"short": 5}', DEEP)


@pytest.mark.costly
@pytest.mark.parametrize("first", [0, 9, 18], ids=lambda first: f"{FIELDS[first]} to {FIELDS[first + 8]}")
async def test_whatever_stands_in_a_field_of_the_journal_no_cycle_crashes_and_the_standby_answers(
    scene: Scene, keys: Keys, first: int
) -> None:
    key = keys.worker(WORKER)
    async with scene.controller() as leader, scene.controller() as standby, served(standby.controller) as client:
        await leader.tick()
        good: Any = await scene.redis.hgetall(key)
        for field in FIELDS[first : first + 9]:
            for value in some(OF_A_FIELD, every=16, first=FIELDS.index(field)):
                await scene.redis.delete(key)
                await scene.redis.hset(key, mapping=good)
                await scene.redis.hset(key, field, value)
                await standby.controller.leadership.turn()
                assert (await answers(client))["role"] == "standby", (field, value)
                cycle = await leader.tick()
                assert cycle.outcome in {Outcome.HELD, Outcome.FAILED}, (field, value)
                if cycle.outcome is Outcome.FAILED:
                    assert cycle.reason is Reason.JOURNAL_UNAVAILABLE, (field, value)
                    assert f"{key} or" in cycle.message, (field, value)
            await scene.redis.delete(key)
            await scene.redis.hset(key, mapping=good)
            assert (await leader.tick()).outcome is Outcome.HELD, field


async def test_a_remembered_recommendation_that_is_none_holds_and_names_its_key(scene: Scene, keys: Keys) -> None:
    wants: list[str | bytes] = ["x", "1", "1:x", "NaN:1", f"{'9' * 30}:1", b"\xff", "1:2 3", ":", "1:1e3"]
    async with scene.controller() as leader:
        await leader.tick()
        good: Any = await scene.redis.hgetall(keys.worker(WORKER))
        for want in wants:
            await scene.redis.hset(keys.worker(WORKER), "wants", want)
            cycle = await leader.tick()
            assert (cycle.outcome, cycle.reason) == (Outcome.FAILED, Reason.JOURNAL_UNAVAILABLE), want
            assert keys.worker(WORKER) in cycle.message, want
            await scene.redis.delete(keys.worker(WORKER))
            await scene.redis.hset(keys.worker(WORKER), mapping=good)
        assert (await leader.tick()).outcome is Outcome.HELD


async def test_a_recommendation_of_the_version_before_that_is_none_holds_and_names_its_key(
    scene: Scene, keys: Keys
) -> None:
    members: list[str | bytes] = ["", "x", "1:x:a", "NaN:1:a", f"{'9' * 30}:1:a", b"\xff"]
    async with scene.controller() as leader:
        await leader.tick()
        good: Any = await scene.redis.hgetall(keys.worker(WORKER))
        for member in members:
            seconds, _ = await scene.redis.time()
            remembered: dict[Any, float] = {member: seconds * 1000}
            await scene.redis.zadd(keys.past(WORKER), remembered)
            await scene.redis.hset(keys.worker(WORKER), "recommended_at", seconds * 1000)
            cycle = await leader.tick()
            assert (cycle.outcome, cycle.reason) == (Outcome.FAILED, Reason.JOURNAL_UNAVAILABLE), member
            assert keys.past(WORKER) in cycle.message, member
            await scene.redis.delete(keys.past(WORKER), keys.worker(WORKER))
            await scene.redis.hset(keys.worker(WORKER), mapping=good)
        assert (await leader.tick()).outcome is Outcome.HELD


@pytest.mark.parametrize(
    "said",
    [
        *("", "{", "null", "[]", "17", DEEP, '{"event": "e"}', b"\xff"),
        '{"event": "wake_unavailable", "message": "m", "at": NaN}',
        '{"event": "wake_unavailable", "message": "m", "at": 1e999}',
        f'{{"event": "wake_unavailable", "message": "m", "at": {"9" * 400}}}',
        '{"event": "wake_unavailable", "message": ["m"], "at": 1}',
        '{"event": "wake_unavailable", "message": "m", "at": 1, "more": 2}',
    ],
)
async def test_what_the_leader_left_of_listening_and_cannot_be_read_is_as_if_nothing_was_said(
    redis_url: str, said: str | bytes
) -> None:
    async with connect(redis_url) as client:
        await client.set("listening", said)
        assert await load_report(client, "listening") is None


async def test_what_an_earlier_policy_left_behind_is_told_whatever_stands_there(scene: Scene, keys: Keys) -> None:
    async with scene.controller() as controller:
        for value in STAMPS:
            await scene.redis.hset(keys.records, "gone", "old")
            await scene.redis.hset(keys.worker("old"), mapping={"count": value, "recommended_at": value, "name": value})
            await scene.redis.hset(keys.cycles, "older", value)
            await controller.controller.left_behind()


JSONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NUMBERS = st.integers() | st.floats() | JSONS


def part(*names: str) -> st.SearchStrategy[Any]:
    return st.fixed_dictionaries(dict.fromkeys(names, NUMBERS)) | JSONS


WATCHES = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("deployment", "running_since", "crashing_since", "exited_since"), NUMBERS),
        "short": part("since", "running", "configured"),
        "rollout": part("deployment", "status", "since"),
        "stall": part("since", "pending", "processing", "ready_at", "readings"),
        "contests": st.lists(part("at", "after"), max_size=2) | JSONS,
        "said": JSONS,
    },
)


@given(WATCHES | JSONS)
def test_whatever_stands_in_place_of_a_watch_it_becomes_one_whose_parts_can_be_reckoned_with(value: Any) -> None:
    watch = Watch.from_text(json.dumps(value)).by(1e9)
    parts = asdict(watch)
    for part in filter(None, (parts["short"], parts["rollout"], parts["stall"], *parts["contests"])):
        for name, number in part.items():
            assert number is None or isinstance(number, str) == (name in {"deployment", "status"})


OF_A_LEASE: tuple[str | bytes, ...] = (*STAMPS, "7:somebody", ":", "7:", "x:y:z", DEEP)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        pytest.param(place, value, id=f"{place} is {str(value)[:20]!r}")
        for number, place in enumerate(("lease", "epoch"))
        for value in some(OF_A_LEASE, every=3, first=number)
    ],
)
async def test_whatever_stands_in_the_lease_or_the_epoch_every_page_answers_and_no_cycle_crashes(
    scene: Scene, keys: Keys, place: str, value: str | bytes
) -> None:
    async with scene.controller() as leader, scene.controller() as standby, served(standby.controller) as client:
        await leader.tick()
        await scene.redis.set(places(keys)[place], value)
        for one in (leader, standby):
            await one.controller.leadership.turn()
        await answers(client)
        for one in (leader, standby):
            for cycle in await one.controller.runner.tick(one.controller.leadership.lease):
                assert cycle.outcome in {Outcome.HELD, Outcome.FAILED, Outcome.FENCED}


@pytest.mark.costly
async def test_whatever_stands_in_the_count_of_requests_the_cycle_goes_on_without_it(scene: Scene) -> None:
    await scene.jobs(10)
    for number, value in enumerate([*(one for one in STAMPS if one != "9" * 15), "many", DEEP], 1):
        await scene.count_requests(value)  # type: ignore[arg-type]  # whatever a stranger may put there
        async with scene.controller() as leader:  # each says it once
            assert (await leader.tick()).outcome in {Outcome.HELD, Outcome.APPLIED}, value
            assert len(scene.events("rate_unreadable")) == number, value


# --- keys of the rate limit that are our own ---


def every_key() -> Iterator[str]:
    keys = Keys("mine", "env")
    yield from (value for name, value in vars(keys).items() if not name.startswith("_"))
    yield from (keys.worker("w"), keys.past("w"))


@pytest.mark.parametrize("key", [*every_key(), "{mine:env}:<window>", "{mine:other}:rpm", "{else:where}:lease"])
def test_a_key_of_the_rate_limit_that_is_one_of_our_own_is_refused(key: str) -> None:
    limit = RateLimit.model_validate({"rpm": 60, "keys": {"max_workers": key}})
    ((path, problem),) = own_keys({"w": limit}, "mine")
    assert path == ("workers", "w", "rate_limit", "keys", "max_workers")
    assert f"is {key}, which has the form of the controller's own keys" in problem
    assert "choose another, such as worker:config:max_workers" in problem


@pytest.mark.parametrize("key", ["worker:rpm:<window>", "{worker}:rpm:<window>", "mine:rpm", "{a:b}:rpm", "lease"])
def test_a_key_that_is_not_ours_is_not_refused(key: str) -> None:
    limit = RateLimit.model_validate({"rpm": 60, "keys": {"rpm_limit": key}})
    assert list(own_keys({"w": limit}, "mine")) == []
