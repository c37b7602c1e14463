"""`once` from cron behaves as `run`: each story through one process, and through a new one for every cycle."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from controller.cli.once import _SLOWEST_CRON_S
from controller.loop.cycle import Cycle
from tests.support.patience import in_time, until, until_equal
from tests.support.processes import autoscaler, begun
from tests.support.scene import POLICY, Scene, set_scene

SHORT = {"SCALE_UP_COOLDOWN_MS": "0", "SCALE_DOWN_COOLDOWN_MS": "0"}
BLIND = "    on_unavailable:\n      after: 5m\n      at_least: 3\n    rate_limit:"
Told = tuple[str, str, int | None]


@dataclass
class Cycles:
    """One cycle after the other; `told` is what came of each."""

    scene: Scene
    turn: Callable[[], Awaitable[Cycle]]
    told: list[Told] = field(default_factory=list)

    async def go(self, times: int = 1) -> Told:
        for _ in range(times):
            cycle = await self.turn()
            desired = cycle.decision.desired if cycle.decision else None
            self.told.append((cycle.outcome.value, cycle.reason.value, desired))
        return self.told[-1]

    async def shown(self, running: int) -> None:
        await until_equal(lambda: self.scene.fake.worker.running, running)


@asynccontextmanager
async def by_run(scene: Scene, environment: Mapping[str, str]) -> AsyncIterator[Cycles]:
    async with scene.controller(environment) as driven:
        yield Cycles(scene, driven.tick)


@asynccontextmanager
async def by_once(scene: Scene, environment: Mapping[str, str]) -> AsyncIterator[Cycles]:
    async def turn() -> Cycle:
        async with scene.controller(environment, gap=_SLOWEST_CRON_S) as driven:
            return await driven.tick()

    yield Cycles(scene, turn)


both = pytest.mark.parametrize("through", [by_run, by_once], ids=["run", "once"])
Through = Callable[[Scene, Mapping[str, str]], AbstractAsyncContextManager[Cycles]]


def blind(scene: Scene, tmp_path: Path) -> None:
    scene.policy = tmp_path / "policy.yaml"
    scene.policy.write_text(POLICY.read_text().replace("    rate_limit:", BLIND))


async def hide(scene: Scene) -> None:
    await scene.queue.execute("ALTER TABLE generation_job RENAME TO hidden")


async def unhide(scene: Scene) -> None:
    await scene.queue.execute("ALTER TABLE hidden RENAME TO generation_job")


HOLD = ("failed", "QueueUnavailable", None)


@pytest.mark.costly
@both
async def test_on_unavailable_fires_after_three_lost_readings_and_its_time(
    scene: Scene, tmp_path: Path, through: Through
) -> None:
    blind(scene, tmp_path)
    await scene.jobs(5)
    async with through(scene, {}) as cycles:
        assert await cycles.go() == ("applied", "Tier", 1)
        await cycles.shown(1)
        await cycles.go()
        await hide(scene)
        await cycles.go(2)
        await scene.let_time_pass(301)
        await cycles.go()
        await cycles.shown(3)
        await cycles.go()
        await unhide(scene)
        await cycles.go()
    assert cycles.told[2:] == [
        *(HOLD, HOLD, ("applied", "Fallback", 3)),
        *(HOLD, ("held", "ScaleDownCooldown", 3)),
    ]
    assert scene.asked_for == [3]


@pytest.mark.costly
@both
async def test_a_reading_in_between_begins_the_count_of_lost_readings_anew(
    scene: Scene, tmp_path: Path, through: Through
) -> None:
    blind(scene, tmp_path)
    async with through(scene, {}) as cycles:
        await cycles.go()
        await hide(scene)
        await cycles.go(2)
        await unhide(scene)
        await cycles.go()
        await hide(scene)
        await scene.let_time_pass(301)
        await scene.redis.hincrby(await scene.journal_key(), "unread_at", -301_000)
        await cycles.go(3)
    assert cycles.told[1:] == [HOLD, HOLD, ("held", "Tier", 0), HOLD, HOLD, ("applied", "Fallback", 3)]


@pytest.mark.costly
@both
async def test_a_reading_of_the_queue_counts_though_railway_cannot_be_read(
    scene: Scene, tmp_path: Path, through: Through
) -> None:
    blind(scene, tmp_path)
    async with through(scene, {}) as cycles:
        await cycles.go()
        await scene.let_time_pass(301)
        scene.fake.inject("not_authorized", times=1, on="query")
        assert (await cycles.go())[1] == "PlatformUnavailable"
        await hide(scene)
        assert [await cycles.go() for _ in range(4)] == [HOLD] * 4
    assert scene.sent == []


@pytest.mark.costly
@both
async def test_a_stop_that_is_never_shown_is_remembered(scene: Scene, through: Through) -> None:
    scene.fake.by_hand(replicas=1)
    scene.fake.worker.switches.never_report_stop = True
    async with through(scene, SHORT) as cycles:
        await cycles.shown(1)
        await cycles.go(2)
        await scene.let_time_pass(61)
        await cycles.go()
        await scene.let_time_pass(61)
        await cycles.go()
        await scene.jobs(1)
        await cycles.go()
    assert cycles.told == [
        ("applied", "Tier", 0),
        ("held", "IntentOpen", 1),
        ("held", "BackingOff", 0),
        ("held", "NotHonoured", 0),
        ("applied", "Tier", 1),
    ]
    assert scene.sent == ["deploymentStop", "deploymentRestart"]


@pytest.mark.costly
@both
async def test_min_replicas_holds_while_the_queue_cannot_be_read(scene: Scene, through: Through) -> None:
    await hide(scene)
    async with through(scene, {"MIN_WORKERS": "2"}) as cycles:
        await cycles.go()
        await cycles.shown(2)
        await cycles.go()
        scene.fake.by_hand(replicas=7)
        await cycles.shown(7)
        await cycles.go(4)
    assert cycles.told == [("applied", "BelowMinimum", 2), *[HOLD] * 5], "a count above max is left alone"
    assert scene.asked_for == [2]


@pytest.mark.costly
@both
async def test_how_long_workers_take_to_start_is_measured(database_url: str, redis_url: str, through: Through) -> None:
    async with set_scene(database_url, redis_url, pace=0.1) as scene:
        await scene.jobs(20)
        async with through(scene, {}) as cycles:
            assert (await cycles.go())[0] == "applied"

            async def measured() -> str | bytes | None:
                await cycles.go()
                return await scene.redis.hget(await scene.journal_key(), "start_up")

            await until(measured, "a start-up to be measured")
            took = int(await scene.redis.hget(await scene.journal_key(), "start_up") or 0)
    assert took > 100


@pytest.mark.costly
async def test_three_processes_of_once_fall_back_as_one_of_run_does(scene: Scene, tmp_path: Path) -> None:
    blind(scene, tmp_path)
    async with scene.controller() as driven:
        await driven.tick()
    await scene.let_time_pass(301)
    await hide(scene)
    ended = []
    for _ in range(3):
        ran = await autoscaler("once", "--policy", str(scene.policy), "--json", environment=scene.environment)
        ended.append((ran.code, '"Fallback"' in ran.out))
    assert ended == [(1, False), (1, False), (0, True)]
    assert scene.asked_for == [3]


@pytest.mark.costly
async def test_an_output_that_takes_nothing_is_exit_1_and_the_cycle_was_made_all_the_same(scene: Scene) -> None:
    await scene.jobs(15)
    with Path("/dev/full").open("w") as full:  # noqa: ASYNC230  # a device, handed to the process
        process = await begun("once", environment=scene.environment, stdout=full.fileno())
        _, errors = await in_time(process.communicate(), "once to end")
    assert process.returncode == 1
    assert b"Traceback" not in errors
    assert scene.asked_for == [2]
