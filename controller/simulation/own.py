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

from controller.core import pauses
from controller.core.history import start_of, timed, with_took
from controller.core.jobs_each import JobsEach
from controller.core.load import Load
from controller.core.long_wait import is_too_long, pace
from controller.core.model import (
    Change,
    History,
    QueueDepth,
    Recommendation,
    Replicas,
    ServiceState,
    ServiceTime,
    Start,
)
from controller.core.plan import Seen, plan
from controller.core.ports import Role, Source, Sources
from controller.core.rules import recommend, window_tolerance
from controller.core.schedule import DAY_S, in_force, limited
from controller.core.slo import Promise
from controller.core.steps import Send
from controller.core.wanted import kept, learns_when_to_stop, retention, windows
from controller.policy import USABLE_START_UP_S, Policy, Slo, WorkerPolicy
from controller.simulation.account import Done
from controller.simulation.measured import Pauses, Recent
from controller.simulation.scaler import Calm, Span, View

CYCLE_LATE_S = 0.002
"""A cycle begins so much later than one interval after the one before; the demo's real run has 1 ms to 11 ms."""
_MEASURE_AGAIN_S = 60.0
_MOST_KNOWN = 50_000
_SOURCES = Sources(*(Source(role, role.value) for role in Role))
_A_MONDAY = datetime(2026, 1, 5)  # noqa: DTZ001  # in whichever time zone a schedule has
"""Where a workload without dates begins; no zone changes its clock within the weeks after it."""
_NOW, _LONG_AGO = 0.0, -1e9
"""The time of every plan, and of what has no effect on it any more."""


class Wanted(NamedTuple):
    """A recommendation, and the first waiting jobs and time per job that had it with the same jobs in progress."""

    recommended: int
    waiting: int
    service: ServiceTime | None


class Inputs(NamedTuple):
    """In what two looks of a policy can differ; times only by what has ended by now.

    waiting, service: as in Wanted, so that all that want the same have one answer. stays: the highest worker that may
    not be removed yet, because it was needed; 0: none. is_overdue: the oldest job has waited longer than max_wait.
    may_add: this may add a worker now.
    """

    waiting: int
    service: ServiceTime | None
    busy: int
    leaving: int
    configured: int
    some_run: bool
    may_go_up: bool
    may_go_down: bool
    stays: int
    is_overdue: bool = False
    may_add: bool = True


@dataclass(frozen=True, slots=True)
class Given:
    """What is the same for many looks of a policy."""

    policy: WorkerPolicy
    draining_s: float

    def seen(self, inputs: Inputs) -> Seen:
        """What a pass would see. A cooldown that is not over ends in a moment: how soon changes no count."""
        up, down = self.policy.scale_up.cooldown, self.policy.scale_down.cooldown
        keep = retention(self.policy, math.inf)
        # If max_wait may not add a worker yet, a cooldown that is over is shorter than the start it waits for.
        last_up, start_ups = (None, ()) if inputs.may_add else (_NOW - up, (USABLE_START_UP_S[1],))
        return Seen(
            policy=self.policy,
            queue=QueueDepth(inputs.waiting, inputs.busy, math.inf if inputs.is_overdue else 0.0),
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
            service=inputs.service,
        )


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
    _needed: list[Recommendation] = field(default_factory=list)
    _polled_at: float | None = None
    _apart_s: float = 0.0
    _most: int = 0
    """Pauses are measured of workers up to this; 0: of none."""
    _pauses: list[Pauses] = field(default_factory=list)
    _down_open: float = 0.0
    _start: Start | None = None
    _start_ups: tuple[float, ...] = ()
    _kept_s: tuple[float | None, ...] = ()
    _learned_at: float | None = None
    _load: Load | None = None
    _remembers: bool = False
    _window: list[float] = field(init=False)
    """By worker, from 1; see wanted.windows()."""
    _measures: bool = False
    _learns: bool = False
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
        given, keep = self.policy.service_time, retention(self.policy, math.inf)
        self._slo = self.policy.slo
        self._measures = self.policy.target_wait is not None and given is None
        self._learns = learns_when_to_stop(self.policy)
        self.times_starts = self._learns or self.policy.max_wait is not None
        self.learn_at = self._learn_due = 0.0 if self._measures or self._learns else math.inf
        if self.policy.schedules:
            self._hour_ends = self.learn_at = 0.0
        each = JobsEach.of(self.policy)
        self._by_exact_depth = each is not None and (each.activation > 1 or each.tolerance > 0)
        if given is not None:
            self._service = ServiceTime(given, given, 0)
        self._remembers, self._most = keep.window > 0, keep.most
        self._pauses = [Pauses() for _ in range(pauses.slot(max(1, keep.most)) + 1)]
        if self._slo is not None:
            self._aim(self._slo)
        self._set_windows()
        # A memory that begins now counts as a scale that happened then.
        self._down_open = self.policy.scale_down.cooldown
        self.down_at = self._down_open
        self._give(math.inf)

    def look(self, seen: View) -> int:
        """As Scaler says."""
        now, configured = seen.now, seen.configured
        if now >= self._hour_ends:
            self._begin_hour(now, seen.began)
        if self._slo is not None:
            self._count_at_max(configured, now)
        if self._start is not None and not seen.notified:
            self._time_start(configured, seen.running, now)
        if seen.draining_s != self._given.draining_s:
            self._give(seen.draining_s)
        wanted = self._wants.get((seen.waiting, seen.busy, seen.leaving))
        recommended, waiting, service = self._recommend(seen) if wanted is None else wanted
        stays = 0
        if self._remembers:
            self._note(now, recommended, is_poll=not seen.notified)
            stays = self._staying(now, recommended, configured)
        up, down = now >= self.up_at, now >= self._down_open
        late = self._is_late(seen)
        inputs = Inputs(waiting, service, seen.busy, seen.leaving, configured, seen.running > 0, up, down, stays, *late)
        desired = self._answers.get(inputs)
        if desired is None:
            desired = self._answers[inputs] = self._planned(inputs)
        if self._remembers:
            self._plan_down(now, recommended, configured)
        if desired == configured:
            is_wanted = self._within(recommended) == configured
            is_held = up and down and not self._remembers and seen.running > 0
            self.settled = (is_wanted or is_held) and not self._may_be_late(seen.waiting)
            return desired
        return self._changes(seen, desired, recommended)

    def passed(self, wanted: int, polls: Span, wakes: Span) -> None:
        """The looks that were left out would all have noted the same recommendation."""
        if not self._remembers:
            return
        if polls is None or wakes is None:
            first, last = polls or wakes or (0.0, 0.0)
            self._note(first, wanted, is_poll=wakes is None)
            if last > first:
                self._note(last, wanted, is_poll=wakes is None)
            return
        for at, is_poll in sorted([*((at, True) for at in polls), *((at, False) for at in wakes)]):
            self._note(at, wanted, is_poll=is_poll)

    def learn(self, finished: Iterable[Done], now: float) -> None:
        """Measures the time per job of the finished ones, and for how long workers that are not needed stay."""
        if now < self._learn_due:  # another hour begins
            self._early += finished if self._measures or self._learns else ()
            self._look_at_all()
            return
        finished = [*self._early, *finished]
        if self._learns:
            self._observe_load(sum([job[1] for _, _, job, _ in finished]), now)
        if self._measures:
            fresh = False
            for done in finished:
                self._recent.add(done)
                fresh = True
            if fresh:
                self._service = self._recent.measured(now)
                assert self._service is not None, "a job that ended took some time"
                self._wants, self.calm = self._by_service.setdefault(self._service.mean_s, ({}, {}))
            if fresh and self._slo is not None:
                self._promise_more(self._slo, now)
        if self._learns:
            if pauses.is_due(self._learned_at, now):
                cost = pauses.cost_of_a_wrong_stop(self._written, self._history, self._service)
                self._kept_s, self._learned_at = tuple(one.learned(cost) for one in self._pauses), now
                self._set_windows()
            elif self._is_unlearned:
                self._set_windows()  # what is not learned yet follows from the arrivals
        self._early.clear()
        self._learn_due = now + _MEASURE_AGAIN_S if self._measures or self._learns else math.inf
        self._look_at_all()

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
            self._set_windows()

    def _count_at_max(self, configured: int, now: float) -> None:
        self._promise = self._promise.looked(now, math.inf, is_at_max=configured >= self.policy.max_replicas)

    def _aim(self, slo: Slo) -> None:
        """Puts the target wait in force, so that plan() gets a policy with that and without a promise."""
        update = {"slo": None, "target_wait": self._promise.target(slo)}
        self.policy, self._written = (one.model_copy(update=update) for one in (self.policy, self._written))

    def _observe_load(self, work_s: float, now: float) -> None:
        """By the work that was done since the last time: over a day, that is the share of each poll in production."""
        before = self._load
        offered = (now if before is None else now - before.at) * self.policy.max_replicas * self.policy.concurrency
        self._load = Load.after(before, work_s / offered if offered else 0.0, now, math.inf)

    def _recommend(self, seen: View) -> Wanted:
        wants, service = self._wants, self._service
        finishing = seen.leaving if service is not None and seen.draining_s >= service.mean_s else 0
        queue = QueueDepth(seen.waiting, seen.busy)
        recommended = recommend(self.policy, queue, service, seen.configured, finishing)
        if service is None and self.policy.target_wait is not None:
            return Wanted(recommended, seen.waiting, None)  # it depends on the configured count, too
        wanted = Wanted(recommended, seen.waiting, service)
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

    def _is_late(self, seen: View) -> tuple[bool, bool]:
        """Whether a job has waited too long, and whether it may add a worker now."""
        if self.policy.max_wait is None or not seen.waiting:
            return False, True
        if not is_too_long(self.policy, QueueDepth(seen.waiting, 0, seen.oldest_s)):
            return False, True
        return True, seen.now >= self._last_up + pace(self.policy, self._history)

    def _within(self, recommended: int) -> int:
        return min(max(recommended, self.policy.min_replicas), self.policy.max_replicas)

    def _changes(self, seen: View, desired: int, recommended: int) -> int:
        now = seen.now
        if self._slo is not None:
            self._count_at_max(desired, now)
        self.settled = False
        if seen.notified and self._remembers:
            self._note(now, recommended, is_poll=True)  # a change is a whole cycle
        answered = now + self.answer_s
        self._start = None
        if desired > seen.configured:
            if self.times_starts:
                self._start = start_of(Change("", 0, seen.configured, desired, now), answered)  # it is made at once
            self._time_start(desired, seen.running, answered)
            self._last_up, self.up_at = answered, answered + self.policy.scale_up.cooldown
        self._down_open = max(self._down_open, answered + self.policy.scale_down.cooldown)
        self.down_at = 0.0 if self._remembers else self._down_open
        return desired

    @property
    def _history(self) -> History:
        """Without what changes with each look or scale: recommendations, pauses and the start that is being measured.

        It is made when it is asked for, because the journal's record of 25 values is slow to copy for one of them.
        """
        return History(start_ups=self._start_ups, kept_s=self._kept_s, learned_at=self._learned_at, load=self._load)

    @property
    def _is_unlearned(self) -> bool:
        """Of a policy that learns: the time that some worker stays still follows from what a wrong stop costs."""
        return self._learns and (not self._kept_s or None in self._kept_s)

    def _set_windows(self) -> None:
        window = windows(self._written, self._history, self._service)
        self._window = [0.0, *(window(worker) for worker in range(1, self._written.highest_max + 1))]

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

    def _note(self, now: float, recommended: int, *, is_poll: bool) -> None:
        needed, look = self._needed, Recommendation(now, recommended)
        if needed and needed[-1].replicas == recommended:
            needed[-1] = look  # no poll has seen less since then, so no pause ends
        else:
            for worker, pause in pauses.looked(needed, look, self._polled_at, self._most):
                self._pauses[pauses.slot(worker)].add(pauses.rounded(pause))
        if is_poll:
            self._apart_s = 0.0 if self._polled_at is None else now - self._polled_at
            self._polled_at = now

    def _staying(self, now: float, recommended: int, configured: int) -> int:
        """The highest of the workers above the recommended count that may not be removed yet; 0: none."""
        if recommended >= configured:
            return 0
        tolerance = window_tolerance(self._apart_s)
        between = recommended, min(configured, self.policy.max_replicas)
        stays = kept(self._needed, self._window.__getitem__, between, now=now, unbroken_since=0.0, tolerance=tolerance)
        return 0 if stays is None else stays.worker

    def _plan_down(self, now: float, recommended: int, configured: int) -> None:
        """Sets until when the highest worker was needed too short a time ago to be removed."""
        at = now
        if recommended < configured:
            began = -window_tolerance(self.interval)
            at = next((one.at for one in reversed(self._needed) if one.replicas >= configured), began)
        self.down_at = max(self._down_open, at + self._window[configured])

    def _time_start(self, count: int, running: int, now: float) -> None:
        if self._start is None:
            return
        self._start, took = timed(self._start, count, running, now, math.inf)
        if took is not None:
            self._start_ups = with_took(self._start_ups, took)
            if self._is_unlearned:
                self._set_windows()  # what a wrong stop costs follows from the start
