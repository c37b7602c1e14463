"""The domain's frozen values. Nothing here reads a clock, a file or a socket.

Units: times are seconds since the epoch as floats, by the journal's clock; durations are seconds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from controller.core.units import in_words
from controller.core.watch import Watch


class Direction(StrEnum):
    UP = "up"
    DOWN = "down"
    NONE = "none"

    @classmethod
    def between(cls, before: int, after: int) -> Direction:
        if after > before:
            return cls.UP
        return cls.DOWN if after < before else cls.NONE


class Reason(StrEnum):
    """Why a worker service has the size it has: the same words in log, /status, docs/reasons.md and tests."""

    TIER = "Tier"
    TARGET_WAIT = "TargetWait"
    SERVICE_TIME_UNKNOWN = "ServiceTimeUnknown"
    BELOW_MINIMUM = "BelowMinimum"
    ABOVE_MAXIMUM = "AboveMaximum"
    BUSY = "WorkersBusy"
    STABILIZATION_WINDOW = "StabilizationWindow"
    IDLE_OFF = "IdleOff"
    MEMORY_TOO_SHORT = "MemoryTooShort"
    SCALE_UP_COOLDOWN = "ScaleUpCooldown"
    SCALE_DOWN_COOLDOWN = "ScaleDownCooldown"
    RATE_LIMIT = "RateLimit"
    RATE_UNKNOWN = "RateUnknown"
    SCALE_UP_STEP = "ScaleUpStep"
    SCALE_DOWN_STEP = "ScaleDownStep"
    MINIMUM = "Minimum"
    MAXIMUM = "Maximum"
    REGIONS = "Regions"
    VOLUME = "Volume"
    DEPLOYING = "Deploying"
    INTENT_OPEN = "IntentOpen"
    BACKING_OFF = "BackingOff"
    WORKERS_CRASH = "WorkersCrash"
    WORKERS_EXITED = "WorkersExited"
    WORKERS_MISSING = "WorkersMissing"
    DEPLOYMENT_HANGS = "DeploymentHangs"
    NO_PROGRESS = "NoProgress"
    NOT_HONOURED = "NotHonoured"
    DRY_RUN = "DryRun"
    STANDBY = "Standby"
    LEASE_LOST = "LeaseLost"
    QUEUE_UNAVAILABLE = "QueueUnavailable"
    PLATFORM_UNAVAILABLE = "PlatformUnavailable"
    JOURNAL_UNAVAILABLE = "JournalUnavailable"
    FALLBACK = "Fallback"
    SCALE_FAILED = "ScaleFailed"
    OUTCOME_UNKNOWN = "OutcomeUnknown"
    TIMED_OUT = "TimedOut"
    CRASHED = "Crashed"


REASONS: Mapping[Reason, tuple[str, str]] = {
    Reason.TIER: (
        "the tier of the depth wants this many workers",
        "nothing; or edit `tiers`",
    ),
    Reason.TARGET_WAIT: (
        "this many workers finish the waiting jobs within `target_wait`, or are busy",
        "nothing; or edit `target_wait`",
    ),
    Reason.SERVICE_TIME_UNKNOWN: (
        "no job is done yet, or how long one takes is unknown: the count stays, at least one worker",
        "wait for the first jobs; or write `service_time`, see `autoscaler doctor`",
    ),
    Reason.BELOW_MINIMUM: (
        "fewer than min_replicas were found",
        "nothing: corrected at once, and further if the queue wants more",
    ),
    Reason.ABOVE_MAXIMUM: (
        "more than max_replicas were found",
        "nothing: corrected as soon as the queue can be read",
    ),
    Reason.BUSY: (
        "the jobs in progress need this many workers, by `jobs_per_worker`",
        "wait until they are done; if one worker runs more jobs at once, raise `jobs_per_worker`",
    ),
    Reason.STABILIZATION_WINDOW: (
        "more workers were wanted within the window",
        "wait, or shorten `stabilization_window`",
    ),
    Reason.IDLE_OFF: (
        "more workers were needed within `idle_off`, or within the time that a start takes",
        "wait, or shorten `scale_down.idle_off`",
    ),
    Reason.MEMORY_TOO_SHORT: (
        "the history does not cover the whole window yet, as after a pause of the controller",
        "wait one window",
    ),
    Reason.SCALE_UP_COOLDOWN: (
        "the last scale-up is too recent",
        "wait, or shorten `scale_up.cooldown`",
    ),
    Reason.SCALE_DOWN_COOLDOWN: (
        "the last scale in either direction is too recent, or the journal has just begun",
        "wait, or shorten `scale_down.cooldown`",
    ),
    Reason.RATE_LIMIT: (
        (
            "the requests of the last 60 s are used up, so more workers could not go faster; the minute before counts "
            "for the part of it that lies within the 60 s"
        ),
        "wait a minute; or raise GLOBAL_RPM_LIMIT",
    ),
    Reason.RATE_UNKNOWN: (
        "the requests used in this minute could not be read, which is not 0: no worker is added on a guess",
        (
            "the message says what to do; workers count requests with INCR, see "
            "docs/redis.md#which-keys-are-shared-with-the-workers"
        ),
    ),
    Reason.SCALE_UP_STEP: (
        "`scale_up.max_step` allows no more at once",
        "the next cycle after the cooldown goes on",
    ),
    Reason.SCALE_DOWN_STEP: (
        "`scale_down.max_step` allows no fewer at once",
        "the next cycle after the cooldown goes on",
    ),
    Reason.MINIMUM: (
        "min_replicas is the limit",
        "lower MIN_WORKERS",
    ),
    Reason.MAXIMUM: (
        "max_replicas is the limit",
        "raise MAX_WORKERS",
    ),
    Reason.REGIONS: (
        (
            "the service is configured for several regions, and each keeps at least one worker, even if max_replicas "
            "is lower"
        ),
        "nothing; or remove a region, or raise max_replicas to their number",
    ),
    Reason.VOLUME: (
        "a service with a volume can have only one replica",
        "set `max_replicas` to 1, or detach the volume",
    ),
    Reason.DEPLOYING: (
        "a deployment is in progress, which cannot be stopped",
        "wait: going to zero follows it",
    ),
    Reason.WORKERS_CRASH: (
        (
            "workers crashed and none runs: none is added, except up to min_replicas; scale-down works as usual; it "
            "ends as soon as one runs, and not with a new deployment, whose build may hang"
        ),
        "read the deployment's log",
    ),
    Reason.WORKERS_EXITED: (
        (
            "workers ended by themselves with exit code 0, or were stopped from outside; the platform restarts only "
            "failed ones"
        ),
        "keep the process running when it finds no job, or set the restart policy to ALWAYS",
    ),
    Reason.WORKERS_MISSING: (
        (
            "fewer run than are configured, and no further one came for the landing bound, or twice the usual start if "
            "that is longer"
        ),
        "look at the deployment's log and at the plan's limits",
    ),
    Reason.DEPLOYMENT_HANGS: (
        (
            "the newest deployment has been in one status (QUEUED, BUILDING, DEPLOYING, WAITING, NEEDS_APPROVAL …) for "
            "the landing bound, or twice the usual start if that is longer, by the platform's own time; QUEUED, "
            "WAITING and BUILDING may take 15 minutes while an older one serves or no worker is wanted"
        ),
        "read its build log, approve it, or cancel it",
    ),
    Reason.NO_PROGRESS: (
        "jobs are ready, a worker is idle, and no job was taken for `no_progress_after`; it changes no count",
        "read the workers' log: do they take jobs of this queue?",
    ),
    Reason.BACKING_OFF: (
        (
            "the platform refused the last change or did not make it: asked again after 30 s, and for the same count "
            "after 60 s, then every 120 s"
        ),
        "read the refusal in the `ScaleFailed` line before",
    ),
    Reason.INTENT_OPEN: (
        "the last change was sent and is not visible yet",
        "wait: it settles, or becomes `NotHonoured` after 60 s (and the draining time)",
    ),
    Reason.NOT_HONOURED: (
        "the platform accepted a change and did not make it (an event in the log)",
        "look at the plan's replica limit and the deployments",
    ),
    Reason.DRY_RUN: (
        "this is what would have been done",
        "leave out `--dry-run`",
    ),
    Reason.STANDBY: (
        "another replica leads",
        "look at that one's log",
    ),
    Reason.LEASE_LOST: (
        "another replica took over in mid-cycle, or the lease would have ended before the request",
        "nothing",
    ),
    Reason.QUEUE_UNAVAILABLE: (
        "PostgreSQL could not be read",
        "the message says what to do",
    ),
    Reason.PLATFORM_UNAVAILABLE: (
        "the platform could not be read",
        "the message says what to do, and names the variable",
    ),
    Reason.FALLBACK: (
        "the queue could not be read for `on_unavailable.after`",
        "fix PostgreSQL; no worker is removed meanwhile",
    ),
    Reason.JOURNAL_UNAVAILABLE: (
        "Redis could not be read or written",
        "the message says what to do",
    ),
    Reason.SCALE_FAILED: (
        "the platform refused the change, or it could not be sent",
        "the message has the platform's words",
    ),
    Reason.OUTCOME_UNKNOWN: (
        "the change was sent and the answer was lost",
        "nothing: the next readings show the result",
    ),
    Reason.TIMED_OUT: (
        "the cycle took longer than 90 s",
        "look at what was slow",
    ),
    Reason.CRASHED: (
        "a bug",
        "report the traceback",
    ),
}
"""What each reason means, and what to do about it; in the order of docs/reasons.md."""


class ServiceState(StrEnum):
    """What a service's newest deployment is doing, as far as it decides how a change is asked for."""

    RUNNING = "running"
    STARTING = "starting"
    STOPPED = "stopped"
    SLEEPING = "sleeping"
    CRASHED = "crashed"
    REMOVED = "removed"
    FAILED = "failed"
    NEVER_DEPLOYED = "never deployed"


@dataclass(frozen=True, slots=True)
class Remark:
    """Something about a queue that a person should know and that changes no reading.

    about: one word, the same however the text changes: statuses, timezone, claims, standby, service_time, oldest_age_s.
    """

    about: str
    text: str


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """One reading of a queue: jobs that may be claimed now, jobs being worked on, the wait of the oldest ready job.

    stale: claimed jobs that nobody works on any more; they are no part of the depth. limit: counting stopped there, so
    that a count that reached it says "so many, and perhaps more" (None: nothing was counted by us). At the limit the
    age is that of the oldest job that was counted. lag_s: how far a hot standby is behind its primary; None: it was no
    standby. unnamed: why a depth of 0 is doubtful, where the queue never had a job with a status that the policy names
    and has others that say that work is left; "" otherwise.
    """

    pending: int
    processing: int
    oldest_age_s: float | None = None
    stale: int = 0
    limit: int | None = field(default=None, compare=False)
    lag_s: float | None = field(default=None, compare=False)
    unnamed: str = field(default="", compare=False)
    remarks: tuple[Remark, ...] = field(default=(), compare=False)

    @property
    def depth(self) -> int:
        return self.pending + self.processing

    @property
    def is_at_limit(self) -> bool:
        return self.limit is not None and max(self.depth, self.stale) >= self.limit

    def shown(self, count: int) -> str:
        """`17`, or `10000+` for a count that reached the limit."""
        return str(count) if self.limit is None or count < self.limit else f"{self.limit}+"

    def jobs(self, count: int) -> str:
        return "1 job" if count == 1 else f"{self.shown(count)} jobs"

    @property
    def sentence(self) -> str:
        """`15 jobs (10 pending, 5 processing)`."""
        named = self.jobs(self.depth)
        parts = [f"{self.shown(self.pending)} pending, {self.shown(self.processing)} processing"] if self.depth else []
        stale = [f"{self.shown(self.stale)} stale"] if self.stale else []
        behind = [f"read from a standby {in_words(self.lag_s)} behind"] if self.lag_s is not None else []
        every = [*parts, *stale, *behind]
        return f"{named} ({', '.join(every)})" if every else named


@dataclass(frozen=True, slots=True)
class Rest:
    """What a queue holds besides, and no depth counts: jobs for later, and failed ones. None: nobody can tell."""

    scheduled: int | None
    failed: int | None
    limit: int

    @property
    def sentence(self) -> str:
        """`4 scheduled for later, 2 failed`."""

        def shown(count: int | None) -> str:
            return "unknown how many" if count is None else f"{count}{'+' if count >= self.limit else ''}"

        return f"{shown(self.scheduled)} scheduled for later, {shown(self.failed)} failed"


@dataclass(frozen=True, slots=True)
class PlatformWords:
    """What messages call the platform, and what a person can do there about a fault; its adapter sets them.

    name: as the subject of a sentence. The others are the fix of a condition: workers crash; ended with exit code 0;
    fewer run than are configured. also_set_in: where else the count may be set, as the end of a sentence; may be "".
    """

    name: str = "the platform"
    crashed: str = "see the deployment's log"
    exited: str = "let the process go on, or change its restart policy"
    missing: str = "see the deployment's log and the platform's limits"
    also_set_in: str = ""


@dataclass(frozen=True, slots=True)
class PlatformLimit:
    """A bound of the platform's own on the count of one service, 0 apart.

    words: why, as a clause of its own. fix: what lifts it, other than a change of the policy, as an imperative.
    """

    count: int
    reason: Reason
    words: str
    fix: str


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A deployment that does not serve yet, in the platform's own word for its status.

    since: when it came into that status, by the platform's clock; None: the platform does not say. may_take_long: it
    waits for a build, or for others, so that only HANGS_S tells that it hangs. fix: what to do where it hangs.
    """

    deployment: str
    status: str
    since: float | None = None
    may_take_long: bool = field(default=False, compare=False)
    fix: str = field(default="see its log, or cancel it", compare=False)


@dataclass(frozen=True, slots=True)
class Replicas:
    """One reading of a worker service.

    configured: what the platform was last asked for; 0 when its deployment is stopped, gone or was never made.
    running: instances that run. alive: instances that may still take jobs, starting and draining ones too.
    leaving: those of them that were told to go, while no other deployment serves or starts.
    draining_s: how long an instance that is taken away may go on with its jobs.
    deployment: identifies what is deployed; it is compared, and handed back to the platform, but means nothing here.
    coordinates: the platform's own value, opaque here, and handed back to it when the count is to change.
    smallest and largest: what it can be asked for, where that is not 0; None: as far as is known, any number.
    crashed, exited: instances of the deployment that serves which crashed, or ended by themselves or by a stop.
    under_way: the newest deployment, while it is queued, built or deployed.
    """

    configured: int
    running: int
    alive: int
    state: ServiceState
    deployment: str | None = None
    coordinates: object = None
    draining_s: float = 0.0
    smallest: PlatformLimit | None = None
    largest: PlatformLimit | None = None
    leaving: int = 0
    crashed: int = 0
    exited: int = 0
    under_way: UnderWay | None = None
    words: PlatformWords = field(default=PlatformWords(), compare=False)

    def finishing(self, service: ServiceTime | None) -> int:
        """The leaving instances that have the time to end their jobs; 0 while it is not known how long jobs take."""
        return self.leaving if service is not None and self.draining_s >= service.mean_s else 0


@dataclass(frozen=True, slots=True)
class RateUsage:
    """Requests that all workers together counted in the current minute, and how many they may make in one.

    recent: within the last 60 s, as far as two counts by the minute can tell.
    """

    used: int
    limit: int
    recent: int = field(default=0, compare=False)

    @property
    def is_used_up(self) -> bool:
        return max(self.used, self.recent) >= self.limit


@dataclass(frozen=True, slots=True)
class RateUnread:
    """There is a limit, and nobody knows how much of it is used: which is not 0."""

    why: str


Rate = RateUsage | RateUnread | None
"""None: the policy has no rate limit."""


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """How long the newest finished jobs took, in seconds; jobs: how many were measured (0: the policy says it)."""

    mean_s: float
    median_s: float
    jobs: int

    @classmethod
    def measured(cls, mean_s: float, median_s: float, jobs: int) -> ServiceTime:
        """Within 10 ms and 24 h; of fewer than 100 jobs the mean is at most 10 times the median: one may have hung.

        The mean goes in steps of 1 to 2.5 %, so that the noise of a few jobs changes nothing.
        """
        mean_s = min(mean_s, 10 * median_s) if jobs < 100 else mean_s
        return cls(_stepped(_job_time(mean_s)), _job_time(median_s), jobs)


def _job_time(seconds: float) -> float:
    return min(max(seconds, 0.01), 24 * 3600.0)


def _stepped(seconds: float) -> float:
    """To a multiple of 0.02, 0.05 or 0.1 of its power of ten: 1.98, 2, 2.05, 4.95, 5, 5.1."""
    power = math.floor(math.log10(seconds) + 1e-9)
    leading = seconds / 10.0**power
    step = 0.02 if leading < 2 else 0.05 if leading < 5 else 0.1
    return round(round(leading / step) * step * 10.0**power, 6)


@dataclass(frozen=True, slots=True)
class Observation:
    """service: None where it is not known how long a job takes, or not asked. unmeasured: why it cannot be measured."""

    queue: QueueDepth
    replicas: Replicas
    rate: Rate = None
    service: ServiceTime | None = None
    unmeasured: str = ""


@dataclass(frozen=True, slots=True)
class Intent:
    """A change that was written down before it was asked for, and of which nobody knows yet what became.

    stops: the deployment that it stops. previous: the last scale in its direction before it, which counts again where
    nothing of it was sent.
    """

    id: str
    epoch: int
    before: int
    after: int
    at: float
    accepted: bool = False
    stops: str | None = None
    previous: float | None = field(default=None, compare=False)

    @property
    def direction(self) -> Direction:
        return Direction.between(self.before, self.after)


@dataclass(frozen=True, slots=True)
class Recommendation:
    at: float
    replicas: int


@dataclass(frozen=True, slots=True)
class Start:
    """A change up that is being timed: accepted at `at`, and at `seen` fewer than `after` were last seen running."""

    at: float
    before: int
    after: int
    seen: float | None = None


@dataclass(frozen=True, slots=True)
class History:
    """What the journal remembers of one worker's service.

    since: when this memory began (None: it begins now). unbroken_since: since when recommendations were recorded
    without a gap (None: not at all), remembered_at: the last one, and window: for how long they were kept, in seconds.
    count: the number of replicas last agreed with the platform. refused_at, refused_to: when the platform last said no
    to a change, or did not make it, and to which count; setbacks: how many of these in a row. unconfirmed_stop: the
    deployment whose stop was accepted and is not shown. start_up_s: seconds from asking for workers until they ran,
    smoothed; None: never measured. start: the change up that is being timed. queue_seen: the identity of the queue in
    which jobs were last seen. read_at: when the queue was read and no recommendation noted. unread: how many cycles in
    a row could not read the queue, the last of them at unread_at. watch: how the service has fared since when.
    """

    last_up: float | None = None
    last_down: float | None = None
    since: float | None = None
    unbroken_since: float | None = None
    remembered_at: float | None = None
    window: float = 0.0
    recommendations: tuple[Recommendation, ...] = ()
    intent: Intent | None = None
    count: int | None = None
    refused_at: float | None = None
    refused_to: int | None = None
    setbacks: int = 0
    unconfirmed_stop: str | None = None
    start_up_s: float | None = None
    queue_seen: str = ""
    start: Start | None = None
    read_at: float | None = None
    unread: int = 0
    unread_at: float | None = None
    watch: Watch = field(default_factory=Watch)

    @property
    def queue_read_at(self) -> float | None:
        """The last reading of the queue; None: none is remembered."""
        return max((at for at in (self.remembered_at, self.read_at) if at is not None), default=None)

    def carried_on(self, now: float, *, window: float, gap: float) -> History:
        """As it would be after remembering once more now: a silence, or a longer window, begins the chain anew."""
        silent = self.remembered_at is None or now - self.remembered_at > gap
        return replace(self, unbroken_since=now) if silent or window > self.window else self


@dataclass(frozen=True, slots=True)
class Because:
    """One reason with its words, such as (ScaleDownCooldown, "scale-down cools down for 74 s more")."""

    reason: Reason
    words: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What should run, and why.

    `current` is the configured count: counting workers that start as missing would double every burst.
    """

    current: int
    recommended: int
    desired: int
    because: tuple[Because, ...]

    @property
    def direction(self) -> Direction:
        return Direction.between(self.current, self.desired)

    @property
    def changes_something(self) -> bool:
        return self.desired != self.current

    @property
    def reason(self) -> Reason:
        """The last rule that had something to say: the one that binds."""
        return self.because[-1].reason

    @property
    def reasons(self) -> tuple[Reason, ...]:
        return tuple(because.reason for because in self.because)

    @property
    def sentence(self) -> str:
        words = ", ".join(because.words for because in self.because)
        if self.changes_something:
            return f"{words}: {self.current} → {self.desired}"
        return f"hold at {self.current}: {words}"


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to act: one holder at a time, a higher epoch with each takeover."""

    holder: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Leader:
    """Who leads, as everybody can see it; `since` by Redis' clock."""

    holder: str
    epoch: int
    since: float


def workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"
