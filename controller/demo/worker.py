"""One worker of the demo: it takes jobs from the queue as the real ones do, and sleeps instead of working.

    1. It claims as many pending jobs as it has free slots, within its share of the rate limit.
    2. It counts one request per job in Redis, in the minute that began ``<window>`` seconds after the epoch.
    3. A finished job is completed; a failed one is tried again later, ``max_attempts`` times at most.
    4. A new job's NOTIFY wakes it; a poll every second finds jobs that have become due.
    5. SIGTERM: it takes no more jobs, finishes what it can in DRAIN_SECONDS, gives the rest back, and exits with 0.

If PostgreSQL is unavailable, it waits and reconnects; if Redis is, it goes on with the last share that it read.

Environment: DATABASE_URL, REDIS_URL, RAILWAY_REPLICA_ID, WORKER_CONCURRENCY (5), WORKER_RPM_KEY
(``worker:rpm:<window>``), WORKER_RETRY_SECONDS (1), DRAIN_SECONDS (5), and WORKER_LIFELINE=stdin, with which it exits
as soon as its standard input ends, so that it never outlives its parent.
"""

import asyncio
import contextlib
import logging
import math
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb
from redis.asyncio import Redis
from redis.exceptions import RedisError

from controller.demo.jobs import CHANNEL

SHARE_KEY = "worker:config:per_worker_rpm"
RPM_EXPIRY_S = 65
POLL_S = 1.0
"""For jobs that become due, which nothing announces, and for a NOTIFY that was lost."""
CLAIM_S = 1.0  # for a response to a claim that is under way at SIGTERM, so that its jobs are not given back
GIVE_BACK_S = 2.0

log = logging.getLogger("worker")

# SKIP LOCKED: workers claim at the same time without waiting for each other. MATERIALIZED: the rows are chosen once,
# and not again for each row of the join.
CLAIM: LiteralString = """
WITH next AS MATERIALIZED (
    SELECT id FROM generation_job WHERE status = 'pending' AND scheduled_for <= now()
    ORDER BY priority, created_at LIMIT %(count)s FOR UPDATE SKIP LOCKED
)
UPDATE generation_job AS job
SET status = 'processing', locked_by = %(worker)s, locked_at = now(),
    started_at = coalesce(started_at, now()), attempts = attempts + 1
FROM next WHERE job.id = next.id
RETURNING job.id, job.payload, job.attempts, job.max_attempts
"""

# locked_by in each of the next ones: a job that was requeued and claimed by another worker meanwhile is theirs.
COMPLETE: LiteralString = """
UPDATE generation_job SET status = 'completed', progress = 100, completed_at = now(), error = NULL, result = %(result)s
WHERE id = %(id)s AND locked_by = %(worker)s AND status = 'processing'
"""

RETRY_LATER: LiteralString = """
UPDATE generation_job SET status = 'pending', locked_by = NULL, locked_at = NULL, error = %(error)s,
       scheduled_for = now() + make_interval(secs => %(delay_s)s)
WHERE id = %(id)s AND locked_by = %(worker)s AND status = 'processing'
"""

FAIL: LiteralString = """
UPDATE generation_job SET status = 'failed', completed_at = now(), error = %(error)s
WHERE id = %(id)s AND locked_by = %(worker)s AND status = 'processing'
"""

# All jobs that are locked by this worker and that it does not work on: those it cannot finish, and those of a claim
# whose response was lost with the connection. The job did not fail, so the attempt is not counted.
GIVE_BACK: LiteralString = """
UPDATE generation_job SET status = 'pending', locked_by = NULL, locked_at = NULL, started_at = NULL,
       attempts = attempts - 1
WHERE locked_by = %(worker)s AND status = 'processing' AND id <> ALL(%(in_hand)s)
"""


@dataclass(frozen=True)
class Settings:
    database_url: str = field(repr=False)
    redis_url: str = field(repr=False)
    name: str
    concurrency: int
    rpm_key: str
    retry_s: float
    drain_s: float

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Settings":
        return cls(
            database_url=environ["DATABASE_URL"],
            redis_url=environ["REDIS_URL"],
            name=environ.get("RAILWAY_REPLICA_ID") or f"pid-{os.getpid()}",
            concurrency=int(environ.get("WORKER_CONCURRENCY", "5")),
            rpm_key=environ.get("WORKER_RPM_KEY", "worker:rpm:<window>"),
            retry_s=float(environ.get("WORKER_RETRY_SECONDS", "1")),
            drain_s=float(environ.get("DRAIN_SECONDS", "5")),
        )


@dataclass(frozen=True)
class Job:
    id: str
    payload: dict[str, Any]
    attempts: int
    max_attempts: int

    @property
    def duration_s(self) -> float:
        return float(self.payload.get("duration_s", 1.0))

    @property
    def fails(self) -> bool:
        """With ``true`` in the payload every attempt fails, with a number N the first N attempts."""
        fail = self.payload.get("fail", False)
        return fail is True or self.attempts <= int(fail)


class Rate:
    """Counts this worker's requests in Redis, and reads its share of the limit there."""

    def __init__(self, settings: Settings) -> None:
        self.redis = Redis.from_url(settings.redis_url, socket_timeout=2, socket_connect_timeout=2)
        self.key = settings.rpm_key
        self.share: int | None = None
        self.window = 0
        self.used = 0

    async def left(self) -> float:
        """How many more requests may begin this minute; infinite if no share is published (no limit)."""
        self._turn()
        try:
            text = await self.redis.get(SHARE_KEY)
            share = None if text is None else int(text)
        except (RedisError, ValueError) as error:
            log.warning("the share cannot be read (%s); it stays %s", error, self.share)
        else:
            if share != self.share:
                log.info("this worker's share is now %s requests a minute", share)
            self.share = share
        return math.inf if self.share is None else self.share - self.used

    async def count(self) -> None:
        self._turn()
        self.used += 1
        key = self.key.replace("<window>", str(self.window))
        try:
            async with self.redis.pipeline() as both:
                both.incr(key)
                both.expire(key, RPM_EXPIRY_S)
                await both.execute()
        except RedisError as error:
            log.warning("a request could not be counted: %s", error)

    def _turn(self) -> None:
        if (window := int(time.time() // 60 * 60)) != self.window:
            self.window, self.used = window, 0


class Queue:
    """The jobs, over one connection that is opened again after it was lost."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.connection: psycopg.AsyncConnection | None = None
        self.opening = asyncio.Lock()
        self.in_hand: dict[str, Job] = {}

    async def claim(self, count: int) -> list[Job]:
        jobs = [Job(*row) for row in await self._run(CLAIM, count=count)]
        self.in_hand.update({job.id: job for job in jobs})
        return jobs

    async def complete(self, job: Job) -> None:
        await self._run(COMPLETE, id=job.id, result=Jsonb({"slept_s": job.duration_s}))
        del self.in_hand[job.id]

    async def fail(self, job: Job, error: str) -> float:
        """Retries the job, each time after twice the pause, up to its max_attempts; returns the pause in seconds."""
        delay_s = self.settings.retry_s * 2.0 ** (job.attempts - 1)
        if job.attempts >= job.max_attempts:
            await self._run(FAIL, id=job.id, error=error)
        else:
            await self._run(RETRY_LATER, id=job.id, error=error, delay_s=delay_s)
        del self.in_hand[job.id]
        return delay_s

    async def give_back(self) -> None:
        self.in_hand.clear()
        await self._run(GIVE_BACK, in_hand=[])

    async def connect(self) -> psycopg.AsyncConnection:
        return await psycopg.AsyncConnection.connect(
            self.settings.database_url, autocommit=True, connect_timeout=3, application_name=self.settings.name
        )

    async def _run(self, statement: LiteralString, **values: object) -> list[TupleRow]:
        """Runs a statement until PostgreSQL has answered; each statement is safe to run twice."""
        while True:
            try:
                connection = await self._connected()
                cursor = await connection.execute(statement, values | {"worker": self.settings.name})
                return await cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError as error:
                log.warning("PostgreSQL is unavailable: %s", error)
                await asyncio.sleep(0.3)

    async def _connected(self) -> psycopg.AsyncConnection:
        async with self.opening:
            if self.connection is None or self.connection.closed:
                connection = await self.connect()
                in_hand = list(self.in_hand)
                await connection.execute(GIVE_BACK, {"worker": self.settings.name, "in_hand": in_hand})
                self.connection = connection
            return self.connection


class Worker:
    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.queue = Queue(settings)
        self.rate = Rate(settings)
        self.stopping = asyncio.Event()
        self.wake = asyncio.Event()
        self.working: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Works until SIGTERM, or until an error that a retry does not fix."""
        for ending in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(ending, self.stop)
        stopping = asyncio.create_task(self.stopping.wait())
        tasks = {asyncio.create_task(self._take_jobs()), asyncio.create_task(self._listen())}
        await asyncio.wait({stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        self.stop()
        await asyncio.wait(tasks, timeout=CLAIM_S, return_when=asyncio.FIRST_COMPLETED)
        for task in (stopping, *tasks):
            task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        await self._drain()
        await self.rate.redis.aclose()
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    def stop(self) -> None:
        self.stopping.set()
        self.wake.set()

    async def _take_jobs(self) -> None:
        while not self.stopping.is_set():
            self.wake.clear()
            await self._claim()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.wake.wait(), POLL_S)

    async def _claim(self) -> None:
        free = self.settings.concurrency - len(self.working)
        count = min(free, await self.rate.left()) if free else 0
        if count <= 0:
            return
        for job in await self.queue.claim(int(count)):
            task = asyncio.create_task(self._work(job))
            self.working.add(task)
            task.add_done_callback(self._finished)

    async def _work(self, job: Job) -> None:
        await self.rate.count()
        await asyncio.sleep(job.duration_s)
        if job.fails:
            again_in_s = await self.queue.fail(job, f"attempt {job.attempts} failed, as its payload asks")
            asyncio.get_running_loop().call_later(again_in_s, self.wake.set)
        else:
            await self.queue.complete(job)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self.working.discard(task)
        self.wake.set()
        if not task.cancelled() and (error := task.exception()):
            log.error("an error in the worker's own code ended a job", exc_info=error)

    async def _listen(self) -> None:
        while True:
            try:
                async with await self.queue.connect() as connection:
                    await connection.execute(f"LISTEN {CHANNEL}".encode())
                    async for _ in connection.notifies():
                        self.wake.set()
            except psycopg.OperationalError:
                await asyncio.sleep(0.3)

    async def _drain(self) -> None:
        """Finishes the jobs for which there is time, and gives the others back."""
        working = set(self.working)
        if working:
            log.info("finishing %d jobs", len(working))
            await asyncio.wait(working, timeout=self.settings.drain_s)
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        unfinished = len(self.queue.in_hand)
        try:
            await asyncio.wait_for(self.queue.give_back(), GIVE_BACK_S)
        except TimeoutError:
            log.error("%d unfinished jobs could not be given back", unfinished)  # noqa: TRY400 - the cause is logged
        else:
            log.info("stopped; %d unfinished jobs given back", unfinished)


def hold_on_to_stdin() -> None:
    """Exits as soon as standard input ends, even in the middle of a job."""

    def hold() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os._exit(1)

    threading.Thread(target=hold, name="lifeline", daemon=True).start()


def main() -> None:
    if os.environ.get("WORKER_LIFELINE") == "stdin":
        hold_on_to_stdin()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    settings = Settings.read(os.environ)
    log.info("%s takes up to %d jobs at a time", settings.name, settings.concurrency)
    asyncio.run(Worker(settings).run())


if __name__ == "__main__":
    main()
