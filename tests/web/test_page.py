"""The page: the figures of /status where a person looks for them, and nothing in them is ever markup."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from aiohttp import web

from controller.config.timing import Timing
from controller.core.model import Leader, QueueDepth, Remark, Replicas, ServiceState
from controller.core.ports import Requests
from controller.core.reasons import Because, Reason
from controller.core.text import bounds
from controller.loop.cycle import Cooldowns, Cycle, Outcome
from controller.loop.leadership import Leadership
from controller.loop.schedule_status import ScheduleStatus
from controller.loop.status import ControllerStatus
from controller.policy import Policy, WorkerPolicy
from controller.web.health import Shown, status_report
from controller.web.page import page
from controller.web.server import application
from tests.support.sources import SOURCES
from tests.web.stand_ins import HandClock, NoLeases, cycle, silent


def shown(policy: dict[str, Any] | None = None, *cycles: Cycle) -> Shown:
    clock = HandClock()
    worker = {"service": "s", "queue": {"table": "t"}, "tiers": [{"replicas": 2}], "max_replicas": 5}
    wishes = Policy.model_validate({"workers": policy or {"w": worker}})
    leadership = Leadership(NoLeases(), clock, timing=Timing.around(15), replica="a", report=silent)
    status = ControllerStatus(clock, wishes.interval, SOURCES.names)
    for one in cycles:
        status.put(one)
    return Shown(status, leadership, wishes)


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


def test_the_page_shows_the_figures_and_the_reason() -> None:
    words = texts(page(status_report(shown(None, cycle()))))
    for part in (
        "healthy",
        "standby",
        "depth 15",
        "pending 10",
        "processing 5",
        "hold at 2 (Tier)",
        "oldest job has waited 3.2 s",
    ):
        assert part in words
    assert "may scale up now" in words
    assert "may scale down in 1 min 14 s" in words


def test_a_depth_at_the_limit_is_shown_with_a_plus() -> None:
    deep = replace(cycle(), queue=QueueDepth(10_000, 12, 3.2, limit=10_000))
    words = texts(page(status_report(shown(None, deep))))
    assert "depth 10000+ pending 10000+ processing 12" in words


def test_the_page_has_one_dot_for_each_of_max_replicas() -> None:
    half = replace(cycle(), replicas=Replicas(3, 1, 3, ServiceState.STARTING))
    words = texts(page(status_report(shown(None, half))))
    assert "● ◐◐ ○○" in words


def test_what_was_never_read_is_shown_as_unknown() -> None:
    assert "no cycle yet" in texts(page(status_report(shown())))
    unread = texts(page(status_report(shown(None, cycle(Outcome.FAILED, read=False)))))
    assert "number of running workers unknown" in unread
    assert "depth unknown" in unread
    assert "PostgreSQL fails since" in unread


def test_a_message_is_never_markup() -> None:
    wicked = Because(Reason.QUEUE_UNAVAILABLE, "<script>alert(1)</script>")
    html = page(status_report(shown(None, replace(cycle(), because=(wicked,), message=wicked.words))))
    assert "<script>" not in html
    assert "&lt;script&gt;" in html


def test_the_footer_names_the_leader_and_how_many_requests_to_the_platform_are_used() -> None:
    followed = shown(None, cycle())
    followed.leadership.leader = Leader("b:1", 7, 1_700_000_000.123)
    requests = Requests(used=30, quota=1000, window_s=3600.0, pace_s=60.0)
    words = texts(page(status_report(replace(followed, requests=lambda: requests, platform="Flying <b>Cloud</b>"))))
    footer = words[words.index("epoch 7") :]
    assert footer.startswith("epoch 7, led by b:1 since 2023-11-14T22:13:20Z · ")
    assert "30 of 1000 requests to Flying <b>Cloud</b> used · the next cycle comes 1 min after the last" in footer
    assert footer.endswith("as JSON: /status")


def test_the_footer_says_nothing_of_a_leader_and_requests_that_are_not_known() -> None:
    words = texts(page(status_report(shown(None, cycle()))))
    assert words.endswith("outcome held as JSON: /status")


SCHEDULED = WorkerPolicy.model_validate(
    {"service": "s", "queue": {"table": "t"}, "tiers": [{"replicas": 2}], "max_replicas": 5}
    | {"schedules": [{"cron": "0 8 * * *", "for": "10h", "timezone": "UTC", "max_replicas": 9}]}
)
AT_NINE, AT_NIGHT = 1_700_038_800.0, 1_700_020_800.0  # 09:00 and 04:00 of 15 November 2023


def scheduled(now: float) -> Cycle:
    return replace(cycle(), schedule=ScheduleStatus.of(SCHEDULED, now))


def test_the_page_and_status_say_which_schedule_is_on_and_until_when() -> None:
    report = status_report(shown(None, scheduled(AT_NINE)))
    words = "max_replicas 9 by the schedule `0 8 * * *`, until 18:00 UTC"
    assert words in texts(page(report))
    (worker,) = report.workers.values()
    assert worker is not None
    assert worker.last.to_json()["schedule"] == {
        "cron": "0 8 * * *",
        "timezone": "UTC",
        "min_replicas": None,
        "max_replicas": 9,
        "until": "2023-11-15T18:00:00.000Z",
        "message": words,
    }


def test_without_a_schedule_that_is_on_there_is_no_such_key() -> None:
    assert "schedule" not in scheduled(AT_NIGHT).to_json()


def test_a_schedule_that_has_ended_is_not_kept_from_the_cycle_before() -> None:
    report = status_report(shown(None, scheduled(AT_NINE), cycle(Outcome.FAILED, read=False)))
    (worker,) = report.workers.values()
    assert worker is not None
    assert worker.last.schedule is None


def test_times_are_shown_to_a_second() -> None:
    scaled = replace(cycle(), cooldowns=Cooldowns(0, 74, 1_699_999_000.456, None))
    words = texts(page(status_report(shown(None, scaled))))
    assert "last scale-up 2023-11-14T21:56:40Z" in words
    assert re.search(r"\.\d+Z", words) is None


async def test_the_page_is_served_at_the_root() -> None:
    runner = web.AppRunner(application(shown(None, cycle())))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with httpx.AsyncClient() as client:
        answer = await client.get(f"http://127.0.0.1:{runner.addresses[0][1]}/")
    await runner.cleanup()
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "hold at 2" in answer.text


def test_a_remark_on_the_queue_is_shown_as_text_and_never_as_markup() -> None:
    remark = Remark("claims", "4 jobs <b>claimed</b> for up to 10 h")
    one = replace(cycle(), queue=QueueDepth(10, 5, remarks=(remark,)))
    html = page(status_report(shown(None, one)))
    assert "4 jobs <b>claimed</b> for up to 10 h" in texts(html)
    assert "<b>" not in html


def test_the_page_is_bounded_however_long_the_remarks_on_a_queue_are() -> None:
    remarks = tuple(Remark("claims", f"{number} " + "words " * 10_000) for number in range(50))
    one = replace(cycle(), queue=QueueDepth(10, 5, remarks=remarks))
    assert len(page(status_report(shown(None, one)))) < 2 * bounds.PUBLISHED


@pytest.mark.parametrize(
    "remarks",
    [
        pytest.param("no list", id="a text"),
        pytest.param(3, id="a number"),
        pytest.param([1], id="a list of numbers"),
        pytest.param([{"about": "x", "text": 5}], id="a remark whose text is a number"),
        pytest.param([{}], id="an empty remark"),
        pytest.param({"a": 1}, id="an object"),
        pytest.param([["x"]], id="a list of lists"),
    ],
)
def test_the_page_leaves_out_remarks_of_another_version_that_it_cannot_read(remarks: Any) -> None:
    standby, published = shown(), {**cycle().to_json(), "remarks": remarks}
    standby.status.take_over({"w": json.dumps({"age_s": 1, "status": published})}, 0.0)
    words = texts(page(status_report(standby)))
    assert "depth 15" in words
    assert "hold at 2 (Tier) depth" in words, "and there is nothing between the message and the figures"
