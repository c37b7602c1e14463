"""Writes the history: what the leader reports and decides is queued here, and a task of its own appends it.

A cycle only puts values into a queue, so no slow or absent store delays it. The queue is bounded: while the store is
away, the oldest entries are dropped and counted. A replica that does not lead drops what is older than a minute: the
leader writes. So what a process reports at its start is there once it leads.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

from controller.core.model import Lease
from controller.core.ports import Batch, Clock, LeaseLost, Settled, Timeline, Unavailable
from controller.core.text.masking import Masker
from controller.core.timeline import MINUTE_S, TEN_MINUTES_S, Decided, Glance, Happening, Sampler, written_anew
from controller.core.units import in_words
from controller.loop import levels
from controller.loop.cycle import Cycle, Outcome
from controller.loop.supervisor import Supervisor

_MOST_QUEUED = 2_000
_MOST_AT_ONCE = 50
_AGAIN_S = 1.0
"""Seconds until the next attempt, if the store did not take a batch or this replica does not lead."""
_KEPT_WITHOUT_LEASE_S = 60.0
_Kind = Literal["happening", "decided", "minutes", "tens"]
_NO_FIGURES = {"worker", "message", "traceback", "epoch", "level"}


@dataclass(slots=True)
class _OfAWorker:
    minutes: Sampler
    tens: Sampler
    last: Decided | None = None


class _Queued(NamedTuple):
    """kind: of a Batch. at: by the monotonic clock."""

    kind: _Kind
    worker: str
    entry: Any
    at: float


@dataclass
class Recorder:
    """keep_s: how long the history is kept; 0: none is written. interval_s: between two cycles.

    shadow: the count that a worker's shadow policy would have; None: it has none.
    """

    timeline: Timeline
    clock: Clock
    lease: Callable[[], Lease | None]
    keep_s: float
    interval_s: float
    supervisor: Supervisor
    mask: Masker = field(default_factory=Masker)
    shadow: Callable[[str], int | None] = lambda _: None
    lost: int = 0
    """Entries that were dropped because the store did not take them, or because of a bug."""
    fault: str = ""
    """Why the newest attempt to write failed; "" if it did not."""
    _queue: deque[_Queued] = field(default_factory=deque)
    _of: dict[str, _OfAWorker] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    # What it is told; none of this waits.

    def event(self, name: str, fields: Mapping[str, Any]) -> None:
        """An event of the log; only those count that levels.REMEMBERED names."""
        if name not in levels.REMEMBERED:
            return
        figures = {key: value for key, value in fields.items() if key not in _NO_FIGURES and value is not None}
        worker, message = str(fields.get("worker") or ""), str(fields.get("message") or "")
        if name == "intent_settled" and fields.get("settled") == Settled.APPLIED.value:
            name = "scaled"  # by a leader that did not live to tell it, or by this one, which did not know
        ident = str(fields.get("change") or fields.get("id") or "")
        self._put("happening", "", Happening(name, worker, message, f"{name} {ident}" if ident else "", figures))

    def cycle(self, cycle: Cycle, before: Mapping[str, float], after: Mapping[str, float]) -> None:
        """A cycle of the leader. before, after: what failed for its worker, by name, and since when."""
        if cycle.outcome is Outcome.STANDBY:
            return
        self._changed(cycle)
        for name in after.keys() - before.keys():
            self._put("happening", "", Happening("failing", cycle.worker, cycle.message, figures={"source": name}))
        for name in before.keys() - after.keys():
            lasted = max(0.0, cycle.at - before[name])
            figures = {"source": name, "lasted_s": round(lasted, 1)}
            message = f"{name} is well again after {in_words(lasted)}"
            self._put("happening", "", Happening("recovered", cycle.worker, message, figures=figures))
        self._decided(cycle)

    def _changed(self, cycle: Cycle) -> None:
        decision = cycle.decision
        if decision is None or not decision.changes_something:
            return
        if cycle.outcome not in {Outcome.APPLIED, Outcome.UNKNOWN, Outcome.FAILED}:
            return
        event = "scaled" if cycle.outcome is Outcome.APPLIED else "scale_failed"
        figures: dict[str, Any] = {
            "before": decision.current,
            "after": decision.desired,
            "reasons": [reason.value for reason in cycle.reasons],
            "pending": cycle.queue.pending if cycle.queue else None,
            "processing": cycle.queue.processing if cycle.queue else None,
        }
        figures = {name: value for name, value in figures.items() if value is not None}
        ident = f"{event} {cycle.change}" if cycle.change else ""
        self._put("happening", "", Happening(event, cycle.worker, cycle.message, ident, figures))

    def _decided(self, cycle: Cycle) -> None:
        queue, replicas, decision = cycle.queue, cycle.replicas, cycle.decision
        configured, running = (replicas.configured, replicas.running) if replicas else (None, None)
        desired = decision.desired if decision else None
        decided = Decided(
            cycle.outcome.value,
            tuple(reason.value for reason in cycle.reasons),
            queue.pending if queue else None,
            queue.processing if queue else None,
            queue.oldest_age_s if queue else None,
            configured,
            running,
            decision.recommended if decision else None,
            desired,
            cycle.at,
        )
        of = self._of.get(cycle.worker)
        if of is None:
            longest = 3 * self.interval_s + 1
            of = self._of[cycle.worker] = _OfAWorker(Sampler(MINUTE_S, longest), Sampler(TEN_MINUTES_S, longest))
        if written_anew(of.last, decided):
            of.last = decided
            self._put("decided", cycle.worker, decided._replace(at=0.0))
        depth = queue.depth if queue else None
        oldest, shadow = queue.oldest_age_s if queue else None, self.shadow(cycle.worker)
        glance = Glance(cycle.at, depth, oldest, configured, running, desired, shadow)
        for sample in of.minutes.add(glance):
            self._put("minutes", cycle.worker, sample)
        for sample in of.tens.add(glance):
            self._put("tens", cycle.worker, sample)

    def _put(self, kind: _Kind, worker: str, entry: Any) -> None:
        if not self.keep_s:
            return
        if len(self._queue) >= _MOST_QUEUED:
            self._queue.popleft()
            self.lost += 1
        self._queue.append(_Queued(kind, worker, entry, self.clock.monotonic()))
        self._news.set()

    # The task

    async def run(self) -> None:
        """Writes what is queued, until it is cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._queue:
                if not await self.flush():
                    await asyncio.sleep(_AGAIN_S)

    async def flush(self) -> bool:
        """Writes one batch; False if the store did not take it, or if this replica does not lead."""
        lease, now = self.lease(), self.clock.monotonic()
        if lease is None:
            # Of the last moments of a leader, the next one tells: it finds the open change, and what fails.
            while self._queue and now - self._queue[0].at > _KEPT_WITHOUT_LEASE_S:
                self._queue.popleft()
            return False
        taken = [self._queue.popleft() for _ in range(min(_MOST_AT_ONCE, len(self._queue)))]
        with self.supervisor.catching():
            return await self._written(taken, lease)
        self.lost += len(taken)  # they would meet with the same bug again
        return False

    async def _written(self, taken: Sequence[_Queued], lease: Lease) -> bool:
        try:
            await self.timeline.append(self._batch(taken), lease)
        except LeaseLost:
            return False
        except Unavailable as unavailable:
            self.fault = str(unavailable)
            self._queue.extendleft(reversed(taken))
            return False
        self.fault = ""
        return True

    async def last_words(self, within_s: float) -> None:
        """Writes what is queued, before the lease is given back, for at most `within_s` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self._queue and await self.flush():
                    pass

    def _batch(self, entries: Sequence[_Queued]) -> Batch:
        def of(kind: _Kind) -> list[tuple[str, Any]]:
            return [(one.worker, self._timed(one)) for one in entries if one.kind == kind]

        happenings = [one for _, one in of("happening")]
        return Batch(happenings, of("decided"), of("minutes"), of("tens"), self.keep_s)

    def _timed(self, queued: _Queued) -> Any:
        """With the time at which it happened, as the log has it; and without a secret."""
        at = self.clock.wall() - (self.clock.monotonic() - queued.at)
        entry = queued.entry
        if isinstance(entry, Happening):
            figures = self.mask.value(dict(entry.figures))
            return replace(entry, message=self.mask.text(entry.message), figures=figures, at=at)
        return entry._replace(at=at) if isinstance(entry, Decided) else entry
