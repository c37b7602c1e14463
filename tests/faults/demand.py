"""The queue: what it holds, and what was true of it at any moment."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from typing import Any

import psycopg

from controller.demo.jobs import create_queue
from tests.faults import history

DEPTHS = (0, 0, 1, 8, 15, 25, 45, 60, 80, 100, 150, 500)


@dataclass
class Queue:
    """Rewritten whole in one transaction each time, so that no reading ever sees a depth in between."""

    url: str
    records: list[history.Demand] = field(default_factory=list)
    _connection: psycopg.AsyncConnection[Any] | None = None
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def create(self, reader: str) -> None:
        """The table, and the role that the controllers read it as: unlike a superuser it can be kept out."""
        connection = await self._connected()
        await create_queue(connection)
        await connection.execute(f"CREATE ROLE {reader} LOGIN".encode())
        await connection.execute(f"GRANT SELECT ON generation_job TO {reader}".encode())
        self.records.append(history.Demand(0.0, time.monotonic(), 0))

    async def hold(self, depth: int) -> None:
        """The queue holds that many jobs from now on; an outage is waited for."""
        async with self._turn:
            while True:
                began = time.monotonic()
                try:
                    await self._rewrite(depth)
                except psycopg.Error:
                    await self.close()
                    await asyncio.sleep(0.2)
                except asyncio.CancelledError:
                    await self.close()
                    raise
                else:
                    return
                finally:
                    # Even what failed was perhaps done.
                    self.records.append(history.Demand(began, time.monotonic(), depth))

    async def swing(self, dice: random.Random) -> None:
        """Wildly, until cancelled."""
        while True:
            await self.hold(dice.choice(DEPTHS))
            await asyncio.sleep(dice.uniform(0.3, 2.5))

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _rewrite(self, depth: int) -> None:
        connection = await self._connected()
        async with connection.transaction():
            await connection.execute("DELETE FROM generation_job")
            await connection.execute(
                "INSERT INTO generation_job (status) SELECT CASE WHEN mod(n, 3) = 0 THEN 'processing' "
                "ELSE 'pending' END FROM generate_series(1, %s) AS n",
                (depth,),
            )

    async def _connected(self) -> psycopg.AsyncConnection[Any]:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(self.url, autocommit=True, connect_timeout=3)
        return self._connection
