"""Loads the classes that a policy names by `platform: {use: …}`, and passes on what the loop asks of them.

What they raise or give that a Platform may not is said as a fault of theirs, so that it ends no cycle of another
platform's workers. A call that does not end is ended here, unless it blocks the event loop.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import math
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping
from pathlib import PurePath
from types import UnionType
from typing import cast

from controller.adapters.own import SOURCE
from controller.adapters.own.settings import entry_point
from controller.config.platform import Opening, OpenPlatform
from controller.core.model import (
    Change,
    Instances,
    PlatformLimit,
    PlatformWords,
    Replicas,
    ServiceState,
    UnderWay,
)
from controller.core.ports import LeaseLost, NotSent, Outdated, Receipt, Refused, Requests, Unavailable
from controller.core.price import Price
from controller.core.problems import ConfigurationError, Problem
from controller.core.text import bounds
from controller.core.text.escaping import visible
from controller.core.units import in_words
from controller.policy import OwnTarget, Policy

NEEDED = ("observe", "scale", "requests", "serve", "close")
"""Methods of a class: Platform in core/ports.py, OpenPlatform in config/platform.py."""
LONGEST_S = 60.0
"""Of one call; a cycle is given up after 90 s."""
_KINDS = (Outdated, Refused, NotSent)
_MOST = 1_000_000_000
_COUNTS = ("configured", "running", "alive", "leaving", "crashed", "exited")
_TYPES: Mapping[str, type | UnionType] = {
    "state": ServiceState,
    "deployment": str | None,
    "smallest": PlatformLimit | None,
    "largest": PlatformLimit | None,
    "under_way": UnderWay | None,
    "limits": Price | None,
    "instances": Instances | None,
    "contenders": tuple,
    "words": PlatformWords,
}
_LOG = logging.getLogger(__name__)


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
            try:
                if use in self._each:
                    _served(use, self._each[use], policy)
                else:
                    self._each[use] = _loaded(use, self._opening._replace(policy=policy))
                self._broken.pop(use, None)
            except ConfigurationError as error:
                self._broken[use] = error

    async def close(self) -> None:
        """One that cannot be closed keeps no other one open."""
        for use, one in self._each.items():
            try:
                await _called("close", one.close)
            except Unavailable as unavailable:
                _LOG.warning("%s: %s", use, _text(unavailable))

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        together: dict[str, dict[str, str]] = {}
        for key in services:
            target = self._targets[key]
            together.setdefault(target.use, {})[target.target] = key
        readings: dict[str, Replicas | Unavailable] = {}
        every = await asyncio.gather(*(self._observed(use, list(keys)) for use, keys in together.items()))
        for (use, keys), found in zip(together.items(), every, strict=True):
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

    async def _observed(self, use: str, names: list[str]) -> Mapping[str, Replicas | Unavailable]:
        """A reading for each name."""
        try:
            found = await _called("observe", lambda: self._of(use).observe(names))
            if not isinstance(found, Mapping):
                raise Unavailable(SOURCE, f"observe gave {_kind(found)}, not a mapping")
        except Unavailable as unavailable:
            self.sent["observe", "failed"] += 1
            return dict.fromkeys(names, unavailable)
        self.sent["observe", "ok"] += 1
        return {name: _reading(name, found.get(name)) for name in names}

    async def _scaled(self, target: OwnTarget, change: Change, observed: Replicas) -> Receipt:
        receipt = await _called("scale", lambda: self._of(target.use).scale(target.target, change, observed))
        if not isinstance(receipt, Receipt):
            raise Unavailable(SOURCE, f"scale gave {_kind(receipt)}, not a Receipt")
        return receipt

    def _of(self, use: str) -> OpenPlatform:
        if use in self._broken:
            raise Unavailable(SOURCE, self._broken[use].problems[0].text)
        return self._each[use]

    def requests(self) -> Requests | None:
        return next(filter(None, (_requests(one) for one in self._each.values())), None)

    def chooser(self, service: str) -> None:
        """Such a platform only gets a count."""


async def _called(method: str, call: Callable[[], Awaitable[object]]) -> object:
    """What a method of theirs gives. Raises Unavailable or one of its kinds, LeaseLost."""
    limit = asyncio.timeout(LONGEST_S)
    try:
        async with limit:
            return await call()
    except Unavailable:
        raise
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise
        raise Unavailable(SOURCE, f"{method} raised CancelledError, of a task of its own") from None
    except LeaseLost as lost:
        if method == "scale":
            raise
        raise Unavailable(SOURCE, f"{method} raised {_raised(lost)}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a class of others does
        if limit.expired():
            raise Unavailable(SOURCE, f"{method} did not end within {in_words(LONGEST_S)}") from None
        raise Unavailable(SOURCE, f"{method} raised {_raised(error)}") from None


def _requests(platform: OpenPlatform) -> Requests | None:
    """None: it does not say, or what it says is no number of requests."""
    try:
        found: object = platform.requests()
        return found if isinstance(found, Requests) and all(math.isfinite(one) and one >= 0 for one in found) else None
    except (Exception, SystemExit):  # noqa: BLE001  # the same; its readings say what is wrong with it
        return None


def _named(unavailable: Unavailable, use: str) -> Unavailable:
    """As the one dependency that the loop knows, so that its next answer ends the fault; the text says which it was."""
    kind = next((one for one in _KINDS if isinstance(unavailable, one)), Unavailable)
    return kind(SOURCE, f"{use}: {_text(unavailable)}")


def _text(unavailable: Unavailable) -> str:
    """Of a class that derives from Unavailable, it may be missing."""
    text: object = getattr(unavailable, "text", None)
    return text if isinstance(text, str) else _raised(unavailable)


def _reading(name: str, found: object) -> Replicas | Unavailable:
    if isinstance(found, Unavailable):
        return found
    if not isinstance(found, Replicas):
        return Unavailable(SOURCE, f"observe gave {_kind(found)} for {name}, not Replicas or Unavailable")
    wrong = next(_wrong(found), None)
    return found if wrong is None else Unavailable(SOURCE, f"observe gave {wrong} for {name}")


def _wrong(found: Replicas) -> Iterator[str]:
    """What no reading may have; Python checks no types."""
    for name in _COUNTS:
        count: object = getattr(found, name)
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= _MOST:
            yield f"{_shown(count)} as {name}, not a whole number from 0 to {_MOST:,}"
    seconds: object = found.draining_s
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not 0 <= seconds < math.inf:
        yield f"{_shown(seconds)} as draining_s, not a number of seconds"
    for name, needed in _TYPES.items():
        if not isinstance(getattr(found, name), needed):
            yield f"{_kind(getattr(found, name))} as {name}"


def _shown(value: object) -> str:
    is_short = isinstance(value, float | str) or (isinstance(value, int) and abs(value) < 10**15)
    return visible(bounds.cut(repr(value), bounds.VALUE)) if is_short else _kind(value)


def _kind(found: object) -> str:
    return "nothing" if found is None else f"a value of type {type(found).__name__}"


def _raised(error: BaseException) -> str:
    """What, and in which line of their file, also if a library that it calls raised it.

    The traceback itself would fill the log in each cycle.
    """
    every = traceback.extract_tb(error.__traceback__)
    theirs = [one for one in every if one.filename not in {__file__, importlib.__file__} and one.filename[:1] != "<"]
    at = next((one for one in reversed(theirs) if one.filename == theirs[0].filename), None)
    place = f" ({PurePath(at.filename).name}:{at.lineno})" if at else ""
    try:
        said = str(error)
    except Exception:  # noqa: BLE001  # the same
        said = "which cannot be printed"
    return f"{visible(bounds.cut(f'{type(error).__name__}: {said}', bounds.WORDS))}{place}"


def _served(use: str, platform: OpenPlatform, policy: Policy) -> None:
    try:
        platform.serve(policy)
    except (Exception, SystemExit) as error:  # noqa: BLE001  # the same
        raise _cannot_be_loaded(use, f"serve raised {_raised(error)}") from None


def _loaded(use: str, opening: Opening) -> OpenPlatform:
    try:
        kind = _class_of(use)
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  # whatever a module of others does while it is imported
        why = f"{_raised(error)}; write MODULE:CLASS, and put its folder into PYTHONPATH"
        raise _cannot_be_loaded(use, why) from None
    try:
        made = kind(opening)
        missing = [name for name in NEEDED if not callable(getattr(made, name, None))]
    except ConfigurationError:
        raise
    except (Exception, SystemExit) as error:  # noqa: BLE001  # and while its class is made
        raise _cannot_be_loaded(use, f"its __init__ raised {_raised(error)}") from None
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
