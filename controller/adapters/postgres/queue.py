"""The queue in PostgreSQL, as the controller's port and as its commands ask for it.

Here belongs one method for each question; how depths are read is in readings.py and counting.py, what is said beside
them in remarks.py, and on which connection in lanes.py.
"""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Iterable, Mapping
from typing import Any, NamedTuple

from psycopg import sql

from controller.adapters.postgres import SOURCE
from controller.adapters.postgres.connection import Reader
from controller.adapters.postgres.counting import Asked, Counting
from controller.adapters.postgres.durations import finished_within
from controller.adapters.postgres.lane import Lane
from controller.adapters.postgres.lanes import Lanes
from controller.adapters.postgres.lookup import Lookup
from controller.adapters.postgres.own_table import OwnTable
from controller.adapters.postgres.places import Located
from controller.adapters.postgres.readings import Readings
from controller.adapters.postgres.remarks import Remarks
from controller.adapters.postgres.service_time import measured
from controller.adapters.postgres.survey import Survey, survey_of
from controller.core.model import QueueDepth, Rest, ServiceTime
from controller.core.ports import DepthRequest, NotMeasurable, Unavailable
from controller.policy import Queue as QueuePolicy

_PATIENT_S = 10.0
"""Timeout of a query that a person waits for."""


class PostgresQueue:
    """Reads the depth of queues: from a table of the user's, from a library's tables, or by the policy's query."""

    source = SOURCE

    def __init__(self, dsn: str, *, timeout_s: float, oldest_s: float = math.inf, search_path: str = "") -> None:
        """timeout_s: of one reading, unless the policy sets queue.timeout. oldest_s: the largest lag of a standby.

        search_path: the SQL search_path for tables without a schema; empty: the database user's own.
        """
        self._lookup = Lookup()
        self._lanes = Lanes(dsn, search_path, timeout_s, self._lookup.forget)
        self._remarks = Remarks(self._lanes, self._lookup)
        self._counting = Counting(self._lookup, oldest_s)
        self._readings = Readings(self._lanes, self._counting, self._remarks)

    def depths(
        self, requests: Mapping[str, DepthRequest]
    ) -> AsyncGenerator[tuple[str, QueueDepth | Unavailable], None]:
        """One reading for all these queues; each comes under its name as soon as it is there, the slow ones last.

        Every reading counts the depth up to `enough` and jobs in progress up to `busy`; a larger count cannot change
        the decision. Counts up to `limit` are only for display, and are made less often (see bounded_count.py).
        """
        timeout_s = self._lanes.timeout_s
        return self._readings.of({name: Asked.of(request, timeout_s) for name, request in requests.items()})

    async def depth(
        self,
        queue: QueuePolicy,
        limit: int,
        enough: int = 0,
        busy: int = 0,
        ahead: float = 0.0,
        *,
        holders: bool = False,
    ) -> QueueDepth:
        """depths() of one queue.

        Raises:
            Unavailable: the queue could not be read; the message says why and what to do.
        """
        request = {"": DepthRequest(queue, limit, enough, busy, ahead, holders)}
        ((_, answer),) = [one async for one in self.depths(request)]
        if isinstance(answer, Unavailable):
            raise answer
        return answer

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
        no_failed = await self._remarks.no_failed(queue) if located.own is not None else ""
        return Rest(scheduled, None if no_failed else failed, limit, no_due, no_failed)

    async def channels(self, queue: QueuePolicy) -> tuple[str, ...]:
        """The NOTIFY channels that announce its jobs: the policy's wake_on, or the library's."""
        if queue.wake_on is not None:
            return (queue.wake_on,)
        if queue.preset is None:
            return ()
        known = self._lookup.known(queue)  # asked for every few seconds, of all queues
        return (known or await self._located_for(queue)).channels

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
        if known and self._lanes.main.is_lost:
            # Behind a pooler, a connection holds a session only once it has sent a statement.
            await self._lanes.shared(None, lambda lane: lane.ask(sql.SQL("SELECT 1").format(), self._lanes.timeout_s))
        return known

    async def statement(self, queue: QueuePolicy, limit: int, ahead: float = 0.0) -> sql.Composed:
        """The depth query as a cycle sends it, counting up to `limit`. Doctor explains it."""
        if queue.sql is not None:
            return sql.Composed([sql.SQL(queue.sql)])
        return (await self._located_for(queue)).place.depth(limit, ahead_s=ahead)

    async def own(self, queue: QueuePolicy) -> OwnTable | None:
        """How the user's table is read; None for a preset or a query.

        Raises:
            Unavailable: the table could not be looked up.
        """
        return (await self._located_for(queue)).own if queue.table is not None else None

    async def no_age(self, queue: QueuePolicy) -> str:
        """Why it is never known how long the oldest ready job has waited; "" if it is, or if a query may tell it.

        Raises:
            Unavailable: the tables could not be looked up.
        """
        if queue.sql is not None:
            return ""
        form = (await self._located_for(queue)).place.form
        if form.since is not None or form.oldest is not None:
            return ""
        if queue.preset is not None:
            return f"preset {queue.preset} does not say since when a job is ready; add since to its file"
        return (
            f"no column of {queue.table} says since when a job is ready; add a column created_at, or name it in "
            "queue.columns.created_at"
        )

    async def due_column(self, queue: QueuePolicy) -> str:
        """The column by which a scheduled job counts shortly before it is due; "" if none tells it, and for a query.

        Raises:
            Unavailable: the queue could not be looked up.
        """
        return "" if queue.sql is not None else (await self._located_for(queue)).due_column

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
        return await self._lanes.shared(
            queue, lambda lane: finished_within(own, lambda text: lane.ask(text, self._lanes.timeout_s))
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
        return await self._lanes.shared(
            queue, lambda lane: measured(own, lambda text: lane.ask(text, self._lanes.timeout_s))
        )

    async def notify(self, channel: str) -> None:
        """Sends a NOTIFY on the shared connection, as a worker's client does on its own.

        Raises:
            Unavailable: it could not be sent.
        """

        async def send(lane: Lane) -> None:
            await (await lane.reader()).notify(channel, self._lanes.timeout_s)

        await self._lanes.shared(None, send)

    async def reader(self) -> Reader:
        """The shared connection, opened if necessary. Doctor uses it, because the role may be allowed only one.

        Raises:
            psycopg.Error: it could not be opened.
        """
        return await self._lanes.main.reader()

    def set_pace(self, timeout_s: float, oldest_s: float) -> None:
        """See __init__; for the readings from now on."""
        self._lanes.timeout_s = timeout_s
        self._counting.oldest_s = oldest_s

    async def close(self) -> None:
        """Closes all connections; the next reading opens one again."""
        await self._lanes.close()

    async def survey(self, queue: QueuePolicy) -> Survey:
        """Statuses in use and jobs held back, for remarks; empty for a query.

        Raises:
            Unavailable: it failed, or timed out.
        """
        if queue.sql is not None:
            return Survey()
        located = await self._located_for(queue)
        return await self._lanes.shared(
            queue,
            lambda lane: survey_of(queue, located, lambda text: lane.ask(text, self._lanes.timeout_s, by_index=True)),
        )

    async def _located_for(self, queue: QueuePolicy) -> Located:
        return await self._lanes.shared(queue, lambda lane: self._lookup.find(lane, queue, self._lanes.timeout_s))

    async def _answered(self, queue: QueuePolicy, statement: sql.Composed) -> list[tuple[Any, ...]]:
        return await self._lanes.shared(queue, lambda lane: lane.ask(statement, self._lanes.timeout_s, by_index=True))


class Known(NamedTuple):
    """What a database shows about a queue. service: None if no job has finished or it cannot be measured (why_not).

    no_age: why it is never known how long the oldest ready job has waited, or "". due_column: as
    PostgresQueue.due_column() has it. no_waits: why it cannot be measured how long jobs waited, or "".
    """

    service: ServiceTime | None
    remarks: tuple[str, ...]
    why_not: str = ""
    no_age: str = ""
    due_column: str = ""
    no_waits: str = ""


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
    no_age, column = await reader.no_age(queue), await reader.due_column(queue)
    own = await reader.own(queue)
    no_waits = "" if own is None else own.unmeasured() or own.no_waits()
    try:
        service = await reader.service_time(queue)
    except NotMeasurable as no:
        return Known(None, remarks, str(no), no_age, column, no_waits)
    return Known(service, remarks, no_age=no_age, due_column=column, no_waits=no_waits)
