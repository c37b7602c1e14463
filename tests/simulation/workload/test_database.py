"""The jobs that a real table remembers, read as a workload: what counts, what is left out, and what is refused."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest

from controller.core.ports import Unavailable
from controller.core.problems import ConfigurationError
from controller.demo.jobs import create_queue
from controller.policy import Queue
from controller.simulation.workload import database as postgres_jobs
from controller.simulation.workload.database import read_jobs
from controller.simulation.workload.jobs import Workload

HOUR_S = 3600.0
QUEUE = Queue(table="generation_job")
NUMBERED = """
ALTER TABLE generation_job DROP CONSTRAINT generation_job_status_check, ALTER status DROP DEFAULT,
  ALTER status TYPE int USING 1
"""


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await create_queue(connection)
        yield connection


@pytest.fixture
def stranger_url(database_url: str) -> Iterator[str]:
    """Of a role that may log in with a password, and nothing else."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        if admin.execute("SELECT FROM pg_roles WHERE rolname = 'stranger'").fetchone() is None:
            admin.execute("CREATE ROLE stranger LOGIN PASSWORD 's3cret-word'")
        address = urlsplit(database_url)
        yield address._replace(netloc=f"stranger:s3cret-word@{address.netloc.rpartition('@')[2]}").geturl()
        admin.execute("DROP OWNED BY stranger")


async def read(url: str, queue: Queue = QUEUE, *, since_s: float = HOUR_S, limit: int = 1000) -> Workload:
    return await read_jobs(url, queue, since_s=since_s, limit=limit, progress=lambda *_: None)


async def refusal(url: str, queue: Queue = QUEUE, *, since_s: float = HOUR_S) -> str:
    with pytest.raises(ConfigurationError) as refused:
        await read(url, queue, since_s=since_s)
    (problem,) = refused.value.problems
    return str(problem)


def ago(minutes: float | None) -> str:
    return "NULL" if minutes is None else f"now() - interval '{minutes} min'"


async def insert(
    owner: psycopg.AsyncConnection[Any],
    created: str,
    began: str = "NULL",
    ended: str = "NULL",
    *,
    due: str = "'2001-01-01'",
    status: str = "completed",
) -> None:
    statement = (
        "INSERT INTO generation_job (created_at, scheduled_for, started_at, completed_at, status) "
        f"VALUES ({created}, {due}, {began}, {ended}, '{status}')"
    )
    await owner.execute(statement.encode())


def minutes(workload: Workload) -> list[tuple[float, float]]:
    """Arrivals and service times, rounded to hundredths of a minute: now() is another one in each transaction."""
    return [(round(arrival / 60, 2), round(service / 60, 2)) for arrival, service, *_ in workload.jobs()]


async def test_a_job_arrives_when_it_is_created_and_takes_from_its_start_to_its_end(
    database_url: str, owner: psycopg.AsyncConnection[Any]
) -> None:
    await insert(owner, ago(20), ago(15), ago(12))
    await insert(owner, ago(50), ago(40), ago(38), status="failed")
    await insert(owner, ago(61), ago(10), ago(5))
    workload = await read(database_url)
    assert minutes(workload) == [(10, 2), (40, 3)], "in order; a failed one was work too; before the window is before"
    assert minutes(workload) == minutes(workload), "as often as one likes"
    assert (workload.name, workload.span_s, workload.notes) == ("generation_job", HOUR_S, ())
    assert workload.began == pytest.approx(time.time() - HOUR_S, abs=20)


@pytest.mark.parametrize(
    ("created", "due", "arrival"),
    [(30, 20, 40), (20, 30, 40), (90, 20, 40), (90, 70, None), (20, -5, None), (30, None, 30)],
    ids=[
        "due after it was created",
        "due before it was created",
        "created before the window, due in it",
        "created and due before the window",
        "not due yet",
        "without a due time",
    ],
)
async def test_a_job_is_not_there_before_it_is_due(
    database_url: str, owner: psycopg.AsyncConnection[Any], created: float, due: float | None, arrival: float | None
) -> None:
    await owner.execute("ALTER TABLE generation_job ALTER scheduled_for DROP NOT NULL")
    await insert(owner, ago(59), ago(59), ago(58), due=ago(59))
    await insert(owner, ago(created), ago(10), ago(5), due=ago(due))
    assert minutes(await read(database_url)) == [(1, 1), *([] if arrival is None else [(arrival, 5)])]


async def test_jobs_that_are_not_finished_take_the_median_of_those_that_are(
    database_url: str, owner: psycopg.AsyncConnection[Any]
) -> None:
    for number, took in enumerate((1, 2, 9)):
        await insert(owner, ago(50 - number), ago(40), ago(40 - took))
    await insert(owner, ago(30), status="pending")
    await insert(owner, ago(29), ago(28), status="processing")
    await insert(owner, ago(27), ago(20), ago(24), status="processing")  # a retry, with the first attempt's end
    await insert(owner, ago(26), ago(25), ago(24), status="pending")  # a retry that waits
    workload = await read(database_url)
    assert minutes(workload)[3:] == [(30, 2), (31, 2), (33, 2), (34, 2)]
    assert workload.notes == ("4 jobs are unfinished; each has the others' median time, 2 min",)


async def test_times_that_cannot_be_are_left_out_and_counted(
    database_url: str, owner: psycopg.AsyncConnection[Any]
) -> None:
    await owner.execute("ALTER TABLE generation_job ALTER created_at DROP NOT NULL")
    await insert(owner, ago(30), ago(20), ago(19))
    await insert(owner, ago(29), ago(19), ago(20))
    await insert(owner, ago(29), "'-infinity'", ago(20))
    await insert(owner, ago(29), ago(20), "'infinity'")
    await insert(owner, ago(29), "NULL", ago(20))
    await insert(owner, "NULL", ago(20), ago(19))
    await insert(owner, "'infinity'", ago(20), ago(19))
    await insert(owner, "'-infinity'", ago(20), ago(19), due=ago(29))
    await insert(owner, ago(29), due="'infinity'", status="pending")
    workload = await read(database_url)
    assert minutes(workload) == [(30, 1)]
    assert workload.notes == (
        "4 jobs with impossible times (NULL, infinite, ended before begun) were left out",
        "4 jobs of the table do not say when they came (NULL or infinite): left out",
    )


async def test_beyond_the_limit_the_window_begins_with_the_newest(
    database_url: str, owner: psycopg.AsyncConnection[Any]
) -> None:
    for created in (50, 40, 30, 20):
        await insert(owner, ago(created), ago(10), ago(9))
    whole = await read(database_url, limit=4)
    assert (minutes(whole), whole.span_s, whole.notes) == ([(10, 1), (20, 1), (30, 1), (40, 1)], HOUR_S, ())
    part = await read(database_url, limit=3)
    assert minutes(part) == [(0, 1), (10, 1), (20, 1)]
    assert part.span_s == pytest.approx(40 * 60, abs=20)
    assert part.began == pytest.approx(time.time() - 40 * 60, abs=20)
    assert part.notes == ("only the newest 3 jobs were read, and the window begins with them",)


async def test_many_jobs_come_by_pages_and_say_how_far_they_are(
    database_url: str, owner: psycopg.AsyncConnection[Any]
) -> None:
    await owner.execute(
        "INSERT INTO generation_job (id, created_at, scheduled_for, started_at, completed_at, status) "
        "SELECT n::text, t, t, t, t + interval '1 s', 'completed' "
        "FROM (SELECT n, now() - n * interval '0.1 s' AS t FROM generate_series(1, 25000) n) AS jobs"
    )
    await owner.execute("ANALYZE generation_job")
    told: list[tuple[int, int | None]] = []
    workload = await read_jobs(
        database_url, QUEUE, since_s=HOUR_S, progress=lambda rows, total: told.append((rows, total))
    )
    arrivals = [arrival for arrival, *_ in workload.jobs()]
    assert len(arrivals) == 25_000
    assert arrivals == sorted(arrivals)
    assert [rows for rows, _ in told] == [10_000, 20_000, 25_000]
    assert all(total is None or total >= rows for rows, total in told)


@pytest.mark.parametrize("ended", ["completed_at", "finished_at"])
async def test_a_table_with_names_of_its_own_and_times_without_a_zone(
    database_url: str, owner: psycopg.AsyncConnection[Any], ended: str
) -> None:
    await owner.execute("CREATE SCHEMA jobs")
    await owner.execute(
        f'CREATE TABLE jobs."my job" (state int, "put in" timestamp, started_at timestamp, {ended} timestamp)'
    )
    await owner.execute("SET TIME ZONE 'UTC'")
    await owner.execute(
        "INSERT INTO jobs.\"my job\" VALUES (3, now() - interval '30 min', now() - interval '9 min', now())"
    )
    queue = Queue.model_validate(
        {
            "table": 'jobs."my job"',
            "columns": {"status": "state", "created_at": "put in"},
            "statuses": {"pending": ["1"], "processing": ["2"], "failed": ["4"]},
        }
    )
    assert minutes(await read(database_url, queue)) == [(30, 9)]


async def test_nothing_is_written_and_no_setting_stays(
    database_url: str, owner: psycopg.AsyncConnection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await insert(owner, ago(30), ago(20), ago(19))
    seen: list[Any] = []
    names = postgres_jobs._names

    async def looked(asked: Any, ask: Any) -> Any:
        for name in ("transaction_read_only", "statement_timeout", "row_security"):
            seen.extend(await ask(psycopg.sql.SQL("SHOW {}").format(psycopg.sql.Identifier(name))))
        return await names(asked, ask)

    monkeypatch.setattr(postgres_jobs, "_names", looked)
    await read(database_url)
    assert seen == [("on",), ("1min",), ("off",)]


@pytest.mark.parametrize("unfinished", [0, 2])
async def test_a_window_without_a_finished_job_is_refused(
    database_url: str, owner: psycopg.AsyncConnection[Any], unfinished: int
) -> None:
    await insert(owner, ago(90), ago(80), ago(70))
    for _ in range(unfinished):
        await insert(owner, ago(30), status="pending")
    said = await refusal(database_url)
    assert said == (
        "--since: no job of generation_job that became ready in the last 1 h is finished "
        f"({unfinished} jobs unfinished); give a longer one"
    )


@pytest.mark.parametrize(
    "queue",
    [Queue(preset="procrastinate"), Queue(sql="SELECT 1 AS pending, 0 AS processing")],
    ids=["a preset", "a query"],
)
async def test_what_is_no_table_is_refused_with_the_way_to_a_trace(queue: Queue) -> None:
    said = await refusal("postgresql://nobody@localhost:1/none", queue)
    assert said.startswith(f"queue.{queue.kind}: does not say when its jobs began and ended; export them")
    assert "\\copy (SELECT" in said


@pytest.mark.parametrize(
    ("change", "queue", "said"),
    [
        ("DROP TABLE generation_job", QUEUE, 'queue.table: this user can see no table "generation_job"'),
        ("SELECT 1", Queue(table="nowhere.job"), 'this user can see no table "nowhere"."job"'),
        (
            "ALTER TABLE generation_job DROP created_at",
            QUEUE,
            "generation_job has no time created_at; if other columns hold these times, write columns: {created",
        ),
        (
            "ALTER TABLE generation_job DROP started_at, DROP completed_at",
            QUEUE,
            "generation_job has no time started_at, no time completed_at (or finished_at); if other",
        ),
        (
            "ALTER TABLE generation_job ALTER started_at TYPE text",
            QUEUE,
            "generation_job has no time started_at; if other columns hold these times, write columns: {started",
        ),
        (
            "SELECT 1",
            Queue.model_validate({"table": "generation_job", "columns": {"created_at": "born"}}),
            "table generation_job has no column born; set queue.columns.created_at",
        ),
        (
            NUMBERED,
            QUEUE,
            "set queue.statuses to possible values",
        ),
    ],
    ids=[
        "no such table",
        "no such schema",
        "no time of arrival",
        "no times of work",
        "a time that is a text",
        "no such column",
        "statuses of other values",
    ],
)
async def test_a_table_that_cannot_tell_is_refused(
    database_url: str, owner: psycopg.AsyncConnection[Any], change: str, queue: Queue, said: str
) -> None:
    await owner.execute(change.encode())
    assert said in await refusal(database_url, queue)


@pytest.mark.parametrize(
    ("grant", "said"),
    [
        ("SELECT 1", "permission denied for table generation_job; GRANT SELECT ON generation_job"),
        (
            "GRANT SELECT ON generation_job TO stranger; ALTER TABLE generation_job ENABLE ROW LEVEL SECURITY",
            "row security hides rows of generation_job from this user",
        ),
    ],
)
async def test_who_may_not_read_the_table_or_all_of_it_is_told_what_to_grant(
    stranger_url: str, owner: psycopg.AsyncConnection[Any], grant: str, said: str
) -> None:
    await owner.execute(grant.encode())
    assert said in await refusal(stranger_url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://stranger:s3cret-word@127.0.0.1:1/jobs",
        "postgresql://stranger:s3cret-word@nowhere.invalid/jobs",
        "postgresql://stranger:s3cret-word@[127.0.0.1/jobs",
        "postgresql://stranger:s3cret-word@127.0.0.1:s3cret-word/jobs",
        "postgresql://stranger:s3cret-word@127.0.0.1:1/jobs?sslmode=s3cret-word",
        "postgresql://stranger:s3cret-word@127.0.0.1:1/jobs\ud800",
    ],
    ids=[
        "no server at the port",
        "an unknown host",
        "a broken address",
        "a port that is no number",
        "a wrong option",
        "half a character",
    ],
)
async def test_a_database_that_cannot_be_asked_is_no_mistake_of_the_policy_and_no_password_is_shown(url: str) -> None:
    with pytest.raises(Unavailable, match=r"^PostgreSQL: ") as unavailable:
        await read(url)
    assert "s3cret-word" not in str(unavailable.value)
    assert unavailable.value.__suppress_context__, "what libpq said is not shown with it"


@pytest.mark.parametrize(
    ("old", "new"),
    [("stranger:", "no_such_user:"), ("/test_", "/none_")],
    ids=["an unknown user", "an unknown database"],
)
async def test_a_database_that_refuses_the_login_is_none_either(stranger_url: str, old: str, new: str) -> None:
    with pytest.raises(Unavailable, match=r"^PostgreSQL: does not") as unavailable:
        await read(stranger_url.replace(old, new))
    assert "s3cret-word" not in str(unavailable.value)


@pytest.mark.parametrize("slack_s", [5, -0.1], ids=["the server ends it", "nothing comes from the server"])
async def test_who_waits_too_long_is_told_to_ask_for_less(
    database_url: str, owner: psycopg.AsyncConnection[Any], monkeypatch: pytest.MonkeyPatch, slack_s: float
) -> None:
    monkeypatch.setattr(postgres_jobs, "_WITHIN_S", 0.4)
    monkeypatch.setattr(postgres_jobs, "_SLACK_S", slack_s)
    await owner.execute("ALTER TABLE generation_job RENAME TO rows")
    await owner.execute("INSERT INTO rows (id) SELECT n::text FROM generate_series(1, 100) n")
    await owner.execute("CREATE VIEW generation_job AS SELECT * FROM rows WHERE pg_sleep(0.1) IS NOT NULL")
    with pytest.raises(Unavailable, match=r"within 400 ms; ask for less by --since"):
        await read(database_url)


async def test_what_only_a_note_needs_may_take_too_long(
    database_url: str, owner: psycopg.AsyncConnection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    await insert(owner, ago(30), ago(20), ago(19))
    monkeypatch.setattr(postgres_jobs, "_UNDATED_WITHIN_S", 0.05)
    monkeypatch.setattr(postgres_jobs, "_UNDATED_OR_UNDUE", "pg_sleep(9) IS NULL")
    assert minutes(await read(database_url)) == [(30, 1)]


async def test_a_table_of_other_names_numbers_and_other_jobs_is_read_by_the_policy_s_columns(
    database_url: str, owner: psycopg.AsyncConnection[Any]
) -> None:
    await owner.execute("CREATE TABLE work (kind text, state text, born bigint, begun bigint, done bigint)")
    await owner.execute(
        "INSERT INTO work SELECT kind, 'ok', at, at + 1000, at + 1000 + 420000 FROM (SELECT kind, "
        "(extract(epoch FROM now() - interval '30 min') * 1000)::bigint AS at "
        "FROM (VALUES ('mail'), ('film')) AS k(kind)) t"
    )
    times = {"created_at": "born", "started_at": "begun", "completed_at": "done"}
    columns = {"status": "state", **{key: {"name": name, "unit": "ms"} for key, name in times.items()}}
    queue = Queue.model_validate({"table": "work", "columns": columns, "where": "kind = 'mail'"})
    assert minutes(await read(database_url, queue)) == [(30, 7)]
