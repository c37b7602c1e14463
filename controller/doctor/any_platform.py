"""Doctor's checks of a platform: what they are asked and answer, and those that hold on any platform."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from controller.config.platform import Access, OpenPlatform
from controller.core.conditions import Look, conditions, updated_watch
from controller.core.model import History, Replicas
from controller.core.ports import Clock
from controller.core.reasons import Reason
from controller.doctor.finding import Finding, error, ok, warning
from controller.loop.platforms import read
from controller.policy import WorkerPolicy


class PlatformAsked(NamedTuple):
    """What the checks of one platform are asked.

    interval_s: between two cycles. workers: those of the policy that are on it. jobs: seconds that the longest jobs of
    each worker take; None if unknown. holders: who holds jobs now, by worker; None if the queue cannot tell. It has
    those workers whose platform can use it, and whose queue could be read.
    """

    platform: OpenPlatform
    access: Access
    interval_s: float
    workers: Mapping[str, WorkerPolicy]
    jobs: Mapping[str, float | None]
    clock: Clock
    holders: Mapping[str, tuple[str, ...] | None] = {}


@dataclass
class PlatformFindings:
    """everywhere: what concerns no single worker. workers: the findings of each."""

    everywhere: list[Finding] = field(default_factory=list)
    workers: dict[str, list[Finding]] = field(default_factory=dict)


async def check_any(asked: PlatformAsked) -> PlatformFindings:
    """Of a platform that has no checks of its own: whether each target can be read, and what state it is in."""
    found = PlatformFindings()
    readings = await read(asked.platform, [worker.target.key for worker in asked.workers.values()])
    for name, worker in asked.workers.items():
        reading = readings[worker.target.key]
        if isinstance(reading, Replicas):
            found.workers[name] = list(state(reading, worker, asked.clock.wall()))
        else:
            found.workers[name] = [error("target", str(reading))]
    return found


def state(reading: Replicas, worker: WorkerPolicy, now: float, about: str = "target") -> Iterator[Finding]:
    """The conditions that a first cycle would report, without history; only a deployment carries its own start time."""
    look = Look(worker, reading, None, History(), now, landing_bound=0.0)
    look = replace(look, history=History(watch=updated_watch(look)))
    found = [condition for condition in conditions(look) if condition.degrades]
    for condition in found:
        level = error if condition.reason is Reason.WORKERS_CRASH else warning
        yield level(about, condition.says, condition.fix)
    if not found:
        says = f"is {reading.state.value}; replicas configured: {reading.configured}, running: {reading.running}"
        yield ok(about, says)
