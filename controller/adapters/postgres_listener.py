"""The NOTIFY that cuts a wait short: a connection of its own that only listens. Its failures cost only speed."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import LiteralString

import psycopg
from psycopg import sql

from controller.adapters.postgres_connection import Connection, answered_within, connect
from controller.adapters.postgres_words import in_words
from controller.ports import Report, Source, Unavailable

_LOOK_S = 0.5
"""How often it is looked whether we lead, while we do not."""
_AGAIN_S = 5.0
_DEAF_AGAIN_S = 300.0
"""A pooler does not change its mode; somebody may change the address."""
_ALIVE_S = 5.0
"""How often it is looked whether the link still is one: a dead one is as silent as an idle one."""
_ANSWER_S = 5.0
_SELF_TEST_S = 2.0
_UNTIL_THEN = "until then the queue is read once each interval"


class Deaf(Exception):  # noqa: N818  # a state of the connection: nothing that is announced arrives
    """LISTEN succeeded, and what was sent did not arrive: there is a pooler in between, or it is another database."""


@dataclass
class Listener:
    """Calls wake() for every notification on the channels, while leading().

    A notification only means "look now": what was sent while nobody listened is made up for by begun(), which is called
    after each connect. notify() sends one from elsewhere, for a test whether anything arrives at all. variable: where
    the address comes from.
    """

    dsn: str
    variable: str
    channels: Callable[[], Awaitable[Collection[str]]]
    leading: Callable[[], bool]
    begun: Callable[[], None]
    wake: Callable[[], None]
    notify: Callable[[str], Awaitable[None]]
    report: Report
    _said: str = field(default="", init=False)
    _failed: bool = field(default=False, init=False)

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
                self._say("wake_unavailable", self._deaf())
                await self._while_leading(_DEAF_AGAIN_S)
            except psycopg.errors.ReadOnlySqlTransaction:
                mend = f"set DATABASE_DIRECT_URL to the primary's address; {_UNTIL_THEN}"
                self._say("wake_unavailable", f"a standby of PostgreSQL cannot listen; {mend}")
                await self._while_leading(_DEAF_AGAIN_S)
            except (psycopg.Error, UnicodeError) as error:
                if self._failed:  # a connection that is lost once is no news
                    self._say("wake_unavailable", f"nobody listens: PostgreSQL {self._words(error)}; {_UNTIL_THEN}")
                self._failed = True
                await asyncio.sleep(_AGAIN_S)
            except (OSError, Unavailable):
                await asyncio.sleep(_AGAIN_S)  # the readings say what is wrong with PostgreSQL

    async def _listen(self, channels: Collection[str]) -> None:
        connection = await connect(self.dsn)
        try:
            if not await hears(connection, self.dsn, self.notify):
                raise Deaf
            for channel in channels:
                await _say_to(connection, "LISTEN {}", channel)
            self.begun()
            self._failed = False
            self._say("listening", f"a cycle begins at once when a job is announced on {', '.join(channels)}")
            while self.leading():
                async for _ in connection.notifies(timeout=_ALIVE_S):
                    self.wake()
                await _say_to(connection, "SELECT 1")
                if await self._are_more_than(channels):
                    return
        finally:
            await connection.close()

    async def _are_more_than(self, channels: Collection[str]) -> bool:
        """Whether a queue has announced jobs all along that could not be read when listening began."""
        try:
            return not set(await self.channels()) <= set(channels)
        except Unavailable:
            return False

    def _deaf(self) -> str:
        if self.variable == "DATABASE_URL":
            why, mend = "DATABASE_URL leads through a pooler", "set DATABASE_DIRECT_URL to PostgreSQL's own address"
        else:
            why = f"{self.variable} leads through a pooler too, or to another database than DATABASE_URL"
            mend = "set it to PostgreSQL's own address"
        return f"what is notified does not arrive: {why}; {mend}; {_UNTIL_THEN}"

    def _words(self, error: psycopg.Error | UnicodeError) -> str:
        if isinstance(error, UnicodeError):
            return f"cannot be asked: {self.variable} or queue.wake_on holds odd text"
        return in_words(error, None, _ANSWER_S).replace("DATABASE_URL", self.variable)

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


async def hears(connection: Connection, dsn: str, notify: Callable[[str], Awaitable[None]]) -> bool:
    """Whether what is sent from elsewhere arrives; through a pooler, LISTEN succeeds and delivers nothing.

    notify: from the connection that reads. Where that one cannot (a standby is good enough to be read), another is
    opened for it at dsn, which is where the connection listens.
    """
    test = f"autoscaler_{secrets.token_hex(8)}"
    try:
        await _say_to(connection, "LISTEN {}", test)
        try:
            await notify(test)
        except Unavailable:
            async with await connect(dsn) as other:
                await _say_to(other, "NOTIFY {}", test)
        heard = [one.channel async for one in connection.notifies(timeout=_SELF_TEST_S, stop_after=1)]
    finally:
        # A pooler gives the session to somebody else next, who listens to nothing of ours.
        await _say_to(connection, "UNLISTEN {}", test)
    return test in heard


async def _say_to(connection: Connection, statement: LiteralString, *names: str) -> None:
    """With an answer in time, or the connection is given up."""
    with answered_within(connection, _ANSWER_S):
        await connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
