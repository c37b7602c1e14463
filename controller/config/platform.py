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
from controller.policy import Path, Policy


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


def change_timeout(variable: str, platform: str) -> EnvironmentVariable:
    """The variable with the deadline of one change sent to this platform, in milliseconds."""
    meaning = f"deadline of one change sent to {platform}; it is only sent if it ends within the lease"
    return EnvironmentVariable(variable, meaning, "5000, less with a short lease")


def _no_warnings(_environment: Mapping[str, str]) -> Iterable[Problem]:
    return ()


def _none(_policy: Policy, _environment: Mapping[str, str]) -> Iterable[tuple[Path, str]]:
    return ()


@dataclass(frozen=True, slots=True)
class PlatformSettings:
    """name: what messages call the platform.

    target: the key of a worker's policy that names a target on this platform; load is only called where one does.
    load: reads the access, or raises a ConfigurationError with everything that is wrong. warnings: variables that work
    but should be changed.
    """

    name: str
    target: str
    load: Callable[[Mapping[str, str]], Access]
    opens: str
    """MODULE:FUNCTION that takes an Opening and returns an OpenPlatform; sends nothing"""
    checks: str = ""
    """MODULE:FUNCTION with doctor's checks, see doctor/report.py; "": it has none"""
    variables: tuple[EnvironmentVariable, ...] = ()
    warnings: Callable[[Mapping[str, str]], Iterable[Problem]] = _no_warnings
    references: References | None = None
    """how the platform writes a reference to a variable; None: it has none"""
    group: str = ""
    """the variable that AUTOSCALER_GROUP defaults to; "": it has none"""
    group_in_words: str = ""
    replica: str = ""
    """the variable in which the platform tells a process which replica it is; "": it has none but HOSTNAME"""
    change_timeout: str = ""
    """the variable of change_timeout(); "": the policy has the deadline"""
    problems: Callable[[Policy, Mapping[str, str]], Iterable[tuple[Path, str]]] = _none
    """What the targets of a policy need that is not here: places in the policy, and what is wrong there."""

    def names(self, *holds: Literal["token", "id", "address"]) -> tuple[str, ...]:
        """Of the variables that hold one of these."""
        return tuple(one.name for one in self.variables if one.holds in holds)
