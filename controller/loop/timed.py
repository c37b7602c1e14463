"""Ports that tell how long their calls took, whatever came back; each goes on to the real port.

Timed are the calls that a cycle waits for: a reading of the queues, a reading and a change of the platform, and what is
read from and written to the journal.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

from controller.core.model import Change, History, Lease, QueueDepth, Replicas, ServiceTime
from controller.core.ports import (
    Chooser,
    Clock,
    DepthRequest,
    Journal,
    LeaderState,
    Platform,
    Queue,
    Recalled,
    Receipt,
    Requests,
    Source,
    Unavailable,
)
from controller.policy import Queue as QueuePolicy

Tell = Callable[[str, float], object]
"""Takes the name of a dependency, and the seconds that a call took."""


class _Timed:
    def __init__(self, source: Source, clock: Clock, tell: Tell) -> None:
        self.source = source
        self._clock = clock
        self._tell = tell

    @contextmanager
    def _timed(self) -> Iterator[None]:
        began = self._clock.monotonic()
        try:
            yield
        finally:
            self._tell(self.source.name, max(0.0, self._clock.monotonic() - began))


class TimedQueue(_Timed):
    """A reading counts once, however many queues it is of: until the slowest has answered."""

    def __init__(self, queue: Queue, clock: Clock, tell: Tell) -> None:
        super().__init__(queue.source, clock, tell)
        self._queue = queue

    async def depths(self, requests: Mapping[str, DepthRequest]) -> AsyncIterator[tuple[str, QueueDepth | Unavailable]]:
        with self._timed():
            async for answer in self._queue.depths(requests):
                yield answer

    async def service_time(self, queue: QueuePolicy) -> ServiceTime | None:
        with self._timed():
            return await self._queue.service_time(queue)

    async def close(self) -> None:
        await self._queue.close()


class TimedPlatform(_Timed):
    def __init__(self, platform: Platform, clock: Clock, tell: Tell) -> None:
        super().__init__(platform.source, clock, tell)
        self._platform = platform

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        with self._timed():
            return await self._platform.observe(services)

    async def scale(self, service: str, change: Change, observed: Replicas) -> Receipt:
        with self._timed():
            return await self._platform.scale(service, change, observed)

    def requests(self) -> Requests | None:
        return self._platform.requests()

    def chooser(self, service: str) -> Chooser | None:
        return self._platform.chooser(service)


class TimedJournal(_Timed):
    def __init__(self, journal: Journal, clock: Clock, tell: Tell) -> None:
        super().__init__(journal.source, clock, tell)
        self._journal = journal

    async def recall(self, worker: str) -> Recalled:
        with self._timed():
            return await self._journal.recall(worker)

    async def write(self, worker: str, recalled: Recalled, history: History, lease: Lease, *, now: float) -> Recalled:
        with self._timed():
            return await self._journal.write(worker, recalled, history, lease, now=now)

    async def publish(self, lines: Mapping[str, str], lease: Lease) -> None:
        with self._timed():
            await self._journal.publish(lines, lease)

    async def watch(self, workers: Sequence[str]) -> LeaderState:
        with self._timed():
            return await self._journal.watch(workers)
