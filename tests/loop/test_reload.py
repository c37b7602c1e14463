"""A policy is read again: what is noticed, what is refused, and what stays as it was."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from controller.core.problems import ConfigurationError, Problem
from controller.loop.reload import Difference, Reload, identity
from tests.support.patience import until, until_equal
from tests.support.processes import QUICK, running
from tests.support.scene import POLICY, WORKER, Scene


@dataclass
class Reader:
    """Reads a file; `bad` in it is refused."""

    path: Path
    adopted: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    def read(self) -> str:
        text = self.path.read_text()
        if "bad" in text:
            raise ConfigurationError([Problem(str(self.path), text)])
        return text

    async def adopt(self, text: str) -> None:
        self.adopted.append(text)

    @asynccontextmanager
    async def looking(self, *beside: Path) -> AsyncIterator[Reload[str]]:
        def refuse(error: ConfigurationError) -> None:
            self.refused.append(str(error))

        reload = Reload(self.path, self.read, self.adopt, refuse, look_s=0.01, beside=lambda: beside)
        task = asyncio.create_task(reload.run())
        await until(lambda: reload._seen, "the first look")
        yield reload
        task.cancel()


def text_of(path: Path) -> str:
    return path.read_text()


def write(path: Path, text: str) -> None:
    path.write_text(text)


def replaced(path: Path, text: str) -> None:
    other = path.with_suffix(".new")
    other.write_text(text)
    other.replace(path)


def rename(path: Path, to: Path) -> None:
    path.rename(to)


def mounted(folder: Path) -> Path:
    """Two versions, and links to one of them, as Kubernetes mounts a ConfigMap."""
    for version in ("v1", "v2"):
        (folder / version).mkdir()
        (folder / version / "policy.yaml").write_text(version)
    (folder / "data").symlink_to("v1")
    path = folder / "policy.yaml"
    path.symlink_to("data/policy.yaml")
    return path


def point(folder: Path, version: str) -> None:
    (folder / "new").symlink_to(version)
    (folder / "new").replace(folder / "data")


async def test_a_file_that_is_written_or_replaced_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    write(path, "one")
    reader = Reader(path)
    async with reader.looking():
        await asyncio.sleep(0.1)
        assert reader.adopted == []
        write(path, "two, longer")
        await until_equal(lambda: reader.adopted, ["two, longer"])
        replaced(path, "three")
        await until_equal(lambda: reader.adopted, ["two, longer", "three"])


async def test_a_link_that_points_elsewhere_is_followed_as_kubernetes_swaps_it(tmp_path: Path) -> None:
    path = mounted(tmp_path)
    reader = Reader(path)
    async with reader.looking():
        point(tmp_path, "v2")
        await until_equal(lambda: reader.adopted, ["v2"])


async def test_a_bad_file_is_refused_and_the_next_good_one_is_adopted(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    write(path, "one")
    reader = Reader(path)
    async with reader.looking():
        replaced(path, "bad")
        await until(lambda: reader.refused, "the refusal")
        replaced(path, "good again")
        await until_equal(lambda: reader.adopted, ["good again"])
    assert len(reader.refused) == 1


async def test_a_file_that_is_gone_for_a_moment_is_no_news(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    write(path, "one")
    reader = Reader(path)
    async with reader.looking() as reload:
        rename(path, tmp_path / "elsewhere")
        await asyncio.sleep(0.1)
        rename(tmp_path / "elsewhere", path)
        await asyncio.sleep(0.1)
        assert (reader.adopted, reader.refused) == ([], [])
        reload.ask()
        await until_equal(lambda: reader.adopted, ["one"])
    assert identity(tmp_path / "nowhere") is None


async def test_a_change_of_a_file_that_the_policy_names_is_noticed_too(tmp_path: Path) -> None:
    path, shadow = tmp_path / "policy.yaml", tmp_path / "other.yaml"
    write(path, "one")
    write(shadow, "a shadow")
    reader = Reader(path)
    async with reader.looking(shadow):
        write(shadow, "another shadow")
        await until_equal(lambda: reader.adopted, ["one"])
        shadow.unlink()
        await asyncio.sleep(0.05)
        write(path, "two, longer")
        write(shadow, "back")
        await until_equal(lambda: reader.adopted, ["one", "two, longer"])


def test_replicas_that_differ_are_told_after_a_minute_and_then_once_an_hour() -> None:
    difference = Difference()
    asked = [(0, "b"), (59, "b"), (60, "b"), (61, "b"), (3659, "b"), (3660, "b"), (3661, "a"), (3662, "b"), (3730, "b")]
    assert [at for at, theirs in asked if difference.is_news("a", theirs, float(at))] == [60, 3660, 3730]
    assert not difference.is_news("a", "", 9999.0)


# --- a whole controller ---


@pytest.fixture
def edited(scene: Scene, tmp_path: Path) -> Path:
    scene.policy = tmp_path / "policy.yaml"
    scene.policy.write_text(POLICY.read_text())
    return scene.policy


@pytest.mark.costly
async def test_an_edit_is_in_force_without_a_restart_and_the_cooldown_goes_on(scene: Scene, edited: Path) -> None:
    await scene.jobs(5)
    async with running(scene, **QUICK) as controller:
        await controller.until(event="reconcile", outcome="applied")
        before = text_of(edited)
        write(edited, before.replace("min_replicas: ${MIN_WORKERS:-0}", "min_replicas: 2"))
        told = await controller.until(event="policy_loaded", worker=WORKER, message="min_replicas: 0 → 2")
        assert len(told["hash"]) == 12
        await controller.until(event="reconcile", outcome="applied", reason="BelowMinimum")
        await scene.jobs(25)
        write(edited, before)
        await controller.until(event="policy_loaded", message="min_replicas: 2 → 0")
        await scene.jobs(0)
        held = await controller.until(event="reconcile", outcome="held", reason="ScaleDownCooldown")
        assert held["desired"] == 2
        assert await controller.told_to_end() == 0


@pytest.mark.costly
async def test_a_policy_that_cannot_be_used_is_refused_shown_and_forgotten_with_the_next(
    scene: Scene, edited: Path
) -> None:
    async with running(scene, **QUICK) as controller:
        started = await controller.until(event="started")
        await controller.until(event="reconcile")
        good = text_of(edited)
        write(edited, good.replace("max_replicas:", "max_replica:"))
        told = await controller.until(event="policy_refused")
        assert "max_replica" in told["message"]
        status = f"http://127.0.0.1:{started['port']}/status"
        async with httpx.AsyncClient() as client:
            policy = (await client.get(status)).json()["policy"]
            assert "max_replica" in policy["refused"]["problems"][0]
            assert policy["workers"][WORKER]["max_replicas"] == 5, "the one in force stays"
            assert (await client.get(status.replace("status", "health"))).json()["status"] == "healthy"
            await controller.until(event="reconcile")
            write(edited, good)
            await controller.until(event="policy_loaded", message="read again: the values are the same")
            assert "refused" not in (await client.get(status)).json()["policy"]


@pytest.mark.costly
async def test_a_hangup_reads_the_policy_and_does_not_end_the_controller(scene: Scene, edited: Path) -> None:
    async with running(scene, **QUICK) as controller:
        await controller.until(event="reconcile")
        os.kill(controller.process.pid, signal.SIGHUP)
        await controller.until(event="policy_loaded", message="read again: the values are the same")
        await controller.until(event="reconcile")
        assert await controller.told_to_end() == 0


async def test_a_standby_says_that_the_leader_has_another_policy(scene: Scene, edited: Path) -> None:
    async with scene.controller() as leader:
        await leader.tick()
        write(edited, text_of(edited).replace("min_replicas: ${MIN_WORKERS:-0}", "min_replicas: 1"))
        async with scene.controller() as standby:
            await standby.controller.leadership.turn()
            status = standby.controller.status
            assert status.leader_policy == leader.controller.policy.digest
            assert status.policy != status.leader_policy


@pytest.mark.costly
async def test_workers_come_and_go_with_the_policy(scene: Scene, edited: Path) -> None:
    """The new one's first cycle is like that of a start; of the one that is gone nothing is shown."""
    other = scene.fake.add_service("other", replicas=0).id
    async with running(scene, **QUICK) as controller:
        started = await controller.until(event="started")
        await controller.until(event="reconcile")
        text = text_of(edited)
        renamed = text.replace("generation-worker:", "other-worker:").replace("${RAILWAY_WORKER_SERVICE_ID}", other)
        write(edited, renamed)
        told = await controller.until(event="policy_loaded", worker=None)
        assert "generation-worker" in told["message"]
        await controller.until(event="reconcile", worker="other-worker")
        async with httpx.AsyncClient() as client:
            status = (await client.get(f"http://127.0.0.1:{started['port']}/status")).json()
        assert list(status["workers"]) == ["other-worker"]
