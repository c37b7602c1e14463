"""Recognises the tables of known queue libraries in a database that nobody has described yet.

It reads the catalogue, at most 200 tables whose names could be a library's, and then the bounded counts of the presets
that fit. Nothing is scanned; what this user may not read is recognised all the same, because the catalogue is public.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import psycopg
from psycopg import sql
from pydantic import ValidationError

from controller.adapters.postgres.places import Ask, form_of, located
from controller.adapters.postgres.presets.reader import load, names
from controller.adapters.postgres.queue import PostgresQueue
from controller.core.ports import Unavailable
from controller.policy import Form, Preset
from controller.policy import Queue as QueuePolicy

MOST_TABLES = 200
_MOST_PLACES = 60
_MOST_ROWS = 1000
_MOST_QUEUES = 20
"""Queues that a policy names: below the 32 that one worker may have."""
COUNT_LIMIT = 10_000
TIMEOUT_S = 5.0
"""Of one statement: a person waits here."""

# The library's own names first, then what the search path finds.
_TABLES = """
SELECT n.nspname, c.relname, pg_table_is_visible(c.oid) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' AND c.relname ~ {pattern}
ORDER BY c.relname ~ {exact} DESC, 3 DESC, 1, 2 LIMIT {most}
"""
_QUEUES = (
    "SELECT name::text FROM ({rows} LIMIT {rows_read}) AS r(name) GROUP BY name ORDER BY count(*) DESC LIMIT {most}"
)


class Table(NamedTuple):
    """visible: whether the search path finds it by its name alone."""

    schema: str
    name: str
    visible: bool


@dataclass(frozen=True, slots=True)
class Library:
    """A library's tables in this database.

    keys: of the policy's queue. unfinished: ready and running jobs; None if they could not be counted (why). queues:
    the names of its queues that were seen, the busiest first. alike: other presets that fit the same tables.
    """

    preset: Preset
    form: Form
    keys: Mapping[str, Any]
    queue: QueuePolicy
    unfinished: int | None = None
    why: str = ""
    queues: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()

    @property
    def tables(self) -> frozenset[str]:
        """Patterns of names of its tables."""
        prefix = self.queue.prefix if self.queue.prefix is not None else self.preset.prefix
        return frozenset(_pattern(name, prefix) for name in self.preset.tables.values())


def asks(queue: PostgresQueue) -> Ask:
    """Reads on the queue's own connection, because the role may be allowed only one."""

    async def ask(statement: sql.Composed) -> Sequence[tuple[Any, ...]]:
        (answer,) = await (await queue.reader()).read([statement], TIMEOUT_S)
        return answer.rows

    return ask


async def libraries(queue: PostgresQueue, only: str | None = None) -> list[Library]:
    """The libraries whose tables are there, the one with most unfinished jobs first. only: one preset's name.

    Raises:
        psycopg.Error: the catalogue could not be read.
    """
    ask = asks(queue)
    presets = [load(name) for name in ([only] if only is not None else names())]
    first = [next(iter(preset.tables.values())) for preset in presets]
    patterns = [f"^{_pattern(name)}$" for name in first]
    exact = [
        f"^{_pattern(name, preset.prefix)}$"
        for name, preset in zip(first, presets, strict=True)
        if "{queue}" not in name
    ]
    statement = sql.SQL(_TABLES).format(
        pattern=sql.Literal("|".join(patterns)),
        exact=sql.Literal("|".join(exact) or "^$"),
        most=sql.Literal(MOST_TABLES),
    )
    tables = [Table(*row) for row in await ask(statement)]
    found: dict[tuple[Any, ...], Library] = {}
    places = [place for preset in presets for place in _places(preset, tables)]
    # First where the library puts it, which needs the fewest keys, and an original before its fork.
    places.sort(key=lambda place: (len(place[1]), "fork" in place[0].library))
    for preset, keys in places[:_MOST_PLACES]:
        one = await _library(preset, keys, ask)
        if one is None:
            continue
        where = (tuple(sorted(preset.tables.values())), keys.get("schema"), keys.get("prefix"))
        if where in found:
            found[where] = replace(found[where], alike=(*found[where].alike, preset.name))
        else:
            found[where] = one
    counted = [await _counted(one, queue, ask) for one in found.values()]
    return sorted(counted, key=lambda one: -1 if one.unfinished is None else one.unfinished, reverse=True)


def _pattern(template: str, prefix: str | None = None) -> str:
    """A regular expression of the names that a template stands for. prefix: None: any."""
    parts = {"{prefix}": "(?:.*)" if prefix is None else re.escape(prefix), "{queue}": "(?:.+)"}
    return "".join(parts.get(part) or re.escape(part) for part in re.split(r"(\{prefix\}|\{queue\})", template))


def _places(preset: Preset, tables: Sequence[Table]) -> Iterator[tuple[Preset, dict[str, Any]]]:
    """Where the library could be by the name of its first table: the keys of a queue."""
    template = re.escape(next(iter(preset.tables.values())))
    shape = re.compile(template.replace(r"\{prefix\}", "(?P<prefix>.*)").replace(r"\{queue\}", "(?P<queue>.+)"))
    by_place: dict[tuple[str | None, str | None], list[str]] = {}
    for table in tables:
        match = shape.fullmatch(table.name)
        if match is None:
            continue
        is_default = table.schema == preset.schema_name if preset.schema_name else table.visible
        parts = match.groupdict()
        prefix = parts.get("prefix", preset.prefix)
        place = (None if is_default else table.schema, None if prefix == preset.prefix else prefix)
        by_place.setdefault(place, []).append(parts.get("queue", ""))
    for (schema, prefix), queues in by_place.items():
        keys = {"preset": preset.name, "schema": schema, "prefix": prefix}
        names_of_queues = queues[:_MOST_QUEUES] if preset.needs_queues else None
        yield preset, {key: value for key, value in {**keys, "queues": names_of_queues}.items() if value is not None}


async def _library(preset: Preset, keys: dict[str, Any], ask: Ask) -> Library | None:
    """What fits, of a preset whose queues have tables of their own only the queues whose tables are there."""
    try:
        if not preset.needs_queues:
            queue = QueuePolicy.model_validate(keys)
            form = await form_of(queue, ask)
            return None if form is None else Library(preset, form, keys, queue)
        fitting: dict[str, Form] = {}
        for name in keys["queues"]:
            form = await form_of(QueuePolicy.model_validate({**keys, "queues": [name]}), ask)
            if form is not None:
                fitting[name] = form
        if not fitting:
            return None
        keys = {**keys, "queues": list(fitting)}
        queue = QueuePolicy.model_validate(keys)
    except ValidationError:
        return None  # a name that no policy may hold, such as one with a line break
    return Library(preset, next(iter(fitting.values())), keys, queue, queues=tuple(fitting))


async def _counted(library: Library, queue: PostgresQueue, ask: Ask) -> Library:
    """With its unfinished jobs and, where a column holds them, the names of its queues."""
    try:
        depth = await queue.depth(library.queue, COUNT_LIMIT)
    except Unavailable as unavailable:
        return replace(library, why=str(unavailable))
    library = replace(library, unfinished=depth.pending + depth.processing)
    if library.preset.needs_queues or library.preset.queue_column is None:
        return library
    try:
        place = (await located(library.queue, ask)).place
        seen: dict[str, None] = dict.fromkeys(library.queues)
        for arm in ("ready", "processing"):
            rows = place.rows(arm, library.preset.queue_column)
            statement = sql.SQL(_QUEUES).format(
                rows=rows, rows_read=sql.Literal(_MOST_ROWS), most=sql.Literal(_MOST_QUEUES)
            )
            seen |= dict.fromkeys(name for (name,) in await ask(statement) if name)
    except (psycopg.Error, Unavailable):
        return library  # the names are only told; all queues count without them
    return _named(replace(library, queues=tuple(seen)))


def _named(library: Library) -> Library:
    """With its queues in the policy, where the library announces jobs on a channel for each queue."""
    if not library.queues or not all("{queue}" in channel for channel in library.preset.wakes or ("",)):
        return library
    keys = {**library.keys, "queues": list(library.queues)}
    try:
        return replace(library, keys=keys, queue=QueuePolicy.model_validate(keys))
    except ValidationError:
        return library
