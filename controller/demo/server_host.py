"""The process that owns one PostgreSQL and one Redis for exactly as long as its standard input stays open.

The process that needs the servers holds the other end of that pipe. However it ends (it closes the pipe, returns,
crashes, is killed with SIGKILL), the kernel closes its end, and this process stops both servers and removes their
folder. If this process is killed, the kernel signals the servers (PR_SET_PDEATHSIG, Linux), and the parent removes the
folder.

It needs only the standard library, and is started by its path; see ``controller.demo.servers``. It prints one
JSON line when both servers answer, and one for every command line it reads: ``stop postgres``, ``start postgres``,
``stop redis``, ``stop redis forgetting`` and ``start redis``.
"""

import argparse
import contextlib
import ctypes
import functools
import itertools
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypedDict

PATIENCE_S = 20.0
PR_SET_PDEATHSIG = 1
IPC_RMID = 0

# The data is removed with the calling process, so nothing needs to reach the disk. No shared memory has a name, except
# the few bytes by which PostgreSQL detects a second server on the same folder (see remove_segment).
POSTGRES_SETTINGS = {
    "autovacuum_naptime": "10s",
    "dynamic_shared_memory_type": "mmap",
    "fsync": "off",
    "full_page_writes": "off",
    "jit": "off",
    "listen_addresses": "127.0.0.1",
    "max_connections": "200",
    "max_logical_replication_workers": "0",
    "max_wal_senders": "0",
    "max_wal_size": "64MB",
    "shared_buffers": "16MB",
    "timezone": "UTC",
    "unix_socket_directories": "",
    "wal_level": "minimal",
}


class StartError(Exception):
    """A server did not start; the message ends with its last output."""


class PortTakenError(StartError):
    """Another process took the port between its choice and its use."""


class Identity(TypedDict, total=False):
    """Arguments of ``subprocess`` to run a server as another user."""

    user: int
    group: int
    extra_groups: list[int]


def unprivileged() -> Identity:
    """As root, the identity of ``nobody``: PostgreSQL refuses to run as root, and Redis should not."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def free_ports() -> Iterator[int]:
    """Ports that are free right now.

    They are below the range of outgoing connections, so that the port of a stopped server is still free when it is
    started again.
    """
    while True:
        port = random.randint(15_000, 32_000)
        with socket.socket() as probe:
            taken = probe.connect_ex(("127.0.0.1", port)) == 0
        if not taken:
            yield port


def dying_with_us(death_signal: signal.Signals) -> Callable[[], None]:
    """A function for a child to call before its program starts: the kernel then ends it when this process dies."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    us = os.getpid()

    def ask() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
        if os.getppid() != us:
            os._exit(1)

    return ask


def end(process: subprocess.Popen[bytes], *steps: tuple[signal.Signals, float]) -> None:
    """Sends one signal after the other, and waits for each as long as given."""
    for step, patience in steps:
        process.send_signal(step)
        process.send_signal(signal.SIGCONT)  # a test may have paused it
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
            return


def remove(folder: Path) -> None:
    """Removes a folder into which ending processes may still write."""
    deadline = time.monotonic() + 5
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.02)


def remove_segment(data: Path) -> None:
    """Removes the shared-memory segment of a PostgreSQL that was killed."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        segment = int((data / "postmaster.pid").read_text().splitlines()[6].split()[1])
        ctypes.CDLL(None).shmctl(segment, IPC_RMID, None)


class Server:
    """One program with a folder, a log and a port of its own."""

    death_signal = signal.SIGKILL

    def __init__(self, name: str, folder: Path, program: Path) -> None:
        self.folder = folder / name
        self.log = folder / f"{name}.log"
        self.program = program
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.folder.mkdir(mode=0o700)
        if identity := unprivileged():
            os.chown(self.folder, identity["user"], identity["group"])

    def command(self) -> list[str]:
        raise NotImplementedError

    def ready(self, pid: int) -> bool:
        raise NotImplementedError

    def spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log.open("wb") as log:
            return subprocess.Popen(
                command,
                cwd=self.folder,
                env={key: os.environ[key] for key in ("PATH", "LD_LIBRARY_PATH") if key in os.environ}
                | {"LC_ALL": "C"},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # Safe here: this process has one thread, and the function neither allocates nor locks.
                preexec_fn=dying_with_us(self.death_signal),  # noqa: PLW1509
                **unprivileged(),
            )

    def start(self, ports: Iterable[int]) -> None:
        """Starts on the first port that is still free."""
        for port in ports:
            self.port = port
            self.process = self.spawn(self.command())
            try:
                self.await_ready(self.process)
            except PortTakenError:
                time.sleep(0.1)
            else:
                return
        raise StartError(f"no free port for {self.program.name}")

    def await_ready(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self.ready(process.pid):
            if process.poll() is not None or time.monotonic() > deadline:
                raise self.failure()
            time.sleep(0.01)

    def failure(self) -> StartError:
        last_words = self.log.read_text(errors="replace")[-1000:].strip()
        kind = PortTakenError if "Address already in use" in last_words else StartError
        return kind(f"{self.program.name} did not start: {last_words or 'it wrote nothing'}")


class Postgres(Server):
    death_signal = signal.SIGQUIT  # it takes its own children and its segment with it

    def __init__(self, folder: Path, program: Path) -> None:
        super().__init__("postgres", folder, program)
        self.data = self.folder / "data"
        initdb = str(program.with_name("initdb"))
        options = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1"]
        self.initdb = self.spawn([initdb, "-D", str(self.data), *options])

    def start(self, ports: Iterable[int]) -> None:
        if self.initdb.wait(PATIENCE_S) != 0:
            raise self.failure()
        super().start(ports)

    def command(self) -> list[str]:
        settings = [f"--{key}={value}" for key, value in POSTGRES_SETTINGS.items()]
        return [str(self.program), "-D", str(self.data), "-p", str(self.port), *settings]

    def ready(self, pid: int) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().split()
        except FileNotFoundError:
            return False
        return lines[:1] == [str(pid)] and lines[-1] == "ready"

    def stop(self) -> None:
        """Stops in the regular way: clients are disconnected, the data is complete."""
        if self.process is not None:
            end(self.process, (signal.SIGINT, 5), (signal.SIGQUIT, 3), (signal.SIGKILL, 3))
            self.process = None

    def discard(self) -> None:
        """Stops at once, because the folder will be removed."""
        end(self.initdb, (signal.SIGTERM, 1), (signal.SIGKILL, 3))
        if self.process is not None:
            end(self.process, (signal.SIGQUIT, 2), (signal.SIGKILL, 3))
        remove_segment(self.data)


class Redis(Server):
    def __init__(self, folder: Path, program: Path, options: list[str]) -> None:
        super().__init__("redis", folder, program)
        self.options = options

    def command(self) -> list[str]:
        place = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        return [str(self.program), *place, *self.options]

    def ready(self, pid: int) -> bool:
        """Whether our server answers and has read its data; on a port that was taken, another server might answer."""
        about = self.ask("INFO", timeout=0.3).splitlines()
        return f"process_id:{pid}" in about and "loading:0" in about

    def ask(self, command: str, timeout: float = 2) -> str:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout) as connection:
                connection.sendall(f"{command}\r\nQUIT\r\n".encode())
                return b"".join(iter(lambda: connection.recv(65536), b"")).decode(errors="replace")
        except OSError:
            return ""

    def stop(self, *, forgetting: bool = False) -> None:
        if self.process is not None:
            self.ask("SHUTDOWN NOSAVE" if forgetting else "SHUTDOWN SAVE")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(2)
            self.discard()
            self.process = None
        if forgetting:
            for remembered in self.folder.iterdir():
                remembered.unlink()

    def discard(self) -> None:
        if self.process is not None:
            end(self.process, (signal.SIGKILL, 3))


class Host:
    """Both servers in one folder, from the folder's creation to its removal."""

    def __init__(self, folder: Path, ports: Iterator[int]) -> None:
        self.folder = folder
        self.ports = ports
        self.servers: list[Postgres | Redis] = []
        folder.mkdir(mode=0o711 if unprivileged() else 0o700)

    def start(self, postgres: Path, redis: Path, redis_options: list[str]) -> None:
        """Starts both; Redis starts while PostgreSQL's data folder is created."""
        self.postgres = Postgres(self.folder, self.reachable(postgres, "initdb", copy_installation))
        self.servers.append(self.postgres)
        self.redis = Redis(self.folder, self.reachable(redis, redis.name, copy_program), redis_options)
        self.servers.append(self.redis)
        for server in (self.redis, self.postgres):
            server.start(itertools.islice(self.ports, 10))

    def reachable(self, program: Path, probe: str, copy: Callable[[Path, Path], Path]) -> Path:
        """The program, or a copy of it when the unprivileged user cannot reach it (say, under /root)."""
        look = [str(program.with_name(probe)), "--version"]
        try:
            subprocess.run(look, check=True, capture_output=True, cwd=self.folder, **unprivileged())
        except (PermissionError, subprocess.CalledProcessError):
            place = self.folder / f"{program.name}-copy"
            copied = copy(program, place)
            for path in (place, *place.rglob("*")):
                path.chmod(0o755)
            return copied
        return program

    def obey(self, command: str) -> None:
        match command.split():
            case ["stop", "postgres"]:
                self.postgres.stop()
            case ["start", "postgres"]:
                self.restart(self.postgres)
            case ["stop", "redis"]:
                self.redis.stop()
            case ["stop", "redis", "forgetting"]:
                self.redis.stop(forgetting=True)
            case ["start", "redis"]:
                self.restart(self.redis)
            case _:
                raise StartError(f"no such command: {command.strip()}")

    def restart(self, server: Server) -> None:
        if server.process is None or server.process.poll() is not None:
            server.start(itertools.repeat(server.port, 30))

    def report(self) -> dict[str, object]:
        return {
            "database_url": f"postgresql://postgres@127.0.0.1:{self.postgres.port}/postgres",
            "redis_url": f"redis://127.0.0.1:{self.redis.port}/0",
            "postgres_pid": self.postgres.process and self.postgres.process.pid,
            "redis_pid": self.redis.process and self.redis.process.pid,
        }

    def close(self) -> None:
        for server in self.servers:
            server.discard()
        remove(self.folder)


def copy_program(program: Path, place: Path) -> Path:
    place.mkdir()
    return Path(shutil.copyfile(program, place / program.name))


def copy_installation(program: Path, place: Path) -> Path:
    """Copy a PostgreSQL, with the libraries that its wheel keeps beside the package and finds by relative paths."""
    installation = program.parents[1]
    package = installation.parent
    unneeded = shutil.ignore_patterns("include", "pgxs", "*.a")
    shutil.copytree(installation, place / package.name / installation.name, ignore=unneeded)
    for libraries in (package / ".dylibs", package.with_name(f"{package.name}.libs")):
        if libraries.is_dir():
            shutil.copytree(libraries, place / libraries.relative_to(package.parent))
    return place / program.relative_to(package.parent)


def say(answer: dict[str, object]) -> None:
    os.write(sys.stdout.fileno(), (json.dumps(answer) + "\n").encode())


def attempt(host: Host, action: Callable[[], None]) -> bool:
    """Runs the action, and reports the result over the pipe."""
    try:
        action()
    except (StartError, OSError, subprocess.SubprocessError) as error:
        say({"error": str(error)})
        return False
    say(host.report())
    return True


def serve(host: Host, postgres: Path, redis: Path, redis_options: list[str]) -> None:
    if attempt(host, functools.partial(host.start, postgres, redis, redis_options)):
        for line in sys.stdin:
            attempt(host, functools.partial(host.obey, line))


def main() -> None:
    arguments = argparse.ArgumentParser(description="Own a PostgreSQL and a Redis until standard input ends.")
    arguments.add_argument("folder", type=Path)
    arguments.add_argument("postgres", type=Path)
    arguments.add_argument("redis", type=Path)
    arguments.add_argument("redis_options", nargs="*")
    given = arguments.parse_args()
    signal.signal(signal.SIGINT, lambda *_: None)  # Ctrl-C is for the process that holds the pipe
    for ending in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(ending, lambda *_: sys.exit(0))
    os.umask(0o022)  # the unprivileged user must be able to read what is created here, whatever umask our parent has
    host = Host(given.folder, free_ports())
    try:
        with contextlib.suppress(BrokenPipeError):  # the other end is gone, which ends this process, too
            serve(host, given.postgres, given.redis, given.redis_options)
    finally:
        host.close()


if __name__ == "__main__":
    main()
