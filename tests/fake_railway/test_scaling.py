from __future__ import annotations

import asyncio
from typing import Any

import pytest

from controller.fake_railway import ENVIRONMENT_ID, WORKER_SERVICE_ID, Mode, NoProcesses, Switches
from tests.fake_railway.client import (
    COMMIT,
    DEPLOY,
    EUROPE,
    PLACE,
    QUICK,
    UPDATE,
    VISIBLE,
    WEST,
    railway,
    regions,
    seen_until,
    until,
)

pytestmark = pytest.mark.virtual_time


@pytest.mark.costly
async def test_scaling_up_starts_an_instance_and_leaves_the_deployment_and_the_others_alone() -> None:
    async with railway(1, timings=VISIBLE) as (_, client):
        before = await client.latest()
        assert await client.scale(2) is True
        seen = await seen_until(client.statuses, ["RUNNING", "RUNNING"])
        assert seen == [["RUNNING", each] for each in ("INITIALIZING", "CREATED", "RUNNING")]
        after = await client.latest()
        assert after["id"] == before["id"]
        assert after["instances"][0]["id"] == before["instances"][0]["id"]


@pytest.mark.costly
async def test_scaling_down_drains_the_newest_and_forgets_it_after_a_while() -> None:
    async with railway(2, timings=VISIBLE) as (_, client):
        kept = (await client.latest())["instances"][0]["id"]
        await client.scale(1)
        seen = await seen_until(client.statuses, ["RUNNING"])
        assert seen == [["RUNNING", "REMOVING"], ["RUNNING", "REMOVED"], ["RUNNING"]]
        assert (await client.latest())["instances"][0]["id"] == kept


async def test_a_replica_wanted_again_while_another_drains_is_a_new_one() -> None:
    async with railway(2, deploy={"drainingSeconds": 3600}, launcher=NoProcesses(stubborn=True), grace=0.01) as (
        _,
        client,
    ):
        await client.scale(1)
        await client.scale(2)
        await until(client.statuses, ["RUNNING", "REMOVING", "RUNNING"])


@pytest.mark.parametrize(("in_place", "shown"), [(True, 3), (False, 1)])
async def test_meta_follows_a_scale_unless_it_is_switched_off(*, in_place: bool, shown: int) -> None:
    async with railway(1, switches=Switches(meta_in_place=in_place)) as (_, client):
        await client.scale(3)
        await until(client.running, 3)
        assert await client.shown_regions() == regions(west=shown)
        config = await client.data(f'{{ environment(id: "{ENVIRONMENT_ID}") {{ config(decryptVariables: false) }} }}')
        assert config["config"]["services"][WORKER_SERVICE_ID]["deploy"]["multiRegionConfig"] == regions(west=3)


async def test_meta_of_a_very_old_deployment_knows_only_one_region() -> None:
    async with railway(2, switches=Switches(legacy_meta=True)) as (_, client):
        assert (await client.latest())["meta"]["serviceManifest"]["deploy"] == {"region": WEST, "numReplicas": 2}


@pytest.mark.costly
async def test_a_redeploying_railway_replaces_the_deployment() -> None:
    async with railway(1, switches=Switches(mode=Mode.REDEPLOY)) as (fake, client):
        before = (await client.latest())["id"]
        await client.scale(2)
        await until(client.running, 2)
        assert (await client.latest())["id"] != before
        await until(client.every_status, ["SUCCESS", "REMOVED"])
        assert fake.mutations[0]["effect"] == "worker: 1 → 2, a new deployment"


async def test_an_old_railway_waits_for_the_next_deploy() -> None:
    async with railway(1, switches=Switches(mode=Mode.NOOP_UNTIL_DEPLOY)) as (fake, client):
        await client.scale(3)
        await asyncio.sleep(QUICK.initializing + QUICK.created + 0.05)
        assert await client.running() == 1
        assert fake.mutations[0]["effect"] == "worker: 1, stored 3"
        await client.data(DEPLOY, **PLACE)
        await until(client.running, 3)


async def test_a_promise_can_be_broken_by_a_crash() -> None:
    async with railway(1, switches=Switches(mode=Mode.ACCEPTED_NOT_HONOURED)) as (_, client):
        assert await client.scale(5) is True
        await until(client.statuses, ["RUNNING", "CRASHED"])
        assert await client.shown_regions() == regions(west=5)


@pytest.mark.parametrize(
    ("switches", "change", "left"),
    [
        pytest.param(Switches(), regions(europe=2), regions(west=1, europe=2), id="what is left out stays"),
        pytest.param(
            Switches(keeps_omitted_regions=False), regions(europe=2), regions(europe=2), id="what is left out goes"
        ),
        pytest.param(Switches(), regions(west=None, europe=2), regions(europe=2), id="null drops a region"),
    ],
)
async def test_the_map_of_regions(switches: Switches, change: Any, left: Any) -> None:
    async with railway(1, switches=switches) as (_, client):
        await client.data(UPDATE, **PLACE, input={"multiRegionConfig": change})
        assert await client.shown_regions() == left
        await until(client.running, sum(each["numReplicas"] for each in left.values()))


async def test_a_move_to_another_region_may_wait_for_the_next_deploy() -> None:
    async with railway(1, switches=Switches(moves_need_a_deploy=True)) as (fake, client):
        await client.data(UPDATE, **PLACE, input={"multiRegionConfig": regions(west=None, europe=2)})
        assert fake.mutations[0]["effect"] == "worker: 1, stored 2"
        assert await client.shown_regions() == regions(west=1)
        await client.data(UPDATE, **PLACE, input={"multiRegionConfig": regions(europe=3)})
        assert await client.running() == 1
        await client.data(DEPLOY, **PLACE)
        await until(client.running, 3)
        assert await client.shown_regions() == regions(europe=3)
        await client.scale(4, EUROPE)
        await until(client.running, 4)


async def test_the_flat_number_is_null_until_it_is_set_and_one_over_several_regions() -> None:
    async with railway(2) as (_, client):
        assert (await client.state())["numReplicas"] is None
        await client.data(UPDATE, **PLACE, input={"numReplicas": 3})
        assert (await client.state())["numReplicas"] == 3
        await until(client.running, 3)
        await client.scale(4, EUROPE)
        assert (await client.state())["numReplicas"] == 1
        await until(client.running, 7)


async def test_a_flat_number_may_cost_a_deployment() -> None:
    async with railway(1, switches=Switches(flat_redeploys=True)) as (fake, client):
        await client.data(UPDATE, **PLACE, input={"numReplicas": 2})
        assert len(fake.worker.deployments) == 2
        await client.scale(3)
        assert len(fake.worker.deployments) == 2


@pytest.mark.parametrize(
    ("switches", "deploy", "wanted", "left"),
    [
        pytest.param(Switches(plan_limit=2), {}, 5, 2, id="the plan clamps"),
        pytest.param(Switches(plan_limit=2, over_limit="ignore"), {}, 5, 1, id="the plan ignores"),
        pytest.param(Switches(), {}, 60, 50, id="fifty is the cap of every plan"),
        pytest.param(Switches(), {"cronSchedule": "*/5 * * * *"}, 3, 1, id="a schedule allows one"),
    ],
)
async def test_a_limit_is_enforced_without_a_word(switches: Switches, deploy: Any, wanted: int, left: int) -> None:
    async with railway(1, switches=switches, deploy=deploy) as (fake, client):
        assert await client.scale(wanted) is True
        assert await client.shown_regions() == regions(west=left)
        assert fake.worker.configured == left


async def test_a_volume_allows_one_replica() -> None:
    async with railway(1) as (fake, client):
        fake.by_hand(volume=True)
        await client.scale(3)
        assert fake.worker.configured == 1


async def test_a_new_schedule_resets_the_replicas() -> None:
    async with railway(3) as (_, client):
        await client.data(UPDATE, **PLACE, input={"cronSchedule": "0 * * * *"})
        await until(client.running, 1)
        assert (await client.data("""query($s: String!, $e: String!) {
            serviceInstance(serviceId: $s, environmentId: $e) { cronSchedule } }""",
            s=WORKER_SERVICE_ID, e=ENVIRONMENT_ID))["cronSchedule"] == "0 * * * *"  # fmt: skip


# --- environment patches


async def test_a_patch_merges_drops_regions_by_null_and_needs_no_deploy() -> None:
    async with railway(2) as (fake, client):
        patch = {"services": {WORKER_SERVICE_ID: {"deploy": {"multiRegionConfig": regions(europe=1)}}}}
        assert await client.data(COMMIT, environmentId=ENVIRONMENT_ID, patch=patch)
        assert await client.shown_regions() == regions(west=2, europe=1)
        patch["services"][WORKER_SERVICE_ID]["deploy"]["multiRegionConfig"] = regions(west=None)
        await client.data(COMMIT, environmentId=ENVIRONMENT_ID, patch=patch)
        await until(client.running, 1)
        assert len(fake.worker.deployments) == 1
        assert [each["effect"] for each in fake.mutations] == ["worker: 2 → 3", "worker: 3 → 1"]


async def test_a_patch_with_one_bad_count_changes_nothing_at_all() -> None:
    async with railway(1) as (fake, client):
        mailer = fake.add_service("mailer", 1)
        services = {
            WORKER_SERVICE_ID: {"deploy": {"multiRegionConfig": regions(west=3)}},
            mailer.id: {"deploy": {"multiRegionConfig": regions(west=0)}},
        }
        refusal = await client.refusal(COMMIT, environmentId=ENVIRONMENT_ID, patch={"services": services})
        assert refusal[1] == "Error in multiRegionConfig - Invalid input"
        assert (fake.worker.configured, mailer.configured) == (1, 1)


async def test_a_patch_of_anything_else_deploys() -> None:
    async with railway(1) as (fake, client):
        patch = {"services": {WORKER_SERVICE_ID: {"deploy": {"startCommand": "python worker.py"}}}}
        await client.data(COMMIT, environmentId=ENVIRONMENT_ID, patch=patch)
        assert len(fake.worker.deployments) == 2


async def test_a_staged_patch_waits_for_its_commit() -> None:
    stage = """mutation($e: String!, $input: EnvironmentConfig!) {
      environmentStageChanges(environmentId: $e, input: $input, merge: true) { id status } }"""
    staged = f'{{ environmentStagedChanges(environmentId: "{ENVIRONMENT_ID}") {{ status patch }} }}'
    commit = f'mutation {{ environmentPatchCommitStaged(environmentId: "{ENVIRONMENT_ID}", skipDeploys: true) }}'
    patch = {"services": {WORKER_SERVICE_ID: {"deploy": {"multiRegionConfig": regions(west=3)}}}}
    async with railway(1) as (fake, client):
        assert (await client.data(stage, e=ENVIRONMENT_ID, input=patch))["status"] == "STAGED"
        assert fake.worker.configured == 1
        assert (await client.data(staged))["patch"] == patch
        await client.data(commit)
        assert fake.worker.configured == 3
        assert (await client.data(staged))["patch"] == {}
