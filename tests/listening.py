"""A listener in this process, beside a queue of its own, and all that it has called and said."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from controller.adapters.postgres import PostgresQueue
from controller.adapters.postgres_listener import Listener
from controller.policy import Queue

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

    async def until(self, true: Callable[[], bool], seconds: float = 10) -> float:
        """How long it took."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with asyncio.timeout(seconds):
            while not true():
                await asyncio.sleep(0.01)
        return loop.time() - start


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


async def sessions(admin: psycopg.AsyncConnection[Any]) -> int:
    """How many of ours the server has, after those that are being closed are gone."""
    last = -1
    for _ in range(100):
        cursor = await admin.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {OURS}".encode())
        ((count,),) = await cursor.fetchall()
        if count == last:
            break
        last = count
        await asyncio.sleep(0.1)
    return last


async def end_sessions(admin: psycopg.AsyncConnection[Any]) -> int:
    cursor = await admin.execute(f"SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity WHERE {OURS}".encode())
    return len(await cursor.fetchall())
