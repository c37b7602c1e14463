"""Stages on Docker Swarm: the fake Engine, and a real one."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from controller.adapters.swarm.client import SwarmClient
from controller.adapters.swarm.platform import SwarmPlatform
from controller.adapters.swarm.settings import load_swarm
from controller.fake_swarm import FakeEngine
from controller.policy import Policy
from tests.contract.stages import WORKER, Lead, Stage
from tests.support.engine import Engine


def swarm_of(host: str, lead: Lead, *names: str) -> SwarmPlatform:
    workers = {
        name: {**WORKER, "queue": {"table": f"jobs{place}"}, "swarm": {"service": name}}
        for place, name in enumerate(names)
    }
    client = SwarmClient(load_swarm({"DOCKER_HOST": host}), may_act=lead.may_act, timeout_s=2.0)
    return SwarmPlatform(client, Policy.model_validate({"workers": workers}))


@asynccontextmanager
async def on_a_fake_swarm() -> AsyncIterator[Stage]:
    lead, fake = Lead(), FakeEngine(runs_by_itself=True)
    fake.create("one", 2)
    fake.create("two", 1)

    async def by_hand(count: int) -> None:
        service = fake.of("one")
        fake.update(service["ID"], {**service["Spec"], "Mode": {"Replicated": {"Replicas": count}}})

    def order(kind: str, on: str) -> None:
        fake.orders += [(kind, {"read": "GET", "change": "POST"}[on])] * (9 if on == "read" else 1)

    # A socket's path has at most 107 bytes, and pytest's own folders are deep.
    with tempfile.TemporaryDirectory(prefix="swarm-") as folder:
        async with fake.over(Path(folder) / "sock") as host:
            platform = swarm_of(host, lead, "one", "two", "absent")
            keys = [f"swarm:{name}" for name in ("one", "two", "absent")]
            yield Stage(platform, keys[0], keys[1], keys[2], lead, by_hand, order, sent=lambda: len(fake.sent))
            await platform.close()


@asynccontextmanager
async def on_a_real_swarm(real: Engine) -> AsyncIterator[Stage]:
    lead, names = Lead(), [f"{name}-{uuid4().hex[:8]}" for name in ("one", "two")]
    for name, replicas in zip(names, (2, 1), strict=True):
        real.create(name, replicas)

    async def by_hand(count: int) -> None:
        real.change(names[0], Replicas=count)

    platform = swarm_of(real.host, lead, *names, "absent")
    one, two = (f"swarm:{name}" for name in names)
    stage = Stage(platform, one, two, "swarm:absent", lead, by_hand)
    await stage.shows(2)
    yield stage
    await platform.close()
    for name in names:
        real.asked("DELETE", f"/services/{name}")
