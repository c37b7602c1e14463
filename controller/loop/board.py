"""What the workers of one policy know of each other: what each has spent, for the budget of all.

Each pass puts its worker's figures here and reads those of the others. They are in the records, too: after a takeover
or a restart, what is not known yet is read from there before the first pass decides.
"""

from __future__ import annotations

import asyncio

from controller.core.budget import Other, Shared, Spent
from controller.core.ports import Journal, Unavailable
from controller.policy import Policy


class Board:
    """One for all reconcilers of a policy."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._epoch: int | None = None
        self._spent: dict[str, Spent | None] = {}
        self._filling = asyncio.Lock()

    @property
    def is_needed(self) -> bool:
        return self._policy.budget is not None and len(self._policy.workers) > 1

    async def fill(self, journal: Journal, epoch: int) -> None:
        """Reads the records of workers that are not known yet under this lease.

        One that cannot be read stays unknown, which the budget's sentence says.
        """
        if not self.is_needed:
            return
        async with self._filling:
            if epoch != self._epoch:  # another replica may have led meanwhile
                self._epoch = epoch
                self._spent.clear()
            for worker in self._policy.workers:
                if worker not in self._spent:
                    try:
                        self._spent[worker] = (await journal.recall(worker)).history.spent
                    except Unavailable:
                        continue

    def put(self, worker: str, spent: Spent | None) -> None:
        self._spent[worker] = spent

    def shared(self, worker: str) -> Shared | None:
        """For the pass of this worker; None: there is no budget of all."""
        if self._policy.budget is None:
            return None
        others = [name for name in self._policy.workers if name != worker]
        return Shared(self._policy.budget, tuple(Other(one, self._spent.get(one), self._price(one)) for one in others))

    def _price(self, worker: str) -> float:
        size = self._policy.workers[worker].worker_size
        assert size is not None, "a budget of all without it is refused"
        return size.price.per_second
