"""decide(): how many workers should run, and why. Pure: the same inputs give the same decision.

The rules apply from top to bottom. Each one leaves the decision unchanged or limits it *with a reason*. The order is
part of the policy.

1. min and max are those of the schedule that is on, else the policy's own (schedule.py); all rules go by them. A count
   outside min..max is corrected at once; rules 4 to 6 do not delay it. Below min, the count goes in one scale
   to what rule 3 recommends, limited by rules 7 to 9, but at least to min. Above max, it goes to max, and rule 3 takes
   over from there. But if this policy had scaled before one with another min, max or schedule asked for this count, the
   cooldowns of rule 6 come first: two replicas with different policies would otherwise correct each other's count at
   each takeover.
2. An operator's override that has not expired (override.py): a held count is both min and max, and no rule but the
   limits of the platform delays it, also while the queue cannot be read; a floor is min_replicas as long as it lasts;
   a pause leaves the count, but rule 1 goes before it unless the pause is forced.
3. The recommendation. With tiers: the replicas of the tier that holds the depth. With per_worker: one worker for each
   per_worker jobs, rounded up; the count stays at 0 below activation, and where the depth is within the tolerance of
   what the workers are for. With a target_wait of T seconds and
   jobs that take S seconds on average: ceil((pending + processing/2) · S / (T + S) / jobs per worker) workers, which
   start all waiting jobs within T. Each job takes S / (T + S) of a worker, because a job that starts at the end of T
   may end S later. Never fewer workers than are busy. While S is unknown, the count stays, and is at least 1 if there
   is a job, because only a finished job shows how long one takes. Several queues of a worker ask for the sum of this
   over the queues, each with its own T and S (see queues.py).
   Jobs that fall due within a start-up time (queue.ahead) count as pending here, so that their worker runs once they
   are due. So they add workers, and until they are due they keep those that they want: a worker that was started for
   a job is not removed just before the job is due. They keep no worker longer than that: for the window of rule 5,
   they are remembered only if they raise the count (see remembered()). The same job counts in every reading until it
   ends, first as soon and then as pending, so no reading between the two removes its worker.
4. Busy workers stay. If the policy gives the jobs that one worker runs at once (a target_wait has 1 by default),
   scale-down stops at the workers that the jobs in progress need. If the queue names who holds each job, and these are
   instances that the platform can keep, it stops at exactly these (holders.py). This rule never scales up. While the
   oldest ready job
   has waited longer than max_wait, one worker more is wanted, and none is removed (long_wait.py). If workers crash and
   none runs, none is added until one runs, except up to min_replicas.
5. Stabilization: scale-down goes only to the highest recommendation of the window. If the history does not cover the
   whole window, there is no scale-down (the rule of Kubernetes' HPA, with a history that survives restarts). With a
   target_wait the window is idle_off, or else each worker has one of its own, learned from its pauses (core/pauses.py).
   Then the cap of a budget that is nearly spent (budget.py), or of a pool (pools.py): no worker is added above it, and
   the workers above it go without waiting for the window, but only idle ones as far as rule 4 knows them. So it never
   removes more at once than rules 6 and 8 allow, and a pause stops it, too. Once a budget is overrun, its cap is max
   itself, for rule 1.
6. Cooldowns: scale-up counts from the last scale-up, scale-down from the last scale in either direction. A history that
   begins now counts as a scale at its beginning, but only for scale-down: a burst must not wait for it. With a
   target_wait there is no cooldown except a scale_up.cooldown of the policy, because its formula counts workers that
   are requested as if they ran.
7. Rate limit: no worker is added while the requests of the last 60 s are used up, because more workers could not go
   faster; nor while the used requests are unknown, because unknown is not 0. Scale-down is not limited.
8. Steps: at most max_step workers more or fewer at once; from the smallest count of the platform to 0 in one step.
9. min and max are the last limits, within those of the platform: at least one worker in each region, and at most one
   with a volume.

If the queue cannot be read, there is no depth and so no recommendation: fall_back() replaces rules 1 to 5 and can only
add workers (none if the workers crash). A count below min_replicas is corrected at once. After on_unavailable.after,
the count goes up to on_unavailable.at_least; cooldown, rate limit and step limit apply, and min_replicas is the last
limit. A count above max_replicas stays until the queue can be read again and shows what these workers do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from controller.core import long_wait, pauses, queues
from controller.core.allowed import Allowed, allowed
from controller.core.cap import Cap
from controller.core.conditions import crash_words, is_crashing
from controller.core.history import needed, took_turns
from controller.core.holders import held
from controller.core.jobs_each import JobsEach
from controller.core.model import (
    Decision,
    Direction,
    History,
    Observation,
    QueueDepth,
    Rate,
    RateUnread,
    Replicas,
    ServiceTime,
    workers,
)
from controller.core.reasons import Because, Reason
from controller.core.slo import aim_words
from controller.core.units import in_words
from controller.core.wanted import (
    kept,
    kept_window,
    learns_when_to_stop,
    tier_replicas,
    windows,
    workers_for,
    workers_for_busy,
)
from controller.policy import WorkerPolicy


@dataclass(frozen=True, slots=True)
class Situation:
    """What the rules after the recommendation use; the depth of the queue is already in the decision by then.

    own: the policy as it is written. busy: workers that the jobs in progress need, as far as the policy says what one
    worker can do; else 0.
    """

    own: WorkerPolicy
    here: Allowed
    replicas: Replicas
    history: History
    now: float
    rate: Rate
    service: ServiceTime | None = None
    unmeasured: str = ""
    busy: int = 0

    @property
    def policy(self) -> WorkerPolicy:
        """With min_replicas and max_replicas as they are now."""
        return self.here.policy

    @property
    def leaving(self) -> int:
        """Workers that are draining and have the time to finish their jobs."""
        return self.replicas.finishing(self.service)


_TOLERATED_PART, _MOST_TOLERATED_S = 0.25, 0.75

Rule = Callable[[Situation, Decision], Decision]


@dataclass(frozen=True, slots=True)
class Step:
    """What one rule did, for `explain`: its name, the count after it, and its reason (None: it changed nothing).

    The name has no number: a rule of the list above may take two turns, or none.
    """

    rule: str
    desired: int
    because: Because | None


def decide(policy: WorkerPolicy, observed: Observation, history: History, now: float) -> Decision:
    """The decision after all rules; `now` is by the journal's clock."""
    *_, (decision, _) = _turns(_situation(policy, observed, history, now), observed.queue)
    return decision


def fall_back(
    policy: WorkerPolicy,
    replicas: Replicas,
    history: History,
    now: float,
    *,
    unread_for_s: float,
    rate: Rate,
    caps: Sequence[Cap] = (),
) -> Decision | None:
    """The decision if the queue could not be read for `unread_for_s` seconds; None: the count stays."""
    fallback, here, own = policy.on_unavailable, allowed(policy, history.overrides, now, caps), policy
    current, policy = replicas.configured, here.policy
    situation = Situation(own, here, replicas, history, now, rate, busy=current)  # which are busy is unknown
    if here.held is not None:
        held = _keep_to_cap(situation, _held(here, Decision(current, policy.min_replicas, current, ())))
        return _platform_limits(situation, held)
    if fallback is None or unread_for_s < fallback.after or here.paused(up=True) is not None:
        if current >= policy.min_replicas or here.leaves_all:
            return None
        corrected = _below_minimum(here, Decision(current, policy.min_replicas, current, ()))
        return _wait_for_a_turn(situation, _platform_limits(situation, corrected))
    wanted = min(fallback.at_least, policy.max_replicas)  # a schedule may have a lower one now
    words = f"the queue could not be read for {_rounded_up(unread_for_s)}, so at least {workers(wanted)}"
    start = Decision(current, wanted, max(current, wanted), (Because(Reason.FALLBACK, words),))
    start = _keep_to_cap(situation, _add_none_that_crash(situation, start))
    decision = _limit_step(situation, _limit_rate(situation, _cool_down(situation, start)))
    decision = _platform_limits(situation, _at_least_minimum(here, decision))
    return decision if current >= policy.min_replicas else _wait_for_a_turn(situation, decision)


def trail(policy: WorkerPolicy, observed: Observation, history: History, now: float) -> tuple[Step, ...]:
    """Each rule and what it did, in the order of decide()."""
    steps: list[Step] = []
    said = 0
    for decision, rule in _turns(_situation(policy, observed, history, now), observed.queue):
        because = decision.because[-1] if len(decision.because) > said else None
        said = len(decision.because)
        steps.append(Step(rule, decision.desired, because))
    return tuple(steps)


def recommend(
    policy: WorkerPolicy, queue: QueueDepth, service: ServiceTime | None = None, current: int = 0, leaving: int = 0
) -> int:
    """The count that the tiers, per_worker or the target_wait recommend, before any limit.

    service: how long a job takes; None: unknown, so that a target_wait keeps the `current` count. leaving: workers that
    are draining and have the time to finish their jobs; these jobs need no other worker.
    """
    if policy.per_worker is not None:
        return JobsEach(policy.per_worker).workers(queue.weighted)
    wait = policy.strictest_wait
    if wait is None:
        return tier_replicas(policy, queue.weighted)
    staying = _staying(queue, leaving)
    if queue.parts:
        return queues.recommended(policy, queue, current, staying)
    if not queue.pending and not staying:
        return 0
    if service is None:
        return max(1, current)
    return max(_by_wait(policy, wait, queue.pending, staying, service), workers_for_busy(policy, staying))


def recommend_ahead(
    policy: WorkerPolicy, queue: QueueDepth, service: ServiceTime | None = None, current: int = 0, leaving: int = 0
) -> int:
    """The same with the jobs that fall due soon, which never lower it."""
    due = recommend(policy, queue, service, current, leaving)
    return max(due, recommend(policy, queue.as_soon, service, current, leaving)) if queue.soon else due


def remembered(
    policy: WorkerPolicy, queue: QueueDepth, service: ServiceTime | None = None, current: int = 0, leaving: int = 0
) -> int:
    """The recommendation for the history: jobs that fall due soon are in it only if they want more than `current`.

    Otherwise a worker would be kept for the whole window after them, although no job that is due wanted it.
    """
    ahead = recommend_ahead(policy, queue, service, current, leaving)
    raises = min(ahead, policy.max_replicas) > current
    return ahead if raises else recommend(policy, queue, service, current, leaving)


def _staying(queue: QueueDepth, leaving: int) -> int:
    """Jobs in progress on workers that stay. A draining worker has at least one job, or it would have ended."""
    return max(0, queue.processing - leaving)


def _by_wait(policy: WorkerPolicy, target_wait: float, pending: int, staying: int, service: ServiceTime) -> int:
    return workers_for(pending + staying / 2, policy.concurrency, target_wait, service.mean_s)


def window_tolerance(since_last_look: float) -> float:
    """Seconds by which a recommendation may be older than the window and still count.

    Windows are often a whole number of intervals (idle_off: 10s, interval: 10s), and a reading is late or early by some
    milliseconds. Without a tolerance, these milliseconds would decide whether the reading of one window ago counts, and
    so whether a worker is removed one interval sooner. The tolerance is less than the time between two readings, so
    that it never counts one reading too many.
    """
    return min(_TOLERATED_PART * since_last_look, _MOST_TOLERATED_S)


def cooldowns_left(policy: WorkerPolicy, history: History, now: float) -> tuple[float, float]:
    """Seconds that the cooldowns of scale-up and of scale-down still last, each at least 0."""
    up = 0.0 if history.last_up is None else _left(history.last_up, policy.scale_up.cooldown, now)
    return up, _left(_last_scale(history, now), policy.scale_down.cooldown, now)


def _situation(policy: WorkerPolicy, observed: Observation, history: History, now: float) -> Situation:
    here, replicas = allowed(policy, history.overrides, now, observed.caps), observed.replicas
    situation = Situation(policy, here, replicas, history, now, observed.rate, observed.service, observed.unmeasured)
    if here.cap is None:
        return situation  # only a cap asks which workers are busy
    return replace(situation, busy=_busy_workers(situation, observed.queue) or 0)


def _turns(situation: Situation, queue: QueueDepth) -> Iterator[tuple[Decision, str]]:
    if situation.here.held is not None:
        yield from _turns_of_a_hold(situation, queue)
        return
    correction = _add_none_that_crash(situation, _correct(situation, queue))
    correction = _platform_limits(situation, correction)
    yield correction, "correction to min and max"
    if correction.changes_something:
        yield from _turns_of_a_correction(situation, queue, correction)
        return
    decision = _recommended(situation, queue)
    yield decision, _recommends(situation.policy)
    jobs_each = JobsEach.of(situation.policy)
    if jobs_each is not None:
        decision = _hold(decision, jobs_each.held(queue.weighted, decision))
        yield decision, "activation and tolerance"
    decision = _keep_busy_workers(situation, queue, decision)
    yield decision, "busy workers"
    if situation.policy.max_wait is not None:
        decision = _guard_the_wait(situation, queue, decision)
        yield decision, "longest wait"
    if is_crashing(situation.history, situation.replicas):
        decision = _add_none_that_crash(situation, decision)
        yield decision, "workers that crash"
    if situation.here.pause is not None:
        decision = _pause(situation, decision)
        yield decision, "override"
    for name, rule in _RULES:
        if rule is not _keep_to_cap or situation.here.cap is not None:
            decision = rule(situation, decision)
            yield decision, name


def _turns_of_a_correction(
    situation: Situation, queue: QueueDepth, correction: Decision
) -> Iterator[tuple[Decision, str]]:
    waiting = _wait_for_a_turn(situation, correction)
    if waiting is not correction:
        yield waiting, "cooldown"
    elif correction.direction is Direction.UP:
        yield from _beyond_the_minimum(situation, queue, correction)


def _turns_of_a_hold(situation: Situation, queue: QueueDepth) -> Iterator[tuple[Decision, str]]:
    held = _held(situation.here, _recommended(situation, queue))
    yield held, "override"
    if situation.here.cap is not None:
        held = _keep_to_cap(situation, held)
        yield held, "budget or pool"
    yield _platform_limits(situation, held), "limits of the platform"


def _recommends(policy: WorkerPolicy) -> str:
    """The name of the rule that recommends a count; all other rules limit it."""
    return "tier or target wait" if policy.per_worker is None else "jobs per worker"


def _beyond_the_minimum(
    situation: Situation, queue: QueueDepth, correction: Decision
) -> Iterator[tuple[Decision, str]]:
    """A count below min goes in the same scale to the recommended count; no limit takes it below the correction."""
    wanted = correction.recommended
    if wanted <= correction.desired or is_crashing(situation.history, situation.replicas):
        return
    if situation.here.paused(up=True) is not None:
        return
    because = _recommendation(situation, queue, wanted)
    decision = _limit(correction, wanted, because.reason, because.words)
    yield decision, _recommends(situation.policy)
    for name, rule in (("budget or pool", _keep_to_cap), *_LIMITS) if situation.here.cap is not None else _LIMITS:
        limited = rule(situation, decision)
        kept = max(limited.desired, correction.desired)
        decision = decision if kept == decision.desired else replace(limited, desired=kept)
        yield decision, name


def _correct(situation: Situation, queue: QueueDepth) -> Decision:
    here, policy, current = situation.here, situation.policy, situation.replicas.configured
    recommended = recommend_ahead(policy, queue, situation.service, current, situation.leaving)
    start = Decision(current, recommended, current, ())
    if here.leaves_all:
        return start
    if current < policy.min_replicas:
        return _below_minimum(here, start)
    if current > policy.max_replicas:
        reason = Reason.ABOVE_MAXIMUM if here.highest is None else here.highest.reason
        words = f"{workers(current)} where {here.at_most.words}"
        return _limit(start, policy.max_replicas, reason, words)
    return start


def _below_minimum(here: Allowed, start: Decision) -> Decision:
    reason = Reason.BELOW_MINIMUM if here.lowest is None else here.lowest.reason
    words = f"{workers(start.current)} where {here.at_least.words}"
    return _limit(start, here.policy.min_replicas, reason, words)


def _wait_for_a_turn(situation: Situation, correction: Decision) -> Decision:
    """Of a count that a policy with other limits has made of ours: its correction waits for the cooldown.

    Not what an operator asks for, nor the end of a budget.
    """
    here = situation.here
    is_up = correction.direction is Direction.UP
    at_once = here.at_least.reason is Reason.AT_LEAST if is_up else here.at_most.reason is Reason.OVER_BUDGET
    if at_once or not took_turns(situation.history, situation.own.limits):
        return correction
    cooled = _cool_down(situation, correction)
    if cooled is correction:
        return correction
    *before, because = cooled.because
    words = f"a policy with another min or max asked for {workers(correction.current)}, so {because.words}"
    return replace(cooled, because=(*before, replace(because, words=words)))


def _held(here: Allowed, start: Decision) -> Decision:
    assert here.held is not None, "asked for only while a count is held"
    return _limit(start, here.policy.min_replicas, here.held.reason, here.held.words)


def _pause(situation: Situation, decision: Decision) -> Decision:
    if not decision.changes_something:
        return decision
    return _hold(decision, situation.here.paused(up=decision.direction is Direction.UP))


def _recommended(situation: Situation, queue: QueueDepth) -> Decision:
    current = situation.replicas.configured
    wanted = recommend_ahead(situation.policy, queue, situation.service, current, situation.leaving)
    return Decision(current, wanted, wanted, (_recommendation(situation, queue, wanted),))


def _recommendation(situation: Situation, queue: QueueDepth, wanted: int) -> Because:
    because = _of_the_depth(situation, queue, wanted)
    if not long_wait.is_unknown(situation.policy, queue):
        return because
    return Because(because.reason, f"{because.words}; {long_wait.UNKNOWN}")


def _of_the_depth(situation: Situation, queue: QueueDepth, wanted: int) -> Because:
    policy, service = situation.policy, situation.service
    if queue.parts:
        staying = _staying(queue, situation.leaving)
        return queues.because(policy, queue, wanted, staying, situation.replicas.configured)
    wants = f"want{'s' if queue.depth == 1 else ''}"
    if policy.per_worker is not None:
        each = f", at {policy.per_worker} per worker" if queue.depth else ""
        return Because(Reason.PER_WORKER, f"{queue.sentence} {wants} {workers(wanted)}{each}")
    wait = policy.strictest_wait
    if wait is None:
        return Because(Reason.TIER, f"{queue.sentence} {wants} {workers(wanted)}")
    aim = f"for a wait of {in_words(wait)}{aim_words(policy, situation.history, service)}"
    if not wanted:
        return Because(Reason.TARGET_WAIT, f"{queue.sentence} {wants} {workers(wanted)} {aim}")
    if service is None:
        stay = "the count stays" if situation.replicas.configured else "1 worker is needed to measure it"
        unknown = (
            f"cannot be measured, because {situation.unmeasured} ({_fix(policy)})"
            if situation.unmeasured
            else "is not known yet"
        )
        words = f"{queue.sentence}, and the time per job {unknown}, so {stay}"
        return Because(Reason.SERVICE_TIME_UNKNOWN, words)
    jobs = f"{queue.sentence} of {in_words(service.mean_s)}{'' if queue.depth == 1 else ' each'}"
    staying = _staying(queue, situation.leaving)
    by_wait = _by_wait(policy, wait, queue.as_soon.pending, staying, service)
    busy = workers_for_busy(policy, staying)
    also = f", and {workers(busy)} {'is' if busy == 1 else 'are'} busy" if busy > by_wait else ""
    return Because(Reason.TARGET_WAIT, f"{jobs} {wants} {workers(by_wait)} {aim}{also}")


def _fix(policy: WorkerPolicy) -> str:
    """If the time per job cannot be measured."""
    return "write service_time" if policy.slo is None else "write target_wait and service_time instead of slo"


def _keep_busy_workers(situation: Situation, queue: QueueDepth, decision: Decision) -> Decision:
    busy = _busy_workers(situation, queue)
    if decision.direction is not Direction.DOWN or busy is None or busy <= decision.desired:
        return decision
    stay = f"at least {workers(busy)}" if busy < decision.current else "no worker can be removed"
    words = f"{_busy_words(situation, queue, busy)}, so {stay}"
    return _limit(decision, min(busy, decision.current), Reason.BUSY, words)


def _busy_words(situation: Situation, queue: QueueDepth, busy: int) -> str:
    by_name = held(queue, situation.replicas)
    if by_name is not None and len(by_name.busy) == busy:
        if by_name.behind:
            return f"{by_name.busy[-1]} holds a job, by name, and only workers after it can go"
        least = "" if by_name.is_exact else "at least "
        return f"{least}{workers(busy)} hold{'s' * (busy == 1)} the jobs in progress, by name"
    each, staying = _jobs_each(situation.policy), _jobs_on_workers(situation, queue)
    return f"{queue.jobs(staying)} {'is' if staying == 1 else 'are'} in progress, up to {each} per worker"


def _busy_workers(situation: Situation, queue: QueueDepth) -> int | None:
    """Workers that the jobs in progress need, by their names or else by the number of jobs; None: unknown."""
    by_name, by_count = held(queue, situation.replicas), _busy_by_count(situation, queue)
    if by_name is None or not (by_name.is_exact or by_name.busy):
        return by_count
    return len(by_name.busy) if by_name.is_exact else max(len(by_name.busy), by_count or 0)


def _busy_by_count(situation: Situation, queue: QueueDepth) -> int | None:
    """None: the policy does not say how many jobs one worker runs."""
    each = _jobs_each(situation.policy)
    if each is None:
        return None
    if queue.limit is not None and queue.processing >= queue.limit:
        return situation.replicas.configured  # at its limit the count is only a lower bound
    return math.ceil(_jobs_on_workers(situation, queue) / each)


def _jobs_each(policy: WorkerPolicy) -> int | None:
    return policy.jobs_per_worker if policy.target_wait is None else policy.concurrency


def _jobs_on_workers(situation: Situation, queue: QueueDepth) -> int:
    return queue.processing if situation.policy.target_wait is None else _staying(queue, situation.leaving)


def _keep_to_cap(situation: Situation, decision: Decision) -> Decision:
    """No worker is added above the cap; of those that are above it, the busy ones stay, or all during a pause."""
    here, current = situation.here, decision.current
    if here.cap is None or decision.desired <= here.cap.count:
        return decision
    staying = current if here.paused(up=False) is not None else min(current, situation.busy)
    most = max(here.cap.count, staying)
    if most >= decision.desired:
        return decision
    words = here.cap.because.words
    if most > here.cap.count:
        words += f"; {workers(most)} {'is' if most == 1 else 'are'} busy and may finish"
    return _limit(decision, most, here.cap.because.reason, words)


def _guard_the_wait(situation: Situation, queue: QueueDepth, decision: Decision) -> Decision:
    guarded = long_wait.guarded(situation.policy, queue, situation.history, situation.now, decision)
    if guarded is None:
        return decision
    wanted, because = guarded
    return _limit(decision, wanted, because.reason, because.words)


def _add_none_that_crash(situation: Situation, decision: Decision) -> Decision:
    most = max(decision.current, situation.policy.min_replicas)
    if not is_crashing(situation.history, situation.replicas) or decision.desired <= most:
        return decision
    return _limit(decision, most, Reason.WORKERS_CRASH, crash_words(situation.replicas))


def _stabilize(situation: Situation, decision: Decision) -> Decision:
    """Each worker stays for its window after a look that needed it; the count goes to the highest that stays."""
    policy, history, now = situation.policy, situation.history, situation.now
    if decision.direction is not Direction.DOWN or not kept_window(policy):
        return decision
    window = windows(policy, history, situation.service)
    unbroken = now if history.unbroken_since is None else history.unbroken_since
    stays = kept(
        needed(history.recommendations),
        window,
        (decision.desired, decision.current),
        now=now,
        unbroken_since=unbroken,
        tolerance=window_tolerance(history.apart_s or 0.0),
    )
    if stays is None:
        return decision
    length = window(stays.worker)
    if stays.needed_at is None:
        words = f"scale-down waits {_rounded_up(unbroken + length - now)} more until the history covers the window"
        return _limit(decision, stays.worker, Reason.MEMORY_TOO_SHORT, words)
    if policy.target_wait is None:
        reason, words = (
            Reason.STABILIZATION_WINDOW,
            f"{workers(stays.worker)} wanted within the last {_rounded_up(length)}",
        )
    else:
        was = f"{workers(stays.worker)} {'was' if stays.worker == 1 else 'were'} needed"
        reason = Reason.IDLE_OFF
        why = _why_so_long(situation, stays.worker, length)
        words = f"{was} within the last {_rounded_up(length)}"
        words += f", and {'is' if stays.worker == 1 else 'are'} kept so long because {why}" if why else ""
    return _limit(decision, stays.worker, reason, words)


def _why_so_long(situation: Situation, worker: int, length: float) -> str:
    """Of a learned time: what it follows from; "" if the policy gives the time."""
    policy, history = situation.policy, situation.history
    if not learns_when_to_stop(policy):
        return ""
    place = pauses.slot(worker)
    if place >= len(history.kept_s) or history.kept_s[place] is None or place >= len(history.pauses):
        return "a stop would cost as much (too few pauses are known)"
    known = history.pauses[place]
    shorter = sum(pause <= length for pause in known)
    return f"{shorter} of the last {len(known)} pauses were not longer: stopping earlier would cost more"


def _cool_down(situation: Situation, decision: Decision) -> Decision:
    up, down = cooldowns_left(situation.policy, situation.history, situation.now)
    if decision.direction is Direction.UP and up > 0:
        words = f"scale-up cools down for {_rounded_up(up)} more"
        return _limit(decision, decision.current, Reason.SCALE_UP_COOLDOWN, words)
    if decision.direction is Direction.DOWN and down > 0:
        words = f"scale-down cools down for {_rounded_up(down)} more"
        return _limit(decision, decision.current, Reason.SCALE_DOWN_COOLDOWN, words)
    return decision


def _last_scale(history: History, now: float) -> float:
    began = now if history.since is None else history.since
    return max(at for at in (history.last_up, history.last_down, began) if at is not None)


def _left(since: float, cooldown: float, now: float) -> float:
    # If the clock was set back, `since` may lie in the future: then the wait is one whole cooldown, and no longer.
    return min(cooldown, max(0.0, since + cooldown - now))


def _limit_rate(situation: Situation, decision: Decision) -> Decision:
    rate = situation.rate
    if decision.direction is not Direction.UP or rate is None:
        return decision
    if isinstance(rate, RateUnread):
        words = f"the number of requests used in this minute is unknown, so no worker is added: {rate.why}"
        return _limit(decision, decision.current, Reason.RATE_UNKNOWN, words)
    if not rate.is_used_up:
        return decision
    words = f"{rate.used} of {rate.limit} requests are used in this minute, so more workers could not go faster"
    if rate.used < rate.limit:
        words = (
            f"{rate.recent} of {rate.limit} requests were used within the last 60 s ({rate.used} in this minute), "
            "so more workers could not go faster"
        )
    return _limit(decision, decision.current, Reason.RATE_LIMIT, words)


def _limit_step(situation: Situation, decision: Decision) -> Decision:
    up, down = situation.policy.scale_up.max_step, situation.policy.scale_down.max_step
    highest = decision.current + up if up is not None else None
    lowest = decision.current - down if down is not None else None
    smallest = situation.replicas.smallest
    if not decision.desired and smallest is not None and decision.current <= smallest.count:
        lowest = None  # between 0 and the platform's smallest count is none at which a step could end
    if highest is not None and decision.desired > highest:
        return _limit(decision, highest, Reason.SCALE_UP_STEP, f"at most {up} more at once")
    if lowest is not None and decision.desired < lowest:
        return _limit(decision, lowest, Reason.SCALE_DOWN_STEP, f"at most {down} fewer at once")
    return decision


def _clamp(situation: Situation, decision: Decision) -> Decision:
    here = situation.here
    if here.leaves_all:
        return decision
    decision = _at_least_minimum(here, decision)
    if decision.desired > here.policy.max_replicas:
        return _limit(decision, here.policy.max_replicas, here.at_most.reason, here.at_most.words)
    return decision


def _at_least_minimum(here: Allowed, decision: Decision) -> Decision:
    if decision.desired < here.policy.min_replicas:
        return _limit(decision, here.policy.min_replicas, here.at_least.reason, here.at_least.words)
    return decision


def _platform_limits(situation: Situation, decision: Decision) -> Decision:
    replicas, maximum = situation.replicas, situation.policy.max_replicas
    if not decision.changes_something:
        return decision
    largest, smallest = replicas.largest, replicas.smallest
    if largest is not None and decision.desired > largest.count:
        return _limit(decision, largest.count, largest.reason, largest.words)
    if smallest is not None and 0 < decision.desired < smallest.count:
        words = smallest.words
        if smallest.count > maximum:
            words += f", and max_replicas is {maximum}: raise max_replicas to {smallest.count}, or {smallest.fix}"
        # A count below the smallest shows only while the platform still makes a change: nothing is removed then.
        down = decision.direction is Direction.DOWN
        nearest = min(smallest.count, decision.current) if down else smallest.count
        return _limit(decision, nearest, smallest.reason, words)
    return decision


_LIMITS: tuple[tuple[str, Rule], ...] = (
    ("rate limit", _limit_rate),
    ("step limit", _limit_step),
    ("min and max", _clamp),
    ("limits of the platform", _platform_limits),
)
_RULES: tuple[tuple[str, Rule], ...] = (
    ("stabilization window", _stabilize),
    ("budget or pool", _keep_to_cap),
    ("cooldown", _cool_down),
    *_LIMITS,
)


def _hold(decision: Decision, because: Because | None) -> Decision:
    return decision if because is None else _limit(decision, decision.current, because.reason, because.words)


def _limit(decision: Decision, desired: int, reason: Reason, words: str) -> Decision:
    return replace(decision, desired=desired, because=(*decision.because, Because(reason, words)))


def _rounded_up(seconds: float) -> str:
    return in_words(math.ceil(seconds))
