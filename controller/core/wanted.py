"""Numbers that follow from a worker's policy: workers for jobs, the length of windows, and the limits of counting.

The policy holds the values as they are written; what follows from them is here. Jobs and workers are whole numbers,
times are seconds.
"""

from __future__ import annotations

import math

from controller.core.jobs_each import JobsEach
from controller.core.model import ServiceTime
from controller.policy import UNMEASURED_START_UP_S, USABLE_START_UP_S, WorkerPolicy

MOST_COUNTED = 1_000_000
"""No decision needs a count of more jobs than this."""
_NEARLY = 1e-9


def tier_replicas(policy: WorkerPolicy, depth: int) -> int:
    """The replicas of the first tier whose up_to holds the depth."""
    return next(tier.replicas for tier in policy.tiers if tier.up_to is None or depth <= tier.up_to)


def workers_for(jobs: float, concurrency: int, target_wait: float, mean_s: float) -> int:
    """The workers that begin all these jobs within target_wait, if each job takes mean_s."""
    share = mean_s / (target_wait + mean_s)
    # Floating point must not turn exactly 3 into 4.
    return math.ceil(jobs * share / concurrency - _NEARLY)


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

    service: how long a job takes. None: unknown; then a target_wait only needs to know whether there is a job at all.
    """
    jobs_each = JobsEach.of(policy)
    if jobs_each is not None:
        return jobs_each.enough(policy.max_replicas)
    if policy.target_wait is None:
        return max([1, *(tier.up_to + 1 for tier in policy.tiers if tier.up_to is not None)])
    if service is None:
        return 1
    return jobs_for(policy.max_replicas, policy.concurrency, policy.target_wait, service.mean_s)


def all_busy(policy: WorkerPolicy) -> int:
    """In-flight jobs at which all max_replicas are busy; 0 if unused."""
    return policy.max_replicas * (policy.jobs_per_worker or 0 if policy.target_wait is None else policy.concurrency)


def count_limit(policy: WorkerPolicy, service: ServiceTime | None) -> int:
    """Where counting stops; the count of a deeper queue is only a lower bound."""
    limit = enough(policy, service)
    if policy.target_wait is not None and limit > policy.queue.count_limit:
        # A power of 2, because a limit that changes with every measurement would make each count a new SQL statement.
        limit = 1 << (limit - 1).bit_length()
    return max(policy.queue.count_limit, limit)


def down_window(policy: WorkerPolicy, start_up_s: float | None) -> float:
    """For how many seconds a recommendation prevents scale-down below it.

    With a target_wait it is idle_off, or else the measured start-up time: to keep a worker for as long as a start takes
    costs no more than the start. start_up_s: None until it is measured.
    """
    down = policy.scale_down
    if policy.target_wait is None:
        return down.stabilization_window
    if down.idle_off is not None:
        return down.idle_off
    least, most = USABLE_START_UP_S
    return UNMEASURED_START_UP_S if start_up_s is None else min(max(least, start_up_s), most)


def kept_window(policy: WorkerPolicy) -> float:
    """For how many seconds recommendations are kept: the longest that down_window can be.

    Constant for a policy, because the history does not cover a window that becomes longer.
    """
    down = policy.scale_down
    if policy.target_wait is None:
        return down.stabilization_window
    return USABLE_START_UP_S[1] if down.idle_off is None else down.idle_off
