"""A chancy program: its worker, and the job that it runs."""

import asyncio
import os

from chancy import Chancy, Queue, Worker, job

from tests.queues.jobs import do


@job()  # type: ignore[untyped-decorator]
async def work(*, does: str) -> None:
    await do(does)


async def main(url: str) -> None:
    async with Chancy(url) as chancy:
        await chancy.declare(Queue("default", concurrency=3, executor=Chancy.Executor.Async, polling_interval=1))
        async with Worker(chancy) as worker:
            await worker.wait_for_shutdown()


if __name__ == "__main__":
    asyncio.run(main(os.environ["DATABASE_URL"]))
