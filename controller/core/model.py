"""The frozen values of the domain. Nothing here reads a clock, a file or a socket.

Units: times are seconds since the epoch as floats, by the journal's clock (Redis); durations are seconds.
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
    """Why a worker service has its count. The log, /status, docs/reasons.md and the tests use the same words."""

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
        "the requests used in this minute could not be read, and unknown is not 0: no worker is added",
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
    """The state of a service's newest deployment: it decides how a change is requested from the platform."""

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
    """A warning about a queue that changes no reading.

    about: one word that identifies the warning while its text changes: statuses, timezone, claims, standby,
    service_time, oldest_age_s.
    """

    about: str
    text: str


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """One reading of a queue.

    pending: jobs that may be claimed now. processing: jobs in progress. oldest_age_s: seconds that the oldest ready job
    has waited. stale: claimed jobs that no worker works on any more; not part of the depth. limit: counting stopped
    there, so a count that reached it is a lower bound, and the age is that of the oldest counted job (None: the counts
    come from a query of the policy and are exact). lag_s: seconds that a hot standby is behind its primary; None: not a
    standby. unnamed: why a depth of 0 is doubtful: no job ever had a status that the policy names, but rows with other
    statuses suggest that work is left; "" otherwise.
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
    """Jobs of a queue that are not part of the depth: scheduled for later, and failed. None: unknown."""

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
    """The platform's name in messages, and what to do there about a fault; the platform's adapter sets them.

    name: the subject of a sentence. crashed, exited, missing: the fix if workers crash, if they ended with exit code 0,
    and if fewer run than are configured. also_set_in: where else the count may be set, as the end of a sentence; may be
    "".
    """

    name: str = "the platform"
    crashed: str = "see the deployment's log"
    exited: str = "let the process go on, or change its restart policy"
    missing: str = "see the deployment's log and the platform's limits"
    also_set_in: str = ""


@dataclass(frozen=True, slots=True)
class PlatformLimit:
    """A limit that the platform sets on the count of one service; 0 is always allowed.

    words: why, as a whole clause. fix: how to remove the limit without a change of the policy, as an imperative.
    """

    count: int
    reason: Reason
    words: str
    fix: str


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A deployment that does not serve yet; `status` is the platform's own word.

    since: when it got this status, by the platform's clock; None: unknown. may_take_long: it waits for a build or for
    another deployment, so it counts as hanging only after HANGS_S. fix: what to do if it hangs.
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
    running: instances that run. alive: instances that may still take jobs, including starting and draining ones.
    leaving: draining instances, counted only while no other deployment serves or starts.
    draining_s: seconds that a removed instance has to finish its jobs.
    deployment: id of what is deployed; the core only compares it and hands it back to the platform.
    coordinates: a value of the platform, opaque to the core, and handed back when the count changes.
    smallest and largest: the limits of a count other than 0; None: no limit is known.
    crashed, exited: instances of the serving deployment that crashed, or that ended by themselves or by a stop.
    under_way: the newest deployment while it is queued, built or deployed.
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
        """Leaving instances that have the time to finish their jobs; 0 while the time per job is unknown."""
        return self.leaving if service is not None and self.draining_s >= service.mean_s else 0


@dataclass(frozen=True, slots=True)
class RateUsage:
    """Requests that all workers together counted in the current minute, and their limit per minute.

    recent: an estimate for the last 60 s, from the counts of two minutes.
    """

    used: int
    limit: int
    recent: int = field(default=0, compare=False)

    @property
    def is_used_up(self) -> bool:
        return max(self.used, self.recent) >= self.limit


@dataclass(frozen=True, slots=True)
class RateUnread:
    """There is a limit, but the used requests are unknown; unknown is not 0."""

    why: str


Rate = RateUsage | RateUnread | None
"""None: the policy has no rate limit."""


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """How long the newest finished jobs took, in seconds; jobs: the number of jobs measured (0: the policy says it)."""

    mean_s: float
    median_s: float
    jobs: int

    @classmethod
    def measured(cls, mean_s: float, median_s: float, jobs: int) -> ServiceTime:
        """Limits the times to 10 ms..24 h. With fewer than 100 jobs the mean is at most 10 times the median.

        That second limit is for a single job that hung. The mean is rounded in steps of 1 to 2.5 %, so that the noise
        of a few jobs changes no decision.
        """
        mean_s = min(mean_s, 10 * median_s) if jobs < 100 else mean_s
        return cls(_stepped(_job_time(mean_s)), _job_time(median_s), jobs)


def _job_time(seconds: float) -> float:
    return min(max(seconds, 0.01), 24 * 3600.0)


def _stepped(seconds: float) -> float:
    """Rounded to a multiple of 0.02, 0.05 or 0.1 of its power of ten: 1.98, 2, 2.05, 4.95, 5, 5.1."""
    power = math.floor(math.log10(seconds) + 1e-9)
    leading = seconds / 10.0**power
    step = 0.02 if leading < 2 else 0.05 if leading < 5 else 0.1
    return round(round(leading / step) * step * 10.0**power, 6)


@dataclass(frozen=True, slots=True)
class Observation:
    """service: how long a job takes; None: unknown, or not needed. unmeasured: why it cannot be measured, or ""."""

    queue: QueueDepth
    replicas: Replicas
    rate: Rate = None
    service: ServiceTime | None = None
    unmeasured: str = ""


@dataclass(frozen=True, slots=True)
class Intent:
    """A change that was recorded before it was requested, and whose outcome is not known yet.

    accepted: the platform accepted the request. stops: the deployment that it stops. previous: the last scale in its
    direction before it; the cooldown counts from that one again if nothing was sent.
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
    """A scale-up whose duration is measured: accepted at `at`; fewer than `after` workers last ran at `seen`."""

    at: float
    before: int
    after: int
    seen: float | None = None


@dataclass(frozen=True, slots=True)
class History:
    """What the journal remembers of one worker's service.

    since: when this history began (None: it begins now). unbroken_since: since when recommendations were recorded
    without a gap (None: not at all); remembered_at: when the last one was; window: how long they are kept, in seconds.
    count: the last count known to the platform and to us. refused_at, refused_to: when the platform last refused a
    change or did not make it, and to which count; setbacks: how many of these in a row. unconfirmed_stop: the
    deployment whose stop was accepted but is not shown. start_up_s: seconds from the request for workers until they
    ran, smoothed; None: never measured. start: the scale-up that is being measured. queue_seen: the identity of the
    queue in which jobs were last seen. read_at: when the queue was last read without a recommendation. unread: failed
    readings of the queue in a row, the last at unread_at. watch: since when the service has had which fault.
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
        """When the queue was last read; None: unknown."""
        return max((at for at in (self.remembered_at, self.read_at) if at is not None), default=None)

    def carried_on(self, now: float, *, window: float, gap: float) -> History:
        """With one more recommendation at `now`: after a gap, or with a longer window, unbroken_since starts again."""
        silent = self.remembered_at is None or now - self.remembered_at > gap
        return replace(self, unbroken_since=now) if silent or window > self.window else self


@dataclass(frozen=True, slots=True)
class Because:
    """One reason with its message, such as (ScaleDownCooldown, "scale-down cools down for 74 s more")."""

    reason: Reason
    words: str


@dataclass(frozen=True, slots=True)
class Decision:
    """How many workers should run, and why.

    `current` is the configured count, not the running one: if starting workers counted as missing, every burst would be
    scaled up twice.
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
        """The reason of the last rule that limited the decision; the earlier limits no longer matter."""
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
    """The right to act: one holder at a time, and a higher epoch with each takeover."""

    holder: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Leader:
    """The replica that leads, as Redis shows it; `since` by Redis' clock."""

    holder: str
    epoch: int
    since: float


def workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"
