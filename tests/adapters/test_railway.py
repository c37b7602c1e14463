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

from controller.adapters.railway import RailwayPlatform, operations
from controller.adapters.railway.client import RailwayClient
from controller.demo.fake_railway import FakeRailway, Switches, Timings, TokenKind
from controller.model import Replicas, ServiceState
from controller.ports import NotSent, Refused, Unavailable
from controller.settings import load_settings
from tests.patience import until
from tests.scene import intent_to
from tests.virtual.idle import LoopClock

pytestmark = pytest.mark.virtual_time

TIMINGS = Timings().scaled(0.01)


@asynccontextmanager
async def platform(fake: FakeRailway, token: TokenKind = "account", **changes: str) -> AsyncIterator[RailwayPlatform]:
    elsewhere = {"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h"}
    settings = load_settings({**fake.environment_variables(token), **elsewhere, **changes})
    client = RailwayClient(settings.railway_api_url, settings.railway_token, LoopClock())
    yield RailwayPlatform(client, project=settings.project_id, environment=settings.environment_id)
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
    schema = build_schema((files("controller.demo.fake_railway") / "schema.graphql").read_text())
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


async def test_services_are_found_on_whatever_page_they_are() -> None:
    fake = FakeRailway(timings=TIMINGS)
    names = [f"service-{number}" for number in range(120)]
    services = [fake.add_service(name, 1) for name in names]
    async with fake, platform(fake, RAILWAY_WORKER_SERVICE_ID="x") as railway:
        last = services[-1].id
        assert isinstance((await railway.observe([last]))[last], Replicas)


async def test_a_service_that_is_not_there_leaves_the_others_readable() -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, platform(fake) as railway:
        readings = await railway.observe([fake.worker.id, "nope"])
        assert isinstance(readings[fake.worker.id], Replicas)
        assert "there is no service nope in this environment" in str(readings["nope"])


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
        ("not_authorized", "look at RAILWAY_API_TOKEN"),
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
        ({"RAILWAY_API_TOKEN": "wrong"}, "look at RAILWAY_API_TOKEN"),
        ({"RAILWAY_API_TOKEN": "fake-project-token"}, "holds a project token; put it into RAILWAY_TOKEN"),
        ({"RAILWAY_API_TOKEN": "", "RAILWAY_TOKEN": "wrong"}, "look at RAILWAY_TOKEN"),
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
    "no json": b"<html>",
    "a list": b"[]",
    "nothing": b"{}",
    "data null": b'{"data": null}',
    "environment null": b'{"data": {"environment": null}}',
    "environment a number": b'{"data": {"environment": 5}}',
    "deep": b"[" * 200_000,
    "edges a text": b'{"data": {"environment": {"serviceInstances": {"edges": "abc", "pageInfo": {}}}}}',
    "edges of null": b'{"data": {"environment": {"serviceInstances": {"edges": [null], "pageInfo": {}}}}}',
    "a service without an id": environment({"serviceId": None}),
    "a service of nothing": environment({"serviceId": "svc"}),
    "errors a text": b'{"errors": "no"}',
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
    seen = Replicas(1, 1, 1, ServiceState.RUNNING, {"us": 1}, "d")
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
