"""The loop: a bug stays where it is, a burst of notifications is one look, and the end is orderly."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from controller.adapters.clock import SystemClock
from controller.config.timing import Timing
from controller.core.model import (
    Change,
    History,
    Lease,
    QueueDepth,
    RateUsage,
    Replicas,
    ServiceState,
    ServiceTime,
)
from controller.core.ports import (
    Bid,
    LeaderState,
    NotAcquired,
    Recalled,
    Receipt,
    Requests,
    Unavailable,
)
from controller.core.reasons import Reason
from controller.core.text import bounds
from controller.core.text.masking import Masker
from controller.core.units import in_words
from controller.loop.cycle import LONGEST_CYCLE_S, Outcome
from controller.loop.leadership import Leadership
from controller.loop.log import Log
from controller.loop.reconciler import Ports
from controller.loop.runner import Runner
from controller.loop.status import ControllerStatus
from controller.policy import Policy, Tier
from controller.policy import Queue as QueuePolicy
from controller.web.health import Shown, health_body
from controller.web.metrics import prometheus_text
from tests.support.exposition import value_of
from tests.support.one_by_one import OneByOne
from tests.support.scene import StandingClock
from tests.support.sources import POSTGRESQL, RAILWAY, REDIS, SOURCES
from tests.virtual.idle import LoopClock

pytestmark = pytest.mark.virtual_time
POLICY = Policy.model_validate(
    {
        "interval": "100ms",
        "workers": {
            name: {"service": name, "queue": {"table": name}, "tiers": [{"replicas": 0}], "max_replicas": 1}
            for name in ("good", "bad")
        },
    }
)
WANTING = POLICY.model_copy(
    update={
        "workers": {
            name: worker.model_copy(update={"tiers": (Tier(replicas=1),)}) for name, worker in POLICY.workers.items()
        }
    }
)
LEASE = Lease("me", 3)


@dataclass
class Jobs(OneByOne):
    """A queue that breaks for one table in an unforeseen way."""

    source = POSTGRESQL

    readings: int = 0
    breaks: bool = True
    pending: int = 0

    async def close(self) -> None: ...

    async def depth(self, queue: QueuePolicy, limit: int, enough: int = 0, busy: int = 0) -> QueueDepth:
        self.readings += 1
        if queue.table == "bad" and self.breaks:
            raise ZeroDivisionError("a bug")
        return QueueDepth(self.pending, 0)

    async def service_time(self, queue: QueuePolicy) -> ServiceTime | None:
        return None


@dataclass
class DeafJobs(Jobs):
    """A queue that does not answer, and does not end when it is told to."""

    told_to_end: asyncio.Event = field(default_factory=asyncio.Event)
    freed: asyncio.Event = field(default_factory=asyncio.Event)

    async def depth(self, queue: QueuePolicy, limit: int, enough: int = 0, busy: int = 0) -> QueueDepth:
        while not self.freed.is_set():
            try:
                await self.freed.wait()
            except asyncio.CancelledError:
                self.told_to_end.set()
        return QueueDepth(0, 0)


@dataclass
class Services:
    source = RAILWAY

    fault: Exception | None = None
    replicas: int = 0
    pace_s: float = 0.0
    willing: bool = False
    readings: int = 0
    asked_for: list[tuple[str, int]] = field(default_factory=list)

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        self.readings += 1
        if self.fault is not None:
            raise self.fault
        return {service: Replicas(self.replicas, 0, 0, ServiceState.STOPPED) for service in services}

    async def scale(self, service: str, change: Change, observed: Replicas) -> Receipt:
        assert self.willing, "nothing should be scaled here"
        self.asked_for.append((service, change.after))
        return Receipt.ACCEPTED

    def requests(self) -> Requests:
        return Requests(0, 1000, 3600.0, self.pace_s)

    def chooser(self, service: str) -> None:
        """It chooses by itself which replicas go."""


class Memory:
    """A journal in memory that knows nothing and keeps nothing but what was published."""

    source = REDIS

    def __init__(self) -> None:
        self.lines: Mapping[str, str] = {}

    async def recall(self, worker: str) -> Recalled:
        return Recalled(History(), 0.0, 0.0)

    async def write(self, worker: str, recalled: Recalled, history: History, lease: Lease, *, now: float) -> Recalled:
        return recalled._replace(history=history)

    async def publish(self, lines: Mapping[str, str], lease: Lease) -> None:
        self.lines = lines

    async def watch(self, workers: Sequence[str]) -> LeaderState:
        return LeaderState(None, 0.0, self.lines, None)


class Unlimited:
    async def used(self, *_: Any) -> RateUsage:
        return RateUsage(0, 60)

    async def share(self, *_: Any) -> None: ...


class Always:
    """Everybody may lead."""

    async def acquire(self, bid: Bid, ttl: float) -> Lease | NotAcquired:
        return LEASE

    async def renew(self, lease: Lease, ttl: float) -> bool:
        return True

    async def release(self, lease: Lease) -> None: ...


@dataclass
class Stage:
    jobs: Jobs = field(default_factory=Jobs)
    services: Services = field(default_factory=Services)
    memory: Memory = field(default_factory=Memory)
    text: io.StringIO = field(default_factory=io.StringIO)
    policy: Policy = POLICY

    def __post_init__(self) -> None:
        clock = LoopClock()
        log = Log(self.text, form="json", clock=clock)
        world = Ports(self.jobs, self.services, self.memory, Unlimited(), clock, log.event)
        self.status = ControllerStatus(clock, self.policy.interval, SOURCES.names)
        self.leadership = Leadership(Always(), clock, timing=Timing.around(15), replica="a", report=log.event)
        self.runner = Runner(self.policy, world, self.leadership, self.status, log, landing_bound=60)

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.getvalue().splitlines()]


async def test_a_bug_in_one_worker_s_cycle_is_logged_with_its_traceback_and_leaves_the_other_alone() -> None:
    stage = Stage()
    good, bad = await stage.runner.tick(LEASE)
    assert (good.outcome, bad.outcome, bad.reason) == (Outcome.HELD, Outcome.CRASHED, Reason.CRASHED)
    (event,) = [line for line in stage.lines if line["event"] == "crashed"]
    assert "ZeroDivisionError: a bug" in event["traceback"]
    assert stage.memory.lines.keys() == {"good", "bad"}


async def test_a_bug_in_reading_the_platform_concerns_every_worker_and_stops_none() -> None:
    stage = Stage(services=Services(KeyError("a bug")))
    cycles = await stage.runner.tick(LEASE)
    assert [cycle.outcome for cycle in cycles] == [Outcome.CRASHED, Outcome.CRASHED]


async def test_a_platform_that_cannot_be_read_holds_every_worker() -> None:
    stage = Stage(services=Services(Unavailable(RAILWAY, "is away")), jobs=Jobs(breaks=False))
    cycles = await stage.runner.tick(LEASE)
    assert {cycle.reason for cycle in cycles} == {Reason.PLATFORM_UNAVAILABLE}


@dataclass
class SlowServices(Services):
    takes_s: float = 0.0

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        await asyncio.sleep(self.takes_s)
        return await super().observe(services)


@pytest.mark.parametrize(
    ("takes_s", "readings"), [pytest.param(0.5, 1, id="a quick platform"), pytest.param(3.0, 2, id="a slow platform")]
)
async def test_a_depth_is_read_again_if_the_platform_answered_long_after_it(takes_s: float, readings: int) -> None:
    stage = Stage(services=SlowServices(takes_s=takes_s), jobs=Jobs(breaks=False))
    cycles = await stage.runner.tick(LEASE)
    assert {cycle.outcome for cycle in cycles} == {Outcome.HELD}
    assert stage.jobs.readings == readings * len(POLICY.workers)


async def test_the_loop_goes_on_after_a_bug_and_ends_when_it_is_told() -> None:
    stage = Stage()
    await stage.leadership.turn()
    running = asyncio.create_task(stage.runner.run())
    await asyncio.sleep(0.5)
    stage.runner.stop()
    await asyncio.wait_for(running, 1)
    assert 4 <= stage.status.counts.outcomes["bad", "crashed"] <= 6
    assert len([line for line in stage.lines if line["event"] == "crashed"]) == 1
    assert len([line for line in stage.lines if line.get("outcome") == "crashed"]) == 1
    assert len([line for line in stage.lines if line.get("outcome") == "held"]) >= 4


async def test_a_thousand_notifications_are_one_look_more() -> None:
    stage = Stage(jobs=Jobs(breaks=False))
    slow = POLICY.model_copy(update={"interval": 600.0})
    stage.runner._policy = slow
    await stage.leadership.turn()
    running = asyncio.create_task(stage.runner.run())
    await asyncio.sleep(0.1)
    for _ in range(1000):
        stage.runner.wake()
    await asyncio.sleep(1.2)
    stage.runner.stop()
    await asyncio.wait_for(running, 1)
    assert stage.jobs.readings == 4  # two workers, looked at twice


async def woken(stage: Stage, *, times: int, every: float = 0.1) -> None:
    """The loop's first cycle, then that many notifications, of which each has the time to do what it does."""
    await stage.leadership.turn()
    running = asyncio.create_task(stage.runner.run())
    await asyncio.sleep(0.1)
    for _ in range(times):
        stage.runner.wake()
        await asyncio.sleep(every)
    stage.runner.stop()
    await asyncio.wait_for(running, 1)


SELDOM = POLICY.model_copy(update={"interval": 600.0, "wake_min_interval": 0.5})
ONE_IF_ANY = SELDOM.model_copy(
    update={
        "workers": {
            "good": POLICY.workers["good"].model_copy(update={"tiers": (Tier(up_to=0, replicas=0), Tier(replicas=1))})
        }
    }
)


async def test_a_notification_that_changes_nothing_is_a_cycle_of_its_own_and_costs_no_request() -> None:
    """A busy queue notifies all the time, and Railway counts its requests by the hour."""
    stage = Stage(jobs=Jobs(breaks=False), policy=SELDOM)
    await woken(stage, times=1)
    assert (stage.jobs.readings, stage.services.readings) == (4, 1)
    assert [line["outcome"] for line in stage.lines if line["event"] == "reconcile"] == ["held"] * 4


async def test_notifications_without_end_start_no_more_than_one_cycle_each_wake_min_interval() -> None:
    stage = Stage(jobs=Jobs(breaks=False), policy=SELDOM)
    await woken(stage, times=14)  # over 1.4 s: at 0, 0.5 and 1.0 s
    assert (stage.jobs.readings, stage.services.readings) == (8, 1)


async def test_the_first_job_is_scaled_for_at_once_however_recent_the_last_cycle() -> None:
    stage = Stage(jobs=Jobs(breaks=False), services=Services(willing=True), policy=ONE_IF_ANY)
    await stage.leadership.turn()
    running = asyncio.create_task(stage.runner.run())
    await asyncio.sleep(0.05)
    stage.jobs.pending = 1
    stage.runner.wake()
    await asyncio.sleep(0.05)
    assert stage.services.asked_for == [("good", 1)]
    stage.runner.stop()
    await asyncio.wait_for(running, 1)


async def test_a_change_that_is_not_visible_yet_is_left_to_the_next_interval_whatever_is_notified() -> None:
    stage = Stage(jobs=Jobs(breaks=False, pending=1), services=Services(willing=True), policy=ONE_IF_ANY)
    await woken(stage, times=12)
    assert stage.services.asked_for == [("good", 1)]
    assert stage.services.readings == 2  # of the cycle, and read back


async def test_notifications_do_not_put_off_the_next_cycle() -> None:
    stage = Stage(jobs=Jobs(breaks=False), policy=POLICY.model_copy(update={"interval": 0.3, "wake_min_interval": 0.1}))
    await woken(stage, times=20, every=0.05)  # over 1.1 s: at 0, 0.3, 0.6 and 0.9 s
    assert stage.services.readings == 4


async def test_a_notification_while_another_replica_leads_looks_at_nothing() -> None:
    stage = Stage(jobs=Jobs(breaks=False), policy=SELDOM)
    stage.runner.wake()
    assert not stage.runner._woken


async def test_scarce_requests_stretch_the_interval_and_no_notification_shortens_that() -> None:
    stage = Stage(jobs=Jobs(breaks=False), services=Services(pace_s=1.5))
    await stage.leadership.turn()
    running = asyncio.create_task(stage.runner.run())
    await asyncio.sleep(0.2)
    stage.jobs.pending = 1
    stage.runner.wake()
    await asyncio.sleep(1.0)
    assert stage.services.readings == 1  # 12 intervals would have gone by
    await asyncio.sleep(0.7)
    assert stage.services.readings == 2
    stage.runner.stop()
    await asyncio.wait_for(running, 1)


@pytest.mark.costly
async def test_cycles_that_come_less_often_than_the_interval_are_said_in_the_log() -> None:
    stage = Stage(jobs=Jobs(breaks=False), services=Services(pace_s=45.0))
    await stage.leadership.turn()
    running = asyncio.create_task(stage.runner.run())
    await asyncio.sleep(200)
    stage.services.pace_s = 0.0
    await asyncio.sleep(900)
    stage.runner.stop()
    await asyncio.wait_for(running, 1)
    stretched, normal = [line for line in stage.lines if line["event"].startswith("pace_")]
    assert (stretched["event"], stretched["level"], stretched["pace_s"]) == ("pace_stretched", "warning", 45.0)
    assert stretched["message"] == (
        f"the next cycle comes 45 s after the last, not {in_words(POLICY.interval)}: 0 of the 1000 requests that "
        "Railway allows in 1 h are used; set a longer interval, or use a larger plan"
    )
    assert (normal["event"], normal["level"]) == ("pace_normal", "info")


async def test_a_bug_with_a_text_of_megabytes_is_a_line_of_bounded_length() -> None:
    stage = Stage(services=Services(KeyError("x" * 5_000_000)))
    await stage.runner.tick(LEASE)
    assert max(map(len, stage.text.getvalue().splitlines())) < bounds.TRACEBACK + 2 * bounds.MESSAGE
    assert max(map(len, stage.memory.lines.values())) < bounds.PUBLISHED


async def test_a_bug_in_a_quick_check_is_reported_as_a_cycle_s_and_ends_nothing() -> None:
    stage = Stage(jobs=Jobs(breaks=False), policy=SELDOM)
    await stage.leadership.turn()
    running = asyncio.create_task(stage.runner.run())
    await asyncio.sleep(0.1)
    stage.jobs.breaks = True
    stage.runner.wake()
    await asyncio.sleep(0.1)
    assert stage.status.counts.outcomes["bad", "crashed"] == 1
    stage.runner.stop()
    await asyncio.wait_for(running, 1)


async def test_a_long_wait_for_requests_is_no_standstill_and_ends_when_it_is_told() -> None:
    stage = Stage(jobs=Jobs(breaks=False), services=Services(pace_s=3000.0))
    await stage.leadership.turn()
    running = asyncio.create_task(stage.runner.run())
    await asyncio.sleep(0.2)
    stage.runner.wake()
    turned = stage.status._last_turn
    await asyncio.sleep(0.3)
    assert stage.status._last_turn > turned
    stage.runner.stop()
    await asyncio.wait_for(running, 1)


async def test_a_loop_that_hangs_in_its_first_cycle_is_seen_to_stand_still() -> None:
    stage = Stage()
    stage.status.clock = StandingClock(stage.status.clock.monotonic() + 1000)
    assert stage.status.stands_still


async def test_a_cycle_that_never_ends_whatever_it_is_told_turns_health_to_503(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.loop.runner.LONGEST_CYCLE_S", 0.05)
    jobs = DeafJobs()
    stage = Stage(jobs=jobs)
    await stage.leadership.turn()
    running = asyncio.create_task(stage.runner.run())
    await asyncio.wait_for(jobs.told_to_end.wait(), 5)
    shown = Shown(stage.status, stage.leadership, POLICY)
    assert health_body(shown)["status"] == "degraded"
    stage.status.clock = StandingClock(LoopClock().monotonic() + LONGEST_CYCLE_S + 60)
    body = health_body(shown)
    assert (body["status"], [trouble["name"] for trouble in body["failing"]]) == ("unhealthy", ["loop"])
    jobs.freed.set()
    stage.runner.stop()
    await asyncio.wait_for(running, 5)


async def test_a_cycle_that_is_given_up_at_its_deadline_is_slow_and_no_reason_to_restart() -> None:
    stage = Stage()
    stage.status.clock = StandingClock(stage.status.clock.monotonic() + LONGEST_CYCLE_S + POLICY.interval + 5)
    assert not stage.status.stands_still


async def test_while_one_worker_s_cycle_crashes_the_other_one_scales_and_both_are_counted() -> None:
    stage = Stage(jobs=Jobs(pending=5), services=Services(willing=True), policy=WANTING)
    for _ in range(3):
        good, bad = await stage.runner.tick(LEASE)
        assert (good.outcome, bad.outcome) == (Outcome.APPLIED, Outcome.CRASHED)
    assert stage.services.asked_for == [("good", 1)] * 3
    text = prometheus_text(Shown(stage.status, stage.leadership, POLICY))
    assert value_of(text, "autoscaler_outcome_total", worker="bad", outcome="crashed") == 3
    assert value_of(text, "autoscaler_scale_total", worker="good", direction="up") == 3
    assert [line["event"] for line in stage.lines].count("crashed") == 1


async def test_an_outage_is_said_once_counted_each_time_and_said_again_when_it_is_over() -> None:
    stage = Stage(jobs=Jobs(breaks=False), services=Services(Unavailable(RAILWAY, "is away")))
    for _ in range(3):
        await stage.runner.tick(LEASE)
    assert [line["worker"] for line in stage.lines] == ["good", "bad"]
    assert stage.status.counts.outcomes["good", "failed"] == 3
    stage.services.fault = None
    await stage.runner.tick(LEASE)
    assert [line["event"] for line in stage.lines[2:]] == ["recovered", "reconcile"] * 2
    assert stage.lines[2]["source"] == "Railway"
    assert stage.lines[2]["message"] == "Railway answers again after 0 s"


async def test_a_standby_that_cannot_reach_redis_says_so_once_and_when_it_is_over() -> None:
    stage = Stage()
    running = asyncio.create_task(stage.runner.run())
    stage.leadership.fault = Unavailable(REDIS, "is away")
    await asyncio.sleep(0.5)
    stage.leadership.fault = None
    await asyncio.sleep(0.3)
    stage.runner.stop()
    await asyncio.wait_for(running, 1)
    assert [line["event"] for line in stage.lines] == ["reconcile"] * 2 + ["recovered"] * 2
    assert stage.status.counts.outcomes["good", "failed"] >= 4


async def test_a_standby_looks_at_nothing() -> None:
    stage = Stage()
    running = asyncio.create_task(stage.runner.run())
    await asyncio.sleep(0.3)
    stage.runner.stop()
    await asyncio.wait_for(running, 1)
    assert stage.jobs.readings == 0
    assert not stage.status.stands_still


@pytest.mark.parametrize("secret", ["hunter2", "postgresql://u:hunter2@h/d"])
async def test_a_secret_in_a_bug_s_words_is_masked(secret: str) -> None:
    text = io.StringIO()
    log = Log(text, form="json", clock=SystemClock(), mask=Masker(("hunter2", "postgresql://u:hunter2@h/d")))
    log.event("crashed", message=f"cannot {secret}", traceback=f"File … {secret}")
    assert "hunter2" not in text.getvalue()


@dataclass
class SlowJobs(Jobs):
    """The queue of `bad` takes its time; how often each was read is counted."""

    takes_s: float = 3.0
    counted: dict[str, int] = field(default_factory=dict)

    async def depth(self, queue: QueuePolicy, limit: int, enough: int = 0, busy: int = 0) -> QueueDepth:
        table = str(queue.table)
        self.counted[table] = self.counted.get(table, 0) + 1
        if table == "bad":
            await asyncio.sleep(self.takes_s)
        return QueueDepth(self.pending, 0)


def with_a_slow_one(timeout: float | None) -> Policy:
    slow = POLICY.workers["bad"]
    queue = slow.only_queue.model_copy(update={"timeout": timeout})
    return POLICY.model_copy(
        update={"workers": {**POLICY.workers, "bad": slow.model_copy(update={"queue": queue})}, "interval": 0.5}
    )


async def test_a_queue_with_a_timeout_of_its_own_keeps_no_other_worker_waiting() -> None:
    jobs = SlowJobs()
    stage = Stage(jobs=jobs, policy=with_a_slow_one(60.0))
    await stage.leadership.turn()
    running = asyncio.create_task(stage.runner.run())
    await asyncio.sleep(6.2)
    assert jobs.counted["good"] >= 9, "each interval, and a moment for the slow one"
    assert jobs.counted["bad"] == 2, "one reading at a time"
    stage.runner.stop()
    await asyncio.wait_for(running, 10)
    assert stage.runner._behind == {}
    cycles = [line["worker"] for line in stage.lines if line["event"] == "reconcile"]
    assert cycles.count("bad") == 2, "what had begun is finished, and told"


async def test_a_wake_is_answered_while_a_slow_queue_is_read() -> None:
    jobs = SlowJobs(takes_s=50.0)
    stage = Stage(jobs=jobs, policy=with_a_slow_one(60.0).model_copy(update={"interval": 600.0}))
    await stage.leadership.turn()
    running = asyncio.create_task(stage.runner.run())
    await asyncio.sleep(5)
    before = jobs.counted["good"]
    stage.runner.wake()
    await asyncio.sleep(3)
    assert jobs.counted["good"] == before + 1
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert all(one.cancelled() or one.cancelling() for one in stage.runner._behind.values())


async def test_once_waits_for_the_slow_queue_too() -> None:
    stage = Stage(jobs=SlowJobs(), policy=with_a_slow_one(60.0))
    assert [cycle.worker for cycle in await stage.runner.tick(LEASE)] == ["good", "bad"]
