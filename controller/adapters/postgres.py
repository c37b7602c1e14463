"""PostgreSQL: how many jobs wait and run, for all workers in one round trip on one connection."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, TypeVar

import psycopg
from psycopg import sql

from controller.adapters.postgres_connection import (
    AS_PLANNED,
    BY_INDEX,
    CONNECT_TIMEOUT_S,
    Answer,
    Reader,
    read_within,
    setting,
)
from controller.adapters.postgres_rights import tables_named
from controller.adapters.postgres_service_time import measured
from controller.adapters.postgres_words import in_words
from controller.adapters.queues.far import FarCounts, Stops, Wanted
from controller.adapters.queues.places import Located, located, table_names
from controller.adapters.queues.query import depth_of
from controller.model import QueueDepth, Rest, ServiceTime
from controller.policy import Queue as QueuePolicy
from controller.ports import Source, Unavailable

T = TypeVar("T")
_LOOK_AGAIN_S = 300.0
_PATIENT_S = 10.0
"""Where a person waits for one answer."""


@dataclass(eq=False)
class _Asked:
    """A reading that somebody waits for."""

    queue: QueuePolicy
    wanted: Wanted
    stops: Stops
    answer: QueueDepth | Unavailable | None = None


class PostgresQueue:
    """Reads the depth of queues: a table of the user's own, a library's tables, or what a query says."""

    def __init__(self, dsn: str, *, timeout_s: float) -> None:
        self._dsn = dsn
        self._timeout_s = timeout_s
        self._kept: Reader | None = None
        self._located: dict[str, tuple[Located, float]] = {}
        self._far = FarCounts()
        self._waiting: list[_Asked] = []
        self._failed_last: set[str] = set()
        # One connection serves all queues of the database, one reading at a time.
        self._turn = asyncio.Lock()

    async def depth(self, queue: QueuePolicy, limit: int, enough: int = 0, busy: int = 0) -> QueueDepth:
        """Pending (ready now), processing, stale, and the seconds that the oldest ready job has been ready.

        Every reading counts up to `enough`, and jobs in work up to `busy`: beyond, nobody decides otherwise. What is
        beyond is for people to see: it is counted up to `limit` as often as that costs little (see queues/far.py).
        Readings that are asked for at the same moment share one round trip.
        """
        asked = _Asked(queue, Wanted(_key(queue), limit), Stops.near(limit, enough, busy))
        if asked.wanted.key in self._failed_last:
            await asyncio.sleep(0)  # whoever can be read goes first, and waits for nobody else
            async with self._turn:
                asked.answer = await self._alone(asked)
        else:
            await self._along(asked)
        if isinstance(asked.answer, Unavailable):
            raise asked.answer
        assert asked.answer is not None, "whoever has the turn answers everybody"
        return asked.answer

    async def _along(self, asked: _Asked) -> None:
        """With all others that are asked for in this moment."""
        self._waiting.append(asked)
        try:
            async with self._turn:
                await asyncio.sleep(0)  # whoever asks in this moment goes along
                if asked.answer is None:
                    await self._answer_all(asked)
        finally:
            if asked in self._waiting:
                self._waiting.remove(asked)

    async def rest(self, queue: QueuePolicy, limit: int) -> Rest:
        """Scheduled and failed jobs, which no cycle needs: these counts may have no index to go by.

        Raises:
            Unavailable: also where they take too long.
        """
        if queue.sql is not None:
            return Rest(None, None, limit)
        async with self._turn:
            scheduled, failed = await self._guarded(queue, lambda: self._rest_of(queue, limit))
        return Rest(scheduled, failed, limit)

    async def channels(self, queue: QueuePolicy) -> tuple[str, ...]:
        """The NOTIFY channels that announce its jobs: the policy's own, or the library's."""
        if queue.wake_on is not None:
            return (queue.wake_on,)
        if queue.preset is None:
            return ()
        async with self._turn:
            return (await self._guarded(queue, lambda: self._find(queue))).channels

    async def every_channel(self, queues: Iterable[QueuePolicy]) -> set[str]:
        """Of all queues that can tell: one that cannot be read now takes no other's wake-ups away.

        Raises:
            Unavailable: none can tell, and one cannot be read.
        """
        known: set[str] = set()
        unknown: Unavailable | None = None
        for queue in queues:
            try:
                known |= set(await self.channels(queue))
            except Unavailable as unavailable:
                unknown = unavailable
        if unknown is not None and not known:
            raise unknown
        return known

    async def statement(self, queue: QueuePolicy, limit: int) -> sql.Composed:
        """The depth query as it is sent, with counts that stop there: for doctor, who asks for its plan."""
        if queue.sql is not None:
            return sql.Composed([sql.SQL(queue.sql)])
        async with self._turn:
            return (await self._guarded(queue, lambda: self._find(queue))).place.depth(limit)

    async def longest_claim(self, queue: QueuePolicy, limit: int) -> float | None:
        """For how many seconds a job has been worked on, at most, as far as anybody can tell."""
        if queue.sql is not None:
            return None
        async with self._turn:
            return await self._guarded(queue, lambda: self._longest_claim(queue, limit))

    async def service_time(self, queue: QueuePolicy) -> ServiceTime | None:
        """How long the newest finished jobs took; None: none has finished, or the table does not say.

        Raises:
            Unavailable: also where it takes too long.
        """
        if queue.table is None:
            return None
        async with self._turn:
            return await self._guarded(queue, lambda: self._service_time(queue))

    async def _service_time(self, queue: QueuePolicy) -> ServiceTime | None:
        tables = await tables_named({(name.schema, name.name) for name in table_names(queue)}, self._ask)
        return await measured(tables[0], self._ask) if tables else None

    async def notify(self, channel: str) -> None:
        """Sends a notification from the connection that reads, as a worker's client would.

        Raises:
            Unavailable: it could not be sent.
        """
        async with self._turn:
            await self._guarded(None, lambda: self._notify(channel))

    async def _notify(self, channel: str) -> None:
        await (await self._reader()).notify(channel, self._timeout_s)

    async def close(self) -> None:
        await self._drop()

    async def _answer_all(self, first: _Asked) -> None:
        """Everybody who waits, in one round trip; where somebody spoils it, each is asked alone."""
        batch = [first, *(one for one in self._waiting if one is not first)]
        self._waiting = []
        if len(batch) > 1:
            try:
                answers: Sequence[QueueDepth | Unavailable | None]
                answers = await self._guarded(None, lambda: self._depths(batch), len(batch))
            except Unavailable:
                answers = [await self._cannot_connect()] * len(batch)
            for one, answer in zip(batch, answers, strict=True):
                one.answer = answer
        for one in batch:
            if one.answer is None:
                one.answer = await self._alone(one)

    async def _cannot_connect(self) -> Unavailable | None:
        """Why nobody can be asked, so that there is no need to ask each; None: it was one of the queries."""
        try:
            await self._guarded(None, self._reader)
        except Unavailable as unavailable:
            return unavailable
        return None

    async def _alone(self, asked: _Asked) -> QueueDepth | Unavailable:
        answer: QueueDepth | Unavailable
        try:
            (answer,) = await self._guarded(asked.queue, lambda: self._depths([asked]))
        except Unavailable as unavailable:
            answer = unavailable
        if isinstance(answer, Unavailable):
            self._failed_last.add(asked.wanted.key)
        else:
            self._failed_last.discard(asked.wanted.key)
        return answer

    async def _guarded(self, queue: QueuePolicy | None, ask: Callable[[], Awaitable[T]], readings: int = 1) -> T:
        """What is asked, in time and once more where the kept connection has died.

        Raises:
            Unavailable: for whatever reason, in words.
        """
        try:
            # Connecting and reading have their own limits; this one is for what has none, such as to look up a name.
            async with asyncio.timeout(2 * (CONNECT_TIMEOUT_S + read_within(readings, self._timeout_s))):
                return await self._on_a_live_connection(ask)
        except TimeoutError:
            await self._drop()
            raise Unavailable(Source.QUEUE, "did not answer in time; is the network to it down?") from None
        except UnicodeError:
            raise Unavailable(Source.QUEUE, "cannot be asked: DATABASE_URL or the policy holds odd text") from None
        except psycopg.Error as error:
            # The tables may have been changed under us: look at them afresh next time. Of several, each is asked alone.
            if queue is not None:
                self._located.pop(_key(queue), None)
            if self._kept is not None and self._kept.is_lost:
                await self._drop()
            raise Unavailable(Source.QUEUE, in_words(error, queue, self._timeout_s)) from None

    async def _on_a_live_connection(self, ask: Callable[[], Awaitable[T]]) -> T:
        kept = self._kept is not None
        try:
            return await ask()
        except psycopg.OperationalError:
            # A connection that died between two readings is no news of the queue: once more on a new one.
            if not kept or (self._kept is not None and not self._kept.is_lost):
                raise
            await self._drop()
            return await ask()

    async def _depths(self, batch: Sequence[_Asked]) -> list[QueueDepth | Unavailable]:
        depths = await self._counted([(one.queue, one.stops) for one in batch])
        now = asyncio.get_running_loop().time()
        near = [(one, depth) for one, depth in zip(batch, depths, strict=True) if _was_counted(depth)]
        due = [one for one, depth in near if self._far.are_due(one.wanted, depth, one.stops, now)]
        if due:
            await self._count_on(due, now)
        return [
            self._far.complete(one.wanted, depth, one.stops) if _was_counted(depth) else depth
            for one, depth in zip(batch, depths, strict=True)
        ]

    async def _count_on(self, due: Sequence[_Asked], now: float) -> None:
        """Up to the limits, for people to see; what no decision needs may fail without failing the reading."""
        for one in due:
            self._far.give_up(one.wanted, now)  # unless it comes to an end, whatever ends it
            try:
                (depth,) = await self._counted([(one.queue, Stops(one.wanted.limit, one.wanted.limit))])
            except (psycopg.Error, Unavailable):
                if self._kept is None or self._kept.is_lost:
                    raise
            else:
                if _was_counted(depth):
                    self._far.keep(one.wanted, depth, now)

    async def _counted(self, queues: Sequence[tuple[QueuePolicy, Stops]]) -> list[QueueDepth | Unavailable]:
        """One reading of each queue, in one transaction: own queries last, and each undone, whatever it has set."""
        statements = [setting(BY_INDEX)]
        place_of: dict[int, int] = {}
        for index, (queue, stops) in enumerate(queues):
            if queue.sql is None:
                place_of[index] = len(statements)
                statements.append((await self._find(queue)).place.depth(*stops))
        statements.append(setting(AS_PLANNED))
        for index, (queue, _) in enumerate(queues):
            if queue.sql is not None:
                place_of[index] = len(statements) + 2
                statements += _own_query(queue.sql)
        answers = await (await self._reader()).read(statements, self._timeout_s, counts=len(queues))
        return [_depth(queue, stops, answers[place_of[index]]) for index, (queue, stops) in enumerate(queues)]

    async def _rest_of(self, queue: QueuePolicy, limit: int) -> tuple[int | None, int | None]:
        statement = (await self._find(queue)).place.rest(limit)
        *_, answer = await (await self._reader()).read([setting(BY_INDEX), statement], self._timeout_s)
        ((scheduled, failed),) = answer.rows
        return scheduled, failed

    async def _longest_claim(self, queue: QueuePolicy, limit: int) -> float | None:
        statement = (await self._find(queue)).place.longest_claim(limit)
        if statement is None:
            return None
        *_, answer = await (await self._reader()).read([setting(BY_INDEX), statement], self._timeout_s)
        ((seconds,),) = answer.rows
        return None if seconds is None else max(0.0, float(seconds))

    async def _find(self, queue: QueuePolicy) -> Located:
        """Looked up again now and then: a column that was added since makes no statement fail."""
        key, now = _key(queue), asyncio.get_running_loop().time()
        place, until = self._located.get(key, (None, 0.0))
        if place is None or now >= until:
            place = await located(queue, self._ask)
            self._located[key] = place, now + _LOOK_AGAIN_S
        return place

    async def _ask(self, statement: sql.Composed) -> list[tuple[Any, ...]]:
        (answer,) = await (await self._reader()).read([statement], self._timeout_s)
        return answer.rows

    async def _reader(self) -> Reader:
        if self._kept is None or self._kept.is_lost:
            self._kept = await Reader.connect(self._dsn)
        return self._kept

    async def _drop(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            await kept.close()


async def service_times(dsn: str, queues: Mapping[str, QueuePolicy]) -> dict[str, ServiceTime | None]:
    """How long the newest finished jobs of each queue took, on a connection of its own.

    Raises:
        Unavailable: one of them cannot be read.
    """
    reader = PostgresQueue(dsn, timeout_s=_PATIENT_S)
    try:
        return {name: await reader.service_time(queue) for name, queue in queues.items()}
    finally:
        await reader.close()


def _own_query(text: str) -> list[sql.Composed]:
    """What reads it: of a cursor, two rows are fetched, and nothing but a query can be declared as one.

    A query can set what the next one goes by (search_path, say); rolling back to before it takes that back.
    """
    savepoint, cursor = sql.SQL("SAVEPOINT own").format(), sql.SQL("DECLARE own CURSOR FOR {}").format(sql.SQL(text))
    return [savepoint, cursor, sql.SQL("FETCH 2 FROM own").format(), sql.SQL("ROLLBACK TO own").format()]


def _was_counted(depth: QueueDepth | Unavailable) -> TypeGuard[QueueDepth]:
    """By us, with limits; and not by a query, which says what it likes."""
    return isinstance(depth, QueueDepth) and depth.limit is not None


def _depth(queue: QueuePolicy, stops: Stops, answer: Answer) -> QueueDepth | Unavailable:
    if queue.sql is not None:
        try:
            return depth_of(answer.columns, answer.rows)
        except Unavailable as unavailable:
            return unavailable
    ((pending, age, processing, stale),) = answer.rows
    known = age is not None and math.isfinite(age)  # a timestamp may be infinity
    return QueueDepth(pending, processing, max(0.0, float(age)) if known else None, stale, stops.waiting)


def _key(queue: QueuePolicy) -> str:
    return queue.model_dump_json(exclude={"count_limit", "wake_on"})
