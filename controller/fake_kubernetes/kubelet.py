"""Real processes in the fake's pods, for the demo: one for each pod, from its creation to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from controller.fake_kubernetes.cluster import Cluster

_EVERY_S = 0.1


class Process(Protocol):
    """Signals to a process that has already gone are ignored."""

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


class Kubelet:
    """start: begins the process of the pod with that name."""

    def __init__(self, cluster: Cluster, start: Callable[[str], Awaitable[Process]]) -> None:
        self._cluster, self._start = cluster, start
        self._processes: dict[str, Process] = {}
        self._told: set[str] = set()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            self._cluster.advance(asyncio.get_running_loop().time())
            await self._look()
            await asyncio.sleep(_EVERY_S)

    async def _look(self) -> None:
        """A pod that is deleted gets SIGTERM, and SIGKILL once its time is over."""
        pods = {pod.name: pod for one in self._cluster.workloads.values() for pod in one.pods}
        for name, pod in pods.items():
            if name not in self._processes and pod.ends is None:
                self._processes[name] = await self._start(name)
            elif name in self._processes and pod.ends is not None and name not in self._told:
                self._told.add(name)
                self._processes[name].terminate()
        for name in self._processes.keys() - pods.keys():
            self._processes.pop(name).kill()

    def close(self) -> None:
        for process in self._processes.values():
            process.kill()
