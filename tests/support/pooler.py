"""A pgbouncer in front of the tests' PostgreSQL; `python -m tests.support.pooler FOLDER` gets one.

Debian's package and the libraries that are missing here are unpacked into the virtual environment; nothing is
installed, and no root is needed. Where that cannot be, the tests of a pooler are skipped.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from controller.demo.server_host import dying_with_us, free_ports, unprivileged
from controller.demo.servers import Servers
from tests.support.patience import wait_until

NONE_HERE = "no pgbouncer here; `make test` unpacks Debian's, else: apt-get install pgbouncer"
_PACKAGE = "pgbouncer"
_LONGEST_S = 90


def find_pgbouncer() -> Path | None:
    for place in (Path(sys.prefix) / "pgbouncer", Path("/")):
        if (program := place / "usr" / "sbin" / "pgbouncer").is_file():
            return program
    on_path = shutil.which("pgbouncer")
    return Path(on_path) if on_path else None


@contextmanager
def pooler(servers: Servers, *, sessions: int, mode: str = "transaction") -> Iterator[int]:
    """The port of a pgbouncer with that many sessions for each database; it may be asked for any of them."""
    program = find_pgbouncer()
    if program is None:
        pytest.skip(NONE_HERE)
    port = next(free_ports())
    folder = servers.folder / f"pgbouncer-{port}"
    # The unprivileged user that it runs as must reach all of it, wherever the virtual environment is.
    _copied(program, folder)
    (folder / "pgbouncer.ini").write_text(
        f"""
[databases]
* = host=127.0.0.1 port={urlsplit(servers.database_url).port} user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {sessions}
"""
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(folder / program.name), "pgbouncer.ini"],
            cwd=folder,
            env={"LD_LIBRARY_PATH": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            preexec_fn=dying_with_us(signal.SIGKILL),  # noqa: PLW1509 - it only asks the kernel to end the child with us
            **unprivileged(),
        )
    try:
        _await_answer(process, port, folder / "log")
        yield port
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def through(port: int, database_url: str) -> str:
    address = urlsplit(database_url)
    return address._replace(netloc=f"postgres@127.0.0.1:{port}").geturl()


def _copied(program: Path, folder: Path) -> None:
    folder.mkdir()
    unpacked = program.parents[2]
    libraries = unpacked.glob("usr/lib/*/lib*.so.*") if unpacked != Path("/") else ()
    for file in (program, *libraries):
        shutil.copy(file, folder)
    for file in (folder, *folder.iterdir()):
        file.chmod(0o755)


def _await_answer(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    def answers() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            psycopg.connect(f"postgresql://postgres@127.0.0.1:{port}/postgres").close()
        except psycopg.OperationalError:
            return False
        return True

    wait_until(answers, "pgbouncer to answer", shown=log.read_text)


def unpack(folder: Path) -> None:
    """Debian's pgbouncer and its libraries into the folder, by the system's package lists or, if need be, by new ones.

    Raises:
        OSError, subprocess.SubprocessError: there is no apt, no such package, or no way to it.
    """
    with tempfile.TemporaryDirectory() as place:
        apt = _Apt(Path(place))
        try:
            packages = apt.download()
        except subprocess.CalledProcessError:
            apt.update()
            packages = apt.download()
        partly = folder.with_name(f"{folder.name}.partly")
        for package in packages:
            apt.run("dpkg-deb", "-x", str(package), str(partly))
        apt.run(str(partly / "usr/sbin/pgbouncer"), "--version", LD_LIBRARY_PATH=_libraries(partly))
        shutil.rmtree(folder, ignore_errors=True)
        partly.rename(folder)


def _libraries(place: Path) -> str:
    return ":".join(map(str, place.glob("usr/lib/*")))


class _Apt:
    """apt with a cache and, after update(), package lists of its own, so that nothing of the system changes."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.configuration = place / "apt.conf"
        self.ends_at = time.monotonic() + _LONGEST_S
        (place / "cache" / "archives" / "partial").mkdir(parents=True)
        # What an update runs afterwards tidies up the system's cache.
        self.configuration.write_text(
            f'Dir::Cache "{place}/cache/";\nAcquire::Retries "0";\nAcquire::http::Timeout "20";\n'
            "#clear APT::Update::Post-Invoke;\n#clear APT::Update::Post-Invoke-Success;\n"
        )

    def update(self) -> None:
        (self.place / "lists" / "partial").mkdir(parents=True)
        with self.configuration.open("a") as configuration:
            configuration.write(f'Dir::State::lists "{self.place}/lists/";\n')
        self.apt("apt-get", "-qq", "update")

    def download(self) -> list[Path]:
        depends = re.findall(r"Depends: (lib[\w.+-]+)", self.apt("apt-cache", "depends", _PACKAGE))
        self.apt("apt-get", "-qq", "download", _PACKAGE, *(name for name in depends if not self.is_installed(name)))
        return sorted(self.place.glob("*.deb"))

    def is_installed(self, package: str) -> bool:
        look = ["dpkg-query", "-W", "-f=${Status}", package]
        return "ok installed" in subprocess.run(look, capture_output=True, text=True, check=False).stdout

    def apt(self, program: str, *arguments: str) -> str:
        return self.run(program, "-c", str(self.configuration), *arguments)

    def run(self, *command: str, **environment: str) -> str:
        left = max(1.0, self.ends_at - time.monotonic())
        ran = subprocess.run(
            command,
            cwd=self.place,
            env={**os.environ, "LC_ALL": "C", **environment},
            capture_output=True,
            text=True,
            timeout=left,
            check=True,
        )
        return ran.stdout


if __name__ == "__main__":
    try:
        if find_pgbouncer() is None:
            unpack(Path(sys.argv[1]).absolute())
    except (OSError, subprocess.SubprocessError) as error:
        sys.exit(f"no pgbouncer to be had ({error}); tests of a pooler will be skipped (apt-get install pgbouncer)")
