"""The platforms of a configuration, opened: those that its policy's workers are on, and no other is imported."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, cast

from controller.adapters.dry_run import DryRunPlatform
from controller.config.platform import Opening, OpenPlatform, PlatformSettings
from controller.configuration import ADAPTERS, Configuration
from controller.core.ports import Clock, Platform
from controller.loop.platforms import Platforms
from controller.loop.timed import Tell, TimedPlatform
from controller.policy import Policy


def named(path: str) -> Any:
    """What MODULE:NAME names."""
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def used_by(policy: Policy) -> list[PlatformSettings]:
    """The platforms that the policy's workers are on, the default one first."""
    return [one for one in ADAPTERS.platforms if one.target in policy.platforms]


class OpenPlatforms(Platforms):
    """Those of a policy. One that a later policy adds is opened then; one that it drops stays open, and is not used."""

    def __init__(
        self,
        configuration: Configuration,
        clock: Clock,
        may_act: Callable[[int], bool],
        stack: AsyncExitStack,
        took: Tell,
        *,
        is_dry_run: bool = False,
    ) -> None:
        """stack: closes them. took: is told how long each call of a platform took. Raises ConfigurationError."""
        self._clock, self._may_act, self._stack, self._is_dry_run = clock, may_act, stack, is_dry_run
        self._took = took
        self._opened: dict[str, OpenPlatform] = {}
        super().__init__(self._each(configuration), configuration.policy)

    def prepare(self, configuration: Configuration) -> None:
        """Opens what this configuration needs, and is not open yet. Raises ConfigurationError."""
        self.each = self._each(configuration)

    def serve(self, policy: Policy) -> None:
        super().serve(policy)
        for one in self._opened.values():
            one.serve(policy)

    def opened(self, target: str) -> OpenPlatform:
        """The platform of targets that this key of a worker's policy names, which can really scale."""
        return self._opened[target]

    def sent(self) -> Mapping[tuple[str, str], int]:
        """Requests to all of them, by operation and result."""
        return sum((Counter(one.sent) for one in self._opened.values()), Counter())

    def _each(self, configuration: Configuration) -> dict[str, Any]:
        for one in used_by(configuration.policy):
            if one.target not in self._opened:
                opening = Opening(
                    configuration.access[one.target],
                    configuration.policy,
                    self._clock,
                    self._may_act,
                    configuration.settings.timing.change_timeout,
                    configuration.mask,
                )
                opened = cast("OpenPlatform", named(one.opens)(opening))
                self._opened[one.target] = opened
                self._stack.push_async_callback(opened.close)
        order = {one.target: place for place, one in enumerate(ADAPTERS.platforms)}
        each = sorted(self._opened.items(), key=lambda one: order[one[0]])
        return {name: self._port(one) for name, one in each}

    def _port(self, platform: OpenPlatform) -> Platform:
        return TimedPlatform(DryRunPlatform(platform) if self._is_dry_run else platform, self._clock, self._took)
