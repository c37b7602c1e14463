"""What is said of PostgreSQL's errors, however long they are."""

from __future__ import annotations

import tracemalloc

import psycopg
import pytest

from controller.adapters.postgres.errors import in_words
from controller.policy import Queue

QUEUES = {
    "none": None,
    "a table": Queue(table="jobs"),
    "a table and a condition": Queue(table="jobs", where="true"),
    "a preset": Queue(preset="oban"),
    "a query": Queue(sql="SELECT 1 AS pending, 0 AS processing"),
}


@pytest.mark.parametrize("queue", QUEUES.values(), ids=QUEUES)
@pytest.mark.parametrize("kind", [psycopg.errors.RaiseException, psycopg.OperationalError, psycopg.InternalError])
def test_of_an_error_of_many_megabytes_only_the_beginning_is_looked_at(
    kind: type[psycopg.Error], queue: Queue | None
) -> None:
    """A statement can raise one: to look through 90 MB kept the loop from its work for 7 s."""
    error = kind("words of it\n" * 500_000)
    tracemalloc.start()
    try:
        said = in_words(error, queue, 1.0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert "words of it" in said
    assert len(said) < 500
    assert peak < 1_000_000


@pytest.mark.parametrize(
    "said",
    [
        "Connection refused",
        "no such user",
        'FATAL:  database "{x}" does not exist',
        "startup parameter {0}",
        "odd {words}",
    ],
)
def test_the_variable_that_is_named_is_the_one_whose_address_was_asked(said: str) -> None:
    words = in_words(psycopg.OperationalError(said), None, 1.0, "DATABASE_DIRECT_URL")
    assert "DATABASE_DIRECT_URL" in words
    assert "DATABASE_URL" not in words
    assert "{variable}" not in words
