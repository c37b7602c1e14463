"""What doctor looks at on the way to PostgreSQL: the server, a pooler in between, its clock, whether it wakes us."""

from __future__ import annotations

import time
from typing import NamedTuple

import psycopg
from psycopg import sql

from controller.adapters.postgres import PostgresQueue
from controller.adapters.postgres_connection import Reader, connect
from controller.adapters.postgres_listener import hears
from controller.adapters.postgres_words import in_words
from controller.findings import Finding, error, ok, warning
from controller.ports import Clock, Source, Unavailable

_SERVER = """
SELECT current_setting('server_version'), current_user, current_database(), pg_backend_pid(), pg_is_in_recovery(),
  extract(epoch FROM clock_timestamp())
"""
_OLDEST = 12


class Reach(NamedTuple):
    """findings: of the way there. ahead_s: how far PostgreSQL's clock is ahead of the one here."""

    findings: list[Finding]
    ahead_s: float


async def reach(reader: Reader, clock: Clock, timeout_s: float, *, direct: bool) -> Reach:
    """direct: whether there is an address without a pooler in between, to be woken by.

    Raises:
        psycopg.Error: the server could not be asked.
    """
    began, asked = time.perf_counter(), clock.wall()
    (answer,) = await reader.read([sql.SQL(_SERVER).format()], timeout_s)
    took = time.perf_counter() - began
    version, user, database, process, standby, there = answer.rows[0]
    number = str(version).split()[0]
    words = f"{number}, user {user}, database {database}; a round trip takes {took * 1000:.1f} ms"
    findings = [ok("PostgreSQL", words)]
    if int(number.partition(".")[0]) < _OLDEST:
        findings = [
            warning("PostgreSQL", f"{words}; older than {_OLDEST}, the oldest that presets are for", "upgrade it")
        ]
    if standby:
        says = "DATABASE_URL leads to a standby: what it shows may be old, and it cannot wake us"
        findings.append(warning("primary", says, "give it the primary's address"))
    if process != reader.connection.info.backend_pid:
        findings.append(
            ok("pooler", f"there is one in between{'; DATABASE_DIRECT_URL leads past it' if direct else ''}")
        )
    else:
        findings.append(ok("pooler", "none in between"))
    return Reach(findings, float(there) - (asked + took / 2))


async def woken(dsn: str, variable: str, queue: PostgresQueue) -> Finding:
    """Whether a notification arrives at the address that listening would go to."""
    mend = "set DATABASE_DIRECT_URL to PostgreSQL's own address; until then the queue is read once each interval"
    try:
        connection = await connect(dsn)
    except psycopg.Error as failure:
        says = f"{variable}: PostgreSQL {in_words(failure, None, 0).replace('DATABASE_URL', variable)}"
        return error("listening", says, f"mend {variable}")
    try:
        if await hears(connection, queue.notify):
            return ok("listening", f"what is notified arrives at {variable}")
    except (psycopg.Error, Unavailable) as failure:
        words = in_words(failure, None, 0) if isinstance(failure, psycopg.Error) else str(failure)
        return warning("listening", f"a notification could not be tried at {variable}: {Source.QUEUE} {words}", mend)
    finally:
        await connection.close()
    return warning("listening", f"what is notified does not arrive at {variable}: it leads through a pooler", mend)
