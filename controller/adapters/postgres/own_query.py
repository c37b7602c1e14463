"""SQL that the user wrote (queue.sql, queue.where, a preset of their own): how it is asked, and what it leaves.

Also what outlives its cancel.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import NamedTuple

import psycopg
from psycopg import sql

from controller.adapters.postgres import SOURCE, session
from controller.adapters.postgres.connection import Answer, Reader
from controller.core.model import Remark
from controller.core.ports import Unavailable
from controller.core.units import in_words
from controller.policy import Queue as QueuePolicy

GRACE_S = 1.0
"""Past its timeout, until a query that another process may have asked counts as one that went on."""
_LOOKS, _PAUSE_S = 10, 0.1
"""How long a backend that was ended has for going."""

# A depth only reads: with any other lock on a table, the workers wait for as long as the query runs.
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
    """By which pg_stat_activity shows what a backend is at work on: the name of a cursor, or in a comment."""
    return f"own_{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def undone(statement: sql.Composed) -> list[sql.Composed]:
    """The statement, with all undone that it did in its transaction, and what it leaves beyond; see OwnReading."""
    before, after = sql.SQL("SAVEPOINT own").format(), sql.SQL("ROLLBACK TO own").format()
    return [before, statement, after, session.left()]


class OwnReading(NamedTuple):
    """The statements that read a queue with SQL of its own, and which of them answers what."""

    statements: list[sql.Composed]
    depth: int
    locked: int
    left: int

    @classmethod
    def of(cls, queue: QueuePolicy, key: str, reading: sql.Composed | None = None) -> OwnReading:
        """Of a query two rows are fetched by a cursor, and nothing but a query can be declared as one.

        What it sets or locks until the transaction ends (search_path, a table) is undone by rolling back to before it.
        reading: of a table or a preset, what counts its rows.
        """
        mark = _mark(key)
        if queue.sql is None:
            assert reading is not None
            asked = [sql.Composed([sql.SQL("/* {} */ ").format(sql.SQL(mark)), reading])]
        else:
            name = sql.Identifier(mark)
            declared = sql.SQL("DECLARE {} CURSOR FOR {}").format(name, sql.SQL(queue.sql))
            asked = [declared, sql.SQL("FETCH 2 FROM {}").format(name)]
        before, after = sql.SQL("SAVEPOINT own").format(), sql.SQL("ROLLBACK TO own").format()
        locked = len(asked) + 1
        statements = [before, *asked, sql.SQL(_TABLE_LOCKED).format(), after, session.left()]
        return cls(statements, depth=len(asked), locked=locked, left=locked + 2)

    def shifted(self, by: int) -> OwnReading:
        return self._replace(depth=self.depth + by, locked=self.locked + by, left=self.left + by)

    def remarks(self, queue: QueuePolicy, answers: list[Answer]) -> tuple[Remark, ...]:
        """What it did besides reading."""
        place = _place(queue)
        locked = tuple(
            Remark(
                place,
                f"{place} takes a lock on {table} ({mode}), and workers that write there wait while it runs; leave "
                "LOCK TABLE out of the functions that it calls",
            )
            for table, mode in answers[self.locked].rows
        )
        left = [str(what) for what, _ in answers[self.left].rows]
        return (*locked, *((Remark(place, leaves(queue, left)),) if left else ()))


def leaves(queue: QueuePolicy, left: list[str]) -> str:
    what = ", ".join(left[:3])[:200]
    return (
        f"{_place(queue)} leaves {what} behind in its session; the connection was closed to be rid of it: read "
        "pg_locks, or take pg_try_advisory_xact_lock, which ends with the query, and PREPARE nothing"
    )


class AtWork(NamedTuple):
    """A backend that still runs what we asked."""

    pid: int
    seconds: float


async def outlived(reader: Reader, asked: Mapping[str, tuple[QueuePolicy, float]]) -> dict[str, Unavailable]:
    """Of queues by key, with the seconds that each may be at work: what to say where a backend is longer; it is ended.

    A function may catch query_canceled and go on, and to close the connection ends no query by itself. Whatever asked:
    a controller that is gone, or another replica of this one.

    Raises:
        psycopg.Error: it could not be asked.
    """
    found = await _at_work(reader, asked)
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
        left = await _at_work(reader, asked)
        if not left or why:
            break
        await asyncio.sleep(_PAUSE_S)
    return {key: _words(asked[key][0], every, left.get(key, []), why) for key, every in found.items()}


async def _at_work(reader: Reader, asked: Mapping[str, tuple[QueuePolicy, float]]) -> dict[str, list[AtWork]]:
    (answer,) = await reader.read([sql.SQL(_AT_WORK).format()], GRACE_S)
    found: dict[str, list[AtWork]] = {}
    for key, (_, longest_s) in asked.items():
        mark = _mark(key)
        every = [
            AtWork(pid, seconds)
            for pid, query, seconds in answer.rows
            if mark in query and seconds is not None and seconds > longest_s
        ]
        if every:
            found[key] = every
    return found


def _words(queue: QueuePolicy, found: list[AtWork], left: list[AtWork], why: str) -> Unavailable:
    place = _place(queue)
    longest = max(one.seconds for one in found)
    went_on = f"{place} went on after it was cancelled, for {in_words(longest)} by now"
    mend = "a function in it that catches query_canceled has to raise it again"
    if not left:
        return Unavailable(SOURCE, f"{went_on}; its backend was ended: {mend}")
    pids = ", ".join(str(one.pid) for one in left[:5])
    return Unavailable(
        SOURCE,
        f"{went_on}, and cannot be ended{why}; it is not asked again until that is over: SELECT "
        f"pg_terminate_backend({pids}); {mend}",
    )
