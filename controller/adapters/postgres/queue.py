"""Reads the depth of all queues from PostgreSQL, in one round trip on one shared connection.

A slow queue is read at the same time on a connection of its own, so that it does not delay the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeGuard, TypeVar

import psycopg
from psycopg import sql

from controller.adapters.postgres import SOURCE
from controller.adapters.postgres import own_query as postgres_own
from controller.adapters.postgres.bounded_count import ExactCounts, Limits, Wanted
from controller.adapters.postgres.connection import AS_PLANNED, BY_INDEX, Answer, Reader, setting
from controller.adapters.postgres.durations import finished_within
from controller.adapters.postgres.lane import CannotConnect, Lane
from controller.adapters.postgres.own_query import OwnReading, end_overdue
from controller.adapters.postgres.own_table import OwnTable
from controller.adapters.postgres.places import Located, located
from controller.adapters.postgres.query import reading_of
from controller.adapters.postgres.service_time import measured
from controller.adapters.postgres.survey import Survey, survey_of
from controller.core.model import QueueDepth, Remark, Rest, ServiceTime
from controller.core.ports import DepthRequest, NotMeasurable, Unavailable
from controller.core.units import in_words
from controller.policy import Queue as QueuePolicy

T = TypeVar("T")
_LOOK_AGAIN_S = 300.0
_DOUBTFUL_AGAIN_S = 30.0
"""Survey interval of a large table in which no job with a named status was seen yet. A small one: each reading."""
_PATIENT_S = 10.0
"""Timeout of a query that a person waits for."""
_SURVEY_S = 0.5
"""Timeout of one statement of a survey within a cycle."""
_MOST_ASIDE = 10
"""Connections for slow queues, beside the shared one."""
_KEEP_ASIDE_S = 60.0
_SLOW_SHARE = 0.5
"""A reading that took more than this share of its timeout moves to its own connection next time."""
_QUICK_SHARE = 0.1
"""A reading that took less than this share of its timeout returns to the shared connection."""

# Behind an idle primary a standby replays nothing, and the age of the last transaction grows without any lag. So the
# lag is 0 if all that was received is replayed and a process still receives.
_LAG = """
SELECT CASE WHEN pg_is_in_recovery() THEN
  CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() AND EXISTS (SELECT FROM pg_stat_wal_receiver) THEN 0
  ELSE coalesce(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()), 'infinity') END END::float8
"""


@dataclass(eq=False)
class _Asked:
    """One depth() call that waits for its answer."""

    queue: QueuePolicy
    wanted: Wanted
    limits: Limits
    timeout_s: float
    answer: asyncio.Future[QueueDepth | Unavailable] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def tell(self, answer: QueueDepth | Unavailable) -> None:
        if not self.answer.done():
            self.answer.set_result(answer)


class _LastSurvey(NamedTuple):
    """A survey of a queue. at: when it was made, by the event loop's clock."""

    survey: Survey
    at: float


class PostgresQueue:
    """Reads the depth of queues: from a table of the user's, from a library's tables, or by the policy's query."""

    source = SOURCE

    def __init__(self, dsn: str, *, timeout_s: float, oldest_s: float = math.inf, search_path: str = "") -> None:
        """timeout_s: of one reading, unless the policy sets queue.timeout. oldest_s: the largest lag of a standby.

        search_path: the SQL search_path for tables without a schema; empty: the database user's own.
        """
        self._dsn = dsn
        self._search_path = search_path
        self._timeout_s = timeout_s
        self._oldest_s = oldest_s
        self._main = self._new_lane()
        self._aside: list[Lane] = []
        self._places_aside = asyncio.Semaphore(_MOST_ASIDE)
        self._located: dict[str, tuple[Located, float]] = {}
        self._own: dict[str, OwnTable] = {}
        self._surveys: dict[str, _LastSurvey] = {}
        self._named: set[str] = set()
        self._exact = ExactCounts()
        self._waiting: list[_Asked] = []
        self._in_hand: list[_Asked] = []
        self._serving: asyncio.Task[None] | None = None
        self._failed_last: set[str] = set()
        self._slow: set[str] = set()
        self._known: set[str] = set()
        self._cleared: set[str] = set()
        self._in_doubt: set[str] = set()

    async def depths(self, requests: Mapping[str, DepthRequest]) -> AsyncIterator[tuple[str, QueueDepth | Unavailable]]:
        names = {asyncio.create_task(self._depth_or_why(request)): name for name, request in requests.items()}
        left = set(names)
        try:
            while left:
                answered, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
                for one in answered:
                    yield names[one], one.result()
        finally:
            for one in names:
                one.cancel()

    async def _depth_or_why(self, request: DepthRequest) -> QueueDepth | Unavailable:
        try:
            return await self.depth(*request)
        except Unavailable as unavailable:
            return unavailable

    async def depth(self, queue: QueuePolicy, limit: int, enough: int = 0, busy: int = 0) -> QueueDepth:
        """Jobs pending (ready now), processing and stale, and the seconds that the oldest ready job has been ready.

        Every reading counts the depth up to `enough` and jobs in work up to `busy`; a larger count cannot change the
        decision. Counts up to `limit` are only for display, and are made less often (see bounded_count.py). Calls made
        at the same moment share one round trip.

        Raises:
            Unavailable: the queue could not be read; the message says why and what to do.
        """
        timeout_s = self._timeout_s if queue.timeout is None else queue.timeout
        asked = _Asked(queue, Wanted(_key(queue), limit), Limits.bounded(limit, enough, busy), timeout_s)
        self._known.add(asked.wanted.key)
        if asked.wanted.key in self._failed_last | self._slow or queue.timeout is not None:
            await asyncio.sleep(0)  # healthy queues go first, so that they do not wait for this one
        if self._needs_own_connection(asked):
            await self._answer_on_own_connection(asked)
        elif asked.wanted.key in self._failed_last:
            async with self._main.turn:
                asked.tell(await self._alone(self._main, asked))
        else:
            self._waiting.append(asked)
            if self._serving is None or self._serving.done():
                self._serving = asyncio.create_task(self._serve())
                self._serving.add_done_callback(self._served)
        answer = await asked.answer
        if isinstance(answer, Unavailable):
            raise answer
        return await self._with_remarks(queue, answer)

    def _needs_own_connection(self, asked: _Asked) -> bool:
        """A slow queue, or one with its own timeout, gets its own connection, unless it is the only queue."""
        may_be_slow = asked.wanted.key in self._slow or asked.queue.timeout is not None
        return may_be_slow and len(self._known) > 1

    async def _serve(self) -> None:
        """Answers the waiting calls in batches; calls that a failed batch left unanswered are then read one by one."""
        while self._waiting:
            async with self._main.turn:
                await asyncio.sleep(0)  # calls made at this moment join the batch
                self._in_hand, self._waiting = [one for one in self._waiting if not one.answer.done()], []
                left = await self._answer_all(self._in_hand)
            await asyncio.gather(*map(self._answer_on_own_connection, left))

    def _served(self, serving: asyncio.Task[None]) -> None:
        """Passes a bug or a cancellation on to every call that still waits; otherwise it would wait forever."""
        for one in (*self._in_hand, *self._waiting):
            if one.answer.done():
                continue
            if serving.cancelled():
                one.answer.cancel()
            elif (bug := serving.exception()) is not None:
                one.answer.set_exception(bug)

    async def _answer_all(self, batch: Sequence[_Asked]) -> list[_Asked]:
        """Reads the batch in one round trip. Returns the calls without an answer, if one of the batch may be slow."""
        loop = asyncio.get_running_loop()
        if len(batch) > 1:
            began = loop.time()
            try:
                answers = await self._on_main(
                    None, lambda: self._depths(self._main, batch, self._timeout_s), self._timeout_s
                )
            except CannotConnect as unavailable:
                answers = [unavailable] * len(batch)
            except Unavailable:
                answers = []
            if loop.time() - began > _SLOW_SHARE * self._timeout_s:
                # One query is slow, or all together are. Only reading each one alone can tell.
                self._slow |= {one.wanted.key for one in batch}
            for one, answer in zip(batch, answers, strict=False):
                one.tell(answer)
        left = [one for one in batch if not one.answer.done()]
        if any(one.wanted.key in self._slow for one in left) and len(left) > 1:
            return left
        for one in left:
            one.tell(await self._alone(self._main, one))
        return []

    async def _answer_on_own_connection(self, asked: _Asked) -> None:
        """Reads one queue on its own connection; if the server allows no more, on the shared one when it is free."""
        try:
            async with asyncio.timeout(asked.timeout_s):
                await self._places_aside.acquire()
        except TimeoutError:
            within = in_words(asked.timeout_s)
            words = f"{_MOST_ASIDE} slow queries are running, and this one had to wait longer than {within}"
            asked.tell(Unavailable(SOURCE, words))
            return
        if self._main.is_lost:
            # The role may be allowed only one connection: then it must be the shared one, so open that first.
            async with self._main.turn:
                with contextlib.suppress(Unavailable):
                    await self._on_main(None, self._main.reader, self._timeout_s)
        lane = self._aside.pop() if self._aside else self._new_lane()
        try:
            answer = await self._alone(lane, asked)
        finally:
            self._places_aside.release()
            lane.idle_since = asyncio.get_running_loop().time()
            self._aside.append(lane)
        if isinstance(answer, CannotConnect):
            async with self._main.turn:
                answer = await self._alone(self._main, asked)
        asked.tell(answer)
        await self._close_idle()

    async def _on_main(self, queue: QueuePolicy | None, ask: Callable[[], Awaitable[T]], timeout_s: float) -> T:
        """Asks on the shared connection. If it cannot be opened, closes the idle ones beside it and tries again.

        Raises:
            Unavailable: it failed; the message says why.
        """
        try:
            return await self._main.guarded(queue, ask, timeout_s)
        except CannotConnect:
            idle, self._aside = self._aside, []
            if not idle:
                raise
            for lane in idle:
                await lane.drop()
            return await self._main.guarded(queue, ask, timeout_s)

    async def _close_idle(self) -> None:
        before = asyncio.get_running_loop().time() - _KEEP_ASIDE_S
        idle = [lane for lane in self._aside if lane.idle_since < before or lane.is_lost]
        self._aside = [lane for lane in self._aside if lane not in idle]
        for lane in idle:
            await lane.drop()

    async def _alone(self, lane: Lane, asked: _Asked) -> QueueDepth | Unavailable:
        loop, key = asyncio.get_running_loop(), asked.wanted.key
        began = loop.time()
        answer: QueueDepth | Unavailable
        try:
            guarded = self._on_main if lane is self._main else lane.guarded
            (answer,) = await guarded(
                asked.queue, lambda: self._depths(lane, [asked], asked.timeout_s), asked.timeout_s
            )
        except Unavailable as unavailable:
            answer = unavailable
        if isinstance(answer, Unavailable) and lane.is_lost and key in self._in_doubt:
            answer = await self._end(lane, asked) or answer
        took = (loop.time() - began) / asked.timeout_s
        if took > _SLOW_SHARE:
            self._slow.add(key)
        elif took < _QUICK_SHARE:
            self._slow.discard(key)
        if isinstance(answer, Unavailable):
            self._failed_last.add(key)
        else:
            self._failed_last.discard(key)
        return answer

    async def _end(self, lane: Lane, asked: _Asked) -> Unavailable | None:
        """Ends a query that still runs after its timeout, from a new connection; None if none does."""
        queue, timeout_s = asked.queue, asked.timeout_s
        try:
            found = await lane.guarded(queue, lambda: self._overdue_queries(lane, [queue], timeout_s), timeout_s)
        except Unavailable:
            return None
        return found.get(asked.wanted.key)

    async def _depths(self, lane: Lane, batch: Sequence[_Asked], timeout_s: float) -> list[QueueDepth | Unavailable]:
        depths = await self._counted(lane, [(one.queue, one.limits) for one in batch], timeout_s)
        now = asyncio.get_running_loop().time()
        bounded = [(one, depth) for one, depth in zip(batch, depths, strict=True) if _was_counted(depth)]
        due = [one for one, depth in bounded if self._exact.are_due(one.wanted, depth, one.limits, now)]
        if due:
            await self._count_exactly(lane, due, now, timeout_s)
        return [
            replace(self._exact.complete(one.wanted, depth, one.limits), lag_s=depth.lag_s, remarks=depth.remarks)
            if _was_counted(depth)
            else depth
            for one, depth in zip(batch, depths, strict=True)
        ]

    async def _count_exactly(self, lane: Lane, due: Sequence[_Asked], now: float, timeout_s: float) -> None:
        """Counts up to `limit`, for display only: if it fails, the bounded reading is still valid."""
        for one in due:
            self._exact.give_up(one.wanted, now)  # replaced below if the count ends; so any failure counts as given up
            try:
                limits = Limits(one.wanted.limit, one.wanted.limit)
                (depth,) = await self._counted(lane, [(one.queue, limits)], timeout_s)
            except (psycopg.Error, Unavailable):
                if lane.is_lost:
                    raise
            else:
                if _was_counted(depth):
                    self._exact.keep(one.wanted, depth, now)

    async def _counted(
        self, lane: Lane, queues: Sequence[tuple[QueuePolicy, Limits]], timeout_s: float
    ) -> list[QueueDepth | Unavailable]:
        """Reads each queue once, in one transaction. The policy's own queries come last.

        Each of these is rolled back to a savepoint, as it may change settings (search_path) for the next statements.
        """
        at_work = await self._overdue_queries(lane, [queue for queue, _ in queues], timeout_s)
        asked = {index: one for index, one in enumerate(queues) if _key(one[0]) not in at_work}
        statements = [setting(BY_INDEX)]
        place_of: dict[int, int] = {}
        own: dict[int, OwnReading] = {}
        for index, (queue, limits) in asked.items():
            if queue.sql is not None:
                continue
            reading = (await self._find(lane, queue, timeout_s)).place.depth(*limits)
            if not queue.has_own_sql:
                place_of[index] = len(statements)
                statements.append(reading)
            else:
                own[index] = OwnReading.of(queue, _key(queue), reading).shifted(len(statements))
                statements += own[index].statements
        lag_at = len(statements) + 1
        statements += [setting(AS_PLANNED), sql.SQL(_LAG).format()]
        for index, (queue, _) in asked.items():
            if queue.sql is not None:
                own[index] = OwnReading.of(queue, _key(queue)).shifted(len(statements))
                statements += own[index].statements
        place_of |= {index: one.depth for index, one in own.items()}
        answers = await self._read(lane, statements, timeout_s, [asked[index][0] for index in own])
        ((lag_s,),) = answers[lag_at].rows
        self._refuse_what_is_old(lag_s)
        depths: list[QueueDepth | Unavailable] = []
        for index, (queue, limits) in enumerate(queues):
            if index not in asked:
                depths.append(at_work[_key(queue)])
                continue
            depth = _depth(queue, limits, answers[place_of[index]], lag_s)
            remarks = own[index].remarks(queue, answers) if index in own else ()
            depths.append(replace(depth, remarks=(*depth.remarks, *remarks)) if _is_depth(depth) else depth)
        if any(answers[one.left].rows for one in own.values()):
            await lane.drop()
        return depths

    async def _read(
        self, lane: Lane, statements: Sequence[sql.Composed], timeout_s: float, own: Sequence[QueuePolicy]
    ) -> list[Answer]:
        """own: the queues with the policy's own SQL. Each stays in doubt until its query has certainly ended."""
        keys = {_key(queue) for queue in own}
        self._in_doubt |= keys
        try:
            return await (await lane.reader()).read(statements, timeout_s, watched=bool(own))
        finally:
            if not lane.is_lost:
                self._in_doubt -= keys

    async def _overdue_queries(
        self, lane: Lane, queues: Sequence[QueuePolicy], timeout_s: float
    ) -> dict[str, Unavailable]:
        """The error, by key, of each queue whose query still runs after its timeout, in any process that sent it.

        Such a queue is not read again until that query has ended, so that at most one backend works for it.
        """
        new = {_key(queue) for queue in queues if queue.has_own_sql} - self._cleared
        doubted = {
            _key(queue): (queue, timeout_s if _key(queue) in self._in_doubt else timeout_s + postgres_own.GRACE_S)
            for queue in queues
            if _key(queue) in self._in_doubt | new
        }
        if not doubted:
            return {}
        at_work = await end_overdue(await lane.reader(), doubted)
        self._cleared |= doubted.keys()
        self._in_doubt = (self._in_doubt - doubted.keys()) | at_work.keys()
        return at_work

    def _refuse_what_is_old(self, lag_s: float | None) -> None:
        if lag_s is None or lag_s <= self._oldest_s:
            return
        behind = in_words(lag_s) if math.isfinite(lag_s) else "an unknown time"
        limit = in_words(self._oldest_s)
        words = f"is a standby that is {behind} behind its primary; the limit is {limit} (3 intervals)"
        raise Unavailable(SOURCE, f"{words}; set DATABASE_URL to the primary's address")

    async def rest(self, queue: QueuePolicy, limit: int) -> Rest:
        """Scheduled and failed jobs. No cycle reads them, because these counts may have no index.

        Raises:
            Unavailable: it failed, or timed out.
        """
        if queue.sql is not None:
            return Rest(None, None, limit)
        located = await self._located_for(queue)
        ((scheduled, failed),) = await self._answered(queue, located.place.rest(limit))
        no_due = "no column says when a job is due" if located.own is not None and scheduled is None else ""
        no_failed = await self._no_failed(queue) if located.own is not None else ""
        return Rest(scheduled, None if no_failed else failed, limit, no_due, no_failed)

    async def _no_failed(self, queue: QueuePolicy) -> str:
        """Why the number of failed jobs is unknown; "" if the policy names their statuses, or no other was seen."""
        if "failed" in queue.statuses.model_fields_set:
            return ""
        looked = self._surveys.get(_key(queue)) or await self._make_survey(queue, None)
        return "" if looked.survey.words is None else looked.survey.words.no_failed

    async def channels(self, queue: QueuePolicy) -> tuple[str, ...]:
        """The NOTIFY channels that announce its jobs: the policy's wake_on, or the library's."""
        if queue.wake_on is not None:
            return (queue.wake_on,)
        if queue.preset is None:
            return ()
        return (await self._located_for(queue)).channels

    async def every_channel(self, queues: Iterable[QueuePolicy]) -> set[str]:
        """The channels of all queues that can be read; a queue that cannot be read does not hide the others'.

        It opens the shared connection first: if the role is allowed only one, reading needs it more than listening.

        Raises:
            Unavailable: no channel is known and a queue cannot be read.
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
        if known and self._main.is_lost:
            async with self._main.turn:
                # Behind a pooler, a connection holds a session only once it has sent a statement.
                await self._on_main(
                    None, lambda: self._main.ask(sql.SQL("SELECT 1").format(), self._timeout_s), self._timeout_s
                )
        return known

    async def statement(self, queue: QueuePolicy, limit: int) -> sql.Composed:
        """The depth query as a cycle sends it, counting up to `limit`. Doctor explains it."""
        if queue.sql is not None:
            return sql.Composed([sql.SQL(queue.sql)])
        return (await self._located_for(queue)).place.depth(limit)

    async def own(self, queue: QueuePolicy) -> OwnTable | None:
        """How the user's table is read; None for a preset or a query.

        Raises:
            Unavailable: the table could not be looked up.
        """
        return (await self._located_for(queue)).own if queue.table is not None else None

    async def longest_claim(self, queue: QueuePolicy, limit: int) -> float | None:
        """Seconds since the oldest running job was claimed; None if unknown.

        Also None if the claim of a dead worker never ends: then the age of a claim says nothing about a job's length.
        """
        if queue.sql is not None:
            return None
        place = (await self._located_for(queue)).place
        statement = place.longest_claim(limit) if place.detects_dead_workers else None
        if statement is None:
            return None
        ((seconds,),) = await self._answered(queue, statement)
        return None if seconds is None else max(0.0, float(seconds))

    async def finished_within(self, queue: QueuePolicy) -> float | None:
        """The 99th percentile of finished jobs' durations, in seconds; None if no finished job shows one.

        Raises:
            Unavailable: it failed, or timed out.
        """
        own = await self.own(queue)
        if own is None:
            return None
        async with self._main.turn:
            return await self._on_main(
                queue, lambda: finished_within(own, lambda text: self._main.ask(text, self._timeout_s)), self._timeout_s
            )

    async def service_time(self, queue: QueuePolicy) -> ServiceTime | None:
        """How long the newest finished jobs took; None if no job has finished yet.

        Raises:
            NotMeasurable: the queue has no start and end times.
            Unavailable: it failed, or timed out.
        """
        own = await self.own(queue)
        if own is None:
            raise NotMeasurable(SOURCE, f"a {queue.kind} has no start and end times of its jobs")
        if why := own.unmeasured():
            raise NotMeasurable(SOURCE, why)
        async with self._main.turn:
            return await self._on_main(
                queue, lambda: measured(own, lambda text: self._main.ask(text, self._timeout_s)), self._timeout_s
            )

    async def notify(self, channel: str) -> None:
        """Sends a NOTIFY on the shared connection, as a worker's client does on its own.

        Raises:
            Unavailable: it could not be sent.
        """

        async def send() -> None:
            await (await self._main.reader()).notify(channel, self._timeout_s)

        async with self._main.turn:
            await self._on_main(None, send, self._timeout_s)

    async def reader(self) -> Reader:
        """The shared connection, opened if necessary. Doctor uses it, because the role may be allowed only one.

        Raises:
            psycopg.Error: it could not be opened.
        """
        return await self._main.reader()

    async def close(self) -> None:
        """Closes all connections; the next reading opens one again."""
        for lane in (self._main, *self._aside):
            await lane.drop()
        self._aside.clear()

    async def survey(self, queue: QueuePolicy) -> Survey:
        """Statuses in use and jobs held back, for remarks; empty for a query.

        Raises:
            Unavailable: it failed, or timed out.
        """
        if queue.sql is not None:
            return Survey()
        located = await self._located_for(queue)
        async with self._main.turn:
            return await self._on_main(
                queue, lambda: survey_of(queue, located, self._bounded(self._timeout_s)), self._timeout_s
            )

    async def _with_remarks(self, queue: QueuePolicy, depth: QueueDepth) -> QueueDepth:
        """Adds the remarks about the queue to a reading; makes the survey first if it is due."""
        standby = "DATABASE_URL leads to a hot standby: its data may be some seconds old, and it cannot send NOTIFY"
        behind = (Remark("standby", standby),) if depth.lag_s is not None else ()
        if queue.sql is not None:
            return replace(depth, remarks=(*depth.remarks, *behind))
        key, now = _key(queue), asyncio.get_running_loop().time()
        if depth.depth or depth.stale:
            self._named.add(key)
        looked = self._surveys.get(key)
        # Until a job with a status that the policy names was seen, an empty queue may be a misspelt status. The survey
        # is then made more often.
        is_doubtful = key not in self._named and queue.table is not None
        if looked is None or now - looked.at >= (_again_after(looked.survey) if is_doubtful else _LOOK_AGAIN_S):
            looked = await self._make_survey(queue, looked)
        words = looked.survey.words
        if words is not None and words.named:
            self._named.add(key)
        unnamed = words.unnamed(queue.table) if words is not None and key not in self._named else ""
        own = self._own.get(key)
        zones = (Remark("timezone", own.zone_warning),) if own is not None and own.zone_warning else ()
        remarks = (*depth.remarks, *behind, *zones, *looked.survey.remarks(queue))
        return replace(depth, unnamed=unnamed, remarks=remarks)

    async def _make_survey(self, queue: QueuePolicy, before: _LastSurvey | None) -> _LastSurvey:
        """Makes a survey. If it fails, the last one is kept: remarks are not worth failing a reading for."""
        key, now = _key(queue), asyncio.get_running_loop().time()
        found = before.survey if before is not None else Survey()
        async with self._main.turn:
            try:
                located = await self._on_main(
                    queue, lambda: self._find(self._main, queue, self._timeout_s), self._timeout_s
                )
                found = await self._on_main(
                    queue, lambda: survey_of(queue, located, self._bounded(_SURVEY_S)), self._timeout_s
                )
            except Unavailable:
                pass  # keep the last survey
        looked = _LastSurvey(found, now)
        self._surveys[key] = looked
        return looked

    def _bounded(self, timeout_s: float) -> Callable[[sql.Composed], Awaitable[list[tuple[Any, ...]]]]:
        return lambda statement: self._main.ask(statement, timeout_s, by_index=True)

    async def _located_for(self, queue: QueuePolicy) -> Located:
        async with self._main.turn:
            return await self._on_main(queue, lambda: self._find(self._main, queue, self._timeout_s), self._timeout_s)

    async def _answered(self, queue: QueuePolicy, statement: sql.Composed) -> list[tuple[Any, ...]]:
        async with self._main.turn:
            return await self._on_main(
                queue, lambda: self._main.ask(statement, self._timeout_s, by_index=True), self._timeout_s
            )

    async def _find(self, lane: Lane, queue: QueuePolicy, timeout_s: float) -> Located:
        """Where and how the queue is read. It is looked up again every 5 min, as a new column makes no statement fail.

        While the time zone or unit of a column is undecided, it is looked up at each reading: new rows may decide it.
        """
        lane.watched = lane.watched or queue.has_own_sql
        key, now = _key(queue), asyncio.get_running_loop().time()
        place, until = self._located.get(key, (None, 0.0))
        if place is None or now >= until:
            place = await located(queue, lambda statement: lane.ask(statement, timeout_s), self._own.get(key))
            unsettled = place.own is not None and not place.own.is_settled
            self._located[key] = place, now if unsettled else now + _LOOK_AGAIN_S
            if place.own is not None:
                self._own[key] = place.own
        return place

    def _new_lane(self) -> Lane:
        return Lane(self._dsn, self._changed, self._search_path)

    def _changed(self, queue: QueuePolicy) -> None:
        """The tables may have changed, so the next reading looks them up again."""
        self._located.pop(_key(queue), None)


def _again_after(survey: Survey) -> float:
    return 0.0 if survey.words is None or survey.words.is_small else _DOUBTFUL_AGAIN_S


class Known(NamedTuple):
    """What a database shows about a queue. service: None if no job has finished or it cannot be measured (why_not)."""

    service: ServiceTime | None
    remarks: tuple[str, ...]
    why_not: str = ""


async def known_of(dsn: str, queues: Mapping[str, QueuePolicy], *, search_path: str = "") -> dict[str, Known]:
    """The service time and remarks of each queue, by name, read on a new connection with a timeout of 10 s.

    Raises:
        Unavailable: one of the queues cannot be read.
    """
    reader = PostgresQueue(dsn, timeout_s=_PATIENT_S, search_path=search_path)
    try:
        return {name: await _known(reader, queue) for name, queue in queues.items()}
    finally:
        await reader.close()


async def _known(reader: PostgresQueue, queue: QueuePolicy) -> Known:
    depth = await reader.depth(queue, 1)
    texts = [remark.text for remark in depth.remarks if not (depth.unnamed and remark.about == "statuses")]
    doubt = (f"the queue reads as empty: {depth.unnamed}",) if depth.unnamed else ()
    remarks = (*doubt, *texts)
    try:
        return Known(await reader.service_time(queue), remarks)
    except NotMeasurable as no:
        return Known(None, remarks, str(no))


def _is_depth(depth: QueueDepth | Unavailable) -> TypeGuard[QueueDepth]:
    return isinstance(depth, QueueDepth)


def _was_counted(depth: QueueDepth | Unavailable) -> TypeGuard[QueueDepth]:
    """Whether our own statement counted it, up to a limit. A depth from queue.sql has no limit."""
    return isinstance(depth, QueueDepth) and depth.limit is not None


def _depth(queue: QueuePolicy, limits: Limits, answer: Answer, lag_s: float | None) -> QueueDepth | Unavailable:
    if queue.sql is not None:
        try:
            return replace(reading_of(answer.columns, answer.rows), lag_s=lag_s)
        except Unavailable as unavailable:
            return unavailable
    ((pending, age, processing, stale),) = answer.rows
    known = age is not None and math.isfinite(age)  # a timestamp may be infinity
    oldest = max(0.0, float(age)) if known else None
    return QueueDepth(pending, processing, oldest, stale, limits.waiting, lag_s)


def _key(queue: QueuePolicy) -> str:
    return queue.model_dump_json(exclude={"count_limit", "wake_on"})
