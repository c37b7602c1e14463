"""A worker's share of its pool, as /status, the page, the metrics and `explain` show it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from controller.core.pools import Share


@dataclass(frozen=True, slots=True)
class PoolStatus:
    """limit: the pool's total. taken: what all its workers have or asked for. max_replicas: what this one may have."""

    pool: str
    limit: int
    taken: int
    max_replicas: int
    message: str

    @classmethod
    def of(cls, share: Share) -> Self:
        taken = share.taken + share.me.counted
        words = f"{share.words}; this one may have {share.count}"
        return cls(share.pool.name, share.pool.limit, taken, share.count, words)
