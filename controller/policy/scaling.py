"""How many workers a depth wants, and how fast the number may change: by tiers, or by a target_wait."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from controller.policy.document import Path
from controller.policy.queue import Queue
from controller.policy.types import Count, Duration, IfUnset, Part, Positive

UNMEASURED_START_UP_S = 20.0
"""Stands in for a worker's start-up time until one is measured."""
USABLE_START_UP_S = (5.0, 300.0)
"""A measured start-up time is taken as at least and at most this."""
IDLE_OFF_TEXT = "learned for each worker from the pauses in which it was not needed; at most 15m"


class Tier(Part):
    """`replicas` workers for a depth of at most `up_to` jobs; without `up_to`, for any depth beyond."""

    hints: ClassVar[Mapping[str, str]] = {
        "from": "a tier begins where the one before it ends, so that there can be no gap; keep only up_to",
        "to": "write up_to",
        "workers": "write replicas",
    }
    up_to: Count | None = None
    replicas: Count


class ScaleUp(Part):
    """Limits to how fast workers are added."""

    cooldown: Annotated[Duration, IfUnset("30s; 0s with `target_wait`")] = 30.0
    """shortest time from the last scale-up to the next"""
    max_step: Positive | None = None
    """largest number of workers added at once"""


class ScaleDown(Part):
    """Limits to how fast workers are removed. With a target_wait, idle_off replaces the cooldown and the window."""

    cooldown: Duration = 120.0
    """shortest time from the last scale in either direction to a scale-down; not with `target_wait`"""
    max_step: Positive | None = None
    """largest number of workers removed at once"""
    stabilization_window: Duration = 0.0
    """scale down only to the highest recommendation of this window; not with `target_wait`, see
    docs/policy.md#what-do-the-windows-count
    """
    idle_off: Annotated[Duration | None, IfUnset("learned, at most 15m")] = None
    """only with `target_wait`, instead of the cooldown and the window: a worker is removed once it has not been needed
    for this long, see docs/target-wait.md#when-is-a-worker-removed
    """


P = TypeVar("P", ScaleUp, ScaleDown)


def without_cooldown(part: P) -> P:
    """The same with a cooldown of 0, which does not count as written."""
    return part.model_construct(set(part.model_fields_set), **{**dict(part), "cooldown": 0.0})


def wait_problem(tiers: tuple[Tier, ...], target_wait: float | None) -> str | None:
    """Exactly one of the two sets the number of workers."""
    if target_wait is not None and tiers:
        return "is written together with tiers, and only one of them can set the number of workers; keep one"
    if target_wait is None and not tiers:
        return "is not set, and neither is tiers; write one of the two"
    return None


def service_time_problem(service_time: float | None, known: Mapping[str, Any]) -> str | None:
    target_wait, queue = known["target_wait"], known.get("queue")
    if service_time is None:
        if target_wait is None or not isinstance(queue, Queue) or queue.table is not None:
            return None
        of = f"preset {queue.preset}" if queue.preset is not None else "a query"
        return (
            f"is missing: how long the jobs of {of} take cannot be measured (of a table it can); write for example 20s"
        )
    if target_wait is None:
        return "has no effect without target_wait; write target_wait instead of tiers, or leave service_time out"
    return None if service_time else "must be above 0, for example 20s; or leave it out to have it measured"


def down_problems(down: ScaleDown, target_wait: float | None) -> Iterator[tuple[Path, str]]:
    if target_wait is None:
        if down.idle_off is not None:
            yield ("idle_off",), "works only with target_wait; with tiers, write cooldown or stabilization_window"
        return
    for name in ("cooldown", "stabilization_window"):
        if name in down.model_fields_set:
            yield (name,), "has no effect with target_wait; write idle_off instead"


def tier_problems(tiers: tuple[Tier, ...], maximum: int | None) -> Iterator[tuple[Path, str]]:
    if tiers[-1].up_to is not None:
        yield (
            (len(tiers) - 1, "up_to"),
            f"leaves depth {tiers[-1].up_to + 1} and more without a tier; the last tier must be open, without up_to",
        )
    for index, tier in enumerate(tiers[:-1]):
        if tier.up_to is None:
            yield (index,), "has no up_to, so that the tiers after it can never be reached; only the last tier is open"
    yield from _order_problems(tiers)
    yield from _falling_problems(tiers, maximum)


def _order_problems(tiers: tuple[Tier, ...]) -> Iterator[tuple[Path, str]]:
    bounded = [(index, tier.up_to) for index, tier in enumerate(tiers) if tier.up_to is not None]
    for (before, lower), (index, upper) in itertools.pairwise(bounded):
        if upper <= lower:
            yield (
                (index, "up_to"),
                f"overlaps: {upper} is not above {lower}, where tiers[{before}] ends; list the tiers by rising up_to",
            )


def _falling_problems(tiers: tuple[Tier, ...], maximum: int | None) -> Iterator[tuple[Path, str]]:
    """More jobs must not mean fewer workers. Counts above max_replicas are equal here, so a fall there is allowed."""

    def capped(tier: Tier) -> int:
        return tier.replicas if maximum is None else min(tier.replicas, maximum)

    for index, (lower, upper) in enumerate(itertools.pairwise(tiers)):
        if capped(upper) < capped(lower):
            yield (
                (index + 1, "replicas"),
                f"falls from {lower.replicas} to {upper.replicas}: more jobs must not mean fewer workers",
            )
