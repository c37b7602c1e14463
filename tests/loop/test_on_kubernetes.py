"""The whole controller on a cluster, without any setting of Railway's: the same policy, journal and cycles."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

from controller.core.reasons import Reason
from controller.fake_kubernetes import FakeKubernetes, Timings, Workload
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
ONE_WANTED = """
workers:
  generation-worker:
    kubernetes: {name: worker}
    queue: {table: generation_job}
    tiers: [{replicas: 1}]
    jobs_per_worker: 2
    max_replicas: 5
    scale_down: {cooldown: 0s, stabilization_window: 0s}
"""


@asynccontextmanager
async def on_kubernetes(
    scene: Scene, folder: Path, policy: str = POLICY, replicas: int = 0
) -> AsyncIterator[tuple[FakeKubernetes, Scene]]:
    path = folder / "policy.yaml"
    path.write_text(dedent(policy))
    async with FakeKubernetes(Timings().scaled(0.01)) as fake:
        fake.begin(replicas)
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


async def held_by(scene: Scene, *holders: str) -> None:
    """One job in progress for each, and no other."""
    await scene.jobs(0, processing=len(holders))
    for holder in holders:
        await scene.queue.execute(
            "UPDATE generation_job SET locked_by = %s "
            "WHERE id = (SELECT min(id) FROM generation_job WHERE locked_by IS NULL)",
            (holder,),
        )


def only(fake: FakeKubernetes) -> Workload:
    (workload,) = fake.cluster.workloads.values()
    return workload


def living(fake: FakeKubernetes) -> list[str]:
    """Of whom the next request would not say that they end."""
    fake.cluster.advance(fake.cluster.now)
    return [pod.name for pod in only(fake).living]


async def test_the_pods_that_hold_jobs_stay_when_the_others_go(scene: Scene, tmp_path: Path) -> None:
    async with on_kubernetes(scene, tmp_path, ONE_WANTED, 5) as (fake, there), there.controller() as driven:
        busy = [only(fake).pods[place].name for place in (0, 3)]
        await held_by(there, busy[0], f"host:{busy[1]} pid:7")
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.APPLIED, Reason.BUSY), cycle.message
        assert "2 workers hold the jobs in progress, by name" in cycle.message
        assert [(one["from"], one["to"]) for one in fake.api.changes] == [(5, 2)]
        assert living(fake) == busy
        await held_by(there, busy[1])
        await driven.tick()
        assert living(fake) == [busy[1]]
        await held_by(there)
        assert (await driven.tick()).outcome is Outcome.HELD, "one is wanted"


@pytest.mark.parametrize("holder", ["worker-5f3a9c", None], ids=["names that are no pods", "jobs without a name"])
async def test_without_names_of_pods_the_jobs_are_counted_as_ever(
    scene: Scene, tmp_path: Path, holder: str | None
) -> None:
    async with on_kubernetes(scene, tmp_path, ONE_WANTED, 5) as (fake, there), there.controller() as driven:
        await there.jobs(0, processing=3)
        await there.queue.execute("UPDATE generation_job SET locked_by = %s", (holder,))
        cycle = await driven.tick()
        assert (cycle.reason, "up to 2 per worker" in cycle.message) == (Reason.BUSY, True)
        assert [one["to"] for one in fake.api.changes] == [2]
        assert not there.events("busy_unknown")
        assert [method for method, path in fake.api.requests if "/pods/" in path] == []


@pytest.mark.parametrize("denied", ["list pods", "patch pods", "get deployments/scale"])
async def test_if_pods_cannot_be_read_or_patched_the_scale_goes_on_and_an_event_says_so(
    scene: Scene, tmp_path: Path, denied: str
) -> None:
    async with on_kubernetes(scene, tmp_path, ONE_WANTED, 5) as (fake, there), there.controller() as driven:
        fake.api.denied.add(denied)
        await held_by(there, *(pod.name for pod in only(fake).pods[:3]))
        cycle = await driven.tick()
        assert (cycle.outcome, "up to 2 per worker" in cycle.message) == (Outcome.APPLIED, True)
        assert [one["to"] for one in fake.api.changes] == [2], "3 jobs, up to 2 per worker"
        (event,) = there.events("busy_unknown")
        assert f"cannot {denied}" in event["message"]


async def test_long_jobs_that_keep_all_pods_do_not_list_these_with_each_cycle(scene: Scene, tmp_path: Path) -> None:
    async with on_kubernetes(scene, tmp_path, ONE_WANTED, 3) as (fake, there), there.controller() as driven:
        await held_by(there, *(pod.name for pod in only(fake).pods))
        for _ in range(4):
            cycle = await driven.tick()
            assert (cycle.outcome, cycle.reason) == (Outcome.HELD, Reason.BUSY)
        assert [path for _, path in fake.api.requests].count("/api/v1/namespaces/default/pods") == 1


async def test_what_would_go_is_explained_and_no_pod_is_touched(scene: Scene, tmp_path: Path) -> None:
    async with on_kubernetes(scene, tmp_path, ONE_WANTED, 5) as (fake, there), there.controller() as driven:
        await held_by(there, *(pod.name for pod in only(fake).pods[:2]))
        readings, queues = await driven.controller.runner.read()
        reconciler = driven.controller.runner.reconciler("generation-worker")
        explained = await reconciler.explain(readings[reconciler.policy.target.key], queues["generation-worker"])
        assert "2 workers hold the jobs in progress, by name" in explained.cycle.message
        assert {method for method, _ in fake.api.requests} == {"GET"}


async def test_an_autoscaler_on_the_same_target_is_said_once_and_shown_while_it_is_there(
    scene: Scene, tmp_path: Path
) -> None:
    async with on_kubernetes(scene, tmp_path) as (fake, there):
        reference = {"kind": "Deployment", "name": "worker"}
        fake.cluster.scalers.append({"metadata": {"name": "web"}, "spec": {"scaleTargetRef": reference}})
        for _ in range(2):  # a new leader remembers what was said
            async with there.controller() as driven:
                for _ in range(2):
                    cycle = await driven.tick()
                    (condition,) = cycle.to_json()["conditions"]
                    assert (condition["reason"], condition["degrades"]) == ("Contended", False)
        (event,) = there.events("contended")
        assert "HorizontalPodAutoscaler web sets the count of this service, too" in event["message"]
