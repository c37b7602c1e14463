"""Finds values of a status column that the policy does not name, and tells which of them mean unfinished work.

It reads few pages: an index on the column, PostgreSQL's statistics, and a sample of blocks. It never scans the table.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from psycopg import errors, sql

from controller.adapters.postgres.columns import Ask, Kind, Shape
from controller.policy import Statuses

_SAMPLE_PAGES = 100
_SMALL_PAGES = 200
_MOST_ROWS = 50_000
_FEW_ROWS = 1000
"""Rows read from a view, whose cost is unknown."""
_MOST_VALUES = 50
BY_PAGES_SINCE = 140000
"""Before PostgreSQL 14, a condition on ctid reads the whole table."""
_LONGEST_SHOWN = 40
_YAML_WORDS = frozenset(("null", "true", "false", "yes", "no", "on", "off", "y", "n"))

_WAITING = frozenset(
    (
        *("available", "awaiting", "awaitingretry", "created", "delayed", "deferred", "enqueued", "inqueue", "new"),
        *("notstarted", "open", "pending", "pendingretry", "queue", "queued", "ready", "received", "requested"),
        *("requeued", "rescheduled", "retry", "retryable", "retrying", "retrypending", "retryscheduled", "runnable"),
        *("scheduled", "submitted", "todo", "unassigned", "unclaimed", "unfinished", "unprocessed", "unstarted"),
        *("wait", "waiting", "waitingchildren", "waitingforretry", "waitingretry"),
    )
)
_RUNNING = frozenset(
    (
        *("acquired", "active", "assigned", "beingprocessed", "busy", "claimed", "dispatched", "doing", "executing"),
        *("inexecution", "inflight", "inprocess", "inprogress", "inwork", "leased", "locked", "ongoing", "picked"),
        *("pickedup", "processing", "reserved", "restarting", "run", "running", "started", "starting", "taken"),
        *("working",),
    )
)
_FAILED = frozenset(("aborted", "crashed", "dead", "error", "errored", "exhausted", "failed", "failure", "killed"))
_FINISHED = _FAILED | frozenset(
    (
        *("abandoned", "acked", "acknowledged", "archived", "canceled", "cancelled", "closed", "complete"),
        *("completed", "deleted", "delivered", "discarded", "done", "dropped", "expired", "finished", "handled"),
        *("ignored", "obsolete", "ok", "processed", "purged", "rejected", "removed", "resolved", "revoked"),
        *("skipped", "succeeded", "success", "successful", "superseded", "terminated", "timedout", "timeout"),
    )
)
_PHRASES = ("in flight", "in process", "in progress", "in queue", "not started", "to do")
_SPELLINGS = tuple(
    spelling
    for word in (*sorted(_WAITING | _RUNNING), *(phrase.replace(" ", by) for phrase in _PHRASES for by in " _-"))
    for spelling in dict.fromkeys((word, word.upper(), word.capitalize(), word.title()))
)
"""The usual ways to write the words for unfinished work."""
_CHEAP = 5000.0
"""Cost of a query, as the planner counts it; a page read in order costs 1."""
_COST_OF_A_DISABLED_SCAN = 1e10
_NO_WORD = re.compile(r"[\W_]+")
_PREFIX = re.compile(r"^(?:job|task|status|state|is)+(?=.)")
"""As in STATUS_PENDING, JobState.QUEUED."""

_PAGES = """
SELECT greatest(1, coalesce((SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree({table}::oid)),
  pg_relation_size({table}::oid)) / current_setting('block_size')::int)::float8,
  current_setting('server_version_num')::int,
  EXISTS (SELECT FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam
    WHERE i.indrelid = {table}::oid AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree'
    AND i.indkey[0] = (SELECT attnum FROM pg_attribute WHERE attrelid = {table}::oid AND attname = {column}))
"""
# The distinct values from an index that begins with the column: one step per value.
_BY_INDEX = """
WITH RECURSIVE v AS (
  (SELECT j.{status} AS value FROM {table} j WHERE j.{status} IS NOT NULL ORDER BY 1 LIMIT 1)
  UNION ALL SELECT (SELECT j.{status} FROM {table} j WHERE j.{status} > v.value ORDER BY 1 LIMIT 1)
  FROM v WHERE v.value IS NOT NULL)
SELECT j.value::text, {named}, {known} FROM (SELECT value FROM v LIMIT {most}) AS j WHERE j.value IS NOT NULL
"""
_STATISTICS = """
SELECT DISTINCT v.value FROM pg_stats s JOIN pg_namespace n ON n.nspname = s.schemaname
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = s.tablename,
unnest(s.most_common_vals::text::text[]) AS v(value)
WHERE s.attname = {column} AND (c.oid = {table}::oid OR c.oid IN (SELECT relid FROM pg_partition_tree({table}::oid)))
LIMIT {most}
"""
# Values that the policy names are excluded.
_STILL_THERE = """
SELECT true FROM ({one}) AS j WHERE NOT ({named}) AND NOT ({known})
AND EXISTS (SELECT FROM {table} j WHERE j.{status} = {value}{where})
"""
# Rows with a word that means unfinished work, wherever they are in the table.
_BY_WORDS = """
SELECT DISTINCT j.value::text, {named}, {known}
FROM (SELECT j.{status} AS value FROM {table} j WHERE j.{status} IN ({words}){where} LIMIT {limit}) AS j
"""
_SEEN = """
SELECT j.value::text, {named}, {known} FROM (SELECT j.{status} AS value FROM {rows} LIMIT {limit}) AS j
GROUP BY j.value ORDER BY count(*) DESC LIMIT {most}
"""


class Size(NamedTuple):
    """The size of a stored table, in pages. server: its version, 140000 for 14. has_index: one on the status column."""

    pages: float
    server: int
    has_index: bool

    @property
    def is_small(self) -> bool:
        """Whether the table has at most 200 pages, so that reading it whole costs little."""
        return self.pages <= _SMALL_PAGES


async def size_of(shape: Shape, status: str, ask: Ask) -> Size:
    """Call it only for a table that is stored.

    Raises:
        psycopg.Error: the query failed.
    """
    parts = {"table": sql.Literal(shape.oid), "column": sql.Literal(status)}
    (row,) = await ask(sql.SQL(_PAGES).format(**parts))
    return Size(*row)


class Words(NamedTuple):
    """The values that were seen in the status column, by meaning.

    named: whether one of them is pending or processing by the policy. waiting, running: unnamed values whose word means
    unfinished work, as written. others: unnamed values of unknown meaning; None stands for NULL. pages: the table's.
    failed: unnamed values whose word means a failure.
    """

    named: bool = False
    waiting: tuple[str, ...] = ()
    running: tuple[str, ...] = ()
    others: tuple[str | None, ...] = ()
    pages: float = 0.0
    failed: tuple[str, ...] = ()

    @property
    def unfinished(self) -> tuple[str, ...]:
        return (*self.waiting, *self.running)

    @property
    def is_small(self) -> bool:
        """Whether the table has at most 200 pages, so that a survey with every reading costs little."""
        return self.pages <= _SMALL_PAGES

    def unnamed(self, table: str | None) -> str:
        """The doubt about an empty reading if no status that the policy names was ever seen; "" if there is none."""
        if self.named or not self.unfinished:
            return ""
        return (
            f"table {table} has jobs with status {_listed(self.unfinished)}, and none with a status that "
            f"queue.statuses names as pending or processing; write statuses: {self._proposed()}"
        )

    def warning(self, table: str | None) -> str:
        """The warning about statuses that the policy does not name; "" if there are none."""
        left = (*self.unfinished, *self.others)
        if not left:
            return ""
        nulls = " (NULL: a row without a status)" if None in left else ""
        named = sum(text is not None for text in left)
        hints = [
            *([f"add {'it' if named == 1 else 'each'} to pending, processing, failed or finished"] if named else []),
            *(["set a status in the rows without one (UPDATE)"] if nulls else []),
        ]
        return (
            f"table {table} has jobs with status {_listed(left)}{nulls}, which queue.statuses does not name, so they "
            f"are not counted; {', and '.join(hints)}"
        )

    @property
    def no_failed(self) -> str:
        """Why the number of failed jobs is unknown, if the policy leaves statuses.failed out; "" if it is known."""
        if not self.failed:
            return ""
        return f"status {_listed(self.failed)} is not named; write statuses: {{failed: [{_names(self.failed)}]}}"

    def _proposed(self) -> str:
        parts = [("pending", self.waiting), ("processing", self.running)]
        return "{" + ", ".join(f"{name}: [{_names(words)}]" for name, words in parts if words) + "}"


class Value(NamedTuple):
    """A value of the column; None: NULL. is_ours: named as pending or processing. is_known: as failed or finished."""

    text: str | None
    is_ours: bool = False
    is_known: bool = False


def judged(values: Iterable[Value], *, pages: float = 0.0) -> Words:
    """Sorts the values by meaning. pages: the table's size."""
    found = list(dict.fromkeys(values))
    unknown = [value.text for value in found if not value.is_ours and not value.is_known]
    words = {text: _plain(text) for text in unknown if text is not None}
    return Words(
        named=any(value.is_ours for value in found),
        waiting=tuple(text for text, word in words.items() if word in _WAITING),
        running=tuple(text for text, word in words.items() if word in _RUNNING),
        others=tuple(text for text in unknown if text is None or words[text] not in _WAITING | _RUNNING | _FINISHED),
        pages=pages,
        failed=tuple(text for text, word in words.items() if word in _FAILED),
    )


async def words_of(shape: Shape, status: str, statuses: Statuses, condition: sql.Composable | None, ask: Ask) -> Words:
    """The values found in a few pages of the table.

    condition: which rows are jobs of this queue; None: all.

    Raises:
        psycopg.Error: a statement failed.
    """
    where = sql.SQL("") if condition is None else sql.SQL(" AND ({})").format(condition)
    names = {
        "table": shape.identifier,
        "status": sql.Identifier(status),
        # PostgreSQL compares, not Python: in a citext column, Pending equals pending.
        "named": one_of((*statuses.pending, *statuses.processing), shape, status),
        "known": one_of((*statuses.failed, *statuses.finished), shape, status),
        "most": sql.Literal(_MOST_VALUES),
        "where": where,
    }
    if not shape.is_stored:
        rows = sql.SQL("{} j WHERE true{}").format(shape.identifier, where)
        few = sql.Literal(_FEW_ROWS)
        some = [Value(*row) for row in await ask(sql.SQL(_SEEN).format(**names, rows=rows, limit=few))]
        return judged([*some, *await _by_words(shape, status, names, some, ask)])
    size = await size_of(shape, status, ask)
    values: list[Value] = []
    if size.has_index and condition is None and not size.is_small:
        with contextlib.suppress(errors.QueryCanceled):  # dead rows may make it slow; the samples come next
            values += [Value(*row) for row in await ask(sql.SQL(_BY_INDEX).format(**names))]
    if not size.is_small:
        values += [Value(text) for text in await _by_statistics(shape, status, names, ask)]
    for source in sources(shape, size):
        statement = sql.SQL(_SEEN).format(
            **names, rows=sql.SQL("{}{}").format(source, where), limit=sql.Literal(_MOST_ROWS)
        )
        with contextlib.suppress(errors.InsufficientPrivilege):  # ctid is no column that can be granted
            values += [Value(*row) for row in await ask(statement)]
    if not size.is_small:
        values += await _by_words(shape, status, names, values, ask)
    return judged(values, pages=size.pages)


async def _by_words(
    shape: Shape, status: str, names: Mapping[str, sql.Composable], seen: Sequence[Value], ask: Ask
) -> list[Value]:
    """Statuses that no sample showed, if an index finds them or the table is not large."""
    words = judged(seen)
    if words.named or words.unfinished:
        return []
    possible = shape.columns[status].labels or castable(_SPELLINGS, shape, status)
    spelled = [sql.Literal(text) for text in possible if _plain(text) in _WAITING | _RUNNING]
    if not spelled:
        return []
    listed = sql.SQL(", ").join(spelled)
    statement = sql.SQL(_BY_WORDS).format(**names, words=listed, limit=sql.Literal(_FEW_ROWS))
    try:
        ((plan,),) = await ask(sql.SQL("EXPLAIN (FORMAT JSON) {}").format(statement))
        if plan[0]["Plan"]["Total Cost"] % _COST_OF_A_DISABLED_SCAN > _CHEAP:
            return []
        return [Value(*row) for row in await ask(statement)]
    except (errors.DataError, errors.QueryCanceled):
        return []  # the column holds no words, but for example UUIDs; or it took too long


async def _by_statistics(shape: Shape, status: str, names: Mapping[str, sql.Composable], ask: Ask) -> list[str]:
    """Unfinished statuses that the last ANALYZE saw anywhere in the table, and that still exist."""
    parts = {"table": sql.Literal(shape.oid), "column": sql.Literal(status), "most": sql.Literal(_MOST_VALUES)}
    seen = [text for (text,) in await ask(sql.SQL(_STATISTICS).format(**parts))]
    found = []
    for text in seen:
        if _plain(text) not in _WAITING | _RUNNING:
            continue
        # As the column's own type, so that PostgreSQL compares it as the depth query does.
        one = sql.SQL("SELECT x.{} AS value FROM {} x WHERE x.{} = {} LIMIT 1").format(
            names["status"], names["table"], names["status"], sql.Literal(text)
        )
        there = sql.SQL(_STILL_THERE).format(**names, value=sql.Literal(text), one=one)
        try:
            rows = await ask(there)
        except errors.QueryCanceled:
            continue  # too slow to check; the samples may still find it
        if rows:
            found.append(text)
    return found


def one_of(values: Collection[str], shape: Shape, status: str) -> sql.Composable:
    possible = castable(values, shape, status)
    if not possible:
        return sql.SQL("false")
    return sql.SQL("coalesce(j.value IN ({}), false)").format(sql.SQL(", ").join(map(sql.Literal, possible)))


def sources(shape: Shape, size: Size) -> Sequence[sql.Composed]:
    """What to read: a small table whole; of a large one, the last 100 pages, where it grows, and a sample.

    Each is SQL that can stand after FROM, ends with a WHERE, and has its rows aliased j.
    """
    if size.is_small:
        return [sql.SQL("{} j WHERE true").format(shape.identifier)]
    percent = sql.Literal(min(100.0, 100.0 * _SAMPLE_PAGES / size.pages))
    sample = sql.SQL("{} j TABLESAMPLE SYSTEM ({}) WHERE true").format(shape.identifier, percent)
    if shape.kind != "r" or size.server < BY_PAGES_SINCE:
        return [sample]
    last = sql.Literal(f"({int(size.pages) - _SAMPLE_PAGES},0)")
    return [sample, sql.SQL("ONLY {} j WHERE j.ctid >= {}::tid").format(shape.identifier, last)]


def castable(values: Collection[str], shape: Shape, status: str) -> tuple[str, ...]:
    """The values that the column's type can hold; all of them if the type is unknown here."""
    column = shape.columns[status]
    return tuple(value for value in values if _may_have(column.kind, column.labels, value))


def _may_have(kind: Kind, labels: Collection[str], value: str) -> bool:
    if kind is Kind.ENUM:
        return value in labels
    if kind is Kind.WHOLE:
        return re.fullmatch(r"\s*[+-]?\d{1,18}\s*", value) is not None
    if kind is Kind.NUMBER:
        return re.fullmatch(r"\s*[+-]?\d{1,18}(\.\d{0,18})?\s*", value) is not None
    if kind is Kind.BOOLEAN:
        return value.strip().lower() in {"t", "true", "y", "yes", "on", "1", "f", "false", "n", "no", "off", "0"}
    return True


def meaning_of(value: str) -> str | None:
    """The key of queue.statuses that the value's word plainly means; None if the word does not say it."""
    word = _plain(value)
    known = {"pending": _WAITING, "processing": _RUNNING, "failed": _FAILED, "finished": _FINISHED}
    return next((key for key, words in known.items() if word in words), None)


def _plain(value: str) -> str:
    word = _NO_WORD.sub("", value).lower()
    return _PREFIX.sub("", word)


def _listed(values: Sequence[str | None]) -> str:
    shown = ["NULL" if value is None else written(value[:_LONGEST_SHOWN]) for value in values[:8]]
    shown += [f"{len(values) - 8} more"] if len(values) > 8 else []
    return shown[0] if len(shown) == 1 else f"{', '.join(shown[:-1])} or {shown[-1]}"


def _names(values: Sequence[str]) -> str:
    return ", ".join(written(value[:_LONGEST_SHOWN]) for value in values[:8])


def written(value: str) -> str:
    """The value as YAML: in quotes if it is empty, or if YAML would read it as another value or a list."""
    is_plain = re.fullmatch(r"[A-Za-z_](?:[\w .-]*[\w.-])?|\d+", value, re.ASCII) and value.lower() not in _YAML_WORDS
    return value if is_plain else "'" + value.replace("'", "''") + "'"
