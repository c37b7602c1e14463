"""The id of a test's case that has none of its own: each argument with its name, `max_replicas=5, depth=11`.

In a log there is only the id. Without this it is `5-11`, or `policy0-depth1`. Where a case needs a sentence, it has one
(`ids=`, or `pytest.param(…, id=…)`), which says by itself what is tried.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import pytest

_LONGEST = 60
_PLAIN = re.compile(r"\S(.*\S)?")


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """None leaves it to pytest: where the value has no words that are the same in each process."""
    words = words_of(val)
    if words is None:
        return None
    words = " ".join(words.split("\n"))
    return f"{argname}={words if len(words) <= _LONGEST else words[: _LONGEST - 3] + '...'}"


def words_of(value: Any) -> str | None:
    """None: it has none, or other ones in each process, as an address in memory."""
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, str | bytes):
        value = value[: 2 * _LONGEST]
    if isinstance(value, str):
        return value if _PLAIN.fullmatch(value) and value.isprintable() else repr(value)
    if value is None or isinstance(value, bool | int | float | bytes):
        return repr(value)
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, re.Pattern):
        return str(value.pattern)
    if isinstance(value, type):
        return value.__name__
    if dataclasses.is_dataclass(value):
        return _of_a_dataclass(value)
    return _of_a_collection(value)


def _of_a_collection(value: Any) -> str | None:
    if isinstance(value, Mapping):
        parts = [part for pair in value.items() for part in map(words_of, pair)]
        if None in parts:
            return None
        return "{" + ", ".join(f"{key}: {one}" for key, one in zip(parts[::2], parts[1::2], strict=True)) + "}"
    if isinstance(value, Sequence | set | frozenset):
        words = [words_of(one) for one in value]
        known = [one for one in words if one is not None]
        if len(known) < len(words):
            return None
        return "[" + ", ".join(known if isinstance(value, Sequence) else sorted(known)) + "]"
    return None


def _of_a_dataclass(value: Any) -> str | None:
    """Its fields, without those that are as they are by default."""
    said = []
    for field in dataclasses.fields(value):
        given = getattr(value, field.name)
        if not field.repr or (field.default is not dataclasses.MISSING and given == field.default):
            continue
        words = words_of(given)
        if words is None:
            return None
        said.append(f"{field.name}={words}")
    return f"{type(value).__name__}({', '.join(said)})"
