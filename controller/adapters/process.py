"""Runs one program: no shell, a clean environment, a process group of its own, limited time and output.

The group is killed at the end, whatever the end was: a program that leaves a process behind in its group leaves it
nothing to do. One that left the group may keep the output open for ever: at the end we close our side. Output beyond
the limit ends the program, because a pipe that nobody reads would block it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import NamedTuple

_ALWAYS = ("PATH", "HOME", "LANG")
"""Variables that every program gets: DATABASE_URL, REDIS_URL and tokens stay here unless the policy names them."""
_PATH = "/usr/local/bin:/usr/bin:/bin"
_PIECE = 16_384
_KILL_S = 2.0
"""Time for a killed group to be collected; a process in uninterruptible sleep would take for ever."""


class Ended(NamedTuple):
    """code: as the program returned it; negative: the signal that ended it. said: of stdout. errors: of stderr."""

    code: int
    said: bytes
    errors: bytes


class TimedOutError(Exception):
    """It ran for longer than it may, and was killed."""


class OutputKeptOpenError(TimedOutError):
    """The program itself ended in time, but a process that it started kept its output open."""


class TooMuchOutputError(Exception):
    """It wrote more than is read, and was killed."""


def environment(inherited: Mapping[str, str], names: Sequence[str]) -> dict[str, str]:
    """What a program gets of the controller's environment."""
    found = {name: inherited[name] for name in (*_ALWAYS, *names) if name in inherited}
    return {"PATH": _PATH, **found}


async def run(
    argv: Sequence[str], variables: Mapping[str, str], given: bytes, *, timeout_s: float, most_bytes: int
) -> Ended:
    """Runs it to its end. Nothing is awaited before it is started, so a check right before this call holds.

    given: its stdin. most_bytes: of stdout and of stderr, each.

    Raises:
        OSError: it could not be started.
        TimedOutError, TooMuchOutputError: it was killed.
    """
    process = await asyncio.create_subprocess_exec(
        *argv,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(variables),
        start_new_session=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(timeout_s), asyncio.TaskGroup() as group:
            group.create_task(_feed(process.stdin, given))
            said = group.create_task(_read(process.stdout, most_bytes))
            errors = group.create_task(_read(process.stderr, most_bytes))
            group.create_task(process.wait())
    except TimeoutError:
        raise (TimedOutError if process.returncode is None else OutputKeptOpenError) from None
    except ExceptionGroup as failed:
        if failed.subgroup(TooMuchOutputError) is None:
            raise
        raise TooMuchOutputError from None
    finally:
        await _kill(process)
    assert process.returncode is not None
    return Ended(process.returncode, said.result(), errors.result())


async def _feed(stdin: asyncio.StreamWriter, given: bytes) -> None:
    with contextlib.suppress(ConnectionError):  # it need not read it
        stdin.write(given)
        await stdin.drain()
    # It is not waited for until it is closed: asyncio reports an error if a task is cancelled while it waits for that.
    stdin.close()


async def _read(stream: asyncio.StreamReader, most: int) -> bytes:
    body = bytearray()
    while piece := await stream.read(_PIECE):
        body += piece
        if len(body) > most:
            raise TooMuchOutputError
    return bytes(body)


async def _kill(process: asyncio.subprocess.Process) -> None:
    # The group lives on while any process in it does, so the number is not another group's yet.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_KILL_S):
            # A pipe is closed once it is read to its end, which after too much output it has not been, and wait() ends
            # once all pipes are closed.
            await asyncio.gather(process.wait(), _to_the_end(process.stdout), _to_the_end(process.stderr))
    # Closes what a process outside of the group still holds; each run would leave two open files otherwise.
    process._transport.close()  # type: ignore[attr-defined]  # noqa: SLF001  # asyncio has no public way to do it


async def _to_the_end(stream: asyncio.StreamReader | None) -> None:
    while stream is not None and await stream.read(_PIECE):
        pass
