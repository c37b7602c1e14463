"""What the user wishes: the policy's models, and load_policy(), which refuses or accepts and never adjusts.

Durations are floats in seconds. The numbers of a policy are whole: depths in jobs, replicas in workers.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from controller.policy_parts import Count, Duration, Name, Part, Positive, Word, duration_text
from controller.policy_queue import NAME_BYTES, PRESETS, Columns, Queue, Statuses, split_name
from controller.policy_text import ConfigurationError, Document, Path, read
from controller.policy_words import Keys, record

__all__ = [  # one door for everybody else: which file a model stands in is nobody's business
    "NAME_BYTES",
    "PRESETS",
    "OnUnavailable",
    "Policy",
    "Queue",
    "RateLimit",
    "Tier",
    "WorkerPolicy",
    "duration_text",
    "effective",
    "json_schema",
    "load_policy",
    "split_name",
]
# A library's tables have columns of their own, and a query has its own of everything.
_NOT_OF = {"table": (), "preset": ("columns", "statuses"), "sql": ("columns", "statuses", "count_limit")}


class Tier(Part):
    """`replicas` workers for a depth of at most `up_to` jobs; without `up_to`, for any depth beyond."""

    mends: ClassVar[Mapping[str, str]] = {
        "from": "a tier begins where the one before it ends, so that there can be no gap; keep only up_to",
        "to": "write up_to",
        "workers": "write replicas",
    }
    up_to: Count | None = None
    replicas: Count


class ScaleUp(Part):
    """cooldown counts from the last scale-up; max_step is the most workers added at once."""

    cooldown: Duration = 30.0
    max_step: Positive | None = None


class ScaleDown(Part):
    """cooldown counts from the last scale in either direction; max_step is the most workers taken at once.

    stabilization_window: going down only to the highest recommendation of that long.
    """

    cooldown: Duration = 120.0
    max_step: Positive | None = None
    stabilization_window: Duration = 0.0


class RateLimitKeys(Part):
    """The Redis keys shared with the workers; `<window>` becomes the minute's start in epoch seconds."""

    usage: Word = "worker:rpm:<window>"
    rpm_limit: Word = "worker:config:rpm_limit"
    max_workers: Word = "worker:config:max_workers"
    per_worker_rpm: Word = "worker:config:per_worker_rpm"

    @field_validator("usage")
    @classmethod
    def _has_a_window(cls, usage: str) -> str:
        if "<window>" not in usage:
            raise PydanticCustomError("window", "must hold <window>, as in worker:rpm:<window>")
        return usage


class RateLimit(Part):
    """Requests a minute that all workers together may make; while they are used up, no further worker is added."""

    rpm: Positive
    keys: RateLimitKeys = RateLimitKeys()


class OnUnavailable(Part):
    """After so long without a reading of the queue, at least so many workers; never fewer than there are."""

    mends: ClassVar[Mapping[str, str]] = {
        "replicas": "write at_least",
        "workers": "write at_least",
        "for": "write after",
    }
    after: Duration
    at_least: Positive

    @field_validator("after")
    @classmethod
    def _not_at_once(cls, after: float) -> float:
        if not after:
            raise PydanticCustomError("after", "is no time at all; write 5m, so that one lost reading adds nobody")
        return after


class WorkerPolicy(Part):
    """One worker service: its queue, how many workers each depth wants, and how fast the count may change.

    jobs_per_worker: so many one worker runs at once; going down keeps as many workers as the jobs in work need.
    """

    mends: ClassVar[Mapping[str, str]] = {
        "concurrency": "write jobs_per_worker",
        "min": "write min_replicas",
        "max": "write max_replicas",
        "cooldown": "write scale_up: {cooldown: …} and scale_down: {cooldown: …}",
    }
    service: Word
    queue: Queue
    # The order matters: each validator below looks at the fields above it.
    max_replicas: Count
    min_replicas: Count = 0
    tiers: tuple[Tier, ...]
    scale_up: ScaleUp = ScaleUp()
    scale_down: ScaleDown = ScaleDown()
    on_unavailable: OnUnavailable | None = None
    jobs_per_worker: Positive | None = None
    rate_limit: RateLimit | None = None

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
        problems = list(_tier_problems(tiers, info.data.get("max_replicas")))
        if problems:
            raise PydanticCustomError("tiers", "out of order", {"problems": problems})
        return tiers

    @field_validator("on_unavailable")
    @classmethod
    def _within_range(cls, wish: OnUnavailable | None, info: ValidationInfo) -> OnUnavailable | None:
        problems = [] if wish is None else list(_range_problems(wish.at_least, info.data))
        if problems:
            raise PydanticCustomError("on_unavailable", "out of range", {"problems": problems})
        return wish

    @property
    def enough(self) -> int:
        """A count that goes as far as this decides all that there is to decide: it is beyond the highest tier."""
        return max([1, *(tier.up_to + 1 for tier in self.tiers if tier.up_to is not None)])

    @property
    def busy(self) -> int:
        """So many jobs in work keep every worker that there may be; 0: nobody asks how many there are."""
        return self.max_replicas * (self.jobs_per_worker or 0)

    @property
    def count_limit(self) -> int:
        """No count goes past this: a deeper queue is shown as so many and more."""
        return max(self.queue.count_limit, self.enough)

    def wanted_at(self, depth: int) -> int:
        """The replicas of the first tier whose up_to holds the depth."""
        return next(tier.replicas for tier in self.tiers if tier.up_to is None or depth <= tier.up_to)


class Policy(Part):
    """interval: how often queue and platform are read. workers: by name; the name labels logs, metrics and keys.

    wake_min_interval: a notification starts a cycle at once, and no two start one within so long.
    """

    interval: Duration = 10.0
    wake_min_interval: Duration = 1.0
    workers: dict[Name, WorkerPolicy] = Field(min_length=1)

    @field_validator("interval")
    @classmethod
    def _not_busy(cls, interval: float) -> float:
        if interval < 0.1:
            raise PydanticCustomError("interval", "is shorter than 100ms; every reading costs a Railway request")
        return interval

    @field_validator("wake_min_interval")
    @classmethod
    def _not_a_flood(cls, interval: float) -> float:
        if interval < 0.1:
            raise PydanticCustomError("interval", "is shorter than 100ms; a busy queue notifies all the time")
        return interval


def _range_problems(at_least: int, known: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    minimum, maximum = known.get("min_replicas"), known.get("max_replicas")
    if maximum is None or minimum is None:
        return  # which is wrong by itself
    mend = f"write {max(1, minimum)} to {maximum}" if maximum else "leave on_unavailable out"
    if at_least > maximum:
        yield ("at_least",), f"is {at_least}, more than max_replicas, which is {maximum}; {mend}"
    if at_least < minimum:
        yield ("at_least",), f"is {at_least}, less than min_replicas, which is {minimum}; {mend}"


def _tier_problems(tiers: tuple[Tier, ...], maximum: int | None) -> Iterator[tuple[Path, str]]:
    if not tiers:
        yield (), "is empty; the least is one tier without up_to: `- replicas: 1`"
        return
    if tiers[-1].up_to is not None:
        yield (
            (len(tiers) - 1, "up_to"),
            f"leaves depth {tiers[-1].up_to + 1} and more without a tier; the last tier must be open, without up_to",
        )
    for index, tier in enumerate(tiers[:-1]):
        if tier.up_to is None:
            yield (index,), "has no up_to, so that the tiers after it can never be reached; only the last tier is open"
    yield from _order_problems(tiers)
    yield from _falling_problems(tiers, maximum)


def _order_problems(tiers: tuple[Tier, ...]) -> Iterator[tuple[Path, str]]:
    bounded = [(index, tier.up_to) for index, tier in enumerate(tiers) if tier.up_to is not None]
    for (before, lower), (index, upper) in itertools.pairwise(bounded):
        if upper <= lower:
            yield (
                (index, "up_to"),
                f"overlaps: {upper} is not above {lower}, where tiers[{before}] ends; list the tiers by rising up_to",
            )


def _falling_problems(tiers: tuple[Tier, ...], maximum: int | None) -> Iterator[tuple[Path, str]]:
    """More jobs must not mean fewer workers. Above max_replicas all counts are the same to us, so that is no fall."""

    def capped(tier: Tier) -> int:
        return tier.replicas if maximum is None else min(tier.replicas, maximum)

    for index, (lower, upper) in enumerate(itertools.pairwise(tiers)):
        if capped(upper) < capped(lower):
            yield (
                (index + 1, "replicas"),
                f"falls from {lower.replicas} to {upper.replicas}: more jobs must not mean fewer workers",
            )


def load_policy(text: str, environment: Mapping[str, str], *, name: str = "policy.yaml") -> tuple[Policy, Document]:
    """The policy, and the document that tells where each of its values comes from.

    Raises:
        ConfigurationError: with everything that is wrong, each with its place.
    """
    document = read(text, environment, name=name)
    policy: Policy | None = None
    try:
        policy = Policy.model_validate(document.data)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            record(document, details, _keys_at)
    for path, problem in _shared_between_workers(document.data, policy):
        document.refuse(path, problem)
    if document.problems or policy is None:
        raise ConfigurationError(document.problems)
    return policy, document


def _keys_at(path: Path) -> Keys | None:
    """Which keys a model that stands at the path knows, and what to say of those that people write by mistake."""
    part = _part_at(path)
    return None if part is None else Keys(tuple(map(str, _keys(part))), part.mends)


def _keys(part: type[BaseModel]) -> dict[str, str]:
    """By the key that stands in the file, the model's name for it: `schema` alone is one that pydantic uses itself."""
    return {field.alias or name: name for name, field in part.model_fields.items()}


def _part_at(path: Path) -> type[Part] | None:
    """Which model stands at a path, for the names of its keys."""
    by_shape: dict[tuple[str, ...], type[Part]] = {
        (): Policy,
        ("*",): WorkerPolicy,
        ("*", "tiers", "*"): Tier,
        ("*", "queue"): Queue,
        ("*", "queue", "columns"): Columns,
        ("*", "queue", "statuses"): Statuses,
        ("*", "scale_up"): ScaleUp,
        ("*", "scale_down"): ScaleDown,
        ("*", "on_unavailable"): OnUnavailable,
        ("*", "rate_limit"): RateLimit,
        ("*", "rate_limit", "keys"): RateLimitKeys,
    }
    if not path:
        return Policy
    shape = ("*", *("*" if isinstance(part, int) else part for part in path[2:]))
    return by_shape.get(shape) if path[0] == "workers" and len(path) > 1 else None


def _shared_between_workers(data: Any, policy: Policy | None) -> Iterator[tuple[Path, str]]:
    """Two workers on one service would pull it to and fro; two budgets under one key would overwrite each other."""
    entries = data.get("workers") if isinstance(data, dict) else None
    if not isinstance(entries, dict):
        return
    seen: dict[str, str] = {}
    for name, worker in entries.items():
        service = worker.get("service") if isinstance(worker, dict) else None
        if not isinstance(service, str) or not service:
            continue
        if service in seen:
            yield (
                ("workers", name, "service"),
                f"is the service of workers.{seen[service]} too; one service has one policy",
            )
        seen.setdefault(service, name)
    if policy is not None:
        yield from _shared_keys(policy)


def _shared_keys(policy: Policy) -> Iterator[tuple[Path, str]]:
    limits = {name: worker.rate_limit for name, worker in policy.workers.items() if worker.rate_limit}
    counted = Counter(key for limit in limits.values() for key in limit.keys.model_dump().values())
    for name, limit in limits.items():
        shared = [key for key in limit.keys.model_dump().values() if counted[key] > 1]
        if shared:
            yield (
                ("workers", name, "rate_limit"),
                f"uses keys that another worker uses too ({', '.join(shared)}); give each its own rate_limit.keys",
            )


def effective(policy: Policy, document: Document) -> Iterator[tuple[Path, str, str]]:
    """Every value in force: its path, the value as text, and where it comes from."""

    def walk(value: object, path: Path) -> Iterator[tuple[Path, str, str]]:
        if isinstance(value, BaseModel):
            for key, name in _keys(type(value)).items():
                if isinstance(value, Queue) and name in _NOT_OF[value.kind]:
                    continue
                yield from walk(getattr(value, name), (*path, key))
        elif isinstance(value, dict):
            for name, child in value.items():
                yield from walk(child, (*path, name))
        elif isinstance(value, tuple) and any(isinstance(child, BaseModel) for child in value):
            for index, child in enumerate(value):
                yield from walk(child, (*path, index))
        elif value is not None and value != ():
            origin = document.origin(path)
            yield path, document.masked(_as_text(value)), str(origin) if origin else "built in"

    yield from walk(policy, ())


def _as_text(value: object) -> str:
    if isinstance(value, float):
        return duration_text(value)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def json_schema() -> dict[str, Any]:
    """The policy's JSON Schema, for editors."""
    schema = Policy.model_json_schema()
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "worker-autoscaler policy"
    return schema
