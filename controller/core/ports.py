"""The interfaces through which the reconciler reads and acts, as small Protocols, and their errors.

Unavailable: a dependency failed. LeaseLost: another replica leads now. Any other exception is a bug.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from controller.core.model import (
    Change,
    History,
    Instances,
    Leader,
    Lease,
    QueueDepth,
    RateUsage,
    Recommendation,
    Replicas,
    ServiceTime,
    Shares,
)
from controller.core.notices import Mark, Notice
from controller.core.text import bounds
from controller.core.timeline import Decided, Happening, Sample
from controller.core.units import in_words
from controller.policy import Queue as QueuePolicy
from controller.policy import RateLimit as RateLimitPolicy


class Role(StrEnum):
    """What a dependency does for the controller."""

    QUEUE = "queue"
    PLATFORM = "platform"
    JOURNAL = "journal"


@dataclass(frozen=True, slots=True)
class Source:
    """A dependency that may fail. name: what messages call it, such as PostgreSQL; its adapter sets it."""

    role: Role
    name: str

    def __str__(self) -> str:
        return self.name


class Sources(NamedTuple):
    """The dependencies of one pass."""

    queue: Source
    platform: Source
    journal: Source

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(source.name for source in self)


class Unavailable(Exception):  # noqa: N818  # it names the state of a dependency, as log and docs do
    """Something could not be read or done. It never counts as 0 and is never a reason to act: the count stays.

    text: what failed and what to do about it, in one sentence without a secret.
    """

    def __init__(self, source: Source, text: str) -> None:
        self.source = source
        self.text = bounds.cut(text, bounds.MESSAGE)
        super().__init__(f"{source}: {self.text}")


class NotMeasurable(Unavailable):
    """How long a job takes cannot be measured at this queue, now or later; the policy has to give service_time."""

    def __init__(self, source: Source, why: str) -> None:
        self.why = why
        super().__init__(source, f"how long a job takes cannot be measured, because {why}; write service_time")


class NotSent(Unavailable):
    """The change certainly did not happen: nothing of it was sent, or it was rejected before it was read."""


class Outdated(NotSent):
    """The reading that the change was decided on is out of date; the next cycle reads again and decides again."""


class Refused(NotSent):
    """The platform read the change and refused it; the same request right now would be refused again."""


class Outrun(Unavailable):
    """The history was written by another process since it was read; read it again and decide again."""


class LeaseLost(Exception):  # noqa: N818  # as above
    """The lease is not ours any more: nothing was written, and nothing may be sent."""


class Clock(Protocol):
    """The one clock: wall time for what people read, monotonic time for everything else.

    The monotonic time must go on while the machine is suspended, or a lease would seem valid after it ended.
    """

    def wall(self) -> float: ...
    def monotonic(self) -> float: ...


class Report(Protocol):
    """Writes an event to the log: report("external_change", worker=…, message=…)."""

    def __call__(self, event: str, /, **fields: object) -> None: ...


class DepthRequest(NamedTuple):
    """What a cycle asks of one queue: each count up to `limit`.

    Counts are current up to `enough`, and of jobs in progress up to `busy`. Above these, the decision is the same for
    every count, so a count may be some seconds old. ahead: jobs that fall due within this number of seconds are
    counted, too; 0: they are not counted. holders: who holds the jobs in progress is asked for.
    """

    queue: QueuePolicy
    limit: int
    enough: int = 0
    busy: int = 0
    ahead: float = 0.0
    holders: bool = False


class Queue(Protocol):
    """Reads how many jobs wait and how many are in progress. A failure is Unavailable; it never guesses."""

    @property
    def source(self) -> Source: ...

    def depths(self, requests: Mapping[str, DepthRequest]) -> AsyncIterator[tuple[str, QueueDepth | Unavailable]]:
        """One reading for all these queues; each comes under its name as soon as it is there, the slow ones last."""

    async def service_time(self, queue: QueuePolicy) -> ServiceTime | None:
        """How long the newest finished jobs took; None: no job has finished yet.

        Raises:
            NotMeasurable: it cannot be measured at this queue.
        """

    async def close(self) -> None:
        """Closes the connection; the next reading opens it again."""


class Receipt(StrEnum):
    """What happened to a request to scale: the platform accepted it, or a dry run did not send it."""

    ACCEPTED = "accepted"
    DRY_RUN = "dry run"


class Requests(NamedTuple):
    """Requests sent to the platform within its window of `window_s` seconds, and the number that it allows there.

    pace_s: the shortest time between two cycles, in seconds, for which the remaining requests are enough.
    """

    used: int
    quota: int
    window_s: float
    pace_s: float


def pace_words(requests: Requests, interval: float, platform: str) -> str:
    """The message while cycles come less often than the interval."""
    used = f"{requests.used} of the {requests.quota} requests that {platform} allows in {in_words(requests.window_s)}"
    return f"the next cycle comes {in_words(requests.pace_s)} after the last, not {in_words(interval)}: {used} are used"


class Chooser(Protocol):
    """Of one service: its platform can be told which instances go last."""

    async def instances(self) -> Instances:
        """Those that there are now.

        Raises:
            Unavailable: they could not be read.
        """

    async def keep(self, names: Collection[str], change: Change) -> None:
        """Before this scale-down: all other instances go before these. It changes no count.

        Raises:
            LeaseLost: we no longer lead.
            Unavailable: not all of them are sure to go last.
        """


class Platform(Protocol):
    """Where the workers run."""

    @property
    def source(self) -> Source: ...

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        """One reading for all services; a service that could not be read has Unavailable as its value.

        Raises:
            Unavailable: nothing could be read at all.
        """

    async def scale(self, service: str, change: Change, observed: Replicas) -> Receipt:
        """Requests the change's absolute number of replicas; `observed` is the reading that it was decided on.

        Raises:
            LeaseLost: the lease ended before the change was sent completely.
            NotSent: nothing changed.
            Unavailable: it was sent, and the outcome is unknown.
        """

    def requests(self) -> Requests | None:
        """None: it sets no limit that is known, and no cycle waits for one."""

    def chooser(self, service: str) -> Chooser | None:
        """None: it chooses by itself which instances of that service go."""


class Recalled(NamedTuple):
    """A worker's history, and when it was read.

    now: by the journal's clock. read_at: by this process's monotonic clock, after the journal's answer.
    version: what the journal compares before it writes.
    """

    history: History
    now: float
    read_at: float
    version: object = None

    def now_at(self, monotonic: float) -> float:
        """The journal's time at a later time of the monotonic clock."""
        return self.now + max(0.0, monotonic - self.read_at)


@dataclass(frozen=True, slots=True)
class CycleNote:
    """What a cycle has read: the recommendation, the configured count, and whether jobs are in progress.

    recommended: None if the queue or the platform could not be read. count: None if the platform could not be read.
    working: a job is in progress. running: instances that run. read: the queue could be read. queue_seen: the identity
    of the queue in which the cycle saw jobs; "" if it saw none. looks: quick checks since the last poll, in their
    order. is_woken: this is a quick check, and no poll.
    """

    recommended: int | None
    count: int | None
    working: bool = False
    running: int | None = None
    read: bool = True
    queue_seen: str = ""
    looks: tuple[Recommendation, ...] = ()
    is_woken: bool = False


class Retention(NamedTuple):
    """window: how long recommendations are kept. gap: the history has a gap after this time without one. In seconds.

    most: pauses are measured of workers up to this (see core/pauses.py); 0: of none.
    """

    window: float
    gap: float
    most: int = 0


class Settled(StrEnum):
    """How a change ended."""

    APPLIED = "applied"
    NOT_HONOURED = "not honoured"
    NEVER_SENT = "never sent"
    REFUSED = "refused"


class Journal(Protocol):
    """What must survive a restart. A write checks the lease in the same atomic step.

    Raises:
        Unavailable: the journal cannot be reached.
        LeaseLost: a write, and the lease is not ours any more.
    """

    @property
    def source(self) -> Source: ...

    async def recall(self, worker: str) -> Recalled:
        """Reads the history, with what this process knows and the journal has lost. Changes nothing."""

    async def write(self, worker: str, recalled: Recalled, history: History, lease: Lease, *, now: float) -> Recalled:
        """Replaces the recalled history by this one, if nothing was written since and the server is the same.

        New timestamps that equal `now` become the time at which it is written. Returns it as it was written.

        Raises:
            Outrun: it was written meanwhile. Nothing was written, and nothing may be sent on that decision.
            Unavailable: it is unknown whether it was written. Nothing may be sent then.
        """

    async def publish(self, lines: Mapping[str, str], lease: Lease) -> None:
        """Stores the last cycle of each worker, as JSON, for the standby."""

    async def watch(self, workers: Sequence[str]) -> LeaderState:
        """What a standby shows. It also writes back what this process knows and the journal has lost."""


class LeaderState(NamedTuple):
    """Who leads, and what the leader published.

    trusted_for: seconds for which the leader may still trust its lease. age: of what was published, in seconds.
    problems: published entries that could not be read and are left out, each with its fix.
    """

    leader: Leader | None
    trusted_for: float
    published: Mapping[str, str]
    age: float | None
    problems: tuple[str, ...] = ()


class Bid(NamedTuple):
    """An attempt to get the lease.

    seen_epoch: the highest epoch that this process knows. last_holder: its own holder id when it last led. patience:
    seconds for which another replica may still trust its lease, even if Redis has lost it. of_nothing: take the lease
    even if Redis knows no leader at all.
    """

    holder: str
    seen_epoch: int = 0
    last_holder: str = ""
    patience: float = 0.0
    of_nothing: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """Entries of the history that are written together, in their order; see core/timeline.py. By worker, but the first.

    keep_s: how long entries are kept.
    """

    happenings: Sequence[Happening] = ()
    decided: Sequence[tuple[str, Decided]] = ()
    minutes: Sequence[tuple[str, Sample]] = ()
    tens: Sequence[tuple[str, Sample]] = ()
    keep_s: float = 7 * 24 * 3600.0


class Page(NamedTuple):
    """Entries of the history, the newest first. more: for the next page; "" if this is the last."""

    happenings: tuple[Happening, ...]
    more: str = ""


class Timeline(Protocol):
    """The history of a group of controllers: a leader writes it, each replica reads it.

    Raises:
        Unavailable: the store cannot be reached.
    """

    async def append(self, batch: Batch, lease: Lease) -> None:
        """Adds entries, if the lease is held. A happening whose ident is among the newest is not added again.

        Raises:
            LeaseLost: the lease is not ours any more; nothing was written.
        """

    async def happenings(self, since: float, until: float, *, most: int, after: str = "") -> Page:
        """At most `most` of that time, the newest first. after: the `more` of the page before."""

    async def decided(self, worker: str, since: float, until: float, *, most: int) -> tuple[Decided, ...]:
        """The newest `most` of that time, the newest first."""

    async def samples(self, worker: str, since: float, until: float) -> tuple[Sample, ...]:
        """In their order: one a minute where they are kept, and before that one each ten minutes."""


class NotDeliveredError(Exception):
    """A target did not take a notice.

    may_retry: whether the same may succeed in a moment. wait_s: how long the target asked to wait; None: it did not.
    """

    def __init__(self, text: str, *, may_retry: bool, wait_s: float | None = None) -> None:
        self.text = bounds.cut(text, bounds.MESSAGE)
        self.may_retry, self.wait_s = may_retry, wait_s
        super().__init__(self.text)


class Notify(Protocol):
    """Tells people at one address."""

    async def send(self, notice: Notice, at: float) -> str:
        """Sends it once; what came back, in some words. at: the time of this attempt, in epoch seconds.

        Raises:
            NotDeliveredError: it was not taken, or it is unknown whether it was.
        """

    async def close(self) -> None: ...


class Marks(Protocol):
    """Remembers what was told of, for the next leader.

    Raises:
        Unavailable: the store cannot be reached.
    """

    async def load(self) -> Mapping[str, Mark]: ...

    async def save(self, changes: Mapping[str, Mark | None]) -> None:
        """None: it is removed."""


class NotAcquired(NamedTuple):
    """Another replica has the lease, or may still trust it, for `wait` seconds; or Redis is empty."""

    epoch: int = 0
    wait: float = 0.0
    empty: bool = False


class Leases(Protocol):
    """The right to act. A replica that gets Unavailable does not lead."""

    async def acquire(self, bid: Bid, ttl: float) -> Lease | NotAcquired:
        """The lease with an epoch above every earlier one, for `ttl` seconds."""

    async def renew(self, lease: Lease, ttl: float) -> bool:
        """False: another replica has the lease, or it ended. Never creates a lease."""

    async def release(self, lease: Lease) -> None: ...


class RateLimit(Protocol):
    """The rate limit that the workers share: they count their requests, the controller publishes their shares."""

    async def used(self, limit: RateLimitPolicy) -> RateUsage:
        """Requests that the workers counted in the current minute and within the last 60 s, and what is published."""

    async def share(self, limit: RateLimitPolicy, shares: Shares) -> None:
        """Publishes the limit and the share of each worker."""
