"""What the charts read: samples in equal steps, and the cost of the month; bounded, and said in a sentence if not."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from tests.web.staged import RENDER, KeptTimeline, Staged, staged


@pytest.fixture
async def controller() -> AsyncIterator[Staged]:
    async with staged() as one:
        yield one


async def ask(controller: Staged, path: str, **query: str) -> tuple[int, dict[str, Any]]:
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"{controller.url}{path}", params=query)
    return answer.status_code, answer.json()


@pytest.mark.costly
@pytest.mark.parametrize(("span", "steps"), [("1h", 60), ("6h", 360), ("24h", 288), ("7d", 336)])
async def test_each_span_has_a_fixed_number_of_steps_up_to_now(controller: Staged, span: str, steps: int) -> None:
    status, body = await ask(controller, "history/samples", worker=RENDER, since=span)
    assert status == 200
    assert {len(body[name]) for name in body.keys() - {"worker", "since", "every_s"}} == {steps}
    assert body["since"] + steps * body["every_s"] == pytest.approx(time.time(), abs=body["every_s"] + 60)


@pytest.mark.costly
async def test_a_night_without_a_controller_is_unknown_and_not_zero(controller: Staged) -> None:
    _, body = await ask(controller, "history/samples", worker=RENDER, since="7d")
    unseen = round((time.time() - 2.35 * 86_400 - body["since"]) / body["every_s"])
    assert (body["depth_mean"][unseen], body["running"][unseen]) == (None, None)
    assert 0.0 in body["running"]


@pytest.mark.costly
@pytest.mark.parametrize(
    ("path", "query", "said"),
    [
        ("history/samples", {"worker": RENDER, "since": "2h"}, "since is not one of 1h, 6h, 24h, 7d"),
        ("history/samples", {"worker": "nobody"}, "worker is not a worker of the policy"),
        ("history/samples", {}, "worker is not a worker of the policy"),
        ("history/samples", {"worker": RENDER, "x": "1"}, "'x' is no parameter"),
        ("history/cost", {"since": "1h"}, "'since' is no parameter"),
    ],
)
async def test_a_wrong_parameter_is_refused(controller: Staged, path: str, query: dict[str, str], said: str) -> None:
    status, body = await ask(controller, path, **query)
    assert (status, said in body["error"]) == (400, True)
    assert controller.timeline.readings == 0


@pytest.mark.costly
async def test_many_pages_cost_one_reading_for_each_worker_and_span(controller: Staged) -> None:
    for _ in range(20):
        await ask(controller, "history/samples", worker=RENDER, since="24h")
        await ask(controller, "history", since="24h", limit="500")
    assert controller.timeline.readings <= 20, "one of samples, and one of events a second"


@pytest.mark.costly
async def test_the_cost_is_of_this_month_as_far_as_it_is_recorded(controller: Staged) -> None:
    _, body = await ask(controller, "history/cost")
    (render, mailer) = body["workers"]
    month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0).timestamp()
    first = datetime.fromisoformat(body["since"]).timestamp()
    assert first >= max(month, time.time() - 7 * 86_400 - 700)
    assert render["always_on_hours"] == pytest.approx(5 * render["seen_hours"], rel=0.01)
    assert 0 <= mailer["dollars"] <= mailer["always_on_dollars"]


async def test_a_store_that_is_away_is_503() -> None:
    async with staged(timeline=KeptTimeline(is_away=True)) as controller:
        for path, query in (("history/samples", {"worker": RENDER}), ("history/cost", {}), ("history", {})):
            status, body = await ask(controller, path, **query)
            assert (status, body) == (503, {"error": "Redis: is away"})
