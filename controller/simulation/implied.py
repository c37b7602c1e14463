"""The wait that a policy implies, without any jobs: at a steady depth d, k workers make a job wait d x S / k."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from controller.policy import WorkerPolicy, jobs_for


@dataclass(frozen=True, slots=True)
class Implied:
    """replicas: workers for depths of up to `up_to` jobs (None: any); wait_s: at that depth (None: it has no end)."""

    up_to: int | None
    replicas: int
    wait_s: float | None


def implied_waits(worker: WorkerPolicy, service_s: float) -> Iterator[Implied]:
    """Each tier at its deepest; of a target_wait, each number of workers, where the next one would be added."""
    for up_to, replicas in _steps(worker, service_s):
        hands = replicas * (worker.jobs_per_worker or 1)
        wait = None if up_to is None or not hands else up_to * service_s / hands
        yield Implied(up_to, replicas, wait)


def _steps(worker: WorkerPolicy, service_s: float) -> Iterator[tuple[int | None, int]]:
    least, most = worker.min_replicas, worker.max_replicas
    if worker.target_wait is None:
        steps = [(tier.up_to, min(max(tier.replicas, least), most)) for tier in worker.tiers if tier.up_to != 0]
    else:
        steps = [
            (jobs_for(count + 1, worker.concurrency, worker.target_wait, service_s) - 1, count)
            for count in range(max(1, least), most)
        ]
        steps.append((None, most))
    for index, (up_to, replicas) in enumerate(steps):
        if index + 1 == len(steps) or steps[index + 1][1] != replicas:
            yield up_to, replicas  # tiers that max_replicas makes one
