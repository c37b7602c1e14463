"""Where the jobs are, as the policy says it: names that PostgreSQL can have, and nothing that would do nothing."""

from __future__ import annotations

import difflib
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

Identifier = Annotated[str, StringConstraints(min_length=1, max_length=127)]


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

    pending: tuple[str, ...] = Field(default=("pending",), min_length=1)
    processing: tuple[str, ...] = Field(default=("processing",), min_length=1)
    failed: tuple[str, ...] = Field(default=("failed",), min_length=1)


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
    table: Identifier | None = None
    preset: Annotated[str, AfterValidator(_known_preset), WithJsonSchema({"enum": list(PRESETS)})] | None = None
    sql: Annotated[str, StringConstraints(min_length=1, max_length=20_000, strip_whitespace=True)] | None = None
    queues: tuple[Identifier, ...] = ()
    schema_name: Identifier | None = Field(default=None, alias="schema")
    prefix: Annotated[str, StringConstraints(max_length=63)] | None = None
    columns: Columns = Columns()
    statuses: Statuses = Statuses()
    wake_on: Annotated[str, StringConstraints(min_length=1, max_length=63)] | None = None
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
    if queue.stale_after is not None and (kind == "sql" or not queue.stale_after):
        mend = "leave stale jobs out of its processing" if kind == "sql" else "write 15m, or leave it out"
        yield ("stale_after",), f"{'is for the query to say' if kind == 'sql' else 'is no time at all'}; {mend}"
    if queue.sql is not None and "\0" in queue.sql:
        yield ("sql",), "holds a character that no query can have"
