"""Doctor's checks of a worker's queue: its depth, the user's rights, the query plan, bloat, wake-up, service time, age.

Every check runs in a READ ONLY transaction as short as a cycle's own. EXPLAIN ANALYZE runs the depth query once more.
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
from controller.adapters.postgres.own_query import rolled_back
from controller.adapters.postgres.places import table_names
from controller.adapters.postgres.queue import PostgresQueue
from controller.adapters.postgres.recognise_table import announced_on
from controller.core import long_wait, units
from controller.core.ahead import ahead_s, ahead_words
from controller.core.ports import NotMeasurable, Unavailable
from controller.core.wanted import all_busy, count_limit, enough, given_service
from controller.doctor.finding import Finding, Level, error, ok, warning
from controller.doctor.postgres_plan import BIG_PAGES, Plan, Scan, read_plan
from controller.doctor.postgres_rights import Rights, Table, tables_named, values
from controller.policy import WorkerPolicy

T = TypeVar("T")
_SLOW_MS = 250.0
"""Of the depth query: at the default interval of 10 s, that is 2.5 % of the time."""
_ABOUT = {"service_time": "service time", "oldest_age_s": "age", "due": "due time"}
_OLDEST = "max_wait"
_MANY_DEAD = 10_000
_LONG_TRANSACTION_S = 600.0
"""Vacuum keeps every row that died since the oldest transaction began, and each count reads them."""
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
# The oldest transaction that keeps vacuum from removing dead rows. Without pg_read_all_stats, the times of other users'
# sessions are NULL.
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
    """Checks the workers' queues one after the other. queue: the adapter that the controller would use.

    reader: usually the adapter's own connection, because the role may be allowed only one.
    """

    reader: Reader
    queue: PostgresQueue
    timeout_s: float
    rights: Rights = field(init=False)

    def __post_init__(self) -> None:
        self.rights = Rights(self._ask)

    async def look(self, worker: WorkerPolicy, was_seen: Callable[[], Awaitable[bool]]) -> list[Finding]:
        """All findings about the queue. If a check fails: those before it, and one that says why it failed.

        was_seen: whether the journal remembers jobs in this queue. If so, an empty queue is believed.
        """
        findings = await self._depth(worker, was_seen)
        try:
            if self.reader.is_lost:  # the depth query may have ended the connection
                self.reader = await self.queue.reader()
            async for finding in self._beyond(worker, is_read=findings[0].level is not Level.ERROR):
                findings.append(finding)  # one by one, so that a failing check does not lose the findings before it
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
                # If the queue could not be read, a good plan is no news; only a bad one may explain the failure.
                if is_read or (finding.about, finding.level) != ("plan", Level.OK):
                    yield finding
        for finding in await self._wakes(worker, tables):
            yield finding
        if worker.only_queue.sql is None and is_read:
            yield await self._ahead(worker)
        own = await _if_known(self.queue.own(worker.only_queue))
        decided = own is not None and (own.candidates is None or own.candidates.matter)
        if own is not None and own.verdicts and decided and not own.zone_warning:
            yield ok("timezone", own.zones)
        if is_read:
            for finding in await self._measurable(worker):
                yield finding

    async def _measurable(self, worker: WorkerPolicy) -> list[Finding]:
        """Whether what the policy goes by can be measured."""
        return [
            *([] if worker.target_wait is None else [await self._service_time(worker)]),
            *([] if worker.slo is None else [await self._waits(worker)]),
            *([] if worker.max_wait is None else [await self._age(worker)]),
        ]

    async def longest_job(self, worker: WorkerPolicy) -> float | None:
        """Seconds that the longest jobs take: the longer of finished jobs and running claims; None if unknown.

        Running claims count only where the claim of a dead worker ends; otherwise a dead worker's would look endless.
        """
        finished = await _if_known(self.queue.finished_within(worker.only_queue))
        running = await _if_known(
            self.queue.longest_claim(worker.only_queue, count_limit(worker, given_service(worker)))
        )
        return max(filter(None, (finished, running)), default=None)

    async def _ask(self, statement: sql.Composed) -> list[tuple[Any, ...]]:
        (answer,) = await self.reader.read([statement], self.timeout_s)
        return answer.rows

    async def _depth(self, worker: WorkerPolicy, was_seen: Callable[[], Awaitable[bool]]) -> list[Finding]:
        """The depth as the first finding, then one finding per remark."""
        try:
            service = given_service(worker)
            limits = count_limit(worker, service), enough(worker, service), all_busy(worker), ahead_s(worker, None)
            depth = await self.queue.depth(worker.only_queue, *limits)
        except Unavailable as unavailable:
            return [error("queue", str(unavailable))]
        besides = [
            warning(_ABOUT.get(remark.about, remark.about), remark.text)
            for remark in depth.remarks
            if remark.about != "standby"  # the finding "primary" already says it
        ]
        if depth.unnamed and not await was_seen():
            others = [finding for finding in besides if finding.about != "statuses"]
            return [error("queue", f"reads as empty, which may be wrong: {depth.unnamed}"), *others]
        age = f"; {depth.waited}" if depth.waited else ""
        if depth.stale:
            says = f"{depth.sentence}{age}; stale jobs were claimed by workers that no longer run"
            fix = "let the library rescue them, or requeue them by hand; the controller runs no worker for stale jobs"
            return [warning("queue", says, fix), *besides]
        return [ok("queue", f"{depth.sentence}{age}"), *besides]

    async def _plan(self, worker: WorkerPolicy) -> Plan | None:
        """The plan of the exact statement that a cycle sends; only planned if running it fails or takes too long."""
        try:
            limit, ahead = enough(worker, given_service(worker)), ahead_s(worker, None)
            statement = await self.queue.statement(worker.only_queue, limit, ahead)
        except Unavailable:
            return None
        settings = setting(AS_PLANNED if worker.only_queue.sql is not None else BY_INDEX)
        for explain in _EXPLAIN:
            try:
                asked = [settings, *rolled_back(sql.SQL(explain).format(statement))]
                *_, answer, _, _ = await self.reader.read(asked, self.timeout_s, watched=True)
            except psycopg.Error:
                if self.reader.is_lost:
                    raise
                continue
            return read_plan(answer.rows[0][0][0])
        return None

    async def _tables(self, worker: WorkerPolicy, plan: Plan | None) -> list[Table]:
        """The tables that the policy names, readable or not; for queue.sql, the tables in its plan."""
        named = {(table.schema, table.name) for table in table_names(worker.only_queue)}
        names = named or {(scan.schema, scan.table) for scan in (plan.scans if plan else ())}
        return await tables_named(names, self._ask)

    async def _reading(self, worker: WorkerPolicy, plan: Plan) -> list[Finding]:
        tables = {(scan.schema, scan.table) for scan in plan.scans}
        if not tables:
            return [_took("plan", plan, "reads no table")]
        rows = await self._ask(sql.SQL(_TABLES).format(names=values(tables)))
        pages = {(schema, name): size for schema, name, size, *_ in rows}
        live = {(schema, name): count for schema, name, _, count, *_ in rows}
        wasteful = [s for s in plan.scans if pages.get((s.schema, s.table), 0) >= BIG_PAGES and s.is_wasteful()]
        # Fewer rows than pages: the table was larger once. An index would not help; VACUUM FULL does.
        hollow = [s for s in wasteful if max(live[s.schema, s.table] or math.inf, s.rows) < pages[s.schema, s.table]]
        wasteful = [scan for scan in wasteful if scan not in hollow]
        findings = [_wasted(worker, wasteful, pages)] if wasteful else [_served(plan, sum(pages.values()), hollow)]
        dead = [finding for schema, name, _, _, *row in rows if (finding := _dead(schema, name, *row)) is not None]
        findings += dead or [_hollow(scan, pages[scan.schema, scan.table]) for scan in hollow]
        holder = await self._ask(sql.SQL(_HOLDERS).format())
        held = bool(holder) and holder[0][1] > _LONG_TRANSACTION_S
        if held or (plan.steps_over_dead_rows() and (plan.pages or 0) > BIG_PAGES):
            findings.append(_held_back(plan, holder[0] if held else None))
        elif len(findings) == 1:
            findings.append(ok("bloat", "few dead rows, and no old transaction blocks vacuum"))
        return findings

    async def _wakes(self, worker: WorkerPolicy, tables: Sequence[Table]) -> list[Finding]:
        try:
            channels = await self.queue.channels(worker.only_queue)
        except Unavailable:
            return []
        if not channels:
            announced = await announced_on(tables[0].oid, self._ask) if worker.only_queue.table and tables else ()
            if announced:
                says = f"a trigger of {tables[0].quoted} announces new jobs on {announced[0]}, which nobody listens to"
                return [ok("wake-up", f"{says}: the queue is read once per interval; write wake_on: {announced[0]}")]
            hint = "; `autoscaler queue-trigger` prints a trigger that does" if worker.only_queue.sql is None else ""
            return [ok("wake-up", f"no NOTIFY announces new jobs: the queue is read once per interval{hint}")]
        if worker.only_queue.table is not None and tables:
            parts = {"table": sql.Literal(tables[0].oid), "channel": sql.Literal(channels[0])}
            ((count,),) = await self._ask(sql.SQL(_TRIGGERS).format(**parts))
            if not count:
                says = f"no trigger of {tables[0].quoted} sends NOTIFY on {channels[0]}"
                fix = "if your application does not send it itself, run the SQL that `autoscaler queue-trigger` prints"
                return [warning("wake-up", says, fix)]
        return [ok("wake-up", f"woken by NOTIFY on {', '.join(channels)}")]

    async def _ahead(self, worker: WorkerPolicy) -> Finding:
        column = await _if_known(self.queue.due_column(worker.only_queue)) or ""
        words = ahead_words(worker, column)
        if worker.only_queue.ahead and not column:
            fix = (
                "set queue.columns.scheduled_for to the column" if worker.only_queue.table is not None else "update it"
            )
            return warning("ahead", f"queue.ahead has no effect: {words}", f"{fix}, or leave ahead out")
        return ok("ahead", words)

    async def _service_time(self, worker: WorkerPolicy) -> Finding:
        about = "service time"
        if worker.service_time is not None:
            return ok(about, f"a job takes {units.in_words(worker.service_time)} (service_time in the policy)")
        instead = "" if worker.slo is None else "write target_wait instead of slo, and "
        fix = f"{instead}set service_time in the policy to an estimate"
        try:
            service = await self.queue.service_time(worker.only_queue)
        except NotMeasurable as no:
            says = f"the service time cannot be measured: {no.why}; without it no second worker is added"
            own = await _if_known(self.queue.own(worker.only_queue))
            columns = f"add {own.proposal(own.missing_times)} to the queue, or " if own is not None else ""
            return warning(about, says, f"{columns}{fix}")
        except Unavailable as unavailable:
            return warning(about, f"the service time could not be read: {unavailable}", fix)
        if service is None:
            return warning(about, "no job has finished yet; until one has, no second worker is added", fix)
        newest = f"the newest {service.jobs} jobs" if service.jobs > 1 else "the only finished job"
        mean, median = units.in_words(service.mean_s), units.in_words(service.median_s)
        says = f"a job takes {mean} on average (median {median}), from {newest}"
        return ok(about, says)

    async def _waits(self, worker: WorkerPolicy) -> Finding:
        """Whether a promise can be kept."""
        own = await _if_known(self.queue.own(worker.only_queue))
        why = "" if own is None else own.unmeasured() or own.no_waits()
        if not why or own is None:
            return ok("slo", "how long jobs waited can be measured")
        missing = [key for key in ("created_at", *own.missing_times) if key not in own.times]
        fix = f"add {own.proposal(missing)} to the queue, or write target_wait instead of slo"
        return error("slo", f"slo cannot be kept: how long jobs waited cannot be measured, because {why}", fix)

    async def _age(self, worker: WorkerPolicy) -> Finding:
        """Whether max_wait can work. An age that is unknown while no job waits says nothing."""
        no_age = await _if_known(self.queue.no_age(worker.only_queue))
        depth = await _if_known(self.queue.depth(worker.only_queue, 1))
        if no_age:
            return warning(_OLDEST, f"max_wait has no effect, because {no_age}")
        if depth is not None and long_wait.is_unknown(worker, depth):
            fix = (
                "return a column oldest_age_s, in seconds"
                if worker.only_queue.sql is not None
                else "check the times of the waiting jobs"
            )
            return warning(_OLDEST, long_wait.UNKNOWN, fix)
        limit = units.in_words(worker.max_wait or 0.0)
        return ok(_OLDEST, f"one worker more at a time once the oldest ready job has waited {limit} (max_wait)")


async def _if_known(answer: Awaitable[T | None]) -> T | None:
    try:
        return await answer
    except (Unavailable, psycopg.Error):
        return None  # the finding "queue" already says why it cannot be read


def _took(about: str, plan: Plan, says: str) -> Finding:
    took = f", in {units.in_words(plan.took_ms / 1000)}" if plan.took_ms is not None else ""
    if plan.took_ms is not None and plan.took_ms > _SLOW_MS:
        return warning(
            about, f"{says}{took}, which is slow for a query that runs every few seconds", "look at its EXPLAIN plan"
        )
    return ok(about, f"{says}{took}")


def _served(plan: Plan, pages: int, hollow: Sequence[Scan]) -> Finding:
    if hollow:
        return _took("plan", plan, "reads few rows; no index is needed")
    small = "" if plan.indexes else f"reads small tables whole ({pages * 8} kB)"
    return _took("plan", plan, f"uses {', '.join(plan.indexes)}" if plan.indexes else small)


def _wasted(worker: WorkerPolicy, scans: Sequence[Scan], pages: dict[tuple[str, str], int]) -> Finding:
    biggest = max(scans, key=lambda scan: pages[scan.schema, scan.table])
    size = pages[biggest.schema, biggest.table] * 8 // 1024
    how = (
        "reads the whole table"
        if biggest.whole
        else f"scans {', '.join(biggest.indexes)} and discards most of its rows, on table"
    )
    looked = f" ({biggest.rows} rows read)" if biggest.rows else ""
    says = f"the depth query {how} {biggest.name}, {size} MB{looked}"
    statements = tuple(dict.fromkeys(filter(None, (scan.index() for scan in scans))))
    if statements:
        return warning("plan", says, "run as its owner, outside a transaction:", statements)
    fix = "put its conditions into WHERE, one subquery per count, so that an index can serve them"
    if worker.only_queue.table is not None:
        return warning("plan", f"{says}; its plan does not show which index would help")
    return warning("plan", says, fix if worker.only_queue.sql is not None else "ask the library's authors for an index")


def _hollow(scan: Scan, pages: int) -> Finding:
    says = f"{scan.name} takes {pages * 8 // 1024} MB for few rows: it was larger once, and each count reads all of it"
    return warning(
        "bloat", says, "run as its owner, at a time when the table may be locked:", (f"VACUUM FULL {scan.name};",)
    )


def _dead(schema: str, name: str, dead: int | None, live: int | None, vacuumed: str) -> Finding | None:
    if not dead or dead < _MANY_DEAD or dead * 5 < (live or 0):
        return None
    table = sql.Identifier(schema, name).as_string()
    rows = f"{dead} dead and {live or 0} live rows (last vacuum: {vacuumed})"
    says = f"{table} has {rows}; each count reads the dead ones too"
    tune = f"ALTER TABLE {table} SET (autovacuum_vacuum_scale_factor = 0.01);  -- vacuums sooner"
    return warning("bloat", says, "run as its owner:", (f"VACUUM (ANALYZE) {table};", tune))


def _held_back(plan: Plan, holder: tuple[str, float] | None) -> Finding:
    parts = []
    if plan.steps_over_dead_rows():
        parts.append(f"the depth query touches {plan.pages} pages to count {plan.counted} jobs")
    if holder is not None:
        parts.append(f"a {holder[0]} has been open for {units.in_words(holder[1])} and blocks vacuum")
    fix = "end it, and set idle_in_transaction_session_timeout" if holder else "VACUUM the table; end old transactions"
    return warning("bloat", "; ".join(parts), fix)


def unreadable(failure: psycopg.Error, worker: WorkerPolicy, timeout_s: float) -> Finding:
    """For a check that PostgreSQL refused. It has no `fix`: in_words() puts the fix into its sentence."""
    words = in_words(failure, worker.only_queue, timeout_s)
    return error("queue", f"the checks stopped here: {Unavailable(SOURCE, words)}")
