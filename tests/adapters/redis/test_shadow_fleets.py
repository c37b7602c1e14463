"""What a shadow policy has done is kept in Redis as it is, and what is no text of ours is left out."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from redis.asyncio import Redis

from controller.adapters.redis.keys import Keys
from controller.adapters.redis.shadow_fleets import RedisShadowFleets, fleet_of, text_of
from controller.core.model import History
from controller.core.shadow import Account, Moment, ShadowFleet
from tests.adapters.redis.test_record import histories
from tests.support.examples import examples

FLEET = ShadowFleet(
    "0123456789ab",
    3,
    1_800_000_000.25,
    History(since=1_700_000_000.0, count=3),
    Account(1_700_000_000.0, 7200.0, 21600.5, 14400.0, 30.0, 12.0, 900.0),
    "Tier",
    "15 jobs want 3 workers: 1 → 3",
    Moment(1_800_000_010.0, 15, 5, 2),
    20.5,
)
KEYS = Keys("autoscaler", "env")


@pytest.mark.costly
@settings(max_examples=examples(50), deadline=None)
@given(histories())
def test_any_history_is_read_as_it_was_written(history: History) -> None:
    fleet = replace(FLEET, history=history)
    assert fleet_of(text_of(fleet)) == fleet


def test_what_is_not_known_yet_stays_so() -> None:
    fleet = replace(FLEET, moment=None, service_s=None)
    assert fleet_of(text_of(fleet)) == fleet


@pytest.mark.parametrize(
    "change",
    [
        {"count": -1},
        {"count": True},
        {"since": "now"},
        {"account": [1.0]},
        {"account": None},
        {"moment": [1]},
        {"history": []},
        {"history": {"count": "many"}},
        {"service_s": 1e300},
        {"message": "x" * 100_000},
    ],
    ids=repr,
)
def test_a_text_of_another_kind_is_left_out(change: dict[str, Any]) -> None:
    assert fleet_of(json.dumps({**json.loads(text_of(FLEET)), **change})) is None
    assert fleet_of("[" * 10_000) is None


async def test_a_new_leader_reads_what_the_last_one_wrote_without_the_workers_that_are_gone(redis_url: str) -> None:
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        store = RedisShadowFleets(redis, KEYS)
        assert await store.load() == {}
        await store.save({"mail": FLEET, "video": FLEET}, ())
        await store.save({"mail": replace(FLEET, count=4)}, {"video"})
        await redis.hset(KEYS.shadow, "image", "nonsense")
        assert await store.load() == {"mail": replace(FLEET, count=4)}
        assert 0 < await redis.ttl(KEYS.shadow) <= 7 * 24 * 3600
