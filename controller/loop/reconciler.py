"""One pass over one worker's service: recall, plan, and carry the plan out.

What is to be done is decided by core/plan.py from values; here it is done, in this order:

1. Recall the history, and read the used requests if the policy has a rate limit.
2. Plan.
3. Write the history, if nothing was written since it was recalled. If something was, begin again once.
4. If the plan ends with a change: it is in the history that was written, so it is recorded before it is requested. Then
   request it from the platform, as an absolute number; the cooldown counts from the platform's answer.
5. Confirm it with a new reading: a response of true does not prove that the platform made the change.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

from controller.core import history
from controller.core.allowed import of_the_hour
from controller.core.model import Change, History, Lease, Rate, RateUnread, Recommendation, Replicas
from controller.core.pauses import WayDown
from controller.core.plan import Plan, Seen, plan
from controller.core.ports import (
    Chooser,
    Clock,
    CycleNote,
    Journal,
    LeaseLost,
    NotSent,
    Outdated,
    Outrun,
    Platform,
    Queue,
    RateLimit,
    Recalled,
    Receipt,
    Refused,
    Report,
    Retention,
    Settled,
    Sources,
    Unavailable,
)
from controller.core.reasons import Because, Reason
from controller.core.rules import Step, cooldowns_left, trail
from controller.core.slo import Kept, Promise, why_not
from controller.core.steps import Event, Fail, Hold, Note, Send, Share
from controller.core.wanted import learns_when_to_stop, retention
from controller.loop.board import Board
from controller.loop.budget_status import BudgetStatus
from controller.loop.cycle import Account, Cooldowns, Cycle, Fault, Outcome
from controller.loop.faults import Throttle
from controller.loop.override_status import OverrideStatus
from controller.loop.platforms import Platforms
from controller.loop.pool_status import PoolStatus
from controller.loop.readings import QueueReading
from controller.policy import WorkerPolicy

if TYPE_CHECKING:
    from controller.loop.idle_first import IdleFirst

_MOST_UNSENT = 100
"""More changes than this cannot be tried while one of them may still stand open in the journal."""
_ATTEMPTS = 2
"""A pass begins again once if the history was written meanwhile, which happens only after Redis has lost data."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports through which the loop reads and acts."""

    queue: Queue
    platform: Platform
    journal: Journal
    rate_limit: RateLimit
    clock: Clock
    report: Report

    @property
    def sources(self) -> Sources:
        return Sources(self.queue.source, self.platform.source, self.journal.source)

    def on(self, target: str) -> Ports:
        """As the reconciler of this target has them: with its own platform alone, which its faults name."""
        platform = self.platform
        return replace(self, platform=platform.of(target)) if isinstance(platform, Platforms) else self


class LastPass(NamedTuple):
    """What the last pass read, for a quick check."""

    replicas: Replicas
    recalled: Recalled


class Basis(NamedTuple):
    """What a plan is made from besides the policy. is_woken: by a quick check."""

    reading: Replicas | Unavailable
    queue: QueueReading
    recalled: Recalled
    rate: Rate
    epoch: int
    is_woken: bool = False


class Explained(NamedTuple):
    """What a pass would do now. rules: each one's turn; empty if queue or platform could not be read.

    steps: what it would do one after the other, in words; empty if the journal could not be read. way_down: None if the
    policy gives idle_off, or has no target_wait. kept: what became of a promise; None: the policy has no `slo`.
    """

    cycle: Cycle
    rules: tuple[Step, ...] = ()
    steps: tuple[str, ...] = ()
    way_down: WayDown | None = None
    kept: Kept | None = None


class CannotTell:
    """A quick check had no reading of the last pass, or could not read the queue; the next cycle decides."""


class Reconciler:
    """Keeps one worker service at the count that its policy wants."""

    def __init__(
        self,
        worker: str,
        policy: WorkerPolicy,
        gap: float,
        ports: Ports,
        landing_bound: float,
        *,
        board: Board | None = None,
    ) -> None:
        """`gap`: seconds without a cycle after which the history of recommendations has a gap.

        board: what it shares with the other workers of its policy; None: nothing.
        """
        self.worker = worker
        self.policy = policy
        self.pace = 0.0
        """Shortest time between two cycles in seconds, while the platform's requests run out."""
        self.acts = False
        """Whether a change is being requested right now."""
        self.is_outdated = False
        """Whether the last pass sent no change because it had decided on an old reading."""
        self.start_up_s: float | None = None
        """Of the history that the last pass recalled; None: not measured."""
        self.recalled: Recalled | None = None
        """What the newest pass or quick check recalled; None: the journal could not be read."""
        self.was_woken = False
        """Whether that was a quick check."""
        self._ports = ports.on(policy.target.key)
        self._landing_bound = landing_bound
        self._gap = gap
        self._board = board
        self._unsent: deque[str] = deque(maxlen=_MOST_UNSENT)
        """Changes that this process recorded, or tried to, and of which it certainly sent nothing."""
        self._looks: tuple[Recommendation, ...] = ()
        """What quick checks recommended since the last pass that read both queue and platform."""
        self._throttles: dict[str, Throttle] = {}
        self._last_pass: LastPass | None = None
        chooser = self.platform.chooser(policy.target.key)
        self._idle_first = None if chooser is None else _idle_first(worker, chooser, ports)
        """None: the platform chooses by itself which instances go."""

    def adopted(self, policy: WorkerPolicy, gap: float, board: Board | None = None) -> Reconciler:
        """One with another policy for the same service, which knows what this one knows of its changes."""
        new = Reconciler(self.worker, policy, gap, self._ports, self._landing_bound, board=board)
        new._unsent, new._throttles = self._unsent, self._throttles
        new.start_up_s, new.pace = self.start_up_s, self.pace
        return new

    @property
    def platform(self) -> Platform:
        """That its target is on."""
        return self._ports.platform

    @property
    def _retention(self) -> Retention:
        return retention(self.policy, max(self._gap, 3 * self.pace + 1))

    async def reconcile(self, reading: Replicas | Unavailable, queue: QueueReading, lease: Lease | None) -> Cycle:
        """One pass. Without a lease it only shows what was read, because it is unknown which replica leads."""
        self._last_pass = self.recalled = None
        self.is_outdated = self.was_woken = False
        account = self._account(reading, queue, lease)
        try:
            if lease is None:
                raise self._without_lease(reading, queue)
            for _ in range(_ATTEMPTS - 1):
                try:
                    return await self._pass(account, reading, queue, lease)
                except Outrun:
                    continue
            return await self._pass(account, reading, queue, lease)
        except LeaseLost as lost:
            return account.close(Outcome.FENCED, Because(Reason.LEASE_LOST, str(lost)))
        except Unavailable as unavailable:
            return account.close_unavailable(unavailable)

    async def quick_check(self, queue: QueueReading, lease: Lease) -> Cycle | CannotTell | None:
        """Plans with the last readings of platform and journal; None: a change is wanted, so a whole pass is needed.

        It writes nothing and sends no request to the platform, so that a notification for each job costs nothing there.
        """
        seen = self._last_pass
        if seen is None or isinstance(queue.depth, Unavailable):
            return CannotTell()
        account = self._account(seen.replicas, queue, lease)
        recalled = seen.recalled._replace(now=seen.recalled.now_at(self._ports.clock.monotonic()))
        self.recalled, self.was_woken = recalled, True
        rate = await self._read_usage(account, seen.replicas, self._ports.report)
        planned = self._plan(Basis(seen.replicas, queue, recalled, rate, lease.epoch, is_woken=True))
        self._remember_look(planned, recalled)
        if planned.observed is None or planned.decided_by.change is not None:
            return CannotTell()  # with an open change, only a new reading of the platform can tell
        self._enter(account, planned, recalled)
        return None if isinstance(planned.last, Send) else self._close(account, planned)

    def _remember_look(self, planned: Plan, recalled: Recalled) -> None:
        """A quick check writes nothing: the next pass writes what all of them have seen."""
        for step in planned.steps:
            if isinstance(step, Note) and step.recommended is not None:
                self._looks = history.thinned((*self._looks, Recommendation(recalled.now, step.recommended)))

    async def explain(self, reading: Replicas | Unavailable, queue: QueueReading) -> Explained:
        """What reconcile() would do right now as the leader: the same plan, which is not carried out."""
        account = self._account(reading, queue, None)
        try:
            recalled = await self._ports.journal.recall(self.worker)
        except Unavailable as unavailable:
            return Explained(account.close_unavailable(self._first_fault(reading, queue) or unavailable))
        self.recalled, self.was_woken = recalled, False
        await self._fill_the_board(0)
        rate = await self._read_usage(account, reading, _silent)
        planned = await self._plan_idle_first(Basis(reading, queue, recalled, rate, epoch=0), acts=False)
        self._enter(account, planned, recalled)
        observed, by = planned.observed, planned.decided_by
        rules = () if observed is None else trail(planned.policy, observed, by, recalled.now)
        steps = tuple(words for step in planned.steps if (words := step.words))
        learns = learns_when_to_stop(self.policy)
        way_down = WayDown.of(planned.policy, by, account.service) if learns else None
        kept = self._kept(by, queue)
        if isinstance(planned.last, Send):
            cycle = account.close(Outcome.APPLIED, message=planned.last.decision.sentence)
            return Explained(cycle, rules, steps, way_down, kept)
        return Explained(self._close(account, planned), rules, steps, way_down, kept)

    def _kept(self, by: History, queue: QueueReading) -> Kept | None:
        slo = self.policy.slo
        return None if slo is None else Kept(slo, by.promise or Promise(), why_not(queue.service, queue.unmeasured))

    def _account(self, reading: Replicas | Unavailable, queue: QueueReading, lease: Lease | None) -> Account:
        return Account(
            self.worker,
            self.policy,
            self._ports.clock,
            lease,
            self._ports.sources,
            # Only the journal knows whether a doubtful depth is to be believed.
            queue=None if isinstance(queue.depth, Unavailable) or queue.depth.unnamed else queue.depth,
            replicas=None if isinstance(reading, Unavailable) else reading,
            service=queue.service,
            parts=queue.parts,
            started=self._ports.clock.monotonic() if queue.asked_at is None else queue.asked_at,
        )

    @staticmethod
    def _first_fault(reading: Replicas | Unavailable, queue: QueueReading) -> Unavailable | None:
        return next((one for one in (queue.depth, reading) if isinstance(one, Unavailable)), None)

    def _without_lease(self, reading: Replicas | Unavailable, queue: QueueReading) -> Unavailable:
        unknown = Unavailable(self._ports.journal.source, "cannot be reached, so it is unknown which replica leads")
        return self._first_fault(reading, queue) or unknown

    async def _pass(
        self, account: Account, reading: Replicas | Unavailable, queue: QueueReading, lease: Lease
    ) -> Cycle:
        try:
            recalled = await self._ports.journal.recall(self.worker)
        except Unavailable as unavailable:
            raise self._first_fault(reading, queue) or unavailable from None  # the first fault is the one to report
        self.start_up_s, self.recalled = recalled.history.start_up_s, recalled
        await self._fill_the_board(lease.epoch)
        rate = await self._read_usage(account, reading, self._ports.report)
        planned = await self._plan_idle_first(Basis(reading, queue, recalled, rate, lease.epoch))
        return await self._carry_out(account, planned, recalled, lease)

    async def _fill_the_board(self, epoch: int) -> None:
        if self._board is not None:
            await self._board.fill(self._ports.journal, epoch)

    async def _plan_idle_first(self, basis: Basis, *, acts: bool = True) -> Plan:
        """acts: what goes is told to the platform now, before the change is recorded: it changes no count."""

        def again(reading: Replicas | Unavailable) -> Plan:
            return self._plan(basis._replace(reading=reading))

        first = self._plan(basis)
        return first if self._idle_first is None else await self._idle_first.planned(first, again, acts=acts)

    def _plan(self, basis: Basis) -> Plan:
        reading, queue, recalled, rate, epoch, is_woken = basis
        planned = plan(
            Seen(
                policy=self.policy,
                queue=queue.depth,
                replicas=reading,
                history=recalled.history,
                now=recalled.now,
                sources=self._ports.sources,
                retention=self._retention,
                landing_bound=self._landing_bound,
                rate=rate,
                service=queue.service,
                unmeasured=queue.unmeasured,
                epoch=epoch,
                ident=uuid.uuid4().hex,
                unsent=frozenset(self._unsent),
                looks=self._looks,
                is_woken=is_woken,
                worker=self.worker,
                shared=None if self._board is None else self._board.shared(self.worker),
                pool=None if self._board is None else self._board.pool(self.worker),
            )
        )
        if self._board is not None and not is_woken:
            self._board.put(self.worker, planned)
        return planned

    def _enter(self, account: Account, planned: Plan, recalled: Recalled) -> None:
        """What the cycle's line shows of the plan."""
        by, last = planned.decided_by, planned.last
        account.overrides = tuple(
            OverrideStatus.of(one, recalled.now) for one in by.overrides.all_in_force(recalled.now)
        )
        account.queue, account.conditions, account.decision = planned.queue, planned.conditions, planned.decision
        account.policy = planned.policy
        hour = of_the_hour(self.policy, recalled.now)
        account.pool = None if planned.share is None else PoolStatus.of(planned.share)
        account.budgets = tuple(BudgetStatus.of(one, hour) for one in planned.standings) or None
        if planned.observed is not None:
            account.service = planned.observed.service
            left = cooldowns_left(self.policy, by, recalled.now)
            account.cooldowns = Cooldowns(*left, by.last_up, by.last_down)
        if isinstance(last, Send) and last.despite is not None:
            account.fault = Fault.of(last.despite)
        if isinstance(last, Hold) and last.backing_off:
            account.fault = Fault(self._ports.platform.source.name, last.because[-1].words)

    async def _carry_out(self, account: Account, planned: Plan, recalled: Recalled, lease: Lease) -> Cycle:
        """Takes the plan's steps; one that fails ends the pass with what is in the account by then."""
        account.queue = planned.queue
        last = planned.last
        if isinstance(last, Send):
            self._enter(account, planned, recalled)
            self.acts = True
            try:
                await self._share_first(planned, recalled, lease)
                return await self._send(account, planned, last, recalled, lease)
            finally:
                self.acts = False
        if isinstance(last, Fail):
            return await self._fail(account, planned, last, recalled, lease)
        written = await self._write(planned, recalled, lease)
        self._enter(account, planned, recalled)
        if planned.replicas is not None and planned.decided_by.change is None:
            self._last_pass = LastPass(planned.replicas, written)
        await self._share(planned)
        return self._close(account, planned)

    async def _fail(self, account: Account, planned: Plan, fail: Fail, recalled: Recalled, lease: Lease) -> Cycle:
        """Notes what could be read. The fault of the reading is the one to report, whatever becomes of the note."""
        if len(planned.steps) > 1:
            try:
                await self._write(planned, recalled, lease)
            except Outrun:
                raise
            except Unavailable:
                return account.close_unavailable(fail.unavailable)
        self._enter(account, planned, recalled)
        return self._close(account, planned)

    async def _share_first(self, planned: Plan, recalled: Recalled, lease: Lease) -> None:
        """A scale-up needs the smaller share before it. If that fails, what was read is noted all the same."""
        try:
            await self._share(planned)
        except Unavailable:
            await self._write(replace(planned, history=planned.decided_by), recalled, lease)
            raise

    def _close(self, account: Account, planned: Plan) -> Cycle:
        last = planned.last
        if isinstance(last, Fail):
            return account.close_unavailable(last.unavailable)
        assert isinstance(last, Hold), "a change is closed by what became of it"
        return account.close(Outcome.HELD, *last.because, message=last.message)

    async def _write(self, planned: Plan, recalled: Recalled, lease: Lease) -> Recalled:
        """Writes the history, and reports what happened: once, or again if it is unknown whether it was written."""
        try:
            written = await self._ports.journal.write(self.worker, recalled, planned.history, lease, now=recalled.now)
        except Outrun:
            raise
        except Unavailable:
            self._report_all(planned)  # it may have been written, and then no later pass reports it
            raise
        if any(isinstance(step, Note) and step.recommended is not None for step in planned.steps):
            self._looks = ()
        settled = recalled.history.change
        if settled is not None and (written.history.change is None or written.history.change.id != settled.id):
            self._forget_unsent(settled.id)
        self._report_all(planned)
        return written

    def _report_all(self, planned: Plan) -> None:
        for event in planned.events:
            self._report(event)

    def _report(self, event: Event) -> None:
        if event.throttle:
            throttle = self._throttles.setdefault(event.throttle, Throttle())
            if throttle.lasted("", self._ports.clock.monotonic()) is None:
                return
        self._ports.report(event.name, worker=self.worker, **event.fields)

    def _forget_unsent(self, ident: str) -> None:
        while ident in self._unsent:
            self._unsent.remove(ident)

    async def _share(self, planned: Plan) -> None:
        for step in planned.steps:
            if isinstance(step, Share) and self.policy.rate_limit is not None:
                await self._ports.rate_limit.share(self.policy.rate_limit, step.shares)

    async def _send(self, account: Account, planned: Plan, send: Send, recalled: Recalled, lease: Lease) -> Cycle:
        """Every way in which the request can end has an outcome: fenced, failed, unknown, held (dry run), applied."""
        decision, replicas, change = send.decision, send.replicas, send.change
        self._unsent.append(change.id)
        account.change = change.id
        written = await self._write(planned, recalled, lease)  # until this has returned, nothing may be sent
        self._forget_unsent(change.id)
        try:
            receipt = await self._ports.platform.scale(self.policy.target.key, change, replicas)
        except LeaseLost as lost:
            await self._take_back(change, Settled.NEVER_SENT, replicas, written, lease)
            return account.close(Outcome.FENCED, *decision.because, Because(Reason.LEASE_LOST, str(lost)))
        except NotSent as failed:
            self.is_outdated = isinstance(failed, Outdated)
            outcome = Settled.REFUSED if isinstance(failed, Refused) else Settled.NEVER_SENT
            await self._take_back(change, outcome, replicas, written, lease)
            account.fault = Fault.of(failed)
            because = Because(Reason.SCALE_FAILED, f"{decision.sentence}, but {failed}")
            return account.close(Outcome.FAILED, *decision.because, because, message=because.words)
        except Unavailable as unknown:
            account.fault = Fault.of(unknown)
            because = Because(Reason.OUTCOME_UNKNOWN, f"{decision.sentence}, but the outcome is unknown: {unknown}")
            return account.close(Outcome.UNKNOWN, *decision.because, because, message=because.words)
        if receipt is Receipt.DRY_RUN:
            because = Because(Reason.DRY_RUN, f"dry run, would scale: {decision.sentence}")
            return account.close(Outcome.HELD, *decision.because, because, message=because.words)
        try:
            seen = await self._confirm(change, written, lease, read=account.queue is not None)
        except (Unavailable, LeaseLost) as error:
            # The change is in the journal: the next leader finds it open and settles it by what the platform shows.
            seen = f" (accepted, but that could not be recorded: {error})"
        return account.close(Outcome.APPLIED, message=f"{decision.sentence}{seen}")

    async def _take_back(
        self, change: Change, outcome: Settled, replicas: Replicas, written: Recalled, lease: Lease
    ) -> None:
        self._unsent.append(change.id)
        await self._update(
            written, lease, lambda was, now: history.settled(was, change, outcome, replicas.configured, now)
        )
        self._forget_unsent(change.id)

    async def _confirm(self, change: Change, written: Recalled, lease: Lease, *, read: bool) -> str:
        """Records that the platform accepted, and settles a visible change. Returns a suffix for the message."""
        recalled = await self._update(written, lease, lambda was, now: history.accepted(was, change, now))
        shown = await self._read_back()
        if shown is None or shown.configured != change.after:
            if shown is not None and read:
                # A start is measured only if a reading shows it incomplete.
                note = CycleNote(None, shown.configured, running=shown.running)
                await self._update(recalled, lease, lambda was, now: history.noted(was, note, self._retention, now))
            return " (accepted, and not visible yet)"
        count, running = shown.configured, shown.running
        settled = await self._update(
            recalled,
            lease,
            lambda was, now: history.settled(was, change, Settled.APPLIED, count, now, running=running),
        )
        self._last_pass = LastPass(shown, settled)
        return ""

    async def _update(self, recalled: Recalled, lease: Lease, step: Callable[[History, float], History]) -> Recalled:
        """One step of the history after a request; on what the journal holds by then, if that was written meanwhile."""
        try:
            return await self._take(recalled, step, lease)
        except Outrun:
            return await self._take(await self._ports.journal.recall(self.worker), step, lease)

    async def _take(self, recalled: Recalled, step: Callable[[History, float], History], lease: Lease) -> Recalled:
        now = recalled.now_at(self._ports.clock.monotonic())
        return await self._ports.journal.write(self.worker, recalled, step(recalled.history, now), lease, now=now)

    async def _read_back(self) -> Replicas | None:
        target = self.policy.target.key
        try:
            shown = (await self._ports.platform.observe([target]))[target]
        except Unavailable:
            return None  # the next cycle reads it
        return shown if isinstance(shown, Replicas) else None

    async def _read_usage(self, account: Account, reading: Replicas | Unavailable, report: Report) -> Rate:
        limit = self.policy.rate_limit
        if limit is None or isinstance(reading, Unavailable):
            return None
        throttle = self._throttles.setdefault("rate", Throttle())
        try:
            account.rate = await self._ports.rate_limit.used(limit)
        except Unavailable as unavailable:
            # An unknown usage only blocks scale-up, so it does not fail the cycle.
            if throttle.lasted(str(unavailable), self._ports.clock.monotonic()) is not None:
                report("rate_unreadable", worker=self.worker, message=str(unavailable))
            return RateUnread(str(unavailable))
        throttle.over()
        return account.rate


def _idle_first(worker: str, chooser: Chooser, ports: Ports) -> IdleFirst:
    from controller.loop.idle_first import IdleFirst  # noqa: PLC0415  # on most platforms nothing needs it

    return IdleFirst(worker, chooser, ports.clock, ports.report)


def _silent(_: str, /, **__: object) -> None:
    """`explain` writes no events to the log."""
