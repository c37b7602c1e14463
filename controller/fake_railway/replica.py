"""One instance of a deployment and the life of its process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from controller.fake_railway import ids

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from controller.fake_railway.processes import Launcher, Place, Process
    from controller.fake_railway.timings import Timings

COULD_NOT_START = 127
"""As a shell says it of a command that it does not find."""
ENDS_WITH = {"crash": 1, "exit": 0}
"""The exit code of a process that ends at once, by the switch on_start; 0 is not restarted under ON_FAILURE."""


class Replica:
    """One task owns the process from its start to its end, so that no signal can meet a half-started one.

    The task reports CRASHED, RESTARTING and an exit by itself; the code that ends a replica sets its status then
    (EXITED after a stop, REMOVED after a removal, RUNNING still while it sleeps).
    """

    def __init__(
        self,
        region: str,
        place: Callable[[Replica], Place],
        launcher: Launcher,
        timings: Timings,
        begins: Callable[[], str] = lambda: "run",
    ) -> None:
        """`begins`: what a process does at its start: run, crash or exit."""
        self.id = ids.fresh()
        self.region = region
        self.status = "INITIALIZING"
        self.restarts = 0
        self.process: Process | None = None
        self.restart_policy = "ON_FAILURE"
        self.restart_limit = 10
        self.on_given_up: Callable[[], None] = lambda: None
        self.tried = asyncio.Event()
        """Its process runs, or could not be started: there is nothing more to wait for."""
        self._place = place
        self._launcher = launcher
        self._timings = timings
        self._begins = begins
        self._leave = asyncio.Event()
        self._draining = 0.0
        self._life: asyncio.Task[None] | None = None

    @property
    def is_member(self) -> bool:
        return self.status not in {"REMOVING", "REMOVED"}

    @property
    def is_alive(self) -> bool:
        """It may have a process, or begin() was not called yet."""
        return self._life is None or not self._life.done() or self.is_member

    def begin(self, steps: Sequence[tuple[str, float]] = ()) -> None:
        """Read as each step says for its seconds, then run. The previous life must have ended."""
        self._leave.clear()
        self.tried.clear()
        self._life = asyncio.create_task(self._live(steps))

    async def end(self, draining: float) -> None:
        """SIGTERM, the draining time, SIGKILL; without a process there is nothing to wait for."""
        self._draining = draining
        self._leave.set()
        if self._life is not None:
            await asyncio.shield(self._life)

    async def close(self, grace: float) -> None:
        """As `end`, but over after the grace even where a longer draining time has begun."""
        self._draining = grace
        self._leave.set()
        if self._life is not None:
            await asyncio.wait({self._life}, timeout=grace)
            if not self._life.done() and self.process is not None:
                self.process.kill()
            await self._life

    async def _live(self, steps: Sequence[tuple[str, float]]) -> None:
        try:
            for status, seconds in steps:
                self.status = status
                if await self._leaves_within(seconds):
                    return
            await self._run_until_given_up()
        finally:
            self.tried.set()

    async def _run_until_given_up(self) -> None:
        while True:
            code = await self._run_once()
            if self._leave.is_set():
                return
            if code == 0 and self.restart_policy != "ALWAYS":
                self.status = "EXITED"
                return
            self.status = "CRASHED"
            if self.restart_policy == "NEVER" or self.restarts >= self.restart_limit:
                self.on_given_up()
                return
            if await self._leaves_within(self._timings.crashed):
                return
            self.restarts += 1
            self.status = "RESTARTING"
            if await self._leaves_within(self._timings.revived):
                return

    async def _run_once(self) -> int:
        at_once = ENDS_WITH.get(self._begins())
        if at_once is not None:
            self.tried.set()
            return at_once
        try:
            self.process = process = await self._launcher.start(self._place(self))
        except OSError:
            return COULD_NOT_START
        self.status = "RUNNING"
        self.tried.set()
        exited, leaving = asyncio.create_task(process.wait()), asyncio.create_task(self._leave.wait())
        await asyncio.wait({exited, leaving}, return_when=asyncio.FIRST_COMPLETED)
        leaving.cancel()
        if not exited.done():
            await self._drain(process, exited)
        code = await exited
        self.process = None
        return code

    async def _drain(self, process: Process, exited: asyncio.Task[int]) -> None:
        process.terminate()
        await asyncio.wait({exited}, timeout=self._draining)
        if not exited.done():
            process.kill()

    async def _leaves_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._leave.wait()
        except TimeoutError:
            return False
        return True
