"""`explain` says what the loop would do, in every state: same decision, reasons, outcome; and nothing is written.

Each example is a state of Redis, Railway, the queue and the policy. It is explained first and then reconciled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, event, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from controller.adapters.clock import SystemClock
from controller.adapters.railway.reading import WITH_A_VOLUME, one_in_each
from controller.adapters.redis.journal import RedisJournal
from controller.adapters.redis.keys import Keys
from controller.adapters.redis.leases import RedisLeases
from controller.adapters.redis.rate_limit import RedisRateLimit
from controller.core.model import Change, Lease, QueueDepth, Replicas, ServiceState, ServiceTime
from controller.core.ports import Bid, Receipt, Requests, Unavailable
from controller.core.rules import Step
from controller.loop.cycle import Cycle
from controller.loop.readings import QueueReading
from controller.loop.reconciler import Explained, Ports, Reconciler
from controller.policy import Queue as QueuePolicy
from controller.policy import WorkerPolicy
from tests.support.examples import examples
from tests.support.one_by_one import OneByOne
from tests.support.sources import POSTGRESQL, RAILWAY

KEYS = Keys("autoscaler", "env")
HASH, PAST = KEYS.worker("w"), KEYS.past("w")
LANDING_BOUND_S, GAP_S = 60.0, 31.0
RUN = object()
"""In the place of the server's own run_id, which is known only there."""


@dataclass
class NoJobs(OneByOne):
    """The passes are handed their readings; they must not read again."""

    source = POSTGRESQL

    async def service_time(self, queue: QueuePolicy) -> ServiceTime | None:
        raise NotImplementedError

    async def close(self) -> None: ...


@dataclass
class Service:
    """Takes every change, and shows none before the next reading."""

    source = RAILWAY

    shown: Replicas | Unavailable

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        return dict.fromkeys(services, self.shown)

    async def scale(self, service: str, change: Change, observed: Replicas) -> Receipt:
        return Receipt.ACCEPTED

    def requests(self) -> Requests:
        return Requests(0, 1000, 3600.0, 0.0)

    def chooser(self, service: str) -> None:
        """It chooses by itself which replicas go."""


def silent(name: str, /, **fields: object) -> None:
    """Ignores the event."""


@dataclass(frozen=True)
class State:
    """ages: of the hash's stamps, in seconds; fields: what else is in it. past: age and count of recommendations."""

    ages: Mapping[str, float]
    fields: Mapping[str, Any]
    past: tuple[tuple[float, int], ...]
    reading: Replicas | Unavailable
    queue: QueueDepth | None
    service: ServiceTime | None
    policy: WorkerPolicy
    used: str | None

    @property
    def depth(self) -> QueueDepth | Unavailable:
        return Unavailable(POSTGRESQL, "is away") if self.queue is None else self.queue


def seldom(draw: st.DrawFn) -> bool:
    return draw(st.integers(0, 9)) == 7


counts = st.integers(0, 7)
ages = st.sampled_from([0.5, 3.5, 20.5, 28.5, 45.5, 61.5, 119.5, 130.5, 299.5, 310.5, 700.5, 90_000.5])


@st.composite
def policies(draw: st.DrawFn) -> WorkerPolicy:
    maximum = draw(st.integers(1, 6))
    minimum = draw(st.integers(0, maximum))
    data: dict[str, Any] = {"service": "svc", "queue": {"table": "t"}, "max_replicas": maximum, "min_replicas": minimum}
    if draw(st.booleans()):
        data |= {"target_wait": "60s", "scale_down": {"idle_off": draw(st.sampled_from([None, "0s", "60s"]))}}
    else:
        data["tiers"] = [{"up_to": 0, "replicas": 0}, {"up_to": 10, "replicas": 1}, {"replicas": maximum}]
        window = draw(st.sampled_from(["0s", "60s"]))
        data["scale_down"] = {"cooldown": draw(st.sampled_from(["0s", "2m"])), "stabilization_window": window}
    data["scale_up"] = {"cooldown": draw(st.sampled_from(["0s", "30s"])), "max_step": draw(st.sampled_from([None, 1]))}
    if draw(st.booleans()):
        data["on_unavailable"] = {"after": "5m", "at_least": draw(st.integers(max(1, minimum), maximum))}
    if draw(st.booleans()):
        data["rate_limit"] = {"rpm": 60}
    data["jobs_per_worker"] = draw(st.sampled_from([None, 1, 5]))
    return WorkerPolicy.model_validate(data)


@st.composite
def readings(draw: st.DrawFn) -> Replicas | Unavailable:
    if seldom(draw):
        return Unavailable(RAILWAY, "is away")
    configured = draw(counts)
    running = draw(st.integers(0, configured))
    return Replicas(
        configured,
        running,
        max(configured, draw(counts)),
        draw(st.sampled_from(list(ServiceState))),
        deployment="d1",
        draining_s=draw(st.sampled_from([0.0, 30.0])),
        smallest=one_in_each({"us": 1, "eu": 1}) if seldom(draw) else None,
        largest=WITH_A_VOLUME if seldom(draw) else None,
    )


@st.composite
def states(draw: st.DrawFn) -> State:
    fields: dict[str, Any] = {}
    stamps: dict[str, float] = {}
    if draw(st.integers(0, 5)):
        fields = {"memory": "m", "revision": "7", "run": draw(st.sampled_from([RUN, RUN, RUN, "another"]))}
        stamps["since"] = draw(ages)
        names = ["last_up", "last_down", "unbroken_since", "recommended_at", "read_at"]
        stamps |= {name: draw(ages) for name in names if draw(st.booleans())}
        stamps["last_up"] = draw(st.sampled_from([stamps.get("last_up", 90_000.5), -400.5]))
        fields["window"] = draw(st.sampled_from(["0", "60000", "300000"]))
        if draw(st.booleans()):
            fields["count"] = str(draw(counts))
        if draw(st.booleans()):
            stamps["unread_at"] = draw(st.sampled_from([0.5, 3.5, 45.5]))
            fields["unread"] = str(draw(st.integers(1, 5)))
        if seldom(draw):
            stamps["refused_at"] = draw(ages)
            fields |= {"refused_to": str(draw(counts)), "setbacks": str(draw(st.integers(1, 3)))}
        if draw(st.integers(0, 2)) == 0:
            fields["unseen_stop"] = draw(st.sampled_from(["d1", "d1", "d0"]))
        if draw(st.booleans()):
            fields["start_up"] = draw(st.sampled_from(["4000", "45000"]))
        if draw(st.integers(0, 2)) == 0:
            stamps |= {"start_at": draw(ages)} | ({"start_seen": 0.5} if draw(st.booleans()) else {})
            fields |= {"start_before": "1", "start_after": str(draw(counts))}
        if draw(st.integers(0, 2)) == 0:
            stamps["intent_at"] = draw(ages)
            before = draw(counts)
            after = (before + draw(st.integers(1, 7))) % 8
            fields |= {"intent": "i", "intent_epoch": "1", "intent_before": str(before), "intent_after": str(after)}
            fields["intent_accepted"] = draw(st.sampled_from(["0", "1"]))
            fields["intent_previous"] = draw(st.sampled_from(["", "="]))
            if after == 0:
                fields["intent_stops"] = draw(st.sampled_from(["i:d1", "i:d0", "older:d1"]))
    queue = None if draw(st.integers(0, 4)) == 3 else draw(st.builds(QueueDepth, st.integers(0, 40), st.integers(0, 9)))
    return State(
        stamps,
        fields,
        tuple(draw(st.lists(st.tuples(ages, counts), max_size=3))) if fields else (),
        draw(readings()),
        queue,
        draw(st.sampled_from([None, ServiceTime(20.0, 20.0, 100)])),
        draw(policies()),
        draw(st.sampled_from([None, "0", "59", "60", "many"])),
    )


async def put(redis: Redis, state: State) -> Lease:
    await redis.flushdb()
    lease = cast("Lease", await RedisLeases(redis, KEYS).acquire(Bid("me"), 60))
    run_id = str((await redis.info("server"))["run_id"])
    seconds, micros = await redis.time()
    now = seconds * 1000 + micros // 1000
    fields: dict[Any, Any] = {name: run_id if value is RUN else value for name, value in state.fields.items()}
    fields |= {name: str(round(now - 1000 * age)) for name, age in state.ages.items()}
    if fields:
        await redis.hset(HASH, mapping=fields)
    for number, (age, count) in enumerate(state.past):
        at = round(now - 1000 * age)
        await redis.zadd(PAST, {f"{at}:{count}:p{number}": at})
    if state.used is not None:
        for minute in (seconds // 60 * 60, seconds // 60 * 60 - 60, seconds // 60 * 60 + 60):
            await redis.set(f"worker:rpm:{minute}", state.used)
    return lease


def reconciler(redis: Redis, state: State) -> Reconciler:
    clock = SystemClock()
    journal = RedisJournal(redis, KEYS, clock, {"w": "svc"})
    ports = Ports(NoJobs(), Service(state.reading), journal, RedisRateLimit(redis, clock), clock, silent)
    return Reconciler("w", state.policy, GAP_S, ports, LANDING_BOUND_S)


async def everything(url: str) -> dict[str, Any]:
    async with Redis.from_url(url) as redis:
        return {str(key): await redis.dump(key) for key in await redis.keys("*")}


def told(cycle: Cycle) -> tuple[Any, ...]:
    decision = cycle.decision
    count = (decision.current, decision.recommended, decision.desired) if decision else None
    return cycle.outcome, [because.reason for because in cycle.because], count, cycle.rate


async def explained_and_done(redis_url: str, state: State) -> tuple[Cycle, tuple[Step, ...], Cycle]:
    async with Redis.from_url(redis_url, decode_responses=True) as redis:
        lease = await put(redis, state)
        queue = QueueReading(state.depth, state.service)
        before = await everything(redis_url)
        explained, rules, *_ = await reconciler(redis, state).explain(state.reading, queue)
        assert await everything(redis_url) == before, "explain wrote something"
        cycle = await reconciler(redis, state).reconcile(state.reading, queue, lease)
        assert (explained.epoch, cycle.epoch) == (None, lease.epoch)
        return explained, rules, cycle


def compare(redis_url: str, examples: int, **options: Any) -> None:
    @settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        derandomize=True,
        **options,
    )
    @given(states())
    def same(state: State) -> None:
        explained, rules, cycle = asyncio.run(explained_and_done(redis_url, state))
        assert told(explained) == told(cycle)
        if rules:
            assert cycle.decision is not None
            assert rules[0].desired >= 0
        event(f"{cycle.outcome.value} {cycle.reason.value}")

    same()


@pytest.mark.costly
def test_explain_says_in_every_state_what_the_loop_then_does(redis_url: str) -> None:
    compare(redis_url, examples(15, 600))


def test_an_explain_that_plans_otherwise_than_the_loop_is_noticed(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    explain = Reconciler.explain

    async def of_another_plan(self: Reconciler, *arguments: Any) -> Explained:
        monkeypatch.setattr(self, "_landing_bound", 0.0)
        return await explain(self, *arguments)

    monkeypatch.setattr(Reconciler, "explain", of_another_plan)
    with pytest.raises(AssertionError):
        compare(redis_url, 60, phases=[Phase.generate])  # one such state is enough: it need not be the smallest
