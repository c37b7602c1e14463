"""The queue: what it holds, and what was true of it at any moment."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field

import psycopg

from controller.demo.jobs import create_queue
from tests.faults.seen import Demand

DEPTHS = (0, 0, 1, 8, 15, 25, 45, 60, 80, 100, 150, 500)


@dataclass
class Queue:
    """Rewritten whole in one transaction each time, so that no reading ever sees a depth in between."""

    url: str
    records: list[Demand]
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def create(self) -> None:
        async with await psycopg.AsyncConnection.connect(self.url) as connection:
            await create_queue(connection)
        self.records.append(Demand(0.0, time.monotonic(), 0))

    async def hold(self, depth: int) -> None:
        """The queue holds that many jobs from now on."""
        async with self._turn:
            began = time.monotonic()
            try:
                await self._rewrite(depth)
            finally:
                # Even if this was cancelled, it was perhaps done.
                self.records.append(Demand(began, time.monotonic(), depth))

    async def swing(self, dice: random.Random) -> None:
        """Wildly, until cancelled."""
        while True:
            await self.hold(dice.choice(DEPTHS))
            await asyncio.sleep(dice.uniform(0.3, 2.5))

    async def _rewrite(self, depth: int) -> None:
        async with await psycopg.AsyncConnection.connect(self.url, connect_timeout=3) as connection:
            await connection.execute("DELETE FROM generation_job")
            await connection.execute(
                "INSERT INTO generation_job (status) SELECT CASE WHEN mod(n, 3) = 0 THEN 'processing' "
                "ELSE 'pending' END FROM generate_series(1, %s) AS n",
                (depth,),
            )
