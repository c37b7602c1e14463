"""Loads the classes that a policy names by `platform: {use: …}`, and passes on what the loop asks of them.

What they raise or give that a Platform may not is said as a fault of theirs, so that it ends no cycle of another
platform's workers.
"""

from __future__ import annotations

import importlib
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import PurePath
from typing import TypeVar, cast

from controller.adapters.own import SOURCE
from controller.adapters.own.settings import entry_point
from controller.config.platform import Opening, OpenPlatform
from controller.core.model import Change, Replicas
from controller.core.ports import LeaseLost, Receipt, Refused, Requests, Unavailable
from controller.core.problems import ConfigurationError, Problem
from controller.core.text import bounds
from controller.core.text.escaping import visible
from controller.policy import OwnTarget, Policy

NEEDED = ("observe", "scale", "requests", "serve", "close")
"""Methods of a class: Platform in core/ports.py, OpenPlatform in config/platform.py."""
E = TypeVar("E", bound=Unavailable)
T = TypeVar("T")


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
                found = await self._observed(use, list(keys))
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
            receipt = await self._scaled(target, change, observed)
        except Unavailable as unavailable:
            self.sent["scale", "refused" if isinstance(unavailable, Refused) else "failed"] += 1
            raise _named(unavailable, target.use) from None
        self.sent["scale", "ok"] += 1
        return receipt

    async def _observed(self, use: str, names: list[str]) -> dict[str, Replicas | Unavailable]:
        """A reading for each name. Raises Unavailable: there is none at all."""
        try:
            found = await self._of(use).observe(names)
            return {name: _reading(name, found.get(name)) for name in names}
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a class of others does
            raise Unavailable(SOURCE, f"observe raised {_raised(error)}") from None

    async def _scaled(self, target: OwnTarget, change: Change, observed: Replicas) -> Receipt:
        try:
            receipt: object = await self._of(target.use).scale(target.target, change, observed)
        except (Unavailable, LeaseLost):
            raise
        except Exception as error:  # noqa: BLE001  # the same
            raise Unavailable(SOURCE, f"scale raised {_raised(error)}") from None
        if not isinstance(receipt, Receipt):
            raise Unavailable(SOURCE, f"scale gave {_kind(receipt)}, not a Receipt")
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


def _reading(name: str, found: object) -> Replicas | Unavailable:
    if isinstance(found, Replicas | Unavailable):
        return found
    return Unavailable(SOURCE, f"observe gave {_kind(found)} for {name}, not Replicas or Unavailable")


def _kind(found: object) -> str:
    return "nothing" if found is None else f"a value of type {type(found).__name__}"


def _raised(error: Exception) -> str:
    """What, and in which line of their file, also if a library that it calls raised it.

    The traceback itself would fill the log in each cycle.
    """
    every = traceback.extract_tb(error.__traceback__)
    theirs = [one for one in every if one.filename not in {__file__, importlib.__file__} and one.filename[0] != "<"]
    at = next((one for one in reversed(theirs) if one.filename == theirs[0].filename), None)
    place = f" ({PurePath(at.filename).name}:{at.lineno})" if at else ""
    return f"{visible(bounds.cut(f'{type(error).__name__}: {error}', bounds.WORDS))}{place}"


def _loaded(use: str, opening: Opening) -> OpenPlatform:
    try:
        kind = _class_of(use)
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001  # whatever a module of others does while it is imported
        why = f"{_raised(error)}; write MODULE:CLASS, and put its folder into PYTHONPATH"
        raise _cannot_be_loaded(use, why) from None
    try:
        made = kind(opening)
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001  # and while its class is made
        raise _cannot_be_loaded(use, f"its __init__ raised {_raised(error)}") from None
    missing = [name for name in NEEDED if not callable(getattr(made, name, None))]
    if missing:
        raise _cannot_be_loaded(use, f"it has no {', '.join(missing)}; see docs/platforms.md")
    return cast("OpenPlatform", made)


def _class_of(use: str) -> Callable[[Opening], object]:
    module, _, name = use.partition(":")
    if name:
        return cast("Callable[[Opening], object]", getattr(importlib.import_module(module), name))
    try:
        found = entry_point(use)
    except LookupError as error:
        raise _cannot_be_loaded(use, str(error.args[0])) from None
    return cast("Callable[[Opening], object]", found.load())


def _cannot_be_loaded(use: str, why: str) -> ConfigurationError:
    return ConfigurationError([Problem("platform.use", f"{use} cannot be loaded: {why}")])
