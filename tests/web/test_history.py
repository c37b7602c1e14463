"""GET /history: filtered, paged, bounded; what is wrong with a request is said in a sentence."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from controller.core.timeline import Happening
from tests.support.scene import WORKER, Scene


async def ask(scene: Scene, **query: Any) -> httpx.Response:
    from aiohttp.test_utils import TestClient, TestServer

    from controller.web.server import application

    async with scene.controller() as driven:
        recorder = driven.controller.recorder
        for number in range(30):
            figures = {"before": 0, "after": number, "reasons": ["Tier"] if number % 2 else ["Maximum"]}
            recorder._put("happening", "", Happening("scaled", WORKER, f"0 → {number}", figures=figures))
        await recorder.flush()
        async with TestClient(TestServer(application(driven.controller.shown))) as client:
            answer = await client.get("/history", params={name: str(value) for name, value in query.items()})
            return httpx.Response(answer.status, text=await answer.text(), headers=dict(answer.headers))


async def test_the_newest_come_first_and_the_rest_page_by_page(scene: Scene) -> None:
    answer = await ask(scene, event="scaled", limit=10)
    assert answer.status_code == 200
    body = answer.json()
    assert [one["after"] for one in body["entries"]] == list(range(29, 19, -1))
    assert body["entries"][0] | {"at": ""} == {
        "at": "",
        "event": "scaled",
        "worker": WORKER,
        "message": "0 → 29",
        "before": 0,
        "after": 29,
        "reasons": ["Tier"],
    }
    rest = (await ask(scene, event="scaled", limit=500, after=body["more"])).json()
    assert [one["after"] for one in rest["entries"]] == list(range(19, -1, -1))
    assert rest["more"] is None


async def test_filters_go_together(scene: Scene) -> None:
    body = (await ask(scene, reason="Maximum", worker=WORKER, since="1h")).json()
    assert {one["after"] % 2 for one in body["entries"]} == {0}
    assert (await ask(scene, reason="Maximum", worker="another")).json()["entries"] == []
    assert (await ask(scene, until="1h")).json()["entries"] == []


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"since": "yesterday"}, "'yesterday' is not a time"),
        ({"limit": "0"}, "limit is not from 1 to 500"),
        ({"limit": "501"}, "limit is not from 1 to 500"),
        ({"limit": "-1"}, "limit is not from 1 to 500"),
        ({"reason": "Tear"}, "'Tear' is no reason"),
        ({"event": "scalled"}, "'scalled' is no event of the history"),
        ({"after": "+"}, "after is not the `more` of an answer"),
        ({"wroker": "x"}, "'wroker' is no parameter; there is after, event, limit, reason, since, until, worker"),
        ({"worker": "x" * 101}, "longer than 100 characters"),
    ],
)
async def test_a_wrong_parameter_is_refused(scene: Scene, query: dict[str, str], said: str) -> None:
    answer = await ask(scene, **query)
    assert answer.status_code == 400
    assert said in answer.json()["error"]


async def test_a_redis_that_is_away_is_503_and_the_other_paths_go_on(scene: Scene) -> None:
    from aiohttp.test_utils import TestClient, TestServer

    from controller.web.server import application

    async with scene.controller() as driven:
        await driven.tick()
        await driven.controller.recorder.flush()
        await scene.redis.set("{autoscaler:" + scene.environment["RAILWAY_ENVIRONMENT_ID"] + "}:history", "x")
        async with TestClient(TestServer(application(driven.controller.shown))) as client:
            answer = await client.get("/history")
            assert answer.status == 503
            assert "is not ours" in (await answer.json())["error"]
            assert (await client.get("/health")).status == 200
