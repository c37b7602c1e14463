"""Sending beside the loop: what hangs delays nothing, what is queued is bounded, and only a leader sends."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from controller.adapters.notify import opening
from controller.core.model import Lease
from controller.core.notices import Mark, Notice
from controller.core.ports import NotDeliveredError, Notify, Unavailable
from controller.loop import notifier as module
from controller.loop.alerts import Alerts
from controller.loop.leadership import Leadership
from controller.loop.notifier import MOST_QUEUED, MOST_WAITING, STALE_S, Notifier
from controller.loop.supervisor import Supervisor
from controller.policy import Policy, Target
from tests.loop.test_runner import POLICY, Jobs, Stage
from tests.support.examples import some
from tests.support.receiver import PATH, Receiver, receiving
from tests.support.sources import REDIS
from tests.virtual.idle import LoopClock

pytestmark = pytest.mark.virtual_time


@dataclass
class Kept:
    """Marks in memory, for all the leaders of a test."""

    marks: dict[str, Mark] = field(default_factory=dict)
    is_away: bool = False

    async def load(self) -> Mapping[str, Mark]:
        self._answer()
        return dict(self.marks)

    async def save(self, changes: Mapping[str, Mark | None]) -> None:
        self._answer()
        for ident, mark in changes.items():
            self.marks.pop(ident, None)
            if mark is not None:
                self.marks[ident] = mark

    def _answer(self) -> None:
        if self.is_away:
            raise Unavailable(REDIS, "is away")


@dataclass
class Held:
    """What a Notifier asks of the leadership."""

    lease: Lease | None = field(default_factory=lambda: Lease("me", 3))
    fault: Unavailable | None = None
    has_led: bool = True


@dataclass
class Target1:
    """A port that does as a test wants."""

    faults: list[Exception] = field(default_factory=list)
    takes_s: float = 0.0
    sent: list[Notice] = field(default_factory=list)
    asked_at: list[float] = field(default_factory=list)
    is_closed: bool = False

    async def send(self, notice: Notice, at: float) -> str:
        self.asked_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(self.takes_s)
        if self.faults:
            raise self.faults.pop(0)
        self.sent.append(notice)
        return "HTTP 200"

    async def close(self) -> None:
        self.is_closed = True


def policy_of(*targets: Mapping[str, Any]) -> Policy:
    values = [{"on": ["contended", "takeover", "failing", "recovered"], **one} for one in targets]
    return POLICY.model_copy(update={"notify": tuple(map(Target.model_validate, values))})


SLACK = {"slack": f"https://slack.test{PATH}"}


@dataclass
class Play:
    port: Target1 = field(default_factory=Target1)
    kept: Kept = field(default_factory=Kept)
    held: Held = field(default_factory=Held)
    events: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    policy: Policy = field(default_factory=lambda: policy_of(SLACK))
    ports: dict[str, Notify] = field(default_factory=dict)

    def made(self) -> Notifier:
        def report(event: str, /, **fields: object) -> None:
            self.events.append((event, fields))

        def opened(target: Target) -> Notify:
            return self.ports.get(target.key, self.port)

        clock, held = LoopClock(), cast("Leadership", self.held)  # what it asks of one
        notifier = Notifier(opened, self.kept, clock, held, report, Supervisor("notifications", clock, report))
        notifier.serve(self.policy)
        return notifier

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Notifier]:
        notifier = self.made()
        task = asyncio.create_task(notifier.run())
        yield notifier
        assert not task.done(), "whatever a target does, it goes on"
        task.cancel()
        await notifier.close()


def contended(notifier: Notifier, worker: str = "good") -> None:
    notifier.event("contended", {"worker": worker, "message": f"{worker} is changed from outside"})


def results(notifier: Notifier) -> dict[str, int]:
    (report,) = notifier.reports()
    return {name: count for name, count in report.results.items() if count}


def passing(**more: Any) -> NotDeliveredError:
    return NotDeliveredError("answered with HTTP 500", may_retry=True, **more)


async def test_what_may_pass_is_tried_four_times_and_then_counted_logged_and_shown() -> None:
    play = Play(Target1([passing() for _ in range(4)]))
    async with play.running() as notifier:
        contended(notifier)
        await asyncio.sleep(200)
        assert results(notifier) == {"failed": 1}
        assert (len(play.port.asked_at), play.port.sent) == (4, [])
        (report,) = notifier.reports()
        assert (report.name, report.failure, report.queued) == ("slack-1", "answered with HTTP 500", 0)
    assert play.events == [
        (
            "notify_failed",
            {
                "target": "slack-1",
                "failed": 1,
                "message": "slack-1 was not told of contended: it answered with HTTP 500; try `autoscaler notify-test`",
            },
        )
    ]


async def test_what_succeeds_at_the_second_attempt_is_sent_once() -> None:
    play = Play(Target1([passing()]))
    async with play.running() as notifier:
        contended(notifier)
        await asyncio.sleep(100)
        assert results(notifier) == {"sent": 1}
    assert play.events == []


async def test_what_is_refused_for_good_is_tried_once() -> None:
    play = Play(Target1([NotDeliveredError("answered with HTTP 404", may_retry=False)]))
    async with play.running() as notifier:
        contended(notifier)
        await asyncio.sleep(100)
        assert (results(notifier), len(play.port.asked_at)) == ({"failed": 1}, 1)


@pytest.mark.parametrize(("asked", "waited"), [(7.0, 7.0), (3600.0, 60.0)], ids=["7 s", "1 h, cut to 1 min"])
async def test_the_time_that_a_target_asks_to_wait_is_waited_within_a_bound(asked: float, waited: float) -> None:
    play = Play(Target1([passing(wait_s=asked)]))
    async with play.running() as notifier:
        contended(notifier)
        await asyncio.sleep(100)
    first, second = play.port.asked_at
    assert second - first == pytest.approx(waited, abs=0.01)


async def test_a_bug_in_a_target_s_client_is_a_failure_of_that_message_only() -> None:
    play = Play(Target1([ZeroDivisionError("a bug")]))
    async with play.running() as notifier:
        contended(notifier, "good")
        contended(notifier, "bad")
        await asyncio.sleep(10)
        assert results(notifier) == {"failed": 1, "sent": 1}


async def test_a_bug_in_what_decides_is_logged_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    play = Play()
    async with play.running() as notifier:
        monkeypatch.setattr(Alerts, "happened", lambda *_: 1 / 0)
        contended(notifier)
        await asyncio.sleep(10)
        monkeypatch.undo()
        contended(notifier)
        await asyncio.sleep(10)
        assert results(notifier) == {"sent": 1}
    assert [name for name, _ in play.events] == ["crashed"]


async def test_faults_of_a_target_that_lasts_are_logged_once_a_minute() -> None:
    play = Play(Target1(takes_s=0.0))
    play.port.faults = [NotDeliveredError("is gone", may_retry=False) for _ in range(1000)]
    async with play.running() as notifier:
        for number in range(120):
            notifier.event("lease_acquired", {"epoch": number, "holder": "b"})
            notifier.alerts._throttles.clear()
            await asyncio.sleep(1)
        assert results(notifier)["failed"] == 120
    assert [name for name, _ in play.events] == ["notify_failed", "notify_failed"]


# --- bounds ---


@pytest.mark.costly
async def test_what_waits_is_bounded_while_a_target_hangs_and_the_oldest_is_dropped() -> None:
    play = Play(Target1(takes_s=1e9))
    async with play.running() as notifier:
        for number in range(3 * MOST_WAITING):
            notifier.event("lease_acquired", {"epoch": number, "holder": "b"})
            notifier.alerts._throttles.clear()
            await asyncio.sleep(0.1)
        (report,) = notifier.reports()
        assert report.queued == MOST_QUEUED + 1
        assert report.results["dropped"] == 3 * MOST_WAITING - MOST_QUEUED - 1
        assert len(notifier.alerts.marks) <= 200
    assert play.port.sent == []


async def test_what_waits_to_be_looked_at_is_bounded_while_the_store_is_away() -> None:
    play = Play(kept=Kept(is_away=True))
    async with play.running() as notifier:
        for _ in range(3 * MOST_WAITING):
            contended(notifier)
        await asyncio.sleep(30)
        assert len(notifier._facts) == MOST_WAITING
        assert play.port.sent == [], "what another leader has told is unknown"
        play.kept.is_away = False
        await asyncio.sleep(30)
        assert len(play.port.sent) == 1


async def test_a_message_that_could_not_be_sent_for_an_hour_is_dropped() -> None:
    play = Play(Target1(takes_s=STALE_S + 1))
    async with play.running() as notifier:
        contended(notifier, "good")
        contended(notifier, "bad")
        await asyncio.sleep(3 * STALE_S)
        assert results(notifier) == {"sent": 1, "dropped": 1}


async def test_a_target_that_hangs_does_not_delay_another() -> None:
    play = Play(policy=policy_of(SLACK, {"webhook": "https://other.test"}))
    slow, quick = (target.key for target in play.policy.notify)
    ports = {slow: Target1(takes_s=1e9), quick: Target1()}
    play.ports.update(ports)
    async with play.running() as notifier:
        contended(notifier)
        await asyncio.sleep(1)
        assert [len(ports[key].sent) for key in (slow, quick)] == [0, 1]


async def until_leading(stage: Stage) -> None:
    while stage.leadership.lease is None:
        await asyncio.sleep(0.01)


@pytest.mark.costly
@pytest.mark.parametrize(
    "hostile",
    some(
        [
            pytest.param({"hangs": True}, id="hangs"),
            pytest.param({"slow_s": 30.0}, id="is 30 s slow"),
            pytest.param({"statuses": [500] * 9999}, id="answers 500"),
        ],
        every=2,
    ),
)
async def test_the_cycles_keep_their_pace_whatever_a_webhook_does(hostile: dict[str, Any]) -> None:
    """A whole loop with a fault in each cycle, a real receiver, and virtual time: each cycle is counted."""
    async with receiving(Receiver(**hostile)) as receiver:
        stage, play = Stage(jobs=Jobs(breaks=True)), Play()
        play.policy = policy_of({"webhook": receiver.address, "failing_after": "0s"})
        play.ports = {one.key: opening("")(one) for one in play.policy.notify}
        async with play.running() as notifier:
            began: list[float] = []
            stage.runner._listeners = (
                lambda cycle, *_: began.append(asyncio.get_running_loop().time()) if cycle.worker == "good" else None,
                notifier.cycle,
            )
            leading = asyncio.create_task(stage.leadership.keep())
            await until_leading(stage)
            running = asyncio.create_task(stage.runner.run())
            start = asyncio.get_running_loop().time()
            for number in range(45):
                await asyncio.sleep(1.0)
                notifier.event("lease_acquired", {"epoch": number, "holder": "b"})
                notifier.alerts._throttles.clear()
            stage.runner.stop()
            await running
            leading.cancel()
            gaps = [after - before for before, after in itertools.pairwise(began)]
            assert len(began) >= (asyncio.get_running_loop().time() - start) / 0.1 - 2
            assert max(gaps) == pytest.approx(0.1, abs=0.005)
            (report,) = notifier.reports()
            assert report.queued <= MOST_QUEUED + 1
            assert len(receiver.received) > 3, "it was asked all the time"
            assert not report.results["sent"]


# --- who sends ---


async def test_a_standby_sends_nothing_and_keeps_nothing() -> None:
    play = Play(held=Held(None))
    async with play.running() as notifier:
        contended(notifier)
        await asyncio.sleep(10)
        play.held.lease = Lease("me", 4)
        notifier.event("lease_acquired", {"epoch": 4, "holder": "me"})
        await asyncio.sleep(10)
    assert [notice.kind for notice in play.port.sent] == ["takeover"]


async def test_while_redis_is_away_the_replica_that_led_last_goes_on_telling() -> None:
    play = Play()
    async with play.running() as notifier:
        contended(notifier, "good")
        await asyncio.sleep(1)
        play.held.lease, play.held.fault = None, Unavailable(REDIS, "is away")
        contended(notifier, "bad")
        await asyncio.sleep(1)
        assert len(play.port.sent) == 2
        assert len(play.kept.marks) == 1, "it writes nothing without the lease"
        play.held.lease, play.held.fault = Lease("me", 5), None
        notifier.event("woken", {})
        notifier.cycle(_some_cycle(), {}, {})
        await asyncio.sleep(1)
        assert len(play.kept.marks) == 2
        play.held.has_led, play.held.lease, play.held.fault = False, None, Unavailable(REDIS, "is away")
        notifier.alerts._throttles.clear()
        contended(notifier)
        await asyncio.sleep(1)
    assert len(play.port.sent) == 2, "a replica that never led does not tell"


def _some_cycle() -> Any:
    from tests.loop.test_alerts import cycle

    return cycle(0, "good")


async def test_a_replica_that_lost_its_lease_sends_nothing_of_what_it_had_queued() -> None:
    play = Play(Target1(takes_s=5.0))
    async with play.running() as notifier:
        contended(notifier, "good")
        contended(notifier, "bad")
        await asyncio.sleep(1)
        play.held.lease = None
        await asyncio.sleep(60)
        assert results(notifier) == {"sent": 1, "dropped": 1}


async def test_after_a_takeover_nothing_is_told_twice() -> None:
    play = Play()
    event = {"epoch": 3, "change": "c1", "settled": "applied", "message": "0 → 2"}
    play.policy = policy_of({**SLACK, "on": ["scaled"]})
    async with play.running() as first:
        first.event("intent_settled", event)
        await asyncio.sleep(1)
    play.held.lease = Lease("other", 4)
    async with play.running() as second:
        second.event("intent_settled", event)
        await asyncio.sleep(1)
        second.event("intent_settled", {**event, "change": "c2"})
        await asyncio.sleep(601)
        second.cycle(_some_cycle(), {}, {})
        second.event("intent_settled", {**event, "change": "c3"})
        await asyncio.sleep(1)
    assert len(play.port.sent) == 3
    assert len({notice.ident for notice in play.port.sent}) == 3


async def test_a_leader_that_died_after_the_target_took_it_and_before_it_wrote_that_down_tells_it_twice() -> None:
    """As far as it can be promised: both messages have the same id."""
    play = Play()
    event = {"epoch": 3, "change": "c1", "settled": "applied", "message": "0 → 2"}
    play.policy = policy_of({**SLACK, "on": ["scaled"]})
    async with play.running() as first:
        first.event("intent_settled", event)
        await asyncio.sleep(1)
    (ident,) = play.kept.marks
    play.kept.marks[ident] = play.kept.marks[ident]._replace(told=())
    play.held.lease = Lease("other", 4)
    async with play.running() as second:
        second.event("intent_settled", event)
        await asyncio.sleep(1)
    one, other = play.port.sent
    assert one.ident == other.ident


@pytest.mark.parametrize(("least", "told"), [(1, 1), (5, 0)], ids=["1 to 5 workers", "5 workers, whatever comes"])
async def test_a_count_that_the_schedule_of_the_hour_fixes_is_no_maximum_to_be_told_of(least: int, told: int) -> None:
    from tests.loop.test_alerts import cycle

    play = Play(policy=policy_of({**SLACK, "on": ["at_max"], "at_max_after": "1m"}))
    hours = {"cron": "* * * * *", "for": "1h", "timezone": "UTC", "min_replicas": least, "max_replicas": 5}
    worker = {"service": "s", "queue": {"table": "t"}, "tiers": [{"replicas": 1}], "max_replicas": 8}
    policy = Policy.model_validate({"workers": {"good": {**worker, "schedules": [hours]}}})
    play.policy = play.policy.model_copy(update={"workers": policy.workers})
    async with play.running() as notifier:
        for at in (0, 100, 200):
            notifier.cycle(cycle(at, "good", wants=5), {}, {})
        await asyncio.sleep(1)
    assert len(play.port.sent) == told


async def test_a_dry_run_tells_nothing() -> None:
    notifier = Play().made()
    notifier.tells = False
    notifier.serve(policy_of(SLACK))
    contended(notifier)
    assert (notifier.reports(), len(notifier._facts)) == ([], 0)


# --- the end, and an edit ---


async def test_the_last_words_are_sent_within_their_time_and_no_longer() -> None:
    quick, slow = Play(), Play(Target1(takes_s=60.0))
    for play, took in ((quick, 0.0), (slow, 0.3)):
        notifier = play.made()
        contended(notifier)
        began = asyncio.get_running_loop().time()
        await notifier.last_words(0.3)
        await notifier.close()
        assert asyncio.get_running_loop().time() - began == pytest.approx(took, abs=0.01)
    assert ([len(play.port.sent) for play in (quick, slow)], quick.port.is_closed) == ([1, 0], True)
    (mark,) = quick.kept.marks.values()
    assert len(mark.told) == 1, "so that the successor does not tell it again"


async def test_last_words_without_anything_to_say_take_no_time() -> None:
    began = asyncio.get_running_loop().time()
    await Play().made().last_words(10)
    assert asyncio.get_running_loop().time() == began


async def test_an_edit_takes_over_new_targets_and_keeps_queue_and_counts_of_those_that_stay() -> None:
    play = Play(policy=policy_of(SLACK, {"webhook": "https://gone.test"}))
    stays, gone = (target.key for target in play.policy.notify)
    ports = {stays: Target1(takes_s=5.0), gone: Target1()}
    play.ports.update(ports)
    async with play.running() as notifier:
        contended(notifier, "good")
        await asyncio.sleep(10)
        contended(notifier, "bad")
        await asyncio.sleep(1)
        new = policy_of({"slack": "https://new.test"}, SLACK)
        ports[new.notify[0].key] = Target1()
        play.ports.update(ports)
        notifier.serve(new)
        notifier.alerts._throttles.clear()
        contended(notifier, "other")
        await asyncio.sleep(20)
        reports = {one.name: {name: n for name, n in one.results.items() if n} for one in notifier.reports()}
        assert reports == {"slack-1": {"sent": 1}, "slack-2": {"sent": 3}}
        assert ports[gone].is_closed


async def test_a_target_with_another_secret_keeps_what_it_had_queued() -> None:
    hook = {"webhook": "https://hook.test", "secret": "0123456789abcdef-one"}
    play = Play(Target1(takes_s=5.0), policy=policy_of(hook))
    async with play.running() as notifier:
        contended(notifier, "good")
        contended(notifier, "bad")
        await asyncio.sleep(1)
        play.port = Target1()
        notifier.serve(policy_of({**hook, "secret": "0123456789abcdef-two"}))
        await asyncio.sleep(20)
        assert len(play.port.sent) >= 1


def test_the_events_that_are_told_are_those_that_have_words() -> None:
    from controller.loop.alerts import _EVENTS

    assert set(_EVENTS) == module._EVENTS_TOLD


def test_nothing_of_an_address_is_in_what_is_shown_of_a_target() -> None:
    notifier = Play().made()
    shown = json.dumps([report._asdict() for report in notifier.reports()])
    assert "slack-1" in shown
    assert "PLANTED" not in shown
    assert "PLANTED" not in repr(notifier)
