"""Reads the policy again: on SIGHUP, and when its file has changed or was replaced.

A policy that cannot be used is refused with its message, and the one in force stays. What is written to a file may be
half there when it is read, so a refusal counts only once the file has stayed as it is for a look.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from controller.core.problems import ConfigurationError
from controller.core.text import bounds

T = TypeVar("T")
LOOK_S = 2.0
"""Seconds between two looks at the file, each of which costs one stat()."""
_MOST_PROBLEMS = 5
_LASTS_S = 60.0
"""While an edit is rolled out, the replicas differ for a moment."""
_SAID_AGAIN_S = 3600.0

Identity = tuple[int, ...]


@dataclass
class Refusal:
    """The newest policy that was refused. problems: each with its place and its fix. at: by the wall clock."""

    problems: tuple[str, ...]
    at: float

    @property
    def words(self) -> str:
        more = len(self.problems) - _MOST_PROBLEMS
        shown = "; ".join(self.problems[:_MOST_PROBLEMS])
        return bounds.cut(f"{shown}; and {more} more" if more > 0 else shown, bounds.MESSAGE)


@dataclass
class Difference:
    """Whether two replicas have had different policies for long enough to say so: after a minute, then once an hour."""

    _since: float | None = None
    _said_at: float | None = None

    def is_news(self, ours: str, theirs: str, now: float) -> bool:
        """ours, theirs: digests; "" is unknown. now: monotonic."""
        if not theirs or ours == theirs:
            self._since = self._said_at = None
            return False
        self._since = now if self._since is None else self._since
        if now - self._since < _LASTS_S or (self._said_at is not None and now - self._said_at < _SAID_AGAIN_S):
            return False
        self._said_at = now
        return True


@dataclass
class Reload(Generic[T]):
    """Looks at `path` and at the files beside it, and reads them by `read`, which raises ConfigurationError.

    adopt: takes over what was read; it is called between two turns of the loop, and may raise the same. refused: is
    told of a refusal. beside: files that the policy in force names.
    """

    path: Path
    read: Callable[[], T]
    adopt: Callable[[T], Awaitable[None]]
    refused: Callable[[ConfigurationError], None]
    look_s: float = LOOK_S
    beside: Callable[[], Sequence[Path]] = tuple
    _asked: asyncio.Event = field(default_factory=asyncio.Event)
    _seen: Mapping[Path, Identity | None] = field(default_factory=dict)

    def ask(self) -> None:
        """Reads it now, changed or not."""
        self._asked.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        self._seen = self._identities()
        while True:
            is_asked = await self._waited()
            now = self._identities()
            if not is_asked and (None in now.values() or now == self._seen):
                continue
            if not is_asked:
                await asyncio.sleep(self.look_s / 4)
                if self._identities() != now:
                    continue  # one is still being written
            await self._read()
            after = self._identities()  # another policy may name another file
            self._seen = {path: now.get(path, one) for path, one in after.items()}

    def _identities(self) -> Mapping[Path, Identity | None]:
        return {path: identity(path) for path in (self.path, *self.beside())}

    async def _waited(self) -> bool:
        """Whether somebody asked, within the time of a look."""
        try:
            await asyncio.wait_for(self._asked.wait(), self.look_s)
        except TimeoutError:
            return False
        self._asked.clear()
        return True

    async def _read(self) -> None:
        try:
            # In a thread: a large policy takes tenths of a second, and no cycle is to wait for it.
            await self.adopt(await asyncio.to_thread(self.read))
        except ConfigurationError as error:
            self.refused(error)


def identity(path: Path) -> Identity | None:
    """What changes if the file is written, replaced, or reached by another link; None: it is not there right now."""
    try:
        found = path.stat()
        linked = os.lstat(path)
    except (OSError, ValueError):
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, linked.st_ino, linked.st_mtime_ns)
