"""The models of a policy and of its workers: what the user wants, and nothing that follows from it.

Durations are floats in seconds. All other numbers are whole: depths in jobs, replicas in workers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from controller.policy.budget import Budget, WorkerSize, budget_problem, floor_problems, refuse, sizes_problem
from controller.policy.command import CommandTarget
from controller.policy.limits import OnUnavailable, RateLimit, range_problems, share_problem
from controller.policy.notify import Target, some, some_of, target_problems
from controller.policy.pools import Pool
from controller.policy.queue import Queue
from controller.policy.queues import NamedQueue, Queues, by_name, place_problem, queues_problems
from controller.policy.scaling import (
    ScaleDown,
    ScaleUp,
    Slo,
    Tier,
    down_problems,
    service_time_problem,
    slo_problem,
    tier_problems,
    together_problem,
    wait_problem,
    without_cooldown,
    without_effect,
)
from controller.policy.schedules import MOST_SCHEDULES, Schedule, schedules_problems
from controller.policy.targets import KEYS, KubernetesTarget, OwnTarget, ScaleTarget, SwarmTarget, target_problem
from controller.policy.types import Count, Duration, IfUnset, Name, Part, Positive, Tolerance, Word

_QUOTATION_MARKS = "\"'`\u00ab\u00bb\u2018\u2019\u201c\u201d\u201e"


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]  # which no editor shall offer: a list that is written is not empty


def _not_empty_without_default(schema: dict[str, Any]) -> None:
    """Beside min_length=1, pydantic would call a list empty whose only entry is wrong."""
    _without_default(schema)
    schema["minItems"] = 1


def _only_if_written(schema: dict[str, Any]) -> None:
    """A key that is either written or left out: null is no value of it."""
    del schema["default"]
    (schema_of_value,) = (one for one in schema.pop("anyOf") if one != {"type": "null"})
    schema.update(schema_of_value)


class WorkerPolicy(Part):
    """One worker service: its queue, how many workers each depth wants, and how fast the number may change."""

    model_config = ConfigDict(
        json_schema_extra={
            "dependentRequired": {"activation": ["per_worker"], "tolerance": ["per_worker"]},
            "oneOf": [{"required": [way]} for way in ("tiers", "per_worker", "slo", "target_wait")],
            "allOf": [{"oneOf": [{"required": [key]} for key in keys]} for keys in (("queue", "queues"), KEYS)],
        }
    )
    hints: ClassVar[Mapping[str, str]] = {
        "k8s": "write kubernetes: {name: DEPLOYMENT}",
        "deployment": "write kubernetes: {name: DEPLOYMENT}",
        "url": "write command: {url: ADDRESS}",
        "concurrency": "write jobs_per_worker",
        "min": "write min_replicas",
        "max": "write max_replicas",
        "min_workers": "write min_replicas",
        "max_workers": "write max_replicas",
        "cooldown": "write scale_up: {cooldown: …} and scale_down: {cooldown: …}",
        "targetQueryValue": "write per_worker",
        "activationTargetQueryValue": "write activation, the jobs that the first worker needs: 1 more than in KEDA",
        "minReplicaCount": "write min_replicas",
        "maxReplicaCount": "write max_replicas",
        "cooldownPeriod": "write scale_down: {cooldown: …}, which counts for every scale-down, not only that to 0",
    }
    # Exactly one of KEYS names what is scaled. The last of them looks at all.
    service: Annotated[Word | None, Field(json_schema_extra=_only_if_written)] = None
    """id of the service on the platform; one of the keys that name a target, see docs/platforms.md"""
    kubernetes: Annotated[KubernetesTarget | None, Field(json_schema_extra=_only_if_written)] = None
    """in place of `service`: what to scale in Kubernetes, see docs/kubernetes.md"""
    swarm: Annotated[SwarmTarget | None, Field(json_schema_extra=_only_if_written)] = None
    """in place of `service`: what to scale in Docker Swarm, see docs/swarm.md"""
    command: Annotated[CommandTarget | None, Field(json_schema_extra=_only_if_written)] = None
    """in place of `service`: programs or an address that scale anything else, see docs/command.md"""
    platform: Annotated[OwnTarget | None, Field(json_schema_extra=_only_if_written)] = Field(
        default=None, validate_default=True
    )
    """in place of `service`: a target on a platform of your own, see
    docs/platforms.md#how-do-i-write-a-platform-of-my-own
    """
    queue: Annotated[Queue | None, Field(json_schema_extra=_only_if_written)] = None
    queues: Annotated[Queues | None, Field(json_schema_extra=_only_if_written)] = Field(
        default=None, validate_default=True
    )
    """several queues that the workers serve together: a list, or a mapping of names to queues, each with the keys of
    `queue`, see docs/queues.md#how-does-one-worker-serve-several-queues; either `queue` or `queues`
    """
    # The order matters: each validator below looks at the fields above it.
    max_replicas: Count
    """upper limit, applied last, see docs/policy.md#what-do-min-and-max-do"""
    min_replicas: Count = 0
    """lower limit, applied last, see docs/policy.md#what-do-min-and-max-do"""
    tiers: tuple[Tier, ...] = Field(default=(), min_length=1, json_schema_extra=_without_default)
    """list of `{up_to: DEPTH, replicas: N}`, rising; the last has no `up_to`; one of `tiers`, `per_worker`,
    `slo` and `target_wait`
    """
    per_worker: Positive | None = None
    """jobs that one worker is for: depth / `per_worker` workers, rounded up, see
    docs/policy.md#how-do-i-scale-by-jobs-per-worker; one of `tiers`, `per_worker`, `slo` and `target_wait`
    """
    activation: Annotated[Positive | None, IfUnset("1 with `per_worker`")] = None
    """only with `per_worker`: jobs that the first worker needs; once one runs, it stays until there is no job"""
    tolerance: Annotated[Tolerance | None, IfUnset("0% with `per_worker`")] = None
    """only with `per_worker`: no change while the depth is within this share of `per_worker` times the workers; not
    from or to 0 workers
    """
    slo: Slo | None = None
    target_wait: Duration | None = Field(default=None, validate_default=True)
    """the accepted wait, see docs/target-wait.md; one of `tiers`, `per_worker`, `slo` and `target_wait`"""
    max_wait: Duration | None = None
    """while the oldest ready job has waited longer, one worker more at a time and none fewer, see
    docs/policy.md#what-guards-against-a-long-wait
    """
    service_time: Annotated[Duration | None, IfUnset("measured")] = Field(default=None, validate_default=True)
    """how long a job takes, if `target_wait` cannot or should not measure it; required with a preset or a query"""
    scale_up: ScaleUp = Field(default=ScaleUp(), validate_default=True)
    scale_down: ScaleDown = Field(default=ScaleDown(), validate_default=True)
    on_unavailable: OnUnavailable | None = None
    jobs_per_worker: Annotated[Positive | None, IfUnset("1 with `target_wait`")] = None
    """jobs that one worker runs at once; a scale-down keeps as many workers as the jobs in progress need"""
    no_progress_after: Duration = 600.0
    """jobs are ready, a worker is idle and no job was taken for this long: reported as the fault `NoProgress`, see
    docs/reasons.md#when-is-there-no-progress
    """
    rate_limit: RateLimit | None = None
    schedules: tuple[Schedule, ...] = Field(
        default=(), max_length=MOST_SCHEDULES, json_schema_extra=_not_empty_without_default
    )
    """list of other `min_replicas` and `max_replicas` by the clock, at most 20; the first that is on holds, see
    docs/schedules.md
    """
    worker_size: WorkerSize | None = None
    """what one worker costs: `memory` and `vcpu`, or `price_per_hour`; taken by `cost`, and needed for a budget unless
    the service has limits, see docs/budget.md
    """
    budget: Budget | None = None
    """what the workers may cost in a period: max_replicas falls as the spend nears it, see docs/budget.md"""
    pool: Name | None = None
    """name of a pool in `pools`, whose workers share a highest total, see docs/pools.md"""
    priority: Annotated[Count | None, IfUnset("0 with `pool`")] = None
    """in the pool: what workers of a higher priority want comes first"""
    connections: Annotated[Positive | None, IfUnset("1 is assumed")] = None
    """PostgreSQL connections that one worker opens, which `autoscaler doctor` holds against the server's limit"""

    @field_validator("service")
    @classmethod
    def _without_quotes(cls, service: str | None) -> str | None:
        if service is None:
            raise PydanticCustomError("missing", "is null")
        if service[:1] in _QUOTATION_MARKS or service[-1:] in _QUOTATION_MARKS:
            raise PydanticCustomError("quotes", "has quotation marks that are part of the value; remove them")
        return service

    @field_validator(KEYS[-1])
    @classmethod
    def _one_target(cls, last: object, info: ValidationInfo) -> object:
        given = {**info.data, KEYS[-1]: last}
        problem = target_problem(given) if given.keys() >= set(KEYS) else None  # what is missing is wrong by itself
        if problem is not None:
            raise PydanticCustomError("scale_target", "{text}", {"key": problem[0], "text": problem[1]})
        return last

    @field_validator("queues")
    @classmethod
    def _in_one_place(
        cls, queues: tuple[NamedQueue, ...] | dict[str, NamedQueue] | None, info: ValidationInfo
    ) -> tuple[NamedQueue, ...] | dict[str, NamedQueue] | None:
        problem = place_problem(info.data["queue"], queues) if "queue" in info.data else None
        if problem is not None:
            raise PydanticCustomError("queues", "{text}", {"text": problem})
        return queues

    @field_validator("min_replicas")
    @classmethod
    def _at_most_max(cls, minimum: int, info: ValidationInfo) -> int:
        maximum = info.data.get("max_replicas")
        if maximum is not None and minimum > maximum:
            raise PydanticCustomError(
                "min_over_max", "{text}", {"text": f"is {minimum}, more than max_replicas, which is {maximum}"}
            )
        return minimum

    @field_validator("tiers")
    @classmethod
    def _in_order(cls, tiers: tuple[Tier, ...], info: ValidationInfo) -> tuple[Tier, ...]:
        problems = list(tier_problems(tiers, info.data.get("max_replicas")))
        if problems:
            raise PydanticCustomError("tiers", "out of order", {"problems": problems})
        return tiers

    @field_validator("per_worker")
    @classmethod
    def _not_beside_tiers(cls, jobs: int | None, info: ValidationInfo) -> int | None:
        if jobs is not None and info.data.get("tiers"):
            raise PydanticCustomError("together", "{text}", {"text": together_problem("tiers")})
        return jobs

    @field_validator("activation", "tolerance")
    @classmethod
    def _only_with_per_worker(cls, value: float | None, info: ValidationInfo) -> float | None:
        if value is None or not {"tiers", "per_worker"} <= info.data.keys():
            return value  # what is missing is wrong by itself
        problem = without_effect(info.data["per_worker"], tiers=info.data["tiers"])
        if problem is not None:
            raise PydanticCustomError("per_worker", "{text}", {"text": problem})
        return value

    @field_validator("slo")
    @classmethod
    def _keepable(cls, slo: Slo | None, info: ValidationInfo) -> Slo | None:
        problem = None if slo is None else slo_problem(info.data)
        if problem is not None:
            raise PydanticCustomError("slo", "{text}", {"text": problem})
        return slo

    @field_validator("target_wait")
    @classmethod
    def _one_of_the_four(cls, wait: float | None, info: ValidationInfo) -> float | None:
        ways = "tiers", "per_worker", "slo"
        known = info.data.get("tiers") or set(ways) <= info.data.keys()  # else that is wrong by itself
        slo = info.data.get("slo")
        problem = wait_problem(info.data["tiers"], info.data.get("per_worker"), slo, wait) if known else None
        if problem is not None:
            raise PydanticCustomError("target_wait", "{text}", {"text": problem})
        # All that asks for a target_wait finds one; core/slo.py says which one is in force at a moment.
        return wait if slo is None or wait is not None else slo.wait

    @field_validator("max_wait")
    @classmethod
    def _not_whenever_a_job_waits(cls, wait: float | None) -> float | None:
        if wait is not None and not wait:
            raise PydanticCustomError("after", "must be above 0, for example 5m; else each waiting job adds a worker")
        return wait

    @field_validator("service_time")
    @classmethod
    def _known_somehow(cls, seconds: float | None, info: ValidationInfo) -> float | None:
        problem = service_time_problem(seconds, info.data) if "target_wait" in info.data else None
        if problem is not None:
            raise PydanticCustomError("service_time", "{text}", {"text": problem})
        return seconds

    @field_validator("scale_up")
    @classmethod
    def _without_a_wait_upward(cls, up: ScaleUp, info: ValidationInfo) -> ScaleUp:
        # Workers that are starting are counted, so that nothing needs to be waited for.
        unsaid = info.data.get("target_wait") is not None and "cooldown" not in up.model_fields_set
        return without_cooldown(up) if unsaid else up

    @field_validator("scale_down")
    @classmethod
    def _by_idleness(cls, down: ScaleDown, info: ValidationInfo) -> ScaleDown:
        if "target_wait" not in info.data:
            return down  # which is wrong by itself
        problems = list(down_problems(down, info.data["target_wait"], tiers=info.data.get("tiers")))
        if problems:
            raise PydanticCustomError("scale_down", "of the other kind", {"problems": problems})
        return down if info.data["target_wait"] is None else without_cooldown(down)

    @field_validator("on_unavailable")
    @classmethod
    def _within_range(cls, wish: OnUnavailable | None, info: ValidationInfo) -> OnUnavailable | None:
        problems = [] if wish is None else list(range_problems(wish.at_least, info.data))
        if problems:
            raise PydanticCustomError("on_unavailable", "out of range", {"problems": problems})
        return wish

    @field_validator("rate_limit")
    @classmethod
    def _with_a_share_for_each(cls, limit: RateLimit | None, info: ValidationInfo) -> RateLimit | None:
        maximum = info.data.get("max_replicas")
        problem = None if limit is None or maximum is None else share_problem(limit, maximum)
        if problem is not None:
            raise PydanticCustomError("rate_limit", "out of range", {"problems": [(("rpm",), problem)]})
        return limit

    @field_validator("schedules")
    @classmethod
    def _that_fit(cls, schedules: tuple[Schedule, ...], info: ValidationInfo) -> tuple[Schedule, ...]:
        if not schedules:
            raise PydanticCustomError("too_short", "is empty")
        problems = list(schedules_problems(schedules, info.data))
        if problems:
            raise PydanticCustomError("schedules", "do not fit", {"problems": problems})
        return schedules

    @field_validator("budget")
    @classmethod
    def _of_a_known_size(cls, budget: Budget | None, info: ValidationInfo) -> Budget | None:
        known, has_limits = "worker_size" in info.data, info.data.get("service") is not None
        problem = budget_problem(budget, info.data["worker_size"], has_limits=has_limits) if known else None
        if problem is not None:
            raise PydanticCustomError("budget", "{text}", {"text": problem})
        refuse(floor_problems(budget, info.data.get("max_replicas")), "budget")
        return budget

    @field_validator("no_progress_after")
    @classmethod
    def _after_a_while(cls, after: float) -> float:
        if not after:
            raise PydanticCustomError("after", "must be above 0, for example 10m; to see this fault late, write 24h")
        return after

    @model_validator(mode="after")
    def _with_effect_for_each_queue(self) -> Self:
        problems = (
            [] if self.queues is None else list(queues_problems(self.queues, self.target_wait, self.service_time))
        )
        if problems:
            raise PydanticCustomError("queues", "does not fit together", {"problems": problems})
        return self

    @property
    def named_queues(self) -> Mapping[str, NamedQueue]:
        """Of `queues`, by name; none with `queue`."""
        return {} if self.queues is None else by_name(self.queues)

    @property
    def each_queue(self) -> Mapping[str, Queue]:
        """By name, every queue whose jobs the workers take; the one of `queue` has the name ""."""
        if self.queues is None:
            return {"": self.only_queue}
        return {name: queue.alone for name, queue in self.named_queues.items()}

    @property
    def only_queue(self) -> Queue:
        """The one of `queue`; of a policy with `queues`, core/queues.py makes one such policy for each of them."""
        assert self.queue is not None, "a policy with queues has no queue of its own"
        return self.queue

    @property
    def strictest_wait(self) -> float | None:
        """The shortest target_wait of its queues, where one number is needed; None: the policy has none."""
        if self.target_wait is None:
            return None
        own = [queue.target_wait for queue in self.named_queues.values()] or [None]
        return min(self.target_wait if wait is None else wait for wait in own)

    @property
    def has_own_timeout(self) -> bool:
        """Whether one of its queues has a timeout, so that other workers do not wait for it."""
        return any(queue.timeout is not None for queue in self.each_queue.values())

    @property
    def lowest_min(self) -> int:
        """The lowest min_replicas that any hour has."""
        return min([self.min_replicas, *(one.min_replicas for one in self.schedules if one.min_replicas is not None)])

    @property
    def highest_min(self) -> int:
        """The highest min_replicas that any hour has."""
        return max([self.min_replicas, *(one.min_replicas for one in self.schedules if one.min_replicas is not None)])

    @property
    def highest_max(self) -> int:
        """The highest max_replicas that any hour has: counting and remembering must reach as far."""
        return max([self.max_replicas, *(one.max_replicas for one in self.schedules if one.max_replicas is not None)])

    @property
    def limits(self) -> str:
        """Text that is the same for two policies with the same min_replicas and max_replicas at every hour."""
        hours = hashlib.sha256(repr(self.schedules).encode()).hexdigest()[:8] if self.schedules else ""
        return f"{self.min_replicas}..{self.max_replicas} {hours}".rstrip()

    @property
    def target(self) -> ScaleTarget:
        """What is scaled, and on which platform."""
        (key,) = (key for key in KEYS if getattr(self, key) is not None)
        return ScaleTarget.of(key, getattr(self, key))

    @property
    def concurrency(self) -> int:
        """How many jobs one worker runs at once, as far as the policy says."""
        return self.jobs_per_worker or 1


class Policy(Part):
    """A whole policy.yaml."""

    interval: Duration = 10.0
    """how often the queue and the platform are read; at least 100ms"""
    wake_min_interval: Duration = 1.0
    """a notification starts a cycle at once, but two such cycles are at least this far apart"""
    history_retention: Duration = 7 * 24 * 3600.0
    """how long the history is kept in Redis, see docs/history.md; 0s: none is written"""
    workers: dict[Name, WorkerPolicy] = Field(min_length=1)
    """one worker service; the name labels logs, metrics and keys"""
    notify: Annotated[tuple[Target, ...], BeforeValidator(some)] = Field(default=(), json_schema_extra=some_of)
    """list of targets that are told of faults and changes, see docs/notifications.md"""
    pools: dict[Name, Pool] = Field(default={})
    """one highest total that several workers share, see docs/pools.md"""
    budget: Budget | None = None
    """what all workers together may cost in a period, see docs/budget.md"""
    shadow: Annotated[Word | None, Field(json_schema_extra=_only_if_written)] = None
    """file of another policy that decides on the same readings and changes nothing, see docs/shadow.md"""

    @field_validator("interval")
    @classmethod
    def _not_busy(cls, interval: float) -> float:
        if interval < 0.1:
            raise PydanticCustomError(
                "interval", "is shorter than 100ms; every reading costs a request to the platform"
            )
        return interval

    @field_validator("wake_min_interval")
    @classmethod
    def _not_a_flood(cls, interval: float) -> float:
        if interval < 0.1:
            raise PydanticCustomError("interval", "is shorter than 100ms; a busy queue notifies all the time")
        return interval

    @field_validator("notify")
    @classmethod
    def _of_its_workers(cls, targets: tuple[Target, ...], info: ValidationInfo) -> tuple[Target, ...]:
        problems = list(target_problems(targets, info.data["workers"])) if "workers" in info.data else []
        if problems:
            raise PydanticCustomError("notify", "does not fit together", {"problems": problems})
        return targets

    @field_validator("budget")
    @classmethod
    def _of_known_sizes(cls, budget: Budget | None, info: ValidationInfo) -> Budget | None:
        workers = info.data.get("workers", {}).items()
        problem = sizes_problem(budget, {name: one.worker_size for name, one in workers if one.service is None})
        if problem is not None:
            raise PydanticCustomError("budget", "{text}", {"text": problem})
        return budget

    @property
    def digest(self) -> str:
        """12 characters that are the same for two policies with the same values, wherever they were read."""
        values = self.model_dump_json(exclude_none=True, by_alias=True)
        return hashlib.sha256(values.encode()).hexdigest()[:12]

    @property
    def targets(self) -> dict[str, ScaleTarget]:
        """By worker, what is scaled."""
        return {name: worker.target for name, worker in self.workers.items()}

    @property
    def target_ids(self) -> dict[str, str]:
        """By worker, the key of its target."""
        return {name: target.key for name, target in self.targets.items()}

    @property
    def platforms(self) -> frozenset[str]:
        """The keys by which its workers name their targets; each stands for a platform."""
        return frozenset(target.platform for target in self.targets.values())

    def on(self, platform: str) -> dict[str, ScaleTarget]:
        """The targets on one platform, by their keys."""
        return {target.key: target for target in self.targets.values() if target.platform == platform}
