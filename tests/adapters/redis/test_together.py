"""Calls of scripts at the same time: few connections, and each with its own answer or its own error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from controller.adapters.clock import SystemClock
from controller.adapters.redis import together
from controller.adapters.redis.connection import connect
from controller.adapters.redis.journal import RedisJournal
from controller.adapters.redis.keys import Keys
from controller.core.ports import Recalled, Unavailable

KEYS = Keys("autoscaler", "env")
WORKERS = [f"worker-{number}" for number in range(60)]


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with connect(redis_url) as client:
        assert isinstance(client, Redis)
        yield client


@pytest.fixture
def journal(redis: Redis) -> RedisJournal:
    return RedisJournal(redis, KEYS, SystemClock())


async def recalled(journal: RedisJournal) -> list[Recalled | BaseException]:
    return await asyncio.gather(*map(journal.recall, WORKERS), return_exceptions=True)


async def test_many_calls_take_few_connections(
    redis: Redis, journal: RedisJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(together, "_MOST", 5)
    answers = await recalled(journal)
    assert all(isinstance(answer, Recalled) for answer in answers)
    assert len(redis.connection_pool._available_connections) <= together._AT_ONCE


async def test_each_call_has_its_own_answer(redis: Redis, journal: RedisJournal) -> None:
    for number, worker in enumerate(WORKERS):
        await redis.hset(KEYS.worker(worker), mapping={"count": str(number), "wants": ""})
    counts = [answer.history.count for answer in await recalled(journal) if isinstance(answer, Recalled)]
    assert counts == list(range(len(WORKERS)))


async def test_an_error_of_one_call_is_not_that_of_another(redis: Redis, journal: RedisJournal) -> None:
    await redis.set(KEYS.worker(WORKERS[7]), "not ours")
    answers = await recalled(journal)
    failed = [worker for worker, answer in zip(WORKERS, answers, strict=True) if isinstance(answer, Unavailable)]
    assert failed == [WORKERS[7]]
    assert KEYS.worker(WORKERS[7]) in str(answers[7])


async def test_a_server_that_has_forgotten_the_scripts_is_given_them_again(redis: Redis, journal: RedisJournal) -> None:
    await recalled(journal)
    await redis.script_flush()
    assert all(isinstance(answer, Recalled) for answer in await recalled(journal))


async def test_a_server_that_is_gone_is_unavailable_to_each(journal: RedisJournal, redis: Redis) -> None:
    gone = RedisJournal(connect("redis://127.0.0.1:1/0"), KEYS, SystemClock())
    assert all(isinstance(answer, Unavailable) for answer in await recalled(gone))


async def test_a_call_that_is_given_up_takes_no_other_with_it(journal: RedisJournal) -> None:
    calls = [asyncio.create_task(journal.recall(worker)) for worker in WORKERS]
    await asyncio.sleep(0)
    calls[3].cancel()
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert [type(answer) for answer in answers].count(Recalled) == len(WORKERS) - 1
    assert isinstance(await journal.recall(WORKERS[3]), Recalled)
