"""The simulated world: production controllers, wired as app.py wires them, between simulated servers."""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any, cast
from unittest.mock import patch

from pydantic import SecretStr
from redis.asyncio import Redis

from controller.adapters.kubernetes.platform import KubernetesPlatform
from controller.adapters.railway.client import RailwayClient
from controller.adapters.railway.platform import RailwayPlatform
from controller.adapters.railway.settings import RailwayToken
from controller.adapters.redis.journal import RedisJournal
from controller.adapters.redis.keys import Keys
from controller.adapters.redis.leases import RedisLeases
from controller.adapters.redis.rate_limit import RedisRateLimit
from controller.adapters.redis.record import record_of
from controller.config.timing import Timing
from controller.core.ports import Platform
from controller.core.text.masking import Masker
from controller.core.wanted import kept_window, tier_replicas
from controller.loop.leadership import Leadership
from controller.loop.log import Log
from controller.loop.reconciler import Ports
from controller.loop.runner import Runner
from controller.loop.status import ControllerStatus
from controller.loop.watching import watching
from controller.policy import Budget, KubernetesTarget, Policy, WorkerPolicy
from tests.support.misfortunes import LinkMode
from tests.support.record import (
    Acquired,
    Calm,
    Granted,
    InForce,
    Life,
    Limits,
    Noted,
    Placing,
    Record,
    Sent,
    StepTold,
    period_s,
)
from tests.support.sources import SOURCES
from tests.support.spend import HOUR_S, Charge, capped, stays_within_its_step
from tests.support.unhurried import as_promised
from tests.virtual import queue, railway, redis
from tests.virtual.kubernetes import Kubernetes, KubernetesWire, Sender, Told, opened
from tests.virtual.loop import Kernel, ProcessLoop, process_loop
from tests.virtual.network import Link
from tests.virtual.queue import PostgresServer, SimulatedQueue
from tests.virtual.railway import Origin, Railway, RailwayWire
from tests.virtual.redis import EPOCH_S, RedisServer, SimulatedRedis
from tests.virtual.scripts import Model
from tests.virtual.trace import LogStream, Trace

WORKER = "worker"
KEYS = Keys("autoscaler", railway.ENVIRONMENT)
TIMING = Timing()
_TOKEN = RailwayToken("project", SecretStr("simulated-token"))
_LONGEST_GOODBYE_S = 20.0
_LONGEST_STAY_S = 30.0
_LONGEST_PASS_S = 15.0
"""Between the reading of a record and its writing: then it is written only if it is still the same."""


@dataclass
class Clock:
    """One process's clocks: the wall clock can be set, the monotonic one runs on whatever happens to the process."""

    kernel: Kernel
    boot_s: float
    wall_s: float = 0.0

    def wall(self) -> float:
        return EPOCH_S + self.kernel.now + self.wall_s

    def monotonic(self) -> float:
        return self.kernel.now + self.boot_s


@dataclass
class Process:
    """One replica of the controller, from its start to its end."""

    name: str
    loop: ProcessLoop
    clock: Clock
    links: dict[str, Link]
    queue: SimulatedQueue
    life: Life
    policy: Policy
    leadership: Leadership = field(init=False)
    runner: Runner = field(init=False)
    told: asyncio.Event = field(init=False)
    serve: Callable[[Policy], None] = field(init=False)
    reading: asyncio.Lock = field(init=False)
    has_begun: bool = False
    read_count: int | None = None
    read_version: str = ""
    """The resourceVersion of the last reading, where the platform has one."""
    read_regions: int = 1
    read_before_change: tuple[bytes, float] | None = None
    last_intent: Granted | None = None

    @property
    def is_alive(self) -> bool:
        return not self.loop.is_dead

    @property
    def is_sure_to_lead(self) -> bool:
        """Computed from the figures, not by the program, which may be a mutant."""
        if not self.has_begun:
            return False
        leading = self.leadership
        return leading._held is not None and self.clock.monotonic() < leading._valid_until

    @property
    def smallest(self) -> int:
        """The smallest count above 0, as far as it has read the regions of the deployment and the stored ones."""
        read = self.read_before_change
        return max(self.read_regions, 1 if read is None else len(railway.placing({}, *read).stored))

    async def live(self, ended: Callable[[], None]) -> None:
        """As app.run() does: leads and runs cycles until it is told to end, then ends cleanly."""
        waiting = asyncio.create_task(self.told.wait())
        leading = asyncio.create_task(self.leadership.keep())
        running = asyncio.create_task(self.runner.run())
        await asyncio.wait({waiting, leading, running}, return_when=asyncio.FIRST_COMPLETED)
        self.runner.stop()
        await asyncio.wait({running}, timeout=_LONGEST_GOODBYE_S)
        self.leadership.stop()
        await asyncio.wait({leading}, timeout=_LONGEST_GOODBYE_S)
        for task in (leading, running):
            if task.done() and task.exception() is not None:
                self.loop.complaints.append(repr(task.exception()))
        ended()


class SimulatedWorld:
    """Everything of one episode. All that is random in it comes from the seed."""

    def __init__(self, seed: int, policy: Policy, *, replicas: int = 2, timing: Timing = TIMING) -> None:
        self.kernel = Kernel()
        self.trace = Trace(self.kernel)
        self.policy = policy
        self.other: Policy | None = None
        """What some replicas have in its place."""
        self.editions: tuple[Policy, ...] = ()
        """Those that an operator changes between; none: the policy stays as it is."""
        self.timing = timing
        self.random = Random(f"{seed}/faults")
        self._network = Random(f"{seed}/network")
        self.redis = RedisServer(self.kernel, Random(f"{seed}/redis"), self.trace)
        self.platform = self._platform_of(seed)
        self.postgres = PostgresServer(self.kernel, Random(f"{seed}/postgres"))
        self.replicas = replicas
        self.processes: list[Process] = []
        self.record = Record(policy.workers[WORKER], timing.landing_bound)
        self.hits: dict[str, int] = {}
        self.when_granted: list[Callable[[Process], None]] = []
        self._started = 0
        self._noted: dict[str, Noted] = {}
        self.operations = 0
        self.operators: set[str] = set()
        """Those whose command has not ended yet."""
        self.tools: list[ProcessLoop] = []
        """Loops of what is no controller."""
        self.is_healed = False
        self.redis.watchers.append(self._script_ran)

    @property
    def worker(self) -> WorkerPolicy:
        return self.policy.workers[WORKER]

    def _platform_of(self, seed: int) -> Railway | Kubernetes:
        """The one that the policy's worker is on."""
        replicas, land_s = self.random.choice([0, 0, 1, 2]), self.timing.landing_bound - self.timing.change_timeout
        target = self.worker.target
        if isinstance(target.given, KubernetesTarget):
            dice, resource = Random(f"{seed}/kubernetes"), target.given.resource
            return Kubernetes(self.kernel, dice, self.trace, replicas=replicas, land_s=land_s, resource=resource)
        return Railway(self.kernel, Random(f"{seed}/railway"), self.trace, replicas=replicas, land_s=land_s)

    @property
    def railway(self) -> Railway:
        assert isinstance(self.platform, Railway), "this world is on another platform"
        return self.platform

    # Processes

    @property
    def alive(self) -> list[Process]:
        return [process for process in self.processes if process.is_alive]

    @property
    def leader(self) -> Process | None:
        """The process that believes it leads; of several, the one that holds the lease in Redis, or else the first."""
        return next((process for process in self.alive if process.is_sure_to_lead), None)

    @property
    def _policy_of_the_next(self) -> Policy:
        """While two policies are out, a process that is replaced gets the one that fewer have."""
        others = sum(process.policy is self.other for process in self.alive)
        return self.other if self.other is not None and 2 * others < len(self.alive) else self.policy

    def start(self, name: str | None = None, policy: Policy | None = None) -> Process:
        self._started += 1
        name = f"{name or 'c' + str(len(self.processes) + 1)}"
        loop = process_loop(self.kernel, name)
        clock = Clock(self.kernel, boot_s=1000.0 * self._started, wall_s=self._network.uniform(-0.2, 0.2))
        links = {
            "redis": Link(self.kernel, loop, self._network, redis.ERRORS, 0.002),
            self.platform.name: Link(self.kernel, loop, self._network, self.platform.errors, 0.03),
            "postgres": Link(self.kernel, loop, self._network, queue.ERRORS, 0.003),
        }
        life = Life(name, self.kernel.now)
        queue_of = self._queue_of(links["postgres"])
        process = Process(name, loop, clock, links, queue_of, life, policy or self._policy_of_the_next)
        self.processes.append(process)
        self.trace.note(name, "started", "with the other policy" if process.policy is self.other else "")
        loop.call_soon(self._begin, process)
        return process

    def _queue_of(self, link: Link) -> SimulatedQueue:
        return SimulatedQueue(self.postgres, link)

    def _begin(self, process: Process) -> None:
        """Wires it as app.opened() does, inside its own loop."""
        clock, log = (
            process.clock,
            Log(cast("Any", LogStream(self.trace, process.name)), form="json", clock=process.clock),
        )
        policy, sources = process.policy, SOURCES._replace(platform=self.platform.source)
        status = ControllerStatus(clock, policy.interval, sources.names)
        status.serve(policy, {})
        client = cast("Redis", SimulatedRedis(self.redis, process.links["redis"], process.name))
        journal = RedisJournal(client, KEYS, clock, policy.target_ids)
        leadership = Leadership(
            RedisLeases(client, KEYS),
            clock,
            timing=self.timing,
            replica=process.name,
            report=log.event,
            watch=watching(journal, KEYS.cycles, status, log, clock, workers=lambda: process.policy.workers),
            turning=lambda: not status.stands_still,
            waits_for_survivors=True,
        )
        platform = self._connected(process, leadership)
        ports = Ports(process.queue, platform, journal, RedisRateLimit(client, clock), clock, log.event)
        process.leadership = leadership
        process.runner = Runner(policy, ports, leadership, status, log, landing_bound=self.timing.landing_bound)
        process.told, process.reading = asyncio.Event(), asyncio.Lock()

        def serve(policy: Policy) -> None:
            process.policy = policy
            journal.serve(policy.target_ids)
            status.serve(policy, {})

        process.serve = serve
        process.has_begun = True
        process.loop.create_task(process.live(lambda: self._ended(process)))

    def _connected(self, process: Process, leadership: Leadership) -> Platform:
        connected = self._on_kubernetes if isinstance(self.platform, Kubernetes) else self._on_railway
        return connected(process, leadership)

    def _on_kubernetes(self, process: Process, leadership: Leadership) -> KubernetesPlatform:
        assert isinstance(self.platform, Kubernetes)

        def sending() -> Sender:
            return Sender(*self._sending(process, "PATCH", None), process.read_version)

        def answered(told: Told | None) -> None:
            process.read_count, process.read_version = (None, "") if told is None else told

        wire = KubernetesWire(process.links["kubernetes"], process.name, self.platform, sending, answered)
        return opened(wire, process.clock, process.policy, leadership.may_act, self.timing.change_timeout)

    def _on_railway(self, process: Process, leadership: Leadership) -> RailwayPlatform:
        def sending(operation: str, variables: Mapping[str, Any], headers: Mapping[str, str]) -> Origin:
            intent, read = process.last_intent, process.read_before_change
            said = (headers.get("x-autoscaler-epoch"), headers.get("x-autoscaler-intent"))
            if intent is not None and said != (str(intent.epoch), intent.intent):
                self.record.bugs.append(f"{process.name}: the headers say {said}, the intent is {intent}")
            placing = railway.placing(variables.get("input", {}), *read) if read is not None else None
            return self._sending(process, operation, placing)

        def answered(operation: str, body: bytes | None, sent_at: float) -> None:
            if operation == "EnvironmentState":
                told = None if body is None else self.railway.told_in(body)
                process.read_count = None if told is None else told.configured
                process.read_regions = process.read_regions if told is None else told.regions
            elif operation == "EnvironmentConfig" and body is not None and b'"environment"' in body:
                process.read_before_change = body, sent_at

        wire = RailwayWire(process.links["railway"], process.name, self.railway, sending, answered)
        client = RailwayClient(
            "http://railway.simulated/graphql/v2",
            _TOKEN,
            process.clock,
            may_mutate=leadership.may_act,
            timeout_s=self.timing.change_timeout,
            transport=wire,
        )
        return RailwayPlatform(client, project=railway.PROJECT, environment=railway.ENVIRONMENT)

    def reload(self, process: Process, policy: Policy) -> None:
        """As Controller.adopt() does after a changed file was read: it takes over between two turns of its loop."""
        self.trace.note(process.name, "read", f"the policy {policy.digest}")
        if not process.has_begun:
            process.policy = policy
            return

        async def read() -> None:
            async with process.reading:
                await process.runner.adopt(policy, lambda: process.serve(policy))

        process.loop.call_soon(lambda: process.loop.create_task(read()))

    def agree(self, policy: Policy) -> None:
        """All replicas get this one, and so do those that start from now on."""
        self.policy, self.other = policy, None
        for process in self.alive:
            self.reload(process, policy)

    def kill(self, process: Process) -> None:
        if process.is_alive:
            self.trace.note(process.name, "killed")
            self._gone(process)

    def terminate(self, process: Process) -> None:
        if process.is_alive:
            self.trace.note(process.name, "told to end")
            process.loop.call_soon(lambda: process.told.set())  # noqa: PLW0108  # it may not have begun yet

    def pause(self, process: Process, seconds: float) -> None:
        if not process.is_alive or process.loop.is_paused:
            return
        self.trace.note(process.name, "paused", f"for {seconds:.1f} s")
        process.loop.pause()
        process.life.deaf.append((self.kernel.now, self.kernel.now + seconds))
        self.kernel.after(seconds, self.resume, process)

    def resume(self, process: Process) -> None:
        if process.is_alive and process.loop.is_paused:
            self.trace.note(process.name, "resumed")
            process.loop.resume()

    def keep_running(self) -> None:
        """As a platform does: replaces processes that have died."""
        while len(self.alive) < self.replicas:
            self.start()

    def _ended(self, process: Process) -> None:
        self.trace.note(process.name, "ended")
        self._gone(process)

    def _gone(self, process: Process) -> None:
        process.life.until = self.kernel.now
        process.loop.kill()

    # What the record is made of

    def _script_ran(self, who: str, model: Model, keys: Sequence[str], args: Sequence[str], answer: Any) -> None:
        process = next((one for one in self.processes if one.name == who), None)
        if process is None:
            return  # an operator's command
        if model.name == "acquire":
            if answer[0] == 1:
                self.record.acquired.append(Acquired(self.kernel.now, who, args[0], int(answer[1]), args[2] != "0"))
                self.trace.note("redis", "lease", f"to {who}, epoch {answer[1]}")
            return
        charge = self._charge(who, answer) if model.name == "write" and answer[0] == "ok" else None
        written = model.name == "write" and answer[0] == "ok" and args[0]
        if written and process.queue.ended is not None:
            at, succeeded = process.queue.ended
            noted = Noted(at, who, succeeded)
            if self._noted.get(who) != noted:
                self._noted[who] = noted
                self.record.noted.append(noted)
        recorded = record_of(answer[3]) if written else {}
        known = {granted.intent for granted in self.record.granted}
        if recorded.get("intent", "") not in known | {""}:  # not one that is given back
            holder = args[0].partition(":")[2]
            epoch, before, after = (int(recorded[f"intent_{name}"]) for name in ("epoch", "before", "after"))
            now = int(answer[1]) / 1000
            sure, maybe = InForce.in_record(recorded, now), InForce.in_record(recorded, now - _LONGEST_PASS_S)
            forced = any(one.kind != "pause" for one in maybe)
            policy = process.policy.workers[WORKER]
            granted = Granted(
                self.kernel.now,
                who,
                holder,
                recorded["intent"],
                epoch,
                before,
                after,
                sure,
                overridden=forced,
                limits=tuple(
                    one
                    for at in self._moments_of_a_pass(now)
                    for one in capped(Limits.at(policy, at), self.budgets, 0.0 if charge is None else charge.worker_s)
                ),
                policy=policy,
                smallest=process.smallest,
                ended=tuple(one for one in maybe if one not in sure),
            )
            process.last_intent = granted
            if self.redis.store.get(keys[0]) != args[0]:
                self.record.bugs.append(f"{who}: an intent was written down without the lease")
            self.record.granted.append(granted)
            self.trace.note("redis", "intent", f"{granted.before} → {granted.after} of {who}, epoch {granted.epoch}")
            for trigger in list(self.when_granted):
                trigger(process)
        elif model.name not in {"acquire", "renew", "release"}:
            process.life.learned.append(self.kernel.now)

    def _charge(self, who: str, answer: Any) -> Charge | None:
        charge = Charge.in_record(record_of(answer[3]), self.kernel.now, who)
        if charge is not None:
            self.record.charges.append(charge)
        return charge

    @property
    def budgets(self) -> tuple[tuple[Budget, float], ...]:
        """Each that the worker is under, with the price of a worker-second."""
        both, size = (self.worker.budget, self.policy.budget), self.worker.worker_size
        return tuple((one, size.price.per_second) for one in both if one is not None and size is not None)

    def _moments_of_a_pass(self, now: float) -> list[float]:
        """When it may have been decided on, by Redis' clock, which may have been set meanwhile."""
        moments = [now, now - _LONGEST_PASS_S]
        for at, seconds in self.redis.steps:
            if self.kernel.now - at <= _LONGEST_PASS_S:
                moments += [moment - seconds for moment in moments]
        return moments

    def _sending(self, process: Process, operation: str, placing: Placing | None) -> Origin:
        intent = process.last_intent
        holder = intent.holder if intent else ""
        acquired_at = next((one.at for one in reversed(self.record.acquired) if one.holder == holder), -1.0)
        acted = {one.intent.holder for one in self.record.sent if one.intent is not None}
        trusting = [one for one in self.alive if one is not process and one.is_sure_to_lead]
        rivals = [one.name for one in trusting if one.leadership.holder in acted]
        sent = Sent(
            self.kernel.now,
            process.name,
            operation,
            intent.epoch if intent else -1,
            acquired_at,
            intent,
            process.read_count,
            process.queue.last_read,
            tuple(rivals),
            is_leader=process.is_sure_to_lead,
            # A restart, too, is for a count that was decided on what is stored, which the deployment need not have yet.
            smallest=max(process.read_regions, len(placing.stored) if placing is not None else 1),
            placing=placing if operation == "ServiceInstanceUpdate" else None,
            read_version=process.read_version,
        )
        self.record.sent.append(sent)
        self.trace.note(
            process.name,
            "sends",
            f"{operation} (epoch {sent.epoch}, also trusted by: {', '.join(one.name for one in trusting) or 'none'})",
        )
        return Origin(process.name, sent.epoch, intent.intent if intent else "")

    # Time

    def run_for(self, seconds: float) -> None:
        self.kernel.run_until(self.kernel.now + seconds)

    @property
    def wanted(self) -> int:
        now = self.redis.milliseconds / 1000
        limits = capped(Limits.at(self.worker, now), self.budgets, self._worker_s_at(now))[0]
        count = max(limits.least, min(limits.highest, tier_replicas(self.worker, self.postgres.depth)))
        return max(count, self.platform.fewest_running) if count else 0

    def _worker_s_at(self, now: float, *, ahead: float = 0.0) -> float:
        """Of the hour, by the newest record; now: by Redis' clock.

        ahead: seconds until then; the next charge may find more workers than the last one, if they came since.
        """
        charges = self.record.charges
        if not charges:
            return self.platform.running * ahead
        more = max(0, self.platform.running - charges[-1].workers)
        return charges[-1].worker_s_at(now) + more * ahead

    def _same_hour_for(self, seconds: float) -> bool:
        """Whether no schedule begins or ends within this time, and no budget comes to its next step or to its end."""
        now = self.redis.milliseconds / 1000
        if self.budgets and now % HOUR_S + seconds >= HOUR_S:
            return False
        is_new = now % HOUR_S < self.policy.interval  # and nothing is charged in it yet
        before = 0.0 if is_new else self._worker_s_at(now - self.policy.interval)
        after = self._worker_s_at(now + seconds, ahead=seconds)
        if not stays_within_its_step(self.budgets, before, after):
            return False
        return all(
            seconds <= edge - now % period_s(one) or now % period_s(one) >= edge
            for one in self.worker.schedules
            for edge in (one.on_for, period_s(one))
        )

    @property
    def is_as_wanted(self) -> bool:
        there, is_open = self.platform, "intent" in self.redis.store.hash(KEYS.worker(WORKER))
        return not is_open and not there.under_way and there.asked == there.shown == there.running == self.wanted

    @property
    def bound_s(self) -> float:
        """Seconds after the last fault within which the count must be what the demand wants.

        Two lease durations, a change that is still to land, both cooldowns, eight cycles; and if Railway refused a
        change, or accepted one and did not make it, the pause that the journal prescribes.
        """
        policy, timing = self.worker, self.timing
        cooldowns = policy.scale_up.cooldown + policy.scale_down.cooldown
        window = kept_window(policy)
        steps = 5 if policy.scale_up.max_step or policy.scale_down.max_step or self.budgets else 1
        burning = max((0.5 * budget.amount / price for budget, price in self.budgets), default=0.0)
        memory = self.redis.store.hash(KEYS.worker(WORKER))
        setbacks = int(memory.get("setbacks", "0"))
        pause = min(900.0, timing.landing_bound / 2 * 2**setbacks) if setbacks else 0.0
        unseen = 600.0 if "unseen_stop" in memory else 0.0
        hours = max((period_s(one) for one in policy.schedules), default=0.0)
        bound = hours + 2 * timing.ttl + timing.landing_bound + steps * cooldowns + window + 8 * self.policy.interval
        return bound + burning + max(pause, unseen) + self.platform.settles_s

    def heal(self) -> None:
        """Ends every fault, those that were still to come too, and leaves the demand as it is."""
        self.is_healed = True
        self.trace.note("world", "healed", f"{self.postgres.depth} jobs want {self.wanted}")
        self.when_granted.clear()
        self.platform.when_applied.clear()
        self.redis.be_well()
        self.platform.be_well()
        self.postgres.be_well()
        for process in self.alive:
            for link in process.links.values():
                link.way, link.cut_next = LinkMode.OPEN, False
            self.resume(process)
        self.keep_running()

    def conclude(self, *, stay_s: float = _LONGEST_STAY_S) -> Record:
        """Waits until the count is as wanted, checks that it stays so, and closes the record."""
        record, healed_at, bound_s, wanted = self.record, self.kernel.now, self.bound_s, self.wanted
        converged_at = strayed_at = None
        while converged_at is None and self.kernel.now < healed_at + bound_s:
            self.run_for(2.0)
            if self.platform.under_way:
                healed_at = self.kernel.now  # what is held up on its way is a fault that has not ended yet
            bound_s = max(bound_s, self.bound_s)
            if self.is_as_wanted and self._same_hour_for(stay_s + 2.0):
                converged_at = self.kernel.now
        if converged_at is not None:
            changes = len(self.platform.changes)
            self.run_for(stay_s)
            if len(self.platform.changes) > changes:
                strayed_at = self.platform.changes[changes].at
        asked, running = self.platform.asked, self.platform.running
        record.calms.append(Calm(healed_at, bound_s, wanted, asked, running, converged_at, strayed_at))
        record.ended_at = self.kernel.now
        record.changes = self.platform.changes
        record.moved = list(self.platform.all_moved)
        record.written = list(self.platform.written)
        record.lost_data_at = self.redis.lost_data_at
        record.lost_records_at = self.redis.lost_records_at
        record.leapt_at = self.redis.leapt_at
        record.writable_again_at = self.redis.writable_again_at
        record.set_at = [at for at, _ in self.redis.steps]
        record.told = self.told()
        record.lives = [process.life for process in self.processes]
        record.bugs += [
            f"{process.name}: {complaint}" for process in self.processes for complaint in process.loop.complaints
        ]
        record.bugs += [
            f"{entry.who}: {entry.detail}" for entry in self.trace.entries if '"event": "crashed"' in entry.detail
        ]
        return record

    def told(self) -> list[StepTold]:
        """Each step of a budget, so far."""
        lines = [entry for entry in self.trace.entries if '"event": "budget"' in entry.detail]
        return [StepTold(entry.at, entry.who, json.loads(entry.detail)["id"]) for entry in lines]

    def close(self) -> None:
        for loop in (*(process.loop for process in self.processes), *self.tools):
            loop.forget()


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds the program's own random numbers too: tenacity's waits and the uuids."""
    dice, state, real = Random(f"{seed}/uuids"), random.getstate(), uuid.uuid4
    random.seed(f"{seed}/program")
    uuid.uuid4 = lambda: uuid.UUID(int=dice.getrandbits(128), version=4)
    try:
        yield
    finally:
        uuid.uuid4 = real
        random.setstate(state)


@contextmanager
def simulated_world(seed: int, policy: Policy, **more: Any) -> Iterator[SimulatedWorld]:
    with as_promised(), seeded(seed), _without_secrets():
        world = SimulatedWorld(seed, policy, **more)
        try:
            yield world
        finally:
            world.close()


def _without_secrets() -> AbstractContextManager[object]:
    """There is none in this world, and looking for one in each text took a tenth of the time."""
    return patch.object(Masker, "text", lambda self, text: text)


def policy_of(**worker: Any) -> Policy:
    """The tiers of the shipped policy, with other timings."""
    tiers = [(0, 0), (10, 1), (30, 2), (60, 3), (100, 4)]
    table = [{"up_to": depth, "replicas": replicas} for depth, replicas in tiers]
    data = {
        **({} if "kubernetes" in worker else {"service": railway.SERVICE}),
        "queue": {"table": "generation_job"},
        "max_replicas": 5,
        "tiers": [*table, {"replicas": 5}],
        "rate_limit": {"rpm": 60},
        **worker,
    }
    top = {"interval": data.pop("interval", "10s"), "budget": data.pop("budget_of_all", None)}
    return Policy.model_validate({**top, "workers": {WORKER: data}})
