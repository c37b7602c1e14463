"""Our own policies in the simulator: the same plan() and the same steps of the history as in production.

A plan is pure, so its answers are cached, and it is made only for inputs that are new. What plan() gets is made from
the cache's key and from what is constant for a policy, and from nothing else (Given.seen), so that an answer can't
depend on something that is not in the key. Another test compares every answer with a fresh one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from controller.core.history import start_of
from controller.core.jobs_each import JobsEach
from controller.core.load import Load
from controller.core.long_wait import is_too_long, pace
from controller.core.model import (
    History,
    QueueDepth,
    QueuePart,
    Recommendation,
    Replicas,
    ServiceState,
    ServiceTime,
)
from controller.core.plan import Seen, plan
from controller.core.ports import Role, Source, Sources
from controller.core.queues import alone, slowest
from controller.core.rules import recommend
from controller.core.schedule import DAY_S, in_force, limited
from controller.core.slo import Promise
from controller.core.steps import Send
from controller.core.wanted import given_service, retention
from controller.policy import USABLE_START_UP_S, Policy, Slo, WorkerPolicy
from controller.simulation.account import Done
from controller.simulation.measured import Recent
from controller.simulation.memory import Memory
from controller.simulation.scaler import Calm, Span, View
from controller.simulation.split import queue_of

CYCLE_LATE_S = 0.002
"""A cycle begins so much later than one interval after the one before; the demo's real run has 1 ms to 11 ms."""
_MEASURE_AGAIN_S = 60.0
_MOST_KNOWN = 50_000
_SOURCES = Sources(*(Source(role, role.value) for role in Role))
_A_MONDAY = datetime(2026, 1, 5)  # noqa: DTZ001  # in whichever time zone a schedule has
"""Where a workload without dates begins; no zone changes its clock within the weeks after it."""
_NOW, _LONG_AGO = 0.0, -1e9
"""The time of every plan, and of what has no effect on it any more."""


class Part(NamedTuple):
    """One of several queues: its jobs waiting and in progress, and its mean time per job; None: unknown."""

    waiting: int
    busy: int
    mean_s: float | None


class Wanted(NamedTuple):
    """A recommendation, and the first waiting jobs and mean time per job that had it with the same jobs in progress."""

    recommended: int
    waiting: int
    mean_s: float | None
    parts: tuple[Part, ...] = ()


class Inputs(NamedTuple):
    """In what two looks of a policy can differ; times only by what has ended by now.

    waiting, mean_s: as in Wanted, so that all that want the same have one answer. stays: the highest worker that may
    not be removed yet, because it was needed; 0: none. is_overdue: the oldest job has waited longer than max_wait.
    may_add: this may add a worker now. parts: of several queues, each.
    """

    waiting: int
    mean_s: float | None
    busy: int
    leaving: int
    configured: int
    some_run: bool
    may_go_up: bool
    may_go_down: bool
    stays: int
    is_overdue: bool = False
    may_add: bool = True
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Given:
    """What is the same for many looks of a policy."""

    policy: WorkerPolicy
    draining_s: float

    def seen(self, inputs: Inputs) -> Seen:
        """What a pass would see. A cooldown that is not over ends in a moment: how soon changes no count."""
        up, down = self.policy.scale_up.cooldown, self.policy.scale_down.cooldown
        keep = retention(self.policy, math.inf)
        age = math.inf if inputs.is_overdue else 0.0
        # If max_wait may not add a worker yet, a cooldown that is over is shorter than the start it waits for.
        last_up, start_ups = (None, ()) if inputs.may_add else (_NOW - up, (USABLE_START_UP_S[1],))
        return Seen(
            policy=self.policy,
            queue=QueueDepth(inputs.waiting, inputs.busy, age, parts=parts_of(self.policy, inputs.parts)),
            replicas=Replicas(
                configured=inputs.configured,
                running=int(inputs.some_run),
                alive=inputs.configured + inputs.leaving,
                state=ServiceState.RUNNING if inputs.some_run or not inputs.configured else ServiceState.STARTING,
                draining_s=self.draining_s,
                leaving=inputs.leaving,
            ),
            history=History(
                last_up=last_up if inputs.may_go_up else _NOW - math.nextafter(up, 0),
                last_down=None if inputs.may_go_down else _NOW - math.nextafter(down, 0),
                since=_LONG_AGO,
                unbroken_since=_LONG_AGO,
                remembered_at=_NOW,
                window=round(keep.window, 3),
                recommendations=(Recommendation(_NOW, inputs.stays),) if inputs.stays else (),
                learned_at=_NOW,
                start_ups=start_ups,
                count=inputs.configured,
            ),
            now=_NOW,
            sources=_SOURCES,
            retention=keep,
            landing_bound=math.inf,
            service=None if inputs.mean_s is None else ServiceTime(inputs.mean_s, inputs.mean_s, 0),
        )


def parts_of(policy: WorkerPolicy, parts: Iterable[Part]) -> tuple[QueuePart, ...]:
    """What decide() gets of each queue."""
    return tuple(
        QueuePart(
            name,
            QueueDepth(part.waiting, part.busy),
            service=None if part.mean_s is None else ServiceTime(part.mean_s, part.mean_s, 0),
            target_wait=queue.target_wait,
            weight=queue.weight,
        )
        for (name, queue), part in zip(policy.named_queues.items(), parts, strict=False)
    )


def _mean_s(service: ServiceTime | None) -> float | None:
    return None if service is None else service.mean_s


class _Answers(NamedTuple):
    """What is known for the policy of an hour, while another one holds; by the names of OwnPolicy."""

    by_service: dict[float, tuple[dict[tuple[int, int, int], Wanted], Calm]]
    alike: dict[tuple[int, int, int, int, bool], Wanted]
    answers: dict[Inputs, int]
    wants: dict[tuple[int, int, int], Wanted]
    calm: Calm


class Known(NamedTuple):
    """What OwnPolicy knows with one target wait, of its fields with the same names."""

    given: Given
    answers: dict[Inputs, int]
    by_service: dict[float, tuple[dict[tuple[int, int, int], Wanted], Calm]]
    alike: dict[tuple[int, int, int, int, bool], Wanted]


@dataclass(slots=True)
class OwnPolicy:
    """A Scaler that does what the reconciler does for one worker of a policy.

    With schedules, `policy` is that of the hour: without them, and with the min_replicas and max_replicas of the one
    that is on. A plan made for it is the plan for the policy as written, at any time of that hour.
    """

    policy: WorkerPolicy
    interval: float
    wake_interval: float | None
    settled: bool = False
    calm: Calm = field(default_factory=dict)
    learn_at: float = math.inf
    up_at: float = -math.inf
    down_at: float = 0.0
    times_starts: bool = False
    answer_s: float = 0.2
    """Seconds until the platform accepts a change: the cooldowns count from that, not from the look."""
    decisions: int = 0
    """How often plan() was called."""
    _service: ServiceTime | None = None
    _recent: Recent = field(default_factory=Recent)
    _wants: dict[tuple[int, int, int], Wanted] = field(default_factory=dict)
    _by_service: dict[float, tuple[dict[tuple[int, int, int], Wanted], Calm]] = field(default_factory=dict)
    _given: Given = field(init=False)
    _answers: dict[Inputs, int] = field(init=False)
    _alike: dict[tuple[int, int, int, int, bool], Wanted] = field(default_factory=dict)
    """By recommendation, jobs in progress, draining workers, how many of these finish, and whether a job may wait too
    long: what was seen first.
    """
    _together: dict[tuple[tuple[Part, ...], int, int, int, int], Wanted] = field(default_factory=dict)
    """With several queues, by their parts, jobs waiting and in progress, draining workers, and how many finish."""
    _memory: Memory = field(init=False)
    _down_open: float = 0.0
    _remembers: bool = False
    _measures: bool = False
    _learns: bool = False
    _guards_waits: bool = False
    _last_up: float = -math.inf
    _written: WorkerPolicy = field(init=False)
    """With its schedules."""
    _hour_ends: float = math.inf
    """When another schedule may be on."""
    _hours: dict[tuple[int, int], _Answers] = field(default_factory=dict)
    """By min_replicas and max_replicas."""
    _learn_due: float = math.inf
    _early: list[Done] = field(default_factory=list)
    """Ended jobs that the next measurement gets."""
    _each_recent: list[Recent] = field(default_factory=list)
    """By the order of the queues, if there are several, what is measured of each."""
    _each_given: list[ServiceTime | None] = field(default_factory=list)
    _each_service: list[ServiceTime | None] = field(default_factory=list)
    _slo: Slo | None = None
    _promise: Promise = field(default_factory=Promise)
    _by_target: dict[tuple[float, float, int, int], Known] = field(default_factory=dict)
    """By target wait, draining time, min and max: what is known while these are in force."""
    _by_exact_depth: bool = False
    """Two depths that want the same may have two answers, because activation and tolerance go by the depth."""

    @classmethod
    def of(cls, policy: Policy, worker: WorkerPolicy, *, wakes: bool) -> OwnPolicy:
        return cls(worker, policy.interval + CYCLE_LATE_S, policy.wake_min_interval if wakes else None)

    def __post_init__(self) -> None:
        self._written = self.policy
        given, self._memory = self.policy.service_time, Memory(self.policy, self.interval)
        self._slo = self.policy.slo
        self._measures = self.policy.target_wait is not None and given is None
        self._learns, self._remembers = self._memory.learns, self._memory.is_in_use
        self._guards_waits = self.policy.max_wait is not None
        self.times_starts = self._learns or self._guards_waits
        self.learn_at = self._learn_due = 0.0 if self._measures or self._learns else math.inf
        if self.policy.schedules:
            self._hour_ends = self.learn_at = 0.0
        each = JobsEach.of(self.policy)
        self._by_exact_depth = each is not None and (each.activation > 1 or each.tolerance > 0)
        if given is not None:
            self._service = self._memory.service = ServiceTime(given, given, 0)
        self._each_given = [given_service(queue) for queue in alone(self.policy).values() if self.policy.named_queues]
        self._each_service = list(self._each_given)
        self._each_recent = [Recent() for _ in self._each_given]
        if self._slo is not None:
            self._aim(self._slo)
        # A memory that begins now counts as a scale that happened then.
        self._down_open = self.policy.scale_down.cooldown
        self.down_at = self._down_open
        self._give(math.inf)

    def look(self, seen: View) -> int:
        """As Scaler says."""
        now, configured = seen.now, seen.configured
        if now >= self._hour_ends or self._slo is not None or seen.draining_s != self._given.draining_s:
            self._prepare(seen)
        memory = self._memory
        parts = self._parts(seen) if seen.parts else ()
        key = seen.waiting, seen.busy, seen.leaving
        if self.calm.get(key) == configured:
            return self._stays(seen)
        wanted = self._recommend_together(seen, parts) if parts else self._wants.get(key)
        recommended, waiting, mean_s, parts = self._recommend(seen) if wanted is None else wanted
        stays = 0
        if self._remembers:
            memory.note(now, recommended, is_poll=not seen.notified)
            stays = memory.staying(now, recommended, configured, self.policy.max_replicas)
        up, down = now >= self.up_at, now >= self._down_open
        some_run = seen.running > 0
        inputs = Inputs(waiting, mean_s, seen.busy, seen.leaving, configured, some_run, up, down, stays, parts=parts)
        if self._guards_waits:
            inputs = self._with_wait(inputs, seen)
        desired = self._answers.get(inputs)
        if desired is None:
            desired = self._answers[inputs] = self._planned(inputs)
        if desired == configured:
            self._stay(now, recommended, configured)
            is_wanted = self._within(recommended) == configured
            is_held = up and down and not self._remembers and some_run
            self.settled = (is_wanted or is_held) and not self._may_be_late(seen.waiting)
            return desired
        return self._changes(seen, desired, recommended)

    def _prepare(self, seen: View) -> None:
        """Takes up the policy of this hour, and what else is in force now."""
        if seen.now >= self._hour_ends:
            self._begin_hour(seen.now, seen.began)
        if self._slo is not None:
            self._count_at_max(seen.configured, seen.now)
        if seen.draining_s != self._given.draining_s:
            self._give(seen.draining_s)

    def _stays(self, seen: View) -> int:
        """The count is the wanted one, so that no rule changes it."""
        now, configured = seen.now, seen.configured
        if self._remembers:
            self._memory.note(now, configured, is_poll=not seen.notified)
            self.down_at = max(now + self._memory.window(configured), self._down_open)
        self.settled = True
        return configured

    def passed(self, wanted: int, polls: Span, wakes: Span) -> None:
        """The looks that were left out would all have noted the same recommendation."""
        if self._remembers:
            self._memory.passed(wanted, polls, wakes)

    def learn(self, finished: Iterable[Done], now: float, configured: int) -> None:
        """Measures the time per job of the finished ones, and for how long workers that are not needed stay."""
        if now < self._learn_due:  # another hour begins
            self._early += finished if self._measures or self._learns else ()
            self._look_at_all()
            return
        finished = [*self._early, *finished]
        if self._learns:
            self._observe_load(sum([job[1] for _, _, job, _ in finished]), now)
        if self._measures:
            fresh = bool(finished)
            if fresh:
                self._service = self._memory.service = self._measured(finished, now)
                mean_s = -1.0 if self._service is None else self._service.mean_s
                self._wants, self.calm = self._by_service.setdefault(mean_s, ({}, {}))
            if fresh and self._slo is not None:
                self._promise_more(self._slo, now)
        if self._learns:
            self._memory.learn(now)
            self._check_down_at(configured)
        if self._slo is not None:
            self._count_at_max(configured, now)
        self._early.clear()
        self._learn_due = now + _MEASURE_AGAIN_S if self._measures or self._learns else math.inf
        self._look_at_all()

    def time_start(self, now: float, configured: int, running: int) -> None:
        """As Scaler says."""
        self._memory.time_start(configured, running, now)
        self._check_down_at(configured)

    def _check_down_at(self, configured: int) -> None:
        """Where the worker that goes next may stay for another time now, the next look that could remove it is made."""
        if not self._memory.knows(configured):
            self.down_at = 0.0

    def _measured(self, finished: list[Done], now: float) -> ServiceTime | None:
        """The time per job; of several queues, that of each, and the longest of them for the whole."""
        self._recent.add(finished)
        for place, recent in enumerate(self._each_recent):
            recent.add([done for done in finished if queue_of(done[2]) == place])
            self._each_service[place] = self._each_given[place] or recent.measured(now)
        if not self._each_recent:
            return self._recent.measured(now)
        return slowest(parts_of(self.policy, [Part(0, 0, _mean_s(one)) for one in self._each_service]))

    def _parts(self, seen: View) -> tuple[Part, ...]:
        """Of several queues, what is known of each now."""
        return tuple(Part(*counts, _mean_s(one)) for counts, one in zip(seen.parts, self._each_service, strict=False))

    def _recommend_together(self, seen: View, parts: tuple[Part, ...]) -> Wanted:
        """The recommendation for several queues; all that want the same are alike."""
        service = self._service
        finishing = seen.leaving if service is not None and seen.draining_s >= service.mean_s else 0
        known = parts, seen.waiting, seen.busy, seen.leaving, finishing
        if known in self._together:
            return self._together[known]
        if len(self._together) >= _MOST_KNOWN:
            self._together.clear()
        queue = QueueDepth(seen.waiting, seen.busy, parts=parts_of(self.policy, parts))
        recommended = recommend(self.policy, queue, service, seen.configured, finishing)
        wanted = Wanted(recommended, seen.waiting, _mean_s(service), parts)
        if self._by_exact_depth or any(part.mean_s is None for part in parts):
            return wanted
        key = recommended, seen.busy, seen.leaving, finishing, self._may_be_late(seen.waiting)
        self._together[known] = self._alike.setdefault(key, wanted)
        return self._together[known]

    def _look_at_all(self) -> None:
        """No look is left out between the end of an hour and the first one after it."""
        self.learn_at = min(self._learn_due, self._hour_ends)

    def _begin_hour(self, now: float, began: float | None) -> None:
        """Takes up the policy of the hour that `now` is in, with all answers that are known for it."""
        schedules = self._written.schedules
        began = _A_MONDAY.replace(tzinfo=schedules[0].zone).timestamp() if began is None else began
        stretch = in_force(schedules, began + now)
        self._hour_ends = now + DAY_S if stretch.until is None else stretch.until - began
        self._look_at_all()
        policy = limited(self._written, stretch.place)
        if policy == self.policy:
            return
        if self._slo is not None:
            self.policy = policy
            self._give(self._given.draining_s)
            return
        before, after = ((one.min_replicas, one.max_replicas) for one in (self.policy, policy))
        self._hours[before] = _Answers(self._by_service, self._alike, self._answers, self._wants, self.calm)
        kept = self._hours.get(after) or _Answers({}, {}, {}, {}, {})
        self._by_service, self._alike, self._answers, self._wants, self.calm = kept
        if self._measures and self._service is not None:
            self._wants, self.calm = self._by_service.setdefault(self._service.mean_s, ({}, {}))
        self.policy = policy
        self._given = Given(policy, self._given.draining_s)
        self._together.clear()

    def _promise_more(self, slo: Slo, now: float) -> None:
        """Moves the target by the waits of the newest finished jobs, as core/plan.py does."""
        waits, newest = self._recent.waits()
        if not self._promise.is_due(newest, now):
            return
        before = self._promise.multiple(slo)
        self._promise = self._promise.learned(slo, waits, newest, now)
        if self._promise.multiple(slo) != before:
            self._aim(slo)
            self._give(self._given.draining_s)

    def _count_at_max(self, configured: int, now: float) -> None:
        self._promise = self._promise.looked(now, math.inf, is_at_max=configured >= self.policy.max_replicas)

    def _aim(self, slo: Slo) -> None:
        """Puts the target wait in force, so that plan() gets a policy with that and without a promise."""
        update = {"slo": None, "target_wait": self._promise.target(slo)}
        self.policy, self._written = (one.model_copy(update=update) for one in (self.policy, self._written))
        self._memory.policy = self._written
        self._memory.forget_windows()

    def _observe_load(self, work_s: float, now: float) -> None:
        """By the work that was done since the last time: over a day, that is the share of each poll in production."""
        before = self._memory.load
        offered = (now if before is None else now - before.at) * self.policy.max_replicas * self.policy.concurrency
        self._memory.load = Load.after(before, work_s / offered if offered else 0.0, now, math.inf)

    def _recommend(self, seen: View) -> Wanted:
        wants, service = self._wants, self._service
        finishing = seen.leaving if service is not None and seen.draining_s >= service.mean_s else 0
        queue = QueueDepth(seen.waiting, seen.busy)
        recommended = recommend(self.policy, queue, service, seen.configured, finishing)
        if service is None and self.policy.target_wait is not None:
            return Wanted(recommended, seen.waiting, None)  # it depends on the configured count, too
        wanted = Wanted(recommended, seen.waiting, _mean_s(service))
        if not self._by_exact_depth:
            # A queue without a waiting job is never late, even if it wants the same.
            key = recommended, seen.busy, seen.leaving, finishing, self._may_be_late(seen.waiting)
            wanted = self._alike.setdefault(key, wanted)
        if len(wants) >= _MOST_KNOWN:
            wants.clear()
            self.calm.clear()
        wants[seen.waiting, seen.busy, seen.leaving] = wanted
        if not self._may_be_late(seen.waiting):
            self.calm[seen.waiting, seen.busy, seen.leaving] = self._within(recommended)
        return wanted

    def _may_be_late(self, waiting: int) -> bool:
        """Whether time alone may bring another answer, by max_wait: then each look counts."""
        if self._written.schedules:
            return True  # another hour may bring one: with schedules, each look counts
        return self.policy.max_wait is not None and waiting > 0

    def _with_wait(self, inputs: Inputs, seen: View) -> Inputs:
        """With whether a job has waited too long, and whether it may add a worker now."""
        if not seen.waiting or not is_too_long(self.policy, QueueDepth(seen.waiting, 0, seen.oldest_s)):
            return inputs
        may_add = seen.now >= self._last_up + pace(self.policy, self._memory.start_up_s)
        return inputs._replace(is_overdue=True, may_add=may_add)

    def _within(self, recommended: int) -> int:
        return min(max(recommended, self.policy.min_replicas), self.policy.max_replicas)

    def _changes(self, seen: View, desired: int, recommended: int) -> int:
        now = seen.now
        if self._slo is not None:
            self._count_at_max(desired, now)
        self.settled = False
        if seen.notified and self._remembers:
            self._memory.note(now, recommended, is_poll=True)  # a change is a whole cycle
        answered = now + self.answer_s
        self._memory.start = None
        if desired > seen.configured:
            if self.times_starts:
                self._memory.start = start_of(seen.configured, desired, answered)
                self._memory.time_start(desired, seen.running, answered)  # the change is made at once
            self._last_up, self.up_at = answered, answered + self.policy.scale_up.cooldown
        self._down_open = max(self._down_open, answered + self.policy.scale_down.cooldown)
        self._stay(now, recommended, desired)
        return desired

    def _stay(self, now: float, recommended: int, configured: int) -> None:
        """Sets before which time no worker can go."""
        self.down_at = self._down_open
        if self._remembers:
            self.down_at = max(self._memory.stays_until(now, recommended, configured), self._down_open)

    def _planned(self, inputs: Inputs) -> int:
        """The count that a pass would request now; the configured one if it would hold."""
        self.decisions += 1
        last = plan(self._given.seen(inputs)).last
        return last.change.after if isinstance(last, Send) else inputs.configured

    def _give(self, draining_s: float) -> None:
        if self._slo is None:
            self._given, self._answers = Given(self.policy, draining_s), {}
            self._hours.clear()
            return
        key = self._promise.multiple(self._slo), draining_s, self.policy.min_replicas, self.policy.max_replicas
        fresh = Known(Given(self.policy, draining_s), {}, {}, {})
        self._given, self._answers, self._by_service, self._alike = self._by_target.setdefault(key, fresh)
        mean_s = -1.0 if self._service is None else self._service.mean_s
        self._wants, self.calm = self._by_service.setdefault(mean_s, ({}, {}))
