"""A listener in this process, beside a queue of its own, and all that it has called and said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from controller.adapters.postgres.listener import Listener
from controller.adapters.postgres.queue import PostgresQueue
from controller.policy import Queue
from tests.support.patience import PATIENCE_S, until, until_equal

CHANNEL = "new_generation_job"
OURS = "application_name = 'worker-autoscaler' AND datname = current_database()"


@dataclass
class Ear:
    said: list[tuple[str, str]] = field(default_factory=list)
    begun: int = 0
    woken: int = 0
    leads: bool = True

    def begin(self) -> None:
        self.begun += 1

    def wake(self) -> None:
        self.woken += 1

    def report(self, event: str, /, **fields: object) -> None:
        self.said.append((event, str(fields["message"])))

    @property
    def events(self) -> list[str]:
        return [event for event, _ in self.said]

    async def until(self, true: Callable[[], bool], what: str = "what is listened for") -> None:
        await until(true, what, shown=lambda: self, pause=0.01)


@asynccontextmanager
async def listening(
    dsn: str,
    queue: PostgresQueue,
    *channels: str,
    variable: str = "DATABASE_URL",
    queues: Sequence[Queue] = (),
) -> AsyncIterator[Ear]:
    """On these channels; or on those of `queues`."""
    ear = Ear()

    async def which() -> Collection[str]:
        return await queue.every_channel(queues) if queues else channels or (CHANNEL,)

    listener = Listener(dsn, variable, which, lambda: ear.leads, ear.begin, ear.wake, queue.notify, ear.report)
    task = asyncio.create_task(listener.run())
    try:
        yield ear
        assert not task.done(), f"the listener ended: {task}"
    finally:
        task.cancel()
        await asyncio.wait({task})


async def notified(connection: psycopg.AsyncConnection[Any]) -> list[psycopg.Notify]:
    """All that was notified, on channels that this connection listens to, and that it has not been asked for before."""
    await connection.execute("LISTEN the_end")
    await connection.execute("NOTIFY the_end")  # which arrives after all that was notified before
    heard: list[psycopg.Notify] = []
    async for one in connection.notifies(timeout=PATIENCE_S):
        if one.channel == "the_end":
            return heard
        heard.append(one)
    raise AssertionError(f"what is notified does not arrive; so far: {heard}")


async def sessions_become(count: int, admin: psycopg.AsyncConnection[Any]) -> None:
    """Waits until the server has that many of our connections: what is closed is gone there a moment later."""

    async def sessions() -> int:
        cursor = await admin.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {OURS}".encode())
        ((found,),) = await cursor.fetchall()
        return int(found)

    await until_equal(sessions, count)


async def end_sessions(admin: psycopg.AsyncConnection[Any]) -> int:
    cursor = await admin.execute(f"SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE {OURS}".encode())
    return len(await cursor.fetchall())
