"""Simulates the workers and their queue, exact in time: event by event, without time steps.

First come, first served; a worker runs `concurrency` jobs at once. A requested worker is paid from the request on, and
works `start_up_s` later. Railway chooses at random which worker is removed: it takes no more jobs, goes on with its
jobs for at most `drain_s`, and gives unfinished ones back to the queue, where they start again.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil, floor

from controller.simulation.account import Account, Done, Task
from controller.simulation.scaler import NEVER, Scaler, View
from controller.simulation.split import Split

_HOUR_S = 3600.0
_PATIENCE_S = 7 * 24 * _HOUR_S
"""If no job ends for this long after the last arrival, the rest of the queue will never be done."""
_WIND_DOWN_S = _HOUR_S
"""A policy has this long after the end to remove idle workers; all built-in ones need less to remove five."""
_NO_WORKER: Done = (NEVER, -1, (NEVER, 0.0, 0.0), 0.0)


@dataclass(frozen=True, slots=True)
class Platform:
    """How workers start and end: the start-up time, the share of starts that fail and are repeated, the draining time.

    idle_first: idle workers are removed first. No known platform does that; it is for comparison with the literature.
    """

    start_up_s: float = 20.0
    drain_s: float = NEVER
    start_failure: float = 0.0
    concurrency: int = 1
    idle_first: bool = False
    seed: int = 0


def _held_until(wanted: int | None, configured: int, up_at: float, down_at: float) -> float:
    """Until when the wanted count changes nothing: it is already there, or a cooldown still blocks it."""
    if wanted == configured:
        return NEVER
    if wanted is None:
        return -NEVER
    return down_at if wanted < configured else up_at


@dataclass(slots=True)
class Fleet:
    """The run of one policy: feed() takes the jobs in the order of arrival, then finish() ends it."""

    scaler: Scaler
    platform: Platform
    account: Account
    began: float | None = None
    """Epoch seconds of the time 0, for schedules; None: unknown."""
    split: Split | None = None
    """Which queue each job is in; None: there is one."""
    _dice: random.Random = field(init=False)
    _seen: View = field(default_factory=View)
    _events: list[Done] = field(default_factory=lambda: [_NO_WORKER])  # so that there is always a next event
    _idle: list[int] = field(default_factory=list)
    _waiting: deque[Task] = field(default_factory=deque)
    _crew: list[int] = field(default_factory=list)
    _starting: list[tuple[float, int]] = field(default_factory=list)
    _leaving: dict[int, int] = field(default_factory=dict)
    """Slots of workers that are draining."""
    _leavers: int = 0
    _given_back: set[int] = field(default_factory=set)
    """Slots whose job was given back; the event of its end is still in the list."""
    _deadlines: list[tuple[float, int]] = field(default_factory=list)
    _configured: int = 0
    _hired: int = 0
    _due: float = 0.0
    _wake_at: float = NEVER
    _next_change: float = NEVER
    _quiet_until: float = 0.0
    _woken_at: float = -NEVER
    _has_begun: bool = False
    """A worker started since the last poll, and the scaler measures start times."""
    _is_amid: bool = False
    """Jobs that no look has seen arrived at `_now`, and more with the same time may follow."""
    _now: float = 0.0

    def __post_init__(self) -> None:
        self._dice = random.Random(self.platform.seed)
        self._seen.draining_s = self.platform.drain_s
        self._seen.began = self.began
        self._plan_quiet()

    @property
    def unfinished(self) -> int:
        return len(self._waiting) + self._busy

    @property
    def _busy(self) -> int:
        return len(self._events) - 1 - len(self._given_back)

    def feed(self, jobs: Iterable[Task], until: float) -> None:  # noqa: C901, PLR0912, PLR0915  # hot; see below
        """Runs to `until`; the jobs are sorted by arrival, and arrive at or before it.

        A look comes before or after all jobs that arrive at the same time: jobs of one INSERT are never seen in part.
        That also holds across calls.

        It is one loop on local variables, because a call for each event would double the time; variables that a call
        may change are read again after it. While the counts want what `quiet` says, no look before `control` would
        change anything, so looks are left out, and `due` catches up afterwards.
        """
        events, waiting, idle, leaving = self._events, self._waiting, self._idle, self._leaving
        given_back, done = self._given_back, self.account.done.append
        push, replace, pop = heapq.heappush, heapq.heapreplace, heapq.heappop
        scaler, every = self.scaler, self.scaler.wake_interval
        arrivals = iter(jobs if self.split is None else self.split.tagged(jobs))
        job = next(arrivals, None)
        at = until if job is None else job[0]
        is_amid = self._is_amid and job is not None and at == self._now
        configured, leavers, due, woken = self._configured, self._leavers, self._due, self._woken_at
        calm, up_at, down_at, quiet_until = scaler.calm, scaler.up_at, scaler.down_at, self._quiet_until
        no_jobs = len(given_back) + 1  # events of which no job is in progress
        quiet: int | None = None
        wake = self._wake_at
        first = NEVER  # of the wake-ups that were left out since `quiet` began; the last one is `woken`
        control = min(due, wake, self._next_change)
        while True:
            end = events[0][0]
            if end <= control and end <= at:
                now = end
                if leaving and events[0][1] in leaving:
                    self._end_of_a_leaver(end)
                    leavers, no_jobs = self._leavers, len(given_back) + 1
                elif waiting:
                    following = waiting.popleft()
                    done(replace(events, (end + following[1], events[0][1], following, end - following[0])))
                else:
                    ended = pop(events)
                    done(ended)
                    idle.append(ended[1])
                if quiet is None:
                    continue  # the next look updates it
                wish = calm.get((len(waiting), len(events) - no_jobs, leavers))
                if wish == quiet:
                    continue
                if wake < now or (is_amid and wake == now):
                    first, woken, wake = min(first, wake), wake, NEVER
                due, first = self._caught_up(due, now, quiet, (first, woken), itself=is_amid), NEVER
            elif control < at or (control == at and not is_amid):
                now = control
                if quiet is not None:
                    if wake < now:
                        first, woken, wake = min(first, wake), wake, NEVER
                    due, first = self._caught_up(due, now, quiet, (first, woken)), NEVER
                wish = None
                if now < self._next_change and (now == due or now == wake):  # noqa: PLR1714, SIM109  # a tuple is slower
                    if now == due and self._is_to_measure(now):
                        self._measure(now)
                        calm, up_at, down_at, quiet_until = scaler.calm, scaler.up_at, scaler.down_at, self._quiet_until
                    wish = calm.get((len(waiting), len(events) - no_jobs, leavers))
                    if now >= min(_held_until(wish, configured, up_at, down_at), quiet_until):
                        wish = None
                if wish is not None:
                    due, woken, wake = self._left_out(wish, now, due, woken)
                elif now >= min(due, wake, self._next_change):
                    self._due, self._woken_at, self._wake_at = due, woken, wake
                    control = self._control(now, at)
                    configured, leavers, due, woken = self._configured, self._leavers, self._due, self._woken_at
                    wake, no_jobs = self._wake_at, len(given_back) + 1
                    calm, up_at, down_at, quiet_until = scaler.calm, scaler.up_at, scaler.down_at, self._quiet_until
                    quiet = None
                    continue
            elif job is None:
                break
            else:
                now = at
                if idle:
                    push(events, (at + job[1], idle.pop(), job, 0.0))
                else:
                    waiting.append(job)
                job = next(arrivals, None)
                at = until if job is None else job[0]
                is_amid = at == now
                if is_amid or (every is None and quiet is None):
                    continue
                wish = calm.get((len(waiting), len(events) - no_jobs, leavers))
                is_seen = False
                if every is not None:
                    if wake <= now and quiet is not None:
                        first, woken, wake = min(first, wake), wake, NEVER  # a quick check that changed nothing
                    if now < woken + every:
                        wake = self._wake_later(now, due, woken, wake)
                        control = control if quiet is not None else min(control, wake)
                    elif wish is not None and (wish == quiet or now < _held_until(wish, configured, up_at, down_at)):
                        wake, is_seen = NEVER, True
                    else:
                        control = wake = now
                if wish != quiet and quiet is not None:
                    due, first = self._caught_up(due, now, quiet, (first, woken), itself=True), NEVER
                if is_seen:
                    first, woken = min(first, now), now
                if wish == quiet:
                    continue
            # The wanted count has changed, or there was a look.
            held_until = min(_held_until(wish, configured, up_at, down_at), quiet_until)
            if now < held_until:
                quiet, control = wish, min(held_until, self._next_change)
            else:
                quiet, control = None, min(due, wake, self._next_change)
                if first < NEVER and wish is not None:
                    scaler.passed(wish, None, (first, woken))
                    first = NEVER
        if quiet is not None:
            if wake <= until:
                first, woken, wake = min(first, wake), wake, NEVER
            due = self._caught_up(due, until, quiet, (first, woken), itself=True)
        if is_amid and every is not None:
            wake = min(wake, max(until, woken + every))
        self._is_amid = is_amid
        self._due, self._woken_at, self._wake_at, self._now = due, woken, wake, until

    def _left_out(self, wanted: int, now: float, due: float, woken: float) -> tuple[float, float, float]:
        """One look is left out: when the next one is due, when the last wake-up was, and that none is open."""
        is_wake = now < due
        self.scaler.passed(wanted, None if is_wake else (now, now), (now, now) if is_wake else None)
        return (due, now, NEVER) if is_wake else (due + self.scaler.interval, woken, NEVER)

    def _wake_later(self, now: float, due: float, woken: float, wake: float) -> float:
        """When the wake-up of a job is that came too soon after the last one; an earlier poll sees the job as well."""
        interval, after = self.scaler.interval, woken + (self.scaler.wake_interval or 0.0)
        poll = due if due > now else due + (floor((now - due) / interval) + 1) * interval
        return min(wake, after) if after < poll else wake

    def _caught_up(
        self, due: float, now: float, wanted: int, wakes: tuple[float, float], *, itself: bool = False
    ) -> float:
        """When the next look is due, after looks before `now` were left out. itself: the look at `now` was, too."""
        began, polls = due, None
        if due < now or (itself and due == now):
            interval = self.scaler.interval
            due += ceil((now - due) / interval) * interval
            due += interval if itself and due <= now else 0.0
            polls = began, due - interval
        if polls is not None or wakes[0] < NEVER:
            self.scaler.passed(wanted, polls, wakes if wakes[0] < NEVER else None)
        return due

    def finish(self, until: float) -> float:
        """Runs until `until` has passed and every job is done; returns that time.

        It gives up if no job ends for a week: see `unfinished`.
        """
        self.feed((), max(until, self._now))
        patience = self._now + _PATIENCE_S
        while self.unfinished and self._now < patience:
            # Not further than to the next event, so that the run ends with its last job; see wind_down.
            upcoming = min(self._events[0][0], self._next_control(), patience)
            before = len(self.account.done)
            self.feed((), upcoming)
            if len(self.account.done) > before:
                patience = self._now + _PATIENCE_S
        begun = [end - job[1] - job[0] for end, slot, job, _ in self._events if 0 <= slot not in self._given_back]
        self.account.close(self._now, unfinished=[*begun, *(self._now - job[0] for job in self._waiting)])
        return self._now

    def wind_down(self) -> None:
        """After finish(): pays for idle workers until the policy removes them. Does nothing if jobs are left."""
        if self.unfinished:
            return
        account = self.account
        self.account = account.afterwards()
        self._plan_quiet()
        self.feed((), self._now + _WIND_DOWN_S)
        self.account.close(self._now, unfinished=())
        account.wind_down(self.account)
        self.account = account

    def _next_control(self) -> float:
        return min(self._due, self._wake_at, self._next_change)

    def _control(self, now: float, arrival: float) -> float:
        """Handles what is due besides arrivals and ends of jobs; returns when something is due again."""
        if self._next_change <= now:
            self._change(now)
        if self._due <= now or self._wake_at <= now:
            self._look(now, arrival)
        return min(self._due, self._wake_at, self._next_change)

    def _change(self, now: float) -> None:
        while self._starting and self._starting[0][0] <= now:
            self._begin_work(now, heapq.heappop(self._starting)[1])
        while self._deadlines and self._deadlines[0][0] <= now:
            self._give_back(now, heapq.heappop(self._deadlines)[1])
        self._plan_change()

    def _plan_change(self) -> None:
        started = self._starting[0][0] if self._starting else NEVER
        self._next_change = min(started, self._deadlines[0][0]) if self._deadlines else started
        self._plan_quiet()

    def _plan_quiet(self) -> None:
        """Sets until when looks can be left out because they change nothing; a picture needs every look."""
        shall_look = self.account.series is not None or self._has_begun
        self._quiet_until = 0.0 if shall_look else min(self._next_change, self.scaler.learn_at)

    def _is_to_measure(self, now: float) -> bool:
        return self._has_begun or now >= self.scaler.learn_at

    def _measure(self, now: float) -> None:
        """What a poll measures before it decides; then it may be left out like any other."""
        if now >= self.scaler.learn_at:
            self.scaler.learn(self.account.fresh(), now, self._configured)
        if self._has_begun:
            self._has_begun = False
            self.scaler.time_start(now, self._configured, self._configured - len(self._starting))
        self._plan_quiet()

    def _look(self, now: float, arrival: float) -> None:
        waiting, scaler, seen, configured = self._waiting, self.scaler, self._seen, self._configured
        notified = now < self._due
        if not notified and self._is_to_measure(now):
            self._measure(now)
        seen.now, seen.configured, seen.notified, seen.leaving = now, configured, notified, self._leavers
        seen.waiting, seen.busy = len(waiting), len(self._events) - 1 - len(self._given_back)
        seen.running = configured - len(self._starting)
        seen.oldest_s = now - waiting[0][0] if waiting else 0.0
        if self.split is not None:
            in_progress = (job for _, slot, job, _ in self._events if 0 <= slot not in self._given_back)
            seen.parts = self.split.parts(waiting, in_progress)
        desired = scaler.look(seen)
        self._wake_at = NEVER
        if notified:
            self._woken_at = now
        if desired != configured:
            self._due = now + scaler.interval
            self._scale(now, desired)
            self._plan_change()
        elif not notified:
            self._due = now + scaler.interval
            if scaler.settled:
                self._skip(min(arrival, self._events[0][0], self._next_change, scaler.learn_at))
        if self.account.series is not None:
            self.account.series.note(now, seen.waiting, seen.busy, configured)
            self.account.series.note(now, seen.waiting, seen.busy, desired)

    def _skip(self, upcoming: float) -> None:
        """Leaves out the looks before the next event: they would all see the same."""
        interval = self.scaler.interval
        if self._due < upcoming < NEVER:
            first = self._due
            self._due += ceil((upcoming - self._due) / interval) * interval
            self.scaler.passed(self._configured, (first, self._due - interval), None)

    def _scale(self, now: float, desired: int) -> None:
        before = self._configured
        for _ in range(desired - before):
            self._hire(now)
        for _ in range(before - desired):
            self._take(now, self._victim())
        self._configured = desired
        self.account.scaled(now, before, desired)

    def _hire(self, now: float) -> None:
        tries, fails = 1, self.platform.start_failure
        while fails and self._dice.random() < fails:
            tries += 1
        self._crew.append(self._hired)
        heapq.heappush(self._starting, (now + tries * self.platform.start_up_s, self._hired))
        self._hired += 1
        self.account.paid(now, +1)

    def _begin_work(self, now: float, worker: int) -> None:
        each = self.platform.concurrency
        self._has_begun = self.scaler.times_starts
        self.account.ready(now, +1)
        self._idle.extend(range(worker * each, worker * each + each))
        self._take_up_work(now)

    def _take_up_work(self, now: float) -> None:
        while self._waiting and self._idle:
            job = self._waiting.popleft()
            heapq.heappush(self._events, (now + job[1], self._idle.pop(), job, now - job[0]))

    def _victim(self) -> int:
        """The worker to remove: a random one; with idle_first, an idle one, then one that is starting."""
        crew = self._crew
        index = int(self._dice.random() * len(crew))
        if self.platform.idle_first:
            starting = {worker for _, worker in self._starting}
            busy = {slot // self.platform.concurrency for _, slot, _, _ in self._events}
            index = min(range(len(crew)), key=lambda number: (crew[number] in busy, crew[number] in starting))
        crew[index], crew[-1] = crew[-1], crew[index]
        return crew.pop()

    def _take(self, now: float, worker: int) -> None:
        for entry in self._starting:
            if entry[1] == worker:
                self._starting.remove(entry)
                heapq.heapify(self._starting)
                self.account.paid(now, -1)
                return
        each, idle = self.platform.concurrency, self._idle
        own = range(worker * each, worker * each + each)
        working = [slot for slot in own if slot not in idle]
        for slot in own:
            if slot in idle:
                idle.remove(slot)
        if not working:
            self._gone(now)
            return
        self._leavers += 1
        self._leaving.update(dict.fromkeys(working, worker))
        if self.platform.drain_s == 0:
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
            self._leavers -= 1
            self._gone(now)

    def _give_back(self, now: float, worker: int) -> None:
        """The draining time is over: unfinished jobs of the worker go back to their place in the queue."""
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
        self._leavers -= 1
        self._gone(now)
        self._take_up_work(now)

    def _gone(self, now: float) -> None:
        self.account.ready(now, -1)
        self.account.paid(now, -1)
