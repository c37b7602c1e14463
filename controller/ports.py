"""What the reconciler needs of the world, as small Protocols, and the errors that belong to them.

Unavailable is the world's fault, LeaseLost is ours by succession; anything else that is raised is a bug.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol

from controller.model import Decision, History, Intent, Lease, QueueDepth, Replicas
from controller.policy import Queue as QueuePolicy
from controller.policy import RateLimit as RateLimitPolicy


class Source(StrEnum):
    QUEUE = "PostgreSQL"
    PLATFORM = "Railway"
    JOURNAL = "Redis"


class Unavailable(Exception):  # noqa: N818  # a state of the world, and the word that the whole house uses for it
    """Something could not be read or done. It is never 0 and never a reason to act: we hold, and say so.

    The text says what failed and what to do about it, in one sentence that holds no secret.
    """

    def __init__(self, source: Source, text: str) -> None:
        self.source = source
        super().__init__(f"{source}: {text}")


class NotSent(Unavailable):
    """The change certainly did not happen: no byte of it arrived, or it was turned away unread."""


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

    async def depth(self, queue: QueuePolicy, limit: int) -> QueueDepth:
        """Neither count goes past the limit."""


class Receipt(StrEnum):
    """What became of a request to scale: the platform took it, or a dry run only noted it."""

    ACCEPTED = "accepted"
    DRY_RUN = "dry run"


class Requests(NamedTuple):
    """How many requests the platform was sent within its window, and how many it allows there.

    pace_s: the least time from now until the next cycle, and from each cycle to the next, that the rest suffices for.
    """

    used: int
    quota: int
    window_s: float
    pace_s: float


class Platform(Protocol):
    """Where the workers run: Railway."""

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        """One reading for all services; a service that cannot be read is Unavailable by itself.

        Raises:
            Unavailable: nothing could be read at all.
        """

    async def scale(self, service: str, replicas: int, observed: Replicas) -> Receipt:
        """Asks for an absolute number of replicas; `observed` is the reading that the decision was made on.

        Raises:
            LeaseLost: before all that was needed was sent.
            NotSent: certainly nothing changed.
            Unavailable: it was sent, and nobody knows what became of it.
        """

    def requests(self) -> Requests: ...


class Recalled(NamedTuple):
    """A memory, and the journal's own time at which it was read."""

    history: History
    now: float


class Keep(NamedTuple):
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

    async def recall(self, worker: str) -> Recalled:
        """Reads, and changes nothing."""

    async def remember(self, worker: str, recommended: int, count: int, keep: Keep, lease: Lease) -> Recalled:
        """Notes this cycle's recommendation (and the count, where none is known yet), and recalls."""

    async def record_intent(self, worker: str, decision: Decision, lease: Lease) -> Intent:
        """Writes down what is about to be asked for, and starts its cooldown."""

    async def accept(self, worker: str, intent: Intent, lease: Lease) -> None:
        """The platform took the request: the cooldown counts from now."""

    async def settle(self, worker: str, intent: Intent, outcome: Settled, count: int, lease: Lease) -> Recalled:
        """Closes the intent; `count` is what the platform shows. NEVER_SENT and REFUSED give the cooldown back."""

    async def charge(self, worker: str, count: int, lease: Lease) -> Recalled:
        """A change that nobody here made: starts both cooldowns."""

    async def publish(self, lines: Mapping[str, str], lease: Lease) -> None:
        """Leaves the last cycle of each worker, as JSON, for the standby."""

    async def published(self) -> Mapping[str, str]: ...


class Leases(Protocol):
    """The right to act. Raises Unavailable; whoever gets that is not the leader."""

    async def acquire(self, holder: str, ttl: float, seen_epoch: int) -> Lease | None:
        """The lease, with an epoch above every earlier one, or None while another holds it."""

    async def renew(self, lease: Lease, ttl: float) -> bool:
        """False: the lease is somebody else's or gone. Never creates it anew."""

    async def release(self, lease: Lease) -> None: ...


class RateLimit(Protocol):
    """The rate-limit contract with the workers."""

    async def used(self, limit: RateLimitPolicy) -> int:
        """Requests that the workers counted in the current minute."""

    async def share(self, limit: RateLimitPolicy, max_workers: int, replicas: int) -> None:
        """Publishes the limit and each worker's share of it among so many replicas."""
