"""Workers of one policy on two platforms: each is read, paced and blamed by itself."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pytest

from controller.config.timing import Timing
from controller.core.model import Lease, Replicas
from controller.core.ports import Role, Source, Unavailable
from controller.loop.cycle import Outcome
from controller.loop.leadership import Leadership
from controller.loop.log import Log
from controller.loop.platforms import Platforms
from controller.loop.reconciler import Ports
from controller.loop.runner import Runner
from controller.loop.status import ControllerStatus
from controller.policy import Policy
from tests.loop.test_runner import Always, Jobs, Memory, Services, Unlimited
from tests.support.sources import SOURCES
from tests.virtual.idle import LoopClock

pytestmark = pytest.mark.virtual_time
LEASE = Lease("me", 3)
EACH = {"tiers": [{"replicas": 1}], "max_replicas": 1}
POLICY = Policy.model_validate(
    {
        "interval": "10s",
        "workers": {
            "near": {"service": "svc", "queue": {"table": "near"}, **EACH},
            "far": {"kubernetes": {"name": "far"}, "queue": {"table": "far"}, **EACH},
        },
    }
)
FAR = "kubernetes:default/deployments.apps/far"


@dataclass
class Cluster(Services):
    """The second platform. takes_s: of one reading."""

    source = Source(Role.PLATFORM, "Kubernetes")
    takes_s: float = 0.0
    asked: list[str] = field(default_factory=list)

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        self.asked += services
        await asyncio.sleep(self.takes_s)
        return await super().observe(services)


@dataclass
class Two:
    """A runner of two workers, each on a platform of its own."""

    near: Services = field(default_factory=lambda: Services(willing=True))
    far: Cluster = field(default_factory=lambda: Cluster(willing=True))
    text: io.StringIO = field(default_factory=io.StringIO)

    def __post_init__(self) -> None:
        clock = LoopClock()
        self.log = Log(self.text, form="json", clock=clock)
        platforms = Platforms({"service": self.near, "kubernetes": self.far}, POLICY)
        ports = Ports(Jobs(breaks=False), platforms, Memory(), Unlimited(), clock, self.log.event)
        self.status = ControllerStatus(clock, POLICY.interval, (*SOURCES.names, "Kubernetes"))
        self.leadership = Leadership(Always(), clock, timing=Timing.around(15), replica="a", report=self.log.event)
        self.runner = Runner(POLICY, ports, self.leadership, self.status, self.log, landing_bound=60)

    async def runs_for(self, seconds: float) -> None:
        keeping = asyncio.create_task(self.leadership.keep())
        while self.leadership.lease is None:
            await asyncio.sleep(0.01)
        running = asyncio.create_task(self.runner.run())
        await asyncio.sleep(seconds)
        self.runner.stop()
        await running
        keeping.cancel()

    def events(self, name: str) -> list[dict[str, object]]:
        lines = [json.loads(line) for line in self.text.getvalue().splitlines()]
        return [line for line in lines if line["event"] == name]


async def test_each_target_is_read_and_scaled_on_the_platform_that_it_is_on() -> None:
    two = Two()
    cycles = await two.runner.tick(LEASE)
    assert [cycle.outcome for cycle in cycles] == [Outcome.APPLIED, Outcome.APPLIED]
    assert (two.near.asked_for, two.far.asked_for) == ([("svc", 1)], [(FAR, 1)])
    assert set(two.far.asked) == {FAR}


async def test_a_platform_that_cannot_be_read_is_named_by_its_own_workers_and_stops_no_other() -> None:
    two = Two(far=Cluster(Unavailable(Cluster.source, "is away")))
    near, far = await two.runner.tick(LEASE)
    assert (near.outcome, sorted(near.answered)) == (Outcome.APPLIED, ["PostgreSQL", "Railway", "Redis"])
    assert far.outcome is Outcome.FAILED
    assert far.fault is not None
    assert (far.fault.source, "Railway" in far.message) == ("Kubernetes", False)
    assert two.status.failing == {"near": {}, "far": {"Kubernetes": far.at}}


async def test_a_platform_that_hangs_delays_no_cycle_of_the_other_and_is_not_read_twice_at_once() -> None:
    two = Two(far=Cluster(takes_s=35, willing=True))
    await two.runs_for(39.5)
    assert two.near.readings == 4 * 2, "a cycle every 10 s, each with a reading before and after its change"
    assert two.far.asked == [FAR, FAR], "one reading, which ended after 35 s, and the one that confirms the change"
    assert [line["worker"] for line in two.events("reconcile")].count("far") == 1


async def test_a_platform_whose_requests_run_out_has_a_pace_of_its_own() -> None:
    two = Two(near=Services(willing=True, pace_s=25))
    await two.runs_for(49)
    assert two.near.readings == 2 * 2, "at 0 s and at 25 s"
    assert len(two.far.asked) == 5 * 2, "every 10 s"
    (event,) = two.events("pace_stretched")
    assert "requests that Railway allows" in str(event["message"])
