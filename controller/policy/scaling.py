"""How many workers a depth wants, and how fast the number may change: by tiers, by jobs per worker, or by a wait.

The wait is given (target_wait), or follows from a promise for a share of the jobs (slo).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import field_validator
from pydantic_core import PydanticCustomError

from controller.policy.document import Path
from controller.policy.queue import Queue
from controller.policy.types import Count, Duration, IfUnset, Part, Positive, Promised

UNMEASURED_START_UP_S = 20.0
"""Stands in for a worker's start-up time until one is measured."""
USABLE_START_UP_S = (5.0, 300.0)
"""A measured start-up time is taken as at least and at most this."""
BASE_OF_SLO = 0.5
"""The target wait begins at this part of the promised wait."""
MULTIPLES_OF_SLO = (1 / 16, 4.0)
"""How far the target wait moves from there."""
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


class Slo(Part):
    """A promise: at least `share` of the jobs begin within `wait`. It moves the target wait, see core/slo.py."""

    hints: ClassVar[Mapping[str, str]] = {
        "target_wait": "write wait",
        "max_wait": "write wait",
        "within": "write wait",
        "latency": "write wait",
        "percentile": "write share: p99 is share: 99%",
        "target": "write share",
        "objective": "write share",
    }
    wait: Duration
    """how long a job may wait until a worker begins it, see docs/target-wait.md#how-do-i-promise-a-share-of-jobs"""
    share: Promised
    """the share of the jobs that keep to `wait`: 50% to 99.9%"""

    @field_validator("wait")
    @classmethod
    def _above_zero(cls, wait: float) -> float:
        if not wait:
            raise PydanticCustomError("wait", "must be above 0, for example 60s; no job begins at once")
        return wait

    @property
    def allowed(self) -> float:
        """The share of the jobs that may be late."""
        return 1 - self.share

    @property
    def longest_target(self) -> float:
        """In seconds: the target wait that lets counting go furthest."""
        return self.wait * BASE_OF_SLO * MULTIPLES_OF_SLO[1]


P = TypeVar("P", ScaleUp, ScaleDown)


def without_cooldown(part: P) -> P:
    """The same with a cooldown of 0, which does not count as written."""
    return part.model_construct(set(part.model_fields_set), **{**dict(part), "cooldown": 0.0})


def together_problem(other: str) -> str:
    """Exactly one of tiers, per_worker, slo and target_wait sets the number of workers."""
    return f"is written together with {other}, and only one of them can set the number of workers; keep one"


def wait_problem(
    tiers: tuple[Tier, ...], per_worker: int | None, slo: Slo | None, target_wait: float | None
) -> str | None:
    """per_worker, slo: None beside one of those before; that both are written is told there."""
    others = [name for name, one in (("tiers", tiers), ("per_worker", per_worker), ("slo", slo)) if one]
    if target_wait is not None and others:
        return together_problem(others[0])
    if target_wait is None and not others:
        return "is not set, and neither are tiers, per_worker and slo; write one of the four"
    return None


def without_effect(per_worker: int | None, *, tiers: object) -> str | None:
    """Of a key that only changes what per_worker wants."""
    if per_worker is not None:
        return None
    other = "tiers" if tiers else "target_wait"
    return f"has no effect without per_worker; write per_worker instead of {other}, or leave it out"


def slo_problem(known: Mapping[str, Any]) -> str | None:
    """Why a promise cannot be kept beside the fields before it."""
    other = next((name for name in ("tiers", "per_worker") if known.get(name)), None)
    if other is not None:
        return together_problem(other)
    fix = "write target_wait instead of slo"
    if known.get("queues") is not None:
        return f"works with one queue only, because the waits of several are not measured together; {fix}"
    queue = known.get("queue")
    if isinstance(queue, Queue) and queue.table is None:
        of = f"preset {queue.preset}" if queue.preset is not None else "a query"
        return f"cannot be kept: how long the jobs of {of} waited cannot be measured (of a table it can); {fix}"
    return None


def service_time_problem(service_time: float | None, known: Mapping[str, Any]) -> str | None:
    target_wait, queue = known["target_wait"], known.get("queue")
    if known.get("slo") is not None:
        return None if service_time is None else "has no effect with slo, which measures it; leave it out"
    if service_time is None:
        if target_wait is None or not isinstance(queue, Queue) or queue.table is not None:
            return None
        of = f"preset {queue.preset}" if queue.preset is not None else "a query"
        return (
            f"is missing: how long the jobs of {of} take cannot be measured (of a table it can); write for example 20s"
        )
    if target_wait is None:
        other = "tiers" if known.get("tiers") else "per_worker"
        return f"has no effect without target_wait; write target_wait instead of {other}, or leave service_time out"
    return None if service_time else "must be above 0, for example 20s; or leave it out to have it measured"


def down_problems(down: ScaleDown, target_wait: float | None, *, tiers: object) -> Iterator[tuple[Path, str]]:
    if target_wait is None:
        if down.idle_off is not None:
            way = "tiers" if tiers else "per_worker"
            yield ("idle_off",), f"works only with target_wait; with {way}, write cooldown or stabilization_window"
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
