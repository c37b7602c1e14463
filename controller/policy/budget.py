"""How much the workers of a period may cost, what one of them costs, and how the highest count falls near the amount.

How it is applied: core/budget.py.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import PydanticCustomError

from controller.core.price import Price
from controller.policy.document import Path
from controller.policy.schedules import checked_zone
from controller.policy.types import A_VARIABLE, LARGEST, IfUnset, Part, Quantity, Share, Tolerance

_DOLLARS = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)\$")
_MEMORY = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(MB|GB)")
_WHOLE = re.compile(r"0|[1-9][0-9]{0,9}")
_CPUS = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6})?")
_MOST = {"vcpu": 1_000.0, "memory": 10_000.0}


class Dollars(Quantity):
    """As text it is `40$`."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"{self:.10g}$"


class Gigabytes(Quantity):
    """As text it is `0.5GB`."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"{self:.10g}GB"


class Cpus(Quantity):
    """As text it is `0.25`."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"{self:.10g}"


def _dollars(value: object) -> Dollars:
    match = _DOLLARS.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError("dollars", "is not an amount of dollars; write for example 40$ or 0.5$")
    if not float(match[1]):
        raise PydanticCustomError("dollars", "must be above 0$")
    return Dollars(match[1])


def _memory(value: object) -> Gigabytes:
    match = _MEMORY.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError("memory", "is not an amount of memory; write for example 0.5GB or 512MB")
    found = float(match[1]) / (1000 if match[2] == "MB" else 1)
    if not 0 < found <= _MOST["memory"]:
        raise PydanticCustomError("memory", "must be above 0 and at most 10000GB")
    return Gigabytes(found)


def _cpus(value: object) -> Cpus:
    if isinstance(value, str) and _CPUS.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST["vcpu"]:
        raise PydanticCustomError("vcpu", "is not a number of vCPUs from 0 to 1000; write for example 0.25")
    return Cpus(value)


def _floor(value: object) -> str | int:
    text = value.strip() if isinstance(value, str) else value
    if text == "min":
        return "min"
    if isinstance(text, str) and _WHOLE.fullmatch(text):
        text = int(text)
    if isinstance(text, bool) or not isinstance(text, int) or not 0 <= text <= LARGEST:
        raise PydanticCustomError("floor", "is neither min nor a whole number; write min, or for example 0")
    return text


def _text(pattern: str, *examples: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "pattern": rf"{pattern}|\$\{{", "examples": list(examples)})


Money = Annotated[Dollars, PlainValidator(_dollars), _text(r"^\d+(\.\d+)?\$$", "40$", "0.5$")]
Memory = Annotated[Gigabytes, PlainValidator(_memory), _text(r"^\d+(\.\d+)?(MB|GB)$", "0.5GB", "512MB")]
Vcpu = Annotated[
    Cpus,
    PlainValidator(_cpus),
    WithJsonSchema({"anyOf": [{"type": "number", "minimum": 0, "maximum": _MOST["vcpu"]}, A_VARIABLE]}),
]


class WorkerSize(Part):
    """What one worker costs while it runs: by what it uses, at the usual prices, or by a price of its own."""

    hints: ClassVar[Mapping[str, str]] = {
        "cpu": "write vcpu",
        "cpus": "write vcpu",
        "ram": "write memory",
        "price": "write price_per_hour",
    }
    memory: Memory | None = None
    """memory that one worker uses on average, such as `0.5GB`, at 10$ a month for a GB"""
    vcpu: Vcpu | None = None
    """vCPUs that one worker uses on average, such as `0.25`, at 20$ a month for one"""
    price_per_hour: Money | None = None
    """what one worker costs in an hour, such as `0.012$`, instead of `memory` and `vcpu`: for other platforms"""

    @model_validator(mode="after")
    def _is_one_of_two(self) -> Self:
        used = self.memory is not None, self.vcpu is not None
        if self.price_per_hour is not None and any(used):
            raise PydanticCustomError("size", "has memory or vcpu beside price_per_hour; keep one of the two ways")
        if self.price_per_hour is None and not all(used):
            raise PydanticCustomError("size", "needs memory and vcpu, or price_per_hour")
        return self

    @property
    def price(self) -> Price:
        return Price(self.memory or 0.0, self.vcpu or 0.0, self.price_per_hour)


class Budget(Part):
    """max_replicas falls in steps as the spend of the period nears the amount: at 80, 90 and 100 %."""

    hints: ClassVar[Mapping[str, str]] = {
        "limit": "write amount",
        "period": "write per",
        "tz": "write timezone",
        "floor": "write at_budget",
        "min_replicas": "write at_budget",
    }
    amount: Money
    """dollars that the workers may cost in each period, such as `40$`"""
    per: Literal["hour", "day", "week", "month"]
    """the period: `hour`, `day`, `week` (from Monday) or `month`, by the calendar"""
    timezone: Annotated[str, StringConstraints(max_length=64), AfterValidator(checked_zone)] = "UTC"
    """time zone in which the period begins"""
    at_budget: Annotated[
        Literal["min"] | int,
        PlainValidator(_floor),
        WithJsonSchema({"anyOf": [{"const": "min"}, {"type": "integer", "minimum": 0}, A_VARIABLE]}),
    ] = "min"
    """max_replicas once all is spent, and never less: `min` for min_replicas, or a number; a lower one lowers
    min_replicas, too
    """
    overrun: Annotated[Tolerance, IfUnset("10%")] = Field(default_factory=lambda: Share(0.1))
    """busy workers above the lowered max may finish until the spend exceeds the amount by this share; then they are
    removed at once
    """


def floor_problems(budget: Budget | None, most: int | None) -> Iterator[tuple[Path, str]]:
    """most: max_replicas."""
    if budget is not None and most is not None and budget.at_budget != "min" and int(budget.at_budget) > most:
        yield ("at_budget",), f"is {budget.at_budget}, more than max_replicas, which is {most}"


def budget_problem(budget: Budget | None, size: WorkerSize | None, *, has_limits: bool) -> str | None:
    """has_limits: the worker's platform may report what one worker may use at most, which then is its size."""
    if budget is None or size is not None or has_limits:
        return None
    return "needs worker_size, for example worker_size: {memory: 0.5GB, vcpu: 0.25}, or the spend is unknown"


def sizes_problem(budget: Budget | None, sizes: Mapping[str, WorkerSize | None]) -> str | None:
    """Of the budget of all workers; sizes: by worker."""
    without = [name for name, size in sizes.items() if size is None]
    if budget is None or not without:
        return None
    names = ", ".join(without[:5]) + (f" and {len(without) - 5} more" if len(without) > 5 else "")
    return f"needs the worker_size of each worker, or the spend is unknown; write one for {names}"


def refuse(problems: Iterable[tuple[Path, str]], kind: str) -> None:
    """Refuses with these problems; does nothing without."""
    found = list(problems)
    if found:
        raise PydanticCustomError(kind, "does not fit", {"problems": found})
