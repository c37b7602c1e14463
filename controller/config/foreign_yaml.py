"""YAML that others wrote for others, such as a kubeconfig or manifests of Kubernetes: read as YAML 1.1, within limits.

A policy has a stricter reader, in policy/strict_yaml.py, which knows the line of each value.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import yaml

MOST_BYTES = 4_000_000
_MOST_VALUES, _DEEPEST = 500_000, 100
"""Of all documents, with aliases counted as often as they stand for something: a few lines may stand for gigabytes."""
_ERRORS = (yaml.YAMLError, ValueError, LookupError, AttributeError, ArithmeticError, TypeError, RecursionError)
"""PyYAML's own, and those of its constructors, such as of a date with a month 13, or of `!!bool 7`."""


class NotReadableError(Exception):
    """What is wrong with a text, after its name: `is not YAML`."""


def documents(text: bytes) -> list[Any]:
    """What each document of the text holds.

    Raises:
        NotReadableError: it is not YAML, or too large.
    """
    if len(text) > MOST_BYTES:
        raise NotReadableError(f"has more than {MOST_BYTES:,} bytes")
    try:
        found = list(yaml.safe_load_all(text))
    except _ERRORS:
        raise NotReadableError("is not YAML") from None
    if sum(1 for _ in itertools.islice(_values(found, 0), _MOST_VALUES + 1)) > _MOST_VALUES:
        raise NotReadableError(f"has more than {_MOST_VALUES:,} values, aliases counted")
    return found


def _values(value: Any, depth: int) -> Iterator[None]:
    """One for each value. Raises NotReadableError: it is too deep, or holds itself."""
    if depth > _DEEPEST:
        raise NotReadableError(f"is nested more than {_DEEPEST} deep")
    yield None
    if isinstance(value, dict):
        for one in value.values():
            yield from _values(one, depth + 1)
    elif isinstance(value, list | tuple | set):
        for one in value:
            yield from _values(one, depth + 1)
