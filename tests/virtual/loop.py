"""Virtual time: one event loop per simulated process, and one kernel that always turns the one whose turn is next.

Nothing waits for a real second. An asyncio program runs as in real time, but can be stopped at any step: paused (as by
SIGSTOP: time goes on, its timers are late, answers wait for it) or killed (as by kill -9: it takes no further step, and
what it had not sent yet is never sent).
"""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

_MOST_STEPS_AT_ONCE = 100_000


class Livelock(Exception):  # noqa: N818  # a state of the simulated program
    """A process takes step after step without any time passing."""


class Happening(asyncio.TimerHandle):
    """An event with its time: of one process, or (without one) of the simulated world."""

    __slots__ = ("_due", "process")

    def __init__(
        self,
        due: float,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        process: ProcessLoop | None = None,
        context: Context | None = None,
    ) -> None:
        # Not the base's: it would copy the context each time, which the simulation's speed cannot afford.
        self._due = due
        self._callback = callback
        self._args = args
        self._context = context
        self._cancelled = False
        self.process = process

    def when(self) -> float:
        return self._due

    def cancel(self) -> None:
        self._cancelled = True

    def cancelled(self) -> bool:
        return self._cancelled

    def take_place(self) -> None:
        if self._cancelled:
            return
        if self._context is None:
            self._callback(*self._args)
        else:
            self._context.run(self._callback, *self._args)


class Kernel:
    """The clock and the queue of events. Events of the same moment run in the order in which they were added."""

    def __init__(self) -> None:
        self.now = 0.0
        self.steps = 0
        self._due: list[tuple[float, int, Happening]] = []
        self._numbers = itertools.count()

    def at(
        self, when: float, callback: Callable[..., object], *args: Any, process: ProcessLoop | None = None
    ) -> Happening:
        return self.arrange(Happening(max(when, self.now), callback, args, process))

    def after(
        self, delay: float, callback: Callable[..., object], *args: Any, process: ProcessLoop | None = None
    ) -> Happening:
        return self.arrange(Happening(self.now + delay, callback, args, process))

    def arrange(self, happening: Happening) -> Happening:
        heapq.heappush(self._due, (happening.when(), next(self._numbers), happening))
        return happening

    def run_to_the_next(self) -> None:
        """What is due next, and nothing after it."""
        self.run_until(self._due[0][0])

    def run_until(self, end: float) -> None:
        due = self._due
        while due and due[0][0] <= end:
            when, _, happening = heapq.heappop(due)
            if happening.cancelled():
                continue
            self.now = max(self.now, when)
            self.steps += 1
            if happening.process is None:
                happening.take_place()
            else:
                happening.process.meet(happening)
        self.now = end


class ProcessLoop(asyncio.AbstractEventLoop):
    """The asyncio event loop of one simulated process: time, callbacks, tasks; no sockets, no threads, no signals."""

    def __init__(self, kernel: Kernel, name: str) -> None:
        self.kernel = kernel
        self.name = name
        self.is_dead = False
        self.is_paused = False
        self.complaints: list[str] = []
        self._ready: deque[Happening] = deque()
        self._missed: list[Happening] = []
        self._turning = False
        # Kept to the end: a task that the garbage collector finds would run its `finally` at a moment of its own.
        self._tasks: list[asyncio.Task[Any]] = []

    # What happens to the process

    def pause(self) -> None:
        self.is_paused = True

    def resume(self) -> None:
        if not self.is_paused:
            return
        self.is_paused = False
        missed, self._missed = self._missed, []
        self._ready.extend(missed)
        self.kernel.at(self.kernel.now, _nothing, process=self)

    def kill(self) -> None:
        self.is_dead = True
        self._ready.clear()
        self._missed.clear()

    def meet(self, happening: Happening) -> None:
        """Runs an event that is due: now, later while paused, never after the process was killed."""
        if self.is_dead:
            return
        if self.is_paused:
            self._missed.append(happening)
            return
        self._ready.append(happening)
        self._turn()

    def forget(self) -> None:
        """At the end of the simulation: closes what still waits, in order; by then nothing has an effect."""
        self.kill()
        asyncio._set_running_loop(self)
        try:
            for task in self._tasks:
                if not task.done():
                    task._log_destroy_pending = False  # type: ignore[attr-defined]
                    _close(task.get_coro())
        finally:
            asyncio._set_running_loop(None)
        self._tasks.clear()
        self._ready.clear()

    def _turn(self) -> None:
        steps = 0
        self._turning = True
        asyncio._set_running_loop(self)
        try:
            while self._ready:
                self._ready.popleft().take_place()
                steps += 1
                if steps > _MOST_STEPS_AT_ONCE:
                    raise Livelock(f"{self.name} took {steps} steps at once")
        finally:
            asyncio._set_running_loop(None)
            self._turning = False

    # What asyncio asks of an event loop

    def time(self) -> float:
        return self.kernel.now

    def call_soon(self, callback: Callable[[*Ts], object], *args: *Ts, context: Context | None = None) -> Happening:
        happening = Happening(self.kernel.now, callback, args, self, context)
        if self.is_dead:
            return happening
        self._ready.append(happening)
        if not self._turning and not self.is_paused:
            self.kernel.at(self.kernel.now, _nothing, process=self)
        return happening

    call_soon_threadsafe = call_soon

    def call_later(
        self,
        delay: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> Happening:
        return self.call_at(self.kernel.now + delay, callback, *args, context=context)

    def call_at(
        self,
        when: float,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> Happening:
        return self.kernel.arrange(Happening(max(when, self.kernel.now), callback, args, self, context))

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, *, name: str | None = None, context: Context | None = None) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self, name=name or "task", context=context)
        self._tasks.append(task)
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return self._turning

    def is_closed(self) -> bool:
        return self.is_dead

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        if not self.is_dead:
            self.complaints.append(f"{context.get('message')}: {context.get('exception')!r}")

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)


def process_loop(kernel: Kernel, name: str) -> ProcessLoop:
    return ProcessLoop(kernel, name)  # type: ignore[abstract]  # sockets, threads and signals are left out on purpose


def in_virtual_time(main: Coroutine[Any, Any, T], *, limit: float = 3600.0) -> T:
    """Runs one coroutine alone, to its end."""
    kernel = Kernel()
    loop = process_loop(kernel, "alone")
    task = loop.create_task(main)
    while not task.done() and kernel.now < limit:
        kernel.run_until(kernel.now + 1.0)
    try:
        return task.result()  # type: ignore[no-any-return]
    finally:
        loop.forget()


def _close(coroutine: Any) -> None:
    with contextlib.suppress(BaseException):  # what a dead process would have said
        coroutine.close()


def _nothing() -> None:
    pass
