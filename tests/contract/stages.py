"""The stages that the contract is played on: a platform with one target, and a person who changes it, too.

A stage is opened for each test. `may_act` is what the adapter asks right before it sends a change.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from uuid import uuid4

import pytest

from controller.adapters.railway.client import RailwayClient
from controller.adapters.railway.platform import RailwayPlatform
from controller.adapters.railway.settings import load_railway
from controller.adapters.swarm.client import SwarmClient
from controller.adapters.swarm.platform import SwarmPlatform
from controller.adapters.swarm.settings import load_swarm
from controller.core.model import Replicas
from controller.core.ports import Platform
from controller.fake_railway import FakeRailway, Timings
from controller.policy import Policy
from tests.fake_swarm import FakeEngine
from tests.support.engine import CannotStartError, Engine, engine
from tests.support.patience import until
from tests.support.scene import intent_to
from tests.virtual.idle import LoopClock


@dataclass
class Stage:
    """platform: has one target, `key`, with 2 replicas that run. gone: a target that does not exist.

    by_hand: sets the count as a person would. count: what the platform itself says it was last asked for. advance: lets
    starts and stops come to their end. leads: whether the adapter may send a change.
    """

    platform: Platform
    key: str
    gone: str
    by_hand: Callable[[int], Awaitable[None]]
    count: Callable[[], Awaitable[int]]
    advance: Callable[[], Awaitable[None]]
    leads: list[bool] = field(default_factory=lambda: [True])

    async def read(self) -> Replicas:
        reading = (await self.platform.observe([self.key]))[self.key]
        assert isinstance(reading, Replicas), reading
        return reading

    async def settled(self, count: int) -> Replicas:
        """The reading once this many run, and no other instance is alive."""

        async def look() -> Replicas | None:
            await self.advance()
            seen = await self.read()
            return seen if (seen.configured, seen.running, seen.alive) == (count, count, count) else None

        return await until(look, f"{count} that run")


async def _nothing() -> None: ...


@asynccontextmanager
async def railway(_: Path) -> AsyncIterator[Stage]:
    async with FakeRailway.create(2, timings=Timings().scaled(0.01)) as fake:
        settings = load_railway(fake.environment_variables("account"))
        leads = [True]
        clients = [RailwayClient(settings.api_url, settings.token, LoopClock(), may_mutate=lambda _: leads[0])]
        clients.append(RailwayClient(settings.api_url, settings.token, LoopClock()))
        ours, theirs = (
            RailwayPlatform(one, project=settings.project_id, environment=settings.environment_id, shown_within_s=0.05)
            for one in clients
        )
        key = fake.worker.id

        async def by_hand(count: int) -> None:
            reading = (await theirs.observe([key]))[key]
            assert isinstance(reading, Replicas)
            await theirs.scale(key, intent_to(count), reading)

        async def count() -> int:
            reading = (await theirs.observe([key]))[key]
            assert isinstance(reading, Replicas)
            return reading.configured

        yield Stage(ours, key, "00000000-0000-0000-0000-000000000000", by_hand, count, _nothing, leads)
        for client in clients:
            await client.close()


def _swarm(host: str, name: str, leads: list[bool]) -> SwarmPlatform:
    each = {"queue": {"table": "job"}, "tiers": [{"replicas": 1}], "max_replicas": 5}
    workers = {one: {"swarm": {"service": one}, **each} for one in (name, "gone")}
    policy = Policy.model_validate({"interval": "10s", "workers": workers})
    return SwarmPlatform(SwarmClient(load_swarm({"DOCKER_HOST": host}), may_act=lambda _: leads[0]), policy)


@asynccontextmanager
async def fake_swarm(folder: Path) -> AsyncIterator[Stage]:
    fake = FakeEngine()
    fake.create("jobs", 2)

    async def by_hand(count: int) -> None:
        service = fake.of("jobs")
        fake.update(service["ID"], {**service["Spec"], "Mode": {"Replicated": {"Replicas": count}}})

    async def count() -> int:
        return fake.count("jobs")

    async def advance() -> None:
        fake.now += 1
        fake.step("jobs", "running")
        fake.stop("jobs")

    leads = [True]
    async with fake.over(folder / "docker.sock") as host:
        platform = _swarm(host, "jobs", leads)
        yield Stage(platform, "swarm:jobs", "swarm:gone", by_hand, count, advance, leads)
        await platform.close()


@asynccontextmanager
async def real_swarm(_: Path, *, real: Engine) -> AsyncIterator[Stage]:
    name = f"jobs-{uuid4().hex[:8]}"
    real.create(name, 2)

    async def by_hand(count: int) -> None:
        real.change(name, Replicas=count)

    async def count() -> int:
        return int(real.of(name)["Spec"]["Mode"]["Replicated"]["Replicas"])

    leads = [True]
    platform = _swarm(real.host, name, leads)
    stage = Stage(platform, f"swarm:{name}", "swarm:gone", by_hand, count, _nothing, leads)
    await stage.settled(2)
    yield stage
    await platform.close()
    real.asked("DELETE", f"/services/{name}")


Opened = Callable[[Path], AbstractAsyncContextManager[Stage]]
FAKES: dict[str, Opened] = {"railway": railway, "swarm": fake_swarm}


@contextmanager
def real_ones() -> Iterator[dict[str, Opened]]:
    """The stages of real servers, of a run that asks for them; skips the tests where they cannot be started."""
    if not os.environ.get("AUTOSCALER_TEST_SWARM"):
        pytest.skip("a real Swarm only runs in `make test-swarm`")
    try:
        with engine() as real:
            yield {"real swarm": partial(real_swarm, real=real)}
    except CannotStartError as cannot:
        pytest.skip(f"no real Swarm: {cannot}")
