"""How long jobs take: measured in a real table, on finished jobs and on running claims."""

from __future__ import annotations

import re
from typing import Any

import pytest
from psycopg import sql

from controller.adapters.postgres.durations import finished_within
from controller.adapters.postgres.own_table import own_table
from controller.doctor.finding import Level
from controller.policy import Queue as QueuePolicy
from tests.doctor.looking import Patient, aiming, policy, soon_after


async def test_how_long_jobs_take_is_known_from_those_that_are_done(patient: Patient) -> None:
    assert await patient.longest_job() is None
    await patient.do(
        "INSERT INTO generation_job (id, status, started_at, completed_at) "
        "SELECT n::text, 'completed', now() - n * interval '1 s', now() FROM generate_series(1, 100) n"
    )
    assert await patient.longest_job() == pytest.approx(99, abs=0.1)


@pytest.mark.parametrize(
    ("done_s", "begun_s", "stale_after", "known_s"),
    [
        *[(None, 90, None, None), (60, 90, None, 60), (60, 36_000, None, 60), (None, 36_000, None, None)],
        *[(None, 90, "15m", 90), (60, 90, "15m", 90), (60, 30, "15m", 60), (60, 36_000, "15m", 60)],
    ],
    ids=[
        *("no job is done", "in work for longer than the done"),
        *("in work for hours", "in work for hours, and no job is done"),
        *("stale_after, and no job is done", "stale_after, and longer than the done"),
        *("stale_after, and shorter than the done", "in work for longer than stale_after"),
    ],
)
async def test_a_job_in_work_counts_only_where_a_dead_worker_s_claim_would_end(
    patient: Patient, done_s: int | None, begun_s: int, stale_after: str | None, known_s: int | None
) -> None:
    patient.worker = policy(table="generation_job", **({"stale_after": stale_after} if stale_after else {}))
    if done_s is not None:
        await patient.do(
            "INSERT INTO generation_job (id, status, started_at, completed_at) "
            f"SELECT n::text, 'completed', now() - interval '{done_s} s', now() FROM generate_series(1, 100) n"
        )
    await patient.do(
        "INSERT INTO generation_job (id, status, locked_at) "
        f"VALUES ('work', 'processing', now() - interval '{begun_s} s')"
    )
    assert await patient.longest_job() == (None if known_s is None else soon_after(known_s))


async def test_a_claim_that_is_kept_alive_counts_from_when_its_job_was_started(patient: Patient) -> None:
    patient.worker = policy(table="generation_job", stale_after="15m")
    await patient.do(
        "INSERT INTO generation_job (id, status, started_at, locked_at) "
        "VALUES ('1', 'processing', now() - interval '5 min', now())"
    )
    assert await patient.longest_job() == soon_after(300)


async def test_times_that_are_infinite_say_nothing(patient: Patient) -> None:
    await patient.do(
        "INSERT INTO generation_job (id, status, started_at, completed_at) VALUES "
        "('1', 'completed', '-infinity', now()), ('2', 'completed', now(), 'infinity'), "
        "('3', 'completed', '-infinity', 'infinity')",
        "INSERT INTO generation_job (id, status, locked_at) VALUES ('4', 'processing', '-infinity')",
    )
    assert await patient.longest_job() is None
    await patient.do(
        "UPDATE generation_job SET started_at = now() - interval '9 s', completed_at = now() WHERE id = '1'"
    )
    assert await patient.longest_job() == pytest.approx(9)


async def test_a_partitioned_table_is_sampled_by_the_pages_of_its_partitions(patient: Patient) -> None:
    await patient.do(
        "CREATE TABLE parts (id int, status text, started_at timestamptz, completed_at timestamptz) "
        "PARTITION BY RANGE (id)",
        "CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (150000)",
        "CREATE TABLE parts_2 PARTITION OF parts DEFAULT",
        "INSERT INTO parts SELECT n, 'completed', now() - interval '7 s', now() FROM generate_series(1, 300000) n",
        "ANALYZE parts",
    )
    statements: list[str] = []

    async def ask(statement: sql.Composed) -> list[tuple[Any, ...]]:
        statements.append(statement.as_string())
        return await (await patient.owner.execute(statement)).fetchall()

    table = await own_table(QueuePolicy(table="parts"), ask)
    assert await finished_within(table, ask) == pytest.approx(7)
    share = re.search(r"TABLESAMPLE SYSTEM \((.+?)\)", statements[-1])
    assert share is not None
    assert float(share[1]) < 20, "200 of some 1900 pages"
    patient.worker = policy(table="parts")
    found = await patient.findings()
    assert (found["queue"].level, found["plan"].level) == (Level.OK, Level.WARNING)
    assert "reads the whole table" in found["plan"].says


# --- for a wait that is aimed at ---


async def test_a_wait_that_is_aimed_at_needs_to_know_how_long_a_job_takes(patient: Patient) -> None:
    assert "service time" not in await patient.findings(), "only target_wait needs it"
    patient.worker = aiming()
    found = (await patient.findings())["service time"]
    assert (found.level, "no job has finished yet" in found.says) == (Level.WARNING, True)
    await patient.do(
        "INSERT INTO generation_job (id, status, started_at, completed_at) "
        "SELECT n::text, 'completed', now() - n * interval '1 s', now() FROM generate_series(1, 9) n"
    )
    found = (await patient.findings())["service time"]
    assert (found.level, found.says) == (Level.OK, "a job takes 5 s on average (median 5 s), from the newest 9 jobs")


async def test_a_table_that_does_not_say_it_is_warned_of_unless_the_policy_does(patient: Patient) -> None:
    await patient.do("CREATE TABLE plain (id int, status text, started_at timestamptz)")
    patient.worker = aiming(queue={"table": "plain"})
    found = (await patient.findings())["service time"]
    assert found.level is Level.WARNING
    assert found.fix.startswith("add columns: {completed_at: NAME} to the queue, or set service_time")
    await patient.do("ALTER TABLE plain RENAME started_at TO begun; ALTER TABLE plain ADD ended timestamptz")
    found = (await patient.findings())["service time"]
    assert found.fix.startswith("add columns: {started_at: begun, completed_at: ended} to the queue, or")
    await patient.do("ALTER TABLE plain DROP begun, ADD started_at bigint")
    found = (await patient.findings())["service time"]
    numbers = "{started_at: {name: started_at, unit: s}, completed_at: ended} (unit: ms if they hold milliseconds)"
    assert found.fix.startswith(f"add columns: {numbers} to the queue, or")
    patient.worker = aiming(queue={"table": "plain"}, service_time="20s")
    found = (await patient.findings())["service time"]
    assert (found.level, found.says) == (Level.OK, "a job takes 20 s (service_time in the policy)")
