"""Our own policies in the simulator: the same plan() and the same steps of the history as in production.

A plan is pure, so its answers are cached, and it is made only for inputs that are new. What plan() gets is made from
the cache's key and from what is constant for a policy, and from nothing else (Given.seen), so that an answer can't
depend on something that is not in the key. Another test compares every answer with a fresh one.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from controller.core.history import accepted, recorded, with_start
from controller.core.model import (
    Change,
    History,
    QueueDepth,
    Recommendation,
    Replicas,
    ServiceState,
    ServiceTime,
)
from controller.core.plan import Seen, Send, plan
from controller.core.ports import Retention, Role, Source, Sources
from controller.core.rules import recommend, window_tolerance
from controller.core.wanted import down_window, kept_window
from controller.policy import Policy, WorkerPolicy
from controller.simulation.account import MOST_TOLD, Done
from controller.simulation.scaler import Calm, View
from controller.simulation.workload.jobs import quantile

MEASURED_JOBS = MOST_TOLD
_MEASURE_AGAIN_S = 60.0
_MOST_KNOWN = 50_000
_NO_WINDOW, _NOT_YET_KNOWN = -1, -2
_SOURCES = Sources(*(Source(role, role.value) for role in Role))
_NOW, _LONG_AGO = 0.0, -1e9
"""The time of every plan, and of what has no effect on it any more."""


class Wanted(NamedTuple):
    """A recommendation, and the first waiting jobs and time per job that had it with the same jobs in progress."""

    recommended: int
    waiting: int
    service: ServiceTime | None


class Inputs(NamedTuple):
    """In what two looks of a policy can differ; times only by what has ended by now.

    waiting, service: as in Wanted, so that all that want the same have one answer. highest: of the window, or one of
    the two negative constants.
    """

    waiting: int
    service: ServiceTime | None
    busy: int
    leaving: int
    configured: int
    some_run: bool
    may_go_up: bool
    may_go_down: bool
    highest: int


@dataclass(frozen=True, slots=True)
class Given:
    """What is the same for many looks of a policy."""

    policy: WorkerPolicy
    start_up_s: float | None
    draining_s: float

    def seen(self, inputs: Inputs) -> Seen:
        """What a pass would see. A cooldown that is not over ends in a moment: how soon changes no count."""
        policy, kept = self.policy, kept_window(self.policy)
        up, down, window = policy.scale_up.cooldown, policy.scale_down.cooldown, down_window(policy, self.start_up_s)
        past = () if inputs.highest < 0 else (Recommendation(_NOW - window / 2, inputs.highest),)
        return Seen(
            policy=policy,
            queue=QueueDepth(inputs.waiting, inputs.busy),
            replicas=Replicas(
                configured=inputs.configured,
                running=int(inputs.some_run),
                alive=inputs.configured + inputs.leaving,
                state=ServiceState.RUNNING if inputs.some_run or not inputs.configured else ServiceState.STARTING,
                draining_s=self.draining_s,
                leaving=inputs.leaving,
            ),
            history=History(
                last_up=None if inputs.may_go_up else _NOW - math.nextafter(up, 0),
                last_down=None if inputs.may_go_down else _NOW - math.nextafter(down, 0),
                since=_LONG_AGO,
                unbroken_since=_NOW if inputs.highest == _NOT_YET_KNOWN else _LONG_AGO,
                remembered_at=_NOW,
                window=round(kept, 3),
                recommendations=past,
                count=inputs.configured,
                start_up_s=self.start_up_s,
            ),
            now=_NOW,
            sources=_SOURCES,
            retention=Retention(kept, math.inf),
            landing_bound=math.inf,
            service=inputs.service,
        )


@dataclass(slots=True)
class Recent:
    """How long the newest finished jobs took, as adapters/postgres/service_time.py measures it in the table."""

    _newest: deque[float] = field(default_factory=deque)
    _sorted: list[float] = field(default_factory=list)
    _total: float = 0.0

    def add(self, service_s: float) -> None:
        self._newest.append(service_s)
        insort(self._sorted, service_s)
        self._total += service_s
        if len(self._newest) > MEASURED_JOBS:
            oldest = self._newest.popleft()
            self._total -= oldest
            del self._sorted[bisect_left(self._sorted, oldest)]

    def measured(self) -> ServiceTime | None:
        """The mean and the median; each job counts at most as much as the 99th percentile."""
        spans = self._sorted
        if not spans:
            return None
        most = quantile(spans, 0.99)
        beyond = sum(span - most for span in spans[bisect_left(spans, most) :])
        return ServiceTime.measured((self._total - beyond) / len(spans), quantile(spans, 0.5), len(spans))


@dataclass(slots=True)
class OwnPolicy:
    """A Scaler that does what the reconciler does for one worker of a policy."""

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
    _alike: dict[tuple[int, int, int, int], Wanted] = field(default_factory=dict)
    """By recommendation, jobs in progress, draining workers and how many of these finish: what was seen first."""
    _past: deque[tuple[float, int]] = field(default_factory=deque)
    _looked_at: float | None = None
    """When a look last noted a recommendation."""
    _before: float | None = None
    """The same, before the present look."""
    _down_open: float = 0.0
    _history: History = field(default_factory=lambda: History(since=0.0, unbroken_since=0.0))
    """Without the recommendations, which are kept in _past."""
    _window: float = 0.0
    _kept_window: float = 0.0

    @classmethod
    def of(cls, policy: Policy, worker: WorkerPolicy, *, wakes: bool) -> OwnPolicy:
        return cls(worker, policy.interval, policy.wake_min_interval if wakes else None)

    def __post_init__(self) -> None:
        given = self.policy.service_time
        self.learn_at = 0.0 if self.policy.target_wait is not None and given is None else math.inf
        if given is not None:
            self._service = ServiceTime(given, given, 0)
        self._window = down_window(self.policy, None)
        self._kept_window = kept_window(self.policy)
        self.times_starts = self.policy.target_wait is not None and self.policy.scale_down.idle_off is None
        # A memory that begins now counts as a scale that happened then.
        self._down_open = self.policy.scale_down.cooldown
        self.down_at = self._down_open
        self._give(math.inf)

    def look(self, seen: View) -> int:
        """As Scaler says."""
        now, configured = seen.now, seen.configured
        if self._history.start is not None and not seen.notified and self.times_starts:
            self._time_start(configured, seen.running, now)
        if seen.draining_s != self._given.draining_s:
            self._give(seen.draining_s)
        wanted = self._wants.get((seen.waiting, seen.busy, seen.leaving))
        recommended, waiting, service = self._recommend(seen) if wanted is None else wanted
        highest = _NO_WINDOW
        if self._window:
            highest = self._over_the_window(now, recommended, notified=seen.notified)
        up, down = now >= self.up_at, now >= self._down_open
        inputs = Inputs(waiting, service, seen.busy, seen.leaving, configured, seen.running > 0, up, down, highest)
        desired = self._answers.get(inputs)
        if desired is None:
            desired = self._answers[inputs] = self._planned(inputs)
        if self._window:
            self._plan_down(seen, recommended)
        if desired == configured:
            is_wanted = self._within(recommended) == configured
            self.settled = is_wanted or (up and down and highest == _NO_WINDOW and seen.running > 0)
            return desired
        return self._changes(seen, desired, recommended)

    def passed(self, now: float, wanted: int) -> None:
        """The looks that were left out would all have noted the same recommendation."""
        if self._window:
            self._note(now, wanted)

    def learn(self, finished: Iterable[Done], now: float) -> None:
        """Measures the time per job of the finished ones."""
        fresh = False
        for _, _, job, _ in finished:
            self._recent.add(job[1])
            fresh = True
        if fresh:
            self._service = self._recent.measured()
            assert self._service is not None, "a job that ended took some time"
            self._wants, self.calm = self._by_service.setdefault(self._service.mean_s, ({}, {}))
        self.learn_at = now + _MEASURE_AGAIN_S

    def _recommend(self, seen: View) -> Wanted:
        wants, service = self._wants, self._service
        finishing = seen.leaving if service is not None and seen.draining_s >= service.mean_s else 0
        queue = QueueDepth(seen.waiting, seen.busy)
        recommended = recommend(self.policy, queue, service, seen.configured, finishing)
        if service is None and self.policy.target_wait is not None:
            return Wanted(recommended, seen.waiting, None)  # it depends on the configured count, too
        first = Wanted(recommended, seen.waiting, service)
        wanted = self._alike.setdefault((recommended, seen.busy, seen.leaving, finishing), first)
        if len(wants) >= _MOST_KNOWN:
            wants.clear()
            self.calm.clear()
        wants[seen.waiting, seen.busy, seen.leaving] = wanted
        self.calm[seen.waiting, seen.busy, seen.leaving] = self._within(recommended)
        return wanted

    def _within(self, recommended: int) -> int:
        return min(max(recommended, self.policy.min_replicas), self.policy.max_replicas)

    def _changes(self, seen: View, desired: int, recommended: int) -> int:
        now = seen.now
        self.settled = False
        if seen.notified and self._window:
            self._note(now, recommended)  # a change is a whole cycle, which notes its recommendation
        answered = now + self.answer_s
        change = Change("", 0, seen.configured, desired, now)
        history = accepted(recorded(self._history, change, now), change, answered)
        self._history = replace(history, change=None)  # the platform makes it at once
        if desired > seen.configured:
            self._time_start(desired, seen.running, answered)
            self.up_at = answered + self.policy.scale_up.cooldown
        self._down_open = max(self._down_open, answered + self.policy.scale_down.cooldown)
        self.down_at = 0.0 if self._window else self._down_open
        return desired

    def _planned(self, inputs: Inputs) -> int:
        """The count that a pass would request now; the configured one if it would hold."""
        self.decisions += 1
        last = plan(self._given.seen(inputs)).last
        return last.change.after if isinstance(last, Send) else inputs.configured

    def _give(self, draining_s: float) -> None:
        self._given = Given(self.policy, self._history.start_up_s, draining_s)
        self._answers = {}

    def _note(self, now: float, recommended: int) -> None:
        """Keeps recommendations that can still become the highest of the window: none before a later, higher one."""
        past = self._past
        while past and past[-1][1] <= recommended:
            past.pop()
        past.append((now, recommended))
        self._looked_at = now

    def _over_the_window(self, now: float, recommended: int, *, notified: bool) -> int:
        """The highest recommendation of the window; a quick check of the queue notes none."""
        past, self._before = self._past, self._looked_at
        tolerance = 0.0 if self._before is None else window_tolerance(now - self._before)
        since = now - self._window - tolerance
        if not notified:
            self._note(now, recommended)
        if now - self._window + tolerance < 0:
            return _NOT_YET_KNOWN
        while past and past[0][0] < now - self._kept_window - window_tolerance(self.interval):
            past.popleft()
        for at, highest in past:
            if at >= since:  # the window may have become shorter, and may become longer again
                return max(recommended, highest)
        return recommended

    def _plan_down(self, seen: View, recommended: int) -> None:
        """Sets until when the window prevents scale-down: while it contains a recommendation of this count."""
        if recommended < seen.configured:
            # Before the first window is over, no worker is removed.
            first = -window_tolerance(self.interval)
            kept = next((at for at, replicas in reversed(self._past) if replicas >= seen.configured), first)
        elif seen.notified:
            return  # this look noted no recommendation
        else:
            kept = seen.now
        self.down_at = max(self._down_open, kept + self._window)

    def _time_start(self, count: int, running: int, now: float) -> None:
        known = self._history.start_up_s
        self._history = with_start(self._history, count, running, now, math.inf)
        if self._history.start_up_s == known:
            return
        self._window = down_window(self.policy, self._history.start_up_s)
        self._give(self._given.draining_s)
