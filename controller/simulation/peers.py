"""The published rules of other autoscalers, to compare them on the same workload and platform."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from controller.simulation.account import Done
from controller.simulation.scaler import NEVER, Calm, Span, View

_MOST_KNOWN = 50_000


@dataclass(slots=True)
class _Rule:
    """Base of the rules: they poll, and remember nothing of single jobs."""

    maximum: int
    interval: float
    wake_interval: float | None = None
    learn_at: float = NEVER
    up_at: float = 0.0
    down_at: float = 0.0
    times_starts: bool = False
    settled: bool = False
    calm: Calm = field(default_factory=dict)

    def passed(self, wanted: int, polls: Span, wakes: Span) -> None:
        """A look that is left out would have changed nothing."""

    def learn(self, finished: Iterable[Done], now: float, configured: int) -> None:
        """They do not."""

    def time_start(self, now: float, configured: int, running: int) -> None:
        """They do not."""


@dataclass(slots=True)
class Static(_Rule):
    """Always the same number of workers."""

    replicas: int = 0

    def look(self, seen: View) -> int:
        self.settled = seen.configured == self.replicas
        return self.replicas


@dataclass(slots=True)
class Hpa(_Rule):
    """The Horizontal Pod Autoscaler v2 on an external metric of type AverageValue, with its default behaviour.

    Every 15 s: desired = ceil(metric / target), unchanged if metric / (target x pods) is within 10 % of 1; up at once,
    at most to max(+4 pods, x2) of the count 15 s ago; down at once to the highest recommendation of the window (300 s).
    Pods that start count. min: 1, because the HPA does not scale to zero.
    """

    target: float = 5.0
    window: float = 300.0
    minimum: int = 1
    tolerance: float = 0.1
    counts_running: bool = True
    _wanted: deque[tuple[float, int]] = field(default_factory=deque)
    _sizes: deque[tuple[float, int]] = field(default_factory=deque)
    _calm: dict[int, Calm] = field(default_factory=dict)
    """By configured pods, because the tolerance counts from them."""

    def look(self, seen: View) -> int:
        return self._limited(seen, self._metric(seen))

    def passed(self, wanted: int, polls: Span, wakes: Span) -> None:  # noqa: ARG002  # as the Scaler has it
        """The looks that were left out would all have wanted the same count."""
        if self._wanted and polls is not None:
            self._note(polls[1], wanted)

    def _metric(self, seen: View) -> int:
        return seen.waiting + seen.busy if self.counts_running else seen.waiting

    def _limited(self, seen: View, metric: int) -> int:
        now, configured = seen.now, seen.configured
        wanted = math.ceil(metric / self.target - 1e-9)
        if configured and abs(metric / (self.target * configured) - 1) <= self.tolerance:
            wanted = configured
        highest = self._highest(now, wanted)
        desired = max(configured, wanted)
        if highest < configured:
            desired = highest
        desired = min(desired, self._most(now, configured), self.maximum)
        desired = max(desired, self.minimum)
        self.settled = len(self._wanted) == 1 and desired == configured == max(wanted, self.minimum)
        self._sizes.append((now, desired))
        self._be_calm(seen, min(max(wanted, self.minimum), self.maximum), desired)
        return desired

    def _be_calm(self, seen: View, wanted: int, desired: int) -> None:
        """Looks that see the same of the queue are left out, until the window lets a pod go."""
        calm = self._calm.setdefault(seen.configured, {})
        if len(calm) >= _MOST_KNOWN:
            calm.clear()
        calm[seen.waiting, seen.busy, seen.leaving] = wanted
        self.calm = calm if desired == seen.configured else self._calm.setdefault(desired, {})
        needed = next((at for at, count in reversed(self._wanted) if count >= desired), -NEVER)
        self.down_at = needed + self.window

    def _highest(self, now: float, wanted: int) -> int:
        past = self._wanted
        self._note(now, wanted)
        while past[0][0] < now - self.window:
            past.popleft()
        return past[0][1]

    def _note(self, now: float, wanted: int) -> None:
        past = self._wanted
        while past and past[-1][1] <= wanted:
            past.pop()
        past.append((now, wanted))

    def _most(self, now: float, configured: int) -> int:
        """The highest count by the scale-up policies: +4 pods or +100 % within 15 s, the higher one."""
        sizes = self._sizes
        while len(sizes) > 1 and sizes[1][0] <= now - 15.0:
            sizes.popleft()
        before = min(sizes[0][1], configured) if sizes else configured
        return max(before + 4, before * 2)


@dataclass(slots=True)
class Keda(Hpa):
    """KEDA: its HPA scales between 1 and the maximum, KEDA itself between 0 and 1.

    It is active while the metric is above 0 (the activation threshold). It polls every `polling` seconds (30), and
    every 15 s for the HPA while there are pods; it scales to zero after `cooldown` seconds (300) without activity.
    """

    polling: float = 30.0
    cooldown: float = 300.0
    _active_at: float = -NEVER
    _polled_at: float = -NEVER

    def look(self, seen: View) -> int:
        now, configured, metric = seen.now, seen.configured, self._metric(seen)
        polls = now - self._polled_at >= self.polling - 1e-9
        if polls:
            self._polled_at = now
            if metric:
                self._active_at = now
        if configured == 0:
            self.settled = metric == 0
            desired = 1 if polls and metric and self.maximum else 0
            self.calm = self._calm.setdefault(desired, {})
            return desired
        if polls and not metric and now - self._active_at >= self.cooldown:
            self.settled = False
            self._wanted.clear()
            self._sizes.clear()
            self.calm = self._calm.setdefault(0, {})
            return 0
        desired = self._limited(seen, metric)
        if not metric:  # another poll may be the one that goes to zero
            del self._calm[configured][seen.waiting, seen.busy, seen.leaving]
            self.settled = False
        return desired

    def passed(self, wanted: int, polls: Span, wakes: Span) -> None:
        """KEDA would have polled at the looks that were left out, and would have found the same activity."""
        Hpa.passed(self, wanted, polls, wakes)
        if polls is None:
            return
        pace = math.ceil(self.polling / self.interval - 1e-9) * self.interval
        count = math.floor((polls[1] - self._polled_at) / pace + 1e-9)
        self._polled_at += count * pace
        if count and wanted:
            self._active_at = self._polled_at


@dataclass(slots=True)
class Latency(_Rule):
    """Judoscale's rule: by the longest wait of the oldest job in the last 10 s, one step at a time.

    Up by `step` if the wait is above `high` seconds, at the earliest `frequency` seconds after the last scale-up. Down
    by 1 if it was below `low` for `delay` seconds, and at the earliest that long after the last change. min: 1; with 0,
    the last worker is removed if no job waits or is in progress.
    """

    high: float = 30.0
    low: float = 5.0
    step: int = 1
    delay: float = 600.0
    frequency: float = 10.0
    minimum: int = 1
    _last_up: float = -NEVER
    _last_change: float = -NEVER
    _not_low_at: float = -NEVER

    def look(self, seen: View) -> int:
        now, configured, oldest_s = seen.now, seen.configured, seen.oldest_s
        if oldest_s >= self.low or (configured == 1 and self.minimum == 0 and seen.waiting + seen.busy):
            self._not_low_at = now
        desired = max(configured, self.minimum)
        if configured == 0 and seen.waiting:
            desired = max(1, self.minimum)
        elif oldest_s > self.high and now - self._last_up >= self.frequency:
            desired = configured + self.step
        elif oldest_s < self.low and now - max(self._not_low_at, self._last_change) >= self.delay:
            desired = configured - 1
        desired = min(max(desired, self.minimum), self.maximum)
        if desired > configured:
            self._last_up = now
        if desired != configured:
            self._last_change = now
        at_rest = configured == self.minimum and not seen.waiting
        self.settled = desired == configured and at_rest
        if not seen.waiting and self.minimum:
            self.calm[0, seen.busy, seen.leaving] = self.minimum
        self.down_at = max(self._not_low_at, self._last_change) + self.delay
        return desired
