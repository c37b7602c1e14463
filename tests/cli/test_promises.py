"""`check --from-database` refuses a promise that the queue's table cannot show."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

from tests.cli.test_simulate import Run, run

__all__ = ["run"]

POLICY = "workers: {w: {service: svc, max_replicas: 5, slo: {wait: 60s, share: 99%}, queue: {table: task}}}\n"


@pytest.fixture
def policy(tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DATABASE_URL", database_url)
    path = tmp_path / "policy.yaml"
    path.write_text(POLICY)
    return path


def create(database_url: str, *times: str) -> None:
    columns = "".join(f", {name} timestamptz" for name in times)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE task (id int, status text{columns})".encode())


def test_without_created_at_it_is_refused_with_the_fix(run: Run, policy: Path, database_url: str) -> None:
    create(database_url, "started_at", "completed_at")
    ran = run("check", policy, "--from-database")
    assert ran.code == 2
    assert " ".join(ran.err.split()) == (
        "autoscaler: one thing is wrong; nothing was changed: policy.yaml: workers.w.slo: cannot be kept: "
        "how long jobs waited cannot be measured, because task has no time column created_at; "
        "name them in queue.columns, or write target_wait instead of slo"
    )
    said = json.loads(run("check", policy, "--from-database", "--json").out)
    assert (said["valid"], [one["place"] for one in said["problems"]]) == (False, ["policy.yaml: workers.w.slo"])


def test_with_the_times_it_is_accepted(run: Run, policy: Path, database_url: str) -> None:
    create(database_url, "created_at", "started_at", "completed_at")
    assert run("check", policy, "--from-database").code == 0
