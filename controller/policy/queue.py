"""Where the jobs are, as the policy says it: names that PostgreSQL can have, and nothing that would do nothing."""

from __future__ import annotations

import difflib
import hashlib
import re
from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from controller.policy.document import Path
from controller.policy.sql import condition_problem, session_lock_problem
from controller.policy.types import Duration, Part, Positive

PRESETS = (
    *(
        "absurd",
        "chancy",
        "delayed",
        "delayed_job",
        "django-q2",
        "django-tasks",
        "dramatiq-pg",
        "dramatiq-postgres",
        "good_job",
        "graphile-worker",
    ),
    *("oban", "pg-boss", "pgmq", "pgqueuer", "procrastinate", "que", "river", "solid_queue"),
)
"""The queue libraries that are known by name; how each is read stands in adapters/postgres/presets/NAME.toml."""
_A_TABLE_PER_QUEUE = frozenset({"absurd", "pgmq"})

NAME_BYTES = 63
"""What is longer, PostgreSQL cuts off in a name, and does not notify on."""
_TABLE = re.compile(r'(?:("(?:[^"]|"")+"|[^".]+)\.)?("(?:[^"]|"")+"|[^".]+)')
_ZONE = re.compile(r"[A-Za-z]+(?:/[A-Za-z0-9_+-]+)*")
_SHORTEST_TIMEOUT_S, _LONGEST_TIMEOUT_S = 0.1, 60.0


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


def _zone(name: str) -> str:
    # PostgreSQL also takes UTC+3, and means three hours west of it.
    if not _ZONE.fullmatch(name) or len(name) > NAME_BYTES:
        words = "is not the name of a time zone; write one such as Europe/Helsinki, or UTC"
        raise PydanticCustomError("timezone", "{text}", {"text": words})
    return name


QueueName = Annotated[str, StringConstraints(min_length=1, max_length=127), AfterValidator(_printable)]
Prefix = Annotated[str, StringConstraints(max_length=NAME_BYTES), AfterValidator(_name)]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=NAME_BYTES), AfterValidator(_name)]
Table = Annotated[str, StringConstraints(min_length=1), AfterValidator(_table)]


def _unit(value: object) -> object:
    if value not in {"s", "ms"}:
        raise PydanticCustomError("unit", "is not a unit of time that is known here; write s or ms (since 1970)")
    return value


def _condition(text: str) -> str:
    problem = condition_problem(text)
    if problem is not None:
        raise PydanticCustomError("where", "{text}", {"text": problem})
    return text


def _timeout(seconds: float) -> float:
    if not _SHORTEST_TIMEOUT_S <= seconds <= _LONGEST_TIMEOUT_S:
        words = f"must be 100ms to {_LONGEST_TIMEOUT_S:g}s; a cycle waits for the reading"
        raise PydanticCustomError("timeout", "{text}", {"text": words})
    return seconds


class TimeColumn(Part):
    """A column that holds times: its name, and for numbers since 1970 their unit (s or ms)."""

    hints: ClassVar[Mapping[str, str]] = {"column": "write name", "units": "write unit"}
    name: Identifier
    unit: Annotated[Literal["s", "ms"], BeforeValidator(_unit)] | None = None


def _named(value: object) -> object:
    if not isinstance(value, str | Mapping | TimeColumn):
        words = "is not a column; write its name, or {name: scheduled, unit: s} where it holds numbers"
        raise PydanticCustomError("column", "{text}", {"text": words})
    return {"name": value} if isinstance(value, str) else value


Time = Annotated[
    TimeColumn,
    BeforeValidator(_named),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "minLength": 1},
                {
                    "type": "object",
                    "properties": {"name": {"type": "string", "minLength": 1}, "unit": {"enum": ["s", "ms"]}},
                    "required": ["name"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]


class Columns(Part):
    """The column names. A time may be a name, or {name: scheduled, unit: s} where the column holds numbers.

    scheduled_for: when a job is due; where it is unset, scheduled_for or run_at is used if there is one. locked_at:
    when a job was claimed, for queue.stale_after; where it is unset, locked_at or started_at. started_at, completed_at:
    from when to when a job was worked on, for the service time; where they are unset, started_at, and completed_at or
    finished_at. updated_at: when a row was last changed: stands in for a completed_at that there is not. priority: what
    jobs are claimed by first; it has to be there, and no reading goes by it.
    """

    status: Identifier = "status"
    """of a table: the column with a job's status"""
    scheduled_for: Time | None = None
    """of a table: when a job is due; a time stored as a number: `{name: due, unit: s}` (or `ms`, since 1970). Default:
    scheduled_for or run_at, if there is one.
    """
    created_at: Time | None = None
    """of a table: when a job was inserted. Default: created_at, if there is one."""
    locked_at: Time | None = None
    """of a table: when a job was claimed, for `stale_after`. Default: locked_at or started_at."""
    started_at: Time | None = None
    """of a table: when the work on a job began, for the service time. Default: started_at."""
    completed_at: Time | None = None
    """of a table: when a job was done, for the service time. Default: completed_at or finished_at."""
    updated_at: Time | None = None
    """of a table: when a row was last changed; used if there is no completed_at"""
    priority: Identifier | None = None
    """of a table: what jobs are claimed by first; no reading uses it"""


def _value(value: object) -> object:
    """A status column may hold numbers or true and false, and YAML reads them as such."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


Status = Annotated[
    str,
    BeforeValidator(_value),
    AfterValidator(_printable),
    WithJsonSchema({"type": ["string", "integer", "boolean"]}),
]


class Statuses(Part):
    """Which values of the status column count as waiting, as being worked on, and as failed for good.

    finished: values of jobs that are done; nothing counts them, and nothing wonders about them.
    """

    pending: tuple[Status, ...] = Field(default=("pending",), min_length=1)
    """of a table: values of the status column (text, enum, number or boolean) that count as waiting"""
    processing: tuple[Status, ...] = Field(default=("processing",), min_length=1)
    """of a table: values that count as in progress"""
    failed: tuple[Status, ...] = ("failed",)
    """of a table: values that count as failed for good; `[]` if the table has none"""
    finished: tuple[Status, ...] = ()
    """of a table: values of jobs that are done; listing them only stops warnings about them"""

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
            here: set[str] = set()
            for index, status in enumerate(values):
                other = seen.setdefault(status, kind)
                is_again = status in here
                here.add(status)
                if is_again:
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


Condition = Annotated[
    str, StringConstraints(min_length=1, max_length=5_000, strip_whitespace=True), AfterValidator(_condition)
]


class Queue(Part):
    """Where the jobs are: in a `table` of yours, in the tables of a library that is known (`preset`), or as `sql` says.

    table: its name, with its schema where it needs one (`jobs.generation_job`). sql: a query that returns one row with
    the columns pending and processing, and oldest_age_s where there is one. queues: which ones of the library's; all
    where none is named. schema_name, prefix: where the library's tables are, if not where it puts them by itself.
    count_limit: jobs; a deeper backlog is shown as this many and more. stale_after: a job that was claimed longer ago
    is not being worked on any more. where: a condition on the rows of the table, in SQL; others are no jobs of this
    queue. timezone: in which zone a timestamp without a zone is written. timeout: how long a reading may take; 2s where
    it is unset.
    """

    hints: ClassVar[Mapping[str, str]] = {
        "name": "write table",
        "query": "write sql",
        "queue": "write queues: [name]",
        "library": "write preset",
    }
    table: Table | None = None
    """a table of your own, with its schema where needed: `jobs.generation_job`, or quoted as in SQL: `jobs."a.b"`; one
    of `table`, `preset` and `sql`
    """
    preset: Annotated[str, AfterValidator(_known_preset), WithJsonSchema({"enum": list(PRESETS)})] | None = None
    """a known queue library, see docs/queues.md#which-queue-libraries-are-known; one of `table`, `preset` and `sql`"""
    sql: Annotated[str, StringConstraints(min_length=1, max_length=20_000, strip_whitespace=True)] | None = None
    """a query that returns one row with `pending` and `processing`, see docs/queues.md#how-do-i-read-any-other-queue;
    one of `table`, `preset` and `sql`
    """
    queues: tuple[QueueName, ...] = ()
    """of a preset: the names of its queues. Default: all."""
    schema_name: Identifier | None = Field(default=None, alias="schema")
    """of a preset: the schema of its tables. Default: the library's."""
    prefix: Prefix | None = None
    """of a preset: what the names of its tables begin with. Default: the library's."""
    columns: Columns = Columns()
    statuses: Statuses = Statuses()
    wake_on: Identifier | None = None
    """a NOTIFY channel, 63 bytes at most; a job announced on it starts a cycle at once. Default: the library's."""
    count_limit: Positive = 10_000
    """counting stops at this depth, or at the depth that already wants all workers if that is higher; not for a query
    """
    stale_after: Duration | None = None
    """a job claimed longer ago than this counts as stale: no worker is working on it any more. Default: the library's.
    """
    where: Condition | None = None
    """of a table: a condition in SQL, such as `kind = 'mail'`; other rows are not counted. Default: all rows."""
    timezone: Annotated[str, AfterValidator(_zone)] | None = None
    """of a table: the zone in which times without a zone are written, such as `Europe/Helsinki`. Default: by evidence,
    see docs/queues.md#in-which-zone-are-times-without-a-zone-read.
    """
    timeout: Annotated[Duration, AfterValidator(_timeout)] | None = None
    """longest time for one reading, 100ms to 60s. Default: 2s, or 0.8 intervals if that is less."""

    @model_validator(mode="after")
    def _in_one_place(self) -> Self:
        problems = list(_queue_problems(self))
        if problems:
            raise PydanticCustomError("queue", "does not say where", {"problems": problems})
        return self

    @property
    def identity(self) -> str:
        """Which jobs are meant, of a table: 16 digits that change when another table, condition or status is named."""
        meant = (self.table, self.where, self.columns.status, self.statuses.pending, self.statuses.processing)
        return hashlib.sha256(repr(meant).encode()).hexdigest()[:16]

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
    of_tables = ("columns", "statuses", "where", "timezone")
    for names, where in ((("queues", "schema", "prefix"), "preset"), (of_tables, "table")):
        for name in names:
            field = "schema_name" if name == "schema" else name
            if field in queue.model_fields_set and kind != where:
                hint = ", or write jobs.NAME as the table" if name == "schema" and kind == "table" else ""
                yield (name,), f"belongs to a queue with {where}:, and this one has {kind}:; leave it out{hint}"
    if queue.preset in _A_TABLE_PER_QUEUE and not queue.queues:
        yield (), f"has no queues, and {queue.preset} keeps each in a table of its own; write queues: [name]"
    named: set[str] = set()
    for index, name in enumerate(queue.queues):
        if name in named:
            yield ("queues", index), f"names {name} twice"
        named.add(name)
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
    lock = session_lock_problem(sql)
    if lock is not None:
        yield ("sql",), lock
