"""One day of a queue library, told by its own code, and what the preset made of it.

The library's own client puts jobs in, its own worker runs them and is killed with -9 while it holds three; the preset
reads all this as a role that may only SELECT, in a database whose sessions think in Asia/Tokyo.
"""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from controller.adapters.postgres.queue import PostgresQueue
from controller.demo.servers import Servers
from controller.policy import Queue
from tests.queues.jobs import LATER_S
from tests.support.patience import PATIENCE_S, until
from tests.support.unhurried import PATIENT_S

ROOT = Path(__file__).parents[2]
SCHEMAS = Path(__file__).parent / "schemas"
LIMIT = 100


@dataclass(frozen=True, slots=True)
class Count:
    """What a preset read. None: the library keeps nothing of the kind, or nothing tells."""

    pending: int
    processing: int
    scheduled: int | None
    failed: int | None
    stale: int | None = 0
    oldest_age_s: float | None = field(default=None, compare=False)


# The day: 2 jobs failed, 1 was done, 3 are held; then 5 + 2 wait in two queues, and 4 are due in an hour.
EVERYTHING = Count(pending=7, processing=3, scheduled=4, failed=2)
DEFAULT_QUEUE = Count(pending=5, processing=3, scheduled=4, failed=2)
ABANDONED = Count(pending=7, processing=0, scheduled=4, failed=2, stale=3)


@dataclass(frozen=True, slots=True)
class Job:
    """does: "hold" (say so in a file, then wait), "fail" for good, or "pass"."""

    does: str
    queue: str = "default"
    later: bool = False


class Library(Protocol):
    """A queue library by its own means. url and folder are where its database and its files are."""

    @property
    def preset(self) -> str:
        """The preset that reads it."""

    async def migrate(self, url: str) -> None:
        """Make its tables."""

    async def put(self, url: str, jobs: Sequence[Job]) -> None:
        """Enqueue with its own client."""

    def worker(self) -> Sequence[str]:
        """The command of a worker that runs three jobs at a time of the queue "default".

        Its environment has DATABASE_URL, and in FOLDER a job that is held touches a file held-… and waits.
        """


@dataclass(frozen=True, slots=True)
class Stage:
    """url: the owner's; reader: a role's that may only SELECT."""

    url: str
    reader: str
    folder: Path
    made_at: float = field(default_factory=time.monotonic)

    def aged(self, seconds: float) -> Any:
        """The age of what was made so old, at any time since this place was made."""
        lived = time.monotonic() - self.made_at
        return pytest.approx(seconds + lived / 2, abs=lived / 2 + 1)

    @property
    def role(self) -> str:
        return urlsplit(self.reader).username or ""

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.url, autocommit=True) as owner:
            owner.execute(statement.encode())

    def let_read(self, *schemas: str) -> None:
        """Grant what docs/postgres.md says a preset needs, and nothing else."""
        for schema in schemas or ("public",):
            self.execute(f'GRANT USAGE ON SCHEMA "{schema}" TO {self.role}')
            self.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA "{schema}" TO {self.role}')

    def create(self, schema: str, rows: str = "") -> None:
        """Make a version's tables from the file of that name, and put rows in; no library has a hand in it."""
        self.execute((SCHEMAS / f"{schema}.sql").read_text(encoding="utf-8") + rows)

    async def read(self, preset: str, **policy: Any) -> Count:
        """What the controller reads, by a policy with this preset and these keys."""
        queue = Queue.model_validate({"preset": preset, **policy})
        postgres = PostgresQueue(self.reader, timeout_s=PATIENT_S)
        try:
            depth, rest = await postgres.depth(queue, LIMIT), await postgres.rest(queue, LIMIT)
            claim = await postgres.longest_claim(queue, LIMIT)
            assert claim is None or claim >= 0, "how long the oldest claim has been worked on, where anybody can tell"
        finally:
            await postgres.close()
        return Count(depth.pending, depth.processing, rest.scheduled, rest.failed, depth.stale, depth.oldest_age_s)

    async def longest_claim(self, preset: str, **policy: Any) -> float | None:
        """For how long the job that was begun first has been worked on."""
        postgres = PostgresQueue(self.reader, timeout_s=PATIENT_S)
        try:
            return await postgres.longest_claim(Queue.model_validate({"preset": preset, **policy}), LIMIT)
        finally:
            await postgres.close()

    async def channels(self, preset: str, **policy: Any) -> frozenset[str]:
        postgres = PostgresQueue(self.reader, timeout_s=PATIENT_S)
        try:
            return frozenset(await postgres.channels(Queue(preset=preset, **policy)))
        finally:
            await postgres.close()

    async def read_until(self, preset: str, expected: Count) -> Count:
        return await _settled(lambda: self.read(preset), expected)


@contextmanager
def stage(servers: Servers) -> Iterator[Stage]:
    """An empty database in Tokyo, with one role that may log in and nothing else."""
    name, role = f"test_{secrets.token_hex(4)}", f"reader_{secrets.token_hex(4)}"
    url = urlsplit(servers.database_url)._replace(path=f"/{name}")
    reader = url._replace(netloc=f"{role}@{url.netloc.rpartition('@')[2]}")
    with (
        psycopg.connect(servers.database_url, autocommit=True) as admin,
        tempfile.TemporaryDirectory(prefix="queue-") as folder,
    ):
        admin.execute(f"CREATE DATABASE {name} STRATEGY file_copy".encode())  # half the work of the default
        admin.execute(f"ALTER DATABASE {name} SET TimeZone = 'Asia/Tokyo'".encode())
        admin.execute(f"CREATE ROLE {role} LOGIN".encode())
        try:
            yield Stage(url.geturl(), reader.geturl(), Path(folder))
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())
            admin.execute(f"DROP ROLE {role}".encode())


@dataclass(frozen=True, slots=True)
class Counted:
    """heard: the preset's channels that notified of what the client enqueued."""

    everything: Count
    default_queue: Count
    after_kill: Count
    heard: frozenset[str]
    channels: frozenset[str]


async def play(
    place: Stage,
    library: Library,
    *,
    after_kill: str = "",
    stale_after: str | None = None,
    expected: Count = EVERYTHING,
    then: Count = ABANDONED,
    schemas: Sequence[str] = ("public",),
    **policy: Any,
) -> Counted:
    """The whole day. after_kill: SQL that makes the dead worker's last sign of life an old one, so that no test waits.

    policy: further keys of it, in every reading.
    """
    await library.migrate(place.url)
    place.let_read(*schemas)
    channels = await place.channels(library.preset, **policy)
    with working(place, library.worker()):
        await library.put(place.url, [Job("fail"), Job("fail"), Job("pass"), *[Job("hold")] * 3])
        await until(lambda: len(list(place.folder.glob("held-*"))) == 3, "three jobs to be held")
        async with listening(place, channels) as heard:
            await library.put(
                place.url, [*[Job("pass")] * 5, *[Job("pass", "other")] * 2, *[Job("pass", later=True)] * 4]
            )
            everything = await _settled(lambda: place.read(library.preset, **policy), expected)
        default_queue = await place.read(library.preset, **{**policy, "queues": ["default"]})
    if after_kill:
        place.execute(after_kill)
    limits = policy if stale_after is None else {**policy, "stale_after": stale_after}
    after = await _settled(lambda: place.read(library.preset, **limits), then)
    return Counted(everything, default_queue, after, frozenset(heard), channels)


@contextmanager
def working(place: Stage, command: Sequence[str]) -> Iterator[None]:
    """A worker and all its children, until they are killed with -9 at the end."""
    with (place.folder / "worker.log").open("wb") as log:
        worker = subprocess.Popen(
            command,
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])),
                "DATABASE_URL": place.url,
                "FOLDER": str(place.folder),
            },
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
        assert worker.poll() is None, f"the worker ended by itself: {(place.folder / 'worker.log').read_text()[-2000:]}"
    except AssertionError as error:
        raise AssertionError((place.folder / "worker.log").read_text()[-4000:]) from error
    finally:
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait()


@asynccontextmanager
async def listening(place: Stage, channels: frozenset[str]) -> AsyncIterator[set[str]]:
    """The channels on which something was heard until the block ends."""
    heard: set[str] = set()
    async with await psycopg.AsyncConnection.connect(place.reader, autocommit=True) as connection:
        for channel in channels:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        await connection.execute("LISTEN the_end")
        yield heard
        place.execute("NOTIFY the_end")  # which arrives after all that was notified before
        async for notification in connection.notifies(timeout=PATIENCE_S):
            if notification.channel == "the_end":
                return
            heard.add(notification.channel)
    raise AssertionError("what is notified does not arrive")


async def _settled(reading: Callable[[], Coroutine[Any, Any, Count]], expected: Count) -> Count:
    """The expected count as soon as it is read."""

    async def settled() -> Count | None:
        seen.append(await reading())
        return seen[-1] if seen[-1] == expected else None

    seen: list[Count] = []
    return await until(settled, f"{expected}", shown=lambda: seen[-1], pause=0.1)


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


class PresetSentences:
    """What holds for every library, of the fixture `seen` of its module."""

    expected = EVERYTHING
    expected_default_queue = DEFAULT_QUEUE
    expected_after_kill = ABANDONED

    def test_what_waits_what_is_held_what_is_for_later_and_what_failed_are_told_apart(self, seen: Counted) -> None:
        assert seen.everything == self.expected

    def test_one_queue_alone_can_be_read(self, seen: Counted) -> None:
        assert seen.default_queue == self.expected_default_queue

    def test_the_age_is_of_the_oldest_ready_job(self, seen: Counted) -> None:
        assert seen.everything.oldest_age_s is not None
        assert 0 < seen.everything.oldest_age_s < LATER_S

    def test_a_worker_killed_in_the_midst_holds_nothing_once_its_last_sign_of_life_is_old(self, seen: Counted) -> None:
        assert seen.after_kill == self.expected_after_kill

    def test_its_client_wakes_every_listener_on_the_preset_s_channels(self, seen: Counted) -> None:
        assert bool(seen.heard) == bool(seen.channels)
