"""A dry run beside a real controller, and alone: it decides as that one would, and leaves no trace.

Both read the same journal, pass after pass, on a Redis whose scripts run as their models (see tests/virtual).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from copy import deepcopy
from typing import Any, cast

import pytest

from controller.adapters.dry_run import DryRunJournal, DryRunLeases, DryRunPlatform, DryRunRateLimit
from controller.adapters.redis.connection import Client
from controller.adapters.redis.journal import RedisJournal
from controller.adapters.redis.keys import Keys
from controller.core.model import Change, Instances, Lease, QueueDepth, RateUsage, Replicas, ServiceState, Shares
from controller.core.plan import Plan, Seen, plan
from controller.core.ports import Bid, Journal, Receipt, Retention, Unavailable
from controller.core.reasons import Reason
from controller.core.steps import Hold, RecordExternalChange, Send, Settle
from controller.policy import RateLimit, WorkerPolicy
from tests.support.sources import POSTGRESQL, SOURCES
from tests.virtual.scripts import MODELS
from tests.virtual.store import Store

KEYS = Keys("autoscaler", "env")
LEASE = Lease("real", 1)
EVERY_S = 10.0
GAP_S = 31.0
WINDOW_S = 60.0
MANY, FEW = 25, 5
"""Jobs that want 3 workers, and 1."""


def policy(window_s: float = WINDOW_S) -> WorkerPolicy:
    return WorkerPolicy.model_validate(
        {
            "service": "svc",
            "queue": {"table": "job"},
            "tiers": [{"up_to": 0, "replicas": 0}, {"up_to": 10, "replicas": 1}, {"replicas": 3}],
            "max_replicas": 5,
            "scale_up": {"cooldown": "30s"},
            "scale_down": {"cooldown": "30s", "stabilization_window": f"{window_s:.0f}s"},
        }
    )


class OnStore:
    """The part of a Redis client that a journal uses."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def register_script(self, text: str) -> Callable[..., Awaitable[Any]]:
        async def run(*, keys: Sequence[str], args: Sequence[str | int]) -> Any:
            return MODELS[text](self.store, keys, [str(argument) for argument in args])

        return run


class Scene:
    """A Redis, its real controller, and a dry run; the time is moved by the test."""

    def __init__(self) -> None:
        self.store = Store("run 1", now=1_790_000_000_000)
        self.store.set(KEYS.lease, f"{LEASE.epoch}:{LEASE.holder}")
        self.real = self.process()
        self.dry = DryRunJournal(self.process())
        self.count = 3
        self.jobs: int | None = MANY

    def process(self) -> RedisJournal:
        return RedisJournal(cast("Client", OnStore(self.store)), KEYS, self)

    def monotonic(self) -> float:
        return self.store.now / 1000

    def wall(self) -> float:
        return self.store.now / 1000

    async def a_pass(self, journal: Journal, *, window_s: float = WINDOW_S, settles: bool = True) -> Plan:
        """What the plan is; it is written. settles: with False, the platform shows no change that is open."""
        recalled = await journal.recall("w")
        count = self.count
        planned = plan(
            Seen(
                policy=policy(window_s),
                queue=Unavailable(POSTGRESQL, "is away") if self.jobs is None else QueueDepth(self.jobs, 0),
                replicas=Replicas(count, count, count, ServiceState.RUNNING, deployment="d"),
                history=recalled.history,
                now=recalled.now,
                sources=SOURCES,
                retention=Retention(window_s, GAP_S),
                landing_bound=60.0,
                ident=f"change at {self.store.now}",
            )
        )
        await journal.write("w", recalled, planned.history, LEASE, now=recalled.now)
        if journal is self.real and settles and isinstance(planned.last, Send):
            self.count = planned.last.change.after
        return planned

    async def passes(self, number: int, *journals: Journal, window_s: float = WINDOW_S) -> list[Plan]:
        """So many passes of each; returns those of the last one."""
        found = []
        for _ in range(number):
            for journal in journals:
                planned = await self.a_pass(journal, window_s=window_s)
            found.append(planned)
            self.let_pass(EVERY_S)
        return found

    def let_pass(self, seconds: float) -> None:
        self.store.now += round(seconds * 1000)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def reasons(planned: Plan) -> tuple[Reason, ...]:
    return () if planned.decision is None else planned.decision.reasons


def events(plans: Sequence[Plan]) -> list[str]:
    return [event.name for planned in plans for event in planned.events]


# --- it writes nothing ---


async def test_nothing_is_written_to_the_journal(scene: Scene) -> None:
    await scene.passes(3, scene.real)
    before = deepcopy(scene.store.data)
    scene.count = 4
    await scene.passes(3, scene.dry)
    await scene.dry.publish({"w": "{}"}, LEASE)
    assert scene.store.data == before


async def test_an_empty_journal_stays_empty(scene: Scene) -> None:
    before = deepcopy(scene.store.data)
    await scene.passes(3, scene.dry)
    assert scene.store.data == before


async def test_a_lease_is_not_taken_from_the_real_controller() -> None:
    leases = DryRunLeases()
    lease = await leases.acquire(Bid("me"), 60)
    assert lease == Lease("dry-run:me", 0)
    assert isinstance(lease, Lease)
    assert await leases.renew(lease, 60)
    await leases.release(lease)


class Untouchable:
    """Fails the test if it is used for anything but reading."""

    source = SOURCES.platform

    async def used(self, limit: RateLimit) -> RateUsage:
        return RateUsage(7, limit.rpm)

    def chooser(self, service: str) -> Untouchable:
        return self

    async def instances(self) -> Instances:
        return Instances(("a",))


async def test_no_change_and_no_share_is_sent() -> None:
    untouchable: Any = Untouchable()
    change, shown = Change("c", 1, 1, 3, at=0.0), Replicas(1, 1, 1, ServiceState.RUNNING)
    assert await DryRunPlatform(untouchable).scale("svc", change, shown) is Receipt.DRY_RUN
    chooser = DryRunPlatform(untouchable).chooser("svc")
    assert chooser is not None
    assert (await chooser.instances()).staying == ("a",)
    await chooser.keep(("a",), change)
    rate_limit = DryRunRateLimit(untouchable)
    await rate_limit.share(RateLimit(rpm=60), Shares(60, 20, 5))
    assert (await rate_limit.used(RateLimit(rpm=60))).used == 7


# --- beside a real controller ---


async def test_it_decides_what_the_real_controller_decides_on_the_same_readings(scene: Scene) -> None:
    for jobs in (MANY, FEW, 0, MANY, FEW):
        scene.jobs = jobs
        for _ in range(9):
            dry = await scene.a_pass(scene.dry)
            real = await scene.a_pass(scene.real)
            if any(isinstance(step, Settle) for step in real.steps):
                continue  # the dry run does not settle, so it does not know this second's cooldown
            assert (dry.decision and dry.decision.desired) == (real.decision and real.decision.desired)
            scene.let_pass(EVERY_S)


async def test_the_open_change_of_the_real_controller_is_left_alone(scene: Scene) -> None:
    await scene.passes(3, scene.real, scene.dry)
    scene.jobs, scene.count = MANY, 1
    scene.let_pass(60)
    await scene.passes(5, scene.real, scene.dry)
    scene.count = 1
    scene.let_pass(60)
    real = await scene.a_pass(scene.real, settles=False)
    while not isinstance(real.last, Send):
        scene.let_pass(EVERY_S)
        real = await scene.a_pass(scene.real, settles=False)
    before = deepcopy(scene.store.data)
    for count in (1, 3, 2):  # not visible yet, visible, changed from outside
        scene.count = count
        (planned,) = await scene.passes(1, scene.dry)
        assert not any(isinstance(step, Settle | RecordExternalChange) for step in planned.steps)
    assert scene.store.data == before
    change = (await scene.real.recall("w")).history.change
    assert change == real.last.change


async def test_a_change_that_the_real_controller_has_settled_is_not_external(scene: Scene) -> None:
    await scene.passes(9, scene.real, scene.dry)
    scene.jobs = FEW
    await scene.passes(9, scene.real)
    assert scene.count == 1
    plans = await scene.passes(2, scene.dry)
    assert events(plans) == []
    assert [planned.history.count for planned in plans] == [1, 1]


async def test_a_change_that_it_would_send_starts_no_cooldown_and_is_not_open(scene: Scene) -> None:
    scene.count = 1
    plans = await scene.passes(4, scene.dry)
    assert [isinstance(planned.last, Send) for planned in plans] == [True] * 4
    assert events(plans) == []


async def test_an_external_change_is_noted_once_and_its_cooldown_starts_once(scene: Scene) -> None:
    scene.jobs = FEW
    scene.count = 1
    await scene.passes(8, scene.real, scene.dry)
    scene.count = 2
    plans = await scene.passes(8, scene.dry)
    assert events(plans) == ["external_change"]
    assert Reason.SCALE_DOWN_COOLDOWN in reasons(plans[0])
    assert isinstance(plans[-1].last, Send), "30 s after it the cooldown is over"


async def test_an_external_change_that_the_real_controller_records_is_its_own_from_then_on(scene: Scene) -> None:
    scene.count, scene.jobs = 1, FEW
    await scene.passes(8, scene.real, scene.dry)
    scene.count = 2
    assert events(await scene.passes(1, scene.dry)) == ["external_change"]
    assert events(await scene.passes(1, scene.real)) == ["external_change"]
    assert events(await scene.passes(2, scene.dry)) == []
    real, dry = await scene.real.recall("w"), await scene.dry.recall("w")
    assert (dry.history.count, dry.history.last_up) == (2, real.history.last_up)
    scene.count = 4
    assert events(await scene.passes(2, scene.dry)) == ["external_change"], "another one"


# --- without a real controller ---


async def test_alone_on_an_empty_journal_it_scales_down_after_its_cooldown_and_its_window(scene: Scene) -> None:
    """Its history begins with its first pass, and not with each."""
    scene.jobs = FEW
    plans = await scene.passes(9, scene.dry)
    assert [isinstance(planned.last, Hold) for planned in plans] == [True] * 6 + [False] * 3


async def test_alone_it_knows_since_when_workers_have_run(scene: Scene) -> None:
    first = scene.wall()
    plans = await scene.passes(3, scene.dry)
    assert [planned.history.watch.running_since for planned in plans] == [first] * 3


async def test_alone_it_knows_that_jobs_were_seen_in_the_queue(scene: Scene) -> None:
    await scene.passes(1, scene.dry)
    scene.jobs = 0
    plans = await scene.passes(2, scene.dry)
    assert {planned.history.queue_seen for planned in plans} == {policy().only_queue.identity}


async def test_alone_after_a_restart_of_the_server_it_waits_once(scene: Scene) -> None:
    scene.jobs = MANY
    await scene.passes(3, scene.real)
    scene.store.run_id = "run 2"
    scene.jobs = FEW
    dry = DryRunJournal(scene.process())
    plans = await scene.passes(12, dry)
    assert isinstance(plans[0].last, Hold)
    assert isinstance(plans[-1].last, Send)


async def test_alone_it_counts_failed_readings_of_the_queue_until_one_succeeds(scene: Scene) -> None:
    await scene.passes(1, scene.dry)
    scene.jobs = None
    plans = await scene.passes(3, scene.dry)
    assert [planned.history.unread for planned in plans] == [1, 2, 3]
    scene.jobs = FEW
    assert [planned.history.unread for planned in await scene.passes(2, scene.dry)] == [0, 0]


async def test_failures_that_the_real_controller_counted_end_with_a_reading_of_the_dry_run(scene: Scene) -> None:
    scene.jobs = None
    await scene.passes(2, scene.real)
    scene.jobs = FEW
    await scene.passes(1, scene.dry)
    scene.jobs = None
    (planned,) = await scene.passes(1, scene.dry)
    assert planned.history.unread == 1


async def test_the_silence_of_a_controller_that_ended_is_no_part_of_the_window(scene: Scene) -> None:
    scene.jobs = FEW
    scene.count = 1
    await scene.passes(8, scene.real)
    scene.let_pass(600)
    scene.count = 2
    plans = await scene.passes(8, scene.dry)
    assert [Reason.MEMORY_TOO_SHORT in reasons(planned) for planned in plans[:6]] == [True] * 6
    assert isinstance(plans[-1].last, Send)


async def test_a_longer_window_than_the_real_controller_keeps_is_unbroken_since_the_first_pass(scene: Scene) -> None:
    await scene.passes(8, scene.real)
    first = scene.wall()
    for _ in range(5):
        await scene.a_pass(scene.real)
        planned = await scene.a_pass(scene.dry, window_s=2 * WINDOW_S)
        assert planned.history.unbroken_since == first
        scene.let_pass(EVERY_S)


async def test_a_real_controller_that_comes_back_continues_what_the_dry_run_has_seen(scene: Scene) -> None:
    first = scene.wall()
    await scene.passes(4, scene.dry)
    (planned,) = await scene.passes(1, scene.real, scene.dry)
    assert planned.history.unbroken_since == scene.wall() - EVERY_S > first, "it decides as the real one would"
