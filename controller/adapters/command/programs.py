"""The two programs of a target, and what their exit codes mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from controller.adapters import process
from controller.adapters.command import SOURCE
from controller.adapters.command.answer import MOST_BYTES, excerpt
from controller.adapters.command.told import as_variables
from controller.core.model import Change
from controller.core.ports import LeaseLost, NotSent, Outdated, Refused, Unavailable
from controller.core.units import in_words

NOT_NOW, STALE, REFUSED = 75, 76, 78
"""Of `scale`, beside 0: EX_TEMPFAIL, EX_PROTOCOL and EX_CONFIG of sysexits.h."""


class ProgramTarget:
    """One pair of programs. They get `told` as variables and as JSON on stdin."""

    def __init__(
        self, scale: Sequence[str], read: Sequence[str], inherited: Mapping[str, str], timeout_s: float
    ) -> None:
        self._scale, self._read, self._inherited, self._timeout_s = scale, read, inherited, timeout_s

    async def close(self) -> None:
        """Nothing stays open."""

    async def read(self, told: Mapping[str, Any]) -> tuple[bytes, str | None]:
        """What it printed.

        Raises:
            Unavailable: it could not be started, took too long, wrote too much, or failed.
        """
        try:
            ended = await self._run(self._read, told)
        except OSError as error:
            raise Unavailable(SOURCE, _not_started("read", error)) from None
        if ended.code:
            raise Unavailable(SOURCE, f"read {_words(ended)}")
        return ended.said, None

    async def scale(self, told: Mapping[str, Any], change: Change, may_act: Callable[[], bool]) -> None:
        """Runs it once. Raises as Platform.scale does."""
        del change
        if not may_act():
            raise LeaseLost("the lease expired before scale was started")
        try:
            ended = await self._run(self._scale, told)
        except OSError as error:
            raise Refused(SOURCE, _not_started("scale", error)) from None
        if ended.code:
            _raise(ended)

    async def _run(self, argv: Sequence[str], told: Mapping[str, Any]) -> process.Ended:
        what = "scale" if "desired" in told else "read"
        variables = {**self._inherited, **as_variables(told)}
        given = json.dumps(told).encode() + b"\n"
        try:
            return await process.run(argv, variables, given, timeout_s=self._timeout_s, most_bytes=MOST_BYTES)
        except process.OutputKeptOpenError:
            held = f"a process that it started kept its output open for {in_words(self._timeout_s)}"
            words = f"{what} ended, but {held}; redirect that process's output"
        except process.TimedOutError:
            words = f"{what} was killed, because it did not end within {in_words(self._timeout_s)}"
        except process.TooMuchOutputError:
            words = f"{what} was killed, because it wrote more than {MOST_BYTES:,} bytes"
        raise Unavailable(SOURCE, words)


def _raise(ended: process.Ended) -> NoReturn:
    words = f"scale {_words(ended)}"
    if ended.code == NOT_NOW:
        raise NotSent(SOURCE, words)
    if ended.code == STALE:
        raise Outdated(SOURCE, f"{words}; the next cycle reads the count again")
    if ended.code == REFUSED:
        raise Refused(SOURCE, words)
    raise Unavailable(SOURCE, words)


def _words(ended: process.Ended) -> str:
    said = excerpt(ended.errors) or excerpt(ended.said)
    how = f"ended with exit code {ended.code}" if ended.code > 0 else f"was ended by signal {-ended.code}"
    return f"{how}{said and f': {said}'}"


def _not_started(what: str, error: OSError) -> str:
    return f"{what} cannot be started: {error.strerror or type(error).__name__}; check its path and its rights"
