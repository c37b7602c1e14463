"""The NOTIFY that cuts a wait short: a connection of its own that only listens. Its failures cost only speed."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import LiteralString

import psycopg
from psycopg import sql

from controller.adapters.postgres import SOURCE
from controller.adapters.postgres.connection import Connection, NoAnswerError, answered_within, connect
from controller.adapters.postgres.errors import has_no_room, in_words
from controller.core import units
from controller.core.ports import Report, Unavailable

_LOOK_S = 0.5
"""How often it is looked whether we lead, while we do not."""
_AGAIN_S = 5.0
_DEAF_AGAIN_S = 300.0
"""A pooler does not change its mode; somebody may change the address."""
_NO_ROOM_AGAIN_S = 60.0
"""Somebody may raise a limit, or a pool's size; until then each attempt is refused, and logged there."""
_CUTS = 3
_CUT_WINDOW_S = 600.0
"""So many cuts within so long are no news each, but one state, which is said once."""
_HOLDS_S = 30.0
"""At least so long, and three times as long as it last took from one cut to the next, before it counts as over."""
_ALIVE_S = 5.0
"""How often it is looked whether the link still is one: a dead one is as silent as an idle one."""
_ANSWER_S = 5.0
_SELF_TEST_S = 2.0
_UNTIL_THEN = "until then the queue is read once each interval"


class Deaf(Exception):  # noqa: N818  # a state of the connection: nothing that is announced arrives
    """LISTEN succeeded, and what was sent did not arrive: there is a pooler in between, or it is another database."""


class NoSecond(Exception):  # noqa: N818  # a state of the server: it has one connection for us, and the reading has it
    """There is no connection, or no session of a pooler's, to listen on beside the one that reads."""


@dataclass
class _Cuts:
    """When the connection that listens was lost, in the last minutes, and whether that was said."""

    at: list[float] = field(default_factory=list)
    said: bool = False

    def add(self, now: float) -> None:
        self.at = [*(one for one in self.at if now - one < _CUT_WINDOW_S), now]

    @property
    def are_many(self) -> bool:
        return len(self.at) >= _CUTS

    def are_over(self, held_s: float) -> bool:
        gaps = [later - earlier for earlier, later in zip(self.at, self.at[1:], strict=False)]
        return held_s >= max([_HOLDS_S, *(3 * gap for gap in gaps)])


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
    _connected: bool = field(default=False, init=False)
    _cuts: _Cuts = field(default_factory=_Cuts, init=False)

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
            except NoSecond as refusal:
                self._say("wake_unavailable", f"{refusal}; {_UNTIL_THEN}")
                await self._while_leading(_NO_ROOM_AGAIN_S)
            except (psycopg.Error, UnicodeError) as error:
                self._lost(error)
                await asyncio.sleep(_AGAIN_S)
            except (OSError, Unavailable):
                await asyncio.sleep(_AGAIN_S)  # the readings say what is wrong with PostgreSQL

    def _lost(self, error: psycopg.Error | UnicodeError) -> None:
        """A connection that is lost once is no news; one that is lost again and again is said once."""
        is_cut = self._connected and isinstance(error, psycopg.OperationalError)
        if is_cut:
            self._cuts.add(asyncio.get_running_loop().time())
        if self._cuts.are_many and not self._cuts.said:
            self._cuts.said = True
            self._say("wake_unavailable", self._cut_again_and_again(error))
        elif self._failed and not is_cut and not self._cuts.said:
            self._say("wake_unavailable", f"nobody listens: PostgreSQL {self._words(error)}; {_UNTIL_THEN}")
        self._failed = True

    async def _listen(self, channels: Collection[str]) -> None:
        self._connected = False
        connection = await self._connect()
        self._connected = True
        try:
            if not await self._hears(connection):
                raise Deaf
            for channel in channels:
                await _say_to(connection, "LISTEN {}", channel)
            self.begun()
            self._failed = False
            listens = f"a cycle begins at once when a job is announced on {', '.join(channels)}"
            since = asyncio.get_running_loop().time()
            while self.leading():
                held_s = asyncio.get_running_loop().time() - since
                if self._cuts.said and self._cuts.are_over(held_s):
                    self._cuts = _Cuts()
                    self._say(
                        "listening", listens, f"; the connection was not cut any more for {units.in_words(held_s)}"
                    )
                elif not self._cuts.said:
                    self._say("listening", listens)
                heard = False
                with with_last_words(connection):
                    async for _ in connection.notifies(timeout=_ALIVE_S):
                        heard = True
                        self.wake()
                    if not heard:
                        # Else it is known, and in a flood the answer would come behind some GB that are kept for it.
                        await _say_to(connection, "SELECT 1")
                if await self._are_more_than(channels):
                    return
        finally:
            await connection.close()

    async def _connect(self) -> Connection:
        try:
            return await connect(self.dsn)
        except psycopg.OperationalError as error:
            if has_no_room(error):
                raise NoSecond(no_second(self.variable, f"PostgreSQL {self._words(error)}")) from None
            raise

    async def _hears(self, connection: Connection) -> bool:
        try:
            return await hears(connection, self.dsn, self.notify)
        except NoAnswerError:
            raise NoSecond(no_second(self.variable, "it has no answer; has a pooler a single session?")) from None

    async def _are_more_than(self, channels: Collection[str]) -> bool:
        """Whether a queue has announced jobs all along that could not be read when listening began."""
        try:
            return not set(await self.channels()) <= set(channels)
        except Unavailable:
            return False

    def _deaf(self) -> str:
        why = "DATABASE_URL leads through a pooler"
        if self.variable != "DATABASE_URL":
            why = f"{self.variable} leads through a pooler too, or to another database than DATABASE_URL"
        return f"what is notified does not arrive: {why}; {_way_around(self.variable)}; {_UNTIL_THEN}"

    def _cut_again_and_again(self, error: psycopg.Error | UnicodeError) -> str:
        within = round(self._cuts.at[-1] - self._cuts.at[0])
        return (
            f"the connection that listens was cut {len(self._cuts.at)} times within {within} s, at last so: PostgreSQL "
            f"{self._words(error)}; likely something ends idle or old connections: a pooler, a proxy, "
            f"idle_session_timeout, a job that ends sessions; {_way_around(self.variable)}; {_UNTIL_THEN}"
        )

    def _words(self, error: psycopg.Error | UnicodeError) -> str:
        if isinstance(error, UnicodeError):
            return f"cannot be asked: {self.variable} or queue.wake_on holds odd text"
        return in_words(error, None, _ANSWER_S, self.variable)

    async def _while_leading(self, seconds: float) -> None:
        for _ in range(round(seconds / _LOOK_S)):
            if not self.leading():
                return
            await asyncio.sleep(_LOOK_S)

    def _say(self, event: str, message: str, detail: str = "") -> None:
        """Once, as long as nothing else has become true; another detail is no news."""
        if message != self._said:
            self._said = message
            self.report(event, source=SOURCE.name, message=f"{message}{detail}")


@contextlib.contextmanager
def with_last_words(connection: Connection) -> Iterator[None]:
    """An idle connection that a server ends says why in a notice, and only then that it is closed."""
    said: list[str] = []

    def keep(diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized in {"FATAL", "PANIC"}:
            said.append(diagnostic.message_primary or "")

    connection.add_notice_handler(keep)
    try:
        yield
    except NoAnswerError:
        raise
    except psycopg.OperationalError as error:
        if said:
            raise psycopg.OperationalError(f"FATAL:  {said[-1]}") from error
        raise
    finally:
        connection.remove_notice_handler(keep)


def _way_around(variable: str) -> str:
    what = "it" if variable == "DATABASE_DIRECT_URL" else "DATABASE_DIRECT_URL"
    return f"set {what} to PostgreSQL's own address"


def no_second(variable: str, why: str) -> str:
    """For a warning: the reading has the one connection that there is."""
    return (
        f"to be woken takes a second connection at {variable}, beside the one that reads: {why}; allow 2 "
        "(ALTER ROLE … CONNECTION LIMIT, ALTER DATABASE … CONNECTION LIMIT, or the pooler's pool_size)"
    )


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
        # A pooler gives the session to somebody else next, who listens to nothing of ours. Where the connection is
        # lost, what has ended it is what is to be said.
        with contextlib.suppress(psycopg.OperationalError):
            await _say_to(connection, "UNLISTEN {}", test)
    return test in heard


async def _say_to(connection: Connection, statement: LiteralString, *names: str) -> None:
    """With an answer in time, or the connection is given up."""
    with answered_within(connection, _ANSWER_S):
        await connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
