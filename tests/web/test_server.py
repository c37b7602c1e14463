"""What people and programs read over HTTP: one moment, exact keys, and never a call to anything."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from controller.config.timing import Timing
from controller.core.conditions import Condition
from controller.core.model import (
    Because,
    Decision,
    Leader,
    Lease,
    QueueDepth,
    RateUsage,
    Reason,
    Remark,
    Replicas,
    ServiceState,
)
from controller.core.ports import Bid, NotAcquired, Requests, Source, Unavailable
from controller.core.problems import ConfigurationError
from controller.core.text import bounds
from controller.loop.cycle import Cooldowns, Cycle, Outcome
from controller.loop.leadership import Leadership
from controller.loop.status import Board
from controller.policy import Policy
from controller.web.page import page
from controller.web.server import (
    Shown,
    age_header,
    application,
    health_body,
    listening_socket,
    metrics_body,
    prefers_text,
    prometheus_text,
    status_body,
)

POLICY = Policy.model_validate(
    {
        "workers": {
            "w": {
                "service": "s",
                "queue": {"table": "t"},
                "tiers": [{"replicas": 2}],
                "max_replicas": 5,
                "rate_limit": {"rpm": 60},
            }
        }
    }
)


@dataclass
class HandClock:
    now: float = 1_700_000_000.0

    def wall(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


def silent(event: str, /, **fields: object) -> None:
    """Nobody listens."""


class AwayLeases:
    async def acquire(self, bid: Bid, ttl: float) -> Lease | NotAcquired:
        raise Unavailable(Source.JOURNAL, "is away")

    async def renew(self, lease: Lease, ttl: float) -> bool:
        raise Unavailable(Source.JOURNAL, "is away")

    async def release(self, lease: Lease) -> None:
        raise Unavailable(Source.JOURNAL, "is away")


class Leases:
    async def acquire(self, bid: Bid, ttl: float) -> Lease | NotAcquired:
        return Lease(bid.holder, 7)

    async def renew(self, lease: Lease, ttl: float) -> bool:
        return True

    async def release(self, lease: Lease) -> None:
        return None


class NoLeases:
    async def acquire(self, bid: Bid, ttl: float) -> Lease | NotAcquired:
        return NotAcquired(1, 5.0)

    async def renew(self, lease: Lease, ttl: float) -> bool:
        return False

    async def release(self, lease: Lease) -> None:
        return None


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def shown(clock: HandClock) -> Shown:
    leadership = Leadership(NoLeases(), clock, timing=Timing.around(15), replica="a", report=silent)
    return Shown(Board(clock, POLICY.interval), leadership, POLICY)


def cycle(outcome: Outcome = Outcome.HELD, *, read: bool = True) -> Cycle:
    tier = Because(Reason.TIER, "15 jobs want 2 workers")
    return Cycle(
        at=1_700_000_000.0,
        worker="w",
        outcome=outcome,
        because=(tier,) if read else (Because(Reason.QUEUE_UNAVAILABLE, "hold: PostgreSQL: is away"),),
        message="hold at 2",
        max_workers=5,
        epoch=7,
        queue=QueueDepth(10, 5, 3.2) if read else None,
        replicas=Replicas(2, 2, 2, ServiceState.RUNNING) if read else None,
        decision=Decision(2, 2, 2, (tier,)) if read else None,
        rate=RateUsage(30, 60) if read else None,
        cooldowns=Cooldowns(0, 74, 1_699_999_000.0, None) if read else None,
    )


def test_health_and_metrics_show_one_moment_under_the_promised_keys(shown: Shown) -> None:
    shown.board.put(cycle())
    assert health_body(shown) == {
        "status": "healthy",
        "workers": 2,
        "maxWorkers": 5,
        "queueDepth": 15,
        "rpmUsage": 30,
        "rpmLimit": 60,
    }
    assert metrics_body(shown) == {
        "workers_current": 2,
        "workers_max": 5,
        "queue_pending": 10,
        "queue_processing": 5,
        "rpm_used": 30,
        "rpm_limit": 60,
    }


def test_what_was_never_read_is_null_and_not_zero(shown: Shown) -> None:
    body = health_body(shown)
    assert (body["status"], body["workers"], body["queueDepth"]) == ("degraded", None, None)


def test_a_failed_reading_keeps_the_last_figures_and_turns_health_degraded(shown: Shown) -> None:
    shown.board.put(cycle())
    shown.board.put(cycle(Outcome.FAILED, read=False))
    body = health_body(shown)
    assert (body["status"], body["workers"], body["queueDepth"]) == ("degraded", 2, 15)


SINCE = "2023-11-14T22:13:20.000Z"


def test_while_degraded_health_names_what_fails_and_since_when(shown: Shown, clock: HandClock) -> None:
    shown.board.put(cycle())
    shown.board.put(cycle(Outcome.FAILED, read=False))
    clock.now += 20
    shown.board.put(replace(cycle(Outcome.FAILED, read=False), at=clock.now))
    body = health_body(shown)
    assert body["failing"] == status_body(shown)["failing"] == [{"name": "PostgreSQL", "since": SINCE}]
    shown.board.put(cycle())
    assert "failing" not in health_body(shown)


def test_a_bug_is_the_controller_s_own(shown: Shown) -> None:
    shown.board.put(replace(cycle(Outcome.CRASHED, read=False), because=(Because(Reason.CRASHED, "a bug"),)))
    assert health_body(shown)["failing"] == [{"name": "controller", "since": SINCE}]


def test_numbers_that_are_not_there_yet_are_named_too(shown: Shown, clock: HandClock) -> None:
    clock.now += 5
    assert health_body(shown)["failing"] == [{"name": "observation", "since": SINCE}]


async def test_redis_trouble_is_known_to_a_standby_before_anybody_publishes_it(clock: HandClock) -> None:
    leadership = Leadership(AwayLeases(), clock, timing=Timing.around(15), replica="a", report=silent)
    shown = Shown(Board(clock, POLICY.interval), leadership, POLICY)
    await leadership.turn()
    clock.now += 20
    await leadership.turn()
    assert health_body(shown)["failing"] == [{"name": "Redis", "since": SINCE}]


def test_a_standby_names_what_the_leader_cannot_reach(shown: Shown, clock: HandClock) -> None:
    leader = Board(clock, 10)
    leader.put(cycle())
    leader.put(cycle(Outcome.FAILED, read=False))
    shown.board.take_over(leader.to_publish(), 1.0)
    assert health_body(shown)["failing"] == [{"name": "PostgreSQL", "since": SINCE}]


def test_a_loop_that_stands_still_says_since_when(shown: Shown, clock: HandClock) -> None:
    shown.board.put(cycle())
    clock.now += 1000
    body = health_body(shown)
    assert (body["status"], body["failing"]) == ("unhealthy", [{"name": "loop", "since": SINCE}])


def test_old_numbers_turn_health_degraded_and_a_loop_that_stands_still_unhealthy(
    shown: Shown, clock: HandClock
) -> None:
    shown.board.put(cycle())
    shown.board.turned()
    clock.now += 36
    assert health_body(shown)["status"] == "degraded"
    clock.now += 60
    assert health_body(shown)["status"] == "degraded"  # the cycle is given up after 90 s, and the loop turns on
    clock.now += 60
    assert health_body(shown)["status"] == "unhealthy"


def test_a_standby_shows_what_the_leader_published(shown: Shown, clock: HandClock) -> None:
    leader = Board(clock, 10)
    leader.put(cycle())
    shown.board.take_over(leader.to_publish(), 1.0)
    assert (health_body(shown)["status"], health_body(shown)["queueDepth"]) == ("healthy", 15)
    clock.now += 100
    shown.board.turned()
    assert health_body(shown)["status"] == "degraded"


def test_the_age_of_the_leader_s_numbers_needs_no_clocks_that_agree(shown: Shown, clock: HandClock) -> None:
    elsewhere = HandClock(4_000_000_000.0)
    leader = Board(elsewhere, 10)
    leader.put(cycle())
    elsewhere.now += 3
    shown.board.take_over(leader.to_publish(), 4.0)
    clock.now += 2
    assert shown.board.age("w") == pytest.approx(9)


def test_numbers_of_an_unknown_age_are_shown_and_count_as_old(shown: Shown, clock: HandClock) -> None:
    leader = Board(clock, 10)
    leader.put(cycle())
    shown.board.take_over(leader.to_publish(), None)
    assert (health_body(shown)["status"], health_body(shown)["queueDepth"]) == ("degraded", 15)
    assert status_body(shown)["workers"]["w"]["age_s"] is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "[" * 200_000, '{"age_s": 1}', '{"age_s": "x", "status": {}}', '{"age_s": 1, "status": 5}'),
        *(
            '{"age_s": 1, "status": {}}',
            '{"age_s": 1, "status": {"outcome": []}}',
            '{"age_s": NaN, "status": {"outcome": "held", "depth": 1}}',
            '{"age_s": -1, "status": {"outcome": "held", "depth": 1}}',
            '{"age_s": true, "status": {"outcome": "held", "depth": 1}}',
            '{"at": 1, "status": {"outcome": "held", "depth": 1}}',
        ),
        '{"age_s": 1, "status": {"outcome": "held", "depth": "x"}}',
        '{"age_s": 1, "status": {"outcome": "held", "depth": 1e400}}',
        '{"age_s": 1, "status": {"outcome": "held", "depth": true}}',
    ],
    ids=range(16),
)
def test_what_cannot_be_read_as_published_is_passed_over(shown: Shown, text: str) -> None:
    shown.board.take_over({"w": text}, 0.0)
    assert health_body(shown)["queueDepth"] is None


def test_a_published_cycle_that_is_longer_than_any_of_ours_is_passed_over(shown: Shown) -> None:
    text = json.dumps({"age_s": 1, "status": {"outcome": "held", "depth": 1, "message": "x" * bounds.PUBLISHED}})
    shown.board.take_over({"w": text}, 0.0)
    assert health_body(shown)["queueDepth"] is None


def test_whatever_a_queue_remarks_what_is_published_of_it_can_be_taken_over(shown: Shown, clock: HandClock) -> None:
    remarks = tuple(Remark("claims", f"{number} " + "words " * 10_000) for number in range(50))
    depth = QueueDepth(10, 5, remarks=remarks)
    leader = Board(clock, 10)
    leader.put(replace(cycle(), queue=depth))
    published = leader.to_publish()
    assert len(published["w"]) < bounds.PUBLISHED
    shown.board.take_over(published, 0.0)
    assert health_body(shown)["queueDepth"] == 15
    assert len(page(status_body(shown))) < 2 * bounds.PUBLISHED


@pytest.mark.parametrize(
    ("interval", "pace", "patience"),
    [
        pytest.param(10.0, 0.0, 35.0, id="three intervals"),
        pytest.param(10.0, 30.0, 95.0, id="or three cycles that are stretched"),
        pytest.param(10.0, 300.0, 120.0, id="but not beyond two minutes"),
        pytest.param(10.0, 999_999.0, 120.0, id="however far they are stretched"),
        pytest.param(600.0, 300.0, 1805.0, id="unless the policy asks for it"),
    ],
)
def test_numbers_are_old_after_a_bounded_time_whatever_the_pace(
    clock: HandClock, interval: float, pace: float, patience: float
) -> None:
    board = Board(clock, interval, pace=pace)
    board.put(cycle())
    clock.now += patience
    assert not board.is_old("w")
    clock.now += 0.1
    assert board.is_old("w")


def test_a_stretched_pace_is_said_in_status_and_on_the_page(shown: Shown) -> None:
    stretched = replace(shown, requests=lambda: Requests(80, 100, 3600.0, 45.25))
    counted = "80 of the 100 requests that Railway allows in 3600 s are used"
    words = f"the next cycle comes 45 s after the last, not 10 s: {counted}"
    assert status_body(stretched)["railway_requests"]["stretched"] == words
    assert words in page(status_body(stretched))


@pytest.mark.parametrize("failing", ["5", '["PostgreSQL"]', '{"x": 1}', '{"Redis": "x"}', '{"Redis": 1e99}'])
def test_troubles_that_cannot_be_read_as_such_are_passed_over(shown: Shown, failing: str) -> None:
    text = f'{{"age_s": 1, "failing": {failing}, "status": {{"outcome": "held", "depth": 1}}}}'
    shown.board.take_over({"w": text}, 0.0)
    assert health_body(shown)["status"] == "healthy"


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
def test_the_accept_header_chooses_as_it_does_at_prometheus(accept: str, text: bool) -> None:  # noqa: FBT001  # a table
    assert prefers_text(accept) is text


def test_the_prometheus_text_has_every_figure_and_leaves_out_what_was_not_read(shown: Shown) -> None:
    assert "autoscaler_queue_pending_jobs" not in prometheus_text(shown)
    shown.board.put(cycle())
    text = prometheus_text(shown)
    for line in (
        'autoscaler_queue_pending_jobs{worker="w"} 10',
        'autoscaler_replicas_running{worker="w"} 2',
        'autoscaler_cycles_total{worker="w",outcome="held"} 1',
        'autoscaler_failing{source="PostgreSQL"} 0',
        "autoscaler_is_leader 0",
        "# TYPE autoscaler_cycles_total counter",
    ):
        assert line in text.splitlines()


def test_the_requests_to_railway_are_shown_where_they_are_counted(shown: Shown) -> None:
    assert status_body(shown)["railway_requests"] is None
    assert "railway_requests" not in prometheus_text(shown)
    counted = replace(shown, requests=lambda: Requests(412, 1000, 3600.0, 7.25))
    figures = {"used": 412, "quota": 1000, "window_s": 3600, "pace_s": 7.2}
    assert status_body(counted)["railway_requests"] == {**figures, "stretched": None}
    lines = prometheus_text(counted).splitlines()
    assert {"autoscaler_railway_requests_used 412", "autoscaler_railway_requests_quota 1000"} <= set(lines)


FAULT = Condition(Reason.NO_PROGRESS, "no job was taken for 10 min", "see the workers' log", 600.0, degrades=True)


def test_a_fault_of_a_service_degrades_health_and_stands_there_with_its_worker(shown: Shown) -> None:
    shown.board.put(replace(cycle(), conditions=(replace(FAULT, degrades=False),)))
    assert health_body(shown)["status"] == "healthy"
    shown.board.put(replace(cycle(), conditions=(FAULT,)))
    body = health_body(shown)
    assert body["status"] == "degraded"
    assert body["failing"] == [{"name": "NoProgress", "worker": "w", "since": "2023-11-14T22:03:20.000Z"}]
    assert 'autoscaler_failing{source="NoProgress",worker="w"} 1' in prometheus_text(shown)
    assert status_body(shown)["workers"]["w"]["conditions"] == [
        {
            "reason": "NoProgress",
            "message": "no job was taken for 10 min: see the workers' log",
            "for_s": 600.0,
            "degrades": True,
        }
    ]


def test_a_standby_shows_the_faults_that_the_leader_published(shown: Shown, clock: HandClock) -> None:
    leader = Board(clock, POLICY.interval)
    leader.put(replace(cycle(), conditions=(FAULT,)))
    shown.board.take_over(leader.to_publish(), 0.0)
    assert [one["name"] for one in health_body(shown)["failing"]] == ["NoProgress"]


def test_the_prometheus_text_names_each_source_that_fails(shown: Shown) -> None:
    shown.board.put(cycle(Outcome.FAILED, read=False))
    samples = [line for line in prometheus_text(shown).splitlines() if line.startswith("autoscaler_failing")]
    assert samples == [
        'autoscaler_failing{source="PostgreSQL"} 1',
        'autoscaler_failing{source="Railway"} 0',
        'autoscaler_failing{source="Redis"} 0',
    ]


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


async def test_it_answers_on_ipv6_and_on_ipv4(shown: Shown) -> None:
    shown.board.put(cycle())
    async with served(shown) as port:
        for host in ("127.0.0.1", "[::1]"):
            status, _, text = await get(f"http://{host}:{port}/health")
            assert (status, json.loads(text)["status"]) == (200, "healthy")


async def test_metrics_answers_in_json_and_in_text(shown: Shown) -> None:
    shown.board.put(cycle())
    async with served(shown) as port:
        assert json.loads((await get(f"http://127.0.0.1:{port}/metrics"))[2]) == metrics_body(shown)
        _, kind, text = await get(f"http://127.0.0.1:{port}/metrics", Accept="text/plain;version=0.0.4")
        assert kind.startswith("text/plain; version=0.0.4")
        assert "# HELP" in text


async def test_a_standby_says_how_old_the_leader_s_numbers_are_as_http_does(shown: Shown, clock: HandClock) -> None:
    leader = Board(clock, 10)
    leader.put(cycle())
    shown.board.take_over(leader.to_publish(), 2.0)
    clock.now += 5
    async with served(shown) as port, httpx.AsyncClient() as client:
        for page, accept in (("health", "*/*"), ("metrics", "*/*"), ("metrics", "text/plain")):
            answer = await client.get(f"http://127.0.0.1:{port}/{page}", headers={"Accept": accept})
            assert answer.headers["age"] == "7"


async def test_whoever_leads_answers_at_first_hand_without_an_age(clock: HandClock) -> None:
    leadership = Leadership(Leases(), clock, timing=Timing.around(15), replica="a", report=silent)
    shown = Shown(Board(clock, POLICY.interval), leadership, POLICY)
    await leadership.turn()
    shown.board.put(cycle())
    assert age_header(shown) == {}


def test_status_says_who_leads_since_when_and_in_which_epoch(shown: Shown) -> None:
    assert status_body(shown)["leader"] is None
    shown.leadership.leader = Leader("b:1", 7, 1_700_000_000.0)
    assert status_body(shown)["leader"] == {"holder": "b:1", "epoch": 7, "since": SINCE}


async def test_an_unhealthy_loop_answers_503(shown: Shown, clock: HandClock) -> None:
    shown.board.turned()
    clock.now += 1000
    async with served(shown) as port:
        assert (await get(f"http://127.0.0.1:{port}/health"))[0] == 503


async def test_status_has_the_role_the_reasons_the_cooldowns_and_the_policy(shown: Shown) -> None:
    shown.board.put(cycle())
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


async def test_a_hundred_requests_at_once_are_answered(shown: Shown) -> None:
    shown.board.put(cycle())
    async with served(shown) as port, httpx.AsyncClient() as client:
        answers = await asyncio.gather(*(client.get(f"http://127.0.0.1:{port}/health") for _ in range(100)))
    assert {answer.status_code for answer in answers} == {200}


# --- whatever another version, or anybody, has put into Redis ---

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
    board = Board(HandClock(), 10)
    board.put(cycle())
    entry = json.loads(board.to_publish()["w"])
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
        text.encode() for text in [*texts, prometheus_text(shown), page(status_body(shown)), str(age_header(shown))]
    ]


@given(published(), published(), st.none() | st.floats(0, 1e6))
def test_every_page_answers_whatever_was_published(first: str, second: str, age: float | None) -> None:
    clock = HandClock()
    leadership = Leadership(NoLeases(), clock, timing=Timing.around(15), replica="a", report=silent)
    shown = Shown(Board(clock, POLICY.interval), leadership, POLICY)
    for text in (first, second):
        shown.board.take_over({"w": text}, age)
        assert all(every_answer(shown))
        json.loads(json.dumps(status_body(shown), allow_nan=False))
    shown.board.put(cycle(Outcome.FAILED, read=False))
    assert all(every_answer(shown)), "and once this replica leads"


@pytest.mark.parametrize(
    "status",
    [
        {"outcome": "held"},
        {"outcome": "held", "running": 2, "configured": 2},
        {"outcome": "held", "running": 2, "configured": 1, "reasons": ["Tier"], "unheard_of": {"a": [1]}},
    ],
    ids=["hardly anything", "no maximum", "a key that is new"],
)
async def test_what_a_leader_of_another_version_leaves_out_is_filled_in(shown: Shown, status: dict[str, Any]) -> None:
    shown.board.take_over({"w": json.dumps({"age_s": 1, "status": status})}, 1.0)
    async with served(shown) as port:
        answers = {path: await get(f"http://127.0.0.1:{port}/{path}") for path in ("", "health", "metrics", "status")}
    assert {path: code for path, (code, _, _) in answers.items()} == dict.fromkeys(answers, 200)
    worker = json.loads(answers["status"][2])["workers"]["w"]
    assert status.items() <= worker.items()
    assert worker["depth"] is None


def test_a_stamp_that_no_calendar_holds_is_shown_as_its_end(shown: Shown) -> None:
    shown.leadership.leader = Leader("b:1", 7, 999_999_999_999.0)
    assert status_body(shown)["leader"]["since"].startswith("9999-12-31")
    shown.leadership.leader = Leader("b:1", 7, -999_999_999_999.0)
    assert status_body(shown)["leader"]["since"].startswith("0001-01-01")


def test_there_is_no_sum_over_workers_of_which_one_was_never_read(clock: HandClock) -> None:
    worker = POLICY.workers["w"]
    both = POLICY.model_copy(update={"workers": {"w": worker, "v": worker}})
    leadership = Leadership(NoLeases(), clock, timing=Timing.around(15), replica="a", report=silent)
    shown = Shown(Board(clock, POLICY.interval), leadership, both)
    shown.board.put(cycle())
    body = health_body(shown)
    assert (body["workers"], body["queueDepth"], body["rpmUsage"]) == (None, None, None)
    assert metrics_body(shown)["workers_current"] is None
    shown.board.put(replace(cycle(), worker="v"))
    body = health_body(shown)
    assert (body["workers"], body["queueDepth"], body["rpmUsage"]) == (4, 30, 60)


async def test_a_dry_run_counts_as_no_leader(clock: HandClock) -> None:
    leadership = Leadership(Leases(), clock, timing=Timing.around(15), replica="a", report=silent)
    await leadership.turn()
    assert leadership.lease is not None, "it leads by its own word"
    leading = Shown(Board(clock, POLICY.interval), leadership, POLICY)
    dry = replace(leading, dry_run=True)
    assert {"autoscaler_is_leader 1", "autoscaler_lease_epoch 7"} <= set(prometheus_text(leading).splitlines())
    assert "autoscaler_is_leader 0" in prometheus_text(dry).splitlines()
    assert "autoscaler_lease_epoch" not in prometheus_text(dry)
    assert status_body(dry)["role"] == "dry run"
