"""The history in Redis: streams that a leader appends to, each bounded in number and in age.

Bytes, measured with 10,000 entries of the usual length: a change 257, a decision 81. What they add up to
is bounded by the numbers that are kept (core/timeline.py), whatever happens.
"""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, TypeVar, cast

from controller.adapters.redis import scripts
from controller.adapters.redis.connection import Client
from controller.adapters.redis.keys import Keys, ask, foreign_data, value_of
from controller.core.model import Lease
from controller.core.ports import Batch, LeaseLost, Page
from controller.core.timeline import (
    MINUTE_S,
    MINUTES_KEPT_S,
    MOST_DECIDED,
    MOST_HAPPENINGS,
    TEN_MINUTES_S,
    Decided,
    Happening,
    Sample,
)

T = TypeVar("T")
Found = tuple[str, dict[str, str]]
_LATE_S = 60.0
_WRITTEN_LATE = 200
"""An entry may be written this long after it happened, and this number of others before it."""
_AT_ONCE = 500
"""Entries of one reading, so that a long history never blocks the server."""


class RedisTimeline:
    """Of one group of controllers."""

    def __init__(self, redis: Client, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys
        self._append = redis.register_script(scripts.script("append"))

    async def append(self, batch: Batch, lease: Lease) -> None:
        keys = {self._keys.lease: 1}
        arguments: list[str] = [value_of(lease)]
        for key, ident, keep_s, most, fields in self._entries(batch):
            place = keys.setdefault(key, len(keys) + 1)
            pairs = [text for pair in fields.items() for text in pair]
            arguments += [
                str(place),
                ident,
                str(round(keep_s * 1000)),
                str(most),
                str(len(pairs)),
                *pairs,
            ]
        if len(arguments) == 1:
            return
        answer = await ask(self._append(keys=list(keys), args=arguments), list(keys))
        if answer[0] == scripts.LOST:
            raise LeaseLost("another replica holds the lease; the history is for that one to write")

    def _entries(self, batch: Batch) -> Iterator[tuple[str, str, float, int, dict[str, str]]]:
        """Key, ident, how long and how many entries of the key are kept, and the fields."""
        keep_s = batch.keep_s
        for happening in batch.happenings:
            yield self._keys.history, happening.ident, keep_s, MOST_HAPPENINGS, happening.as_fields()
        for worker, decided in batch.decided:
            yield self._keys.decided(worker), "", keep_s, MOST_DECIDED, _with_time(decided.as_text(), decided.at)
        day_s = min(keep_s, MINUTES_KEPT_S)
        for worker, sample in batch.minutes:
            fields = _with_time(sample.as_text(), sample.at)
            yield self._keys.minutes(worker), "", day_s, round(2 * day_s / MINUTE_S), fields
        for worker, sample in batch.tens:
            fields = _with_time(sample.as_text(), sample.at)
            yield self._keys.tens(worker), "", keep_s, round(2 * keep_s / TEN_MINUTES_S), fields

    async def happenings(self, since: float, until: float, *, most: int, after: str = "") -> Page:
        newest = f"({after}" if after else _id(until + _LATE_S)
        entries = await self._entries_of(self._keys.history, newest, since, most + 1)
        found = (Happening.from_fields(fields, _at(ident)) for ident, fields in entries[:most])
        more = entries[most - 1][0] if len(entries) > most else ""
        return Page(tuple(one for one in found if since <= one.at <= until), more)

    async def decided(self, worker: str, since: float, until: float, *, most: int) -> tuple[Decided, ...]:
        entries = await self._entries_of(self._keys.decided(worker), _id(until + _LATE_S), since, most + _WRITTEN_LATE)
        found = [one for one in _readable(Decided.from_text, entries) if since <= one.at <= until]
        return tuple(found[:most])

    async def samples(self, worker: str, since: float, until: float) -> tuple[Sample, ...]:
        every = []
        for key in (self._keys.minutes(worker), self._keys.tens(worker)):
            most = round((until - since) / MINUTE_S) + _AT_ONCE
            entries = await self._entries_of(key, _id(until + _LATE_S), since, most)
            found = (one for one in _readable(Sample.from_text, entries) if since <= one.at <= until)
            every.append(sorted(found, key=lambda one: one.at))
        minutes, tens = every
        first = minutes[0].at if minutes else float("inf")
        return (*(one for one in tens if one.at < first), *minutes)

    async def _entries_of(self, key: str, newest: str, since: float, most: int) -> list[Found]:
        """The newest first."""
        found: list[Found] = []
        while len(found) < most:
            count = min(_AT_ONCE, most - len(found))
            asked = cast("Awaitable[list[Any]]", self._redis.xrevrange(key, newest, _id(since), count=count))
            entries = await ask(asked, [key])
            try:
                found += [(str(ident), dict(fields)) for ident, fields in entries]
            except (ValueError, TypeError):
                raise foreign_data(key) from None
            if len(entries) < count:
                break
            newest = f"({found[-1][0]}"
        return found


def _with_time(text: str, at: float) -> dict[str, str]:
    return {"d": text, "t": f"{at:.3f}".rstrip("0").rstrip(".")} if at else {"d": text}


def _readable(read: Callable[[str, float], T], entries: Iterable[Found]) -> Iterator[T]:
    """Those that this version can read; another version may have written the others."""
    for ident, fields in entries:
        with contextlib.suppress(ValueError):
            yield read(fields.get("d", ""), float(fields.get("t") or _at(ident)))


def _id(at: float) -> str:
    return "+" if at == float("inf") else str(max(0, round(at * 1000)))


def _at(ident: str) -> float:
    milliseconds = ident.partition("-")[0]
    return int(milliseconds) / 1000 if milliseconds.isdigit() else 0.0
