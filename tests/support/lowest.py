"""`python -m tests.support.lowest` prints the lowest versions that pyproject.toml allows, as constraints for pip."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

_BOUND = re.compile(r"(?P<name>[A-Za-z0-9_.-]+)(?:\[[^]]*\])?>=(?P<version>[0-9.]+)")
_OURS = ("fake", "demo")
"""Extras of the product; those of its tests may be new."""


def lowest() -> Iterator[str]:
    """One line a dependency: those of the package and of its extras.

    Raises:
        ValueError: A dependency has no lower bound.
    """
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    for wanted in [*project["dependencies"], *(one for name in _OURS for one in extras[name])]:
        if wanted.startswith(project["name"]):
            continue
        bound = _BOUND.match(wanted)
        if bound is None:
            raise ValueError(f"{wanted} has no lower bound")
        yield f"{bound['name']}=={bound['version']}"


if __name__ == "__main__":
    print("\n".join(lowest()))
