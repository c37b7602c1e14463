"""The page: the figures of /status where a person looks for them, and nothing in them is ever markup."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from aiohttp import web

from controller.config.timing import Timing
from controller.core.model import Because, QueueDepth, Reason, Remark, Replicas, ServiceState
from controller.loop.cycle import Cycle, Outcome
from controller.loop.leadership import Leadership
from controller.loop.status import Board
from controller.policy import Policy
from controller.web.page import page
from controller.web.server import Shown, application, status_body
from tests.web.test_server import HandClock, NoLeases, cycle, silent


def shown(policy: dict[str, Any] | None = None, *cycles: Cycle) -> Shown:
    clock = HandClock()
    worker = {"service": "s", "queue": {"table": "t"}, "tiers": [{"replicas": 2}], "max_replicas": 5}
    wishes = Policy.model_validate({"workers": policy or {"w": worker}})
    leadership = Leadership(NoLeases(), clock, timing=Timing.around(15), replica="a", report=silent)
    board = Board(clock, wishes.interval)
    for one in cycles:
        board.put(one)
    return Shown(board, leadership, wishes)


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def handle_data(self, data: str) -> None:
        self.seen.append(data)


def texts(html: str) -> str:
    """What a reader sees."""
    reader = Reader()
    reader.feed(re.sub(r"<style>.*?</style>", "", html, flags=re.DOTALL))
    return " ".join(" ".join(reader.seen).split())


def test_the_figures_and_the_reason_are_there() -> None:
    words = texts(page(status_body(shown(None, cycle()))))
    for part in (
        "healthy",
        "standby",
        "depth 15",
        "pending 10",
        "processing 5",
        "hold at 2 (Tier)",
        "oldest has waited 3.2 s",
    ):
        assert part in words
    assert "may go up now" in words
    assert "may go down in 1 min 14 s" in words


def test_a_depth_at_the_limit_is_shown_as_so_many_and_more() -> None:
    deep = replace(cycle(), queue=QueueDepth(10_000, 12, 3.2, limit=10_000))
    words = texts(page(status_body(shown(None, deep))))
    assert "depth 10000+ pending 10000+ processing 12" in words


def test_each_worker_that_there_may_be_is_one_dot() -> None:
    half = replace(cycle(), replicas=Replicas(3, 1, 3, ServiceState.STARTING))
    words = texts(page(status_body(shown(None, half))))
    assert "● ◐◐ ○○" in words


def test_what_was_never_read_is_said_to_be_unknown() -> None:
    assert "not looked at yet" in texts(page(status_body(shown())))
    unread = texts(page(status_body(shown(None, cycle(Outcome.FAILED, read=False)))))
    assert "how many workers run is not known" in unread
    assert "depth unknown" in unread
    assert "PostgreSQL fails since" in unread


def test_nothing_that_is_shown_can_become_markup() -> None:
    wicked = Because(Reason.QUEUE_UNAVAILABLE, "<script>alert(1)</script>")
    html = page(status_body(shown(None, replace(cycle(), because=(wicked,), message=wicked.words))))
    assert "<script" not in html
    assert "&lt;script&gt;" in html


async def test_it_is_served_at_the_root() -> None:
    runner = web.AppRunner(application(shown(None, cycle())))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{runner.addresses[0][1]}/")
    await runner.cleanup()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "hold at 2" in answer.text


def test_what_may_be_misread_of_the_queue_is_said_and_never_markup() -> None:
    remark = Remark("claims", "4 jobs <b>claimed</b> for up to 10 h")
    one = replace(cycle(), queue=QueueDepth(10, 5, remarks=(remark,)))
    html = page(status_body(shown(None, one)))
    assert "4 jobs <b>claimed</b> for up to 10 h" in texts(html)
    assert "<b>" not in html


@pytest.mark.parametrize("remarks", ["no list", 3, [1], [{"text": 5}], [{}], {"a": 1}, [["x"]]])
def test_remarks_of_another_version_break_no_page(remarks: Any) -> None:
    status = status_body(shown(None, cycle()))
    assert "depth 15" in texts(page({**status, "workers": {"w": {**status["workers"]["w"], "remarks": remarks}}}))
