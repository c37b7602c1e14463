"""The journal belongs to a service: under another name it goes on, and under the same name another one begins anew."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

import pytest
from redis.asyncio import Redis

from controller.adapters.clock import SystemClock
from controller.adapters.redis.journal import Left, RedisJournal
from controller.adapters.redis.keys import Keys
from controller.adapters.redis.leases import RedisLeases
from controller.core.model import History, Lease
from controller.core.ports import Bid
from controller.core.reasons import Reason
from controller.loop.cycle import Outcome
from tests.support.journal_steps import note, scale_up, take
from tests.support.patience import until
from tests.support.processes import QUICK, running
from tests.support.scene import POLICY, WORKER, Scene

KEYS = Keys("autoscaler", "env")


@pytest.fixture
async def redis(redis_url: str) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_url, decode_responses=True) as client:
        yield client


@pytest.fixture
async def lease(redis: Redis) -> Lease:
    return cast("Lease", await RedisLeases(redis, KEYS).acquire(Bid("me"), 60))


def journal(redis: Redis, **services: str) -> RedisJournal:
    """As a process with this policy has it."""
    return RedisJournal(redis, KEYS, SystemClock(), services)


async def noted(one: RedisJournal, worker: str, lease: Lease, recommended: int, count: int) -> History:
    """After a cycle of this worker."""
    return (await take(one, lease, note(recommended, count), worker=worker)).history


async def test_a_rename_keeps_the_cooldowns_and_the_history_of_the_service(redis: Redis, lease: Lease) -> None:
    at = await scale_up(journal(redis, a="s1"), lease, worker="a")
    history = await noted(journal(redis, b="s1"), "b", lease, 2, 3)
    assert (history.last_up, history.count) == (at, 3)
    assert [one.replicas for one in history.recommendations] == [3, 2]
    again = (await journal(redis, a="s1").recall("a")).history
    assert again.last_up == at, "and back again, as in a deploy that is rolled back"


async def test_another_service_under_the_same_name_begins_anew(redis: Redis, lease: Lease) -> None:
    at = await scale_up(journal(redis, a="s1"), lease, worker="a")
    moved = journal(redis, a="s2")
    history = await noted(moved, "a", lease, 2, 0)
    assert (history.last_up, history.count, len(history.recommendations)) == (None, 0, 1)
    history = (await journal(redis, a="s1").recall("a")).history
    assert (history.last_up, history.count) == (at, 3), "the first service's memory is kept for it"


async def test_two_workers_that_swap_their_services_keep_what_is_the_services(redis: Redis, lease: Lease) -> None:
    before = journal(redis, a="s1", b="s2")
    await scale_up(before, lease, 3, worker="a")
    await scale_up(before, lease, 4, worker="b")
    after = journal(redis, a="s2", b="s1")
    counts = [(await noted(after, name, lease, 2, 0)).count for name in ("a", "b")]
    assert counts == [4, 3]


async def test_what_a_version_before_left_under_the_name_alone_is_taken_over(redis: Redis, lease: Lease) -> None:
    at = await scale_up(journal(redis), lease, worker="a")
    history = await noted(journal(redis, a="s1"), "a", lease, 2, 3)
    assert (history.last_up, history.count) == (at, 3)


async def test_from_a_version_before_and_back_again_no_cooldown_is_lost(redis: Redis, lease: Lease) -> None:
    old, new = journal(redis), journal(redis, a="s1")
    first = await scale_up(old, lease, worker="a")
    assert (await noted(new, "a", lease, 2, 3)).last_up == first
    await redis.hincrby(KEYS.worker("a"), "last_up", -60_000)
    second = await scale_up(journal(redis, a="s1"), lease, worker="a")
    assert second > first - 60
    assert (await noted(journal(redis), "a", lease, 2, 3)).last_up == second
    assert (await journal(redis, a="s1").recall("a")).history.last_up == second


async def test_a_standby_tells_an_emptied_redis_which_record_is_whose(redis: Redis, lease: Lease) -> None:
    at = await scale_up(journal(redis, a="s1"), lease, worker="a")
    standby = journal(redis, b="s1")
    await standby.watch(["b"])
    await redis.flushdb()
    await standby.watch(["b"])
    lease = cast("Lease", await RedisLeases(redis, KEYS).acquire(Bid("newcomer"), 60))
    history = await noted(journal(redis, b="s1"), "b", lease, 2, 3)
    assert history.last_up == pytest.approx(at, abs=0.3)


async def test_what_no_policy_names_any_more_is_told_with_its_count(redis: Redis, lease: Lease) -> None:
    before = journal(redis, a="s1", b="s2", c="s3")
    for name, count in (("a", 3), ("b", 2), ("c", 1)):
        await scale_up(before, lease, count, worker=name)
    assert await journal(redis, a="s1", new="s3").left_behind() == [Left("b", "s2", 2)]
    for name in ("wanted_at", "read_at"):
        await redis.hincrby(KEYS.worker("b"), name, -31 * 24 * 3600 * 1000)
    assert await journal(redis, a="s1", new="s3").left_behind() == []


@pytest.mark.parametrize(
    ("published", "left"),
    [
        ('{"age_s": 1, "status": {"configured": 4}}', [Left("gone", None, 4)]),
        ('{"age_s": 1}', [Left("gone", None, None)]),
        ("no JSON", [Left("gone", None, None)]),
    ],
)
async def test_of_a_version_before_the_last_cycles_tell(
    redis: Redis, lease: Lease, published: str, left: list[Left]
) -> None:
    await journal(redis).publish({"a": "{}", "gone": published}, lease)
    assert await journal(redis, a="s1").left_behind() == left


async def test_in_a_whole_controller_another_service_is_no_change_from_outside(scene: Scene, tmp_path: Path) -> None:
    scene.policy = tmp_path / "policy.yaml"
    text = POLICY.read_text()
    scene.policy.write_text(text)
    await scene.jobs(50)
    async with scene.controller() as driven:
        await driven.tick()

        async def run() -> bool:
            return (await driven.tick()).replicas is not None and scene.fake.worker.running == 3

        await until(run, "three to run")
        await driven.tick()
    renamed = text.replace(f"  {WORKER}:", "  renamed:")
    scene.policy.write_text(renamed)
    await scene.jobs(500)
    async with scene.controller() as driven:
        cycle = await driven.tick()
        assert (cycle.worker, cycle.reason) == ("renamed", Reason.SCALE_UP_COOLDOWN)
    # As if another service had had this name: its record stands there, and no record is known of the service itself.
    record = await scene.journal_key()
    await scene.redis.hset(record, "service", "another")
    await scene.redis.delete(record.replace(f"worker:{WORKER}", "records"))
    scene.policy.write_text(text)
    async with scene.controller() as driven:
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.APPLIED, Reason.TIER), "no cooldown is taken over"
    assert scene.events("external_change") == []


async def test_run_lists_what_the_policy_names_no_more_once_at_its_start(scene: Scene) -> None:
    keys = Keys("autoscaler", scene.environment["RAILWAY_ENVIRONMENT_ID"])
    leases = RedisLeases(scene.redis, keys)
    lease = cast("Lease", await leases.acquire(Bid("before"), 60))
    await scale_up(RedisJournal(scene.redis, keys, SystemClock(), {"dropped": "s9"}), lease, worker="dropped")
    await leases.release(lease)
    async with running(scene, **QUICK) as controller:
        told = await controller.until(event="policy_loaded", worker="dropped")
        for _ in range(3):
            await controller.until(event="reconcile", outcome="held")
    assert (told["service"], told["left_at"]) == ("s9", 3)
    assert (
        "not in the policy any more; its service keeps 3 workers, which the controller no longer changes"
        in told["message"]
    )
    assert "set its replicas on its platform" in told["message"], "it may be on another one than Railway"
    assert len([line for line in controller.lines if line.get("worker") == "dropped"]) == 1
