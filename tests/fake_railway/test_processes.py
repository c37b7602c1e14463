from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from controller.fake_railway import CommandLauncher, FakeRailway, NoProcesses, Switches, Timings
from tests.fake_railway.client import PLACE, QUICK, STOP, UPDATE, VISIBLE, Client, railway, seen_until, until
from tests.support.patience import in_time

SLEEPER = "import time; time.sleep(3600)"
STUBBORN = (
    "import os, pathlib, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    "pathlib.Path(sys.argv[1], f'{os.getpid()}.json').touch(); time.sleep(3600)"
)
LIFELINE = "import sys; sys.stdin.read()"
CLI = """
import asyncio, sys
from controller.fake_railway import Timings
from controller.fake_railway.cli import serve
asyncio.run(serve(0, 2, exec_command=sys.argv[1], token_kind="project", timings=Timings().scaled(0.01)))
"""


def alive(pid: int) -> bool:
    """A zombie is dead: its parent has not waited for it yet."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def pids(fake: FakeRailway) -> list[int]:
    processes = (replica.process for each in fake.worker.deployments for replica in each.replicas)
    return [process.pid for process in processes if process is not None and process.pid is not None]


def read(place: Path) -> Any:
    return json.loads(place.read_text())


def children_of(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


async def _count_children(pid: int) -> int:
    return len(children_of(pid))


def told(place: Path) -> list[Path]:
    return list(place.glob("*.json"))


async def _told(place: Path) -> int:
    return len(told(place))


async def _living(started: list[int]) -> list[int]:
    return [pid for pid in started if alive(pid)]


@pytest.mark.costly
async def test_every_replica_is_a_process_that_knows_where_it_runs(tmp_path: Path) -> None:
    tell = (
        "import json, os, pathlib, sys, time;"
        "names = ['GREETING'] + ['RAILWAY_' + each for each in sys.argv[2:]];"
        "place = pathlib.Path(sys.argv[1], os.environ['RAILWAY_REPLICA_ID'] + '.tmp');"
        "place.write_text(json.dumps({name: os.environ[name] for name in names}));"
        "place.rename(place.with_suffix('.json'));"
        "time.sleep(3600)"
    )
    names = ("REPLICA_ID", "REPLICA_REGION", "SERVICE_ID", "DEPLOYMENT_ID")
    launcher = CommandLauncher([sys.executable, "-c", tell, str(tmp_path), *names], {"GREETING": "hello"})
    async with railway(1, launcher=launcher) as (fake, client):
        await client.scale(3)

        await until(lambda: _told(tmp_path), 3)
        deployment = fake.worker.deployments[0]
        for replica in deployment.replicas:
            assert read(tmp_path / f"{replica.id}.json") == {
                "RAILWAY_REPLICA_ID": replica.id,
                "RAILWAY_REPLICA_REGION": "us-west2",
                "RAILWAY_SERVICE_ID": fake.worker.id,
                "RAILWAY_DEPLOYMENT_ID": deployment.id,
                "GREETING": "hello",
            }
        started = pids(fake)
        await client.scale(1)
        await until(lambda: _living(started), started[:1])
    assert not await _living(started)


@pytest.mark.costly
async def test_closing_leaves_no_process_behind_not_even_a_stubborn_one(tmp_path: Path) -> None:
    launcher = CommandLauncher([sys.executable, "-c", STUBBORN, str(tmp_path)], quiet=True)
    async with FakeRailway.create(2, launcher=launcher, timings=QUICK, grace=0.2) as fake:
        await until(lambda: _told(tmp_path), 2)
        started = pids(fake)
        assert len(await _living(started)) == 2
    assert not await _living(started)


async def test_what_a_process_started_dies_with_it() -> None:
    nested = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{SLEEPER}'])"
    async with railway(1, launcher=CommandLauncher([sys.executable, "-c", nested])) as (fake, _):
        (parent,) = pids(fake)

        await until(lambda: _count_children(parent), 1)
        (child,) = children_of(parent)
    # Killed it is by now; that it is gone takes the system a moment.
    await until(lambda: _living([child]), [])


async def test_a_killed_process_comes_back_under_the_same_instance() -> None:
    launcher = CommandLauncher([sys.executable, "-c", SLEEPER])
    async with railway(1, launcher=launcher) as (fake, client):
        (before,) = pids(fake)
        instance = (await client.latest())["instances"][0]["id"]
        os.kill(before, signal.SIGKILL)

        async def another() -> bool:
            return await client.statuses() == ["RUNNING"] and pids(fake) not in ([before], [])

        await until(another, True)
        assert (await client.latest())["instances"][0]["id"] == instance


@pytest.mark.costly
@pytest.mark.virtual_time
async def test_a_crash_is_shown_before_the_restart() -> None:
    launcher = NoProcesses()
    async with railway(1, launcher=launcher, timings=VISIBLE) as (_, client):
        (process,) = launcher.started.values()
        process.exit(-signal.SIGKILL)
        assert await seen_until(client.statuses, ["RUNNING"]) == [["CRASHED"], ["RESTARTING"], ["RUNNING"]]


@pytest.mark.costly
async def test_a_process_that_keeps_crashing_is_given_up_after_ten_restarts() -> None:
    launcher = CommandLauncher([sys.executable, "-S", "-E", "-c", "raise SystemExit(3)"])
    async with railway(1, launcher=launcher, timings=Timings().scaled(0.001)) as (fake, client):

        async def status() -> str:
            return str((await client.latest())["status"])

        await until(status, "CRASHED")
        assert await client.statuses() == ["CRASHED"]
        assert fake.worker.deployments[0].replicas[0].restarts == 10


async def test_a_process_that_is_done_is_not_restarted() -> None:
    async with railway(1, launcher=CommandLauncher([sys.executable, "-c", ""])) as (_, client):
        await until(client.statuses, ["EXITED"])
        latest = await client.latest()
        assert (latest["status"], latest["deploymentStopped"]) == ("SUCCESS", True)


@pytest.mark.parametrize(("on_start", "reads"), [("crash", "CRASHED"), ("exit", "EXITED")])
async def test_a_process_can_be_made_to_end_as_soon_as_it_starts(on_start: Any, reads: str) -> None:
    deploy = {"restartPolicyType": "NEVER"}
    async with railway(1, deploy=deploy, switches=Switches(on_start=on_start)) as (fake, client):
        await until(client.statuses, [reads])
        fake.by_hand(on_start="run")
        fake.lifecycle.restart(fake.worker.deployments[0])
        await until(client.statuses, ["RUNNING"])
        fake.by_hand(exit=1)
        await until(client.statuses, ["EXITED"])


@pytest.mark.costly
async def test_a_command_that_does_not_exist_crashes() -> None:
    async with railway(1, launcher=CommandLauncher(["/nonexistent/worker"])) as (_, client):
        await until(client.statuses, ["CRASHED"])


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("draining", "signals"),
    [(None, ["SIGTERM", "SIGKILL"]), (0, ["SIGTERM", "SIGKILL"]), (3600, ["SIGTERM"])],
    ids=["by default at once", "after nothing", "after its draining time"],
)
async def test_a_process_that_ignores_sigterm_is_killed(draining: int | None, signals: list[str]) -> None:
    launcher = NoProcesses(stubborn=True)
    deploy = {"drainingSeconds": draining}
    async with railway(1, launcher=launcher, deploy=deploy, grace=0.01) as (fake, client):
        await client.data(STOP, id=(await client.latest())["id"])
        await asyncio.sleep(QUICK.stopping + 0.05)
        (process,) = launcher.started.values()
        assert process.signals == signals
        assert fake.worker.running == (0 if "SIGKILL" in signals else 1)


@pytest.mark.virtual_time
async def test_closing_cuts_a_long_draining_short() -> None:
    launcher = NoProcesses(stubborn=True)
    async with railway(2, launcher=launcher, deploy={"drainingSeconds": 3600}, grace=0.05) as (fake, client):
        await client.scale(1)
        await until(client.statuses, ["RUNNING", "REMOVING"])
        async with asyncio.timeout(1):  # virtual seconds
            await fake.close()
        assert [each.signals for each in launcher.started.values()] == [["SIGTERM", "SIGKILL"]] * 2


# --- the program


@asynccontextmanager
async def program(exec_command: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, dict[str, str], str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CLI, exec_command, stdout=asyncio.subprocess.PIPE, stdin=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        exported, line = {}, (await process.stdout.readline()).decode()
        while line.startswith("export "):
            name, _, value = line.removeprefix("export ").strip().partition("=")
            exported[name] = value
            line = (await process.stdout.readline()).decode()
        yield process, exported, line
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def workers_of(http: httpx.AsyncClient, exported: dict[str, str]) -> list[int]:
    state: Any = (await http.get(exported["RAILWAY_API_URL"].replace("/graphql/v2", "/state"))).json()
    instances = state["services"][0]["deployments"][0]["instances"]
    return [each["pid"] for each in instances if each["pid"]]


@pytest.mark.costly
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_program_says_where_it_is_first_of_all_and_ends_cleanly(number: signal.Signals) -> None:
    async with program(f"{sys.executable} -c 'print(\"working\", flush=True); {SLEEPER}'") as (process, exported, line):
        assert list(exported) == [
            "RAILWAY_API_URL",
            "RAILWAY_TOKEN",
            "RAILWAY_PROJECT_ID",
            "RAILWAY_ENVIRONMENT_ID",
            "RAILWAY_WORKER_SERVICE_ID",
        ]
        assert line.startswith("fake Railway at http://127.0.0.1:")
        async with httpx.AsyncClient() as http:
            headers = {"Project-Access-Token": exported["RAILWAY_TOKEN"]}
            body = {"query": UPDATE, "variables": {**PLACE, "input": {"numReplicas": 3}}}
            answer = await http.post(exported["RAILWAY_API_URL"], json=body, headers=headers)
            assert answer.json() == {"data": {"serviceInstanceUpdate": True}}

            async def count() -> int:
                return len(await workers_of(http, exported))

            await until(count, 3)
            started = await workers_of(http, exported)
        process.send_signal(number)
        assert await in_time(process.wait(), "the program to end") == 0
        assert not await _living(started)


@pytest.mark.costly
async def test_workers_that_watch_their_lifeline_outlive_no_parent() -> None:
    async with program(f"{sys.executable} -c '{LIFELINE}'") as (process, exported, _):
        async with httpx.AsyncClient() as http:
            started = await workers_of(http, exported)
        assert len(await _living(started)) == 2
        process.kill()
        await until(lambda: _living(started), [])


async def test_a_client_sees_simulated_and_real_processes_alike() -> None:
    async def look(client: Client) -> tuple[str, list[str]]:
        latest = await client.latest()
        return latest["status"], [each["status"] for each in latest["instances"]]

    async with (
        railway(2) as (_, simulated),
        railway(2, launcher=CommandLauncher([sys.executable, "-c", SLEEPER])) as (_, real),
    ):
        assert await look(simulated) == await look(real) == ("SUCCESS", ["RUNNING", "RUNNING"])
