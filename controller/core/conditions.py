"""What the platform and the queue show beside the count, and people have to be told. Pure.

    watched()     one look and what was known before → what is known now (a Watch, which the journal keeps)
    conditions()  what is known now → what to say of it, and whether it degrades /health

1. Workers crash: some crashed and none runs. Until one runs, decide() adds no worker; a new deployment may hang, too.
2. Workers exited: they ended by themselves with exit code 0, and the platform does not restart those. Where all of
   them did, a reading looks as after a stop; what tells the two apart is that no controller asked for one.
3. Workers missing: fewer run than are configured, and no further one came for the landing bound, or for twice as long
   as a start usually takes.
4. A deployment hangs: it has been in the same status for the landing bound, or for twice as long as a start usually
   takes. While an older one serves, or no worker is wanted, a build may take HANGS_S.
5. No progress: jobs are ready, workers have run for longer than a start takes, one of them is idle, and nothing was
   taken for no_progress_after. Whatever may be a sign of work ends it (see _is_progress): a late alarm is better than
   a false one.

Of the first three only the first that holds is said: each explains the ones after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from controller.core.model import (
    Because,
    History,
    PlatformWords,
    QueueDepth,
    Reason,
    Replicas,
    ServiceState,
    workers,
)
from controller.core.units import in_words
from controller.core.watch import Contest, Rollout, Short, Stall, Watch
from controller.policy import WorkerPolicy

HANGS_S = 900.0
"""Builds of 10 minutes are known; one that is not through in 15 waits for something that a person has to look at."""
CONTESTS = 3
CONTEST_WINDOW_S = 3600.0
"""So many changes from outside, each of them after one of ours, within so long: somebody else sets the count too."""
_START_UP_S = 20.0
"""Where no start was measured yet."""
_LONGEST_RESTART_S = 10.0
"""The slowest that was ever seen was under way after 8 s."""
_SAME_INSTANT_S = 2.0
"""The queue's clock and the journal's, and the way from one to the other, may differ by this much."""
_FEWEST_READINGS = 3
_FEWEST_WITHOUT_A_TIME = 10
"""Counts alone may be the same by chance: so many readings in a row are not."""

EVENTS = {
    Reason.WORKERS_CRASH: "workers_crash",
    Reason.WORKERS_EXITED: "workers_exited",
    Reason.WORKERS_MISSING: "not_honoured",
    Reason.DEPLOYMENT_HANGS: "deployment_hangs",
    Reason.NO_PROGRESS: "no_progress",
}
"""What the log calls it when a condition begins to degrade /health; every condition stands here."""


@dataclass(frozen=True, slots=True)
class Condition:
    """degrades: it has lasted for as long as it takes to be a fault, for /health and the log."""

    reason: Reason
    says: str
    fix: str
    lasted_s: float
    degrades: bool

    @property
    def words(self) -> str:
        """What to do about it only where something is to be done."""
        return f"{self.says}: {self.fix}" if self.degrades else self.says

    @property
    def because(self) -> Because:
        return Because(self.reason, self.words)


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a service. queue: None where it could not be read. `now` is in the journal's time."""

    policy: WorkerPolicy
    replicas: Replicas
    queue: QueueDepth | None
    history: History
    now: float
    landing_bound: float


def watched(look: Look) -> Watch:
    """What is known after this look."""
    replicas, now = look.replicas, look.now
    before = look.history.watch.by(now)
    if replicas.deployment != before.deployment:
        # Of another deployment nothing is known yet, but that none runs after a crash: it may hang or fail.
        before = Watch(contests=before.contests, said=before.said, crashing_since=before.crashing_since)
    running_since = _since(before.running_since, now) if replicas.running else None
    return replace(
        before,
        deployment=replicas.deployment,
        running_since=running_since,
        crashing_since=_since(before.crashing_since, now) if _crashes(replicas, before) else None,
        exited_since=_since(before.exited_since, now) if _exits(look, before, running_since) else None,
        short=_short(before.short, replicas, now),
        rollout=_rollout(before.rollout, replicas, now),
        stall=before.stall if look.queue is None else _stall(before.stall, look, look.queue),
        contests=_contests(look),
    )


def conditions(look: Look) -> tuple[Condition, ...]:
    """What is to be said, by a history whose watch is of this look."""
    known = (next(_of_workers(look), None), _hanging(look), _no_progress(look))
    return tuple(condition for condition in known if condition is not None)


def is_crashing(history: History, replicas: Replicas) -> bool:
    """Whether no worker is to be added to those that crash."""
    return history.watch.crashing_since is not None and replicas.configured > 0 and not replicas.running


def crash_words(replicas: Replicas) -> str:
    return f"{_crash(replicas)}: {replicas.words.crashed}"


def _crash(replicas: Replicas) -> str:
    return f"the workers crash and none of {replicas.configured} runs, so none is added until one runs"


def contended_words(contests: tuple[Contest, ...], before: int, after: int, now: float, platform: PlatformWords) -> str:
    """What to say of a service whose count somebody else sets, too; and what to do."""
    return (
        f"the count was changed from outside {len(contests)} times in {in_words(now - contests[0].at)}, each time "
        f"after a change of ours (the last: {before} → {after}). Does another controller, an autoscaler or a script "
        "set the replicas of this service? Stop it, or take the service out of this policy; two groups of controllers "
        f"need different services. Also look for {platform.also_set_in}{', and for ' if platform.also_set_in else ''}"
        "workers that exit with code 0"
    )


def _since(before: float | None, now: float) -> float:
    return now if before is None else before


def _crashes(replicas: Replicas, before: Watch) -> bool:
    """A crash that was seen once holds while an instance is being restarted, too: it reads as any other start then.

    So it does while a new deployment is on its way, which may never come to run anything.
    """
    if not replicas.configured or replicas.running:
        return False
    return replicas.crashed > 0 or before.crashing_since is not None


def _short(before: Short | None, replicas: Replicas, now: float) -> Short | None:
    """From the beginning again with each further worker that runs, and with each change of the count."""
    running, configured = replicas.running, replicas.configured
    if running >= configured or replicas.state is ServiceState.STARTING:
        return None
    if before is None or before.configured != configured or running > before.running:
        return Short(now, running, configured)
    return before


def _rollout(before: Rollout | None, replicas: Replicas, now: float) -> Rollout | None:
    """By the platform's own stamp, or since when we see it."""
    coming = replicas.under_way
    if coming is None:
        return None
    same = before is not None and (before.deployment, before.status) == (coming.deployment, coming.status)
    seen_since = before.since if before is not None and same else now
    return Rollout(coming.deployment, coming.status, seen_since if coming.since is None else min(coming.since, now))


def _exits(look: Look, before: Watch, running_since: float | None) -> bool:
    replicas, history = look.replicas, look.history
    if not _is_wanted(look) or replicas.state is ServiceState.STARTING:
        return False
    intent = history.intent
    if intent is None:
        asked_for = (history.count or 0) > 0
    else:  # a start: until it is under way, what is shown is the stop before it
        asked_for = intent.accepted and intent.after > 0 and look.now - intent.at >= _LONGEST_RESTART_S
    if replicas.exited and (replicas.configured or asked_for):
        return True
    # Started again, and gone again before the landing bound, it is the same fault.
    stays = running_since is not None and look.now - running_since >= look.landing_bound
    return before.exited_since is not None and not stays


def _is_wanted(look: Look) -> bool:
    """Whether any worker is, as far as is known."""
    return look.queue is None or look.queue.depth > 0 or look.policy.min_replicas > 0


def _contests(look: Look) -> tuple[Contest, ...]:
    history, shown = look.history, look.replicas.configured
    recent = tuple(one for one in history.watch.by(look.now).contests if one.at > look.now - CONTEST_WINDOW_S)
    known = history.count
    if known is None or known == shown or history.intent is not None:
        return recent
    if not known and look.replicas.deployment != history.watch.deployment:
        return recent  # a deploy starts what was stopped, whoever made it
    if recent and recent[-1].after == known:
        return (*recent[:-1], Contest(recent[-1].at, shown))  # twice from outside, and nothing of ours in between
    return (*recent, Contest(look.now, shown))


def _stall(before: Stall | None, look: Look, queue: QueueDepth) -> Stall | None:
    now, unbroken_since = look.now, look.history.unbroken_since
    hands = look.replicas.running * look.policy.concurrency
    # A count that stopped at its limit says "so many and more": whether one is idle is not known then.
    counted = queue.limit is None or queue.processing < queue.limit
    if not queue.pending or not hands or not counted or queue.processing >= hands:
        return None
    ready_at = None if queue.oldest_age_s is None else now - queue.oldest_age_s
    unbroken = before is not None and unbroken_since is not None and unbroken_since <= before.since
    if before is None or not unbroken or _is_progress(before, queue, ready_at):
        # Below "so many and more", thousands may be taken without a sign: only what began before can go on there.
        unseen = queue.limit is not None and queue.pending >= queue.limit
        return None if unseen else Stall(now, queue.pending, queue.processing, ready_at, 1)
    readings = min(before.readings + 1, _FEWEST_WITHOUT_A_TIME)
    return replace(before, pending=max(before.pending, queue.pending), readings=readings)


def _is_progress(before: Stall, queue: QueueDepth, ready_at: float | None) -> bool:
    """Whether anything may have been taken or finished since.

    Fewer ready jobs; more or fewer in work; another job is the oldest. Where nothing says which the oldest is, more
    ready jobs are no proof that none was taken.
    """
    if queue.pending < before.pending or queue.processing != before.processing:
        return True
    if ready_at is None or before.ready_at is None:
        return ready_at != before.ready_at or queue.pending > before.pending
    return abs(ready_at - before.ready_at) > _SAME_INSTANT_S


def _of_workers(look: Look) -> Iterator[Condition]:
    replicas, watch = look.replicas, look.history.watch
    if watch.crashing_since is not None:
        lasted, fix = look.now - watch.crashing_since, replicas.words.crashed
        yield Condition(Reason.WORKERS_CRASH, _crash(replicas), fix, lasted, degrades=True)
    if watch.exited_since is not None:
        lasted = look.now - watch.exited_since
        ended = "workers ended by themselves with exit code 0 or were stopped from outside"
        run = f"{replicas.running} of {workers(replicas.configured)} run" if replicas.configured else "no worker runs"
        says = f"{run}{_for(lasted)}, as {ended}"
        if replicas.configured and replicas.running >= replicas.configured:  # started again, and not yet for long
            says = f"{run} again, {in_words(lasted)} after {ended}"
        yield Condition(Reason.WORKERS_EXITED, says, replicas.words.exited, lasted, lasted >= look.landing_bound)
    if watch.short is not None:
        lasted = look.now - watch.short.since
        counts = ((replicas.crashed, "crashed"), (replicas.exited, "exited"))
        ended = ", ".join(f"{count} {what}" for count, what in counts if count)
        says = f"{replicas.running} of {workers(replicas.configured)} run{f' ({ended})' if ended else ''}{_for(lasted)}"
        fix, degrades = replicas.words.missing, lasted >= _bound_of_a_start(look)
        yield Condition(Reason.WORKERS_MISSING, says, fix, lasted, degrades)


def _bound_of_a_start(look: Look) -> float:
    return max(look.landing_bound, 2 * (look.history.start_up_s or 0.0))


def _hanging(look: Look) -> Condition | None:
    rollout, coming = look.history.watch.rollout, look.replicas.under_way
    if rollout is None or coming is None:
        return None
    lasted = look.now - rollout.since
    jobs_wait = not look.replicas.running and _is_wanted(look)
    says = f"{'no worker runs, and ' if jobs_wait else ''}the newest deployment is {rollout.status}{_for(lasted)}"
    bound = _bound_of_a_start(look)
    if coming.may_take_long and not jobs_wait:
        bound = max(bound, HANGS_S)
    return Condition(Reason.DEPLOYMENT_HANGS, says, coming.fix, lasted, lasted >= bound)


def _no_progress(look: Look) -> Condition | None:
    stall, running_since = look.history.watch.stall, look.history.watch.running_since
    if stall is None or running_since is None:
        return None
    enough = _FEWEST_READINGS if stall.ready_at is not None else _FEWEST_WITHOUT_A_TIME
    start_up_s = _START_UP_S if look.history.start_up_s is None else look.history.start_up_s
    lasted, running = look.now - stall.since, look.replicas.running
    started = look.now - running_since > start_up_s
    if lasted < look.policy.no_progress_after or stall.readings < enough or not started:
        return None
    ready = "1 job is" if stall.pending == 1 else f"{stall.pending} jobs are"
    says = (
        f"no job was taken{_for(lasted)}, while {ready} ready, {stall.processing} in work, and {workers(running)} "
        f"run{'s' if running == 1 else ''}"
    )
    fix = "see the workers' log, and whether they take jobs of this queue"
    return Condition(Reason.NO_PROGRESS, says, fix, lasted, degrades=True)


def _for(seconds: float) -> str:
    """Nothing where it began with this look."""
    return f" for {in_words(seconds)}" if seconds >= 1 else ""
