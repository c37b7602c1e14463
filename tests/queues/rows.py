"""Rows in every combination of what a preset looks at, as SQL; and which of them the library itself would run.

A case varies some columns; each combination becomes one row, whose name (mostly its queue's) says what it is.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.queues.scenario import Stage

Row = Mapping[str, str]
"""What the row is, in each respect that the case varies."""
Choices = Mapping[str, str]
"""What a row may be in one respect, and the SQL for it."""
Make = Callable[[Stage], Coroutine[Any, Any, None]]


@dataclass(frozen=True, slots=True)
class Case:
    """One form of a preset.

    form: its versions, where the preset has several. tables: makes them. insert: SQL for one row, in which {name} is
    its name and each {respect} is the SQL of its choice. before, after: SQL around all of that. runs: whether a worker
    that starts now would run the job by itself, as the library's own queries have it. possible: False for combinations
    that no table can hold. named_by: what names a row in every arm; None: what the preset tells queues apart by.
    """

    preset: str
    tables: Make
    vary: Mapping[str, Choices]
    insert: str
    runs: Callable[[Row], bool]
    form: str = ""
    before: str = ""
    after: str = ""
    possible: Callable[[Row], bool] = field(default=lambda _: True)
    queues: tuple[str, ...] = ()
    named_by: str | None = None

    def rows(self) -> Iterator[tuple[str, Row]]:
        for choice in itertools.product(*self.vary.values()):
            row = dict(zip(self.vary, choice, strict=True))
            if self.possible(row):
                yield " ".join(f"{key}={value}" for key, value in row.items()), row

    def statements(self) -> str:
        return ";\n".join(filter(None, [self.before, *map(self._inserted, self.rows()), self.after]))

    def _inserted(self, named: tuple[str, Row]) -> str:
        name, row = named
        values = {**{key: self.vary[key][value] for key, value in row.items()}, "name": name}
        text = self.insert
        for _ in range(2):  # what stands for a choice may have the others in it
            for key, value in values.items():
                text = text.replace(f"{{{key}}}", value)
        return text


def same(*states: str) -> Choices:
    return {state: f"'{state}'" for state in states}


def published(schema: str, reads: str = "public", more: str = "") -> Make:
    async def make(place: Stage) -> None:
        place.create(schema, more)
        place.let_read(reads)

    return make


MINUTE_AGO, IN_AN_HOUR = "now() - interval '1 min'", "now() + interval '1 h'"
DUE = {"past": MINUTE_AGO, "future": IN_AN_HOUR}
EVER = {"never": "NULL", **DUE, "-infinity": "'-infinity'", "infinity": "'infinity'"}
NAIVE_DUE = {key: f"timezone('UTC', {value})" for key, value in DUE.items()}
NAIVE_EVER = {**EVER, **NAIVE_DUE}
HOURS_5 = "now() - interval '5 h'"
CLAIM = {"never": "NULL", "fresh": MINUTE_AGO, "old": HOURS_5}
NAIVE_CLAIM = {**CLAIM, "fresh": f"timezone('UTC', {MINUTE_AGO})", "old": f"timezone('UTC', {HOURS_5})"}
TRIES = {"left": "1, 5", "none": "5, 5"}
NO_YES = {"no": "false", "yes": "true"}


def is_due(row: Row, column: str = "due") -> bool:
    return row[column] in {"past", "-infinity"}


def without(choices: Choices, *names: str) -> Choices:
    return {key: value for key, value in choices.items() if key not in names}
