"""What PostgreSQL's complaints mean, and what to do about them, in one sentence that holds no secret."""

from __future__ import annotations

import re

import psycopg
from psycopg import errors

from controller.adapters.postgres.connection import NoAnswerError, TooOldError
from controller.core import units
from controller.core.text.masking import CUT
from controller.policy import Queue as QueuePolicy
from controller.policy import is_own

_LONGEST_SHOWN = 200
_LOCKED = "is locked by another session (an ALTER TABLE, a VACUUM FULL?); it will be read again when the lock is gone"
_PLACEHOLDERS = "has placeholders such as $1, which are not filled in; write the values"
_GOES_ON = (
    "had no answer, not even that it was cancelled, and its connection was closed: is the network to PostgreSQL down, "
    "or does a function in it catch query_canceled? It has to raise that again"
)
_OF_A_CONDITION = (psycopg.ProgrammingError, psycopg.DataError, psycopg.InternalError)


def in_words(error: psycopg.Error, queue: QueuePolicy | None, timeout_s: float, variable: str = "DATABASE_URL") -> str:
    """The complaint about reading this queue. queue: None where several were read at once, or none.

    variable: which one names the address that was asked.
    """
    if queue is not None and not isinstance(error, TooOldError):
        words = {"table": _of_table, "preset": _of_preset, "sql": _of_query}[queue.kind](error, queue, timeout_s)
        if words is not None:
            return words
    return _of_connection(error, variable)


def _of_table(error: psycopg.Error, queue: QueuePolicy, timeout_s: float) -> str | None:
    table = queue.table
    said = brief(error)
    if "row-level security" in _text(error):
        return f"row security hides rows of {table} from this user; ALTER ROLE … BYPASSRLS, or read a view of it"
    where = " and queue.where" if queue.where is not None else ""
    return _first(
        error,
        {
            **({NoAnswerError: f"queue.where {_GOES_ON}"} if where else {}),
            errors.UndefinedTable: f"there is no table {table}; set queue.table",
            errors.UndefinedColumn: f"queue.where, or a column of {table} that is gone: {said}"
            if where
            else f"table {table} has changed: {said}; set queue.columns",
            errors.InvalidParameterValue: f"{said}; set queue.timezone to a name that PostgreSQL knows, such "
            "as Europe/Helsinki",
            errors.InsufficientPrivilege: f"{said}; GRANT SELECT ON {table}, and USAGE on its schema",
            errors.LockNotAvailable: f"{table} {_LOCKED}",
            errors.QueryCanceled: f"counting {table} took longer than {units.in_words(timeout_s)}; `autoscaler doctor` "
            "says why, and which index would help where it is large",
            errors.InvalidTextRepresentation: f"{said}; set queue.statuses to values that "
            f"{table}.{queue.columns.status} has",
            errors.UndefinedFunction: f"{said}; queue.statuses{where} must be of the column's type",
            **({errors.ProtocolViolation: f"queue.where {_PLACEHOLDERS}"} if where else {}),
            **(dict.fromkeys(_OF_A_CONDITION, f"queue.where cannot be used: {said}") if where else {}),
        },
    )


def _of_preset(error: psycopg.Error, queue: QueuePolicy, timeout_s: float) -> str | None:
    name = f"preset {queue.preset}"
    said = brief(error)
    if "row-level security" in _text(error):
        return f"row security hides rows of {name} from this user ({said}); ALTER ROLE … BYPASSRLS"
    changed = "its tables have changed, or are of a version that is not known; read them by queue.sql"
    own = is_own(queue.preset or "")
    if own:
        changed = "look at the SQL of that file, and at the columns of its tables"
    return _first(
        error,
        {
            errors.UndefinedTable: f"{name}: {said}; {changed}",
            errors.UndefinedColumn: f"{name}: {said}; {changed}",
            errors.UndefinedFunction: f"{name}: {said}; {changed}",
            errors.InvalidTextRepresentation: f"{name}: {said}; {changed}",
            errors.InsufficientPrivilege: f"{said}; GRANT SELECT on the tables of {name}, and USAGE on their "
            "schema (`autoscaler doctor` prints the SQL)",
            errors.LockNotAvailable: f"a table of {name} {_LOCKED}",
            errors.QueryCanceled: f"counting {name} took longer than {units.in_words(timeout_s)}; `autoscaler doctor` "
            "says why",
            **({NoAnswerError: f"{name} {_GOES_ON}"} if own else {}),
            **({errors.ProtocolViolation: f"{name} {_PLACEHOLDERS}"} if own else {}),
            **(dict.fromkeys(_OF_A_CONDITION, f"{name} cannot be read: {said}; {changed}") if own else {}),
        },
    )


def _of_query(error: psycopg.Error, _: QueuePolicy, timeout_s: float) -> str | None:
    said = brief(error)
    return _first(
        error,
        {
            NoAnswerError: f"queue.sql {_GOES_ON}",
            errors.ProtocolViolation: f"queue.sql {_PLACEHOLDERS}",
            errors.ReadOnlySqlTransaction: f"queue.sql would write ({said}); a query of a depth only reads",
            errors.FeatureNotSupported: f"queue.sql is not allowed ({said}); a query of a depth only reads",
            errors.QueryCanceled: f"queue.sql took longer than {units.in_words(timeout_s)}; give it an index, or "
            "count no further: count(*) over a subquery that ends in LIMIT 1000",
            errors.InsufficientPrivilege: f"queue.sql: {said}; GRANT SELECT on what it reads",
            errors.LockNotAvailable: f"a table of queue.sql {_LOCKED}",
            psycopg.ProgrammingError: f"queue.sql cannot be run: {said}; it has to be one SELECT",
            psycopg.DataError: f"queue.sql fails: {said}",
            psycopg.InternalError: f"queue.sql fails: {said}",
        },
    )


def _first(error: psycopg.Error, words: dict[type[psycopg.Error], str]) -> str | None:
    return next((text for kind, text in words.items() if isinstance(error, kind)), None)


def brief(error: psycopg.Error) -> str:
    return _cut((error.diag.message_primary or str(error))[:_MOST_LOOKED_AT].split("\n", 1)[0])


def _text(error: psycopg.Error) -> str:
    """The beginning of it: a statement can raise an error of 100 MB, to look through which takes seconds."""
    return str(error)[:_MOST_LOOKED_AT]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}{CUT}"


_NO_ROOM = "has no connection left for us; one is needed here ({said})"
_NO_HOST = "cannot be found: no such host as {variable} names"
_NO_ANSWER = "did not answer at the address in {variable} in time"
_NO_USER = "does not know the user in {variable}"
_NO_DATABASE = "does not have the database that {variable} names"
_NO_PASSWORD = "refuses the user or password in {variable}"  # noqa: S105  # words, and no password
_START_UP = "refuses a start-up parameter ({said}); take it out of {variable}, or out of PGOPTIONS"
_BINDING = (
    "cannot be reached with the channel_binding that {variable} asks for ({said}); take it out, or connect by TLS"
)
_CERTIFICATE = (
    "shows a certificate that {variable} does not trust ({said}); name its CA by sslrootcert, or write "
    "sslmode=require, which does not look at it"
)
_CONNECTION_WORDS = {
    "not permitted to log in": "has the user in {variable}, and does not let it log in (NOLOGIN)",
    "No such file": "has no socket where {variable} (or its lack of a host) looks for one",
    "no such user": _NO_USER,
    "no such database": _NO_DATABASE,
    "password authentication failed": _NO_PASSWORD,
    "SASL authentication failed": _NO_PASSWORD,
    "no password supplied": "wants a password, and {variable} has none",
    "too many clients": _NO_ROOM,
    "remaining connection slots": _NO_ROOM,
    "too many connections": _NO_ROOM,
    "no more connections allowed": _NO_ROOM,
    "max clients reached": _NO_ROOM,
    "max_client_conn": _NO_ROOM,
    "query_wait_timeout": "is behind a pooler that had no session free in time ({said}); raise its pool_size",
    "startup parameter": _START_UP,
    "unrecognized configuration parameter": _START_UP,
    "invalid command-line argument": _START_UP,
    "permission denied to set parameter": _START_UP,
    "channel binding": _BINDING,
    "channel_binding": _BINDING,
    "certificate verify failed": _CERTIFICATE,
    "root certificate file": _CERTIFICATE,
    "server certificate for": _CERTIFICATE,
    "server does not support SSL": "speaks no TLS, and {variable} asks for it; write sslmode=prefer, or set TLS up",
    'role "': _NO_USER,
    'database "': _NO_DATABASE,
    "no pg_hba.conf entry": "does not let this user in from here (pg_hba.conf); {variable} may need ?sslmode=require",
    "Connection refused": "refuses connections at the address in {variable}; is it running?",
    "translate host name": _NO_HOST,
    "name resolution": _NO_HOST,
    "resolve host": _NO_HOST,
    "Name or service not known": _NO_HOST,
    "timeout expired": _NO_ANSWER,
    "connection timeout": _NO_ANSWER,
    "starting up": "is starting up",
    "shutting down": "is shutting down",
    "recovery mode": "is recovering from a crash",
    "sslmode": "cannot be asked with the sslmode that {variable} names ({said})",
    "administrator command": "ended the connection (a restart?); it is opened again",
    "idle-session timeout": "ended the connection because it was idle (idle_session_timeout); it is opened again",
    "no answer within": "did not answer in time; is the network to it down, or has a pooler no connection left?",
    "SSL": "and {variable} do not agree on TLS ({said}); see its sslmode",
}
_NO_MORE = (
    *("too many clients", "remaining connection slots", "too many connections", "no more connections allowed"),
    *("max clients reached", "max_client_conn", "query_wait_timeout"),
)


def has_no_room(error: psycopg.Error) -> bool:
    """Whether it was turned away only because others, or we ourselves, have all the connections that there may be."""
    return any(part in _text(error) for part in _NO_MORE)


def _of_connection(error: psycopg.Error, variable: str) -> str:
    """What a failed connection means; libpq says it in words only, and connect() has masked what they may quote."""
    if isinstance(error, TooOldError):
        return str(error)
    text = _text(error)
    own = _own_words(text)
    for part, words in _CONNECTION_WORDS.items():
        # Of a statement that was refused, such words say nothing of the start-up.
        if part in text and not (words is _START_UP and error.diag.message_primary):
            return words.format(said=own, variable=variable)
    if error.diag.message_primary:
        return f"{type(error).__name__}: {brief(error)}"
    said = f" ({own})" if own else ""
    return f"cannot be connected to, or broke off{said}; look at the host and the options in {variable}"


def _own_words(text: str) -> str:
    """What the server, a pooler or libpq itself says, without the address that psycopg puts in front of it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = next((found[1] for line in lines if (found := re.search(r"(?:FATAL|ERROR|PANIC):\s+(.+)", line))), None)
    tried = [line for line in lines if " failed: " in line] or lines[:1]
    said = marked or (tried[-1].rpartition(" failed: ")[2] if tried else "")
    return _cut(said.strip())


_MOST_LOOKED_AT = 10_000
"""Of an error's characters."""
