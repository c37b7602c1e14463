"""What an adapter of a platform declares of itself, so that no other room needs its name.

Declared beside the adapter, in adapters/NAME/settings.py, and listed once, in controller/configuration.py. What talks
to the platform is named by its module, which is imported only if a worker of the policy is on it: `run` has no memory
for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

from controller.config.variables import EnvironmentVariable
from controller.core.ports import Clock, Platform
from controller.core.problems import Problem
from controller.core.text.masking import Masker
from controller.core.text.references import References
from controller.policy import Policy


class Access(Protocol):
    """What is needed to call a platform. secrets: what of it must never be printed."""

    @property
    def secrets(self) -> tuple[str, ...]: ...


class Opening(NamedTuple):
    """What an adapter is opened with.

    may_act: whether this replica is sure to lead, in this epoch, for as long as one change takes; asked right before
    anything that changes something is sent. timeout_s: the deadline of one change.
    """

    access: Access
    policy: Policy
    clock: Clock
    may_act: Callable[[int], bool]
    timeout_s: float
    mask: Masker


class OpenPlatform(Platform, Protocol):
    """A Platform, and what the process does with it besides reading and scaling."""

    @property
    def sent(self) -> Mapping[tuple[str, str], int]:
        """How many requests were sent since the start, by operation and result: ok, refused, throttled, failed."""

    def serve(self, policy: Policy) -> None:
        """The targets and the interval are those of this policy from now on."""

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class PlatformSettings:
    """name: what messages call the platform.

    target: the key of a worker's policy that names a target on this platform; load is only called where one does.
    load: reads the access, or raises a ConfigurationError with everything that is wrong. warnings: variables that work
    but should be changed.
    """

    name: str
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
    opens: str
    """MODULE:FUNCTION that takes an Opening and returns an OpenPlatform; sends nothing"""
    checks: str = ""
    """MODULE:FUNCTION with doctor's checks, see doctor/report.py; "": it has none"""

    def names(self, *holds: Literal["token", "id", "address"]) -> tuple[str, ...]:
        """Of the variables that hold one of these."""
        return tuple(one.name for one in self.variables if one.holds in holds)
