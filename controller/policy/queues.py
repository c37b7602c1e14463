"""Several queues of one worker: each is a queue as `queue:` has it, with its own wait, time per job or weight. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, PlainSerializer, Tag, WithJsonSchema
from pydantic_core import PydanticCustomError

from controller.policy.document import Path
from controller.policy.names import split_name
from controller.policy.queue import Queue
from controller.policy.types import A_VARIABLE, Duration, IfUnset

MOST_QUEUES = 32
"""Of one worker; a preset's `queues` counts as one. More would fill its log line and its entry in Redis."""
AS_LIST, AS_MAPPING = "(list)", "(mapping)"
"""Tags of the two ways to write `queues`; pydantic puts them into the path of an error, and no key is like them."""
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$"
_WEIGHT = re.compile(r"(?:0|[1-9][0-9]{0,3})(?:\.[0-9]{1,6})?")
_LEAST_WEIGHT, _MOST_WEIGHT = Decimal("0.01"), Decimal(1000)


def _weight(value: object) -> Decimal:
    text = "" if isinstance(value, bool) else str(value).strip()
    if not _WEIGHT.fullmatch(text) or not _LEAST_WEIGHT <= Decimal(text) <= _MOST_WEIGHT:
        words = f"must be a number from {_LEAST_WEIGHT} to {_MOST_WEIGHT}, for example 0.2 or 3"
        raise PydanticCustomError("weight", "{text}", {"text": words})
    return Decimal(text)


def _queue_name(name: str) -> str:
    if not re.fullmatch(_NAME, name):
        words = "a queue's name may have letters, digits, '-', '_' and '.' only, at most 63"
        raise PydanticCustomError("queue_name", "{text}", {"text": words})
    return name


Weight = Annotated[
    Decimal,
    BeforeValidator(_weight),
    PlainSerializer(float, when_used="json"),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": float(_LEAST_WEIGHT), "maximum": float(_MOST_WEIGHT)},
                A_VARIABLE,
            ]
        }
    ),
]
GivenName = Annotated[
    str, AfterValidator(_queue_name), WithJsonSchema({"type": "string", "pattern": _NAME, "minLength": 1})
]


class NamedQueue(Queue):
    """One of several queues of a worker: where its jobs are, and what its jobs ask of the shared workers."""

    target_wait: Annotated[Duration | None, IfUnset("the worker's")] = None
    """with `target_wait` of the worker: the accepted wait of this queue's jobs"""
    service_time: Annotated[Duration | None, IfUnset("the worker's, or measured")] = None
    """with `target_wait` of the worker: how long a job of this queue takes; required with a preset or a query, if the
    worker has none
    """
    weight: Annotated[Weight, IfUnset("1")] = Decimal(1)
    """with tiers: what one job of this queue counts in the depth, 0.01 to 1000; the sum is rounded up"""

    @property
    def alone(self) -> Queue:
        """The same as a `queue:` of its own, without what it asks of the workers."""
        fields = {name: getattr(self, name) for name in Queue.model_fields}
        return Queue.model_construct(self.model_fields_set & set(Queue.model_fields), **fields)


def _no_name_alone(value: object) -> object:
    # In `queue`, the key of the same name takes the names of a library's queues.
    if isinstance(value, str):
        words = "is a name, and not a queue; write table: NAME, or queue: {preset: LIBRARY, queues: [NAME]}"
        raise PydanticCustomError("queue", "{text}", {"text": words})
    return value


def _way_of(value: object) -> str | None:
    if isinstance(value, Mapping):
        return AS_MAPPING
    return AS_LIST if isinstance(value, list | tuple) else None


_One = Annotated[NamedQueue, BeforeValidator(_no_name_alone)]
Queues = Annotated[
    Annotated[tuple[_One, ...], Field(max_length=MOST_QUEUES), Tag(AS_LIST)]
    | Annotated[dict[GivenName, _One], Field(max_length=MOST_QUEUES), Tag(AS_MAPPING)],
    Discriminator(
        _way_of,
        custom_error_type="queues",
        custom_error_message="must be a list of queues (`- …` lines below it), or a mapping of names to queues",
    ),
]


def by_name(queues: tuple[NamedQueue, ...] | Mapping[str, NamedQueue]) -> dict[str, NamedQueue]:
    """Those of a list are named after their table, their only queue, or their preset; else by their number, from 1."""
    if isinstance(queues, Mapping):
        return dict(queues)
    named: dict[str, NamedQueue] = {}
    for number, queue in enumerate(queues, start=1):
        proposed = _proposed(queue)
        name = proposed if re.fullmatch(_NAME, proposed) else str(number)
        free = (name, *(f"{name[:59]}-{again}" for again in range(2, MOST_QUEUES + 2)))
        named[next(one for one in free if one not in named)] = queue
    return named


def _proposed(queue: Queue) -> str:
    if queue.table is not None:
        return split_name(queue.table)[1]
    if len(queue.queues) == 1:
        return queue.queues[0]
    return "" if queue.preset is None else queue.preset.rpartition("/")[2].removesuffix(".toml")


def place_problem(queue: Queue | None, queues: object) -> str | None:
    """Exactly one of the two says where the jobs are."""
    if queue is not None and queues is not None:
        return "is written together with queue, and only one of them can say where the jobs are; keep one"
    if queue is None and queues is None:
        return "is not set, and neither is queue; write one of the two"
    # min_length would be said, too, where each of them is wrong by itself.
    return None if queues is None or queues else "is empty; write at least one, or write queue"


def queues_problems(
    queues: tuple[NamedQueue, ...] | Mapping[str, NamedQueue], target_wait: float | None, service_time: float | None
) -> Iterator[tuple[Path, str]]:
    """What one of the queues lacks, or has without effect, next to the worker's target_wait and service_time."""
    keyed: list[tuple[str | int, NamedQueue]] = (
        list(queues.items()) if isinstance(queues, Mapping) else list(enumerate(queues))
    )
    for key, queue in keyed:
        for name, problem in _problems_of(queue, target_wait, service_time):
            yield ("queues", key, name), problem
    if service_time is not None and all(queue.service_time is not None for _, queue in keyed):
        yield ("service_time",), "has no effect, because each of its queues has a service_time; leave it out"


def _problems_of(queue: NamedQueue, target_wait: float | None, service_time: float | None) -> Iterator[tuple[str, str]]:
    if target_wait is None:
        for name in ("target_wait", "service_time"):
            if getattr(queue, name) is not None:
                yield (
                    name,
                    "has no effect without target_wait of the worker; write that instead of tiers, or leave it out",
                )
        return
    if "weight" in queue.model_fields_set:
        yield "weight", "has no effect with target_wait, which goes by the time per job; leave it out"
    if queue.service_time == 0:
        yield "service_time", "must be above 0, for example 20s; or leave it out to have it measured"
    if queue.service_time is None and service_time is None and queue.table is None:
        of = f"preset {queue.preset}" if queue.preset is not None else "a query"
        yield (
            "service_time",
            f"is missing: how long the jobs of {of} take cannot be measured (of a table it can); write for example 20s",
        )
