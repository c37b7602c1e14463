"""Overrides on the command line: written by one process, honoured by another, refused in a sentence."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from controller.core.reasons import Reason
from controller.loop.cycle import Outcome
from tests.support.patience import until
from tests.support.processes import TAKEN_OVER, Ran, autoscaler, running
from tests.support.scene import POLICY, WORKER, Scene


async def asked(scene: Scene, *words: str) -> Ran:
    return await autoscaler(*words, "--policy", str(scene.policy), environment=scene.environment)


@pytest.mark.costly
async def test_a_held_count_is_gone_to_with_the_next_cycle_and_left_when_it_is_ended(scene: Scene) -> None:
    async with scene.controller() as driven:
        await driven.tick()
        ran = await asked(scene, "hold", WORKER, "3", "--for", "30m", "--why", "load test", "--by", "ann")
        assert (ran.code, ran.err) == (0, "")
        assert f"{WORKER}: held at 3 by ann for 30 min more: load test" in ran.out
        assert "acts by it from its next cycle on" in ran.out
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.APPLIED, Reason.HELD)
        assert scene.asked_for == [3]
        assert [event["by"] for event in scene.events("override_set")] == ["ann"]
        assert (await asked(scene, "resume", WORKER, "--by", "bob")).code == 0
        cycle = await driven.tick()
        assert cycle.reason is not Reason.HELD
        assert [event["message"] for event in scene.events("override_ended")] == [
            "held at 3 by ann is over: bob ended it"
        ]


@pytest.mark.costly
async def test_an_override_outlives_the_process_and_is_shown_by_the_replica_that_does_not_lead(scene: Scene) -> None:
    await asked(scene, "pause", WORKER, "--for", "2h", "--by", "ann")
    await scene.jobs(99)
    for _ in range(2):
        async with scene.controller() as driven:
            cycle = await driven.tick()
            assert (cycle.outcome, cycle.reason) == (Outcome.HELD, Reason.PAUSED)
            (shown,) = driven.controller.status.workers[WORKER].overrides or ()
            assert (shown.override, shown.by, shown.blocks) == ("pause", "ann", "both")
            async with scene.controller() as standby:
                await standby.controller.leadership.turn()
                (there,) = standby.controller.status.workers[WORKER].overrides or ()
                assert dataclasses.replace(there, left_s=0) == dataclasses.replace(shown, left_s=0)
    assert len(scene.events("override_set")) == 1, "told once, though two processes led"
    assert scene.asked_for == []


@pytest.mark.costly
async def test_it_belongs_to_the_service_and_not_to_the_name(scene: Scene, tmp_path: Path) -> None:
    await asked(scene, "pause", WORKER, "--for", "2h")
    renamed = tmp_path / "renamed.yaml"
    renamed.write_text(POLICY.read_text().replace("generation-worker:", "renamed:"))
    listed = await autoscaler("overrides", str(renamed), "--json", environment=scene.environment)
    assert [(one["worker"], one["override"]) for one in listed.objects] == [("renamed", "pause")]
    other = {**scene.environment, "RAILWAY_WORKER_SERVICE_ID": "another-service"}
    listed = await autoscaler("overrides", str(scene.policy), environment=other)
    assert listed.out == "No override is in force.\n"


@pytest.mark.costly
async def test_the_list_says_who_what_and_until_when(scene: Scene) -> None:
    await asked(scene, "at-least", WORKER, "2", "--for", "3h", "--why", "mailing", "--by", "ann")
    await asked(scene, "pause", "--all", "--down", "--for", "1h", "--by", "bob", "--force")
    listed = await asked(scene, "overrides")
    assert listed.out.splitlines()[0].split() == ["worker", "override", "by", "time", "left", "until", "why"]
    assert "at least 2" in listed.out
    assert "scale-down is paused (forced)" in listed.out
    as_json = await asked(scene, "overrides", "--json")
    assert [(one["override"], one["replicas"], one["by"]) for one in as_json.objects] == [
        ("at-least", 2, "ann"),
        ("pause", None, "bob"),
    ]


@pytest.mark.costly
async def test_once_honours_it_too(scene: Scene) -> None:
    await asked(scene, "at-least", WORKER, "2", "--for", "3h")
    ran = await autoscaler("once", str(scene.policy), "--json", environment=scene.environment)
    assert [(one["outcome"], one["reason"]) for one in ran.objects if one["event"] == "reconcile"] == [
        ("applied", "AtLeast")
    ]


@pytest.mark.costly
async def test_a_leader_that_is_killed_leaves_it_to_its_successor(scene: Scene) -> None:
    async with running(scene, **TAKEN_OVER) as first:
        await first.until(event="reconcile", outcome="held")
        assert (await asked(scene, "hold", WORKER, "2", "--for", "30m")).code == 0
        await first.until(event="reconcile", reason="Held")
        first.process.kill()
    async with running(scene, **TAKEN_OVER) as second:
        await second.until(event="reconcile", reason="Held", configured=2)


@pytest.mark.costly
async def test_what_redis_lost_is_written_back_by_a_process_that_saw_it(scene: Scene) -> None:
    async with scene.controller() as driven:
        await driven.tick()
        await asked(scene, "hold", WORKER, "2", "--for", "30m")
        await driven.tick()
        await scene.redis.delete(await scene.journal_key())

        async def is_held() -> bool:
            return (await driven.tick()).reason is Reason.HELD

        await until(is_held, "the held count to be back")
        assert '"kind":"hold"' in str(await scene.redis.hget(await scene.journal_key(), "overrides"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hold", WORKER, "9", "--for", "30m"], "N: 9 is outside min_replicas..max_replicas (0..5)"),
        (["hold", WORKER, "60", "--for", "30m"], "N: 60 is outside min_replicas..max_replicas (0..5)"),
        (["hold", WORKER, "3", "--for", "1000h"], "'1000h' is longer than a month"),
        (["hold", WORKER, "3"], "--for"),
        (["hold", WORKER, "three", "--for", "30m"], "'three' is not a number of replicas"),
        (["hold", WORKER, "-1", "--for", "30m"], "hold"),
        (["hold", WORKER, "3", "--for", "30"], "'30' is not a duration"),
        (["hold", WORKER, "3", "--for", "0s"], "'0s' must be above 0"),
        (["at-least", WORKER, "2", "--for", "169h"], "'169h' is longer than 7 d"),
        (["at-least", WORKER, "0", "--for", "1h"], "N: 0 changes nothing, because min_replicas is 0"),
        (["at-least", WORKER, "6", "--for", "1h"], "N: 6 is above max_replicas, which is 5"),
        (["pause", "generation-wroker", "--for", "1h"], "did you mean generation-worker?"),
        (["pause", "--for", "1h"], f"WORKER: is missing; write one of {WORKER}, or --all"),
        (["pause", WORKER, "--all", "--for", "1h"], "WORKER and --all: are both given"),
        (["pause", WORKER, "--up", "--down", "--for", "1h"], "not allowed with argument"),
        (["pause", WORKER, "--for", "1h", "--by", " "], "is empty; write your name"),
        (["pause", WORKER, "--for", "1h", "--why", "a\nb"], "write one line"),
        (["pause", WORKER, "--for", "1h", "--why", "x" * 201], "has 201 characters; write at most 200"),
        (["resume", "nobody"], "'nobody' is no worker of the policy"),
    ],
)
async def test_wrong_input_is_refused_in_one_message_and_nothing_is_written(
    scene: Scene, words: list[str], said: str
) -> None:
    ran = await asked(scene, *words)
    assert ran.code == 2
    assert said in ran.err
    assert "Traceback" not in ran.err
    assert not await scene.redis.exists(await scene.journal_key())


async def test_a_redis_that_is_away_is_said_with_exit_code_1(scene: Scene) -> None:
    scene.environment["REDIS_URL"] = "redis://127.0.0.1:1"
    ran = await asked(scene, "pause", WORKER, "--for", "1h")
    assert ran.code == 1
    assert "Redis" in ran.err


async def test_no_settings_of_queue_or_platform_are_needed(scene: Scene) -> None:
    names = ("REDIS_URL", "RAILWAY_ENVIRONMENT_ID", "RAILWAY_WORKER_SERVICE_ID")
    scene.environment = {name: scene.environment[name] for name in names}
    assert (await asked(scene, "pause", WORKER, "--for", "1h")).code == 0
