"""The frozen values of the domain. Nothing here reads a clock, a file or a socket.

Units: times are seconds since the epoch as floats, by the journal's clock (Redis); durations are seconds.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from enum import StrEnum
from operator import itemgetter
from typing import ClassVar, NamedTuple

from controller.core.budget import Spent
from controller.core.cap import Cap
from controller.core.load import Load
from controller.core.override import Overrides
from controller.core.price import Price
from controller.core.reasons import Because, Reason
from controller.core.slo import Promise
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

    about: one word that identifies the warning while its text changes: statuses, timezone, claims, due, standby,
    service_time, oldest_age_s.
    """

    about: str
    text: str


@dataclass(frozen=True, slots=True)
class QueueDepth:
    """One reading of a queue.

    pending: jobs that may be claimed now. processing: jobs in progress. oldest_age_s: seconds that the oldest ready job
    has waited; None: unknown. stale: claimed jobs that no worker works on any more, not part of the depth; None: the
    queue cannot tell. limit: counting stopped there, so a count that reached it is a lower bound, and the age is that
    of the oldest counted job (None: the counts come from a query of the policy and are exact). lag_s: seconds that a
    hot standby is behind its primary; None: not a standby. unnamed: why a depth of 0 is doubtful: no job ever had a
    status that the policy names, but rows with other statuses suggest that work is left; "" otherwise. soon: jobs that
    fall due within ahead_s seconds, not part of the depth; None: the queue cannot tell, or was not asked. parts: of a
    worker with several queues, each of them; the other fields are their sums then, and the oldest age. holders: who
    holds the jobs in progress, each once, in the queue's own words, and "" for jobs that name nobody; None: the queue
    cannot tell, was not asked, or has too many of them.
    """

    pending: int
    processing: int
    oldest_age_s: float | None = None
    stale: int | None = None
    limit: int | None = field(default=None, compare=False)
    lag_s: float | None = field(default=None, compare=False)
    unnamed: str = field(default="", compare=False)
    remarks: tuple[Remark, ...] = field(default=(), compare=False)
    soon: int | None = None
    ahead_s: float = field(default=0.0, compare=False)
    parts: tuple[QueuePart, ...] = ()
    holders: tuple[str, ...] | None = None

    @property
    def depth(self) -> int:
        return self.pending + self.processing

    @property
    def weighted(self) -> int:
        """The depth that tiers go by: each job counts as its queue's weight says, 1 by default; rounded up."""
        return math.ceil(sum(part.weight * part.known.depth for part in self.parts)) if self.parts else self.depth

    @property
    def is_at_limit(self) -> bool:
        return self.limit is not None and max(self.depth, self.stale or 0, self.soon or 0) >= self.limit

    @property
    def as_soon(self) -> QueueDepth:
        """The depth once the jobs that fall due soon are due, if no other job comes or ends."""
        if not self.soon:
            return self
        parts = tuple(replace(part, depth=part.known.as_soon) for part in self.parts)
        return replace(self, pending=self.pending + self.soon, soon=0, parts=parts)

    def shown(self, count: int) -> str:
        """`17`, or `10000+` for a count that reached the limit."""
        return str(count) if self.limit is None or count < self.limit else f"{self.limit}+"

    def jobs(self, count: int) -> str:
        return "1 job" if count == 1 else f"{self.shown(count)} jobs"

    @property
    def sentence(self) -> str:
        """`15 jobs (10 pending, 5 processing, 3 due within 20 s)`."""
        named = self.jobs(self.depth)
        parts = [f"{self.shown(self.pending)} pending, {self.shown(self.processing)} processing"] if self.depth else []
        soon = [f"{self.shown(self.soon)} due within {in_words(self.ahead_s)}"] if self.soon else []
        stale = [f"{self.shown(self.stale)} stale"] if self.stale else []
        behind = [f"read from a standby {in_words(self.lag_s)} behind"] if self.lag_s is not None else []
        every = [*parts, *soon, *stale, *behind]
        return f"{named} ({', '.join(every)})" if every else named

    @property
    def waited(self) -> str:
        """`the oldest ready job has waited 3.2 s`, or that this is unknown; "" if no job waits."""
        if self.oldest_age_s is not None:
            return f"the oldest ready job has waited {in_words(self.oldest_age_s)}"
        return "how long the oldest ready job has waited is unknown" if self.pending else ""


@dataclass(frozen=True, slots=True)
class QueuePart:
    """One of several queues of a worker.

    depth: None if it could not be read; why: the reason then. service: how long its jobs take; None: unknown, or not
    needed. unmeasured: why that cannot be measured, or "". target_wait: its own, in seconds; None: the worker's, or
    tiers. weight: what one of its jobs counts in the depth that tiers go by.
    """

    name: str
    depth: QueueDepth | None
    why: str = field(default="", compare=False)
    service: ServiceTime | None = None
    unmeasured: str = field(default="", compare=False)
    target_wait: float | None = None
    weight: Decimal = Decimal(1)

    @property
    def known(self) -> QueueDepth:
        """Its depth, where all queues of the worker could be read."""
        assert self.depth is not None, "the parts of a depth were read"
        return self.depth


@dataclass(frozen=True, slots=True)
class Rest:
    """Jobs of a queue that are not part of the depth: scheduled for later, and failed. None: unknown.

    no_scheduled, no_failed: why the count is unknown; may be "".
    """

    scheduled: int | None
    failed: int | None
    limit: int
    no_scheduled: str = field(default="", compare=False)
    no_failed: str = field(default="", compare=False)

    @property
    def sentence(self) -> str:
        """`4 scheduled for later, 2 failed`."""

        def shown(count: int | None, name: str, why: str) -> str:
            if count is None:
                return f"{name}: unknown ({why})" if why else f"{name}: unknown"
            return f"{count}{'+' if count >= self.limit else ''} {name}"

        scheduled = shown(self.scheduled, "scheduled for later", self.no_scheduled)
        return f"{scheduled}, {shown(self.failed, 'failed', self.no_failed)}"


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
class Instances:
    """The instances of a service, by name.

    staying: those that can be made to go last. first: those that go before any other, whatever is asked, such as one
    that is not ready. leaving: those that drain. in_order: the last of `staying` goes first, whatever is asked, and
    each place in it counts as one instance.
    """

    staying: tuple[str, ...] = ()
    first: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()
    in_order: bool = False


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
    limits: the most memory and vCPU that one instance may use; None: not both are reported.
    instances: their names; None: not asked for, or the platform chooses by itself which of them go.
    contenders: what else sets the count, as far as the platform shows it, such as an autoscaler of its own.
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
    limits: Price | None = None
    instances: Instances | None = None
    contenders: tuple[str, ...] = ()
    words: PlatformWords = field(default=PlatformWords(), compare=False)

    def finishing(self, service: ServiceTime | None) -> int:
        """Leaving instances that have the time to finish their jobs; 0 while the time per job is unknown."""
        return self.leaving if service is not None and self.draining_s >= service.mean_s else 0


class Shares(NamedTuple):
    """What is published to the workers: the rate limit, the share of each worker in it, and max_replicas."""

    limit: int
    each: int
    max_workers: int

    @classmethod
    def among(cls, replicas: int, limit: int, max_workers: int) -> Shares:
        """The shares of `replicas` workers never add up to more than the limit."""
        return cls(limit, limit // replicas if replicas else limit, max_workers)


@dataclass(frozen=True, slots=True)
class RateUsage:
    """Requests that all workers together counted in the current minute, and their limit per minute.

    recent: an estimate for the last 60 s, from the counts of two minutes. published: the shares that the workers read
    now; None: nothing, or not what a controller writes.
    """

    used: int
    limit: int
    recent: int = field(default=0, compare=False)
    published: Shares | None = field(default=None, compare=False)

    @property
    def is_used_up(self) -> bool:
        return max(self.used, self.recent) >= self.limit


@dataclass(frozen=True, slots=True)
class RateUnread:
    """There is a limit, but the used requests are unknown; unknown is not 0."""

    why: str


Rate = RateUsage | RateUnread | None
"""None: the policy has no rate limit."""


class Finished(NamedTuple):
    """A job that ended; at: by the queue's clock, seconds: how long it took.

    waited: since when a worker could take it, and when one did, by the queue's clock; None: unknown.
    """

    at: float
    seconds: float
    waited: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class ServiceTime:
    """How long jobs take, in seconds.

    jobs: the number of newest jobs that were measured (0: the policy says it). finished: these jobs, in the order of
    their end. arrivals_per_s: how many jobs a second arrived lately; 0: unknown. no_waits: why it cannot be measured
    how long they waited, or "".
    """

    mean_s: float
    median_s: float
    jobs: int
    arrivals_per_s: float = 0.0
    finished: tuple[Finished, ...] = field(default=(), compare=False, repr=False)
    no_waits: str = field(default="", compare=False)

    @classmethod
    def measured(cls, finished: Sequence[Finished], arrivals_per_s: float = 0.0) -> ServiceTime | None:
        """Of the newest finished jobs; None: there are none.

        A job that hung would count for hundreds of others, so each counts as at most 10 times the 99th percentile. With
        fewer than 100 jobs that percentile is the longest one; then the mean is at most 10 times the median.
        """
        if not finished:
            return None
        ascending = sorted(one.seconds for one in finished)
        most = longest_counted(ascending)
        in_order = sorted(finished, key=itemgetter(0, 1))
        counted = tuple(one if one.seconds <= most else one._replace(seconds=most) for one in in_order)
        return replace(cls.of(ascending, sum(ascending), arrivals_per_s), finished=counted)

    @classmethod
    def of(
        cls, ascending: Sequence[float], total: float, arrivals_per_s: float, long_run: LongRun | None = None
    ) -> ServiceTime:
        """Of the times of at least one job, and their sum; with a long run, as LongRun.with_newest()."""
        most, median = longest_counted(ascending), percentile(ascending, 0.5)
        over = sum([seconds - most for seconds in ascending[bisect_right(ascending, most) :]])
        mean = (total - over) / len(ascending)
        mean = min(mean, 10 * median) if len(ascending) < 100 else mean
        mean = _stepped(_job_time(mean))
        mean = mean if long_run is None else long_run.or_longer(mean)
        return cls(mean, _job_time(median), len(ascending), arrivals_per_s)


@dataclass(frozen=True, slots=True)
class LongRun:
    """The mean time of all jobs so far, in seconds; of the newest 5,000 rather than of older ones.

    jobs: how many it counts, at most 5,000. newest: when the newest of them ended, by the queue's clock.
    """

    mean_s: float
    jobs: int
    newest: float

    MOST: ClassVar[int] = 5_000

    @classmethod
    def after(cls, before: LongRun | None, finished: Sequence[Finished]) -> LongRun | None:
        """With the jobs that ended since `newest`; the same value if there are none."""
        newest = -math.inf if before is None else before.newest
        fresh = finished[bisect_right(finished, newest, key=_end) :]
        return cls.of(before, [one.seconds for one in fresh], fresh[-1].at) if fresh else before

    @classmethod
    def of(cls, before: LongRun | None, seconds: Iterable[float], newest: float) -> LongRun:
        """With the jobs that ended since, whose times these are; the newest of them ended at `newest`."""
        mean, jobs, most = (0.0, 0, cls.MOST) if before is None else (before.mean_s, before.jobs, cls.MOST)
        for one in seconds:
            jobs += jobs < most
            mean += (one - mean) / jobs
        return cls(mean, jobs, newest)

    def with_newest(self, service: ServiceTime) -> ServiceTime:
        """The longer of the two means holds: few long jobs among many short ones are seldom among the newest 500."""
        mean = self.or_longer(service.mean_s)
        return service if mean == service.mean_s else replace(service, mean_s=mean)

    def or_longer(self, mean_s: float) -> float:
        """The mean of the newest jobs, or its own if that is longer."""
        return mean_s if self.mean_s <= mean_s else max(mean_s, _stepped(_job_time(self.mean_s)))


def _end(one: Finished) -> float:
    return one.at


def longest_counted(ascending: Sequence[float]) -> float:
    """What a job counts for at most, see ServiceTime.measured."""
    return _HUNG * percentile(ascending, 0.99)


def percentile(ascending: Sequence[float], share: float) -> float:
    """The lowest value that at least this share of the values does not exceed (PostgreSQL's percentile_disc)."""
    return ascending[max(0, math.ceil(share * len(ascending) - 1e-9) - 1)]


def median_start(start_ups: Sequence[float]) -> float | None:
    """Of the newest starts, in seconds; None: there was none."""
    return percentile(sorted(start_ups), 0.5) if start_ups else None


_HUNG = 10


def _job_time(seconds: float) -> float:
    """Limited to 10 ms..24 h."""
    return min(max(seconds, 0.01), 24 * 3600.0)


def _stepped(seconds: float) -> float:
    """Rounded to a multiple of 0.02, 0.05 or 0.1 of its power of ten: 1.98, 2, 2.05, 4.95, 5, 5.1.

    Steps of 1 to 2.5 %, so that the noise of a few jobs changes no decision.
    """
    power = math.floor(math.log10(seconds) + 1e-9)
    leading = seconds / 10.0**power
    step = 0.02 if leading < 2 else 0.05 if leading < 5 else 0.1
    return round(round(leading / step) * step * 10.0**power, 6)


@dataclass(frozen=True, slots=True)
class Observation:
    """service: how long a job takes; None: unknown, or not needed. unmeasured: why it cannot be measured, or "".

    caps: of the budgets that are nearly spent.
    """

    queue: QueueDepth
    replicas: Replicas
    rate: Rate = None
    service: ServiceTime | None = None
    unmeasured: str = ""
    caps: tuple[Cap, ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """A change of the count: recorded before it is requested, and open until its outcome is known.

    at: when it was recorded. accepted_at: when the platform accepted the request; None: unknown whether it did. stops:
    the deployment that it stops. previous: the last scale in its direction before it; the cooldown counts from that one
    again if nothing was sent. within: WorkerPolicy.limits of the policy that wants it. reason, message: why, in one
    word and in a sentence, for a platform that wants to know; the journal does not keep them.
    """

    id: str
    epoch: int
    before: int
    after: int
    at: float
    accepted_at: float | None = None
    stops: str | None = None
    previous: float | None = field(default=None, compare=False)
    within: str = ""
    reason: str = field(default="", compare=False)
    message: str = field(default="", compare=False)

    @property
    def direction(self) -> Direction:
        return Direction.between(self.before, self.after)

    @property
    def is_accepted(self) -> bool:
        return self.accepted_at is not None


class Recommendation(NamedTuple):
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
    without a gap (None: not at all); remembered_at: when the last one was; window: how long they are kept, in seconds;
    recommendations: those that may still be the highest of it (history.needed). change: the open change; there is at
    most one. count: the last count known to the platform and to us. refused_at, refused_to: when the platform last
    refused a change or did not make it, and to which count; setbacks: how many of these in a row. unconfirmed_stop: the
    deployment whose stop was accepted but is not shown. start_ups: seconds from the request for workers until they
    ran, of the newest starts. start: the scale-up that is being measured. queue_seen: the identity of the queue in
    which jobs were last seen. read_at: when the queue was last read. unread: failed readings of the queue in a row, the
    last at unread_at. watch: since when the service has had which fault.
    apart_s: seconds between the newest two polls. pauses: of each worker, see core/pauses.py; kept_s: for how long each
    stays that is not needed, learned from them at learned_at. long_run: the mean time of all jobs. load: of the last
    day; None: never observed. promise: what is learned for `slo`; None: nothing. overrides: what operators have asked
    for. spent: what the service has used, for its budgets; None: never charged.
    """

    last_up: float | None = None
    last_down: float | None = None
    since: float | None = None
    unbroken_since: float | None = None
    remembered_at: float | None = None
    window: float = 0.0
    recommendations: tuple[Recommendation, ...] = ()
    apart_s: float | None = None
    pauses: tuple[tuple[float, ...], ...] = ()
    kept_s: tuple[float | None, ...] = ()
    learned_at: float | None = None
    long_run: LongRun | None = None
    load: Load | None = None
    promise: Promise | None = None
    change: Change | None = None
    count: int | None = None
    refused_at: float | None = None
    refused_to: int | None = None
    setbacks: int = 0
    unconfirmed_stop: str | None = None
    start_ups: tuple[float, ...] = ()
    queue_seen: str = ""
    start: Start | None = None
    read_at: float | None = None
    unread: int = 0
    unread_at: float | None = None
    watch: Watch = field(default_factory=Watch)
    overrides: Overrides = field(default=Overrides())
    spent: Spent | None = None
    schedule: str = ""
    """The schedule whose begin was told, and whose end was not, see schedule.told_as(); "": none."""
    scaled_within: str = ""
    """Change.within of the last change, and of the one before it that had others: `1..2 after 0..4`.

    "": unknown, or it was made outside the controller.
    """

    @property
    def start_up_s(self) -> float | None:
        """The median of the newest starts; None: never measured."""
        return median_start(self.start_ups)

    @property
    def queue_read_at(self) -> float | None:
        """When the queue was last read; None: unknown."""
        return max((at for at in (self.remembered_at, self.read_at) if at is not None), default=None)


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
