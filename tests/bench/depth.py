"""What a reading of the queue costs, by the backlog, by the indexes, and by the dead rows that vacuum cannot remove."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import psycopg
from psycopg import sql

from controller.adapters.postgres.bounded_count import BOUND
from controller.adapters.postgres.queue import PostgresQueue
from controller.core.ports import Unavailable
from controller.core.wanted import all_busy, count_limit, enough, given_service
from controller.policy import WorkerPolicy, load_policy
from tests.bench import crowded_table
from tests.bench.crowded_table import Connection, Say
from tests.bench.indexes import PLAIN, RECOMMENDED, IndexSet, use
from tests.support.scene import POLICY, WORKER

SHALLOW = 100
_TIMES = 31
_TURNS, _IN_A_TURN = 7, 5
_TIMEOUT_S = 2.0
"""As the controller has it with the shipped policy."""
_FULL_COUNT = "SELECT count(*) FROM generation_job WHERE status = 'pending'"


@dataclass(frozen=True)
class Reading:
    """Medians in seconds. whole: as the controller takes it, end to end, its first one apart.

    bare: its statement alone on a plain connection, and full: the count of all pending jobs, by turns with it.
    """

    indexes: str
    pending: int
    whole: float
    first: float
    bare: float
    full: float
    shown: str


@dataclass(frozen=True)
class Churned:
    """The same, after a backlog was worked off and before a vacuum; when: relative to what holds vacuum up."""

    when: str
    reading: Reading


def backlogs(rows: int) -> tuple[int, ...]:
    """0, 100, 10 thousand and 1 million in a table of 10 million."""
    return tuple(sorted({0, SHALLOW, *(deep for deep in (rows // 1000, rows // 10) if deep > SHALLOW)}))


class Bench:
    """One crowded table, and who reads it."""

    def __init__(self, database_url: str, connection: Connection, say: Say) -> None:
        self._url = database_url
        self._connection = connection
        self._say = say
        policy, _ = load_policy(POLICY.read_text(), {"RAILWAY_WORKER_SERVICE_ID": "any"})
        self._worker = policy.workers[WORKER]

    def by_backlog(self, rows: int) -> Iterator[Reading]:
        """The table holds the deepest backlog afterwards."""
        for deep in backlogs(rows):
            crowded_table.add_pending(self._connection, deep - crowded_table.pending(self._connection))
            for indexes in (PLAIN, RECOMMENDED):
                self._say(f"{deep:,} pending, {indexes.name} indexes: vacuum, then readings")
                use(self._connection, indexes)
                crowded_table.tidy(self._connection)
                yield self._read(indexes)

    def after_churn(self, rows: int) -> Iterator[Churned]:
        for indexes in (PLAIN, RECOMMENDED):
            deep = backlogs(rows)[-1]
            self._say(f"{deep:,} pending, {indexes.name} indexes: vacuum, then the whole backlog is worked off")
            crowded_table.add_pending(self._connection, deep - crowded_table.pending(self._connection))
            use(self._connection, indexes)
            crowded_table.tidy(self._connection)
            with _old_snapshot(self._url):
                crowded_table.work_off(self._connection, deep - SHALLOW, self._say)
                yield Churned("an older snapshot is open", self._read(indexes))
            yield Churned("it is closed", self._read(indexes))
            self._say("vacuum")
            crowded_table.tidy(self._connection)
            yield Churned("after VACUUM", self._read(indexes))

    def _read(self, indexes: IndexSet) -> Reading:
        whole, shown, statement = asyncio.run(self._as_the_controller())
        bare: list[float] = []
        full: list[float] = []
        # By turns of a few each: a full count leaves nothing of the other's pages in shared buffers as small as these,
        # which no real server has.
        for _ in range(_TURNS):
            bare += [_timed(self._connection, statement) for _ in range(_IN_A_TURN)]
            full += [_timed(self._connection, _FULL_COUNT.encode()) for _ in range(_IN_A_TURN)]
        pending = crowded_table.pending(self._connection)
        return Reading(indexes.name, pending, median(whole), whole[0], median(bare), median(full), shown)

    async def _as_the_controller(self) -> tuple[list[float], str, bytes]:
        queue = PostgresQueue(self._url, timeout_s=_TIMEOUT_S)
        try:
            # It connects, and looks the table up. This is what every reading sends; up to the limit one counts seldom.
            depth = enough(self._worker, given_service(self._worker))
            statement = await queue.statement(self._worker.only_queue, max(depth, BOUND))
            took: list[float] = []
            shown = ""
            for _ in range(_TIMES):
                began = time.perf_counter()
                shown = await _shown(queue, self._worker)
                took.append(time.perf_counter() - began)
            return took, shown, statement.as_bytes()
        finally:
            await queue.close()


async def _shown(queue: PostgresQueue, worker: WorkerPolicy) -> str:
    """A reading as the controller asks for it."""
    service = given_service(worker)
    limit = count_limit(worker, service)
    try:
        seen = await queue.depth(worker.only_queue, limit, enough(worker, service), all_busy(worker))
    except Unavailable:
        return "unavailable"
    return f"{seen.pending:,}{'+' if seen.pending >= limit else ''}"


def _timed(connection: Connection, statement: bytes | sql.Composed) -> float:
    began = time.perf_counter()
    connection.execute(statement).fetchall()
    return time.perf_counter() - began


@contextmanager
def _old_snapshot(database_url: str) -> Iterator[None]:
    """A transaction that still sees everything as it is now, so that no dead row of later may be cleaned up."""
    with psycopg.connect(database_url) as elsewhere:
        elsewhere.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        elsewhere.execute("SELECT count(*) FROM pg_class")
        yield
        elsewhere.rollback()


@contextmanager
def opened(database_url: str, rows: int, say: Say) -> Iterator[Bench]:
    """An empty database becomes one with a crowded table."""
    connection: psycopg.Connection[Any]
    with psycopg.connect(database_url, autocommit=True, prepare_threshold=None) as connection:
        crowded_table.build(database_url, connection, rows, say)
        yield Bench(database_url, connection, say)
