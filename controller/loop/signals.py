"""Signals: from the first line of main on, each of five signals ends the program cleanly, without a traceback.

By default the program ends at once, because it holds nothing that must be released. A command that holds something (a
lease, servers, a connection) registers a callback with on_end(). Only the first signal calls it; later signals change
nothing, and in particular not the exit code.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop  # this module is imported before all others, so it must import fast

T = TypeVar("T")
ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""SIGHUP does something else while on_hangup_in() says so."""
_LEAVES_S = 2.0
"""Seconds that a command may take to end after a signal, whatever it waits for; its result is not needed then."""


def take_over(*, exit_code: int | None = None) -> None:
    """From now on signals end this process cleanly. exit_code: after a signal; None: 128 + its number.

    A SIGHUP that was ignored from the start (nohup) stays ignored.
    """
    _State.exit_code = exit_code
    if _State.is_ours:
        return
    _State.is_ours = True
    for number in ENDING:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _on_signal)


def exit_code_of(number: int) -> int:
    return 128 + number if _State.exit_code is None else _State.exit_code


def on_end(end: Callable[[int], None]) -> None:
    """The first signal from now on calls `end` with its number; later signals do nothing."""
    _State.end = end


def on_end_in(loop: AbstractEventLoop, end: Callable[[int], None], *, within_s: float | None = None) -> None:
    """As on_end(), but `end` runs in the event loop; also calls take_over() if that was not done yet.

    within_s: the process ends within this many seconds, even if the loop hangs and never runs the callback.
    """
    take_over(exit_code=_State.exit_code)
    on_end(_within(loop, end, within_s))


def on_hangup_in(loop: AbstractEventLoop, call: Callable[[], None]) -> None:
    """From now on a SIGHUP does not end the program but calls this, in the event loop."""

    def hung_up() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(call)

    _State.hung_up = hung_up


def over(exit_code: int, *, within_s: float = _LEAVES_S) -> None:
    """Only the exit is left: no signal changes the exit code any more, and no thread can delay the end."""
    if not _State.is_ours:
        return  # a program that calls main() as a function decides itself when it ends
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    leave_within(within_s, exit_code)


def leave_within(seconds: float, exit_code: int) -> None:
    """The process ends within this time, whatever hangs; a later call sets another time and code.

    From now on signals do nothing.
    """
    if not _State.is_ours:
        return
    _State.end = _nothing
    _State.leaves_at, _State.leaves_with = time.monotonic() + seconds, exit_code
    if not _State.is_watched:
        _State.is_watched = True
        threading.Thread(target=_watch, name="leaving", daemon=True).start()


def extend(seconds: float) -> None:
    """Moves the end set by leave_within(): the command has something to finish first."""
    _State.leaves_at += seconds


def interruptible(work: Coroutine[Any, Any, T]) -> T:
    """asyncio.run() for a command: a signal cancels the work, which releases what it holds.

    Raises:
        SystemExit: a signal ended it.
    """
    import asyncio  # noqa: PLC0415  # as above

    received: list[int] = []

    async def cancellable() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        assert task is not None

        def end(number: int) -> None:
            received.append(number)
            task.cancel()

        on_end(_within(loop, end, _LEAVES_S))
        try:
            return await work
        finally:
            if not received:
                on_end(_leave)

    try:
        result = asyncio.run(cancellable())
    except asyncio.CancelledError:
        if not received:
            raise
    if received:
        raise SystemExit(exit_code_of(received[0]))
    return result


def _within(loop: AbstractEventLoop, end: Callable[[int], None], within_s: float | None) -> Callable[[int], None]:
    def on_first(number: int) -> None:
        if loop.is_closed():
            _leave(number)
        if within_s is not None:
            leave_within(within_s, exit_code_of(number))
        loop.call_soon_threadsafe(end, number)

    return on_first


def _leave(number: int) -> NoReturn:
    """Ends the process at once. An exception could be raised in any callback, where Python prints it and goes on."""
    os._exit(exit_code_of(number))


def _nothing(_: int) -> None:
    """For signals after the first one."""


class _State:
    """Global state of the process, because signals are global, too."""

    end: Callable[[int], None] = _leave
    exit_code: int | None = None
    is_ours = False
    is_watched = False
    leaves_at = 0.0
    leaves_with = 0
    hung_up: Callable[[], None] | None = None


def _on_signal(number: int, _: object) -> None:
    if number == signal.SIGHUP and _State.hung_up is not None and _State.end is not _nothing:
        _State.hung_up()
        return
    end, _State.end = _State.end, _nothing
    end(number)


def _watch() -> None:
    while (left := _State.leaves_at - time.monotonic()) > 0:
        time.sleep(min(left, 0.1))
    os._exit(_State.leaves_with)
