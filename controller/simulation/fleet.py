"""The workers and the queue in front of them, exact in time: no step, one event after the other.

First come, first served; a worker runs `concurrency` jobs at once. A worker that is asked for is paid from that moment
and works `start_up_s` later. Which one is taken away is Railway's choice, at random: it takes no more jobs, goes on
with those that it has for `drain_s` at most, and gives back what it could not finish, to begin anew elsewhere.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

from controller.simulation.account import Account, Done, Task
from controller.simulation.scaler import NEVER, Scaler, Seen

_HOUR_S = 3600.0
_PATIENCE_S = 7 * 24 * _HOUR_S
"""A queue in which nothing was finished for so long after the last arrival will not be worked off any more."""
_NOBODY: Done = (NEVER, -1, (NEVER, 0.0, 0.0), 0.0)


@dataclass(frozen=True, slots=True)
class Platform:
    """What a worker is: how long it takes to start, how often a start fails and is tried again, how it is taken away.

    idle_first: idle workers are taken first, as no platform that we know does; for comparing with the literature.
    """

    start_up_s: float = 20.0
    drain_s: float = NEVER
    start_failure: float = 0.0
    concurrency: int = 1
    idle_first: bool = False
    seed: int = 0


@dataclass(slots=True)
class Fleet:
    """One policy's run: feed() it the jobs in order of arrival, then finish()."""

    scaler: Scaler
    platform: Platform
    account: Account
    _dice: random.Random = field(init=False)
    _seen: Seen = field(default_factory=Seen)
    _events: list[Done] = field(default_factory=lambda: [_NOBODY])  # so that there always is a next one
    _idle: list[int] = field(default_factory=list)
    _waiting: deque[Task] = field(default_factory=deque)
    _crew: list[int] = field(default_factory=list)
    _starting: list[tuple[float, int]] = field(default_factory=list)
    _leaving: dict[int, int] = field(default_factory=dict)
    """The slots whose worker is taken away: they end what they do, if they may."""
    _given_back: set[int] = field(default_factory=set)
    """Slots whose job was given back; what they would have ended is still in the list of events."""
    _deadlines: list[tuple[float, int]] = field(default_factory=list)
    _configured: int = 0
    _hired: int = 0
    _due: float = 0.0
    _next_look: float = 0.0
    _next_change: float = NEVER
    _woken_at: float = -NEVER
    _asked_at: float = -NEVER
    _calm_at: float = -NEVER
    _has_begun: bool = False
    """A worker began to work since the last look at the fleet, which may be what the scaler waits to see."""
    _now: float = 0.0

    def __post_init__(self) -> None:
        self._dice = random.Random(self.platform.seed)  # which worker goes is no secret

    @property
    def unfinished(self) -> int:
        return len(self._waiting) + self._busy

    @property
    def _busy(self) -> int:
        return len(self._events) - 1 - len(self._given_back)

    def feed(self, jobs: Iterable[Task], until: float) -> None:  # noqa: PLR0912  # the hot loop; calls would double it
        """Goes on to `until`; the jobs arrive before, and are sorted by arrival."""
        events, waiting, idle, leaving = self._events, self._waiting, self._idle, self._leaving
        given_back, done = self._given_back, self.account.done.append
        push, replace, pop = heapq.heappush, heapq.heapreplace, heapq.heappop
        every, calm = self.scaler.wake_interval, self.scaler.calm
        arrivals = iter(jobs)
        job = next(arrivals, None)
        at = until if job is None else job[0]
        control = self._next_control()
        while True:
            end, slot, _, _ = events[0]
            if end <= control and end <= at:
                if leaving and slot in leaving:
                    self._end_of_a_leaver(end)
                    continue
                if waiting:
                    following = waiting.popleft()
                    done(replace(events, (end + following[1], slot, following, end - following[0])))
                else:
                    done(pop(events))
                    idle.append(slot)
            elif control <= at:
                control = self._control(control, at)
            elif job is None:
                break
            else:
                if idle:
                    push(events, (at + job[1], idle.pop(), job, 0.0))
                else:
                    waiting.append(job)
                if every is not None:
                    counts = len(waiting), len(events) - 1 - len(given_back)
                    if calm.get(counts) == self._configured and at >= self._woken_at + every:
                        self._woken_at = at
                    else:
                        control = min(control, self._wake(at, every))
                job = next(arrivals, None)
                at = until if job is None else job[0]
        self._now = until

    def finish(self, until: float) -> float:
        """Goes on until `until` has passed and every job is done; returns when that was.

        Where nothing gets done for a week, it gives up: see `unfinished`.
        """
        self.feed((), max(until, self._now))
        patience = self._now + _PATIENCE_S
        while self.unfinished and self._now < patience:
            # Not further than to the next event: an hour of idle workers after the last job is nobody's cost.
            upcoming = min(self._events[0][0], self._next_control(), patience)
            before = len(self.account.done)
            self.feed((), upcoming)
            if len(self.account.done) > before:
                patience = self._now + _PATIENCE_S
        begun = [end - job[1] - job[0] for end, slot, job, _ in self._events if 0 <= slot not in self._given_back]
        self.account.close(self._now, unfinished=[*begun, *(self._now - job[0] for job in self._waiting)])
        return self._now

    def _wake(self, now: float, every: float) -> float:
        """When it looks next, now that a job was announced."""
        self._next_look = min(self._next_look, max(now, self._woken_at + every))
        return self._next_look

    def _next_control(self) -> float:
        return min(self._next_look, self._next_change)

    def _control(self, now: float, arrival: float) -> float:
        """What is due besides jobs that come and go; returns when there is something again."""
        if self._next_change <= now:
            self._change(now)
        if self._next_look <= now:
            self._look(now, arrival)
        return min(self._next_look, self._next_change)

    def _change(self, now: float) -> None:
        while self._starting and self._starting[0][0] <= now:
            self._begin_work(now, heapq.heappop(self._starting)[1])
        while self._deadlines and self._deadlines[0][0] <= now:
            self._give_back(now, heapq.heappop(self._deadlines)[1])
        self._plan_change()

    def _plan_change(self) -> None:
        started = self._starting[0][0] if self._starting else NEVER
        self._next_change = min(started, self._deadlines[0][0]) if self._deadlines else started

    def _look(self, now: float, arrival: float) -> None:
        waiting, configured, notified = self._waiting, self._configured, now < self._due
        depth, busy = len(waiting), len(self._events) - 1 - len(self._given_back)
        scaler, series = self.scaler, self.account.series
        if series is not None:
            series.note(now, depth, busy, configured)
        is_news = not notified and (self._has_begun or now >= scaler.learn_at)
        if scaler.calm.get((depth, busy)) == configured and not is_news:
            self._leave(now, arrival, notified=notified)
            return
        if self._calm_at > self._asked_at:
            scaler.passed(self._calm_at, configured)
        self._asked_at = now
        self._has_begun = self._has_begun and notified
        if now >= scaler.learn_at and not notified:
            scaler.learn(self.account.fresh(), now)
        seen = self._seen
        seen.now, seen.waiting, seen.busy, seen.configured, seen.notified = now, depth, busy, configured, notified
        seen.running = configured - len(self._starting)
        seen.oldest_s = now - waiting[0][0] if waiting else 0.0
        desired = scaler.look(seen)
        if desired == configured:
            self._leave(now, arrival if scaler.settled else now, notified=notified)
            return
        self._woken_at = now if notified else self._woken_at
        self._due = self._next_look = now + scaler.interval
        self._scale(now, desired)
        self._plan_change()
        if series is not None:
            series.note(now, depth, busy, desired)

    def _leave(self, now: float, quiet_until: float, *, notified: bool) -> None:
        """Nothing changes; and as long as nothing happens, all further looks would see what this one saw."""
        if notified:
            self._woken_at = now
            self._next_look = self._due
            return
        self._calm_at = now
        due = now + self.scaler.interval
        if due < quiet_until:
            upcoming = min(quiet_until, self._events[0][0], self._next_change, self.scaler.learn_at)
            if due < upcoming < NEVER:
                due += math.ceil((upcoming - due) / self.scaler.interval) * self.scaler.interval
                self._calm_at = due - self.scaler.interval
        self._due = self._next_look = due

    def _scale(self, now: float, desired: int) -> None:
        before = len(self._crew)
        for _ in range(desired - before):
            self._hire(now)
        if desired < before:
            for worker in self._victims(before - desired):
                self._take(now, worker)
        self._configured = desired
        self.account.scaled(now, before, desired)

    def _hire(self, now: float) -> None:
        tries = 1
        while self._dice.random() < self.platform.start_failure:
            tries += 1
        self._crew.append(self._hired)
        heapq.heappush(self._starting, (now + tries * self.platform.start_up_s, self._hired))
        self._hired += 1
        self.account.paid(now, +1)

    def _begin_work(self, now: float, worker: int) -> None:
        each = self.platform.concurrency
        self._has_begun = True
        self.account.ready(now, +1)
        self._idle.extend(range(worker * each, worker * each + each))
        self._take_up_work(now)

    def _take_up_work(self, now: float) -> None:
        while self._waiting and self._idle:
            job = self._waiting.popleft()
            heapq.heappush(self._events, (now + job[1], self._idle.pop(), job, now - job[0]))

    def _victims(self, count: int) -> list[int]:
        if not self.platform.idle_first:
            return self._dice.sample(self._crew, count)
        starting = {worker for _, worker in self._starting}
        busy = {slot // self.platform.concurrency for _, slot, _, _ in self._events}
        return sorted(self._crew, key=lambda worker: (worker in busy, worker not in starting))[:count]

    def _take(self, now: float, worker: int) -> None:
        self._crew.remove(worker)
        starting = [entry for entry in self._starting if entry[1] == worker]
        if starting:
            self._starting.remove(starting[0])
            heapq.heapify(self._starting)
            self.account.paid(now, -1)
            return
        each = self.platform.concurrency
        own = range(worker * each, worker * each + each)
        free = {slot for slot in self._idle if slot in own}
        self._idle[:] = [slot for slot in self._idle if slot not in free]
        self._leaving.update(dict.fromkeys((slot for slot in own if slot not in free), worker))
        if len(free) == each:
            self._gone(now)
        elif self.platform.drain_s == 0:
            self._give_back(now, worker)
        elif self.platform.drain_s < NEVER:
            heapq.heappush(self._deadlines, (now + self.platform.drain_s, worker))

    def _end_of_a_leaver(self, now: float) -> None:
        ended = heapq.heappop(self._events)
        slot = ended[1]
        worker = self._leaving.pop(slot)
        if slot in self._given_back:
            self._given_back.remove(slot)
            return
        self.account.done.append(ended)
        if worker not in self._leaving.values():
            self._gone(now)

    def _give_back(self, now: float, worker: int) -> None:
        """The time to drain is over: what the worker still does goes back to its place in the queue."""
        back = []
        for end, slot, job, _ in self._events:
            if self._leaving.get(slot) == worker and slot not in self._given_back:
                self._given_back.add(slot)
                back.append(job)
                self.account.lose(job[1] - (end - now))
        if not back:
            return  # it was done in time
        while self._waiting and self._waiting[0] < max(back):
            back.append(self._waiting.popleft())
        self._waiting.extendleft(sorted(back, reverse=True))
        self._gone(now)
        self._take_up_work(now)

    def _gone(self, now: float) -> None:
        self.account.ready(now, -1)
        self.account.paid(now, -1)
