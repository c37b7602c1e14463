"""The rate-limit keys that the workers and the controller share; the policy names them."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from typing import cast

from controller.adapters.redis import SOURCE
from controller.adapters.redis.connection import Client, in_words, set_all
from controller.adapters.redis.keys import ask
from controller.core.model import RateUsage, Shares
from controller.core.ports import Clock, LeaseLost, Unavailable
from controller.policy import RateLimit as RateLimitPolicy

_MOST_DIGITS = 15
"""Digits of any count that a worker could reach."""
_LATE_S = 10.0
"""Workers that have used up their share begin the new minute up to this much late."""


class RedisRateLimit:
    """The rate-limit keys shared with the workers. The policy names them; they have no prefix of ours."""

    def __init__(self, redis: Client, clock: Clock, *, may_write: Callable[[], bool] = lambda: True) -> None:
        """may_write: whether we still lead. A leader that was frozen would otherwise publish an old share."""
        self._redis = redis
        self._clock = clock
        self._may_write = may_write
        self._counted: dict[str, dict[str, int]] = {}

    async def used(self, limit: RateLimitPolicy) -> RateUsage:
        """The requests of this minute and the one before, and the shares that the workers read.

        The keys of the requests end in the minute's start, in epoch *seconds*.

        The count of the minute before has no times: its requests are assumed to be spread evenly and _LATE_S late, so
        that a new minute does not look empty before the workers have begun it.
        """
        now = self._clock.wall()
        window = int(now // 60 * 60)
        usage = [limit.keys.usage.replace("<window>", str(start)) for start in (window, window - 60)]
        pipeline = self._redis.pipeline(transaction=False)  # one round trip, on a Cluster too
        for key in (*usage, *_share_keys(limit)):
            pipeline.get(key)
        answer = pipeline.execute(raise_on_error=False)
        found = await ask(cast("Awaitable[list[str | Exception | None]]", answer))
        current, before = map(_count, usage, found)
        known = self._counted.get(limit.keys.usage, {})
        before = max(before, known.get(usage[1], 0))  # the key may expire 65 s after its first request
        self._counted[limit.keys.usage] = {usage[0]: current, usage[1]: before}
        part = min(1.0, (60 + _LATE_S - (now - window)) / 60)
        recent = current + math.ceil(before * part - 1e-9)
        return RateUsage(current, limit.rpm, recent=recent, published=_published(found[2:]))

    async def share(self, limit: RateLimitPolicy, shares: Shares) -> None:
        """Publishes the share first: on a Cluster keys are written one by one, and workers obey this one."""
        values = dict(zip(_share_keys(limit), map(str, (shares.each, shares.limit, shares.max_workers)), strict=True))
        if not self._may_write():
            raise LeaseLost(
                "the lease expired before the shares were published; nothing was written and nothing is sent"
            )
        await ask(set_all(self._redis, values))


def _share_keys(limit: RateLimitPolicy) -> tuple[str, str, str]:
    """In the order in which they are written."""
    return limit.keys.per_worker_rpm, limit.keys.rpm_limit, limit.keys.max_workers


def _published(found: Sequence[str | Exception | None]) -> Shares | None:
    """None if one is missing, or is not what a controller writes: then all are written again."""
    values = [int(text) for text in found if isinstance(text, str) and _is_count(text)]
    if len(values) != len(found):
        return None
    each, limit, max_workers = values
    return Shares(limit, each, max_workers)


def _count(key: str, value: str | Exception | None) -> int:
    if isinstance(value, Exception):
        raise Unavailable(SOURCE, in_words(value))
    if value is not None and not _is_count(value):
        raise Unavailable(SOURCE, f"{key} does not hold a number; workers must count with INCR")
    return int(value or 0)


def _is_count(text: str) -> bool:
    return len(text) <= _MOST_DIGITS and text.isascii() and text.isdigit()
