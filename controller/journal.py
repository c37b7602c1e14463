"""The journal and the history alone, opened for commands that read neither queues nor the platform."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from controller.adapters.clock import SystemClock
from controller.adapters.redis.connection import Client, connect
from controller.adapters.redis.journal import RedisJournal
from controller.adapters.redis.keys import Keys
from controller.adapters.redis.timeline import RedisTimeline
from controller.configuration import JournalConfiguration


@asynccontextmanager
async def opened_journal(configuration: JournalConfiguration) -> AsyncIterator[RedisJournal]:
    """Connects with the first request."""
    async with _connected(configuration) as (redis, keys):
        yield RedisJournal(redis, keys, SystemClock(), services=configuration.policy.target_ids)


@asynccontextmanager
async def opened_timeline(configuration: JournalConfiguration) -> AsyncIterator[RedisTimeline]:
    """The same for the history."""
    async with _connected(configuration) as (redis, keys):
        yield RedisTimeline(redis, keys)


@asynccontextmanager
async def _connected(configuration: JournalConfiguration) -> AsyncIterator[tuple[Client, Keys]]:
    settings = configuration.settings
    redis = connect(settings.redis_url.get_secret_value(), timeout_s=settings.timing.redis_timeout)
    try:
        yield redis, Keys(settings.key_prefix, settings.group)
    finally:
        await redis.aclose()
