"""Answers that need a reading of Redis: few readings at once, and each answer is shared for a time.

However many clients ask, the readings are as many as there are different questions; so 500 open pages cost the store
what one costs.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import NamedTuple

_AT_ONCE = 2
_MOST_KEPT = 24
_MOST_KEPT_BYTES = 4_000_000


class _Kept(NamedTuple):
    body: bytes
    until: float


class Readings:
    """Of all paths together that read the history."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(_AT_ONCE)
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._begun: dict[str, asyncio.Task[bytes]] = {}

    async def answer(self, question: str, keep_s: float, read: Callable[[], Awaitable[bytes]]) -> bytes:
        """The answer to this question, at most `keep_s` old. A failure is shared by those who wait, and not kept."""
        kept = self._kept.get(question)
        if kept is not None and time.monotonic() < kept.until:
            return kept.body
        begun = self._begun.get(question)
        if begun is None:
            begun = self._begun[question] = asyncio.create_task(self._read(question, keep_s, read))
            begun.add_done_callback(lambda _: self._begun.pop(question, None))
        return await asyncio.shield(begun)

    async def _read(self, question: str, keep_s: float, read: Callable[[], Awaitable[bytes]]) -> bytes:
        async with self._turn:
            body = await read()
        now = time.monotonic()
        for old in [one for one, kept in self._kept.items() if kept.until <= now]:
            del self._kept[old]
        self._kept[question] = _Kept(body, now + keep_s)
        self._kept.move_to_end(question)
        while len(self._kept) > _MOST_KEPT or sum(len(kept.body) for kept in self._kept.values()) > _MOST_KEPT_BYTES:
            self._kept.popitem(last=False)
        return body
