"""`autoscaler run` as a process: what it refuses, the main job, two replicas, restarts, and what it never prints."""

from __future__ import annotations

import asyncio
import json
import signal
from math import inf
from typing import Any

import httpx
import pytest

from controller.demo.servers import Servers
from tests.support.patience import until, until_equal
from tests.support.processes import QUICK, TAKEN_OVER, autoscaler, led_before, running
from tests.support.scene import Scene


async def until_shown(port: int, page: str, wanted: dict[str, Any]) -> None:
    """Until the page of the server at that port shows all of these."""

    async def shown() -> dict[str, Any]:
        async with httpx.AsyncClient() as client:
            answer = (await client.get(f"http://127.0.0.1:{port}/{page}")).json()
        return {key: answer.get(key) for key in wanted}

    await until_equal(shown, wanted)


# --- run: what it refuses to start with ---


async def test_everything_that_is_wrong_with_environment_and_policy_is_one_message() -> None:
    ran = await autoscaler(
        "run",
        environment={
            "MAX_WORKERS": "many",
            "PORT": "x",
            "DATABASE_URL": "postgres://u:hunter2@h:x/",
            "DATABASE_DIRECT_URL": "mysql://u:hunter2@h/",
        },
    )
    assert ran.code == 2
    names = (
        "RAILWAY_API_TOKEN",
        "RAILWAY_PROJECT_ID",
        "RAILWAY_WORKER_SERVICE_ID",
        "REDIS_URL",
        "DATABASE_URL",
        "DATABASE_DIRECT_URL",
        "PORT",
    )
    for name in (*names, "MAX_WORKERS is 'many'"):
        assert name in ran.err
    assert "hunter2" not in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.costly
async def test_a_port_in_use_is_one_message(scene: Scene) -> None:
    async with running(scene, **QUICK) as first:
        port = (await first.until(event="started"))["port"]
        ran = await autoscaler("run", environment={**scene.environment, "PORT": str(port)})
    assert ran.code == 2
    assert f"PORT: {port} cannot be listened on: it is in use by another process; set PORT to a free one" in ran.err


# --- run: the main job ---


async def test_run_scales_with_the_queue_and_serves_what_it_sees(scene: Scene) -> None:
    await scene.jobs(10, processing=5)
    async with running(scene, **QUICK) as controller:
        await controller.until(event="reconcile", outcome="applied", desired=2)
        await controller.until(event="reconcile", configured=2, running=2)
        port = (await controller.until(event="started"))["port"]
        async with httpx.AsyncClient() as client:
            health = (await client.get(f"http://127.0.0.1:{port}/health")).json()
            status = (await client.get(f"http://[::1]:{port}/status")).json()
        promised = {"status": "healthy", "workers": 2, "maxWorkers": 5, "queueDepth": 15, "rpmUsage": 0, "rpmLimit": 60}
        assert health == promised
        epoch = (await controller.until(event="lease_acquired"))["epoch"]
        assert (status["role"], status["epoch"]) == ("leader", epoch)
        assert await controller.told_to_end() == 0
        assert [line["event"] for line in controller.lines][-2:] == ["lease_released", "stopped"]


@pytest.mark.costly
async def test_a_new_job_wakes_the_controller_long_before_the_interval(scene: Scene) -> None:
    await led_before(scene)
    async with running(scene, POLL_INTERVAL_MS="600000") as controller:
        await controller.until(event="listening")
        await scene.queue.execute("INSERT INTO generation_job DEFAULT VALUES")
        line = await controller.until(event="reconcile", depth=1)
        assert (line["outcome"], line["desired"]) == ("applied", 1)


@pytest.mark.costly
async def test_of_two_replicas_one_acts_and_the_other_shows_its_numbers_and_takes_over(scene: Scene) -> None:
    await led_before(scene)
    await scene.jobs(15)
    async with running(scene, **TAKEN_OVER) as first:
        await first.until(event="reconcile", configured=2)
        async with running(scene, **TAKEN_OVER) as second:
            port = (await second.until(event="started"))["port"]
            await until_shown(port, "health", {"queueDepth": 15, "workers": 2})
            await until_shown(port, "status", {"role": "standby"})
            assert not [line for line in second.lines if line["event"] == "reconcile"]
            epoch = (await first.until(event="lease_acquired"))["epoch"]
            first.process.kill()
            await second.until(event="lease_acquired", epoch=epoch + 1)
            await second.until(event="reconcile", epoch=epoch + 1)
    assert scene.sent == ["serviceInstanceUpdate", "deploymentRestart"]


@pytest.mark.costly
async def test_kill_9_and_a_restart_within_a_cooldown_scale_nothing_early(scene: Scene) -> None:
    await led_before(scene)
    await scene.jobs(15)
    slow = {**TAKEN_OVER, "SCALE_UP_COOLDOWN_MS": "3600000"}
    async with running(scene, **slow) as first:
        await first.until(event="reconcile", configured=2)
        first.process.kill()
    await scene.jobs(500)
    async with running(scene, **slow) as second:
        line = await second.until(event="reconcile", depth=500)
        assert (line["outcome"], line["reason"]) == ("held", "ScaleUpCooldown")
    assert scene.asked_for == [2]


@pytest.mark.costly
async def test_what_is_down_at_the_start_is_waited_for(scene: Scene) -> None:
    """PostgreSQL, Redis and Railway at addresses that do not answer: it starts, says so, and holds."""
    await led_before(scene)
    nowhere = {
        "DATABASE_URL": ("postgresql://127.0.0.1:9/d", "QueueUnavailable"),
        "REDIS_URL": ("redis://127.0.0.1:9/0", "JournalUnavailable"),
        "RAILWAY_API_URL": ("http://127.0.0.1:9/graphql/v2", "PlatformUnavailable"),
    }
    await scene.jobs(15)
    for name, (address, reason) in nowhere.items():
        async with running(scene, **QUICK, **{name: address}) as controller:
            line = await controller.until(event="reconcile", outcome="failed", reason=reason)
            port = (await controller.until(event="started"))["port"]
            async with httpx.AsyncClient() as client:
                answer = await client.get(f"http://127.0.0.1:{port}/health")
            assert (answer.status_code, answer.json()["status"]) == (200, "degraded")
            assert line["message"].startswith("hold: ")
            assert await controller.told_to_end() == 0
    assert scene.sent == []


@pytest.mark.costly
async def test_what_goes_down_in_mid_flight_changes_nothing_and_comes_back_without_a_restart(
    stoppable_scene: Scene, stoppable_servers: Servers
) -> None:
    scene = stoppable_scene
    await led_before(scene)
    await scene.jobs(15)
    async with running(scene, **QUICK) as controller:
        await controller.until(event="reconcile", outcome="held", running=2)
        address = f"http://127.0.0.1:{(await controller.until(event='started'))['port']}/health"

        async def failing() -> list[str]:
            async with httpx.AsyncClient() as client:
                return [one["name"] for one in (await client.get(address)).json()["failing"]]

        for source, stop, start, reason in (
            ("PostgreSQL", stoppable_servers.stop_postgres, stoppable_servers.start_postgres, "QueueUnavailable"),
            ("Redis", stoppable_servers.stop_redis, stoppable_servers.start_redis, "JournalUnavailable"),
        ):
            controller.lines.clear()
            stop()
            await controller.until(event="reconcile", outcome="failed", reason=reason)
            await asyncio.sleep(1)  # five more cycles, which need no line in the log
            assert await failing() == [source]
            assert [line["reason"] for line in controller.lines if line.get("outcome") == "failed"] == [reason]
            controller.lines.clear()
            start()
            await controller.until(event="recovered", source=source)
            await controller.until(event="reconcile", outcome="held", depth=15, configured=2)
        port = scene.fake.base_url.rsplit(":", 1)[1]
        controller.lines.clear()
        await scene.fake.close()
        await controller.until(event="reconcile", outcome="failed", reason="PlatformUnavailable", depth=15)
        controller.lines.clear()
        await scene.fake.start(port=int(port))
        await controller.until(event="recovered", source="Railway")
        await controller.until(event="reconcile", outcome="held", depth=15)
    assert scene.asked_for == [2]


async def test_a_dry_run_takes_no_lease_and_changes_nothing(scene: Scene) -> None:
    await scene.jobs(15)
    async with running(scene, "--dry-run", **QUICK) as controller:
        line = await controller.until(event="reconcile", reason="DryRun")
        assert "would scale" in line["message"]
    assert scene.sent == []
    assert await scene.redis.keys("*") == []


async def test_no_secret_is_ever_printed(scene: Scene) -> None:
    """Neither by a run that fails in every way it can, nor by what its server shows."""
    secrets = {
        "RAILWAY_API_TOKEN": "t0ken-of-somebody",
        "DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:9/d",
        "REDIS_URL": scene.environment["REDIS_URL"].replace("redis://", "redis://u:swordfish@"),
    }
    async with running(scene, **QUICK, **secrets) as controller:
        await controller.until(event="reconcile", outcome="failed")
        port = (await controller.until(event="started"))["port"]
        async with httpx.AsyncClient() as client:
            pages = [
                (await client.get(f"http://127.0.0.1:{port}/{page}")).text for page in ("health", "metrics", "status")
            ]
    everything = json.dumps(controller.lines) + "".join(pages)
    assert not [secret for secret in ("t0ken", "hunter2", "swordfish") if secret in everything]


@pytest.mark.costly
async def test_a_sigterm_waits_for_a_change_that_is_being_made_and_not_for_a_reading(scene: Scene) -> None:
    await led_before(scene)
    await scene.jobs(15)
    async with running(scene, **QUICK) as controller:
        await controller.until(event="reconcile", outcome="held", configured=2)
        (hanging,) = scene.fake.faults.add({"fault": "hang", "on": "query", "seconds": 3600.0, "times": 9})
        await until(lambda: hanging.times < 9, "a reading that hangs")
        controller.lines.clear()
        assert await controller.told_to_end() == 0
        assert [line["event"] for line in controller.lines] == ["lease_released", "stopped"]


@pytest.mark.costly
async def test_a_sigterm_in_the_middle_of_a_change_lets_it_end(scene: Scene) -> None:
    await led_before(scene)
    async with running(scene, **QUICK) as controller:
        await controller.until(event="reconcile", outcome="held")
        scene.fake.inject("slow", on="mutation", seconds=2.0)  # twice what a cycle that only reads is given
        await scene.jobs(5)
        await until(lambda: scene.sent, "a change to be asked for")
        controller.process.send_signal(signal.SIGTERM)
        line = await controller.until(event="reconcile", outcome="applied")
        assert line["desired"] == 1
        assert await controller.ended() == 0
    assert await scene.redis.hget(await scene.journal_key(), "intent_accepted") in {None, "1"}


@pytest.mark.costly
async def test_a_standby_needs_neither_postgresql_nor_railway_and_says_who_leads(scene: Scene) -> None:
    await led_before(scene)
    nowhere = {"DATABASE_URL": "postgresql://127.0.0.1:9/d", "RAILWAY_API_URL": "http://127.0.0.1:9/graphql/v2"}
    await scene.jobs(15)
    async with running(scene, **QUICK, RAILWAY_REPLICA_ID="first") as first:
        await first.until(event="reconcile", configured=2, running=2)
        epoch = (await first.until(event="lease_acquired"))["epoch"]
        async with running(scene, **QUICK, **nowhere) as second, httpx.AsyncClient() as client:
            port = (await second.until(event="started"))["port"]
            promised = {"status": "healthy", "workers": 2, "maxWorkers": 5}
            promised |= {"queueDepth": 15, "rpmUsage": 0, "rpmLimit": 60}

            async def age() -> float:
                answer = await client.get(f"http://127.0.0.1:{port}/health")
                return float(answer.headers["Age"]) if (answer.status_code, answer.json()) == (200, promised) else inf

            async def is_fresh() -> bool:
                return await age() < 5

            await until(is_fresh, "the standby to show what the leader saw", shown=lambda: second.lines[-3:])
            await asyncio.sleep(1)  # it looks again
            await until(is_fresh, "the standby to show what the leader sees", shown=lambda: second.lines[-3:])
            status = (await client.get(f"http://127.0.0.1:{port}/status")).json()
    assert (status["role"], status["epoch"], status["leader"]["epoch"]) == ("standby", None, epoch)
    assert status["leader"]["holder"].startswith("first:")
    assert status["leader"]["since"].startswith("20")
    assert not [line for line in second.lines if line["event"] in {"reconcile", "library", "crashed"}]


@pytest.mark.costly
async def test_a_replica_that_loses_the_lease_closes_its_connection_to_postgresql(scene: Scene) -> None:
    """One connection reads and one listens; of a replica that lost the lease, none is left."""
    await led_before(scene)
    async with running(scene, **QUICK) as controller:
        await controller.until(event="reconcile", outcome="held")
        assert await _connections(scene) >= 1
        key = (await scene.journal_key()).replace("worker:generation-worker", "lease")
        await scene.redis.set(key, "9999999999:another", px=3_600_000)
        await controller.until(event="lease_lost")
        await until_equal(lambda: _connections(scene), 0)


async def _clients(scene: Scene) -> set[str]:
    """The controllers' connections to Redis."""
    return {one["id"] for one in await scene.redis.client_list() if one["name"] == "worker-autoscaler"}


async def _newer(scene: Scene, before: set[str]) -> set[str]:
    return await _clients(scene) - before


async def _connections(scene: Scene) -> int:
    cursor = await scene.queue.execute(
        "SELECT count(*) FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'worker-autoscaler'"
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.costly
async def test_once_beside_a_leader_over_an_emptied_redis_hears_first_what_that_one_remembers(scene: Scene) -> None:
    await led_before(scene)
    await scene.jobs(15)
    cooling = {"SCALE_UP_COOLDOWN_MS": "3600000"}
    async with running(scene, **QUICK, **cooling) as controller:
        await controller.until(event="reconcile", outcome="held", configured=2, running=2)
        controller.process.send_signal(signal.SIGSTOP)
        await scene.redis.flushdb()
        await scene.jobs(500)
        before = await _clients(scene)
        patient = {"LEASE_RENEW_MS": "60000"}  # it leaves those who may remember as long as that to tell
        ran = asyncio.create_task(autoscaler("once", environment={**scene.environment, **cooling, **patient}))
        await until(lambda: _newer(scene, before), "`once` to look at Redis")
        controller.process.send_signal(signal.SIGCONT)
        assert (await ran).code == 0
    assert scene.asked_for == [2]


@pytest.mark.costly
async def test_a_worker_that_left_the_policy_is_shown_no_more(scene: Scene) -> None:
    await led_before(scene)
    cycles = (await scene.journal_key()).replace("worker:generation-worker", "cycles")
    async with running(scene, **TAKEN_OVER) as first:
        await first.until(event="reconcile", outcome="held")
        async with running(scene, **TAKEN_OVER) as second, httpx.AsyncClient() as client:
            port = (await second.until(event="started"))["port"]
            published = await scene.redis.hget(cycles, "generation-worker")
            assert published is not None
            first.process.kill()
            await scene.redis.hset(cycles, "renamed", published)
            await second.until(event="reconcile")
            text = (await client.get(f"http://127.0.0.1:{port}/metrics", headers={"Accept": "text/plain"})).text
    assert 'worker="generation-worker"' in text
    assert 'worker="renamed"' not in text
