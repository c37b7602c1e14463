"""What the demo makes on a real Engine that a person named, and that it removes it. A real one: test_real_swarm.py."""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from controller.demo.engine import service_on, shown_folders
from controller.demo.servers import ServerError
from tests.support.processes import autoscaler


@dataclass
class Recorder:
    """An Engine that writes down what it is asked. containers: how many of the next looks still find one."""

    manages: bool = True
    containers: int = 0
    refuses: str = ""
    asked: list[tuple[str, bytes]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append((f"{request.method} {request.path}", await request.read()))
        if self.refuses and request.path == self.refuses:
            return web.json_response({"message": "no"}, status=409)
        if request.path == "/info":
            return web.json_response({"Swarm": {"ControlAvailable": self.manages}})
        if request.path == "/containers/json":
            self.containers -= 1
            return web.json_response([{}] if self.containers >= 0 else [])
        return web.json_response({"ID": "1"}, status=201)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    @asynccontextmanager
    async def served(self) -> AsyncIterator[str]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self.handle)
        runner = web.AppRunner(app)
        await runner.setup()
        # A socket's path has at most 107 bytes, and pytest's own folders are deep.
        with tempfile.TemporaryDirectory(prefix="engine-") as folder:
            await web.UnixSite(runner, f"{folder}/sock").start()
            yield f"unix://{folder}/sock"
            await runner.cleanup()


async def test_a_service_and_an_image_of_one_name_are_made_and_removed_once_no_container_is_left() -> None:
    engine = Recorder(containers=2)
    async with engine.served() as host, service_on(host, ["python", "-m", "w"], {"KEY": "v"}) as name:
        assert name.startswith("autoscaler-demo-")
        made = len(engine.asked)
    assert engine.paths[:made] == ["GET /info", "POST /images/create", "POST /services/create"]
    looks = ["GET /containers/json"] * 3
    assert engine.paths[made:] == [f"DELETE /services/{name}", *looks, f"DELETE /images/{name}:1"]
    spec = json.loads(engine.asked[made - 1][1])
    container = spec["TaskTemplate"]["ContainerSpec"]
    assert spec["Mode"] == {"Replicated": {"Replicas": 0}}
    assert {"KEY=v", "RAILWAY_REPLICA_ID={{.Task.Name}}"} <= set(container["Env"])
    assert all(mount["ReadOnly"] for mount in container["Mounts"])
    with tarfile.open(fileobj=io.BytesIO(engine.asked[1][1])) as image:
        assert sorted(image.getnames()) == sorted(path.name for path in shown_folders())
        assert not any(entry.isfile() for entry in image), "it has no content"


def test_containers_see_only_the_folders_that_a_program_of_this_python_needs() -> None:
    names = {path.name for path in shown_folders()}
    assert {"usr", "etc", Path(__file__).parts[1]} <= names
    assert names.isdisjoint({"proc", "sys", "dev", "run", "var", "boot"})


ENGINES: dict[str, tuple[Callable[[], Recorder], str, list[str]]] = {
    "it manages no swarm": (lambda: Recorder(manages=False), "manages no Swarm; `docker swarm init` makes one", []),
    "it refuses the service": (
        lambda: Recorder(refuses="/services/create"),
        "refused POST /services/create",
        ["DELETE /services/", "DELETE /images/"],
    ),
}


@pytest.mark.parametrize(("make", "says", "removed"), ENGINES.values(), ids=ENGINES)
async def test_an_engine_that_will_not_do_is_told_in_one_sentence_and_keeps_nothing(
    make: Callable[[], Recorder], says: str, removed: list[str]
) -> None:
    engine = make()
    async with engine.served() as host:
        with pytest.raises(ServerError, match=says):
            async with service_on(host, ["python"], {}):
                pytest.fail("it is never there")
    assert [path[: path.rindex("/") + 1] for path in engine.paths if path.startswith("DELETE")] == removed


async def test_no_engine_at_all_is_told_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"no Docker Engine answers at unix://.*/none"):
        async with service_on(f"unix://{tmp_path}/none", ["python"], {}):
            pytest.fail("it is never there")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        pytest.param(
            ("--docker", "unix:///x"), "--docker: has an effect only with --platform swarm", id="another platform"
        ),
        pytest.param(("--platform", "swarm", "--docker", "tcp://h:1"), "must be unix:///PATH", id="another machine"),
    ],
)
async def test_an_engine_is_named_only_for_a_swarm_of_this_machine(arguments: Any, says: str) -> None:
    ran = await autoscaler("demo", *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err
