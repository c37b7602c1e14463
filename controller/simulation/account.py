"""The costs of a run and the waits of its jobs, for one policy. All times are in seconds.

A fleet calls it at each event, millions of times in a simulated month. So an event is only noted, and settle() adds up
many at once, in the list comprehensions that Python is fastest at.

Paid is counted from the request of a worker until it is gone. A wait is what a person feels: from the job's
arrival until it begins. `excess` is the part of a wait that a better policy with the same max_replicas could have
avoided.

The run ends with the last job, or with the window if that is longer. Workers that are idle then are paid for until the
policy has removed them (see `wind_down`); else a policy that keeps workers for 5 minutes would have the last 5 minutes
for free.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from controller.simulation.demand import Levels
from controller.simulation.series import Series
from controller.simulation.waits import Waits

Task = tuple[float, float, float, *tuple[str | int, ...]]
"""A job: its arrival, its service time, and the shortest wait that the cap allows; in seconds. Then its queue: by name
if the jobs name it, and as a place where the policy has several (split.py).
"""
Done = tuple[float, int, Task, float]
"""An ended job: when it ended, in which slot, the job, and how long it had waited."""
_HOUR_S = 3600.0
MOST_TOLD = 500
"""Newest ended jobs that are kept for a scaler that asks for them; it measures as many."""


@dataclass(slots=True)
class Account:
    """A fleet writes here while it runs; each settle() empties `done`.

    break_even_s: a worker that is needed again within this time after its stop counts as a flap. together: seconds in
    which the first index is the number of ready workers and the second the number of needed ones.
    """

    cap: int
    break_even_s: float
    series: Series | None = None
    by_queue: tuple[Waits, ...] = ()
    """The waits of each queue, if the jobs are split."""
    done: list[Done] = field(default_factory=list)
    waits: Waits = field(default_factory=Waits)
    excess: Waits = field(default_factory=Waits)
    jobs: int = 0
    unfinished: int = 0
    work_s: float = 0.0
    lost_s: float = 0.0
    given_back: int = 0
    weighted_wait: float = 0.0
    paid_s: float = 0.0
    at_zero_s: float = 0.0
    at_cap_s: float = 0.0
    ups: int = 0
    downs: int = 0
    starts: int = 0
    flaps: int = 0
    most_actions_an_hour: int = 0
    most_paid: int = 0
    end_s: float = 0.0
    together: dict[int, list[float]] = field(default_factory=dict)
    _paid: int = 0
    _paid_since: float = 0.0
    _configured: int = 0
    _configured_since: float = 0.0
    _ready: int = 0
    _matched_ready: int = 0
    _supply: list[tuple[float, int]] = field(default_factory=list)
    _level: int = 0
    _settled_s: float = 0.0
    _told: int = 0
    _untold: list[Done] = field(default_factory=list)
    _stops: deque[float] = field(default_factory=deque)
    _actions: deque[float] = field(default_factory=deque)

    def paid(self, now: float, change: int) -> None:
        self.paid_s += self._paid * (now - self._paid_since)
        self._paid += change
        self._paid_since = now
        self.most_paid = max(self.most_paid, self._paid)

    def ready(self, now: float, change: int) -> None:
        self._ready += change
        self._supply.append((now, self._ready))

    def scaled(self, now: float, before: int, after: int) -> None:
        # The busiest hour decides whether the platform's requests are enough (requests.py), not the mean.
        self._reckon_configured(now)
        self._configured = after
        actions = self._actions
        actions.append(now)
        while actions[0] <= now - _HOUR_S:
            actions.popleft()
        self.most_actions_an_hour = max(self.most_actions_an_hour, len(actions))
        if after < before:
            self.downs += 1
            self._stops.extend([now] * (before - after))
            return
        self.ups += 1
        self.starts += after - before
        while self._stops and self._stops[0] < now - self.break_even_s:
            self._stops.popleft()
        for _ in range(min(after - before, len(self._stops))):
            self._stops.pop()
            self.flaps += 1

    def lose(self, seconds: float) -> None:
        """Counts a job that must start again; `seconds` is the work that is lost."""
        self.lost_s += seconds
        self.given_back += 1

    def fresh(self) -> Sequence[Done]:
        """The newest jobs that ended since the last call, at most MOST_TOLD."""
        new, self._untold = [*self._untold, *self.done[self._told :]][-MOST_TOLD:], []
        self._told = len(self.done)
        return new

    def settle(self, levels: Levels, until: float) -> None:
        """Adds up everything until `until`. `levels`: the workers needed since the last call, over time."""
        self._reckon_jobs()
        self._match(levels, until)

    def close(self, now: float, unfinished: Iterable[float]) -> None:
        """Ends the run. unfinished: the waits of the jobs that will not be done."""
        self._reckon_jobs()
        self.paid(now, 0)
        self._reckon_configured(now)
        self.end_s = now
        for wait in unfinished:
            self.unfinished += 1
            self.waits.extend([wait])
            self.excess.extend([wait])

    def afterwards(self) -> Account:
        """A new account from the end on, in which the workers that are there are paid for; for `wind_down`."""
        return Account(self.cap, self.break_even_s, _paid=self._paid, _paid_since=self.end_s, _untold=self._untold)

    def wind_down(self, after: Account) -> None:
        """Adds the cost and the scale-downs after the end, given in an account that is closed.

        Only workers that were removed after the end are charged. Those that are still there would stay for good
        (min_replicas, a static fleet): their cost depends on the length of the window, and not on its jobs.
        """
        self.paid_s += max(0.0, after.paid_s - after._paid * (after.end_s - self.end_s))
        self.downs += after.downs

    def _reckon_jobs(self) -> None:
        done = self.done
        if self.series is not None:
            self.series.note_waits(done)
        self.jobs += len(done)
        self.waits.extend([wait for _, _, _, wait in done])
        for place, waits in enumerate(self.by_queue):
            waits.extend([wait for _, _, job, wait in done if job[-1] == place])
        # First come, first served under the same cap never waits less than this; a smaller wait is rounding.
        self.excess.extend([wait - job[2] if wait > job[2] else 0.0 for _, _, job, wait in done])
        self.work_s += sum([job[1] for _, _, job, _ in done])
        self.weighted_wait += sum([wait * job[1] for _, _, job, wait in done if wait])
        self._untold = [*self._untold, *done[self._told :]][-MOST_TOLD:]
        done.clear()
        self._told = 0

    def _reckon_configured(self, now: float) -> None:
        held = now - self._configured_since
        if self._configured == 0:
            self.at_zero_s += held
        if self._configured >= self.cap:
            self.at_cap_s += held
        self._configured_since = now

    def _match(self, levels: Levels, until: float) -> None:
        """Adds the time to each cell (ready, needed), by merging both sequences of changes."""
        supply, self._supply = self._supply, []
        now, level, row = self._settled_s, self._level, self._row(self._matched_ready)
        times, heights = levels.times, levels.heights
        first = 0
        for upto, ready in [*supply, (until, self._ready)]:
            last = bisect_right(times, upto, first)
            for time, height in zip(times[first:last], heights[first:last], strict=True):
                row[level] += time - now
                now, level = time, height
            row[level] += upto - now
            now, first, row = upto, last, self._row(ready)
        self._level, self._settled_s, self._matched_ready = level, until, self._ready

    def _row(self, ready: int) -> list[float]:
        return self.together.setdefault(ready, [0.0] * (self.cap + 1))
