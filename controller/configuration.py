"""What a command is told: the environment's settings and the policy's file, or all that is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from controller.policy import Policy, load_policy
from controller.policy_text import ConfigurationError, Document, Problem
from controller.settings import Settings, load_settings


@dataclass(frozen=True, slots=True)
class Configuration:
    settings: Settings
    policy: Policy


def read_policy(path: Path, environment: Mapping[str, str]) -> tuple[Policy, Document]:
    """The policy of a file.

    Raises:
        ConfigurationError: it cannot be read, or is not a policy.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        problem = "there is no such file; name the policy on the command line, or in AUTOSCALER_POLICY"
        raise ConfigurationError([Problem(str(path), problem)]) from None
    except (OSError, UnicodeDecodeError) as error:
        words = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigurationError([Problem(str(path), f"cannot be read: {words}")]) from None
    return load_policy(text, environment, name=str(path))


def configure(path: Path, environment: Mapping[str, str]) -> Configuration:
    """Settings and policy.

    Raises:
        ConfigurationError: with all that is wrong with either, at once.
    """
    problems: list[Problem] = []
    settings: Settings | None = None
    policy: Policy | None = None
    try:
        settings = load_settings(environment)
    except ConfigurationError as error:
        problems += error.problems
    try:
        policy, _ = read_policy(path, environment)
    except ConfigurationError as error:
        problems += error.problems
    if settings is None or policy is None:
        raise ConfigurationError(problems)
    return Configuration(settings, policy)
