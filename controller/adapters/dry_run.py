"""A dry run: adapters that read everything and write nothing, so that it decides and logs what it would do.

It takes no lease in Redis, so that it does not displace a running controller. It decides on that controller's history,
so that it decides what that one would.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from controller.core.history import remembered
from controller.core.model import Decision, History, Intent, Lease, RateUsage, Replicas
from controller.core.ports import (
    Bid,
    CycleNote,
    Journal,
    LeaderState,
    NotAcquired,
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


class DryRunPlatform:
    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    @property
    def source(self) -> Source:
        return self._platform.source

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        return await self._platform.observe(services)

    async def scale(self, service: str, intent: Intent, observed: Replicas) -> Receipt:
        del service, intent, observed
        return Receipt.DRY_RUN

    def requests(self) -> Requests:
        return self._platform.requests()


class DryRunJournal:
    """Reads the real journal; what this process would write stays in its memory."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._noted: dict[str, History] = {}
        self._watches: dict[str, Watch] = {}

    @property
    def source(self) -> Source:
        return self._journal.source

    async def recall(self, worker: str) -> Recalled:
        return await self._journal.recall(worker)

    async def remember(self, worker: str, note: CycleNote, keep: Retention, lease: Lease) -> Recalled:
        del lease
        history, now, version = await self._journal.recall(worker)
        mine = self._noted[worker] = remembered(self._noted.get(worker, History()), note, keep, now)
        began = now if mine.since is None else mine.since
        if note.recommended is not None:
            history = history.carried_on(now, window=keep.window, gap=keep.gap)
        if history.count is not None and history.count != note.count and history.intent is None:
            # Changed outside the controller: the real journal would record it and start both cooldowns.
            history = replace(history, last_up=began, last_down=began)
        history = replace(history, watch=self._watches.get(worker, history.watch))
        return Recalled(_with_notes(history, mine, began), now, version)

    async def record_intent(
        self, worker: str, ident: str, decision: Decision, version: str, lease: Lease, *, stops: str | None = None
    ) -> Intent:
        del worker, version
        return Intent(ident, lease.epoch, decision.current, decision.desired, 0.0, stops=stops)

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
        del intent, outcome, count, lease, unconfirmed_stop, running
        return await self._journal.recall(worker)

    async def record_external_change(self, worker: str, count: int, lease: Lease) -> Recalled:
        del count, lease
        return await self._journal.recall(worker)

    async def keep_watch(self, worker: str, watch: Watch, lease: Lease) -> None:
        del lease
        self._watches[worker] = watch

    async def publish(self, lines: Mapping[str, str], lease: Lease) -> None:
        del lines, lease

    async def watch(self, workers: Sequence[str]) -> LeaderState:
        return await self._journal.watch(workers)


def _with_notes(history: History, mine: History, began: float) -> History:
    return replace(
        history,
        recommendations=(*history.recommendations, *mine.recommendations),
        unbroken_since=min(began, history.unbroken_since or began),
        since=began if history.since is None else history.since,
        read_at=max((at for at in (history.queue_read_at, mine.queue_read_at) if at is not None), default=None),
        unread=max(history.unread, mine.unread),
        queue_seen=mine.queue_seen or history.queue_seen,
        # Only the real controller may settle its open intent and its agreed count.
        intent=None,
        count=None,
    )


class DryRunLeases:
    async def acquire(self, bid: Bid, ttl: float) -> Lease | NotAcquired:
        del ttl
        return Lease(f"dry-run:{bid.holder}", 0)

    async def renew(self, lease: Lease, ttl: float) -> bool:
        del lease, ttl
        return True

    async def release(self, lease: Lease) -> None:
        del lease


class DryRunRateLimit:
    def __init__(self, rate_limit: RateLimit) -> None:
        self._rate_limit = rate_limit

    async def used(self, limit: RateLimitPolicy) -> RateUsage:
        return await self._rate_limit.used(limit)

    async def share(self, limit: RateLimitPolicy, max_workers: int, replicas: int) -> None:
        del limit, max_workers, replicas
