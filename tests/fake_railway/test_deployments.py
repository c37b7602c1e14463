from __future__ import annotations

import asyncio

import pytest

from controller.fake_railway import NoProcesses, Switches
from tests.fake_railway.client import (
    DEPLOY,
    EUROPE,
    PLACE,
    QUICK,
    RESTART,
    STOP,
    UPDATE,
    VISIBLE,
    railway,
    regions,
    seen_until,
    until,
)

pytestmark = pytest.mark.virtual_time

# --- a deployment that hangs


@pytest.mark.parametrize("status", ["BUILDING", "NEEDS_APPROVAL"])
async def test_a_deployment_can_be_made_to_hang_until_it_is_let_go(status: str) -> None:
    async with railway(1, timings=QUICK) as (fake, client):
        old = fake.worker.deployments[0]
        fake.by_hand(hangs_in=status, deploy=True)
        await until(client.summary, (status, True, []))
        latest = await client.latest()
        assert latest["id"] != old.id
        assert old.status == "SUCCESS"
        fake.by_hand(hangs_in="")
        await until(client.summary, ("SUCCESS", False, ["RUNNING"]))


# --- stop and restart


@pytest.mark.costly
async def test_a_stop_is_reported_late_and_says_success_all_along() -> None:
    async with railway(1, timings=VISIBLE) as (_, client):
        before = await client.latest()
        asked = asyncio.get_running_loop().time()
        assert await client.data(STOP, id=before["id"]) is True
        seen = await seen_until(client.summary, ("SUCCESS", True, ["EXITED"]))
        assert asyncio.get_running_loop().time() - asked > VISIBLE.stopping - 0.001
        assert seen == [("SUCCESS", False, ["RUNNING"]), ("SUCCESS", True, ["EXITED"])]
        after = await client.state()
        assert after["activeDeployments"][0]["id"] == before["id"]
        assert after["latestDeployment"]["instances"][0]["id"] == before["instances"][0]["id"]
        assert after["latestDeployment"]["canRedeploy"] is True


@pytest.mark.costly
async def test_a_restart_brings_the_same_instance_back() -> None:
    async with railway(0, timings=VISIBLE) as (_, client):
        before = await client.latest()
        assert before["deploymentStopped"] is True
        assert await client.data(RESTART, id=before["id"]) is True
        seen = await seen_until(client.summary, ("SUCCESS", False, ["RUNNING"]))
        assert seen[-3:] == [
            ("SUCCESS", True, ["INITIALIZING"]),
            ("SUCCESS", True, ["CREATED"]),
            ("SUCCESS", False, ["RUNNING"]),
        ]
        assert (await client.latest())["instances"][0]["id"] == before["instances"][0]["id"]


async def test_a_stopped_service_stores_a_count_and_a_restart_starts_as_many() -> None:
    async with railway(0) as (fake, client):
        await client.scale(3)
        await asyncio.sleep(QUICK.initializing + QUICK.created + 0.05)
        assert await client.statuses() == ["EXITED"]
        assert fake.worker.configured == 0
        await client.data(RESTART, id=(await client.latest())["id"])
        await until(client.statuses, ["RUNNING"] * 3)
        assert fake.worker.configured == 3


async def test_a_restart_goes_by_meta_and_not_by_what_is_stored() -> None:
    async with railway(0, switches=Switches(meta_in_place=False)) as (_, client):
        await client.scale(3)
        await client.data(RESTART, id=(await client.latest())["id"])
        await until(client.running, 1)
        await asyncio.sleep(QUICK.restarting + 0.05)
        assert await client.running() == 1


@pytest.mark.costly
async def test_a_restart_takes_down_what_meta_no_longer_wants() -> None:
    async with railway(3) as (_, client):
        deployment = (await client.latest())["id"]
        await client.data(STOP, id=deployment)
        await until(client.statuses, ["EXITED"] * 3)
        await client.scale(1)
        await client.data(RESTART, id=deployment)
        await until(client.running, 1)
        await until(client.statuses, ["RUNNING"])


async def test_stopping_twice_is_as_good_as_once() -> None:
    async with railway(1) as (_, client):
        deployment = (await client.latest())["id"]
        assert await client.data(STOP, id=deployment) is True
        assert await client.data(STOP, id=deployment) is True
        await until(client.statuses, ["EXITED"])
        assert await client.data(STOP, id=deployment) is True


@pytest.mark.costly
async def test_a_restart_right_behind_a_stop_wins() -> None:
    async with railway(2, timings=VISIBLE) as (fake, client):
        deployment = (await client.latest())["id"]
        await client.data(STOP, id=deployment)
        await client.data(RESTART, id=deployment)
        await until(client.statuses, ["INITIALIZING", "INITIALIZING"])
        await until(client.statuses, ["RUNNING", "RUNNING"])
        assert fake.worker.configured == 2


@pytest.mark.costly
async def test_a_restart_of_what_runs_restarts_every_process() -> None:
    launcher = NoProcesses()
    async with railway(2, launcher=launcher, timings=VISIBLE) as (_, client):
        first = dict(launcher.started)
        await client.data(RESTART, id=(await client.latest())["id"])
        await until(client.statuses, ["RESTARTING", "RESTARTING"])
        await until(client.statuses, ["RUNNING", "RUNNING"])
        assert launcher.started.keys() == first.keys()
        assert all(launcher.started[each] is not first[each] for each in first)


async def test_a_stop_may_never_be_reported_though_the_process_is_gone() -> None:
    async with railway(1, switches=Switches(never_report_stop=True)) as (fake, client):
        assert await client.data(STOP, id=(await client.latest())["id"]) is True
        await asyncio.sleep(QUICK.stopping + 0.05)
        assert await client.summary() == ("SUCCESS", False, ["RUNNING"])
        assert fake.worker.running == 0


@pytest.mark.parametrize(
    ("document", "message"),
    [(STOP, "Deployment is not stoppable"), (RESTART, "Deployment is not restartable")],
    ids=["stop", "restart"],
)
async def test_a_sleeping_service_cannot_be_stopped_or_restarted(document: str, message: str) -> None:
    async with railway(1) as (fake, client):
        fake.by_hand(sleeping=True)
        assert await client.summary() == ("SLEEPING", True, ["RUNNING"])
        assert await client.refusal(document, id=(await client.latest())["id"]) == (200, message, "BAD_USER_INPUT")
        fake.by_hand(sleeping=False)
        await until(client.summary, ("SUCCESS", False, ["RUNNING"]))


async def test_a_deployment_may_be_past_restarting() -> None:
    async with railway(0, switches=Switches(not_restartable=True)) as (_, client):
        refusal = await client.refusal(RESTART, id=(await client.latest())["id"])
        assert refusal == (200, "Deployment is not restartable", "BAD_USER_INPUT")
        await client.data(DEPLOY, **PLACE)
        await until(client.running, 1)


# --- deployments


@pytest.mark.costly
async def test_a_deploy_rolls_over_as_the_real_one_does() -> None:
    async with railway(1, timings=VISIBLE) as (fake, client):
        old = (await client.latest())["id"]
        new = await client.data(DEPLOY, **PLACE)
        assert new != old

        async def both() -> list[tuple[str, bool, list[str]]]:
            found = await client.data(
                """{ deployments(input: {}) { edges { node { status deploymentStopped instances { status } } } } }"""
            )
            nodes = [edge["node"] for edge in found["edges"]]
            return [(n["status"], n["deploymentStopped"], [i["status"] for i in n["instances"]]) for n in nodes]

        up, gone = ("SUCCESS", False, ["RUNNING"]), ("REMOVED", True, ["REMOVED"])
        assert await seen_until(both, [up, gone]) == [
            [("INITIALIZING", True, []), up],
            [("DEPLOYING", True, []), up],
            [("DEPLOYING", True, ["INITIALIZING"]), up],
            [("DEPLOYING", True, ["CREATED"]), up],
            [("DEPLOYING", True, ["RUNNING"]), up],
            [up, up],
            [up, ("REMOVING", True, ["RUNNING"])],
            [up, gone],
        ]
        assert [each["id"] for each in (await client.state())["activeDeployments"]] == [new]
        assert fake.mutations[0]["effect"] == "worker: 1, a new deployment"


async def test_every_deploy_is_another_one_and_undoes_a_stop() -> None:
    async with railway(0) as (fake, client):
        assert await client.data(DEPLOY, **PLACE) != await client.data(DEPLOY, **PLACE)
        await until(client.every_status, ["SUCCESS", "REMOVED", "REMOVED"])
        assert await client.running() == 1
        assert fake.worker.running == 1


async def test_what_is_starting_can_be_cancelled_but_neither_stopped_nor_restarted() -> None:
    async with railway(1) as (_, client):
        new = await client.data(DEPLOY, **PLACE)
        assert (await client.refusal(STOP, id=new))[1] == "Deployment is not stoppable"
        assert (await client.refusal(RESTART, id=new))[1] == "Deployment is not restartable"
        assert await client.data("mutation($id: String!) { deploymentCancel(id: $id) }", id=new) is True
        assert await client.every_status() == ["REMOVED", "SUCCESS"]
        assert (await client.latest())["id"] != new
        await asyncio.sleep(QUICK.queued + QUICK.placing + QUICK.settling + 0.1)
        assert await client.running() == 1


async def test_a_failed_deploy_leaves_its_predecessor_in_charge() -> None:
    async with railway(1, switches=Switches(deploys_fail=True)) as (fake, client):
        await client.data(DEPLOY, **PLACE)
        await until(client.every_status, ["FAILED", "SUCCESS"])
        assert (await client.latest())["status"] == "FAILED"
        assert fake.worker.configured == 1
        assert [each["status"] for each in (await client.state())["activeDeployments"]] == ["SUCCESS"]


async def test_nothing_is_left_of_a_removed_deployment_until_a_redeploy() -> None:
    async with railway(2) as (fake, client):
        await client.data("mutation($id: String!) { deploymentRemove(id: $id) }", id=(await client.latest())["id"])
        await until(client.latest, None)
        assert (await client.state())["activeDeployments"] == []
        assert (fake.worker.configured, fake.worker.running) == (0, 0)
        assert await client.data(
            """mutation($serviceId: String!, $environmentId: String!) {
                 serviceInstanceRedeploy(serviceId: $serviceId, environmentId: $environmentId) }""",
            **PLACE,
        )
        await until(client.running, 2)


async def test_a_configuration_file_wins_in_every_new_deployment() -> None:
    async with railway(3) as (fake, client):
        fake.by_hand(config_file={"numReplicas": 1})
        await client.scale(4)
        await until(client.running, 4)
        await client.data(DEPLOY, **PLACE)
        assert await client.shown_regions() == regions(west=1)
        assert (await client.latest())["meta"]["fileServiceManifest"] == {"deploy": {"numReplicas": 1}}
        assert fake.worker.deploy["multiRegionConfig"] == regions(west=4)


async def test_a_deploy_may_forget_a_count_that_is_not_in_the_map() -> None:
    deploy = {"multiRegionConfig": None, "region": EUROPE, "numReplicas": 4}
    async with railway(4, deploy=deploy, switches=Switches(deploy_resets_replicas=True)) as (_, client):
        assert await client.running() == 4
        await client.data(DEPLOY, **PLACE)
        assert await client.shown_regions() == regions(west=1)


async def test_draining_and_overlap_take_effect_with_the_next_deployment() -> None:
    async with railway(1) as (_, client):
        await client.data(UPDATE, **PLACE, input={"drainingSeconds": 30, "overlapSeconds": 1})
        assert "drainingSeconds" not in (await client.latest())["meta"]["serviceManifest"]["deploy"]
        await client.data(DEPLOY, **PLACE)
        assert (await client.latest())["meta"]["serviceManifest"]["deploy"]["drainingSeconds"] == 30


@pytest.mark.costly
async def test_the_old_deployment_serves_in_the_meantime() -> None:
    async with railway(1, timings=VISIBLE) as (fake, client):
        await client.data(DEPLOY, **PLACE)
        active = (await client.state())["activeDeployments"]
        assert [each["status"] for each in active] == ["SUCCESS"]
        await until(client.running, 1)
        assert fake.worker.running == 2
