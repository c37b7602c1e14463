"""The policies that `tune` tries: as keys of a policy file, made for several waits with several timings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from controller.core.units import as_policy
from controller.policy import WorkerPolicy
from controller.simulation.contenders import tiers_for
from controller.simulation.figures import Figures
from controller.simulation.workload.jobs import Measured, Workload

_SHORTEST_WAITS = (1.0, 2.0)
_WAITS = (5.0, 15.0, 30.0, 60.0, 120.0, 240.0, 480.0)
_COOLDOWNS = ((0.0, 30.0), (30.0, 120.0), (0.0, 10.0))
_COOLDOWNS_OF_JOBS = _COOLDOWNS[:2]
_IDLE_OFFS = (None, 0.0, 20.0, 60.0)
"""None: the key is left out, so that the controller chooses."""
_MAX_WAITS = (2.0, 4.0)
"""Tried for the two best, as multiples of the wait that they were made for: a shorter one is what the rest is for."""
_SHORTEST_MAX_WAIT_S = 10.0
_FINER = (0.7, 0.85, 1.2, 1.4)
_MOST_TIERS = 12
_SHORTEST_JOB_S, _LONGEST_JOB_S = 0.01, 86_400.0
"""The same limits as for measured times."""

Candidate = Mapping[str, Any]
"""Keys of a policy file: one of the three ways, scale_up, scale_down, max_wait. aim: the wait and the timings of it."""


@dataclass(frozen=True, slots=True)
class JobTime:
    """How long a job takes, for a target_wait. unmeasured: why the queue cannot give it; None: it can.

    source: the jobs from which `mean_s` comes, in words.
    """

    unmeasured: str | None = None
    mean_s: float = 0.0
    source: str = ""

    def of(self, measured: Measured, workload: Workload) -> JobTime:
        """The same with the mean of the jobs of the search."""
        mean = min(max(measured.mean_s, _SHORTEST_JOB_S), _LONGEST_JOB_S)
        return replace(
            self, mean_s=float(f"{mean:.3g}"), source=f"the mean of {measured.jobs:,} jobs of {workload.name}"
        )


def coarse(worker: WorkerPolicy, job_time: JobTime, form: str) -> Iterator[Candidate]:
    if form in {"tiers", "any"}:
        yield from (_by_tiers(worker, job_time, wait, up, down) for wait in _WAITS for up, down in _COOLDOWNS)
    if form in {"per_worker", "any"}:
        # Several waits may need the same number of jobs.
        of_jobs = {_jobs_each(worker, job_time, wait): wait for wait in _WAITS}.values()
        yield from (_by_jobs(worker, job_time, wait, up, down) for wait in of_jobs for up, down in _COOLDOWNS_OF_JOBS)
    if form in {"target_wait", "any"}:
        waits = (*_SHORTEST_WAITS, *_WAITS[:-1])
        yield from (_by_target(worker, job_time, wait, idle) for wait in waits for idle in _IDLE_OFFS)


def finer(best: Sequence[tuple[Candidate, Figures]], worker: WorkerPolicy, job_time: JobTime) -> Iterator[Candidate]:
    """Other waits around the best ones, with the same timings; and a max_wait, unless the policy has one."""
    for candidate, _ in best:
        wait, first_timing, second_timing = candidate["aim"]
        for factor in _FINER:
            if "tiers" in candidate:
                yield _by_tiers(worker, job_time, wait * factor, first_timing, second_timing)
            elif "per_worker" in candidate:
                yield _by_jobs(worker, job_time, wait * factor, first_timing, second_timing)
            else:
                yield _by_target(worker, job_time, round(wait * factor, 1), first_timing)
        if worker.max_wait is None and worker.only_queue.table is not None:
            limits = {max(_SHORTEST_MAX_WAIT_S, factor * wait) for factor in _MAX_WAITS}
            yield from ({**candidate, "max_wait": as_policy(limit)} for limit in sorted(limits))


def _by_tiers(worker: WorkerPolicy, job_time: JobTime, wait: float, up: float, down: float) -> Candidate:
    """Tiers for a wait: k workers up to k x wait / service jobs; with many workers, not a tier for each count."""
    most = worker.max_replicas
    counts = sorted({max(1, round(most * step / _MOST_TIERS)) for step in range(1, _MOST_TIERS + 1)} | {1, most})
    each = wait * (worker.jobs_per_worker or 1) / job_time.mean_s
    tiers = tiers_for([(count, count * each) for count in counts if count < most], most)
    return {
        "tiers": tiers,
        "scale_up": {"cooldown": as_policy(up)},
        "scale_down": {"cooldown": as_policy(down)},
        "aim": (wait, up, down),
    }


def _jobs_each(worker: WorkerPolicy, job_time: JobTime, wait: float) -> int:
    return max(1, round(wait * (worker.jobs_per_worker or 1) / job_time.mean_s))


def _by_jobs(worker: WorkerPolicy, job_time: JobTime, wait: float, up: float, down: float) -> Candidate:
    """per_worker for a wait, as tiers for it; the tolerance and the activation are left out."""
    return {
        "per_worker": _jobs_each(worker, job_time, wait),
        "scale_up": {"cooldown": as_policy(up)},
        "scale_down": {"cooldown": as_policy(down)},
        "aim": (wait, up, down),
    }


def _by_target(worker: WorkerPolicy, job_time: JobTime, wait: float, idle_off: float | None) -> Candidate:
    """A target_wait above 0; with service_time if the policy has it, or if it cannot be measured."""
    candidate: dict[str, Any] = {"target_wait": as_policy(wait)}
    if worker.service_time is not None:
        candidate["service_time"] = as_policy(worker.service_time)
    elif job_time.unmeasured is not None:
        candidate["service_time"] = as_policy(job_time.mean_s)
    if idle_off is not None:
        candidate["scale_down"] = {"idle_off": as_policy(idle_off)}
    return {**candidate, "aim": (wait, idle_off, 0.0)}


def as_written(candidate: Candidate, old: WorkerPolicy) -> dict[str, Any]:
    """The candidate as in a policy file; the step limits do not change."""
    fields = {key: value for key, value in candidate.items() if key != "aim"}
    for key, part in (("scale_up", old.scale_up), ("scale_down", old.scale_down)):
        if part.max_step is not None:
            fields[key] = {**fields.get(key, {}), "max_step": part.max_step}
    return fields
