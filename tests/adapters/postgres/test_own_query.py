"""`queue: {sql: …}`: any query that returns one row; and whatever else it returns is Unavailable, never 0."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any

import psycopg
import pytest

from controller.adapters.postgres.queue import PostgresQueue
from controller.core.model import QueueDepth, Rest
from controller.core.ports import Unavailable
from controller.policy import Queue
from tests.support.unhurried import PATIENT_S, impatient

Connection = psycopg.AsyncConnection[Any]


@pytest.fixture
async def admin(database_url: str) -> AsyncIterator[Connection]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute("CREATE TABLE job (state text, at timestamptz DEFAULT now())")
        yield connection


@pytest.fixture
async def queue(admin: Connection, database_url: str) -> AsyncIterator[PostgresQueue]:
    postgres = PostgresQueue(database_url, timeout_s=PATIENT_S)
    yield postgres
    await postgres.close()


@pytest.mark.parametrize(
    ("query", "depth"),
    [
        ("SELECT 3 AS pending, 2 AS processing", QueueDepth(3, 2)),
        ("SELECT 3::bigint AS pending, 2::numeric AS processing, 7.5 AS oldest_age_s", QueueDepth(3, 2, 7.5)),
        ("SELECT 2.0 AS processing, 3 AS pending, NULL AS oldest_age_s, 'x' AS other", QueueDepth(3, 2)),
        ("SELECT 3 AS pending, 2 AS processing;", QueueDepth(3, 2)),
        ("SELECT 3 AS pending, 2 AS processing -- so many", QueueDepth(3, 2)),
        ("/* all */ WITH q AS (SELECT 1) SELECT count(*) AS pending, 0 AS processing FROM q", QueueDepth(1, 0)),
        ("SELECT 0 AS pending, 0 AS processing WHERE 'a' LIKE '%a%' AND '{stale}' <> '%s'", QueueDepth(0, 0)),
        ("SELECT count(*) AS pending, count(*) FILTER (WHERE state = 'held') AS processing FROM job", QueueDepth(0, 0)),
        # The session is in UTC, wherever the server thinks it is.
        ("SELECT (current_setting('TimeZone') = 'UTC')::int AS pending, 0 AS processing", QueueDepth(1, 0)),
    ],
)
async def test_one_row_of_counts_is_the_depth(queue: PostgresQueue, query: str, depth: QueueDepth) -> None:
    assert await queue.depth(Queue(sql=query), 100) == depth


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT 3 AS pending", "returns no column processing (its columns are: pending); write SELECT count(*)"),
        ("SELECT 3", "returns no column pending (its columns are: ?column?)"),
        ("SELECT 1 AS pending, 2 AS pending, 3 AS processing", "returns more than one column pending"),
        (
            "SELECT 1 AS pending, 2 AS processing UNION ALL SELECT 1, 2",
            "returns more than one row; it must return one row",
        ),
        ("SELECT 1 AS pending, 2 AS processing WHERE false", "returns no row; it must return one row"),
        ("SELECT NULL::int AS pending, 2 AS processing", "returns NULL as pending; write coalesce(…, 0)"),
        ("SELECT -1 AS pending, 2 AS processing", "returns -1 as pending, which is impossible; write greatest"),
        ("SELECT '3' AS pending, 2 AS processing", "returns text as pending, not a number; write count(*)"),
        ("SELECT 3 AS pending, true AS processing", "returns true or false as processing"),
        ("SELECT 1.5 AS pending, 2 AS processing", "returns 1.5 as pending, which is not a whole number"),
        ("SELECT 'NaN'::float8 AS pending, 2 AS processing", "returns nan as pending"),
        ("SELECT 'NaN'::numeric AS pending, 2 AS processing", "returns NaN as pending"),
        ("SELECT 'infinity'::numeric AS pending, 2 AS processing", "returns Infinity as pending"),
        ("SELECT 1e400::numeric AS pending, 2 AS processing", "returns 1.000e+400 as pending"),
        ("SELECT $1::int AS pending, 2 AS processing", "has placeholders"),
        ("SELECT 1 AS pending, 2 AS processing FROM nowhere", 'cannot be run: relation "nowhere" does not exist'),
        ("SELEC 1", "cannot be run: syntax error"),
        ("SELECT 1/0 AS pending, 2 AS processing", "fails: division by zero"),
        ("SELECT 1 AS pending, 2 AS processing FROM pg_sleep(2)", "took longer than 500 ms"),
        # Everything that could write.
        ("INSERT INTO job VALUES ('x') RETURNING 1 AS pending, 1 AS processing", "it must be one SELECT"),
        (
            "WITH gone AS (DELETE FROM job RETURNING 1) SELECT 1 AS pending, 1 AS processing",
            "a depth query may only read",
        ),
        ("SELECT 1 AS pending, 1 AS processing; COMMIT; DROP TABLE job", "cannot be run"),
        ("SELECT nextval('numbers') AS pending, 1 AS processing", "tries to write"),
        ("SELECT drop_it() AS pending, 1 AS processing", "tries to write"),
        ("DROP TABLE job", "it must be one SELECT"),
        ("SELECT 1 AS pending, 1 AS processing INTO other", "cannot be run"),
        ("SELECT 1 AS pending, 1 AS processing FROM job FOR UPDATE", "a depth query may only read"),
        (
            "SELECT 1 AS pending, 1 AS processing FROM set_config('transaction_read_only', 'off', true), drop_it()",
            "queue.sql",
        ),
    ],
)
async def test_any_other_answer_is_unavailable_with_the_fix_and_changes_nothing(
    admin: Connection, queue: PostgresQueue, query: str, words: str
) -> None:
    await admin.execute("CREATE SEQUENCE numbers")
    await admin.execute(
        "CREATE FUNCTION drop_it() RETURNS int LANGUAGE plpgsql AS $$ BEGIN DROP TABLE job; RETURN 1; END $$"
    )
    hurry = impatient(queue, 0.5) if "took longer" in words else nullcontext()
    with pytest.raises(Unavailable) as error, hurry:
        await queue.depth(Queue(sql=query), 100)
    assert str(error.value).startswith("PostgreSQL: queue.sql")
    assert words in str(error.value)
    await admin.execute("SELECT FROM job")
    assert await queue.depth(Queue(sql="SELECT 1 AS pending, 1 AS processing"), 100) == QueueDepth(1, 1)


async def test_a_query_that_returns_the_whole_table_is_not_fetched(admin: Connection, queue: PostgresQueue) -> None:
    everything = "SELECT 1 AS pending, repeat('x', 1000) AS processing FROM pg_proc AS a, pg_proc AS b, pg_proc AS c"
    with pytest.raises(Unavailable, match="more than one row"):
        await queue.depth(Queue(sql=everything), 100)


async def test_a_count_of_its_own_is_shown_as_it_is(queue: PostgresQueue) -> None:
    depth = await queue.depth(Queue(sql="SELECT 50000 AS pending, 1 AS processing"), 100)
    assert (depth.depth, depth.shown(depth.depth)) == (50_001, "50001")
    assert await queue.rest(Queue(sql="SELECT 1"), 100) == Rest(None, None, 100)


@pytest.mark.parametrize(
    ("age", "shown", "said"),
    [
        ("-3 AS oldest_age_s", 0.0, None),
        ("NULL::int AS oldest_age_s", None, None),
        ("'NaN'::numeric AS oldest_age_s", None, "NaN as oldest_age_s, which is not a possible number of seconds"),
        ("'infinity'::float8 AS oldest_age_s", None, "inf as oldest_age_s"),
        ("'soon' AS oldest_age_s", None, "text as oldest_age_s, not a number of seconds"),
        ("now() AS oldest_age_s", None, "a datetime as oldest_age_s"),
        ("interval '1 s' AS oldest_age_s", None, "write extract(epoch FROM …) AS oldest_age_s"),
        ("3 AS oldest_age_s, 4 AS oldest_age_s", None, "more than one column oldest_age_s"),
    ],
)
async def test_an_age_that_makes_no_sense_is_dropped_with_a_word_and_stops_nothing(
    queue: PostgresQueue, age: str, shown: float | None, said: str | None
) -> None:
    depth = await queue.depth(Queue(sql=f"SELECT 1 AS pending, 2 AS processing, {age}"), 100)
    assert (depth.depth, depth.oldest_age_s) == (3, shown)
    assert [remark.about for remark in depth.remarks] == ([] if said is None else ["oldest_age_s"])
    assert said is None or said in depth.remarks[0].text
