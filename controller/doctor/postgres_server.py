"""Doctor's checks of the PostgreSQL server: version, round trip, standby, pooler, clock, and whether NOTIFY arrives."""

from __future__ import annotations

import time
from datetime import datetime
from typing import NamedTuple

import psycopg
from psycopg import sql

from controller.adapters.postgres import SOURCE
from controller.adapters.postgres.connection import Connection, NoAnswerError, Reader, answered_within, connect
from controller.adapters.postgres.errors import in_words, is_connection_limit
from controller.adapters.postgres.listener import receives_notify, second_connection_needed, with_server_reason
from controller.adapters.postgres.queue import PostgresQueue
from controller.core import units
from controller.core.ports import Clock, Unavailable
from controller.doctor.finding import Finding, error, ok, warning

_SERVER = """
SELECT current_setting('server_version'), current_user, pg_backend_pid(), extract(epoch FROM clock_timestamp()),
  current_database(), pg_postmaster_start_time(), pg_is_in_recovery()
"""
_DATABASE = "SELECT current_database(), pg_postmaster_start_time(), pg_is_in_recovery()"
_UNTIL_THEN = "until then the queue is read once per interval"
_ANSWER_S = 3.0
_QUIET_S = 6.0
"""Longer than the 5 s after which `run` checks a silent listening connection, so a cut within that time is seen."""


class Database(NamedTuple):
    """started: the server's start time. It tells a server from its clone; both have the same system identifier."""

    name: str
    started: datetime
    standby: bool

    def is_another(self, other: Database) -> bool:
        """A primary and its standby count as the same database: they hold the same data."""
        same_server = self.started == other.started or self.standby or other.standby
        return self.name != other.name or not same_server


class Reach(NamedTuple):
    """ahead_s: seconds by which PostgreSQL's clock is ahead of the local clock; negative if it is behind."""

    findings: list[Finding]
    ahead_s: float
    database: Database


async def reach(reader: Reader, clock: Clock, timeout_s: float) -> Reach:
    """Checks the server that the queue is read from, on the connection that reads it.

    Raises:
        psycopg.Error: the query failed.
    """
    began, asked = time.perf_counter(), clock.wall()
    (answer,) = await reader.read([sql.SQL(_SERVER).format()], timeout_s)
    took = time.perf_counter() - began
    version, user, process, there, *rest = answer.rows[0]
    database = Database(*rest)
    number = str(version).split()[0]
    words = f"{number}, user {user}, database {database.name}; a round trip takes {units.in_words(took)}"
    findings = [ok("PostgreSQL", words)]
    if database.standby:
        says = "DATABASE_URL leads to a standby: its data may be old, and a standby cannot send NOTIFY"
        findings.append(warning("primary", says, "set DATABASE_URL to the primary's address"))
    if process != reader.connection.info.backend_pid:
        findings.append(ok("pooler", "the connection goes through a pooler"))
    else:
        findings.append(ok("pooler", "none: the connection is direct"))
    return Reach(findings, float(there) - (asked + took / 2), database)


async def woken(dsn: str, variable: str, queue: PostgresQueue, read: Database | None) -> Finding:
    """Sends a NOTIFY and checks that it arrives at the address used for LISTEN.

    variable: the environment variable that holds `dsn`. read: the database that DATABASE_URL leads to, to compare with;
    None if there is nothing to compare.
    """
    fix = f"set DATABASE_DIRECT_URL to PostgreSQL's own address; {_UNTIL_THEN}"
    try:
        connection = await connect(dsn)
    except psycopg.Error as failure:
        words = f"PostgreSQL {in_words(failure, None, 0, variable)}"
        if is_connection_limit(failure):
            return warning("listening", second_connection_needed(variable, words), _UNTIL_THEN)
        return error("listening", f"{variable}: {words}", f"correct {variable}")
    try:
        if await receives_notify(connection, dsn, queue.notify):
            return await _kept(connection, variable)
        there = await _database(connection)
    except NoAnswerError:
        return warning(
            "listening",
            second_connection_needed(variable, "it did not answer; does a pooler allow only one session?"),
            _UNTIL_THEN,
        )
    except (psycopg.Error, Unavailable) as failure:
        words = in_words(failure, None, 0) if isinstance(failure, psycopg.Error) else str(failure)
        return warning("listening", f"NOTIFY could not be tested at {variable}: {SOURCE} {words}", fix)
    finally:
        await connection.close()
    if read is not None and read.is_another(there):
        names = f"{there.name}, not {read.name}" if there.name != read.name else f"{there.name} on another server"
        says = f"NOTIFY does not arrive: {variable} leads to a different database than DATABASE_URL ({names})"
        return error("listening", says, f"set {variable} to PostgreSQL's own address of the same database")
    return warning("listening", f"NOTIFY does not arrive at {variable}: it leads through a pooler", fix)


async def _kept(connection: Connection, variable: str) -> Finding:
    """Whether an idle listening connection stays open for 6 s (_QUIET_S)."""
    began = time.perf_counter()
    try:
        with with_server_reason(connection):
            async for _ in connection.notifies(timeout=_QUIET_S):
                pass
            with answered_within(connection, _ANSWER_S):
                await connection.execute("SELECT 1")
    except psycopg.OperationalError as failure:
        words = in_words(failure, None, 0, variable)
        lasted = units.in_words(time.perf_counter() - began)
        says = f"the listening connection was cut after {lasted}: PostgreSQL {words}"
        fix = "find what ends idle connections: a pooler, a proxy, idle_session_timeout, a job that ends sessions"
        return warning("listening", says, f"{fix}; {_UNTIL_THEN}")
    return ok("listening", f"NOTIFY arrives at {variable}")


async def _database(connection: Connection) -> Database:
    with answered_within(connection, _ANSWER_S):
        row = await (await connection.execute(_DATABASE)).fetchone()
    assert row is not None, "a query without FROM returns one row"
    return Database(*row)
