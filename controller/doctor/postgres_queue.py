"""What doctor looks at in PostgreSQL: the way there, the rights, the plan of the depth query, what slows it down.

Everything is read in READ ONLY transactions as short as a cycle's own; the depth query is run once more, by EXPLAIN.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg import sql

from controller.adapters.postgres import SOURCE
from controller.adapters.postgres.connection import AS_PLANNED, BY_INDEX, Reader, setting
from controller.adapters.postgres.errors import in_words
from controller.adapters.postgres.own_query import undone
from controller.adapters.postgres.places import table_names
from controller.adapters.postgres.queue import PostgresQueue
from controller.core import units
from controller.core.ports import NotMeasurable, Unavailable
from controller.core.wanted import all_busy, count_limit, enough, given_service
from controller.doctor.finding import Finding, Level, error, ok, warning
from controller.doctor.postgres_plan import BIG_PAGES, Plan, Scan, read_plan
from controller.doctor.postgres_rights import Rights, Table, tables_named, values
from controller.policy import WorkerPolicy

T = TypeVar("T")
_SLOW_MS = 250.0
_ABOUT = {"service_time": "service time", "oldest_age_s": "age"}
_MANY_DEAD = 10_000
_LONG_TRANSACTION_S = 600.0
_EXPLAIN: tuple[LiteralString, ...] = (
    "EXPLAIN (ANALYZE, TIMING OFF, BUFFERS, VERBOSE, FORMAT JSON) {}",
    "EXPLAIN (VERBOSE, FORMAT JSON) {}",
)
_TABLES = """
SELECT n.nspname, c.relname, pg_relation_size(c.oid) / 8192,
  nullif(greatest(s.n_live_tup, c.reltuples::bigint, 0), 0) AS rows, s.n_dead_tup, s.n_live_tup,
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
_TRIGGERS = """
SELECT count(*) FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
WHERE t.tgrelid = {table}::oid AND NOT t.tgisinternal AND t.tgenabled <> 'D' AND t.tgtype & 4 > 0
  AND p.prosrc ILIKE '%notify%' AND (position({channel} IN p.prosrc) > 0 OR t.tgnargs > 0)
"""


@dataclass
class QueueChecks:
    """Looks at one worker's queue after the other's. queue: the adapter that the controller would use.

    reader: the adapter's own connection, so that one is enough for everything; or another one.
    """

    reader: Reader
    queue: PostgresQueue
    timeout_s: float
    rights: Rights = field(init=False)

    def __post_init__(self) -> None:
        self.rights = Rights(self._ask)

    async def look(self, worker: WorkerPolicy, was_seen: Callable[[], Awaitable[bool]]) -> list[Finding]:
        """What is to say of it; where that breaks off, what was found until then, and why.

        was_seen: asks whether the journal remembers jobs in this queue, so that it may well be empty.
        """
        findings = await self._depth(worker, was_seen)
        try:
            if self.reader.is_lost:  # by what that reading did
                self.reader = await self.queue.reader()
            async for finding in self._beyond(worker, is_read=findings[0].level is not Level.ERROR):
                findings.append(finding)  # what was found stays where the next one fails
        except psycopg.Error as failure:
            findings.append(unreadable(failure, worker, self.timeout_s))
        return findings

    async def _beyond(self, worker: WorkerPolicy, *, is_read: bool) -> AsyncIterator[Finding]:
        plan = await self._plan(worker)
        tables = await self._tables(worker, plan)
        rights = await self.rights.judge(tables, is_read=is_read or plan is not None)
        if rights is not None:
            yield rights
        if plan is not None:
            for finding in await self._reading(worker, plan):
                # Of what could not be read, a plan only tells why not.
                if is_read or (finding.about, finding.level) != ("plan", Level.OK):
                    yield finding
        for finding in await self._wakes(worker, tables):
            yield finding
        own = await _if_known(self.queue.own(worker.queue))
        decided = own is not None and (own.candidates is None or own.candidates.matter)
        if own is not None and own.verdicts and decided and not own.zone_warning:
            yield ok("timezone", own.zones)
        if worker.target_wait is not None and is_read:
            yield await self._service_time(worker)

    async def longest_job(self, worker: WorkerPolicy) -> float | None:
        """How many seconds jobs take, by those that are done, and by those in work where a dead worker's claim ends.

        None where neither tells.
        """
        finished = await _if_known(self.queue.finished_within(worker.queue))
        running = await _if_known(self.queue.longest_claim(worker.queue, count_limit(worker, given_service(worker))))
        return max(filter(None, (finished, running)), default=None)

    async def _ask(self, statement: sql.Composed) -> list[tuple[Any, ...]]:
        (answer,) = await self.reader.read([statement], self.timeout_s)
        return answer.rows

    async def _depth(self, worker: WorkerPolicy, was_seen: Callable[[], Awaitable[bool]]) -> list[Finding]:
        """What was read, then what to know of it besides."""
        try:
            service = given_service(worker)
            limits = count_limit(worker, service), enough(worker, service), all_busy(worker)
            depth = await self.queue.depth(worker.queue, *limits)
        except Unavailable as unavailable:
            return [error("queue", str(unavailable))]
        besides = [
            warning(_ABOUT.get(remark.about, remark.about), remark.text)
            for remark in depth.remarks
            if remark.about != "standby"  # which is said of the address
        ]
        if depth.unnamed and not await was_seen():
            others = [finding for finding in besides if finding.about != "statuses"]
            return [error("queue", f"it is read as empty, and that is doubtful: {depth.unnamed}"), *others]
        age = (
            f"; the oldest ready one has waited {units.in_words(depth.oldest_age_s)}"
            if depth.oldest_age_s is not None
            else ""
        )
        if depth.stale:
            says = f"{depth.sentence}{age}; the stale ones were claimed by workers that are gone"
            mend = "have the library rescue them, or put them back by hand; they keep no worker"
            return [warning("queue", says, mend), *besides]
        return [ok("queue", f"{depth.sentence}{age}"), *besides]

    async def _plan(self, worker: WorkerPolicy) -> Plan | None:
        """Of the very statement that is sent; only planned, where to run it takes too long or is refused."""
        try:
            statement = await self.queue.statement(worker.queue, enough(worker, given_service(worker)))
        except Unavailable:
            return None
        settings = setting(AS_PLANNED if worker.queue.sql is not None else BY_INDEX)
        for explain in _EXPLAIN:
            try:
                asked = [settings, *undone(sql.SQL(explain).format(statement))]
                *_, answer, _, _ = await self.reader.read(asked, self.timeout_s, watched=True)
            except psycopg.Error:
                if self.reader.is_lost:
                    raise
                continue
            return read_plan(answer.rows[0][0][0])
        return None

    async def _tables(self, worker: WorkerPolicy, plan: Plan | None) -> list[Table]:
        """Those that the policy means, whether they may be read or not; of a query, those that its plan shows."""
        named = {(table.schema, table.name) for table in table_names(worker.queue)}
        names = named or {(scan.schema, scan.table) for scan in (plan.scans if plan else ())}
        return await tables_named(names, self._ask)

    async def _reading(self, worker: WorkerPolicy, plan: Plan) -> list[Finding]:
        tables = {(scan.schema, scan.table) for scan in plan.scans}
        if not tables:
            return [_took("plan", plan, "it reads no table")]
        rows = await self._ask(sql.SQL(_TABLES).format(names=values(tables)))
        pages = {(schema, name): size for schema, name, size, *_ in rows}
        live = {(schema, name): count for schema, name, _, count, *_ in rows}
        wasteful = [s for s in plan.scans if pages.get((s.schema, s.table), 0) >= BIG_PAGES and s.is_wasteful()]
        # An index serves many rows. Fewer rows than pages lie in a table that was larger once.
        hollow = [s for s in wasteful if max(live[s.schema, s.table] or math.inf, s.rows) < pages[s.schema, s.table]]
        wasteful = [scan for scan in wasteful if scan not in hollow]
        findings = [_wasted(worker, wasteful, pages)] if wasteful else [_served(plan, sum(pages.values()), hollow)]
        dead = [finding for schema, name, _, _, *row in rows if (finding := _dead(schema, name, *row)) is not None]
        findings += dead or [_hollow(scan, pages[scan.schema, scan.table]) for scan in hollow]
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

    async def _service_time(self, worker: WorkerPolicy) -> Finding:
        about = "service time"
        if worker.service_time is not None:
            return ok(about, f"a job takes {units.in_words(worker.service_time)}, as the policy says")
        mend = "write service_time into the policy, as an estimate"
        try:
            service = await self.queue.service_time(worker.queue)
        except NotMeasurable as no:
            says = (
                f"how long a job takes cannot be measured, because {no.why}, and without it no second worker is added"
            )
            own = await _if_known(self.queue.own(worker.queue))
            columns = f"write {own.proposal(own.missing_times)} into the queue, or " if own is not None else ""
            return warning(about, says, f"{columns}{mend}")
        except Unavailable as unavailable:
            return warning(about, f"how long a job takes could not be read: {unavailable}", mend)
        if service is None:
            return warning(about, "no job has been done yet, and until then no second worker is added", mend)
        newest = f"the newest {service.jobs}" if service.jobs > 1 else "the only one that is done"
        mean, median = units.in_words(service.mean_s), units.in_words(service.median_s)
        says = f"a job takes {mean} on average (median {median}), by {newest}"
        return ok(about, says)


async def _if_known(answer: Awaitable[T | None]) -> T | None:
    try:
        return await answer
    except (Unavailable, psycopg.Error):
        return None  # what cannot be read at all is said of the queue


def _took(about: str, plan: Plan, says: str) -> Finding:
    took = f", in {units.in_words(plan.took_ms / 1000)}" if plan.took_ms is not None else ""
    if plan.took_ms is not None and plan.took_ms > _SLOW_MS:
        return warning(about, f"{says}{took}, which is much for what is asked every few seconds", "look at its plan")
    return ok(about, f"{says}{took}")


def _served(plan: Plan, pages: int, hollow: Sequence[Scan]) -> Finding:
    if hollow:
        return _took("plan", plan, "reads few rows, for which no index is needed")
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
    if worker.queue.table is not None:
        return warning("plan", f"{says}; no index can be told from its plan")
    return warning("plan", says, mend if worker.queue.sql is not None else "ask the library for an index")


def _hollow(scan: Scan, pages: int) -> Finding:
    says = (
        f"{scan.name} takes {pages * 8 // 1024} MB and has few rows: it was larger once, and counting reads all of it"
    )
    return warning("bloat", says, "as its owner, when it may be locked for a moment:", (f"VACUUM FULL {scan.name};",))


def _dead(schema: str, name: str, dead: int | None, live: int | None, vacuumed: str) -> Finding | None:
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
        parts.append(f"a {holder[0]} has been open for {units.in_words(holder[1])} and keeps vacuum from cleaning up")
    mend = "end it, and set idle_in_transaction_session_timeout" if holder else "VACUUM the table; end old transactions"
    return warning("bloat", "; ".join(parts), mend)


def unreadable(failure: psycopg.Error, worker: WorkerPolicy, timeout_s: float) -> Finding:
    """The mend is in the words."""
    words = in_words(failure, worker.queue, timeout_s)
    return error("queue", f"could not be looked at any further: {Unavailable(SOURCE, words)}")
