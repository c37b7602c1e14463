"""Remembers how each queue is read: its statements, and for the user's table the columns and time zones it found.

Here belongs when that is looked up again; places.py looks it up.
"""

from __future__ import annotations

import asyncio

from controller.adapters.postgres.lane import Lane
from controller.adapters.postgres.own_table import OwnTable
from controller.adapters.postgres.places import Located, located
from controller.policy import Queue as QueuePolicy

_LOOK_AGAIN_S = 300.0


class Lookup:
    """How each queue is read, by its key."""

    def __init__(self) -> None:
        self._located: dict[str, tuple[Located, float]] = {}
        self._own: dict[str, OwnTable] = {}

    async def find(self, lane: Lane, queue: QueuePolicy, timeout_s: float) -> Located:
        """Where and how the queue is read. It is looked up again every 5 min, as a new column makes no statement fail.

        While the time zone or unit of a column is undecided, it is looked up at each reading: new rows may decide it.

        Raises:
            psycopg.Error: a statement failed.
            Unavailable: the queue cannot be read as the policy describes it.
        """
        lane.watched = lane.watched or queue.has_own_sql
        key, now = key_of(queue), asyncio.get_running_loop().time()
        place, until = self._located.get(key, (None, 0.0))
        if place is None or now >= until:
            place = await located(queue, lambda statement: lane.ask(statement, timeout_s), self._own.get(key))
            unsettled = place.own is not None and not place.own.is_settled
            self._located[key] = place, now if unsettled else now + _LOOK_AGAIN_S
            if place.own is not None:
                self._own[key] = place.own
        return place

    def zone_warning(self, queue: QueuePolicy) -> str:
        """What to say about the time zones of the user's table, as last found; "" if nothing."""
        own = self._own.get(key_of(queue))
        return own.zone_warning if own is not None else ""

    def forget(self, queue: QueuePolicy) -> None:
        """The tables may have changed, so the next reading looks them up again."""
        self._located.pop(key_of(queue), None)


def key_of(queue: QueuePolicy) -> str:
    """The same for all workers that read the same jobs."""
    return queue.model_dump_json(exclude={"count_limit", "wake_on"})
