"""Listens for NOTIFY on a connection of its own, so that a new job starts a cycle at once.

If it fails, the queue is still read once per interval: it costs speed, never correctness.
"""

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
from controller.adapters.postgres.errors import in_words, is_connection_limit
from controller.core import units
from controller.core.ports import Report, Unavailable

_LOOK_S = 0.5
"""Interval at which a standby checks whether it leads now."""
_AGAIN_S = 5.0
_DEAF_AGAIN_S = 300.0
"""Retry interval if NOTIFY does not arrive. A pooler keeps its mode, so only a changed address helps."""
_NO_ROOM_AGAIN_S = 60.0
"""Retry interval if no second connection is allowed. The limit may be raised; each refusal is logged by the server."""
_CUTS = 3
_CUT_WINDOW_S = 600.0
"""_CUTS cuts within _CUT_WINDOW_S are reported once, as one continuing fault, and not each by itself."""
_HOLDS_S = 30.0
"""That fault is over once the connection holds for 30 s and for 3 times the longest gap between the cuts."""
_ALIVE_S = 5.0
"""A silent connection is tested this often, because a dead one is as silent as an idle one."""
_ANSWER_S = 5.0
_SELF_TEST_S = 2.0
_UNTIL_THEN = "until then the queue is read once per interval"


class NotDelivered(Exception):  # noqa: N818  # a state of the connection, not a failed call
    """LISTEN succeeded but the test NOTIFY did not arrive: there is a pooler in between, or it is another database."""


class NoSecondConnection(Exception):  # noqa: N818  # a state of the server, not a failed call
    """The server or the pooler allows no connection for listening beside the one that reads."""


@dataclass
class _Cuts:
    """at: when the listening connection was cut, within the last 10 min. said: whether that was reported."""

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
    """Calls wake() for every notification on the channels, while leading() is true.

    A notification only means "read the queue now". begun() is called after each connect, to make up for notifications
    that were sent before. notify() sends one on the reading connection, to test whether any arrives at all. variable:
    the environment variable that holds `dsn`.
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
        """Runs until cancelled. It holds a connection only while this replica leads."""
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
            except NotDelivered:
                self._say("wake_unavailable", self._not_delivered())
                await self._while_leading(_DEAF_AGAIN_S)
            except psycopg.errors.ReadOnlySqlTransaction:
                fix = f"set DATABASE_DIRECT_URL to the primary's address; {_UNTIL_THEN}"
                self._say("wake_unavailable", f"LISTEN is impossible on a PostgreSQL standby; {fix}")
                await self._while_leading(_DEAF_AGAIN_S)
            except NoSecondConnection as refusal:
                self._say("wake_unavailable", f"{refusal}; {_UNTIL_THEN}")
                await self._while_leading(_NO_ROOM_AGAIN_S)
            except (psycopg.Error, UnicodeError) as error:
                self._lost(error)
                await asyncio.sleep(_AGAIN_S)
            except (OSError, Unavailable):
                await asyncio.sleep(_AGAIN_S)  # the readings already report what is wrong with PostgreSQL

    def _lost(self, error: psycopg.Error | UnicodeError) -> None:
        """A single lost connection is not reported; repeated losses are reported once."""
        is_cut = self._connected and isinstance(error, psycopg.OperationalError)
        if is_cut:
            self._cuts.add(asyncio.get_running_loop().time())
        if self._cuts.are_many and not self._cuts.said:
            self._cuts.said = True
            self._say("wake_unavailable", self._cut_again_and_again(error))
        elif self._failed and not is_cut and not self._cuts.said:
            self._say("wake_unavailable", f"cannot listen: PostgreSQL {self._words(error)}; {_UNTIL_THEN}")
        self._failed = True

    async def _listen(self, channels: Collection[str]) -> None:
        self._connected = False
        connection = await self._connect()
        self._connected = True
        try:
            if not await self._receives_notify(connection):
                raise NotDelivered
            for channel in channels:
                await _say_to(connection, "LISTEN {}", channel)
            self.begun()
            self._failed = False
            listens = f"a NOTIFY on {', '.join(channels)} starts a cycle at once"
            since = asyncio.get_running_loop().time()
            while self.leading():
                held_s = asyncio.get_running_loop().time() - since
                if self._cuts.said and self._cuts.are_over(held_s):
                    self._cuts = _Cuts()
                    self._say("listening", listens, f"; the connection has now held for {units.in_words(held_s)}")
                elif not self._cuts.said:
                    self._say("listening", listens)
                heard = False
                with with_server_reason(connection):
                    async for _ in connection.notifies(timeout=_ALIVE_S):
                        heard = True
                        self.wake()
                    if not heard:
                        # A notification proves that the link works. In a flood, this answer would wait behind GBs.
                        await _say_to(connection, "SELECT 1")
                if await self._are_more_than(channels):
                    return
        finally:
            await connection.close()

    async def _connect(self) -> Connection:
        try:
            return await connect(self.dsn)
        except psycopg.OperationalError as error:
            if is_connection_limit(error):
                raise NoSecondConnection(
                    second_connection_needed(self.variable, f"PostgreSQL {self._words(error)}")
                ) from None
            raise

    async def _receives_notify(self, connection: Connection) -> bool:
        try:
            return await receives_notify(connection, self.dsn, self.notify)
        except NoAnswerError:
            why = "it did not answer; does a pooler allow only one session?"
            raise NoSecondConnection(second_connection_needed(self.variable, why)) from None

    async def _are_more_than(self, channels: Collection[str]) -> bool:
        """Whether there is a new channel now, of a queue that could not be read when listening began."""
        try:
            return not set(await self.channels()) <= set(channels)
        except Unavailable:
            return False

    def _not_delivered(self) -> str:
        why = "DATABASE_URL leads through a pooler"
        if self.variable != "DATABASE_URL":
            why = f"{self.variable} leads through a pooler too, or to another database than DATABASE_URL"
        return f"NOTIFY does not arrive: {why}; {_direct_address(self.variable)}; {_UNTIL_THEN}"

    def _cut_again_and_again(self, error: psycopg.Error | UnicodeError) -> str:
        within = round(self._cuts.at[-1] - self._cuts.at[0])
        return (
            f"the listening connection was cut {len(self._cuts.at)} times within {within} s; last error: PostgreSQL "
            f"{self._words(error)}; probably something ends idle or old connections: a pooler, a proxy, "
            f"idle_session_timeout, a job that ends sessions; {_direct_address(self.variable)}; {_UNTIL_THEN}"
        )

    def _words(self, error: psycopg.Error | UnicodeError) -> str:
        if isinstance(error, UnicodeError):
            return f"cannot be asked: {self.variable} or queue.wake_on holds characters that cannot be encoded"
        return in_words(error, None, _ANSWER_S, self.variable)

    async def _while_leading(self, seconds: float) -> None:
        for _ in range(round(seconds / _LOOK_S)):
            if not self.leading():
                return
            await asyncio.sleep(_LOOK_S)

    def _say(self, event: str, message: str, detail: str = "") -> None:
        """Reports a message once until a different one follows; a change in `detail` alone is not reported."""
        if message != self._said:
            self._said = message
            self.report(event, source=SOURCE.name, message=f"{message}{detail}")


@contextlib.contextmanager
def with_server_reason(connection: Connection) -> Iterator[None]:
    """Raises the reason that a server gives when it ends an idle connection.

    The server sends it as a notice first; the error that follows says only that the connection is closed.
    """
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


def _direct_address(variable: str) -> str:
    what = "it" if variable == "DATABASE_DIRECT_URL" else "DATABASE_DIRECT_URL"
    return f"set {what} to PostgreSQL's own address"


def second_connection_needed(variable: str, why: str) -> str:
    """The warning's text if listening gets no connection because reading holds the only one."""
    return (
        f"listening for NOTIFY needs a second connection at {variable}, beside the one that reads: {why}; allow 2 "
        "(ALTER ROLE … CONNECTION LIMIT, ALTER DATABASE … CONNECTION LIMIT, or the pooler's pool_size)"
    )


async def receives_notify(connection: Connection, dsn: str, notify: Callable[[str], Awaitable[None]]) -> bool:
    """Whether a NOTIFY from another connection arrives. Through a pooler, LISTEN succeeds but delivers nothing.

    notify: sends on the reading connection. If that fails (it may read from a standby), a further connection to `dsn`,
    the address of the listening one, sends instead.
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
        # A pooler gives the session to another client next, which should not receive ours. If the connection is lost,
        # the error that ended it must not be hidden by this one.
        with contextlib.suppress(psycopg.OperationalError):
            await _say_to(connection, "UNLISTEN {}", test)
    return test in heard


async def _say_to(connection: Connection, statement: LiteralString, *names: str) -> None:
    """Executes a statement on the connection; gives the connection up if there is no answer within 5 s."""
    with answered_within(connection, _ANSWER_S):
        await connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
