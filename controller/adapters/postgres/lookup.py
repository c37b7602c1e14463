"""Remembers how each queue is read: its statements, and for the user's table the columns and time zones it found.

Here belongs when that is looked up again; places.py looks it up.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping

from controller.adapters.postgres.lane import Lane
from controller.adapters.postgres.own_table import OwnTable
from controller.adapters.postgres.places import Located, located
from controller.adapters.postgres.unison import in_unison
from controller.policy import Queue as QueuePolicy

_LOOK_AGAIN_S = 300.0
_UNPROVEN_AGAIN_S = 30.0
"""While a time zone was decided by a column's default: a program may write another one."""
_MOST_AGAIN = 10
"""Queues of those read together that are looked up again at once; the others are, with the next readings."""
_PUT_OFF_S = 1.0


class Lookup:
    """How each queue is read, by its key."""

    def __init__(self) -> None:
        self._located: dict[str, tuple[Located, float]] = {}
        self._own: dict[str, OwnTable] = {}

    async def find(self, lane: Lane, queue: QueuePolicy, timeout_s: float) -> Located:
        """Where and how the queue is read. It is looked up again every 5 min, as a new column makes no statement fail.

        While the time zone or unit of a column is undecided, it is looked up at each reading, and while a default alone
        decided, every 30 s: new rows may decide it.

        Raises:
            psycopg.Error: a statement failed.
            Unavailable: the queue cannot be read as the policy describes it.
        """
        lane.watched = lane.watched or queue.has_own_sql
        key, now = key_of(queue), asyncio.get_running_loop().time()
        place, until = self._located.get(key, (None, 0.0))
        if place is None or now >= until:
            place = await located(queue, lambda statement: lane.ask(statement, timeout_s), self._own.get(key))
            self._keep(key, place, now)
        return place

    def _keep(self, key: str, place: Located, now: float) -> None:
        again_s = _LOOK_AGAIN_S
        if place.own is not None and not place.own.is_settled:
            again_s = 0.0
        elif place.own is not None and not place.own.is_proven:
            again_s = _UNPROVEN_AGAIN_S
        self._located[key] = place, now + again_s
        if place.own is not None:
            self._own[key] = place.own

    async def prepare(self, lane: Lane, queues: Mapping[str, QueuePolicy], timeout_s: float) -> None:
        """Looks up all of these that are due, by their keys, so that find() knows them; one that fails is left to it.

        Those that were looked up before are spread over several calls: hundreds of them become due at the same time.

        Raises:
            psycopg.Error: the connection was lost, or could not be opened.
        """
        now = asyncio.get_running_loop().time()
        new = [key for key in queues if key not in self._located]
        due = [key for key in queues if key in self._located and now >= self._located[key][1]]
        for key in due[_MOST_AGAIN:]:
            self._located[key] = self._located[key][0], now + _PUT_OFF_S
        these = [*new, *due[:_MOST_AGAIN]]
        if not these:
            return
        lane.watched = lane.watched or any(queues[key].has_own_sql for key in these)
        jobs = [functools.partial(located, queues[key], before=self._own.get(key)) for key in these]
        for key, place in zip(these, await in_unison(lane, jobs, timeout_s), strict=True):
            if isinstance(place, Located):
                self._keep(key, place, now)

    def known(self, queue: QueuePolicy) -> Located | None:
        """As it was found last; None if that is unknown or too old."""
        place, until = self._located.get(key_of(queue), (None, 0.0))
        return place if asyncio.get_running_loop().time() < until else None

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
