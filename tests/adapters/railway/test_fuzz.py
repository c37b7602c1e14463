"""Any answer of Railway is a reading or Unavailable: real answers with changed parts, and answers of any shape."""

from __future__ import annotations

import asyncio
import copy
import functools
import json
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.adapters.railway import operations
from controller.adapters.railway.client import RailwayClient
from controller.adapters.railway.platform import RailwayPlatform
from controller.adapters.railway.settings import load_railway
from controller.core.model import Replicas
from controller.core.ports import Unavailable
from controller.fake_railway import FakeRailway, Timings
from tests.support.examples import examples
from tests.virtual.idle import IdleLoop, LoopClock

T = TypeVar("T")

fuzzed = settings(max_examples=examples(12, 2500), deadline=None, suppress_health_check=list(HealthCheck))
ELSEWHERE = {"DATABASE_URL": "postgresql://h/d", "REDIS_URL": "redis://h"}
ODD = st.recursive(
    st.sampled_from([None, True, -1, 0, 1, 2**31, 10**400, 1e308, "", "x", "\ud800", "\x1b[2J", "2026-01-01", "99999"])
    | st.sampled_from(["RUNNING", "SUCCESS", "CRASHED", "REMOVED", "SLEEPING", "a" * 5000, "0001-01-01T00:00:00Z"])
    | st.sampled_from(["9999-12-31T23:59:59-23:59", "\u0661", "²", "NaN"])
    | st.integers()
    | st.floats()
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def in_idle_time(asking: Coroutine[Any, Any, T]) -> T:
    """Pauses between tries take no time."""
    with asyncio.Runner(loop_factory=IdleLoop) as runner:
        return runner.run(asking)


@functools.cache
def real_answers() -> tuple[str, dict[str, Any]]:
    """The service's id, and by operation what the fake Railway answers to a reading."""
    return asyncio.run(_recorded())


async def _recorded() -> tuple[str, dict[str, Any]]:
    answers: dict[str, Any] = {}

    class Recording(httpx.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            response = await super().handle_async_request(request)
            body = await response.aread()
            answers[json.loads(request.content)["operationName"]] = response.json()
            headers = {name: value for name, value in response.headers.items() if name != "content-encoding"}
            return httpx.Response(response.status_code, headers=headers, stream=httpx.ByteStream(body))

    async with FakeRailway.create(2, timings=Timings().scaled(0.001)) as fake:
        given_ = load_railway({**fake.environment_variables("account"), **ELSEWHERE})
        client = RailwayClient(given_.api_url, given_.token, LoopClock(), transport=Recording())
        platform = RailwayPlatform(client, project=given_.project_id, environment=given_.environment_id)
        reading = (await platform.observe([fake.worker.id]))[fake.worker.id]
        assert isinstance(reading, Replicas)
        await client.close()
        return fake.worker.id, answers


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield value, key
        yield from places(inner)


def changed(answer: Any, changes: list[tuple[int, Any]]) -> Any:
    answer = copy.deepcopy(answer)
    for number, put in changes:
        every = list(places(answer["data"]))
        if every:
            holder, key = every[number % len(every)]
            holder[key] = put
    return answer


@pytest.mark.costly
@fuzzed
@given(st.lists(st.tuples(st.integers(0, 10_000), ODD), min_size=1, max_size=4))
def test_a_reading_of_answers_with_pieces_changed_is_one_or_unavailable(changes: list[tuple[int, Any]]) -> None:
    service, answers = real_answers()
    bodies = {name: json.dumps(changed(answer, changes)) for name, answer in answers.items()}

    async def reading() -> Replicas | Unavailable:
        def handler(request: httpx.Request) -> httpx.Response:
            name = json.loads(request.content)["operationName"]
            return httpx.Response(200, stream=httpx.ByteStream(bodies.get(name, '{"data": {}}').encode()))

        given_ = load_railway(
            {"RAILWAY_API_TOKEN": "t", "RAILWAY_PROJECT_ID": "p", "RAILWAY_ENVIRONMENT_ID": "e", **ELSEWHERE}
        )
        client = RailwayClient("http://railway/", given_.token, LoopClock(), transport=httpx.MockTransport(handler))
        platform = RailwayPlatform(client, project="p", environment="e")
        try:
            return (await platform.observe([service]))[service]
        except Unavailable as unavailable:
            return unavailable
        finally:
            await client.close()

    seen = in_idle_time(reading())
    assert isinstance(seen, Replicas | Unavailable)
    if isinstance(seen, Replicas):
        assert seen.configured >= 0
        assert seen.running >= 0


@fuzzed
@given(
    st.sampled_from([200, 200, 200, 400, 401, 429, 500, 999]),
    ODD.map(json.dumps).map(str.encode)
    | ODD.map(lambda odd: json.dumps({"errors": [odd]}).encode())
    | ODD.map(lambda odd: json.dumps({"errors": odd, "data": odd}).encode())
    | st.fixed_dictionaries({"message": ODD, "traceId": ODD}).map(lambda odd: json.dumps({"errors": [odd]}).encode())
    | st.binary(max_size=40)
    | st.sampled_from([b"[" * 100_000, b'{"data": ' * 5000, b"9" * 5000, b'{"data": {"a": ' + b"9" * 5000 + b"}}"]),
    st.dictionaries(
        st.sampled_from(["Retry-After", "RateLimit", "RateLimit-Policy", "X-RateLimit-Limit", "Content-Type"]),
        st.sampled_from(
            ["", "²", "9" * 5000, "-1", "nan", "q=1;w=999999", '"a";q=x', "text/html; charset=bogus", "1e9"]
        ),
        max_size=3,
    ),
)
def test_an_answer_of_any_shape_is_data_or_unavailable(code: int, body: bytes, headers: dict[str, str]) -> None:
    async def answered() -> None:
        given_ = load_railway(
            {"RAILWAY_API_TOKEN": "t", "RAILWAY_PROJECT_ID": "p", "RAILWAY_ENVIRONMENT_ID": "e", **ELSEWHERE}
        )
        raw = [(name.encode(), value.encode()) for name, value in headers.items()]

        def handler(request: httpx.Request) -> httpx.Response:
            return httpx.Response(code, stream=httpx.ByteStream(body), headers=raw)

        client = RailwayClient("http://railway/", given_.token, LoopClock(), transport=httpx.MockTransport(handler))
        try:
            data = await client.query(next(iter(operations.ALL)), {})
            assert isinstance(data, dict)
            said = "data"
        except Unavailable as unavailable:
            said = str(unavailable)
        finally:
            await client.close()
        assert said.isprintable()
        assert len(said) < 1000

    in_idle_time(answered())
