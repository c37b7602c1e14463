"""Our own policies in the simulator: the very same decide() that runs in production, asked in the same order.

decide() is pure, and what it goes by is a handful of small numbers: the recommendation, the jobs in work, the count
that is configured, whether each cooldown is over, and the highest recommendation of the window. So an answer is
remembered by these, and decide() is asked whenever one of them is new; a test holds every remembered answer against a
fresh one.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from controller.decide import decide, recommend
from controller.model import (
    Decision,
    History,
    Observation,
    QueueDepth,
    Recommendation,
    Replicas,
    ServiceState,
    ServiceTime,
)
from controller.policy import Policy, WorkerPolicy
from controller.simulation.account import MOST_TOLD, Done
from controller.simulation.scaler import Calm, Seen
from controller.simulation.workload import quantile

MEASURED_JOBS = MOST_TOLD
_MEASURE_AGAIN_S = 60.0
_MOST_KNOWN = 50_000
_KEPT = 0.7
"""Of what was known of the start-up time, when it is measured once more; as the journal does it."""


@dataclass(slots=True)
class Recent:
    """How long the newest finished jobs took, as adapters/postgres_service_time.py asks the table for it."""

    _newest: deque[float] = field(default_factory=deque)
    _sorted: list[float] = field(default_factory=list)

    def add(self, service_s: float) -> None:
        self._newest.append(service_s)
        insort(self._sorted, service_s)
        if len(self._newest) > MEASURED_JOBS:
            del self._sorted[bisect_left(self._sorted, self._newest.popleft())]

    def measured(self) -> ServiceTime | None:
        """Each job counts as at most the 99th percentile of them."""
        spans = self._sorted
        if not spans:
            return None
        median, most = quantile(spans, 0.5), quantile(spans, 0.99)
        kept = bisect_left(spans, most)
        mean = (sum(spans[:kept]) + most * (len(spans) - kept)) / len(spans)
        return ServiceTime.measured(mean, median, len(spans))


@dataclass(slots=True)
class OwnPolicy:
    """One worker of a policy, as the reconciler would keep it: a Scaler."""

    policy: WorkerPolicy
    interval: float
    wake_interval: float | None
    settled: bool = False
    calm: Calm = field(default_factory=dict)
    learn_at: float = math.inf
    decisions: int = 0
    """How often decide() itself was asked."""
    _service: ServiceTime | None = None
    _recent: Recent = field(default_factory=Recent)
    _wants: dict[tuple[int, int], int] = field(default_factory=dict)
    _known: dict[tuple[int, int, int, bool, bool, int], int] = field(default_factory=dict)
    _past: deque[tuple[float, int]] = field(default_factory=deque)
    _recommended: int = 0
    _last_up: float | None = None
    _last_down: float | None = None
    _up_open: float = 0.0
    _down_open: float = 0.0
    _start_up_s: float | None = None
    _asked_at: float | None = None
    _window: float = 0.0

    @classmethod
    def of(cls, policy: Policy, worker: WorkerPolicy, *, wakes: bool) -> OwnPolicy:
        return cls(worker, policy.interval, policy.wake_min_interval if wakes else None)

    def __post_init__(self) -> None:
        given = self.policy.service_time
        self.learn_at = 0.0 if self.policy.target_wait is not None and given is None else math.inf
        if given is not None:
            self._service = ServiceTime(given, given, 0)
        self._window = self.policy.window(None)
        self._down_open = self.policy.down_cooldown  # a memory that begins now counts as a scale that happened then

    def look(self, seen: Seen) -> int:
        now, waiting, busy, configured, notified = seen.now, seen.waiting, seen.busy, seen.configured, seen.notified
        if self._asked_at is not None and seen.running == configured and not notified:
            self._started(now - self._asked_at)
        recommended = self._recommend(waiting, busy, configured)
        highest = -1
        if self._window and not notified:
            self._note(now, recommended)
        if self._window:
            highest = max(self._highest(now), recommended)
            if now < self._window:
                highest = -2  # the window is not known yet
        up, down = now >= self._up_open, now >= self._down_open
        state = (recommended, busy, configured, up, down, highest)
        desired = self._known.get(state)
        if desired is None:
            desired = self._decide(now, QueueDepth(waiting, busy), configured).desired
            self._known[state] = desired
        self._recommended = recommended
        if desired == configured:
            self.settled = recommended == configured or (
                up and down and self._is_at_rest(recommended, highest, configured)
            )
            return desired
        return self._changes(seen, desired)

    def _is_at_rest(self, recommended: int, highest: int, configured: int) -> bool:
        """Of a count that is not the recommended one, though nothing has to be waited for but the queue.

        Where there is a window, it is to be noted as such again and again: passed() notes what is configured.
        """
        return highest == -1 or (highest == recommended and self._within(recommended) == configured)

    def _within(self, recommended: int) -> int:
        return min(max(recommended, self.policy.min_replicas), self.policy.max_replicas)

    def passed(self, now: float, configured: int) -> None:
        """Each of the looks that were left out would have noted the same."""
        if self._window:
            self._note(now, configured)

    def learn(self, finished: Iterable[Done], now: float) -> None:
        """Of them, how long they took."""
        fresh = False
        for _, _, job, _ in finished:
            self._recent.add(job[1])
            fresh = True
        known, self._service = self._service, self._recent.measured() if fresh else self._service
        if known is None or self._service is None or known.mean_s != self._service.mean_s:
            self._wants.clear()
            self.calm.clear()
        self.learn_at = now + _MEASURE_AGAIN_S

    def _recommend(self, waiting: int, busy: int, configured: int) -> int:
        wants, counts = self._wants, (waiting, busy)
        recommended = wants.get(counts)
        if recommended is not None:
            return recommended
        recommended = recommend(self.policy, QueueDepth(waiting, busy), self._service, configured)
        if self._service is not None or self.policy.target_wait is None:  # else it goes by what is configured, too
            if len(wants) >= _MOST_KNOWN:
                wants.clear()
                self.calm.clear()
            wants[counts] = recommended
            self.calm[counts] = self._within(recommended)
        return recommended

    def _changes(self, seen: Seen, desired: int) -> int:
        now = seen.now
        self.settled = False
        if desired == 0 and seen.running == 0:
            return seen.configured  # a deployment is in progress: to zero waits until it runs (waiting.py)
        if seen.notified and self._window:
            self._note(now, self._recommended)  # a change is a whole cycle, and that notes what it recommends
        if desired > seen.configured:
            self._last_up, self._asked_at = now, now
            self._up_open = now + self.policy.up_cooldown
        else:
            self._last_down, self._asked_at = now, None
        self._down_open = max(self._down_open, now + self.policy.down_cooldown)
        return desired

    def _decide(self, now: float, queue: QueueDepth, configured: int) -> Decision:
        self.decisions += 1
        past = tuple(Recommendation(at, replicas) for at, replicas in self._past)
        history = History(
            last_up=self._last_up,
            last_down=self._last_down,
            since=0.0,
            unbroken_since=0.0,
            remembered_at=now,
            window=self.policy.kept_window,
            recommendations=past,
            start_up_s=self._start_up_s,
        )
        replicas = Replicas(configured, configured, configured, ServiceState.RUNNING)
        return decide(self.policy, Observation(queue, replicas, None, self._service), history, now)

    def _note(self, now: float, recommended: int) -> None:
        """What could still be the highest of the window: later ones that are at least as high hide the earlier."""
        past = self._past
        while past and past[-1][1] <= recommended:
            past.pop()
        past.append((now, recommended))

    def _highest(self, now: float) -> int:
        past, oldest, oldest_kept = self._past, now - self._window, now - self.policy.kept_window
        while past and past[0][0] < oldest_kept:
            past.popleft()
        for at, recommended in past:  # the window may be the shorter one, and become longer again
            if at >= oldest:
                return recommended
        return 0

    def _started(self, seconds: float) -> None:
        known = self._start_up_s
        self._start_up_s = seconds if known is None else _KEPT * known + (1 - _KEPT) * seconds
        self._asked_at = None
        window = self.policy.window(self._start_up_s)
        if window != self._window:
            self._window = window
            self._known.clear()
