"""The command as people run it: `autoscaler …` as a process of its own."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import (
    AbstractAsyncContextManager,
    asynccontextmanager,
    chdir,
    contextmanager,
    redirect_stderr,
    redirect_stdout,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NoReturn, TypeAlias

from controller.cli.main import main as command
from controller.demo.worker import main as work
from controller.loop import signals
from tests.support.patience import in_time
from tests.support.scene import POLICY, Scene
from tests.support.unhurried import OF_A_WORKER, unhurried, unhurried_but

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
    difference. An import takes half a second of a core, and two hundred of them a quarter of the suite's time. What
    reads files and prints, and talks to no server, is called in this process: a fork takes a tenth of a second."""
    is_a_matter_of_python = any(name.startswith("PYTHON") for name in {*(environment or {})} - {"PYTHONIOENCODING"})
    environment = {**CLEAN, **(environment or {})}
    if _is_of_no_server(arguments, environment) and not is_a_matter_of_python:
        return _here(arguments, environment, cwd)
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


_OF_NO_SERVER = {
    "",
    "check",
    "completion",
    "docs",
    "help",
    "import-keda",
    "plan",
    "queue-trigger",
    "queues",
    "simulate",
}


def _is_of_no_server(arguments: Sequence[str], environment: Mapping[str, str]) -> bool:
    asks = {"DATABASE_URL", "REDIS_URL", "RAILWAY_API_TOKEN", "RAILWAY_TOKEN"} & {*environment}
    is_known = "--help" in arguments or "".join(arguments[:1]) in _OF_NO_SERVER
    return is_known and not asks and "--from-database" not in arguments


def _here(arguments: Sequence[str], environment: Mapping[str, str], cwd: Path) -> Ran:
    """Afterwards everything that the program sets for its whole process is as it was."""
    kept, hooks = dict(os.environ), (sys.excepthook, sys.unraisablehook, threading.excepthook)
    last = logging.lastResort and logging.lastResort.formatter
    encoding = environment.get("PYTHONIOENCODING", "utf-8")
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding, write_through=True) for _ in range(2))
    code: object = 0
    with chdir(cwd), redirect_stdout(out), redirect_stderr(err):
        try:
            os.environ.clear()
            os.environ.update(environment)
            command(arguments)
        except SystemExit as ended:
            code = ended.code or 0
        except Exception:  # noqa: BLE001  # as Python's own last resort
            sys.excepthook(*sys.exc_info())
            code = 1
        finally:
            os.environ.clear()
            os.environ.update(kept)
            sys.excepthook, sys.unraisablehook, threading.excepthook = hooks
            if logging.lastResort is not None:
                logging.lastResort.setFormatter(last or None)
    printed, complaints = (stream.buffer.getvalue().decode() for stream in (out, err))
    return Ran(code if isinstance(code, int) else 1, printed, complaints)


def _forked(arguments: Sequence[str], environment: Mapping[str, str], cwd: Path) -> tuple[int, IO[bytes], IO[bytes]]:
    """The process, and where what it prints can be read."""
    out, err = os.pipe(), os.pipe()
    child = fork(lambda: _be_the_command(arguments), environment, cwd, stdout=out[1], stderr=err[1])
    os.close(out[1])
    os.close(err[1])
    return child, os.fdopen(out[0], "rb"), os.fdopen(err[0], "rb")


def _ended(child: int, out: IO[bytes], err: IO[bytes]) -> Ran:
    with out, err, ThreadPoolExecutor(1) as reading:
        complaints = reading.submit(err.read)
        printed = out.read()
        _, status = os.waitpid(child, 0)
        return Ran(os.waitstatus_to_exitcode(status), printed.decode(), complaints.result().decode())


def fork(
    task: Callable[[], object],
    environment: Mapping[str, str],
    cwd: Path = POLICY.parent,
    *,
    stdin: int = 0,
    stdout: int = 1,
    stderr: int = 2,
) -> int:
    """A child that does `task` and ends, with no other files than these. Gives its process id.

    It has imported everything already: a new interpreter needs a second of a core to import what `run` needs. Where
    the start itself is tested, or memory, a test starts a new interpreter.
    """
    child = os.fork()
    if not child:
        _be(task, environment, cwd, (stdin, stdout, stderr))
    return child


def _be(task: Callable[[], object], environment: Mapping[str, str], cwd: Path, files: Sequence[int]) -> NoReturn:
    """As a new interpreter would be; nothing of what this process had is ended, only left behind."""
    code: object = 1
    try:
        gc.freeze()
        signal.set_wakeup_fd(-1)
        for number in signals.ENDING:  # SIGHUP too, which this process ignores where it was started by nohup
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for wanted, file in enumerate(files):
            if file != wanted:
                os.dup2(file, wanted)
        os.closerange(3, 1024)  # the servers' connections, above all: they are this process' and no other's
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(cwd)
        sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115
        encoding = environment.get("PYTHONIOENCODING", "utf-8")
        sys.stdout, sys.stderr = (open(number, "w", encoding=encoding) for number in (1, 2))  # noqa: PTH123, SIM115
        logging.getLogger().handlers.clear()
        unhurried_but(environment.get("UNHURRIED_BUT", ""))
        task()
        code = 0
    except SystemExit as ended:
        code = ended.code or 0
    except BaseException:  # noqa: BLE001  # as Python's own last resort
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def _be_the_command(arguments: Sequence[str]) -> None:
    sys.argv = ["autoscaler", *arguments]
    command(arguments)


def _be_the_program(arguments: Sequence[str]) -> None:
    """As controller/__main__.py begins."""
    signals.take_over(exit_code=0 if arguments[0] == "run" else None)
    _be_the_command(arguments)


def _be_a_worker() -> None:
    unhurried(OF_A_WORKER)
    work()


class Fork:
    """A child of this process, with what asyncio.subprocess.Process has.

    stdin: the other end of the child's, where that is a pipe.
    """

    def __init__(self, pid: int, stdin: IO[bytes] | None = None) -> None:
        self.pid = pid
        self.stdin = stdin
        self._code: Future[int] = Future()
        self._code.set_running_or_notify_cancel()  # a test that gives up waiting does not cancel the wait of the next
        threading.Thread(target=self._reap, name=f"reaping {pid}", daemon=True).start()

    def _reap(self) -> None:
        _, status = os.waitpid(self.pid, 0)
        self._code.set_result(os.waitstatus_to_exitcode(status))

    @property
    def returncode(self) -> int | None:
        return self._code.result() if self._code.done() else None

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    async def wait(self) -> int:
        return await asyncio.wrap_future(self._code)

    def end(self) -> None:
        """Kills it, if it still runs, and waits for that."""
        self.kill()
        self._code.result()
        if self.stdin is not None:
            self.stdin.close()


def run_forked(
    arguments: Sequence[str], environment: Mapping[str, str], stdout: int, before: Callable[[], None] | None = None
) -> Fork:
    """`autoscaler run` with these arguments. before: what the child does first."""

    def be_run() -> None:
        if before is not None:
            before()
        _be_the_program(["run", *arguments])

    return Fork(fork(be_run, environment, stdout=stdout))


class Piped(Fork):
    """The same, with what it prints."""

    def __init__(self, pid: int, stdout: asyncio.StreamReader, stderr: asyncio.StreamReader) -> None:
        super().__init__(pid)
        self.stdout = stdout
        self.stderr = stderr

    async def communicate(self) -> tuple[bytes, bytes]:
        out, errors = await asyncio.gather(self.stdout.read(), self.stderr.read())
        await self.wait()
        return out, errors


async def begun(
    *arguments: str,
    environment: Mapping[str, str],
    stdout: int | None = None,
    before: Callable[[], None] | None = None,
) -> Piped:
    """`autoscaler …` as a fork of this process that is running yet. stdout: in the place of the pipe to us."""

    def be_the_program() -> None:
        if before is not None:
            before()
        _be_the_program(arguments)

    (out, writing_out), (errors, writing_errors) = await _pipe(), await _pipe()
    pid = fork(
        be_the_program,
        {**CLEAN, **environment},
        stdout=writing_out if stdout is None else stdout,
        stderr=writing_errors,
    )
    os.close(writing_out)
    os.close(writing_errors)
    return Piped(pid, out, errors)


async def _pipe() -> tuple[asyncio.StreamReader, int]:
    """One end of it to read from in this loop, and the other."""
    reading, writing = os.pipe()
    output = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(output), os.fdopen(reading, "rb")
    )
    return output, writing


@contextmanager
def demo_worker(environment: Mapping[str, str]) -> Iterator[Fork]:
    """A worker of the demo that ends with the block, or with this process, which holds its lifeline."""
    reading, writing = os.pipe()
    process = Fork(
        fork(_be_a_worker, {**os.environ, "WORKER_LIFELINE": "stdin", **environment}, stdin=reading),
        os.fdopen(writing, "wb"),
    )
    os.close(reading)
    try:
        yield process
    finally:
        process.end()


Process: TypeAlias = Fork | asyncio.subprocess.Process
Start: TypeAlias = Callable[[Sequence[str], Mapping[str, str]], Awaitable[tuple[Process, asyncio.StreamReader]]]
"""Of a process, by its arguments and environment. Gives what it prints, too."""


@dataclass
class Running:
    """`autoscaler run`, and every line that it has printed so far."""

    process: Process
    output: asyncio.StreamReader
    lines: list[dict[str, Any]] = field(default_factory=list)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    at_end: bool = False

    def __post_init__(self) -> None:
        self.reading = asyncio.create_task(self.read())

    async def read(self) -> None:
        async for text in self.output:
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


def running(scene: Scene, *arguments: str, **environment: str) -> AbstractAsyncContextManager[Running]:
    """`autoscaler run` as a process of its own, a fork of this one."""
    return _running(_run_forked, scene, arguments, environment)


def running_anew(scene: Scene, *arguments: str, **environment: str) -> AbstractAsyncContextManager[Running]:
    """The same in a new interpreter, with no memory but its own."""
    return _running(_run_anew, scene, arguments, environment)


@asynccontextmanager
async def _running(
    start: Start, scene: Scene, arguments: Sequence[str], environment: Mapping[str, str]
) -> AsyncIterator[Running]:
    controller = Running(
        *await start(
            ("--policy", str(scene.policy), *arguments),
            {**CLEAN, **scene.environment, "PORT": "0", "LOG_FORMAT": "json", **environment},
        )
    )
    process = controller.process
    try:
        yield controller
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await controller.reading


async def _run_anew(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[Process, asyncio.StreamReader]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.unhurried", "run", *arguments),
        env=environment,
        cwd=POLICY.parent,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    return process, process.stdout


async def _run_forked(arguments: Sequence[str], environment: Mapping[str, str]) -> tuple[Process, asyncio.StreamReader]:
    output, writing = await _pipe()
    process = run_forked(arguments, environment, writing)
    os.close(writing)
    return process, output


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
