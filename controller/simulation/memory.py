"""What our own policies remember in the simulator of looks, starts and loads: what the journal keeps in production.

It follows core/history.py and core/pauses.py, which write a whole new record for each look. Here one object changes in
place, and the time that a worker stays is learned only when something depends on it: with few jobs no look asks for
the highest workers, and learning is a search through hundreds of pauses.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from controller.core import pauses
from controller.core.history import timed, with_took
from controller.core.load import Load
from controller.core.model import Recommendation, ServiceTime, Start, median_start
from controller.core.rules import window_tolerance
from controller.core.wanted import kept, kept_window, learns_when_to_stop, retention
from controller.policy import WorkerPolicy
from controller.simulation.measured import Pauses
from controller.simulation.scaler import Span

_FOREVER = float("inf")


@dataclass(slots=True)
class Memory:
    """The memory of one worker's policy, with its schedules. All times are in seconds.

    interval: between two polls. service: how long jobs take, where the policy does not say it.
    """

    policy: WorkerPolicy
    interval: float
    learns: bool = field(init=False)
    """Whether pauses decide how long a worker stays."""
    service: ServiceTime | None = None
    load: Load | None = None
    start_ups: tuple[float, ...] = ()
    is_in_use: bool = field(init=False)
    """Whether a recommendation of the past can change a decision."""
    _needed: list[Recommendation] = field(default_factory=list)
    """As from history.needed()."""
    _polled_at: float | None = None
    _apart_s: float = 0.0
    _most: int = field(init=False)
    """Pauses are measured of workers up to this; 0: of none."""
    _pauses: list[Pauses] = field(init=False)
    _learned_at: float | None = None
    _is_learned: bool = False
    """Whether the last time enough pauses of each worker were known."""
    _windows: list[float | None] = field(init=False)
    """By worker, from 1: for how long a look that needed it prevents its removal; None: nothing has asked for it."""
    start_up_s: float | None = None
    """As in the history."""
    start: Start | None = None
    """The scale-up that is being measured."""

    def __post_init__(self) -> None:
        keep = retention(self.policy, _FOREVER)
        self.learns = learns_when_to_stop(self.policy)
        self.is_in_use, self._most = keep.window > 0, keep.most
        self._pauses = [Pauses() for _ in range(pauses.slot(max(1, keep.most)) + 1)]
        self.forget_windows()

    def note(self, now: float, recommended: int, *, is_poll: bool) -> None:
        """Takes what one look recommended."""
        self._add(now, now, recommended)
        if is_poll:
            self._apart_s = 0.0 if self._polled_at is None else now - self._polled_at
            self._polled_at = now

    def passed(self, recommended: int, polls: Span, wakes: Span) -> None:
        """Takes what looks recommended that were left out, see Scaler.passed. Only the first can end a pause."""
        first, last = polls or wakes or (0.0, 0.0)
        if polls is not None and wakes is not None:
            first, last = min(first, wakes[0]), max(last, wakes[1])
        self._add(first, last, recommended)
        if polls is not None:
            first, last = polls
            before = last - self.interval if last > first else self._polled_at
            self._apart_s = 0.0 if before is None else last - before
            self._polled_at = last

    def _add(self, first: float, last: float, recommended: int) -> None:
        """Takes the looks from the first to the last time, which all recommended the same."""
        needed = self._needed
        if not needed or needed[-1].replicas != recommended:  # else no poll has seen less, and no pause ends
            for worker, pause in pauses.looked(needed, Recommendation(first, recommended), self._polled_at, self._most):
                self._pauses[pauses.slot(worker)].add(pauses.rounded(pause))
        if last > needed[-1].at:
            needed[-1] = Recommendation(last, recommended)

    def staying(self, now: float, recommended: int, configured: int, maximum: int) -> int:
        """The highest of the workers above the recommended count that may not be removed yet; 0: none."""
        if recommended >= configured:
            return 0
        tolerance = window_tolerance(self._apart_s)
        between = recommended, min(configured, maximum)
        stays = kept(self._needed, self.window, between, now=now, unbroken_since=0.0, tolerance=tolerance)
        return 0 if stays is None else stays.worker

    def stays_until(self, now: float, recommended: int, configured: int) -> float:
        """Until when the highest worker was needed too short a time ago to be removed."""
        at = now
        if recommended < configured:
            began = -window_tolerance(self.interval)
            at = next((one.at for one in reversed(self._needed) if one.replicas >= configured), began)
        return at + self.window(configured)

    def window(self, worker: int) -> float:
        """As from wanted.windows()."""
        known = self._windows[worker]
        if known is None:
            learned = self._pauses[pauses.slot(worker)].kept_s() if self.learns else kept_window(self.policy)
            known = self._windows[worker] = self._cost().unlearned_s if learned is None else learned
        return known

    def knows(self, worker: int) -> bool:
        """Whether window() is what it was when it was last asked for."""
        return self._windows[worker] is not None

    def learn(self, now: float) -> None:
        """Learns from the pauses if the last time is long enough ago; else what is not learned yet may have changed."""
        if pauses.is_due(self._learned_at, now):
            cost, self._learned_at = self._cost(), now
            enough = [each.learn(cost) for each in self._pauses]
            self._is_learned = all(enough)
            self.forget_windows()
        else:
            self._forget_unlearned()

    def forget_windows(self) -> None:
        self._windows = [0.0, *[None] * self.policy.highest_max]

    def _forget_unlearned(self) -> None:
        if self.learns and not self._is_learned:
            self.forget_windows()

    def _cost(self) -> pauses.Cost:
        return pauses.cost_of_a_wrong_stop(self.policy, self.service, self.start_up_s, self.load)

    def time_start(self, count: int, running: int, now: float) -> None:
        """Takes a reading of the workers."""
        if self.start is None:
            return
        self.start, took = timed(self.start, count, running, now, _FOREVER)
        if took is not None:
            self.start_ups = with_took(self.start_ups, took)
            self.start_up_s = median_start(self.start_ups)
            self._forget_unlearned()  # what a wrong stop costs follows from the start
