"""`autoscaler explain`: observes and decides right now, and changes nothing."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

from controller.app import Configuration, Controller, RunOptions, opened
from controller.core.model import Replicas, Rest
from controller.core.ports import Unavailable
from controller.core.rules import Step
from controller.core.wanted import count_limit, given_service
from controller.loop.cycle import Cycle
from controller.policy import WorkerPolicy


@dataclass(frozen=True, slots=True)
class Explanation:
    """What would be done right now, and each rule's turn; no steps where something could not be read.

    rest: what the queue holds besides; None where it could not be read, or not in time.
    """

    cycle: Cycle
    steps: tuple[Step, ...]
    rest: Rest | None


async def explain(configuration: Configuration) -> list[Explanation]:
    """Observes and decides, as a cycle would, and changes nothing anywhere."""
    async with opened(configuration, RunOptions(), stream=sys.stderr, events=sys.stderr, form="text") as controller:
        services = [worker.service for worker in controller.policy.workers.values()]
        readings: Mapping[str, Replicas | Unavailable]
        try:
            readings = await controller.ports.platform.observe(services)
        except Unavailable as unavailable:
            readings = dict.fromkeys(services, unavailable)
        explanations: list[Explanation] = []
        for name, worker in controller.policy.workers.items():
            cycle, steps = await controller.runner.reconciler(name).explain(readings[worker.service])
            explanations.append(Explanation(cycle, steps, await _rest(controller, worker)))
        return explanations


async def _rest(controller: Controller, worker: WorkerPolicy) -> Rest | None:
    try:
        return await controller.queue.rest(worker.queue, count_limit(worker, given_service(worker)))
    except Unavailable:
        return None
