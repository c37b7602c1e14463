"""What the policy's models are made of: durations, numbers, words, and a part that knows its keys."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)")
_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,29})")
_LONGEST_WORD = 255
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_LONGEST_S = 31 * 24 * 3600.0
LARGEST = 1_000_000_000
_A_VARIABLE = {"type": "string", "pattern": r"\$\{"}


def _duration(value: object) -> float:
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise PydanticCustomError("duration", "is not a duration; write 500ms, 30s, 2m or 1h")
    seconds = float(match[1]) * _SECONDS[match[2]]
    if seconds > _LONGEST_S:
        raise PydanticCustomError("duration", "is longer than a month; write 500ms, 30s, 2m or 1h")
    return seconds


def _whole(value: object) -> object:
    # Without this, pydantic reads `replicas: yes` as 1.
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        raise PydanticCustomError("whole", "must be a whole number")
    # Of a variable: pydantic would read 1_000, 010 and digits of every script.
    if isinstance(value, str) and not _WHOLE.fullmatch(value.strip()):
        raise PydanticCustomError("whole", "must be a whole number")
    return value


def _not_blank(value: str) -> str:
    if not value or any(character.isspace() or ord(character) < 32 for character in value):
        raise PydanticCustomError("word", "must be a word without spaces")
    return value


Duration = Annotated[
    float,
    BeforeValidator(_duration),
    WithJsonSchema({"type": "string", "pattern": r"^\d+(\.\d+)?(ms|s|m|h)$|\$\{", "examples": ["500ms", "30s", "2m"]}),
]
Count = Annotated[
    int,
    BeforeValidator(_whole),
    Field(ge=0, le=LARGEST),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, _A_VARIABLE]}),
]
Positive = Annotated[
    int,
    BeforeValidator(_whole),
    Field(ge=1, le=LARGEST),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, _A_VARIABLE]}),
]
Word = Annotated[str, StringConstraints(max_length=_LONGEST_WORD), AfterValidator(_not_blank)]
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    hints: ClassVar[Mapping[str, str]] = {}
    """What to say of keys that people write by mistake."""


def seconds_of(text: str) -> float:
    """Of a duration as a policy writes it: `500ms`, `30s`, `2m`, `1h`.

    Raises:
        ValueError: it is none, or longer than a month; in words that say what to write.
    """
    return _duration(text)


def duration_text(seconds: float) -> str:
    """`90s` rather than 90.0: the shortest way to write a duration that the policy would read back as the same."""
    for unit in ("h", "m", "s"):
        whole = seconds / _SECONDS[unit]
        if seconds and whole == int(whole):
            return f"{int(whole)}{unit}"
    return f"{seconds * 1000:.3f}".rstrip("0").rstrip(".") + "ms" if seconds else "0s"
