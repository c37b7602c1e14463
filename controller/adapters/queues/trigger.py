"""The SQL of a trigger that announces new jobs, for tables that announce nothing. Printed, and never run by us."""

from __future__ import annotations

from psycopg import sql

THROTTLE_MS = 250

# The last announcement is kept in a sequence: it is read and set outside of any transaction, so that no writer waits
# for another or fails to serialize because of it, and nothing is left for vacuum.
_SQL = """\
BEGIN;
CREATE SEQUENCE {last};  -- when it was announced last, in milliseconds
CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog
AS $announce$
DECLARE
  last bigint := (SELECT last_value FROM {last});
  now_ms bigint := (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
BEGIN
  IF now_ms - last NOT BETWEEN 0 AND {throttle} THEN
    PERFORM setval({last_name}, now_ms);
    PERFORM pg_notify({channel}, '');
  END IF;
  RETURN NULL;
END $announce$;
CREATE TRIGGER {trigger} AFTER INSERT ON {table}
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
    name = f"{table[:53]}_announce"
    function, last = sql.Identifier(schema, name), sql.Identifier(schema, f"{table[:53]}_last")
    return (
        sql.SQL(_SQL)
        .format(
            table=qualified,
            function=function,
            trigger=sql.Identifier(name),
            last=last,
            last_name=sql.Literal(last.as_string()),
            channel=sql.Literal(channel),
            throttle=sql.Literal(THROTTLE_MS),
        )
        .as_string()
    )
