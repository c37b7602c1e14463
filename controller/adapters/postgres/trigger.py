"""The SQL of a trigger that sends NOTIFY for new jobs, for tables without one. It is printed, never run by us."""

from __future__ import annotations

import hashlib

from psycopg import sql

from controller.policy import NAME_BYTES

THROTTLE_MS = 250
_FUNCTION, _TRIGGER, _LAST = "_announce", "_on_insert", "_last"

# A sequence stores the time of the last NOTIFY: it is read and set outside transactions, so that no writer waits for
# another or fails to serialize because of it, and it leaves no dead rows.
_SQL = """\
BEGIN;
-- Time of the last NOTIFY, in milliseconds:
CREATE SEQUENCE {last};
CREATE FUNCTION {function}()
  RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS
${tag}$
DECLARE
  last bigint := (SELECT last_value FROM {last});
  now_ms bigint := (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
BEGIN
  IF now_ms - last NOT BETWEEN 0 AND {throttle} THEN
    PERFORM setval({last_name}, now_ms);
    PERFORM pg_notify({channel}, '');
  END IF;
  RETURN NULL;
END
${tag}$;
CREATE TRIGGER {trigger}
  AFTER INSERT ON {table}
  FOR EACH STATEMENT EXECUTE FUNCTION {function}();
COMMIT;
-- To remove it:
--   DROP TRIGGER {trigger} ON {table};
--   DROP FUNCTION {function}();
--   DROP SEQUENCE {last};
"""


def trigger_sql(schema: str, table: str, qualified: sql.Identifier, channel: str) -> str:
    """A statement-level trigger, throttled to one NOTIFY per THROTTLE_MS however many jobs are inserted.

    Its function and sequence are created in `schema` and named after the table.
    """
    stem = _stem(schema, table)
    last = sql.Identifier(schema, f"{stem}{_LAST}")
    tag = "announce"
    while f"${tag}$" in f"{last.as_string()} {channel}":
        tag += "_"  # a name that contains the tag would end the function's text, and the rest would run as SQL
    return (
        sql.SQL(_SQL)
        .format(
            table=qualified,
            function=sql.Identifier(schema, f"{stem}{_FUNCTION}"),
            trigger=sql.Identifier(f"{stem}{_TRIGGER}"),
            last=last,
            last_name=sql.Literal(last.as_string()),
            tag=sql.SQL(tag),
            channel=sql.Literal(channel),
            throttle=sql.Literal(THROTTLE_MS),
        )
        .as_string()
    )


def _stem(schema: str, table: str) -> str:
    """The table's name; if it is too long for the endings, its beginning and a hash of the full name."""
    room = NAME_BYTES - max(len(ending) for ending in (_FUNCTION, _TRIGGER, _LAST))
    whole = table.encode()
    if len(whole) <= room:
        return table
    digest = hashlib.sha224(f"{schema}\0{table}".encode()).hexdigest()[:8]
    return f"{whole[: room - len(digest) - 1].decode(errors='ignore')}_{digest}"
