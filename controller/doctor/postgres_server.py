"""What doctor looks at on the way to PostgreSQL: the server, a pooler in between, its clock, whether it wakes us."""

from __future__ import annotations

import time
from datetime import datetime
from typing import NamedTuple

import psycopg
from psycopg import sql

from controller.adapters.postgres import SOURCE
from controller.adapters.postgres.connection import Connection, NoAnswerError, Reader, answered_within, connect
from controller.adapters.postgres.errors import has_no_room, in_words
from controller.adapters.postgres.listener import hears, no_second, with_last_words
from controller.adapters.postgres.queue import PostgresQueue
from controller.core import units
from controller.core.ports import Clock, Unavailable
from controller.doctor.finding import Finding, error, ok, warning

_SERVER = """
SELECT current_setting('server_version'), current_user, pg_backend_pid(), extract(epoch FROM clock_timestamp()),
  current_database(), pg_postmaster_start_time(), pg_is_in_recovery()
"""
_DATABASE = "SELECT current_database(), pg_postmaster_start_time(), pg_is_in_recovery()"
_UNTIL_THEN = "until then the queue is read once each interval"
_ANSWER_S = 3.0
_QUIET_S = 6.0
"""Longer than `run` leaves a connection that listens without a word."""


class Database(NamedTuple):
    """started: to the microsecond, so that it tells a server even from its clone, which has its system identifier."""

    name: str
    started: datetime
    standby: bool

    def is_another(self, other: Database) -> bool:
        """A primary and its standby are not told apart: they hold the same."""
        same_server = self.started == other.started or self.standby or other.standby
        return self.name != other.name or not same_server


class Reach(NamedTuple):
    """findings: of the way there. ahead_s: how far PostgreSQL's clock is ahead of the one here."""

    findings: list[Finding]
    ahead_s: float
    database: Database


async def reach(reader: Reader, clock: Clock, timeout_s: float) -> Reach:
    """What is at the address that the queue is read at.

    Raises:
        psycopg.Error: the server could not be asked.
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
        says = "DATABASE_URL leads to a standby: what it shows may be old, and it cannot wake us"
        findings.append(warning("primary", says, "give it the primary's address"))
    if process != reader.connection.info.backend_pid:
        findings.append(ok("pooler", "there is one in between"))
    else:
        findings.append(ok("pooler", "none in between"))
    return Reach(findings, float(there) - (asked + took / 2), database)


async def woken(dsn: str, variable: str, queue: PostgresQueue, read: Database | None) -> Finding:
    """Whether a notification arrives at the address that listening would go to. read: what DATABASE_URL leads to."""
    mend = f"set DATABASE_DIRECT_URL to PostgreSQL's own address; {_UNTIL_THEN}"
    try:
        connection = await connect(dsn)
    except psycopg.Error as failure:
        words = f"PostgreSQL {in_words(failure, None, 0, variable)}"
        if has_no_room(failure):
            return warning("listening", no_second(variable, words), _UNTIL_THEN)
        return error("listening", f"{variable}: {words}", f"mend {variable}")
    try:
        if await hears(connection, dsn, queue.notify):
            return await _kept(connection, variable)
        there = await _database(connection)
    except NoAnswerError:
        return warning(
            "listening", no_second(variable, "it has no answer; has a pooler a single session?"), _UNTIL_THEN
        )
    except (psycopg.Error, Unavailable) as failure:
        words = in_words(failure, None, 0) if isinstance(failure, psycopg.Error) else str(failure)
        return warning("listening", f"a notification could not be tried at {variable}: {SOURCE} {words}", mend)
    finally:
        await connection.close()
    if read is not None and read.is_another(there):
        names = f"{there.name}, and not {read.name}" if there.name != read.name else f"a {there.name} of another server"
        says = f"what is notified does not arrive: {variable} leads to another database than DATABASE_URL ({names})"
        return error("listening", says, f"set {variable} to PostgreSQL's own address of the same database")
    return warning("listening", f"what is notified does not arrive at {variable}: it leads through a pooler", mend)


async def _kept(connection: Connection, variable: str) -> Finding:
    """Whether a connection that listens is left alone for as long as nothing is announced."""
    began = time.perf_counter()
    try:
        with with_last_words(connection):
            async for _ in connection.notifies(timeout=_QUIET_S):
                pass
            with answered_within(connection, _ANSWER_S):
                await connection.execute("SELECT 1")
    except psycopg.OperationalError as failure:
        words = in_words(failure, None, 0, variable)
        lasted = units.in_words(time.perf_counter() - began)
        says = f"the connection that listens is cut after {lasted}: PostgreSQL {words}"
        mend = "look for what ends idle connections: a pooler, a proxy, idle_session_timeout, a job that ends sessions"
        return warning("listening", says, f"{mend}; {_UNTIL_THEN}")
    return ok("listening", f"what is notified arrives at {variable}")


async def _database(connection: Connection) -> Database:
    with answered_within(connection, _ANSWER_S):
        row = await (await connection.execute(_DATABASE)).fetchone()
    assert row is not None, "a query without FROM returns one row"
    return Database(*row)
