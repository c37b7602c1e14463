"""The command as people run it: `autoscaler …` as a process of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.scene import POLICY, Scene

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("RAILWAY_", "DATABASE_", "REDIS_"))}


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


async def autoscaler(*arguments: str, environment: Mapping[str, str] | None = None, cwd: Path = POLICY.parent) -> Ran:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "controller", *arguments),
        env={**CLEAN, "PYTHONPATH": str(POLICY.parent), **(environment or {})},
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


@dataclass
class Running:
    """`autoscaler run`, and every line that it has printed so far."""

    process: asyncio.subprocess.Process
    lines: list[dict[str, Any]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for text in self.process.stdout:
            self.lines.append(json.loads(text))
            self.news.set()

    async def until(self, **wanted: Any) -> dict[str, Any]:
        """The first line from now on, or so far, that has all of these."""
        async with asyncio.timeout(15):
            seen = 0
            while True:
                for line in self.lines[seen:]:
                    seen += 1
                    if all(line.get(key) == value for key, value in wanted.items()):
                        return line
                self.news.clear()
                await self.news.wait()


@asynccontextmanager
async def running(scene: Scene, *arguments: str, **environment: str) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "controller", "run", "--policy", str(scene.policy), *arguments),
        env={**CLEAN, **scene.environment, "PORT": "0", "LOG_FORMAT": "json", **environment},
        stdout=asyncio.subprocess.PIPE,
    )
    controller = Running(process)
    reading = asyncio.create_task(controller.read())
    try:
        yield controller
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await reading


async def led_before(scene: Scene) -> None:
    """As an earlier leader leaves it, so that nobody waits for those who may remember what an empty Redis held."""
    async with scene.controller():
        pass


QUICK = {"POLL_INTERVAL_MS": "200", "LEASE_TTL_MS": "2000"}
