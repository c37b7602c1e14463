"""The scripts of deploy/command as a policy names them, each with what it scales: the adapter runs them as they are."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import shutil
import sys
import tempfile
import textwrap
import xmlrpc.client
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import psutil
import pytest
import yaml

from controller.adapters.command.platform import CommandPlatform, Means
from controller.core.text.masking import Masker
from controller.policy import Policy
from tests.contract.stages import WORKER, Lead, Stage
from tests.deploy.command.fakes import TOKEN, FakeApi, FakeFly, FakeHeroku, FakeRender, FakeSystemd
from tests.support.patience import until
from tests.virtual.idle import LoopClock

FOLDER = Path(__file__).parents[3] / "deploy" / "command"
SCRIPTS = sorted(path for path in FOLDER.glob("*.py") if path.name != "scaling.py")
NAMES = ("one", "two", "absent")


def load(name: str) -> ModuleType:
    """A script as a module of this process. Not by its name, which may be that of a package."""
    spec = importlib.util.spec_from_file_location(f"deployed_{name}", FOLDER / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with patch.object(sys, "path", [str(FOLDER), *sys.path]):
        spec.loader.exec_module(module)
    return module


def snippet(script: Path) -> dict[str, Any]:
    """The worker in the head of a script, without its name."""
    _, _, rest = script.read_text().partition("\n\n")
    worker: dict[str, Any] = yaml.safe_load(textwrap.dedent(rest.partition("\n\n")[0]))["web"]
    return worker


def policy_of(script: Path, words: Mapping[str, list[str]], more: tuple[str, ...]) -> Policy:
    """Three workers with the script of the snippet. words: its first arguments, by target. more: further variables."""
    command = snippet(script)["command"]
    workers = {}
    for name in NAMES:
        argv = {
            key: [str(script), key, *words[name], *command[key][2 + len(words[name]) :]] for key in ("read", "scale")
        }
        environment = [*command.get("environment", []), *more]
        target = {**command, **argv, "name": name, "timeout": "60s", "environment": environment}
        workers[name] = {**WORKER, "queue": {"table": f"jobs_{name}"}, "command": target}
    return Policy.model_validate({"workers": workers})


def platform_of(policy: Policy, variables: Mapping[str, str], lead: Lead, *before: Path) -> CommandPlatform:
    """before: folders to put on PATH in front of this Python's."""
    path = ":".join([*map(str, before), str(Path(sys.executable).parent), os.environ["PATH"]])
    return CommandPlatform(Means({**variables, "PATH": path}, LoopClock(), lead.may_act, Masker()), policy)


def stage_of(platform: CommandPlatform, lead: Lead, by_hand: Callable[[int], Awaitable[None]], **more: Any) -> Stage:
    one, two, absent = (f"command:{name}" for name in NAMES)
    return Stage(platform, one, two, absent, lead, by_hand, **more)


HTTP: dict[str, tuple[type[FakeApi], str, str, str, dict[str, list[str]]]] = {
    "heroku": (FakeHeroku, "HEROKU_API_URL", "", "HEROKU_API_KEY", {
        "one": ["shop", "one"], "two": ["shop", "two"], "absent": ["absent", "one"]}),
    "render": (FakeRender, "RENDER_API_URL", "/v1", "RENDER_API_KEY", {name: [name] for name in NAMES}),
    "fly": (FakeFly, "FLY_API_HOSTNAME", "", "FLY_API_TOKEN", {name: ["shop", name] for name in NAMES}),
}  # fmt: skip
"""Fake, variable of its address, path of that, variable of the token, and the arguments by target."""


@asynccontextmanager
async def on_an_api(name: str, fake: FakeApi | None = None) -> AsyncIterator[Stage]:
    make, address, path, token, words = HTTP[name]
    fake, lead = fake or make(), Lead()
    async with fake.served() as url:
        policy = policy_of(FOLDER / f"{name}.py", words, (address,))
        platform = platform_of(policy, {address: url + path, token: TOKEN}, lead)

        async def by_hand(count: int) -> None:
            if isinstance(fake, FakeHeroku):
                fake.counts["one"] = fake.started["one"] = count
            elif isinstance(fake, FakeRender):
                fake.services["one"]["serviceDetails"]["numInstances"] = count
            elif isinstance(fake, FakeFly):
                for number, machine in enumerate(fake.machines[:4]):
                    machine["state"] = "started" if number < count else "stopped"

        yield stage_of(platform, lead, by_hand, sent=lambda: fake.changes)


@asynccontextmanager
async def on_systemd() -> AsyncIterator[Stage]:
    lead = Lead()
    with tempfile.TemporaryDirectory(prefix="systemd-") as folder:
        fake = FakeSystemd(Path(folder))
        policy = policy_of(FOLDER / "systemd.py", {name: [name] for name in NAMES}, ())

        async def by_hand(count: int) -> None:
            for number in range(1, 10):
                fake.set("one", number, "active running" if number <= count else None)

        yield stage_of(platform_of(policy, {}, lead, fake.path), lead, by_hand)


SUPERVISORD = """
[supervisord]
nodaemon=true
logfile=%(here)s/log
pidfile=%(here)s/pid
childlogdir=%(here)s
identifier=a-test
[unix_http_server]
file=%(here)s/sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""
PROGRAM = """
[program:{name}]
command={command}
numprocs=4
process_name=%(program_name)s_%(process_num)02d
autostart=false
autorestart=true
startsecs=0
stopwaitsecs=30
"""


@asynccontextmanager
async def supervisord(programs: Mapping[str, str]) -> AsyncIterator[tuple[str, Callable[..., Awaitable[Any]]]]:
    """A real one, with four processes for each program. Yields its address, and what calls it as a person would."""
    program = shutil.which("supervisord", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if program is None:
        pytest.skip("supervisord is not installed: pip install '.[dev]'")
    over_socket = load("supervisor").OverSocket
    # A socket's path has at most 107 bytes, and pytest's own folders are deep.
    with tempfile.TemporaryDirectory(prefix="supervisor-") as folder:
        written = [PROGRAM.format(name=name, command=command) for name, command in programs.items()]
        config = Path(folder) / "supervisord.conf"
        config.write_text(SUPERVISORD + "".join(written))
        process = await asyncio.create_subprocess_exec(program, "-c", config, stdout=asyncio.subprocess.DEVNULL)
        try:
            socket = Path(folder) / "sock"
            await until(socket.exists, "supervisord's socket")

            async def call(method: str, *given: Any) -> Any:
                with xmlrpc.client.ServerProxy("http://localhost/RPC2", over_socket(str(socket))) as server:
                    return await asyncio.to_thread(getattr(server.supervisor, method), *given)

            yield f"unix://{socket}", call
        finally:
            children = psutil.Process(process.pid).children(recursive=True)
            process.terminate()
            for child in children:  # one that ignores SIGTERM would be waited for
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            await process.wait()


@asynccontextmanager
async def on_supervisor(programs: Mapping[str, str] | None = None) -> AsyncIterator[Stage]:
    """programs: their commands, by name."""
    lead = Lead()
    policy = policy_of(FOLDER / "supervisor.py", {name: [name] for name in NAMES}, ("SUPERVISOR_URL",))
    async with supervisord(programs or dict.fromkeys(("one", "two"), "/bin/sleep 1000")) as (url, call):

        async def by_hand(count: int) -> None:
            states = {one["name"]: one["statename"] for one in await call("getAllProcessInfo")}
            for number in range(4):
                name = f"one_{number:02d}"
                if (states[name] == "RUNNING") is not (number < count):
                    await call("startProcess" if number < count else "stopProcess", f"one:{name}")

        await by_hand(2)
        await call("startProcess", "two:two_00", False)
        yield stage_of(platform_of(policy, {"SUPERVISOR_URL": url}, lead), lead, by_hand)


STAGES: dict[str, Callable[[], AbstractAsyncContextManager[Stage]]] = {
    **{name: partial(on_an_api, name) for name in HTTP},
    "systemd": on_systemd,
    "supervisor": on_supervisor,
}
