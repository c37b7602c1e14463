"""Runs a shadow policy beside the loop: each cycle's readings go through core/shadow.py, and nothing is changed.

A cycle only makes one more plan, which is pure. What is remembered goes to a store by a task of its own, so that a new
leader goes on from there; what gets lost begins anew, and is shown with the time since which it counts. A bug here is
reported and ends neither a cycle nor the controller.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from controller.core import queues
from controller.core.model import Lease, RateUsage, Replicas, ServiceTime
from controller.core.ports import DepthRequest, Unavailable
from controller.core.shadow import Service, ShadowFleet, ShadowFleets, ShadowLook, begun, stepped
from controller.core.shadow_policy import policies_key
from controller.core.units import iso
from controller.loop.cycle import Cycle
from controller.loop.faults import Throttle
from controller.loop.measurements import JobTime
from controller.loop.readings import request_of
from controller.loop.reconciler import Ports, Reconciler
from controller.loop.shadow_status import ShadowStatus
from controller.loop.status import ControllerStatus
from controller.loop.supervisor import Supervisor
from controller.policy import Policy, WorkerPolicy

_AGAIN_S = 5.0


@dataclass(frozen=True, slots=True)
class _Shadow:
    """Of one worker. times: by queue, its time per job; None: the real policy measures it."""

    policy: WorkerPolicy
    in_force: WorkerPolicy
    policies: str
    alone: Mapping[str, WorkerPolicy]
    times: Mapping[str, JobTime | None]


@dataclass
class ShadowRunner:
    """reconciler: of a worker, by its name. gap: seconds without a cycle after which nothing is known."""

    store: ShadowFleets
    ports: Ports
    supervisor: Supervisor
    status: ControllerStatus
    lease: Callable[[], Lease | None]
    reconciler: Callable[[str], Reconciler]
    gap: Callable[[], float]
    name: str = ""
    """Of the shadow's file, for messages."""
    _shadows: dict[str, _Shadow] = field(default_factory=dict)
    _fleets: dict[str, ShadowFleet] = field(default_factory=dict)
    _unsaved: set[str] = field(default_factory=set)
    _gone: set[str] = field(default_factory=set)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _epoch: int | None = None
    """Of the lease under which the store was read."""
    _throttle: Throttle = field(default_factory=Throttle)

    def serve(self, policy: Policy, shadows: Mapping[str, WorkerPolicy], name: str) -> None:
        """These are the shadows from now on. One whose two policies stay the same keeps what it has."""
        self.name = name
        self._shadows = {
            worker: self._shadow(worker, policy.workers[worker], shadow) for worker, shadow in shadows.items()
        }
        self._gone |= self._fleets.keys() - shadows.keys()
        kept = {worker: one for worker, one in self._fleets.items() if self._goes_on(worker, one)}
        self._fleets, self._unsaved = kept, self._unsaved & kept.keys()

    def _shadow(self, worker: str, in_force: WorkerPolicy, shadow: WorkerPolicy) -> _Shadow:
        real, alone = queues.alone(in_force), queues.alone(shadow)
        times = {
            queue: None
            if _is_measured(only) and _is_measured(real[queue])
            else JobTime(worker, only, self.ports.queue, self.ports.clock, self.ports.report)
            for queue, only in alone.items()
        }
        return _Shadow(shadow, in_force, policies_key(in_force, shadow), alone, times)

    def _goes_on(self, worker: str, fleet: ShadowFleet) -> bool:
        shadow = self._shadows.get(worker)
        return shadow is not None and fleet.policies == shadow.policies

    # What the loop asks and tells; none of this waits.

    def request(
        self, worker: str, queue: str, service: ServiceTime | None, start_up_s: float | None
    ) -> DepthRequest | None:
        """What the shadow needs of the one reading of that queue; None: it has no shadow.

        service: how long a job takes, as the real policy knows it.
        """
        shadow = self._shadows.get(worker)
        if shadow is None or queue not in shadow.alone:
            return None
        own = shadow.times[queue]
        return request_of(shadow.alone[queue], service if own is None else own.known, start_up_s)

    def cycle(self, cycle: Cycle, _: object, __: object) -> None:
        """A cycle of the leader."""
        shadow, lease = self._shadows.get(cycle.worker), self.lease()
        if shadow is None:
            return
        self._news.set()
        if lease is not None and lease.epoch == self._epoch:
            look = self._look(shadow, cycle)
            if look is not None:
                self._step(cycle.worker, shadow, look)
        if cycle.worker in self._fleets:
            self.status.put_shadow(cycle.worker, ShadowStatus.of(self._fleets[cycle.worker]))

    def _step(self, worker: str, shadow: _Shadow, look: ShadowLook) -> None:
        fleet = self._fleets.get(worker)
        if fleet is None:
            fleet = begun(shadow.policies, look)
            message = f"the shadow policy {self.name} decides beside the one in force from {iso(look.now)} on"
            self.ports.report("shadow_begun", worker=worker, count=fleet.count, message=message)
        self._fleets[worker], decision = stepped(fleet, look)
        self._unsaved.add(worker)
        if decision is not None:
            self.ports.report(
                "shadow_scaled",
                worker=worker,
                before=decision.current,
                after=decision.desired,
                configured=look.configured,
                reasons=[reason.value for reason in decision.reasons],
                message=f"{self.name} would scale: {decision.sentence} (in force: {look.configured})",
            )

    def _look(self, shadow: _Shadow, cycle: Cycle) -> ShadowLook | None:
        """None: the platform or the journal could not be read, so that nothing can be compared."""
        reconciler = self.reconciler(cycle.worker)
        recalled, replicas = reconciler.recalled, cycle.replicas
        if recalled is None or replicas is None:
            return None
        return ShadowLook(
            policy=shadow.policy,
            in_force=shadow.in_force,
            queue=cycle.queue or Unavailable(self.ports.sources.queue, "could not be read"),
            replicas=replicas,
            configured=_configured(cycle, replicas),
            now=recalled.now_at(self.ports.clock.monotonic()),
            gap=self.gap(),
            sources=self.ports.sources,
            services={queue: _service(own, queue, cycle) for queue, own in shadow.times.items()},
            service_s=None if cycle.service is None else cycle.service.mean_s,
            rate=cycle.rate if isinstance(cycle.rate, RateUsage) else None,
            overrides=recalled.history.overrides,
            start_ups=recalled.history.start_ups,
            is_woken=reconciler.was_woken,
        )

    def count(self, worker: str) -> int | None:
        """The workers that its shadow would have; None: it has no shadow, or nothing was decided yet."""
        fleet = self._fleets.get(worker)
        return None if fleet is None else fleet.count

    async def preview(self, cycle: Cycle) -> ShadowStatus | None:
        """What the shadow would decide on this cycle, going on from what the store remembers; writes nothing.

        None: the worker has no shadow, or what it needs could not be read.
        """
        shadow = self._shadows.get(cycle.worker)
        look = None if shadow is None else self._look(shadow, cycle)
        if shadow is None or look is None:
            return None
        await self._measure()
        try:
            fleet = (await self.store.load()).get(cycle.worker)
        except Unavailable:
            return None
        if fleet is None or not self._goes_on(cycle.worker, fleet):
            fleet = begun(shadow.policies, look)
        look = replace(look, services={queue: _service(own, queue, cycle) for queue, own in shadow.times.items()})
        return ShadowStatus.of(stepped(fleet, look)[0])

    # The task

    async def run(self) -> None:
        """Reads and writes what is remembered, until it is cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            if not await self.keep():
                await asyncio.sleep(_AGAIN_S)
                self._news.set()

    async def keep(self) -> bool:
        """Reads what the leader before has left, writes what is new, and measures; False if it is to be tried again."""
        with self.supervisor.catching():
            return await self._kept()
        return False

    async def last_words(self, within_s: float) -> None:
        """Writes what is new, before the lease is given back, for at most `within_s` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                await self.keep()

    async def _kept(self) -> bool:
        lease = self.lease()
        if lease is None or not (self._shadows or self._gone):
            return True
        try:
            if lease.epoch != self._epoch:
                self._take_over(await self.store.load())
                self._epoch = lease.epoch
            await self._save()
        except Unavailable as unavailable:
            if self._throttle.lasted(str(unavailable), self.ports.clock.monotonic()) is not None:
                message = f"what the shadow policy has done so far can be neither read nor kept: {unavailable}"
                self.ports.report("shadow_warning", message=message)
            return False
        await self._measure()
        return True

    def _take_over(self, found: Mapping[str, ShadowFleet]) -> None:
        """What the store has is newer than what this process remembers of an earlier lease."""
        self._fleets |= {worker: one for worker, one in found.items() if self._goes_on(worker, one)}
        self._gone |= found.keys() - self._shadows.keys()

    async def _save(self) -> None:
        unsaved, gone = self._unsaved, self._gone
        self._unsaved, self._gone = set(), set()
        if not unsaved and not gone:
            return
        try:
            await self.store.save({worker: self._fleets[worker] for worker in unsaved if worker in self._fleets}, gone)
        except Unavailable:
            self._unsaved |= unsaved
            self._gone |= gone
            raise

    async def _measure(self) -> None:
        """Once a minute, and only what the real policy does not measure."""
        for shadow in list(self._shadows.values()):
            for own in shadow.times.values():
                if own is not None:
                    await own.read()


def _is_measured(only: WorkerPolicy) -> bool:
    return only.target_wait is not None and only.service_time is None


def _configured(cycle: Cycle, replicas: Replicas) -> int:
    """Also of a change that this cycle has requested, which its reading does not show."""
    asked = cycle.decision if cycle.change else None
    return replicas.configured if asked is None else asked.desired


def _service(own: JobTime | None, queue: str, cycle: Cycle) -> Service:
    if own is not None:
        return Service(own.known, own.why_not)
    parts = [part.part for part in cycle.parts if part.part.name == queue]
    return Service(parts[0].service, parts[0].unmeasured) if parts else Service(cycle.service)
