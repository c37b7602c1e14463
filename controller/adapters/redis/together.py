"""Calls of scripts that are made at the same time go to Redis in one pipeline.

Of a thousand workers, each recalls and writes its own record in each cycle. Alone, each of these calls takes a
connection of its own and ten times the processor time. A few are sent alone, side by side; on a Cluster, all are.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.commands.core import AsyncScript
from redis.exceptions import NoScriptError

from controller.adapters.redis.connection import FAULTS, Client

_FEW = 8
_MOST = 100
"""Calls in one pipeline."""
_AT_ONCE = 4
"""Pipelines at the same time; each takes a connection."""


class _Call(NamedTuple):
    script: AsyncScript
    keys: Sequence[str]
    args: Sequence[Any]
    answer: asyncio.Future[Any]


class Together:
    """The calls of one client that wait to be sent."""

    def __init__(self, redis: Client) -> None:
        self._redis = redis if isinstance(redis, Redis) else None
        self._waiting: list[_Call] = []
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._sending: set[asyncio.Task[None]] = set()

    async def ask(self, script: AsyncScript, keys: Sequence[str], args: Sequence[Any] = ()) -> Any:
        """The script's answer, or its error. As without a pipeline, a call that was sent is not sent again."""
        if self._redis is None:
            return await script(keys=keys, args=args)
        loop = asyncio.get_running_loop()
        call = _Call(script, keys, args, loop.create_future())
        if not self._waiting:
            loop.call_soon(self._send)  # after all that are ready to run now have made their calls
        self._waiting.append(call)
        return await call.answer

    def _send(self) -> None:
        calls, self._waiting = self._waiting, []
        size = _MOST if len(calls) > _FEW else 1
        for begin in range(0, len(calls), size):
            these = calls[begin : begin + size]
            task = asyncio.create_task(self._answer(these))
            self._sending.add(task)
            task.add_done_callback(functools.partial(self._ended, these))

    def _ended(self, calls: Sequence[_Call], task: asyncio.Task[None]) -> None:
        """However it ended, nobody waits any longer."""
        self._sending.discard(task)
        for call in calls:
            if call.answer.done():
                continue
            if task.cancelled() or (bug := task.exception()) is None:
                call.answer.cancel()
            else:
                call.answer.set_exception(bug)

    async def _answer(self, calls: Sequence[_Call]) -> None:
        if len(calls) == 1:
            await self._alone(calls[0])
            return
        async with self._room:
            left = [call for call in calls if not call.answer.done()]
            for call, answer in zip(left, await self._piped(left), strict=True):
                if isinstance(answer, NoScriptError):
                    await self._alone(call)  # which loads it; nothing was run
                elif not call.answer.done():
                    _give(call, answer)

    async def _piped(self, calls: Sequence[_Call]) -> Sequence[Any]:
        assert self._redis is not None
        pipeline = self._redis.pipeline(transaction=False)
        for script, keys, args, _ in calls:
            pipeline.evalsha(script.sha, len(keys), *keys, *args)
        try:
            return await pipeline.execute(raise_on_error=False)
        except FAULTS as error:
            return [error] * len(calls)

    async def _alone(self, call: _Call) -> None:
        try:
            answer = await call.script(keys=call.keys, args=call.args)
        except FAULTS as error:
            answer = error
        if not call.answer.done():
            _give(call, answer)


def _give(call: _Call, answer: Any) -> None:
    if isinstance(answer, BaseException):
        call.answer.set_exception(answer)
    else:
        call.answer.set_result(answer)
