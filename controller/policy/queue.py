"""Where the jobs are, as the policy says it; a key that would have no effect is refused."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from controller.core.problems import ConfigurationError
from controller.core.text.guesses import nearest
from controller.core.units import as_policy, seconds_of
from controller.policy.document import Path
from controller.policy.names import NAME_BYTES, Identifier, Prefix, QueueName, Table, printable
from controller.policy.preset import Presets, is_own
from controller.policy.sql import condition_problem, session_lock_problem
from controller.policy.types import Duration, IfUnset, Part, Positive

_ZONE = re.compile(r"[A-Za-z]+(?:/[A-Za-z0-9_+-]+)*")
_LONGEST_PATH = 4_096
_SHORTEST_TIMEOUT_S, _LONGEST_TIMEOUT_S = 0.1, 60.0
_LEAST_AHEAD_S, _MOST_AHEAD_S = 1.0, 3600.0


def _zone(name: str) -> str:
    # PostgreSQL also takes UTC+3, and means three hours west of it.
    if not _ZONE.fullmatch(name) or len(name) > NAME_BYTES:
        words = "is not the name of a time zone; write one such as Europe/Helsinki, or UTC"
        raise PydanticCustomError("timezone", "{text}", {"text": words})
    return name


def _unit(value: object) -> object:
    if value not in {"s", "ms"}:
        raise PydanticCustomError("unit", "is not a known unit of time; write s or ms (since 1970)")
    return value


def _condition(text: str) -> str:
    problem = condition_problem(text)
    if problem is not None:
        raise PydanticCustomError("where", "{text}", {"text": problem})
    return text


def _timeout(seconds: float) -> float:
    if not _SHORTEST_TIMEOUT_S <= seconds <= _LONGEST_TIMEOUT_S:
        words = f"must be 100ms to {as_policy(_LONGEST_TIMEOUT_S)}; a cycle waits for the reading"
        raise PydanticCustomError("timeout", "{text}", {"text": words})
    return seconds


def _ahead(value: object) -> object:
    # YAML 1.1 reads `off` as false, and both mean the same here.
    if value is False or (isinstance(value, str) and value.strip().lower() in {"off", "false"}):
        return 0.0
    try:
        seconds = seconds_of(value if isinstance(value, str) else "")
    except ValueError:
        seconds = 0.0
    if not _LEAST_AHEAD_S <= seconds <= _MOST_AHEAD_S:
        words = f"must be {as_policy(_LEAST_AHEAD_S)} to {as_policy(_MOST_AHEAD_S)}, such as 30s, or off"
        raise PydanticCustomError("ahead", "{text}", {"text": words})
    return seconds


Ahead = Annotated[
    float,
    BeforeValidator(_ahead),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h)$|^off$|\$\{", "examples": ["30s", "off"]},
                {"const": False},
            ]
        }
    ),
]


class TimeColumn(Part):
    """A column that holds times. unit: only of a column that holds numbers, which count from 1970."""

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
    """The columns of a table; one that is unset is looked up under its usual names."""

    status: Identifier = "status"
    """of a table: the column with a job's status"""
    scheduled_for: Annotated[Time | None, IfUnset("scheduled_for or run_at, if there is one")] = None
    """of a table: when a job is due; a time stored as a number: `{name: due, unit: s}` (or `ms`, since 1970)"""
    created_at: Annotated[Time | None, IfUnset("created_at, if there is one")] = None
    """of a table: when a job was inserted"""
    locked_at: Annotated[Time | None, IfUnset("locked_at or started_at")] = None
    """of a table: when a job was claimed, for `stale_after`"""
    started_at: Annotated[Time | None, IfUnset("started_at")] = None
    """of a table: when the work on a job began, for the service time"""
    completed_at: Annotated[Time | None, IfUnset("completed_at or finished_at")] = None
    """of a table: when a job was done, for the service time"""
    updated_at: Time | None = None
    """of a table: when a row was last changed; used if there is no completed_at"""
    locked_by: Annotated[Identifier | None, IfUnset("locked_by or worker_id, if there is one")] = None
    """of a table: who holds a job, see docs/queues.md#how-is-it-known-who-holds-a-job"""
    priority: Identifier | None = None
    """of a table: the column that workers order their claims by; checked to exist, otherwise unused"""


def _value(value: object) -> object:
    """A status column may hold numbers or true and false, and YAML reads them as such."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else value


Status = Annotated[
    str,
    BeforeValidator(_value),
    AfterValidator(printable),
    WithJsonSchema({"type": ["string", "integer", "boolean"]}),
]


class Statuses(Part):
    """The values of the status column, by what they count as. A value may stand in one list only."""

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
        # What the user wrote comes last, since that is what the user can change.
        for kind in sorted(type(self).model_fields, key=lambda kind: kind in self.model_fields_set):
            values: tuple[str, ...] = getattr(self, kind)
            here: set[str] = set()
            for index, status in enumerate(values):
                other = seen.setdefault(status, kind)
                is_again = status in here
                here.add(status)
                if is_again:
                    yield (kind, index), f"is twice in {kind}, and its jobs would be counted twice; keep one"
                elif other != kind:
                    is_written = other in self.model_fields_set
                    has = "has it too; keep one" if is_written else f"has it by default; write statuses.{other} too"
                    yield (kind, index), f"would be counted twice: {other} {has}"


def _presets(info: ValidationInfo) -> Presets | None:
    """Where presets are looked up; None where a policy is built by code, whose names are taken as they are."""
    return (info.context or {}).get("presets")


def _known_preset(name: str, info: ValidationInfo) -> str:
    presets = _presets(info)
    if presets is None or name in presets.names:
        return name
    if is_own(name):
        try:
            return presets.load(name).name
        except ConfigurationError as error:
            problems = [((), str(problem)) for problem in error.problems]
            raise PydanticCustomError("preset_file", "is wrong", {"problems": problems}) from None
    raise PydanticCustomError("preset", "{text}", {"text": unknown_preset(name, presets.names)})


def unknown_preset(name: str, names: Sequence[str]) -> str:
    """The message for an unknown preset, with the likely name or with all names."""
    alike = {known.replace("-", "").replace("_", ""): known for known in names}
    near = nearest(name.lower().replace("-", "").replace("_", ""), alike)
    if near:
        return f"is not a known preset; did you mean {alike[near]}?"
    others = "or write ./FILE.toml for a preset of your own, or sql: a query"
    return f"is not a known preset; known are {', '.join(names)}; {others}"


PresetName = Annotated[str, StringConstraints(min_length=1, max_length=_LONGEST_PATH), AfterValidator(_known_preset)]
Condition = Annotated[
    str, StringConstraints(min_length=1, max_length=5_000, strip_whitespace=True), AfterValidator(_condition)
]


class Queue(Part):
    """Where the jobs are: in a `table` of your own, in the tables of a queue library (`preset`), or as `sql` says."""

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
    preset: PresetName | None = None
    """a known queue library, see docs/queues.md#which-queue-libraries-are-known, or the path of a file of your own, see
    docs/own-preset.md; one of `table`, `preset` and `sql`
    """
    sql: Annotated[str, StringConstraints(min_length=1, max_length=20_000, strip_whitespace=True)] | None = None
    """a query that returns one row with `pending` and `processing`, see docs/queues.md#how-do-i-read-any-other-queue;
    one of `table`, `preset` and `sql`
    """
    queues: Annotated[tuple[QueueName, ...], IfUnset("all")] = ()
    """of a preset: the names of its queues"""
    schema_name: Annotated[Identifier | None, IfUnset("the library's")] = Field(default=None, alias="schema")
    """of a preset: the schema of its tables"""
    prefix: Annotated[Prefix | None, IfUnset("the library's")] = None
    """of a preset: what the names of its tables begin with"""
    columns: Columns = Columns()
    statuses: Statuses = Statuses()
    wake_on: Annotated[Identifier | None, IfUnset("the library's")] = None
    """a NOTIFY channel, 63 bytes at most; a job announced on it starts a cycle at once"""
    count_limit: Positive = 10_000
    """counting stops at this depth, or at the depth that already wants all workers if that is higher; not for a query
    """
    stale_after: Annotated[Duration | None, IfUnset("the library's")] = None
    """a job claimed longer ago than this counts as stale: no worker is working on it any more"""
    ahead: Annotated[Ahead | None, IfUnset("the measured start-up time, 5s to 5m; 20s until it is measured")] = None
    """scheduled jobs count for scale-up this long before they are due, 1s to 1h or `off`, see
    docs/queues.md#do-scheduled-jobs-count; not for a query
    """
    where: Annotated[Condition | None, IfUnset("all rows")] = None
    """of a table: a condition in SQL, such as `kind = 'mail'`; other rows are not counted"""
    timezone: Annotated[
        Annotated[str, AfterValidator(_zone)] | None,
        IfUnset("by evidence, see docs/queues.md#in-which-zone-are-times-without-a-zone-read"),
    ] = None
    """of a table: the zone in which times without a zone are written, such as `Europe/Helsinki`"""
    timeout: Annotated[
        Annotated[Duration, AfterValidator(_timeout)] | None, IfUnset("2s, or 0.8 intervals if that is less")
    ] = None
    """longest time for one reading, 100ms to 60s"""

    @model_validator(mode="after")
    def _in_one_place(self, info: ValidationInfo) -> Self:
        problems = list(_queue_problems(self, _presets(info)))
        if problems:
            raise PydanticCustomError("queue", "does not say where", {"problems": problems})
        return self

    @property
    def identity(self) -> str:
        """Which jobs are meant, of a table: 16 digits that change when another table, condition or status is named."""
        meant = (self.table, self.where, self.columns.status, self.statuses.pending, self.statuses.processing)
        return hashlib.sha256(repr(meant).encode()).hexdigest()[:16]

    @property
    def has_own_sql(self) -> bool:
        """Whether reading it runs SQL that the user wrote: queue.sql, queue.where, or a preset of the user's own."""
        return self.sql is not None or self.where is not None or (self.preset is not None and is_own(self.preset))

    @property
    def kind(self) -> str:
        return "table" if self.table is not None else "preset" if self.preset is not None else "sql"


def _queue_problems(queue: Queue, presets: Presets | None) -> Iterator[tuple[Path, str]]:
    given = [name for name in ("table", "preset", "sql") if getattr(queue, name) is not None]
    if len(given) != 1:
        says = (
            f"has {' and '.join(given)}, and the jobs are in one place" if given else "does not say where the jobs are"
        )
        yield (), f"{says}; write one of table: NAME, preset: procrastinate (or another library), sql: a query"
        return
    (kind,) = given
    of_tables = ("columns", "statuses", "where", "timezone")
    for names, where in ((("queues", "schema", "prefix"), "preset"), (of_tables, "table")):
        for name in names:
            field = "schema_name" if name == "schema" else name
            if field in queue.model_fields_set and kind != where:
                hint = ", or write jobs.NAME as the table" if name == "schema" and kind == "table" else ""
                yield (name,), f"belongs to a queue with {where}:, and this one has {kind}:; leave it out{hint}"
    yield from _names_problems(queue, presets)
    if queue.sql is not None:
        yield from _query_problems(queue, queue.sql)
    elif queue.stale_after == 0:
        yield ("stale_after",), "must be above 0, for example 15m; or leave it out"


def _names_problems(queue: Queue, presets: Presets | None) -> Iterator[tuple[Path, str]]:
    if queue.preset is not None and presets is not None:
        preset = presets.load(queue.preset)
        if queue.ahead and not preset.tells_soon:
            yield ("ahead",), f"has no effect: {preset.name} has no form with soon; write one there, or leave ahead out"
        if preset.needs_queues and not queue.queues:
            yield (), f"has no queues, and {preset.name} keeps each in a table of its own; write queues: [name]"
        if queue.queues and not preset.needs_queues and preset.queue_column is None:
            yield ("queues",), f"has no effect: {preset.name} has no queue_column; write one there, or leave queues out"
    named: set[str] = set()
    for index, name in enumerate(queue.queues):
        if name in named:
            yield ("queues", index), f"names {name} twice"
        named.add(name)


def _query_problems(queue: Queue, sql: str) -> Iterator[tuple[Path, str]]:
    if queue.stale_after is not None:
        yield ("stale_after",), "has no effect with sql; leave stale jobs out of the query's processing"
    if queue.ahead is not None:
        yield ("ahead",), "has no effect with sql; count the jobs that fall due soon as pending in the query, or none"
    if "count_limit" in queue.model_fields_set:
        yield ("count_limit",), "has no effect with sql; count over a subquery that ends in LIMIT"
    if "\0" in sql:
        yield ("sql",), "holds a NUL character, which PostgreSQL does not take; delete it"
    lock = session_lock_problem(sql)
    if lock is not None:
        yield ("sql",), lock
