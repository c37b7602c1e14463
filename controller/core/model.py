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

    @property
    def sentence(self) -> str:
        return _SENTENCES[self]


_SENTENCES: Mapping[Reason, str] = {
    Reason.TIER: "The tier that holds the queue's depth wants this many workers.",
    Reason.TARGET_WAIT: "So many workers work off what waits within target_wait, as long as jobs take now.",
    Reason.SERVICE_TIME_UNKNOWN: "How long a job takes is not known yet; the count stays, and one worker finds it out.",
    Reason.BELOW_MINIMUM: "Fewer workers than min_replicas were found; corrected at once, whatever the cooldowns say.",
    Reason.ABOVE_MAXIMUM: "More workers than max_replicas were found; corrected at once, whatever the cooldowns say.",
    Reason.BUSY: "The jobs that are being worked on keep so many workers busy; only the others may go.",
    Reason.STABILIZATION_WINDOW: "More workers were wanted a moment ago; going down waits for the window to pass.",
    Reason.IDLE_OFF: "More workers were needed a moment ago; a worker goes when it was not for as long as idle_off.",
    Reason.MEMORY_TOO_SHORT: "What was wanted over the whole window is not known yet; going down waits until it is.",
    Reason.SCALE_UP_COOLDOWN: "The last scale-up was too recent to add more workers.",
    Reason.SCALE_DOWN_COOLDOWN: "The last scale, in either direction, was too recent to take workers away.",
    Reason.RATE_LIMIT: "The requests of this minute are used up; more workers could not go faster.",
    Reason.RATE_UNKNOWN: "The requests used in this minute could not be read; nobody is added on a guess.",
    Reason.SCALE_UP_STEP: "scale_up.max_step allows only so many more workers at once.",
    Reason.SCALE_DOWN_STEP: "scale_down.max_step allows only so many fewer workers at once.",
    Reason.MINIMUM: "min_replicas has the last word.",
    Reason.MAXIMUM: "max_replicas has the last word.",
    Reason.REGIONS: "The service runs in several regions, and each keeps at least one worker.",
    Reason.VOLUME: "The service has a volume, with which the platform allows no more than one replica.",
    Reason.DEPLOYING: "A deployment is in progress, which cannot be stopped; going to zero waits for it.",
    Reason.BACKING_OFF: "The platform refused the last change; it is asked again after a pause.",
    Reason.INTENT_OPEN: "The last change was asked for and is not visible yet; nothing else is asked meanwhile.",
    Reason.WORKERS_CRASH: "The workers crash and none runs; none is added until one runs.",
    Reason.WORKERS_EXITED: "Workers ended by themselves with exit code 0, and the platform does not restart them.",
    Reason.WORKERS_MISSING: "Fewer workers run than are configured, for longer than the landing bound.",
    Reason.DEPLOYMENT_HANGS: "The newest deployment has been in the same status for longer than a deployment may take.",
    Reason.NO_PROGRESS: "Jobs are ready, a worker is idle, and no job was taken for no_progress_after.",
    Reason.NOT_HONOURED: "The platform accepted a change and did not make it within the landing bound.",
    Reason.DRY_RUN: "Dry run: this is what would have been done.",
    Reason.STANDBY: "Another replica of the controller leads.",
    Reason.LEASE_LOST: "The lease went to another replica before the change was written down; nothing was sent.",
    Reason.QUEUE_UNAVAILABLE: "The queue could not be read; the count stays as it is.",
    Reason.PLATFORM_UNAVAILABLE: "The platform could not be read; the count stays as it is.",
    Reason.JOURNAL_UNAVAILABLE: "Redis could not be read or written; nothing is done that cannot be remembered.",
    Reason.FALLBACK: "The queue could not be read for on_unavailable.after; at least at_least workers until it can.",
    Reason.SCALE_FAILED: "The platform refused the change, or it could not be sent; nothing was changed.",
    Reason.OUTCOME_UNKNOWN: "The change was sent and the answer was lost; the next readings tell what became of it.",
    Reason.TIMED_OUT: "The cycle took too long and was given up.",
    Reason.CRASHED: "A bug: the traceback is in the log, the count stays as it is, the next cycle tries again.",
}


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
