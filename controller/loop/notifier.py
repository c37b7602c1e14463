"""Tells people: what the leader reports and decides is put into a queue here, and tasks of their own send it.

A cycle only puts values into a queue. One task decides what is due (alerts.py), and one for each target sends, so that
a target that hangs delays neither a cycle nor another target. Both kinds of queue are bounded; what no longer fits is
dropped and counted. Whatever a target does is counted and logged, and ends nothing.

Only the leader sends. The one exception: while Redis is away, so that nobody leads, the replica that led last goes on
telling, because otherwise nobody would tell of that.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from controller.core.allowed import of_the_hour
from controller.core.notices import Kind
from controller.core.ports import Clock, Marks, NotDeliveredError, Notify, Report, Unavailable
from controller.core.text import bounds
from controller.core.text.escaping import visible
from controller.core.text.masking import Masker
from controller.core.units import in_words
from controller.loop.alerts import Alerts, Due
from controller.loop.cycle import Cycle, Outcome
from controller.loop.faults import Throttle
from controller.loop.leadership import Leadership
from controller.loop.supervisor import Supervisor
from controller.policy import Policy, Target, WorkerPolicy, target_names

MOST_WAITING = 1_000
"""Cycles and events that wait to be looked at."""
MOST_QUEUED = 100
"""Notices that wait for one target; of more, the oldest is dropped."""
STALE_S = 3600.0
"""A notice that could not be sent for this long is dropped."""
ATTEMPTS = 4
LONGEST_WAIT_S = 60.0
"""Of what a target asks to wait (Retry-After), as much as this is waited."""
_AGAIN_S = 5.0
_EVENTS_TOLD = frozenset({"budget", "intent_settled", "override_set", "override_ended", "lease_acquired", "contended"})
RESULTS = ("sent", "failed", "dropped", "left_out")
"""What becomes of a notice: taken; refused or not taken in time; dropped from a full queue, or because it became old or
another replica leads; left out by the throttle."""


class TargetReport(NamedTuple):
    """What became of the notices of one target since the start. failed_at, failure: of the last that failed."""

    name: str
    results: Mapping[str, int]
    queued: int
    failure: str = ""
    failed_at: float | None = None


class _Fact(NamedTuple):
    """One of the two: a cycle with what fails after it, or an event with its name."""

    at: float
    name: str
    fields: Mapping[str, Any]
    cycle: Cycle | None = None


@dataclass
class _Outbox:
    """Of one target. key: see Target.key."""

    key: str
    name: str
    target: Target
    port: Notify
    queue: deque[Due] = field(default_factory=deque)
    results: Counter[str] = field(default_factory=Counter)
    failure: str = ""
    failed_at: float | None = None
    current: Due | None = None
    """What is being sent."""
    news: asyncio.Event = field(default_factory=asyncio.Event)
    sender: asyncio.Task[None] | None = None


class _NotOursError(Exception):
    """Another replica leads by now."""


@dataclass
class Notifier:
    """opened: the port to a target. tells: whether anything is told at all; a dry run tells nothing.

    takeovers: whether a lease that is acquired is told of; `once` acquires one each time.
    """

    opened: Callable[[Target], Notify]
    marks: Marks
    clock: Clock
    leadership: Leadership
    report: Report
    supervisor: Supervisor
    mask: Masker = field(default_factory=Masker)
    tells: bool = True
    takeovers: bool = True
    alerts: Alerts = field(default_factory=Alerts)
    _outboxes: dict[str, _Outbox] = field(default_factory=dict)
    _workers: Mapping[str, WorkerPolicy] = field(default_factory=dict)
    _facts: deque[_Fact] = field(default_factory=lambda: deque(maxlen=MOST_WAITING))
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _epoch: int | None = None
    """Of the lease under which the marks were read."""
    _throttle: Throttle = field(default_factory=Throttle)
    _closing: set[asyncio.Task[None]] = field(default_factory=set)

    def serve(self, policy: Policy) -> None:
        """Tells the targets of this policy from now on. One that stays keeps its queue and its counts."""
        targets = policy.notify if self.tells else ()
        before, self._outboxes = self._outboxes, {}
        for target, name in zip(targets, target_names(targets), strict=True):
            old = before.pop(target.key, None)
            if old is not None and old.target == target:
                old.name = name
                self._outboxes[target.key] = old
                continue
            new = _Outbox(target.key, name, target, self.opened(target))
            if old is not None:  # the same address with another secret, say
                new.queue, new.results = old.queue, old.results
                if old.current is not None:
                    new.queue.appendleft(old.current)
                before[target.key] = old
            self._outboxes[target.key] = new
        for old in before.values():
            self._close(old)
        for one in self._each():
            if one.queue:
                self._start(one)
        self.alerts.serve(targets, policy.workers)
        self._workers = policy.workers

    def reports(self) -> list[TargetReport]:
        found = []
        for key, one in self._outboxes.items():
            results = {name: one.results[name] for name in RESULTS} | {"left_out": self.alerts.left_out.get(key, 0)}
            found.append(
                TargetReport(one.name, results, len(one.queue) + (one.current is not None), one.failure, one.failed_at)
            )
        return found

    # What it is told; none of this waits.

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """An event of the log."""
        if name in _EVENTS_TOLD and (self.takeovers or name != "lease_acquired"):
            self._put(_Fact(self.clock.wall(), name, dict(fields)))

    def cycle(self, cycle: Cycle, _: Mapping[str, float], after: Mapping[str, float]) -> None:
        """after: what fails for the cycle's worker, by name, and since when."""
        if cycle.outcome is not Outcome.STANDBY:
            self._put(_Fact(cycle.at, "", dict(after), cycle))

    def _put(self, fact: _Fact) -> None:
        if self._outboxes:
            self._facts.append(fact)
            self._news.set()

    # The task

    async def run(self) -> None:
        """Decides and sends until it is cancelled; then close() ends what still sends."""
        while True:
            await self._news.wait()
            self._news.clear()
            if not await self._guarded():
                await asyncio.sleep(_AGAIN_S)
                self._news.set()

    async def last_words(self, within_s: float) -> None:
        """Sends what is queued, while this replica still leads, for at most `within_s` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                self._news.clear()
                while await self._guarded() and (self._facts or self.alerts.is_changed or self._is_sending):
                    await self._news.wait()
                    self._news.clear()

    async def close(self) -> None:
        """Ends the tasks. What is queued is not sent."""
        for one in self._each():
            self._close(one)
        await asyncio.gather(*self._closing, return_exceptions=True)

    @property
    def _is_sending(self) -> bool:
        return any(one.queue or one.current for one in self._each())

    def _each(self) -> Sequence[_Outbox]:
        return list(self._outboxes.values())

    async def _guarded(self) -> bool:
        """Whether all of it was done; False if the store is away, or there was a bug."""
        with self.supervisor.catching():
            return await self._look()
        return False

    async def _look(self) -> bool:
        if not self._may_send():
            self._facts.clear()
            return True
        lease = self.leadership.lease
        if lease is not None and lease.epoch != self._epoch:
            try:
                self.alerts.remember(await self.marks.load())
            except Unavailable:
                return False
            self._epoch = lease.epoch
        while self._facts:
            fact = self._facts.popleft()
            for due in self._decided(fact):
                self._enqueue(due)
            await asyncio.sleep(0)  # many that have waited must not hold up a cycle together
        return await self._save()

    def _decided(self, fact: _Fact) -> list[Due]:
        if fact.cycle is None:
            return self.alerts.happened(fact.name, fact.fields, fact.at)
        worker = self._workers.get(fact.cycle.worker)
        minimum = 0 if worker is None else of_the_hour(worker, fact.at).min_replicas
        return self.alerts.cycle(fact.cycle, fact.fields, minimum)

    async def _save(self) -> bool:
        if self.leadership.lease is None:
            return True  # it stays to be written, and is once this replica leads again
        changes = self.alerts.changes()
        if not changes:
            return True
        try:
            await self.marks.save(changes)
        except Unavailable:
            self.alerts.not_written(changes)
            return False
        return True

    def _may_send(self) -> bool:
        """Whether this replica leads, or led last while Redis is away."""
        leadership = self.leadership
        return leadership.lease is not None or (leadership.fault is not None and leadership.has_led)

    # Sending

    def _enqueue(self, due: Due) -> None:
        outbox = self._outboxes.get(due.target)
        if outbox is None:
            return
        if len(outbox.queue) >= MOST_QUEUED:
            self._drop(outbox, outbox.queue.popleft())
        notice = due.notice
        message = bounds.cut(visible(self.mask.text(notice.message)), bounds.MESSAGE)
        masked = replace(notice, message=message, figures=self.mask.value(dict(notice.figures)))
        outbox.queue.append(due._replace(notice=masked))
        self._start(outbox)

    def _start(self, outbox: _Outbox) -> None:
        outbox.news.set()
        if outbox.sender is None:
            outbox.sender = asyncio.create_task(self._send_all(outbox))

    def _drop(self, outbox: _Outbox, due: Due) -> None:
        outbox.results["dropped"] += 1
        self.alerts.not_taken(due, self.clock.wall())

    async def _send_all(self, outbox: _Outbox) -> None:
        while True:
            await outbox.news.wait()
            outbox.news.clear()
            while outbox.queue:
                outbox.current = outbox.queue.popleft()
                with self.supervisor.catching() as caught:
                    await self._deliver(outbox, outbox.current)
                if caught.bug is not None:  # whatever a target does to its client, the other notices go on
                    self._failed(outbox, outbox.current, f"a bug: {bounds.cut(repr(caught.bug), bounds.WORDS)}")
                outbox.current = None
                self._news.set()  # what became of it is to be written

    async def _deliver(self, outbox: _Outbox, due: Due) -> None:
        if self.clock.wall() - due.notice.at > STALE_S:
            self._drop(outbox, due)
            return
        try:
            async for attempt in self._retrying():
                with attempt:
                    if not self._may_send():
                        raise _NotOursError
                    await outbox.port.send(due.notice, self.clock.wall())
        except _NotOursError:
            self._drop(outbox, due)
        except NotDeliveredError as error:
            self._failed(outbox, due, error.text)
        else:
            outbox.results["sent"] += 1
            self.alerts.taken(due)

    def _retrying(self) -> AsyncRetrying:
        return AsyncRetrying(
            stop=stop_after_attempt(ATTEMPTS),
            wait=_wait,
            retry=retry_if_exception(lambda error: isinstance(error, NotDeliveredError) and error.may_retry),
            reraise=True,
        )

    def _failed(self, outbox: _Outbox, due: Due, text: str) -> None:
        outbox.results["failed"] += 1
        outbox.failure, outbox.failed_at = self.mask.text(visible(text)), self.clock.wall()
        self.alerts.not_taken(due, self.clock.wall())
        lasted = self._throttle.lasted(outbox.key, self.clock.monotonic())
        if lasted is None:
            return
        since = f", for {in_words(lasted)}" if lasted else ""
        kind = due.notice.kind if due.notice.kind in set(Kind) else "a notice"
        message = f"{outbox.name} was not told of {kind}: it {outbox.failure}{since}; try `autoscaler notify-test`"
        self.report("notify_failed", target=outbox.name, failed=outbox.results["failed"], message=message)

    def _close(self, outbox: _Outbox) -> None:
        if outbox.sender is not None:
            outbox.sender.cancel()
            outbox.sender = None
        with contextlib.suppress(RuntimeError):  # without a loop nothing was opened
            self._closing.add(task := asyncio.get_running_loop().create_task(outbox.port.close()))
            task.add_done_callback(self._closing.discard)


def _wait(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome is not None else None
    asked = error.wait_s if isinstance(error, NotDeliveredError) else None
    return min(LONGEST_WAIT_S, asked) if asked is not None else _BACKOFF(state)


_BACKOFF = wait_random_exponential(multiplier=2, min=1, max=30)
