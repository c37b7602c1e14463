"""A platform that does not exist: what holds on it holds on any."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from controller.config.platform import PlatformSettings
from controller.config.variables import EnvironmentVariable
from controller.core.problems import ConfigurationError, Problem
from controller.core.text.references import References


@dataclass(frozen=True, slots=True)
class CloudAccess:
    token: str

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.token,)


def _load(environment: Mapping[str, str]) -> CloudAccess:
    if not environment.get("CLOUD_TOKEN"):
        raise ConfigurationError([Problem("CLOUD_TOKEN", "is not set")])
    return CloudAccess(environment["CLOUD_TOKEN"])


CLOUD_REFERENCES = References(
    "Cloud", "${[", "]}", "UNIT.NAME", re.compile(r"\$\{\[([^\[\]]*)\]\}"), "in its console, where all names stand"
)
CLOUD = PlatformSettings(
    name="Cloud",
    target="machine",
    variables=(
        EnvironmentVariable("CLOUD_TOKEN", "its token", holds="token"),
        EnvironmentVariable("CLOUD_ZONE", "its zone", holds="id"),
        EnvironmentVariable("CLOUD_URL", "its address", holds="address"),
    ),
    references=CLOUD_REFERENCES,
    load=_load,
    group="CLOUD_ZONE",
    group_in_words="the cloud's zone",
    replica="CLOUD_UNIT",
    change_timeout="CLOUD_TIMEOUT_MS",
    opens="",
)
