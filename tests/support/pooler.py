"""A pgbouncer in front of the tests' PostgreSQL."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest

from controller.demo.server_host import dying_with_us, free_ports, unprivileged
from controller.demo.servers import Servers
from tests.support.debian import find
from tests.support.patience import wait_until

NONE_HERE = "no pgbouncer here; `make test` unpacks Debian's, else: apt-get install pgbouncer"


@contextmanager
def pooler(servers: Servers, *, sessions: int, mode: str = "transaction") -> Iterator[int]:
    """The port of a pgbouncer with that many sessions for each database; it may be asked for any of them."""
    program = find("usr/sbin/pgbouncer")
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
