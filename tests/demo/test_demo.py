"""The demo as a person runs it, in a pipe; and what is left of it, however it ends."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from tests.simulation.recorded import cycles, decided_alike
from tests.support.examples import some
from tests.support.patience import PATIENCE_S, in_time, until_equal
from tests.support.processes import autoscaler

FOR_A_REAL_DEPLOYMENT = {"HTTP_TOKEN": "of-another-place", "DATABASE_DIRECT_URL": "postgresql://127.0.0.1:1/another"}
"""What a person may have set, and the demo has to do without."""


@asynccontextmanager
async def demo(tmp_path: Path, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "controller", "demo", *arguments),
        env={**os.environ, "TMPDIR": str(tmp_path), **FOR_A_REAL_DEPLOYMENT},
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.fixture
def short_tmp() -> Iterator[Path]:
    """Open to all, since PostgreSQL runs as another user where the tests run as root."""
    folder = Path(tempfile.mkdtemp(prefix="d"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def family(process: asyncio.subprocess.Process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


async def nothing_is_left(children: list[psutil.Process], folder: Path) -> None:
    _, alive = await asyncio.to_thread(psutil.wait_procs, children, PATIENCE_S)
    assert [child for child in alive if child.status() != psutil.STATUS_ZOMBIE] == []
    await until_equal(lambda: os.listdir(folder), [])  # noqa: PTH208  # two levels would be too many


RUNNING = r"depth \d+  configured [1-5]  running [1-5]"
SCALED_UP = r"want \d workers?: 0 → [1-5]"


async def line_with(process: asyncio.subprocess.Process, words: str, said: list[str] | None = None) -> str:
    """The first that matches. said: is told all lines up to it."""
    said = [] if said is None else said

    async def read() -> str:
        assert process.stdout is not None
        async for text in process.stdout:
            said.append(text.decode())
            if re.search(words, said[-1]):
                return said[-1]
        raise AssertionError(f"the demo ended without saying {words!r}; its last lines: {said[-5:]}")

    return await in_time(read(), f"{words!r} of the demo", shown=lambda: said[-5:])


@pytest.mark.costly
async def test_it_scales_real_workers_up_and_ends_by_the_clock_with_a_summary(short_tmp: Path, tmp_path: Path) -> None:
    recorded = tmp_path / "recorded"
    async with demo(short_tmp, "--keep", "--seconds", "20", "--record", str(recorded)) as process:
        said: list[str] = []
        await line_with(process, SCALED_UP, said)
        assert (address := re.match(r"page: (http://127\.0\.0\.1:\d+/)  \(Ctrl-C ends", said[0])) is not None
        assert "<html" in (await asyncio.to_thread(httpx.get, address[1], trust_env=False)).text
        exports = [line.strip() for line in said if line.startswith("  export ")]
        assert [line for line in said if len(line.rstrip("\n")) > 80 and line.strip() not in exports] == []
        exported = dict(shlex.split(line)[1].split("=", 1) for line in exports)
        assert exported["REDIS_URL"]
        checked = (await autoscaler("check", environment=exported)).out
        assert re.search(r"scale_up\.cooldown +2s ", checked), "as the controller of the demo has it"
        children = family(process)
        assert len(children) > 4
        summary = await line_with(process, "jobs done")
        assert await in_time(process.wait(), "the demo to end") == 0
    assert re.match(r"\d+ jobs done \(\d+ left when it ended\), at most [1-5] workers, \d+ scale actions", summary)
    await nothing_is_left(children, short_tmp)
    assert decided_alike(recorded, at_any_pace=True) > 0, "the simulator would have decided the same in each cycle"
    assert len(cycles(recorded)) > 3
    assert (recorded / "jobs.csv").read_text().startswith("t,service\n")


@pytest.mark.costly
@pytest.mark.parametrize("ending", some([signal.SIGKILL, signal.SIGINT, signal.SIGTERM], every=3))
async def test_nothing_is_left_of_it_however_it_ends(short_tmp: Path, ending: signal.Signals) -> None:
    async with demo(short_tmp) as process:
        await line_with(process, SCALED_UP)
        children = family(process)
        process.send_signal(ending)
        await in_time(process.wait(), "the demo to end")
    await nothing_is_left(children, short_tmp)


@pytest.mark.long
@pytest.mark.parametrize(("platform", "title"), [("kubernetes", "Kubernetes"), ("swarm", "Docker Swarm")])
async def test_the_same_demo_runs_on_a_fake_platform_whose_workers_are_processes(
    short_tmp: Path, platform: str, title: str
) -> None:
    async with demo(short_tmp, "--platform", platform) as process:
        await line_with(process, f"a fake {title} and the controller start")
        await line_with(process, RUNNING)
        children = family(process)
        process.send_signal(signal.SIGINT)
        await in_time(process.wait(), "the demo to end")
    await nothing_is_left(children, short_tmp)
