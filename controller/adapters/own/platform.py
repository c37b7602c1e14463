"""Loads the classes that a policy names by `platform: {use: …}`, and passes on what the loop asks of them."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Collection, Mapping
from importlib.metadata import entry_points
from typing import TypeVar, cast

from controller.adapters.own import SOURCE
from controller.config.platform import Opening, OpenPlatform
from controller.core.model import Change, Replicas
from controller.core.ports import Receipt, Refused, Requests, Unavailable
from controller.core.problems import ConfigurationError, Problem
from controller.core.text import bounds
from controller.policy import OwnTarget, Policy

GROUP = "worker_autoscaler.platforms"
"""Of the entry points, whose names `use` may have."""
E = TypeVar("E", bound=Unavailable)


class OwnPlatforms:
    """All classes that the policy names, as one platform; each sees its own targets by the names in the policy."""

    source = SOURCE

    def __init__(self, opening: Opening) -> None:
        """Raises ConfigurationError: one cannot be loaded."""
        self._opening = opening
        self._each: dict[str, OpenPlatform] = {}
        self._broken: dict[str, ConfigurationError] = {}
        self.sent: Counter[tuple[str, str]] = Counter()
        """Calls of the classes: what requests each of them sends is not known here."""
        self.serve(opening.policy)
        for error in self._broken.values():
            raise error

    def serve(self, policy: Policy) -> None:
        """A class that only a later policy names is loaded then; if that fails, its targets cannot be read."""
        self._targets = {key: cast("OwnTarget", one.given) for key, one in policy.on("platform").items()}
        for use in dict.fromkeys(target.use for target in self._targets.values()):
            if use in self._each:
                self._each[use].serve(policy)
                continue
            try:
                self._each[use] = _loaded(use, self._opening._replace(policy=policy))
                self._broken.pop(use, None)
            except ConfigurationError as error:
                self._broken[use] = error

    async def close(self) -> None:
        for one in self._each.values():
            await one.close()

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        together: dict[str, dict[str, str]] = {}
        for key in services:
            target = self._targets[key]
            together.setdefault(target.use, {})[target.target] = key
        readings: dict[str, Replicas | Unavailable] = {}
        for use, keys in together.items():
            try:
                found = await self._of(use).observe(list(keys))
                self.sent["observe", "ok"] += 1
            except Unavailable as unavailable:
                self.sent["observe", "failed"] += 1
                found = dict.fromkeys(keys, unavailable)
            for name, key in keys.items():
                reading = found[name]
                readings[key] = _named(reading, use) if isinstance(reading, Unavailable) else reading
        return readings

    async def scale(self, service: str, change: Change, observed: Replicas) -> Receipt:
        target = self._targets[service]
        try:
            receipt = await self._of(target.use).scale(target.target, change, observed)
        except Unavailable as unavailable:
            self.sent["scale", "refused" if isinstance(unavailable, Refused) else "failed"] += 1
            raise _named(unavailable, target.use) from None
        self.sent["scale", "ok"] += 1
        return receipt

    def _of(self, use: str) -> OpenPlatform:
        if use in self._broken:
            raise Unavailable(SOURCE, self._broken[use].problems[0].text)
        return self._each[use]

    def requests(self) -> Requests | None:
        return next(filter(None, (one.requests() for one in self._each.values())), None)

    def chooser(self, service: str) -> None:
        """Such a platform only gets a count."""


def _named(unavailable: E, use: str) -> E:
    """As the one dependency that the loop knows, so that its next answer ends the fault; the text says which it was."""
    return type(unavailable)(SOURCE, f"{use}: {unavailable.text}")


def _loaded(use: str, opening: Opening) -> OpenPlatform:
    module, _, name = use.partition(":")
    try:
        if name:
            made = getattr(importlib.import_module(module), name)(opening)
        else:
            (found,) = entry_points(group=GROUP, name=use)
            made = found.load()(opening)
    except Exception as error:  # noqa: BLE001  # whatever a module of others does while it is imported, or its class made
        why = bounds.cut(f"{type(error).__name__}: {error}", bounds.WORDS)
        words = f"{use} cannot be loaded ({why}); write MODULE:CLASS, and put its folder into PYTHONPATH"
        raise ConfigurationError([Problem("platform.use", words)]) from None
    return cast("OpenPlatform", made)
