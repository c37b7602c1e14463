"""A shadow policy beside a whole controller: shown everywhere, kept for the next leader, and without an effect."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from controller.core.model import Lease
from controller.loop.cycle import Outcome
from tests.support.scene import POLICY, WORKER, Driven, LaterClock, Scene

TIERS = "    tiers: [{up_to: 0, replicas: 0}, {replicas: 3}]\n"


def shadow_text(**edits: str) -> str:
    """The shipped policy with 3 workers for any job."""
    lines = POLICY.read_text().splitlines(keepends=True)
    begin = next(place for place, line in enumerate(lines) if line.strip().startswith("tiers:"))
    end = next(place for place, line in enumerate(lines) if place > begin and line.strip().startswith("min_replicas"))
    text = "".join([*lines[:begin], TIERS, *lines[end:]])
    for old, new in edits.items():
        text = text.replace(old, new)
    return text


@pytest.fixture
def shadowed(scene: Scene, tmp_path: Path) -> Scene:
    scene.policy = tmp_path / "policy.yaml"
    scene.policy.write_text(f"{POLICY.read_text()}\nshadow: other.yaml\n")
    (tmp_path / "other.yaml").write_text(shadow_text())
    return scene


@asynccontextmanager
async def leading(scene: Scene, **more: Any) -> AsyncIterator[Driven]:
    async with scene.controller(**more) as driven:
        assert await driven.controller.shadow.keep()
        yield driven


def status_of(driven: Driven) -> dict[str, Any]:
    found: dict[str, Any] = driven.controller.status.workers[WORKER].to_json()["shadow"]
    return found


async def test_it_says_what_it_would_do_and_sends_nothing(shadowed: Scene) -> None:
    await shadowed.jobs(5)
    async with leading(shadowed) as driven:
        cycle = await driven.tick()
        await driven.tick()
        shown = status_of(driven)
    (event,) = shadowed.events("shadow_scaled")
    assert (event["before"], event["after"], event["configured"], event["reasons"]) == (1, 3, 1, ["Tier"])
    assert shown["desired"] == 3
    assert cycle.decision is not None
    assert (cycle.outcome, cycle.decision.desired) == (Outcome.APPLIED, 1), "the policy in force wants 1"
    assert len(shadowed.events("shadow_begun")) == 1


async def test_the_next_leader_goes_on_and_nothing_begins_anew(shadowed: Scene) -> None:
    await shadowed.jobs(5)
    async with leading(shadowed) as first:
        await first.tick()
        await first.tick()
        before = status_of(first)
        await first.controller.shadow.last_words(5.0)
    async with leading(shadowed) as second:
        await second.tick()
        after = status_of(second)
    assert (after["desired"], after["since"], after["counted_since"]) == (3, before["since"], before["counted_since"])
    assert after["worker_hours"] >= before["worker_hours"]
    assert len(shadowed.events("shadow_begun")) == len(shadowed.events("shadow_scaled")) == 1


async def test_another_policy_on_either_side_is_compared_anew(shadowed: Scene) -> None:
    await shadowed.jobs(5)
    async with leading(shadowed) as first:
        await first.tick()
        await first.controller.shadow.last_words(5.0)
    (shadowed.policy.parent / "other.yaml").write_text(shadow_text(**{"replicas: 3": "replicas: 4"}))
    async with leading(shadowed) as second:
        await second.tick()
    assert len(shadowed.events("shadow_begun")) == 2


async def test_a_standby_with_another_file_says_that_the_leader_has_another_policy(shadowed: Scene) -> None:
    async with leading(shadowed) as leader:
        await leader.tick()
        (shadowed.policy.parent / "other.yaml").write_text(shadow_text(**{"replicas: 3": "replicas: 4"}))
        async with shadowed.controller() as standby:
            await standby.controller.leadership.turn()
            status = standby.controller.status
            assert (status.leader_policy, status.policy) == (
                leader.controller.shown.digest,
                standby.controller.shown.digest,
            )
            assert status.policy != status.leader_policy


async def test_standbys_and_the_page_show_it(shadowed: Scene) -> None:
    from controller.web.health import status_report
    from controller.web.page import page

    async with leading(shadowed) as leader, shadowed.controller() as standby:
        await leader.tick()
        await standby.controller.leadership.turn()
        assert status_of(standby) == status_of(leader)
        assert "shadow policy: would be at 0" in page(status_report(standby.controller.shown))


async def test_a_redis_without_its_memory_costs_no_cycle(shadowed: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    from controller.core.ports import Unavailable
    from tests.support.sources import REDIS

    async def away(*_: object) -> None:
        raise Unavailable(REDIS, "is away")

    await shadowed.jobs(5)
    async with shadowed.controller() as driven:
        monkeypatch.setattr(driven.controller.shadow.store, "load", away)
        assert not await driven.controller.shadow.keep()
        assert not await driven.controller.shadow.keep()
        cycle = await driven.tick()
        assert cycle.outcome is Outcome.APPLIED
        monkeypatch.undo()
        assert await driven.controller.shadow.keep()
        await driven.tick()
        assert status_of(driven)["desired"] == 3
    assert len(shadowed.events("shadow_warning")) == 1


async def test_a_bug_in_it_is_reported_once_and_the_cycle_is_untouched(
    shadowed: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shadowed.jobs(5)
    monkeypatch.setattr("controller.loop.shadow.stepped", lambda *_: 1 / 0)
    async with leading(shadowed) as driven:
        assert (await driven.tick()).outcome is Outcome.APPLIED
        await driven.tick()
    (crashed,) = shadowed.events("crashed")
    assert crashed["message"].startswith("the shadow policy: ZeroDivisionError")


async def test_the_history_has_what_it_would_have_had(shadowed: Scene) -> None:
    """A sample of each minute, which the page's chart and `explain --at` show."""
    await shadowed.jobs(5)
    passed = [0.0]
    clock = LaterClock(lambda: passed[0])
    clock.wall = lambda: time.time() + passed[0]  # type: ignore[method-assign]
    async with leading(shadowed, clock=clock) as driven:
        for _ in range(3):
            await driven.tick()
            passed[0] += 30.0
        await driven.tick()
        await driven.controller.recorder.flush()
        samples = await driven.controller.recorder.timeline.samples(WORKER, 0.0, clock.wall())
    assert {one.shadow for one in samples} == {3}


async def test_one_reading_is_enough_for_both(shadowed: Scene) -> None:
    """The shadow wants 3 workers from 900 jobs on, of which the policy in force need not know."""
    tiers = "    tiers: [{up_to: 900, replicas: 1}, {replicas: 3}]\n"
    (shadowed.policy.parent / "other.yaml").write_text(shadow_text().replace(TIERS, tiers))
    async with leading(shadowed) as driven:
        (request,) = driven.controller.runner._queues[WORKER].requests.values()
    assert request.enough == 901


async def test_a_dry_run_decides_and_writes_nothing(shadowed: Scene) -> None:
    async with leading(shadowed, dry_run=True) as driven:
        await driven.tick()
        assert status_of(driven)["desired"] == 0
        await driven.controller.shadow.last_words(5.0)
        assert [key async for key in shadowed.redis.scan_iter("*shadow*")] == []


async def test_while_no_lease_is_held_nothing_is_decided(shadowed: Scene) -> None:
    async with leading(shadowed) as driven:
        await driven.tick()
        before = driven.controller.shadow._fleets[WORKER]
        driven.controller.shadow.lease = lambda: None
        assert isinstance(driven.controller.leadership.lease, Lease)
        await driven.tick()
        assert driven.controller.shadow._fleets[WORKER] == before
