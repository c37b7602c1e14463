"""The whole controller on a cluster, without any setting of Railway's: the same policy, journal and cycles."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from controller.core.reasons import Reason
from controller.fake_kubernetes import FakeKubernetes, Timings
from controller.loop.cycle import Outcome
from tests.support.patience import until
from tests.support.scene import Driven, Scene

POLICY = """
workers:
  generation-worker:
    kubernetes: {name: worker}
    queue: {table: generation_job}
    tiers: [{up_to: 0, replicas: 0}, {replicas: 3}]
    max_replicas: 3
    scale_down: {cooldown: 0s, stabilization_window: 0s}
"""


@asynccontextmanager
async def on_kubernetes(scene: Scene, folder: Path) -> AsyncIterator[tuple[FakeKubernetes, Scene]]:
    path = folder / "policy.yaml"
    path.write_text(dedent(POLICY))
    async with FakeKubernetes(Timings().scaled(0.01)) as fake:
        fake.begin(0)
        config = str(fake.write_kubeconfig(folder / "kubeconfig"))
        kept = {name: value for name, value in scene.environment.items() if not name.startswith("RAILWAY_")}
        environment = {**kept, "KUBECONFIG": config, "KUBERNETES_TIMEOUT_MS": "50000"}
        yield fake, replace(scene, environment=environment, policy=path)


async def runs(driven: Driven, count: int) -> None:
    async def all_run() -> bool:
        cycle = await driven.tick()
        return cycle.replicas is not None and cycle.replicas.running == count

    await until(all_run, f"{count} that run")


async def test_a_queue_is_followed_up_and_down_to_zero(scene: Scene, tmp_path: Path) -> None:
    async with on_kubernetes(scene, tmp_path) as (fake, there), there.controller() as driven:
        await there.jobs(5)
        cycle = await driven.tick()
        assert (cycle.outcome, sorted(cycle.answered)) == (Outcome.APPLIED, ["Kubernetes", "PostgreSQL", "Redis"])
        await runs(driven, 3)
        await there.jobs(0)
        assert (await driven.tick()).outcome is Outcome.APPLIED
        assert [(one["from"], one["to"]) for one in fake.api.changes] == [(0, 3), (3, 0)]


async def test_what_somebody_else_wrote_after_the_reading_is_not_overwritten_and_the_next_cycle_decides(
    scene: Scene, tmp_path: Path
) -> None:
    async with on_kubernetes(scene, tmp_path) as (fake, there), there.controller() as driven:
        await there.jobs(5)
        fake.api.faults.add({"fault": "409", "on": "change"})
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.FAILED, Reason.SCALE_FAILED)
        assert "somebody else wrote after our reading" in cycle.message
        assert (await driven.tick()).outcome is Outcome.APPLIED


@pytest.mark.parametrize(
    ("trouble", "reason", "says"),
    [
        ("crash", Reason.WORKERS_CRASH, "kubectl -n default logs --previous"),
        ("image", Reason.DEPLOYMENT_HANGS, "ImagePullBackOff"),
    ],
)
async def test_pods_that_do_not_run_are_reported_as_what_they_are(
    scene: Scene, tmp_path: Path, trouble: str, reason: Reason, says: str
) -> None:
    async with on_kubernetes(scene, tmp_path) as (fake, there), there.controller() as driven:
        await there.jobs(5)
        (workload,) = fake.cluster.workloads.values()
        workload.trouble = trouble
        await driven.tick()

        async def told() -> bool:
            cycle = await driven.tick()
            found = [one for one in cycle.conditions or () if one.reason is reason]
            return any(says in f"{one.says}: {one.fix}" for one in found)

        await until(told, says)
