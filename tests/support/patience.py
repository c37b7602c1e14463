"""Waiting in tests: for a state, with a bound that no loaded machine reaches, and over as soon as the state is there.

No test may depend on how fast the machine is. What a test waits for is said in its failure, with what was seen last.
Behaviour in time is tested in virtual time (tests/virtual/idle.py), and what measures time is in tests/bench.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn, TypeVar, overload

T = TypeVar("T")
Shown = Callable[[], object]

PATIENCE_S = 120.0
"""What takes a hundredth of it on an idle machine is there in time on any other."""
PAUSE_S = 0.02


@overload
async def until(
    look: Callable[[], Awaitable[T | None]], what: str, *, shown: Shown | None = None, pause: float = PAUSE_S
) -> T: ...
@overload
async def until(
    look: Callable[[], T | None], what: str, *, shown: Shown | None = None, pause: float = PAUSE_S
) -> T: ...
async def until(look: Callable[[], Any], what: str, *, shown: Shown | None = None, pause: float = PAUSE_S) -> Any:
    """What `look` gives as soon as that is true. shown: the state to tell of where it never is, if not that itself.

    Raises:
        AssertionError: with what was waited for, and what was seen last.
    """
    ends = time.monotonic() + PATIENCE_S
    while not (seen := await _value(look())):
        if time.monotonic() > ends:
            _give_up(what, seen if shown is None else shown())
        await asyncio.sleep(pause)
    return seen


async def until_equal(look: Callable[[], object], wanted: object, *, pause: float = PAUSE_S) -> None:
    """Until `look` gives the wanted value, by itself or when it is awaited."""
    ends = time.monotonic() + PATIENCE_S
    while (seen := await _value(look())) != wanted:
        if time.monotonic() > ends:
            _give_up(repr(wanted), seen)
        await asyncio.sleep(pause)


def wait_until(look: Callable[[], T], what: str, *, shown: Shown | None = None) -> T:
    """The same as until() for a test without an event loop."""
    ends = time.monotonic() + PATIENCE_S
    while not (seen := look()):
        if time.monotonic() > ends:
            _give_up(what, seen if shown is None else shown())
        time.sleep(PAUSE_S)
    return seen


async def in_time(awaited: Awaitable[T], what: str, *, shown: Shown = lambda: "nothing") -> T:
    """What is awaited; or a failure that says what never came."""
    task = asyncio.ensure_future(awaited)
    done, _ = await asyncio.wait({task}, timeout=PATIENCE_S)
    if not done:
        task.cancel()
        _give_up(what, shown())
    return task.result()


def _give_up(what: str, seen: object) -> NoReturn:
    raise AssertionError(f"waited {PATIENCE_S:g} s for {what}; seen last: {seen!r}")


async def _value(looked: Any) -> Any:
    return await looked if inspect.isawaitable(looked) else looked
