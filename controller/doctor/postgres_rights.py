"""Doctor's check of rights: the user should be able to read all rows of the queue's tables, and write nothing.

Two things are dangerous here, and neither shows as an error. Row security hides rows, so the depth is too low and
workers are missing. And a user that may write can do harm with a mistyped queue.sql, although each reading is a READ
ONLY transaction. What is missing is printed as SQL for the tables' owner; doctor itself grants nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from psycopg import sql

from controller.doctor.finding import Finding, error, ok, warning

READER = "autoscaler_reader"

# A view with security_invoker also needs rights on the tables behind it; these are listed after the view.
_TABLES = """
WITH named AS (
  SELECT DISTINCT ON (t.schema, t.name) c.oid
  FROM (VALUES {names}) AS t(schema, name)
  JOIN pg_class c ON c.relname = t.name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = coalesce(nullif(t.schema, ''), n.nspname)
  WHERE n.nspname !~ '^pg_' ORDER BY t.schema, t.name, pg_table_is_visible(c.oid) DESC, n.nspname),
behind AS (
  SELECT d.refobjid AS oid FROM named JOIN pg_class v ON v.oid = named.oid AND v.relkind = 'v'
  JOIN pg_rewrite r ON r.ev_class = v.oid
  JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid AND d.refclassid = 'pg_class'::regclass
  WHERE EXISTS (SELECT FROM pg_options_to_table(v.reloptions) WHERE option_name = 'security_invoker'
    AND option_value::boolean)
  EXCEPT SELECT oid FROM named)
SELECT n.nspname, c.relname, c.oid, c.relkind::text, c.relrowsecurity,
  has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS reads,
  has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') AS writes
FROM (SELECT oid, false AS is_behind FROM named UNION ALL SELECT oid, true FROM behind) AS t
JOIN pg_class c ON c.oid = t.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
JOIN pg_namespace n ON n.oid = c.relnamespace
ORDER BY t.is_behind, n.nspname, c.relname
"""
_ROLE = "SELECT current_user, rolsuper, rolbypassrls, current_database() FROM pg_roles WHERE rolname = current_user"

Ask = Callable[[sql.Composed], Awaitable[list[tuple[Any, ...]]]]


class Table(NamedTuple):
    schema: str
    name: str
    oid: int
    kind: str
    hides_rows: bool
    reads: bool
    writes: bool

    @property
    def quoted(self) -> str:
        return sql.Identifier(self.schema, self.name).as_string()

    @property
    def is_stored(self) -> bool:
        """Whether it holds rows itself on this server; a view or a foreign table does not."""
        return self.kind in {"r", "p"}


class Role(NamedTuple):
    name: str
    is_superuser: bool
    sees_hidden_rows: bool
    database: str


async def tables_named(names: Collection[tuple[str, str]], ask: Ask) -> list[Table]:
    """Those that exist, readable or not. names: pairs of schema and name; schema "" searches all schemas."""
    if not names:
        return []
    return [Table(*row) for row in await ask(sql.SQL(_TABLES).format(names=values(names)))]


@dataclass
class Rights:
    """Checks the workers one after the other; the SQL that creates the reader role is printed only once."""

    ask: Ask
    reader_is_told: bool = False

    async def judge(self, tables: Sequence[Table], *, is_read: bool) -> Finding | None:
        """is_read: the queue was read or planned; that proves it readable, so only the right to write is checked."""
        (row,) = await self.ask(sql.SQL(_ROLE).format())
        role = Role(*row)
        doubtful = () if is_read else tables
        unread = [table for table in doubtful if not table.reads]
        sees_all = role.sees_hidden_rows or role.is_superuser
        hiding = [table for table in doubtful if table.hides_rows and not sees_all]
        if unread:
            says = f"user {role.name} may not read {_names(unread)}"
            return error("rights", says, "run as the tables' owner:", tuple(grants(unread, role.name)))
        if hiding and not any(table.writes for table in hiding):
            # Row security does not apply to a table's owner. A user that may write is assumed to be the owner.
            alter = sql.SQL("ALTER ROLE {} BYPASSRLS;").format(sql.Identifier(role.name)).as_string()
            says = f"row security of {_names(hiding)} may hide rows from user {role.name}"
            return warning("rights", says, "if the user should see all rows:", (alter,))
        if role.is_superuser or any(table.writes for table in tables):
            can = "is a superuser" if role.is_superuser else "may write to the queue's tables"
            says = f"user {role.name} {can}; SELECT is enough"
            fix = "use a read-only user in DATABASE_URL:"
            return warning("rights", says, fix, tuple(self._reader(role, tables)))
        return ok("rights", f"user {role.name} may read the queue's tables and not write to them") if tables else None

    def _reader(self, role: Role, tables: Sequence[Table]) -> Iterator[str]:
        """SQL for a read-only role; the same role reads the queues of all workers, so it is created once."""
        if not self.reader_is_told:
            self.reader_is_told = True
            name, database = sql.Identifier(READER), sql.Identifier(role.database)
            yield f"CREATE ROLE {READER} LOGIN PASSWORD '…';  -- choose one"
            yield sql.SQL("GRANT CONNECT ON DATABASE {} TO {};").format(database, name).as_string()
        yield from grants(tables, READER)


def grants(tables: Sequence[Table], role: str) -> Iterator[str]:
    """Statements that let the role read these tables, and nothing more."""
    if not tables:
        return
    user = sql.Identifier(role)
    for schema in dict.fromkeys(table.schema for table in tables):
        yield sql.SQL("GRANT USAGE ON SCHEMA {} TO {};").format(sql.Identifier(schema), user).as_string()
    names = sql.SQL(", ").join(sql.Identifier(table.schema, table.name) for table in tables)
    yield sql.SQL("GRANT SELECT ON {} TO {};").format(names, user).as_string()
    if any(table.hides_rows for table in tables):
        yield sql.SQL("ALTER ROLE {} BYPASSRLS;  -- row security would hide rows").format(user).as_string()


def values(names: Collection[tuple[str, str]]) -> sql.Composed:
    """Pairs of schema and name as the rows of a VALUES list."""
    pairs = (sql.SQL("({}, {})").format(sql.Literal(schema), sql.Literal(name)) for schema, name in sorted(names))
    return sql.SQL(", ").join(pairs)


def _names(tables: Sequence[Table]) -> str:
    return ", ".join(table.quoted for table in tables)
