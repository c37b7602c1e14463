"""Which queue of a worker each job is in, where a policy has several.

If the jobs do not name their queues, each is drawn at random, by the shares of the queues. Workers take the oldest
waiting job of all queues, so the order of the jobs is that of one queue; what differs is what the policy sees and
wants.
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
    place = job[3] if len(job) > 3 else 0
    return place if isinstance(place, int) else 0


@dataclass(slots=True)
class Split:
    """Gives each job the place of its queue; every run with the same names and shares draws the same.

    shares: relative, one for each name. is_known: each job has one of these names; else its queue is drawn.
    """

    names: Sequence[str]
    shares: Sequence[float]
    is_known: bool = False
    _place_of: dict[str | int, int] = field(init=False)
    _dice: random.Random = field(default_factory=lambda: random.Random(0))

    def __post_init__(self) -> None:
        self._place_of = {name: place for place, name in enumerate(self.names)}

    def tagged(self, jobs: Iterable[Task]) -> Iterator[Task]:
        """The jobs with the place of their queue."""
        places = range(len(self.names))
        for at, service, least, *name in jobs:
            place = self._place_of[name[0]] if self.is_known else self._dice.choices(places, self.shares)[0]
            yield at, service, least, place

    def parts(self, waiting: Iterable[Task], in_progress: Iterable[Task]) -> Parts:
        counts = [[0, 0] for _ in self.names]
        for which, jobs in enumerate((waiting, in_progress)):
            for job in jobs:
                counts[queue_of(job)][which] += 1
        return tuple((pending, busy) for pending, busy in counts)
