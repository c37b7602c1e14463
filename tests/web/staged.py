"""The page with two workers and a week of history, in this process: for tests, and to look at it.

`python -m tests.web.staged` serves it until Ctrl-C, and prints where.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from controller.adapters.clock import SystemClock
from controller.config.timing import Timing
from controller.core.conditions import Condition
from controller.core.model import Decision, Leader, Lease, QueueDepth, RateUsage, Replicas, ServiceState
from controller.core.ports import Batch, Page, Unavailable
from controller.core.reasons import Because, Reason
from controller.core.timeline import Decided, Happening, Sample
from controller.core.units import iso
from controller.loop.cycle import Cooldowns, Cycle, Fault, Outcome
from controller.loop.leadership import Leadership
from controller.loop.override_status import OverrideStatus
from controller.loop.schedule_status import ScheduleStatus
from controller.loop.status import ControllerStatus
from controller.policy import Policy
from controller.web.connections import Connections, serving
from controller.web.health import Shown
from controller.web.server import application, listening_socket
from tests.support.sources import REDIS, SOURCES
from tests.web.stand_ins import Leases, silent

RENDER, MAILER = "render", "mailer"
_OF_A_WORKER: dict[str, Any] = {"service": "s", "queue": {"table": "t"}, "tiers": [{"replicas": 2}]}
POLICY = Policy.model_validate(
    {
        "workers": {
            RENDER: {**_OF_A_WORKER, "max_replicas": 5, "rate_limit": {"rpm": 60}},
            MAILER: {**_OF_A_WORKER, "service": "m", "max_replicas": 3},
        }
    }
)
_DAY_S = 86_400.0


def week(worker: str, now: float) -> list[Sample]:
    """Samples of ten minutes, and of one minute in the last day; the days have peaks, and one night has a gap."""
    dice, found = random.Random(worker), []
    times = [now - 7 * _DAY_S + 600 * step for step in range(6 * 144)]
    times += [now - _DAY_S + 60 * step for step in range(1440)]
    for at in times:
        day = max(0.0, math.cos((at - now) / _DAY_S * math.tau - 0.3)) ** 2
        depth = 110 * day * (0.7 + 0.6 * dice.random()) + (60 * dice.random() if dice.random() < 0.03 else 0)
        if 2.2 * _DAY_S < now - at < 2.5 * _DAY_S:
            continue
        desired = min(5.0 if worker == RENDER else 3.0, math.ceil(depth / 22))
        running = max(0.0, desired - (dice.random() < 0.2))
        found.append(
            Sample(60, depth * 0.6, depth, depth * 1.5, depth / 4, desired, running, desired, at=at // 60 * 60)
        )
    return found


def happenings(now: float) -> list[Happening]:
    """The newest first."""
    dice, found, count = random.Random(4), [], {RENDER: 2, MAILER: 1}
    for step in range(160):
        worker = dice.choice((RENDER, RENDER, MAILER))
        before = count[worker]
        after = min(POLICY.workers[worker].max_replicas, max(0, before + dice.choice((-1, 1))))
        count[worker] = after
        if before == after:
            continue
        message = f"{22 * after} jobs want {after} workers: {before} → {after}"
        figures = {"before": before, "after": after, "reasons": ["Tier"]}
        found.append(
            Happening("scaled", worker, message, figures=figures, at=now - 7 * _DAY_S * (1 - step / 160) ** 2 - 60)
        )
    fault, source = "hold: PostgreSQL: connection refused", {"source": "PostgreSQL"}
    found += [
        Happening("lease_acquired", "", "this replica leads from now on, epoch 7", at=now - 5 * 3600),
        Happening("failing", RENDER, fault, figures=source, at=now - 2400),
        Happening("recovered", RENDER, "PostgreSQL is well again after 4 min", figures=source, at=now - 2160),
        Happening("override_set", MAILER, "held at 1 worker for 2 h by ann: invoices are sent by hand", at=now - 1500),
    ]
    return sorted(found, key=lambda one: -one.at)


@dataclass
class KeptTimeline:
    """The history in memory."""

    samples_of: dict[str, list[Sample]] = field(default_factory=dict)
    happened: list[Happening] = field(default_factory=list)
    is_away: bool = False
    readings: int = 0

    @classmethod
    def of_a_week(cls) -> KeptTimeline:
        now = time.time()
        return cls({name: week(name, now) for name in (RENDER, MAILER)}, happenings(now))

    def _read(self) -> None:
        self.readings += 1
        if self.is_away:
            raise Unavailable(REDIS, "is away")

    async def append(self, batch: Batch, lease: Lease) -> None:
        self.happened = sorted([*batch.happenings, *self.happened], key=lambda one: -one.at)

    async def happenings(self, since: float, until: float, *, most: int, after: str = "") -> Page:
        self._read()
        return Page(tuple(one for one in self.happened if since <= one.at <= until)[:most])

    async def decided(self, worker: str, since: float, until: float, *, most: int) -> tuple[Decided, ...]:
        return ()

    async def samples(self, worker: str, since: float, until: float) -> tuple[Sample, ...]:
        self._read()
        return tuple(one for one in self.samples_of.get(worker, []) if since <= one.at <= until)


def cycle(worker: str, depth: int, configured: int, desired: int, *, running: int | None = None) -> Cycle:
    """One that was read now, and changes the count if it is to be changed."""
    now = time.time()
    direction = f"{configured} → {desired}" if desired != configured else f"stays at {desired}"
    tier = Because(Reason.TIER, f"{depth} jobs want {desired} workers: {direction}")
    running = configured if running is None else running
    most = POLICY.workers[worker].max_replicas
    return Cycle(
        at=now,
        worker=worker,
        outcome=Outcome.HELD if desired == configured else Outcome.APPLIED,
        because=(tier,),
        message=tier.words,
        max_workers=most,
        epoch=7,
        queue=QueueDepth(max(0, depth - 6), min(6, depth), 42.0 if depth else None),
        replicas=Replicas(configured, running, configured, ServiceState.RUNNING),
        decision=Decision(configured, desired, desired, (tier,)),
        rate=RateUsage(34, 60) if worker == RENDER else None,
        cooldowns=Cooldowns(0, 74, now - 95, now - 4000),
        answered=frozenset(SOURCES.names),
    )


def failed(worker: str) -> Cycle:
    words = "hold: PostgreSQL: connection refused (is the server running?)"
    because = (Because(Reason.QUEUE_UNAVAILABLE, words),)
    fault, most = Fault("PostgreSQL", "connection refused"), POLICY.workers[worker].max_replicas
    return Cycle(time.time(), worker, Outcome.FAILED, because, words, most, epoch=7, fault=fault)


def overridden(worker: str) -> Cycle:
    """One with an operator's hold, a schedule that is on, and a condition of the service."""
    now = time.time()
    hold = OverrideStatus(
        *("hold", 1, None, "ann", "invoices are sent by hand", iso(now - 1500), iso(now + 5700), 5700.0, False),
        message="held at 1 worker by ann: invoices are sent by hand",
    )
    on = ScheduleStatus(
        "0 8 * * 1-5",
        "Europe/Berlin",
        1,
        None,
        iso(now + 9000),
        "min_replicas 1 by the schedule `0 8 * * 1-5`, until 18:00 CET",
    )
    seen = Condition(Reason.NO_PROGRESS, "no job was taken for 12 min", "see the workers' log", 720.0, degrades=False)
    return replace(cycle(worker, 31, 1, 1), overrides=(hold,), schedule=on, conditions=(seen,))


@dataclass
class Staged:
    """A controller's HTTP side. stop() and start() are its death and its return, on the same port."""

    shown: Shown
    timeline: KeptTimeline
    port: int = 0
    connections: list[Connections] = field(default_factory=list)
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def put(self, *cycles: Cycle) -> None:
        for one in cycles:
            self.shown.status.put(one)
        self.shown.status.turned()

    async def start(self, token: str | None = None) -> None:
        listener = listening_socket(self.port)
        self.port = listener.getsockname()[1]
        serves = serving(application(self.shown, token), listener, silent)
        self.connections = [await self._stack.enter_async_context(serves)]

    async def stop(self) -> None:
        await self._stack.aclose()


async def shown_by(timeline: KeptTimeline, *, leads: bool = True) -> Shown:
    clock = SystemClock()
    leadership = Leadership(Leases(), clock, timing=Timing.around(600), replica="a1", report=silent)
    if leads:
        await leadership.turn()
    leadership.leader = Leader(leadership.holder if leads else "b2:7f3c", 7, time.time() - 5 * 3600)
    status = ControllerStatus(clock, POLICY.interval, SOURCES.names)
    status.serve(POLICY, {})
    return Shown(status, leadership, POLICY, platform="Railway", timeline=timeline, loaded_at=time.time() - 5 * 3600)


@asynccontextmanager
async def staged(*, leads: bool = True, timeline: KeptTimeline | None = None) -> AsyncIterator[Staged]:
    kept = timeline or KeptTimeline.of_a_week()
    one = Staged(await shown_by(kept, leads=leads), kept)
    one.put(cycle(RENDER, 86, 4, 4, running=3), overridden(MAILER))
    await one.start()
    try:
        yield one
    finally:
        await one.stop()


async def _serve() -> None:
    async with staged() as one:
        print(one.url, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(_serve())
