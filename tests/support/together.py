"""Reads several queues as a cycle does: with one depths()."""

from __future__ import annotations

from controller.adapters.postgres.queue import PostgresQueue
from controller.core.model import QueueDepth
from controller.core.ports import DepthRequest, Unavailable
from controller.policy import Queue


def requests(*queues: Queue, limit: int = 100) -> dict[str, DepthRequest]:
    """By the queue's place in the list: "0", "1", …"""
    return {str(place): DepthRequest(queue, limit) for place, queue in enumerate(queues)}


async def read_together(queue: PostgresQueue, *queues: Queue, limit: int = 100) -> list[QueueDepth | Unavailable]:
    """The answers in the order of the queues."""
    asked = requests(*queues, limit=limit)
    answers = {name: answer async for name, answer in queue.depths(asked)}
    return [answers[name] for name in asked]
