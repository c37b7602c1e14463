"""The SQL of a trigger that announces new jobs, for tables that announce nothing. Printed, and never run by us."""

from __future__ import annotations

import hashlib

from psycopg import sql

from controller.policy import NAME_BYTES

THROTTLE_MS = 250
_FUNCTION, _TRIGGER, _LAST = "_announce", "_on_insert", "_last"

# The last announcement is kept in a sequence: it is read and set outside of any transaction, so that no writer waits
# for another or fails to serialize because of it, and nothing is left for vacuum.
_SQL = """\
BEGIN;
-- When it was announced last, in milliseconds:
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
-- To take it away again:
--   DROP TRIGGER {trigger} ON {table};
--   DROP FUNCTION {function}();
--   DROP SEQUENCE {last};
"""


def trigger_sql(schema: str, table: str, qualified: sql.Identifier, channel: str) -> str:
    """Statement-level, and throttled: at most one notification each THROTTLE_MS, however many jobs are inserted.

    The function and its sequence go into `schema`, and are named after the table.
    """
    stem = _stem(schema, table)
    last = sql.Identifier(schema, f"{stem}{_LAST}")
    tag = "announce"
    while f"${tag}$" in f"{last.as_string()} {channel}":
        tag += "_"  # or a name would end the function's text and go on as SQL
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
    """The table's name; where that leaves no room for an ending, its beginning and what tells it from its likes."""
    room = NAME_BYTES - max(len(ending) for ending in (_FUNCTION, _TRIGGER, _LAST))
    whole = table.encode()
    if len(whole) <= room:
        return table
    digest = hashlib.sha224(f"{schema}\0{table}".encode()).hexdigest()[:8]
    return f"{whole[: room - len(digest) - 1].decode(errors='ignore')}_{digest}"
