"""The queue libraries of Node: what the tests ask of each is a program in the folder node, which says how."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest

from tests.queues.scenario import Job
from tests.support.node import NODE
from tests.support.patience import in_time

_PROGRAMS = Path(__file__).parent / "node"
_LIBRARIES = Path(sys.prefix) / "node"

needs_node = pytest.mark.skipif(
    NODE is None or not (_LIBRARIES / "node_modules").is_dir(),
    reason="needs Node and its queue libraries: make test installs both",
)


@dataclass(slots=True)
class NodeLibrary:
    preset: str

    async def migrate(self, url: str) -> None:
        await self._run(url, "migrate")

    async def put(self, url: str, jobs: Sequence[Job]) -> None:
        await self._run(url, "put", json.dumps([asdict(job) for job in jobs]))

    def worker(self) -> list[str]:
        return ["env", f"NODE_LIBRARIES={_LIBRARIES}", str(NODE), str(_PROGRAMS / f"{self.preset}.mjs"), "work"]

    async def _run(self, url: str, *arguments: str) -> None:
        program = await asyncio.create_subprocess_exec(
            *self.worker()[:-1], *arguments, env={**os.environ, "DATABASE_URL": url}, stderr=asyncio.subprocess.PIPE
        )
        _, said = await in_time(program.communicate(), f"{self.preset} to {arguments[0]}")
        assert program.returncode == 0, said.decode()[-2000:]
