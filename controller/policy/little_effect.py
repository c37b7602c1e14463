"""Keys that have no effect, or another one than meant, beside the other keys of their worker. Pure.

Each is a warning and no error: the policy works, and a variable may bring the other value tomorrow.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from controller.core.units import as_policy, as_share
from controller.policy.budget import Budget
from controller.policy.models import Policy, WorkerPolicy

_ALL_COLUMNS = re.compile(r"\bselect\s+(?:\w+\s*\.\s*)?\*|\.\s*\*", re.IGNORECASE)
"""A query with these may return columns that its text does not name."""
_NEARLY = 1e-9


def little_effects(policy: Policy) -> Iterator[str]:
    """What to change, one sentence for each key."""
    used = {worker.pool for worker in policy.workers.values()}
    for pool in policy.pools.keys() - used:
        yield f"pools.{pool}: has no workers; write pool: {pool} at each of them, or remove it"
    for name, worker in policy.workers.items():
        every = (*_of_tiers(worker), *_of_max_wait(worker), *_of_per_worker(worker), *_of_budget(worker, policy.budget))
        for key, words in every:
            yield f"workers.{name}.{key}: {words}"


def _of_tiers(worker: WorkerPolicy) -> Iterator[tuple[str, str]]:
    if not worker.tiers or worker.max_wait is not None:
        return
    most = max(tier.replicas for tier in worker.tiers)
    fallback = 0 if worker.on_unavailable is None else worker.on_unavailable.at_least
    reached = max(most, worker.highest_min, fallback)
    if reached < worker.max_replicas:
        asked = "1 worker" if most == 1 else f"{most} workers"
        words = (
            f"is {worker.max_replicas}, but the tiers ask for {asked} at most, so only an operator's hold goes higher"
        )
        yield "max_replicas", f"{words}; raise the replicas of the last tier, or write max_replicas: {reached}"


def _of_budget(worker: WorkerPolicy, of_all: Budget | None) -> Iterator[tuple[str, str]]:
    if worker.worker_size is None and (worker.budget is not None or of_all is not None):
        yield (
            "worker_size",
            (
                "is missing, so for the budget a worker counts with the memory and vCPU that are set as limits of its "
                "service, an upper bound; while none are set, its spend is unknown and limits nothing; write one"
            ),
        )


def _of_max_wait(worker: WorkerPolicy) -> Iterator[tuple[str, str]]:
    max_wait, target_wait = worker.max_wait, worker.target_wait
    if max_wait is None:
        return
    if target_wait is not None and max_wait < target_wait:
        accepted = as_policy(target_wait)
        key = "target_wait" if worker.slo is None else "slo.wait"
        words = f"is shorter than {key}, which is {accepted}, so jobs that wait as long as they may add workers"
        yield "max_wait", f"{words}; write {accepted} or more"
    for name, queue in worker.each_queue.items():
        query, place = queue.sql, f"queues.{name}.sql" if name else "queue.sql"
        if query is not None and "oldest_age_s" not in query.lower() and not _ALL_COLUMNS.search(query):
            words = f"has no effect, because {place} does not return how long the oldest ready job has waited"
            yield "max_wait", f"{words}; add a column oldest_age_s, in seconds"


def _of_per_worker(worker: WorkerPolicy) -> Iterator[tuple[str, str]]:
    each, activation, tolerance = worker.per_worker, worker.activation or 1, worker.tolerance or 0.0
    if each is None:
        return
    if activation > 1 and worker.min_replicas:
        yield "activation", f"has no effect, because min_replicas is {worker.min_replicas}: a worker always runs"
    elif activation > 1 and worker.max_wait is None:
        fewer = "1 job waits" if activation == 2 else f"up to {activation - 1} jobs wait"
        yield "activation", f"{fewer} without end while no worker runs; write max_wait, for example 5m, to limit that"
    most = each * max(0, worker.max_replicas - 1)
    if tolerance and math.floor(most * tolerance + _NEARLY) < 1:
        share = as_share(tolerance)
        yield "tolerance", f"has no effect, because {share} of the {most} jobs below max_replicas is less than one job"
