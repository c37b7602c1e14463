"""A dry run: the same eyes, other hands. It looks at the real world, decides, says what it would do, writes nowhere.

It leads by its own word, so that it takes no lease from a controller that really runs; its decisions count from that
controller's history, so that it says what the real one would do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from controller.model import Decision, History, Intent, Lease, Recommendation, Replicas
from controller.policy import RateLimit as RateLimitPolicy
from controller.ports import (
    Bid,
    Held,
    Journal,
    Keep,
    Note,
    Platform,
    RateLimit,
    Recalled,
    Receipt,
    Requests,
    Settled,
    Unavailable,
    Watched,
)
from controller.watch import Watch


class DryRunPlatform:
    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        return await self._platform.observe(services)

    async def scale(self, service: str, intent: Intent, observed: Replicas) -> Receipt:
        del service, intent, observed
        return Receipt.DRY_RUN

    def requests(self) -> Requests:
        return self._platform.requests()


class DryRunJournal:
    """Recalls what the real journal knows; remembers recommendations in memory only."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._noted: dict[str, list[Recommendation]] = {}
        self._began: dict[str, float] = {}
        self._watches: dict[str, Watch] = {}

    async def recall(self, worker: str) -> Recalled:
        return await self._journal.recall(worker)

    async def remember(self, worker: str, note: Note, keep: Keep, lease: Lease) -> Recalled:
        del lease
        history, now, version = await self._journal.recall(worker)
        noted = [one for one in self._noted.get(worker, []) if one.at >= now - keep.window - keep.gap]
        new = [] if note.recommended is None else [Recommendation(now, note.recommended)]
        self._noted[worker] = [*noted, *new]
        began = self._began.setdefault(worker, now)
        history = history.carried_on(now, window=keep.window, gap=keep.gap)
        if history.count is not None and history.count != note.count and history.intent is None:
            history = replace(
                history, last_up=began, last_down=began
            )  # by other hands, which the real one would charge
        unbroken = min(began, history.unbroken_since or began)
        return Recalled(self._with_notes(worker, history, began, unbroken), now, version)

    def _with_notes(self, worker: str, history: History, began: float, unbroken: float) -> History:
        return replace(
            history,
            recommendations=(*history.recommendations, *self._noted[worker]),
            unbroken_since=unbroken,
            since=began if history.since is None else history.since,
            # The real controller's open intent and agreed count are for it to settle, not for us.
            intent=None,
            count=None,
            watch=self._watches.get(worker, history.watch),
        )

    async def record_intent(self, worker: str, ident: str, decision: Decision, version: str, lease: Lease) -> Intent:
        del worker, version
        return Intent(ident, lease.epoch, decision.current, decision.desired, 0.0)

    async def accept(self, worker: str, intent: Intent, lease: Lease) -> None:
        del worker, intent, lease

    async def settle(
        self, worker: str, intent: Intent, outcome: Settled, count: int, lease: Lease, *, unseen_stop: str = ""
    ) -> Recalled:
        del intent, outcome, count, lease, unseen_stop
        return await self._journal.recall(worker)

    async def charge(self, worker: str, count: int, lease: Lease) -> Recalled:
        del count, lease
        return await self._journal.recall(worker)

    async def keep_watch(self, worker: str, watch: Watch, lease: Lease) -> None:
        del lease
        self._watches[worker] = watch

    async def publish(self, lines: Mapping[str, str], lease: Lease) -> None:
        del lines, lease

    async def watch(self, workers: Sequence[str]) -> Watched:
        return await self._journal.watch(workers)


class DryRunLeases:
    async def acquire(self, bid: Bid, ttl: float) -> Lease | Held:
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

    async def used(self, limit: RateLimitPolicy) -> int:
        return await self._rate_limit.used(limit)

    async def share(self, limit: RateLimitPolicy, max_workers: int, replicas: int) -> None:
        del limit, max_workers, replicas
