"""A stopped service whose queue holds only scheduled jobs, in a whole controller: real PostgreSQL, real Redis."""

from __future__ import annotations

import json
from pathlib import Path

from controller.core.model import QueueDepth
from controller.core.reasons import Reason
from controller.loop.cycle import Cycle, Outcome
from tests.support.processes import autoscaler
from tests.support.scene import Scene


async def due_in(scene: Scene, *seconds: int) -> None:
    await scene.queue.execute("TRUNCATE generation_job")
    for one in seconds:
        await scene.queue.execute(
            "INSERT INTO generation_job (status, scheduled_for) VALUES ('pending', now() + %s * interval '1 s')", (one,)
        )


def says(scene: Scene, folder: Path, ahead: str) -> None:
    """The shipped policy with this queue.ahead."""
    text = scene.policy.read_text()
    scene.policy = folder / "policy.yaml"
    scene.policy.write_text(text.replace("table: generation_job", f"table: generation_job\n      ahead: {ahead}"))


def soon_of(cycle: Cycle) -> int | None:
    assert isinstance(cycle.queue, QueueDepth)
    return cycle.queue.soon


async def test_it_is_started_one_measured_start_up_before_a_job_is_due_and_never_for_a_later_one(scene: Scene) -> None:
    """The jobs are due in 4 min and in an hour: no machine is so slow that they fall due while the test runs."""
    await due_in(scene, 240, 3600)
    async with scene.controller() as driven:
        first = await driven.tick()
        assert (first.outcome, soon_of(first)) == (Outcome.HELD, 0), "20 s, until a start is measured"
        await scene.redis.hset(await scene.journal_key(), "start_up", "300000")
        assert soon_of(await driven.tick()) == 0, "the history is recalled after the queue is read"
        started = await driven.tick()
    assert (started.outcome, started.reason, soon_of(started)) == (Outcome.APPLIED, Reason.TIER, 1)
    assert started.message.startswith("0 jobs (1 due within 5 min) want 1 worker: 0 → 1")
    assert (started.line()["soon"], started.line()["depth"], started.line()["pending"]) == (1, 0, 0)
    assert (started.to_json()["soon"], started.to_json()["soon_shown"]) == (1, "1")


async def test_a_wake_up_counts_it_as_a_cycle_does(scene: Scene) -> None:
    async with scene.controller() as driven:
        await driven.tick()
        await scene.redis.hset(await scene.journal_key(), "start_up", "300000")
        assert soon_of(await driven.tick()) == 0
        await due_in(scene, 240)
        assert await driven.quick_check() is None, "a change is wanted, so a whole cycle is needed"


async def test_explain_says_what_falls_due(scene: Scene, tmp_path: Path) -> None:
    says(scene, tmp_path, "10m")
    await due_in(scene, 240, 300)
    async with scene.controller() as driven:
        cycle, steps = await driven.explain()
    assert cycle.queue is not None
    assert cycle.queue.sentence == "0 jobs (2 due within 10 min)"
    assert any(step.because and "2 due within 10 min" in step.because.words for step in steps)


async def test_once_and_explain_count_ahead_by_the_start_that_was_measured_before(scene: Scene) -> None:
    """They have no cycle before, which could have told them."""
    async with scene.controller() as driven:
        await driven.tick()
    await scene.redis.hset(await scene.journal_key(), "start_up", "300000")
    await due_in(scene, 240)
    async with scene.controller() as driven:
        cycle, _ = await driven.explain()
    ran = await autoscaler("once", "--policy", str(scene.policy), "--json", environment=scene.environment)
    assert (soon_of(cycle), ran.code, json.loads(ran.out)["soon"]) == (1, 0, 1)


async def test_turned_off_a_job_counts_once_it_is_due_and_what_is_soon_is_unknown(scene: Scene, tmp_path: Path) -> None:
    says(scene, tmp_path, "off")
    await due_in(scene, 240, -1)
    async with scene.controller() as driven:
        cycle = await driven.tick()
    assert soon_of(cycle) is None
    assert not cycle.to_json().keys() & {"soon", "soon_shown"}
    assert cycle.message.startswith("1 job (1 pending, 0 processing) wants 1 worker")
