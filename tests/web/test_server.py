"""What people and programs read over HTTP: one moment, exact keys, and never a call to anything."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from controller.config.timing import Timing
from controller.core.problems import ConfigurationError
from controller.loop.cycle import Outcome
from controller.loop.leadership import Leadership
from controller.loop.status import ControllerStatus
from controller.web.contract import metrics_body
from controller.web.health import Shown, health_body, status_body, status_report
from controller.web.metrics import prometheus_text
from controller.web.page import page
from controller.web.server import age_header, application, listening_socket, prefers_text
from tests.support.sources import SOURCES
from tests.web.stand_ins import POLICY, AwayLeases, HandClock, Leases, NoLeases, cycle, silent


@pytest.mark.parametrize(
    ("accept", "text"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", False),
        ("text/plain", True),
        ("text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True),
        ("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True),
        ("application/json, text/plain;q=0.9", False),
        ("application/json, text/plain, */*", False),
        ("text/plain;q=broken", False),
    ],
)
def test_the_accept_header_chooses_between_json_and_text(accept: str, text: bool) -> None:  # noqa: FBT001  # a table
    assert prefers_text(accept) is text


async def test_a_replica_is_alive_while_its_loop_turns_and_ready_while_it_knows_who_leads() -> None:
    """For Kubernetes' probes: a restart heals a loop that stands still, and no dependency that is away."""
    clock = HandClock()
    status = ControllerStatus(clock, 10.0, SOURCES.names)
    leadership = Leadership(AwayLeases(), clock, timing=Timing.around(15), replica="a", report=silent)
    shown = Shown(status, leadership, POLICY)
    async with served(shown) as port:
        assert await get(f"http://127.0.0.1:{port}/readyz") == (200, "text/plain; charset=utf-8", "ok\n")
        await leadership.turn()
        status.turned()
        assert (await get(f"http://127.0.0.1:{port}/livez"))[0] == 200
        code, _, said = await get(f"http://127.0.0.1:{port}/readyz")
        assert (code, said) == (503, "Redis: is away\n")
        clock.now += 3600
        assert (await get(f"http://127.0.0.1:{port}/livez"))[0] == 503


@asynccontextmanager
async def served(shown: Shown) -> AsyncIterator[int]:
    runner = web.AppRunner(application(shown), access_log=None)
    await runner.setup()
    listener = listening_socket(0)
    await web.SockSite(runner, listener).start()
    yield listener.getsockname()[1]
    await runner.cleanup()


async def get(url: str, **headers: str) -> tuple[int, str, str]:
    async with httpx.AsyncClient() as client:
        answer = await client.get(url, headers=headers)
    return answer.status_code, answer.headers["content-type"], answer.text


async def test_the_server_answers_on_ipv6_and_on_ipv4(shown: Shown) -> None:
    shown.status.put(cycle())
    async with served(shown) as port:
        for host in ("127.0.0.1", "[::1]"):
            status, _, text = await get(f"http://{host}:{port}/health")
            assert (status, json.loads(text)["status"]) == (200, "healthy")


async def test_metrics_answers_in_json_and_in_text(shown: Shown) -> None:
    shown.status.put(cycle())
    async with served(shown) as port:
        assert json.loads((await get(f"http://127.0.0.1:{port}/metrics"))[2]) == metrics_body(shown)
        _, kind, text = await get(f"http://127.0.0.1:{port}/metrics", Accept="text/plain;version=0.0.4")
        assert kind.startswith("text/plain; version=0.0.4")
        assert "# HELP" in text


async def test_a_standby_says_how_old_the_leader_s_numbers_are_as_http_does(shown: Shown, clock: HandClock) -> None:
    leader = ControllerStatus(clock, 10, SOURCES.names)
    leader.put(cycle())
    shown.status.take_over(leader.to_publish(), 2.0)
    clock.now += 5
    async with served(shown) as port, httpx.AsyncClient() as client:
        for page, accept in (("health", "*/*"), ("metrics", "*/*"), ("metrics", "text/plain")):
            answer = await client.get(f"http://127.0.0.1:{port}/{page}", headers={"Accept": accept})
            assert answer.headers["age"] == "7"


async def test_the_leader_answers_without_an_age(clock: HandClock) -> None:
    leadership = Leadership(Leases(), clock, timing=Timing.around(15), replica="a", report=silent)
    shown = Shown(ControllerStatus(clock, POLICY.interval, SOURCES.names), leadership, POLICY)
    await leadership.turn()
    shown.status.put(cycle())
    assert age_header(shown) == {}


async def test_an_unhealthy_loop_answers_503(shown: Shown, clock: HandClock) -> None:
    shown.status.turned()
    clock.now += 1000
    async with served(shown) as port:
        assert (await get(f"http://127.0.0.1:{port}/health"))[0] == 503


async def test_status_has_the_role_the_reasons_the_cooldowns_and_the_policy(shown: Shown) -> None:
    shown.status.put(cycle())
    async with served(shown) as port:
        body: dict[str, Any] = json.loads((await get(f"http://127.0.0.1:{port}/status"))[2])
    assert body["role"] == "standby"
    assert body["workers"]["w"]["reasons"] == ["Tier"]
    assert body["workers"]["w"]["scale_down_cooldown_left_s"] == 74
    assert body["policy"]["workers"]["w"]["max_replicas"] == 5


def test_a_port_that_is_taken_is_one_clear_message() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"PORT: {port} cannot be listened on: it is in use"):
            listening_socket(port)


@pytest.mark.costly
async def test_a_hundred_requests_at_once_are_answered(shown: Shown) -> None:
    shown.status.put(cycle())
    async with served(shown) as port, httpx.AsyncClient() as client:
        answers = await asyncio.gather(*(client.get(f"http://127.0.0.1:{port}/health") for _ in range(100)))
    assert {answer.status_code for answer in answers} == {200}


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats()
    | st.sampled_from(["", "x", "<b>", "\ud800", "held", "n" * 300])
)


ANYTHING = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner), max_leaves=6
)


@st.composite
def published(draw: st.DrawFn) -> str:
    """A leader's entry of which another version left out some keys, wrote others, and some otherwise."""
    status = ControllerStatus(HandClock(), 10, SOURCES.names)
    status.put(cycle())
    entry = json.loads(status.to_publish()["w"])
    for part in (entry["status"], entry):
        for key in draw(st.lists(st.sampled_from(sorted(part)), max_size=4)):
            part.pop(key, None)
        for key in draw(st.lists(st.sampled_from([*part, "new", "conditions", "level"]), max_size=2)):
            part[key] = draw(ANYTHING)
    return json.dumps(draw(ANYTHING) if draw(st.integers(0, 9)) == 7 else entry)


def every_answer(shown: Shown) -> list[bytes]:
    """The body of each page, as it is sent."""
    bodies = [health_body(shown), metrics_body(shown), status_body(shown)]
    texts = [json.dumps(body) for body in bodies]
    return [
        text.encode() for text in [*texts, prometheus_text(shown), page(status_report(shown)), str(age_header(shown))]
    ]


@pytest.mark.costly
@given(published(), published(), st.none() | st.floats(0, 1e6))
def test_every_page_answers_whatever_was_published(first: str, second: str, age: float | None) -> None:
    clock = HandClock()
    leadership = Leadership(NoLeases(), clock, timing=Timing.around(15), replica="a", report=silent)
    shown = Shown(ControllerStatus(clock, POLICY.interval, SOURCES.names), leadership, POLICY)
    for text in (first, second):
        shown.status.take_over({"w": text}, age)
        assert all(every_answer(shown))
        json.loads(json.dumps(status_body(shown), allow_nan=False))
    shown.status.put(cycle(Outcome.FAILED, read=False))
    assert all(every_answer(shown)), "and once this replica leads"


@pytest.mark.parametrize(
    "status",
    [
        {"outcome": "held"},
        {"outcome": "held", "running": 2, "configured": 2},
        {"outcome": "held", "running": 2, "configured": 1, "reasons": ["Tier"], "unheard_of": {"a": [1]}},
    ],
    ids=["a status with hardly any key", "a status without a maximum", "a status with a new key"],
)
async def test_what_a_leader_of_another_version_leaves_out_is_filled_in(shown: Shown, status: dict[str, Any]) -> None:
    shown.status.take_over({"w": json.dumps({"age_s": 1, "status": status})}, 1.0)
    async with served(shown) as port:
        answers = {path: await get(f"http://127.0.0.1:{port}/{path}") for path in ("", "health", "metrics", "status")}
    assert {path: code for path, (code, _, _) in answers.items()} == dict.fromkeys(answers, 200)
    worker = json.loads(answers["status"][2])["workers"]["w"]
    assert status.items() <= worker.items()
    assert worker["depth"] is None
