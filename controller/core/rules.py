"""decide(): how many workers should run, and why. Pure: the same inputs give the same decision.

The rules, top to bottom; each leaves the decision as it is or limits it *with a reason*. Order is policy.

1. A count outside min..max is corrected at once, whatever 4 to 6 say. Below min it goes at once to what is wanted
   (rule 3), as far as the rate limit, the step limit and max allow (rules 7 to 9), and to min in any case: one scale,
   not two. Above max it goes to max; rule 3 takes over from there.
2. (A pause or a manual override will stand here.)
3. The tier of the depth recommends; or, for a target_wait of T seconds with jobs that take S seconds on average, the
   ceil((pending + processing/2) · S / (T + S) / jobs per worker) workers that have worked off within T what waits now:
   S / (T + S) of a worker for each job, since the last one that is begun within T may end S later. Never fewer than
   are busy. While nobody knows S, the count stays, and one worker finds it out.
4. Busy workers are spared: where the policy says how many jobs one worker runs at once (one, for a target_wait), going
   down stops at as many workers as the jobs being worked on need. A hold, never a way up. And to workers that crash,
   none of which runs, none is added (min_replicas excepted) until one runs.
5. Stabilization: going down only to the highest recommendation of the window; without a memory that reaches back over
   the whole window, no way down (the HPA's rule, with its history kept across restarts). For a target_wait the window
   is idle_off: as long as a start takes, unless the policy says otherwise.
6. Cooldowns: up counts from the last scale-up, down from the last scale in either direction. A memory that begins only
   now counts as a scale that happened when it began, for going down: a burst must not wait for a history nobody has.
   A target_wait has none, but for one of going up that the policy says: what is asked for counts as if it ran.
7. The rate limit: no further worker while the requests of the last 60 s are used up, since more workers can't go
   faster; nor while nobody knows how many are used, since that is not 0. Going down is none of its business.
8. Steps: at most max_step workers more or fewer at once.
9. min and max have the last word, within what the platform can be asked for at all: at least one worker in each region,
   and no more than one with a volume.

Without a reading of the queue there is no depth that could recommend anything: fall_back() stands in for 1 to 5, and
can only add workers (none to a fleet that crashes). Fewer than min_replicas are corrected at once. After
on_unavailable.after, on_unavailable.at_least is wanted: cooldown, rate limit and step limit apply, and min_replicas has
the last word. A count above max_replicas is left alone until the queue can be read again and shows what these workers
are doing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from controller.core.conditions import crash_words, is_crashing
from controller.core.model import (
    Because,
    Decision,
    Direction,
    History,
    Observation,
    QueueDepth,
    Rate,
    RateUnread,
    Reason,
    Replicas,
    ServiceTime,
    workers,
)
from controller.core.units import in_words
from controller.core.wanted import down_window, tier_replicas, workers_for
from controller.policy import WorkerPolicy


@dataclass(frozen=True, slots=True)
class Situation:
    """What every rule may look at; the queue's depth has had its say when they begin."""

    policy: WorkerPolicy
    replicas: Replicas
    history: History
    now: float
    rate: Rate
    service: ServiceTime | None = None
    unmeasured: str = ""

    @property
    def leaving(self) -> int:
        return self.replicas.finishing(self.service)


_PART_OF_A_LOOK, _MOST_TOLERATED_S = 0.25, 0.75

_RECOMMENDS = "3 tier or target wait"
"""What the rule is called that says how many the queue wants; all others limit it."""

Rule = Callable[[Situation, Decision], Decision]


@dataclass(frozen=True, slots=True)
class Step:
    """One rule's turn, for people who ask why: what it is called, what it answered, and whether it said something."""

    rule: str
    desired: int
    because: Because | None


def decide(policy: WorkerPolicy, observed: Observation, history: History, now: float) -> Decision:
    """The decision after every rule; `now` is in the journal's time."""
    *_, (decision, _) = _turns(_situation(policy, observed, history, now), observed.queue)
    return decision


def fall_back(
    policy: WorkerPolicy, replicas: Replicas, history: History, now: float, *, unread_for_s: float, rate: Rate
) -> Decision | None:
    """The decision where the queue could not be read for `unread_for_s` seconds; None: the count stays as it is."""
    wish = policy.on_unavailable
    situation, current = Situation(policy, replicas, history, now, rate), replicas.configured
    if wish is None or unread_for_s < wish.after:
        if current >= policy.min_replicas:
            return None
        corrected = _below_minimum(policy, Decision(current, policy.min_replicas, current, ()))
        return _platform_limits(situation, corrected)
    words = f"the queue could not be read for {_wait(unread_for_s)}, so at least {workers(wish.at_least)}"
    start = Decision(current, wish.at_least, max(current, wish.at_least), (Because(Reason.FALLBACK, words),))
    start = _add_none_that_crash(situation, start)
    decision = _limit_step(situation, _limit_rate(situation, _cool_down(situation, start)))
    return _platform_limits(situation, _at_least_minimum(policy, decision))


def trail(policy: WorkerPolicy, observed: Observation, history: History, now: float) -> tuple[Step, ...]:
    """Each rule's turn, in order, as decide() takes them."""
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
    """What the tier of the depth says, or the wait that is aimed at, before any limit.

    service: how long a job takes; None: not known, so that a target_wait holds the `current` count. leaving: workers
    that were told to go and have the time to end their jobs, which need no other worker.
    """
    if policy.target_wait is None:
        return tier_replicas(policy, queue.depth)
    staying = _staying(queue, leaving)
    if not queue.pending and not staying:
        return 0
    if service is None:
        return max(1, current)
    return max(_by_wait(policy, policy.target_wait, queue.pending, staying, service), _workers_for(policy, staying))


def _staying(queue: QueueDepth, leaving: int) -> int:
    """Jobs in work that stay: a worker that is leaving has at least one, or it would be gone."""
    return max(0, queue.processing - leaving)


def _by_wait(policy: WorkerPolicy, target_wait: float, pending: int, staying: int, service: ServiceTime) -> int:
    return workers_for(pending + staying / 2, policy.concurrency, target_wait, service.mean_s)


def _workers_for(policy: WorkerPolicy, jobs: int) -> int:
    return math.ceil(jobs / policy.concurrency)


def window_tolerance(since_last_look: float) -> float:
    """How far beyond its end, in seconds, a window of recommendations still counts a look.

    Windows are often a whole number of intervals (idle_off: 10s, interval: 10s), and a look is late or early by some
    milliseconds. Without a tolerance these would decide whether the look of one window ago counts, and so whether a
    worker goes one interval sooner. It is less than the time between two looks, so that it never counts one look more.
    """
    return min(_PART_OF_A_LOOK * since_last_look, _MOST_TOLERATED_S)


def cooldowns_left(policy: WorkerPolicy, history: History, now: float) -> tuple[float, float]:
    """Seconds until a scale-up and a scale-down are open again, each at least 0."""
    up = 0.0 if history.last_up is None else _left(history.last_up, policy.scale_up.cooldown, now)
    return up, _left(_last_scale(history, now), policy.scale_down.cooldown, now)


def _situation(policy: WorkerPolicy, observed: Observation, history: History, now: float) -> Situation:
    return Situation(policy, observed.replicas, history, now, observed.rate, observed.service, observed.unmeasured)


def _turns(situation: Situation, queue: QueueDepth) -> Iterator[tuple[Decision, str]]:
    correction = _add_none_that_crash(situation, _correct(situation, queue))
    correction = _platform_limits(situation, correction)
    yield correction, "1 within min..max"
    if correction.direction is Direction.UP:
        yield from _beyond_the_minimum(situation, queue, correction)
    if correction.changes_something:
        return
    decision = _recommended(situation, queue)
    yield decision, _RECOMMENDS
    decision = _keep_busy_workers(situation, queue, decision)
    yield decision, "4 busy workers"
    if is_crashing(situation.history, situation.replicas):
        decision = _add_none_that_crash(situation, decision)
        yield decision, "4 workers that crash"
    for name, rule in _RULES:
        decision = rule(situation, decision)
        yield decision, name


def _beyond_the_minimum(
    situation: Situation, queue: QueueDepth, correction: Decision
) -> Iterator[tuple[Decision, str]]:
    """A count below min goes on at once to what is wanted; no limit here takes back what the correction gave."""
    wanted = correction.recommended
    if wanted <= correction.desired or is_crashing(situation.history, situation.replicas):
        return
    because = _recommendation(situation, queue, wanted)
    decision = _limit(correction, wanted, because.reason, because.words)
    yield decision, _RECOMMENDS
    for name, rule in _LIMITS:
        limited = rule(situation, decision)
        kept = max(limited.desired, correction.desired)
        decision = decision if kept == decision.desired else replace(limited, desired=kept)
        yield decision, name


def _correct(situation: Situation, queue: QueueDepth) -> Decision:
    policy, current = situation.policy, situation.replicas.configured
    recommended = recommend(policy, queue, situation.service, current, situation.leaving)
    start = Decision(current, recommended, current, ())
    if current < policy.min_replicas:
        return _below_minimum(policy, start)
    if current > policy.max_replicas:
        words = f"{workers(current)} where max_replicas is {policy.max_replicas}"
        return _limit(start, policy.max_replicas, Reason.ABOVE_MAXIMUM, words)
    return start


def _below_minimum(policy: WorkerPolicy, start: Decision) -> Decision:
    words = f"{workers(start.current)} where min_replicas is {policy.min_replicas}"
    return _limit(start, policy.min_replicas, Reason.BELOW_MINIMUM, words)


def _recommended(situation: Situation, queue: QueueDepth) -> Decision:
    current = situation.replicas.configured
    wanted = recommend(situation.policy, queue, situation.service, current, situation.leaving)
    return Decision(current, wanted, wanted, (_recommendation(situation, queue, wanted),))


def _recommendation(situation: Situation, queue: QueueDepth, wanted: int) -> Because:
    policy, service = situation.policy, situation.service
    wants = f"want{'s' if queue.depth == 1 else ''}"
    if policy.target_wait is None:
        return Because(Reason.TIER, f"{queue.sentence} {wants} {workers(wanted)}")
    aim = f"for a wait of {in_words(policy.target_wait)}"
    if not wanted:
        return Because(Reason.TARGET_WAIT, f"{queue.sentence} {wants} {workers(wanted)} {aim}")
    if service is None:
        stay = "the count stays" if situation.replicas.configured else "1 worker finds it out"
        unknown = (
            f"cannot be measured, because {situation.unmeasured} (write service_time)"
            if situation.unmeasured
            else "is not known yet"
        )
        words = f"{queue.sentence}, and how long one takes {unknown}, so {stay}"
        return Because(Reason.SERVICE_TIME_UNKNOWN, words)
    jobs = f"{queue.sentence} of {in_words(service.mean_s)}{'' if queue.depth == 1 else ' each'}"
    staying = _staying(queue, situation.leaving)
    by_wait = _by_wait(policy, policy.target_wait, queue.pending, staying, service)
    busy = _workers_for(policy, staying)
    also = f", and {workers(busy)} {'is' if busy == 1 else 'are'} busy" if busy > by_wait else ""
    return Because(Reason.TARGET_WAIT, f"{jobs} {wants} {workers(by_wait)} {aim}{also}")


def _keep_busy_workers(situation: Situation, queue: QueueDepth, decision: Decision) -> Decision:
    policy = situation.policy
    each = policy.jobs_per_worker if policy.target_wait is None else policy.concurrency
    if decision.direction is not Direction.DOWN or each is None:
        return decision
    counted = queue.limit is None or queue.processing < queue.limit
    staying = queue.processing if policy.target_wait is None else _staying(queue, situation.leaving)
    busy = math.ceil(staying / each) if counted else decision.current  # nobody knows how many more there are
    if busy <= decision.desired:
        return decision
    stay = f"at least {workers(busy)}" if busy < decision.current else "nobody can be spared"
    verb = "is" if staying == 1 else "are"
    words = f"{queue.jobs(staying)} {verb} being worked on, up to {each} by each worker, so {stay}"
    return _limit(decision, min(busy, decision.current), Reason.BUSY, words)


def _add_none_that_crash(situation: Situation, decision: Decision) -> Decision:
    most = max(decision.current, situation.policy.min_replicas)
    if not is_crashing(situation.history, situation.replicas) or decision.desired <= most:
        return decision
    return _limit(decision, most, Reason.WORKERS_CRASH, crash_words(situation.replicas))


def _stabilize(situation: Situation, decision: Decision) -> Decision:
    policy, history, now = situation.policy, situation.history, situation.now
    window = down_window(policy, history.start_up_s)
    if decision.direction is not Direction.DOWN or not window:
        return decision
    unbroken = now if history.unbroken_since is None else history.unbroken_since
    tolerance = window_tolerance(now - max((past.at for past in history.recommendations if past.at < now), default=now))
    if unbroken > now - window + tolerance:
        words = f"scale-down waits {_wait(unbroken + window - now)} more until the window is known"
        return _limit(decision, decision.current, Reason.MEMORY_TOO_SHORT, words)
    since = now - window - tolerance
    highest = max((past.replicas for past in history.recommendations if past.at >= since), default=0)
    if highest <= decision.desired:
        return decision
    if policy.target_wait is None:
        reason, words = Reason.STABILIZATION_WINDOW, f"{workers(highest)} wanted within the last {_wait(window)}"
    else:
        needed = f"{workers(highest)} {'was' if highest == 1 else 'were'} needed"
        reason, words = Reason.IDLE_OFF, f"{needed} within the last {_wait(window)}"
    return _limit(decision, min(highest, decision.current), reason, words)


def _cool_down(situation: Situation, decision: Decision) -> Decision:
    up, down = cooldowns_left(situation.policy, situation.history, situation.now)
    if decision.direction is Direction.UP and up > 0:
        words = f"scale-up cools down for {_wait(up)} more"
        return _limit(decision, decision.current, Reason.SCALE_UP_COOLDOWN, words)
    if decision.direction is Direction.DOWN and down > 0:
        words = f"scale-down cools down for {_wait(down)} more"
        return _limit(decision, decision.current, Reason.SCALE_DOWN_COOLDOWN, words)
    return decision


def _last_scale(history: History, now: float) -> float:
    began = now if history.since is None else history.since
    return max(at for at in (history.last_up, history.last_down, began) if at is not None)


def _left(since: float, cooldown: float, now: float) -> float:
    # A stamp from the future (a clock that was set back) is moved to the present by the journal: one cooldown at most.
    return min(cooldown, max(0.0, since + cooldown - now))


def _limit_rate(situation: Situation, decision: Decision) -> Decision:
    rate = situation.rate
    if decision.direction is not Direction.UP or rate is None:
        return decision
    if isinstance(rate, RateUnread):
        words = f"how many requests are used in this minute is not known, so nobody is added on a guess: {rate.why}"
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
    if highest is not None and decision.desired > highest:
        return _limit(decision, highest, Reason.SCALE_UP_STEP, f"at most {up} more at once")
    if lowest is not None and decision.desired < lowest:
        return _limit(decision, lowest, Reason.SCALE_DOWN_STEP, f"at most {down} fewer at once")
    return decision


def _clamp(situation: Situation, decision: Decision) -> Decision:
    policy = situation.policy
    decision = _at_least_minimum(policy, decision)
    if decision.desired > policy.max_replicas:
        return _limit(decision, policy.max_replicas, Reason.MAXIMUM, f"max_replicas is {policy.max_replicas}")
    return decision


def _at_least_minimum(policy: WorkerPolicy, decision: Decision) -> Decision:
    if decision.desired < policy.min_replicas:
        return _limit(decision, policy.min_replicas, Reason.MINIMUM, f"min_replicas is {policy.min_replicas}")
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
        # A count below the smallest stands only until the platform has made its last change: none may go then.
        down = decision.direction is Direction.DOWN
        nearest = min(smallest.count, decision.current) if down else smallest.count
        return _limit(decision, nearest, smallest.reason, words)
    return decision


_LIMITS: tuple[tuple[str, Rule], ...] = (
    ("7 rate limit", _limit_rate),
    ("8 step limit", _limit_step),
    ("9 min and max", _clamp),
    ("9 what can be asked for", _platform_limits),
)
_RULES: tuple[tuple[str, Rule], ...] = (
    ("5 stabilization window", _stabilize),
    ("6 cooldown", _cool_down),
    *_LIMITS,
)


def _limit(decision: Decision, desired: int, reason: Reason, words: str) -> Decision:
    return replace(decision, desired=desired, because=(*decision.because, Because(reason, words)))


def _wait(seconds: float) -> str:
    return in_words(math.ceil(seconds))
