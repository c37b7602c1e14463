"""The command as people run it: `autoscaler …` as a process of its own."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn

from controller.cli.main import main as command
from tests.support.patience import in_time
from tests.support.scene import POLICY, Scene
from tests.support.unhurried import unhurried_but

CLEAN = {
    **{name: value for name, value in os.environ.items() if not name.startswith(("RAILWAY_", "DATABASE_", "REDIS_"))},
    # Nothing here speaks TLS to the world, and to load the machine's authorities takes each process 40 ms of a core.
    # Here is one whose key was thrown away.
    "SSL_CERT_FILE": str(Path(__file__).with_name("nobody.pem")),
    # Each sentence in one line, so that a test can look for it; how it fits 80 columns: tests/cli/test_width.py.
    "COLUMNS": "10000",
}


@dataclass
class Ran:
    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]


async def autoscaler(*arguments: str, environment: Mapping[str, str] | None = None, cwd: Path = POLICY.parent) -> Ran:
    """In a process of its own: a fork of this one, which has imported everything already, wherever that makes no
    difference. An import takes half a second of a core, and two hundred of them a quarter of the suite's time."""
    is_a_matter_of_python = any(name.startswith("PYTHON") for name in environment or {})
    environment = {**CLEAN, **(environment or {})}
    what = f"autoscaler {' '.join(arguments)} to end"
    if not is_a_matter_of_python:
        return await in_time(asyncio.to_thread(_ended, *_forked(arguments, environment, cwd)), what)
    module = "tests.support.unhurried" if "REDIS_URL" in environment else "controller"  # what talks to servers, or not
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        env={"PYTHONPATH": str(POLICY.parent), **environment},
        cwd=cwd,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await in_time(process.communicate(), what)
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


def _forked(arguments: Sequence[str], environment: Mapping[str, str], cwd: Path) -> tuple[int, IO[bytes], IO[bytes]]:
    """The process, and where what it prints can be read."""
    out, err = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.dup2(out[1], 1)
        os.dup2(err[1], 2)
        os.closerange(3, 1024)  # the servers' connections, above all: they are this process' and no other's
        _be_the_command(arguments, environment, cwd)
    os.close(out[1])
    os.close(err[1])
    return child, os.fdopen(out[0], "rb"), os.fdopen(err[0], "rb")


def _ended(child: int, out: IO[bytes], err: IO[bytes]) -> Ran:
    with out, err, ThreadPoolExecutor(1) as reading:
        complaints = reading.submit(err.read)
        printed = out.read()
        _, status = os.waitpid(child, 0)
        return Ran(os.waitstatus_to_exitcode(status), printed.decode(), complaints.result().decode())


def _be_the_command(arguments: Sequence[str], environment: Mapping[str, str], cwd: Path) -> NoReturn:
    """As a new interpreter would be; nothing of what this process had is ended, only left behind."""
    code: object = 1
    try:
        gc.freeze()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(cwd)
        sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8") for number in (1, 2))  # noqa: PTH123, SIM115
        logging.getLogger().handlers.clear()
        unhurried_but(environment.get("UNHURRIED_BUT", ""))
        sys.argv = ["autoscaler", *arguments]
        command(arguments)
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:  # noqa: BLE001  # as Python's own last resort
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


@dataclass
class Running:
    """`autoscaler run`, and every line that it has printed so far."""

    process: asyncio.subprocess.Process
    lines: list[dict[str, Any]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    at_end: bool = False

    def __post_init__(self) -> None:
        self.reading = asyncio.create_task(self.read())

    async def read(self) -> None:
        assert self.process.stdout is not None
        async for text in self.process.stdout:
            self.lines.append(json.loads(text))
            self.news.set()
        self.at_end = True
        self.news.set()

    async def until(self, **wanted: Any) -> dict[str, Any]:
        """The first line from now on, or so far, that has all of these."""
        return await in_time(self._line(wanted), f"a line with {wanted}", shown=lambda: self.lines[-5:])

    async def _line(self, wanted: dict[str, Any]) -> dict[str, Any]:
        seen = 0
        while True:
            for line in self.lines[seen:]:
                seen += 1
                if all(line.get(key) == value for key, value in wanted.items()):
                    return line
            assert not self.at_end, f"it ended without {wanted}; its last lines: {self.lines[-5:]}"
            self.news.clear()
            await self.news.wait()

    async def told_to_end(self) -> int:
        """By SIGTERM, so that it gives the lease back."""
        self.process.send_signal(signal.SIGTERM)
        return await self.ended()

    async def ended(self) -> int:
        """Its exit code, after all that it has printed was read."""
        code = await in_time(self.process.wait(), "autoscaler run to end", shown=lambda: self.lines[-5:])
        await in_time(self.reading, "the end of what it prints")
        return code


@asynccontextmanager
async def running(scene: Scene, *arguments: str, **environment: str) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.unhurried", "run", "--policy", str(scene.policy), *arguments),
        env={**CLEAN, **scene.environment, "PORT": "0", "LOG_FORMAT": "json", **environment},
        cwd=POLICY.parent,
        stdout=asyncio.subprocess.PIPE,
    )
    controller = Running(process)
    try:
        yield controller
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await controller.reading


async def led_before(scene: Scene) -> None:
    """As an earlier leader leaves it, so that no replica waits for those that may remember what an empty Redis held."""
    async with scene.controller():
        pass


UNHURRIED = {"LEASE_TTL_MS": "120000", "REDIS_TIMEOUT_MS": "30000", "RAILWAY_TIMEOUT_MS": "30000"}
"""A lease that is never lost and calls that are not given up because the machine is busy."""
QUICK = {**UNHURRIED, "POLL_INTERVAL_MS": "200"}
TAKEN_OVER = {
    "POLL_INTERVAL_MS": "200",
    "LEASE_TTL_MS": "10000",
    "REDIS_TIMEOUT_MS": "5000",
    "RAILWAY_TIMEOUT_MS": "5000",
}
"""For a test that waits for the end of a lease that was not given back."""
