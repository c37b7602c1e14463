"""Statements that several coroutines ask for at the same time go to the server together, in one round trip.

A look-up or a survey is a coroutine that asks one statement after the other. Of hundreds of queues, each waits for its
own round trips; in unison, all of them are at the same step, and take as many round trips as one of them does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from controller.adapters.postgres.columns import Ask
from controller.adapters.postgres.lane import Lane
from controller.core.ports import Unavailable

T = TypeVar("T")
Rows = list[tuple[Any, ...]]
_MOST_AT_ONCE = 50
"""Statements in one transaction."""


async def in_unison(
    lane: Lane, jobs: Sequence[Callable[[Ask], Awaitable[T]]], timeout_s: float, *, by_index: bool = False
) -> list[T | psycopg.Error | Unavailable]:
    """What each job returns or raises; the caller holds the lane's turn. A job may wait for nothing but its answers.

    timeout_s: of each statement. by_index: as Lane.ask() has it.

    Raises:
        psycopg.Error: the connection was lost, or could not be opened.
    """
    loop = asyncio.get_running_loop()
    waiting: list[tuple[sql.Composed, asyncio.Future[Rows]]] = []
    running, all_wait = len(jobs), asyncio.Event()

    def pauses(*_: object) -> None:
        nonlocal running
        running -= 1
        if not running:
            all_wait.set()

    async def ask(statement: sql.Composed) -> Rows:
        answer: asyncio.Future[Rows] = loop.create_future()
        waiting.append((statement, answer))
        pauses()
        return await answer

    tasks = [asyncio.create_task(_run(job, ask)) for job in jobs]
    for task in tasks:
        task.add_done_callback(pauses)
    try:
        while any(not task.done() for task in tasks):
            await all_wait.wait()
            all_wait.clear()
            asked, waiting = waiting, []
            found = await _answers(lane, [statement for statement, _ in asked], timeout_s, by_index=by_index)
            running += len(asked)
            for (_, answer), rows in zip(asked, found, strict=True):
                if isinstance(rows, psycopg.Error):
                    answer.set_exception(rows)
                else:
                    answer.set_result(rows)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [_outcome(task) for task in tasks]


async def _run(job: Callable[[Ask], Awaitable[T]], ask: Ask) -> T:
    return await job(ask)


def _outcome(task: asyncio.Task[T]) -> T | psycopg.Error | Unavailable:
    error = task.exception()
    return error if isinstance(error, psycopg.Error | Unavailable) else task.result()


async def _answers(
    lane: Lane, statements: Sequence[sql.Composed], timeout_s: float, *, by_index: bool
) -> list[Rows | psycopg.Error]:
    """The same statement, as for many queues in the same tables, is asked once."""
    connection = (await lane.reader()).connection
    texts = [statement.as_bytes(connection) for statement in statements]
    different = list(dict.fromkeys(texts))
    found: list[Rows | psycopg.Error] = []
    for begin in range(0, len(different), _MOST_AT_ONCE):
        found += await _together(lane, different[begin : begin + _MOST_AT_ONCE], timeout_s, by_index=by_index)
    answers = dict(zip(different, found, strict=True))
    return [answers[text] for text in texts]


async def _together(
    lane: Lane, statements: Sequence[bytes], timeout_s: float, *, by_index: bool
) -> list[Rows | psycopg.Error]:
    """If one fails, none is answered; then each is asked alone, so that only the one that fails has the error."""
    if len(statements) > 1:
        try:
            return list(await lane.ask_all(statements, timeout_s, by_index=by_index))
        except psycopg.Error:
            if lane.is_lost:
                raise
    return [await _alone(lane, statement, timeout_s, by_index=by_index) for statement in statements]


async def _alone(lane: Lane, statement: bytes, timeout_s: float, *, by_index: bool) -> Rows | psycopg.Error:
    try:
        return await lane.ask(statement, timeout_s, by_index=by_index)
    except psycopg.Error as error:
        if lane.is_lost:
            raise
        return error
