"""Replaces keys of one worker in a policy's file; all other keys are written as they were read."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import yaml

from controller.core.text.masking import MASK, SECRET_NAME, Masker

_DEFAULT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*):-([^{}]*)\}")
_WIDTH = 80


class _Scalar(str):
    """A scalar as text: `010`, `yes` and `2024-01-01` are written as they were read."""

    __slots__ = ("style", "tag")
    tag: str
    style: str | None

    def __new__(cls, node: yaml.ScalarNode) -> Self:
        self = super().__new__(cls, node.value)
        self.tag, self.style = node.tag, node.style
        return self


class _Loader(yaml.SafeLoader):
    """Resolves aliases and merges, and keeps scalars as text."""


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # as the base has it
        """Aliases were resolved when they were read, so they are written out."""
        return True


def _read(loader: yaml.SafeLoader, node: yaml.Node) -> _Scalar:  # noqa: ARG001  # as a constructor is called
    assert isinstance(node, yaml.ScalarNode), "only scalars are constructed here"
    return _Scalar(node)


def _write(dumper: yaml.SafeDumper, scalar: _Scalar) -> yaml.ScalarNode:
    return dumper.represent_scalar(scalar.tag, str(scalar), style=scalar.style)


for _kind in ("binary", "bool", "float", "int", "null", "str", "timestamp", "value"):
    _Loader.add_constructor(f"tag:yaml.org,2002:{_kind}", _read)
_Dumper.add_representer(_Scalar, _write)


def worker_of(text: str, worker: str | None) -> Mapping[str, Any]:
    """A worker's keys in the file, scalars as text. worker: None is the first."""
    entries = _loaded(text)["workers"]
    entry: Mapping[str, Any] = entries[_name(entries, worker)]
    return entry


def _loaded(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)  # noqa: S506  # a SafeLoader that constructs less


def _name(entries: Mapping[str, Any], worker: str | None) -> str:
    return next(iter(entries)) if worker is None else worker


def with_worker(
    text: str,
    worker: str | None,
    new: Mapping[str, Any],
    *,
    without: Collection[str],
    comments: Mapping[str, Sequence[str]],
) -> str:
    """The file's text without the worker's keys `without`, and with the `new` ones at its end.

    worker: None is the first. comments: by new key (with a scalar value), the lines above it.
    """
    policy = _loaded(text)
    entries = policy["workers"]
    name = _name(entries, worker)
    kept = {key: value for key, value in entries[name].items() if key not in without}
    marks = {key: f"@{key}@" for key in comments}
    entries[name] = {**kept, **new, **marks}
    dumped = yaml.dump(policy, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=_WIDTH)
    for key, mark in marks.items():
        line = next(line for line in dumped.splitlines() if line.strip() == f"{key}: '{mark}'")
        indent = line[: len(line) - len(line.lstrip())]
        above = "".join(f"{indent}# {comment}\n" for comment in comments[key])
        dumped = dumped.replace(line, f"{above}{indent}{key}: {new[key]}")
    return dumped


def without_secret_defaults(text: str) -> tuple[str, list[str]]:
    """The policy's text with `${API_TOKEN}` for `${API_TOKEN:-s3cret-7}`, and the names of these variables.

    A policy with a mask instead of a default would be valid but wrong; without a default it is refused until the
    variable is set.
    """
    without: dict[str, None] = {}

    def one(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        if not SECRET_NAME.search(name) or MASK not in Masker([default]).text(default):
            return match[0]
        without[name] = None
        return f"${{{name}}}"

    return _DEFAULT.sub(one, text), list(without)
