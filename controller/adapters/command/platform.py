"""Programs and addresses as a Platform: each target is read and scaled by its own, a few at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

from controller.adapters.command import SOURCE, answer, told
from controller.adapters.command.http import HttpTarget
from controller.adapters.command.programs import ProgramTarget
from controller.adapters.process import environment
from controller.core.model import Change, Replicas
from controller.core.ports import Clock, NotSent, Receipt, Unavailable
from controller.core.text.masking import Masker
from controller.core.units import in_words
from controller.policy import CommandTarget, Policy

AT_ONCE = 8
"""Programs and requests that run at the same time."""
LONGEST_TURN_S = 20.0
"""A reading that could not begin within this time is unavailable. With the longest `timeout`, 60 s, all readings end
before the cycle is given up, after 90 s."""


class Transport(Protocol):
    """How a target is reached."""

    async def read(self, told: Mapping[str, Any]) -> tuple[bytes, str | None]: ...
    async def scale(self, told: Mapping[str, Any], change: Change, may_act: Callable[[], bool]) -> None: ...
    async def close(self) -> None: ...


class _Served(NamedTuple):
    given: CommandTarget
    worker: str
    words: str
    mask: Masker
    by: Transport


@dataclass(frozen=True, slots=True)
class Means:
    """variables: of the controller's environment. may_act: whether a change of that epoch may be sent now."""

    variables: Mapping[str, str]
    clock: Clock
    may_act: Callable[[int], bool]
    mask: Masker


class CommandPlatform:
    source = SOURCE

    def __init__(self, means: Means, policy: Policy) -> None:
        self._means = means
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self._served: dict[str, _Served] = {}
        self._dropped: list[Transport] = []
        self._failing: set[str] = set()
        """Targets whose last reading failed: they are read last, so that those which hang keep no place of others."""
        self.sent: Counter[tuple[str, str]] = Counter()
        """Runs of programs and requests, by `read` or `scale`, and result."""
        self.serve(policy)

    def serve(self, policy: Policy) -> None:
        """Keeps the connections of what has not changed; those of what has are closed at the end."""
        before, self._served = self._served, {}
        self._failing.clear()
        workers = {worker.target.key: name for name, worker in policy.workers.items()}
        for key, target in policy.on("command").items():
            given, old = cast("CommandTarget", target.given), before.get(key)
            if old is not None and old.given == given:
                self._served[key] = old._replace(worker=workers[key])
            else:
                self._served[key] = self._new(given, workers[key], target.words)
        kept = {id(one.by) for one in self._served.values()}
        self._dropped += [one.by for one in before.values() if id(one.by) not in kept]

    async def close(self) -> None:
        for by in [*self._dropped, *(one.by for one in self._served.values())]:
            await by.close()

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        keys = sorted(services, key=self._failing.__contains__)
        return dict(zip(keys, await asyncio.gather(*map(self._reading, keys)), strict=True))

    async def scale(self, service: str, change: Change, observed: Replicas) -> Receipt:
        served = self._served[service]
        say = told.of_change(served.worker, service, change, observed)
        async with self._at_once:
            try:
                await served.by.scale(say, change, lambda: self._means.may_act(change.epoch))
            except Unavailable as unavailable:
                self.sent["scale", "refused" if isinstance(unavailable, NotSent) else "failed"] += 1
                raise type(unavailable)(SOURCE, self._said(served, unavailable.text)) from None
        self.sent["scale", "ok"] += 1
        return Receipt.ACCEPTED

    def requests(self) -> None:
        """What is at the other end is unknown, and so are its limits."""
        return

    def chooser(self, service: str) -> None:
        """It only gets a count."""

    async def _reading(self, key: str) -> Replicas | Unavailable:
        served = self._served[key]
        if not await self._has_its_turn():
            self.sent["read", "failed"] += 1
            words = f"was not asked, because {AT_ONCE} others took longer than {in_words(LONGEST_TURN_S)}"
            return NotSent(SOURCE, self._said(served, f"{words}; shorten their timeout"))
        self._failing.add(key)
        try:
            said, version = await served.by.read(told.of_reading(served.worker, key))
            seen = answer.replicas(said, version=version)
        except Unavailable as unavailable:
            self.sent["read", "failed"] += 1
            return type(unavailable)(SOURCE, self._said(served, unavailable.text))
        except ValueError as error:
            self.sent["read", "failed"] += 1
            return Unavailable(SOURCE, self._said(served, f"the answer is {error}"))
        finally:
            self._at_once.release()
        self._failing.discard(key)
        self.sent["read", "ok"] += 1
        return seen

    async def _has_its_turn(self) -> bool:
        try:
            async with asyncio.timeout(LONGEST_TURN_S):
                return await self._at_once.acquire()
        except TimeoutError:
            return False

    def _said(self, served: _Served, text: str) -> str:
        """Names the target, and masks the values of the variables that its program got: it may print any of them."""
        return self._means.mask.text(served.mask.text(f"{served.words}: {text}"))

    def _new(self, given: CommandTarget, worker: str, words: str) -> _Served:
        variables = self._means.variables
        names = [*given.environment, *([given.bearer] if given.bearer else [])]
        mask = Masker(variables[name] for name in names if variables.get(name))
        if given.url is not None:
            token = variables.get(given.bearer, "").strip() if given.bearer else ""
            by: Transport = HttpTarget(given.url, token, given.timeout, self._means.clock)
        else:
            assert given.scale is not None
            assert given.read is not None
            inherited = environment(variables, given.environment)
            by = ProgramTarget(given.scale, given.read, inherited, given.timeout)
        return _Served(given, worker, words, mask, by)
