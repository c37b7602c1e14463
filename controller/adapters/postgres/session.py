"""Finds and releases what the policy's own SQL leaves in a session after its transaction: locks, prepared statements.

The text of a query cannot show this: a lock may be taken by a function, by dynamic SQL, or under a name in Unicode
escapes. So the session is compared before and after. Behind a pooler other clients share the session: what was there
before is theirs and stays; what is new is released within the transaction, before the session goes to another client.
"""

from __future__ import annotations

from psycopg import sql

_HELD = """
SELECT format('advisory lock %s (%s, %s)', (classid::bigint << 32) | objid::bigint, mode, objsubid) AS what,
  (classid::bigint << 32) | objid::bigint AS key, objsubid, mode
FROM pg_catalog.pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory' AND granted
UNION ALL SELECT format('prepared statement %s', name), NULL, NULL, NULL FROM pg_catalog.pg_prepared_statements
"""
# Both settings last until the transaction ends. With the second one a backend notices within 1 s that its client has
# gone (PostgreSQL 14 and newer, not on Windows); no function can catch the error that ends it then.
_BEFORE = """
SELECT set_config('worker_autoscaler.held',
  coalesce((SELECT string_agg(what, E'\\n') FROM ({held}) AS held), ''), true),
  CASE WHEN current_setting('client_connection_check_interval', true) IS NOT NULL
    AND version() !~* 'windows|mingw|visual c' THEN set_config('client_connection_check_interval', '1000', true) END
"""
# If the session had no lock before, all of its locks are released, also those that were taken several times.
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
    """Stores what the session holds until the transaction ends, and returns it."""
    return sql.SQL(_BEFORE).format(held=sql.SQL(_HELD))


def left(held_before: str | None = None) -> sql.Composed:
    """Returns what the session holds now and did not hold before, and releases those locks.

    held_before: what before() returned, if its transaction is over; None within the same transaction.
    """
    known = sql.SQL("current_setting('worker_autoscaler.held')") if held_before is None else sql.Literal(held_before)
    return sql.SQL(_LEFT).format(held=sql.SQL(_HELD), before=known)
