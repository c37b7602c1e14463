"""PostgreSQL: how many jobs wait and run, in one round trip, and the NOTIFY that cuts a wait short.

One connection, autocommit, every reading in a READ ONLY transaction with SET LOCAL timeouts: a session SET would leak
to other clients through a pooler, and an open transaction would freeze now() and keep vacuum from cleaning up.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import AsyncConnection, errors, sql
from psycopg.pq import TransactionStatus

from controller.model import QueueDepth
from controller.policy import Queue as QueuePolicy
from controller.ports import Source, Unavailable

_CONNECT_TIMEOUT_S = 3
_LOCK_TIMEOUT_S = 0.5
_TABLE = re.compile(r'(?:("(?:[^"]|"")+"|[^".]+)\.)?("(?:[^"]|"")+"|[^".]+)')
_DUE_COLUMNS = ("scheduled_for", "run_at")
_CREATED_COLUMNS = ("created_at",)

_COLUMNS = """
SELECT a.attname AS name, coalesce(nullif(t.typbasetype, 0), t.oid)
  IN ('timestamp'::regtype, 'timestamptz'::regtype) AS is_time
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = to_regclass({table}) AND a.attnum > 0 AND NOT a.attisdropped
"""

_DEPTH = """
SELECT
  (SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {ready} LIMIT {limit}) AS counted) AS pending,
  (SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {processing} LIMIT {limit}) AS counted) AS processing,
  {age} AS oldest_age
"""


async def _connect(dsn: str) -> AsyncConnection[Any]:
    return await AsyncConnection.connect(
        dsn,
        autocommit=True,
        prepare_threshold=None,  # a pooler in transaction mode knows nothing of prepared statements
        application_name="worker-autoscaler",
        client_encoding="utf-8",
        connect_timeout=_CONNECT_TIMEOUT_S,
        # A dead link looks like an idle one: keepalives find it while we wait, tcp_user_timeout while a query is out.
        keepalives=1,
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=5000,
    )


class PostgresQueue:
    """Reads the depth of any table that has a status column."""

    def __init__(self, dsn: str, *, timeout_s: float) -> None:
        self._dsn = dsn
        self._timeout_s = timeout_s
        self._connection: AsyncConnection[Any] | None = None
        self._statements: dict[tuple[str, int], sql.Composed] = {}
        # One connection serves all queues of the database, one reading at a time.
        self._turn = asyncio.Lock()

    async def depth(self, queue: QueuePolicy, limit: int) -> QueueDepth:
        """Pending (ready now), processing, and the seconds that the oldest ready job has been ready."""
        async with self._turn:
            try:
                async with asyncio.timeout(self._timeout_s + 2 * _CONNECT_TIMEOUT_S + 5):
                    return await self._reading(queue, limit)
            except TimeoutError:
                await self._drop()
                raise Unavailable(Source.QUEUE, "did not answer in time; is the network to it down?") from None
            except UnicodeError:
                raise Unavailable(Source.QUEUE, "cannot be asked: DATABASE_URL or the policy holds odd text") from None
            except psycopg.Error as error:
                # The table may have been changed under us: look at its columns afresh next time.
                self._statements.clear()
                await self._drop_if_broken()
                raise Unavailable(Source.QUEUE, self._mend(error, queue)) from None

    async def close(self) -> None:
        await self._drop()

    async def _reading(self, queue: QueuePolicy, limit: int) -> QueueDepth:
        kept = self._connection is not None
        try:
            return await self._ask(queue, limit)
        except psycopg.OperationalError:
            # A connection that died between two readings is no news of the queue: once more on a new one.
            if not kept or (self._connection is not None and not self._connection.broken):
                raise
            await self._drop()
            return await self._ask(queue, limit)

    async def _ask(self, queue: QueuePolicy, limit: int) -> QueueDepth:
        statement = await self._statement(queue, limit)
        (row,) = await self._rows(statement)
        pending, processing, age = row
        known = age is not None and math.isfinite(age)  # a timestamp may be infinity
        return QueueDepth(int(pending), int(processing), max(0.0, float(age)) if known else None)

    async def _statement(self, queue: QueuePolicy, limit: int) -> sql.Composed:
        key = (queue.model_dump_json(), limit)
        if key not in self._statements:
            self._statements[key] = await self._compose(queue, limit)
        return self._statements[key]

    async def _compose(self, queue: QueuePolicy, limit: int) -> sql.Composed:
        table = _identifier(queue.table)
        name = table.as_string(await self._connected())
        found = dict(await self._rows(sql.SQL(_COLUMNS).format(table=sql.Literal(name))))
        if not found:
            raise Unavailable(
                Source.QUEUE,
                f"there is no table {name} that this user can see; set queue.table (names keep their case, and may "
                "have their schema in front: jobs.generation_job)",
            )
        return _depth_statement(queue, table, _Columns.choose(queue, found), limit)

    async def _rows(self, statement: sql.Composed) -> list[tuple[Any, ...]]:
        connection = await self._connected()
        try:
            async with connection.pipeline():
                await connection.execute("BEGIN READ ONLY")
                for setting in (
                    f"SET LOCAL statement_timeout = {round(self._timeout_s * 1000)}",
                    f"SET LOCAL lock_timeout = {round(_LOCK_TIMEOUT_S * 1000)}",
                    "SET LOCAL row_security = off",  # an error, where rows would be hidden and counted as none
                    "SET LOCAL TimeZone = 'UTC'",  # where a column has no time zone, UTC is what libraries store
                ):
                    await connection.execute(setting)
                cursor = await connection.execute(statement)
                await connection.execute("COMMIT")
            return await cursor.fetchall()
        finally:
            if not connection.closed and connection.info.transaction_status is not TransactionStatus.IDLE:
                await connection.rollback()

    async def _connected(self) -> AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = await _connect(self._dsn)
        return self._connection

    async def _drop_if_broken(self) -> None:
        if self._connection is not None and (self._connection.closed or self._connection.broken):
            await self._drop()

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _mend(self, error: psycopg.Error, queue: QueuePolicy) -> str:
        table = queue.table
        if "row-level security" in str(error):
            return f"row security hides rows of {table} from this user; ALTER ROLE … BYPASSRLS, or read a view of it"
        for kind, words in {
            errors.UndefinedTable: f"there is no table {table}; set queue.table",
            errors.UndefinedColumn: f"table {table} has changed: {_brief(error)}; set queue.columns",
            errors.InsufficientPrivilege: f"{_brief(error)}; GRANT SELECT ON {table}, and USAGE on its schema",
            errors.LockNotAvailable: f"{table} is locked by another session (an ALTER TABLE, a VACUUM FULL?); "
            "it will be read again when the lock is gone",
            errors.QueryCanceled: f"counting {table} took longer than {self._timeout_s:g} s; "
            f"CREATE INDEX CONCURRENTLY ON {table} ({queue.columns.status}) would make it quick",
            errors.InvalidTextRepresentation: f"{_brief(error)}; set queue.statuses to values that "
            f"{table}.{queue.columns.status} has",
            errors.UndefinedFunction: f"{_brief(error)}; queue.statuses must be of the column's type",
        }.items():
            if isinstance(error, kind):
                return words
        return _connection_words(error)


@dataclass(frozen=True, slots=True)
class _Columns:
    """The table's columns that a reading uses; None where the table has no such column."""

    status: str
    due: str | None
    created: str | None

    @classmethod
    def choose(cls, queue: QueuePolicy, found: dict[str, bool]) -> _Columns:
        wanted = queue.columns
        for key, name in wanted.model_dump().items():
            if name is not None and name not in found:
                known = ", ".join(sorted(found))
                raise Unavailable(
                    Source.QUEUE,
                    f"table {queue.table} has no column {name}; set queue.columns.{key} to one that it has: {known}",
                )
            if name is not None and key == "created_at" and not found[name]:
                raise Unavailable(Source.QUEUE, f"column {name} of {queue.table} is no timestamp; queue.columns.{key}")
        due = wanted.scheduled_for or next((name for name in _DUE_COLUMNS if name in found), None)
        if due is not None and not found[due]:
            raise Unavailable(
                Source.QUEUE,
                f"column {due} of {queue.table} is no timestamp, so that nobody can tell which jobs are due; set "
                "queue.columns.scheduled_for to the column that says when",
            )
        created = wanted.created_at or next((name for name in _CREATED_COLUMNS if found.get(name)), None)
        return cls(wanted.status, due, created)


def _depth_statement(queue: QueuePolicy, table: sql.Identifier, columns: _Columns, limit: int) -> sql.Composed:
    status = sql.Identifier(columns.status)
    # Untyped literals take the column's own type: text, an enum, a number.
    ready = sql.SQL("{} IN ({})").format(status, sql.SQL(", ").join(map(sql.Literal, queue.statuses.pending)))
    if columns.due is not None:
        due = sql.Identifier(columns.due)
        ready = sql.SQL("{} AND ({} IS NULL OR {} <= now())").format(ready, due, due)
    processing = sql.SQL("{} IN ({})").format(status, sql.SQL(", ").join(map(sql.Literal, queue.statuses.processing)))
    since = [sql.Identifier(name) for name in (columns.created, columns.due) if name is not None]
    age = sql.Composed([sql.SQL("NULL")])
    if since:
        age = sql.SQL("(SELECT extract(epoch FROM now() - min(greatest({since}))) FROM {table} WHERE {ready})").format(
            since=sql.SQL(", ").join(since), table=table, ready=ready
        )
    return sql.SQL(_DEPTH).format(table=table, ready=ready, processing=processing, limit=limit, age=age)


def _identifier(table: str) -> sql.Identifier:
    """`job`, `jobs.job`, or with SQL's own quotes where a name holds a dot: `jobs."odd.name"`."""
    match = _TABLE.fullmatch(table)
    if match is None:
        raise Unavailable(Source.QUEUE, f"queue.table {table!r} is not a table's name; write table or schema.table")
    return sql.Identifier(*(_unquoted(part) for part in match.groups() if part))


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _brief(error: psycopg.Error) -> str:
    return (error.diag.message_primary or str(error)).split("\n", 1)[0][:200]


_CONNECTION_WORDS = {
    "not permitted to log in": "has the user in DATABASE_URL, and does not let it log in (NOLOGIN)",
    "No such file": "has no socket where DATABASE_URL (or its lack of a host) looks for one",
    "password authentication failed": "refuses the user or password in DATABASE_URL",
    "no password supplied": "wants a password, and DATABASE_URL has none",
    "too many clients": "has no connection left; one is needed here",
    "remaining connection slots": "has no connection left; one is needed here",
    "too many connections": "has no connection left for this user or database; one is needed here",
    'role "': "does not know the user in DATABASE_URL",
    'database "': "does not have the database that DATABASE_URL names",
    "no pg_hba.conf entry": "does not let this user in from here (pg_hba.conf); DATABASE_URL may need ?sslmode=require",
    "Connection refused": "refuses connections at the address in DATABASE_URL; is it running?",
    "translate host name": "cannot be found: no such host as DATABASE_URL names",
    "name resolution": "cannot be found: no such host as DATABASE_URL names",
    "resolve host": "cannot be found: no such host as DATABASE_URL names",
    "Name or service not known": "cannot be found: no such host as DATABASE_URL names",
    "timeout expired": "did not answer at the address in DATABASE_URL in time",
    "connection timeout": "did not answer at the address in DATABASE_URL in time",
    "starting up": "is starting up",
    "shutting down": "is shutting down",
    "recovery mode": "is recovering from a crash",
    "sslmode": "cannot be asked with the sslmode that DATABASE_URL names",
    "administrator command": "ended the connection (a restart?); it is opened again",
    "SSL": "and DATABASE_URL do not agree on TLS; see its sslmode",
}


def _connection_words(error: psycopg.Error) -> str:
    """What a failed connection means; libpq says it in words only, and they may quote what must not be shown."""
    text = str(error)
    for part, words in _CONNECTION_WORDS.items():
        if part in text:
            return words
    if error.diag.message_primary:
        return f"{type(error).__name__}: {_brief(error)}"
    return "cannot be connected to, or broke off; look at the host and the options in DATABASE_URL"


@dataclass(frozen=True, slots=True)
class Listener:
    """Calls wake() for every notification on the channels, while leading(). Its failures cost only speed.

    A notification only means "look now": what was sent while nobody listened is made up for by begun(), which is called
    after each connect.
    """

    dsn: str
    channels: Collection[str]
    leading: Callable[[], bool]
    begun: Callable[[], None]
    wake: Callable[[], None]

    async def run(self) -> None:
        """For ever; on a connection of its own, and on none while another replica leads."""
        while True:
            await asyncio.sleep(1.0)
            if self.leading():
                try:
                    await self._listen()
                except (psycopg.Error, OSError):
                    await asyncio.sleep(5.0)

    async def _listen(self) -> None:
        connection = await _connect(self.dsn)
        try:
            for channel in self.channels:
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            self.begun()
            while self.leading():
                async for _ in connection.notifies(timeout=5.0):
                    self.wake()
                await connection.execute("SELECT 1")  # a dead link fails here, within tcp_user_timeout
        finally:
            await connection.close()
