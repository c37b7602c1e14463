"""What /health and /status say. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from controller.core.model import Leader
from controller.core.ports import Requests, pace_words
from controller.core.text.masking import Masker
from controller.loop.cycle import iso
from controller.loop.faults import CONDITIONS
from controller.loop.leadership import Leadership
from controller.loop.status import ControllerStatus
from controller.policy.models import Policy


@dataclass(frozen=True, slots=True)
class Shown:
    """What the server shows: the last cycles, the role, and the policy in force."""

    status: ControllerStatus
    leadership: Leadership
    policy: Policy
    dry_run: bool = False
    requests: Callable[[], Requests | None] = lambda: None
    """How many requests to Railway this replica has used."""
    lost_lines: Callable[[], int] = lambda: 0
    """How many lines of the log its output did not take."""
    mask: Masker = field(default_factory=Masker)
    policy_shown: Mapping[str, Any] | None = None
    """The policy without its secrets; None: it has none."""


def health_body(shown: Shown) -> dict[str, Any]:
    """The promised keys and no other while all is well; whatever is not says its name, and since when."""
    status = health_status(shown)
    return {
        **_health_figures(shown, status),
        **({} if status == "healthy" else {"failing": _failing_list(shown)}),
    }


def _health_figures(shown: Shown, status: str) -> dict[str, Any]:
    return {
        "status": status,
        "workers": _sum(shown, "running"),
        "maxWorkers": _max_workers(shown),
        "queueDepth": _sum(shown, "depth"),
        "rpmUsage": _rpm_used(shown),
        "rpmLimit": _rpm_limit(shown),
    }


def health_status(shown: Shown) -> str:
    """unhealthy: the loop stands still. degraded: a dependency fails, or the numbers are old or not there yet."""
    if shown.status.stands_still:
        return "unhealthy"
    return "degraded" if failing(shown) else "healthy"


def failing(shown: Shown) -> dict[str, float]:
    """What fails, and since when by the wall clock, the oldest trouble first.

    A dependency by its name, a fault of a worker's service by its reason; `controller` where a bug or a slow cycle is
    to blame, `loop` where it stands still, and `observation` where nothing is known to fail and the numbers are old all
    the same, or not there yet.
    """
    status, leadership = shown.status, shown.leadership
    troubles = [trouble for worker in shown.policy.workers for trouble in status.failing.get(worker, {}).items()]
    if leadership.fault is not None:
        troubles.append((leadership.fault.source.value, leadership.fault_since or status.clock.wall()))
    if status.stands_still:
        troubles.append(("loop", status.turned_at))
    old = [worker for worker in shown.policy.workers if status.is_old(worker)]
    if old and not troubles:
        troubles.append(("observation", min(map(status.last_seen, old))))
    found: dict[str, float] = {}
    for name, since in troubles:
        found[name] = min(since, found.get(name, since))
    return dict(sorted(found.items(), key=itemgetter(1)))


def _failing_list(shown: Shown) -> list[dict[str, str]]:
    """A dependency once, whichever workers miss it; a fault of one worker's service with that worker."""
    return [
        {"name": name, **({"worker": shown.mask.text(worker)} if worker else {}), "since": iso(since)}
        for name, since in failing(shown).items()
        for worker, since in _whose(shown, name, since)
    ]


def _whose(shown: Shown, name: str, since: float) -> list[tuple[str, float]]:
    if name not in CONDITIONS:
        return [("", since)]
    of = {worker: shown.status.failing.get(worker, {}).get(name) for worker in shown.policy.workers}
    return [(worker, began) for worker, began in of.items() if began is not None]


def status_body(shown: Shown) -> dict[str, Any]:
    status, leadership, lease = shown.status, shown.leadership, shown.leadership.lease
    policy = shown.policy_shown
    about = {
        "status": health_status(shown),
        "role": role(shown),
        "epoch": lease.epoch if lease else None,
        "holder": leadership.holder,
        "dry_run": shown.dry_run,
        "trouble": str(leadership.fault) if leadership.fault else None,
        "trouble_since": iso(leadership.fault_since) if leadership.fault_since else None,
        "leader": _leader(leadership.leader),
        "failing": _failing_list(shown),
    }
    return {
        **shown.mask.value(about),
        # What is kept of the cycles went through the mask when it came there.
        "workers": {
            shown.mask.text(name): {**status.workers[name].to_json(), "age_s": _rounded(status.age(name))}
            if name in status.workers
            else None
            for name in shown.policy.workers
        },
        "railway_requests": _railway_requests(shown),
        "log_lines_lost": shown.lost_lines(),
        "policy": shown.policy.model_dump(mode="json", exclude_none=True, by_alias=True) if policy is None else policy,
    }


def _railway_requests(shown: Shown) -> dict[str, Any] | None:
    """stretched: why cycles come less often than the interval; null while they do not."""
    requests = shown.requests()
    if requests is None:
        return None
    stretched = requests.pace_s > shown.policy.interval
    return {
        **requests._asdict(),
        "pace_s": round(requests.pace_s, 1),
        "stretched": pace_words(requests, shown.policy.interval) if stretched else None,
    }


def _leader(leader: Leader | None) -> dict[str, Any] | None:
    """Who leads, whichever replica is asked."""
    if leader is None:
        return None
    return {"holder": leader.holder, "epoch": leader.epoch, "since": iso(leader.since)}


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def role(shown: Shown) -> str:
    if shown.dry_run:
        return "dry run"
    if shown.leadership.lease is not None:
        return "leader"
    return "unknown" if shown.leadership.fault is not None else "standby"


def _sum(shown: Shown, key: str) -> int | None:
    """Over the workers; None while any of them was not read yet: a sum of a part would be a wrong number."""
    values = [_figure(shown, name, key) for name in shown.policy.workers]
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _figure(shown: Shown, worker: str, key: str) -> int | None:
    value: int | None = getattr(shown.status.workers.get(worker), key, None)
    return value


def _rpm_used(shown: Shown) -> int | None:
    limited = [name for name, worker in shown.policy.workers.items() if worker.rate_limit]
    known = [used for name in limited if (used := _figure(shown, name, "rpm_used")) is not None]
    return sum(known) if len(known) == len(limited) else None


def _max_workers(shown: Shown) -> int:
    return sum(worker.max_replicas for worker in shown.policy.workers.values())


def _rpm_limit(shown: Shown) -> int:
    return sum(worker.rate_limit.rpm for worker in shown.policy.workers.values() if worker.rate_limit)
