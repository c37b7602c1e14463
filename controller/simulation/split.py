"""Which queue of a worker each job is in, where a policy has several and its workload has one stream of jobs.

Each job is drawn at random, by the shares of the queues. Workers take the oldest waiting job of all queues, so the
order of the jobs is that of one queue; what differs is what the policy sees and wants.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from controller.simulation.account import Task

Parts = tuple[tuple[int, int], ...]
"""Of each queue, the jobs waiting and the jobs in progress."""


def queue_of(job: Task) -> int:
    """The place of the job's queue; 0 where jobs are not split."""
    return job[3] if len(job) == 4 else 0


@dataclass(slots=True)
class Split:
    """Draws the queue of each job; every run with the same names and shares draws the same.

    shares: relative, one for each name.
    """

    names: Sequence[str]
    shares: Sequence[float]
    _dice: random.Random = field(default_factory=lambda: random.Random(0))

    def tagged(self, jobs: Iterable[Task]) -> Iterator[Task]:
        """The jobs with the place of their queue."""
        places = range(len(self.names))
        for at, service, least, *_ in jobs:
            yield at, service, least, self._dice.choices(places, self.shares)[0]

    def parts(self, waiting: Iterable[Task], in_progress: Iterable[Task]) -> Parts:
        counts = [[0, 0] for _ in self.names]
        for which, jobs in enumerate((waiting, in_progress)):
            for job in jobs:
                counts[queue_of(job)][which] += 1
        return tuple((pending, busy) for pending, busy in counts)
