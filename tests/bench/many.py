"""`python -m tests.bench.many`: one leader with 1,000 Kubernetes workers at an interval of 10 s.

The controller is a process of its own on a real PostgreSQL and a real Redis; the fake Kubernetes with all Deployments
is in this one. A cycle begins with its list of the Deployments, which the fake counts, and ends with the last line of
its workers. Exit code 1 if a cycle came more than LATE_S late, or if one list for each cycle was not enough.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import psycopg
import yaml
from procrastinate import App, PsycopgConnector
from psycopg import sql

from controller.demo.server_host import free_ports
from controller.demo.servers import Servers, start_servers
from controller.fake_kubernetes import FakeKubernetes
from tests.bench.load import cpu_s
from tests.bench.soak import sample
from tests.support.clean_places import empty_database, empty_redis
from tests.support.patience import until

LATE_S = 1.0
INTERVAL_S = 10.0
_LIST = ("GET", "/apis/apps/v1/namespaces/default/deployments")
_PENDING = 7
_EVENT, _OUTCOME = re.compile(rb'"event": "(\w+)"'), re.compile(rb'"outcome": "(\w+)"')
_MORE = """\
Queues of the workers:

  names   1,000 queue names in procrastinate's tables (preset: procrastinate)
  where   1,000 conditions on one table (queue.where)
  tables  1,000 tables

Exit codes: 0 in time; 1 not; 2 wrong arguments.
"""


class Kind(NamedTuple):
    """queue: of worker number n in the policy. lay_out: with that many queues. put: that many jobs into queue n."""

    queue: Callable[[int], dict[str, Any]]
    lay_out: Callable[[str, int], None]
    table: Callable[[int], str]
    insert: str


def _procrastinate(url: str, _: int) -> None:
    async def migrate() -> None:
        async with App(connector=PsycopgConnector(conninfo=url)).open_async() as app:
            await app.schema_manager.apply_schema_async()

    asyncio.run(migrate())


_COLUMNS = """(
    id bigserial PRIMARY KEY, kind int, status text NOT NULL DEFAULT 'pending', created_at timestamptz DEFAULT now(),
    started_at timestamptz, completed_at timestamptz)"""


def _one_table(url: str, _: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE TABLE job {_COLUMNS}".encode())
        connection.execute("CREATE INDEX ON job (kind, status)")


def _tables(url: str, count: int) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for number in range(count):
            connection.execute(f"CREATE TABLE job_{number} {_COLUMNS}".encode())
            connection.execute(f"CREATE INDEX ON job_{number} (status)".encode())


KINDS = {
    "names": Kind(
        lambda n: {"preset": "procrastinate", "queues": [f"queue-{n}"]},
        _procrastinate,
        lambda _: "procrastinate_jobs",
        "INSERT INTO {table} (queue_name, task_name) SELECT 'queue-{n}', 'a' FROM generate_series(1, {jobs})",
    ),
    "where": Kind(
        lambda n: {"table": "job", "where": f"kind = {n}"},
        _one_table,
        lambda _: "job",
        "INSERT INTO {table} (kind) SELECT {n} FROM generate_series(1, {jobs})",
    ),
    "tables": Kind(
        lambda n: {"table": f"job_{n}"},
        _tables,
        lambda n: f"job_{n}",
        "INSERT INTO {table} (kind) SELECT {n} FROM generate_series(1, {jobs})",
    ),
}


def policy_of(kind: Kind, workers: int) -> dict[str, Any]:
    """Each worker with a Deployment of its own name."""
    tiers = [{"up_to": 0, "replicas": 0}, {"up_to": 5, "replicas": 1}, {"replicas": 3}]
    return {
        "interval": f"{INTERVAL_S:g}s",
        "workers": {
            _name(number): {
                "kubernetes": {"name": _name(number)},
                "queue": kind.queue(number),
                "tiers": tiers,
                "max_replicas": 3,
            }
            for number in range(workers)
        },
    }


def _name(number: int) -> str:
    return f"worker-{number}"


def _written(policy: Mapping[str, Any], path: Path) -> Path:
    path.write_text(yaml.safe_dump(policy, sort_keys=False))
    return path


# --- what one replica of the controller says and takes ---


@dataclass
class Replica:
    """One controller. ended: when each of its cycles' lines came, by this process' clock."""

    process: asyncio.subprocess.Process
    port: int
    ended: list[float] = field(default_factory=list)
    outcomes: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    answers_s: list[float] = field(default_factory=list)
    most_kb: int = 0
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    @classmethod
    async def started(cls, policy: Path, environment: Mapping[str, str]) -> Replica:
        port = next(free_ports())
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "controller", "run", "--policy", str(policy)),
            env={**os.environ, **environment, "PORT": str(port), "LOG_FORMAT": "json"},
            stdout=asyncio.subprocess.PIPE,
        )
        self = cls(process, port)
        self._tasks = [asyncio.create_task(one) for one in (self._read(), self._ask(), self._weigh())]
        return self

    async def _read(self) -> None:
        assert self.process.stdout is not None
        # Without parsing them: a thousand lines come at once, and the fake Kubernetes waits in this process meanwhile.
        async for text in self.process.stdout:
            if (event := _EVENT.search(text)) is None:
                continue
            self.events[event[1].decode()] += 1
            if event[1] == b"reconcile" and (outcome := _OUTCOME.search(text)):
                self.ended.append(time.monotonic())
                self.outcomes[outcome[1].decode()] += 1

    async def _ask(self) -> None:
        """How long a probe waits: as long as the loop does something else."""
        while True:
            await asyncio.sleep(0.25)
            began = time.monotonic()
            with contextlib.suppress(OSError, EOFError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                await reader.readline()
                writer.close()
                self.answers_s.append(time.monotonic() - began)

    async def _weigh(self) -> None:
        while True:
            with contextlib.suppress(OSError):
                self.most_kb = max(self.most_kb, sample(self.process.pid).memory_kb)
            await asyncio.sleep(0.5)

    async def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        await self.process.wait()
        for one in self._tasks:
            one.cancel()


# --- the measurement ---


def _with_children(pid: int) -> Iterator[int]:
    yield pid
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        yield from _with_children(int(child))


def _used_s(pid: int | None) -> float:
    """Processor time of a server and its processes."""
    assert pid is not None, "it runs"
    used = 0.0
    for one in _with_children(pid):
        with contextlib.suppress(OSError):  # it ended meanwhile
            used += cpu_s(one)
    return used


@dataclass
class Bench:
    servers: Servers
    workers: int
    kind: Kind
    fake: FakeKubernetes
    queue: psycopg.AsyncConnection[Any]
    policy: Path
    environment: dict[str, str]
    lists: list[float] = field(default_factory=list)
    """When each list of all Deployments came: a cycle's beginning."""

    def watch(self) -> None:
        """From now on the fake notes when it is asked for its list."""
        requests = self.fake.api.requests

        class Noted(list[tuple[str, str]]):
            def append(noted, one: tuple[str, str]) -> None:  # noqa: N805  # within a method
                if one == _LIST:
                    self.lists.append(time.monotonic())
                super().append(one)

        self.fake.api.requests = Noted(requests)

    async def next_list(self) -> None:
        """Until the next cycle begins."""
        count = len(self.lists)
        await until(lambda: len(self.lists) > count, "the next cycle")

    async def swing(self, changes: int) -> None:
        """Each interval, so many queues get jobs, and those that had some lose theirs."""
        filled: list[int] = []
        for start in itertools.count(0, changes):
            for number in filled:
                await self.queue.execute(self._sql("DELETE FROM {table}", number))
            filled = [(start + one) % self.workers for one in range(changes)]
            for number in filled:
                await self.queue.execute(self._sql(self.kind.insert, number))
            await asyncio.sleep(INTERVAL_S)

    def _sql(self, text: str, number: int) -> sql.Composed:
        filled = text.format(table=self.kind.table(number), n=number, jobs=_PENDING)
        return sql.Composed([sql.SQL(filled)])


@asynccontextmanager
async def _set_up(servers: Servers, workers: int, name: str, database: str, store: str) -> AsyncIterator[Bench]:
    kind = KINDS[name]
    async with FakeKubernetes() as fake, await psycopg.AsyncConnection.connect(database, autocommit=True) as queue:
        for number in range(workers):
            fake.cluster.add(_name(number), replicas=number % 2)
        with TemporaryDirectory() as folder:
            policy = _written(policy_of(kind, workers), Path(folder, "policy.yaml"))
            environment = {
                "KUBECONFIG": str(fake.write_kubeconfig(Path(folder, "kubeconfig"))),
                "DATABASE_URL": database,
                "REDIS_URL": store,
                "AUTOSCALER_GROUP": "many",
            }
            bench = Bench(servers, workers, kind, fake, queue, policy, environment)
            bench.watch()
            yield bench


@dataclass
class Used:
    """Processor time, in seconds, since the process or server began."""

    controller: float
    standby: float
    postgres: float
    redis: float

    @classmethod
    def now(cls, bench: Bench, leader: Replica, other: Replica | None) -> Used:
        return cls(
            cpu_s(leader.process.pid),
            0.0 if other is None else cpu_s(other.process.pid),
            _used_s(bench.servers.postgres_pid),
            _used_s(bench.servers.redis_pid),
        )

    def each(self, before: Used, cycles: int) -> str:
        parts = {name: (value - getattr(before, name)) / max(1, cycles) for name, value in vars(self).items()}
        return ", ".join(f"{name} {value:.2f} s" for name, value in parts.items() if value)


async def _measure(bench: Bench, seconds: float, changes: int, *, standby: bool) -> int:
    leader = await Replica.started(bench.policy, bench.environment)
    other = None
    try:
        await until(lambda: len(leader.ended) >= bench.workers, "the first cycle", shown=lambda: leader.events)
        print(f"first cycle: {leader.ended[bench.workers - 1] - bench.lists[0]:.2f} s, with a look at each table")
        if standby:
            other = await Replica.started(bench.policy, bench.environment)
            await asyncio.sleep(INTERVAL_S)
        swinging = asyncio.create_task(bench.swing(changes)) if changes else None
        status = await _look(bench, leader, other, seconds)
        if swinging is not None:
            swinging.cancel()
        if other is not None:
            await _take_over(bench, leader, other)
        return status
    finally:
        for one in (leader, other):
            if one is not None:
                await one.stop()


async def _look(bench: Bench, leader: Replica, other: Replica | None, seconds: float) -> int:
    await bench.next_list()
    first, begun, before = len(bench.lists), len(bench.fake.api.requests), Used.now(bench, leader, other)
    leader.answers_s.clear()
    await asyncio.sleep(seconds)
    await bench.next_list()
    used = Used.now(bench, leader, other)
    requests = Counter(
        f"{method} {'all' if (method, path) == _LIST else 'one'}" for method, path in bench.fake.api.requests[begun:]
    )
    cycles = len(bench.lists) - first
    lists = bench.lists[first - 1 :]
    late = max(later - earlier - INTERVAL_S for earlier, later in pairwise(lists))
    took = [
        max((at for at in leader.ended if begin <= at < end), default=begin) - begin for begin, end in pairwise(lists)
    ]
    print(f"cycles: {cycles} in {seconds:g} s; the latest came {max(0.0, late):.2f} s late")
    print(f"a cycle took: median {median(took):.2f} s, longest {max(took):.2f} s of {INTERVAL_S:g} s")
    print(f"requests: {dict(requests)}; outcomes: {dict(leader.outcomes)}; events: {dict(leader.events)}")
    print(f"processor time of each cycle: {used.each(before, cycles)}")
    _print_replica("leader", leader)
    if other is not None:
        _print_replica("standby", other)
    return int(late > LATE_S or requests["GET all"] > cycles)


async def _take_over(bench: Bench, leader: Replica, other: Replica) -> None:
    count, stopped = len(bench.lists), time.monotonic()
    await leader.stop()
    await until(lambda: len(other.ended) >= bench.workers, "the standby's first cycle")
    first, last = bench.lists[count] - stopped, other.ended[-1] - stopped
    print(f"takeover: the first reading {first:.2f} s after SIGTERM, the last of its cycle {last:.2f} s")


def _print_replica(name: str, replica: Replica) -> None:
    answers = sorted(replica.answers_s) or [0.0]
    print(
        f"{name}: {replica.most_kb / 1024:.1f} MiB at most; /livez answered within "
        f"{1000 * median(answers):.0f} ms (median), {1000 * answers[-1]:.0f} ms (longest)"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.many",
        description="Runs one controller with many Kubernetes workers, and looks whether its cycles are late.",
        epilog=_MORE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--workers", type=int, default=1000, metavar="N", help="default %(default)d")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="N", help="for how long, default %(default)g")
    parser.add_argument("--queues", choices=KINDS, default="names", help="default %(default)s")
    parser.add_argument(
        "--changes", type=int, default=20, metavar="N", help="queues that change each interval, default %(default)d"
    )
    parser.add_argument("--standby", action="store_true", help="with a second replica, which takes over at the end")
    given = parser.parse_args(arguments)
    with start_servers() as servers:
        database, store = empty_database(servers), empty_redis(servers)
        KINDS[given.queues].lay_out(database, given.workers)

        async def run() -> int:
            async with _set_up(servers, given.workers, given.queues, database, store) as bench:
                return await _measure(bench, given.seconds, given.changes, standby=given.standby)

        return asyncio.run(run())


if __name__ == "__main__":
    sys.exit(main())
