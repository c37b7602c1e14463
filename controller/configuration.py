"""What a process is configured with, read with what each adapter declares of itself. Opens no connection.

The offline half of the composition root: commands that only read a policy import it, and not the clients in app.py.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from controller.adapters.command.settings import COMMAND
from controller.adapters.kubernetes.settings import KUBERNETES
from controller.adapters.own.settings import OWN
from controller.adapters.postgres.address import database_address
from controller.adapters.postgres.presets.reader import PresetFiles
from controller.adapters.railway.settings import RAILWAY
from controller.adapters.redis.address import redis_address
from controller.adapters.swarm.settings import SWARM
from controller.config import load as of_files
from controller.config import settings as of_environment
from controller.config.adapters import Adapters
from controller.config.platform import Access, PlatformSettings
from controller.config.settings import JournalSettings, Settings
from controller.core.problems import ConfigurationError, Problem
from controller.core.text.masking import Masker
from controller.policy import Document, Policy, as_shown, notify_warnings

T = TypeVar("T")
ADAPTERS = Adapters(
    database=database_address,
    redis=redis_address,
    presets=PresetFiles,
    platforms=(RAILWAY, KUBERNETES, SWARM, COMMAND, OWN),
)

# What config reads, with what our adapters declare.
read_policy = functools.partial(of_files.read_policy, adapters=ADAPTERS)
read_both = functools.partial(of_files.read_both, adapters=ADAPTERS)
masker = functools.partial(of_files.masker, adapters=ADAPTERS)
load_settings = functools.partial(of_environment.load_settings, adapters=ADAPTERS)
load_database = functools.partial(of_environment.load_database, adapters=ADAPTERS)


@dataclass(frozen=True, slots=True)
class Configuration:
    """mask: knows every secret of settings and policy. shown: the policy as /status may show it.

    access: to each platform that a worker of the policy is on, by the key of the policy that names a target there.
    """

    settings: Settings
    access: Mapping[str, Access]
    policy: Policy
    mask: Masker = field(default_factory=Masker, repr=False)
    shown: Mapping[str, Any] | None = field(default=None, repr=False)
    warnings: tuple[Problem, ...] = ()
    """Settings of the environment that work but should be changed."""
    shadow: of_files.ShadowFile | None = None
    """The policy that decides beside this one and changes nothing."""
    digest: str = ""
    """Of the policy, and of the files that it names."""


def configure(path: Path, environment: Mapping[str, str], adapters: Adapters = ADAPTERS) -> Configuration:
    """Reads the policy, the settings, and the settings of the platforms that the policy uses.

    Raises:
        ConfigurationError: with all the problems of all of them.
    """
    of_policy: list[Problem] = []
    of_settings: list[Problem] = []
    of_platforms: list[Problem] = []
    read = _or_problems(lambda: of_files.read_policy(path, environment, adapters), of_policy)
    shadow = _or_problems(
        lambda: (
            of_files.refuse_shadow(path, environment, adapters)
            if read is None
            else of_files.read_shadow(path, *read, environment, adapters)
        ),
        of_policy,
    )
    settings = _or_problems(lambda: of_environment.load_settings(environment, adapters), of_settings)
    used = platforms_of(read[0] if read else None, environment, adapters.platforms)
    access = {one.target: _or_problems(functools.partial(one.load, environment), of_platforms) for one in used}
    if read is not None:
        of_policy += target_problems(*read, environment, adapters)
    if settings is None or read is None or of_platforms or of_policy:
        raise ConfigurationError([*of_platforms, *of_settings, *of_policy])
    policy, document = read
    found = {target: one for target, one in access.items() if one is not None}
    secrets = [*settings.secrets, *(secret for one in found.values() for secret in one.secrets)]
    mask = of_files.masker(environment, document, secrets, adapters=adapters)
    of_policy = [Problem(place, text) for place, text in notify_warnings(policy.notify, document)]
    of_platforms = [warning for one in used for warning in one.warnings(environment)]
    warnings = (*of_platforms, *settings.warnings, *of_policy)
    digest = of_files.digest(path, policy, shadow, adapters)
    return Configuration(settings, found, policy, mask, as_shown(policy, document), warnings, shadow, digest)


def target_problems(
    policy: Policy, document: Document, environment: Mapping[str, str], adapters: Adapters = ADAPTERS
) -> list[Problem]:
    """What the targets of the policy need that is not here, such as a program."""
    used = platforms_of(policy, environment, adapters.platforms)
    found = [one for platform in used for one in platform.problems(policy, environment)]
    return [Problem(document.place(path), text) for path, text in found]


@dataclass(frozen=True, slots=True)
class JournalConfiguration:
    """For a command that needs the policy and the journal, and neither queues nor platform."""

    settings: JournalSettings
    policy: Policy
    mask: Masker = field(default_factory=Masker, repr=False)


def configure_journal(
    path: Path, environment: Mapping[str, str], adapters: Adapters = ADAPTERS
) -> JournalConfiguration:
    """Reads the policy, and the settings that lead to the journal.

    Raises:
        ConfigurationError: with all the problems of both.
    """
    problems: list[Problem] = []
    settings = _or_problems(lambda: of_environment.load_journal(environment, adapters), problems)
    read = _or_problems(lambda: of_files.read_policy(path, environment, adapters), problems)
    if settings is None or read is None:
        raise ConfigurationError(problems)
    policy, document = read
    secrets = [one.get_secret_value() for one in settings.hidden]
    return JournalConfiguration(settings, policy, of_files.masker(environment, document, secrets, adapters=adapters))


def platforms_of(
    policy: Policy | None, environment: Mapping[str, str], platforms: Sequence[PlatformSettings]
) -> Sequence[PlatformSettings]:
    """Those whose settings are needed: the ones that the policy's workers are on.

    Where the policy could not be read, those of which any variable is set, else the default one: what is wrong with
    their settings is said together with what is wrong with the policy.
    """
    if policy is not None:
        return [one for one in platforms if one.target in policy.platforms]
    hinted = [one for one in platforms if any(environment.get(row.name) for row in one.variables)]
    return hinted or platforms[:1]


def _or_problems(read: Callable[[], T], problems: list[Problem]) -> T | None:
    try:
        return read()
    except ConfigurationError as error:
        problems += error.problems
        return None
