"""`explain` says what the loop would do, in every state: same decision, reasons, outcome; and nothing is written.

Each example is a state of Redis, Railway, the queue and the policy. It is explained first and then reconciled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from controller.adapters.clock import SystemClock
from controller.adapters.railway.reading import WITH_A_VOLUME, one_in_each
from controller.adapters.redis.journal import Keys, RedisJournal, RedisLeases, RedisRateLimit
from controller.core.history import remembered, settled, with_external_change
from controller.core.model import Change, History, Lease, QueueDepth, Replicas, ServiceState, ServiceTime
from controller.core.ports import Bid, CycleNote, Recalled, Receipt, Requests, Retention, Settled, Unavailable
from controller.loop.cycle import Cycle
from controller.loop.reconciler import Ports, Reconciler
from controller.policy import Queue as QueuePolicy
from controller.policy import WorkerPolicy
from tests.support.examples import examples
from tests.support.sources import POSTGRESQL, RAILWAY

KEYS = Keys("autoscaler", "env")
HASH, PAST = KEYS.worker("w"), KEYS.past("w")
LANDING_BOUND_S, GAP_S = 60.0, 31.0
RUN = object()
"""In the place of the server's own run_id, which is known only there."""


@dataclass
class Jobs:
    source = POSTGRESQL

    depth_now: QueueDepth | None
    service: ServiceTime | None = None

    async def depth(self, queue: QueuePolicy, limit: int, enough: int = 0, busy: int = 0) -> QueueDepth:
        if self.depth_now is None:
            raise Unavailable(POSTGRESQL, "is away")
        return self.depth_now

    async def service_time(self, queue: QueuePolicy) -> ServiceTime | None:
        return self.service

    async def close(self) -> None: ...


@dataclass
class Service:
    """Takes every change, and shows none before the next reading."""

    source = RAILWAY

    shown: Replicas | Unavailable

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        return dict.fromkeys(services, self.shown)

    async def scale(self, service: str, intent: Change, observed: Replicas) -> Receipt:
        return Receipt.ACCEPTED

    def requests(self) -> Requests:
        return Requests(0, 1000, 3600.0, 0.0)


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
            fields["unconfirmed_stop"] = draw(st.sampled_from(["d1", "d1", "d0"]))
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
    queue, platform = Jobs(state.queue, state.service), Service(state.reading)
    ports = Ports(queue, platform, journal, RedisRateLimit(redis, clock), clock, silent)
    return Reconciler("w", state.policy, GAP_S, ports, LANDING_BOUND_S)


async def everything(url: str) -> dict[str, Any]:
    async with Redis.from_url(url) as redis:
        return {str(key): await redis.dump(key) for key in await redis.keys("*")}


def told(cycle: Cycle) -> tuple[Any, ...]:
    decision = cycle.decision
    count = (decision.current, decision.recommended, decision.desired) if decision else None
    return cycle.outcome, [because.reason for because in cycle.because], count, cycle.rate


@settings(
    max_examples=examples(60), deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True
)
@given(states())
def test_explain_says_in_every_state_what_the_loop_then_does(redis_url: str, state: State) -> None:
    async def live() -> None:
        async with Redis.from_url(redis_url, decode_responses=True) as redis:
            lease = await put(redis, state)
            before = await everything(redis_url)
            explained, steps = await reconciler(redis, state).explain(state.reading)
            assert await everything(redis_url) == before, "explain wrote something"
            cycle = await reconciler(redis, state).reconcile(state.reading, lease)
            assert told(explained) == told(cycle)
            assert (explained.epoch, cycle.epoch) == (None, lease.epoch)
            if steps:
                assert cycle.decision is not None
                assert steps[0].desired >= 0
            event(f"{cycle.outcome.value} {cycle.reason.value}")

    asyncio.run(live())


@settings(
    max_examples=examples(40), deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=True
)
@given(states(), st.sampled_from(list(Settled)), st.sampled_from(["", "d1"]))
def test_a_memory_takes_the_same_step_in_the_script_and_in_the_function(
    redis_url: str, state: State, outcome: Settled, unseen: str
) -> None:
    async def live() -> None:
        async with Redis.from_url(redis_url, decode_responses=True) as redis:
            lease = await put(redis, state)
            replicas = state.reading if isinstance(state.reading, Replicas) else None
            read = state.queue is not None
            note = CycleNote(
                state.queue.pending if state.queue and replicas else None,
                replicas.configured if replicas else None,
                working=bool(state.queue and state.queue.processing),
                running=replicas.running if replicas else None,
                read=read,
            )
            keep = Retention(60.0, GAP_S)
            journal = RedisJournal(redis, KEYS, SystemClock())
            recalled = await journal.recall("w")
            known = await journal.remember("w", note, keep, lease)
            expected = remembered(recalled.history, note, keep, known.now)
            is_same(expected, known)
            if known.history.intent is None:
                changed = await journal.record_external_change("w", 3, lease)
                is_same(with_external_change(known.history, 3, changed.now), changed)
            else:
                changed = await journal.settle("w", known.history.intent, outcome, 3, lease, unconfirmed_stop=unseen)
                intent = known.history.intent
                is_same(settled(known.history, intent, outcome, 3, changed.now, unconfirmed_stop=unseen), changed)

    asyncio.run(live())


def is_same(expected: History, known: Recalled) -> None:
    """But for what another process of the server makes of it, which is answered at each time that it is asked."""
    smoothed = known.history.start_up_s
    same = {"start_up_s": pytest.approx(smoothed, abs=0.01)} if smoothed is not None else {}
    found = {name: getattr(known.history, name) for name in known.history.__slots__}
    wanted = {name: getattr(expected, name) for name in expected.__slots__} | same
    if expected.since is not None and wanted["since"] != found["since"]:
        assert known.now - expected.since < 5
        wanted["since"] = found["since"]
    assert found == wanted
