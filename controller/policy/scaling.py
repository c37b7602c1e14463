"""How many workers a depth wants, and how fast the count may change: by tiers, or by a wait that is aimed at."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from controller.policy.document import Path
from controller.policy.queue import Queue
from controller.policy.types import Count, Duration, Part, Positive

MOST_COUNTED = 1_000_000
"""No reading counts further to decide anything; who has more jobs than that waits for no worker in particular."""
_NEARLY = 1e-9
_START_UP_S = 20.0
_START_UP_WITHIN_S = (5.0, 300.0)
IDLE_OFF_TEXT = "the measured start-up time, 5s to 5m; 20s until it is measured"


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
    """cooldown counts from the last scale-up; max_step is the most workers added at once."""

    cooldown: Duration = 30.0
    """shortest time from the last scale-up to the next. Default: 30s; 0s with `target_wait`."""
    max_step: Positive | None = None
    """largest number of workers added at once"""


class ScaleDown(Part):
    """cooldown counts from the last scale in either direction; max_step is the most workers taken at once.

    stabilization_window: going down only to the highest recommendation of that long. idle_off stands in the place of
    both where there is a target_wait: so long a worker was not needed before it goes; None: as long as a start takes.
    """

    cooldown: Duration = 120.0
    """shortest time from the last scale in either direction to a scale-down; not with `target_wait`"""
    max_step: Positive | None = None
    """largest number of workers removed at once"""
    stabilization_window: Duration = 0.0
    """scale down only to the highest recommendation of this window; not with `target_wait`, see
    docs/policy.md#what-do-the-windows-count
    """
    idle_off: Duration | None = None
    """only with `target_wait`, instead of the cooldown and the window: a worker is removed once it has not been needed
    for this long. Default: the measured start-up time, 5s to 5m.
    """

    def window(self, start_up_s: float | None) -> float:
        """idle_off, or the break-even: to keep a worker for as long as a start takes costs no more than the start."""
        if self.idle_off is not None:
            return self.idle_off
        least, most = _START_UP_WITHIN_S
        return _START_UP_S if start_up_s is None else min(max(least, start_up_s), most)

    @property
    def longest_window(self) -> float:
        return self.idle_off if self.idle_off is not None else _START_UP_WITHIN_S[1]


P = TypeVar("P", ScaleUp, ScaleDown)


def without_cooldown(part: P) -> P:
    """The same without one; nobody has written that, and so it does not count as written."""
    return part.model_construct(set(part.model_fields_set), **{**dict(part), "cooldown": 0.0})


def jobs_for(most: int, concurrency: int, target_wait: float, mean_s: float) -> int:
    """The least count of waiting jobs that wants that many workers; counting stops at MOST_COUNTED."""
    jobs = math.floor(min(MOST_COUNTED, max(0, most - 1) * concurrency * (target_wait + mean_s) / mean_s))
    # Rounding may make this one too many or too few; the formula itself decides.
    jobs = next(
        n
        for n in range(max(1, jobs - 1), jobs + 4)
        if n == jobs + 3 or workers_for(n, concurrency, target_wait, mean_s) >= most
    )
    return min(MOST_COUNTED, jobs)


def workers_for(jobs: float, concurrency: int, target_wait: float, mean_s: float) -> int:
    """The workers that have begun all these jobs within target_wait, if each job takes mean_s."""
    share = mean_s / (target_wait + mean_s)
    # What is exactly 3 must not become 4 by the last digit of a float.
    return math.ceil(jobs * share / concurrency - _NEARLY)


def wait_problem(tiers: tuple[Tier, ...], target_wait: float | None) -> str | None:
    """Of the two, exactly one says how many workers there shall be."""
    if target_wait is not None and tiers:
        return "stands beside tiers, and only one can say how many workers there shall be; keep one of the two"
    if target_wait is None and not tiers:
        return "is missing, and so are tiers; write one of the two"
    return None


def service_time_problem(service_time: float | None, known: Mapping[str, Any]) -> str | None:
    target_wait, queue = known["target_wait"], known.get("queue")
    if service_time is None:
        if target_wait is None or not isinstance(queue, Queue) or queue.table is not None:
            return None
        of = f"preset {queue.preset}" if queue.preset is not None else "a query"
        return f"is missing: how long the jobs of {of} take cannot be measured, as it can of a table; write 20s, say"
    if target_wait is None:
        return "would do nothing without target_wait; write that in the place of tiers, or leave service_time out"
    return None if service_time else "is no time at all; write 20s, or leave it out to have it measured"


def down_problems(down: ScaleDown, target_wait: float | None) -> Iterator[tuple[Path, str]]:
    if target_wait is None:
        if down.idle_off is not None:
            yield ("idle_off",), "belongs to target_wait; beside tiers, write cooldown or stabilization_window"
        return
    for name in ("cooldown", "stabilization_window"):
        if name in down.model_fields_set:
            yield (name,), "has no use beside target_wait; idle_off stands in its place"


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
    """More jobs must not mean fewer workers. Above max_replicas all counts are the same to us, so that is no fall."""

    def capped(tier: Tier) -> int:
        return tier.replicas if maximum is None else min(tier.replicas, maximum)

    for index, (lower, upper) in enumerate(itertools.pairwise(tiers)):
        if capped(upper) < capped(lower):
            yield (
                (index + 1, "replicas"),
                f"falls from {lower.replicas} to {upper.replicas}: more jobs must not mean fewer workers",
            )
