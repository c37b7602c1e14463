"""From the COMMIT of the first job on an empty queue to the moment when the platform has received the request.

`autoscaler run` as a process of its own with the shipped policy, on a real PostgreSQL and a real Redis; the platform is
the fake Railway, over HTTP, which does at once what it is asked for.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from psycopg import sql

from controller.demo.jobs import CHANNEL
from tests.support.patience import until
from tests.support.processes import led_before, running
from tests.support.scene import POLICY, Scene, set_scene

_DEADLINES = {"REDIS_TIMEOUT_MS": "2000", "RAILWAY_TIMEOUT_MS": "5000"}
_QUOTA = 1_000_000
"""Or the controller would soon ask less often, as Railway's smaller plans want it."""


@dataclass(frozen=True)
class Arrangement:
    """How a job is noticed. rest_s: between an empty queue at rest and the next job, from the least to the most."""

    name: str
    interval_s: float
    listens: bool
    rest_s: tuple[float, float]

    @property
    def environment(self) -> dict[str, str]:
        no_cooldowns = {"SCALE_UP_COOLDOWN_MS": "0", "SCALE_DOWN_COOLDOWN_MS": "0"}
        return {
            **no_cooldowns,
            "POLL_INTERVAL_MS": str(round(self.interval_s * 1000)),
            "LEASE_TTL_MS": "15000",
            **_DEADLINES,
        }


# No two looks at an announcement come within wake_min_interval, which is one second in the shipped policy.
WOKEN = Arrangement("woken", interval_s=10.0, listens=True, rest_s=(1.0, 1.05))
# Ten times as often as it is shipped, so that the run ends; a job comes at any moment of an interval alike.
POLLED = Arrangement("polled", interval_s=1.0, listens=False, rest_s=(0.0, 1.0))


async def reactions(
    way: Arrangement, database_url: str, redis_url: str, wakes: int, say: Callable[[str], None]
) -> list[float]:
    """Seconds from each COMMIT; both URLs lead to empty databases."""
    took: list[float] = []
    async with set_scene(database_url, redis_url, pace=0.0, quota=_QUOTA) as scene, _controller(scene, way):
        for number in range(wakes):
            await _come_to_rest(scene)
            await asyncio.sleep(random.uniform(*way.rest_s))
            took.append(await _reaction(scene))
            if number % 10 == 9:
                say(f"{way.name}: {number + 1} of {wakes}")
    return took


@asynccontextmanager
async def _controller(scene: Scene, way: Arrangement) -> AsyncIterator[None]:
    """It leads, and listens where it shall."""
    with TemporaryDirectory() as folder:
        if not way.listens:
            scene.policy = Path(folder) / "policy.yaml"
            scene.policy.write_text(re.sub(r"^ *wake_on:.*\n", "", POLICY.read_text(), flags=re.MULTILINE))
        await led_before(scene)
        async with running(scene, **way.environment) as controller:
            await controller.until(event="listening" if way.listens else "reconcile")
            yield


async def _come_to_rest(scene: Scene) -> None:
    """No job, no worker, and nothing left that the controller waits for."""
    await scene.queue.execute("DELETE FROM generation_job")
    if scene.fake.worker.configured:
        # The queue does not announce that there is less to do; the benchmark does, to save the interval.
        await scene.queue.execute(sql.SQL("NOTIFY {}").format(sql.Identifier(CHANNEL)))
    key = await scene.journal_key()

    async def rests() -> bool:
        return not scene.fake.worker.configured and not await scene.redis.hexists(key, "intent")

    await until(rests, "no worker, and nothing that is waited for")


async def _reaction(scene: Scene) -> float:
    """Puts one job in; from the moment before its COMMIT is sent."""
    earlier = len(scene.fake.record.mutations)
    async with scene.queue.transaction():
        await scene.queue.execute("INSERT INTO generation_job (type) VALUES ('image')")
        committed_at = time.time()
    await until(lambda: len(scene.fake.record.mutations) > earlier, "the change", pause=0.005)
    return scene.fake.record.mutations[earlier].at_s - committed_at
