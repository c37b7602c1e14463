"""A promise (`slo`) needs the times of finished jobs: doctor says whether the table has them, and what to write."""

from __future__ import annotations

from typing import Any

from controller.doctor.finding import Level
from controller.policy import WorkerPolicy
from tests.doctor.looking import Patient


def promising(**queue: Any) -> WorkerPolicy:
    slo = {"wait": "60s", "share": "99%"}
    return WorkerPolicy.model_validate({"service": "svc", "queue": queue, "max_replicas": 5, "slo": slo})


async def test_a_table_with_the_times_can_keep_a_promise(patient: Patient) -> None:
    patient.worker = promising(table="generation_job")
    finding = (await patient.findings())["slo"]
    assert (finding.level, finding.says) == (Level.OK, "how long jobs waited can be measured")


async def test_a_table_without_created_at_cannot_and_a_similar_column_is_proposed(patient: Patient) -> None:
    await patient.do(
        "CREATE TABLE task (id int, status text, enqueued timestamptz, started_at timestamptz, "
        "completed_at timestamptz)"
    )
    patient.worker = promising(table="task")
    finding = (await patient.findings())["slo"]
    assert finding.level is Level.ERROR
    assert finding.sentence == (
        "slo cannot be kept: how long jobs waited cannot be measured, because task has no time column created_at; add "
        "columns: {created_at: enqueued} to the queue, or write target_wait instead of slo"
    )
    patient.worker = promising(table="task", columns={"created_at": "enqueued"})
    assert (await patient.findings())["slo"].level is Level.OK


async def test_a_table_without_any_of_the_times_names_all_of_them(patient: Patient) -> None:
    await patient.do("CREATE TABLE task (id int, status text)")
    patient.worker = promising(table="task")
    finding = (await patient.findings())["slo"]
    assert "add columns: {created_at: NAME, started_at: NAME, completed_at: NAME} to the queue" in finding.fix
