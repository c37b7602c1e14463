"""Reads many queues at once: those that are quick in one round trip, the others side by side.

Here belongs which queue is read with which, and what is learnt for the next time: a slow one gets a connection beside
the shared one, and one that failed is read alone, after the quick ones. counting.py is one such reading.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from typing import Any

from controller.adapters.postgres.counting import Asked, Counting
from controller.adapters.postgres.lane import CannotConnect, Lane
from controller.adapters.postgres.lanes import Lanes
from controller.adapters.postgres.remarks import Remarks
from controller.core.model import QueueDepth
from controller.core.ports import Unavailable

Answer = QueueDepth | Unavailable
_SLOW_SHARE = 0.5
"""A reading that took more than this share of its timeout moves to its own connection next time."""
_MOST_TOGETHER = 50
"""Queues in one round trip. If one of them fails, only these are read alone."""
_FEW_TOGETHER = 7
"""Queues in one round trip after a slow one. If that is slow again, these are read alone."""
_QUICK_SHARE = 0.1
"""A reading that took less than this share of its timeout returns to the shared connection."""


class Readings:
    """What is known of each queue, by its key, from its last reading."""

    def __init__(self, lanes: Lanes, counting: Counting, remarks: Remarks) -> None:
        self._lanes = lanes
        self._counting = counting
        self._remarks = remarks
        self._known: set[str] = set()
        """Every queue that was ever asked for."""
        self._slow: set[str] = set()
        self._suspect: set[str] = set()
        """Of each, the last reading was slow together with many others."""
        self._failed_last: set[str] = set()

    async def of(self, asked: Mapping[str, Asked]) -> AsyncGenerator[tuple[str, Answer], None]:
        """One reading of all these queues; each answer comes under its name as soon as it is there.

        When it is closed or cancelled, it first waits until the server has ended what it was still asked.
        """
        self._known |= {one.key for one in asked.values()}
        beside = {name: one for name, one in asked.items() if self._needs_own_connection(one)}
        shared = {name: one for name, one in asked.items() if name not in beside}
        quick = {name: one for name, one in shared.items() if one.key not in self._failed_last}
        batches = [dict(some) for some in self._batches(quick)]
        refused: list[CannotConnect] = []
        reading = [asyncio.create_task(self._together(batch, refused)) for batch in batches]
        together = {name: task for batch, task in zip(batches, reading, strict=True) for name in batch}
        ended: asyncio.Queue[asyncio.Task[Answer]] = asyncio.Queue()
        # In this order they get the shared connection: a queue that failed last time keeps no other one waiting.
        tasks = {
            asyncio.create_task(self._answer(name, one, reading if name in shared else [], together.get(name))): name
            for name, one in {**quick, **shared, **beside}.items()
        }
        for task in tasks:
            task.add_done_callback(ended.put_nowait)
        try:
            for _ in tasks:
                one = await ended.get()
                yield tasks[one], one.result()
        finally:
            await _end((*reading, *tasks))

    def _batches(self, quick: Mapping[str, Asked]) -> Iterator[Sequence[tuple[str, Asked]]]:
        for is_suspect, size in ((False, _MOST_TOGETHER), (True, _FEW_TOGETHER)):
            these = [(name, one) for name, one in quick.items() if (one.key in self._suspect) is is_suspect]
            for begin in range(0, len(these), size):
                yield these[begin : begin + size]

    def _needs_own_connection(self, one: Asked) -> bool:
        """A slow queue, or one with its own timeout, gets its own connection, unless it is the only queue."""
        may_be_slow = one.key in self._slow or one.queue.timeout is not None
        return may_be_slow and len(self._known) > 1

    async def _together(self, quick: Mapping[str, Asked], refused: list[CannotConnect]) -> Mapping[str, Answer]:
        """Reads these on the shared connection, in one round trip.

        Those that are not in the answer must be read alone, since one of them failed and it is unknown which.
        refused: set if the connection could not be opened; then the next of this reading do not wait for it, too.
        """
        batch = list(quick.values())
        timeout_s = batch[0].timeout_s  # of them all: with one of its own, a queue is here only if it is the only queue
        async with self._lanes.main.turn:
            if refused:
                return dict.fromkeys(quick, refused[0])
            if len(batch) == 1:
                return dict.fromkeys(quick, await self._alone(self._lanes.main, batch[0]))
            with contextlib.suppress(Unavailable):  # which the reading itself says
                await self._lanes.on_main(None, lambda lane: self._counting.prepare(lane, batch, timeout_s), timeout_s)
            began = asyncio.get_running_loop().time()
            answers: Sequence[Answer]
            try:
                answers = await self._lanes.on_main(
                    None, lambda lane: self._counting.depths(lane, batch, timeout_s), timeout_s
                )
            except CannotConnect as unavailable:
                refused.append(unavailable)
                answers = [unavailable] * len(batch)
            except Unavailable:
                answers = []
            keys = {one.key for one in batch}
            if asyncio.get_running_loop().time() - began <= _SLOW_SHARE * timeout_s:
                self._suspect -= keys
            elif len(batch) > _FEW_TOGETHER:
                self._suspect |= keys  # one query is slow, or the machine is: fewer at once tell more
            else:
                # One query is slow, or all together are. Only reading each one alone can tell.
                self._slow |= keys
                self._suspect -= keys
        return dict(zip(quick, answers, strict=False))

    async def _answer(
        self,
        name: str,
        one: Asked,
        shared: Collection[asyncio.Task[Any]],
        together: asyncio.Task[Mapping[str, Answer]] | None,
    ) -> Answer:
        """shared: all that is read together on the shared connection; empty: this one needs its own connection.

        together: the one of these that it is in, if any.
        """
        if together is None and shared:
            await asyncio.wait(shared)
        answer = None if together is None else (await together).get(name)
        if answer is None:
            on_its_own = not shared or self._needs_own_connection(one)
            answer = await (self._beside(one) if on_its_own else self._on_shared(one))
        return answer if isinstance(answer, Unavailable) else await self._remarks.added_to(answer, one.queue)

    async def _beside(self, one: Asked) -> Answer:
        """Reads it on its own connection; if the server allows no more, on the shared one when it is free."""
        try:
            async with self._lanes.beside(one.timeout_s) as lane:
                answer = await self._alone(lane, one)
        except Unavailable as no_place:
            return no_place
        return await self._on_shared(one) if isinstance(answer, CannotConnect) else answer

    async def _on_shared(self, one: Asked) -> Answer:
        async with self._lanes.main.turn:
            return await self._alone(self._lanes.main, one)

    async def _alone(self, lane: Lane, one: Asked) -> Answer:
        """Reads it by itself, and learns from that how to read it the next time."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer: Answer
        try:
            if lane is self._lanes.main:
                (answer,) = await self._lanes.on_main(
                    one.queue, lambda main: self._counting.depths(main, [one], one.timeout_s), one.timeout_s
                )
            else:
                (answer,) = await lane.guarded(
                    one.queue, lambda: self._counting.depths(lane, [one], one.timeout_s), one.timeout_s
                )
        except Unavailable as unavailable:
            answer = unavailable
        if isinstance(answer, Unavailable):
            answer = await self._counting.end_overdue(lane, one) or answer
        self._suspect.discard(one.key)
        took = (loop.time() - began) / one.timeout_s
        if took > _SLOW_SHARE:
            self._slow.add(one.key)
        elif took < _QUICK_SHARE:
            self._slow.discard(one.key)
        if isinstance(answer, Unavailable):
            self._failed_last.add(one.key)
        else:
            self._failed_last.discard(one.key)
        return answer


async def _end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancels the tasks and waits until all have ended, even if it is cancelled itself meanwhile."""
    for one in tasks:
        one.cancel()
    cancelled: asyncio.CancelledError | None = None
    while any(not one.done() for one in tasks):
        try:
            await asyncio.wait(tasks)
        except asyncio.CancelledError as error:
            cancelled = error
    for one in tasks:
        if not one.cancelled():
            one.exception()  # the first bug was raised by the reading; asyncio would log the others
    if cancelled is not None:
        raise cancelled
