"""The jobs in the user's own table as a workload: when each was ready, and how long it took.

One READ ONLY transaction with a cursor on its own connection, so that neither side holds more than one page of rows
besides the result. Only a command does this, for a person who waits; a cycle never does.
"""

from __future__ import annotations

import asyncio
import math
from array import array
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import errors, sql

from controller.adapters.postgres import SOURCE
from controller.adapters.postgres.columns import Ask
from controller.adapters.postgres.connection import (
    CONNECT_TIMEOUT_S,
    Connection,
    NoAnswerError,
    answered_within,
    connect,
    local_settings,
    setting,
)
from controller.adapters.postgres.errors import in_words
from controller.adapters.postgres.own_table import own_table
from controller.core import units
from controller.core.ports import Unavailable
from controller.core.problems import ConfigurationError, Problem
from controller.core.units import as_policy
from controller.policy import Queue as QueuePolicy
from controller.simulation.workload.jobs import Workload, quantile

Progress = Callable[[int, int | None], None]
"""Called with the number of rows read so far, and the estimated total; None: unknown."""

MOST_JOBS = 2_000_000
_WITHIN_S = 60.0
_UNDATED_WITHIN_S = 5.0
_SLACK_S = 5.0
_PAGE = 10_000
"""Rows that the cursor fetches at once."""
_EXPORT = (
    "\\copy (SELECT extract(epoch FROM created_at - min(created_at) OVER ()) AS t, "
    "extract(epoch FROM completed_at - started_at) AS service FROM … WHERE completed_at > now() - interval '7 days' "
    "ORDER BY 1) TO 'jobs.csv' CSV HEADER"
)
_MISTAKES = (
    *(errors.UndefinedTable, errors.UndefinedColumn, errors.UndefinedFunction, errors.InvalidTextRepresentation),
    *(errors.InsufficientPrivilege, errors.WrongObjectType),
)
"""Errors of the policy or of rights, which a retry would not fix."""

# The service time: NULL for a job that is not finished, below 0 for unusable times (infinity has no difference).
_JOBS = """
SELECT extract(epoch FROM {ready} - {since})::float8,
  CASE WHEN {is_open} THEN NULL
    WHEN isfinite({ended}) AND isfinite({began}) THEN extract(epoch FROM {ended} - {began})
    ELSE -1 END::float8
FROM {table} j WHERE {in_window}{where} ORDER BY {ready} DESC LIMIT {limit}
"""
# Each column alone, so that an index can be used. Infinite times are left out, and counted separately.
_IN_WINDOW = "{created_raw} >= {created_since} AND {created_raw} <= {created_now}"
_IN_WINDOW_WHEN_DUE = """
({created_raw} >= {created_since} OR {due_raw} >= {due_since})
AND {created_raw} <= {created_now} AND isfinite({created})
AND ({due_raw} IS NULL OR {due_raw} <= {due_now} AND coalesce(isfinite({due}), true))
"""
_UNDATED = "({created} IS NULL OR NOT isfinite({created}))"
_UNDATED_OR_UNDUE = "(" + _UNDATED + " OR NOT isfinite({due}))"


@dataclass
class _Read:
    """The rows, newest first while they are read. services: NaN for a job that is not finished."""

    arrivals: array[float] = field(default_factory=lambda: array("d"))
    services: array[float] = field(default_factory=lambda: array("d"))
    rows: int = 0
    unfinished: int = 0
    odd: int = 0
    undated: int = 0
    """In the whole table, because without a time they cannot be assigned to the window."""
    is_cut: bool = False
    began: float = 0.0

    def add(self, page: list[tuple[float, float | None]], limit: int) -> None:
        for arrival, service in page:
            if self.rows == limit:
                self.is_cut = True
                return
            self.rows += 1
            if service is None:
                self.unfinished += 1
            elif service < 0:
                self.odd += 1
                continue
            self.arrivals.append(arrival)
            self.services.append(math.nan if service is None else service)


async def read_jobs(
    dsn: str,
    queue: QueuePolicy,
    *,
    since_s: float,
    limit: int = MOST_JOBS,
    progress: Progress,
    search_path: str = "",
) -> Workload:
    """The jobs that became ready in the last `since_s` seconds; it holds 16 bytes for each.

    A job that is not finished gets the median of the others. If there are more jobs than the limit, only the newest are
    read, and the window begins with them.

    Raises:
        ConfigurationError: the queue is not a table, lacks a column, may not be read, or has no finished job.
        Unavailable: PostgreSQL cannot be reached, or takes too long.
    """
    if queue.table is None:
        words = "does not say when its jobs began and ended; export them, and give the file as a trace: "
        raise _refusal(f"queue.{queue.kind}", words + _EXPORT)
    read = await _guarded(dsn, _Asked(queue, since_s, limit, progress, search_path))
    return _workload(queue, read, since_s, limit)


@dataclass(frozen=True, slots=True)
class _Asked:
    queue: QueuePolicy
    since_s: float
    limit: int
    progress: Progress
    search_path: str


async def _guarded(dsn: str, asked: _Asked) -> _Read:
    queue = asked.queue
    try:
        # Reading has its own timeout; this one is for the rest, such as a DNS lookup.
        async with asyncio.timeout(CONNECT_TIMEOUT_S + _WITHIN_S + 2 * _SLACK_S):
            connection = await connect(dsn)
            try:
                with answered_within(connection, _WITHIN_S + _SLACK_S):
                    return await _read(connection, asked)
            finally:
                await connection.close()
    except Unavailable as unavailable:  # what `located` does not find
        raise _refusal("queue.table", unavailable.text) from None
    except _MISTAKES as error:
        raise _refusal("queue.table", in_words(error, queue, _WITHIN_S)) from None
    except (errors.QueryCanceled, NoAnswerError, TimeoutError):
        column = queue.columns.created_at.name if queue.columns.created_at is not None else "created_at"
        words = f"did not give the jobs of {queue.table} within {units.in_words(_WITHIN_S)}; ask for less by --since; "
        fix = f"if the table is large, an index on {column} helps"
        raise Unavailable(SOURCE, words + fix) from None
    except UnicodeError:
        raise Unavailable(SOURCE, "cannot be asked: DATABASE_URL or the policy holds odd text") from None
    except psycopg.Error as error:
        raise Unavailable(SOURCE, in_words(error, queue, _WITHIN_S)) from None


async def _read(connection: Connection, asked: _Asked) -> _Read:
    async def ask(statement: sql.Composed) -> list[tuple[Any, ...]]:
        return await (await connection.execute(statement)).fetchall()

    read = _Read()
    await connection.execute("BEGIN READ ONLY")
    await ask(setting(local_settings(_WITHIN_S, asked.search_path)))
    ((now,),) = await ask(sql.SQL("SELECT extract(epoch FROM now())::float8").format())
    read.began = now - asked.since_s
    names = await _names(asked, ask)
    in_window = sql.SQL(_IN_WINDOW_WHEN_DUE if "due" in names else _IN_WINDOW).format(**names)
    jobs = sql.SQL(_JOBS).format(**names, in_window=in_window, limit=sql.Literal(asked.limit + 1))
    ((plan,),) = await ask(sql.SQL("EXPLAIN (FORMAT JSON) {}").format(jobs))
    expected = min(asked.limit, int(plan[0]["Plan"]["Plan Rows"]))
    await connection.execute(sql.SQL("DECLARE jobs NO SCROLL CURSOR FOR {}").format(jobs))
    fetch = sql.SQL("FETCH {} FROM jobs").format(sql.Literal(_PAGE))
    while page := await ask(fetch):
        read.add(page, asked.limit)
        asked.progress(read.rows, expected if read.rows <= expected else None)
    read.undated = await _undated(names, ask)
    await connection.rollback()
    return read


async def _names(asked: _Asked, ask: Ask) -> dict[str, sql.Composable]:
    """The SQL for {words}: the table, when a job was ready, began and ended, and whether it is unfinished."""
    queue = asked.queue
    own = await own_table(queue, ask)
    created, due, began, ended = (
        *(own.times.get("created_at"), own.times.get("scheduled_for")),
        *(own.times.get("started_at"), own.ended),
    )
    if created is None or began is None or ended is None:
        missing = [
            *([] if created is not None else ["created_at"]),
            *([] if began is not None else ["started_at"]),
            *([] if ended is not None else ["completed_at"]),
        ]
        named = [f"{name} (or finished_at)" if name == "completed_at" else name for name in missing]
        words = (
            f"{queue.table} has no time {', no time '.join(named)}; if other columns hold these times, write "
            f"{own.proposal(missing)}; or "
        )
        raise _refusal("queue.table", f"{words}export them as a trace: {_EXPORT}")
    since = sql.SQL("(now() - make_interval(secs => {}))").format(sql.Literal(asked.since_s))
    names: dict[str, sql.Composable] = {"since": since, "table": own.shape.identifier, "where": own.where}
    for key, time in (("created", created), ("due", due), ("began", began), ("ended", ended)):
        if time is not None:
            parts = {"": time.value, "_raw": time.raw, "_since": time.at(since), "_now": time.at(sql.SQL("now()"))}
            names |= {f"{key}{suffix}": part for suffix, part in parts.items()}
    names["ready"] = sql.SQL("greatest({created}, {due})").format(**names) if due is not None else created.value
    # Untyped literals take the column's own type. A retry keeps the times of the attempt before.
    waiting = sql.SQL(", ").join(map(sql.Literal, (*queue.statuses.pending, *queue.statuses.processing)))
    status = {"status": sql.Identifier(own.status), "waiting": waiting}
    names["is_open"] = sql.SQL("j.{status} IN ({waiting}) OR {ended_raw} IS NULL").format(**status, **names)
    return names


async def _undated(names: Mapping[str, sql.Composable], ask: Ask) -> int:
    """Counts jobs without a time; last, and only if it is fast, because the result is usable without it."""
    condition = sql.SQL(_UNDATED_OR_UNDUE if "due" in names else _UNDATED).format(**names)
    with suppress(errors.QueryCanceled):
        await ask(setting({"statement_timeout": str(round(_UNDATED_WITHIN_S * 1000))}))
        ((count,),) = await ask(
            sql.SQL("SELECT count(*) FROM {} j WHERE {}{}").format(names["table"], condition, names["where"])
        )
        return int(count)
    return 0


_MUCH_OF_IT = 0.55
"""Share of the window: with no job for this long at its beginning, the table may be newer, or was pruned."""


def _workload(queue: QueuePolicy, read: _Read, since_s: float, limit: int) -> Workload:
    finished = sorted(service for service in read.services if not math.isnan(service))
    if not finished:
        none = f"no job of {queue.table} that became ready in the last {units.in_words(since_s)} is finished"
        raise _refusal("--since", f"{none} ({_jobs(read.unfinished)} unfinished); give a longer one")
    median, start = quantile(finished, 0.5), read.arrivals[-1] if read.is_cut else 0.0
    silence_s = 0.0 if read.is_cut else read.arrivals[-1]
    known_for = as_policy(60.0 * math.ceil((since_s - silence_s) / 60))
    arrivals = array("d", (arrival - start for arrival in reversed(read.arrivals)))
    services = array("d", (median if math.isnan(service) else service for service in reversed(read.services)))
    notes = (
        (
            silence_s > _MUCH_OF_IT * since_s,
            f"no job came in the first {units.in_words(silence_s)}; if the table is younger, write --since {known_for}",
        ),
        (read.is_cut, f"only the newest {_jobs(limit)} were read, and the window begins with them"),
        (
            read.unfinished,
            f"{_jobs(read.unfinished)} are unfinished; each has the others' median time, {units.in_words(median)}",
        ),
        (read.odd, f"{_jobs(read.odd)} with impossible times (NULL, infinite, ended before begun) were left out"),
        (read.undated, f"{_jobs(read.undated)} of the table do not say when they came (NULL or infinite): left out"),
    )
    return Workload(
        str(queue.table),
        lambda: zip(arrivals, services, strict=True),
        since_s - start,
        read.began + start,
        tuple(note for holds, note in notes if holds),
    )


def _jobs(count: int) -> str:
    return f"{count:,} job{'' if count == 1 else 's'}"


def _refusal(place: str, text: str) -> ConfigurationError:
    return ConfigurationError([Problem(place, text)])
