"""Runs `autoscaler init` in a folder and reads what it wrote."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import yaml

from controller.adapters.postgres.queue import PostgresQueue
from controller.core.model import QueueDepth
from controller.policy import Queue
from tests.queues.scenario import SCHEMAS
from tests.support.processes import Ran, autoscaler
from tests.support.unhurried import PATIENT_S


def make(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as owner:
        for one in statements:
            owner.execute(one.encode())


def schema(name: str) -> str:
    """A library's published tables."""
    return (SCHEMAS / f"{name}.sql").read_text()


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def init(url: str, folder: Path, *arguments: str, **environment: str) -> Ran:
    return await autoscaler("init", *arguments, environment={"DATABASE_URL": url, **environment}, cwd=folder)


@dataclass
class Written:
    """What init wrote. text: of the file. queue: as it is in the file."""

    ran: Ran
    text: str
    worker: Mapping[str, Any]

    @property
    def queue(self) -> dict[str, Any]:
        return dict(self.worker["queue"])

    async def depth(self, url: str) -> QueueDepth:
        """As a cycle reads it."""
        document = {key: value.replace("$$", "$") if key == "sql" else value for key, value in self.queue.items()}
        reader = PostgresQueue(url, timeout_s=PATIENT_S)
        try:
            return await reader.depth(Queue.model_validate(document), 1000)
        finally:
            await reader.close()


async def written(url: str, folder: Path, *arguments: str, **environment: str) -> Written:
    """After init, and after `check` accepted what it wrote."""
    ran = await init(url, folder, *arguments, **environment)
    assert ran.code == 0, ran.err
    checked = await autoscaler("check", environment={"RAILWAY_WORKER_SERVICE_ID": "some-id", **environment}, cwd=folder)
    assert checked.code == 0, checked.err
    text = (folder / "policy.yaml").read_text()
    (worker,) = yaml.safe_load(text)["workers"].values()
    return Written(ran, text, worker)


@pytest.fixture
def bystander(database_url: str) -> str:
    """The address of a role that may log in and do nothing else."""
    with psycopg.connect(database_url, autocommit=True) as admin:
        if admin.execute("SELECT FROM pg_roles WHERE rolname = 'init_bystander'").fetchone() is None:
            admin.execute("CREATE ROLE init_bystander LOGIN")
    address = urlsplit(database_url)
    return address._replace(netloc=f"init_bystander@{address.netloc.rpartition('@')[2]}").geturl()
