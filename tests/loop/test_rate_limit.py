"""The contract with the workers, kept by a real worker that counts, and read by the controller."""

from __future__ import annotations

import asyncio
import time
from contextlib import AbstractContextManager

import pytest

from controller.adapters.redis.rate_limit import RedisRateLimit
from controller.core.model import RateUsage, Shares
from controller.core.ports import LeaseLost
from controller.core.reasons import Reason
from controller.demo.jobs import enqueue, summary
from controller.policy import RateLimit
from tests.support.patience import until
from tests.support.processes import Fork, demo_worker
from tests.support.scene import LEASE_S, LaterClock, Scene, StandingClock


def worker(scene: Scene) -> AbstractContextManager[Fork]:
    return demo_worker({**scene.environment, "WORKER_CONCURRENCY": "5"})


async def completed(scene: Scene, count: int) -> None:
    async def done() -> bool:
        return (await summary(scene.queue)).completed >= count

    await until(done, f"{count} jobs to be done")


async def counted(scene: Scene) -> int:
    """What is counted in this minute; a minute that ends meanwhile is begun anew."""
    async with scene.controller() as driven:
        cycle = await driven.tick()
    assert cycle.rate is not None
    return cycle.rate.used


MINUTE = 1_700_000_040


@pytest.mark.parametrize(
    ("before", "now", "second", "recent"),
    [
        (60, 0, 0, 60),
        (60, 0, 10, 60),
        (60, 0, 40, 30),
        (60, 20, 30, 60),
        (60, 0, 59.9, 11),
        (59, 0, 0, 59),
        (0, 17, 30, 17),
        (7, 60, 0, 67),
    ],
    ids=[
        "a minute begins after a used-up one",
        "ten seconds into a minute the one before counts in full",
        "40 s into a minute half of the one before counts",
        "half of the minute before counts with this one's requests",
        "at the end of a minute little of the one before counts",
        "a minute begins after one with a request left",
        "only this minute's requests count",
        "both minutes count in full",
    ],
)
async def test_the_requests_of_the_last_60_s_are_those_of_two_minutes(
    scene: Scene, before: int, now: int, second: float, recent: int
) -> None:
    for start, count in ((MINUTE - 60, before), (MINUTE, now)):
        await scene.redis.set(f"worker:rpm:{start}", count)
    used = await RedisRateLimit(scene.redis, StandingClock(MINUTE + second)).used(RateLimit(rpm=60))
    assert (used.used, used.recent) == (now, recent)


async def test_a_minute_s_count_that_expired_is_remembered(scene: Scene) -> None:
    """It lives for 65 s from its first request on, where a worker sets that once only."""
    clock = StandingClock(MINUTE - 5)
    rate_limit = RedisRateLimit(scene.redis, clock)
    await scene.redis.set(f"worker:rpm:{MINUTE - 60}", 60)
    assert (await rate_limit.used(RateLimit(rpm=60))).used == 60
    await scene.redis.flushdb()
    clock.now = MINUTE + 10
    assert (await rate_limit.used(RateLimit(rpm=60))).recent == 60


async def test_a_minute_that_begins_after_one_that_was_used_up_adds_no_worker(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene.controller({"SCALE_UP_COOLDOWN_MS": "0"}) as driven:
        await scene.jobs(200)
        second = time.time() // 60 * 60
        await scene.redis.set(f"worker:rpm:{second - 60:.0f}", 60)
        await scene.redis.set(f"worker:rpm:{second:.0f}", 0)
        rate_limit = driven.controller.ports.rate_limit
        monkeypatch.setattr(rate_limit, "_clock", StandingClock(second + 0.5))
        cycle = await driven.tick()
    assert cycle.reason is Reason.RATE_LIMIT
    assert cycle.message.endswith(
        "60 of 60 requests were used within the last 60 s (0 in this minute), so more workers could not go faster"
    )
    assert (cycle.line()["rpm_used"], scene.sent) == (0, [])


async def test_what_a_real_worker_counts_is_what_the_controller_reads(scene: Scene) -> None:
    for _ in range(10):  # once more, should the minute end in between
        minute = time.time() // 60
        before = await counted(scene)
        await enqueue(scene.queue, 7, duration_s=0)
        with worker(scene):
            await completed(scene, (await summary(scene.queue)).completed + 7)
        after = await counted(scene)
        if time.time() // 60 == minute:
            break
    assert after - before == 7


async def test_a_real_worker_stops_at_the_share_that_the_controller_publishes(scene: Scene) -> None:
    await scene.jobs(15)  # two workers are wanted, so that each may make 2 of 4 requests a minute
    async with scene.controller({"GLOBAL_RPM_LIMIT": "4", "MAX_WORKERS": "4"}) as driven:
        await driven.tick()
    assert await scene.redis.get("worker:config:per_worker_rpm") == "2"
    with worker(scene):
        await completed(scene, 2)
        await asyncio.sleep(0.5)
    windows = await scene.redis.keys("worker:rpm:*")
    assert windows
    assert [window for window in windows if int(await scene.redis.get(window) or 0) > 2] == []


async def test_what_real_workers_have_used_up_adds_no_further_worker(scene: Scene) -> None:
    for _ in range(10):  # once more, should the minute end in between
        await enqueue(scene.queue, 2, duration_s=0)
        await scene.redis.set("worker:config:per_worker_rpm", "2")
        with worker(scene):
            await completed(scene, (await summary(scene.queue)).completed + 2)
        await enqueue(scene.queue, 5, duration_s=0)
        async with scene.controller({"GLOBAL_RPM_LIMIT": "2", "MAX_WORKERS": "2"}, dry_run=True) as driven:
            cycle = await driven.tick()
        if cycle.rate == RateUsage(2, 2):
            break
        await scene.jobs(0)
    assert (cycle.rate, cycle.reason) == (RateUsage(2, 2), Reason.RATE_LIMIT)
    assert cycle.decision is not None
    assert (cycle.decision.recommended, cycle.decision.desired) == (1, 0)


async def test_a_replica_that_leads_no_longer_publishes_no_share(scene: Scene) -> None:
    """A leader that froze and woke would tell the workers of a fleet of long ago."""
    await scene.jobs(15)
    gone_by = 0.0
    async with scene.controller(clock=LaterClock(lambda: gone_by)) as driven:
        limit = next(iter(driven.controller.policy.workers.values())).rate_limit
        assert limit is not None
        await driven.controller.ports.rate_limit.share(limit, Shares(60, 30, 5))
        gone_by = LEASE_S
        with pytest.raises(LeaseLost):
            await driven.controller.ports.rate_limit.share(limit, Shares(60, 60, 5))
    assert await scene.redis.get("worker:config:per_worker_rpm") == "30"
