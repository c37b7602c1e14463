"""What a session holds beyond a transaction: looked at before and after SQL that is not ours, and given back.

No look at the text of a query can tell: a lock may be taken by a function, by dynamic SQL, or under a name in Unicode
escapes. Behind a pooler the session is one that others use too: what was there before stays theirs, and what came is
given back within the transaction, before the session is somebody else's.
"""

from __future__ import annotations

from psycopg import sql

_HELD = """
SELECT format('advisory lock %s (%s, %s)', (classid::bigint << 32) | objid::bigint, mode, objsubid) AS what,
  (classid::bigint << 32) | objid::bigint AS key, objsubid, mode
FROM pg_catalog.pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND granted
UNION ALL SELECT format('prepared statement %s', name), NULL, NULL, NULL FROM pg_catalog.pg_prepared_statements
"""
# For the rest of the transaction. A backend whose client has gone notices it within a second, where the server can look
# (PostgreSQL 14, and not on Windows): the end that this brings is one that no function can catch.
_BEFORE = """
SELECT set_config('worker_autoscaler.held',
  coalesce((SELECT string_agg(what, E'\\n') FROM ({held}) AS held), ''), true),
  CASE WHEN current_setting('client_connection_check_interval', true) IS NOT NULL
    AND version() !~* 'windows|mingw|visual c' THEN set_config('client_connection_check_interval', '1000', true) END
"""
# Where the session had no lock before, all that it has are to go, however many times each was taken.
_LEFT = """
SELECT what, CASE WHEN key IS NULL THEN ''
  WHEN {before} !~ 'advisory lock' THEN pg_advisory_unlock_all()::text
  WHEN objsubid = 1 AND mode = 'ExclusiveLock' THEN pg_advisory_unlock(key)::text
  WHEN objsubid = 1 THEN pg_advisory_unlock_shared(key)::text
  WHEN mode = 'ExclusiveLock' THEN pg_advisory_unlock((key >> 32)::bit(32)::int, key::bit(32)::int)::text
  ELSE pg_advisory_unlock_shared((key >> 32)::bit(32)::int, key::bit(32)::int)::text END
FROM ({held}) AS held WHERE what <> ALL (string_to_array({before}, E'\\n'))
"""


def before() -> sql.Composed:
    """Keeps what the session holds, until the transaction ends, and answers it."""
    return sql.SQL(_BEFORE).format(held=sql.SQL(_HELD))


def left(held_before: str | None = None) -> sql.Composed:
    """What the session holds and did not before, in words; locks are given back by asking for it.

    held_before: as `before` answered it, where its transaction is over.
    """
    known = sql.SQL("current_setting('worker_autoscaler.held')") if held_before is None else sql.Literal(held_before)
    return sql.SQL(_LEFT).format(held=sql.SQL(_HELD), before=known)
