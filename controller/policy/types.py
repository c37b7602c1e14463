"""What the policy's models are made of: durations, numbers, words, and a part that knows its keys.

By itself, pydantic takes more than a policy should say: `yes` as 1, `1_000` as 1000, digits of any script, `010` as 10,
which YAML 1.1 reads as 8. A count that is read differently than it was meant starts workers that cost money, so a
number can be written in one way only, and all others are refused with their line. The same types also make the JSON
Schema, in which every value may be a text with ${VARIABLES} instead.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from types import UnionType
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin
from urllib.parse import SplitResult, urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from controller.core.units import as_share, seconds_of, share_of

_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,29})")
_LONGEST_WORD = 255
LARGEST = 1_000_000_000
"""Of every count: no queue and no budget has more, so more is a typing error."""
_LEAST_PROMISED, _MOST_PROMISED = 0.5, 0.999
"""Of the newest 500 jobs, fewer late ones than half a job cannot be told from none."""
A_VARIABLE = {"type": "string", "pattern": r"\$\{"}


def _duration(value: object) -> float:
    try:
        return seconds_of(value if isinstance(value, str) else "")
    except ValueError as problem:
        raise PydanticCustomError("duration", "{text}", {"text": str(problem)}) from None


def _whole(value: object) -> object:
    # Without this, pydantic reads `replicas: yes` as 1.
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise PydanticCustomError("whole", "must be a whole number")
    # Of a variable: pydantic would read 1_000, 010 and digits of every script.
    if isinstance(value, str) and not _WHOLE.fullmatch(value.strip()):
        raise PydanticCustomError("whole", "must be a whole number")
    return value


class Quantity(float):
    """A number that is not a duration; its text is as a policy writes it."""

    __slots__ = ()


class Share(Quantity):
    """A part of a whole, 1 being all; as text it is `10%`."""

    __slots__ = ()

    def __str__(self) -> str:
        return as_share(self)


def _as_share(value: object) -> Share:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise PydanticCustomError("share", "is not a share; write 10% or 0.1")
    try:
        return Share(share_of(value) if isinstance(value, str) else float(value))
    except ValueError as problem:
        raise PydanticCustomError("share", "{text}", {"text": str(problem)}) from None


def _share(value: object) -> Share:
    share = _as_share(value)
    if not 0 <= share < 1:
        raise PydanticCustomError("share", "is not between 0% and 100%; 10 percent is written 10% or 0.1")
    return share


def _not_blank(value: str) -> str:
    if not value or any(character.isspace() or ord(character) < 32 for character in value):
        raise PydanticCustomError("word", "must be a word without spaces")
    return value


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h)$|\$\{", "examples": ["500ms", "30s", "2m"]}),
]
Tolerance = Annotated[
    Share,
    PlainValidator(_share),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "exclusiveMaximum": 1},
                {"type": "string", "pattern": r"^\d{1,2}(\.\d+)?%$|^0(\.\d+)?$|\$\{", "examples": ["10%", "0.1"]},
            ]
        }
    ),
]
Count = Annotated[
    int,
    BeforeValidator(_whole),
    Field(ge=0, le=LARGEST),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, A_VARIABLE]}),
]
Positive = Annotated[
    int,
    BeforeValidator(_whole),
    Field(ge=1, le=LARGEST),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, A_VARIABLE]}),
]
Word = Annotated[str, StringConstraints(max_length=_LONGEST_WORD), AfterValidator(_not_blank)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]


@dataclass(frozen=True, slots=True)
class IfUnset:
    """In the annotation of a key: what holds if it is left out, in words; for a default that is not a value."""

    words: str


def _promised(value: object) -> Share:
    share = _as_share(value)
    if not _LEAST_PROMISED <= round(share, 9) <= _MOST_PROMISED:  # 99.9 / 100 is a little more than 0.999
        raise PydanticCustomError("share", "is not between 50% and 99.9%; 99 percent is written 99% or 0.99")
    return share


Promised = Annotated[
    Share,
    PlainValidator(_promised),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": _LEAST_PROMISED, "maximum": _MOST_PROMISED},
                {"type": "string", "pattern": r"^[5-9]\d(\.\d+)?%$|^0\.[5-9]\d*$|\$\{", "examples": ["99%", "0.99"]},
            ]
        }
    ),
]


class Part(BaseModel):
    # Deferred, so that a part gets no validator of its own beside the one within Policy's.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    hints: ClassVar[Mapping[str, str]] = {}
    """What to say of keys that people write by mistake."""


def keys_of(part: type[BaseModel]) -> dict[str, str]:
    """By the key that stands in the file, the model's name for it: `schema` alone is one that pydantic uses itself."""
    return {field.alias or name: name for name, field in part.model_fields.items()}


def part_at(root: type[Part], path: Sequence[str | int]) -> type[Part] | None:
    """The model at a path below another; None where none is: at a number, at a text, nowhere.

    Errors, docs and the schema ask it which keys a place knows: so the models are the only list of keys.
    """
    kinds: list[Any] = [root]
    for step in path:
        kinds = [inner for kind in kinds for inner in _below(kind, step)]
    return next((kind for kind in kinds if _is_part(kind)), None)


def _is_part(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Part)


def _below(kind: Any, step: str | int) -> Iterator[Any]:
    """What may stand there in a value of this kind: of a list, by its index; of a mapping or a model, by the key."""
    inside = get_args(kind)
    if _is_part(kind):
        name = keys_of(kind).get(str(step))
        if name is not None:
            yield from _kinds(kind.model_fields[name].annotation)
    elif get_origin(kind) is tuple and isinstance(step, int):
        yield from _kinds(inside[0])
    elif get_origin(kind) is dict:
        yield from _kinds(inside[1])


def _kinds(annotation: Any) -> Iterator[Any]:
    """Each kind of value that a field takes, without what it is annotated with."""
    if get_origin(annotation) is Annotated:
        yield from _kinds(get_args(annotation)[0])
    elif get_origin(annotation) in {Union, UnionType}:
        for one in get_args(annotation):
            yield from _kinds(one)
    else:
        yield annotation


def web_address(address: str) -> SplitResult | None:
    """None: it is not the address of a web server."""
    try:
        parts = urlsplit(address)
        is_one = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port > 0)
        (parts.hostname or "").encode("idna")
    except (ValueError, UnicodeError):
        return None
    return parts if is_one else None


def is_near(host: str) -> bool:
    """Whether a name can only be that of a machine in the same network."""
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.endswith((".localhost", ".internal", ".local"))
    return address.is_private or address.is_loopback
