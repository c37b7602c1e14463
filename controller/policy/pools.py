"""A highest total that several workers share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from controller.core.text.guesses import nearest
from controller.policy.document import Path
from controller.policy.types import Part, Positive

if TYPE_CHECKING:
    from controller.policy.models import Policy


class Pool(Part):
    """Workers that name it in `pool` have together at most `max_replicas`."""

    hints: ClassVar[Mapping[str, str]] = {
        "max": "write max_replicas",
        "total": "write max_replicas",
        "workers": "write pool: NAME at each of the workers",
    }
    max_replicas: Positive
    """highest count of all its workers together, see docs/pools.md"""


def pool_problems(policy: Policy) -> Iterator[tuple[Path, str]]:
    """What does not fit together."""
    for name, worker in policy.workers.items():
        if worker.pool is None:
            if worker.priority is not None:
                yield ("workers", name, "priority"), "has an effect only with pool; leave it out, or write pool: NAME"
        elif worker.pool not in policy.pools:
            near = nearest(worker.pool, policy.pools)
            known = f"did you mean {near}?" if near else f"write pools: {{{worker.pool}: {{max_replicas: 20}}}}"
            yield ("workers", name, "pool"), f"is {worker.pool}, which is not in pools; {known}"
    for name, pool in policy.pools.items():
        least = {one: worker.highest_min for one, worker in policy.workers.items() if worker.pool == name}
        if sum(least.values()) > pool.max_replicas:
            words = ", ".join(f"{one} {count}" for one, count in least.items())
            yield (
                ("pools", name, "max_replicas"),
                f"is {pool.max_replicas}, less than the min_replicas of its workers together ({words}); raise it",
            )
