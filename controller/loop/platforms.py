"""The platforms that a policy's workers are on, as one: each target goes to its own, and they work side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping

from controller.core.model import Change, Replicas
from controller.core.ports import Chooser, Platform, Receipt, Requests, Source, Unavailable
from controller.policy import Policy


class Platforms:
    """A Platform made of others. What it is asked for has to be a target of the policy that it serves."""

    def __init__(self, each: Mapping[str, Platform], policy: Policy) -> None:
        """each: by the key of a worker's policy that names a target there; the first one is asked where one is."""
        self.each = dict(each)
        self.serve(policy)

    def serve(self, policy: Policy) -> None:
        """The targets are those of this policy from now on; each of its platforms has to be there."""
        self._on = {target.key: target.platform for target in policy.targets.values()}
        self._used = [self.each[name] for name in self.each if name in policy.platforms]

    def of(self, target: str) -> Platform:
        """The platform that this target is on."""
        return self.each[self._on[target]]

    @property
    def source(self) -> Source:
        """Of the first; a fault of a reading names its own."""
        return self._used[0].source

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        """A platform that cannot be read at all is Unavailable for each of its targets, and for no other."""
        together: dict[str, list[str]] = {}
        for service in services:
            together.setdefault(self._on[service], []).append(service)
        readings = await asyncio.gather(*(read(self.each[name], keys) for name, keys in together.items()))
        return {key: reading for one in readings for key, reading in one.items()}

    async def scale(self, service: str, change: Change, observed: Replicas) -> Receipt:
        return await self.of(service).scale(service, change, observed)

    def requests(self) -> Requests | None:
        """Of the first that limits them."""
        return next(filter(None, (platform.requests() for platform in self._used)), None)

    def chooser(self, service: str) -> Chooser | None:
        return self.of(service).chooser(service)


async def read(platform: Platform, targets: Iterable[str]) -> Mapping[str, Replicas | Unavailable]:
    """One reading; if nothing could be read at all, that is the reading of each target."""
    keys = list(targets)
    try:
        return await platform.observe(keys)
    except Unavailable as unavailable:
        return dict.fromkeys(keys, unavailable)
