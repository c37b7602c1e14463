"""Faults of a worker service that the replica count alone does not show. Pure.

    updated_watch()  one reading and the watch of the cycle before → the new watch, which the journal keeps
    conditions()     the new watch → the conditions to report, and whether each one degrades /health

1. Workers crash: some crashed and none runs. Until one runs, decide() adds no worker; a new deployment may hang, too.
2. Workers exited: they ended by themselves with exit code 0, and the platform does not restart those. If all of them
   exited, a reading looks the same as after a stop; the difference is that no controller asked for one.
3. Workers missing: fewer run than are configured, and no further one started within the landing bound, or within twice
   the usual start time if that is longer.
4. A deployment hangs: it has been in the same status for the landing bound, or for twice the usual start time if that
   is longer. While an older deployment serves, or no worker is wanted, a build may take HANGS_S.
5. No progress: jobs are ready, workers have run for longer than a start takes, one of them is idle, and no job was
   taken for no_progress_after. Any possible sign of work ends it (see _is_progress): a late alarm is better than a
   false one.

6. Contended: something else sets the count, too, as the platform shows it. It is a warning, and no fault.

Of the first three, only the first that holds is reported: it explains the ones after it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from controller.core.model import History, PlatformWords, QueueDepth, Replicas, ServiceState, workers
from controller.core.reasons import Because, Reason
from controller.core.units import in_words
from controller.core.watch import Contest, Rollout, Short, Stall, Watch
from controller.policy import WorkerPolicy

HANGS_S = 900.0
"""Builds of 10 minutes happen; a build that takes longer than 15 minutes needs a person to look at it."""
CONTESTS = 3
CONTEST_WINDOW_S = 3600.0
"""This many external changes within the window, each after one of ours: something else sets the count, too."""
_START_UP_S = 20.0
"""Start time that is assumed until one is measured."""
_LONGEST_RESTART_S = 10.0
"""A start shows as under way within this time; the slowest one measured took 8 s."""
_SAME_INSTANT_S = 2.0
"""Two times closer than this are the same: PostgreSQL's clock and Redis' may differ, and a request takes time."""
_FEWEST_READINGS = 3
"""Equal readings in a row that show no progress, if the queue gives the age of its oldest job."""
_FEWEST_WITHOUT_A_TIME = 10
"""The same without that age: counts alone may be equal by chance, but not in 10 readings in a row."""

EVENTS = {
    Reason.WORKERS_CRASH: "workers_crash",
    Reason.WORKERS_EXITED: "workers_exited",
    Reason.WORKERS_MISSING: "not_honoured",
    Reason.DEPLOYMENT_HANGS: "deployment_hangs",
    Reason.NO_PROGRESS: "no_progress",
    Reason.CONTENDED: "contended",
}
"""The log event when a condition begins to be told, see Condition.is_told; every condition has one."""


@dataclass(frozen=True, slots=True)
class Condition:
    """says: what is seen, fix: what to do, lasted_s: for how many seconds it has held.

    degrades: it has lasted long enough to count as a fault in /health and in the log.
    """

    reason: Reason
    says: str
    fix: str
    lasted_s: float
    degrades: bool

    @property
    def is_told(self) -> bool:
        """Whether people are told of it by an event."""
        return self.degrades or self.reason is Reason.CONTENDED

    @property
    def words(self) -> str:
        """What is seen, and the fix only if people are told of it."""
        return f"{self.says}: {self.fix}" if self.is_told else self.says

    @property
    def because(self) -> Because:
        return Because(self.reason, self.words)


@dataclass(frozen=True, slots=True)
class Look:
    """One reading of a service. queue: None if it could not be read. `now` is by the journal's clock."""

    policy: WorkerPolicy
    replicas: Replicas
    queue: QueueDepth | None
    history: History
    now: float
    landing_bound: float


def updated_watch(look: Look) -> Watch:
    """The watch with this reading added to it."""
    replicas, now = look.replicas, look.now
    before = look.history.watch.by(now)
    if replicas.deployment != before.deployment:
        # A new deployment starts with an empty watch, except for the crash: the new one may hang or fail as well.
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
    """The conditions that hold. The watch in the look's history must already include this look."""
    known = (next(_of_workers(look), None), _hanging(look), _no_progress(look), _contended(look))
    return tuple(condition for condition in known if condition is not None)


def is_crashing(history: History, replicas: Replicas) -> bool:
    """Whether the workers crash and none runs: then decide() adds no worker."""
    return history.watch.crashing_since is not None and replicas.configured > 0 and not replicas.running


def crash_words(replicas: Replicas) -> str:
    return f"{_crash(replicas)}: {replicas.words.crashed}"


def _crash(replicas: Replicas) -> str:
    return f"the workers crash and none of {replicas.configured} runs, so none is added until one runs"


def contended_words(contests: tuple[Contest, ...], before: int, after: int, now: float, platform: PlatformWords) -> str:
    """The message for a service whose count something else sets, too; with what to check."""
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
    """A crash that was seen holds until an instance runs.

    While a crashed instance restarts, the platform shows an ordinary start. And a new deployment may never run at all.
    """
    if not replicas.configured or replicas.running:
        return False
    return replicas.crashed > 0 or before.crashing_since is not None


def _short(before: Short | None, replicas: Replicas, now: float) -> Short | None:
    """The time starts again with each further worker that runs, and with each change of the configured count."""
    running, configured = replicas.running, replicas.configured
    if running >= configured or replicas.state is ServiceState.STARTING:
        return None
    if before is None or before.configured != configured or running > before.running:
        return Short(now, running, configured)
    return before


def _rollout(before: Rollout | None, replicas: Replicas, now: float) -> Rollout | None:
    """Its time counts from the platform's own timestamp, or else from the first reading that showed it."""
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
    change = history.change
    if change is None:
        asked_for = (history.count or 0) > 0
    else:  # a start: until it is under way, the platform still shows the stop before it
        asked_for = change.is_accepted and change.after > 0 and look.now - change.at >= _LONGEST_RESTART_S
    if replicas.exited and (replicas.configured or asked_for):
        return True
    # Workers that start again and end again before the landing bound are the same fault.
    stays = running_since is not None and look.now - running_since >= look.landing_bound
    return before.exited_since is not None and not stays


def _is_wanted(look: Look) -> bool:
    """Whether at least one worker is wanted; True if the queue could not be read."""
    return look.queue is None or look.queue.depth > 0 or look.policy.min_replicas > 0


def _contests(look: Look) -> tuple[Contest, ...]:
    history, shown = look.history, look.replicas.configured
    recent = tuple(one for one in history.watch.by(look.now).contests if one.at > look.now - CONTEST_WINDOW_S)
    known = history.count
    if known is None or known == shown or history.change is not None:
        return recent
    if not known and look.replicas.deployment != history.watch.deployment:
        return recent  # any new deployment starts a stopped service, so the count is not contested
    if recent and recent[-1].after == known:
        return (*recent[:-1], Contest(recent[-1].at, shown))  # two external changes without one of ours in between
    return (*recent, Contest(look.now, shown))


def _stall(before: Stall | None, look: Look, queue: QueueDepth) -> Stall | None:
    now, unbroken_since = look.now, look.history.unbroken_since
    capacity = look.replicas.running * look.policy.concurrency
    # At its limit the count is a lower bound, and whether a worker is idle is unknown.
    counted = queue.limit is None or queue.processing < queue.limit
    if not queue.pending or not capacity or not counted or queue.processing >= capacity:
        return None
    ready_at = None if queue.oldest_age_s is None else now - queue.oldest_age_s
    unbroken = before is not None and unbroken_since is not None and unbroken_since <= before.since
    if before is None or not unbroken or _is_progress(before, queue, ready_at):
        # At the limit of the count, thousands of jobs may be taken without any change in it: no stall begins there.
        unseen = queue.limit is not None and queue.pending >= queue.limit
        return None if unseen else Stall(now, queue.pending, queue.processing, ready_at, 1)
    readings = min(before.readings + 1, _FEWEST_WITHOUT_A_TIME)
    return replace(before, pending=max(before.pending, queue.pending), readings=readings)


def _is_progress(before: Stall, queue: QueueDepth, ready_at: float | None) -> bool:
    """Whether a job may have been taken or finished since the reading before.

    The signs: fewer ready jobs; more or fewer in progress; another job is the oldest. If the age of the oldest job is
    unknown, more ready jobs count as a sign, too: some may have been taken while others arrived.
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
        if replicas.configured and replicas.running >= replicas.configured:  # they started again a short time ago
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
        f"no job was taken{_for(lasted)}, while {ready} ready, {stall.processing} in progress, and {workers(running)} "
        f"run{'s' if running == 1 else ''}"
    )
    fix = "read the workers' log, and check that they take jobs of this queue"
    return Condition(Reason.NO_PROGRESS, says, fix, lasted, degrades=True)


def _contended(look: Look) -> Condition | None:
    others = look.replicas.contenders
    if not others:
        return None
    says = f"{' and '.join(others)} set{'s' * (len(others) == 1)} the count of this service, too"
    fix = "delete it, or take the worker out of this policy"
    return Condition(Reason.CONTENDED, says, fix, 0.0, degrades=False)


def _for(seconds: float) -> str:
    """Empty if it began with this reading."""
    return f" for {in_words(seconds)}" if seconds >= 1 else ""
