"""What the user wishes: the policy's models, and load_policy(), which refuses or accepts and never adjusts.

Durations are floats in seconds. The numbers of a policy are whole: depths in jobs, replicas in workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from controller.core.model import ServiceTime
from controller.policy.document import ConfigurationError, Document, Path, read
from controller.policy.errors import Keys, record
from controller.policy.limits import OnUnavailable, RateLimit, RateLimitKeys, range_problems, share_problem, shared_keys
from controller.policy.queue import NAME_BYTES, PRESETS, Columns, Queue, Statuses, TimeColumn, split_name
from controller.policy.scaling import (
    IDLE_OFF_TEXT,
    ScaleDown,
    ScaleUp,
    Tier,
    down_problems,
    jobs_for,
    service_time_problem,
    tier_problems,
    wait_problem,
    without_cooldown,
    workers_for,
)
from controller.policy.types import Count, Duration, Name, Part, Positive, Word, duration_text

__all__ = [  # one door for everybody else: which file a model stands in is nobody's business
    "NAME_BYTES",
    "PRESETS",
    "OnUnavailable",
    "Policy",
    "Queue",
    "RateLimit",
    "ScaleDown",
    "ScaleUp",
    "Statuses",
    "Tier",
    "TimeColumn",
    "WorkerPolicy",
    "duration_text",
    "effective",
    "jobs_for",
    "json_schema",
    "load_policy",
    "split_name",
    "workers_for",
]
# A library's tables have columns of their own, and a query has its own of everything.
_NOT_OF = {"table": (), "preset": ("columns", "statuses"), "sql": ("columns", "statuses", "count_limit")}
_QUOTATION_MARKS = "\"'`\u00ab\u00bb\u2018\u2019\u201c\u201d\u201e"
_TIMES = tuple(name for name in Columns.model_fields if name not in {"status", "priority"})
_NOT_OF_A_WAIT: tuple[Path, ...] = (("scale_down", "cooldown"), ("scale_down", "stabilization_window"))


def _without_default(schema: dict[str, Any]) -> None:
    del schema["default"]  # which no editor shall offer: a list that is written is not empty


class WorkerPolicy(Part):
    """One worker service: its queue, how many workers each depth wants, and how fast the count may change.

    tiers say how many workers a depth wants; or target_wait says how long a job shall wait at most, and the workers
    follow from how long jobs take: service_time, or as measured. jobs_per_worker: so many one worker runs at once;
    going down keeps as many workers as the jobs in work need. no_progress_after: jobs are ready, a worker is idle, and
    nothing was taken for that long, which is told as a fault.
    """

    model_config = ConfigDict(json_schema_extra={"oneOf": [{"required": ["tiers"]}, {"required": ["target_wait"]}]})
    hints: ClassVar[Mapping[str, str]] = {
        "concurrency": "write jobs_per_worker",
        "min": "write min_replicas",
        "max": "write max_replicas",
        "cooldown": "write scale_up: {cooldown: …} and scale_down: {cooldown: …}",
    }
    service: Word
    """id of the service on the platform"""
    queue: Queue
    # The order matters: each validator below looks at the fields above it.
    max_replicas: Count
    """upper limit, applied last, see docs/policy.md#what-do-min-and-max-do"""
    min_replicas: Count = 0
    """lower limit, applied last, see docs/policy.md#what-do-min-and-max-do"""
    tiers: tuple[Tier, ...] = Field(default=(), min_length=1, json_schema_extra=_without_default)
    """list of `{up_to: DEPTH, replicas: N}`, rising; the last has no `up_to`; either `tiers` or `target_wait`"""
    target_wait: Duration | None = Field(default=None, validate_default=True)
    """the accepted wait, see docs/target-wait.md; either `tiers` or `target_wait`"""
    service_time: Duration | None = Field(default=None, validate_default=True)
    """how long a job takes, if `target_wait` cannot or should not measure it; required with a preset or a query.
    Default: measured.
    """
    scale_up: ScaleUp = Field(default=ScaleUp(), validate_default=True)
    scale_down: ScaleDown = Field(default=ScaleDown(), validate_default=True)
    on_unavailable: OnUnavailable | None = None
    jobs_per_worker: Positive | None = None
    """jobs that one worker runs at once; a scale-down keeps as many workers as the jobs in progress need. Default: 1
    with `target_wait`.
    """
    no_progress_after: Duration = 600.0
    """jobs are ready, a worker is idle and no job was taken for this long: reported as the fault `NoProgress`, see
    docs/reasons.md#when-is-there-no-progress
    """
    rate_limit: RateLimit | None = None

    @field_validator("service")
    @classmethod
    def _without_quotes(cls, service: str) -> str:
        if service[:1] in _QUOTATION_MARKS or service[-1:] in _QUOTATION_MARKS:
            raise PydanticCustomError("quotes", "has quotation marks around it, which are a part of it; take them out")
        return service

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

    @field_validator("target_wait")
    @classmethod
    def _one_of_the_two(cls, wait: float | None, info: ValidationInfo) -> float | None:
        problem = wait_problem(info.data["tiers"], wait) if "tiers" in info.data else None
        if problem is not None:
            raise PydanticCustomError("target_wait", "{text}", {"text": problem})
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
        problems = list(down_problems(down, info.data["target_wait"]))
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

    @field_validator("no_progress_after")
    @classmethod
    def _after_a_while(cls, after: float) -> float:
        if not after:
            raise PydanticCustomError("after", "must be above 0, for example 10m; write 24h to hear of it hardly ever")
        return after

    @property
    def concurrency(self) -> int:
        """How many jobs one worker runs at once, as far as the policy says."""
        return self.jobs_per_worker or 1

    @property
    def up_cooldown(self) -> float:
        unsaid = self.target_wait is not None and "cooldown" not in self.scale_up.model_fields_set
        return 0.0 if unsaid else self.scale_up.cooldown

    @property
    def down_cooldown(self) -> float:
        return self.scale_down.cooldown if self.target_wait is None else 0.0

    def window(self, start_up_s: float | None) -> float:
        """For so long, going down is only to the highest recommendation. start_up_s: as measured; None: never."""
        return self.scale_down.stabilization_window if self.target_wait is None else self.scale_down.window(start_up_s)

    @property
    def kept_window(self) -> float:
        """So long recommendations are remembered: always the same, since a longer window begins their chain anew."""
        return self.scale_down.stabilization_window if self.target_wait is None else self.scale_down.longest_window

    @property
    def given_service(self) -> ServiceTime | None:
        """How long a job takes, where the policy says it."""
        return None if self.service_time is None else ServiceTime(self.service_time, self.service_time, 0)

    def enough_for(self, service: ServiceTime | None) -> int:
        """A count that goes as far as this decides all that there is to decide: it wants all the workers there may be.

        Where nobody knows how long a job takes, only whether there is one decides anything.
        """
        if self.target_wait is None:
            return max([1, *(tier.up_to + 1 for tier in self.tiers if tier.up_to is not None)])
        if service is None:
            return 1
        return jobs_for(self.max_replicas, self.concurrency, self.target_wait, service.mean_s)

    @property
    def enough(self) -> int:
        """The same, as far as the policy alone can tell."""
        return self.enough_for(self.given_service)

    @property
    def busy(self) -> int:
        """So many jobs in work keep every worker that there may be; 0: nobody asks how many there are."""
        return self.max_replicas * (self.jobs_per_worker or 0 if self.target_wait is None else self.concurrency)

    def count_limit_for(self, service: ServiceTime | None) -> int:
        """No count goes past this: a deeper queue is shown as so many and more."""
        enough = self.enough_for(service)
        if self.target_wait is not None and enough > self.queue.count_limit:
            # A limit that moved with every measurement would make each count a new one.
            enough = 1 << (enough - 1).bit_length()
        return max(self.queue.count_limit, enough)

    @property
    def count_limit(self) -> int:
        """The same, as far as the policy alone can tell."""
        return self.count_limit_for(self.given_service)

    def wanted_at(self, depth: int) -> int:
        """The replicas of the first tier whose up_to holds the depth."""
        return next(tier.replicas for tier in self.tiers if tier.up_to is None or depth <= tier.up_to)


class Policy(Part):
    """interval: how often queue and platform are read. workers: by name; the name labels logs, metrics and keys.

    wake_min_interval: a notification starts a cycle at once, and no two start one within so long.
    """

    interval: Duration = 10.0
    """how often the queue and the platform are read; at least 100ms"""
    wake_min_interval: Duration = 1.0
    """a notification starts a cycle at once, but two such cycles are at least this far apart"""
    workers: dict[Name, WorkerPolicy] = Field(min_length=1)
    """one worker service; the name labels logs, metrics and keys"""

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
            record(document, _as_written(details, document.data), _keys_at)
    for path, problem in _shared_between_workers(document.data, policy):
        document.refuse(path, problem)
    if document.problems or policy is None:
        raise ConfigurationError(document.problems)
    return policy, document


def _as_written(details: ErrorDetails, data: Any) -> ErrorDetails:
    """A column may be written as a name alone, and then its name is no key of the file."""
    *above, last = details["loc"] or ("",)
    for key in above:
        data = data.get(key) if isinstance(data, dict) else None
    return {**details, "loc": tuple(above)} if last == "name" and isinstance(data, str) else details


def _keys_at(path: Path) -> Keys | None:
    """Which keys a model that stands at the path knows, and what to say of those that people write by mistake."""
    part = _part_at(path)
    return None if part is None else Keys(tuple(map(str, _keys(part))), part.hints)


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
        **{("*", "queue", "columns", name): TimeColumn for name in _TIMES},
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
        yield from shared_keys(
            {name: worker.rate_limit for name, worker in policy.workers.items() if worker.rate_limit}
        )


def effective(policy: Policy, document: Document) -> Iterator[tuple[Path, str, str]]:
    """Every value in force: its path, the value as text, and where it comes from."""
    for path, value in _values(policy, ()):
        origin = document.origin(path)
        shown = origin.shown if origin is not None and origin.holds_a_secret else _as_text(value)
        row = path, document.masked(shown), str(origin) if origin else "built in"
        yield from _in_force(policy, row)


def as_shown(policy: Policy, document: Document) -> dict[str, Any]:
    """The whole policy for /status, with `${NAME}` in the place of what a secret variable brought."""
    values = policy.model_dump(mode="json", exclude_none=True, by_alias=True)
    shown: dict[str, Any] = _with_references(values, (), document)
    return shown


def _with_references(value: Any, path: Path, document: Document) -> Any:
    if isinstance(value, dict):
        return {key: _with_references(child, (*path, key), document) for key, child in value.items()}
    if isinstance(value, list):
        return [_with_references(child, (*path, index), document) for index, child in enumerate(value)]
    # A column may be written as its name alone, without the key `name`.
    origin = document.origin(path) or (document.origin(path[:-1]) if path[-1:] == ("name",) else None)
    if origin is not None and origin.holds_a_secret:
        return document.masked(origin.shown)
    return document.masked(value) if isinstance(value, str) else value


def _values(value: object, path: Path) -> Iterator[tuple[Path, object]]:
    if isinstance(value, TimeColumn) and value.unit is None:
        yield path, value.name
    elif isinstance(value, BaseModel):
        for key, name in _keys(type(value)).items():
            if isinstance(value, Queue) and name in _NOT_OF[value.kind]:
                continue
            yield from _values(getattr(value, name), (*path, key))
    elif isinstance(value, dict):
        for name, child in value.items():
            yield from _values(child, (*path, name))
    elif isinstance(value, tuple) and any(isinstance(child, BaseModel) for child in value):
        for index, child in enumerate(value):
            yield from _values(child, (*path, index))
    elif value is not None and value != ():
        yield path, value


def _in_force(policy: Policy, row: tuple[Path, str, str]) -> Iterator[tuple[Path, str, str]]:
    """With a target_wait, what stands in the place of two keys; and the one job of a worker that says nothing."""
    path = row[0]
    worker = policy.workers[str(path[1])] if path[0] == "workers" else None
    if worker is None or worker.target_wait is None or path[2:] not in _NOT_OF_A_WAIT:
        yield row
        return
    if path[2:] == _NOT_OF_A_WAIT[0]:
        if worker.scale_down.idle_off is None:
            yield (*path[:-1], "idle_off"), IDLE_OFF_TEXT, "built in"
        if worker.jobs_per_worker is None:
            yield (*path[:2], "jobs_per_worker"), str(worker.concurrency), "built in"


def _as_text(value: object) -> str:
    if isinstance(value, float):
        return duration_text(value)
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def json_schema() -> dict[str, Any]:
    """The policy's JSON Schema, for editors."""
    from controller.policy.meanings import describe  # noqa: PLC0415  # it reads sources, which no other command needs

    schema = Policy.model_json_schema()
    describe(schema, Policy)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "worker-autoscaler policy"
    return schema
