"""What /health and /status say, as values: the sums, what fails since when, and each worker's last cycle. Pure.

A report is one moment of what the loop knows. The page and the metrics read the fields of reports; to_json() makes the
bodies, whose keys are a contract.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from operator import itemgetter
from typing import Any

from controller.core.model import Leader
from controller.core.ports import Requests, Timeline, pace_words
from controller.core.text.masking import Masker
from controller.core.units import iso
from controller.loop.faults import CONDITIONS
from controller.loop.leadership import Leadership
from controller.loop.notifier import TargetReport
from controller.loop.reload import Refusal
from controller.loop.status import ControllerStatus
from controller.loop.worker_status import WorkerStatus
from controller.policy import Policy, WorkerPolicy


class Health(StrEnum):
    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """A dependency or a worker's service fails, or the figures are old or missing."""
    UNHEALTHY = "unhealthy"
    """The loop has stopped turning."""


class ReplicaRole(StrEnum):
    LEADER = "leader"
    STANDBY = "standby"
    UNKNOWN = "unknown"
    """Redis cannot be reached, so that this replica does not know whether another one leads."""
    DRY_RUN = "dry run"


@dataclass(slots=True)
class Shown:
    """What the server shows: the last cycles, the role, and the policy in force, which a reload replaces."""

    status: ControllerStatus
    leadership: Leadership
    policy: Policy
    dry_run: bool = False
    requests: Callable[[], Requests | None] = lambda: None
    """How many requests to the platform this replica has used."""
    platform: str = "the platform"
    """What the platform is called."""
    lost_lines: Callable[[], int] = lambda: 0
    """How many lines of the log its output did not take."""
    mask: Masker = field(default_factory=Masker)
    timeline: Timeline | None = None
    """The history; None: /history answers 404."""
    policy_shown: Mapping[str, Any] | None = None
    """The policy without its secrets; None: it has none."""
    loaded_at: float | None = None
    """When the policy was read, by the wall clock; None: unknown."""
    refusal: Refusal | None = None
    """The newest policy that could not be used, while it is the newest."""
    notifications: Callable[[], Sequence[TargetReport]] = tuple
    sent: Callable[[], Mapping[tuple[str, str], int]] = dict
    """How many requests to the platform this replica has sent, by operation and result."""

    @property
    def digest(self) -> str:
        """Of the policy in force, and of the files that it names."""
        return self.status.policy or self.policy.digest


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over the workers of the policy.

    None while a worker of the sum was not read yet: the sum of the others would be a wrong number. rpm_used and
    rpm_limit, in requests per minute, are of the workers that have a rate limit.
    """

    running: int | None
    pending: int | None
    processing: int | None
    depth: int | None
    rpm_used: int | None
    max_workers: int
    rpm_limit: int


@dataclass(frozen=True, slots=True)
class Failing:
    """Something that fails, and since when by the wall clock.

    name: a dependency; `controller`: a bug, or a cycle that took too long; `loop`: it has stopped turning;
    `observation`: no dependency is known to fail, and the figures are old or missing; or the reason of a fault of a
    worker's service, with that worker.
    """

    name: str
    since: float
    worker: str | None = None

    def to_json(self) -> dict[str, str]:
        of = {} if self.worker is None else {"worker": self.worker}
        return {"name": self.name, **of, "since": iso(self.since)}


@dataclass(frozen=True, slots=True)
class HealthReport:
    health: Health
    totals: Totals
    failing: tuple[Failing, ...]

    def to_json(self) -> dict[str, Any]:
        """The six promised keys, and no other key while it is healthy."""
        body = {
            "status": self.health.value,
            "workers": self.totals.running,
            "maxWorkers": self.totals.max_workers,
            "queueDepth": self.totals.depth,
            "rpmUsage": self.totals.rpm_used,
            "rpmLimit": self.totals.rpm_limit,
        }
        if self.health is Health.HEALTHY:
            return body
        return {**body, "failing": [one.to_json() for one in self.failing]}


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """age_s: seconds since the figures were read; None: unknown."""

    last: WorkerStatus
    age_s: float | None

    def to_json(self) -> dict[str, Any]:
        return {**self.last.to_json(), "age_s": None if self.age_s is None else round(self.age_s, 1)}


@dataclass(frozen=True, slots=True)
class RequestsReport:
    """stretched: why cycles come less often than the interval; None while they do not. platform: its name."""

    requests: Requests
    stretched: str | None
    platform: str

    def to_json(self) -> dict[str, Any]:
        pace_s = round(self.requests.pace_s, 1)
        return {**self.requests._asdict(), "pace_s": pace_s, "stretched": self.stretched}


@dataclass(frozen=True, slots=True)
class StatusReport:
    """All that /status and the page show. No text in it holds a secret.

    epoch and holder are this replica's, leader is whichever replica leads. fault: why this replica cannot know who
    leads, since fault_since. workers: None for a worker without a cycle yet.
    """

    health: Health
    role: ReplicaRole
    epoch: int | None
    holder: str
    dry_run: bool
    fault: str | None
    fault_since: float | None
    leader: Leader | None
    failing: tuple[Failing, ...]
    workers: Mapping[str, WorkerReport | None]
    requests: RequestsReport | None
    lost_lines: int
    policy: Mapping[str, Any]
    notifications: tuple[TargetReport, ...] = ()

    def to_json(self) -> dict[str, Any]:
        leader = self.leader
        return {
            "status": self.health.value,
            "role": self.role.value,
            "epoch": self.epoch,
            "holder": self.holder,
            "dry_run": self.dry_run,
            "trouble": self.fault,
            "trouble_since": None if self.fault_since is None else iso(self.fault_since),
            "leader": leader and {"holder": leader.holder, "epoch": leader.epoch, "since": iso(leader.since)},
            "failing": [one.to_json() for one in self.failing],
            "workers": {name: worker and worker.to_json() for name, worker in self.workers.items()},
            "railway_requests": self.requests and self.requests.to_json(),
            "log_lines_lost": self.lost_lines,
            "notifications": [_as_object(one) for one in self.notifications],
            "policy": self.policy,
        }


def health_body(shown: Shown) -> dict[str, Any]:
    return health_report(shown).to_json()


def status_body(shown: Shown) -> dict[str, Any]:
    return status_report(shown).to_json()


def health_report(shown: Shown) -> HealthReport:
    return HealthReport(_health(shown), totals(shown), tuple(_failing(shown)))


def status_report(shown: Shown) -> StatusReport:
    status, leadership, mask = shown.status, shown.leadership, shown.mask
    lease, leader = leadership.lease, leadership.leader
    return StatusReport(
        health=_health(shown),
        role=_role(shown),
        epoch=None if lease is None else lease.epoch,
        holder=mask.text(leadership.holder),
        dry_run=shown.dry_run,
        fault=None if leadership.fault is None else mask.text(str(leadership.fault)),
        fault_since=leadership.fault_since,
        leader=None if leader is None else replace(leader, holder=mask.text(leader.holder)),
        failing=tuple(_failing(shown)),
        # What the status keeps of a cycle is masked already.
        workers={
            mask.text(name): WorkerReport(status.workers[name], status.age(name)) if name in status.workers else None
            for name in shown.policy.workers
        },
        requests=_requests(shown),
        lost_lines=shown.lost_lines(),
        policy=_policy(shown),
        notifications=tuple(shown.notifications()),
    )


def _as_object(target: TargetReport) -> dict[str, Any]:
    failed = None if target.failed_at is None else {"at": iso(target.failed_at), "message": target.failure}
    return {"target": target.name, **target.results, "queued": target.queued, "last_failure": failed}


def _policy(shown: Shown) -> dict[str, Any]:
    """The values in force, which policy it is, and whether a newer one was refused."""
    policy = shown.policy_shown
    values = shown.policy.model_dump(mode="json", exclude_none=True, by_alias=True) if policy is None else policy
    of_the_load: dict[str, Any] = {"hash": shown.digest}
    if shown.loaded_at is not None:
        of_the_load["loaded_at"] = iso(shown.loaded_at)
    if shown.refusal is not None:
        problems = [shown.mask.text(problem) for problem in shown.refusal.problems]
        of_the_load["refused"] = {"at": iso(shown.refusal.at), "problems": problems}
    leader = shown.status.leader_policy
    if leader and leader != shown.digest:
        of_the_load["leader_hash"] = leader
    return {**values, **of_the_load}


def totals(shown: Shown) -> Totals:
    every = {name: shown.status.workers.get(name) for name in shown.policy.workers}
    limited = {name: every[name] for name, worker in shown.policy.workers.items() if worker.rate_limit}
    policies = shown.policy.workers.values()
    return Totals(
        running=_sum(every, lambda last: last.running),
        pending=_sum(every, lambda last: last.pending),
        processing=_sum(every, lambda last: last.processing),
        depth=_sum(every, lambda last: last.depth),
        rpm_used=_sum(limited, lambda last: last.rpm_used),
        max_workers=sum(_most(every[name], worker) for name, worker in shown.policy.workers.items()),
        rpm_limit=sum(map(_rpm_limit, policies)),
    )


def _most(last: WorkerStatus | None, worker: WorkerPolicy) -> int:
    """max_replicas, or that of the schedule that was on at the last cycle; lower by a budget that is nearly spent."""
    scheduled = last.schedule.max_replicas if last is not None and last.schedule is not None else None
    budgets = () if last is None or last.budgets is None else last.budgets
    return min([worker.max_replicas if scheduled is None else scheduled, *(one.max_replicas for one in budgets)])


def failing_since(shown: Shown) -> dict[str, float]:
    """What fails by name, the oldest first, each since when any worker's cycles have missed it."""
    status, leadership = shown.status, shown.leadership
    faults = [fault for worker in shown.policy.workers for fault in status.failing.get(worker, {}).items()]
    if leadership.fault is not None:
        faults.append((leadership.fault.source.name, leadership.fault_since or status.clock.wall()))
    if status.stands_still:
        faults.append(("loop", status.turned_at))
    old = [worker for worker in shown.policy.workers if status.is_old(worker)]
    if old and not faults:
        faults.append(("observation", min(map(status.last_seen, old))))
    found: dict[str, float] = {}
    for name, since in faults:
        found[name] = min(since, found.get(name, since))
    return dict(sorted(found.items(), key=itemgetter(1)))


def _failing(shown: Shown) -> Iterator[Failing]:
    """A dependency once, however many workers miss it; a fault of a worker's service once for each worker."""
    for name, since in failing_since(shown).items():
        if name not in CONDITIONS:
            yield Failing(name, since)
            continue
        for worker in shown.policy.workers:
            began = shown.status.failing.get(worker, {}).get(name)
            if began is not None:
                yield Failing(name, began, shown.mask.text(worker))


def _health(shown: Shown) -> Health:
    if shown.status.stands_still:
        return Health.UNHEALTHY
    return Health.DEGRADED if failing_since(shown) else Health.HEALTHY


def _role(shown: Shown) -> ReplicaRole:
    if shown.dry_run:
        return ReplicaRole.DRY_RUN
    if shown.leadership.lease is not None:
        return ReplicaRole.LEADER
    return ReplicaRole.STANDBY if shown.leadership.fault is None else ReplicaRole.UNKNOWN


def _requests(shown: Shown) -> RequestsReport | None:
    requests, interval = shown.requests(), shown.policy.interval
    if requests is None:
        return None
    stretched = pace_words(requests, interval, shown.platform) if requests.pace_s > interval else None
    return RequestsReport(requests, stretched, shown.platform)


def _sum(workers: Mapping[str, WorkerStatus | None], figure: Callable[[WorkerStatus], int | None]) -> int | None:
    values = [None if last is None else figure(last) for last in workers.values()]
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _rpm_limit(worker: WorkerPolicy) -> int:
    return 0 if worker.rate_limit is None else worker.rate_limit.rpm
