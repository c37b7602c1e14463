"""`history` and `explain --at`: what the leader wrote while it worked, read by another process."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from controller.adapters.redis.keys import Keys
from controller.adapters.redis.timeline import RedisTimeline
from controller.cli.explain_at import moment
from controller.core.timeline import Decided, Happening, Sample
from tests.support.processes import QUICK, Ran, autoscaler, running
from tests.support.scene import WORKER, Scene


async def asked(scene: Scene, *words: str) -> Ran:
    return await autoscaler(*words, "--policy", str(scene.policy), environment=scene.environment)


@pytest.mark.costly
async def test_the_history_has_the_start_the_change_with_its_reasons_and_the_end(scene: Scene) -> None:
    await scene.jobs(5)
    async with running(scene, **QUICK) as controller:
        await controller.until(event="reconcile", outcome="applied")
        await controller.until(event="reconcile", outcome="held", running=1)
        await controller.told_to_end()
    ran = await asked(scene, "history", "--json")
    assert ran.code == 0
    events = [one["event"] for one in ran.objects]
    assert {"started", "policy_loaded", "lease_acquired", "scaled"} <= set(events)
    (scaled,) = (one for one in ran.objects if one["event"] == "scaled")
    assert (scaled["worker"], scaled["before"], scaled["after"], scaled["reasons"]) == (WORKER, 0, 1, ["Tier"])
    assert scaled["pending"] == 5
    only = await asked(scene, "history", "--json", "--reason", "Tier", "--worker", WORKER)
    assert [one["event"] for one in only.objects] == ["scaled"]
    text = await asked(scene, "history", "--event", "scaled")
    assert f"scaled {WORKER}: 5 jobs (5 pending, 0 processing) want 1 worker: 0 → 1" in text.out


@pytest.mark.costly
async def test_a_moment_of_the_past_is_explained_with_what_was_seen_decided_and_why(scene: Scene) -> None:
    await scene.jobs(5)
    async with running(scene, **QUICK) as controller:
        await controller.until(event="reconcile", outcome="applied")
        await controller.until(event="reconcile", outcome="held", running=1)
        between = time.time()
        await asyncio.sleep(0.05)
        await scene.queue.execute("INSERT INTO generation_job (status) SELECT 'pending' FROM generate_series(1, 20)")
        await controller.until(event="reconcile", outcome="held", reason="ScaleUpCooldown", pending=25)
        await controller.told_to_end()
    ran = await asked(scene, "explain", "--at", "now", "--json")
    (now,) = ran.objects
    assert (now["decided"]["outcome"], now["decided"]["reasons"]) == ("held", ["Tier", "ScaleUpCooldown"])
    decided = {name: now["decided"][name] for name in ("pending", "processing", "configured", "recommended")}
    assert decided == {"pending": 25, "processing": 0, "configured": 1, "recommended": 2}
    assert (now["before"]["event"], now["before"]["after"]) == ("scaled", 1)
    then = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(between))
    ran = await asked(scene, "explain", "--at", f"{then[:-1]}.{int(between % 1 * 1000):03}Z")
    assert ran.code == 0
    assert "5 pending, 0 processing" in ran.out
    assert "Tier: the tier of the depth wants this many workers" in ran.out


async def test_the_change_next_to_a_moment_is_found_among_thousands_of_others(scene: Scene) -> None:
    """More than one reading takes lie between the moment and now, and the change is the first of them."""
    keys = Keys("autoscaler", "g")
    now = round(time.time())
    for at, event in ((now - 900, "scaled"), (now - 500, "external_change"), (now - 400, "scaled")):
        fields: dict[Any, Any] = dict(Happening(event, WORKER, f"{event} at {at}").as_fields())
        await scene.redis.xadd(keys.history, fields, id=at * 1000)
    pipe = scene.redis.pipeline()
    for number in range(600):
        pipe.xadd(keys.history, {"e": "shadow_scaled", "w": WORKER}, id=(now - 300) * 1000 + number)
    await pipe.execute()
    found = await moment(RedisTimeline(scene.redis, keys), WORKER, now - 600.0, now)
    assert (found.before and found.before.message) == f"scaled at {now - 900}"
    assert (found.after and found.after.message) == f"external_change at {now - 500}"


async def test_this_minute_is_explained_before_its_sample_is_written(scene: Scene) -> None:
    keys, now = Keys("autoscaler", "g"), round(time.time())
    sample, decided = Sample(60.0, 1, 1, 1, None, 1, 1, 1, shadow=2), Decided("held", ("Tier",))
    for key, text in ((keys.minutes(WORKER), sample.as_text()), (keys.decided(WORKER), decided.as_text())):
        await scene.redis.xadd(key, {"d": text}, id=(now - 50) * 1000)
    timeline = RedisTimeline(scene.redis, keys)
    lines = list((await moment(timeline, WORKER, now, now)).lines)
    assert "the shadow policy would have had 2 on average" in lines
    assert (await moment(timeline, WORKER, now, now + 600)).sample is None, "no controller led then"


@pytest.mark.costly
async def test_a_fault_has_a_begin_and_an_end(scene: Scene) -> None:
    async with scene.controller() as driven:
        await driven.tick()
        await scene.queue.execute("ALTER TABLE generation_job RENAME TO hidden")
        await driven.tick()
        await driven.tick()
        await scene.queue.execute("ALTER TABLE hidden RENAME TO generation_job")
        await driven.tick()
        await driven.controller.recorder.flush()
    ran = await asked(scene, "history", "--json")
    faults = [(one["event"], one["source"]) for one in ran.objects if "source" in one]
    assert faults == [("failing", "PostgreSQL"), ("recovered", "PostgreSQL")]


@pytest.mark.costly
async def test_a_change_is_there_once_though_two_leaders_tell_of_it(scene: Scene) -> None:
    await scene.jobs(5)
    async with scene.controller() as driven:
        await driven.tick()
        controller = driven.controller
        (told,) = [one for one in controller.recorder._queue if one.kind == "happening" and one.entry.event == "scaled"]
        await controller.recorder.flush()
        controller.recorder._queue.append(told)
        await controller.recorder.flush()
    ran = await asked(scene, "history", "--json", "--event", "scaled")
    assert len(ran.objects) == 1


@pytest.mark.costly
async def test_a_replica_that_does_not_lead_writes_nothing(scene: Scene) -> None:
    async with scene.controller() as leader, scene.controller() as standby:
        await leader.tick()
        standby.controller.log.event("started", message="as a standby")
        assert not await standby.controller.recorder.flush()
        await leader.controller.recorder.flush()
    ran = await asked(scene, "history", "--json", "--event", "started")
    assert ran.objects == []


async def test_a_dry_run_and_a_retention_of_0_write_none(scene: Scene) -> None:
    await scene.jobs(5)
    async with scene.controller(dry_run=True) as driven:
        await driven.tick()
        assert not driven.controller.recorder._queue


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["history", "--since", "yesterday"], "'yesterday' is not a time; write 6h, 03:12 or 2026-11-29 03:12"),
        (["history", "--since", "1h", "--until", "2h"], "--since: is later than --until; swap them"),
        (["history", "--worker", "nobody"], "'nobody' is no worker of the policy"),
        (["history", "--reason", "Tear"], "--reason: 'Tear' is no reason; did you mean Tier?"),
        (["history", "--event", "scalled"], "--event: 'scalled' is no event of the history; did you mean scaled?"),
        (["history", "--follow", "--until", "1h"], "--follow and --until: do not go together"),
        (["explain", "--at", "2999-01-01 00:00"], "--at: is in the future"),
        (["explain", "--worker", WORKER], "--worker: goes only with --at"),
    ],
)
async def test_wrong_input_is_refused_in_one_message(scene: Scene, words: list[str], said: str) -> None:
    ran = await asked(scene, *words)
    assert ran.code == 2
    assert said in ran.err


async def test_a_time_of_which_nothing_is_known_is_said_so_with_exit_code_1(scene: Scene) -> None:
    ran = await asked(scene, "explain", "--at", "3h")
    assert ran.code == 1
    assert f"nothing is recorded for {WORKER} at that time" in ran.out
    assert (await asked(scene, "history")).code == 0
