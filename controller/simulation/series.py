"""The values over time that a picture needs: depth, workers and waits, in a limited number of steps.

A picture is 1,000 units wide, and a day of a fortnight can be drawn alone, so more than 8,192 steps could not be seen.
When they are used up, two neighbours become one: memory stays the same however long the jobs last, and nothing has to
be known of their span beforehand. A step keeps its extremes and not its mean, because the short peaks are what a policy
is judged by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

_MOST = 8192
"""Steps of a series."""
Task = tuple[float, float, float, *tuple[str | int, ...]]


@dataclass(slots=True)
class Step:
    """The extremes in one step of time: most jobs waiting and in progress, workers requested, longest wait.

    fewest_busy, fewest: the lowest number in progress, and of waiting and in progress together; None without a look.
    more_waiting, more_busy: how many more jobs there are at its end than at its beginning; only of jobs that get done.
    """

    waiting: int = 0
    busy: int = 0
    fewest_busy: int | None = None
    fewest: int | None = None
    most: int = 0
    least: int | None = None
    wait_s: float = 0.0
    last: int = 0
    more_waiting: int = 0
    more_busy: int = 0


@dataclass(slots=True)
class Series:
    """Steps of `step_s` seconds; when there are too many of them, the steps are made twice as long."""

    step_s: float = 10.0
    steps: dict[int, Step] = field(default_factory=dict)

    def note(self, now: float, waiting: int, busy: int, configured: int) -> None:
        step = self._at(now)
        step.waiting = max(step.waiting, waiting)
        step.busy = max(step.busy, busy)
        step.most = max(step.most, configured)
        step.least = _lower(step.least, configured)
        step.fewest_busy = _lower(step.fewest_busy, busy)
        step.fewest = _lower(step.fewest, waiting + busy)
        step.last = configured

    def note_waits(self, done: Sequence[tuple[float, int, Task, float]]) -> None:
        """Notes the waits by the time at which each job began; it also counts the queue of a policy without looks."""
        for end, _, job, wait in done:
            came = job[0]
            if wait:
                self._at(came).more_waiting += 1
            step = self._at(came + wait)
            step.wait_s = max(step.wait_s, wait)
            step.more_busy += 1
            if wait:
                step.more_waiting -= 1
            self._at(end).more_busy -= 1

    def _at(self, now: float) -> Step:
        index = int(now / self.step_s)
        while index >= _MOST:
            self._double()
            index = int(now / self.step_s)
        step = self.steps.get(index)
        if step is None:
            step = self.steps[index] = Step()
        return step

    def _double(self) -> None:
        old, self.steps, self.step_s = self.steps, {}, self.step_s * 2
        for index in sorted(old):
            step, other = self.steps.setdefault(index // 2, Step()), old[index]
            step.waiting = max(step.waiting, other.waiting)
            step.busy = max(step.busy, other.busy)
            step.most = max(step.most, other.most)
            step.least = _lower(step.least, other.least)
            step.fewest_busy = _lower(step.fewest_busy, other.fewest_busy)
            step.fewest = _lower(step.fewest, other.fewest)
            step.wait_s = max(step.wait_s, other.wait_s)
            step.more_waiting += other.more_waiting
            step.more_busy += other.more_busy
            if other.least is not None:  # else there was no look, and the requested count is still the same
                step.last = other.last


def _lower(one: int | None, other: int | None) -> int | None:
    if one is None or other is None:
        return one if other is None else other
    return min(one, other)
