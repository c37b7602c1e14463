"""What a command is told: the environment's settings and the policy's file, or all that is wrong with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.config.plain_files import CannotReadError, read, shown, text_of
from controller.config.presets import PresetFiles
from controller.config.settings import Settings, key_prefix, load_settings
from controller.core.problems import ConfigurationError, Problem
from controller.core.text.masking import Masker, secrets_of
from controller.policy import Document, Policy, as_shown, load_policy, own_keys

_MOST_BYTES = 16_000_000
"""Of four each, the most characters that the parser takes (policy/strict_yaml.py)."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """mask: knows every secret of both. shown: the policy as /status may show it."""

    settings: Settings
    policy: Policy
    mask: Masker = field(default_factory=Masker, repr=False)
    shown: Mapping[str, Any] | None = field(default=None, repr=False)


def masker(
    environment: Mapping[str, str], document: Document | None = None, settings: Settings | None = None
) -> Masker:
    """Knows the secrets of the environment, and of a policy and of settings that were read from it."""
    every = [*secrets_of(environment), *(settings.secrets if settings else ())]
    return Masker(every, document.named_secrets if document else None)


def read_policy(path: Path, environment: Mapping[str, str]) -> tuple[Policy, Document]:
    """The policy of a file.

    Raises:
        ConfigurationError: it cannot be read, or is not a policy.
    """
    name = shown(path)
    try:
        text = text_of(read(path, _MOST_BYTES, missing="name the policy on the command line, or in AUTOSCALER_POLICY"))
    except CannotReadError as error:
        line = "" if error.line is None else f":{error.line}"
        raise ConfigurationError([Problem(f"{name}{line}", str(error))]) from None
    policy, document = load_policy(text, environment, name=name, presets=PresetFiles(path.parent))
    limits = {name: worker.rate_limit for name, worker in policy.workers.items() if worker.rate_limit}
    for place, problem in own_keys(limits, key_prefix(environment)):
        document.refuse(place, problem)
    if document.problems:
        raise ConfigurationError(document.problems)
    return policy, document


def configure(path: Path, environment: Mapping[str, str]) -> Configuration:
    """Settings and policy.

    Raises:
        ConfigurationError: with all that is wrong with either, at once.
    """
    problems: list[Problem] = []
    settings: Settings | None = None
    policy: Policy | None = None
    document: Document | None = None
    try:
        settings = load_settings(environment)
    except ConfigurationError as error:
        problems += error.problems
    try:
        policy, document = read_policy(path, environment)
    except ConfigurationError as error:
        problems += error.problems
    if settings is None or policy is None or document is None:
        raise ConfigurationError(problems)
    return Configuration(settings, policy, masker(environment, document, settings), as_shown(policy, document))
