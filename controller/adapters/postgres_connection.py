"""How PostgreSQL is connected to and asked, so that neither a pooler, a dead link nor our own reading harms anybody.

Autocommit, every reading in a READ ONLY transaction with its settings local to it: a session SET would leak to other
clients through a pooler, and an open transaction would freeze now() and keep vacuum from cleaning up.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from psycopg import AsyncConnection, AsyncCursor, sql
from psycopg.pq import TransactionStatus

APPLICATION_NAME = "worker-autoscaler"
CONNECT_TIMEOUT_S = 3
_LOCK_TIMEOUT_S = 0.5

Connection = AsyncConnection[Any]


async def connect(dsn: str) -> Connection:
    return await AsyncConnection.connect(
        dsn,
        autocommit=True,
        prepare_threshold=None,  # a pooler in transaction mode knows nothing of prepared statements
        application_name=APPLICATION_NAME,
        client_encoding="utf-8",
        connect_timeout=CONNECT_TIMEOUT_S,
        # A dead link looks like an idle one: keepalives find it while we wait, tcp_user_timeout while a query is out.
        keepalives=1,
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=5000,
    )


def local_settings(timeout_s: float) -> dict[str, str]:
    """For one transaction that reads, and takes no longer."""
    return {
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


async def read(connection: Connection, statements: Iterable[sql.Composed], timeout_s: float) -> list[Answer]:
    """What each answers, in one transaction and one round trip.

    Raises:
        psycopg.Error: of the first that fails; then none was answered.
    """
    try:
        async with connection.pipeline():
            await connection.execute("BEGIN READ ONLY")
            await connection.execute(setting(local_settings(timeout_s)))
            cursors = [await connection.execute(statement) for statement in statements]
            await connection.execute("COMMIT")
        return [await _answer(cursor) for cursor in cursors]
    finally:
        if not connection.closed and connection.info.transaction_status is not TransactionStatus.IDLE:
            await connection.rollback()


async def _answer(cursor: AsyncCursor[Any]) -> Answer:
    if cursor.description is None:
        return Answer((), [])
    return Answer(tuple(column.name for column in cursor.description), await cursor.fetchall())
