"""A table (or view) of the user's: which of its columns mean what, and the Form that reads its depth.

Names and values from the policy replace {words} of the form as identifiers and literals, so they are never run as SQL.
Only queue.where is SQL, in parentheses.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from psycopg import errors, sql

from controller.adapters.postgres import SOURCE
from controller.adapters.postgres.columns import UTC, Ask, Column, Kind, Shape, TimeSql, schemas_with, shape_of
from controller.adapters.postgres.statements import Place
from controller.adapters.postgres.statuses import BY_PAGES_SINCE, castable
from controller.adapters.postgres.zones import (
    DUE,
    Candidates,
    Rank,
    Sample,
    Verdict,
    candidates,
    decide_zones,
    sample_query,
)
from controller.core.ports import Unavailable
from controller.core.text.guesses import nearest
from controller.policy import Form, TimeColumn, split_name
from controller.policy import Queue as QueuePolicy

# The usual column names, tried in order if the policy names none.
_USUAL = {
    "scheduled_for": ("scheduled_for", "run_at"),
    "created_at": ("created_at",),
    "locked_at": ("locked_at", "started_at"),
    "started_at": ("started_at",),
    "completed_at": ("completed_at", "finished_at"),
    "updated_at": ("updated_at",),
}
_USUAL_HOLDERS = ("locked_by", "worker_id")
_NONE = ("{jobs} j WHERE false",)
"""Counts 0: by the policy or by the column's type, no job has failed. Without a part, the count would be unknown."""
_ALIKE = {
    "created_at": re.compile(r"creat|insert|enqueue|added|born|submit", re.IGNORECASE),
    "started_at": re.compile(r"start|beg[aiu]n|pick|claim|taken|lock", re.IGNORECASE),
    "completed_at": re.compile(r"complet|finish|end|done|stop|clos", re.IGNORECASE),
}
"""Patterns that propose a column for a missing time, by its name."""
_MOST_COLUMNS = 40
"""Columns, or statuses, that a message lists."""
_LAST_PAGES = 8
_MOST_NUMBERS = 100
_YEAR_S = 365.25 * 24 * 3600
_EARLIEST_S, _LATEST_S = 20 * _YEAR_S, 130 * _YEAR_S
"""1990 to 2100, in seconds since 1970. A number in this range in one unit is outside it in the other (s, ms)."""
_PER_SECOND = {"s": 1, "ms": 1000}
_FINER_UNITS = {"microseconds": 10**6, "nanoseconds": 10**9}


@dataclass(frozen=True, slots=True)
class OwnTable:
    """How a table is read. times: its times, by their key in queue.columns; a missing one has no entry.

    verdicts: how the zone of each time without a zone was decided. candidates: the zones that may apply; None if every
    time has a zone or the policy sets queue.timezone.
    """

    queue: QueuePolicy
    shape: Shape
    times: Mapping[str, TimeSql]
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    candidates: Candidates | None = None
    proven: frozenset[str] = frozenset()
    """Keys of numeric times whose unit was confirmed by rows."""

    @property
    def is_settled(self) -> bool:
        """Whether all zones and units are decided, so that new rows cannot change how it is read."""
        in_numbers = {key for key, time in self.times.items() if time.kind in {Kind.WHOLE, Kind.NUMBER}}
        return not self.undecided and in_numbers <= self.proven

    @property
    def is_proven(self) -> bool:
        """Whether rows or the policy decided all zones, where it matters, and not only a default."""
        matters = self.candidates is not None and self.candidates.matter
        return not matters or all(verdict.rank >= Rank.ROWS for verdict in self.verdicts.values())

    @property
    def status(self) -> str:
        return self.queue.columns.status

    @property
    def holder(self) -> str | None:
        """The column that says who holds a job: as the policy names it, or a usual one that this user may read."""
        named, columns = self.queue.columns.locked_by, self.shape.columns
        usual = (name for name in _USUAL_HOLDERS if name in columns and columns[name].is_readable)
        return named or next(usual, None)

    @property
    def condition(self) -> sql.Composable | None:
        """queue.where: which rows are jobs of this queue; None: all rows."""
        return None if self.queue.where is None else sql.SQL(self.queue.where)

    @property
    def where(self) -> sql.Composable:
        """The same as an AND, for a statement that has a WHERE already; empty if there is no condition."""
        return sql.SQL("") if self.condition is None else sql.SQL(" AND ({})").format(self.condition)

    @property
    def ended(self) -> TimeSql | None:
        """The time at which a job finished: completed_at, or else the updated_at that the policy names."""
        return self.times.get("completed_at") or (
            self.times.get("updated_at") if self.queue.columns.updated_at is not None else None
        )

    @property
    def claim_evidence(self) -> tuple[str, sql.Composable] | None:
        """For claims without a time: the key of the time that tells something of it, updated_at or else created_at.

        And the expression, which is NULL for a claim with a time. None if the table has neither.
        """
        times = {key: time for key, time in self.times.items() if self.shape.columns[time.name].is_readable}
        key = next((key for key in ("updated_at", "created_at") if key in times), None)
        if key is None:
            return None
        dated = [self.times[name].raw for name in ("locked_at", "started_at") if name in self.times]
        if not dated:
            return key, times[key].latest
        claimed = sql.SQL("coalesce({})").format(sql.SQL(", ").join(sql.SQL("{}::text").format(raw) for raw in dated))
        return key, sql.SQL("CASE WHEN {} IS NULL THEN {} END").format(claimed, times[key].latest)

    @property
    def undecided(self) -> tuple[str, ...]:
        """Names of the columns whose time zone is undecided."""
        if self.candidates is None or not (self.candidates.matter or self.candidates.is_hidden):
            return ()
        return tuple(self.times[key].name for key, verdict in self.verdicts.items() if verdict.rank is Rank.NOTHING)

    @property
    def zone_warning(self) -> str:
        """The warning about undecided time zones; "" if there is none."""
        if not self.undecided or self.candidates is None:
            return ""
        *some, last = self.undecided
        names, holds = (f"{', '.join(some)} and {last}", "hold") if some else (last, "holds")
        others = [zone for zone in self.candidates.zones if zone != UTC]
        if self.candidates.is_hidden:
            return (
                f"{names} of {self.queue.table} {holds} times without a zone, and the server's zone is unknown, "
                "because the user of DATABASE_URL has one of its own; they are read as UTC, which may be wrong: set "
                "queue.timezone, or run ALTER ROLE … RESET timezone for that user"
            )
        return (
            f"{names} of {self.queue.table} {holds} times without a zone, in UTC or in {' or '.join(others)}; they "
            f"are read as UTC, which may be wrong: set queue.timezone, for example timezone: {others[0]}"
        )

    @property
    def zones(self) -> str:
        """How the times without a zone are read, and why: `created_at in Europe/Helsinki (by the column's default)`."""
        why = {
            Rank.POLICY: "by queue.timezone",
            Rank.ROWS: "by its rows",
            Rank.DEFAULT: "by the column's default",
            Rank.OTHER_COLUMNS: "like the other columns",
            Rank.WAITING_ROWS: "by the waiting jobs",
            Rank.NOTHING: "undecided",
        }
        return ", ".join(
            f"{self.times[key].name} in {verdict.zone} ({why[verdict.rank]})" for key, verdict in self.verdicts.items()
        )

    def unmeasured(self) -> str:
        """Why the service time cannot be measured; "" if the columns for it exist."""
        missing = [
            *([] if "started_at" in self.times else ["no time column started_at"]),
            *([] if self.ended is not None else ["no time column completed_at (or finished_at)"]),
        ]
        return f"{self.queue.table} has {' and '.join(missing)}" if missing else ""

    def no_waits(self) -> str:
        """Why it cannot be measured how long jobs waited; "" if the columns for it exist."""
        missing = [key for key in ("created_at", "started_at") if key not in self.times]
        return f"{self.queue.table} has no time column {' and no '.join(missing)}" if missing else ""

    def proposal(self, missing: Sequence[str]) -> str:
        """The policy text for missing times: `columns: {started_at: begun, completed_at: ended}`.

        Proposes other time columns with similar names, or the placeholder NAME. missing: keys of queue.columns.
        """
        taken = {time.name for time in self.times.values()}
        free = [name for name, column in self.shape.columns.items() if column.is_time and name not in taken]
        found = {key: self._in_numbers(key) or self._alike(key, free) for key in missing}
        others = f" (other time columns: {', '.join(free)})" if free and "NAME" in found.values() else ""
        named = ", ".join(f"{key}: {name}" for key, name in found.items())
        unit = " (unit: ms if they hold milliseconds)" if "unit: s" in named else ""
        return f"columns: {{{named}}}{others}{unit}"

    def _alike(self, key: str, free: Sequence[str]) -> str:
        return next((name for name in free if _ALIKE[key].search(name)), "NAME")

    def _in_numbers(self, key: str) -> str | None:
        """A column of a usual name that holds numbers, as the policy would write it."""
        columns = self.shape.columns
        name = next((name for name in _USUAL[key] if name in columns and columns[name].is_number), None)
        return None if name is None else f"{{name: {name}, unit: s}}"

    @property
    def missing_times(self) -> tuple[str, ...]:
        """Keys of the times that measuring needs and the table does not have."""
        ended = () if self.ended is not None else ("completed_at",)
        return ended if "started_at" in self.times else ("started_at", *ended)

    def seconds(self) -> tuple[sql.Composed, sql.Composed]:
        """Two expressions: the seconds that a job took, and whether the row shows that (finished, times finite).

        Call it only if unmeasured() is "".
        """
        began, ended = self.times["started_at"], self.ended
        assert ended is not None, "there is nothing to measure"
        seconds = sql.SQL("extract(epoch FROM {} - {})::float8").format(ended.value, began.value)
        done = sql.SQL("CASE WHEN {} AND {} THEN {} > {} END").format(
            ended.is_finite, began.is_finite, ended.value, began.value
        )
        is_open = sql.SQL(", ").join(map(sql.Literal, (*self.queue.statuses.pending, *self.queue.statuses.processing)))
        if self.ended is self.times.get("completed_at"):
            return seconds, done
        # updated_at also changes while a job is running, so unfinished statuses are excluded.
        named = sql.SQL("NOT coalesce(j.{} IN ({}), false)").format(sql.Identifier(self.status), is_open)
        return seconds, sql.SQL("{} AND {}").format(done, named)

    def place(self) -> Place:
        """How its depth is read.

        Raises:
            Unavailable: queue.stale_after is set, but the table has no time of the claim.
        """
        self._check_claims()
        due, created, locked, began = (
            self.times.get(key) for key in ("scheduled_for", "created_at", "locked_at", "started_at")
        )
        # Untyped literals take the column's own type: text, an enum, a number.
        values = {
            f"{kind}_{index}": sql.Literal(value)
            for kind, named in self._statuses.items()
            for index, value in enumerate(named)
        }
        fixed: dict[str, sql.Composable] = {"status": sql.Identifier(self.status), "where": self.where, **values}
        # One part per value, and one for a due time of NULL, so that each can use an index.
        parts = {
            kind: tuple(f"{{jobs}} j WHERE j.{{status}} = {{{kind}_{index}}}" for index, _ in enumerate(named))
            for kind, named in self._statuses.items()
        }
        ready, scheduled = self._by_due(due, parts["pending"])
        if due is not None:
            fixed |= {"due": due.raw, "due_now": due.at(sql.SQL("now()"))}
            fixed["due_from"], fixed["due_to"] = due.around_instant
        since = {f"since_{key}": time.value for key, time in (("created", created), ("due", due)) if time is not None}
        fixed |= since
        if locked is not None:
            fixed["claimed"] = locked.latest
        if self.holder is not None:
            fixed["holder"] = sql.Identifier(self.holder)
        # A heartbeat updates locked_at; started_at keeps the beginning of the work.
        if began is not None and locked is not None:
            fixed |= {"began": began.value, "locked": locked.value}
        form = Form(
            ready=_each(ready),
            processing=_each(parts["processing"]),
            scheduled=_each(scheduled),  # none without a due time: it is then unknown which jobs are for later
            soon=None if due is None else "{due} <= {due_from}now() + {ahead}{due_to}",
            failed=_each(parts["failed"]) or _NONE,
            since=f"greatest({', '.join(f'{{{name}}}' for name in since)})" if since else None,
            # A job without a time of its claim counts as running: taking it for stale would remove its worker.
            claimed_at="coalesce({claimed}, now())" if locked is not None else None,
            began="coalesce({began}, {locked})" if "began" in fixed else None,
            held_by="j.{holder}" if self.holder is not None else None,
            keeps_claims_of_the_dead=True,
        )
        tables = ({"jobs": self.shape.identifier},)
        is_set = self.queue.stale_after is not None
        return Place(form, tables, stale_after=self.queue.stale_after, stale_is_set=is_set, fixed=fixed)

    def _check_claims(self) -> None:
        if self.queue.stale_after is not None and "locked_at" not in self.times:
            raise Unavailable(
                SOURCE,
                f"table {self.queue.table} has no column for the time of a claim, which queue.stale_after needs; set "
                "queue.columns.locked_at to one, or remove stale_after",
            )

    def _by_due(self, due: TimeSql | None, pending: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Of the pending jobs: the parts with those that are ready, and with those that are for later."""
        if due is None:
            return pending, ()
        ready = tuple(f"{part} AND {{due}} <= {{due_now}}" for part in pending)
        scheduled = tuple(f"{part} AND {{due}} > {{due_now}}" for part in pending)
        if not self.shape.columns[due.name].never_null:
            ready += tuple(f"{part} AND {{due}} IS NULL" for part in pending)
        return ready, scheduled

    @property
    def _statuses(self) -> dict[str, tuple[str, ...]]:
        """Status values by kind. Failed values that the column's type cannot hold are left out: they count 0."""
        named = self.queue.statuses
        failed = castable(named.failed, self.shape, self.status)
        return {"pending": named.pending, "processing": named.processing, "failed": failed}


def _each(parts: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{part}{{where}}" for part in parts)


async def own_table(queue: QueuePolicy, ask: Ask, before: OwnTable | None = None) -> OwnTable:
    """Looks the table up and decides the time zones of its columns. before: the result of the last look-up.

    Raises:
        Unavailable: the table or a column does not exist; the message says what to set.
        psycopg.Error: the look-up failed.
    """
    assert queue.table is not None, "only a table is looked up"
    name = sql.Identifier(*filter(None, split_name(queue.table)))
    shape = await shape_of(name, ask)
    if shape is None:
        fix = "set queue.table (names are case-sensitive and may include the schema: jobs.generation_job)"
        if elsewhere := await schemas_with(split_name(queue.table)[1], ask):
            fix = f"schema {' and '.join(elsewhere)} has one: {fix}"
        raise Unavailable(SOURCE, f"this user can see no table {name.as_string()}; {fix}")
    table = OwnTable(queue, shape, chosen_times(queue, shape))
    table = replace(table, proven=await _proven(table, before.proven if before is not None else frozenset(), ask))
    local = {key: time for key, time in table.times.items() if time.kind is Kind.LOCAL}
    if not local:
        return table
    if queue.timezone is not None:
        return _with_zones(table, {key: Verdict(queue.timezone, Rank.POLICY) for key in local}, None)
    known = await candidates(shape, ask)
    columns = {key: shape.columns[time.name] for key, time in table.times.items()}
    rows: list[Sample] = []
    now = 0.0
    if known.matter:
        with contextlib.suppress(errors.InsufficientPrivilege):  # samples may read columns that no reading needs
            rows, now = await _samples(table, known, ask)
    verdicts = decide_zones(columns, known, rows, now, before.verdicts if before is not None else None)
    return _with_zones(table, verdicts, known)


def _with_zones(table: OwnTable, verdicts: Mapping[str, Verdict], known: Candidates | None) -> OwnTable:
    def zones(verdict: Verdict) -> tuple[str, ...]:
        # A program may write UTC itself into a column whose default is the database's time.
        others = known.zones if known is not None and verdict.rank < Rank.ROWS else ()
        return (verdict.zone, *(zone for zone in others if zone != verdict.zone))

    times = {
        key: replace(time, zones=zones(verdicts[key])) if key in verdicts else time for key, time in table.times.items()
    }
    return replace(table, times=times, verdicts=verdicts, candidates=known)


def chosen_times(queue: QueuePolicy, shape: Shape) -> dict[str, TimeSql]:
    """The table's times that a reading or a measurement uses, by their key in queue.columns.

    Raises:
        Unavailable: with everything that is wrong: columns that the policy names and that do not exist or hold no
            times, a due time of an unknown type, or statuses that the column cannot hold.
    """
    times, missing, wrong = _times(queue, shape.columns)
    problems = [
        *([_no_columns(queue, missing, shape.columns)] if missing else []),
        *wrong,
        *_impossible_statuses(queue, shape),
    ]
    if problems:
        raise Unavailable(SOURCE, "; also, ".join(problems))
    return times


def _times(
    queue: QueuePolicy, columns: Mapping[str, Column]
) -> tuple[dict[str, TimeSql], list[tuple[str, str]], list[str]]:
    """The times; the key and the name of each column that does not exist; what is wrong with columns that do."""
    named = queue.columns
    plain = {"status": named.status, "priority": named.priority, "locked_by": named.locked_by}
    missing = [(key, name) for key, name in plain.items() if name is not None and name not in columns]
    wrong: list[str] = []
    times: dict[str, TimeSql] = {}
    for key, usual in _USUAL.items():
        given: TimeColumn | None = getattr(named, key)
        if given is not None and given.name not in columns:
            missing.append((key, given.name))
            continue
        if given is not None:
            time = _time(queue, key, given, columns[given.name])
            if isinstance(time, str):
                wrong.append(time)
            else:
                times[key] = time
            continue
        there = [name for name in usual if name in columns]
        found = next((name for name in there if columns[name].is_time), None)
        if found is not None and (key != DUE or found == there[0]):
            times[key] = TimeSql(found, columns[found].kind)
        elif there and key == DUE:
            wrong.append(_no_time(queue, key, there[0], columns[there[0]]))
    return times, missing, wrong


def _time(queue: QueuePolicy, key: str, named: TimeColumn, column: Column) -> TimeSql | str:
    """The time, or what is wrong with it."""
    if column.is_number and named.unit is not None:
        return TimeSql(named.name, column.kind, per_second=_PER_SECOND[named.unit])
    if not column.is_time:
        return _no_time(queue, key, named.name, column)
    if named.unit is not None:
        return f"column {named.name} of {queue.table} holds timestamps, not numbers; remove columns.{key}.unit"
    return TimeSql(named.name, column.kind)


def _no_columns(queue: QueuePolicy, missing: Sequence[tuple[str, str]], columns: Mapping[str, Column]) -> str:
    """`table jobs has no columns stat and born; set queue.columns.status (did you mean state?) and …`."""
    keys = [f"queue.columns.{key}{_did_you_mean(name, columns)}" for key, name in missing]
    names = list(dict.fromkeys(name for _, name in missing))
    more = [f"{len(columns) - _MOST_COLUMNS} more"] if len(columns) > _MOST_COLUMNS else []
    known = ", ".join([*sorted(columns)[:_MOST_COLUMNS], *more])
    each = " each" if len(keys) > 1 else ""
    s = "s" if len(names) > 1 else ""
    return f"table {queue.table} has no column{s} {_and(names)}; set {_and(keys)}{each} to one of: {known}"


def _did_you_mean(name: str, columns: Mapping[str, Column]) -> str:
    alike = {column.lower(): column for column in columns}
    near = nearest(name.lower(), alike)
    return f" (did you mean {alike[near]}?)" if near else ""


def _and(names: Sequence[str]) -> str:
    *some, last = names
    return f"{', '.join(some)} and {last}" if some else last


def _no_time(queue: QueuePolicy, key: str, name: str, column: Column) -> str:
    if column.is_number:
        written = f"columns: {{{key}: {{name: {name}, unit: s}}}}"
        words = f"column {name} of {queue.table} is a number, not a timestamp; if it holds seconds since 1970, write "
        return f"{words}{written}; if milliseconds, unit: ms"
    matter = ", so it is unknown which jobs are due" if key == DUE else ""
    return f"column {name} of {queue.table} is not a timestamp{matter}; set queue.columns.{key} to a timestamp column"


def _impossible_statuses(queue: QueuePolicy, shape: Shape) -> Iterator[str]:
    """The policy's statuses that the column's type cannot hold; each query would fail with a vague error."""
    status = queue.columns.status
    if status not in shape.columns:
        return  # it is one of the missing columns
    for kind in ("pending", "processing"):
        named: tuple[str, ...] = getattr(queue.statuses, kind)
        missing = [value for value in named if value not in castable(named, shape, status)]
        if missing:
            column = shape.columns[status]
            has = f"which has {', '.join(column.labels[:20])}" if column.labels else f"which is a {column.kind.value}"
            cannot = _and([repr(value) for value in missing[:_MOST_COLUMNS]])
            yield f"{queue.table}.{status}, {has}, cannot be {cannot}; set queue.statuses to possible values"


async def _proven(table: OwnTable, before: frozenset[str], ask: Ask) -> frozenset[str]:
    """Keys of numeric times whose unit is confirmed by rows. before: those confirmed earlier.

    Raises:
        Unavailable: all rows show that a unit is wrong: every job would be due in the year 58000, or be stale.
    """
    keys = [key for key, time in table.times.items() if time.kind in {Kind.WHOLE, Kind.NUMBER} and key not in before]
    if not keys:
        return before
    numbers = sql.SQL(", ").join(sql.SQL("{}::float8").format(table.times[key].raw) for key in keys)
    arms = [
        sql.SQL("(SELECT {} FROM {} LIMIT {})").format(numbers, arm, sql.Literal(_MOST_NUMBERS))
        for _, arm in await _arms(table, ask)
    ]
    rows = await ask(sql.SQL(" UNION ALL ").join(arms))
    proven = set(before)
    for index, key in enumerate(keys):
        time = table.times[key]
        seconds = [row[index] / time.per_second for row in rows if row[index] is not None and row[index] > 0]
        finite = [at for at in seconds if math.isfinite(at)]
        if any(_EARLIEST_S <= at <= _LATEST_S for at in finite):
            proven.add(key)
        elif finite:
            _refuse_unit(table, key, finite)
    return frozenset(proven)


def _refuse_unit(table: OwnTable, key: str, finite: Sequence[float]) -> None:
    time = table.times[key]
    unit, other = ("s", "ms") if time.per_second == 1 else ("ms", "s")
    factor = 1 / 1000 if unit == "s" else 1000
    if all(_EARLIEST_S <= at * factor <= _LATEST_S for at in finite):
        year = 1970 + int(max(finite) / _YEAR_S)
        raise Unavailable(
            SOURCE,
            f"column {time.name} of {table.queue.table} gives dates in the year {year} in unit {unit}; "
            f"write columns: {{{key}: {{name: {time.name}, unit: {other}}}}}",
        )
    for name, per_second in _FINER_UNITS.items():
        factor = time.per_second / per_second
        if all(_EARLIEST_S <= at * factor <= _LATEST_S for at in finite):
            raise Unavailable(
                SOURCE,
                f"column {time.name} of {table.queue.table} holds {name} since 1970 (columns.{key}.unit: s or ms); "
                f"add a generated column or a view that divides it by {per_second // 1000}, and name it in unit ms",
            )


async def _samples(table: OwnTable, known: Candidates, ask: Ask) -> tuple[list[Sample], float]:
    """Rows that may show in which zone they are written, and PostgreSQL's time, in seconds since 1970."""
    readings = [
        (key, zone)
        for key, time in table.times.items()
        for zone in (known.zones if time.kind is Kind.LOCAL else (UTC,))
    ]
    values = [table.times[key].read_in(zone) for key, zone in readings]
    ((now,),) = await ask(sql.SQL("SELECT extract(epoch FROM now())::float8").format())
    rows = await ask(sample_query(values, await _arms(table, ask)))
    samples = []
    for was_claimed, *epochs in rows:
        times: dict[str, dict[str, float]] = {}
        for (key, zone), epoch in zip(readings, epochs, strict=True):
            if epoch is not None and math.isfinite(epoch):
                times.setdefault(key, {})[zone] = epoch
        samples.append(Sample(was_claimed, times))
    return samples, now


async def _arms(table: OwnTable, ask: Ask) -> list[tuple[bool, sql.Composed]]:
    """Where sample rows come from: waiting jobs, running jobs, and the rows on the table's last 8 pages.

    Each with whether its jobs were claimed.
    """
    status, statuses = sql.Identifier(table.status), table.queue.statuses

    def named(values: Sequence[str]) -> sql.Composed:
        parts = (
            sql.Identifier(table.shape.schema, table.shape.name),
            status,
            sql.SQL(", ").join(map(sql.Literal, values)),
        )
        return sql.SQL("{} j WHERE j.{} IN ({})").format(*parts)

    arms = [(False, named(statuses.pending)), (True, named(statuses.processing))]
    question = sql.SQL(
        "SELECT pg_relation_size({}::oid) / current_setting('block_size')::int, "
        "current_setting('server_version_num')::int"
    )
    ((pages, server),) = await ask(question.format(sql.Literal(table.shape.oid)))
    if table.shape.kind == "r" and server >= BY_PAGES_SINCE:
        last = sql.Literal(f"({max(0, int(pages) - _LAST_PAGES)},0)")
        newest = sql.SQL("ONLY {} j WHERE j.ctid >= {}::tid").format(table.shape.identifier, last)
        arms.append((False, newest))
        done = table.times.get("completed_at")
        if done is not None:
            arms.append((True, sql.SQL("{} AND {} IS NOT NULL").format(newest, done.raw)))
    return [(claimed, sql.SQL("{}{}").format(arm, table.where)) for claimed, arm in arms]
