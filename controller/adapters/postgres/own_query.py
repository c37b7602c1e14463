"""Runs SQL that the user wrote (queue.sql, queue.where, a preset of their own).

It deals with the locks and leftovers of such SQL, and with queries that do not end when cancelled.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Self

import psycopg
from psycopg import sql

from controller.adapters.postgres import SOURCE, session
from controller.adapters.postgres.connection import Answer, Connection, Reader, Statement, as_bytes
from controller.core.model import Remark
from controller.core.ports import Unavailable
from controller.core.units import in_words
from controller.policy import Queue as QueuePolicy

GRACE_S = 1.0
"""Added to the timeout of a query that another process may have sent, before it counts as not ended."""
_LOOKS, _PAUSE_S = 10, 0.1
"""A terminated backend gets 1 s to end, checked every 0.1 s."""

# A depth query only reads. With any stronger lock on a table, workers would wait until the query ends.
_TABLE_LOCKED = """
SELECT relation::regclass::text, mode FROM pg_catalog.pg_locks
WHERE pid = pg_backend_pid() AND locktype = 'relation' AND granted AND mode NOT IN ('AccessShareLock', 'SIReadLock')
ORDER BY 1 LIMIT 1
"""
_AT_WORK = """
SELECT pid, query, extract(epoch FROM clock_timestamp() - query_start)::float8 FROM pg_catalog.pg_stat_activity
WHERE datname = current_database() AND usename = current_user AND state = 'active' AND pid <> pg_backend_pid()
AND query LIKE '%own\\_%'
"""


def _place(queue: QueuePolicy) -> str:
    if queue.sql is not None:
        return "queue.sql"
    return "queue.where" if queue.where is not None else f"preset {queue.preset}"


def _mark(key: str) -> str:
    """A mark in the query's text (cursor name or comment), by which pg_stat_activity shows whose query it is."""
    return f"own_{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def rolled_back(statement: Statement) -> list[Statement]:
    """The statement between a savepoint and its rollback, then a query for what it left in the session."""
    return [b"SAVEPOINT own", statement, b"ROLLBACK TO own", session.left()]


class OwnReading(NamedTuple):
    """The statements that read a queue with the policy's own SQL. depth, locked, left: indexes of their answers."""

    statements: Sequence[Statement]
    depth: int
    locked: int
    left: int

    @classmethod
    def of(cls, queue: QueuePolicy, key: str, reading: sql.Composed | None = None) -> OwnReading:
        """queue.sql runs as a cursor, because only a query can be one; two rows are enough to see that it has one.

        Rolling back to the savepoint undoes what it sets or locks for the transaction (search_path, a table).
        reading: the counting statement of a table with queue.where or of a preset; None for queue.sql.
        """
        mark = _mark(key)
        if queue.sql is None:
            assert reading is not None
            asked = [sql.Composed([sql.SQL("/* {} */ ").format(sql.SQL(mark)), reading])]
        else:
            name = sql.Identifier(mark)
            declared = sql.SQL("DECLARE {} CURSOR FOR {}").format(name, sql.SQL(queue.sql))
            asked = [declared, sql.SQL("FETCH 2 FROM {}").format(name)]
        locked = len(asked) + 1
        table_locked = sql.SQL(_TABLE_LOCKED).format()
        statements: list[Statement] = [b"SAVEPOINT own", *asked, table_locked, b"ROLLBACK TO own", session.left()]
        return cls(statements, depth=len(asked), locked=locked, left=locked + 2)

    def rendered(self, connection: Connection) -> Self:
        """The same as bytes."""
        return self._replace(statements=[as_bytes(one, connection) for one in self.statements])

    def shifted(self, by: int) -> Self:
        return self._replace(depth=self.depth + by, locked=self.locked + by, left=self.left + by)

    def remarks(self, queue: QueuePolicy, answers: list[Answer]) -> tuple[Remark, ...]:
        """A remark for each lock that it took and for what it left in the session."""
        place = _place(queue)
        locked = tuple(
            Remark(
                place,
                f"{place} takes a lock on {table} ({mode}); workers that write there wait while it runs: remove "
                "LOCK TABLE from the functions that it calls",
            )
            for table, mode in answers[self.locked].rows
        )
        left = [str(what) for what, _ in answers[self.left].rows]
        return (*locked, *((Remark(place, leftovers_warning(queue, left)),) if left else ()))


def leftovers_warning(queue: QueuePolicy, left: list[str]) -> str:
    what = ", ".join(left[:3])[:200]
    return (
        f"{_place(queue)} leaves {what} in its session, so the connection was closed: use pg_locks or "
        "pg_try_advisory_xact_lock (released at the end of the query), and no PREPARE"
    )


class OverdueQuery(NamedTuple):
    """A backend that still runs our query. seconds: since it began."""

    pid: int
    seconds: float


async def end_overdue(reader: Reader, asked: Mapping[str, tuple[QueuePolicy, float]]) -> dict[str, Unavailable]:
    """Terminates backends that run a queue's SQL for too long; returns the error of each such queue, by key.

    A function may catch query_canceled and go on, and closing the connection does not end a query. The query may come
    from this process, from one that has died, or from another replica. asked: the queue and its limit in seconds.

    Raises:
        psycopg.Error: the check itself failed.
    """
    found = await _overdue(reader, asked)
    if not found:
        return {}
    why = ""
    try:
        pids = sql.SQL(", ").join(sql.Literal(one.pid) for every in found.values() for one in every)
        ending = sql.SQL("SELECT pg_terminate_backend(pid) FROM unnest(ARRAY[{}]) AS pid").format(pids)
        await reader.read([ending], GRACE_S)
    except psycopg.DatabaseError as error:
        if reader.is_lost:
            raise
        why = f" ({(error.diag.message_primary or str(error))[:120]})"
    left = found
    for _ in range(_LOOKS):
        left = await _overdue(reader, asked)
        if not left or why:
            break
        await asyncio.sleep(_PAUSE_S)
    return {key: _words(asked[key][0], every, left.get(key, []), why) for key, every in found.items()}


async def _overdue(reader: Reader, asked: Mapping[str, tuple[QueuePolicy, float]]) -> dict[str, list[OverdueQuery]]:
    (answer,) = await reader.read([sql.SQL(_AT_WORK).format()], GRACE_S)
    found: dict[str, list[OverdueQuery]] = {}
    for key, (_, longest_s) in asked.items():
        mark = _mark(key)
        every = [
            OverdueQuery(pid, seconds)
            for pid, query, seconds in answer.rows
            if mark in query and seconds is not None and seconds > longest_s
        ]
        if every:
            found[key] = every
    return found


def _words(queue: QueuePolicy, found: list[OverdueQuery], left: list[OverdueQuery], why: str) -> Unavailable:
    place = _place(queue)
    longest = max(one.seconds for one in found)
    went_on = f"{place} did not stop when it was cancelled, and has run for {in_words(longest)}"
    fix = "a function in it that catches query_canceled must raise it again"
    if not left:
        return Unavailable(SOURCE, f"{went_on}; its backend was terminated: {fix}")
    pids = ", ".join(str(one.pid) for one in left[:5])
    return Unavailable(
        SOURCE,
        f"{went_on}, and cannot be terminated{why}; the queue is not read until it ends: SELECT "
        f"pg_terminate_backend({pids}); {fix}",
    )
