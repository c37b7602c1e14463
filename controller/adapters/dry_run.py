"""A dry run: adapters that read everything and write nothing, so that it decides and logs what it would do.

It takes no lease in Redis, so that it does not displace a running controller. It decides on that controller's history,
so that it decides what that one would.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from controller.core.history import needed
from controller.core.model import Change, History, Instances, Lease, RateUsage, Replicas, Shares
from controller.core.ports import (
    Bid,
    Chooser,
    Journal,
    LeaderState,
    NotAcquired,
    Platform,
    RateLimit,
    Recalled,
    Receipt,
    Requests,
    Source,
    Unavailable,
)
from controller.core.shadow import ShadowFleet, ShadowFleets
from controller.policy import RateLimit as RateLimitPolicy


class DryRunPlatform:
    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    @property
    def source(self) -> Source:
        return self._platform.source

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        return await self._platform.observe(services)

    async def scale(self, service: str, change: Change, observed: Replicas) -> Receipt:
        del service, change, observed
        return Receipt.DRY_RUN

    def requests(self) -> Requests | None:
        return self._platform.requests()

    def chooser(self, service: str) -> Chooser | None:
        chooser = self._platform.chooser(service)
        return chooser and _DryRunChooser(chooser)


class _DryRunChooser:
    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser

    async def instances(self) -> Instances:
        return await self._chooser.instances()

    async def keep(self, names: Collection[str], change: Change) -> None:
        del names, change


class DryRunJournal:
    """Reads the real journal; what this process would write stays in its memory."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._written: dict[str, tuple[History, History]] = {}
        """By worker: the real history that the last pass read, and what the pass would have written."""

    @property
    def source(self) -> Source:
        return self._journal.source

    async def recall(self, worker: str) -> Recalled:
        recalled = await self._journal.recall(worker)
        before, mine = self._written.get(worker, (History(), History()))
        # `version` is the real history here: write() needs it, and nothing is compared.
        real = recalled.history
        return recalled._replace(history=_with_mine(real, before, mine, recalled.now), version=real)

    async def write(self, worker: str, recalled: Recalled, history: History, lease: Lease, *, now: float) -> Recalled:
        del lease, now
        real = recalled.version
        assert isinstance(real, History), "this journal has recalled it"
        # A change is not sent, so it starts no cooldown.
        before = recalled.history
        noted = history
        if history.change is not None:
            noted = replace(history, change=None, last_up=before.last_up, last_down=before.last_down)
        self._written[worker] = real, noted
        return recalled._replace(history=history)

    async def publish(self, lines: Mapping[str, str], lease: Lease) -> None:
        del lines, lease

    async def watch(self, workers: Sequence[str]) -> LeaderState:
        return await self._journal.watch(workers)


def _with_mine(real: History, before: History, mine: History, now: float) -> History:
    """The real history with what this process has read besides. A running controller goes on writing the real one.

    Only the real controller settles its open change, so there is none here, and no count that could differ by it.
    """
    began = now if mine.since is None else mine.since
    learned = mine if mine.since is not None and real.remembered_at == before.remembered_at else real
    history = replace(
        real,
        recommendations=needed(
            sorted((*real.recommendations, *mine.recommendations), key=lambda recommendation: recommendation.at)
        ),
        remembered_at=max((at for at in (real.remembered_at, mine.remembered_at) if at is not None), default=None),
        window=max(real.window, mine.window),
        unbroken_since=_unbroken_since(real, before, mine),
        # A journal that no controller writes, empty or of another server process, says in each pass that it begins now.
        since=began if real.since in {None, now} else real.since,
        read_at=max((at for at in (real.read_at, mine.read_at) if at is not None), default=None),
        unread=max(real.unread, mine.unread),
        unread_at=max((at for at in (real.unread_at, mine.unread_at) if at is not None), default=None),
        queue_seen=mine.queue_seen or real.queue_seen,
        apart_s=learned.apart_s,
        pauses=learned.pauses,
        kept_s=learned.kept_s,
        learned_at=learned.learned_at,
        long_run=learned.long_run,
        load=learned.load,
        spent=learned.spent,
        watch=mine.watch if mine.since is not None else real.watch,
        schedule=mine.schedule if mine.since is not None else real.schedule,
    )
    if real.change is not None:
        return replace(history, change=None, count=None)
    if real.count != mine.count and real.count == before.count and mine.since is not None:
        # This process has seen an external change that no running controller has recorded.
        return replace(history, count=mine.count, last_up=mine.last_up, last_down=mine.last_down)
    return history


def _unbroken_since(real: History, before: History, mine: History) -> float | None:
    """Since when one of the two processes, or one after the other, has noted recommendations without a gap.

    The real history says nothing about it if it was not written since, or if it keeps a shorter window.
    """
    if real.remembered_at == before.remembered_at or real.window < mine.window:
        return mine.unbroken_since
    begins = real.unbroken_since
    if begins is None or mine.unbroken_since is None or mine.remembered_at is None or begins > mine.remembered_at:
        return begins
    return min(begins, mine.unbroken_since)


class DryRunLeases:
    async def acquire(self, bid: Bid, ttl: float) -> Lease | NotAcquired:
        del ttl
        return Lease(f"dry-run:{bid.holder}", 0)

    async def renew(self, lease: Lease, ttl: float) -> bool:
        del lease, ttl
        return True

    async def release(self, lease: Lease) -> None:
        del lease


class DryRunShadowFleets:
    """Goes on from what a running controller remembers, and keeps its own in memory only."""

    def __init__(self, fleets: ShadowFleets) -> None:
        self._fleets = fleets

    async def load(self) -> Mapping[str, ShadowFleet]:
        return await self._fleets.load()

    async def save(self, fleets: Mapping[str, ShadowFleet], gone: Collection[str]) -> None:
        del fleets, gone


class DryRunRateLimit:
    def __init__(self, rate_limit: RateLimit) -> None:
        self._rate_limit = rate_limit

    async def used(self, limit: RateLimitPolicy) -> RateUsage:
        return await self._rate_limit.used(limit)

    async def share(self, limit: RateLimitPolicy, shares: Shares) -> None:
        del limit, shares
