"""Numbers that follow from a worker's policy: workers for jobs, the length of windows, and the limits of counting.

The policy holds the values as they are written; what follows from them is here. Jobs and workers are whole numbers,
times are seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from controller.core import pauses
from controller.core.jobs_each import JobsEach
from controller.core.model import History, Recommendation, ServiceTime
from controller.core.ports import Retention
from controller.policy import WorkerPolicy

MOST_COUNTED = 1_000_000
"""No decision needs a count of more jobs than this."""
_NEARLY = 1e-9


def tier_replicas(policy: WorkerPolicy, depth: int) -> int:
    """The replicas of the first tier whose up_to holds the depth."""
    return next(tier.replicas for tier in policy.tiers if tier.up_to is None or depth <= tier.up_to)


def share_of_worker(target_wait: float, mean_s: float) -> float:
    """What one waiting job needs of a worker, to begin within target_wait, if each job takes mean_s."""
    return mean_s / (target_wait + mean_s)


def whole_workers(need: float) -> int:
    """Rounded up; floating point must not turn exactly 3 into 4."""
    return math.ceil(need - _NEARLY)


def workers_for(jobs: float, concurrency: int, target_wait: float, mean_s: float) -> int:
    """The workers that begin all these jobs within target_wait, if each job takes mean_s."""
    return whole_workers(jobs * share_of_worker(target_wait, mean_s) / concurrency)


def workers_for_busy(policy: WorkerPolicy, jobs: int) -> int:
    """The workers that this number of jobs in progress keeps busy."""
    return math.ceil(jobs / policy.concurrency)


def jobs_for(most: int, concurrency: int, target_wait: float, mean_s: float) -> int:
    """The lowest number of waiting jobs for which `most` workers are wanted, from 1 to MOST_COUNTED."""
    jobs = math.floor(min(MOST_COUNTED, max(0, most - 1) * concurrency * (target_wait + mean_s) / mean_s))
    # Rounding may make this one too high or too low; workers_for() decides.
    jobs = next(
        n
        for n in range(max(1, jobs - 1), jobs + 4)
        if n == jobs + 3 or workers_for(n, concurrency, target_wait, mean_s) >= most
    )
    return min(MOST_COUNTED, jobs)


def given_service(policy: WorkerPolicy) -> ServiceTime | None:
    """The service_time of the policy; None: it gives none."""
    return None if policy.service_time is None else ServiceTime(policy.service_time, policy.service_time, 0)


def enough(policy: WorkerPolicy, service: ServiceTime | None) -> int:
    """Depth at which max_replicas is already wanted; counting further cannot change the decision.

    With schedules, the highest max_replicas of any hour.
    service: how long a job takes. None: unknown; then a target_wait only needs to know whether there is a job at all.
    """
    jobs_each = JobsEach.of(policy)
    if jobs_each is not None:
        return jobs_each.enough(policy.highest_max)
    if policy.target_wait is None:
        return max([1, *(tier.up_to + 1 for tier in policy.tiers if tier.up_to is not None)])
    if service is None:
        return 1
    # A promise may have moved its target by the time of the decision.
    wait = policy.target_wait if policy.slo is None else policy.slo.longest_target
    return jobs_for(policy.highest_max, policy.concurrency, wait, service.mean_s)


def all_busy(policy: WorkerPolicy) -> int:
    """In-flight jobs at which all max_replicas are busy; 0 if unused."""
    return policy.highest_max * (policy.jobs_per_worker or 0 if policy.target_wait is None else policy.concurrency)


def count_limit(policy: WorkerPolicy, service: ServiceTime | None) -> int:
    """Where counting stops; the count of a deeper queue is only a lower bound."""
    limit = enough(policy, service)
    least = policy.only_queue.count_limit
    if policy.target_wait is not None and limit > least:
        # A power of 2, because a limit that changes with every measurement would make each count a new SQL statement.
        limit = 1 << (limit - 1).bit_length()
    return max(least, limit)


def learns_when_to_stop(policy: WorkerPolicy) -> bool:
    """Whether pauses decide how long a worker stays that is not needed, see core/pauses.py."""
    return policy.target_wait is not None and policy.scale_down.idle_off is None


def kept_window(policy: WorkerPolicy) -> float:
    """For how many seconds recommendations are kept: the longest for which one can prevent a scale-down."""
    if learns_when_to_stop(policy):
        return pauses.LONGEST_S
    down = policy.scale_down
    return down.stabilization_window if policy.target_wait is None else down.idle_off or 0.0


def retention(policy: WorkerPolicy, gap: float) -> Retention:
    """`gap` in seconds, see Retention."""
    return Retention(kept_window(policy), gap, policy.highest_max if learns_when_to_stop(policy) else 0)


def windows(policy: WorkerPolicy, history: History, service: ServiceTime | None) -> Callable[[int], float]:
    """By worker, counted from 1: for how many seconds a look that needed it prevents its removal."""
    if not learns_when_to_stop(policy):
        window = kept_window(policy)
        return lambda _: window
    kept = pauses.kept_for(policy, history, service)
    return lambda worker: kept[min(pauses.slot(worker), len(kept) - 1)]


class Kept(NamedTuple):
    """The highest worker that may not be removed yet. needed_at: when it was last needed; None: not known to be."""

    worker: int
    needed_at: float | None


def kept(
    needed: Sequence[Recommendation],
    window: Callable[[int], float],
    between: tuple[int, int],
    *,
    now: float,
    unbroken_since: float,
    tolerance: float,
) -> Kept | None:
    """Of the workers above the first and up to the second count: the highest that stays; None: they may all go.

    A worker stays for its window after it was last needed, and after the memory began. needed: as from
    history.needed(). unbroken_since: since when each poll was noted. tolerance: as from rules.window_tolerance().
    """
    lowest, highest = between
    place = 0
    for worker in range(highest, lowest, -1):
        while place + 1 < len(needed) and needed[place + 1].replicas >= worker:
            place += 1
        at = needed[place].at if place < len(needed) and needed[place].replicas >= worker else None
        window_s = window(worker)
        if unbroken_since > now - window_s + tolerance and window_s:
            return Kept(worker, None)
        if at is not None and at >= now - window_s - tolerance and window_s:
            return Kept(worker, at)
    return None
