"""What the workers of one policy know of each other: what each has spent, and what each has of its pool.

Each pass puts its worker's figures here and reads those of the others, without a pause in between: so two passes that
run side by side never take the same room of a pool. What a leader does not know yet, after a takeover or a restart, is
read from the records and from the platform's reading before the first pass decides.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from controller.core.budget import Other, Shared, Spent
from controller.core.model import Change, History, Replicas
from controller.core.plan import Plan
from controller.core.pools import Member, Pool, counted_now
from controller.core.ports import Journal, Unavailable
from controller.policy import Policy


@dataclass(slots=True)
class _Known:
    """Of one worker. count: last known; None: unknown. change: the open one. wants, least: of its last pass."""

    spent: Spent | None = None
    count: int | None = None
    change: Change | None = None
    wants: int | None = None
    least: int = 0


class Board:
    """One for all reconcilers of a policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._epoch: int | None = None
        self._known: dict[str, _Known] = {}
        self._counts: dict[str, int] = {}
        self._targets = policy.target_ids
        self._seen: Mapping[str, Replicas | Unavailable] | None = None
        self._filling = asyncio.Lock()

    @property
    def is_needed(self) -> bool:
        return len(self._policy.workers) > 1 and (self._policy.budget is not None or bool(self._policy.pools))

    async def fill(self, journal: Journal, epoch: int) -> None:
        """Reads the records of workers that are not known yet under this lease.

        One that cannot be read stays unknown: the budget's sentence says so, and a pool counts it with all that it may
        have.
        """
        if not self.is_needed:
            return
        async with self._filling:
            if epoch != self._epoch:  # another replica may have led meanwhile
                self._epoch = epoch
                self._known.clear()
            for worker in self._policy.workers:
                if worker not in self._known:
                    try:
                        self._recalled(worker, (await journal.recall(worker)).history)
                    except Unavailable:
                        continue

    def _recalled(self, worker: str, history: History) -> None:
        self._known[worker] = _Known(history.spent, history.count, history.change)

    def see(self, readings: Mapping[str, Replicas | Unavailable]) -> None:
        """The platform's newest reading, by target; what cannot be read keeps its last known count.

        Each of its workers' passes brings the same reading, which is looked through once.
        """
        if not self.is_needed or readings is self._seen:
            return
        self._seen = readings
        for worker, target in self._targets.items():
            reading = readings.get(target)
            if isinstance(reading, Replicas):
                self._counts[worker] = reading.configured

    def put(self, worker: str, planned: Plan) -> None:
        """What a pass has found and is about to ask for."""
        known = self._known.setdefault(worker, _Known())
        known.spent, known.change = planned.history.spent, planned.history.change
        if planned.replicas is not None:
            known.count = self._counts[worker] = planned.replicas.configured
        if planned.share is not None:
            known.wants, known.least = planned.share.me.wants, planned.share.me.least

    def shared(self, worker: str) -> Shared | None:
        """For the pass of this worker; None: there is no budget of all."""
        if self._policy.budget is None:
            return None
        others = [name for name in self._policy.workers if name != worker]
        return Shared(self._policy.budget, tuple(Other(one, self._spent(one), self._price(one)) for one in others))

    def pool(self, worker: str) -> Pool | None:
        """For the pass of this worker; None: it is in none."""
        policy = self._policy.workers[worker]
        if policy.pool is None:
            return None
        others = [
            self._member(name)
            for name, one in self._policy.workers.items()
            if name != worker and one.pool == policy.pool
        ]
        return Pool(policy.pool, self._policy.pools[policy.pool].max_replicas, policy.priority or 0, others)

    def _member(self, worker: str) -> Member:
        """What it wants is unknown until its first pass, and then it counts as wanting what it has."""
        policy, known = self._policy.workers[worker], self._known.get(worker, _Known())
        count = self._counts.get(worker, known.count)
        counted = policy.highest_max if count is None else counted_now(count, known.change)
        wants = counted if known.wants is None else known.wants
        return Member(worker, policy.priority or 0, counted, wants, min(known.least, wants))

    def _spent(self, worker: str) -> Spent | None:
        return self._known.get(worker, _Known()).spent

    def _price(self, worker: str) -> float:
        size = self._policy.workers[worker].worker_size
        assert size is not None, "a budget of all without it is refused"
        return size.price.per_second
