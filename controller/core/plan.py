"""plan(): one pass over one worker's service as a value: from what was read to the steps to take. Pure.

The reconciler carries the steps out, `explain` prints them, a quick check asks only for the last one, and the
simulation makes its decisions by it. What differs is what they do with a plan, never what the plan is.

1. Note what was read, and what quick checks read since the last pass. A depth of 0 that is doubtful counts as
   unreadable, unless jobs were seen in this queue before. Report overrides that operators set or that ended, and
   schedules that are on or over since the last pass. Charge the time since the last pass to the budgets, and report a
   step that the spend has reached.
2. Settle the open change by what the platform shows. It stays open until it is visible, or until the landing bound.
3. Update the watch: workers that crash, exit or do not start, a deployment that hangs, jobs that no worker takes.
4. Record a change that was made outside the controller: it starts the cooldowns. Not while a change is open.
5. Hold while a change is open: its outcome decides first.
6. If the platform could not be read, fail. If only the queue could not: fall back (min_replicas, on_unavailable), or
   fail.
7. Decide. Hold if nothing is to be changed, or if the platform would refuse the change now.
8. Record the change and send it.

Steps 1 to 4 change the history and go on; the first of 5 to 8 that acts ends the pass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from controller.core import conditions, history, pauses, queues
from controller.core.allowed import Allowed, allowed, of_the_hour
from controller.core.budget import Shared, Standing
from controller.core.cap import Cap
from controller.core.charging import Charged, Charging
from controller.core.conditions import Condition, Look
from controller.core.load import Load
from controller.core.model import (
    Change,
    Decision,
    Direction,
    History,
    LongRun,
    Observation,
    QueueDepth,
    Rate,
    RateUsage,
    Recommendation,
    Replicas,
    ServiceTime,
    Shares,
    workers,
)
from controller.core.override import Override
from controller.core.pools import Pool, counted_now, share_of
from controller.core.pools import Share as PoolShare
from controller.core.ports import CycleNote, Retention, Settled, Sources, Unavailable
from controller.core.preconditions import assume_stopped, blocked_by, still_open
from controller.core.reasons import Reason
from controller.core.rules import decide, fall_back, recommend_ahead, remembered
from controller.core.schedule import in_force, on_words, told_as
from controller.core.slo import Promise, with_target
from controller.core.steps import (
    Event,
    Fail,
    Hold,
    Note,
    Noting,
    RecordExternalChange,
    Send,
    Settle,
    Share,
    Step,
    UpdateBudget,
    UpdateOverrides,
    UpdateSchedule,
    UpdateWatch,
)
from controller.core.units import in_words, iso
from controller.core.wanted import learns_when_to_stop
from controller.policy import WorkerPolicy

_OUTAGE_READINGS = 3
"""Failed readings of the queue in a row that count as an outage; one alone does not, however old the last one is."""
_LONGEST_DRAINING_S = 3600.0
"""Longest time for which an open scale-down waits for draining workers and blocks other changes."""


@dataclass(frozen=True, slots=True)
class Seen:
    """All that one pass goes by; queue and replicas as they were read, or why they could not be.

    now: by the journal's clock. unmeasured: why `service` cannot be measured, or "". landing_bound: seconds after which
    a change that is not visible counts as not made. epoch: of the lease. ident: the id for a change that this pass
    records. unsent: ids of changes that this process recorded, perhaps, and of which it certainly sent nothing.
    looks: what quick checks recommended since the last pass. is_woken: this is a quick check, which writes nothing.
    worker: its name in the policy, for messages. shared: the budget of all workers; None: there is none.
    pool: the pool that it is in, with its other members; None: it is in none.
    """

    policy: WorkerPolicy
    queue: QueueDepth | Unavailable
    replicas: Replicas | Unavailable
    history: History
    now: float
    sources: Sources
    retention: Retention
    landing_bound: float
    rate: Rate = None
    service: ServiceTime | None = None
    unmeasured: str = ""
    epoch: int = 0
    ident: str = ""
    unsent: frozenset[str] = frozenset()
    looks: tuple[Recommendation, ...] = ()
    is_woken: bool = False
    worker: str = ""
    shared: Shared | None = None
    pool: Pool | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """One pass.

    history: as it is to be written, with the change of a Send in it. decided_by: the history that the decision went by.
    queue, replicas: as they were read; None: they could not be, or the depth is doubtful. observed: what decide() got;
    None: it was not asked. policy: the one that it went by: with `slo`, with the target wait of this moment.
    standings: of the budgets that the worker is under. share: what it may have of its pool; None: it is in none, or
    the platform could not be read.
    """

    steps: tuple[Step, ...]
    history: History
    decided_by: History
    queue: QueueDepth | None
    replicas: Replicas | None
    decision: Decision | None
    observed: Observation | None
    conditions: tuple[Condition, ...] | None
    policy: WorkerPolicy
    standings: tuple[Standing, ...] = ()
    share: PoolShare | None = None

    @property
    def last(self) -> Step:
        """What ends the pass: a Hold, a Fail or a Send."""
        return self.steps[-1]

    @property
    def wants_instances(self) -> bool:
        """Whether their names matter: instances are to go, or are kept because of jobs, and the queue says whose."""
        queue, replicas, decision = self.queue, self.replicas, self.decision
        if queue is None or replicas is None or decision is None or not queue.holders:
            return False
        if replicas.instances is not None or replicas.under_way is not None or self.decided_by.change is not None:
            return False
        return self.scales_down or Reason.BUSY in decision.reasons

    @property
    def scales_down(self) -> bool:
        return isinstance(self.last, Send) and self.last.decision.direction is Direction.DOWN

    @property
    def events(self) -> tuple[Event, ...]:
        return tuple(event for step in self.steps if isinstance(step, Noting) for event in step.events)


def plan(seen: Seen) -> Plan:
    """The steps of this pass, in their order."""
    draft = _Draft(seen, seen.history)
    for act in _ORDER:
        act(draft)
        if draft.is_complete:
            break
    return Plan(
        steps=tuple(draft.steps),
        history=draft.history,
        decided_by=draft.history if draft.decided_by is None else draft.decided_by,
        queue=draft.queue,
        replicas=draft.replicas,
        decision=draft.decision,
        observed=draft.observed,
        conditions=draft.conditions,
        policy=draft.seen.policy,
        standings=draft.charged.standings,
        share=draft.share,
    )


@dataclass(slots=True)
class _Draft:
    """A plan in the making; what `seen` has as Unavailable is None here."""

    seen: Seen
    history: History
    steps: list[Step] = field(default_factory=list)
    decision: Decision | None = None
    observed: Observation | None = None
    decided_by: History | None = None
    conditions: tuple[Condition, ...] | None = None
    charged: Charged = field(default_factory=Charged)
    share: PoolShare | None = None

    @property
    def is_complete(self) -> bool:
        return bool(self.steps) and isinstance(self.steps[-1], Hold | Fail | Send)

    @property
    def queue(self) -> QueueDepth | None:
        return self.seen.queue if isinstance(self.seen.queue, QueueDepth) else None

    @property
    def replicas(self) -> Replicas | None:
        return self.seen.replicas if isinstance(self.seen.replicas, Replicas) else None

    @property
    def here(self) -> Allowed:
        return allowed(self.seen.policy, self.history.overrides, self.seen.now, self.caps)

    @property
    def caps(self) -> tuple[Cap, ...]:
        return self.charged.caps if self.share is None else (*self.charged.caps, self.share.cap)

    @property
    def policy(self) -> WorkerPolicy:
        """With min_replicas and max_replicas as they are now."""
        return self.here.policy

    def then(self, step: Noting) -> None:
        self.steps.append(step)
        self.history = step.history


def _disbelieve(draft: _Draft) -> None:
    """A depth of 0 beside rows that suggest work left is believed only if jobs were seen in this queue before."""
    seen, queue = draft.seen, draft.queue
    doubt = "" if queue is None else queues.doubt(seen.policy, queue, seen.history.queue_seen)
    if doubt:
        draft.seen = replace(seen, queue=Unavailable(seen.sources.queue, doubt))


def _measure(draft: _Draft) -> None:
    """The jobs that ended since the last measurement enter the long run; the longer of the two means holds."""
    service = draft.seen.service
    if service is None or not service.finished:
        return
    long_run = LongRun.after(draft.history.long_run, service.finished)
    if long_run is not None:
        draft.history = replace(draft.history, long_run=long_run)
        draft.seen = replace(draft.seen, service=long_run.with_newest(service))


def _aim(draft: _Draft) -> None:
    """A promise moves the target wait, by the jobs that ended and by when max_replicas were configured."""
    seen, replicas = draft.seen, draft.replicas
    slo = seen.policy.slo
    if slo is None:
        return
    if not seen.is_woken:  # a quick check writes nothing
        promise = draft.history.promise or Promise()
        if replicas is not None:
            is_at_max = replicas.configured >= draft.here.most
            promise = promise.looked(seen.now, seen.retention.gap, is_at_max=is_at_max)
        if seen.service is not None:
            promise = promise.after(slo, seen.service.finished, seen.now)
        draft.history = replace(draft.history, promise=promise)
    draft.seen = replace(seen, policy=with_target(seen.policy, draft.history.promise, seen.service, seen.unmeasured))


def _report_overrides(draft: _Draft) -> None:
    now, epoch = draft.seen.now, draft.seen.epoch
    overrides, began, ended = draft.history.overrides.told(now)
    if not began and not ended:
        return
    events = (
        *(Event("override_set", _override_fields(one, epoch) | {"message": one.words(one.at)}) for one in began),
        *(Event("override_ended", _override_fields(one, epoch) | {"message": one.end_words}) for one in ended),
    )
    draft.then(UpdateOverrides(replace(draft.history, overrides=overrides), events))


def _override_fields(override: Override, epoch: int) -> dict[str, object]:
    return {"epoch": epoch, "override": override.kind.value, "by": override.author, "id": override.ident}


def _report_schedule(draft: _Draft) -> None:
    """A pass that cannot write tells nothing, so the next leader tells it."""
    schedules, now = draft.seen.policy.schedules, draft.seen.now
    before, here = draft.history.schedule, told_as(schedules, now)
    if here == before:
        return
    stretch, fields = in_force(schedules, now) if schedules else None, {"epoch": draft.seen.epoch}
    events = []
    if before:
        events.append(Event("schedule_off", fields | {"message": f"{before} is over"}))
    if stretch is not None and stretch.place is not None:
        one = schedules[stretch.place]
        until = {} if stretch.until is None else {"until": iso(stretch.until)}
        message = on_words(one, stretch.until, now)
        on = {"min_replicas": one.min_replicas, "max_replicas": one.max_replicas, **until, "message": message}
        events.append(Event("schedule_on", {**fields, **on}))
    draft.then(UpdateSchedule(replace(draft.history, schedule=here), tuple(events)))


def _spend(draft: _Draft) -> None:
    seen, replicas = draft.seen, draft.replicas
    alive = None if replicas is None else max(replicas.alive, replicas.running)
    gap, writes = seen.retention.gap, not seen.is_woken
    limits = None if replicas is None else replicas.limits
    charging = Charging(seen.worker, seen.policy, seen.shared, alive, seen.now, gap, seen.epoch, limits, writes)
    before = draft.history.spent
    draft.charged = charging.after(before)
    if draft.charged.events:
        draft.then(UpdateBudget(replace(draft.history, spent=draft.charged.spent), draft.charged.events))
    elif draft.charged.spent is not before:  # without a budget it is the same
        draft.history = replace(draft.history, spent=draft.charged.spent)


def _share_the_pool(draft: _Draft) -> None:
    seen, queue, replicas, history = draft.seen, draft.queue, draft.replicas, draft.history
    if seen.pool is None or replicas is None:
        return
    hour = draft.policy
    counted = counted_now(replicas.configured, history.change)
    wants = counted  # while the queue cannot be read, it keeps what it has
    if queue is not None:
        leaving = replicas.finishing(seen.service)
        wants = recommend_ahead(seen.policy, queue, seen.service, replicas.configured, leaving)
    wants = min(max(wants, hour.min_replicas), draft.here.most)
    draft.share = share_of(seen.pool, seen.worker, counted, wants, min(hour.min_replicas, wants))


def _note(draft: _Draft) -> None:
    seen, queue, replicas = draft.seen, draft.queue, draft.replicas
    if queue is None and replicas is None:
        return
    recommended = None
    if queue is not None and replicas is not None:
        leaving = replicas.finishing(seen.service)
        recommended = remembered(draft.policy, queue, seen.service, replicas.configured, leaving)
    both = recommended is not None
    note = CycleNote(
        recommended,
        replicas.configured if replicas is not None else None,
        working=both and queue is not None and queue.processing > 0,
        running=replicas.running if replicas is not None else None,
        read=queue is not None,
        queue_seen=queues.seen_in(seen.policy, queue, draft.history.queue_seen) if both and queue is not None else "",
        looks=seen.looks,
        is_woken=seen.is_woken,
    )
    noted = history.noted(draft.history, note, seen.retention, seen.now)
    if both and learns_when_to_stop(seen.policy):
        noted = _with_load(seen, noted)
        noted = pauses.relearned(noted, seen.policy, seen.service, seen.now)
    draft.then(Note(noted, recommended))


def _with_load(seen: Seen, noted: History) -> History:
    """With the share of all workers' capacity that jobs use now."""
    capacity = of_the_hour(seen.policy, seen.now).max_replicas * seen.policy.concurrency
    if not isinstance(seen.queue, QueueDepth) or not capacity or seen.is_woken:
        return noted  # a quick check comes when a job does, so it would count busy moments more often
    return replace(noted, load=Load.after(noted.load, seen.queue.processing / capacity, seen.now, seen.retention.gap))


def _settle(draft: _Draft) -> None:
    change, replicas, seen = draft.history.change, draft.replicas, draft.seen
    if change is None or replicas is None:
        return
    count = replicas.configured
    if change.id in seen.unsent:
        _close(draft, change, Settled.NEVER_SENT, _ended(seen, change, Settled.NEVER_SENT, "nothing of it was sent"))
    elif count == change.after:
        shown = f"{replicas.words.name} shows {workers(count)}, so the change was made"
        known = change.is_accepted and change.epoch == seen.epoch
        _close(draft, change, Settled.APPLIED, None if known else _ended(seen, change, Settled.APPLIED, shown))
    elif seen.now - change.at >= seen.landing_bound + _draining_s(change, replicas):
        _close(draft, change, Settled.NOT_HONOURED, _not_honoured(seen, change, replicas))


def _close(draft: _Draft, change: Change, outcome: Settled, event: Event | None) -> None:
    replicas = draft.replicas
    assert replicas is not None, "a change is settled by what the platform shows"
    # Only a stop of the deployment that is still shown is unconfirmed; a newer deployment was never stopped.
    is_unseen_stop = change.is_accepted and change.stops == replicas.deployment and outcome is Settled.NOT_HONOURED
    unconfirmed = (change.stops or "") if is_unseen_stop else ""
    now, count = draft.seen.now, replicas.configured
    after = history.settled(draft.history, change, outcome, count, now, unconfirmed_stop=unconfirmed)
    draft.then(Settle(after, change, outcome, () if event is None else (event,)))


def _draining_s(change: Change, replicas: Replicas) -> float:
    return min(replicas.draining_s, _LONGEST_DRAINING_S) if change.direction is Direction.DOWN else 0.0


def _ended(seen: Seen, change: Change, outcome: Settled, what: str) -> Event:
    """How a change ended whose outcome was unknown, or that an earlier leader left open."""
    age = max(0.0, seen.now - change.at)
    said = f"{change.before} → {change.after} (epoch {change.epoch}, {in_words(age)} ago): {what}"
    fields = {
        "epoch": seen.epoch,
        "intent_epoch": change.epoch,
        "change": change.id,
        "before": change.before,
        "after": change.after,
        "settled": outcome.value,
        "message": said,
    }
    return Event("intent_settled", fields)


def _not_honoured(seen: Seen, change: Change, replicas: Replicas) -> Event:
    asked = "accepted" if change.is_accepted else "recorded, and perhaps never sent,"
    said = (
        f"{change.before} → {change.after} was {asked} {in_words(seen.now - change.at)} ago, and "
        f"{replicas.words.name} shows {workers(replicas.configured)}: {replicas.words.missing}"
    )
    return Event("not_honoured", {"epoch": seen.epoch, "reason": Reason.NOT_HONOURED.value, "message": said})


def _watch(draft: _Draft) -> None:
    seen, replicas, before = draft.seen, draft.replicas, draft.history.watch
    if replicas is None:
        return
    look = Look(draft.policy, replicas, draft.queue, draft.history, seen.now, seen.landing_bound)
    look = replace(look, history=replace(draft.history, watch=conditions.updated_watch(look)))
    draft.conditions = conditions.conditions(look)
    told = [condition for condition in draft.conditions if condition.is_told]
    said = tuple(one.reason.value for one in told)
    events = tuple(
        Event(
            conditions.EVENTS[one.reason],
            {"epoch": seen.epoch, "reason": one.reason.value, "message": one.words},
            throttle=one.reason.value,
        )
        for one in told
        if one.reason.value not in before.said
    )
    after = look.history
    if said != after.watch.said:
        after = replace(after, watch=replace(after.watch, said=said))
    draft.then(UpdateWatch(after, draft.conditions, events))


def _record_external_change(draft: _Draft) -> None:
    seen, replicas, known = draft.seen, draft.replicas, draft.history.count
    if draft.history.change is not None or replicas is None or known is None or known == replicas.configured:
        return
    after = replicas.configured
    said: dict[str, object] = {
        "epoch": seen.epoch,
        "before": known,
        "after": after,
        "state": replicas.state.value,
        "message": f"changed outside the controller: {known} → {after}; {_what_becomes_of_it(draft, after)}",
    }
    events = [Event("external_change", said)]
    contests = draft.history.watch.contests
    if len(contests) >= conditions.CONTESTS:
        words = conditions.contended_words(contests, known, after, seen.now, replicas.words)
        contended = {"epoch": seen.epoch, "times": len(contests), "message": words}
        events.append(Event("contended", contended, throttle="contended"))
    changed = history.with_external_change(draft.history, after, seen.now)
    draft.then(RecordExternalChange(changed, known, after, tuple(events)))


def _what_becomes_of_it(draft: _Draft, after: int) -> str:
    """Of a count that a person set on the platform, and how to keep it."""
    here = draft.here
    if here.held is not None:
        is_wanted = after == here.policy.min_replicas
        return f"it {'stays' if is_wanted else 'is undone now'}: {here.held.words}"
    keeping = f"to keep it, `autoscaler hold {draft.seen.worker or 'WORKER'} {after} --for 2h`"
    return f"the cooldowns start now, and then the policy decides again; {keeping}"


def _wait_for_the_open_change(draft: _Draft) -> None:
    change, replicas, queue = draft.history.change, draft.replicas, draft.queue
    if change is None or replicas is None or queue is None:
        return
    decision = _decide(draft, _observation(draft, queue, replicas))
    draft.decision = Decision(decision.current, decision.recommended, decision.current, decision.because)
    because = still_open(change, draft.seen.now)
    draft.steps.append(Hold((because,), f"hold: {because.words}"))


def _fail(draft: _Draft) -> None:
    unavailable = draft.seen.replicas if draft.queue is not None else draft.seen.queue
    if isinstance(unavailable, Unavailable) and (draft.replicas is None or draft.history.change is not None):
        draft.steps.append(Fail(unavailable))


def _fall_back(draft: _Draft) -> None:
    """Without a reading of the queue only min_replicas and on_unavailable apply."""
    seen, replicas, now, unavailable = draft.seen, draft.replicas, draft.seen.now, draft.seen.queue
    if not isinstance(unavailable, Unavailable) or replicas is None:
        return
    after = draft.history
    unread_for_s = _unread_for(after, now)
    caps = draft.caps
    decision = fall_back(seen.policy, replicas, after, now, unread_for_s=unread_for_s, rate=seen.rate, caps=caps)
    if (
        decision is None
        or not decision.changes_something
        or blocked_by(decision, replicas, after, now, seen.landing_bound)
    ):
        draft.steps.append(Fail(unavailable))
        return
    draft.decision = decision
    _send(draft, decision, replicas, despite=unavailable)


def _decide_and_act(draft: _Draft) -> None:
    seen, queue, replicas = draft.seen, draft.queue, draft.replicas
    assert queue is not None, "without a queue the pass has ended by now"
    assert replicas is not None, "the same"
    observed = _observation(draft, queue, replicas)
    observed = assume_stopped(observed, draft.history, seen.now, seen.landing_bound)
    draft.decision = decision = _decide(draft, observed)
    replicas = observed.replicas
    if not decision.changes_something:
        _share(draft, replicas.configured, replicas)
        draft.steps.append(Hold((), decision.sentence))
        return
    waits = blocked_by(decision, replicas, draft.history, seen.now, seen.landing_bound)
    if waits is None:
        _send(draft, decision, replicas)
        return
    because = (*decision.because, waits)
    draft.steps.append(Hold(because, f"hold: {waits.words}", backing_off=waits.reason is Reason.BACKING_OFF))


def _observation(draft: _Draft, queue: QueueDepth, replicas: Replicas) -> Observation:
    return Observation(queue, replicas, draft.seen.rate, draft.seen.service, draft.seen.unmeasured, draft.caps)


def _decide(draft: _Draft, observed: Observation) -> Decision:
    draft.observed = observed
    return decide(draft.seen.policy, observed, draft.history, draft.seen.now)


def _send(draft: _Draft, decision: Decision, replicas: Replicas, *, despite: Unavailable | None = None) -> None:
    seen = draft.seen
    _share(draft, max(decision.desired, decision.current), replicas)
    stops = replicas.deployment if decision.desired == 0 else None
    reason, message = str(decision.reason), decision.sentence
    change = Change(
        seen.ident,
        seen.epoch,
        decision.current,
        decision.desired,
        seen.now,
        stops=stops,
        within=seen.policy.limits,
        reason=reason,
        message=message,
    )
    draft.decided_by = draft.history
    draft.history = history.recorded(draft.history, change, seen.now)
    draft.steps.append(Send(draft.history, change, replicas, decision, despite))


def _share(draft: _Draft, count: int, replicas: Replicas) -> None:
    """The shares of all workers never add up to more than the limit.

    Every instance that may still take jobs counts, including draining ones. So a scale-up publishes the smaller share
    before its request, and a scale-down the larger share only after the instances are gone.
    """
    limit, rate = draft.seen.policy.rate_limit, draft.seen.rate
    if limit is None:
        return
    among = max(count, replicas.configured, replicas.alive)
    shares = Shares.among(among, limit.rpm, of_the_hour(draft.seen.policy, draft.seen.now).max_replicas)
    if not isinstance(rate, RateUsage) or rate.published != shares:
        draft.steps.append(Share(shares))


def _unread_for(after: History, now: float) -> float:
    """For how many seconds the queue could not be read; 0 until _OUTAGE_READINGS readings in a row have failed."""
    if after.unread < _OUTAGE_READINGS:
        return 0.0
    read_at = after.queue_read_at if after.queue_read_at is not None else after.since
    return now - (now if read_at is None else read_at)


_ORDER: tuple[Callable[[_Draft], None], ...] = (
    _disbelieve,
    _report_overrides,
    _report_schedule,
    _spend,
    _measure,
    _aim,
    _share_the_pool,
    _note,
    _settle,
    _watch,
    _record_external_change,
    _wait_for_the_open_change,
    _fail,
    _fall_back,
    _decide_and_act,
)
