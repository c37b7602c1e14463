"""The journal alone, opened for commands that read neither queues nor the platform."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from controller.adapters.clock import SystemClock
from controller.adapters.redis.connection import connect
from controller.adapters.redis.journal import RedisJournal
from controller.adapters.redis.keys import Keys
from controller.configuration import JournalConfiguration


@asynccontextmanager
async def opened_journal(configuration: JournalConfiguration) -> AsyncIterator[RedisJournal]:
    """Connects with the first request."""
    settings = configuration.settings
    redis = connect(settings.redis_url.get_secret_value(), timeout_s=settings.timing.redis_timeout)
    keys = Keys(settings.key_prefix, settings.group)
    try:
        yield RedisJournal(redis, keys, SystemClock(), services=configuration.policy.services)
    finally:
        await redis.aclose()
