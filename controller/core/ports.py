"""What the reconciler needs of the world, as small Protocols, and the errors that belong to them.

Unavailable is the world's fault, LeaseLost is ours by succession; anything else that is raised is a bug.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple, Protocol

from controller.core.model import Decision, History, Intent, Leader, Lease, QueueDepth, RateUsage, Replicas, ServiceTime
from controller.core.text import bounds
from controller.core.units import in_words
from controller.core.watch import Watch
from controller.policy import Queue as QueuePolicy
from controller.policy import RateLimit as RateLimitPolicy


class Role(StrEnum):
    """What a dependency is to the controller."""

    QUEUE = "queue"
    PLATFORM = "platform"
    JOURNAL = "journal"


@dataclass(frozen=True, slots=True)
class Source:
    """A dependency that may fail. name: what people know it by; its adapter gives it."""

    role: Role
    name: str

    def __str__(self) -> str:
        return self.name


class Sources(NamedTuple):
    """Those of one pass."""

    queue: Source
    platform: Source
    journal: Source

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(source.name for source in self)


class Unavailable(Exception):  # noqa: N818  # a state of the world, and the word that the whole house uses for it
    """Something could not be read or done. It is never 0 and never a reason to act: we hold, and say so.

    text: what failed and what to do about it, in one sentence that holds no secret.
    """

    def __init__(self, source: Source, text: str) -> None:
        self.source = source
        self.text = bounds.cut(text, bounds.MESSAGE)
        super().__init__(f"{source}: {self.text}")


class NotMeasurable(Unavailable):
    """How long a job takes cannot be measured at this queue, now or later; the policy has to say it."""

    def __init__(self, source: Source, why: str) -> None:
        self.why = why
        super().__init__(source, f"how long a job takes cannot be measured, because {why}; write service_time")


class NotSent(Unavailable):
    """The change certainly did not happen: no byte of it arrived, or it was turned away unread."""


class Outdated(NotSent):
    """What it was decided on is not so any more, which the next reading shows: decided anew, it can be asked for."""


class Refused(NotSent):
    """The platform read the change and said no; asking again at once would only be refused again."""


class LeaseLost(Exception):  # noqa: N818  # as above
    """Another holder has the lease, or none: nothing was written, and nothing may be sent."""


class Clock(Protocol):
    """The one clock: wall time for people; monotonic time, which counts a suspended machine too, for all else."""

    def wall(self) -> float: ...
    def monotonic(self) -> float: ...


class Report(Protocol):
    """Writes an event to the log: report("external_change", worker=…, message=…)."""

    def __call__(self, event: str, /, **fields: object) -> None: ...


class Queue(Protocol):
    """Reads how many jobs wait and run. Raises Unavailable, never guesses."""

    @property
    def source(self) -> Source: ...

    async def depth(self, queue: QueuePolicy, limit: int, enough: int = 0, busy: int = 0) -> QueueDepth:
        """No count goes past the limit. Up to `enough`, and of jobs in work up to `busy`, they are of this moment.

        Beyond, they may be some seconds old.
        """

    async def service_time(self, queue: QueuePolicy) -> ServiceTime | None:
        """How long the newest finished jobs took; None: no job has finished yet.

        Raises:
            NotMeasurable: it cannot be measured at this queue.
        """

    async def close(self) -> None:
        """Lets go of what it holds; the next reading takes it up again."""


class Receipt(StrEnum):
    """What became of a request to scale: the platform took it, or a dry run or a rehearsal only noted it."""

    ACCEPTED = "accepted"
    DRY_RUN = "dry run"
    REHEARSED = "rehearsed"


class Requests(NamedTuple):
    """How many requests the platform was sent within its window, and how many it allows there.

    pace_s: the least time from now until the next cycle, and from each cycle to the next, that the rest suffices for.
    """

    used: int
    quota: int
    window_s: float
    pace_s: float


def pace_words(requests: Requests, interval: float, platform: str) -> str:
    """What to say of cycles that come less often than the interval."""
    used = f"{requests.used} of the {requests.quota} requests that {platform} allows in {in_words(requests.window_s)}"
    return f"the next cycle comes {in_words(requests.pace_s)} after the last, not {in_words(interval)}: {used} are used"


class Platform(Protocol):
    """Where the workers run."""

    @property
    def source(self) -> Source: ...

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        """One reading for all services; a service that cannot be read is Unavailable by itself.

        Raises:
            Unavailable: nothing could be read at all.
        """

    async def scale(self, service: str, intent: Intent, observed: Replicas) -> Receipt:
        """Asks for the intent's absolute number of replicas; `observed` is the reading that it was decided on.

        Raises:
            LeaseLost: before all that was needed was sent.
            NotSent: certainly nothing changed.
            Unavailable: it was sent, and nobody knows what became of it.
        """

    def requests(self) -> Requests: ...


class Recalled(NamedTuple):
    """A memory, the journal's own time at which it was read, and which version of it this is."""

    history: History
    now: float
    version: str = ""


@dataclass(frozen=True, slots=True)
class CycleNote:
    """What a cycle has seen: the recommendation, the configured count, and whether jobs are worked on.

    recommended: None where the queue or the platform could not be read; read: whether the queue could be. count: None
    where the platform could not be read. running: instances that run. queue_seen: the identity of the queue in which it
    has seen jobs; "" where it has seen none.
    """

    recommended: int | None
    count: int | None
    working: bool = False
    running: int | None = None
    read: bool = True
    queue_seen: str = ""


class Retention(NamedTuple):
    """How long recommendations are kept, and how long a silence breaks their chain; both in seconds."""

    window: float
    gap: float


class Settled(StrEnum):
    """What became of an intent."""

    APPLIED = "applied"
    NOT_HONOURED = "not honoured"
    NEVER_SENT = "never sent"
    REFUSED = "refused"


class Journal(Protocol):
    """What must survive a restart. Every write checks the lease in the same atomic step.

    Raises:
        Unavailable: the journal cannot be reached.
        LeaseLost: a write, and the lease is not ours any more.
    """

    @property
    def source(self) -> Source: ...

    async def recall(self, worker: str) -> Recalled:
        """Reads, and changes nothing."""

    async def remember(self, worker: str, note: CycleNote, keep: Retention, lease: Lease) -> Recalled:
        """Notes what this cycle has seen (the count only where none is known yet), and recalls."""

    async def record_intent(
        self, worker: str, ident: str, decision: Decision, version: str, lease: Lease, *, stops: str | None = None
    ) -> Intent:
        """Writes down what is about to be asked for and starts its cooldown, if the memory is still that version.

        `stops`: the deployment that is to be stopped.

        Raises:
            Unavailable: it is not, or nobody knows whether it was written; either way nothing may be sent.
        """

    async def accept(self, worker: str, intent: Intent, lease: Lease) -> None:
        """The platform took the request: the cooldown counts from now."""

    async def settle(
        self,
        worker: str,
        intent: Intent,
        outcome: Settled,
        count: int,
        lease: Lease,
        *,
        unconfirmed_stop: str = "",
        running: int | None = None,
    ) -> Recalled:
        """Closes the intent; `count` is what the platform shows. NEVER_SENT and REFUSED give the cooldown back.

        `unconfirmed_stop`: the deployment whose stop was accepted and is not shown. `running`: instances that run, by a
        reading that no cycle has noted.
        """

    async def record_external_change(self, worker: str, count: int, lease: Lease) -> Recalled:
        """A change that nobody here made: starts both cooldowns."""

    async def keep_watch(self, worker: str, watch: Watch, lease: Lease) -> None:
        """What the next cycle shall know of how the service fares."""

    async def publish(self, lines: Mapping[str, str], lease: Lease) -> None:
        """Leaves the last cycle of each worker, as JSON, for the standby."""

    async def watch(self, workers: Sequence[str]) -> LeaderState:
        """What a standby sees. Whatever this process remembers and the journal has lost is given back by it."""


class LeaderState(NamedTuple):
    """Who leads and for how long it may still trust its lease, what it published, and how old that is, in seconds.

    problems: what could not be read of it, with the fix; it is left out.
    """

    leader: Leader | None
    trusted_for: float
    published: Mapping[str, str]
    age: float | None
    problems: tuple[str, ...] = ()


class Bid(NamedTuple):
    """An attempt at the lease.

    seen_epoch: the highest that this process knows of. last_holder: its own name when it led last. patience: for how
    many seconds another may still trust its lease, whatever Redis has forgotten. of_nothing: to lead even where Redis
    knows nothing of any leader.
    """

    holder: str
    seen_epoch: int = 0
    last_holder: str = ""
    patience: float = 0.0
    of_nothing: bool = True


class NotAcquired(NamedTuple):
    """No lease: another has it, or may still trust it, for so many seconds; or Redis is empty."""

    epoch: int = 0
    wait: float = 0.0
    empty: bool = False


class Leases(Protocol):
    """The right to act. Raises Unavailable; whoever gets that is not the leader."""

    async def acquire(self, bid: Bid, ttl: float) -> Lease | NotAcquired:
        """The lease, with an epoch above every earlier one."""

    async def renew(self, lease: Lease, ttl: float) -> bool:
        """False: the lease is somebody else's or gone. Never creates it anew."""

    async def release(self, lease: Lease) -> None: ...


class RateLimit(Protocol):
    """The rate-limit contract with the workers."""

    async def used(self, limit: RateLimitPolicy) -> RateUsage:
        """Requests that the workers counted, in the current minute and within the last 60 s."""

    async def share(self, limit: RateLimitPolicy, max_workers: int, replicas: int) -> None:
        """Publishes the limit and each worker's share of it among so many replicas."""
