"""What was told of, in Redis: a hash of short texts, which a new leader reads once.

It has no fence: a replica that has just lost its lease may write once more. What it writes is true all the same (a
target took a message); at worst a message comes twice. What is there is bounded by loop/alerts.py, and the hash ends
KEPT_S after the last change.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Mapping
from typing import Any, cast

from controller.adapters.redis.connection import Client
from controller.adapters.redis.keys import Keys, ask
from controller.core.notices import Mark

KEPT_S = 7 * 24 * 3600


class RedisMarks:
    """Of one group of controllers."""

    def __init__(self, redis: Client, keys: Keys) -> None:
        self._redis = redis
        self._key = keys.notified

    async def load(self) -> Mapping[str, Mark]:
        """What cannot be read is left out: another version may have written it."""
        fields = await ask(cast("Awaitable[dict[Any, Any]]", self._redis.hgetall(self._key)), [self._key])
        found = {}
        for ident, text in fields.items():
            with contextlib.suppress(ValueError):
                found[str(ident)] = Mark.from_text(str(text))
        return found

    async def save(self, changes: Mapping[str, Mark | None]) -> None:
        new: dict[Any, Any] = {ident: mark.as_text() for ident, mark in changes.items() if mark is not None}
        gone = [ident for ident, mark in changes.items() if mark is None]
        if gone:
            await ask(self._redis.hdel(self._key, *gone), [self._key])
        if new:
            await ask(self._redis.hset(self._key, mapping=new), [self._key])
        await ask(self._redis.pexpire(self._key, KEPT_S * 1000), [self._key])
