"""Where the jobs are, as the policy says it: names that PostgreSQL can have, and nothing that would do nothing."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Self

from pydantic import AfterValidator, Field, StringConstraints, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from controller.policy_parts import Duration, Part, Positive
from controller.policy_text import Path

PRESETS = (
    *(
        "absurd",
        "chancy",
        "delayed",
        "delayed_job",
        "django-q2",
        "django-tasks",
        "dramatiq-pg",
        "good_job",
        "graphile-worker",
    ),
    *("oban", "pg-boss", "pgmq", "pgqueuer", "procrastinate", "que", "river", "solid_queue"),
)
"""The queue libraries that are known by name; how each is read stands in adapters/queues/NAME.toml."""
_A_TABLE_PER_QUEUE = frozenset({"absurd", "pgmq"})

NAME_BYTES = 63
"""What is longer, PostgreSQL cuts off in a name, and does not notify on."""
_TABLE = re.compile(r'(?:("(?:[^"]|"")+"|[^".]+)\.)?("(?:[^"]|"")+"|[^".]+)')
# Those of a transaction go with it; these stay with the session, which is one that we keep, or a pooler's.
_SESSION_LOCK = re.compile(r'\b(pg_(?:try_)?advisory_lock(?:_shared)?)"?\s*\(', re.IGNORECASE)


def _printable(text: str) -> str:
    # A line break in a name would begin a line of SQL in what queue-trigger and doctor print.
    if not text.isprintable():
        raise PydanticCustomError("name", "holds a character that cannot be printed; leave it out")
    return text


def _name(text: str) -> str:
    length = len(_printable(text).encode())
    if length > NAME_BYTES:
        words = f"takes {length} bytes in UTF-8, and no name in PostgreSQL has more than {NAME_BYTES}; shorten it"
        raise PydanticCustomError("name", "{text}", {"text": words})
    return text


def split_name(table: str) -> tuple[str, str]:
    """The schema, "" where none is written, and the name: of `job`, `jobs.job`, or quoted as in SQL: `jobs."a.b"`."""
    match = _TABLE.fullmatch(table)
    if match is None:
        words = 'is not a table\'s name; write NAME or SCHEMA.NAME, each in "quotes" if it has a dot or a quote in it'
        raise PydanticCustomError("name", "{text}", {"text": words})
    schema, name = (_unquoted(part or "") for part in match.groups())
    return schema, name


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


def _table(text: str) -> str:
    for name in split_name(text):
        _name(name)
    return text


Text = Annotated[str, AfterValidator(_printable)]
QueueName = Annotated[str, StringConstraints(min_length=1, max_length=127), AfterValidator(_printable)]
Prefix = Annotated[str, StringConstraints(max_length=NAME_BYTES), AfterValidator(_name)]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=NAME_BYTES), AfterValidator(_name)]
Table = Annotated[str, StringConstraints(min_length=1), AfterValidator(_table)]


class Columns(Part):
    """The column names. Where scheduled_for is unset, scheduled_for or run_at is used if there is one.

    locked_at: when a job was claimed, for queue.stale_after; where it is unset, locked_at or started_at.
    """

    status: Identifier = "status"
    scheduled_for: Identifier | None = None
    created_at: Identifier | None = None
    locked_at: Identifier | None = None


class Statuses(Part):
    """Which values of the status column count as waiting, as being worked on, and as failed for good."""

    pending: tuple[Text, ...] = Field(default=("pending",), min_length=1)
    processing: tuple[Text, ...] = Field(default=("processing",), min_length=1)
    failed: tuple[Text, ...] = Field(default=("failed",), min_length=1)

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        problems = list(self._twice())
        if problems:
            raise PydanticCustomError("statuses", "counts twice", {"problems": problems})
        return self

    def _twice(self) -> Iterator[tuple[Path, str]]:
        seen: dict[str, str] = {}
        # What the user wrote comes last, since that is what can be mended.
        for kind in sorted(type(self).model_fields, key=lambda kind: kind in self.model_fields_set):
            values: tuple[str, ...] = getattr(self, kind)
            for index, status in enumerate(values):
                other = seen.setdefault(status, kind)
                if status in values[:index]:
                    yield (kind, index), f"stands twice in {kind}, and its jobs would count twice; keep one"
                elif other != kind:
                    is_written = other in self.model_fields_set
                    has = "has it too; keep one" if is_written else f"has it by default; write statuses.{other} too"
                    yield (kind, index), f"would count twice: {other} {has}"


def _known_preset(name: str) -> str:
    if name in PRESETS:
        return name
    alike = {known.replace("-", "").replace("_", ""): known for known in PRESETS}
    near = difflib.get_close_matches(name.lower().replace("-", "").replace("_", ""), alike, n=1)
    mend = f"did you mean {alike[near[0]]}?" if near else f"known are {', '.join(PRESETS)}; or write sql: a query"
    raise PydanticCustomError("preset", "{text}", {"text": f"is no queue library that is known here; {mend}"})


class Queue(Part):
    """Where the jobs are: in a `table` of yours, in the tables of a library that is known (`preset`), or as `sql` says.

    table: its name, with its schema where it needs one (`jobs.generation_job`). sql: a query that returns one row with
    the columns pending and processing, and oldest_age_s where there is one. queues: which ones of the library's; all
    where none is named. schema_name, prefix: where the library's tables are, if not where it puts them by itself.
    count_limit: jobs; a deeper backlog is shown as this many and more. stale_after: a job that was claimed longer ago
    is not being worked on any more.
    """

    mends: ClassVar[Mapping[str, str]] = {
        "name": "write table",
        "query": "write sql",
        "queue": "write queues: [name]",
        "library": "write preset",
    }
    table: Table | None = None
    preset: Annotated[str, AfterValidator(_known_preset), WithJsonSchema({"enum": list(PRESETS)})] | None = None
    sql: Annotated[str, StringConstraints(min_length=1, max_length=20_000, strip_whitespace=True)] | None = None
    queues: tuple[QueueName, ...] = ()
    schema_name: Identifier | None = Field(default=None, alias="schema")
    prefix: Prefix | None = None
    columns: Columns = Columns()
    statuses: Statuses = Statuses()
    wake_on: Identifier | None = None
    count_limit: Positive = 10_000
    stale_after: Duration | None = None

    @model_validator(mode="after")
    def _in_one_place(self) -> Self:
        problems = list(_queue_problems(self))
        if problems:
            raise PydanticCustomError("queue", "does not say where", {"problems": problems})
        return self

    @property
    def kind(self) -> str:
        return "table" if self.table is not None else "preset" if self.preset is not None else "sql"


def _queue_problems(queue: Queue) -> Iterator[tuple[Path, str]]:
    given = [name for name in ("table", "preset", "sql") if getattr(queue, name) is not None]
    if len(given) != 1:
        says = (
            f"has {' and '.join(given)}, and the jobs are in one place" if given else "does not say where the jobs are"
        )
        yield (), f"{says}; write one of table: NAME, preset: {PRESETS[-4]} (or another library), sql: a query"
        return
    (kind,) = given
    for names, where in ((("queues", "schema", "prefix"), "preset"), (("columns", "statuses"), "table")):
        for name in names:
            field = "schema_name" if name == "schema" else name
            if field in queue.model_fields_set and kind != where:
                hint = ", or write jobs.NAME as the table" if name == "schema" and kind == "table" else ""
                yield (name,), f"belongs to a queue with {where}:, and this one has {kind}:; leave it out{hint}"
    if queue.preset in _A_TABLE_PER_QUEUE and not queue.queues:
        yield (), f"has no queues, and {queue.preset} keeps each in a table of its own; write queues: [name]"
    for index, name in enumerate(queue.queues):
        if name in queue.queues[:index]:
            yield ("queues", index), f"names {name} twice"
    if queue.sql is not None:
        yield from _query_problems(queue, queue.sql)
    elif queue.stale_after == 0:
        yield ("stale_after",), "is no time at all; write 15m, or leave it out"


def _query_problems(queue: Queue, sql: str) -> Iterator[tuple[Path, str]]:
    if queue.stale_after is not None:
        yield ("stale_after",), "is for the query to say; leave stale jobs out of its processing"
    if "count_limit" in queue.model_fields_set:
        yield ("count_limit",), "is for the query to say; count over a subquery that ends in LIMIT"
    if "\0" in sql:
        yield ("sql",), "holds a character that no query can have"
    lock = _SESSION_LOCK.search(sql)
    if lock is not None:
        name = lock[1].lower()
        mend = f"read pg_locks, or take {name.replace('_lock', '_xact_lock')}, which ends with the query"
        yield ("sql",), f"calls {name}, and the lock would stay with the connection; {mend}"
