from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.fake_railway.client import BEARER, PLACE, STATE, UPDATE, railway, until

pytestmark = pytest.mark.virtual_time

SCALE: dict[str, Any] = {**PLACE, "input": {"multiRegionConfig": {"us-west2": {"numReplicas": 3}}}}


@pytest.mark.parametrize(
    ("fault", "status", "in_the_body"),
    [
        ("429", 429, '"errors"'),
        ("cloudflare", 429, "Error 1015"),
        ("502", 502, "<html>"),
        ("problem", 200, '"message":"Problem processing request"'),
        ("not_authorized", 200, '"message":"Not Authorized"'),
        ("null", 200, '{"data":null}'),
    ],
)
async def test_a_fault_takes_the_place_of_an_answer(fault: str, status: int, in_the_body: str) -> None:
    async with railway(1) as (fake, client):
        fake.inject(fault)
        response = await client.ask(UPDATE, **SCALE)
        assert (response.status_code, in_the_body in response.text) == (status, True)
        assert fake.worker.configured == 1
        entry = fake.mutations[0]
        assert (entry["effect"], entry["applied"], entry["answered"]) == (f"dropped: {fault}", False, True)
        assert (await client.ask(UPDATE, **SCALE)).json() == {"data": {"serviceInstanceUpdate": True}}


async def test_a_429_says_when_to_come_back() -> None:
    async with railway() as (fake, client):
        fake.inject("429", retry_after=7)
        assert (await client.ask(STATE, **PLACE)).headers["retry-after"] == "7"


@pytest.mark.parametrize(
    ("fault", "options", "configured"),
    [("lost", {}, 3), ("lost", {"applied": False}, 1), ("hang", {"seconds": 0.05}, 1)],
    ids=["applied and lost", "lost on the way there", "no answer"],
)
async def test_an_answer_may_never_come(fault: str, options: dict[str, Any], configured: int) -> None:
    async with railway(1) as (fake, client):
        fake.inject(fault, **options)
        with pytest.raises(httpx.TransportError):
            await client.ask(UPDATE, **SCALE)
        assert fake.worker.configured == configured
        assert fake.mutations[0]["answered"] is False
        assert fake.mutations[0]["applied"] is (configured == 3)


async def test_a_failure_may_be_a_lie() -> None:
    async with railway(1) as (fake, client):
        fake.inject("502", applied=True)
        assert (await client.ask(UPDATE, **SCALE)).status_code == 502
        assert fake.worker.configured == 3
        assert fake.mutations[0]["effect"] == "worker: 1 → 3"


async def test_a_true_may_be_a_lie() -> None:
    async with railway(1) as (fake, client):
        fake.inject("not_honoured")
        await client.state()
        assert await client.data(UPDATE, **SCALE) is True
        assert fake.worker.configured == 1
        assert (fake.mutations[0]["applied"], fake.mutations[0]["answered"]) == (False, True)


async def test_a_plan_may_clamp_one_change() -> None:
    async with railway(1) as (fake, client):
        fake.inject("plan_clamp", limit=2)
        await client.data(UPDATE, **SCALE)
        assert fake.worker.configured == 2
        await client.data(UPDATE, **SCALE)
        assert fake.worker.configured == 3


@pytest.mark.costly
async def test_a_late_request_lands_though_no_job_waits_for_it() -> None:
    async with railway(1) as (fake, client):
        fake.inject("late", seconds=0.3)
        with pytest.raises(httpx.ReadTimeout):
            await client.http.post(fake.url, json={"query": UPDATE, "variables": SCALE}, headers=BEARER, timeout=0.1)
        assert fake.worker.configured == 1
        await until(client.running, 3)


async def test_a_slow_answer_is_about_what_has_happened_already() -> None:
    async with railway(1) as (fake, client):
        fake.inject("slow", seconds=0.5, on="mutation")
        asking = asyncio.create_task(client.data(UPDATE, **SCALE))
        await until(client.running, 3)
        assert not asking.done()
        assert await asking is True


async def test_faults_wait_for_those_they_are_meant_for_and_are_used_up_in_order() -> None:
    async with railway(1) as (fake, client):
        orders = [
            {"fault": "502", "on": "mutation"},
            {"fault": 429, "on": "serviceInstance", "times": 2},
            {"fault": "null", "on": "ServiceState"},
        ]
        assert (await client.http.post(f"{fake.base_url}/faults", json=orders)).status_code == 200
        assert (await client.ask("{ me { id } }")).status_code == 200
        reads = [await client.ask(STATE, headers=BEARER, **PLACE) for _ in range(2)]
        assert [each.status_code for each in reads] == [429, 429]
        named = await client.http.post(
            fake.url, json={"query": STATE, "operationName": "ServiceState", "variables": PLACE}, headers=BEARER
        )
        assert named.json() == {"data": None}
        pending = (await client.http.get(f"{fake.base_url}/faults")).json()
        assert [(each["fault"], each["times"], each["on"]) for each in pending] == [("502", 1, "mutation")]
        assert (await client.http.delete(f"{fake.base_url}/faults")).json() == []
        assert await client.data(UPDATE, **SCALE) is True


@pytest.mark.parametrize(
    ("order", "hint"),
    [
        ({"fault": "earthquake"}, "there are: 429 ("),
        ({"times": 1}, "there is no fault 'None'"),
        ([{"fault": "429"}, {"fault": "lost", "time": 2}], "it may have: times"),
        ({"fault": "429", "times": "often"}, "times of a fault can't be 'often'"),
        ({"fault": "429", "times": True}, "times of a fault can't be True"),
        ({"fault": "hang", "seconds": -1}, "can't be negative"),
        ("429", "a fault is an object"),
        (None, "a fault is an object"),
    ],
)
async def test_a_bad_fault_is_refused_with_what_would_have_been_right(order: Any, hint: str) -> None:
    async with railway() as (fake, client):
        response = await client.http.post(f"{fake.base_url}/faults", json=order)
        assert response.status_code == 400
        assert hint in response.json()["error"]
        assert fake.faults.pending == []
