"""The client at the edges of a mutation: who sent it, whether it still may, and what becomes of its bytes."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from controller.adapters.railway import operations
from controller.adapters.railway.client import RailwayClient
from controller.adapters.railway.settings import RailwayToken
from controller.core.ports import LeaseLost, NotSent, Unavailable
from controller.fake_railway import ACCOUNT_TOKEN, FakeRailway, Timings
from tests.support.scene import intent_to
from tests.virtual.idle import LoopClock

pytestmark = pytest.mark.virtual_time

TOKEN = RailwayToken("account", SecretStr(ACCOUNT_TOKEN))
TIMINGS = Timings().scaled(0.01)
INTENT = intent_to(0, epoch=7)


@asynccontextmanager
async def client(url: str, **options: Any) -> AsyncIterator[RailwayClient]:
    one = RailwayClient(url, TOKEN, LoopClock(), **options)
    yield one
    await one.close()


@asynccontextmanager
async def silent_server() -> AsyncIterator[tuple[str, list[bytes], asyncio.Event]]:
    """Takes connections and never answers: its URL, what it was sent, and whether a connection was reset."""
    received: list[bytes] = []
    reset = asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                received.append(data)
        except ConnectionResetError:
            reset.set()
        writer.close()

    server = await asyncio.start_server(listen, "127.0.0.1", 0)
    yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", received, reset
    server.close()


def stop_of(fake: FakeRailway) -> dict[str, Any]:
    latest = fake.worker.latest
    assert latest is not None
    return {"id": latest.id}


def first(answers: int, then: bool) -> Callable[[int], bool]:  # noqa: FBT001  # a value, not a mode
    """True that many times, then False."""
    counting = itertools.count()
    return lambda _: next(counting) < answers or then


async def test_a_mutation_carries_who_sent_it_and_a_query_does_not() -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, client(fake.url) as railway:
        await railway.mutate("DeploymentStop", stop_of(fake), INTENT)
        async with httpx.AsyncClient() as http:
            (entry,) = (await http.get(f"{fake.base_url}/mutations")).json()
    assert (entry["epoch"], entry["intent"]) == (7, INTENT.id)


async def test_a_mutation_of_somebody_else_says_nothing_of_an_epoch() -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, httpx.AsyncClient() as http:
        body = {"query": operations.DEPLOYMENT_STOP, "variables": stop_of(fake)}
        await http.post(fake.url, json=body, headers={"Authorization": f"Bearer {ACCOUNT_TOKEN}"})
    assert (fake.mutations[0]["epoch"], fake.mutations[0]["intent"]) == (None, None)


async def test_a_lease_that_is_lost_while_the_connection_is_made_lets_no_byte_out() -> None:
    """The first check passes; the one between the connection and the first byte does not."""
    async with silent_server() as (url, received, _), client(url, may_mutate=first(1, then=False)) as railway:
        with pytest.raises(LeaseLost, match="DeploymentStop; it was not sent"):
            await railway.mutate("DeploymentStop", {"id": "d"}, INTENT)
        await asyncio.sleep(0.05)
        assert received == []


async def test_a_lease_lost_on_a_connection_that_is_up_lets_no_byte_out_and_leaves_the_client_usable() -> None:
    allowed = True
    checks = 0

    def may(epoch: int) -> bool:
        nonlocal checks
        assert epoch == INTENT.epoch
        checks += 1
        return allowed or checks % 2 == 1

    async with FakeRailway.create(1, timings=TIMINGS) as fake, client(fake.url, may_mutate=may) as railway:
        stop = stop_of(fake)
        await railway.mutate("DeploymentStop", stop, INTENT)
        allowed = False
        for _ in range(3):
            with pytest.raises(LeaseLost):
                await railway.mutate("DeploymentStop", stop, INTENT)
        assert len(fake.mutations) == 1
        allowed = True
        await railway.mutate("DeploymentRestart", stop, INTENT)
        assert await railway.query("EnvironmentState", {**_scope(), "first": 1, "after": None})
    assert len(fake.mutations) == 2
    assert fake.record.total == 3


def _scope() -> dict[str, str]:
    from controller.fake_railway import ENVIRONMENT_ID, PROJECT_ID

    return {"environmentId": ENVIRONMENT_ID, "projectId": PROJECT_ID}


async def test_a_query_is_sent_without_the_lease() -> None:
    never = client("http://127.0.0.1:9/", may_mutate=lambda _: False)
    async with FakeRailway.create(1, timings=TIMINGS) as fake, client(fake.url, may_mutate=lambda _: False) as railway:
        assert await railway.query("EnvironmentState", {**_scope(), "first": 1, "after": None})
    async with never as railway:
        with pytest.raises(LeaseLost):
            await railway.mutate("DeploymentStop", {"id": "d"}, INTENT)


async def test_a_mutation_that_is_not_answered_in_time_is_unknown_and_its_connection_is_torn_down() -> None:
    """Torn down, not closed: what the kernel still holds of the request must not arrive after we have given up."""
    async with silent_server() as (url, received, reset), client(url, timeout_s=0.2) as railway:
        started = asyncio.get_running_loop().time()
        with pytest.raises(Unavailable) as error:
            await railway.mutate("DeploymentStop", {"id": "d"}, INTENT)
        assert asyncio.get_running_loop().time() - started < 1
        assert not isinstance(error.value, NotSent)
        async with asyncio.timeout(2):
            await reset.wait()
        assert received


async def test_a_mutation_without_a_connection_in_time_was_certainly_not_sent() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        with socket.create_connection(address), socket.socket() as waiting:
            waiting.setblocking(False)
            waiting.connect_ex(address)
            url = f"http://127.0.0.1:{address[1]}/"
            async with client(url, timeout_s=0.3) as railway:
                with pytest.raises(NotSent):
                    await railway.mutate("DeploymentStop", {"id": "d"}, INTENT)


class Deaf(httpx.AsyncBaseTransport):
    """Reports no trace events, and takes longer than any timeout."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(60)
        raise AssertionError


async def test_of_a_transport_that_tells_nothing_a_timeout_is_unknown() -> None:
    async with client("http://railway.test/", transport=Deaf(), timeout_s=0.05) as railway:
        with pytest.raises(Unavailable) as error:
            await railway.mutate("DeploymentStop", {"id": "d"}, INTENT)
    assert not isinstance(error.value, NotSent)


@pytest.mark.parametrize(("variable", "ours"), [("HTTPS_PROXY", False), ("NO_PROXY", True)])
async def test_a_proxy_of_the_environment_is_not_gone_past(
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
    ours: bool,  # noqa: FBT001  # a table
) -> None:
    from controller.adapters.sending import own_transport

    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv(variable, "http://127.0.0.1:3128")
    assert (own_transport(5.0) is not None) is ours


async def test_every_request_is_counted_the_retried_ones_too_and_the_quota_is_learned() -> None:
    async with FakeRailway.create(1, timings=TIMINGS, quota=50) as fake, client(fake.url) as railway:
        fake.inject("502", times=2, on="query")
        await railway.query("EnvironmentState", {**_scope(), "first": 1, "after": None})
        await railway.mutate("DeploymentStop", stop_of(fake), INTENT)
    assert railway.budget.requests()[:3] == (4, 50, 3600)
    assert fake.record.total == 4


async def test_reading_ends_with_a_fifth_left_and_a_change_still_goes_out() -> None:
    async with (
        FakeRailway.create(1, timings=TIMINGS, quota=30, enforce_quota=True) as fake,
        client(fake.url) as railway,
    ):
        for _ in range(24):
            await railway.query("EnvironmentState", {**_scope(), "first": 1, "after": None})
        with pytest.raises(NotSent, match="24 of the 30 requests"):
            await railway.query("EnvironmentState", {**_scope(), "first": 1, "after": None})
        for _ in range(3):
            await railway.mutate("DeploymentStop", stop_of(fake), INTENT)
            await railway.mutate("DeploymentRestart", stop_of(fake), INTENT)
        with pytest.raises(NotSent, match="all 30 requests"):
            await railway.mutate("DeploymentRestart", stop_of(fake), INTENT)
    assert fake.record.total == 30
    assert set(fake.record.by_status) == {200}


@pytest.mark.parametrize(
    ("fault", "result"),
    [
        pytest.param(None, "ok", id="answered"),
        pytest.param("429", "throttled", id="too many requests"),
        pytest.param("502", "failed", id="HTTP 502"),
        pytest.param("not_authorized", "refused", id="not authorized"),
    ],
)
async def test_each_request_is_counted_with_its_operation_and_its_result(fault: str | None, result: str) -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, client(fake.url) as railway:
        if fault is not None:
            async with httpx.AsyncClient() as http:
                await http.post(f"{fake.base_url}/faults", json={"fault": fault, "times": 9, "retry_after": 60})
        try:
            await railway.query("Me", {})
        except Unavailable:
            assert fault is not None
        assert railway.sent.keys() == {("Me", result)}


async def test_a_request_that_was_not_sent_because_the_lease_ended_is_not_counted() -> None:
    async with FakeRailway.create(1, timings=TIMINGS) as fake, client(fake.url, may_mutate=first(1, then=False)) as one:
        with pytest.raises(LeaseLost):
            await one.mutate("DeploymentStop", stop_of(fake), INTENT)
        assert one.sent == {}
