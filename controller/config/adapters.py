"""What reading the environment and a policy needs to know of the adapters; controller/configuration.py fills it in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controller.config.address import Address
from controller.config.platform import PlatformSettings
from controller.config.variables import EnvironmentVariable, common
from controller.core.text.references import References
from controller.policy import Presets


@dataclass(frozen=True, slots=True)
class Adapters:
    """Declared by each adapter of itself, so that no room below it knows its technology.

    database: reads DATABASE_URL. redis: reads REDIS_URL. presets: the presets that a policy in this folder may name.
    """

    database: Callable[[str], Address]
    redis: Callable[[str], Address]
    presets: Callable[[Path], Presets]
    platforms: tuple[PlatformSettings, ...]

    @property
    def references(self) -> tuple[References, ...]:
        return tuple(one.references for one in self.platforms)

    @property
    def variables(self) -> tuple[EnvironmentVariable, ...]:
        """Every environment variable that the controller reads, those of the platforms first."""
        group = " or ".join(one.group_in_words for one in self.platforms if one.group_in_words)
        return (*(row for one in self.platforms for row in one.variables), *common(group))
