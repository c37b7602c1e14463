"""Turns PostgreSQL's errors into one sentence that says what is wrong and how to fix it, without secrets.

PostgreSQL names the symptom ("canceling statement due to user request"); what to do about it depends on what was read.
So a table of one's own, a preset and a query have each their own sentences, tried first. What they do not know is a
fault of the connection, which all have in common. Errors are told apart by their class, which psycopg derives from the
SQLSTATE; the words, which depend on lc_messages, are only shown.
"""

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
_LOCKED = "is locked by another session (ALTER TABLE or VACUUM FULL?); it is read again once the lock is released"
_PLACEHOLDERS = "has placeholders such as $1, which get no values; write the values themselves"
_NO_ANSWER_AT_ALL = (
    "got no answer, not even to its cancellation, and its connection was closed: is the network to PostgreSQL down, "
    "or does a function in it catch query_canceled? Such a function must raise it again"
)
_OF_A_CONDITION = (psycopg.ProgrammingError, psycopg.DataError, psycopg.InternalError)


def in_words(error: psycopg.Error, queue: QueuePolicy | None, timeout_s: float, variable: str = "DATABASE_URL") -> str:
    """The error in one sentence, to follow "PostgreSQL". queue: the one that was read; None if it was several or none.

    variable: the environment variable that holds the address.
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
        return f"row security hides rows of {table} from this user; ALTER ROLE … BYPASSRLS, or read a view"
    where = " and queue.where" if queue.where is not None else ""
    return _first(
        error,
        {
            **({NoAnswerError: f"queue.where {_NO_ANSWER_AT_ALL}"} if where else {}),
            errors.UndefinedTable: f"table {table} does not exist; set queue.table",
            errors.UndefinedColumn: f"queue.where is wrong, or a column of {table} was removed: {said}"
            if where
            else f"table {table} has changed: {said}; set queue.columns",
            errors.InvalidParameterValue: f"{said}; set queue.timezone to a name that PostgreSQL knows, for example "
            "Europe/Helsinki",
            errors.InsufficientPrivilege: f"{said}; GRANT SELECT ON {table}, and USAGE on its schema",
            errors.LockNotAvailable: f"{table} {_LOCKED}",
            errors.QueryCanceled: f"counting {table} took longer than {units.in_words(timeout_s)}; `autoscaler doctor` "
            "shows why, and which index would help",
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
    changed = "its tables have changed, or belong to an unknown version; read them with queue.sql"
    own = is_own(queue.preset or "")
    if own:
        changed = "check the SQL in that file and the columns of its tables"
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
            "shows why",
            **({NoAnswerError: f"{name} {_NO_ANSWER_AT_ALL}"} if own else {}),
            **({errors.ProtocolViolation: f"{name} {_PLACEHOLDERS}"} if own else {}),
            **(dict.fromkeys(_OF_A_CONDITION, f"{name} cannot be read: {said}; {changed}") if own else {}),
        },
    )


def _of_query(error: psycopg.Error, _: QueuePolicy, timeout_s: float) -> str | None:
    said = brief(error)
    return _first(
        error,
        {
            NoAnswerError: f"queue.sql {_NO_ANSWER_AT_ALL}",
            errors.ProtocolViolation: f"queue.sql {_PLACEHOLDERS}",
            errors.ReadOnlySqlTransaction: f"queue.sql tries to write ({said}); a depth query may only read",
            errors.FeatureNotSupported: f"queue.sql is not allowed ({said}); a depth query may only read",
            errors.QueryCanceled: f"queue.sql took longer than {units.in_words(timeout_s)}; add an index, or limit the "
            "count: count(*) over a subquery that ends in LIMIT 1000",
            errors.InsufficientPrivilege: f"queue.sql: {said}; GRANT SELECT on what it reads",
            errors.LockNotAvailable: f"a table of queue.sql {_LOCKED}",
            psycopg.ProgrammingError: f"queue.sql cannot be run: {said}; it must be one SELECT",
            psycopg.DataError: f"queue.sql fails: {said}",
            psycopg.InternalError: f"queue.sql fails: {said}",
        },
    )


def _first(error: psycopg.Error, words: dict[type[psycopg.Error], str]) -> str | None:
    return next((text for kind, text in words.items() if isinstance(error, kind)), None)


def brief(error: psycopg.Error) -> str:
    """The error's first line, at most 200 characters."""
    return _cut((error.diag.message_primary or str(error))[:_MOST_LOOKED_AT].split("\n", 1)[0])


def _text(error: psycopg.Error) -> str:
    """The first 10,000 characters: a statement can raise an error of 100 MB, and searching that takes seconds."""
    return str(error)[:_MOST_LOOKED_AT]


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}{CUT}"


_NO_ROOM = "has no free connection; one is needed ({said})"
_NO_HOST = "cannot be found: the host in {variable} does not exist, or only in a private network"
_NO_ANSWER = "did not answer at the address in {variable} in time"
_NO_USER = "does not know the user in {variable}"
_NO_DATABASE = "does not have the database that {variable} names"
_NO_PASSWORD = "refuses the user or password in {variable}"  # noqa: S105  # words, and no password
_START_UP = "refuses a start-up parameter ({said}); remove it from {variable}, or from PGOPTIONS"
_BINDING = "cannot be reached with the channel_binding in {variable} ({said}); remove it, or connect with TLS"
_CERTIFICATE = (
    "has a certificate that is not trusted ({said}); in {variable}, set sslrootcert to its CA, or write "
    "sslmode=require, which does not check it"
)
_CONNECTION_WORDS = {
    "not permitted to log in": "does not allow the user in {variable} to log in (NOLOGIN)",
    "No such file": "has no socket at the path in {variable} (without a host, the default path)",
    "no such user": _NO_USER,
    "no such database": _NO_DATABASE,
    "password authentication failed": _NO_PASSWORD,
    "SASL authentication failed": _NO_PASSWORD,
    "no password supplied": "requires a password, but {variable} has none",
    "too many clients": _NO_ROOM,
    "remaining connection slots": _NO_ROOM,
    "too many connections": _NO_ROOM,
    "no more connections allowed": _NO_ROOM,
    "max clients reached": _NO_ROOM,
    "max_client_conn": _NO_ROOM,
    "query_wait_timeout": "is behind a pooler that had no free session in time ({said}); raise its pool_size",
    "startup parameter": _START_UP,
    "unrecognized configuration parameter": _START_UP,
    "invalid command-line argument": _START_UP,
    "permission denied to set parameter": _START_UP,
    "channel binding": _BINDING,
    "channel_binding": _BINDING,
    "certificate verify failed": _CERTIFICATE,
    "root certificate file": _CERTIFICATE,
    "server certificate for": _CERTIFICATE,
    "server does not support SSL": "does not support TLS, but {variable} asks for it; write sslmode=prefer, or set "
    "up TLS",
    'role "': _NO_USER,
    'database "': _NO_DATABASE,
    "no pg_hba.conf entry": "does not allow this user from this host (pg_hba.conf); {variable} may need "
    "?sslmode=require",
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
    "sslmode": "cannot be reached with the sslmode in {variable} ({said})",
    "administrator command": "ended the connection (a restart?); it is opened again",
    "idle-session timeout": "ended the connection because it was idle (idle_session_timeout); it is opened again",
    "no answer within": "did not answer in time; is the network to it down, or has a pooler no free connection?",
    "SSL": "and {variable} do not agree on TLS ({said}); check its sslmode",
}
_NO_MORE = (
    *("too many clients", "remaining connection slots", "too many connections", "no more connections allowed"),
    *("max clients reached", "max_client_conn", "query_wait_timeout"),
)


def is_connection_limit(error: psycopg.Error) -> bool:
    """Whether the connection was refused only because all allowed connections are in use, ours included."""
    return any(part in _text(error) for part in _NO_MORE)


def _of_connection(error: psycopg.Error, variable: str) -> str:
    """What a failed connection means, found by libpq's text: it gives no codes. connect() has masked secrets in it."""
    if isinstance(error, TooOldError):
        return str(error)
    text = _text(error)
    own = _own_words(text)
    for part, words in _CONNECTION_WORDS.items():
        # The same words in a refused statement are not about the start-up.
        if part in text and not (words is _START_UP and error.diag.message_primary):
            return words.format(said=own, variable=variable)
    if error.diag.message_primary:
        return f"{type(error).__name__}: {brief(error)}"
    said = f" ({own})" if own else ""
    return f"cannot be reached, or dropped the connection{said}; check the host and the options in {variable}"


def _own_words(text: str) -> str:
    """The message of the server, a pooler or libpq, without the address that psycopg puts in front of it."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = next((found[1] for line in lines if (found := re.search(r"(?:FATAL|ERROR|PANIC):\s+(.+)", line))), None)
    tried = [line for line in lines if " failed: " in line] or lines[:1]
    said = marked or (tried[-1].rpartition(" failed: ")[2] if tried else "")
    return _cut(said.strip())


_MOST_LOOKED_AT = 10_000
"""Characters of an error that are searched."""
