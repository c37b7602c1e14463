"""The platforms of a configuration, opened: those that its policy's workers are on, and no other is imported."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, cast

from controller.adapters.dry_run import DryRunPlatform
from controller.config.platform import Opening, OpenPlatform, PlatformSettings
from controller.configuration import ADAPTERS, Configuration
from controller.core.ports import Clock
from controller.loop.platforms import Platforms
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
        *,
        is_dry_run: bool = False,
    ) -> None:
        """stack: closes them. Raises ConfigurationError."""
        self._clock, self._may_act, self._stack, self._is_dry_run = clock, may_act, stack, is_dry_run
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
        return {name: DryRunPlatform(one) if self._is_dry_run else one for name, one in each}
