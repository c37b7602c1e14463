"""What runs inside an instance: nothing, or a real process."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from controller.demo import server_host

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True)
class Place:
    """Where a process runs; Railway tells it so in its environment."""

    instance_id: str
    region: str
    service_id: str
    deployment_id: str

    def variables(self) -> dict[str, str]:
        return {
            "RAILWAY_REPLICA_ID": self.instance_id,
            "RAILWAY_REPLICA_REGION": self.region,
            "RAILWAY_SERVICE_ID": self.service_id,
            "RAILWAY_DEPLOYMENT_ID": self.deployment_id,
        }


class Process(Protocol):
    """Signals to a process that has already gone are ignored."""

    @property
    def pid(self) -> int | None: ...

    async def wait(self) -> int: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


class Launcher(Protocol):
    """Raises OSError if the process cannot be started."""

    async def start(self, place: Place) -> Process: ...


class SimulatedProcess:
    """Runs until it is ended. A stubborn one ignores SIGTERM, as a worker does that finishes its job first."""

    pid: int | None = None

    def __init__(self, *, stubborn: bool = False) -> None:
        self.signals: list[str] = []
        self._stubborn = stubborn
        self._exit: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def wait(self) -> int:
        return await asyncio.shield(self._exit)

    def terminate(self) -> None:
        self.signals.append("SIGTERM")
        if not self._stubborn:
            self.exit(0)

    def kill(self) -> None:
        if not self._exit.done():
            self.signals.append("SIGKILL")
            self.exit(-signal.SIGKILL)

    def exit(self, code: int) -> None:
        if not self._exit.done():
            self._exit.set_result(code)


class NoProcesses:
    """Simulates every process and keeps them for a test to look at, the newest of an instance under its id."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.stubborn = stubborn
        self.started: dict[str, SimulatedProcess] = {}

    async def start(self, place: Place) -> SimulatedProcess:
        process = SimulatedProcess(stubborn=self.stubborn)
        self.started[place.instance_id] = process
        return process


class CommandProcess:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._gone = False

    @property
    def pid(self) -> int | None:
        return self._process.pid

    async def wait(self) -> int:
        code = await self._process.wait()
        # A container dies with its first process: nothing that it started stays.
        self.kill()
        # The group is gone from here on, and its number may be used for another one.
        self._gone = True
        return code

    def terminate(self) -> None:
        # Only the first process gets the signal, as in a container; a process behind a shell does not get it.
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()

    def kill(self) -> None:
        if not self._gone:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


class CommandLauncher:
    """One operating system process per instance.

    Its standard input is a pipe to which nothing is written. The pipe ends when this process ends, so a child
    that watches it ends as well.
    """

    def __init__(self, argv: Sequence[str], env: Mapping[str, str] | None = None, *, quiet: bool = False) -> None:
        self._argv = tuple(argv)
        self._env = dict(env or {})
        self._quiet = quiet

    async def start(self, place: Place) -> CommandProcess:
        process = await asyncio.create_subprocess_exec(
            *self._argv,
            env={**os.environ, **self._env, **place.variables()},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL if self._quiet else None,
            stderr=asyncio.subprocess.DEVNULL if self._quiet else None,
            # A group of its own: a Ctrl-C meant for the fake must not look like a crash of every worker.
            start_new_session=True,
            # A command that does not watch its input ends all the same, where the kernel can see to it (Linux).
            preexec_fn=server_host.dying_with_us(signal.SIGKILL),
        )
        return CommandProcess(process)
