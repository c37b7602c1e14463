"""What an adapter of a platform declares of its settings, so that reading them needs no platform's name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

from controller.config.variables import EnvironmentVariable
from controller.core.problems import Problem
from controller.core.text.references import References


class Access(Protocol):
    """What is needed to call a platform. secrets: what of it must never be printed."""

    @property
    def secrets(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class PlatformSettings:
    """Declared once a platform, beside its adapter: adapters/NAME/settings.py.

    target: the key of a worker's policy that names a target on this platform; load is only called where one does.
    load: reads the access, or raises a ConfigurationError with everything that is wrong. warnings: variables that work
    but should be changed.
    """

    target: str
    variables: tuple[EnvironmentVariable, ...]
    references: References
    load: Callable[[Mapping[str, str]], Access]
    warnings: Callable[[Mapping[str, str]], Iterable[Problem]]
    group: str
    """the variable that AUTOSCALER_GROUP defaults to"""
    group_in_words: str
    replica: str
    """the variable in which the platform tells a process which replica it is"""
    change_timeout: str
    """the variable with the deadline of one change sent to the platform, in milliseconds"""

    def names(self, *holds: Literal["token", "id", "address"]) -> tuple[str, ...]:
        """Of the variables that hold one of these."""
        return tuple(one.name for one in self.variables if one.holds in holds)
