"""The waits that a policy implies, without a workload.

A wait ends when a worker begins the job, as in target_wait. At a steady depth of d jobs that take S each, with k in
work at once, a job is done after d x S / k, so it waits for d x S / k - S; it does not wait if d is k or less.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

from controller.core.jobs_each import JobsEach
from controller.core.model import ServiceTime
from controller.core.units import in_words
from controller.core.wanted import jobs_for
from controller.policy import WorkerPolicy

_ASSUMED_S = 20.0
_MOST_STEPS = 500
_UNTIL = "(a wait ends when a worker begins the job)"


@dataclass(frozen=True, slots=True)
class Implied:
    """replicas: workers for depths up to `up_to` jobs (None: any).

    wait_s: seconds until a worker begins the job, at that depth (None: without an end).
    """

    up_to: int | None
    replicas: int
    wait_s: float | None


def implied_waits(worker: WorkerPolicy, service_s: float) -> Iterator[Implied]:
    """Each tier at its highest depth; else each count at the depth just before the next worker."""
    for up_to, replicas in _steps(worker, service_s):
        at_once = replicas * worker.concurrency
        wait = None if up_to is None or not at_once else max(0.0, up_to * service_s / at_once - service_s)
        yield Implied(up_to, replicas, wait)


def _steps(worker: WorkerPolicy, service_s: float) -> Iterator[tuple[int | None, int]]:
    least, most = worker.min_replicas, worker.max_replicas
    jobs_each = JobsEach.of(worker)
    if jobs_each is not None:
        steps = _steps_of(jobs_each, least, most)
    elif worker.target_wait is None:
        steps = [(tier.up_to, min(max(tier.replicas, least), most)) for tier in worker.tiers if tier.up_to != 0]
    else:
        counts = _counts(least, most)
        waiting = [jobs_for(count + 1, worker.concurrency, worker.target_wait, service_s) - 1 for count in counts]
        steps = [*zip(waiting, counts, strict=True), (None, most)]
    for index, (up_to, replicas) in enumerate(steps):
        if index + 1 == len(steps) or steps[index + 1][1] != replicas:
            yield up_to, replicas  # tiers that max_replicas makes equal are shown as one


def _counts(least: int, most: int) -> range:
    """With 1000 workers or more, some hundred steps show as much as every single one."""
    return range(max(1, least), most, max(1, (most - least) // _MOST_STEPS))


def _steps_of(jobs_each: JobsEach, least: int, most: int) -> list[tuple[int | None, int]]:
    """From 0 workers on; while more than one runs, a tolerance may keep them a little longer."""
    each, none = jobs_each.each, jobs_each.activation - 1
    first: list[tuple[int | None, int]] = [(none, 0)] if none and not least else []
    counts = [count for count in _counts(least, most) if least or count * each > none]
    return [*first, *((count * each, count) for count in counts), (None, most)]


@dataclass(frozen=True, slots=True)
class Expectation:
    """The implied waits of one worker. source: where the time per job comes from."""

    worker: WorkerPolicy
    service_s: float
    source: str

    @classmethod
    def of(
        cls, worker: WorkerPolicy, *, given_s: float | None, measured: ServiceTime | None, was_asked: bool = False
    ) -> Self:
        """The time per job from the command line, else the database (if asked), else the policy, else assumed."""
        if given_s is not None:
            return cls(worker, given_s, "from --service-time")
        if measured is not None:
            words = (
                f"measured, the mean of the newest {measured.jobs} jobs; the median is {in_words(measured.median_s)}"
            )
            return cls(worker, measured.mean_s, words)
        if worker.service_time is not None:
            return cls(worker, worker.service_time, "from the policy's service_time")
        if was_asked:
            nothing = "assumed: no finished job has its times; does the table have started_at and completed_at?"
            return cls(worker, _ASSUMED_S, nothing)
        return cls(worker, _ASSUMED_S, "assumed; write --service-time TIME or --from-database")

    @property
    def heading(self) -> str:
        """The line above the table."""
        each = f"if a job takes {in_words(self.service_s)} ({self.source})"
        if self.worker.slo is not None:
            wait = in_words(self.worker.slo.wait)
            return f"the target wait moves, see slo; with one of {wait}, {each}, that is {_UNTIL}"
        if self.worker.target_wait is not None:
            return f"aims at a wait of {in_words(self.worker.target_wait)}; {each}, that is {_UNTIL}"
        jobs_each = JobsEach.of(self.worker)
        if jobs_each is not None:
            return f"{jobs_each.words}; {each}, that is {_UNTIL}"
        return f"{each}, the tiers imply {_UNTIL}"

    def table(self) -> Iterator[tuple[str, str, str]]:
        """Rows of depth, workers and wait; the first row is the heading."""
        yield "DEPTH UP TO" if self.worker.target_wait is None else "WAITING UP TO", "WORKERS", "A JOB WAITS UP TO"
        for implied in implied_waits(self.worker, self.service_s):
            depth = "any" if implied.up_to is None else f"{implied.up_to:,}"
            wait = "longer, as the depth grows" if implied.up_to is None else self._in_words(implied.wait_s)
            yield depth, str(implied.replicas), wait

    def _in_words(self, wait_s: float | None) -> str:
        most = self.worker.max_wait
        if most is not None and (wait_s is None or wait_s > most):
            return f"{in_words(most)} (max_wait)"
        return "for ever" if wait_s is None else in_words(wait_s)

    def as_object(self) -> dict[str, Any]:
        """For --json."""
        steps = [
            {"up_to": one.up_to, "replicas": one.replicas, "wait_s": one.wait_s}
            for one in implied_waits(self.worker, self.service_s)
        ]
        return {"service_time_s": self.service_s, "source": self.source, "steps": steps}
