"""Hundreds of queues: their look-ups and surveys in unison, their counts in batches, and nothing that one spoils."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Sequence
from typing import Any

import psycopg
import pytest

from controller.adapters.postgres import lookup, readings, remarks
from controller.adapters.postgres.connection import Reader
from controller.adapters.postgres.lookup import key_of
from controller.adapters.postgres.queue import PostgresQueue
from controller.core.model import QueueDepth
from controller.core.ports import Unavailable
from controller.policy import Queue
from tests.support.together import read_together
from tests.support.unhurried import PATIENT_S

Connection = psycopg.AsyncConnection[Any]
MANY = 12
COLUMNS = "(id bigserial PRIMARY KEY, status text, created_at timestamptz DEFAULT now())"


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with hundreds of queues, in the time that a few take."""
    monkeypatch.setattr(readings, "_MOST_TOGETHER", 5)


@pytest.fixture
async def queues(admin: Connection) -> list[Queue]:
    """Table number n has n pending jobs, and one of an unknown status."""
    for number in range(MANY):
        await admin.execute(f"CREATE TABLE job_{number} {COLUMNS}".encode())
        await _put(admin, number, "pending", number)
    return [Queue(table=f"job_{number}") for number in range(MANY)]


async def _put(admin: Connection, number: int, status: str, jobs: int = 1) -> None:
    series = f"generate_series(1, {jobs})"
    await admin.execute(f"INSERT INTO job_{number} (status) SELECT '{status}' FROM {series}".encode())


@pytest.fixture
async def queue(database_url: str) -> AsyncIterator[PostgresQueue]:
    postgres = PostgresQueue(database_url, timeout_s=PATIENT_S)
    yield postgres
    await postgres.close()


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many statements each round trip of a reading had."""
    counted: list[int] = []
    of_reader = Reader.read

    async def noted(self: Reader, statements: Any, *rest: Any, **more: Any) -> Any:
        every = list(statements)
        counted.append(len(every))
        return await of_reader(self, every, *rest, **more)

    monkeypatch.setattr(Reader, "read", noted)
    return counted


def pending(answers: Sequence[QueueDepth | Unavailable]) -> list[int | None]:
    return [answer.pending if isinstance(answer, QueueDepth) else None for answer in answers]


async def test_each_queue_has_its_own_count_however_many_batches_there_are(
    queue: PostgresQueue, queues: list[Queue]
) -> None:
    for _ in range(2):
        assert pending(await read_together(queue, *queues)) == list(range(MANY))


async def test_the_first_reading_of_five_tables_takes_the_round_trips_of_one(
    queue: PostgresQueue, queues: list[Queue], read: list[int], database_url: str
) -> None:
    await read_together(queue, *queues[1:6])
    five = len(read)
    read.clear()
    other = PostgresQueue(database_url, timeout_s=PATIENT_S)
    await read_together(other, queues[1])
    await other.close()
    assert five == len(read)


async def test_a_reading_takes_one_round_trip_for_each_batch(
    queue: PostgresQueue, queues: list[Queue], read: list[int]
) -> None:
    await read_together(queue, *queues[1:])
    read.clear()
    await read_together(queue, *queues[1:])
    assert len(read) == 3


async def test_queues_of_one_library_are_looked_up_by_one_statement(
    admin: Connection, queue: PostgresQueue, read: list[int]
) -> None:
    await admin.execute(
        "CREATE TABLE que_jobs (id bigserial, queue text, run_at timestamptz, error_count int DEFAULT 0,"
        "finished_at timestamptz, expired_at timestamptz, job_schema_version int)"
    )
    several = [Queue(preset="que", queues=(f"queue-{number}",)) for number in range(5)]
    await read_together(queue, *several)
    assert read[0] == 1


@pytest.mark.parametrize("place", [0, 4, 11], ids=["in the first batch", "at its end", "in the last batch"])
async def test_a_table_that_is_missing_spoils_no_other(queue: PostgresQueue, queues: list[Queue], place: int) -> None:
    queues[place] = Queue(table="nowhere")
    expected: list[int | None] = list(range(MANY))
    expected[place] = None
    for _ in range(2):
        answers = await read_together(queue, *queues)
        assert pending(answers) == expected
        assert "can see no table" in str(answers[place])


async def test_after_a_failure_only_its_own_batch_is_read_alone(
    admin: Connection, queue: PostgresQueue, queues: list[Queue], read: list[int]
) -> None:
    await read_together(queue, *queues[1:])
    await admin.execute("ALTER TABLE job_3 RENAME COLUMN status TO state")
    read.clear()
    answers = await read_together(queue, *queues[1:])
    assert pending(answers) == [1, 2, None, *range(4, MANY)]
    assert len(read) == 3 + 5
    read.clear()
    await read_together(queue, *queues[1:])
    assert len(read) == 2 + 1  # it is looked up alone, and that says what is wrong


async def test_a_slow_batch_is_read_in_smaller_ones_and_then_alone(
    queue: PostgresQueue, queues: list[Queue], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readings, "_FEW_TOGETHER", 2)
    monkeypatch.setattr(readings, "_SLOW_SHARE", 0.0)  # every batch is
    some = queues[1:6]
    keys = {key_of(one) for one in some}
    await read_together(queue, *some)
    assert (queue._readings._suspect, queue._readings._slow) == (keys, set())
    await read_together(queue, *some)
    assert (queue._readings._suspect, queue._readings._slow) == (set(), keys)
    monkeypatch.undo()
    for _ in range(2):
        assert pending(await read_together(queue, *some)) == [1, 2, 3, 4, 5]
    assert not queue._readings._slow


async def test_a_server_that_refuses_connections_is_asked_once_for_all_batches(
    queue: PostgresQueue, queues: list[Queue], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    async def refused(dsn: str, _: str = "") -> Reader:
        asked.append(dsn)
        raise psycopg.OperationalError("connection refused")

    monkeypatch.setattr(Reader, "connect", refused)
    answers = await read_together(queue, *queues)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert len(asked) < MANY


async def test_hundreds_of_tables_that_are_due_again_are_looked_up_a_few_at_a_time(
    queue: PostgresQueue, queues: list[Queue], read: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookup, "_MOST_AGAIN", 2)
    await read_together(queue, *queues[1:6])
    every = queue._lookup._located
    for key, (place, _) in every.items():
        every[key] = place, 0.0
    before = {key: place for key, (place, _) in every.items()}
    await read_together(queue, *queues[1:6])
    assert sum(every[key][0] is not before[key] for key in every) == 2


async def test_the_status_of_an_empty_table_is_looked_at_with_each_reading_while_they_are_few(
    admin: Connection, queue: PostgresQueue, queues: list[Queue]
) -> None:
    await read_together(queue, queues[0], queues[1])
    await _put(admin, 0, "queued")
    doubtful, sure = await read_together(queue, queues[0], queues[1])
    assert isinstance(doubtful, QueueDepth)
    assert isinstance(sure, QueueDepth)
    assert "status queued" in doubtful.unnamed
    assert not sure.unnamed


async def test_of_many_empty_tables_the_status_is_looked_at_less_often(
    admin: Connection, queue: PostgresQueue, queues: list[Queue], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remarks, "_FEW", 0)
    monkeypatch.setattr(remarks, "_EACH_S", 600.0)
    await _put(admin, 0, "queued")
    first, _ = await read_together(queue, queues[0], queues[1])
    await admin.execute("TRUNCATE job_0")
    second, _ = await read_together(queue, queues[0], queues[1])
    assert isinstance(first, QueueDepth)
    assert isinstance(second, QueueDepth)
    assert first.unnamed == second.unnamed != ""


async def test_of_many_tables_the_surveys_are_spread_but_for_the_statuses_of_empty_ones(
    admin: Connection, queue: PostgresQueue, queues: list[Queue], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remarks, "_MOST_AT_ONCE", 1)
    monkeypatch.setattr(remarks, "_APART_S", 600.0)
    for number in (0, 1, 2):
        await _put(admin, number, "queued")
    said = [
        (one.unnamed, [remark.about for remark in one.remarks])
        for one in await read_together(queue, queues[1], queues[0], queues[2])
        if isinstance(one, QueueDepth)
    ]
    assert [about for _, about in said] == [["statuses"], ["statuses"], []]
    assert "status queued" in said[1][0]
    monkeypatch.setattr(remarks, "_MOST_AT_ONCE", 2)
    (later,) = await read_together(queue, queues[2])
    assert isinstance(later, QueueDepth)
    assert [remark.about for remark in later.remarks] == ["statuses"]


async def test_surveys_that_are_made_again_leave_a_place_for_the_first_one_of_a_queue_that_is_read_last(
    admin: Connection, queue: PostgresQueue, queues: list[Queue], monkeypatch: pytest.MonkeyPatch
) -> None:
    await read_together(queue, queues[1], queues[2])
    monkeypatch.setattr(remarks, "_SURVEY_AGAIN_S", 0.0)
    monkeypatch.setattr(remarks, "_MOST_AT_ONCE", 2)
    monkeypatch.setattr(remarks, "_MOST_AGAIN", 1)
    monkeypatch.setattr(remarks, "_APART_S", 600.0)
    monkeypatch.setattr(queue._remarks, "_free_at", -math.inf)
    for number in (1, 2, 3):
        await _put(admin, number, "queued")
    said = [
        [remark.about for remark in one.remarks]
        for one in await read_together(queue, queues[1], queues[2], queues[3])
        if isinstance(one, QueueDepth)
    ]
    assert said == [["statuses"], [], ["statuses"]]


async def test_a_survey_that_fails_for_one_table_is_made_of_the_others(
    admin: Connection, queue: PostgresQueue, queues: list[Queue], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its look-up fails only after the depth was read."""
    await _put(admin, 0, "queued")
    of_queue = lookup.Lookup.find
    asked: set[str] = set()

    async def find(self: lookup.Lookup, lane: Any, one: Queue, timeout_s: float) -> Any:
        if one.table == "job_2" and key_of(one) in asked:
            raise psycopg.errors.UndefinedTable("gone")
        asked.add(key_of(one))
        return await of_queue(self, lane, one, timeout_s)

    monkeypatch.setattr(lookup.Lookup, "find", find)
    doubtful, _, gone = await read_together(queue, *queues[:3])
    assert isinstance(doubtful, QueueDepth)
    assert isinstance(gone, QueueDepth)
    assert "status queued" in doubtful.unnamed
    assert gone.pending == 2
