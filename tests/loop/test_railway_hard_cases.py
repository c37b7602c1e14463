"""Where Railway is hard: what a whole controller makes of it, one tick at a time, and what it never does."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.adapters.railway.reading import WITH_A_VOLUME
from controller.core.model import Replicas, ServiceState
from controller.core.ports import NotSent, Refused
from controller.core.reasons import Reason
from controller.fake_railway import FakeRailway, Mode, NoProcesses, Switches, Timings, TokenKind
from controller.loop.cycle import Outcome
from controller.web.health import status_body
from tests.support.examples import some
from tests.support.patience import until, until_equal
from tests.support.processes import autoscaler
from tests.support.scene import POLICY, Driven, Scene, intent_to

SHORT = {"SCALE_UP_COOLDOWN_MS": "0", "SCALE_DOWN_COOLDOWN_MS": "0"}
WEST, EUROPE = "us-west2", "europe-west4-drams3a"


@pytest.fixture
async def driven(scene: Scene) -> AsyncIterator[Driven]:
    async with scene.controller() as controller:
        yield controller


async def settled(scene: Scene, running: int) -> None:
    """Until the fake runs this many."""
    await until_equal(lambda: scene.fake.worker.running, running)


def regions(west: int, europe: int) -> dict[str, Any]:
    return {"multiRegionConfig": {WEST: {"numReplicas": west}, EUROPE: {"numReplicas": europe}}}


@asynccontextmanager
async def elsewhere(
    scene: Scene, replicas: int = 0, token: TokenKind = "account", policy: Path = POLICY, **options: Any
) -> AsyncIterator[Scene]:
    """The same scene on another Railway."""
    async with FakeRailway.create(replicas, **{"timings": Timings().scaled(0.01), **options}) as fake:
        tokens = {"RAILWAY_TOKEN": "", "RAILWAY_API_TOKEN": ""}
        environment = {**scene.environment, **tokens, **fake.environment_variables(token)}
        yield Scene(fake, scene.queue, scene.redis, environment, policy)


def maps_sent(scene: Scene) -> list[dict[str, Any]]:
    inputs = [one["variables"]["input"] for one in scene.fake.mutations if "input" in one["variables"]]
    return [
        {region: entry and entry["numReplicas"] for region, entry in one["multiRegionConfig"].items()} for one in inputs
    ]


async def observed(driven: Driven) -> Replicas:
    reading = await driven.reading()
    assert isinstance(reading, Replicas), reading
    return reading


async def applied(driven: Driven) -> None:
    """One change, and that it is seen to be there."""
    cycle = await driven.tick()
    assert cycle.outcome is Outcome.APPLIED, cycle.message
    await driven.tick_until(Outcome.HELD, Reason.TIER)


# --- several regions


async def test_a_total_is_spread_over_the_regions_that_are_there_and_every_one_survives(scene: Scene) -> None:
    async with elsewhere(scene, 4, deploy=regions(3, 1)) as there, there.controller(SHORT) as driven:
        await settled(there, 4)
        for depth in (200, 20, 90):
            await there.jobs(depth)
            await applied(driven)
    assert maps_sent(there) == [{WEST: 4, EUROPE: 1}, {WEST: 1, EUROPE: 1}, {WEST: 3, EUROPE: 1}]


async def test_zero_and_back_leaves_the_regions_as_they_were(scene: Scene) -> None:
    async with elsewhere(scene, 4, deploy=regions(3, 1)) as there, there.controller(SHORT) as driven:
        await settled(there, 4)
        await applied(driven)
        await there.jobs(90)
        await applied(driven)
        await settled(there, 4)
    assert there.sent == ["deploymentStop", "deploymentRestart"]


async def test_a_region_added_in_the_dashboard_is_kept_with_its_proportions(scene: Scene) -> None:
    async with scene.controller(SHORT) as driven:
        await scene.jobs(20)
        await applied(driven)
        scene.fake.by_hand(**regions(1, 2))
        await settled(scene, 3)
        await driven.tick()
        await scene.jobs(200)
        await applied(driven)
    assert maps_sent(scene)[-1] == {WEST: 2, EUROPE: 3}


async def test_fewer_than_one_per_region_is_known_to_be_impossible_and_refused_without_a_request(scene: Scene) -> None:
    async with elsewhere(scene, 2, deploy=regions(1, 1)) as there, there.controller(SHORT) as driven:
        seen = await observed(driven)
        assert (seen.configured, seen.smallest and seen.smallest.count) == (2, 2)
        with pytest.raises(Refused, match="runs in 2 regions, and each keeps at least 1 replica"):
            await driven.controller.ports.platform.scale(there.fake.worker.id, intent_to(1, driven.lease.epoch), seen)
    assert there.sent == []


# --- a volume, a schedule


@pytest.mark.parametrize("replicas", [0, 1])
async def test_a_service_with_a_volume_is_refused_a_second_replica_with_the_reason(scene: Scene, replicas: int) -> None:
    async with elsewhere(scene, replicas) as there, there.controller(SHORT) as driven:
        there.fake.by_hand(volume=True)
        await there.jobs(200)
        cycle = await driven.tick()
        assert cycle.replicas is not None
        assert cycle.replicas.largest == WITH_A_VOLUME
        await settled(there, 1)
        seen = await observed(driven)
        with pytest.raises(Refused, match="has a volume, so Railway allows only 1 replica"):
            await driven.controller.ports.platform.scale(there.fake.worker.id, intent_to(2, driven.lease.epoch), seen)
    assert 5 not in there.asked_for


async def test_a_service_with_a_volume_goes_from_zero_to_one_and_back(scene: Scene) -> None:
    async with scene.controller({**SHORT, "MAX_WORKERS": "1"}) as driven:
        scene.fake.by_hand(volume=True)
        await scene.jobs(200)
        await applied(driven)
        await scene.jobs(0)
        await applied(driven)
    assert scene.sent == ["deploymentRestart", "deploymentStop"]


async def test_a_mount_that_only_the_image_declares_is_no_volume_and_is_asked_about_once(scene: Scene) -> None:
    scene.fake.by_hand(image_declares_volume=True)
    async with scene.controller(SHORT) as driven:
        for _ in range(5):
            await driven.tick()
        assert scene.fake.record.by_operation["EnvironmentConfig"] == 1
        await scene.jobs(200)
        await applied(driven)
    await settled(scene, 5)


async def test_a_cron_service_is_refused_and_nothing_is_sent(scene: Scene, driven: Driven) -> None:
    scene.fake.by_hand(cronSchedule="0 * * * *")
    await scene.jobs(200)
    cycle = await driven.tick()
    assert (cycle.outcome, cycle.reason) == (Outcome.FAILED, Reason.PLATFORM_UNAVAILABLE)
    assert "service worker is a cron service" in cycle.message
    assert scene.sent == []


# --- a restart that is refused, and one whose answer is lost


async def test_a_restart_that_is_refused_becomes_one_new_deployment_and_no_second(scene: Scene) -> None:
    scene.fake.worker.switches.not_restartable = True
    async with scene.controller(SHORT) as driven:
        await scene.jobs(20)
        await applied(driven)
        for _ in range(5):
            await driven.tick()
    assert scene.sent == ["serviceInstanceUpdate", "deploymentRestart", "serviceInstanceDeployV2"]


async def test_a_new_deployment_that_fails_is_not_followed_by_another_in_a_loop(scene: Scene, driven: Driven) -> None:
    scene.fake.worker.switches.not_restartable = True
    scene.fake.worker.switches.deploys_fail = True
    await scene.jobs(20)
    await driven.tick()
    await until_equal(lambda: scene.fake.worker.deployments[-1].status, "FAILED")
    for _ in range(5):
        assert (await driven.tick()).outcome is not Outcome.APPLIED
    assert scene.sent.count("serviceInstanceDeployV2") == 1


@pytest.mark.parametrize("fault", ["lost", "502", "null"])
async def test_a_restart_with_an_unknown_outcome_is_followed_by_nothing(
    scene: Scene, driven: Driven, fault: str
) -> None:
    scene.fake.inject(fault, on="deploymentRestart")
    await scene.jobs(5)
    cycle = await driven.tick()
    assert (cycle.outcome, cycle.reason) == (Outcome.UNKNOWN, Reason.OUTCOME_UNKNOWN)
    assert scene.sent == ["deploymentRestart"]


@pytest.mark.parametrize(("fault", "reason"), [("not_authorized", Reason.SCALE_FAILED), ("429", Reason.SCALE_FAILED)])
async def test_a_restart_that_no_deployment_would_fare_better_than_is_followed_by_none(
    scene: Scene, driven: Driven, fault: str, reason: Reason
) -> None:
    scene.fake.inject(fault, on="deploymentRestart", retry_after=60)
    await scene.jobs(5)
    cycle = await driven.tick()
    assert (cycle.outcome, cycle.reason) == (Outcome.FAILED, reason)
    assert scene.sent == ["deploymentRestart"]


async def test_a_new_deployment_with_an_unknown_outcome_is_not_asked_for_again(scene: Scene) -> None:
    scene.fake.worker.switches.not_restartable = True
    async with scene.controller(SHORT) as driven:
        scene.fake.inject("lost", on="serviceInstanceDeployV2")
        await scene.jobs(20)
        assert (await driven.tick()).reason is Reason.OUTCOME_UNKNOWN
        await driven.tick_until(Outcome.HELD, Reason.TIER)
    await settled(scene, 2)
    assert scene.sent.count("serviceInstanceDeployV2") == 1


# --- a deployment that is another one by now


async def test_a_stop_of_a_deployment_that_was_replaced_meanwhile_certainly_did_nothing(scene: Scene) -> None:
    async with elsewhere(scene, 1) as there, there.controller(SHORT) as driven:
        seen = await observed(driven)
        there.fake.by_hand(never_deployed=True)
        there.fake.by_hand(deploy=True)
        with pytest.raises(NotSent, match="Deployment not found"):
            await driven.controller.ports.platform.scale(there.fake.worker.id, intent_to(0, driven.lease.epoch), seen)


async def test_a_stop_of_a_deployment_that_has_begun_meanwhile_certainly_did_nothing(scene: Scene) -> None:
    async with elsewhere(scene, 1) as there, there.controller(SHORT) as driven:
        there.fake.by_hand(deploy=True)
        seen = await observed(driven)
        assert seen.state is ServiceState.STARTING
        with pytest.raises(Refused, match="not stoppable"):
            await driven.controller.ports.platform.scale(there.fake.worker.id, intent_to(0, driven.lease.epoch), seen)


async def test_a_restart_of_a_deployment_that_is_gone_becomes_a_new_one(scene: Scene, driven: Driven) -> None:
    seen = await observed(driven)
    scene.fake.by_hand(never_deployed=True)
    await driven.controller.ports.platform.scale(scene.fake.worker.id, intent_to(2, driven.lease.epoch), seen)
    await settled(scene, 2)
    assert scene.sent == ["serviceInstanceUpdate", "deploymentRestart", "serviceInstanceDeployV2"]


# --- crashes, limits, the two kinds of token


async def test_a_deployment_that_crashed_is_said_to_and_no_number_of_replicas_is_asked_for(scene: Scene) -> None:
    async with (
        elsewhere(scene, 2, deploy={"restartPolicyType": "NEVER"}) as there,
        there.controller(SHORT) as driven,
    ):
        await there.jobs(20)
        there.fake.by_hand(crash=2)
        await settled(there, 0)
        for _ in range(5):
            cycle = await driven.tick()
        assert cycle.replicas is not None
        assert (cycle.replicas.state, cycle.replicas.configured) == (ServiceState.CRASHED, 2)
        assert cycle.reason is Reason.WORKERS_CRASH
        assert "the workers crash and none of 2 runs" in cycle.message
    assert there.sent == []


async def test_a_deployment_that_crashed_can_be_stopped_and_started_again(scene: Scene) -> None:
    async with (
        elsewhere(scene, 2, deploy={"restartPolicyType": "NEVER"}) as there,
        there.controller(SHORT) as driven,
    ):
        there.fake.by_hand(crash=2)
        await settled(there, 0)
        await applied(driven)
        await there.jobs(20)
        await applied(driven)
        await settled(there, 2)
    assert there.sent == ["deploymentStop", "deploymentRestart"]


@pytest.mark.parametrize("over_limit", ["clamp", "ignore"])
async def test_a_plan_that_allows_less_is_reported_and_the_change_not_repeated_within_the_landing_bound(
    scene: Scene, over_limit: Any
) -> None:
    switches = Switches(plan_limit=2, over_limit=over_limit)
    async with elsewhere(scene, 1, switches=switches) as there, there.controller(SHORT) as driven:
        await there.jobs(200)
        await driven.tick()
        for _ in range(10):
            assert (await driven.tick()).reason is Reason.INTENT_OPEN
        assert there.asked_for == [5]
        await there.let_time_pass(61)
        await driven.tick()
        (event,) = there.events("not_honoured")
    assert "the plan's limits on Railway" in event["message"]


@pytest.mark.parametrize("token", ["account", "workspace", "project"])
async def test_every_kind_of_token_carries_a_whole_day(scene: Scene, token: TokenKind) -> None:
    async with elsewhere(scene, token=token) as there, there.controller(SHORT) as driven:
        for depth in (20, 200, 5, 0, 1):
            await there.jobs(depth)
            await applied(driven)
    assert there.asked_for == [2, 5, 1]


# --- requests that run out


@pytest.mark.costly
async def test_requests_that_run_out_stop_the_reading_in_time_and_are_shown(scene: Scene) -> None:
    """Thirty an hour: twenty-four readings, and then it holds, says until when, and has never been told off."""
    async with elsewhere(scene, quota=30, enforce_quota=True) as there, there.controller() as driven:
        platform = driven.controller.ports.platform
        for _ in range(12):
            assert (requests := platform.requests()) is not None
            assert requests.pace_s == 0
            await driven.tick()
        for _ in range(12):
            await driven.tick()
            assert (requests := platform.requests()) is not None
            assert requests.pace_s > 180
        await there.jobs(200)
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.FAILED, Reason.PLATFORM_UNAVAILABLE)
        assert "24 of the 30 requests" in cycle.message
        shown = status_body(driven.controller.shown)["railway_requests"]
    assert (shown["used"], shown["quota"], shown["window_s"]) == (24, 30, 3600)
    assert shown["pace_s"] == 300
    assert shown["stretched"].startswith("the next cycle comes 5 min after the last, not ")
    assert set(there.fake.record.by_status) == {200}


@pytest.mark.costly
async def test_a_change_that_was_decided_with_the_last_reading_still_goes_out(scene: Scene) -> None:
    async with elsewhere(scene, quota=30, enforce_quota=True) as there, there.controller() as driven:
        for _ in range(23):
            await driven.tick()
        await there.jobs(20)
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.APPLIED, Reason.TIER)
        assert cycle.message.endswith("(accepted, and not visible yet)")
        await settled(there, 2)
    assert there.sent == ["serviceInstanceUpdate", "deploymentRestart"]
    assert set(there.fake.record.by_status) == {200}


async def test_every_change_follows_a_reading_of_its_own_cycle(scene: Scene) -> None:
    async with scene.controller(SHORT) as driven:
        for depth in (20, 200, 5):
            await scene.jobs(depth)
            await applied(driven)
    asked = [request["operationName"] for request in scene.fake.record.latest]
    changes = [n for n, name in enumerate(asked) if name == "ServiceInstanceUpdate"]
    assert [asked[n - 2 : n] for n in changes] == [["EnvironmentState", "EnvironmentConfig"]] * 3


# --- deployments that come by themselves


async def test_a_deploy_that_resets_the_count_is_noticed_and_corrected_after_the_cooldown(scene: Scene) -> None:
    """Config as code says one replica, and each push deploys it."""
    scene.fake.by_hand(config_file={"numReplicas": 1})
    async with scene.controller() as driven:
        await scene.jobs(50)
        await applied(driven)
        await settled(scene, 3)
        scene.fake.by_hand(deploy=True)
        await settled(scene, 1)
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.HELD, Reason.SCALE_UP_COOLDOWN)
        (event,) = scene.events("external_change")
        assert (event["before"], event["after"]) == (3, 1)
        await scene.let_time_pass(31)
        assert (await driven.tick()).outcome is Outcome.APPLIED
    assert scene.asked_for == [3, 3]


@pytest.mark.parametrize(("depth", "replicas"), [(100, 4), (5, 1)])
async def test_a_deploy_in_progress_hinders_no_scaling_up_or_down(scene: Scene, depth: int, replicas: int) -> None:
    """The count reaches the new deployment, whichever of the two it was asked of."""
    async with scene.controller(SHORT) as driven:
        await scene.jobs(20)
        await applied(driven)
        await settled(scene, 2)
        scene.fake.by_hand(deploy=True)
        await scene.jobs(depth)
        cycle = await driven.tick()
        assert cycle.replicas is not None
        assert cycle.replicas.state is ServiceState.STARTING
        assert cycle.outcome is Outcome.APPLIED
        await settled(scene, replicas)
        await driven.tick_until(Outcome.HELD, Reason.TIER)
    assert scene.events("external_change") == []


async def test_a_deployment_that_changed_under_us_with_the_same_count_is_no_change_of_the_count(scene: Scene) -> None:
    async with scene.controller(SHORT) as driven:
        await scene.jobs(20)
        await applied(driven)
        await settled(scene, 2)
        before = (await observed(driven)).deployment
        scene.fake.by_hand(deploy=True)
        while (await observed(driven)).state is not ServiceState.RUNNING:
            assert (await driven.tick()).outcome is Outcome.HELD
        await scene.jobs(0)
        await driven.tick_until(Outcome.APPLIED, Reason.TIER)
        after = await observed(driven)
    assert after.deployment != before
    assert scene.fake.mutations[-1]["variables"]["id"] == after.deployment
    assert scene.events("external_change") == []


# --- a target_wait, and workers that are busy


OVERLAPPING = replace(Timings().scaled(0.01), placing=0.2, settling=0.2, handover=0.5)
"""Old and new deployments are shown beside each other for long enough to be seen in every state."""


def aiming(directory: Path, *, job_s: float, most: int = 8) -> Path:
    """A policy with a target_wait that takes away at once what is not needed."""
    policy = directory / "policy.yaml"
    policy.write_text(
        f"""
        workers:
          generation-worker:
            service: ${{RAILWAY_WORKER_SERVICE_ID}}
            queue: {{table: generation_job}}
            target_wait: 60s
            service_time: {job_s:g}s
            max_replicas: {most}
            scale_down: {{idle_off: 0s}}
        """
    )
    return policy


async def deploys(there: Scene, driven: Driven) -> None:
    there.fake.by_hand(deploy=True)


async def deploys_then_scales(there: Scene, driven: Driven) -> None:
    there.fake.by_hand(deploy=True)
    await there.jobs(100, processing=5)
    assert (await driven.tick()).outcome is Outcome.APPLIED
    await there.jobs(0, processing=5)


async def scales_up_then_deploys(there: Scene, driven: Driven) -> None:
    await there.jobs(100, processing=5)
    assert (await driven.tick()).outcome is Outcome.APPLIED
    there.fake.by_hand(deploy=True)
    await there.jobs(0, processing=5)


async def scales_down_then_deploys(there: Scene, driven: Driven) -> None:
    await scales_up_then_deploys(there, driven)
    await asyncio.sleep(0.05)
    await driven.tick()
    there.fake.by_hand(deploy=True)


async def deploys_in_vain(there: Scene, driven: Driven) -> None:
    there.fake.worker.switches.deploys_fail = True
    there.fake.by_hand(deploy=True)


async def deploys_twice(there: Scene, driven: Driven) -> None:
    there.fake.by_hand(deploy=True)
    await driven.tick()
    there.fake.by_hand(deploy=True)


async def scales_by_a_new_deployment(there: Scene, driven: Driven) -> None:
    there.fake.worker.switches.mode = Mode.REDEPLOY
    await deploys_then_scales(there, driven)


async def over(there: Scene) -> bool:
    """One deployment is left, in which everything that is to run does."""
    current = there.fake.worker.current
    left = [one for one in there.fake.worker.deployments if one.status not in {"REMOVED", "FAILED"}]
    return current is not None and current.status == "SUCCESS" and left == [current]


ROLLOUTS = (
    *(deploys, deploys_then_scales, scales_up_then_deploys, scales_down_then_deploys, deploys_in_vain),
    *(deploys_twice, scales_by_a_new_deployment),
)


@pytest.mark.costly
@pytest.mark.parametrize(
    ("rollout", "job_s", "draining"),
    [
        pytest.param(rollout, job_s, draining, id=f"{rollout.__name__}, jobs of {job_s} s, {draining} s of draining")
        for number, rollout in enumerate(ROLLOUTS)
        for job_s, draining in some([(job_s, draining) for draining in (0, 30, 3600) for job_s in (20, 600)], 6, number)
    ],
)
async def test_a_rollout_under_busy_workers_is_never_taken_for_workers_that_leave(
    scene: Scene, tmp_path: Path, rollout: Any, job_s: float, draining: int
) -> None:
    policy = aiming(tmp_path, job_s=job_s)
    options: dict[str, Any] = {"timings": OVERLAPPING, "deploy": {"drainingSeconds": draining}, "grace": 0.01}
    async with elsewhere(scene, 5, policy=policy, **options) as there, there.controller() as driven:
        await there.jobs(0, processing=5)
        assert (await driven.tick()).outcome is Outcome.HELD
        await rollout(there, driven)

        async def looked_on() -> bool:
            if await over(there):
                return True
            cycle = await driven.tick()
            assert cycle.decision is not None, cycle.message
            assert cycle.decision.recommended >= 5, cycle.message
            return False

        await until(looked_on, "the rollout to be over", pause=0.04)
        assert (await driven.tick()).outcome is not Outcome.FAILED
    assert "deploymentStop" not in there.sent
    assert all(count >= 5 for count in there.asked_for)


@pytest.mark.parametrize(("job_s", "wanted"), [(20, 2), (600, 5)])
async def test_workers_that_leave_count_only_where_they_have_the_time_to_end_their_jobs(
    scene: Scene, tmp_path: Path, job_s: float, wanted: int
) -> None:
    policy = aiming(tmp_path, job_s=job_s)
    launcher = NoProcesses(stubborn=True)  # they end what they do
    # A second of draining takes an hour, so that nothing here hangs on how long it lasts.
    options: dict[str, Any] = {
        "timings": replace(Timings().scaled(0.01), second=3600.0),
        "deploy": {"drainingSeconds": 30},
        "launcher": launcher,
        "grace": 0.01,
    }
    async with elsewhere(scene, 5, policy=policy, **options) as there, there.controller() as driven:
        await there.jobs(0, processing=2)
        cycle = await driven.tick()
        assert (cycle.outcome, there.asked_for) == (Outcome.APPLIED, [2]), cycle.message
        await there.jobs(0, processing=5)
        cycle = await driven.tick()
        assert cycle.replicas is not None
        assert (cycle.replicas.configured, cycle.replicas.leaving) == (2, 3)
        assert cycle.decision is not None
        assert cycle.decision.recommended == wanted, cycle.message


# --- the regions change under us


@pytest.mark.costly
@pytest.mark.parametrize(
    ("replicas", "fails", "keeps_omitted"),
    [
        pytest.param(
            *(replicas, fails, merges),
            id=f"{replicas}, {'failed' if fails else 'not deployed'}, {'merged' if merges else 'replaced'}",
        )
        for replicas, fails, merges in some(list(itertools.product((0, 1, 2), (True, False), (True, False))), every=5)
    ],
)
async def test_after_a_move_never_more_run_than_the_maximum(
    scene: Scene, replicas: int, *, fails: bool, keeps_omitted: bool
) -> None:
    switches = Switches(keeps_omitted_regions=keeps_omitted)
    async with (
        elsewhere(scene, replicas, switches=switches) as there,
        there.controller({**SHORT, "MAX_WORKERS": "2"}) as driven,
    ):
        await settled(there, replicas)
        await driven.tick()
        there.fake.worker.deploy["multiRegionConfig"] = {EUROPE: {"numReplicas": max(1, replicas)}}
        if fails and replicas:
            there.fake.worker.switches.deploys_fail = True
            there.fake.by_hand(deploy=True)
            await until_equal(lambda: there.fake.worker.deployments[-1].status, "FAILED")

        async def held() -> bool:
            cycle = await driven.tick()
            assert there.fake.worker.configured <= 2
            return cycle.outcome is Outcome.HELD and cycle.reason is not Reason.INTENT_OPEN

        for depth in (200, 1, 200, 0, 200):
            await there.jobs(depth)
            await until(held, f"{depth} jobs to change nothing more", pause=0.01)
            assert there.fake.worker.configured == min(2, depth)
        await settled(there, 2)
    assert set(there.fake.worker.deploy["multiRegionConfig"]) == {EUROPE}
    assert not there.events("not_honoured")


async def test_a_maximum_below_the_number_of_regions_goes_to_one_in_each(scene: Scene) -> None:
    three = {**regions(3, 3)["multiRegionConfig"], "asia-southeast1-eqsg3a": {"numReplicas": 3}}
    async with (
        elsewhere(scene, 9, deploy={"multiRegionConfig": three}) as there,
        there.controller({**SHORT, "MAX_WORKERS": "2"}) as driven,
    ):
        await settled(there, 9)
        await there.jobs(200)
        cycle = await driven.tick()
        assert (cycle.outcome, cycle.reason) == (Outcome.APPLIED, Reason.REGIONS)
        assert "raise max_replicas to 3, or remove a region from the service: 9 → 3" in cycle.message
        await settled(there, 3)
        cycle = await driven.tick_until(Outcome.HELD, Reason.REGIONS)
        assert cycle.message.startswith("hold at 3")
        await there.jobs(0)
        await driven.tick_until(Outcome.APPLIED, Reason.TIER)
        await settled(there, 0)
        await there.jobs(5)
        await driven.tick_until(Outcome.APPLIED, Reason.REGIONS)
        await settled(there, 3)
    assert there.sent == ["serviceInstanceUpdate", "deploymentStop", "deploymentRestart"]


async def test_what_keeps_the_stored_configuration_from_being_read_is_said_and_nothing_is_sent(
    scene: Scene, driven: Driven
) -> None:
    scene.fake.inject("502", on="EnvironmentConfig", times=3)
    await scene.jobs(20)
    cycle = await driven.tick()
    assert (cycle.outcome, cycle.reason) == (Outcome.FAILED, Reason.SCALE_FAILED)
    assert "could not be read right before the change" in cycle.message
    assert scene.sent == []
    assert (await driven.tick()).outcome is Outcome.APPLIED, "no cooldown is begun by what was not sent"


@pytest.mark.costly
async def test_once_decides_anew_where_its_reading_was_out_of_date_as_the_next_cycle_of_run_would(scene: Scene) -> None:
    """A new process knows nothing of regions that are configured and not deployed; each `once` is a new process."""
    three = {**regions(1, 1)["multiRegionConfig"], "asia-southeast1-eqsg3a": {"numReplicas": 1}}
    async with elsewhere(scene, 1, switches=Switches(moves_need_a_deploy=True)) as there:
        await settled(there, 1)
        there.fake.worker.deploy["multiRegionConfig"] = three
        await there.jobs(15)
        async with there.controller({**SHORT, "MAX_WORKERS": "2"}) as driven:
            first = await driven.tick()
            assert (first.outcome, driven.controller.runner.is_outdated) == (Outcome.FAILED, True)
        ran = await autoscaler("once", "--json", environment={**there.environment, **SHORT, "MAX_WORKERS": "2"})
    last = ran.objects[-1]
    assert (ran.code, last["outcome"], last["reason"]) == (0, "applied", "Regions"), ran.out
