"""A real Docker Engine in Swarm mode, started for a test run, where there is one and it may be started.

Debian: `apt-get install docker.io iptables busybox-static`, and root. Its data is in a folder of its own, and its one
image is made here, from a static busybox: no registry is asked.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from controller.demo.server_host import free_ports

IMAGE = "autoscaler-test:1"
WORKER = 'trap "exit 0" TERM; while :; do busybox sleep 0.1; done'
_READY_S = 60.0


class CannotStartError(Exception):
    """Why there is no real Engine here, in words for a skipped test."""


@dataclass(frozen=True, slots=True)
class Engine:
    """host: as DOCKER_HOST. What it is asked here is what a person would do by the `docker` command."""

    host: str

    @property
    def _http(self) -> httpx.Client:
        transport = httpx.HTTPTransport(uds=self.host.removeprefix("unix://"))
        return httpx.Client(transport=transport, base_url="http://docker/v1.41", timeout=30)

    def asked(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        with self._http as http:
            answer = http.request(method, path, json=body, params=query)
            assert answer.is_success, answer.text
            return answer.json() if answer.content else None

    def create(self, name: str, replicas: int = 1, script: str = WORKER, **more: Any) -> None:
        """A service of workers that run this script."""
        restart = more.pop("restart", {"Condition": "any", "Delay": 1_000_000_000})
        container = {"Image": IMAGE, "Command": ["/bin/busybox", "sh", "-c", script], "StopGracePeriod": 3_000_000_000}
        spec = {
            "Name": name,
            "TaskTemplate": {"ContainerSpec": container, "RestartPolicy": restart},
            "Mode": {"Replicated": {"Replicas": replicas}},
            **more,
        }
        self.asked("POST", "/services/create", spec)

    def of(self, name: str) -> dict[str, Any]:
        found = self.asked("GET", "/services", filters=json.dumps({"name": [name]}))
        return next(one for one in found if one["Spec"]["Name"] == name)

    def change(self, name: str, **container: Any) -> None:
        """`docker service update` of the container; with Replicas, of the count."""
        service = self.of(name)
        spec = service["Spec"]
        if "Replicas" in container:
            spec["Mode"]["Replicated"]["Replicas"] = container.pop("Replicas")
        spec["TaskTemplate"]["ContainerSpec"] |= container
        self.asked("POST", f"/services/{service['ID']}/update", spec, version=service["Version"]["Index"])

    def remove_all(self) -> None:
        for service in self.asked("GET", "/services"):
            self.asked("DELETE", f"/services/{service['ID']}")


@contextmanager
def engine() -> Iterator[Engine]:
    """Started, a manager of a new Swarm, with the image.

    Raises:
        CannotStartError: it cannot be started here.
    """
    dockerd, busybox = shutil.which("dockerd"), shutil.which("busybox")
    if dockerd is None or busybox is None:
        raise CannotStartError("dockerd or busybox is not installed: apt-get install docker.io iptables busybox-static")
    if os.geteuid():
        raise CannotStartError("dockerd needs root")
    folder = Path(tempfile.mkdtemp(prefix="engine-"))
    command: list[str | Path] = [
        dockerd,
        "--data-root",
        folder / "data",
        "--exec-root",
        folder / "exec",
        "--pidfile",
        folder / "pid",
    ]
    # vfs works on any file system; an overlay on an overlay, as in most containers, does not.
    command += ["-H", f"unix://{folder}/sock", "--storage-driver", "vfs"]
    with (folder / "log").open("wb") as log:
        daemon = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            found = Engine(f"unix://{folder}/sock")
            _wait_for(found, daemon, folder / "log")
            _prepare(found, folder, Path(busybox))
            yield found
            found.remove_all()
            found.asked("POST", "/swarm/leave", force="true")
        finally:
            daemon.terminate()
            daemon.wait(timeout=60)
            shutil.rmtree(folder, ignore_errors=True)


def _wait_for(found: Engine, daemon: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + _READY_S
    while time.monotonic() < ends:
        if daemon.poll() is not None:
            last = log.read_text(errors="replace").strip().splitlines()[-1:]
            raise CannotStartError(f"dockerd ended with exit code {daemon.returncode}: {' '.join(last)}")
        try:
            found.asked("GET", "/version")
        except httpx.TransportError:
            time.sleep(0.1)
        else:
            return
    raise CannotStartError(f"dockerd did not answer within {_READY_S:.0f} s")


def _prepare(found: Engine, folder: Path, busybox: Path) -> None:
    """As a manager whose tasks run: in a sandbox the Engine may answer and yet start no container."""
    try:
        _import_image(folder, busybox)
        listens = f"127.0.0.1:{next(free_ports())}"
        found.asked("POST", "/swarm/init", {"ListenAddr": listens, "AdvertiseAddr": "127.0.0.1"})
        found.create("probe")
    except (httpx.HTTPError, AssertionError) as error:
        raise CannotStartError(f"dockerd is no manager of a Swarm: {error}") from None
    ends, tasks = time.monotonic() + _READY_S, [{"Status": {"State": "new"}}]
    while not any(task["Status"]["State"] == "running" for task in tasks):
        if time.monotonic() > ends:
            status = tasks[-1]["Status"]
            raise CannotStartError(f"no task runs: {status['State']}, {status.get('Err') or status.get('Message')}")
        time.sleep(0.1)
        tasks = found.asked("GET", "/tasks") or tasks
    found.remove_all()


def _import_image(folder: Path, busybox: Path) -> None:
    with tarfile.open(folder / "image.tar", "w") as tar:
        tar.add(busybox, "bin/busybox")
    name, tag = IMAGE.split(":")
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(folder / "sock")), base_url="http://docker") as http:
        query = {"fromSrc": "-", "repo": name, "tag": tag}
        body = (folder / "image.tar").read_bytes()
        http.post("/images/create", params=query, content=body, timeout=60).raise_for_status()
