"""Before a scale-down: which instances hold jobs, by their names, so that the others go.

It asks the platform only if a plan wants fewer workers, or keeps all of them because of jobs, and the queue names who
holds these. With the names the plan is made anew: rule 4 counts exactly then. If the names cannot be read, or the
platform cannot be told, the first plan holds, rule 4 counts jobs as ever, and an event says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from controller.core.holders import held
from controller.core.model import Instances, Replicas
from controller.core.plan import Plan
from controller.core.ports import Chooser, Clock, Report, Unavailable
from controller.core.steps import Send
from controller.loop.faults import Throttle

_HOLDS_FOR_S = 60.0
"""While long jobs keep all workers, the names are read this often, and not with each cycle."""


class _Known(NamedTuple):
    """instances: as read at `at`, while the counts and the holders were these."""

    counts: tuple[object, ...]
    instances: Instances
    at: float


class IdleFirst:
    """Of one worker, whose platform can choose."""

    def __init__(self, worker: str, chooser: Chooser, clock: Clock, report: Report) -> None:
        self._worker, self._chooser, self._clock, self._report = worker, chooser, clock, report
        self._throttle = Throttle()
        self._known: _Known | None = None

    async def planned(self, first: Plan, again: Callable[[Replicas], Plan], *, acts: bool) -> Plan:
        """The plan to carry out. again: plans anew with this reading. acts: the platform is told which are to stay.

        Raises:
            LeaseLost: we no longer lead; nothing was told.
        """
        replicas = first.replicas
        if replicas is None or not first.wants_instances:
            return first
        counts = (replicas.configured, replicas.running, replicas.deployment, first.queue and first.queue.holders)
        known = self._known
        if known is not None and known.counts == counts and self._clock.monotonic() - known.at < _HOLDS_FOR_S:
            held_back = again(replace(replicas, instances=known.instances))
            if not held_back.scales_down:
                return held_back
        try:
            instances = await self._chooser.instances()
            self._known = _Known(counts, instances, self._clock.monotonic())
            plan = again(replace(replicas, instances=instances))
            if acts:
                await self._keep(plan)
        except Unavailable as unavailable:
            self._warn(unavailable)
            return first
        self._throttle.over()
        return plan

    async def _keep(self, plan: Plan) -> None:
        send, queue = plan.last, plan.queue
        if not isinstance(send, Send) or not plan.scales_down or queue is None:
            return
        found = held(queue, send.replicas)
        if found is not None and found.busy:
            await self._chooser.keep(found.busy, send.change)

    def _warn(self, unavailable: Unavailable) -> None:
        if self._throttle.lasted("", self._clock.monotonic()) is not None:
            message = f"which workers are busy is not used for this scale-down, only how many jobs run: {unavailable}"
            self._report("busy_unknown", worker=self._worker, message=message)
