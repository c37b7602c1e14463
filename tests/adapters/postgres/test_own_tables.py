"""Tables of the user's own that are not as the default policy expects: words, columns, types, parts, dead claims."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import psycopg.conninfo
import pytest
import yaml

from controller.adapters.postgres.due_columns import due_columns
from controller.adapters.postgres.own_table import own_table
from controller.adapters.postgres.places import located
from controller.adapters.postgres.queue import PostgresQueue
from controller.adapters.postgres.survey import survey_of
from controller.core.model import QueueDepth, Rest
from controller.core.ports import NotMeasurable, Unavailable
from controller.policy import Queue

Connection = psycopg.AsyncConnection[Any]
LIMIT = 100


def jobs(**more: object) -> Queue:
    return Queue.model_validate({"table": "jobs", **more})


async def holds(admin: Connection, *rows: str, columns: str = "status text") -> None:
    """The table jobs, with one row for each status; NULL for one without."""
    await admin.execute(f"CREATE TABLE jobs ({columns})".encode())
    for status in rows:
        value = psycopg.sql.Literal(None if status == "NULL" else status)
        await admin.execute(psycopg.sql.SQL("INSERT INTO jobs (status) VALUES ({})").format(value))


# --- status words that the policy does not name ---


@pytest.mark.parametrize(
    ("rows", "proposed"),
    [
        (["queued"] * 80 + ["running"] * 5, "statuses: {pending: [queued], processing: [running]}"),
        (["PENDING"], "statuses: {pending: [PENDING]}"),
        (["completed", "New", "done"], "statuses: {pending: [New]}"),
        (["retrying", "In Progress"], "statuses: {pending: [retrying], processing: [In Progress]}"),
        (["ready", "odd"], "statuses: {pending: [ready]}"),
        ([" queued "], "statuses: {pending: [' queued ']}"),
        (
            ["STATUS_PENDING"] * 2 + [":queued", "JobState.in_flight"],
            "statuses: {pending: [STATUS_PENDING, ':queued'], processing: [JobState.in_flight]}",
        ),
    ],
)
async def test_unfinished_work_under_other_words_is_no_empty_queue(
    admin: Connection, queue: PostgresQueue, rows: list[str], proposed: str
) -> None:
    await holds(admin, *rows)
    depth = await queue.depth(jobs(), LIMIT)
    assert depth.depth == 0
    assert proposed in depth.unnamed


@pytest.mark.parametrize(
    "rows",
    [
        *(
            [],
            ["completed"],
            ["done", "Succeeded", "CANCELLED", "archived", "STATE_DONE"],
            ["failed", "error", "timed-out"],
        ),
        *(["pending", "queued"], ["processing", "running"]),
    ],
    ids=[
        "no job at all",
        "completed jobs",
        "done in other words",
        "failed in other words",
        "pending jobs, some under another word",
        "jobs in work, some under another word",
    ],
)
async def test_a_queue_whose_jobs_are_done_is_empty(admin: Connection, queue: PostgresQueue, rows: list[str]) -> None:
    await holds(admin, *rows)
    assert (await queue.depth(jobs(), LIMIT)).unnamed == ""


async def test_words_that_come_later_are_found_with_the_next_reading(admin: Connection, queue: PostgresQueue) -> None:
    await holds(admin)
    assert (await queue.depth(jobs(), LIMIT)).unnamed == ""
    await admin.execute("INSERT INTO jobs SELECT 'queued' FROM generate_series(1, 80)")
    assert "with status queued" in (await queue.depth(jobs(), LIMIT)).unnamed


async def test_a_queue_that_once_had_a_named_job_may_be_empty(admin: Connection, queue: PostgresQueue) -> None:
    await holds(admin, "pending")
    await queue.depth(jobs(), LIMIT)
    await admin.execute("UPDATE jobs SET status = 'queued'")
    assert (await queue.depth(jobs(), LIMIT)).unnamed == ""


@pytest.mark.parametrize(
    ("row", "statuses", "words"),
    [
        ("odd", {}, "with status odd, which queue.statuses does not name"),
        ("NULL", {}, "with status NULL (NULL: a row without a status)"),
        ("NULL", {}, "so they are not counted; set a status in the rows without one (UPDATE)"),
        ("", {}, "with status '', which"),
        ("1, 2", {}, "with status '1, 2', which"),
        ("yes", {}, "with status 'yes', which"),
        ("odd", {"finished": ["odd"]}, None),
        ("odd", {"failed": ["odd"]}, None),
    ],
)
async def test_a_word_that_says_nothing_is_a_warning(
    admin: Connection, queue: PostgresQueue, row: str, statuses: dict[str, list[str]], words: str | None
) -> None:
    await holds(admin, "pending", row)
    depth = await queue.depth(jobs(statuses=statuses), LIMIT)
    assert (depth.depth, depth.unnamed) == (1, "")
    texts = [remark.text for remark in depth.remarks if remark.about == "statuses"]
    assert len(texts) == (0 if words is None else 1)
    assert words is None or words in texts[0]


@pytest.mark.parametrize("index", [True, False], ids=["a table with an index", "a table without an index"])
async def test_a_large_table_is_not_read_to_find_them(admin: Connection, queue: PostgresQueue, *, index: bool) -> None:
    await admin.execute("CREATE TABLE jobs (status text, filler text) WITH (autovacuum_enabled = off)")
    await admin.execute("INSERT INTO jobs SELECT 'completed', repeat('x', 900) FROM generate_series(1, 3000)")
    await admin.execute("INSERT INTO jobs VALUES ('queued')")
    if index:
        await admin.execute("INSERT INTO jobs SELECT 'completed', repeat('x', 900) FROM generate_series(1, 3000)")
        await admin.execute("CREATE INDEX ON jobs (status)")
    assert "with status queued" in (await queue.depth(jobs(), LIMIT)).unnamed


async def test_they_are_found_wherever_a_view_shows_them(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE TABLE behind AS SELECT 'completed' AS status FROM generate_series(1, 3000)")
    await admin.execute("CREATE VIEW jobs AS SELECT * FROM behind")
    assert (await queue.depth(jobs(), LIMIT)).unnamed == ""
    await admin.execute("INSERT INTO behind VALUES ('IN_PROGRESS')")
    assert "with status IN_PROGRESS" in (await queue.depth(jobs(), LIMIT)).unnamed
    await admin.execute("INSERT INTO behind VALUES ('processing')")
    assert (await queue.depth(jobs(), LIMIT)).unnamed == ""


async def test_they_are_found_though_the_claims_are_not_found_in_time(admin: Connection) -> None:
    """As in a large table without an index on the status."""

    async def ask(statement: psycopg.sql.Composed) -> list[tuple[Any, ...]]:
        if "began" in statement.as_string(admin):
            raise psycopg.errors.QueryCanceled
        return await (await admin.execute(statement)).fetchall()

    await holds(admin, "queued", columns="status text, locked_at timestamptz")
    survey = await survey_of(jobs(), await located(jobs(), ask), ask)
    assert survey.words is not None
    assert (survey.words.unfinished, survey.old) == (("queued",), None)


async def test_they_are_found_by_a_user_who_may_read_only_what_a_reading_needs(
    admin: Connection, database_url: str
) -> None:
    await holds(
        admin, "queued", columns="status text, created_at timestamptz, started_at timestamptz, done_at timestamptz"
    )
    await admin.execute("DROP ROLE IF EXISTS miser")
    await admin.execute("CREATE ROLE miser LOGIN")
    await admin.execute("GRANT SELECT (status, created_at) ON jobs TO miser")
    queue = PostgresQueue(database_url.replace("postgres@", "miser@"), timeout_s=30.0)
    try:
        depth = await queue.depth(jobs(), LIMIT)
        assert "with status queued" in depth.unnamed
    finally:
        await queue.close()
        await admin.execute("DROP OWNED BY miser")
        await admin.execute("DROP ROLE miser")


async def test_statuses_that_cannot_be_looked_at_in_time_are_said(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE FUNCTION slow() RETURNS bool LANGUAGE sql AS 'SELECT true FROM pg_sleep(0.01)'")
    await admin.execute("CREATE VIEW jobs AS SELECT 'done' AS status FROM generate_series(1, 100) WHERE slow()")
    assert "could not be looked at in time" in (await queue.depth(jobs(), LIMIT)).remarks[0].text


async def test_a_status_that_can_hold_no_word_is_surveyed_too(admin: Connection, queue: PostgresQueue) -> None:
    names = [f"{number:08}-0000-0000-0000-000000000000" for number in range(4)]
    await admin.execute("CREATE TABLE behind (status uuid)")
    await admin.execute("INSERT INTO behind VALUES (%s)", [names[3]])
    await admin.execute("CREATE VIEW jobs AS SELECT * FROM behind")
    depth = await queue.depth(jobs(statuses={"pending": names[:1], "processing": names[1:2], "failed": []}), LIMIT)
    (remark,) = depth.remarks
    assert f"has jobs with status '{names[3]}'" in remark.text


async def test_an_enum_s_words_are_found_too(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE TYPE state AS ENUM ('pending', 'processing', 'queued', 'done')")
    await holds(admin, "queued", "done", columns="status state")
    assert "with status queued" in (await queue.depth(jobs(), LIMIT)).unnamed


async def test_words_are_compared_as_postgresql_compares_them(admin: Connection, queue: PostgresQueue) -> None:
    """A char is as long as it is said to be, and equal to the word without the blanks."""
    await holds(admin, "pending", "completed", columns="status char(20)")
    depth = await queue.depth(jobs(), LIMIT)
    assert (depth.depth, depth.unnamed, depth.remarks) == (1, "", ())


# --- other types, other columns, part of a table ---


@pytest.mark.parametrize(
    ("columns", "rows", "statuses", "depth", "rest"),
    [
        (
            "status bool",
            "(false), (true), (false)",
            {"pending": [False], "processing": [True], "failed": []},
            (2, 1),
            0,
        ),
        ("status smallint", "(0), (1), (2), (2)", {"pending": [0], "processing": [1], "failed": [2]}, (1, 1), 2),
        *(
            (f"status {kind}", "(0), (1), (2)", {"pending": ["0"], "processing": ["1"]}, (1, 1), 0)
            for kind in ("smallint", "numeric(2)")
        ),
    ],
    ids=[
        "a boolean status",
        "a smallint status",
        "a smallint status without a value for failed",
        "a numeric status without a value for failed",
    ],
)
async def test_a_status_may_be_of_another_type(  # noqa: PLR0917  # a table
    admin: Connection,
    queue: PostgresQueue,
    columns: str,
    rows: str,
    statuses: dict[str, list[object]],
    depth: tuple[int, int],
    rest: int,
) -> None:
    await admin.execute(f"CREATE TABLE jobs ({columns}, run_at timestamptz)".encode())
    await admin.execute(f"INSERT INTO jobs (status) VALUES {rows}".encode())
    await admin.execute("INSERT INTO jobs SELECT status, now() + interval '1 h' FROM jobs WHERE status::int = 0")
    policy = jobs(statuses=statuses)
    found = await queue.depth(policy, LIMIT)
    assert (found.pending, found.processing) == depth
    assert await queue.rest(policy, LIMIT) == Rest(depth[0], rest, LIMIT)


async def test_an_enum_without_failed_keeps_what_is_for_later_known(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE TYPE state AS ENUM ('pending', 'processing', 'done')")
    await admin.execute("CREATE TABLE jobs (status state, run_at timestamptz)")
    await admin.execute("INSERT INTO jobs VALUES ('pending', now() + interval '1 h')")
    assert await queue.rest(jobs(), LIMIT) == Rest(1, 0, LIMIT)


@pytest.mark.parametrize("kind", ["bigint", "integer", "numeric", "double precision"])
@pytest.mark.parametrize(("unit", "factor"), [("s", 1), ("ms", 1000)])
async def test_times_may_be_numbers(admin: Connection, queue: PostgresQueue, kind: str, unit: str, factor: int) -> None:
    if (kind, unit) == ("integer", "ms"):
        kind = "bigint"  # no integer holds milliseconds since 1970
    await admin.execute(f"CREATE TABLE jobs (status text, due {kind}, born {kind}, taken {kind}, done {kind})".encode())
    at = f"(extract(epoch FROM now() + {{}} * interval '1 s') * {factor})"
    values = [
        ("pending", -60, -120, None, None),
        ("pending", 3600, -120, None, None),
        ("processing", -60, -120, -30, None),
        ("processing", -60, -9000, -7200, None),
        *[("completed", -60, -120, -50, -41)] * 3,
    ]
    for status, *times in values:
        written = ", ".join("NULL" if time is None else at.format(time) for time in times)
        await admin.execute(f"INSERT INTO jobs VALUES ('{status}', {written})".encode())
    names = {
        "scheduled_for": "due",
        "created_at": "born",
        "locked_at": "taken",
        "started_at": "taken",
        "completed_at": "done",
    }
    policy = jobs(columns={key: {"name": name, "unit": unit} for key, name in names.items()}, stale_after="1h")
    depth = await queue.depth(policy, LIMIT)
    assert (depth.pending, depth.processing, depth.stale) == (1, 1, 1)
    assert depth.oldest_age_s == pytest.approx(60, abs=30)
    assert await queue.rest(policy, LIMIT) == Rest(1, 0, LIMIT)
    service = await queue.service_time(policy)
    assert service is not None
    assert service.mean_s == pytest.approx(9, abs=0.1)


@pytest.mark.parametrize("number", ["0", "-1", "9223372036854775807"])
async def test_a_number_that_cannot_be_a_time_does_not_end_the_reading(
    admin: Connection, queue: PostgresQueue, number: str
) -> None:
    await admin.execute("CREATE TABLE jobs (status text, due bigint)")
    await admin.execute(f"INSERT INTO jobs VALUES ('pending', {number}), ('processing', {number})".encode())
    policy = jobs(columns={"scheduled_for": {"name": "due", "unit": "s"}, "locked_at": {"name": "due", "unit": "ms"}})
    depth = await queue.depth(policy, LIMIT)
    assert (depth.depth, depth.oldest_age_s) == (2 - (len(number) > 2), None)


async def test_a_due_time_in_numbers_needs_its_unit(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE TABLE jobs (status text, run_at bigint)")
    for policy in (jobs(), jobs(columns={"scheduled_for": "run_at"})):
        with pytest.raises(Unavailable, match=r"scheduled_for: \{name: run_at, unit: s\}"):
            await queue.depth(policy, LIMIT)


@pytest.mark.parametrize("key", ["started_at", "completed_at", "updated_at", "priority", "locked_at", "created_at"])
async def test_a_column_that_is_named_and_is_not_there_is_said(
    admin: Connection, queue: PostgresQueue, key: str
) -> None:
    await holds(admin, "pending")
    with pytest.raises(Unavailable, match=f"no column nowhere; set queue.columns.{key}"):
        await queue.depth(jobs(columns={key: "nowhere"}), LIMIT)


async def test_a_condition_chooses_the_rows_in_whatever_is_read(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute(
        "CREATE TABLE jobs (kind text, status text, run_at timestamptz, started_at timestamptz, "
        "completed_at timestamptz)"
    )
    await admin.execute(
        "INSERT INTO jobs SELECT kind, status, now() + later * interval '1 h' FROM (VALUES ('mail', 2), ('film', 30)) "
        "AS k(kind, n), (VALUES ('pending', -1), ('pending', 1), ('processing', -1), ('failed', -1)) "
        "AS s(status, later), generate_series(1, n)"
    )
    await admin.execute(
        "INSERT INTO jobs SELECT kind, 'done', now(), now() - seconds * interval '1 s', now() "
        "FROM (VALUES ('mail', 3), ('film', 90)) AS k(kind, seconds), generate_series(1, 50)"
    )
    policy = jobs(where="kind = 'mail' OR kind = 'post'")
    depth = await queue.depth(policy, LIMIT)
    assert (depth.pending, depth.processing) == (2, 2)
    assert await queue.rest(policy, LIMIT) == Rest(2, 2, LIMIT)
    service = await queue.service_time(policy)
    assert service is not None
    assert service.mean_s == pytest.approx(3, abs=0.1)
    assert (await queue.depth(jobs(), LIMIT)).pending == 30 + 2


async def test_a_condition_hides_the_words_of_other_rows(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE TABLE jobs (kind text, status text)")
    await admin.execute("INSERT INTO jobs VALUES ('film', 'queued'), ('mail', 'completed')")
    assert (await queue.depth(jobs(where="kind = 'mail'"), LIMIT)).unnamed == ""
    assert (await queue.depth(jobs(where="kind = 'film'"), LIMIT)).unnamed != ""


@pytest.mark.parametrize(
    "condition", ["nowhere = 1", "status", "status = 7", "no_such_function(1)", "status =", "status = $1"]
)
async def test_a_condition_that_postgresql_refuses_is_named(
    admin: Connection, queue: PostgresQueue, condition: str
) -> None:
    await holds(admin, "pending")
    with pytest.raises(Unavailable, match=r"queue\.where"):
        await queue.depth(jobs(where=condition), LIMIT)


# --- claims of the dead ---


async def claimed(admin: Connection, count: int, hours_ago: float) -> None:
    await admin.execute(
        "INSERT INTO jobs SELECT 'processing', now() - %s * interval '1 h' FROM generate_series(1, %s)",
        [hours_ago, count],
    )


@pytest.mark.parametrize(
    ("took_s", "hours_ago", "said"),
    [
        (None, 10, "write stale_after: 6h"),
        (None, 5, None),
        (20, 10, "write stale_after: 5m"),
        (20, 0.5, "write stale_after: 5m"),
        (20, 0.1, None),
        (1500, 10, "write stale_after: 2h"),
        (3 * 3600, 10, None),
    ],
)
async def test_claims_far_older_than_jobs_take_are_said_with_a_limit_to_write(
    admin: Connection, queue: PostgresQueue, took_s: float | None, hours_ago: float, said: str | None
) -> None:
    await holds(admin, columns="status text, locked_at timestamptz, started_at timestamptz, completed_at timestamptz")
    await claimed(admin, 4, hours_ago)
    if took_s is not None:
        await admin.execute(
            "INSERT INTO jobs SELECT 'completed', NULL, now() - %s * interval '1 s', now() FROM generate_series(1, 20)",
            [took_s],
        )
    depth = await queue.depth(jobs(), LIMIT)
    texts = [remark.text for remark in depth.remarks if remark.about == "claims"]
    assert depth.processing == 4
    assert len(texts) == (said is not None)
    assert said is None or (said in texts[0] and texts[0].startswith("4 jobs of table jobs have been claimed"))
    assert await queue.longest_claim(jobs(), LIMIT) is None, "the age of a claim is not the length of a job"
    limited = await queue.depth(jobs(stale_after="15m"), LIMIT)
    assert limited.remarks == ()


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            "updated_at timestamptz",
            "were last changed up to 10 h ago, .*: probably .*columns: {locked_at: updated_at} and stale_after: 6h",
        ),
        ("created_at timestamptz, locked_at timestamptz", "were created up to 10 h ago, .*: if .*let workers write"),
        ("born timestamptz", None),
    ],
    ids=["a time of the last change", "a time of the claim that no worker writes", "no time at all"],
)
async def test_claims_without_a_time_are_said_as_far_as_other_times_tell(
    admin: Connection, queue: PostgresQueue, columns: str, said: str | None
) -> None:
    await holds(admin, columns=f"status text, {columns}")
    await claimed(admin, 4, hours_ago=10)
    texts = [remark.text for remark in (await queue.depth(jobs(), LIMIT)).remarks if remark.about == "claims"]
    assert len(texts) == (said is not None)
    assert said is None or re.search(said, texts[0])


# --- what a view says of its jobs ---


async def test_a_view_with_the_columns_is_measured_by_its_newest(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE TABLE behind (status text, started_at timestamptz, completed_at timestamptz)")
    await admin.execute(
        "INSERT INTO behind SELECT 'done', at - seconds * interval '1 s', at FROM (SELECT now() - n * interval '1 s' "
        "AS at, CASE WHEN n <= 500 THEN 4 ELSE 90 END AS seconds FROM generate_series(1, 900) AS n) AS t"
    )
    await admin.execute("CREATE VIEW jobs AS SELECT * FROM behind WHERE status <> 'hidden'")
    service = await queue.service_time(jobs())
    assert service is not None
    assert service.jobs == 500
    assert service.mean_s == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (
            "CREATE VIEW jobs AS SELECT 'pending' AS status",
            "jobs has no time column started_at and no time column completed_at",
        ),
        ("CREATE TABLE jobs (status text, completed_at timestamptz)", "jobs has no time column started_at"),
        ("CREATE TABLE jobs (status text, started_at timestamptz)", r"jobs has no time column completed_at"),
    ],
)
async def test_what_cannot_be_measured_says_why(admin: Connection, queue: PostgresQueue, made: str, why: str) -> None:
    await admin.execute(made.encode())
    with pytest.raises(NotMeasurable) as error:
        await queue.service_time(jobs())
    assert why in str(error.value)
    assert str(error.value).endswith("write service_time")


@pytest.mark.parametrize("kind", ["text", "enum"])
async def test_words_in_the_middle_of_a_large_table_are_known_by_its_statistics(
    admin: Connection, queue: PostgresQueue, kind: str
) -> None:
    await admin.execute("CREATE TYPE enum AS ENUM ('pending', 'processing', 'completed', 'queued')")
    await admin.execute(f"CREATE TABLE jobs (status {kind}, filler text) WITH (autovacuum_enabled = off)".encode())
    for status, count in (("completed", 12000), ("queued", 80), ("completed", 12000)):
        await admin.execute(
            f"INSERT INTO jobs SELECT '{status}', repeat('x', 800) FROM generate_series(1, {count})".encode()
        )
    await admin.execute("ANALYZE jobs")
    depth = await queue.depth(jobs(), LIMIT)
    assert "with status queued" in depth.unnamed
    await admin.execute("DELETE FROM jobs WHERE status = 'queued'")
    other = PostgresQueue(queue._lanes.main.dsn, timeout_s=30.0)
    assert (await other.depth(jobs(), LIMIT)).unnamed == "", "statistics of yesterday make no queue doubtful"
    await other.close()


@pytest.mark.parametrize(
    ("key", "factor", "unit", "year"),
    [("scheduled_for", 1000, "s", "58"), ("locked_at", 1, "ms", "1970"), ("created_at", 1000, "s", "5")],
)
async def test_a_unit_that_no_row_can_have_is_no_empty_queue(  # noqa: PLR0917  # a table
    admin: Connection, queue: PostgresQueue, key: str, factor: int, unit: str, year: str
) -> None:
    await admin.execute("CREATE TABLE jobs (status text, at bigint)")
    policy = jobs(columns={key: {"name": "at", "unit": unit}}, **({"stale_after": "15m"} if key == "locked_at" else {}))
    assert (await queue.depth(policy, LIMIT)).depth == 0, "an empty table shows nothing"
    status = "processing" if key == "locked_at" else "pending"
    value = f"(extract(epoch FROM now()) * {factor})::bigint"
    await admin.execute(f"INSERT INTO jobs SELECT '{status}', {value} FROM generate_series(1, 3)".encode())
    with pytest.raises(Unavailable, match=f"gives dates in the year {year}.*unit: {'s' if unit == 'ms' else 'ms'}"):
        await queue.depth(policy, LIMIT)
    right = jobs(columns={key: {"name": "at", "unit": "ms" if unit == "s" else "s"}})
    assert (await queue.depth(right, LIMIT)).depth == 3


async def test_times_in_a_finer_unit_are_no_empty_queue(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE TABLE jobs (status text, micro bigint, nano numeric)")
    await admin.execute("INSERT INTO jobs SELECT 'pending', n * 1e6, n * 1e9 FROM extract(epoch FROM now()) AS n")
    for unit, name in [("ms", "micro"), ("s", "micro"), ("ms", "nano"), ("s", "nano")]:
        with pytest.raises(Unavailable, match=rf"{name} of jobs holds {name}seconds since 1970 .*divides it by 10+,"):
            await queue.depth(jobs(columns={"scheduled_for": {"name": name, "unit": unit}}), LIMIT)


async def test_claims_that_a_limit_cannot_limit_are_said(admin: Connection, queue: PostgresQueue) -> None:
    await holds(admin, columns="status text, locked_at timestamptz")
    await admin.execute("INSERT INTO jobs VALUES ('processing', NULL), ('processing', NULL), ('processing', now())")
    depth = await queue.depth(jobs(stale_after="15m"), LIMIT)
    assert depth.processing == 3
    (remark,) = depth.remarks
    assert remark.about == "claims"
    assert remark.text.startswith("2 claimed jobs of table jobs have no time of the claim")


# --- jobs for later in a column that the policy does not name ---


def due_remarks(depth: QueueDepth) -> list[str]:
    return [remark.text for remark in depth.remarks if remark.about == "due"]


@pytest.mark.parametrize(
    ("column", "value", "written"),
    [
        ("run_after timestamptz", "now() + interval '1 day'", "{scheduled_for: run_after}"),
        ("begin timestamp", "now() + interval '1 day'", "{scheduled_for: begin}"),
        ("noon timestamptz", "'infinity'", "{scheduled_for: noon}"),
        ('"Not before" timestamptz', "now() + interval '1 day'", "{scheduled_for: Not before}"),
        ("due bigint", "extract(epoch FROM now()) + 86400", "{scheduled_for: {name: due, unit: s}}"),
        ("due numeric", "(extract(epoch FROM now()) + 86400) * 1000", "{scheduled_for: {name: due, unit: ms}}"),
    ],
)
async def test_jobs_for_later_in_another_column_are_said_with_the_line_to_write(
    admin: Connection, queue: PostgresQueue, column: str, value: str, written: str
) -> None:
    await admin.execute(f"CREATE TABLE jobs (status text, {column})".encode())
    await admin.execute(f"INSERT INTO jobs SELECT 'pending', {value} FROM generate_series(1, 3)".encode())
    await admin.execute("INSERT INTO jobs VALUES ('pending', NULL), ('completed', NULL)")
    (said,) = due_remarks(depth := await queue.depth(jobs(), LIMIT))
    assert depth.pending == 4
    assert said.startswith("3 jobs of table jobs count as pending although their")
    assert said.endswith(f"if workers wait for that time, write columns: {written}")
    corrected = jobs(columns=yaml.safe_load(written))
    assert (depth := await queue.depth(corrected, LIMIT)).pending == 1
    assert due_remarks(depth) == []
    assert await queue.rest(corrected, LIMIT) == Rest(3, 0, LIMIT)


async def test_the_line_to_write_keeps_the_columns_that_the_policy_has(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE TABLE jobs (state text, born bigint, eta timestamptz, later timestamptz)")
    await admin.execute("INSERT INTO jobs VALUES ('pending', NULL, now() + interval '1 h', now() + interval '1 h')")
    await admin.execute("INSERT INTO jobs VALUES ('pending', NULL, now() + interval '1 h', NULL)")
    policy = jobs(columns={"created_at": {"name": "born", "unit": "ms"}, "status": "state"})
    (said,) = due_remarks(await queue.depth(policy, LIMIT))
    columns = "{status: state, created_at: {name: born, unit: ms}, scheduled_for: eta}"
    assert said.endswith(f"write columns: {columns} (or later, which is also in the future)")


@pytest.mark.parametrize(
    ("column", "rows"),
    [
        ("noon timestamptz", "('pending', now()), ('pending', now() - interval '1 day'), ('pending', NULL)"),
        ("noon timestamptz", "('completed', now() + interval '1 day'), ('failed', now() + interval '1 day')"),
        ("noon timestamptz", "('pending', now() + interval '1 day'), ('processing', now() + interval '1 day')"),
        ("expires_at timestamptz", "('pending', now() + interval '1 day')"),
        ("amount bigint", "('pending', extract(epoch FROM now()) + 86400)"),
        ("due bigint", "('pending', 7), ('pending', -1), ('pending', 9223372036854775807)"),
        ("noon date", "('pending', now() + interval '1 day')"),
        ("run_at timestamptz, noon timestamptz", "('pending', now(), now() + interval '1 day')"),
    ],
    ids=[
        "times that have passed",
        "times in the future of jobs that are done",
        "times in the future of jobs in progress too",
        "times at which a row expires",
        "numbers that only look like times",
        "numbers that are no times",
        "days",
        "a table with a due time of its own",
    ],
)
async def test_another_column_is_no_due_time(admin: Connection, queue: PostgresQueue, column: str, rows: str) -> None:
    await admin.execute(f"CREATE TABLE jobs (status text, {column})".encode())
    await admin.execute(f"INSERT INTO jobs VALUES {rows}".encode())
    assert due_remarks(await queue.depth(jobs(), LIMIT)) == []


async def test_a_job_that_failed_may_keep_the_time_of_its_next_attempt(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE TABLE jobs (status text, next_attempt timestamptz)")
    await admin.execute(
        "INSERT INTO jobs SELECT status, now() + interval '1 h' FROM (VALUES ('pending'), ('failed')) AS s(status)"
    )
    assert len(due_remarks(await queue.depth(jobs(), LIMIT))) == 1


@pytest.mark.parametrize("index", [True, False], ids=["a table with an index", "a table without an index"])
async def test_a_large_table_is_not_read_to_find_a_due_time(
    admin: Connection, queue: PostgresQueue, database_url: str, *, index: bool
) -> None:
    await admin.execute("CREATE TABLE jobs (status text, eta timestamptz, filler text) WITH (autovacuum_enabled = off)")
    fill = "INSERT INTO jobs SELECT 'completed', now(), repeat('x', 900) FROM generate_series(1, 16000)"
    await admin.execute(fill.encode())
    await admin.execute("INSERT INTO jobs VALUES ('pending', now() + interval '1 day')")
    if index:
        await admin.execute(fill.encode())
        await admin.execute("CREATE INDEX ON jobs (status)")
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        statements: list[str] = []

        async def ask(statement: psycopg.sql.Composed) -> list[tuple[Any, ...]]:
            cursor = await connection.execute(statement)
            statements.append(statement.as_string(connection))
            return await cursor.fetchall()

        own = await own_table(jobs(), ask)
        statements.clear()
        (found,) = await due_columns(own, ask)
        assert (found.name, found.jobs, found.is_sampled) == ("eta", 1, True)
        read = 0
        for statement in statements:
            cursor = await connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}".encode())
            ((plan,),) = await cursor.fetchall()
            top = plan[0]["Plan"]
            read += top["Shared Hit Blocks"] + top["Shared Read Blocks"]
        cursor = await connection.execute("SELECT pg_relation_size('jobs') / 8192")
        ((pages,),) = await cursor.fetchall()
        assert read < 500 < pages
    said = due_remarks(await queue.depth(jobs(), LIMIT))
    assert [text.startswith("at least 1 job of table jobs counts") for text in said] == [True]
    await admin.execute("UPDATE jobs SET eta = now() + interval '1 day'")
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:

        async def asked(statement: psycopg.sql.Composed) -> list[tuple[Any, ...]]:
            return await (await connection.execute(statement)).fetchall()

        assert await due_columns(await own_table(jobs(), asked), asked) == (), "jobs that are done have it too"


async def test_a_view_tells_a_due_time_too(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE TABLE work (status text, eta timestamptz)")
    await admin.execute("INSERT INTO work SELECT 'completed', now() FROM generate_series(1, 2000)")
    await admin.execute("INSERT INTO work VALUES ('pending', now() + interval '1 day')")
    await admin.execute("CREATE VIEW jobs AS SELECT * FROM work")
    (said,) = due_remarks(await queue.depth(jobs(), LIMIT))
    assert said.endswith("write columns: {scheduled_for: eta}")


async def test_columns_that_this_user_may_not_read_are_left_out(admin: Connection, database_url: str) -> None:
    await admin.execute("CREATE TABLE jobs (status text, hidden timestamptz, eta timestamptz)")
    await admin.execute("INSERT INTO jobs VALUES ('pending', now() + interval '1 h', now() + interval '1 h')")
    await admin.execute("CREATE ROLE half LOGIN PASSWORD 'half'")
    try:
        await admin.execute("GRANT SELECT (status, eta) ON jobs TO half")
        half = PostgresQueue(psycopg.conninfo.make_conninfo(database_url, user="half", password="half"), timeout_s=30.0)
        try:
            (said,) = due_remarks(await half.depth(jobs(), LIMIT))
        finally:
            await half.close()
        assert said.endswith("write columns: {scheduled_for: eta}")
    finally:
        await admin.execute("DROP OWNED BY half")
        await admin.execute("DROP ROLE half")


# --- what a table cannot tell is unknown, not 0 ---


async def test_a_table_with_only_a_status_tells_no_more_than_the_depth(admin: Connection, queue: PostgresQueue) -> None:
    await holds(admin, "pending", "processing")
    depth = await queue.depth(jobs(), LIMIT)
    assert (depth.pending, depth.processing, depth.oldest_age_s, depth.stale) == (1, 1, None, None)
    assert depth.waited == "how long the oldest ready job has waited is unknown"
    rest = await queue.rest(jobs(), LIMIT)
    assert rest == Rest(None, 0, LIMIT)
    assert rest.sentence == "scheduled for later: unknown (no column says when a job is due), 0 failed"


async def test_stale_jobs_are_unknown_until_the_policy_says_when_a_claim_is_stale(
    admin: Connection, queue: PostgresQueue
) -> None:
    await holds(admin, columns="status text, locked_at timestamptz")
    await claimed(admin, 4, hours_ago=1)
    assert [(await queue.depth(jobs(stale_after=after), LIMIT)).stale for after in (None, "2h", "30m")] == [None, 0, 4]


@pytest.mark.parametrize(
    ("statuses", "failed"),
    [
        ({}, None),
        ({"failed": ["error"]}, 2),
        ({"failed": []}, 0),
        ({"failed": ["failed"]}, 1),
        ({"finished": ["error"]}, 1),
    ],
    ids=[
        "a failure that the policy does not name",
        "a failure that is named",
        "a policy that knows no failures",
        "another failure that is named",
        "a failure that is named as finished",
    ],
)
async def test_failed_jobs_are_unknown_if_another_status_means_a_failure(
    admin: Connection, queue: PostgresQueue, statuses: dict[str, list[str]], failed: int | None
) -> None:
    await holds(admin, "pending", "error", "error", "failed", "done")
    rest = await queue.rest(jobs(statuses=statuses), LIMIT)
    assert rest.failed == failed
    fix = "failed: unknown (status error is not named; write statuses: {failed: [error]})"
    assert rest.sentence.endswith(fix if failed is None else f"{failed} failed")


# --- names that the table does not have ---


async def test_every_column_that_is_not_there_is_said_at_once(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute("CREATE TABLE jobs (state text, inserted timestamptz, taken timestamptz, size int)")
    columns = {"status": "stat", "created_at": "insert_at", "locked_at": "Taken", "priority": "nowhere"}
    with pytest.raises(Unavailable) as refused:
        await queue.depth(jobs(columns={**columns, "scheduled_for": "size"}), LIMIT)
    assert str(refused.value).removeprefix("PostgreSQL: ") == (
        "table jobs has no columns stat, nowhere, insert_at and Taken; set queue.columns.status (did you mean state?), "
        "queue.columns.priority, queue.columns.created_at (did you mean inserted?) and queue.columns.locked_at (did "
        "you mean taken?) each to one of: inserted, size, state, taken; also, column size of jobs is a number, not a "
        "timestamp; if it holds seconds since 1970, write columns: {scheduled_for: {name: size, unit: s}}; if "
        "milliseconds, unit: ms"
    )


async def test_of_a_table_with_many_columns_some_are_listed(admin: Connection, queue: PostgresQueue) -> None:
    await admin.execute(f"CREATE TABLE jobs ({', '.join(f'c{n:03} int' for n in range(300))})".encode())
    with pytest.raises(Unavailable, match=r"no column status; .* one of: c000, .*, c039, 260 more$"):
        await queue.depth(jobs(), LIMIT)


async def test_statuses_that_the_column_cannot_hold_are_said_at_once(admin: Connection, queue: PostgresQueue) -> None:
    await holds(admin, columns="status int")
    with pytest.raises(Unavailable, match=r"cannot be 'a' and 'b'; .*; also, jobs\.status, .* cannot be 'c'"):
        await queue.depth(jobs(statuses={"pending": ["a", "1", "b"], "processing": ["c"]}), LIMIT)
