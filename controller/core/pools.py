"""Several workers share a highest total: who gets how much of it, and what each may have now. Pure.

The total is shared out in this order, each step with what the one before has left:

1. Each worker gets its min_replicas.
2. By priority, the higher first, each gets what its jobs want. Workers of the same priority get the same count, but
   none more than it wants; what does not divide goes to the first by name.
3. By priority again, each keeps what it has and does not want, as during its window: no other wants that room.

The rest is free, and any of them may take it. A worker above its share gives way: it gets no more, and its idle workers
go as by any scale-down (rule `_keep_to_cap`). A worker below its share takes only what is free now, counting what the
others have or have asked for. So the sum never exceeds the total because of the controller, and a worker waits for as
long as those that give way are busy.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from controller.core.cap import Cap
from controller.core.model import Change
from controller.core.reasons import Because, Reason


class Member(NamedTuple):
    """counted: configured or asked for, the higher one. wants: by its jobs, within min and max; least: min_replicas."""

    worker: str
    priority: int
    counted: int
    wants: int
    least: int


@dataclass(frozen=True, slots=True)
class Pool:
    """For the pass of one worker: the total, its own priority, and the other members."""

    name: str
    limit: int
    priority: int = 0
    others: Sequence[Member] = ()


@dataclass(frozen=True, slots=True)
class Share:
    """What one worker of a pool may have now. taken: by the others, configured or asked for."""

    pool: Pool
    me: Member
    count: int
    taken: int

    @property
    def words(self) -> str:
        """`pool render has 20 workers in all, and the others have 17`."""
        return f"pool {self.pool.name} has {self.pool.limit} workers in all, and the others have {self.taken}"

    @property
    def cap(self) -> Cap:
        return Cap(self.count, Because(Reason.POOL, f"max is {self.count}, because {self.words}"))


def counted_now(configured: int, change: Change | None) -> int:
    """With an open change: until it is settled, it may show any time, or not at all."""
    return configured if change is None else max(configured, change.before, change.after)


def share_out(limit: int, members: Sequence[Member]) -> Mapping[str, int]:
    """Of the total, the count of each worker; together at most `limit`, if the minimums are."""
    shares = _level(limit, {one.worker: (0, one.least) for one in members})
    wanted = {one.worker: max(one.least, one.wants) for one in members}
    kept = {one.worker: max(wanted[one.worker], one.counted) for one in members}
    for goal in (wanted, kept):
        for _, group in itertools.groupby(_by_priority(members), key=lambda one: one.priority):
            equals = list(group)
            room = limit - sum(shares.values()) + sum(shares[one.worker] for one in equals)
            shares |= _level(room, {one.worker: (shares[one.worker], goal[one.worker]) for one in equals})
    return shares


def share_of(pool: Pool, worker: str, counted: int, wants: int, least: int) -> Share:
    """What the worker may have now."""
    me = Member(worker, pool.priority, counted, wants, least)
    shares = share_out(pool.limit, (*pool.others, me))
    taken = sum(one.counted for one in pool.others)
    share = pool.limit - sum(count for name, count in shares.items() if name != worker)
    if share > counted:
        share = max(counted, min(share, pool.limit - taken))
    return Share(pool, me, max(0, share), taken)


def _by_priority(members: Sequence[Member]) -> list[Member]:
    return sorted(members, key=lambda one: (-one.priority, one.worker))


def _level(room: int, bounds: Mapping[str, tuple[int, int]]) -> dict[str, int]:
    """Each count is raised from its first bound towards its second, the lowest first, until the room is used up."""

    def at(level: int) -> dict[str, int]:
        return {name: max(least, min(most, level)) for name, (least, most) in bounds.items()}

    low, high = 0, max((most for _, most in bounds.values()), default=0)
    while low < high:  # the highest level at which all fits
        middle = (low + high + 1) // 2
        low, high = (middle, high) if sum(at(middle).values()) <= room else (low, middle - 1)
    found = at(low)
    left = room - sum(found.values())
    for name in sorted(found):
        if left > 0 and found[name] == low < bounds[name][1]:
            found[name] += 1
            left -= 1
    return found
