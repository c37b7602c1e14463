"""A database with one table that a test can change before doctor checks it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, LiteralString
from urllib.parse import urlsplit

import psycopg
import pytest

from controller.doctor import postgres_server as postgres_reach
from tests.doctor.looking import Patient, policy
from tests.support.clean_places import lay_out_queue


@pytest.fixture(autouse=True)
def in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    """Doctor waits 6 s for its connection to be cut; only the tests of that wait so long."""
    monkeypatch.setattr(postgres_reach, "_QUIET_S", 0.05)


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def reader_url(database_url: str) -> Iterator[str]:
    """The address of a role that may log in and do nothing else."""
    statements: tuple[LiteralString, ...] = ("CREATE ROLE doctors_reader LOGIN", "DROP OWNED BY doctors_reader")
    with psycopg.connect(database_url, autocommit=True) as admin:
        if admin.execute("SELECT FROM pg_roles WHERE rolname = 'doctors_reader'").fetchone() is None:
            admin.execute(statements[0])
        address = urlsplit(database_url)
        yield address._replace(netloc=f"doctors_reader@{address.netloc.rpartition('@')[2]}").geturl()
        admin.execute(statements[1])
        admin.execute("ALTER ROLE doctors_reader NOBYPASSRLS")


@pytest.fixture
async def patient(database_url: str, owner: psycopg.AsyncConnection[Any]) -> Patient:
    """The queue of the shipped policy, empty, asked by its owner."""
    lay_out_queue(database_url)
    return Patient(database_url, owner, policy())
