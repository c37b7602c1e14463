"""Connects to PostgreSQL and reads from it, safely behind a pooler, over a dead link, and for other clients.

Autocommit; every reading is one READ ONLY transaction with local settings. A session SET would leak to other clients
through a pooler; an open transaction would freeze now() and block vacuum.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from psycopg import AsyncConnection, AsyncCursor, AsyncPipeline, DatabaseError, OperationalError, ProgrammingError, sql
from psycopg.conninfo import conninfo_to_dict

from controller.adapters.postgres import session
from controller.core.text.masking import Masker
from controller.core.units import in_words

APPLICATION_NAME = "worker-autoscaler"
OLDEST = 12
"""The first version with pg_partition_tree and MATERIALIZED, which readings and presets need."""
CONNECT_TIMEOUT_S = 3
_LOCK_TIMEOUT_S = 0.5
_SLACK_S = 2.0
"""Added to a timeout for the network, and for a pooler to find a free server connection."""

_SECRETS = ("password", "sslpassword", "oauth_client_secret")

# psycopg's warnings (for example of a pipeline that an error ended) would repeat what we report ourselves.
logging.getLogger("psycopg").setLevel(logging.ERROR)

Connection = AsyncConnection[Any]
Statement = sql.Composed | bytes
"""Bytes: rendered before, because that takes as long as asking it does."""


class TooOldError(OperationalError):
    """The server is older than version 12, which our statements need."""


async def connect(dsn: str) -> Connection:
    """Opens a connection; the server must be version 12 or newer.

    Raises:
        psycopg.Error: with the message of libpq or the server, passwords masked.
    """
    try:
        connection = await AsyncConnection.connect(
            dsn,
            autocommit=True,
            prepare_threshold=None,  # a pooler in transaction mode does not support prepared statements
            application_name=APPLICATION_NAME,
            client_encoding="utf-8",
            connect_timeout=CONNECT_TIMEOUT_S,
            # A dead link looks like an idle one: keepalives detect it while idle, tcp_user_timeout during a query.
            keepalives=1,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=5000,
        )
    except (OperationalError, ProgrammingError) as error:
        raise type(error)(_masked(str(error), dsn)) from None
    version = connection.info.server_version
    if 0 < version < OLDEST * 10_000:
        shown = connection.info.parameter_status("server_version") or version
        await connection.close()
        raise TooOldError(f"is version {shown}; the oldest supported version is {OLDEST}: upgrade it")
    return connection


def _masked(words: str, dsn: str) -> str:
    """Masks passwords: a server's or pooler's error about a refused start-up may quote what it was sent."""
    try:
        info = conninfo_to_dict(dsn)
    except ProgrammingError:
        return "the address is not a valid PostgreSQL address"
    passwords = (str(info[name]) for name in _SECRETS if info.get(name))
    return Masker([dsn, *passwords, os.environ.get("PGPASSWORD", "")]).text(words)


class NoAnswerError(OperationalError):
    """The connection was given up because a statement got no answer in time."""


@contextlib.contextmanager
def answered_within(connection: Connection, seconds: float) -> Iterator[None]:
    """Shuts the connection's socket if the statements in this block are not answered within `seconds`.

    Cancelling does not work on a dead link: psycopg first asks the server to cancel, over the same link, and waits 10 s
    for that. tcp_user_timeout does not always help either: a proxy may acknowledge packets and never answer.

    Raises:
        NoAnswerError: instead of the error that the shut socket causes.
    """
    given_up = False

    def give_up() -> None:
        nonlocal given_up
        given_up = True
        with contextlib.suppress(OSError, OperationalError), socket.socket(fileno=os.dup(connection.fileno())) as link:
            link.shutdown(socket.SHUT_RDWR)

    timer = asyncio.get_running_loop().call_later(seconds, give_up)
    try:
        yield
    except OperationalError as error:
        if given_up:
            raise NoAnswerError(f"no answer within {in_words(seconds)}") from error
        raise
    finally:
        timer.cancel()


def read_within(counts: int, timeout_s: float) -> float:
    """Seconds that a reading may take. counts: how many of its statements may each use the whole timeout."""
    return counts * timeout_s + _SLACK_S


def local_settings(timeout_s: float, search_path: str = "") -> dict[str, str]:
    """The settings of one reading transaction. search_path: empty keeps the database user's own."""
    return {
        **({"search_path": search_path} if search_path else {}),
        "statement_timeout": str(round(timeout_s * 1000)),
        "lock_timeout": str(round(_LOCK_TIMEOUT_S * 1000)),
        "row_security": "off",  # an error instead of hidden rows, which would be counted as 0
        "TimeZone": "UTC",  # libraries store UTC in columns without a time zone
        "jit": "off",  # compiling takes longer than a bounded count
        "cursor_tuple_fraction": "1",  # all rows of a cursor are fetched
    }


BY_INDEX = {"enable_seqscan": "off"}
"""With stale statistics, LIMIT makes a sequential scan look cheap. Without any index it is still used."""
AS_PLANNED = {"enable_seqscan": "on"}


def setting(values: dict[str, str]) -> sql.Composed:
    """One statement that sets all values until the transaction ends."""
    calls = [sql.SQL("set_config({}, {}, true)").format(sql.Literal(k), sql.Literal(v)) for k, v in values.items()]
    return sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls))


def as_bytes(statement: Statement, connection: Connection) -> bytes:
    """Rendered for this connection, and any other to the same database."""
    return statement if isinstance(statement, bytes) else statement.as_bytes(connection)


class Answer(NamedTuple):
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Reader:
    """A connection that only reads, each time in one transaction and one round trip.

    It stays in pipeline mode for its whole life. On leaving that mode psycopg sends a Flush after its Sync; a pooler in
    transaction mode then assigns a session to the client, and nothing ends that assignment.
    """

    connection: Connection
    _pipeline: AsyncPipeline
    _mode: contextlib.AsyncExitStack
    _search_path: str
    left: list[str] = field(default_factory=list)
    """What failed SQL left in the session (locks, prepared statements); if any, the connection must be closed."""

    @classmethod
    async def connect(cls, dsn: str, search_path: str = "") -> Reader:
        """search_path: set in every reading, as DATABASE_URL names it; empty keeps the database user's own."""
        connection = await connect(dsn)
        # Through a pooler it may receive notifications for another client, which psycopg would keep forever.
        connection.add_notify_handler(lambda _: None)
        mode = contextlib.AsyncExitStack()
        return cls(connection, await mode.enter_async_context(connection.pipeline()), mode, search_path)

    @property
    def is_lost(self) -> bool:
        return self.connection.closed or self.connection.broken

    async def read(
        self, statements: Iterable[Statement], timeout_s: float, *, counts: int = 1, watched: bool = False
    ) -> list[Answer]:
        """The answer of each statement, all in one transaction and one round trip.

        counts: how many statements may each use the whole timeout. watched: some of them hold the policy's own SQL, so
        compare what the session holds before and after.

        Raises:
            psycopg.Error: from the first statement that fails; then there is no answer at all.
        """
        with answered_within(self.connection, read_within(counts, timeout_s)):
            begun = [sql.SQL("BEGIN READ ONLY").format(), setting(local_settings(timeout_s, self._search_path))]
            look = [session.before()] if watched else []
            begun += look
            cursors = await self._sent(
                [*begun, *statements, sql.SQL("COMMIT").format()], look=len(begun) - 1 if watched else None
            )
            return [await _answer(cursor) for cursor in cursors[len(begun) : -1]]

    async def _sent(self, statements: Iterable[Statement], *, look: int | None = None) -> list[AsyncCursor[Any]]:
        """Sends the statements; if one fails, rolls back, so that no transaction stays open.

        look: index of the statement that returns what the session held before; None if that was not asked.
        """
        well = False
        cursors: list[AsyncCursor[Any]] = []
        try:
            for statement in statements:
                cursors.append(await self.connection.execute(statement))  # noqa: PERF401  # used below if one fails
            await self._pipeline.sync()
            well = True
            return cursors
        finally:
            if not well and not self.is_lost:
                with contextlib.suppress(DatabaseError):  # the errors of statements sent after the one that failed
                    await self._pipeline.sync()
                if look is None or len(cursors) <= look:
                    await self.connection.rollback()
                else:
                    await self._rolled_back(cursors[look])

    async def _rolled_back(self, look: AsyncCursor[Any]) -> None:
        """Rolls back and releases what was left, in one round trip: a pooler may give the next one another session."""
        row = await look.fetchone() if look.description is not None else None
        await self.connection.execute("ROLLBACK")
        left = None if row is None else await self.connection.execute(session.left(row[0]))
        await self._pipeline.sync()
        if left is not None:
            self.left.extend(str(what) for what, _ in await left.fetchall())

    async def notify(self, channel: str, timeout_s: float) -> None:
        with answered_within(self.connection, read_within(1, timeout_s)):
            await self._sent([sql.SQL("NOTIFY {}").format(sql.Identifier(channel))])

    async def close(self) -> None:
        await self.connection.close()
        with contextlib.suppress(OperationalError):  # leaving pipeline mode fails on a closed connection
            await self._mode.aclose()


async def _answer(cursor: AsyncCursor[Any]) -> Answer:
    if cursor.description is None:
        return Answer((), [])
    return Answer(tuple(column.name for column in cursor.description), await cursor.fetchall())
