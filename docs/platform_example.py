"""A platform in one file: each target is a file with a number, and its workers are whatever keeps to that number.

    workers:
      render:
        platform: {use: "platform_example:Folder", target: render}

Start the controller with PYTHONPATH set to the folder of this file, and FOLDER to that of the numbers. Copy it, and put
your own API in the place of the files. docs/platforms.md says what the loop relies on; tests/contract holds it to that.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from controller.config.platform import Opening
from controller.core.model import Change, PlatformWords, Replicas, ServiceState
from controller.core.ports import LeaseLost, NotSent, Outdated, Receipt, Role, Source, Unavailable
from controller.policy import Policy

SOURCE = Source(Role.PLATFORM, "Folder")
WORDS = PlatformWords(name="Folder", missing="see what starts the workers")


class Folder:
    source = SOURCE

    def __init__(self, opening: Opening) -> None:
        access: Any = opening.access
        self._folder = Path(access.environment["FOLDER"])
        self._may_act = opening.may_act

    def serve(self, policy: Policy) -> None:
        """Another policy is in force. Nothing of it matters here."""

    async def close(self) -> None:
        """No connection stays open."""

    def requests(self) -> None:
        """There is no limit of requests."""

    async def observe(self, services: Collection[str]) -> Mapping[str, Replicas | Unavailable]:
        """One reading for all targets; what cannot be read is Unavailable, and never 0."""
        return {name: self._read(name) for name in services}

    async def scale(self, service: str, change: Change, observed: Replicas) -> Receipt:
        """An absolute number. Nothing is written if it is certain that it should not be."""
        now = self._read(service)
        if isinstance(now, Unavailable):
            raise NotSent(SOURCE, now.text)
        if now.configured != observed.configured:
            raise Outdated(SOURCE, f"has {now.configured} for {service} by now, not {observed.configured}")
        if not self._may_act(change.epoch):
            raise LeaseLost("the lease expired before the number was written")
        self._file(service).write_text(str(change.after))
        return Receipt.ACCEPTED

    def _read(self, name: str) -> Replicas | Unavailable:
        try:
            count = int(self._file(name).read_text())
        except (OSError, ValueError) as error:
            return Unavailable(SOURCE, f"cannot read {name} ({type(error).__name__})")
        state = ServiceState.RUNNING if count else ServiceState.STOPPED
        return Replicas(configured=count, running=count, alive=count, state=state, deployment=name, words=WORDS)

    def _file(self, name: str) -> Path:
        return self._folder / name
