"""One pass over one worker service: read, recall, decide, record, request, confirm.

1. Read queue and platform. If one of them is Unavailable, the count stays, the outcome is failed, and nothing is
   recorded.
2. Note the recommendation in the journal and recall the history. Read the used requests if there is a rate limit.
3. Settle the open intent. While it is not visible, no other change is made, until the landing bound.
4. Notice an external change: it starts the cooldowns. Update the watch: workers that crash, exit or do not start, a
   deployment that hangs, jobs that no worker takes (see conditions.py).
5. Decide.
6. Record the intent, atomic with the check that the lease is still ours. Only then request the change from the
   platform, as an absolute number.
7. Confirm it with a new reading: a response of true does not prove that the platform made the change.
"""

from __future__ import annotations

import copy
import uuid
from dataclasses import dataclass, replace

from controller.core import conditions
from controller.core.conditions import Condition, Look
from controller.core.model import (
    Decision,
    Direction,
    History,
    Intent,
    Lease,
    Observation,
    QueueDepth,
    Rate,
    RateUnread,
    Replicas,
    workers,
)
from controller.core.ports import (
    Clock,
    CycleNote,
    Journal,
    LeaseLost,
    NotSent,
    Outdated,
    Platform,
    Queue,
    RateLimit,
    Recalled,
    Receipt,
    Refused,
    Report,
    Retention,
    Role,
    Settled,
    Sources,
    Unavailable,
)
from controller.core.preconditions import assume_stopped, blocked_by, still_open
from controller.core.reasons import Because, Reason
from controller.core.rules import Step, cooldowns_left, decide, fall_back, recommend, trail
from controller.core.units import in_words
from controller.core.wanted import all_busy, count_limit, enough, kept_window
from controller.loop.cycle import Account, Cooldowns, Cycle, Fault, Outcome
from controller.loop.faults import RemarkThrottle, Throttle
from controller.loop.measurements import JobTime
from controller.loop.rehearsal import RehearsedJournal, RehearsedPlatform, RehearsedShares, silent
from controller.policy import WorkerPolicy

_OUTAGE_READINGS = 3
"""Failed readings of the queue in a row that count as an outage; one alone does not, however old the last one is."""
_LONGEST_DRAINING_S = 3600.0
"""Longest time for which an open scale-down waits for draining workers and blocks other changes."""
_REHEARSAL = Lease("explain", 0)


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports through which a reconciler reads and acts."""

    queue: Queue
    platform: Platform
    journal: Journal
    rate_limit: RateLimit
    clock: Clock
    report: Report

    @property
    def sources(self) -> Sources:
        return Sources(self.queue.source, self.platform.source, self.journal.source)


@dataclass(frozen=True, slots=True)
class LastPass:
    """What the last pass read, for a quick check; at: when, by the monotonic clock.

    unreachable: a count that the last pass wanted and could not request; wanting it again needs no new pass.
    """

    replicas: Replicas
    recalled: Recalled
    at: float
    unreachable: int | None = None
    conditions: tuple[Condition, ...] | None = None


class CannotTell:
    """A quick check had no reading of the last pass, or could not read the queue; the next cycle decides."""


class Reconciler:
    """Keeps one worker service at the count that its policy wants."""

    def __init__(self, worker: str, policy: WorkerPolicy, gap: float, ports: Ports, landing_bound: float) -> None:
        """`gap`: seconds without a cycle after which the history of recommendations has a gap."""
        self.worker = worker
        self.policy = policy
        self.pace = 0.0
        """Shortest time between two cycles in seconds, while the platform's requests run out."""
        self.acts = False
        """Whether a change is being requested right now."""
        self.is_outdated = False
        """Whether the last pass sent no change because it had decided on an old reading."""
        self._ports = ports
        self._landing_bound = landing_bound
        self._unsent: set[str] = set()
        self._rate_throttle = Throttle()
        self._remarks = RemarkThrottle()
        self._gap = gap
        self._condition_throttles = {reason: Throttle() for reason in conditions.EVENTS}
        self._contended_throttle = Throttle()
        self._conditions: tuple[Condition, ...] | None = None
        self._last_pass: LastPass | None = None
        self._job_time = JobTime(worker, policy, ports.queue, ports.clock, ports.report)

    @property
    def _keep(self) -> Retention:
        return Retention(window=kept_window(self.policy), gap=max(self._gap, 3 * self.pace + 1))

    async def reconcile(self, reading: Replicas | Unavailable, lease: Lease | None) -> Cycle:
        """One pass. Without a lease it only reads, and holds, because it is unknown which replica leads."""
        return await self._reconcile(
            Account(self.worker, self.policy, self._ports.clock, lease, self._ports.sources), reading, lease
        )

    async def _reconcile(self, account: Account, reading: Replicas | Unavailable, lease: Lease | None) -> Cycle:
        self._last_pass = None
        self.is_outdated = False
        try:
            return await self._pass(account, reading, lease)
        except LeaseLost as lost:
            return account.close(Outcome.FENCED, Because(Reason.LEASE_LOST, str(lost)))
        except Unavailable as unavailable:
            return account.close_unavailable(unavailable)

    async def quick_check(self, lease: Lease) -> Cycle | CannotTell | None:
        """Reads only the queue and decides with the last reading of the platform; None: a whole pass is needed.

        It writes nothing and sends no request to the platform, so that a notification for each job costs nothing there.
        """
        seen = self._last_pass
        if seen is None:
            return CannotTell()
        account = Account(
            self.worker, self.policy, self._ports.clock, lease, self._ports.sources, replicas=seen.replicas
        )
        account.service, account.conditions = self._job_time.known, seen.conditions
        try:
            account.queue = await self._depth()
        except Unavailable:
            return CannotTell()
        if account.queue.unnamed:
            return CannotTell()  # only the journal knows whether jobs were ever seen there
        now = seen.recalled.now + self._ports.clock.monotonic() - seen.at
        rate, why_not = await self._read_usage(account), self._job_time.why_not
        observed = Observation(account.queue, seen.replicas, rate, account.service, why_not)
        self._decide(account, observed, seen.recalled._replace(now=now))
        if account.decided.changes_something and account.decided.desired != seen.unreachable:
            return None
        account.decision = _held(account.decided)
        return account.close(Outcome.HELD, message=account.decided.sentence)

    async def explain(self, reading: Replicas | Unavailable) -> tuple[Cycle, tuple[Step, ...]]:
        """What reconcile() would do right now as the leader: the same pass, with ports that write nothing.

        Also returns what each rule did; empty if the queue or the platform could not be read.
        """
        rehearsal = copy.copy(self)
        rehearsal._ports, rehearsal._rate_throttle = _rehearsed(self._ports), Throttle()  # noqa: SLF001  # one of its own kind
        rehearsal._unsent, rehearsal._remarks = set(self._unsent), RemarkThrottle()  # noqa: SLF001  # as above
        rehearsal._condition_throttles = {reason: Throttle() for reason in conditions.EVENTS}  # noqa: SLF001  # as above
        rehearsal._contended_throttle = Throttle()  # noqa: SLF001  # as above
        account = Account(self.worker, self.policy, self._ports.clock, None, self._ports.sources)
        cycle = await rehearsal._reconcile(account, reading, _REHEARSAL)  # noqa: SLF001  # as above
        if account.decided_on is None:
            return cycle, ()
        observed, recalled = account.decided_on
        return cycle, trail(self.policy, observed, recalled.history, recalled.now)

    async def _pass(self, account: Account, reading: Replicas | Unavailable, lease: Lease | None) -> Cycle:
        try:
            observed = await self._look(account, reading)
        except Unavailable as unavailable:
            return await self._without_reading(account, unavailable, reading, lease)
        if lease is None:
            raise Unavailable(self._ports.journal.source, "cannot be reached, so it is unknown which replica leads")
        recalled = await self._remember(observed, lease)
        observed = replace(observed, rate=await self._read_usage(account))
        open_still, recalled = await self._catch_up(account, recalled, observed.replicas, lease)
        if open_still is not None:
            self._decide(account, observed, recalled)
            account.decision = _held(account.decided)
            return account.close(Outcome.HELD, open_still, message=f"hold: {open_still.words}")
        observed = assume_stopped(observed, recalled, self._landing_bound)
        self._decide(account, observed, recalled)
        decision = account.decided
        self._keep_for_quick_check(observed.replicas, recalled, decision)
        if not decision.changes_something:
            await self._share(observed.replicas.configured, observed.replicas)
            return account.close(Outcome.HELD, message=decision.sentence)
        waits = blocked_by(decision, observed.replicas, recalled, self._landing_bound)
        if waits is not None:
            if waits.reason is Reason.BACKING_OFF:
                account.fault = Fault(self._ports.platform.source.name, waits.words)
            return account.close(Outcome.HELD, *decision.because, waits, message=f"hold: {waits.words}")
        return await self._act(account, observed.replicas, recalled.version, lease)

    async def _catch_up(
        self, account: Account, recalled: Recalled, replicas: Replicas, lease: Lease
    ) -> tuple[Because | None, Recalled]:
        """Settles, updates the watch and notices external changes; returns why to wait if one stays open."""
        open_still: Because | None = None
        if recalled.history.intent is not None:
            open_still, recalled = await self._close_intent(recalled.history.intent, recalled, replicas, lease)
        recalled = await self._keep_watch(account, recalled, replicas, account.queue, lease)
        if open_still is not None:
            return open_still, recalled
        return None, await self._notice_external_change(recalled, replicas, lease)

    def _keep_for_quick_check(self, replicas: Replicas, recalled: Recalled, decision: Decision | None = None) -> None:
        unreachable = decision.desired if decision is not None and decision.changes_something else None
        self._last_pass = LastPass(replicas, recalled, self._ports.clock.monotonic(), unreachable, self._conditions)

    async def _without_reading(
        self, account: Account, unavailable: Unavailable, reading: Replicas | Unavailable, lease: Lease | None
    ) -> Cycle:
        """Holds. If only the queue could not be read, min_replicas and on_unavailable still apply."""
        if lease is None or unavailable.source.role is Role.JOURNAL:
            raise unavailable
        recalled = await self._note_partly(account, reading, lease)
        if recalled is None or not isinstance(reading, Replicas):
            raise unavailable
        rate = await self._read_usage(account)
        open_still, recalled = await self._catch_up(account, recalled, reading, lease)
        if open_still is not None:
            raise unavailable
        history, now = recalled.history, recalled.now
        decision = fall_back(self.policy, reading, history, now, unread_for_s=_unread_for(history, now), rate=rate)
        if (
            decision is None
            or not decision.changes_something
            or blocked_by(decision, reading, recalled, self._landing_bound)
        ):
            raise unavailable
        account.decision, account.fault = decision, Fault.of(unavailable)
        return await self._act(account, reading, recalled.version, lease)

    async def _note_partly(self, account: Account, reading: Replicas | Unavailable, lease: Lease) -> Recalled | None:
        """Notes which of queue and platform could be read; None if neither could, or if the journal failed."""
        read = account.queue is not None
        if isinstance(reading, Replicas):
            note = CycleNote(None, reading.configured, running=reading.running, read=read)
        elif read:
            note = CycleNote(None, None)
        else:
            return None
        try:
            return await self._ports.journal.remember(self.worker, note, self._keep, lease)
        except Unavailable:
            return None  # the cycle reports the first fault, not this one

    async def _depth(self) -> QueueDepth:
        policy, service = self.policy, self._job_time.known
        limit = count_limit(policy, service)
        return await self._ports.queue.depth(policy.queue, limit, enough(policy, service), all_busy(policy))

    async def _look(self, account: Account, reading: Replicas | Unavailable) -> Observation:
        if isinstance(reading, Replicas):
            account.replicas = reading
        depth = await self._depth()
        if depth.unnamed:
            await self._refuse_doubtful(depth)
        self._report_remarks(depth)
        account.queue = depth
        account.service = await self._job_time.read()  # after the depth, which is read for all workers in one query
        if isinstance(reading, Unavailable):
            raise reading
        return Observation(depth, reading, service=account.service, unmeasured=self._job_time.why_not)

    async def _refuse_doubtful(self, depth: QueueDepth) -> None:
        """Refuses a depth of 0 that is doubtful, unless jobs were seen in this queue before.

        Raises:
            Unavailable: none ever were, and the queue has rows that suggest that work is left.
        """
        recalled = await self._ports.journal.recall(self.worker)
        if recalled.history.queue_seen != self.policy.queue.identity:
            raise Unavailable(self._ports.queue.source, depth.unnamed)

    def _report_remarks(self, depth: QueueDepth) -> None:
        for remark in self._remarks.new(depth.remarks, self._ports.clock.monotonic()):
            self._ports.report("queue_warning", worker=self.worker, about=remark.about, message=remark.text)

    async def _remember(self, observed: Observation, lease: Lease) -> Recalled:
        replicas, queue = observed.replicas, observed.queue
        leaving = replicas.finishing(observed.service)
        recommended = recommend(self.policy, queue, observed.service, replicas.configured, leaving)
        seen = self.policy.queue.identity if queue.depth or queue.stale else ""
        note = CycleNote(
            recommended,
            replicas.configured,
            working=queue.processing > 0,
            running=replicas.running,
            queue_seen=seen,
        )
        return await self._ports.journal.remember(self.worker, note, self._keep, lease)

    def _decide(self, account: Account, observed: Observation, recalled: Recalled) -> None:
        history, now, _ = recalled
        account.decided_on = observed, recalled
        account.decision = decide(self.policy, observed, history, now)
        account.cooldowns = Cooldowns(*cooldowns_left(self.policy, history, now), history.last_up, history.last_down)

    async def _close_intent(
        self, intent: Intent, recalled: Recalled, replicas: Replicas, lease: Lease
    ) -> tuple[Because | None, Recalled]:
        """Settles the open intent by what the platform shows; returns the reason to wait if it must stay open."""
        if intent.id in self._unsent:
            self._report_settled(intent, "nothing of it was sent", recalled, lease)
            return None, await self._settle(intent, Settled.NEVER_SENT, replicas.configured, lease)
        if replicas.configured == intent.after:
            if not intent.accepted or intent.epoch != lease.epoch:
                shown = f"{replicas.words.name} shows {workers(replicas.configured)}, so the change was made"
                self._report_settled(intent, shown, recalled, lease)
            return None, await self._settle(intent, Settled.APPLIED, replicas.configured, lease)
        draining_s = min(replicas.draining_s, _LONGEST_DRAINING_S) if intent.direction is Direction.DOWN else 0.0
        if recalled.now - intent.at < self._landing_bound + draining_s:
            return still_open(intent, recalled.now), recalled
        asked = "accepted" if intent.accepted else "recorded, and perhaps never sent,"
        self._ports.report(
            "not_honoured",
            worker=self.worker,
            epoch=lease.epoch,
            reason=Reason.NOT_HONOURED.value,
            message=f"{intent.before} → {intent.after} was {asked} {in_words(recalled.now - intent.at)} ago, and "
            f"{replicas.words.name} shows {workers(replicas.configured)}: {replicas.words.missing}",
        )
        # Only a stop of the deployment that is still shown is unconfirmed; a newer deployment was never stopped.
        unseen = intent.stops if intent.accepted and intent.stops == replicas.deployment else None
        return None, await self._settle(
            intent, Settled.NOT_HONOURED, replicas.configured, lease, unconfirmed_stop=unseen or ""
        )

    def _report_settled(self, intent: Intent, what: str, recalled: Recalled, lease: Lease) -> None:
        """Reports how a change ended whose outcome was unknown, or that an earlier leader left open."""
        age = max(0.0, recalled.now - intent.at)
        self._ports.report(
            "intent_settled",
            worker=self.worker,
            epoch=lease.epoch,
            intent_epoch=intent.epoch,
            message=f"{intent.before} → {intent.after} (epoch {intent.epoch}, {in_words(age)} ago): {what}",
        )

    async def _settle(
        self,
        intent: Intent,
        outcome: Settled,
        count: int,
        lease: Lease,
        *,
        unconfirmed_stop: str = "",
        running: int | None = None,
    ) -> Recalled:
        journal = self._ports.journal
        recalled = await journal.settle(
            self.worker, intent, outcome, count, lease, unconfirmed_stop=unconfirmed_stop, running=running
        )
        self._unsent.discard(intent.id)
        return recalled

    async def _notice_external_change(self, recalled: Recalled, replicas: Replicas, lease: Lease) -> Recalled:
        known = recalled.history.count
        if known is None or known == replicas.configured:
            return recalled
        self._ports.report(
            "external_change",
            worker=self.worker,
            epoch=lease.epoch,
            before=known,
            after=replicas.configured,
            state=replicas.state.value,
            message=f"changed outside the controller: {known} → {replicas.configured}; the cooldowns start now",
        )
        self._report_contended(recalled, known, replicas, lease)
        return await self._ports.journal.record_external_change(self.worker, replicas.configured, lease)

    def _with_watch(
        self, recalled: Recalled, replicas: Replicas, queue: QueueDepth | None
    ) -> tuple[Recalled, tuple[Condition, ...]]:
        """The history with this reading added to its watch, and the conditions that hold by it."""
        look = Look(self.policy, replicas, queue, recalled.history, recalled.now, self._landing_bound)
        history = replace(recalled.history, watch=conditions.updated_watch(look))
        return recalled._replace(history=history), conditions.conditions(replace(look, history=history))

    async def _keep_watch(
        self, account: Account, recalled: Recalled, replicas: Replicas, queue: QueueDepth | None, lease: Lease
    ) -> Recalled:
        """Updates the watch, and reports each condition once when it becomes a fault."""
        before = recalled.history.watch
        recalled, found = self._with_watch(recalled, replicas, queue)
        account.conditions = self._conditions = found
        faults = [condition for condition in found if condition.degrades]
        watch = replace(recalled.history.watch, said=tuple(fault.reason.value for fault in faults))
        if watch != before:
            await self._ports.journal.keep_watch(self.worker, watch, lease)
        for fault in faults:
            throttle, now = self._condition_throttles[fault.reason], self._ports.clock.monotonic()
            if fault.reason.value not in before.said and throttle.lasted("", now) is not None:
                self._ports.report(
                    conditions.EVENTS[fault.reason],
                    worker=self.worker,
                    epoch=lease.epoch,
                    reason=fault.reason.value,
                    message=fault.words,
                )
        return recalled._replace(history=replace(recalled.history, watch=watch))

    def _report_contended(self, recalled: Recalled, before: int, replicas: Replicas, lease: Lease) -> None:
        after = replicas.configured
        contests = recalled.history.watch.contests
        if len(contests) < conditions.CONTESTS:
            return
        if self._contended_throttle.lasted("", self._ports.clock.monotonic()) is not None:
            self._ports.report(
                "contended",
                worker=self.worker,
                epoch=lease.epoch,
                times=len(contests),
                message=conditions.contended_words(contests, before, after, recalled.now, replicas.words),
            )

    async def _act(self, account: Account, replicas: Replicas, version: str, lease: Lease) -> Cycle:
        """Makes the decided change: records it, requests it and confirms it."""
        self.acts = True
        try:
            return await self._send(account, replicas, version, lease)
        finally:
            self.acts = False

    async def _send(self, account: Account, replicas: Replicas, version: str, lease: Lease) -> Cycle:
        """Every way in which the request can end has an outcome: fenced, failed, unknown, held (dry run), applied."""
        decision = account.decided
        await self._share(max(decision.desired, decision.current), replicas)
        intent = await self._record_intent(decision, version, lease, replicas.deployment)
        self._last_pass = None
        try:
            receipt = await self._ports.platform.scale(self.policy.service, intent, replicas)
        except LeaseLost as lost:
            self._unsent.add(intent.id)
            await self._settle(intent, Settled.NEVER_SENT, replicas.configured, lease)
            return account.close(Outcome.FENCED, *decision.because, Because(Reason.LEASE_LOST, str(lost)))
        except NotSent as failed:
            self.is_outdated = isinstance(failed, Outdated)
            self._unsent.add(intent.id)
            outcome = Settled.REFUSED if isinstance(failed, Refused) else Settled.NEVER_SENT
            await self._settle(intent, outcome, replicas.configured, lease)
            account.fault = Fault.of(failed)
            because = Because(Reason.SCALE_FAILED, f"{decision.sentence}, but {failed}")
            return account.close(Outcome.FAILED, *decision.because, because, message=because.words)
        except Unavailable as unknown:
            account.fault = Fault.of(unknown)
            because = Because(Reason.OUTCOME_UNKNOWN, f"{decision.sentence}, but the outcome is unknown: {unknown}")
            return account.close(Outcome.UNKNOWN, *decision.because, because, message=because.words)
        if receipt is Receipt.REHEARSED:
            return account.close(Outcome.APPLIED, message=decision.sentence)
        if receipt is Receipt.DRY_RUN:
            because = Because(Reason.DRY_RUN, f"dry run, would scale: {decision.sentence}")
            return account.close(Outcome.HELD, *decision.because, because, message=because.words)
        try:
            seen = await self._confirm(intent, lease, read=account.queue is not None)
        except (Unavailable, LeaseLost) as error:
            # The intent is in the journal: the next leader finds it open and settles it by what the platform shows.
            seen = f" (accepted, but that could not be recorded: {error})"
        return account.close(Outcome.APPLIED, message=f"{decision.sentence}{seen}")

    async def _record_intent(self, decision: Decision, version: str, lease: Lease, deployment: str | None) -> Intent:
        """Records the intent. Until this has returned, the change counts as unsent, and nothing is sent."""
        ident = uuid.uuid4().hex
        stops = deployment if decision.desired == 0 else None
        self._unsent.add(ident)
        intent = await self._ports.journal.record_intent(self.worker, ident, decision, version, lease, stops=stops)
        self._unsent.discard(ident)
        return intent

    async def _confirm(self, intent: Intent, lease: Lease, *, read: bool) -> str:
        """Records that the platform accepted, and settles a visible change. Returns a suffix for the message."""
        await self._ports.journal.accept(self.worker, intent, lease)
        shown = await self._read_back()
        if shown is None or shown.configured != intent.after:
            await self._note_not_visible(shown, lease, read=read)
            return " (accepted, and not visible yet)"
        self._keep_for_quick_check(
            shown, await self._settle(intent, Settled.APPLIED, shown.configured, lease, running=shown.running)
        )
        return ""

    async def _note_not_visible(self, shown: Replicas | None, lease: Lease, *, read: bool) -> None:
        """Notes this reading for the measured start time: a start is only measured if a reading shows it incomplete."""
        if shown is not None and read:
            note = CycleNote(None, shown.configured, running=shown.running)
            await self._ports.journal.remember(self.worker, note, self._keep, lease)

    async def _read_back(self) -> Replicas | None:
        try:
            shown = (await self._ports.platform.observe([self.policy.service]))[self.policy.service]
        except Unavailable:
            return None  # the next cycle reads it
        return shown if isinstance(shown, Replicas) else None

    async def _read_usage(self, account: Account) -> Rate:
        limit = self.policy.rate_limit
        if limit is None:
            return None
        try:
            account.rate = await self._ports.rate_limit.used(limit)
        except Unavailable as unavailable:
            # An unknown usage only blocks scale-up, so it does not fail the cycle.
            if self._rate_throttle.lasted(str(unavailable), self._ports.clock.monotonic()) is not None:
                self._ports.report("rate_unreadable", worker=self.worker, message=str(unavailable))
            return RateUnread(str(unavailable))
        self._rate_throttle.over()
        return account.rate

    async def _share(self, count: int, replicas: Replicas) -> None:
        """Publishes each worker's share of the rate limit. The shares never add up to more than the limit.

        Every instance that may still take jobs counts, including draining ones. So a scale-up publishes the smaller
        share before its request, and a scale-down the larger share only after the instances are gone.
        """
        limit = self.policy.rate_limit
        if limit is not None:
            among = max(count, replicas.configured, replicas.alive)
            await self._ports.rate_limit.share(limit, self.policy.max_replicas, among)


def _rehearsed(ports: Ports) -> Ports:
    platform, journal = RehearsedPlatform(ports.platform), RehearsedJournal(ports.journal)
    return Ports(ports.queue, platform, journal, RehearsedShares(ports.rate_limit), ports.clock, silent)


def _unread_for(history: History, now: float) -> float:
    """For how many seconds the queue could not be read; 0 until _OUTAGE_READINGS readings in a row have failed."""
    if history.unread < _OUTAGE_READINGS:
        return 0.0
    read_at = history.queue_read_at if history.queue_read_at is not None else history.since
    return now - (now if read_at is None else read_at)


def _held(decision: Decision) -> Decision:
    return Decision(decision.current, decision.recommended, decision.current, decision.because)
