"""How PostgreSQL is connected to and asked, so that neither a pooler, a dead link nor our own reading harms anybody.

Autocommit, every reading in a READ ONLY transaction with its settings local to it: a session SET would leak to other
clients through a pooler, and an open transaction would freeze now() and keep vacuum from cleaning up.
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
"""For the way there and back, and for a pooler to find a connection of its own."""

_SECRETS = ("password", "sslpassword", "oauth_client_secret")

# What it warns of (a pipeline that an error ended, say) is said in our own words, and less often.
logging.getLogger("psycopg").setLevel(logging.ERROR)

Connection = AsyncConnection[Any]


class TooOldError(OperationalError):
    """The server is of a version that our statements are not for."""


async def connect(dsn: str) -> Connection:
    """A connection to a server that is new enough.

    Raises:
        psycopg.Error: with the words of libpq or the server, and no password in them.
    """
    try:
        connection = await AsyncConnection.connect(
            dsn,
            autocommit=True,
            prepare_threshold=None,  # a pooler in transaction mode knows nothing of prepared statements
            application_name=APPLICATION_NAME,
            client_encoding="utf-8",
            connect_timeout=CONNECT_TIMEOUT_S,
            # A dead link looks like an idle one: keepalives find it while we wait, tcp_user_timeout while a query is
            # out.
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
        raise TooOldError(f"is version {shown}, and the oldest that can be read is {OLDEST}; upgrade it")
    return connection


def _masked(words: str, dsn: str) -> str:
    """What a server or a pooler says of a refused start-up may repeat what it was sent."""
    try:
        info = conninfo_to_dict(dsn)
    except ProgrammingError:
        return "it is no address of a PostgreSQL"
    passwords = (str(info[name]) for name in _SECRETS if info.get(name))
    return Masker([dsn, *passwords, os.environ.get("PGPASSWORD", "")]).text(words)


class NoAnswerError(OperationalError):
    """The connection was given up: what was asked on it stayed without an answer."""


@contextlib.contextmanager
def answered_within(connection: Connection, seconds: float) -> Iterator[None]:
    """Gives the connection up, link and all, where what is asked in this block has no answer by then.

    A timeout that cancels is no use on a dead link: psycopg first asks the server to cancel, over the same link, and
    waits 10 s for that. Nor does tcp_user_timeout always end it: a proxy in between may acknowledge, and be silent.

    Raises:
        NoAnswerError: in the place of the error that the end of the link causes.
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
    """The longest that a reading takes, where so many of its statements count something."""
    return counts * timeout_s + _SLACK_S


def local_settings(timeout_s: float, search_path: str = "") -> dict[str, str]:
    """For one transaction that reads, and takes no longer. search_path: empty for the user's own."""
    return {
        **({"search_path": search_path} if search_path else {}),
        "statement_timeout": str(round(timeout_s * 1000)),
        "lock_timeout": str(round(_LOCK_TIMEOUT_S * 1000)),
        "row_security": "off",  # an error, where rows would be hidden and counted as none
        "TimeZone": "UTC",  # where a column has no time zone, UTC is what libraries store
        "jit": "off",  # compiling takes longer than a count that stops
        "cursor_tuple_fraction": "1",  # what is fetched by a cursor is fetched whole
    }


BY_INDEX = {"enable_seqscan": "off"}
"""With stale statistics, LIMIT makes a sequential scan look cheap; where there is no index, it still happens."""
AS_PLANNED = {"enable_seqscan": "on"}


def setting(values: dict[str, str]) -> sql.Composed:
    """All of them in one statement, until the transaction ends."""
    calls = [sql.SQL("set_config({}, {}, true)").format(sql.Literal(k), sql.Literal(v)) for k, v in values.items()]
    return sql.SQL("SELECT {}").format(sql.SQL(", ").join(calls))


class Answer(NamedTuple):
    columns: tuple[str, ...]
    rows: list[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Reader:
    """A connection that only reads, each time in one transaction and one round trip.

    It is in pipeline mode from beginning to end. On leaving that mode psycopg sends a Flush after its Sync, and whoever
    sends one to a pooler in transaction mode is given a session, with nothing ever to end its turn.
    """

    connection: Connection
    _pipeline: AsyncPipeline
    _mode: contextlib.AsyncExitStack
    _search_path: str
    left: list[str] = field(default_factory=list)
    """What SQL that failed has left behind in the session, in words; a connection with any is not to be kept."""

    @classmethod
    async def connect(cls, dsn: str, search_path: str = "") -> Reader:
        """search_path: of every reading, as DATABASE_URL names it; empty for the user's own."""
        connection = await connect(dsn)
        # Through a pooler it gets what others listen to on the same session, and psycopg would keep it for ever.
        connection.add_notify_handler(lambda _: None)
        mode = contextlib.AsyncExitStack()
        return cls(connection, await mode.enter_async_context(connection.pipeline()), mode, search_path)

    @property
    def is_lost(self) -> bool:
        return self.connection.closed or self.connection.broken

    async def read(
        self, statements: Iterable[sql.Composed], timeout_s: float, *, counts: int = 1, watched: bool = False
    ) -> list[Answer]:
        """What each answers. counts: how many of them may take their time. watched: some are not ours.

        Raises:
            psycopg.Error: of the first that fails; then none was answered.
        """
        with answered_within(self.connection, read_within(counts, timeout_s)):
            begun = [sql.SQL("BEGIN READ ONLY").format(), setting(local_settings(timeout_s, self._search_path))]
            look = [session.before()] if watched else []
            begun += look
            cursors = await self._sent(
                [*begun, *statements, sql.SQL("COMMIT").format()], look=len(begun) - 1 if watched else None
            )
            return [await _answer(cursor) for cursor in cursors[len(begun) : -1]]

    async def _sent(self, statements: Iterable[sql.Composed], *, look: int | None = None) -> list[AsyncCursor[Any]]:
        """Whatever happens, nothing is left open. look: which of them answers what the session held before."""
        well = False
        cursors: list[AsyncCursor[Any]] = []
        try:
            for statement in statements:
                cursors.append(await self.connection.execute(statement))  # noqa: PERF401  # what was sent is known below
            await self._pipeline.sync()
            well = True
            return cursors
        finally:
            if not well and not self.is_lost:
                with contextlib.suppress(DatabaseError):  # what was sent after the statement that failed
                    await self._pipeline.sync()
                if look is None or len(cursors) <= look:
                    await self.connection.rollback()
                else:
                    await self._rolled_back(cursors[look])

    async def _rolled_back(self, look: AsyncCursor[Any]) -> None:
        """Rolls back and gives back what was left, in one go: in the next, a pooler may give us another session."""
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
        with contextlib.suppress(OperationalError):  # there is nobody left to tell that the mode ends
            await self._mode.aclose()


async def _answer(cursor: AsyncCursor[Any]) -> Answer:
    if cursor.description is None:
        return Answer((), [])
    return Answer(tuple(column.name for column in cursor.description), await cursor.fetchall())
