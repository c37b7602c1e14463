"""What doctor looks at in PostgreSQL: the way there, the rights, the plan of the depth query, what slows it down.

Everything is read in READ ONLY transactions as short as a cycle's own; the depth query is run once more, by EXPLAIN.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString, NamedTuple

import psycopg
from psycopg import sql

from controller.adapters.postgres import PostgresQueue
from controller.adapters.postgres_connection import AS_PLANNED, BY_INDEX, Reader, setting
from controller.adapters.postgres_plan import BIG_PAGES, Plan, Scan, read_plan
from controller.adapters.postgres_words import brief
from controller.adapters.queues.places import table_names
from controller.findings import Finding, error, ok, warning
from controller.policy import WorkerPolicy
from controller.ports import Unavailable

_SLOW_MS = 250.0
_MANY_DEAD = 10_000
_SAMPLE_PAGES = 200
_LONG_TRANSACTION_S = 600.0
_EXPLAIN: tuple[LiteralString, ...] = (
    "EXPLAIN (ANALYZE, TIMING OFF, BUFFERS, VERBOSE, FORMAT JSON) {}",
    "EXPLAIN (VERBOSE, FORMAT JSON) {}",
)
_RIGHTS = """
SELECT DISTINCT ON (t.schema, t.name) n.nspname, c.relname, c.oid, c.relrowsecurity,
  has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT') AS reads,
  has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE') AS writes
FROM (VALUES {names}) AS t(schema, name)
JOIN pg_class c ON c.relname = t.name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
JOIN pg_namespace n ON n.oid = c.relnamespace AND n.nspname = coalesce(nullif(t.schema, ''), n.nspname)
WHERE n.nspname !~ '^pg_' ORDER BY t.schema, t.name, pg_table_is_visible(c.oid) DESC, n.nspname
"""
_ROLE = "SELECT current_user, rolsuper, rolbypassrls, current_database() FROM pg_roles WHERE rolname = current_user"
_TABLES = """
SELECT n.nspname, c.relname, pg_relation_size(c.oid) / 8192, s.n_dead_tup, s.n_live_tup,
  coalesce(greatest(s.last_vacuum, s.last_autovacuum)::timestamptz(0)::text, 'never')
FROM (VALUES {names}) AS t(schema, name) JOIN pg_namespace n ON n.nspname = t.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = t.name LEFT JOIN pg_stat_all_tables s ON s.relid = c.oid
"""
# What keeps vacuum from cleaning up; of other users' sessions only pg_read_all_stats sees the times.
_HOLDERS = """
SELECT 'transaction of process ' || pid, extract(epoch FROM now() - xact_start) FROM pg_stat_activity
WHERE (backend_xmin IS NOT NULL OR backend_xid IS NOT NULL) AND pid <> pg_backend_pid() AND xact_start IS NOT NULL
  AND (datname = current_database() OR datname IS NULL) AND backend_type <> 'autovacuum worker'
ORDER BY 2 DESC LIMIT 1
"""
# A block sample: it reads some 200 pages, wherever they are, and needs no index.
_DURATIONS = """
SELECT percentile_disc(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM {ended} - {began}))
FROM {table} TABLESAMPLE SYSTEM ({percent}) WHERE {ended} > {began}
"""
_SPANS = """
SELECT a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
WHERE a.attrelid = {table}::oid AND NOT a.attisdropped AND a.attname IN ('started_at', 'completed_at', 'finished_at')
  AND a.atttypid IN ('timestamp'::regtype, 'timestamptz'::regtype)
"""
_PAGES = "SELECT greatest(1, pg_relation_size({table}::oid) / 8192)"
_TRIGGERS = """
SELECT count(*) FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
WHERE t.tgrelid = {table}::oid AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 4 > 0
  AND p.prosrc ILIKE '%notify%' AND (position({channel} IN p.prosrc) > 0 OR t.tgnargs > 0)
"""


class Table(NamedTuple):
    schema: str
    name: str
    oid: int
    hides_rows: bool
    reads: bool
    writes: bool

    @property
    def quoted(self) -> str:
        return sql.Identifier(self.schema, self.name).as_string()


class Role(NamedTuple):
    name: str
    is_superuser: bool
    sees_hidden_rows: bool
    database: str


@dataclass(frozen=True, slots=True)
class QueueChecks:
    """Looks at one worker's queue on a connection of its own; `queue` is the adapter that the controller would use."""

    reader: Reader
    queue: PostgresQueue
    timeout_s: float

    async def look(self, worker: WorkerPolicy) -> list[Finding]:
        """What is to say of it.

        Raises:
            psycopg.Error: the database could not be asked.
        """
        findings = [await self._depth(worker)]
        plan = await self._plan(worker)
        tables = await self._tables(worker, plan)
        findings += self._rights(await self._role(), tables)
        if plan is not None:
            findings += await self._reading(worker, plan)
        findings += await self._wakes(worker, tables)
        return findings

    async def longest_job(self, worker: WorkerPolicy) -> float | None:
        """How many seconds jobs take: what all but one in twenty took, or else how long the oldest has been at work."""
        try:
            finished = await self._finished(worker)
            return finished or await self.queue.longest_claim(worker.queue, worker.count_limit) or None
        except (Unavailable, psycopg.ProgrammingError, psycopg.errors.QueryCanceled):
            return None

    async def _finished(self, worker: WorkerPolicy) -> float | None:
        """Of a table of the user's own that keeps what is done, with the times that requirements and habit name."""
        tables = await self._tables(worker, None) if worker.queue.table is not None else []
        if not tables:
            return None
        oid = sql.Literal(tables[0].oid)
        columns = {row[0] for row in await self._ask(sql.SQL(_SPANS).format(table=oid))}
        ended = next(iter(columns & {"completed_at", "finished_at"}), None)
        if ended is None or "started_at" not in columns:
            return None
        ((pages,),) = await self._ask(sql.SQL(_PAGES).format(table=oid))
        statement = sql.SQL(_DURATIONS).format(
            ended=sql.Identifier(ended),
            began=sql.Identifier("started_at"),
            table=sql.Identifier(tables[0].schema, tables[0].name),
            percent=sql.Literal(min(100.0, 100.0 * _SAMPLE_PAGES / pages)),
        )
        ((seconds,),) = await self._ask(statement)
        return None if seconds is None else float(seconds)

    async def _ask(self, statement: sql.Composed) -> list[tuple[Any, ...]]:
        (answer,) = await self.reader.read([statement], self.timeout_s)
        return answer.rows

    async def _depth(self, worker: WorkerPolicy) -> Finding:
        try:
            depth = await self.queue.depth(worker.queue, worker.count_limit, worker.enough, worker.busy)
        except Unavailable as unavailable:
            return error("queue", str(unavailable))
        age = f"; the oldest ready one has waited {depth.oldest_age_s:.1f} s" if depth.oldest_age_s is not None else ""
        if depth.stale:
            says = f"{depth.sentence}{age}; the stale ones were claimed by workers that are gone"
            return warning("queue", says, "have the library rescue them, or put them back by hand; they keep no worker")
        return ok("queue", f"{depth.sentence}{age}")

    async def _plan(self, worker: WorkerPolicy) -> Plan | None:
        """Of the very statement that is sent; only planned, where to run it takes too long or is refused."""
        try:
            statement = await self.queue.statement(worker.queue, worker.enough)
        except Unavailable:
            return None
        settings = setting(AS_PLANNED if worker.queue.sql is not None else BY_INDEX)
        for explain in _EXPLAIN:
            try:
                *_, answer = await self.reader.read([settings, sql.SQL(explain).format(statement)], self.timeout_s)
            except (psycopg.errors.QueryCanceled, psycopg.ProgrammingError, psycopg.DataError, psycopg.InternalError):
                continue
            return read_plan(answer.rows[0][0][0])
        return None

    async def _role(self) -> Role:
        (row,) = await self._ask(sql.SQL(_ROLE).format())
        return Role(*row)

    async def _tables(self, worker: WorkerPolicy, plan: Plan | None) -> list[Table]:
        """Those that the policy means, whether they may be read or not; of a query, those that its plan shows."""
        named = {(table.schema, table.name) for table in table_names(worker.queue)}
        names = named or {(scan.schema, scan.table) for scan in (plan.scans if plan else ())}
        if not names:
            return []
        return [Table(*row) for row in await self._ask(sql.SQL(_RIGHTS).format(names=_values(names)))]

    @staticmethod
    def _rights(role: Role, tables: Sequence[Table]) -> Iterator[Finding]:
        unread = [table for table in tables if not table.reads]
        hiding = [table for table in tables if table.hides_rows and not role.sees_hidden_rows and not role.is_superuser]
        if unread:
            names = ", ".join(table.quoted for table in unread)
            yield error(
                "rights", f"user {role.name} may not read {names}", "run as their owner:", grants(unread, role.name)
            )
        elif hiding and not any(table.writes for table in hiding):
            # The owner of a table sees all of it, and an owner may write.
            names = ", ".join(table.quoted for table in hiding)
            alter = sql.SQL("ALTER ROLE {} BYPASSRLS;").format(sql.Identifier(role.name)).as_string()
            yield warning("rights", f"row security of {names} may hide rows from user {role.name}", "if so:", (alter,))
        elif role.is_superuser or any(table.writes for table in tables):
            can = "is a superuser" if role.is_superuser else "may write to its tables"
            mend = "put a user that only reads into DATABASE_URL:"
            yield warning(
                "rights", f"user {role.name} {can}, and SELECT is all that is needed", mend, reader(role, tables)
            )
        elif tables:
            yield ok("rights", f"user {role.name} may read what is needed, and write none of it")

    async def _reading(self, worker: WorkerPolicy, plan: Plan) -> list[Finding]:
        tables = {(scan.schema, scan.table) for scan in plan.scans}
        if not tables:
            return [_took("plan", plan, "it reads no table")]
        rows = await self._ask(sql.SQL(_TABLES).format(names=_values(tables)))
        pages = {(schema, name): size for schema, name, size, *_ in rows}
        wasteful = [s for s in plan.scans if pages.get((s.schema, s.table), 0) >= BIG_PAGES and s.is_wasteful()]
        findings = [_wasted(worker, wasteful, pages)] if wasteful else [_served(plan, sum(pages.values()))]
        findings += [finding for row in rows if (finding := _dead(*row)) is not None]
        holder = await self._ask(sql.SQL(_HOLDERS).format())
        held = bool(holder) and holder[0][1] > _LONG_TRANSACTION_S
        if held or (plan.steps_over_the_dead() and (plan.pages or 0) > BIG_PAGES):
            findings.append(_held_back(plan, holder[0] if held else None))
        elif len(findings) == 1:
            findings.append(ok("bloat", "few dead rows, and no transaction that keeps vacuum from them"))
        return findings

    async def _wakes(self, worker: WorkerPolicy, tables: Sequence[Table]) -> list[Finding]:
        try:
            channels = await self.queue.channels(worker.queue)
        except Unavailable:
            return []
        if not channels:
            mend = "`autoscaler queue-trigger` prints a trigger that would" if worker.queue.sql is None else ""
            return [
                ok("wake-up", f"nothing announces its jobs: it is read once each interval{'; ' if mend else ''}{mend}")
            ]
        if worker.queue.table is not None and tables:
            parts = {"table": sql.Literal(tables[0].oid), "channel": sql.Literal(channels[0])}
            ((count,),) = await self._ask(sql.SQL(_TRIGGERS).format(**parts))
            if not count:
                says = f"no trigger of {tables[0].quoted} notifies on {channels[0]}"
                mend = "unless whoever inserts does it, run what `autoscaler queue-trigger` prints"
                return [warning("wake-up", says, mend)]
        return [ok("wake-up", f"woken by {', '.join(channels)}")]


def grants(tables: Sequence[Table], role: str) -> tuple[str, ...]:
    """What lets the role read them, and nothing else."""
    user = sql.Identifier(role)
    schemas = dict.fromkeys(table.schema for table in tables)
    names = sql.SQL(", ").join(sql.Identifier(table.schema, table.name) for table in tables)
    return (
        *(sql.SQL("GRANT USAGE ON SCHEMA {} TO {};").format(sql.Identifier(s), user).as_string() for s in schemas),
        sql.SQL("GRANT SELECT ON {} TO {};").format(names, user).as_string(),
        *(
            sql.SQL("ALTER ROLE {} BYPASSRLS;  -- row security would hide rows").format(user).as_string()
            for _ in [table for table in tables if table.hides_rows][:1]
        ),
    )


def reader(role: Role, tables: Sequence[Table]) -> tuple[str, ...]:
    name = "autoscaler_reader"
    connect = sql.SQL("GRANT CONNECT ON DATABASE {} TO {};").format(sql.Identifier(role.database), sql.Identifier(name))
    create = f"CREATE ROLE {name} LOGIN PASSWORD '…';  -- choose one"
    return (create, connect.as_string(), *(grants(tables, name) if tables else ()))


def _values(names: Collection[tuple[str, str]]) -> sql.Composed:
    pairs = (sql.SQL("({}, {})").format(sql.Literal(schema), sql.Literal(name)) for schema, name in sorted(names))
    return sql.SQL(", ").join(pairs)


def _took(about: str, plan: Plan, says: str) -> Finding:
    took = f", in {plan.took_ms:.1f} ms" if plan.took_ms is not None else ""
    if plan.took_ms is not None and plan.took_ms > _SLOW_MS:
        return warning(about, f"{says}{took}, which is much for what is asked every few seconds", "look at its plan")
    return ok(about, f"{says}{took}")


def _served(plan: Plan, pages: int) -> Finding:
    small = "" if plan.indexes else f"its tables are small ({pages * 8} kB), and read whole"
    return _took("plan", plan, f"goes by {', '.join(plan.indexes)}" if plan.indexes else small)


def _wasted(worker: WorkerPolicy, scans: Sequence[Scan], pages: dict[tuple[str, str], int]) -> Finding:
    biggest = max(scans, key=lambda scan: pages[scan.schema, scan.table])
    size = pages[biggest.schema, biggest.table] * 8 // 1024
    how = (
        "reads the whole table"
        if biggest.whole
        else f"goes through {', '.join(biggest.indexes)}, most of it in vain, for"
    )
    looked = f" ({biggest.rows} rows looked at)" if biggest.rows else ""
    says = f"the depth query {how} {biggest.name}, {size} MB{looked}"
    statements = tuple(dict.fromkeys(filter(None, (scan.index() for scan in scans))))
    if statements:
        return warning("plan", says, "as its owner, outside of a transaction:", statements)
    mend = "put its conditions into WHERE, one subquery for each count, so that an index can serve them"
    return warning("plan", says, mend if worker.queue.sql is not None else "ask the library for an index")


def _dead(schema: str, name: str, _pages: int, dead: int | None, live: int | None, vacuumed: str) -> Finding | None:
    if not dead or dead < _MANY_DEAD or dead * 5 < (live or 0):
        return None
    table = sql.Identifier(schema, name).as_string()
    says = (
        f"{table} has {dead} dead rows beside {live or 0} live ones (last vacuum: {vacuumed}); counting steps over them"
    )
    tune = f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.01);  -- so that it comes sooner"
    return warning("bloat", says, "as its owner:", (f"VACUUM (ANALYZE) {table};", tune))


def _held_back(plan: Plan, holder: tuple[str, float] | None) -> Finding:
    parts = []
    if plan.steps_over_the_dead():
        parts.append(f"the depth query touches {plan.pages} pages to count {plan.counted} jobs")
    if holder is not None:
        parts.append(f"a {holder[0]} has been open for {holder[1] / 60:.0f} min and keeps vacuum from cleaning up")
    mend = "end it, and set idle_in_transaction_session_timeout" if holder else "VACUUM the table; end old transactions"
    return warning("bloat", "; ".join(parts), mend)


def unreadable(reason: psycopg.Error) -> Finding:
    return error("queue", f"could not be looked at: {brief(reason)}")
