"""A procrastinate app; run as a program it is its worker."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from procrastinate import App, PsycopgConnector

from tests.queues.jobs import do

app = App(connector=PsycopgConnector())


@app.task(name="job")
async def job(does: str) -> None:
    await do(does)


@asynccontextmanager
async def app_on(url: str) -> AsyncIterator[App]:
    with app.replace_connector(PsycopgConnector(conninfo=url)) as here:
        async with here.open_async():
            yield here


async def work(url: str) -> None:
    async with app_on(url) as here:
        await here.run_worker_async(queues=["default"], concurrency=3)


if __name__ == "__main__":
    asyncio.run(work(os.environ["DATABASE_URL"]))
