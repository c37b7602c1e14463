"""A lane: one kept connection, the lock for using it, and the handling of its errors."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import psycopg

from controller.adapters.postgres import SOURCE
from controller.adapters.postgres.connection import (
    BY_INDEX,
    CONNECT_TIMEOUT_S,
    Reader,
    Statement,
    read_within,
    setting,
)
from controller.adapters.postgres.errors import in_words
from controller.adapters.postgres.own_query import leftovers_warning, rolled_back
from controller.core.ports import Unavailable
from controller.policy import Queue as QueuePolicy

T = TypeVar("T")
_MOST_SLOW = 3
"""Of statements that are asked together, so many may use their whole timeout; they are asked alone if more do."""


class CannotConnect(Unavailable):
    """The connection could not be opened, so no query was sent."""


@dataclass(eq=False)
class Lane:
    """One connection for one reading at a time; hold `turn` while using it.

    watched: its statements contain SQL that the user wrote (queue.where, a preset of their own).
    changed: called with a queue whose query was refused, because its tables may have changed.
    """

    dsn: str
    changed: Callable[[QueuePolicy], None]
    search_path: str = ""
    kept: Reader | None = None
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    idle_since: float = 0.0
    watched: bool = False

    async def reader(self) -> Reader:
        if self.kept is None or self.kept.is_lost:
            self.kept = await Reader.connect(self.dsn, self.search_path)
        return self.kept

    async def drop(self) -> None:
        kept, self.kept = self.kept, None
        if kept is not None:
            await kept.close()

    @property
    def is_lost(self) -> bool:
        return self.kept is None or self.kept.is_lost

    async def ask(self, statement: Statement, timeout_s: float, *, by_index: bool = False) -> list[tuple[Any, ...]]:
        """The rows that one statement returns.

        Raises:
            psycopg.Error: it failed.
        """
        (rows,) = await self.ask_all([statement], timeout_s, by_index=by_index)
        return rows

    async def ask_all(
        self, statements: Sequence[Statement], timeout_s: float, *, by_index: bool = False
    ) -> list[list[tuple[Any, ...]]]:
        """The rows of each statement, all in one transaction and one round trip; each has the whole timeout.

        Raises:
            psycopg.Error: one of them failed, so that none is answered.
        """
        before = [setting(BY_INDEX)] if by_index else []
        counts = min(len(statements), _MOST_SLOW)
        reader = await self.reader()
        if not self.watched:
            answers = await reader.read([*before, *statements], timeout_s, counts=counts)
            return [answer.rows for answer in answers[len(before) :]]
        guarded = [rolled_back(statement) for statement in statements]
        each = len(guarded[0])
        answers = await reader.read(
            [*before, *itertools.chain.from_iterable(guarded)], timeout_s, counts=counts, watched=True
        )
        answers = answers[len(before) :]
        if any(answer.rows for answer in answers[each - 1 :: each]):
            await self.drop()
        return [answer.rows for answer in answers[1::each]]

    async def guarded(self, queue: QueuePolicy | None, ask: Callable[[], Awaitable[T]], timeout_s: float) -> T:
        """Runs `ask` with a timeout; once more on a new connection if the kept one had died.

        queue: the queue that is read; None for several.

        Raises:
            CannotConnect: the connection could not be opened.
            Unavailable: the query failed; the message says why and what to do.
        """
        try:
            # Connecting and reading have their own timeouts. This one covers the rest, such as a DNS lookup.
            async with asyncio.timeout(2 * (CONNECT_TIMEOUT_S + read_within(1, timeout_s))):
                return await self._on_a_live_connection(ask)
        except TimeoutError:
            await self.drop()
            raise Unavailable(SOURCE, "did not answer in time; is the network to it down?") from None
        except UnicodeError:
            words = "cannot be asked: DATABASE_URL or the policy holds characters that cannot be encoded"
            raise Unavailable(SOURCE, words) from None
        except psycopg.Error as error:
            # With several queues it is unknown whose query failed; each is then read alone.
            if queue is not None and not isinstance(error, psycopg.OperationalError):
                self.changed(queue)
            connected = self.kept is not None
            left = [] if self.kept is None else self.kept.left
            if self.kept is not None and (self.kept.is_lost or left):
                await self.drop()
            words = in_words(error, queue, timeout_s)
            if left and queue is not None:
                words = f"{words}; and {leftovers_warning(queue, left)}"
            kind = Unavailable if connected else CannotConnect
            raise kind(SOURCE, words) from None

    async def _on_a_live_connection(self, ask: Callable[[], Awaitable[T]]) -> T:
        kept = self.kept is not None
        try:
            return await ask()
        except psycopg.OperationalError:
            # A connection that died between two readings says nothing about the queue: retry once on a new one.
            if not kept or not self.is_lost:
                raise
            await self.drop()
            return await ask()
