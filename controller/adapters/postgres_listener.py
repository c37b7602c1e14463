"""The NOTIFY that cuts a wait short: a connection of its own that only listens. Its failures cost only speed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from controller.adapters.postgres_connection import Connection, connect
from controller.ports import Report, Source, Unavailable

_LOOK_S = 0.5
"""How often it is looked whether we lead, while we do not."""
_AGAIN_S = 5.0
_DEAF_AGAIN_S = 300.0
"""A pooler does not change its mode; somebody may change the address."""
_ALIVE_S = 5.0
_SELF_TEST_S = 1.0


class Deaf(Exception):  # noqa: N818  # a state of the connection: nothing that is announced arrives
    """LISTEN succeeded, and what was sent did not arrive: there is a pooler in between, or it is another database."""


@dataclass
class Listener:
    """Calls wake() for every notification on the channels, while leading().

    A notification only means "look now": what was sent while nobody listened is made up for by begun(), which is called
    after each connect. notify() sends one from elsewhere, for a test whether anything arrives at all.
    """

    dsn: str
    channels: Callable[[], Awaitable[Collection[str]]]
    leading: Callable[[], bool]
    begun: Callable[[], None]
    wake: Callable[[], None]
    notify: Callable[[str], Awaitable[None]]
    report: Report
    _said: str = field(default="", init=False)

    async def run(self) -> None:
        """For ever; on a connection of its own, and on none while another replica leads."""
        while True:
            await asyncio.sleep(_LOOK_S)
            if not self.leading():
                continue
            try:
                channels = sorted(await self.channels())
                if not channels:
                    await self._while_leading(_DEAF_AGAIN_S)
                    continue
                await self._listen(channels)
            except Deaf:
                self._say(
                    "wake_unavailable",
                    "what is notified does not arrive here: DATABASE_URL leads through a pooler, or "
                    "DATABASE_DIRECT_URL to another database. Set DATABASE_DIRECT_URL to PostgreSQL's own address; "
                    "until then the queue is read once each interval",
                )
                await self._while_leading(_DEAF_AGAIN_S)
            except psycopg.errors.ReadOnlySqlTransaction:
                self._say(
                    "wake_unavailable",
                    "a standby of PostgreSQL cannot listen; set DATABASE_DIRECT_URL to the primary's address. Until "
                    "then the queue is read once each interval",
                )
                await self._while_leading(_DEAF_AGAIN_S)
            except (psycopg.Error, OSError, Unavailable):
                await asyncio.sleep(_AGAIN_S)  # the readings say what is wrong with PostgreSQL

    async def _listen(self, channels: Collection[str]) -> None:
        connection = await connect(self.dsn)
        try:
            test = f"autoscaler_{secrets.token_hex(8)}"
            for channel in (*channels, test):
                await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
            self.begun()
            await self._hears(connection, test)
            self._say("listening", f"a cycle begins at once when a job is announced on {', '.join(channels)}")
            while self.leading():
                async for _ in connection.notifies(timeout=_ALIVE_S):
                    self.wake()
                await connection.execute("SELECT 1")  # a dead link fails here, within tcp_user_timeout
        finally:
            await connection.close()

    async def _hears(self, connection: Connection, test: str) -> None:
        """Sends itself something; through a pooler, LISTEN succeeds and delivers nothing."""
        await self.notify(test)
        async with asyncio.timeout(_SELF_TEST_S + 1):
            async for heard in connection.notifies(timeout=_SELF_TEST_S):
                if heard.channel == test:
                    break
                self.wake()
            else:
                raise Deaf
        await connection.execute(sql.SQL("UNLISTEN {}").format(sql.Identifier(test)))

    async def _while_leading(self, seconds: float) -> None:
        for _ in range(round(seconds / _LOOK_S)):
            if not self.leading():
                return
            await asyncio.sleep(_LOOK_S)

    def _say(self, event: str, message: str) -> None:
        """Once, as long as nothing else has become true."""
        if message != self._said:
            self._said = message
            self.report(event, source=Source.QUEUE.value, message=message)
