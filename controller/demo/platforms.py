"""What stands in for the platform in the demo: a fake whose workers are processes of this machine, or a real Swarm."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, NamedTuple

from controller.demo.engine import service_on
from controller.fake_kubernetes import FakeKubernetes
from controller.fake_kubernetes import Timings as ClusterTimings
from controller.fake_kubernetes.kubelet import Kubelet
from controller.fake_railway import CommandLauncher, FakeRailway, Timings
from controller.fake_railway.processes import Place, Process
from controller.fake_swarm import FakeEngine
from controller.fake_swarm.agent import Agent

PlatformName = Literal["railway", "kubernetes", "swarm"]
TITLES: dict[PlatformName, str] = {
    "railway": "a fake Railway", "kubernetes": "a fake Kubernetes", "swarm": "a fake Docker Swarm"
}  # fmt: skip
"""What is said to start."""
DRAIN_S = 5.0
"""From SIGTERM to SIGKILL."""


class Stand(NamedTuple):
    """variables: what it adds to the environment. look: a command that shows what it did.

    left: what stays if this process is killed, and how to remove it; "" if nothing does.
    """

    variables: dict[str, str]
    policy: Path
    look: str
    left: str = ""


class WorkerProgram(NamedTuple):
    """env: its variables. lifeline: further ones, where it is a process of this machine."""

    argv: tuple[str, ...]
    env: dict[str, str]
    lifeline: dict[str, str]


def stand(platform: PlatformName, docker: str | None, program: WorkerProgram) -> AbstractAsyncContextManager[Stand]:
    """With one worker, which does not run yet. docker: a real Engine instead of the fake; its DOCKER_HOST.

    Raises:
        ServerError: the Engine does not answer, or is no manager of a Swarm.
    """
    if docker is not None:
        return _engine(docker, program)
    worker = CommandLauncher(program.argv, {**program.env, **program.lifeline}, quiet=True)
    fakes: dict[PlatformName, Callable[[CommandLauncher], AbstractAsyncContextManager[Stand]]] = {
        "railway": _railway, "kubernetes": _kubernetes, "swarm": _swarm
    }  # fmt: skip
    return fakes[platform](worker)


@asynccontextmanager
async def _railway(worker: CommandLauncher) -> AsyncIterator[Stand]:
    timings = Timings().scaled(0.3)
    async with FakeRailway.create(
        0, deploy={"drainingSeconds": int(DRAIN_S)}, launcher=worker, timings=timings, quota=10_000
    ) as fake:
        yield Stand(fake.environment_variables(), _shipped(), f"curl {fake.base_url}/mutations")


@asynccontextmanager
async def _kubernetes(worker: CommandLauncher) -> AsyncIterator[Stand]:
    with _policy("kubernetes: {name: worker}") as policy:
        config = policy.with_name("kubeconfig")
        async with FakeKubernetes(ClusterTimings(ending=DRAIN_S)) as fake:
            fake.begin(0)
            kubelet = Kubelet(fake.cluster, partial(_start, worker))
            async with _beside(kubelet.run(), kubelet.close):
                variables = {"KUBECONFIG": str(fake.write_kubeconfig(config))}
                yield Stand(variables, policy, f"kubectl --kubeconfig {config} get deployments")


@asynccontextmanager
async def _swarm(worker: CommandLauncher) -> AsyncIterator[Stand]:
    with _policy("swarm: {service: worker}") as policy:
        fake = FakeEngine()
        fake.create("worker", 0)
        agent = Agent(fake, partial(_start, worker))
        async with fake.over_tcp() as host, _beside(agent.run(), agent.close):
            yield Stand({"DOCKER_HOST": host}, policy, f"docker -H {host} service ls")


@asynccontextmanager
async def _engine(host: str, program: WorkerProgram) -> AsyncIterator[Stand]:
    async with service_on(host, program.argv, program.env) as name:
        with _policy(f"swarm: {{service: {name}}}") as policy:
            left = f"made the service {name}, and removes it at the end (after kill -9: docker service rm {name})"
            yield Stand({"DOCKER_HOST": host}, policy, f"docker -H {host} service ps {name}", left)


async def _start(worker: CommandLauncher, name: str) -> Process:
    return await worker.start(Place(name, "", "worker", "worker"))


@asynccontextmanager
async def _beside(work: Coroutine[Any, Any, None], close: Callable[[], None]) -> AsyncIterator[None]:
    running = asyncio.create_task(work)
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait({running})
        close()


@contextmanager
def _policy(target: str) -> Iterator[Path]:
    """The shipped policy but for its target."""
    with TemporaryDirectory() as folder:
        policy = Path(folder) / "policy.yaml"
        policy.write_text(re.sub(r"service: .*", target, _shipped().read_text(encoding="utf-8")), encoding="utf-8")
        yield policy


def _shipped() -> Path:
    """Beside this file in an installation, in the root of a checkout."""
    here = Path(__file__).parent
    return next(path for path in (here / "policy.yaml", here.parents[1] / "policy.yaml") if path.is_file())
