"""The queue on a simulated PostgreSQL: a demand that rises and falls, and readings that can be missing, slow or old."""

from __future__ import annotations

import bisect
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from random import Random

from controller.core.model import QueueDepth, ServiceTime
from controller.core.ports import DepthRequest, Unavailable
from controller.policy import Queue as QueuePolicy
from tests.support.sources import POSTGRESQL
from tests.virtual.loop import Kernel
from tests.virtual.network import Answer, Errors, Link, Reply

_TIMEOUT_S = 2.0
EFFECTS = frozenset({"refused", "blocked", "failed", "old", "slow", "too slow"})
"""What a fault of the server can do to a reading."""
ERRORS = Errors(
    timed_out=lambda: Unavailable(POSTGRESQL, "did not answer (simulated)"),
    refused=lambda: Unavailable(POSTGRESQL, "cannot be reached (simulated)"),
    broken=lambda: Unavailable(POSTGRESQL, "broke off (simulated)"),
)


@dataclass
class PostgresServer:
    """The queue's content, and since when it is so.

    behind_s: how old the readings of a lagging replica are. failing: the part of the readings that end with an error.
    slowest_s: a reading takes up to this long. hits: readings that a fault had an effect on.
    """

    kernel: Kernel
    random: Random = field(default_factory=lambda: Random(0))
    depth: int = 0
    is_down: bool = False
    is_locked: bool = False
    behind_s: float = 0.0
    failing: float = 0.0
    slowest_s: float = 0.0
    hits: Counter[str] = field(default_factory=Counter)
    _times: list[float] = field(default_factory=lambda: [0.0])
    _depths: list[int] = field(default_factory=lambda: [0])

    def swing(self, depth: int) -> None:
        self.depth = depth
        self._times.append(self.kernel.now)
        self._depths.append(depth)

    def count(self, reply: Reply) -> None:
        if self.is_down:
            self.hits["refused"] += 1
            reply(Answer(error=Unavailable(POSTGRESQL, "is shutting down (simulated)")))
            return
        if self.is_locked:
            self.hits["blocked"] += 1
            return
        if self.failing and self.random.random() < self.failing:
            self.hits["failed"] += 1
            reply(Answer(error=Unavailable(POSTGRESQL, "canceled the query (simulated)")))
            return
        seen = self._depths[max(0, bisect.bisect_right(self._times, self.kernel.now - self.behind_s) - 1)]
        if seen != self.depth:
            self.hits["old"] += 1
        if not self.slowest_s:
            reply(Answer(seen))
            return
        took = self.slowest_s * self.random.random()
        self.hits["too slow" if took > _TIMEOUT_S else "slow"] += 1
        self.kernel.after(took, reply, Answer(seen))

    def recover(self) -> None:
        """The server is up, nothing is locked, and the replica has caught up."""
        self.is_down = self.is_locked = False
        self.behind_s = 0.0

    def be_well(self) -> None:
        self.recover()
        self.failing = self.slowest_s = 0.0


@dataclass
class SimulatedQueue:
    """The port, for one process.

    last_read: None if the last attempt failed, or has not ended. ended: when the last one ended, and if it succeeded.
    """

    source = POSTGRESQL

    server: PostgresServer
    link: Link
    last_read: int | None = None
    ended: tuple[float, bool] | None = None

    async def depths(self, requests: Mapping[str, DepthRequest]) -> AsyncIterator[tuple[str, QueueDepth | Unavailable]]:
        for name, request in requests.items():
            try:
                yield name, await self._depth(request.limit)
            except Unavailable as unavailable:
                self.ended = self.server.kernel.now, False
                yield name, unavailable

    async def _depth(self, limit: int) -> QueueDepth:
        self.last_read = None
        depth: int = await self.link.ask(self.server.count, _TIMEOUT_S)
        self.last_read, self.ended = depth, (self.server.kernel.now, True)
        processing = min(depth, 3)
        return QueueDepth(min(limit, depth - processing), processing, 1.0 if depth > processing else None)

    async def service_time(self, queue: QueuePolicy) -> ServiceTime | None:
        return None

    async def close(self) -> None: ...
