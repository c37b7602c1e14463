"""What reading the environment and a policy needs to know of the adapters; controller/configuration.py fills it in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from controller.config.address import Address
from controller.policy import Presets


@dataclass(frozen=True, slots=True)
class Adapters:
    """Declared by each adapter of itself, so that no room below it knows its technology.

    database: reads DATABASE_URL. redis: reads REDIS_URL. presets: the presets that a policy in this folder may name.
    """

    database: Callable[[str], Address]
    redis: Callable[[str], Address]
    presets: Callable[[Path], Presets]
