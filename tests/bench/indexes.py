"""The indexes that a reading may go by."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
from psycopg import sql


@dataclass(frozen=True)
class IndexSet:
    """extra: names and definitions of what it has beyond the table's own indexes."""

    name: str
    extra: tuple[tuple[str, str], ...] = ()


PLAIN = IndexSet("plain")
"""As generation_job comes: (priority, created_at) and (status)."""
RECOMMENDED = IndexSet(
    "recommended",
    (
        ("generation_job_pending", "(scheduled_for, created_at) WHERE status = 'pending'"),
        ("generation_job_processing", "(locked_at) WHERE status = 'processing'"),
    ),
)
"""And one for each count, which holds nothing but the rows that it counts."""
_EVERY = (PLAIN, RECOMMENDED)


def use(connection: psycopg.Connection, wanted: IndexSet) -> None:
    """The table has these from now on, and none of another set."""
    for one in _EVERY:
        for name, definition in one.extra:
            index = sql.Identifier(name)
            if one == wanted:
                create = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON generation_job ").format(index)
                connection.execute(create.as_string(connection).encode() + definition.encode())
            else:
                connection.execute(sql.SQL("DROP INDEX IF EXISTS {}").format(index))
