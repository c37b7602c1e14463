"""The fake as a server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import web

from controller.fake_kubernetes.api import Api
from controller.fake_kubernetes.cluster import Cluster
from controller.fake_kubernetes.handler import Handler
from controller.fake_kubernetes.timings import Timings

TOKEN = "fake-token-of-a-service-account"  # noqa: S105  # it opens nothing but the fake


class FakeKubernetes:
    """`async with FakeKubernetes() as fake:` listens on a free port of this machine."""

    def __init__(self, timings: Timings | None = None) -> None:
        self.cluster = Cluster(timings or Timings())
        self.api = Api(self.cluster, TOKEN)
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def listen(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Raises OSError: the address cannot be bound."""
        app = web.Application(client_max_size=4_000_000)
        app.router.add_route("*", "/{path:.*}", Handler(self.api).handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        bound = self._runner.addresses[0]
        self.url = f"http://{bound[0]}:{bound[1]}"

    def begin(self, replicas: int) -> None:
        """With a Deployment `worker` in the namespace `default`."""
        self.cluster.now = asyncio.get_running_loop().time()
        self.cluster.add("worker", replicas=replicas)

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def kubeconfig(self) -> dict[str, Any]:
        """What kubectl and the controller need to reach it. JSON is YAML, too."""
        named = "fake"
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": named,
            "contexts": [{"name": named, "context": {"cluster": named, "user": named, "namespace": "default"}}],
            "clusters": [{"name": named, "cluster": {"server": self.url}}],
            "users": [{"name": named, "user": {"token": self.api.token}}],
        }

    def write_kubeconfig(self, path: Path) -> Path:
        path.write_text(json.dumps(self.kubeconfig(), indent=2), encoding="utf-8")
        return path
