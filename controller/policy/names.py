"""Names of tables, columns, schemas and queues that PostgreSQL accepts, each without a line break."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, StringConstraints
from pydantic_core import PydanticCustomError

NAME_BYTES = 63
"""What is longer, PostgreSQL cuts off in a name, and does not notify on."""
_TABLE = re.compile(r'(?:("(?:[^"]|"")+"|[^".]+)\.)?("(?:[^"]|"")+"|[^".]+)')


def printable(text: str) -> str:
    # A line break in a name would begin a line of SQL in what queue-trigger and doctor print.
    if not text.isprintable():
        raise PydanticCustomError("name", "holds a character that cannot be printed; leave it out")
    return text


def _name(text: str) -> str:
    length = len(printable(text).encode())
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


QueueName = Annotated[str, StringConstraints(min_length=1, max_length=127), AfterValidator(printable)]
Prefix = Annotated[str, StringConstraints(max_length=NAME_BYTES), AfterValidator(_name)]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=NAME_BYTES), AfterValidator(_name)]
Table = Annotated[str, StringConstraints(min_length=1), AfterValidator(_table)]
