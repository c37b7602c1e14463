"""Real processes in the fake Swarm's tasks, for the demo: one for each task, from its creation to its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from controller.fake_swarm import ENDED, FakeEngine, FakeTask

_EVERY_S = 0.1
_NANOSECONDS = 1e9


class Process(Protocol):
    """Signals to a process that has already gone are ignored."""

    async def wait(self) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


@dataclass
class _Running:
    """kill_at: of the event loop's clock; None: it was not told to end."""

    process: Process
    ended: asyncio.Task[int]
    kill_at: float | None = None


class Agent:
    """What a node does. start: begins the process of the task with that id."""

    def __init__(self, engine: FakeEngine, start: Callable[[str], Awaitable[Process]]) -> None:
        self._engine, self._start = engine, start
        self._running: dict[str, _Running] = {}

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self._engine.now = time.time()
            for service in list(self._engine.services.values()):
                name = service["Spec"]["Name"]
                grace_s = service["Spec"]["TaskTemplate"]["ContainerSpec"]["StopGracePeriod"] / _NANOSECONDS
                for task in list(self._engine.tasks_of(name)):
                    await self._look(name, task, grace_s)
            await asyncio.sleep(_EVERY_S)

    async def _look(self, name: str, task: FakeTask, grace_s: float) -> None:
        ident = str(task.json["ID"])
        running = self._running.get(ident)
        if task.desired == "remove":
            if running is None or self._has_stopped(running, grace_s):
                self._running.pop(ident, None)
                self._engine.tasks[task.json["ServiceID"]].remove(task)
        elif running is None and task.state not in ENDED:
            process = await self._start(ident)
            self._running[ident] = _Running(process, asyncio.create_task(process.wait()))
            self._engine.step(name, "running", slots=(task.slot,))
        elif running is not None and running.ended.done() and task.state not in ENDED:
            self._engine.step(name, "failed" if running.ended.result() else "complete", slots=(task.slot,))

    @staticmethod
    def _has_stopped(running: _Running, grace_s: float) -> bool:
        """It gets SIGTERM, and SIGKILL once its time is over."""
        now = asyncio.get_running_loop().time()
        if running.kill_at is None:
            running.kill_at = now + grace_s
            running.process.terminate()
        elif now > running.kill_at:
            running.process.kill()
        return running.ended.done()

    def close(self) -> None:
        for running in self._running.values():
            running.process.kill()
            running.ended.cancel()
