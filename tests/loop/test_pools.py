"""Two workers in a pool through the real loop: the total holds in one cycle, after a restart, and without a reading."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from controller.core.reasons import Reason
from controller.loop.cycle import Cycle
from tests.support.patience import until_equal
from tests.support.scene import WORKER, Driven, Scene

TIERS = [{"up_to": 0, "replicas": 0}, {"replicas": 6}]
NO_WAIT = {"scale_up": {"cooldown": "0s"}, "scale_down": {"cooldown": "0s"}}


def write_policy(scene: Scene, path: Path, total: int, *workers: dict[str, Any]) -> None:
    services = scene.environment["RAILWAY_WORKER_SERVICE_ID"], scene.fake.add_service("other").id
    every = {
        name: {
            "service": service,
            "queue": {"table": "generation_job"},
            "tiers": TIERS,
            "max_replicas": 6,
            "pool": "render",
            **NO_WAIT,
            **more,
        }
        for name, service, more in zip((WORKER, "other"), services, workers, strict=True)
    }
    path.write_text(yaml.safe_dump({"pools": {"render": {"max_replicas": total}}, "workers": every}))
    scene.policy = path


async def ticked(driven: Driven) -> dict[str, Cycle]:
    return {cycle.worker: cycle for cycle in await driven.controller.runner.tick(driven.lease)}


def desired(cycles: dict[str, Cycle]) -> dict[str, int | None]:
    return {name: None if cycle.decision is None else cycle.decision.desired for name, cycle in cycles.items()}


async def settled(scene: Scene, each: dict[str, int]) -> None:
    def running() -> dict[str, int]:
        return {"other" if one.name == "other" else WORKER: one.running for one in scene.fake.state.services.values()}

    await until_equal(running, each)


async def test_two_workers_never_have_more_than_the_total_and_the_higher_priority_gets_it(
    scene: Scene, tmp_path: Path
) -> None:
    write_policy(scene, tmp_path / "policy.yaml", 8, {}, {"priority": 1})
    await scene.jobs(200)
    async with scene.controller() as first:
        cycles = await ticked(first)
        assert sum(count or 0 for count in desired(cycles).values()) == 8
        status = cycles["other"].pool
        assert status is not None
        assert (status.pool, status.limit) == ("render", 8)
        assert first.controller.status.workers["other"].to_json()["pool"]["limit"] == 8
    async with scene.controller() as second:
        for _ in range(6):  # one to learn what each wants, one to give way, one to take it; readings may be late
            cycles = await ticked(second)
        assert desired(cycles) == {WORKER: 2, "other": 6}
        assert cycles[WORKER].reason is Reason.POOL
        explained = await second.controller.runner.read()
        one = await second.controller.runner.reconciler(WORKER).explain(
            explained[0][second.controller.policy.workers[WORKER].target.key], explained[1][WORKER]
        )
        assert one.cycle.pool is not None
        assert "pool render has 8 workers in all, and the others have 6" in one.cycle.pool.message
    await settled(scene, {WORKER: 2, "other": 6})


async def test_a_worker_that_cannot_be_read_after_a_takeover_counts_as_its_record_has_it(
    scene: Scene, tmp_path: Path
) -> None:
    write_policy(scene, tmp_path / "policy.yaml", 8, {"tiers": [{"replicas": 5}]}, {"tiers": [{"replicas": 6}]})
    del scene.fake.state.services[list(scene.fake.state.services)[1]]
    async with scene.controller() as first:
        await ticked(first)
        assert scene.asked_for == [2], "of a worker of which nothing is known, max_replicas counts"
        await ticked(first)
        await scene.redis.hset(await scene.journal_key("other"), "count", 4)
    for journal in scene.journals:
        getattr(journal, "_journal", journal)._shadows.clear()
    async with scene.controller() as second:
        await ticked(second)
        await ticked(second)
    assert scene.asked_for == [2, 4]
