"""Presets: how the tables of known queue libraries are read. One TOML file per library, in this folder."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.resources import files
from typing import Any

from controller.adapters.postgres.form import Form


@dataclass(frozen=True, slots=True)
class Preset:
    """One queue library.

    tested: "library" if the tests run its own migration, client and worker; "schema" if they only use its published
    tables. versions: the tested ones. schema: the default schema of its tables; "" uses the search path. prefix: the
    default prefix of its table names. tables: short name → name, with {prefix}, and with {queue} if each queue has its
    own tables. queue_column: the expression that `queues` filters by. wakes: its NOTIFY channels, with {schema},
    {prefix}, {queue} or {schema_sha224}. wakes_when: when it sends them. stale_after: seconds after which a claim
    without a heartbeat is stale, or ready again. indexes: SQL to suggest if the library's own indexes are not enough.
    notes: what a user must know; `autoscaler queues` shows them.

    In the file, a form may have words: conditions that its parts share, written as {word}.
    """

    name: str
    library: str
    language: str
    tested: str
    versions: str
    tables: Mapping[str, str]
    forms: tuple[Form, ...]
    queue_column: str | None = None
    queue_is: str = "queue"
    schema: str = ""
    prefix: str = ""
    wakes: tuple[str, ...] = ()
    wakes_when: str = ""
    stale_after: float | None = None
    indexes: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def needs_queues(self) -> bool:
        return any("{queue}" in name for name in self.tables.values())


def names() -> tuple[str, ...]:
    found = (path.name for path in files(__package__).iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in found if name.endswith(".toml")))


def load(name: str) -> Preset:
    data = tomllib.loads((files(__package__) / f"{name}.toml").read_text(encoding="utf-8"))
    forms = tuple(Form(**_frozen(_spelled_out(form), Form)) for form in data.pop("forms"))
    return Preset(name=name, forms=forms, **_frozen(data, Preset))


def _spelled_out(form: dict[str, Any]) -> dict[str, Any]:
    """The form with each {word} replaced by its condition from [forms.words], in parentheses."""

    def filled(value: Any) -> Any:
        if isinstance(value, list):
            return [filled(one) for one in value]
        for word, condition in words:
            value = value.replace(f"{{{word}}}", f"({condition})")
        return value

    words: list[tuple[str, str]] = []
    for word, condition in form.pop("words", {}).items():
        words.append((word, filled(condition)))
    return {key: filled(value) for key, value in form.items()}


def _frozen(data: Mapping[str, Any], kind: type) -> dict[str, Any]:
    """Turns lists into tuples, and a single text into a tuple of one where the field is a tuple."""
    several = {one.name for one in fields(kind) if str(one.type).startswith("tuple[str")}
    return {
        key: tuple(value) if isinstance(value, list) else (value,) if key in several else value
        for key, value in data.items()
    }
