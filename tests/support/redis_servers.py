"""Redis servers of a test's own, with any options: a Cluster, a replica, a Sentinel, one that is full."""

from __future__ import annotations

import contextlib
import itertools
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from controller.demo import servers
from controller.demo.server_host import dying_with_us, free_ports
from tests.support.patience import wait_until

IN_MEMORY = ("--save", "", "--appendonly", "no")


@dataclass(frozen=True)
class RedisServer:
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def ask(self, *command: str | int) -> object:
        with redis.Redis(port=self.port, decode_responses=True) as client:
            return client.execute_command(*command)

    def until(self, section: str, line: str) -> None:
        wait_until(
            lambda: line in self.process_says(section),
            f"{line!r} of redis-server",
            shown=lambda: self.process_says(section),
        )

    def process_says(self, section: str) -> str:
        with redis.Redis(port=self.port) as client:
            client.set_response_callback("INFO", lambda text, **_: text)
            client.set_response_callback("CLUSTER INFO", lambda text, **_: text)
            answer = client.execute_command("CLUSTER INFO") if section == "cluster" else client.info(section)
        return bytes(answer).decode()


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[RedisServer]:
    """On a free port. A first option that is a file's name is its configuration, as on the command line."""
    for port in itertools.islice(free_ports(), 5):
        place = folder / str(port)
        place.mkdir()
        with subprocess.Popen(
            [str(servers.find_redis()), *options, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(place)],
            stdout=subprocess.DEVNULL,
            preexec_fn=dying_with_us(signal.SIGKILL),  # noqa: PLW1509 - it only asks the kernel to end the child with us
        ) as process:
            try:
                if _answers(port, process):
                    yield RedisServer(port, process)
                    return
            finally:
                process.kill()
    raise AssertionError(f"redis-server did not start with {options}")


def _answers(port: int, process: subprocess.Popen[bytes]) -> bool:
    with redis.Redis(port=port, retry=Retry(NoBackoff(), 0)) as client:

        def pings() -> bool:
            with contextlib.suppress(redis.RedisError):
                return bool(client.ping())
            return False

        wait_until(lambda: process.poll() is not None or pings(), "redis-server to answer or to end")
        return process.poll() is None


@contextmanager
def redis_cluster(folder: Path, nodes: int = 1) -> Iterator[list[RedisServer]]:
    """This many primaries that share all slots."""
    with ExitStack() as stack:
        started = [
            stack.enter_context(redis_server(folder, "--cluster-enabled", "yes", *IN_MEMORY)) for _ in range(nodes)
        ]
        for number, node in enumerate(started):
            node.ask("CLUSTER", "ADDSLOTS", *range(number * 16384 // nodes, (number + 1) * 16384 // nodes))
            node.ask("CLUSTER", "MEET", "127.0.0.1", started[0].port)
        for node in started:
            node.until("cluster", f"cluster_known_nodes:{nodes}\r")
            node.until("cluster", "cluster_state:ok")
        yield started
