"""Runs doctor's checks on one worker's queue and returns the findings by subject."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from controller.adapters.postgres.connection import Reader
from controller.adapters.postgres.queue import PostgresQueue
from controller.doctor.finding import Finding, Level
from controller.doctor.postgres_queue import QueueChecks
from controller.policy import WorkerPolicy
from tests.support.unhurried import PATIENT_S

TIMEOUT_S = float(PATIENT_S)
FILL = """
INSERT INTO {table} (id, status, scheduled_for, created_at, payload)
SELECT 'done-' || n, 'completed', now() - n * interval '1 s', now(), jsonb_build_object('text', repeat('x', 400))
FROM generate_series(1, 18000) n
"""
"""Some 9 MB: above the size up to which doctor accepts a whole-table read."""


AIM = {"service": "svc", "queue": {"table": "generation_job"}, "max_replicas": 5, "target_wait": "60s"}


def aiming(**changes: Any) -> WorkerPolicy:
    """A worker with a target_wait of one minute instead of tiers."""
    return WorkerPolicy.model_validate({**AIM, **changes})


def policy(**queue: Any) -> WorkerPolicy:
    return WorkerPolicy.model_validate(
        {"service": "svc", "queue": queue or {"table": "generation_job"}, "max_replicas": 5, "tiers": [{"replicas": 5}]}
    )


async def looks(url: str, *workers: WorkerPolicy) -> list[list[Finding]]:
    """The findings of each worker, checked one after the other."""
    queue = PostgresQueue(url, timeout_s=TIMEOUT_S)
    reader = await Reader.connect(url)
    checks = QueueChecks(reader, queue, TIMEOUT_S)
    try:
        return [await checks.look(worker, _never_seen) for worker in workers]
    finally:
        await reader.close()
        await queue.close()


@dataclass
class Patient:
    """url: the address that doctor connects to. owner: a connection of the tables' owner, which may change them."""

    url: str
    owner: psycopg.AsyncConnection[Any]
    worker: WorkerPolicy

    async def do(self, *statements: str) -> None:
        for statement in statements:
            await self.owner.execute(statement.encode())
            await self.owner.execute("SELECT pg_stat_force_next_flush()")  # else the statistics come seconds later

    async def findings(self) -> dict[str, Finding]:
        """By what they are about; the worst where there are several."""
        (found,) = await looks(self.url, self.worker)
        order = list(Level)
        return {finding.about: finding for finding in sorted(found, key=lambda one: order.index(one.level))}

    async def longest_job(self) -> float | None:
        queue = PostgresQueue(self.url, timeout_s=TIMEOUT_S)
        reader = await Reader.connect(self.url)
        try:
            return await QueueChecks(reader, queue, TIMEOUT_S).longest_job(self.worker)
        finally:
            await reader.close()
            await queue.close()


def soon_after(seconds: float) -> Any:
    """Matches an age that was this many seconds a moment ago."""
    return pytest.approx(seconds + PATIENT_S / 2, abs=PATIENT_S / 2 + 0.1)


async def _never_seen() -> bool:
    return False
