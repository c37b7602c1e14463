"""The policies that `tune` tries: as keys of a policy file, made for several waits with several timings.

coarse() has those that are far apart, closer() those with waits around the best of these, and with_more() the best with
one key more. Of several queues, those of a target_wait keep their own target_wait in proportion to the worker's, and
those of tiers and per_worker keep their weight.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from controller.core.units import as_policy
from controller.policy import NamedQueue, WorkerPolicy
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

_PROMISES = ((1.0, "95%"), (1.0, "99%"), (0.5, "95%"))
"""Waits as multiples of the goal's, and shares: the goal itself, which counts 95 % of the jobs, and stricter ones."""
_STABILIZATION_WINDOWS = (60.0, 300.0)
_TOLERANCES = ("10%", "25%")
_LEAST_WAIT_S = 0.1

Candidate = Mapping[str, Any]
"""Keys of a policy file: one of the four ways, scale_up, scale_down, and more. aim: the wait and the timings of it."""


@dataclass(frozen=True, slots=True)
class JobTime:
    """How long a job takes, for a target_wait. unmeasured: why the queue cannot give it; None: it can.

    source: the jobs from which `mean_s` comes, in words. has_waits: the table shows how long jobs waited, for slo.
    """

    unmeasured: str | None = None
    mean_s: float = 0.0
    source: str = ""
    has_waits: bool = False

    def of(self, measured: Measured, workload: Workload) -> JobTime:
        """The same with the mean of the jobs of the search."""
        mean = min(max(measured.mean_s, _SHORTEST_JOB_S), _LONGEST_JOB_S)
        return replace(
            self, mean_s=float(f"{mean:.3g}"), source=f"the mean of {measured.jobs:,} jobs of {workload.name}"
        )


def promise_problem(worker: WorkerPolicy, wait_s: float | None) -> str | None:
    """Why no slo can be tried; None: it can. wait_s: the wait of the goal, if it is one."""
    if wait_s is None:
        return "needs the goal --wait, which says what is promised"
    if worker.queues is not None:
        return "works with one queue only, and the worker has several"
    if worker.only_queue.table is None:
        return "needs a queue that is a table, because waits are measured there"
    return None


def coarse(worker: WorkerPolicy, job_time: JobTime, form: str, wait_s: float | None) -> Iterator[Candidate]:
    """wait_s: the wait of the goal, if it is one."""
    if form in {"tiers", "any"}:
        yield from (_by_tiers(worker, job_time, wait, up, down) for wait in _WAITS for up, down in _COOLDOWNS)
    if form in {"per_worker", "any"}:
        # Several waits may need the same number of jobs.
        of_jobs = {_jobs_each(worker, job_time, wait): wait for wait in _WAITS}.values()
        yield from (_by_jobs(worker, job_time, wait, up, down) for wait in of_jobs for up, down in _COOLDOWNS_OF_JOBS)
    if form in {"target_wait", "any"}:
        waits = (*_SHORTEST_WAITS, *_WAITS[:-1])
        yield from (_by_target(worker, job_time, wait, idle) for wait in waits for idle in _IDLE_OFFS)
    can_promise = promise_problem(worker, wait_s) is None
    # Where the table was not asked whether it shows waits, only --form slo has promises.
    if wait_s is not None and can_promise and (form == "slo" or (form == "any" and job_time.has_waits)):
        yield from (_by_promise(round(part * wait_s, 1), share) for part, share in _PROMISES)


def closer(best: Sequence[tuple[Candidate, Figures]], worker: WorkerPolicy, job_time: JobTime) -> Iterator[Candidate]:
    """Other waits around the best ones, with the same timings."""
    for candidate, _ in best:
        wait, first_timing, second_timing = candidate["aim"]
        for factor in _FINER:
            if "tiers" in candidate:
                yield _by_tiers(worker, job_time, wait * factor, first_timing, second_timing)
            elif "per_worker" in candidate:
                yield _by_jobs(worker, job_time, wait * factor, first_timing, second_timing)
            elif "slo" in candidate:
                yield _by_promise(round(wait * factor, 1), candidate["slo"]["share"])
            else:
                yield _by_target(worker, job_time, round(wait * factor, 1), first_timing)


def with_more(best: Sequence[tuple[Candidate, Figures]], worker: WorkerPolicy) -> Iterator[Candidate]:
    """The best ones with one key more each; an activation with a max_wait, as too few jobs would else wait for ever."""
    for candidate, _ in best:
        max_waits = list(_max_waits(candidate, worker))
        if worker.max_wait is None:
            yield from ({**candidate, **max_wait} for max_wait in max_waits)
        if "tiers" in candidate or "per_worker" in candidate:
            for window in _STABILIZATION_WINDOWS:
                down = {**candidate["scale_down"], "stabilization_window": as_policy(window)}
                yield {**candidate, "scale_down": down}
        if "per_worker" in candidate:
            yield from ({**candidate, "tolerance": tolerance} for tolerance in _TOLERANCES)
            activations = sorted({2, candidate["per_worker"]} - {1})
            yield from ({**candidate, **max_wait, "activation": n} for max_wait in max_waits[:1] for n in activations)


def _max_waits(candidate: Candidate, worker: WorkerPolicy) -> Iterator[Candidate]:
    """The policy's own as it is; else some, where the age of the oldest job is known."""
    if worker.max_wait is not None:
        yield {}
    elif all(queue.table is not None for queue in worker.each_queue.values()):
        limits = {max(_SHORTEST_MAX_WAIT_S, factor * candidate["aim"][0]) for factor in _MAX_WAITS}
        yield from ({"max_wait": as_policy(limit)} for limit in sorted(limits))


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
    """A target_wait above 0; with service_time if the policy has it, or if that of a queue cannot be measured."""
    candidate: dict[str, Any] = {"target_wait": as_policy(wait)}
    if worker.service_time is not None:
        candidate["service_time"] = as_policy(worker.service_time)
    elif job_time.unmeasured is not None:
        candidate["service_time"] = as_policy(job_time.mean_s)
    if idle_off is not None:
        candidate["scale_down"] = {"idle_off": as_policy(idle_off)}
    return {**candidate, "aim": (wait, idle_off, 0.0)}


def _by_promise(wait: float, share: str) -> Candidate:
    return {"slo": {"wait": as_policy(wait), "share": share}, "aim": (wait, None, 0.0)}


def as_written(candidate: Candidate, old: WorkerPolicy) -> dict[str, Any]:
    """The candidate as in a policy file, but for the keys of its queues; the step limits do not change."""
    fields = {key: value for key, value in candidate.items() if key != "aim"}
    for key, part in (("scale_up", old.scale_up), ("scale_down", old.scale_down)):
        if part.max_step is not None:
            fields[key] = {**fields.get(key, {}), "max_step": part.max_step}
    return fields


def own_of_queue(queue: NamedQueue, candidate: Candidate, old: WorkerPolicy) -> dict[str, Any]:
    """What a candidate asks of one of several queues, by key: None leaves a key out."""
    if "target_wait" not in candidate:
        return {"target_wait": None, "service_time": None, "weight": queue.weight}
    own = queue.target_wait
    if own and old.target_wait:
        own = max(_LEAST_WAIT_S, round(own * candidate["aim"][0] / old.target_wait, 1))
    return {"target_wait": own, "service_time": queue.service_time, "weight": None}


def with_its_queues(worker: WorkerPolicy, candidate: Candidate, old: WorkerPolicy) -> WorkerPolicy:
    """The candidate as a policy, with the old one's queues where it has several."""
    if old.queues is None:
        return worker
    queues = {}
    for name, queue in old.named_queues.items():
        own = own_of_queue(queue, candidate, old)
        queues[name] = queue.model_copy(update={**own, "weight": own["weight"] or Decimal(1)})
    return worker.model_copy(update={"queue": None, "queues": queues})
