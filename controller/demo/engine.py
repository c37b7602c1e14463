"""The demo's worker as a service of a real Docker Swarm on this machine. Only an Engine that a person named is touched.

A service and an image are made under one name of their own, and removed at the end. The image is empty: no registry is
asked. Instead, the containers see the folders of this machine that Python and this package are in, read-only, and they
use the host's network, because the demo's servers listen on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import secrets
import sys
import tarfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from controller.demo.servers import ServerError

LABEL = "com.docker.swarm.service.name"
_SYSTEM = ("bin", "lib", "lib32", "lib64", "usr", "etc")
_GRACE_NS = 10_000_000_000
_GONE_S = 30.0
"""For the containers of a removed service to end."""


@asynccontextmanager
async def service_on(host: str, argv: Sequence[str], env: Mapping[str, str]) -> AsyncIterator[str]:
    """A service that runs this program, at 0 replicas; its name. host: unix:///PATH.

    Raises:
        ServerError: no Engine answers there, it is no manager of a Swarm, or it refused something.
    """
    transport = httpx.AsyncHTTPTransport(uds=host.removeprefix("unix://"))
    async with httpx.AsyncClient(transport=transport, base_url="http://docker", timeout=60) as http:
        engine, name = _Engine(host, http), f"autoscaler-demo-{secrets.token_hex(3)}"
        await engine.must_manage()
        folders = shown_folders()
        try:
            query = {"fromSrc": "-", "repo": name, "tag": "1"}
            await engine.ask("POST", "/images/create", params=query, content=_image(folders))
            await engine.ask("POST", "/services/create", json=_service(name, argv, env, folders))
            yield name
        finally:
            await engine.remove(name)


def shown_folders() -> list[Path]:
    """The folders in `/` that a program of this Python needs; links such as /bin among them."""
    needed = [*sys.path, sys.prefix, sys.base_prefix, str(Path(__file__).parents[2])]
    tops = {*_SYSTEM, *(Path(place).resolve().parts[1] for place in needed if Path(place).is_absolute())}
    return sorted(path for path in Path("/").iterdir() if path.name in tops)


class _Engine:
    def __init__(self, host: str, http: httpx.AsyncClient) -> None:
        self._host, self._http = host, http

    async def ask(self, method: str, path: str, **more: Any) -> Any:
        """The answer's JSON. What is to be deleted may be gone."""
        try:
            answer = await self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            raise ServerError(f"no Docker Engine answers at {self._host} ({type(error).__name__})") from None
        is_gone = method == "DELETE" and answer.status_code == httpx.codes.NOT_FOUND
        if not answer.is_success and not is_gone:
            raise ServerError(f"the Docker Engine refused {method} {path}: {answer.text.strip()}")
        return answer.json() if answer.content and method == "GET" else None

    async def must_manage(self) -> None:
        swarm = (await self.ask("GET", "/info")).get("Swarm", {})
        if not swarm.get("ControlAvailable"):
            raise ServerError(f"the Docker Engine at {self._host} manages no Swarm; `docker swarm init` makes one")

    async def remove(self, name: str) -> None:
        """What there is of it. An image in use cannot be removed, so its containers have to be gone first."""
        await self.ask("DELETE", f"/services/{name}")
        filters = json.dumps({"label": [f"{LABEL}={name}"]})
        ends = asyncio.get_running_loop().time() + _GONE_S
        while await self.ask("GET", "/containers/json", params={"all": "true", "filters": filters}):
            if asyncio.get_running_loop().time() > ends:
                break
            await asyncio.sleep(0.2)
        await self.ask("DELETE", f"/images/{name}:1")


def _image(folders: Sequence[Path]) -> bytes:
    """A tar of empty folders, over which those of this machine are mounted, and of links."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for folder in folders:
            entry = tarfile.TarInfo(folder.name)
            entry.type, entry.mode = (tarfile.SYMTYPE, 0o777) if folder.is_symlink() else (tarfile.DIRTYPE, 0o755)
            entry.linkname = str(folder.readlink()) if folder.is_symlink() else ""
            tar.addfile(entry)
    return packed.getvalue()


def _service(name: str, argv: Sequence[str], env: Mapping[str, str], folders: Sequence[Path]) -> dict[str, Any]:
    variables = {
        **{key: os.environ[key] for key in ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH") if key in os.environ},
        **env,
        "RAILWAY_REPLICA_ID": "{{.Task.Name}}",  # what the demo's worker takes for its name
    }
    container = {
        "Image": f"{name}:1",
        "Command": list(argv),
        "Env": [f"{key}={value}" for key, value in variables.items()],
        "User": f"{os.getuid()}:{os.getgid()}",
        "Mounts": [
            {"Type": "bind", "Source": str(path), "Target": str(path), "ReadOnly": True}
            for path in folders
            if not path.is_symlink()
        ],
        "StopGracePeriod": _GRACE_NS,
    }
    return {
        "Name": name,
        "TaskTemplate": {"ContainerSpec": container, "Networks": [{"Target": "host"}]},
        "Mode": {"Replicated": {"Replicas": 0}},
    }
