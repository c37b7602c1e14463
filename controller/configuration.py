"""What a process is configured with, read with what each adapter declares of itself. Opens no connection.

The offline half of the composition root: commands that only read a policy import it, and not the clients in app.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from controller.adapters.postgres.address import database_address
from controller.adapters.postgres.presets.reader import PresetFiles
from controller.adapters.railway.settings import RailwaySettings, load_railway, railway_warnings
from controller.adapters.redis.address import redis_address
from controller.config import load, settings
from controller.config.adapters import Adapters
from controller.config.settings import Settings
from controller.core.problems import ConfigurationError, Problem
from controller.core.text.masking import Masker
from controller.policy import Policy, as_shown

T = TypeVar("T")
ADAPTERS = Adapters(database=database_address, redis=redis_address, presets=PresetFiles)

# What config reads, with what our adapters declare.
read_policy = functools.partial(load.read_policy, adapters=ADAPTERS)
load_settings = functools.partial(settings.load_settings, adapters=ADAPTERS)
load_database = functools.partial(settings.load_database, adapters=ADAPTERS)


@dataclass(frozen=True, slots=True)
class Configuration:
    """mask: knows every secret of settings and policy. shown: the policy as /status may show it."""

    settings: Settings
    railway: RailwaySettings
    policy: Policy
    mask: Masker = field(default_factory=Masker, repr=False)
    shown: Mapping[str, Any] | None = field(default=None, repr=False)
    warnings: tuple[Problem, ...] = ()
    """Settings of the environment that work but should be changed."""


def configure(path: Path, environment: Mapping[str, str]) -> Configuration:
    """Reads the policy, the settings, and the settings of the platform.

    Raises:
        ConfigurationError: with all the problems of all of them.
    """
    problems: list[Problem] = []
    railway = _or_problems(lambda: load_railway(environment), problems)
    settings = _or_problems(lambda: load_settings(environment), problems)
    read = _or_problems(lambda: read_policy(path, environment), problems)
    if railway is None or settings is None or read is None:
        raise ConfigurationError(problems)
    policy, document = read
    mask = load.masker(environment, document, [*settings.secrets, railway.token.value.get_secret_value()])
    warnings = (*railway_warnings(environment), *settings.warnings)
    return Configuration(settings, railway, policy, mask, as_shown(policy, document), warnings)


def _or_problems(read: Callable[[], T], problems: list[Problem]) -> T | None:
    try:
        return read()
    except ConfigurationError as error:
        problems += error.problems
        return None
