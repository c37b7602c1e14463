"""A shadow policy: what another policy would do on the same readings, with a fleet that exists only as a number. Pure.

The same plan() decides, by the shadow's policy and its own history, on the workers that it would have. What it wants is
there at once, and nothing is asked of the platform.

What is approximate: the queue is the real one, and its depth is the result of the real fleet. A shadow that would have
worked a backlog off sooner still sees it, and one that would have let it grow does not. So the worker-hours and the
waits of two policies can be compared while they differ little; for the rest there is `autoscaler simulate`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol

from controller.core import history, queues
from controller.core.model import (
    Change,
    Decision,
    History,
    QueueDepth,
    QueuePart,
    RateUsage,
    Replicas,
    ServiceState,
    ServiceTime,
)
from controller.core.override import Overrides
from controller.core.plan import Plan, Seen, plan
from controller.core.ports import Settled, Sources, Unavailable
from controller.core.steps import Fail, Hold, Send
from controller.core.wanted import retention
from controller.policy import WorkerPolicy

_LANDING_S = 60.0
"""Of no effect: what a shadow wants is there at once."""


class Moment(NamedTuple):
    """What holds from `at` until the next step. busy: jobs in progress. in_force: replicas that are configured."""

    at: float
    depth: int
    busy: int
    in_force: int


@dataclass(frozen=True, slots=True)
class Account:
    """Sums since `since`, over the `seconds` in which queue and replicas were known.

    workers, workers_in_force: worker-seconds. waiting, waiting_in_force: job-seconds of jobs for which no worker was
    free, if each worker runs its jobs_per_worker. busy: job-seconds in progress.
    """

    since: float
    seconds: float = 0.0
    workers: float = 0.0
    workers_in_force: float = 0.0
    waiting: float = 0.0
    waiting_in_force: float = 0.0
    busy: float = 0.0

    def with_moment(self, moment: Moment, count: int, jobs_each: int, seconds: float) -> Account:
        return Account(
            self.since,
            self.seconds + seconds,
            self.workers + seconds * count,
            self.workers_in_force + seconds * moment.in_force,
            self.waiting + seconds * max(0, moment.depth - count * jobs_each),
            self.waiting_in_force + seconds * max(0, moment.depth - moment.in_force * jobs_each),
            self.busy + seconds * moment.busy,
        )

    def mean_wait_s(self, waiting: float, service_s: float | None) -> float | None:
        """Waiting job-seconds over the number of jobs, which is busy / service_s (Little's law); None: unknown."""
        return None if service_s is None or not self.busy else waiting * service_s / self.busy


@dataclass(frozen=True, slots=True)
class ShadowFleet:
    """What is remembered of one worker's shadow; all times by the journal's clock.

    policies: which two are compared, see shadow_policy.policies_key(). count: the workers that it would have, since
    `since`. reason, message: of its newest decision; "" before the first. service_s: how long a job takes, as last
    known.
    """

    policies: str
    count: int
    since: float
    history: History
    account: Account
    reason: str = ""
    message: str = ""
    moment: Moment | None = None
    service_s: float | None = None


class Service(NamedTuple):
    """How long a job of one queue takes; unmeasured: why that cannot be measured, or ""."""

    time: ServiceTime | None = None
    unmeasured: str = ""


@dataclass(frozen=True, slots=True)
class ShadowLook:
    """What a cycle saw. policy: the shadow's; in_force: the real one. services: by queue, "" with one queue.

    configured: the count in force after this cycle. service_s: how long a job takes, as the real policy knows it.
    start_ups, overrides: of the real history. gap: see Retention. is_woken: no poll, but a quick check.
    """

    policy: WorkerPolicy
    in_force: WorkerPolicy
    queue: QueueDepth | Unavailable
    replicas: Replicas
    configured: int
    now: float
    gap: float
    sources: Sources
    services: Mapping[str, Service]
    service_s: float | None = None
    rate: RateUsage | None = None
    overrides: Overrides = field(default=Overrides())
    start_ups: tuple[float, ...] = ()
    is_woken: bool = False

    @property
    def jobs_each(self) -> int:
        """The workers are the same ones under both policies, and perhaps only one of the two says it."""
        return max(self.policy.concurrency, self.in_force.concurrency)


class ShadowFleets(Protocol):
    """Remembers the shadows of a group of controllers, for the next leader.

    Raises:
        Unavailable: the store cannot be reached.
    """

    async def load(self) -> Mapping[str, ShadowFleet]:
        """By worker."""

    async def save(self, fleets: Mapping[str, ShadowFleet], gone: Collection[str]) -> None:
        """gone: workers whose shadow is forgotten."""


def begun(policies: str, look: ShadowLook) -> ShadowFleet:
    """With the workers that there are."""
    count = look.configured
    return ShadowFleet(policies, count, look.now, History(since=look.now, count=count), Account(look.now))


def stepped(fleet: ShadowFleet, look: ShadowLook) -> tuple[ShadowFleet, Decision | None]:
    """After one cycle, and what was decided if that is another count than before."""
    made = plan(_seen(fleet, look))
    last, count, now = made.last, fleet.count, look.now
    after, changed = made.history, None
    if isinstance(last, Send):
        after, changed, count = _landed(after, last.change, now), last.decision, last.change.after
    queue = look.queue if isinstance(look.queue, QueueDepth) else None
    known = made.observed.service if made.observed is not None else None
    service_s = look.service_s if known is None else known.mean_s
    reason, message = _words(made)
    fleet = replace(
        fleet,
        account=counted(fleet, look),
        count=count,
        since=fleet.since if changed is None else now,
        history=replace(after, overrides=Overrides()),
        reason=reason,
        message=message,
        moment=None if queue is None else Moment(now, queue.depth, queue.processing, look.configured),
        service_s=fleet.service_s if service_s is None else service_s,
    )
    return fleet, changed


def counted(fleet: ShadowFleet, look: ShadowLook) -> Account:
    """What the last look saw holds until now, but at most for `gap`: after that it is unknown."""
    if fleet.moment is None or look.now <= fleet.moment.at:
        return fleet.account
    return fleet.account.with_moment(
        fleet.moment, fleet.count, look.jobs_each, min(look.now - fleet.moment.at, look.gap)
    )


def _seen(fleet: ShadowFleet, look: ShadowLook) -> Seen:
    policy, (service, unmeasured) = look.policy, _service(look)
    return Seen(
        policy=policy,
        queue=_as_of(look) if isinstance(look.queue, QueueDepth) else look.queue,
        replicas=replace(
            look.replicas,
            configured=fleet.count,
            running=fleet.count,
            alive=fleet.count,
            state=ServiceState.RUNNING if fleet.count else ServiceState.STOPPED,
            deployment=None,
            leaving=0,
            crashed=0,
            exited=0,
            under_way=None,
        ),
        history=replace(fleet.history, overrides=look.overrides, start_ups=look.start_ups),
        now=look.now,
        sources=look.sources,
        retention=retention(policy, look.gap),
        landing_bound=_LANDING_S,
        rate=None if look.rate is None or policy.rate_limit is None else _rate(look.rate, policy.rate_limit.rpm),
        service=service,
        unmeasured=unmeasured,
        ident="shadow",
        is_woken=look.is_woken,
    )


def _landed(after: History, change: Change, now: float) -> History:
    """The change was made and is shown, all at once."""
    return history.settled(history.accepted(after, change, now), change, Settled.APPLIED, change.after, now)


def _rate(usage: RateUsage, limit: int) -> RateUsage:
    return replace(usage, limit=limit, published=None)


def _service(look: ShadowLook) -> Service:
    if look.policy.queues is None:
        return look.services.get("", Service())
    if not isinstance(look.queue, QueueDepth):
        return Service()
    return Service(queues.slowest([_part_as_of(look, part) for part in look.queue.parts]))


def _as_of(look: ShadowLook) -> QueueDepth:
    """The depth as the shadow's policy sees it. That it is to be believed, the real history has decided."""
    assert isinstance(look.queue, QueueDepth), "asked only where it was read"
    parts = tuple(_part_as_of(look, part) for part in look.queue.parts)
    return replace(look.queue, unnamed="", parts=parts)


def _part_as_of(look: ShadowLook, part: QueuePart) -> QueuePart:
    queue, service = look.policy.named_queues[part.name], look.services.get(part.name, Service())
    return QueuePart(
        part.name,
        replace(part.known, unnamed=""),
        service=service.time,
        unmeasured=service.unmeasured,
        target_wait=queue.target_wait,
        weight=queue.weight,
    )


def _words(made: Plan) -> tuple[str, str]:
    """The reason that binds and the sentence, of a pass that asks for nothing."""
    last, decision = made.last, made.decision
    if isinstance(last, Fail):
        return "", f"hold: {last.unavailable}"
    because = (*(decision.because if decision else ()), *(last.because if isinstance(last, Hold) else ()))
    message = last.message if isinstance(last, Hold) else last.decision.sentence if isinstance(last, Send) else ""
    return because[-1].reason.value if because else "", message
