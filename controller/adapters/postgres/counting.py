"""Counts the jobs of several queues on one connection, in one transaction and one round trip.

Here belongs what such a transaction holds, how its answers become depths, and the end of a query of the policy's own
that goes on after its timeout. readings.py decides which queues share one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeGuard

import psycopg
from psycopg import sql

from controller.adapters.postgres import SOURCE
from controller.adapters.postgres import own_query as postgres_own
from controller.adapters.postgres.bounded_count import ExactCounts, Limits, Wanted
from controller.adapters.postgres.connection import AS_PLANNED, BY_INDEX, Answer, Statement, as_bytes, setting
from controller.adapters.postgres.lane import Lane
from controller.adapters.postgres.lookup import Lookup, key_of
from controller.adapters.postgres.own_query import OwnReading, end_overdue
from controller.adapters.postgres.query import reading_of
from controller.adapters.postgres.statements import Place
from controller.core.model import QueueDepth
from controller.core.ports import DepthRequest, Unavailable
from controller.core.units import in_words
from controller.policy import Queue as QueuePolicy

# Behind an idle primary a standby replays nothing, and the age of the last transaction grows without any lag. So the
# lag is 0 if all that was received is replayed and a process still receives.
_LAG = """
SELECT CASE WHEN pg_is_in_recovery() THEN
  CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0
  ELSE coalesce(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 'infinity') END END::float8
"""


class Asked(NamedTuple):
    """One queue to count. wanted: its exact count. limits: of the bounded one. timeout_s: if it is read alone.

    ahead_s: seconds within which jobs count as due soon; 0: none does. holders: who holds jobs is asked for.
    """

    queue: QueuePolicy
    wanted: Wanted
    limits: Limits
    timeout_s: float
    ahead_s: float = 0.0
    holders: bool = False

    @classmethod
    def of(cls, request: DepthRequest, timeout_s: float) -> Asked:
        """timeout_s: unless the policy sets queue.timeout."""
        queue, limit, enough, busy, ahead_s, holders = request
        wanted, limits = Wanted(key_of(queue), limit), Limits.bounded(limit, enough, busy)
        return cls(queue, wanted, limits, timeout_s if queue.timeout is None else queue.timeout, ahead_s, holders)

    @property
    def key(self) -> str:
        return self.wanted.key


class Counting:
    """What is known from one reading to the next: exact counts, and queries that may still run on the server."""

    def __init__(self, lookup: Lookup, oldest_s: float) -> None:
        """oldest_s: the largest lag of a standby; the data of one further behind is unavailable."""
        self._lookup = lookup
        self.oldest_s = oldest_s
        self._exact = ExactCounts()
        self._rendered: dict[str, tuple[tuple[Place, Limits, float, bool], bytes | OwnReading]] = {}
        """By key, the last statements that counted a queue, and what they were made of."""
        self._cleared: set[str] = set()
        """Queues of which no query of an earlier process runs any more."""
        self._in_doubt: set[str] = set()
        """Queues whose last query may still run."""

    async def prepare(self, lane: Lane, batch: Sequence[Asked], timeout_s: float) -> None:
        """Looks up, all together, how these queues are read, as far as that is due.

        Raises:
            psycopg.Error: the connection was lost, or could not be opened.
        """
        await self._lookup.prepare(lane, {one.key: one.queue for one in batch if one.queue.sql is None}, timeout_s)

    async def depths(self, lane: Lane, batch: Sequence[Asked], timeout_s: float) -> list[QueueDepth | Unavailable]:
        """The depth of each, in order; Unavailable where only that one cannot be read.

        Raises:
            psycopg.Error: a statement failed, so that none of them could be read.
            Unavailable: the same, with the reason.
        """
        depths = await self._counted(lane, batch, timeout_s)
        now = asyncio.get_running_loop().time()
        bounded = [(one, depth) for one, depth in zip(batch, depths, strict=True) if _was_counted(depth)]
        due = [one for one, depth in bounded if self._exact.are_due(one.wanted, depth, one.limits, now)]
        if due:
            await self._count_exactly(lane, due, now, timeout_s)
        return [
            self._complete(one, depth) if _was_counted(depth) else depth
            for one, depth in zip(batch, depths, strict=True)
        ]

    def _complete(self, one: Asked, depth: QueueDepth) -> QueueDepth:
        exact = self._exact.complete(one.wanted, depth, one.limits)
        return replace(exact, lag_s=depth.lag_s, remarks=depth.remarks, holders=depth.holders)

    async def _count_exactly(self, lane: Lane, due: Sequence[Asked], now: float, timeout_s: float) -> None:
        """Counts up to `limit`, for display only: if it fails, the bounded reading is still valid."""
        for one in due:
            self._exact.give_up(one.wanted, now)  # replaced below if the count ends; so any failure counts as given up
            try:
                limits = Limits(one.wanted.limit, one.wanted.limit)
                (depth,) = await self._counted(lane, [one._replace(limits=limits, holders=False)], timeout_s)
            except (psycopg.Error, Unavailable):
                if lane.is_lost:
                    raise
            else:
                if _was_counted(depth):
                    self._exact.keep(one.wanted, depth, now)

    async def _counted(self, lane: Lane, batch: Sequence[Asked], timeout_s: float) -> list[QueueDepth | Unavailable]:
        """Reads each queue once, in one transaction. The policy's own queries come last.

        Each of these is rolled back to a savepoint, as it may change settings (search_path) for the next statements.
        """
        at_work = await self._overdue_queries(lane, [one.queue for one in batch], timeout_s)
        asked = {index: one for index, one in enumerate(batch) if one.key not in at_work}
        statements: list[Statement] = [setting(BY_INDEX)]
        place_of: dict[int, int] = {}
        own: dict[int, OwnReading] = {}
        for index, one in asked.items():
            if one.queue.sql is not None:
                continue
            reading = await self._reading(lane, one, timeout_s)
            if isinstance(reading, bytes):
                place_of[index] = len(statements)
                statements.append(reading)
            else:
                own[index] = reading.shifted(len(statements))
                statements += reading.statements
        lag_at = len(statements) + 1
        statements += [setting(AS_PLANNED), sql.SQL(_LAG).format()]
        for index, one in asked.items():
            if one.queue.sql is not None:
                own[index] = OwnReading.of(one.queue, one.key).shifted(len(statements))
                statements += own[index].statements
        place_of |= {index: one.depth for index, one in own.items()}
        answers = await self._read(lane, statements, timeout_s, [asked[index].key for index in own])
        ((lag_s,),) = answers[lag_at].rows
        self._refuse_what_is_old(lag_s)
        depths: list[QueueDepth | Unavailable] = []
        for index, one in enumerate(batch):
            if index not in asked:
                depths.append(at_work[one.key])
                continue
            depth = _depth(one, answers[place_of[index]], lag_s)
            remarks = own[index].remarks(one.queue, answers) if index in own else ()
            depths.append(replace(depth, remarks=(*depth.remarks, *remarks)) if _is_depth(depth) else depth)
        if any(answers[reading.left].rows for reading in own.values()):
            await lane.drop()
        return depths

    async def _reading(self, lane: Lane, one: Asked, timeout_s: float) -> bytes | OwnReading:
        """The statements that count it: rendered once for as long as nothing of them changes."""
        place = (await self._lookup.find(lane, one.queue, timeout_s)).place
        parts = (place, one.limits, one.ahead_s, one.holders)
        known = self._rendered.get(one.key)
        if known is not None and known[0][0] is place and known[0] == parts:
            return known[1]
        depth = place.depth(*one.limits, one.ahead_s, holders=one.holders)
        connection = (await lane.reader()).connection
        reading: bytes | OwnReading
        if one.queue.has_own_sql:
            reading = OwnReading.of(one.queue, one.key, depth).rendered(connection)
        else:
            reading = as_bytes(depth, connection)
        self._rendered[one.key] = parts, reading
        return reading

    async def _read(
        self, lane: Lane, statements: Sequence[Statement], timeout_s: float, own: Collection[str]
    ) -> list[Answer]:
        """own: the keys of queues with the policy's own SQL. Each is in doubt until its query has certainly ended."""
        self._in_doubt.update(own)
        try:
            return await (await lane.reader()).read(statements, timeout_s, watched=bool(own))
        finally:
            if not lane.is_lost:
                self._in_doubt.difference_update(own)

    async def _overdue_queries(
        self, lane: Lane, queues: Sequence[QueuePolicy], timeout_s: float
    ) -> dict[str, Unavailable]:
        """The error, by key, of each queue whose query still runs after its timeout, in any process that sent it.

        Such a queue is not read again until that query has ended, so that at most one backend works for it.
        """
        new = {key_of(queue) for queue in queues if queue.has_own_sql} - self._cleared
        doubted = {
            key_of(queue): (queue, timeout_s if key_of(queue) in self._in_doubt else timeout_s + postgres_own.GRACE_S)
            for queue in queues
            if key_of(queue) in self._in_doubt | new
        }
        if not doubted:
            return {}
        at_work = await end_overdue(await lane.reader(), doubted)
        self._cleared |= doubted.keys()
        self._in_doubt = (self._in_doubt - doubted.keys()) | at_work.keys()
        return at_work

    async def end_overdue(self, lane: Lane, one: Asked) -> Unavailable | None:
        """After a reading that lost its connection: ends its query from a new one; None if none runs any more."""
        if not lane.is_lost or one.key not in self._in_doubt:
            return None
        try:
            found = await lane.guarded(
                one.queue, lambda: self._overdue_queries(lane, [one.queue], one.timeout_s), one.timeout_s
            )
        except Unavailable:
            return None
        return found.get(one.key)

    def _refuse_what_is_old(self, lag_s: float | None) -> None:
        if lag_s is None or lag_s <= self.oldest_s:
            return
        behind = in_words(lag_s) if math.isfinite(lag_s) else "an unknown time"
        limit = in_words(self.oldest_s)
        words = f"is a standby that is {behind} behind its primary; the limit is {limit} (3 intervals)"
        raise Unavailable(SOURCE, f"{words}; set DATABASE_URL to the primary's address")


def _is_depth(depth: QueueDepth | Unavailable) -> TypeGuard[QueueDepth]:
    return isinstance(depth, QueueDepth)


def _was_counted(depth: QueueDepth | Unavailable) -> TypeGuard[QueueDepth]:
    """Whether our own statement counted it, up to a limit. A depth from queue.sql has no limit."""
    return isinstance(depth, QueueDepth) and depth.limit is not None


def _depth(asked: Asked, answer: Answer, lag_s: float | None) -> QueueDepth | Unavailable:
    if asked.queue.sql is not None:
        try:
            return replace(reading_of(answer.columns, answer.rows), lag_s=lag_s)
        except Unavailable as unavailable:
            return unavailable
    ((pending, age, processing, stale, soon, *more),) = answer.rows
    known = age is not None and math.isfinite(age)  # a timestamp may be infinity
    oldest = max(0.0, float(age)) if known else None
    (holders,) = more or (None,)
    return QueueDepth(
        pending,
        processing,
        oldest,
        stale,
        asked.limits.waiting,
        lag_s,
        soon=soon,
        ahead_s=asked.ahead_s,
        holders=None if holders is None else tuple(holders),
    )
