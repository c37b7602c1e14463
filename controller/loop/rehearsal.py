"""Ports that read but write nothing: a pass on them takes the same steps as a real one.

`explain` uses them, so that it shows what the loop would do. A change of the history is made only on a copy.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from controller.core.history import remembered, settled, with_external_change
from controller.core.model import Decision, History, Intent, Lease, RateUsage, Replicas
from controller.core.ports import (
    CycleNote,
    Journal,
    LeaderState,
    Platform,
    RateLimit,
    Recalled,
    Receipt,
    Requests,
    Retention,
    Settled,
    Source,
    Unavailable,
)
from controller.core.watch import Watch
from controller.policy import RateLimit as RateLimitPolicy


class RehearsedJournal:
    """The history of one worker, read from the real journal; every later step is taken on the copy."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._copy = Recalled(History(), 0.0)

    @property
    def source(self) -> Source:
        return self._journal.source

    async def recall(self, worker: str) -> Recalled:
        return await self._journal.recall(worker)

    async def remember(self, worker: str, note: CycleNote, keep: Retention, lease: Lease) -> Recalled:
        del lease
        recalled = await self._journal.recall(worker)
        return self._now(recalled._replace(history=remembered(recalled.history, note, keep, recalled.now)))

    async def record_intent(
        self, worker: str, ident: str, decision: Decision, version: str, lease: Lease, *, stops: str | None = None
    ) -> Intent:
        del worker, version
        return Intent(ident, lease.epoch, decision.current, decision.desired, self._copy.now, stops=stops)

    async def accept(self, worker: str, intent: Intent, lease: Lease) -> None:
        del worker, intent, lease

    async def settle(
        self,
        worker: str,
        intent: Intent,
        outcome: Settled,
        count: int,
        lease: Lease,
        *,
        unconfirmed_stop: str = "",
        running: int | None = None,
    ) -> Recalled:
        del worker, lease, running
        history, now, _ = self._copy
        history = settled(history, intent, outcome, count, now, unconfirmed_stop=unconfirmed_stop)
        return self._now(self._copy._replace(history=history))

    async def record_external_change(self, worker: str, count: int, lease: Lease) -> Recalled:
        del worker, lease
        return self._now(self._copy._replace(history=with_external_change(self._copy.history, count, self._copy.now)))

    async def keep_watch(self, worker: str, watch: Watch, lease: Lease) -> None:
        del worker, lease
        self._copy = self._copy._replace(history=replace(self._copy.history, watch=watch))

    async def publish(self, lines: Mapping[str, str], lease: Lease) -> None:
        del lines, lease

    async def watch(self, workers: Sequence[str]) -> LeaderState:
        return await self._journal.watch(workers)

    def _now(self, recalled: Recalled) -> Recalled:
        self._copy = recalled
        return recalled


class RehearsedPlatform:
    """Reads the platform and requests no change."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    @property
    def source(self) -> Source:
        return self._platform.source

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        return await self._platform.observe(services)

    async def scale(self, service: str, intent: Intent, observed: Replicas) -> Receipt:
        del service, intent, observed
        return Receipt.REHEARSED

    def requests(self) -> Requests:
        return self._platform.requests()


class RehearsedShares:
    """Reads the usage and publishes no share."""

    def __init__(self, rate_limit: RateLimit) -> None:
        self._rate_limit = rate_limit

    async def used(self, limit: RateLimitPolicy) -> RateUsage:
        return await self._rate_limit.used(limit)

    async def share(self, limit: RateLimitPolicy, max_workers: int, replicas: int) -> None:
        del limit, max_workers, replicas


def silent(_: str, /, **__: object) -> None:
    """A rehearsal writes no events to the log."""
