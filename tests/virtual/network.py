"""The links from one process to the servers, and their faults.

A request takes its time to arrive, and its answer to come back. It can be lost silently, arrive while its
answer is lost, be refused, be delayed (and arrive long after its sender has given up), or be cut off.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, NamedTuple

from tests.support.misfortunes import LinkMode
from tests.virtual.loop import Happening, Kernel, ProcessLoop


class Errors(NamedTuple):
    """The errors that a client of this protocol raises."""

    timed_out: Callable[[], Exception]
    refused: Callable[[], Exception]
    broken: Callable[[], Exception]


class Answer(NamedTuple):
    """What a server sends back: a value, or an error in its protocol."""

    value: Any = None
    error: Exception | None = None


Reply = Callable[[Answer], None]
Work = Callable[[Reply], None]


@dataclass
class Link:
    """The link from one process to one server."""

    kernel: Kernel
    process: ProcessLoop
    random: Random
    errors: Errors
    usual_s: float = 0.002
    way: LinkMode = LinkMode.OPEN
    held_s: float = 0.0
    cut_next: bool = False

    def ask(self, work: Work, timeout: float) -> asyncio.Future[Any]:
        """Runs the request at the server unless a fault prevents it; it ends within the timeout."""
        future = self.process.create_future()
        kernel, process = self.kernel, self.process
        if process.is_dead:
            future.cancel()
            return future
        if self.way is LinkMode.REFUSE:
            return self.refuse()

        if self.cut_next:
            self.cut_next = False
            kernel.after(self._delay() * 2, _fail, future, self.errors.broken, process=process)
            if self.random.random() < 0.5:
                kernel.after(self._delay(), work, _into_the_void)
            return future
        end = kernel.after(timeout, _fail, future, self.errors.timed_out, process=process)

        def reply(answer: Answer) -> None:
            if self.way is not LinkMode.DROP and self.way is not LinkMode.HALF_DROP:
                kernel.after(self._delay(), _conclude, future, answer, end, process=process)

        if self.way is not LinkMode.DROP:
            held = self.held_s * self.random.random() if self.way is LinkMode.HOLD else 0.0
            kernel.after(self._delay() + held, work, reply)
        return future

    def refuse(self) -> asyncio.Future[Any]:
        """No server listens there."""
        future = self.process.create_future()
        self.kernel.after(self._delay(), _fail, future, self.errors.refused, process=self.process)
        return future

    def _delay(self) -> float:
        slow = 0.3 * self.random.random() if self.way is LinkMode.SLOW else 0.0
        return self.usual_s * (0.5 + self.random.random()) + slow


def _conclude(future: asyncio.Future[Any], answer: Answer, end: Happening) -> None:
    if future.done():
        return
    end.cancel()
    if answer.error is not None:
        future.set_exception(answer.error)
    else:
        future.set_result(answer.value)


def _fail(future: asyncio.Future[Any], error: Callable[[], Exception]) -> None:
    if not future.done():
        future.set_exception(error())


def _into_the_void(answer: Answer) -> None:
    """The server no longer listens."""
