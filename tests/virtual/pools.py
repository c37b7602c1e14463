"""Two workers of one pool, in a world of their own: on a platform that only knows two counts, under the usual faults.

Nobody else changes a count here. So the sum may exceed the total only if Redis lost a change that was on its way.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, NamedTuple

import httpx

from controller.core.model import Change, QueueDepth, Replicas, ServiceState
from controller.core.ports import DepthRequest, LeaseLost, NotSent, Receipt, Unavailable
from controller.loop.leadership import Leadership
from controller.policy import Policy
from tests.support.sources import RAILWAY
from tests.support.unhurried import as_promised
from tests.virtual.loop import Kernel
from tests.virtual.misfortunes import strike
from tests.virtual.network import Answer, Link, Reply
from tests.virtual.queue import PostgresServer, SimulatedQueue
from tests.virtual.scripts import Model
from tests.virtual.world import WORKER, Process, SimulatedWorld, seeded

OTHER = "other"
SERVICES = {WORKER: "service-1", OTHER: "service-2"}
_TIMEOUT_S = 8.0
_TIERS = [(0, 0), (10, 1), (30, 2), (60, 3), (100, 4)]
_DEPTHS = (0, 3, 15, 45, 80, 120)
_MOST = 5
_FAULTS = (
    *("kill", "kill all", "terminate", "deploy the controller", "pause", "set a wall clock"),
    *("restart redis", "restart redis with old data", "restart redis empty", "freeze redis", "flush redis"),
    *("lose the lease", "lose a key", "refuse writes to redis", "set the clock of redis"),
    *("spoil a link", "spoil a link", "isolate", "cut", "stop postgres", "lag postgres", "slow postgres"),
)
_MEAN_BETWEEN_FAULTS_S, _MEAN_BETWEEN_SWINGS_S = 9.0, 10.0
_CALM_WITHIN_S = 500.0


class Asked(NamedTuple):
    """A change of one count, and the sum of both after it."""

    at: float
    who: str
    worker: str
    before: int
    after: int
    total: int


@dataclass
class Fleet:
    """The platform: what each service was last asked for, and what it shows, which is some seconds behind."""

    kernel: Kernel
    random: Random
    asked: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SERVICES.values(), 0))
    shown: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SERVICES.values(), 0))
    changes: list[Asked] = field(default_factory=list)
    lag_s: float = 4.0
    """It shows a change at most that much later."""

    def show(self, reply: Reply) -> None:
        self.kernel.after(0.2 * self.random.random(), reply, Answer(dict(self.shown)))

    def change(self, service: str, count: int, who: str, reply: Reply) -> None:
        before, self.asked[service] = self.asked[service], count
        worker = next(name for name, one in SERVICES.items() if one == service)
        total = sum(self.asked.values())
        self.changes.append(Asked(self.kernel.now, who, worker, before, count, total))
        self.kernel.after(self.lag_s * (0.5 + 0.5 * self.random.random()), self._show, service)
        self.kernel.after(0.2 * self.random.random(), reply, Answer(value=True))

    def _show(self, service: str) -> None:
        self.shown[service] = self.asked[service]


@dataclass
class FleetOf:
    """The port, for one process."""

    fleet: Fleet
    who: str
    link: Link
    leadership: Leadership
    source = RAILWAY

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        try:
            shown = await self.link.ask(self.fleet.show, _TIMEOUT_S)
        except httpx.HTTPError as error:
            raise Unavailable(RAILWAY, str(error)) from None
        return {service: _replicas(shown[service]) for service in services}

    async def scale(self, service: str, change: Change, observed: Replicas) -> Receipt:
        if not self.leadership.may_act(change.epoch):
            raise LeaseLost("the lease ended")
        try:
            await self.link.ask(lambda reply: self.fleet.change(service, change.after, self.who, reply), _TIMEOUT_S)
        except httpx.ConnectError as error:
            raise NotSent(RAILWAY, str(error)) from None
        except httpx.HTTPError as error:
            raise Unavailable(RAILWAY, str(error)) from None
        return Receipt.ACCEPTED

    def requests(self) -> None:
        return None

    def chooser(self, service: str) -> None:
        return None


def _replicas(count: int) -> Replicas:
    return Replicas(count, count, count, ServiceState.RUNNING if count else ServiceState.STOPPED)


@dataclass
class TwoQueues(SimulatedQueue):
    """One for each worker."""

    other: PostgresServer | None = None

    async def depths(self, requests: Mapping[str, DepthRequest]) -> AsyncIterator[tuple[str, QueueDepth | Unavailable]]:
        mine, theirs = self.server, self.other
        for name, request in requests.items():
            self.server = theirs if name.startswith(OTHER) and theirs is not None else mine
            try:
                yield name, await self._depth(request.limit)
            except Unavailable as unavailable:
                yield name, unavailable
            finally:
                self.server = mine


class PooledWorld(SimulatedWorld):
    """`asked`, `changes` and the queues of both workers."""

    def __init__(self, seed: int, policy: Policy, *, replicas: int = 2) -> None:
        super().__init__(seed, policy, replicas=replicas)
        self.fleet = Fleet(self.kernel, Random(f"{seed}/fleet"))
        self.second = PostgresServer(self.kernel, Random(f"{seed}/second"))

    @property
    def limit(self) -> int:
        (pool,) = self.policy.pools.values()
        return pool.max_replicas

    @property
    def shares(self) -> dict[str, int]:
        """What each worker is to have in the end."""
        wants = {WORKER: _tier(self.postgres.depth), OTHER: _tier(self.second.depth)}
        first, second = sorted(wants, key=lambda name: (-(self.policy.workers[name].priority or 0), name))
        equal = self.policy.workers[first].priority == self.policy.workers[second].priority
        if not equal:
            high = min(wants[first], self.limit)
            return {first: high, second: min(wants[second], self.limit - high)}
        half = self.limit // 2
        low = min(wants[second], max(half, self.limit - wants[first]))
        return {first: min(wants[first], self.limit - low), second: low}

    def conclude_pool(self) -> list[str]:
        """Waits until each worker has its share, and says what was broken."""
        until, wanted = self.kernel.now + _CALM_WITHIN_S, {SERVICES[name]: count for name, count in self.shares.items()}
        while self.fleet.asked != wanted and self.kernel.now < until:
            self.run_for(2.0)
        found = [f"{self.fleet.asked} asked for, {wanted} wanted"] if self.fleet.asked != wanted else []
        found += [f"bug: {complaint}" for process in self.processes for complaint in process.loop.complaints]
        found += [f"bug: {entry.detail}" for entry in self.trace.entries if '"event": "crashed"' in entry.detail]
        return found + self.excesses()

    def excesses(self) -> list[str]:
        """Each worker that was added above the total."""
        return [
            f"{one.at:.3f}: {one.worker} {one.before} → {one.after} by {one.who}: {one.total} in all, over {self.limit}"
            for one in self.fleet.changes
            if one.total > self.limit and one.after > one.before and not self._was_forgotten(one)
        ]

    def _was_forgotten(self, one: Asked) -> bool:
        """Redis lost data, or a record, while a change may have been on its way."""
        lost = [*self.redis.lost_data_at, *self.redis.lost_records_at]
        return any(one.at - self.timing.landing_bound <= at <= one.at for at in lost)

    def _queue_of(self, link: Link) -> SimulatedQueue:
        return TwoQueues(self.postgres, link, other=self.second)

    def _connected(self, process: Process, leadership: Leadership) -> FleetOf:
        return FleetOf(self.fleet, process.name, process.links["railway"], leadership)

    def _script_ran(self, who: str, model: Model, keys: Sequence[str], args: Sequence[str], answer: Any) -> None:
        if model.name != "write":  # what the record of one worker is made of
            super()._script_ran(who, model, keys, args, answer)


def _tier(depth: int) -> int:
    return next((replicas for most, replicas in _TIERS if depth <= most), _MOST)


def policy_of_two(limit: int, priorities: tuple[int, int] = (0, 0)) -> Policy:
    tiers = [*({"up_to": depth, "replicas": replicas} for depth, replicas in _TIERS), {"replicas": _MOST}]
    workers = {
        name: {
            "service": service,
            "queue": {"table": "generation_job"},
            "max_replicas": _MOST,
            "tiers": tiers,
            "scale_up": {"cooldown": "15s"},
            "scale_down": {"cooldown": "30s"},
            "pool": "both",
            "priority": priority,
        }
        for (name, service), priority in zip(SERVICES.items(), priorities, strict=True)
    }
    pools = {"both": {"max_replicas": limit}}
    return Policy.model_validate({"interval": "10s", "pools": pools, "workers": workers})


@contextmanager
def pooled_world(seed: int, policy: Policy) -> Any:
    with as_promised(), seeded(seed):
        world = PooledWorld(seed, policy)
        try:
            yield world
        finally:
            world.close()


def run(seed: int) -> list[str]:
    """What was broken in the episode of this seed."""
    state, dice = random.getstate(), Random(f"{seed}/pool")
    try:
        policy = policy_of_two(dice.choice([4, 5, 6, 7]), dice.choice([(0, 0), (1, 0), (0, 1)]))
        with pooled_world(seed, policy) as world:
            world.keep_running()
            end = dice.choice([60.0, 120.0, 180.0])
            for server in (world.postgres, world.second):
                at = dice.uniform(0.0, 10.0)
                while at < end:
                    world.kernel.at(at, server.swing, dice.choice(_DEPTHS))
                    at += dice.expovariate(1 / _MEAN_BETWEEN_SWINGS_S)
            at = dice.expovariate(1 / _MEAN_BETWEEN_FAULTS_S)
            while at < end:
                world.kernel.at(at, strike, world, dice.choice(_FAULTS), Random(dice.getrandbits(64)))
                at += dice.expovariate(1 / _MEAN_BETWEEN_FAULTS_S)
            world.run_for(end)
            world.heal()
            found: list[str] = world.conclude_pool()
            return found
    finally:
        random.setstate(state)
