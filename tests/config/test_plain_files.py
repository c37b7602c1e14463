"""What is named as a file and is none is refused at once: no pipe, device or endless file keeps a command waiting."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from controller.configuration import read_policy
from controller.core.problems import ConfigurationError
from controller.simulation.workload.traces import read_trace
from tests.support.patience import PATIENCE_S
from tests.support.processes import Ran, autoscaler

ROOT = Path(__file__).parents[2]


def refused(path: Path) -> str:
    with pytest.raises(ConfigurationError) as refusal:
        read_policy(path, {"RAILWAY_WORKER_SERVICE_ID": "s"})
    (problem,) = refusal.value.problems
    assert str(problem).isprintable()
    return str(problem)


def pipe(place: Path) -> Path:
    os.mkfifo(place / "pipe")
    return place / "pipe"


def unix_socket(place: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(place / "socket"))
    return place / "socket"


def endless(place: Path) -> Path:
    with (place / "sparse").open("wb") as file:
        file.truncate(1 << 40)
    return place / "sparse"


def unreadable(place: Path) -> Path:
    return place / ("x" * 300)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (pipe, "is a pipe, not a file; save its output to a file, and name that"),
        (lambda _: Path("/dev/zero"), "/dev/zero: is a device, not a file; name a file"),
        (lambda _: Path("/dev/null"), "/dev/null: is a device, not a file"),
        (lambda place: place, "is a directory; name a file in it"),
        (unix_socket, "cannot be read: No such device or address; name another file"),
        (endless, "is longer than 16,000,000 bytes, the most that is read; name the right file"),
        (unreadable, "cannot be read: File name too long; name another file"),
        (lambda place: place / "gone", "there is no such file; name the policy on the command line, or in AUTOSCALER_"),
        (lambda place: place / "a\0b", "is not a valid file name: it holds a NUL character"),
        (lambda place: place / os.fsdecode(b"\xff\n\x1b[2J"), "there is no such file"),
        (lambda place: place / "policy.yaml" / "x", "there is no such file"),
        (lambda _: Path("/proc/self/mem"), "cannot be read: Input/output error"),
        (lambda _: Path("/proc/version"), "/proc/version: is not a policy: it starts with"),
    ],
)
def test_a_policy_that_is_no_file_is_refused_and_not_waited_for(path: object, words: str, tmp_path: Path) -> None:
    assert callable(path)
    assert words in refused(path(tmp_path))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"interval: 10s\nworkers: caf\xe9\n", ":2: holds a byte that is not UTF-8 (0xe9); save it as UTF-8"),
        ("interval: 10s".encode("utf-16"), ": is UTF-16 or UTF-32; save it as UTF-8"),
        ("interval: 10s".encode("utf-16-le"), ": is UTF-16 or UTF-32; save it as UTF-8"),
        ("interval: 10s".encode("utf-32"), ": is UTF-16 or UTF-32; save it as UTF-8"),
        (b"interval: 10s\nworkers: \0\n", ":2:10: holds the character U+0000, which YAML does not allow; delete it"),
        (b"", ": is not a policy: it starts with `interval:` and `workers:`"),
    ],
)
def test_a_file_in_another_encoding_says_where_and_what_to_do(data: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_bytes(data)
    assert words in refused(tmp_path / "policy.yaml")


def test_a_trace_that_is_none_is_not_waited_for_either(tmp_path: Path) -> None:
    for path in (pipe(tmp_path), Path("/dev/zero"), tmp_path / "a\0b"):
        with pytest.raises(ConfigurationError):
            read_trace(path)


RIGHT = {
    b"RAILWAY_API_TOKEN": b"t",
    b"RAILWAY_PROJECT_ID": b"p",
    b"RAILWAY_ENVIRONMENT_ID": b"e",
    b"RAILWAY_WORKER_SERVICE_ID": b"s",
    b"DATABASE_URL": b"postgresql://u:p@127.0.0.1:1/d",
    b"REDIS_URL": b"redis://127.0.0.1:1",
    b"RAILWAY_API_URL": b"http://127.0.0.1:1/",
}


def explained_anew(environment: dict[bytes, bytes]) -> Ran:
    path = {b"PATH": os.environ["PATH"].encode(), b"PYTHONPATH": str(ROOT).encode(), b"COLUMNS": b"10000"}
    ran = subprocess.run(
        [sys.executable, "-m", "controller", "explain"],
        env={**path, **environment},
        cwd=ROOT,
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Ran(ran.returncode, ran.stdout.decode(), ran.stderr.decode())


@pytest.mark.costly
@pytest.mark.parametrize(
    ("odd", "code", "words"),
    [
        (
            dict.fromkeys((*RIGHT, b"PORT", b"MAX_WORKERS", b"POLL_INTERVAL_MS", b"LOG_FORMAT"), b"\xff\xfe"),
            2,
            (
                *(f"{name.decode()}: holds bytes that are not UTF-8" for name in RIGHT if b"SERVICE" not in name),
                "PORT: holds bytes that are not UTF-8; set it again, in UTF-8",
                "service: RAILWAY_WORKER_SERVICE_ID holds bytes that are not UTF-8",
                "max_replicas: MAX_WORKERS holds bytes that are not UTF-8",
            ),
        ),
        ({b"SSLKEYLOGFILE": b"/\xff/x"}, 2, ("SSLKEYLOGFILE: cannot be written to; unset it",)),
        ({b"PSYCOPG_IMPL": b"x"}, 2, ("PSYCOPG_IMPL: names an implementation of psycopg that is not installed here",)),
        ({b"HTTPS_PROXY": b"http://h:\xc2\xb2"}, 2, ("HTTPS_PROXY", "cannot be used")),
        ({b"HOSTNAME": b"\xff\x1b[2J", b"RAILWAY_REPLICA_ID": b"\xfe"}, 1, ("PostgreSQL: refuses connections",)),
    ],
    ids=[
        "odd bytes everywhere",
        "an odd key log",
        "an odd implementation of psycopg",
        "an odd proxy",
        "an odd replica name",
    ],
)
async def test_odd_bytes_in_the_environment_are_named_and_a_replica_s_name_stops_nothing(
    odd: dict[bytes, bytes], code: int, words: tuple[str, ...]
) -> None:
    environment = {os.fsdecode(name): os.fsdecode(value) for name, value in {**RIGHT, **odd}.items()}
    # Python reads the first at its start, and psycopg the other where it is imported; the rest is read by us.
    begins_anew = not {b"PORT", b"PSYCOPG_IMPL"}.isdisjoint(odd)
    ran = explained_anew({**RIGHT, **odd}) if begins_anew else await autoscaler("explain", environment=environment)
    said = ran.err + ran.out
    assert "Traceback" not in said
    assert ran.code == code, said
    for word in words:
        assert word in said, said
