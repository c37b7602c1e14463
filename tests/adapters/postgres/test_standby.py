"""A real hot standby of a real primary: how old what it shows is, and from when on it is no reading."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from controller.adapters.postgres.queue import PostgresQueue
from controller.core.model import QueueDepth
from controller.core.ports import Unavailable
from controller.demo import server_host
from controller.demo.servers import _temporary, find_postgres
from controller.policy import Queue
from tests.support.patience import until

JOBS = Queue(table="jobs")


class _Replicating(server_host.Postgres):
    """A PostgreSQL that another can copy itself from; `copied` is one."""

    def __init__(self, folder: Path, program: Path, copied: server_host.Postgres | None = None) -> None:
        if copied is None:
            super().__init__(folder, program)
            return
        server_host.Server.__init__(self, "standby", folder, program)
        self.data = self.folder / "data"
        source = f"host=127.0.0.1 port={copied.port} user=postgres"
        options = ["-D", str(self.data), "-d", source, "-R", "-X", "stream", "-c", "fast", "--no-sync"]
        self.initdb = self.spawn([str(program.with_name("pg_basebackup")), *options])

    def command(self) -> list[str]:
        more = ("--wal_level=replica", "--max_wal_senders=4", "--wal_receiver_status_interval=1")
        return [*super().command(), *more]

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"


@dataclass
class Pair:
    primary: _Replicating
    standby: _Replicating


@pytest.fixture(scope="module")
def pair() -> Iterator[Pair]:
    folder = _temporary() / f"standby-{secrets.token_hex(4)}"
    host = server_host.Host(folder, server_host.free_ports())
    started: list[_Replicating] = []
    try:
        program = host.reachable(find_postgres(), "initdb", server_host.copy_installation)
        for copied in (None, 0):
            server = _Replicating(folder, program, None if copied is None else started[copied])
            started.append(server)
            server.start(itertools.islice(host.ports, 10))
        with psycopg.connect(started[0].url, autocommit=True) as primary:
            primary.execute("CREATE TABLE jobs (status text)")
        yield Pair(*started)
    finally:
        for server in reversed(started):
            server.discard()
        server_host.remove(folder)


@pytest.fixture
async def queue(pair: Pair) -> AsyncIterator[PostgresQueue]:
    postgres = PostgresQueue(pair.standby.url, timeout_s=30.0, oldest_s=30.0)
    yield postgres
    await postgres.close()


@pytest.mark.costly
async def test_a_standby_is_read_and_said_and_an_old_one_is_no_reading(pair: Pair, queue: PostgresQueue) -> None:
    async with await psycopg.AsyncConnection.connect(pair.primary.url, autocommit=True) as primary:
        await primary.execute("INSERT INTO jobs SELECT 'pending' FROM generate_series(1, 7)")

        async def caught_up() -> QueueDepth | None:
            try:
                depth = await queue.depth(JOBS, 100)
            except Unavailable:
                return None
            return depth if depth.pending == 7 else None

        depth = await until(caught_up, "the standby shows the jobs")
        assert depth.lag_s is not None
        assert "read from a standby" in depth.sentence
        assert [remark.about for remark in depth.remarks] == ["standby"]
        await _nothing_is_replayed(pair, queue, primary)


async def _nothing_is_replayed(
    pair: Pair, queue: PostgresQueue, primary: psycopg.AsyncConnection[tuple[object, ...]]
) -> None:
    async with await psycopg.AsyncConnection.connect(pair.standby.url, autocommit=True) as standby:
        await standby.execute("SELECT pg_wal_replay_pause()")
        await primary.execute("DELETE FROM jobs")
        old = PostgresQueue(pair.standby.url, timeout_s=30.0, oldest_s=0.5)

        async def refused() -> str:
            try:
                await old.depth(JOBS, 100)
            except Unavailable as unavailable:
                return str(unavailable)
            return ""

        words = await until(refused, "what the standby shows is too old")
        assert "is a standby that is" in words
        assert "behind its primary; the limit is 500 ms (3 intervals)" in words
        depth = await queue.depth(JOBS, 100)
        assert depth.pending == 7, "within its bound, what it shows is a reading"
        assert depth.lag_s is not None
        assert depth.lag_s > 0.5
        await old.close()
        await standby.execute("SELECT pg_wal_replay_resume()")


@pytest.mark.costly
async def test_an_idle_primary_is_no_lag(pair: Pair) -> None:
    strict = PostgresQueue(pair.standby.url, timeout_s=30.0, oldest_s=0.5)

    async def read() -> QueueDepth | None:
        try:
            return await strict.depth(JOBS, 100)
        except Unavailable:
            return None

    first = await until(read, "the standby has replayed what it received")
    assert first.lag_s == 0
    await strict.close()


@pytest.mark.costly
async def test_a_primary_has_no_lag_to_speak_of(pair: Pair) -> None:
    queue = PostgresQueue(pair.primary.url, timeout_s=30.0, oldest_s=0.0)
    depth = await queue.depth(JOBS, 100)
    assert (depth.lag_s, depth.remarks) == (None, ())
    await queue.close()
