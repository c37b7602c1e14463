"""The client against the fake over real HTTP: what it sends, how long it waits, what its errors say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

import pytest
from aiohttp import web
from graphql import OperationDefinitionNode, build_schema, parse, validate

from controller.adapters.railway import operations
from controller.adapters.railway.client import RailwayClient
from controller.adapters.railway.platform import RailwayPlatform
from controller.adapters.railway.reading import Placement, placement
from controller.adapters.railway.settings import load_railway
from controller.core.model import Replicas, ServiceState
from controller.core.ports import NotSent, Refused, Unavailable
from controller.fake_railway import FakeRailway, Switches, Timings, TokenKind
from tests.support.examples import some
from tests.support.patience import until
from tests.support.scene import intent_to
from tests.virtual.idle import LoopClock

pytestmark = pytest.mark.virtual_time

TIMINGS = Timings().scaled(0.01)


@asynccontextmanager
async def platform(fake: FakeRailway, token: TokenKind = "account", **changes: str) -> AsyncIterator[RailwayPlatform]:
    elsewhere = {"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h"}
    settings = load_railway({**fake.environment_variables(token), **elsewhere, **changes})
    client = RailwayClient(settings.api_url, settings.token, LoopClock())
    yield RailwayPlatform(client, project=settings.project_id, environment=settings.environment_id, shown_within_s=0.05)
    await client.close()


async def read(platform: RailwayPlatform, fake: FakeRailway) -> Replicas:
    service = fake.worker.id
    reading = (await platform.observe([service]))[service]
    assert isinstance(reading, Replicas), reading
    return reading


async def read_until(platform: RailwayPlatform, fake: FakeRailway, state: ServiceState, configured: int) -> Replicas:
    async def settled() -> Replicas | None:
        seen = await read(platform, fake)
        return seen if (seen.state, seen.configured, seen.running) == (state, configured, configured) else None

    return await until(settled, f"{configured} that run, {state}")


@pytest.mark.parametrize("name", operations.ALL)
def test_every_operation_validates_and_is_sent_under_its_own_name(name: str) -> None:
    schema = build_schema((files("controller.fake_railway") / "schema.graphql").read_text())
    document = parse(operations.ALL[name])
    assert validate(schema, document) == []
    (definition,) = document.definitions
    assert isinstance(definition, OperationDefinitionNode)
    assert definition.name is not None
    assert definition.name.value == name


@pytest.mark.parametrize("token", ["account", "workspace", "project"])
async def test_every_kind_of_token_can_read_and_scale(token: TokenKind) -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, platform(fake, token) as railway:
        await railway.scale(fake.worker.id, intent_to(3), await read(railway, fake))
        await read_until(railway, fake, ServiceState.RUNNING, 3)


async def test_the_full_map_of_regions_is_sent_and_zero_never_is() -> None:
    regions = {"us-west2": {"numReplicas": 2}, "europe-west4-drams3a": {"numReplicas": 1}}
    async with (
        FakeRailway.create(2, timings=TIMINGS, deploy={"multiRegionConfig": regions}) as fake,
        platform(fake) as railway,
    ):
        seen = await read_until(railway, fake, ServiceState.RUNNING, 3)
        await railway.scale(fake.worker.id, intent_to(6), seen)
        seen = await read_until(railway, fake, ServiceState.RUNNING, 6)
        await railway.scale(fake.worker.id, intent_to(2), seen)
        seen = await read_until(railway, fake, ServiceState.RUNNING, 2)
        await railway.scale(fake.worker.id, intent_to(0), seen)
        await read_until(railway, fake, ServiceState.STOPPED, 0)
    sent = [mutation["variables"].get("input") for mutation in fake.mutations]
    assert sent[0] == {
        "multiRegionConfig": {"us-west2": {"numReplicas": 4}, "europe-west4-drams3a": {"numReplicas": 2}}
    }
    assert sent[1] == {
        "multiRegionConfig": {"us-west2": {"numReplicas": 1}, "europe-west4-drams3a": {"numReplicas": 1}}
    }
    assert fake.mutations[2]["mutation"] == "deploymentStop"


async def test_a_removed_deployment_is_told_from_one_that_never_was_and_comes_back_by_a_new_one() -> None:
    async with FakeRailway.create(2, timings=TIMINGS) as fake, platform(fake) as railway:
        seen = await read(railway, fake)
        await railway.client.mutate("DeploymentStop", {"id": seen.deployment}, intent_to(0))
        await railway.client._http.post(
            fake.url, json={"query": f'mutation {{ deploymentRemove(id: "{seen.deployment}") }}'}
        )
        seen = await read_until(railway, fake, ServiceState.REMOVED, 0)
        await railway.scale(fake.worker.id, intent_to(2), seen)
        await read_until(railway, fake, ServiceState.RUNNING, 2)
    assert fake.mutations[-1]["mutation"] == "serviceInstanceDeployV2"


async def test_a_change_that_is_not_written_into_the_deployment_is_found_in_the_environment_s_config() -> None:
    switches = Switches(meta_in_place=False)
    async with FakeRailway.create(1, timings=TIMINGS, switches=switches) as fake, platform(fake) as railway:
        await railway.scale(fake.worker.id, intent_to(4), await read(railway, fake))
        await read_until(railway, fake, ServiceState.RUNNING, 4)
        await railway.scale(fake.worker.id, intent_to(2), await read(railway, fake))
        await read_until(railway, fake, ServiceState.RUNNING, 2)


# --- the stored configuration and the deployment differ


WEST, EUROPE = "us-west2", "europe-west4-drams3a"


def regions(**counts: int | None) -> dict[str, Any]:
    names = {"west": WEST, "europe": EUROPE, "asia": "asia-southeast1-eqsg3a"}
    return {names[name]: None if count is None else {"numReplicas": count} for name, count in counts.items()}


def last_map(fake: FakeRailway) -> dict[str, Any]:
    (*_, sent) = [one["variables"]["input"] for one in fake.mutations if "input" in one["variables"]]
    return dict(sent["multiRegionConfig"])


def where_it_runs(fake: FakeRailway) -> dict[str, int]:
    """Members of all deployments that were not given up, by region."""
    found: dict[str, int] = {}
    for deployment in fake.worker.deployments:
        for replica in deployment.members if deployment.status not in {"REMOVING", "REMOVED", "FAILED"} else []:
            found[replica.region] = found.get(replica.region, 0) + 1
    return found


async def runs(fake: FakeRailway, wanted: dict[str, int]) -> None:
    async with asyncio.timeout(30):
        while where_it_runs(fake) != wanted or fake.worker.running != sum(wanted.values()):
            await asyncio.sleep(0.01)


async def stored_by_hand(fake: FakeRailway, move: dict[str, Any]) -> None:
    """As after a change that was committed without a deployment."""
    fake.worker.deploy["multiRegionConfig"] = move


async def deployment_failed(fake: FakeRailway, move: dict[str, Any]) -> None:
    fake.worker.deploy["multiRegionConfig"] = move
    fake.worker.switches.deploys_fail = True
    fake.by_hand(deploy=True)
    async with asyncio.timeout(30):
        while fake.worker.deployments[-1].status != "FAILED" or fake.worker.deployments[-1].members:
            await asyncio.sleep(0.01)


MOVES = pytest.mark.parametrize("move", [stored_by_hand, deployment_failed])
OMITTED = pytest.mark.parametrize("keeps_omitted", [True, False], ids=["regions left out stay", "regions left out go"])


@OMITTED
@MOVES
@pytest.mark.parametrize("in_place", [True, False], ids=["meta in place", "meta as made"])
@pytest.mark.parametrize("wanted", some([4, 1, 2], every=2))
async def test_a_move_to_another_region_is_not_undone_by_a_scale_nor_added_to_it(
    move: Any,
    wanted: int,
    *,
    keeps_omitted: bool,
    in_place: bool,
) -> None:
    switches = Switches(keeps_omitted_regions=keeps_omitted, meta_in_place=in_place)
    async with FakeRailway.create(3, timings=TIMINGS, switches=switches) as fake, platform(fake) as railway:
        await move(fake, regions(europe=3))
        seen = await read(railway, fake)
        assert (seen.configured, seen.running) == (3, 3)
        await railway.scale(fake.worker.id, intent_to(wanted), seen)
        assert last_map(fake) == regions(europe=wanted, west=None)
        await runs(fake, {EUROPE: wanted})
        seen = await read_until(railway, fake, ServiceState.RUNNING, wanted)
        await railway.scale(fake.worker.id, intent_to(5), seen)
        await runs(fake, {EUROPE: 5})


@OMITTED
async def test_a_count_that_differs_too_is_the_one_that_runs(*, keeps_omitted: bool) -> None:
    switches = Switches(keeps_omitted_regions=keeps_omitted)
    async with FakeRailway.create(2, timings=TIMINGS, switches=switches) as fake, platform(fake) as railway:
        await deployment_failed(fake, regions(europe=5))
        seen = await read(railway, fake)
        assert (seen.configured, seen.running, dict(placement(seen).regions)) == (2, 2, {EUROPE: 5})
        await railway.scale(fake.worker.id, intent_to(3), seen)
        await runs(fake, {EUROPE: 3})


@OMITTED
@MOVES
async def test_a_region_that_was_added_gets_its_share_and_one_that_was_taken_away_gets_none(
    move: Any, *, keeps_omitted: bool
) -> None:
    switches = Switches(keeps_omitted_regions=keeps_omitted)
    async with FakeRailway.create(3, timings=TIMINGS, switches=switches) as fake, platform(fake) as railway:
        await move(fake, regions(west=1, europe=2))
        await railway.scale(fake.worker.id, intent_to(6), await read(railway, fake))
        await runs(fake, {WEST: 2, EUROPE: 4})
        await move(fake, regions(europe=2))
        await railway.scale(fake.worker.id, intent_to(2), await read(railway, fake))
        await runs(fake, {EUROPE: 2})


@OMITTED
async def test_a_move_of_a_stopped_service_holds_when_it_comes_back(*, keeps_omitted: bool) -> None:
    switches = Switches(keeps_omitted_regions=keeps_omitted)
    async with FakeRailway.create(0, timings=TIMINGS, switches=switches) as fake, platform(fake) as railway:
        await stored_by_hand(fake, regions(europe=1))
        await railway.scale(fake.worker.id, intent_to(2), await read(railway, fake))
        await runs(fake, {EUROPE: 2})
        assert [one["mutation"] for one in fake.mutations] == ["serviceInstanceUpdate", "deploymentRestart"]


async def test_a_stopped_service_whose_stored_count_differs_is_told_the_count_before_it_starts() -> None:
    """Though the deployment has the right one: what deploys next would have another."""
    async with FakeRailway.create(0, timings=TIMINGS) as fake, platform(fake) as railway:
        await stored_by_hand(fake, regions(west=7))
        await railway.scale(fake.worker.id, intent_to(1), await read(railway, fake))
        await runs(fake, {WEST: 1})
    assert fake.worker.deploy["multiRegionConfig"] == regions(west=1)


@OMITTED
async def test_a_move_of_a_removed_service_holds_when_it_comes_back(*, keeps_omitted: bool) -> None:
    switches = Switches(keeps_omitted_regions=keeps_omitted)
    async with FakeRailway.create(2, timings=TIMINGS, switches=switches) as fake, platform(fake) as railway:
        fake.by_hand(removed=True)
        seen = await read_until(railway, fake, ServiceState.REMOVED, 0)
        await stored_by_hand(fake, regions(europe=1))
        await railway.scale(fake.worker.id, intent_to(2), seen)
        await runs(fake, {EUROPE: 2})


@OMITTED
async def test_a_move_while_its_deployment_is_under_way_goes_on_with_the_count_that_is_asked_for(
    *, keeps_omitted: bool
) -> None:
    switches = Switches(keeps_omitted_regions=keeps_omitted)
    async with FakeRailway.create(2, timings=TIMINGS, switches=switches) as fake, platform(fake) as railway:
        await stored_by_hand(fake, regions(europe=2))
        fake.by_hand(deploy=True)
        seen = await read(railway, fake)
        assert (seen.state, seen.configured) == (ServiceState.STARTING, 2)
        await railway.scale(fake.worker.id, intent_to(4), seen)
        await runs(fake, {EUROPE: 4})


async def test_a_move_that_waits_for_a_deployment_is_stored_with_the_count_and_nothing_comes_twice() -> None:
    """What runs stays where it is, however often it is asked for."""
    switches = Switches(moves_need_a_deploy=True)
    async with FakeRailway.create(1, timings=TIMINGS, switches=switches) as fake, platform(fake) as railway:
        await stored_by_hand(fake, regions(europe=1))
        for _ in range(3):
            seen = await read(railway, fake)
            assert (seen.configured, seen.running) == (1, 1)
            await railway.scale(fake.worker.id, intent_to(2), seen)
        assert where_it_runs(fake) == {WEST: 1}
        fake.by_hand(deploy=True)
        await runs(fake, {EUROPE: 2})


async def test_a_change_by_somebody_else_since_the_reading_is_what_the_map_is_made_of() -> None:
    async with FakeRailway.create(2, timings=TIMINGS) as fake, platform(fake) as railway:
        seen = await read(railway, fake)
        fake.by_hand(multiRegionConfig=regions(west=None, europe=2))
        async with platform(fake) as other:
            await read_until(other, fake, ServiceState.RUNNING, 2)
        await railway.scale(fake.worker.id, intent_to(3), seen)
        await runs(fake, {EUROPE: 3})


@pytest.mark.parametrize("replicas", [0, 1, 3, 4])
async def test_a_count_that_somebody_else_has_set_since_the_reading_is_not_overwritten(replicas: int) -> None:
    async with FakeRailway.create(2, timings=TIMINGS) as fake, platform(fake) as railway:
        seen = await read(railway, fake)
        fake.by_hand(replicas=replicas)
        async with asyncio.timeout(30):
            while fake.worker.running != replicas or (replicas == 0) != fake.worker.deployments[-1].stopped:
                await asyncio.sleep(0.01)
        with pytest.raises(NotSent, match=f"changed from 2 to {replicas} replicas since the decision") as error:
            await railway.scale(fake.worker.id, intent_to(5), seen)
        assert not isinstance(error.value, Refused), "no pause: the next cycle decides anew"
        await railway.scale(fake.worker.id, intent_to(5), await read(railway, fake))
        await runs(fake, {WEST: 5})
    assert fake.mutations[0]["mutation"] == "serviceInstanceUpdate"


async def test_a_count_that_is_stored_and_about_to_show_is_waited_for_and_not_overwritten() -> None:
    async with FakeRailway.create(5, timings=TIMINGS) as fake, platform(fake) as railway:
        seen = await read(railway, fake)
        await stored_by_hand(fake, regions(west=2))
        railway._shown_within_s = 30.0
        scaling = asyncio.create_task(railway.scale(fake.worker.id, intent_to(3), seen))
        async with asyncio.timeout(30):
            while not fake.record.by_operation["EnvironmentConfig"]:
                await asyncio.sleep(0.01)
        assert fake.mutations == []
        scaling.cancel()
        railway._shown_within_s = 0.0
        fake.by_hand(multiRegionConfig=regions(west=2))
        with pytest.raises(NotSent, match="changed from 5 to 2"):
            await railway.scale(fake.worker.id, intent_to(3), seen)
    assert fake.mutations == []


async def test_more_regions_than_replicas_are_asked_for_are_found_out_before_it_is_sent_and_known_from_then_on() -> (
    None
):
    async with FakeRailway.create(1, timings=TIMINGS) as fake, platform(fake) as railway:
        seen = await read(railway, fake)
        await stored_by_hand(fake, regions(west=1, europe=1, asia=1))
        assert seen.smallest is None
        with pytest.raises(NotSent, match="is now configured for 3 regions") as error:
            await railway.scale(fake.worker.id, intent_to(2), seen)
        assert not isinstance(error.value, Refused)
        assert fake.mutations == []
        seen = await read(railway, fake)
        assert (seen.configured, seen.smallest and seen.smallest.count) == (1, 3)
        await railway.scale(fake.worker.id, intent_to(3), seen)
        await runs(fake, dict.fromkeys(regions(west=1, europe=1, asia=1), 1))


@pytest.mark.parametrize(
    ("deploy", "sent"),
    [
        ({"multiRegionConfig": None, "region": EUROPE}, regions(europe=3)),
        ({"multiRegionConfig": None, "region": EUROPE, "numReplicas": 1}, regions(europe=3)),
        ({"multiRegionConfig": None}, regions(west=3)),
    ],
)
@pytest.mark.parametrize("legacy", [True, False])
async def test_a_service_from_before_the_map_is_scaled_where_it_runs(
    deploy: dict[str, Any], sent: dict[str, Any], *, legacy: bool
) -> None:
    switches = Switches(legacy_meta=legacy)
    async with FakeRailway.create(1, timings=TIMINGS, switches=switches, deploy=deploy) as fake:
        async with platform(fake) as railway:
            await railway.scale(fake.worker.id, intent_to(3), await read(railway, fake))
        assert last_map(fake) == sent
        assert fake.worker.configured == 3


@pytest.mark.parametrize("legacy", [True, False])
async def test_a_service_from_before_the_map_that_was_moved_is_scaled_where_it_was_moved_to(*, legacy: bool) -> None:
    deploy = {"multiRegionConfig": None, "region": WEST, "numReplicas": 2}
    switches = Switches(legacy_meta=legacy)
    async with (
        FakeRailway.create(2, timings=TIMINGS, switches=switches, deploy=deploy) as fake,
        platform(fake) as railway,
    ):
        fake.worker.deploy["region"] = EUROPE
        await railway.scale(fake.worker.id, intent_to(3), await read(railway, fake))
        assert last_map(fake) == regions(europe=3, west=None)
        await runs(fake, {EUROPE: 3})


async def test_regions_that_a_file_of_the_repository_names_are_not_changed_for_the_stored_ones() -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, platform(fake) as railway:
        fake.by_hand(config_file={"multiRegionConfig": regions(europe=2)})
        fake.by_hand(deploy=True)
        await runs(fake, {EUROPE: 2})
        seen = await read_until(railway, fake, ServiceState.RUNNING, 2)
        await railway.scale(fake.worker.id, intent_to(4), seen)
        assert last_map(fake) == regions(europe=4, west=None)
        await runs(fake, {EUROPE: 4})


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("502", "could not be read right before the change .*HTTP 502"),
        ("problem", "could not be read right before the change .*Problem processing request"),
        ("null", "could not be read right before the change .*without data"),
        ("429", "could not be read right before the change .*429"),
        ("not_authorized", "check RAILWAY_API_TOKEN"),
    ],
)
@pytest.mark.parametrize("replicas", [0, 1])
async def test_without_the_stored_configuration_nothing_is_sent(fault: str, words: str, replicas: int) -> None:
    async with FakeRailway.create(replicas, timings=TIMINGS) as fake, platform(fake) as railway:
        seen = await read(railway, fake)
        fake.inject(fault, on="EnvironmentConfig", times=9, retry_after=60)
        with pytest.raises(NotSent, match=words):
            await railway.scale(fake.worker.id, intent_to(3), seen)
    assert fake.mutations == []


async def test_a_stop_needs_no_configuration() -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, platform(fake) as railway:
        seen = await read(railway, fake)
        fake.inject("502", on="EnvironmentConfig", times=9)
        await railway.scale(fake.worker.id, intent_to(0), seen)
        await read_until(railway, fake, ServiceState.STOPPED, 0)


async def test_a_reading_costs_no_configuration_while_nothing_looks_different_and_a_change_costs_one() -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, platform(fake) as railway:
        for _ in range(5):
            seen = await read(railway, fake)
        assert fake.record.by_operation["EnvironmentConfig"] == 0
        await railway.scale(fake.worker.id, intent_to(3), seen)
        assert fake.record.by_operation["EnvironmentConfig"] == 1
        await read_until(railway, fake, ServiceState.RUNNING, 3)
        assert fake.record.by_operation["EnvironmentConfig"] == 1


async def test_a_deployment_that_failed_is_asked_about_once() -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, platform(fake) as railway:
        await deployment_failed(fake, regions(europe=1))
        for _ in range(5):
            assert dict(placement(await read(railway, fake)).regions) == {EUROPE: 1}
        assert fake.record.by_operation["EnvironmentConfig"] == 1


# --- many services


def crowd(number: int, **options: Any) -> FakeRailway:
    fake = FakeRailway.create(1, timings=TIMINGS, **options)
    for other in range(number - 1):
        fake.add_service(f"service-{other}", 1)
    return fake


@pytest.mark.costly
@pytest.mark.parametrize(
    ("services", "scaled", "pages"),
    [
        pytest.param(50, [0, 49], 1, id="50 services, which fit one page"),
        pytest.param(51, [0, 49], 1, id="51 services, the scaled ones on the first page"),
        pytest.param(51, [0, 50], 2, id="51 services, a scaled one on the second page"),
        pytest.param(101, [100], 3, id="101 services, the scaled one alone on the third page"),
        pytest.param(160, [0], 1, id="160 services, the scaled one on the first page"),
        pytest.param(160, [0, 159], 4, id="160 services, the first and the last are scaled"),
    ],
)
async def test_a_cycle_is_counted_as_the_pages_that_it_takes(services: int, scaled: list[int], pages: int) -> None:
    async with crowd(services) as fake, platform(fake) as railway:
        every = list(fake.state.services)
        ids = [every[index] for index in scaled]
        readings = await railway.observe(ids)
        assert all(isinstance(readings[one], Replicas) for one in ids)
        assert fake.record.by_operation["EnvironmentState"] == pages
        assert railway.queries_per_cycle == pages
        await railway.observe(ids[:1])
        assert railway.queries_per_cycle == pages, "one worker's own look is no cycle"
        fake.inject("502", on="query", times=9)
        with pytest.raises(Unavailable):
            await railway.observe(ids)
        assert railway.queries_per_cycle == pages


async def test_a_service_that_is_nowhere_costs_all_pages() -> None:
    async with crowd(101) as fake, platform(fake) as railway:
        await railway.observe([fake.worker.id, "nowhere"])
        assert railway.queries_per_cycle == 3


async def test_a_service_that_was_never_deployed_costs_a_query_more_and_one_that_was_removed_only_once() -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, platform(fake) as railway:
        idle = fake.add_service("idle", deployed=False)
        await railway.observe([fake.worker.id, idle.id])
        assert railway.queries_per_cycle == 2
        fake.by_hand(idle.id, deploy=True)
        await railway.observe([fake.worker.id, idle.id])
        assert railway.queries_per_cycle == 1
        fake.by_hand(removed=True)
        await read_until(railway, fake, ServiceState.REMOVED, 0)
        before = fake.record.by_operation["PastDeployments"]
        await read(railway, fake)
        assert (fake.record.by_operation["PastDeployments"], railway.queries_per_cycle) == (before, 1)


@pytest.mark.costly
async def test_cycles_of_several_pages_are_stretched_as_far_as_these_need() -> None:
    """A hundred requests an hour: with three pages each cycle costs three, so that there are a third as many."""
    paces = {}
    for services in (50, 150):
        async with crowd(services, quota=100) as fake, platform(fake) as railway:
            last = list(fake.state.services)[-1]
            for _ in range(45 // railway.queries_per_cycle):
                if railway.client.budget.requests().used < 45:
                    await railway.observe([last])
            assert railway.client.budget.requests().used == 45
            paces[services] = railway.requests().pace_s
    assert paces[50] > 0
    assert paces[150] == pytest.approx(3 * paces[50], rel=0.01)


async def test_a_service_that_is_not_there_leaves_the_others_readable() -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, platform(fake) as railway:
        readings = await railway.observe([fake.worker.id, "nope"])
        assert isinstance(readings[fake.worker.id], Replicas)
        assert "service nope does not exist in this environment" in str(readings["nope"])


async def test_429_is_waited_for_as_long_as_it_says() -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, platform(fake) as railway:
        fake.inject("429", retry_after=1, on="query")
        started = asyncio.get_running_loop().time()
        await read(railway, fake)
        assert 1 <= asyncio.get_running_loop().time() - started < 1.1


async def test_a_long_429_is_not_waited_for_and_nothing_is_sent_meanwhile() -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, platform(fake) as railway:
        seen = await read(railway, fake)
        fake.inject("429", retry_after=600, on="query")
        with pytest.raises(Unavailable, match="429"):
            await railway.observe([fake.worker.id])
        with pytest.raises(NotSent, match="Retry-After"):
            await railway.scale(fake.worker.id, intent_to(3), seen)
    assert fake.mutations == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("502", "HTTP 502"),
        ("cloudflare", "HTTP 429"),
        ("problem", "Problem processing request"),
        ("null", "without data"),
        ("not_authorized", "check RAILWAY_API_TOKEN"),
    ],
)
async def test_a_reading_that_fails_says_how(fault: str, words: str) -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, platform(fake) as railway:
        fake.inject(fault, times=9, retry_after=60)
        with pytest.raises(Unavailable, match=words):
            await railway.observe([fake.worker.id])


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("not_authorized", Refused),
        ("problem", Unavailable),
        ("429", NotSent),
        ("502", Unavailable),
        ("lost", Unavailable),
    ],
)
async def test_a_mutation_is_sent_once_whatever_becomes_of_it(fault: str, kind: type[Unavailable]) -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, platform(fake) as railway:
        seen = await read(railway, fake)
        fake.inject(fault, on="mutation", retry_after=60)
        with pytest.raises(Unavailable) as error:
            await railway.scale(fake.worker.id, intent_to(3), seen)
        assert isinstance(error.value, kind)
        assert isinstance(error.value, NotSent) == issubclass(kind, NotSent)
        assert isinstance(error.value, NotSent) == issubclass(kind, NotSent)
        assert len(fake.mutations) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"RAILWAY_API_TOKEN": "wrong"}, "check RAILWAY_API_TOKEN"),
        ({"RAILWAY_API_TOKEN": "fake-project-token"}, "holds a project token; put it into RAILWAY_TOKEN"),
        ({"RAILWAY_API_TOKEN": "", "RAILWAY_TOKEN": "wrong"}, "check RAILWAY_TOKEN"),
        ({"RAILWAY_ENVIRONMENT_ID": "wrong"}, "RAILWAY_ENVIRONMENT_ID"),
    ],
)
async def test_a_wrong_credential_or_id_names_the_variable_to_look_at(changes: dict[str, str], words: str) -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, platform(fake, "account", **changes) as railway:
        with pytest.raises(Refused, match=words) as error:
            await railway.observe([fake.worker.id])
        assert "fake-project-token" not in str(error.value)


async def test_a_railway_that_cannot_be_reached_is_unavailable_and_a_change_certainly_not_sent() -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, platform(fake) as railway:
        seen = await read(railway, fake)
    async with platform(fake, RAILWAY_API_URL="http://127.0.0.1:9/") as railway:
        with pytest.raises(Unavailable, match="cannot be reached"):
            await railway.observe([fake.worker.id])
        with pytest.raises(NotSent):
            await railway.scale(fake.worker.id, intent_to(3), seen)


@asynccontextmanager
async def answering(
    body: bytes, *, status: int = 200, **headers: str
) -> AsyncIterator[tuple[RailwayPlatform, list[str]]]:
    """A Railway that answers everything with the same rubbish; and what it was asked."""
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append((await request.json())["operationName"])
        return web.Response(body=body, status=status, headers={"Content-Type": "application/json", **headers})

    app = web.Application()
    app.router.add_post("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
    async with platform(FakeRailway(), RAILWAY_API_URL=url) as railway:
        yield railway, asked
    await runner.cleanup()


def environment(node: Any) -> bytes:
    page = {"edges": [{"node": node}], "pageInfo": {"hasNextPage": False, "endCursor": None}}
    return json.dumps({"data": {"environment": {"id": "e", "name": "n", "serviceInstances": page}}}).encode()


RUBBISH = {
    "an answer that is no JSON": b"<html>",
    "an answer that is a list": b"[]",
    "an answer without a key": b"{}",
    "data is null": b'{"data": null}',
    "environment is null": b'{"data": {"environment": null}}',
    "environment is a number": b'{"data": {"environment": 5}}',
    "200,000 nested lists": b"[" * 200_000,
    "edges is a text": b'{"data": {"environment": {"serviceInstances": {"edges": "abc", "pageInfo": {}}}}}',
    "edges holds null": b'{"data": {"environment": {"serviceInstances": {"edges": [null], "pageInfo": {}}}}}',
    "a service without an id": environment({"serviceId": None}),
    "a service with nothing but its id": environment({"serviceId": "svc"}),
    "errors is a text": b'{"errors": "no"}',
    "an error that cannot be printed": b'{"errors": [{"message": "\\ud800 \\u001b[31m", "traceId": {}}]}',
}


@pytest.mark.parametrize("body", RUBBISH.values(), ids=RUBBISH)
async def test_rubbish_is_unavailable_and_never_a_reading(body: bytes) -> None:
    async with answering(body) as (railway, _):
        try:
            reading = (await railway.observe(["svc"]))["svc"]
        except Unavailable as unavailable:
            reading = unavailable
    assert isinstance(reading, Unavailable)
    assert str(reading).isprintable()


@pytest.mark.parametrize(
    "body", [b'{"data": {}}', b'{"data": {"other": true}}', b'{"data": {"deploymentStop": {}}}', b"[]"]
)
async def test_a_mutation_that_is_answered_with_rubbish_is_not_taken_for_done(body: bytes) -> None:
    seen = Replicas(1, 1, 1, ServiceState.RUNNING, "d", Placement({"us": 1}, {"us": 1}))
    async with answering(body) as (railway, asked):
        with pytest.raises(Unavailable):
            await railway.scale("svc", intent_to(0), seen)
    assert asked == ["DeploymentStop"]


@pytest.mark.parametrize("retry_after", ["²", "soon", "Wed, 21 Oct 2026 07:28:00 GMT", "9" * 400, ""])
async def test_an_odd_retry_after_is_a_wait_and_no_crash(retry_after: str) -> None:
    async with answering(b"", status=429, **{"Retry-After": retry_after}) as (railway, _):
        with pytest.raises(Unavailable, match="429"):
            await railway.observe(["svc"])


async def test_a_cron_service_is_refused() -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, platform(fake) as railway:
        fake.by_hand(cronSchedule="0 * * * *")
        assert "is a cron service" in str((await railway.observe([fake.worker.id]))[fake.worker.id])
