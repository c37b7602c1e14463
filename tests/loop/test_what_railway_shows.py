"""A whole controller with workers that crash, exit or do nothing, deploys that hang, and external changes."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.core.reasons import Reason
from controller.fake_railway import FakeRailway, Timings
from controller.loop.cycle import Cycle, Outcome
from controller.web.health import health_body, status_body, status_report
from controller.web.metrics import prometheus_text
from controller.web.page import page
from tests.support.exposition import value_of
from tests.support.patience import until, until_equal
from tests.support.scene import POLICY, WORKER, Driven, Scene

SHORT = {"SCALE_UP_COOLDOWN_MS": "0", "SCALE_DOWN_COOLDOWN_MS": "0"}


async def settled(scene: Scene, running: int) -> None:
    await until_equal(lambda: scene.fake.worker.running, running)


@asynccontextmanager
async def elsewhere(scene: Scene, replicas: int, **options: Any) -> AsyncIterator[Scene]:
    """The same scene on another Railway, whose quota is not used up by ticks by hand."""
    async with FakeRailway.create(replicas, timings=Timings().scaled(0.01), quota=10_000, **options) as fake:
        yield Scene(fake, scene.queue, scene.redis, {**scene.environment, **fake.environment_variables()})


async def tick_until(driven: Driven, reason: Reason) -> Cycle:
    """Ticks until a line names the reason."""

    async def named() -> Cycle | None:
        cycle = await driven.tick()
        return cycle if reason in cycle.reasons else None

    return await until(named, f"a cycle with the reason {reason}")


async def tick_while(driven: Driven, reason: Reason) -> Cycle:
    """Ticks until a line no longer names it."""

    async def other() -> Cycle | None:
        cycle = await driven.tick()
        return None if reason in cycle.reasons else cycle

    return await until(other, f"a cycle without the reason {reason}")


async def all_crash(scene: Scene, driven: Driven) -> None:
    """Now, and whenever they are started again; and the controller has seen it."""
    await scene.jobs(10 * scene.fake.worker.configured)
    scene.fake.by_hand(on_start="crash", crash=9)
    await tick_until(driven, Reason.WORKERS_CRASH)


def failing(driven: Driven) -> list[str]:
    body = health_body(driven.controller.shown)
    assert body["status"] == ("degraded" if body.get("failing") else "healthy")
    return [one["name"] for one in body.get("failing", [])]


# --- crashes


@pytest.mark.costly
async def test_a_fleet_that_crashes_at_start_is_not_scaled_further_and_every_line_says_so(scene: Scene) -> None:
    async with elsewhere(scene, 1) as there, there.controller(SHORT) as driven:
        await all_crash(there, driven)
        await there.jobs(200)
        sent = len(there.sent)
        for _ in range(30):  # through restarts, in whichever state each look finds them
            cycle = await driven.tick()
            assert (cycle.outcome, cycle.reason) == (Outcome.HELD, Reason.WORKERS_CRASH)
            assert "none of 1 runs" in cycle.message
            assert failing(driven) == ["WorkersCrash"]
            await asyncio.sleep(0.01)
        assert there.sent[sent:] == []
        (event,) = there.events("workers_crash")
        assert (event["worker"], event["level"]) == (WORKER, "error")
        assert {line["level"] for line in there.events("reconcile")[-30:]} == {"warning"}


async def test_it_ends_as_soon_as_one_runs(scene: Scene) -> None:
    async with elsewhere(scene, 1) as there, there.controller(SHORT) as driven:
        await all_crash(there, driven)
        await there.jobs(200)
        there.fake.by_hand(on_start="run")
        there.fake.lifecycle.restart(there.fake.worker.deployments[-1])
        cycle = await tick_while(driven, Reason.WORKERS_CRASH)
        assert (cycle.outcome, cycle.reason, there.asked_for[-1]) == (Outcome.APPLIED, Reason.TIER, 5)
        await settled(there, 5)
        await driven.tick_until(Outcome.HELD, Reason.TIER)
        assert failing(driven) == []
        assert [event["source"] for event in there.events("recovered")] == ["WorkersCrash"]


async def test_a_new_deployment_ends_it_as_soon_as_one_of_its_workers_runs_and_not_while_its_build_hangs(
    scene: Scene,
) -> None:
    async with elsewhere(scene, 1) as there, there.controller(SHORT) as driven:
        await all_crash(there, driven)
        await there.jobs(200)
        there.fake.by_hand(hangs_in="BUILDING", deploy=True)

        async def seen() -> Cycle | None:
            cycle = await driven.tick()
            return cycle if "BUILDING" in cycle.message else None

        cycle = await until(seen, "the build in a line")
        assert (cycle.outcome, cycle.reason) == (Outcome.HELD, Reason.WORKERS_CRASH)
        assert failing(driven) == ["WorkersCrash"]
        there.fake.by_hand(hangs_in="", on_start="run")
        cycle = await tick_while(driven, Reason.WORKERS_CRASH)
        assert cycle.outcome is Outcome.APPLIED


async def test_a_fleet_that_crashes_and_is_not_needed_goes_to_zero(scene: Scene) -> None:
    async with elsewhere(scene, 2) as there, there.controller(SHORT) as driven:
        await all_crash(there, driven)
        await there.jobs(0)
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason, there.sent[-1]) == (Outcome.APPLIED, Reason.TIER, "deploymentStop")
        await driven.tick_until(Outcome.HELD, Reason.TIER)
        assert failing(driven) == []


async def test_what_is_explained_is_what_is_done(scene: Scene) -> None:
    async with elsewhere(scene, 1) as there, there.controller(SHORT) as driven:
        await all_crash(there, driven)
        await there.jobs(200)
        cycle = await driven.tick()
        explained, steps = await driven.explain()
        assert (explained.message, explained.reasons) == (cycle.message, cycle.reasons)
        assert ("workers that crash", 1) in [(step.rule, step.desired) for step in steps if step.because]


async def test_a_quick_check_of_a_woken_controller_scales_no_crashed_fleet_either(scene: Scene) -> None:
    async with elsewhere(scene, 1) as there, there.controller(SHORT) as driven:
        await all_crash(there, driven)
        await there.jobs(200)
        glanced = await driven.quick_check()
        assert isinstance(glanced, Cycle)
        assert glanced.reason is Reason.WORKERS_CRASH
        assert [one.reason for one in glanced.degrading] == [Reason.WORKERS_CRASH], "so that /health stays degraded"


async def test_health_status_page_and_metrics_name_the_fault_and_its_worker(scene: Scene) -> None:
    async with elsewhere(scene, 1) as there, there.controller(SHORT) as driven:
        await all_crash(there, driven)
        await there.jobs(200)
        shown = driven.controller.shown
        (fault,) = health_body(shown)["failing"]
        assert (fault["name"], fault["worker"]) == ("WorkersCrash", WORKER)
        status = status_body(shown)
        (condition,) = status["workers"][WORKER]["conditions"]
        assert (condition["reason"], condition["degrades"]) == ("WorkersCrash", True)
        assert f"WorkersCrash of {WORKER} since" in re.sub(r"<[^>]*>", "", page(status_report(shown)))
        text = prometheus_text(shown)
        assert value_of(text, "autoscaler_worker_fault", worker=WORKER, reason="WorkersCrash") == 1


# --- exits, and workers that do not come


async def test_workers_that_exit_with_0_are_said_at_once_and_degrade_after_the_landing_bound(scene: Scene) -> None:
    async with elsewhere(scene, 2) as there, there.controller(SHORT) as driven:
        await there.jobs(11, processing=9)
        await driven.tick_until(Outcome.HELD, Reason.TIER)
        there.fake.by_hand(exit=1)
        await settled(there, 1)
        cycle = await driven.tick()
        assert "1 of 2 workers run, as workers ended by themselves with exit code 0" in cycle.message
        assert failing(driven) == []
        await there.let_time_pass(61)
        cycle = await driven.tick()
        assert (cycle.reason, cycle.reasons) == (Reason.TIER, (Reason.TIER, Reason.WORKERS_EXITED))
        assert failing(driven) == ["WorkersExited"]
        assert len(there.events("workers_exited")) == 1


async def test_workers_that_all_exit_look_like_a_stop_that_was_not_requested(scene: Scene) -> None:
    async with elsewhere(scene, 1) as there, there.controller() as driven:
        await there.jobs(5)
        await driven.tick_until(Outcome.HELD, Reason.TIER)
        there.fake.by_hand(exit=1)
        await settled(there, 0)
        cycle = await driven.tick()
        assert cycle.reason is Reason.SCALE_UP_COOLDOWN
        assert "no worker runs, as workers ended by themselves with exit code 0" in cycle.message
        await there.let_time_pass(61)
        cycle = await driven.tick()
        assert cycle.outcome is Outcome.APPLIED
        assert Reason.WORKERS_EXITED in cycle.reasons
        assert failing(driven) == ["WorkersExited"]


async def test_workers_that_exit_at_each_start_are_known_though_none_was_ever_seen_to_run(scene: Scene) -> None:
    async with scene.controller(SHORT) as driven:
        scene.fake.by_hand(on_start="exit")
        await scene.jobs(5)
        assert (await driven.tick()).outcome is Outcome.APPLIED
        await until_equal(lambda: scene.fake.worker.deployments[-1].replicas[0].status, "EXITED")
        for seconds in (11, 61):
            await scene.let_time_pass(seconds)
            cycle = await driven.tick()
        assert "no worker runs" in cycle.message
        assert "exit code 0" in cycle.message
        assert "WorkersExited" in failing(driven)


async def test_fewer_than_configured_degrade_after_the_landing_bound_and_recover(scene: Scene) -> None:
    async with elsewhere(scene, 2) as there, there.controller(SHORT) as driven:
        await there.jobs(20)
        await driven.tick_until(Outcome.HELD, Reason.TIER)
        there.fake.worker.deployments[-1].replicas[0].status = "CREATED"
        await driven.tick()
        await there.let_time_pass(61)
        cycle = await driven.tick()
        assert cycle.reasons == (Reason.TIER, Reason.WORKERS_MISSING)
        assert re.search(r"1 of 2 workers run for 1 min( \d+ s)?: check the deployment's log", cycle.message)
        assert failing(driven) == ["WorkersMissing"]
        there.fake.worker.deployments[-1].replicas[0].status = "RUNNING"
        cycle = await driven.tick()
        assert "workers run" not in cycle.message
        assert failing(driven) == []
        (event,) = there.events("recovered")
        assert event["message"].startswith("as many workers run as are configured, or it is known why not, after ")


# --- a deployment that hangs


@pytest.mark.parametrize("status", ["BUILDING", "DEPLOYING", "QUEUED", "WAITING", "NEEDS_APPROVAL"])
async def test_a_deployment_that_hangs_is_known_by_railway_s_own_time(scene: Scene, status: str) -> None:
    """By `once`, too, which has seen nothing before; whether an older one serves meanwhile or not."""
    async with elsewhere(scene, 2) as there:
        await there.jobs(20)
        there.fake.by_hand(hangs_in=status, deploy=True)
        newest = there.fake.worker.deployments[-1]
        await until_equal(lambda: newest.status, status)
        async with there.controller(SHORT) as driven:
            cycle = await driven.tick()
            assert f"the newest deployment is {status}" in cycle.message
            assert failing(driven) == []
        newest.status_updated_at -= timedelta(minutes=16)
        async with there.controller(SHORT) as driven:
            cycle = await driven.tick()
            assert Reason.DEPLOYMENT_HANGS in cycle.reasons
            assert re.search(rf"the newest deployment is {status} for 1\d min( \d+ s)?: ", cycle.message)
            assert failing(driven) == ["DeploymentHangs"]
            (fault,) = health_body(driven.controller.shown)["failing"]
            assert fault["since"] < there.log[-1]["at"]
            assert len(there.events("deployment_hangs")) == 1
            there.fake.by_hand(hangs_in="")
            await tick_while(driven, Reason.DEPLOYMENT_HANGS)


# --- no worker takes a job


async def test_jobs_that_no_worker_takes_are_an_event_a_reason_and_a_degraded_health(scene: Scene) -> None:
    async with elsewhere(scene, 1) as there, there.controller(SHORT) as driven:
        await there.jobs(5)
        for _ in range(3):
            await driven.tick()
        await there.let_time_pass(601, looking=True)
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.HELD, Reason.TIER), "it changes no count"
        assert cycle.reasons == (Reason.TIER, Reason.NO_PROGRESS)
        assert re.search(r"no job was taken for 1\d min( \d+ s)?, while 5 jobs are ready", cycle.message)
        assert failing(driven) == ["NoProgress"]
        await driven.tick()
        (event,) = there.events("no_progress")
        assert (event["reason"], event["level"]) == ("NoProgress", "error")
        await there.queue.execute(
            "UPDATE generation_job SET status = 'processing' WHERE id = (SELECT min(id) FROM generation_job)"
        )
        cycle = await driven.tick()
        assert Reason.NO_PROGRESS not in cycle.reasons
        assert failing(driven) == []


async def test_a_busy_worker_with_a_long_job_is_no_alarm(scene: Scene) -> None:
    async with elsewhere(scene, 1) as there, there.controller(SHORT) as driven:
        await there.jobs(5, processing=1)
        for _ in range(3):
            await driven.tick()
        await there.let_time_pass(6000, looking=True)
        cycle = await driven.tick()
        assert cycle.reasons == (Reason.TIER,)


async def test_what_was_known_survives_a_take_over_and_the_event_is_not_said_twice(scene: Scene) -> None:
    async with elsewhere(scene, 1) as there:
        await there.jobs(5)
        for _ in range(3):
            async with there.controller(SHORT) as driven:
                await driven.tick()
        await there.let_time_pass(601, looking=True)
        for _ in range(3):
            async with there.controller(SHORT) as driven:
                cycle = await driven.tick()
                assert Reason.NO_PROGRESS in cycle.reasons
        assert len(there.events("no_progress")) == 1


async def test_the_policy_says_after_how_long(scene: Scene, tmp_path: Path) -> None:
    async with elsewhere(scene, 1) as there:
        there.policy = tmp_path / "policy.yaml"
        there.policy.write_text(
            POLICY.read_text().replace("    rate_limit:", "    no_progress_after: 1h\n    rate_limit:")
        )
        async with there.controller(SHORT) as driven:
            await there.jobs(5)
            for seconds in (0, 0, 0, 1800, 1801):
                await there.let_time_pass(seconds, looking=True)
                cycle = await driven.tick()
                assert (Reason.NO_PROGRESS in cycle.reasons) == (seconds == 1801)


async def test_a_dry_run_says_the_same_and_writes_nothing(scene: Scene) -> None:
    async with elsewhere(scene, 1) as there, there.controller(SHORT, dry_run=True) as driven:
        await all_crash(there, driven)
        await there.jobs(200)
        cycle = await driven.tick()
        assert cycle.decision is not None
        assert cycle.decision.desired == 1
        assert await there.redis.exists(await there.journal_key()) == 0


# --- external changes


@pytest.mark.costly
async def test_a_count_that_is_changed_back_and_forth_is_contended_after_the_third_time(scene: Scene) -> None:
    async with elsewhere(scene, 2) as there:
        await there.jobs(20)
        for turn in range(4):
            async with there.controller(SHORT) as driven:  # another process each time, as cron has it
                await driven.tick_until(Outcome.HELD, Reason.TIER)
                there.fake.by_hand(replicas=3)
                await settled(there, 3)
                await driven.tick()
                assert len(there.events("external_change")) == turn + 1
                assert len(there.events("contended")) == max(0, turn - 1)
                await driven.tick_until(Outcome.HELD, Reason.TIER)
                await settled(there, 2)
        event = there.events("contended")[0]
        assert event["message"].startswith("the count was changed from outside 3 times in ")
        assert "Does another controller" in event["message"]
        assert (event["times"], event["level"]) == (3, "warning")


@pytest.mark.costly
async def test_contended_is_said_once_a_minute_by_one_process(scene: Scene) -> None:
    began = time.monotonic()
    async with elsewhere(scene, 2) as there, there.controller(SHORT) as driven:
        await there.jobs(20)
        for _ in range(6):
            await driven.tick_until(Outcome.HELD, Reason.TIER)
            there.fake.by_hand(replicas=3)
            await settled(there, 3)
            await driven.tick()
            await driven.tick_until(Outcome.HELD, Reason.TIER)
            await settled(there, 2)
        assert len(there.events("external_change")) == 6
        assert 1 <= len(there.events("contended")) <= 1 + (time.monotonic() - began) // 60
