"""A pgqueuer program: its worker."""

import asyncio
import os

import asyncpg
from pgqueuer import AsyncpgDriver, Job, PgQueuer

from tests.queues.jobs import do


async def work(url: str) -> None:
    program = PgQueuer(AsyncpgDriver(await asyncpg.connect(url)))

    @program.entrypoint("default", on_failure="hold")
    async def default(job: Job) -> None:
        await do((job.payload or b"").decode())

    await program.run(batch_size=1, max_concurrent_tasks=3)


if __name__ == "__main__":
    asyncio.run(work(os.environ["DATABASE_URL"]))
