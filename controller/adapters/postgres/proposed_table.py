"""Judges whether a table holds jobs, and which of its columns and statuses mean what. Pure: what was read comes in.

It goes by the names of the columns, by the words of the statuses, and where a word says nothing by the times that the
rows have: if all rows with a status have ended, it means finished; if all have begun and none has ended, in progress.
What nothing shows is not guessed: it is reported, and left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from controller.adapters.postgres.columns import Column, Kind, Shape
from controller.adapters.postgres.statuses import meaning_of

MOST_VALUES = 50
"""A column with more distinct values is no status."""
_LEAST_POINTS = 5
JOB_WORDS = "job|task|queue|work|outbox|inbox|message|deliver|render|generat|export|import|mail|notification|batch|run"
"""Parts of names that tables of jobs have."""
_JOB = re.compile(JOB_WORDS, re.IGNORECASE)
STATUS_WORDS = "status|state|phase|stage"
FLAG_WORDS = "done|process|complet|finish|handl|sent|deliver|running|locked|claimed|working"
"""Of a boolean column."""
_STATUS = re.compile(rf"(?:^|_)(?:{STATUS_WORDS})$|(?:Status|State|Phase|Stage)$", re.IGNORECASE)
_TRIES = re.compile(r"attempt|retr(?:y|ies)|tries|locked_by|claimed_by|worker", re.IGNORECASE)
_LITERAL = re.compile(r"'((?:[^']|'')*)'")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
_TAKEN_BACK = frozenset(
    {"until", "expires", "expire", "expiry", "deadline", "timeout", "by", "ttl", "updated", "update"}
)
"""Words in the names of times that none of the keys means."""
_TIMES = {
    "scheduled_for": re.compile(
        r"due|sched|avail|visib|eta$|not_before|(?:run|process|execute|start|send)_(?:at|after)$"
    ),
    "completed_at": re.compile(r"complet|finish|ended|end_|end$|done|stopped|closed|processed|succeeded"),
    "started_at": re.compile(r"started|start_|start$|began|begun|begin|picked|taken|dequeued|processing"),
    "locked_at": re.compile(r"locked|claim|reserved|acquired"),
    "created_at": re.compile(r"creat|insert|enqueue|queued|added|born|submit|receiv|request"),
}
"""By key of queue.columns, in the order in which each takes a column."""
USUAL = {
    "scheduled_for": ("scheduled_for", "run_at"),
    "completed_at": ("completed_at", "finished_at"),
    "started_at": ("started_at",),
    "locked_at": ("locked_at", "started_at"),
    "created_at": ("created_at",),
}
"""Columns that a policy need not name: they are looked up."""
_RUNNING_FLAG = re.compile(r"running|locked|claimed|working|processing|in_progress", re.IGNORECASE)


class Seen(NamedTuple):
    """A value of the status column in the rows that were read. began, ended: of how many rows the times are set."""

    text: str
    rows: int = 0
    began: int = 0
    ended: int = 0


class TimeKey(NamedTuple):
    """A column for a key of queue.columns. unit: of numbers. is_usual: it is found without being named."""

    name: str
    unit: str | None = None
    is_usual: bool = False


def status_columns(shape: Shape) -> list[str]:
    """Columns that may be the status, the likeliest first."""
    found: list[tuple[int, str]] = []
    for name, column in _nameable(shape):
        exact = name.lower() in {"status", "state"}
        if column.kind is Kind.BOOLEAN:
            if re.search(FLAG_WORDS, name, re.IGNORECASE):
                found.append((3, name))
        elif column.kind in {Kind.OTHER, Kind.ENUM, Kind.WHOLE} and (exact or _STATUS.search(name)):
            found.append((0 if exact else 1, name))
        elif column.kind is Kind.ENUM:
            found.append((2, name))
    return [name for _, name in sorted(found, key=lambda one: one[0])]


def time_columns(shape: Shape, units: Mapping[str, str]) -> dict[str, TimeKey]:
    """The columns by key of queue.columns. units: of columns of numbers that hold times: s or ms."""
    free = [name for name, column in _nameable(shape) if column.is_time or (column.is_number and name in units)]
    found: dict[str, TimeKey] = {}
    for key, pattern in _TIMES.items():
        usual = next((name for name in USUAL[key] if name in free), None)
        taken = {one.name for one in found.values()}
        name = usual or next((name for name in free if name not in taken and pattern.search(_snake(name))), None)
        if name is not None and (usual or not _TAKEN_BACK.intersection(_snake(name).split("_"))):
            unit = units.get(name) if shape.columns[name].is_number else None
            found[key] = TimeKey(name, unit, is_usual=usual is not None and unit is None)
    if "started_at" in found:  # a claim is looked up under started_at, too, if that is the usual name
        found.setdefault("locked_at", found["started_at"])
    return found


def _nameable(shape: Shape) -> Iterator[tuple[str, Column]]:
    """The columns that a policy may name."""
    return ((name, column) for name, column in shape.columns.items() if name.isprintable())


def _snake(name: str) -> str:
    return "_".join(word.lower() for word in _WORD.findall(name))


def number_columns(shape: Shape) -> list[str]:
    """Columns of numbers whose names are those of times."""
    return [
        name
        for name, column in _nameable(shape)
        if column.is_number and re.search(r"(?:_at|_on|_time|_ms|_ts|At)$", name)
    ][:20]


@dataclass(frozen=True, slots=True)
class Proposal:
    """How a table would be read. statuses: by key of queue.statuses. unknown: values of unknown meaning.

    by_rows: values whose meaning only their rows' times tell. others: tables that look like jobs too. waiting: rows
    that were seen with an unfinished status; of a large table, in a sample.
    """

    shape: Shape
    is_visible: bool
    status: str
    times: Mapping[str, TimeKey]
    statuses: Mapping[str, tuple[str, ...]]
    unknown: tuple[str, ...] = ()
    by_rows: tuple[str, ...] = ()
    points: int = 0
    waiting: int = 0
    others: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    """Names of times that hold numbers whose unit no row shows."""

    @property
    def kind(self) -> Kind:
        return self.shape.columns[self.status].kind

    @property
    def is_flag(self) -> bool:
        """Whether the status is a boolean that is true while a job runs, and not one that is true once it is done."""
        return self.kind is Kind.BOOLEAN and _RUNNING_FLAG.search(self.status) is not None

    @property
    def needs_query(self) -> bool:
        """Whether no value of the status can mean "in progress", so that only a query can count those jobs."""
        return not self.statuses.get("processing") and self.kind is not Kind.OTHER


def judged(
    shape: Shape,
    status: str,
    seen: Sequence[Seen],
    checks: Sequence[str],
    times: Mapping[str, TimeKey],
    *,
    is_visible: bool,
) -> Proposal:
    """What the table would be as a queue. seen: values in its rows. checks: its CHECK constraints on the column."""
    column = shape.columns[status]
    counts = {one.text: one for one in seen}
    default = _default(column)
    # What no policy may name, such as a value with a line break, is not counted.
    values = dict.fromkeys([*counts, *column.labels, *([default] if default else []), *_of_checks(checks, column)])
    statuses: dict[str, list[str]] = {"pending": [], "processing": [], "failed": [], "finished": []}
    unknown: list[str] = []
    by_rows: list[str] = []
    if column.kind is Kind.BOOLEAN:
        is_flag = _RUNNING_FLAG.search(status) is not None
        statuses["pending"], statuses["processing" if is_flag else "finished"] = ["false"], ["true"]
    else:
        for text in values:
            meaning = meaning_of(text)
            if meaning is None:
                meaning = "pending" if text == default else _by_rows(counts.get(text), times)
                # A word that is not known may well mean that a job is held; of numbers, the default decides.
                if meaning == "pending" and text != default and (column.kind is not Kind.WHOLE or default):
                    meaning = None
                (unknown if meaning is None else by_rows).append(text)
            if meaning is not None and text.isprintable():
                statuses[meaning].append(text)
    named = {key: tuple(texts) for key, texts in statuses.items()}
    waiting = sum(counts[text].rows for key in ("pending", "processing") for text in named[key] if text in counts)
    proposal = Proposal(shape, is_visible, status, times, named, tuple(unknown), tuple(by_rows), waiting=waiting)
    return replace(proposal, points=sum(_points(proposal)))


def is_likely(proposal: Proposal) -> bool:
    """Whether the table holds jobs, more likely than orders or accounts, which have a status and a time, too."""
    words = bool(proposal.statuses["processing"]) or _JOB.search(proposal.shape.name) is not None
    claims = any(_TRIES.search(name) for name in proposal.shape.columns) or "started_at" in proposal.times
    return (
        bool(proposal.statuses["pending"])
        and "created_at" in proposal.times
        and (words or claims)
        and proposal.points >= _LEAST_POINTS
    )


def _points(proposal: Proposal) -> Iterator[int]:
    of_words = {
        key: [text for text in texts if text not in proposal.by_rows] for key, texts in proposal.statuses.items()
    }
    yield 3 if _JOB.search(proposal.shape.name) else 0
    yield 2 if of_words["pending"] else 0
    yield 2 if of_words["processing"] else 0
    yield 1 if of_words["finished"] or of_words["failed"] else 0
    yield sum(key in proposal.times for key in ("scheduled_for", "started_at", "locked_at", "completed_at"))
    yield min(2, sum(_TRIES.search(name) is not None for name in proposal.shape.columns))
    yield -min(3, len(proposal.unknown))


def _by_rows(seen: Seen | None, times: Mapping[str, TimeKey]) -> str | None:
    """The meaning of a value by the times of its rows; None if they do not tell it."""
    tells_end, tells_begin = "completed_at" in times, "started_at" in times or "locked_at" in times
    if seen is None or not seen.rows or not (tells_end and tells_begin):
        return None
    if seen.ended == seen.rows:
        return "finished"
    if seen.ended == 0 and seen.began == seen.rows:
        return "processing"
    return "pending" if seen.ended == 0 and seen.began == 0 else None


def _default(column: Column) -> str | None:
    """The value that a new row has; None if none is written down."""
    if column.default is None:
        return None
    literal = _LITERAL.match(column.default)
    if literal is not None:
        return literal[1].replace("''", "'")
    return column.default if re.fullmatch(r"\d{1,9}", column.default) else None


def _of_checks(checks: Sequence[str], column: Column) -> list[str]:
    """The values that a CHECK constraint lists."""
    if column.kind is not Kind.OTHER:
        return []
    return [text.replace("''", "'") for check in checks for text in _LITERAL.findall(check) if text][:MOST_VALUES]
