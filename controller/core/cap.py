"""A highest count below max_replicas, for a reason that is not the worker's own line of the policy. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from controller.core.reasons import Because


@dataclass(frozen=True, slots=True)
class Cap:
    """No worker is added above `count`; those above it are removed by the rule `_keep_to_cap`, unless they are busy.

    is_hard: it is max_replicas itself, so rule 1 removes what is above it at once, also busy workers.
    """

    count: int
    because: Because
    is_hard: bool = False


def lowest(caps: Iterable[Cap]) -> Cap | None:
    """The one that binds; of equal ones the first."""
    return min(caps, key=lambda cap: cap.count, default=None)
